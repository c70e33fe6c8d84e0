"""Folders and repos that must not load: each is a good pipeline with one thing done to it that somebody may do.

What a pickle or a script in them would do is write a file, the canary; nothing may ever do it.
"""

from __future__ import annotations

import io
import json
import os
import pickle
import shutil
import tarfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from gzip import compress
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file

WEIGHTS = "generator/diffusion_pytorch_model.safetensors"
STEM = "generator/diffusion_pytorch_model"
CONFIG, INDEX, ROOT = "generator/config.json", "model_index.json", "config.json"
LIST = f"{WEIGHTS}.index.json"
SECRET = "what-is-outside.json"
"""A file beside the folders, to which links and names lead."""


@dataclass(frozen=True)
class Bad:
    """One of them.

    Attributes:
        name: of the case.
        spoil: what is done to the good folder.
        said: what its sentence must hold.
        local: whether it can be a folder; and
        hub: whether it can be a repo.
        options: of from_pretrained.
        error: whose sentence it is.
    """

    name: str
    spoil: Callable[[Path], None]
    said: str
    local: bool = True
    hub: bool = True
    options: tuple[tuple[str, Any], ...] = ()
    error: str = "ModelError"


class Payload:
    """Writes the canary where it is unpickled."""

    def __init__(self, canary: Path) -> None:
        self.canary = str(canary)

    def __reduce__(self) -> tuple[Any, ...]:
        return exec, (f"open({self.canary!r}, 'w').write('sung')",)


def script(canary: Path) -> str:
    """Python that writes the canary where it is run."""
    return f"open({str(canary)!r}, 'w').write('sung')\n"


# What is done to a folder.


def edit(file: str, folder: Path, **changes: Any) -> None:
    """Change keys of a JSON file; the value ... removes one."""
    settings = json.loads((folder / file).read_text()) | changes
    (folder / file).write_text(json.dumps({key: value for key, value in settings.items() if value is not ...}))


def write(file: str, content: bytes | str, folder: Path) -> None:
    """Write a file in place of what was there."""
    (folder / file).parent.mkdir(exist_ok=True)
    (folder / file).write_bytes(content.encode() if isinstance(content, str) else content)


def replace(content: bytes, folder: Path, name: str = WEIGHTS) -> None:
    """Put something in place of the weights, under this name."""
    (folder / WEIGHTS).unlink()
    write(name, content, folder)


def splice(file: str, old: str, new: str, folder: Path) -> None:
    """Exchange a piece of a text file, which must be in it."""
    text = (folder / file).read_text()
    assert old in text
    write(file, text.replace(old, new, 1), folder)


def link(file: str, target: str, folder: Path) -> None:
    """Put a link in place of a file or folder."""
    place = folder / file
    if place.is_dir():
        shutil.move(place, folder.parent / f"{folder.name}-moved")
    else:
        place.unlink()
    place.symlink_to(target.format(folder=folder))


def tensors(change: Callable[[dict[str, torch.Tensor]], Any], folder: Path) -> None:
    """Save other weights."""
    weights = load_file(folder / WEIGHTS)
    change(weights)
    save_file(weights, folder / WEIGHTS)


def header(change: Callable[[dict[str, Any]], Any], folder: Path) -> None:
    """Change what the weights' header says, and nothing else."""
    raw = (folder / WEIGHTS).read_bytes()
    length = int.from_bytes(raw[:8], "little")
    said = json.loads(raw[8 : 8 + length])
    text = change(said)
    text = json.dumps(said).encode() if not isinstance(text, bytes) else text
    write(WEIGHTS, len(text).to_bytes(8, "little") + text + raw[8 + length :], folder)


def first(said: dict[str, Any]) -> dict[str, Any]:
    """The entry of the first tensor."""
    return next(entry for key, entry in sorted(said.items()) if key != "__metadata__")


def shards(folder: Path, change: Callable[[dict[str, Any]], Any] = lambda listed: None) -> None:
    """Split the weights in two and change the list of the shards."""
    weights = load_file(folder / WEIGHTS)
    (folder / WEIGHTS).unlink()
    names, where = sorted(weights), {}
    for number, part in enumerate((names[::2], names[1::2]), 1):
        file = f"diffusion_pytorch_model-{number:05}-of-00002.safetensors"
        save_file({name: weights[name] for name in part}, folder / "generator" / file)
        where |= dict.fromkeys(part, file)
    listed = {"metadata": {"total_size": 1}, "weight_map": where}
    change(listed)
    write(LIST, json.dumps(listed), folder)


def point(target: str) -> Callable[[dict[str, Any]], None]:
    """Say of one tensor that it is in the file ``target``."""
    return lambda listed: listed["weight_map"].update({min(listed["weight_map"]): target})


def deep(depth: int) -> str:
    """JSON that many levels deep."""
    return '{"a":' * depth + "1" + "}" * depth


def archive(kind: str, pickled: bytes) -> bytes:
    """A zip or tar that holds a pickle."""
    whole = io.BytesIO()
    if kind == "zip":
        with zipfile.ZipFile(whole, "w") as held:
            held.writestr("archive/data.pkl", pickled)
    else:
        with tarfile.open(fileobj=whole, mode="w") as held:
            entry = tarfile.TarInfo("pickle")
            entry.size = len(pickled)
            held.addfile(entry, io.BytesIO(pickled))
    return whole.getvalue()


def pickles(canary: Path) -> dict[str, bytes]:
    """A payload in every dress that weights wear."""
    payload = Payload(canary)
    boxes = {name: io.BytesIO() for name in ("torch", "legacy", "npy", "npz")}
    torch.save(payload, boxes["torch"])
    torch.save(payload, boxes["legacy"], _use_new_zipfile_serialization=False)
    array = np.array([payload], dtype=object)
    np.save(boxes["npy"], array, allow_pickle=True)
    np.savez(boxes["npz"], array)
    made = {name: box.getvalue() for name, box in boxes.items()}
    for protocol in (0, 2, 4):
        made[f"protocol {protocol}"] = pickle.dumps(payload, protocol)
    plain = made["protocol 4"]
    made |= {"7z": b"7z\xbc\xaf\x27\x1c\0\4" + plain, "gzip": compress(plain)}
    made |= {"zip": archive("zip", plain), "tar": archive("tar", plain)}
    # Eight bytes that are a fair length, and then a pickle where the header should be.
    made["headless"] = len(plain).to_bytes(8, "little") + plain
    return made


CONVERT = "vid2vid-hub convert"


def disguised(canary: Path) -> list[Bad]:
    """T1: pickles."""
    made = pickles(canary)
    ends = {
        **{"bin": "torch", "pt": "torch", "pth": "legacy", "ckpt": "torch", "pkl": "protocol 4"},
        **{"npy": "npy", "npz": "npz", "7z": "7z", "zip": "zip", "tar": "tar", "pickle": "protocol 0", "BIN": "torch"},
    }
    found = [
        Bad(f"weights as .{end}", partial(replace, made[kind], name=f"{STEM}.{end}"), CONVERT)
        for end, kind in ends.items()
    ]
    found += [Bad(f"safetensors that are {kind}", partial(replace, content), CONVERT) for kind, content in made.items()]

    def released(folder: Path) -> None:
        shutil.rmtree(folder)
        folder.mkdir()
        write("latest_net_G0.pth", made["legacy"], folder)

    def bin_shards(folder: Path) -> None:
        shards(folder)
        for path in (folder / "generator").glob("*.safetensors*"):
            content = made["torch"] if path.suffix == ".safetensors" else path.read_bytes()
            write(f"generator/{path.name.replace('safetensors', 'bin')}", content, folder)
            path.unlink()

    def shard(folder: Path) -> None:
        shards(folder)
        write(f"{STEM}-00002-of-00002.safetensors", made["torch"], folder)

    half = (("variant", "fp16"),)
    return [
        *found,
        Bad("a folder of released checkpoints", released, CONVERT),
        Bad("shards that are pickles", bin_shards, CONVERT),
        Bad("one shard is a pickle", shard, CONVERT),
        Bad("a list of shards that names a pickle", partial(shards, change=point("weights.pkl")), "weights.pkl"),
        Bad(
            "a variant that is a pickle",
            partial(write, f"{STEM}.fp16.bin", made["torch"]),
            "variant=fp16",
            options=half,
        ),
        Bad("an index that is a pickle", partial(write, INDEX, made["protocol 4"]), "model_index.json is not JSON"),
        Bad("a config that is a pickle", partial(write, CONFIG, made["protocol 0"]), "config.json is not JSON"),
    ]


def coded(canary: Path) -> list[Bad]:
    """T3: code, and names that would have it imported."""
    code = script(canary)

    def with_code(file: str, folder: Path, **changes: Any) -> None:
        write(file, code, folder)
        edit(INDEX, folder, **changes)

    index = {
        "a class in a script": ("pipeline.py", {"_class_name": ["pipeline", "Vid2VidPipeline"]}, "expected Vid2Vid"),
        "a pipeline's base": ("pipeline.py", {"_class_name": "SavedPipeline"}, "expected Vid2VidPipeline"),
        "a network in a script": ("generator/net.py", {"generator": ["net", "Net"]}, "as its generator"),
        "a network in a module": ("x.py", {"generator": ["antigravity", "x"]}, "'antigravity', 'x'] as its generator"),
        "a function as a network": ("x.py", {"generator": ["os", "system"]}, "as its generator"),
        "a module of ours as a network": ("x.py", {"generator": ["vid2vid_hub.cli", "app"]}, "as its generator"),
        "a pipeline as a network": ("x.py", {"generator": ["vid2vid_hub", "Vid2VidPipeline"]}, "as its generator"),
        "another library's network": ("x.py", {"first_frame": ["transformers", "CLIPTextModel"]}, "as its first_frame"),
        "a network too many": ("x.py", {"safety_checker": ["diffusers", "UNet2DModel"]}, "'safety_checker', unknown"),
        "a network in three words": (
            "x.py",
            {"generator": ["vid2vid_hub", "Vid2VidGenerator", "x"]},
            "as its generator",
        ),
        "a network that is text": ("x.py", {"generator": "vid2vid_hub.Vid2VidGenerator"}, "as its generator"),
        "auto_map in the index": ("x.py", {"auto_map": {"AutoModel": "x.X"}}, "'auto_map', unknown"),
        "custom_pipeline in the index": ("pipeline.py", {"custom_pipeline": "pipeline"}, "'custom_pipeline', unknown"),
        "trust in the index": ("x.py", {"trust_remote_code": True}, "'trust_remote_code', unknown"),
        "_module in the index": ("x.py", {"_module": "x"}, "'_module', unknown"),
        "another pipeline": ("x.py", {"_class_name": "StableDiffusionPipeline"}, "class StableDiffusionPipeline"),
        "diffusers' own pipeline": ("x.py", {"_class_name": "DiffusionPipeline"}, "class DiffusionPipeline"),
        "a list in the index": ("x.py", {"size": [32, 48]}, "a list as its size"),
        "no task": ("x.py", {"task": ...}, "needs a task"),
        "a task that is a list": ("x.py", {"task": ["os", "system"]}, "a list as its task"),
        "a task that is a number": ("x.py", {"task": 7}, "needs a task by name"),
        "a task of many letters": ("x.py", {"task": "x" * 10_000}, "needs a task by name"),
        "settings that are a list": ("x.py", {"task_config": ["os"]}, "a list as its task_config"),
    }
    tasks = {
        "a task that is not installed": ({"task": "seg2moon"}, "'seg2moon'; installed tasks"),
        "a task that is a place": ({"task": "vid2vid_hub.data.toy:ToyShapes"}, "installed tasks"),
        "a task that is a path": ({"task": "../../x"}, "installed tasks"),
        "a setting that no task has": ({"task_config": {"__class__": "os.system"}}, "does not take these settings"),
    }
    config = {
        "auto_map in a config": ({"auto_map": {"AutoModel": "x.X"}}, "no setting auto_map"),
        "a quantizer in a config": ({"quantization_config": {"quant_method": "x"}}, "no setting quantization_config"),
        "another class in a config": ({"_class_name": "UNet2DModel"}, "of the class UNet2DModel"),
        "a class of a script in a config": ({"_class_name": ["net", "Net"]}, "of the class ['net', 'Net']"),
        "another network of ours": ({"_class_name": "Pix2PixHDGenerator"}, "of the class Pix2PixHDGenerator"),
    }
    places = {
        "/etc/passwd": "a file of the machine as a setting",
        "~/.ssh/id_rsa": "a file of the person as a setting",
        "http://169.254.169.254/latest": "an address as a setting",
        "models/../../x": "a way up as a setting",
        "C:\\Windows\\x": "a file of Windows as a setting",
    }
    return [
        *(Bad(name, partial(with_code, file, **changes), said) for name, (file, changes, said) in index.items()),
        *(Bad(name, partial(edit, INDEX, **change), said, error="TaskError") for name, (change, said) in tasks.items()),
        *(Bad(name, partial(edit, CONFIG, **change), said) for name, (change, said) in config.items()),
        *(
            Bad(name, partial(edit, INDEX, task_config={"deep": {"er": [place]}}), "no business", local=False)
            for place, name in places.items()
        ),
        Bad("a script that diffusers runs unasked", partial(write, "None.py", code), "None.py", hub=False),
    ]


def unsettled() -> list[Bad]:
    """T4: settings."""
    texts = {
        "that is cut short": ('{"task"', "not JSON"),
        "that is empty": ("", "not JSON"),
        "that is a list": ("[]", "holds no settings but list"),
        "that is text": ('"toy"', "holds no settings but str"),
        "1,000 levels deep": (deep(1_000), "deeper than 32"),
        "100,000 levels deep": (deep(100_000), "deeper than 32"),
        "of 33 levels": (deep(33), "deeper than 32"),
        "in Latin-1": ('{"task": "é"}'.encode("latin-1"), "not UTF-8"),
        "in UTF-16": ('{"task": "toy"}'.encode("utf-16"), "not UTF-8"),
        "with a byte order mark": (b"\xef\xbb\xbf{}", "not JSON"),
        "with half a letter": (r'{"task": "\ud800"}', "not UTF-8"),
        "of NUL bytes": (b"\0" * 100, "not JSON"),
        "of two megabytes": ('{"task": "' + "x" * (2 << 20) + '"}', "1048576"),
    }
    values = {
        "10^9 channels": ({"base_channels": 10**9}, "base_channels is 1000000000"),
        "10^9 blocks": ({"blocks": 10**9}, "blocks is 1000000000"),
        "10^9 condition channels": ({"condition_channels": 10**9}, "condition_channels is 1000000000"),
        "10^9 halvings": ({"downsamples": 10**9}, "downsamples is 1000000000"),
        "10^9 frames of history": ({"history": 10**9}, "history is 1000000000"),
        "more than fits together": ({"base_channels": 512, "downsamples": 6}, "is 32768"),
        "too large a network": ({"base_channels": 512, "downsamples": 3, "blocks": 32}, "numbers; at most"),
        "channels below zero": ({"base_channels": -4}, "base_channels is -4"),
        "no channels": ({"base_channels": 0}, "base_channels is 0"),
        "channels as a fraction": ({"base_channels": 4.0}, "base_channels is 4.0"),
        "channels as true": ({"base_channels": True}, "base_channels is True"),
        "channels as text": ({"base_channels": "4"}, "base_channels is '4'"),
        "channels as null": ({"base_channels": None}, "base_channels is None"),
        "channels as a list": ({"base_channels": [4]}, "base_channels is [4]"),
        "channels as an object": ({"base_channels": {"a": 4}}, "base_channels is {'a': 4}"),
        "a switch as a number": ({"flow": 1}, "flow is 1"),
        "a word of a megabyte": ({"composition": "x" * 900_000}, "composition is xxx"),
        "a word with a line break": ({"composition": "pa\nper"}, r"composition is 'pa\nper'"),
        "a setting too many": ({"colour": "blue"}, "no setting colour"),
        "a setting called self": ({"self": 1}, "no setting self"),
        "a setting of a megabyte": ({"x" * 900_000: 1}, "no setting"),
        "a setting missing": ({"condition_channels": ...}, "condition_channels, without which"),
        "fewer channels than its weights": ({"condition_channels": 3}, "expected shape"),
    }
    spliced = {
        "NaN": ('"sharpen": 1.0', '"sharpen": NaN', "NaN, which is no number"),
        "Infinity": ('"sharpen": 1.0', '"sharpen": Infinity', "Infinity, which is no number"),
        "a number beyond numbers": ('"sharpen": 1.0', '"sharpen": 1e999', "beyond what a number can be"),
        "a number of 10,000 digits": ('"sharpen": 1.0', '"sharpen": 1' + "0" * 10_000, "10001 digits"),
        "a number above 2^53": ('"sharpen": 1.0', f'"sharpen": {2**53 + 1}', "beyond 9007199254740992"),
        "a key twice": ('"sharpen": 1.0', '"sharpen": 1.0, "blocks": 2', "the key blocks twice"),
    }
    sides = {"height as true": True, "height below zero": -1, "height as a fraction": 32.0, "a height of 10^9": 10**9}
    root = {
        "a newer format": ({"format_version": 2}, "newer vid2vid-hub (format 2); upgrade: pip install -U vid2vid-hub"),
        "format true": ({"format_version": True}, "True for format_version"),
        "format 0": ({"format_version": 0}, "0 for format_version"),
        "format as text": ({"format_version": "1"}, "'1' for format_version"),
        "another type of model": ({"model_type": "llama"}, "llama for model_type"),
        "another task": ({"task": "seg2street"}, "its model_index.json says toy, its config.json seg2street"),
        "a word too many at the root": ({"auto_map": {"AutoModel": "x.X"}}, "for auto_map"),
    }
    return [
        *(Bad(f"an index {name}", partial(write, INDEX, text), said) for name, (text, said) in texts.items()),
        *(Bad(f"a config {name}", partial(write, CONFIG, text), said) for name, (text, said) in texts.items()),
        *(Bad(name, partial(edit, CONFIG, **change), said) for name, (change, said) in values.items()),
        *(
            Bad(f"{name} in a config", partial(splice, CONFIG, old, new), said)
            for name, (old, new, said) in spliced.items()
        ),
        Bad("a key twice in the index", partial(splice, INDEX, '"task":', '"task": "toy", "task":'), "key task twice"),
        *(Bad(name, partial(edit, INDEX, height=side), f"height is {side}") for name, side in sides.items()),
        *(Bad(name, partial(edit, ROOT, **change), said) for name, (change, said) in root.items()),
        Bad("a root config that is no JSON", partial(write, ROOT, "{"), "config.json is not JSON"),
        Bad(
            "a network without a config", lambda folder: (folder / CONFIG).unlink(), "generator/config.json is missing"
        ),
        Bad("no index", lambda folder: (folder / INDEX).unlink(), "no model_index.json"),
    ]


def misshapen() -> list[Bad]:
    """T5: safetensors."""
    key = "networks.0.heads.image.1.bias"

    def cut(kept: float, folder: Path) -> None:
        raw = (folder / WEIGHTS).read_bytes()
        write(WEIGHTS, raw[: round(len(raw) * kept)], folder)

    def length(value: int, folder: Path) -> None:
        write(WEIGHTS, value.to_bytes(8, "little") + (folder / WEIGHTS).read_bytes()[8:], folder)

    def surplus(said: dict[str, Any]) -> None:
        said["one_more"] = {"dtype": "F32", "shape": [0], "data_offsets": first(said)["data_offsets"][:1] * 2}

    def overlap(said: dict[str, Any]) -> None:
        one, other = sorted((entry["data_offsets"] for key, entry in said.items() if key != "__metadata__"))[:2]
        other[:] = [one[0], one[0] + other[1] - other[0]]

    def twice(said: dict[str, Any]) -> bytes:
        text = json.dumps(said)
        return (text[:-1] + f', "{key}": {json.dumps(said[key])}' + "}").encode()

    def move(said: dict[str, Any], by: int) -> None:
        for name, entry in said.items():
            if name != "__metadata__":
                entry["data_offsets"] = [place + by for place in entry["data_offsets"]]

    headers: dict[str, tuple[Callable[[dict[str, Any]], Any], str]] = {
        "tensors that overlap": (overlap, "overlap or leave a gap"),
        "tensors after a gap": (partial(move, by=4), "overlap or leave a gap"),
        "tensors before the file": (partial(move, by=-4), "is damaged"),
        "a tensor of another size": (lambda said: first(said).update(shape=[10**9]), "numbers of F32"),
        "a tensor of 10^36 numbers": (lambda said: first(said).update(shape=[10**9] * 4), "numbers of F32"),
        "a shape below zero": (lambda said: first(said).update(shape=[-1]), "is damaged"),
        "a shape of truths": (lambda said: first(said).update(shape=[True]), "is damaged"),
        "a shape of fractions": (lambda said: first(said).update(shape=[1.0]), "is damaged"),
        "a shape of 100 sides": (lambda said: first(said).update(shape=[1] * 100), "is damaged"),
        "a type of its own": (lambda said: first(said).update(dtype="PICKLE"), "has the type PICKLE"),
        "whole numbers for fractions": (lambda said: first(said).update(dtype="I32"), "of type I32"),
        "an entry with a word too many": (lambda said: first(said).update(code="x"), "must have dtype, shape"),
        "an entry that is a list": (lambda said: said.update({key: [1, 2]}), "must have dtype, shape"),
        "metadata that are code": (lambda said: said.update(__metadata__={"a": {"b": 1}}), "__metadata__"),
        "a tensor twice": (twice, "twice"),
        "NaN in a header": (lambda said: json.dumps(said).replace("[", "[NaN, ", 1).encode(), "no number"),
        "a header 1,000 levels deep": (lambda said: deep(1_000).encode(), "deeper than 32"),
        "a surplus tensor of no size": (surplus, "unexpected keys: one_more"),
        "a tensor under another name": (lambda said: said.update(evil=said.pop(key)), f"missing keys: {key}"),
        "a name with a line break": (lambda said: said.update({"e\nvil": said.pop(key)}), r"'e\nvil'"),
    }
    weights: dict[str, tuple[Callable[[dict[str, torch.Tensor]], Any], str]] = {
        "no tensors": (lambda held: held.clear(), "and"),
        "a tensor missing": (lambda held: held.pop(key), f"missing keys: {key}"),
        "a tensor too many": (lambda held: held.update(one_more=torch.zeros(2)), "unexpected keys: one_more"),
        "a tensor of another shape": (lambda held: held.update({key: torch.zeros(5)}), "shape [5], expected shape [3]"),
        "a tensor of one more side": (lambda held: held.update({key: torch.zeros(3, 1)}), "expected shape [3]"),
    }
    lists: dict[str, tuple[Callable[[dict[str, Any]], Any], str]] = {
        "a shard above its folder": (point("../../what-is-outside.json"), "no name of a shard"),
        "a shard at an absolute path": (point("/etc/passwd"), "no name of a shard"),
        "a shard behind a backslash": (point("..\\..\\x.safetensors"), "no name of a shard"),
        "a shard on another drive": (point("C:\\x.safetensors"), "no name of a shard"),
        "a shard on another machine": (point("http://x/x.safetensors"), "no name of a shard"),
        "a shard with NUL in its name": (point("x\0.safetensors"), "no name of a shard"),
        "a shard with a line break in its name": (point("x\n.safetensors"), "no name of a shard"),
        "a shard that is a number": (point(7), "no name of a shard"),  # type: ignore[arg-type]
        "a shard in a folder": (point("generator/diffusion_pytorch_model.safetensors"), "no name of a shard"),
        "a shard that is not there": (point("diffusion_pytorch_model-00003-of-00002.safetensors"), "disagree"),
        "a tensor that is in no shard": (lambda said: said["weight_map"].update(evil="x.safetensors"), "no name of"),
        "a list without a tensor": (lambda said: said["weight_map"].popitem(), "disagree"),
        "a list of shards without metadata": (lambda said: said.pop("metadata"), "no list of shards"),
        "a list of shards that is one": (lambda said: said.update(weight_map=[]), "no list of shards"),
        "a list of shards with code": (lambda said: said.update(auto_map={"a": "b"}), "no list of shards"),
    }

    def missing_shard(folder: Path) -> None:
        shards(folder)
        (folder / f"{STEM}-00002-of-00002.safetensors").unlink()

    def no_list(folder: Path) -> None:
        shards(folder)
        (folder / LIST).unlink()

    def doubled(folder: Path) -> None:
        shards(folder)
        shutil.copy(folder / f"{STEM}-00001-of-00002.safetensors", folder / f"{STEM}-00002-of-00002.safetensors")

    def old_list(folder: Path) -> None:
        # A name that diffusers still looks for when it is asked for a variant.
        shutil.copy(folder / WEIGHTS, folder / f"{STEM}.fp16.safetensors")
        listed = {"metadata": {}, "weight_map": {key: "../../what-is-outside.json"}}
        write(f"{STEM}.safetensors.fp16.index.json", json.dumps(listed), folder)

    return [
        *(
            Bad(f"weights cut to {kept:.0%}", partial(cut, kept), "cut short")
            for kept in (0, 0.0001, 0.01, 0.5, 0.9999)
        ),
        Bad(
            "weights with something after them", lambda f: write(WEIGHTS, (f / WEIGHTS).read_bytes() + b"x", f), "holds"
        ),
        Bad("a header of 2^63 bytes", partial(length, 2**63), "no header that fits in"),
        Bad("a header as long as the file", lambda f: length((f / WEIGHTS).stat().st_size - 8, f), "the header of"),
        Bad("a header of no bytes", partial(length, 0), "no header that fits in"),
        *(Bad(name, partial(header, change), said) for name, (change, said) in headers.items()),
        *(Bad(name, partial(tensors, change), said) for name, (change, said) in weights.items()),
        *(Bad(name, partial(shards, change=change), said) for name, (change, said) in lists.items()),
        Bad("a shard missing", missing_shard, "is incomplete"),
        Bad("shards without a list", no_list, "is incomplete"),
        Bad("tensors in two shards", doubled, "each tensor must be in one"),
        Bad("an old name of a list of shards", old_list, "no list of shards", options=(("variant", "fp16"),)),
        Bad("no weights", lambda folder: (folder / WEIGHTS).unlink(), "no safetensors weights"),
        Bad("a variant that is not there", lambda folder: None, "variant=fp16", options=(("variant", "fp16"),)),
    ]


def linked() -> list[Bad]:
    """Folders whose files are links to somewhere else, or no files."""
    out = "leads out of its folder"

    def pipe(file: str, folder: Path) -> None:
        (folder / file).unlink()
        os.mkfifo(folder / file)

    def room(file: str, folder: Path) -> None:
        (folder / file).unlink()
        (folder / file).mkdir()

    cases = {
        "an index that is a link out": (partial(link, INDEX, f"../{SECRET}"), out),
        "a root config that is a link out": (partial(link, ROOT, f"../{SECRET}"), out),
        "a config that is a link out": (partial(link, CONFIG, f"../../{SECRET}"), out),
        "weights that are a link out": (partial(link, WEIGHTS, f"../../{SECRET}"), out),
        "a network that is a link out": (partial(link, "generator", "{folder}-moved"), out),
        "weights that are a link to a device": (partial(link, WEIGHTS, "/dev/zero"), out),
        "a config that is a link to itself": (partial(link, CONFIG, "config.json"), "is missing"),
        "a config that is a pipe": (partial(pipe, CONFIG), "is missing"),
        "weights that are a pipe": (partial(pipe, WEIGHTS), "is missing"),
        "an index that is a folder": (partial(room, INDEX), "no model_index.json"),
        "weights that are a folder": (partial(room, WEIGHTS), "is missing"),
    }
    return [Bad(name, spoil, said, hub=False) for name, (spoil, said) in cases.items()]


def corpus(canary: Path) -> list[Bad]:
    """All of them."""
    return [*disguised(canary), *coded(canary), *unsettled(), *misshapen(), *linked()]

"""Strict reading: JSON that is let in means the same to all, and a header that is let in is what is loaded."""

from __future__ import annotations

import json
import math
import random
import time

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from vid2vid_hub.errors import ModelError
from vid2vid_hub.nn.appearance import AppearanceEncoder
from vid2vid_hub.nn.discriminator import MultiscaleDiscriminator
from vid2vid_hub.nn.generator import Vid2VidGenerator
from vid2vid_hub.nn.image import Pix2PixHDGenerator
from vid2vid_hub.nn.layout import Weights, weight_files
from vid2vid_hub.nn.stored import check_stored
from vid2vid_hub.nn.strict import (
    MAX_DEPTH,
    MAX_WHOLE,
    PRIVATE,
    Stored,
    check_inside,
    read_header,
    read_json,
    shown,
    some,
)

WEIGHTS = "diffusion_pytorch_model.safetensors"
TINY = {"base_channels": 4, "downsamples": 1, "blocks": 2}

words = st.text(st.characters(exclude_categories=["Cs"]))
numbers = st.integers(-MAX_WHOLE, MAX_WHOLE) | st.floats(allow_nan=False, allow_infinity=False)
values = st.recursive(
    st.none() | st.booleans() | numbers | words,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(words, inner, max_size=4),
    max_leaves=20,
)


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    """A network's folder."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("network")
    Vid2VidGenerator(3, foreground=True, **TINY).save_pretrained(folder)
    return folder


@pytest.fixture
def place(tmp_path):
    return tmp_path / "x.json"


def refused(function, *arguments):
    """The sentence of a refusal; anything else than a refusal is a failure."""
    with pytest.raises(ModelError) as caught:
        function(*arguments)
    sentence = str(caught.value)
    assert "\n" not in sentence
    assert len(sentence) < 700
    return sentence


def tried(function, *arguments):
    """What a function returns, and the sentence of its refusal; one of the two is None."""
    value = sentence = None
    try:
        value = function(*arguments)
    except ModelError as error:
        sentence = str(error)
    assert sentence is None or ("\n" not in sentence and len(sentence) < 700)
    return value, sentence


@given(st.dictionaries(words, values, max_size=6), st.booleans(), st.sampled_from([None, 2]))
def test_all_json_that_means_one_thing_is_read_as_it_is(tmp_path_factory, value, plain, indent):
    path = tmp_path_factory.getbasetemp() / "read.json"
    path.write_text(json.dumps(value, ensure_ascii=plain, indent=indent), "utf-8")
    assert read_json(path) == value


@given(st.binary(max_size=200) | st.text(alphabet='{}[]:,"\\/truefalsn0123456789eE+-. \n\x00é', max_size=60))
@settings(max_examples=500)
def test_any_bytes_are_json_or_refused(tmp_path_factory, raw):
    path = tmp_path_factory.getbasetemp() / "any.json"
    path.write_bytes(raw if isinstance(raw, bytes) else raw.encode())
    read, sentence = tried(read_json, path)
    assert sentence or read == json.loads(path.read_bytes())


@pytest.mark.parametrize("depth", [1, MAX_DEPTH, MAX_DEPTH + 1, 500, 100_000])
@pytest.mark.parametrize("bracket", ['{"a":', "["])
def test_how_deep_json_may_be(place, depth, bracket):
    close = {"[": "]"}.get(bracket, "}")
    place.write_text('{"a":' + bracket * (depth - 1) + "1" + close * (depth - 1) + "}")
    if depth <= MAX_DEPTH:
        read_json(place)
    else:
        assert f"deeper than {MAX_DEPTH} levels" in refused(read_json, place)


@pytest.mark.parametrize("number", [MAX_WHOLE, -MAX_WHOLE, 1e308, 5e-324, -0.0])
def test_the_largest_numbers_are_read(place, number):
    place.write_text(json.dumps({"a": number}))
    assert repr(read_json(place)["a"]) == repr(number)


@pytest.mark.parametrize(
    "text", [str(MAX_WHOLE + 1), "-" + "9" * 5000, "1e309", "-1e999", "NaN", "-Infinity", "01", "1."]
)
def test_numbers_that_are_read_differently_elsewhere_are_refused(place, text):
    place.write_text(f'{{"a": {text}}}')
    assert f"{place} is not JSON as it should be: " in refused(read_json, place)


def test_a_file_of_the_largest_size_is_read_and_one_more_byte_is_not(place):
    place.write_text('{"a": "' + "x" * ((1 << 20) - 9) + '"}')
    assert place.stat().st_size == 1 << 20
    read_json(place)
    place.write_text(place.read_text() + " ")
    assert "larger than 1048576 bytes" in refused(read_json, place)


@given(
    st.dictionaries(
        words.filter(lambda name: name != "__metadata__"), st.lists(st.integers(0, 3), max_size=3), max_size=5
    )
)
def test_a_header_says_what_is_in_the_file(tmp_path_factory, shapes):
    path = tmp_path_factory.getbasetemp() / "header.safetensors"
    kinds = (torch.float32, torch.float16, torch.int64, torch.bool)
    held = {name: torch.zeros(shape, dtype=kinds[len(name) % 4]) for name, shape in shapes.items()}
    save_file(held, path)
    dtypes = {torch.float32: "F32", torch.float16: "F16", torch.int64: "I64", torch.bool: "BOOL"}
    assert read_header(path) == {name: Stored(dtypes[t.dtype], tuple(t.shape)) for name, t in held.items()}


def mutated(raw: bytes, draw: random.Random) -> bytes:
    """The bytes of a safetensors file with something done to its header: by a byte, or by a thing it says."""
    length = int.from_bytes(raw[:8], "little")
    head, body = raw[8 : 8 + length], raw[8 + length :]
    kind = draw.randrange(9)
    if kind == 0:
        spot = draw.randrange(8 + length)
        return raw[:spot] + bytes([draw.randrange(256)]) + raw[spot + 1 :]
    if kind == 1:
        return (
            draw.choice([draw.randrange(2**64), draw.randrange(2 * length), length + draw.choice([-1, 1])]).to_bytes(
                8, "little"
            )
            + raw[8:]
        )
    if kind == 2:
        return raw[: draw.randrange(len(raw))]
    if kind == 3:
        spot = draw.randrange(length)
        head = (
            head[:spot]
            + draw.choice([b'"', b"{", b"}", b"[", b"]", b",", b"\\", b"\0", b"9", b"-", b"NaN"])
            + head[spot:]
        )
        return len(head).to_bytes(8, "little") + head + body
    said = json.loads(head)
    name = draw.choice([key for key in said if key != "__metadata__"])
    entry = said[name]
    odd = draw.choice([0, -1, 1, 2**31, 2**53, 2**63, 1.0, True, None, "1", [], {}, 10**9])
    if kind == 4:
        entry[draw.choice(list(entry))] = odd
    elif kind == 5:
        part = entry[draw.choice(["shape", "data_offsets"])]
        if part:
            part[draw.randrange(len(part))] = odd
    elif kind == 8:
        entry["data_offsets"] = [place + draw.choice([-8, -4, 4, 8, 64]) for place in entry["data_offsets"][:1]] * 2
        entry["data_offsets"][1] += math.prod(entry["shape"]) * 4
    elif kind == 6:
        entry["dtype"] = draw.choice(["F64", "F32", "F16", "BF16", "I64", "I32", "U8", "BOOL", "F8_E4M3", "X", "f32"])
    else:
        entry["shape"] = draw.choice([entry["shape"][::-1], [math.prod(entry["shape"])], [1, *entry["shape"]], []])
    head = json.dumps(said).encode()
    return len(head).to_bytes(8, "little") + head + body


@pytest.mark.parametrize(
    ("first", "count"), [(0, 1_000), pytest.param(1_000, 9_000, marks=pytest.mark.slow)], ids=["1,000", "9,000 more"]
)
def test_no_mutated_header_is_taken_for_another_layout(tmp_path, first, count):
    judge = MultiscaleDiscriminator(2, base_channels=4, layers=2, scales=1)
    judge.save_pretrained(tmp_path)
    raw = (tmp_path / WEIGHTS).read_bytes()
    ours = {name: tuple(tensor.shape) for name, tensor in judge.state_dict().items()}
    taken, slowest = 0, 0.0
    for seed in range(first, first + count):
        (tmp_path / WEIGHTS).write_bytes(mutated(raw, random.Random(seed)))
        started = time.perf_counter()
        _, sentence = tried(check_stored, tmp_path, MultiscaleDiscriminator)
        slowest = max(slowest, time.perf_counter() - started)
        if sentence is None:
            # What is let in must be what the library that loads it sees, tensor for tensor.
            taken += 1
            theirs = load_file(tmp_path / WEIGHTS)
            assert {name: tuple(tensor.shape) for name, tensor in theirs.items()} == ours, seed
            assert all(tensor.is_floating_point() for tensor in theirs.values()), seed
    print(f"{count} headers: {count - taken} refused, {taken} are the same layout; slowest {slowest * 1e3:.0f} ms")
    assert taken < count / 2


def test_what_the_library_refuses_is_refused_before(good, tmp_path):
    """No header is let in on which safetensors itself would end with an error of its own."""
    raw = (good / WEIGHTS).read_bytes()
    for seed in range(1_000):
        (tmp_path / WEIGHTS).write_bytes(mutated(raw, random.Random(seed)))
        try:
            load_file(tmp_path / WEIGHTS)
        except (SafetensorError, OSError, ValueError, TypeError):
            assert str(tmp_path / WEIGHTS) in refused(read_header, tmp_path / WEIGHTS)


SETTINGS = (
    "base_channels",
    "blocks",
    "condition_channels",
    "downsamples",
    "flow",
    "frames",
    "history",
    "scales",
    "sharpen",
)
odd = (
    st.integers()
    | st.floats()
    | st.booleans()
    | st.none()
    | st.text(max_size=300)
    | st.lists(st.integers(), max_size=3)
    | st.dictionaries(words, st.integers(), max_size=3)
)


@given(st.dictionaries(st.sampled_from(SETTINGS) | words, odd, min_size=1, max_size=4))
@settings(max_examples=300)
def test_any_settings_are_the_networks_own_or_refused(good, tmp_path_factory, changes):
    folder = tmp_path_factory.getbasetemp() / "settings"
    folder.mkdir(exist_ok=True)
    config = json.loads((good / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | changes))
    (folder / WEIGHTS).write_bytes((good / WEIGHTS).read_bytes())
    _, sentence = tried(check_stored, folder, Vid2VidGenerator)
    if sentence is None:
        same = {key for key, value in changes.items() if config.get(key) == value or key in ("sharpen", *PRIVATE)}
        assert same >= changes.keys()


@pytest.mark.parametrize(
    "setting", ["base_channels", "blocks", "condition_channels", "downsamples", "history", "scales"]
)
def test_a_billion_of_anything_is_refused_at_once(good, tmp_path, setting):
    config = json.loads((good / "config.json").read_text()) | {setting: 10**9}
    (tmp_path / "config.json").write_text(json.dumps(config))
    started = time.perf_counter()
    assert f"{setting} is 1000000000" in refused(check_stored, tmp_path, Vid2VidGenerator)
    seconds = time.perf_counter() - started
    print(f"10^9 {setting}: {seconds * 1e3:.1f} ms")
    assert seconds < 1


NETWORKS = {
    "generator": lambda: Vid2VidGenerator(3, scales=2, foreground=True, **TINY),
    "probabilities": lambda: Vid2VidGenerator(2, image_channels=5, frames="probabilities", **TINY),
    "image": lambda: Pix2PixHDGenerator(3, base_channels=4, downsamples=1, blocks=1, enhancers=1),
    "judge": lambda: MultiscaleDiscriminator(6, base_channels=4, layers=2, norm="batch"),
    "appearance": lambda: AppearanceEncoder(4, base_channels=4, downsamples=1, centres=3),
}


@pytest.mark.parametrize("shard", [None, "20KB"])
@pytest.mark.parametrize("variant", [None, "fp16"])
@pytest.mark.parametrize("name", NETWORKS)
def test_all_that_we_save_passes_and_loads(tmp_path, name, variant, shard):
    torch.manual_seed(0)
    network = NETWORKS[name]()
    network.save_pretrained(tmp_path, variant=variant, **({} if shard is None else {"max_shard_size": shard}))
    check_stored(tmp_path, type(network), variant)
    loaded = type(network).from_pretrained(tmp_path, variant=variant)
    assert all(
        torch.equal(a, b) for a, b in zip(network.state_dict().values(), loaded.state_dict().values(), strict=True)
    )


def test_checking_draws_no_numbers(good):
    state = torch.get_rng_state()
    check_stored(good, Vid2VidGenerator)
    assert torch.equal(state, torch.get_rng_state())


def test_a_whole_number_is_no_fraction(tmp_path):
    network = NETWORKS["appearance"]()
    network.save_pretrained(tmp_path)
    held = load_file(tmp_path / WEIGHTS)
    save_file(held | {"known": held["known"].float()}, tmp_path / WEIGHTS)
    assert "known of type F32, expected I64" in refused(check_stored, tmp_path, AppearanceEncoder)


def test_a_variant_that_is_not_there_is_told_from_those_that_are(good):
    assert "no weights for variant=fp16; there are weights for: no variant" in refused(
        check_stored, good, Vid2VidGenerator, "fp16"
    )


@pytest.mark.parametrize(
    ("names", "variant", "chosen"),
    [
        ([WEIGHTS], None, Weights((WEIGHTS,))),
        (
            [WEIGHTS, "diffusion_pytorch_model.fp16.safetensors"],
            "fp16",
            Weights(("diffusion_pytorch_model.fp16.safetensors",)),
        ),
        (
            ["diffusion_pytorch_model-00001-of-00001.safetensors", f"{WEIGHTS}.index.json", WEIGHTS],
            None,
            Weights(("diffusion_pytorch_model-00001-of-00001.safetensors",), f"{WEIGHTS}.index.json"),
        ),
        (
            [
                "diffusion_pytorch_model.bf16-00001-of-00001.safetensors",
                f"{WEIGHTS}.index.bf16.json",
                "notes.txt",
                "LICENSE",
            ],
            "bf16",
            Weights(("diffusion_pytorch_model.bf16-00001-of-00001.safetensors",), f"{WEIGHTS}.index.bf16.json"),
        ),
    ],
)
def test_which_files_hold_the_weights(names, variant, chosen):
    assert weight_files(names, variant, "x") == chosen


def test_links_within_and_links_of_the_hubs_cache_are_fine(tmp_path):
    repo = tmp_path / "hub" / "models--org--x"
    snapshot, blobs = repo / "snapshots" / ("0" * 40), repo / "blobs"
    shared = tmp_path / "hub" / "blobs" / "ab"
    for folder in (snapshot / "generator", blobs, shared):
        folder.mkdir(parents=True)
    (shared / "payload").write_text("x")
    (blobs / "own").write_text("x")
    (blobs / "shared").symlink_to("../../blobs/ab/payload")
    (tmp_path / "hub" / "other").write_text("x")
    for name, target in {"a": "../../../blobs/own", "b": "../../../blobs/shared", "c": "a"}.items():
        (snapshot / "generator" / name).symlink_to(target)
        check_inside(snapshot / "generator" / name, snapshot / "generator", name)
    (snapshot / "generator" / "d").symlink_to("../../../../other")
    assert "leads out of its folder" in refused(check_inside, snapshot / "generator" / "d", snapshot / "generator", "d")


def test_what_others_wrote_is_shown_on_one_short_line():
    assert shown("generator") == "generator"
    assert shown("two\nlines") == r"'two\nlines'"
    assert shown("\u202eevil") == r"'\u202eevil'"
    assert len(shown("x" * 10_000)) < 100
    assert some(["a", "b", "c", "d\n", "e"]) == "a, b, c and 2 more"
    assert some(["d\n"]) == r"'d\n'"
    assert np.all([len(some(["x" * 10_000])) < 100])

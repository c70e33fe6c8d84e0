"""Which files of a network's folder hold its weights: decided by their names alone, and as diffusers decides.

They are called ``diffusion_pytorch_model.safetensors``, ``diffusion_pytorch_model.fp16.safetensors`` for the variant
"fp16", and with ``-00001-of-00003`` before the ending where they come in shards, of which there is a list.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from vid2vid_hub.errors import ModelError
from vid2vid_hub.nn.strict import CONVERT, some

STEM = "diffusion_pytorch_model"
LIST = f"{STEM}.safetensors.index"
FILE = re.compile(rf"{STEM}(?:\.([A-Za-z0-9_]+))?(?:-([0-9]{{5}})-of-([0-9]{{5}}))?\.safetensors")
SHARDS = re.compile(rf"{re.escape(LIST)}(?:\.([A-Za-z0-9_]+))?\.json")

OTHERS = {
    **dict.fromkeys((".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".joblib", ".tar"), "a pickle"),
    **dict.fromkeys((".npy", ".npz"), "an array of NumPy"),
    **dict.fromkeys((".7z", ".zip", ".gz", ".tgz", ".xz", ".bz2", ".rar"), "an archive"),
    **dict.fromkeys((".h5", ".hdf5", ".onnx", ".msgpack", ".gguf", ".t7", ".pb"), "weights in another format"),
}
"""What else weights come in, and is never read."""


@dataclass(frozen=True)
class Weights:
    """The files that hold one variant of a network: one, or shards and the list of them."""

    files: tuple[str, ...]
    shards: str | None = None


def variants(names: Collection[str]) -> set[str | None]:
    """Which variants of weights there are among the names of a folder's files; None is the plain one."""
    found = (FILE.fullmatch(name) or SHARDS.fullmatch(name) for name in names)
    return {match[1] for match in found if match}


def weight_files(names: Collection[str], variant: str | None, source: str) -> Weights:
    """Choose the files of a network's weights by the names in its folder, as diffusers does.

    Raises:
        ModelError: there are none, or not of this variant, or some of the shards are missing; names what is there.
    """
    lists = [name for name in names if name.endswith(".json") and ".safetensors." in name]
    odd = [name for name in lists if not SHARDS.fullmatch(name)]
    if odd:
        raise ModelError(f"{source} holds {some(sorted(odd))}, no list of shards that is known here; save it anew")
    files = sorted(name for name in names if (match := FILE.fullmatch(name)) and match[1] == variant)
    whole = [name for name in files if "-of-" not in name]
    shards = next((name for name in names if (match := SHARDS.fullmatch(name)) and match[1] == variant), None)
    if shards is None and whole:
        return Weights((whole[0],))
    parts = [name for name in files if name not in whole]
    if shards is not None and parts:
        counts = {match[3] for name in parts if (match := FILE.fullmatch(name))}
        if len(counts) > 1 or len(parts) != int(min(counts)):
            raise ModelError(f"{source} is incomplete: of its shards there are {some(parts)}")
        return Weights(tuple(parts), shards)
    if parts or shards:
        raise ModelError(f"{source} is incomplete: it holds {shards or parts[0]} without the other files of its shards")
    raise ModelError(_nothing(names, variant, source))


def plain_files(network: Path) -> list[Path]:
    """The files of a network's weights without a variant, in order; none where there is no such folder."""
    named = ((path, FILE.fullmatch(path.name)) for path in sorted(network.glob("*.safetensors")))
    return [path for path, match in named if match is not None and match[1] is None]


def stranger(names: Collection[str]) -> str | None:
    """The first file that holds weights as they are never read, and what it is: "x.bin, a pickle"."""
    return next(
        (f"{name}, {OTHERS[end]}" for name in sorted(names) if (end := Path(name).suffix.lower()) in OTHERS), None
    )


def _nothing(names: Collection[str], variant: str | None, source: str) -> str:
    there = {f"variant={one}" if one else "no variant" for one in variants(names)}
    if there:
        wanted = f"variant={variant}" if variant else "no variant"
        return f"{source} holds no weights for {wanted}; there are weights for: {', '.join(sorted(there))}"
    found = stranger(names)
    if found:
        return (
            f"{source} holds {found}, which is never loaded; expected safetensors; {CONVERT} makes them of checkpoints"
        )
    return f"{source}/ holds no safetensors weights: {STEM}.safetensors is missing"

"""Files of strangers, read without trusting a byte: JSON, and the headers of safetensors. Nothing else is ever read."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from vid2vid_hub.errors import ModelError

MAX_JSON = 1 << 20
"""Bytes of a JSON file."""
MAX_HEADER = 16 << 20
"""Bytes of a header of safetensors; the names of a hundred thousand tensors fit."""
MAX_DEPTH = 32
MAX_WHOLE = 2**53
"""Whole numbers up to this are the same in every reader of JSON."""

BYTES = {
    **dict.fromkeys(("BOOL", "U8", "I8", "F8_E4M3", "F8_E5M2"), 1),
    **dict.fromkeys(("U16", "I16", "F16", "BF16"), 2),
    **dict.fromkeys(("U32", "I32", "F32"), 4),
    **dict.fromkeys(("U64", "I64", "F64"), 8),
}
"""How safetensors calls its types, and what a number of each takes."""

DISGUISES = {
    b"\x80": "a pickle",
    b"PK": "a zip archive, as torch.save writes it",
    b"7z\xbc\xaf\x27\x1c": "a 7z archive",
    b"\x1f\x8b": "a gzip archive",
    b"\x93NUMPY": "an array of NumPy",
    b"\x89HDF": "an HDF5 file",
}
"""How files begin that are called safetensors and are not."""
CONVERT = "vid2vid-hub convert"
PRIVATE = ("_class_name", "_diffusers_version", "_name_or_path")
"""What diffusers adds to settings."""


class Stored(NamedTuple):
    """What a header says of one tensor."""

    dtype: str
    shape: tuple[int, ...]


def read_json(path: Path, name: str | None = None) -> dict[str, Any]:
    """Read an object from a JSON file: UTF-8, no key twice, no number that others read differently, small and flat.

    Args:
        path: the file.
        name: what it is called in messages; the path by default.

    Raises:
        ModelError: it is missing or something else, and where.
    """
    name = name or str(path)
    raw = _start(path, MAX_JSON + 1, name)
    if len(raw) > MAX_JSON:
        raise ModelError(f"{name} is larger than {MAX_JSON} bytes, which no settings are; it is not read")
    return _parsed(raw, name)


def read_header(path: Path, name: str | None = None) -> dict[str, Stored]:
    """Read what a safetensors file says of its tensors; they must fill the file, with no gap and no overlap.

    Args:
        path: the file.
        name: what it is called in messages; the path by default.

    Raises:
        ModelError: it is missing, cut short, damaged, or no safetensors file, and what it is instead.
    """
    name = name or str(path)
    raw = _start(path, 8, name)
    size, length = path.stat().st_size, int.from_bytes(raw, "little")
    header = _start(path, 8 + length, name)[8:] if len(raw) == 8 and length <= min(MAX_HEADER, size - 8) else b""
    if not header.startswith(b"{"):
        found = next((kind for magic, kind in DISGUISES.items() if raw.startswith(magic)), None)
        if found is not None:
            raise ModelError(
                f"{name} is {found}, whatever its name says, and is never loaded; expected safetensors; {CONVERT} "
                "makes them of checkpoints"
            )
        raise ModelError(
            f"{name} is cut short, or no safetensors: it has {size} bytes and no header that fits in; get it again, "
            f"or make safetensors of a checkpoint with {CONVERT}"
        )
    return _tensors(_parsed(header, f"the header of {name}"), size - 8 - length, name)


def total(headers: Iterable[Mapping[str, Stored]]) -> int:
    """How many numbers the tensors of some headers are."""
    return sum(math.prod(tensor.shape) for header in headers for tensor in header.values())


def shown(value: Any, most: int = 80) -> str:
    """A value that somebody else wrote, for a message: on one line, and short."""
    text = value if isinstance(value, str) and value.isidentifier() else repr(value)
    return text if len(text) <= most else f"{text[:most]}…"


def some(names: Iterable[str]) -> str:
    """The first few of many names, and how many more there are."""
    found = list(names)
    listed = (name if name.isprintable() and len(name) <= 120 else shown(name) for name in found[:3])
    return ", ".join(listed) + (f" and {len(found) - 3} more" if len(found) > 3 else "")


def check_inside(path: Path, folder: Path, name: str) -> None:
    """Refuse a file or folder that is a link to somewhere outside of the folder that it was found in.

    The links of the Hub's own cache are fine: from ``snapshots`` to ``blobs``, of the repo or of the whole cache.

    Raises:
        ModelError: where it leads is nobody's business, so the message does not say.
    """
    home, real = folder.resolve(), path.resolve()
    rooms = [home]
    snapshots = next((place for place in (home, *home.parents) if place.name == "snapshots"), None)
    if snapshots is not None:
        rooms += [snapshots.parent / "blobs", snapshots.parents[1] / "blobs"]
    if not any(real.is_relative_to(room) for room in rooms):
        raise ModelError(f"{name} is a link that leads out of its folder; put the file itself there")


def _start(path: Path, count: int, name: str) -> bytes:
    """The first bytes of a regular file; a pipe or a device would never end."""
    try:
        if not path.is_file():
            raise ModelError(f"{name} is missing")
        with path.open("rb") as file:
            return file.read(count)
    except (OSError, ValueError) as error:
        raise ModelError(f"{name} cannot be read: {' '.join(str(error).split())[:200]}") from error


def _parsed(raw: bytes, name: str) -> dict[str, Any]:
    try:
        value = json.loads(
            raw.decode("utf-8"),
            object_pairs_hook=_object,
            parse_int=_whole,
            parse_float=_real,
            parse_constant=_constant,
        )
        json.dumps(value, ensure_ascii=False).encode("utf-8")
    except RecursionError as error:
        raise ModelError(f"{name} is nested deeper than {MAX_DEPTH} levels") from error
    except UnicodeError as error:
        raise ModelError(f"{name} is not JSON: it is not UTF-8 text throughout") from error
    except ValueError as error:
        raise ModelError(f"{name} is not JSON as it should be: {error}") from error
    if not isinstance(value, dict):
        raise ModelError(f"{name} holds no settings but {type(value).__name__}")
    if _deeper(value, MAX_DEPTH):
        raise ModelError(f"{name} is nested deeper than {MAX_DEPTH} levels")
    return value


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise ValueError(f"it has the key {shown(twice)} twice")
    return made


def _whole(text: str) -> int:
    if len(text) > len(str(-MAX_WHOLE)) or abs(int(text)) > MAX_WHOLE:
        raise ValueError(f"the number {text[:20]}… of {len(text)} digits is beyond {MAX_WHOLE}")
    return int(text)


def _real(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"the number {text[:20]} is beyond what a number can be")
    return value


def _constant(text: str) -> float:
    raise ValueError(f"it says {text}, which is no number")


def _deeper(value: Any, limit: int) -> bool:
    level = [value]
    for _ in range(limit):
        containers = (one for one in level if isinstance(one, dict | list))
        level = [child for one in containers for child in (one.values() if isinstance(one, dict) else one)]
    return any(isinstance(one, dict | list) for one in level)


def _tensors(header: Mapping[str, Any], size: int, name: str) -> dict[str, Stored]:
    """The tensors of a header, which must fill ``size`` bytes."""
    words = header.get("__metadata__", {})
    if not isinstance(words, dict) or not all(isinstance(word, str) for word in words.values()):
        raise ModelError(f"the header of {name} is damaged: its __metadata__ must be text by name")
    places, stored = [], {}
    for key, entry in header.items():
        if key == "__metadata__":
            continue
        if not isinstance(entry, dict) or entry.keys() != {"dtype", "shape", "data_offsets"}:
            raise ModelError(f"the header of {name} is damaged: {shown(key)} must have dtype, shape and data_offsets")
        dtype, shape, place = entry["dtype"], entry["shape"], entry["data_offsets"]
        if not isinstance(dtype, str) or dtype not in BYTES:
            raise ModelError(f"the header of {name} is damaged: {shown(key)} has the type {shown(dtype)}")
        if not _counts(shape) or not _counts(place) or len(place) != 2:
            raise ModelError(f"the header of {name} is damaged: {shown(key)} is {shown(shape)} at {shown(place)}")
        if place[1] - place[0] != math.prod(shape) * BYTES[dtype]:
            raise ModelError(
                f"the header of {name} is damaged: {shown(key)} has {shown(shape)} numbers of {dtype} in "
                f"{place[1] - place[0]} bytes"
            )
        places.append((place[0], place[1]))
        stored[key] = Stored(dtype, tuple(shape))
    end = 0
    for first, last in sorted(places):
        if first != end:
            raise ModelError(
                f"the header of {name} is damaged: tensors overlap or leave a gap at byte {min(first, end)}"
            )
        end = last
    if end != size:
        raise ModelError(f"{name} is cut short or damaged: its tensors take {end} bytes and it holds {size}")
    return stored


def _counts(value: Any) -> bool:
    return isinstance(value, list) and len(value) <= 16 and all(type(one) is int and one >= 0 for one in value)

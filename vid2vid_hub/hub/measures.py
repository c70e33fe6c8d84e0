"""``measures.json``: what was measured of a pipeline's weights, how, and on what. Written by ``evaluate --save``."""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open

from vid2vid_hub.errors import ModelError
from vid2vid_hub.folder import COMPONENTS
from vid2vid_hub.hub.contents import MEASURES
from vid2vid_hub.nn.layout import plain_files

FORMAT = 1


@dataclass(frozen=True)
class Measurement:
    """One table.

    Attributes:
        kind: "frames" for generated pictures, "future" for forecast label maps.
        task: name of the task.
        data: name of the dataset.
        split: of it.
        clips: how many were measured.
        frames: in them.
        width: pixels; None where clips differ.
        height: pixels; None where clips differ.
        first_frames: what the model went on from.
        every: frames from one forecast to the next; None for pictures.
        precision: of the run, such as "float32".
        systems: system -> measure -> value; the first system is the model, the others are floors.
        meaning: system or measure -> what it is, in words.
        better: measure -> "higher" or "lower", for those that have a direction.
        weights: :func:`weights_digest` of what was measured.
        version: of vid2vid-hub.
    """

    kind: str
    task: str
    data: str
    split: str
    clips: int
    frames: int
    width: int | None
    height: int | None
    first_frames: str
    every: int | None
    precision: str
    systems: dict[str, dict[str, float]]
    meaning: dict[str, str]
    better: dict[str, str]
    weights: str
    version: str

    def __post_init__(self) -> None:
        optional = {"width", "height", "every"}
        for field in fields(self):
            value, wanted = getattr(self, field.name), field.type
            kind = {"str": str, "int": int, "int | None": int}.get(str(wanted), dict)
            if type(value) is not kind and not (field.name in optional and value is None):
                raise ModelError(f"a measurement says {field.name} is {value!r}; expected {wanted}")
        for system, values in self.systems.items():
            for measure, value in values.items():
                if type(value) not in (int, float) or not math.isfinite(value):
                    raise ModelError(f"a measurement says {measure} of '{system}' is {value!r}; expected a number")
        if not self.systems or not all(isinstance(v, str) for v in (*self.meaning.values(), *self.better.values())):
            raise ModelError("a measurement holds no systems, or words that are no text")

    @property
    def place(self) -> tuple[Any, ...]:
        """What a later measurement must share to take this one's place."""
        return (
            *(self.kind, self.task, self.data, self.split, self.width, self.height),
            *(self.first_frames, self.every, self.precision),
        )

    @property
    def windows(self) -> int | None:
        """How many windows the distances of videos were computed on."""
        found = next(iter(self.systems.values())).get("windows")
        return None if found is None else round(found)


def weights_digest(folder: Path) -> str:
    """A sha256 of a pipeline folder's weights: of names, shapes and values, whatever their precision and their files.

    The same values in half precision, in single precision and in shards have one digest, because they measure the same.

    Raises:
        ModelError: a network's weights cannot be read.
    """
    whole = hashlib.sha256()
    for network in COMPONENTS:
        where = {key: path for path in plain_files(folder / network) for key in _keys(path)}
        for key in sorted(where):
            with safe_open(where[key], "pt") as file:
                tensor = file.get_tensor(key)
            if tensor.dtype in (torch.float16, torch.bfloat16):
                tensor = tensor.float()
            whole.update(f"{network}/{key} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
            whole.update(tensor.contiguous().flatten().view(torch.uint8).numpy().data)
    return whole.hexdigest()


def read_measures(folder: Path, *, current: bool = True) -> list[Measurement]:
    """The measurements that a folder holds.

    Args:
        folder: of a pipeline.
        current: leave out those of other weights than the folder's.

    Raises:
        ModelError: ``measures.json`` is damaged, or of another format.
    """
    path = folder / MEASURES
    if not path.is_file():
        return []
    try:
        content = json.loads(path.read_text("utf-8"))
        if content["format"] != FORMAT:
            raise ModelError(f"it has format {content['format']}, and this version reads format {FORMAT}")
        found = [Measurement(**one) for one in content["measurements"]]
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError, ModelError) as error:
        raise ModelError(f"{path} cannot be read: {error}; measure again with evaluate --save") from error
    if not found or not current:
        return found
    digest = weights_digest(folder)
    return [one for one in found if one.weights == digest]


def save_measures(folder: Path, measurement: Measurement) -> None:
    """Put a measurement into a folder: in the place of an earlier one of the same kind, and of all of other weights.

    Raises:
        ModelError: the folder cannot be written, or holds a damaged ``measures.json``.
    """
    kept = [one for one in read_measures(folder, current=False) if one.weights == measurement.weights]
    places = {one.place: one for one in (*kept, measurement)}
    write_measures(folder, list(places.values()))


def write_measures(folder: Path, measurements: list[Measurement]) -> None:
    """Write ``measures.json``; it appears when it is whole.

    Raises:
        ModelError: the folder cannot be written.
    """
    beside = folder / f".{MEASURES}.part"
    content = {"format": FORMAT, "measurements": [asdict(one) for one in measurements]}
    try:
        beside.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
        beside.replace(folder / MEASURES)
    except OSError as error:
        beside.unlink(missing_ok=True)
        raise ModelError(f"{folder / MEASURES} cannot be written: {error}") from error


def _keys(path: Path) -> list[str]:
    try:
        with safe_open(path, "pt") as file:
            return list(file.keys())
    except (OSError, SafetensorError) as error:
        raise ModelError(f"{path} is no safetensors file that can be read: {error}") from error

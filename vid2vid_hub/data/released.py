"""Layouts that people already have, read as they are: the folders of the released code, and Cityscapes' own.

Opening lists folders and decodes nothing; pictures are read, and their sizes compared, when a stretch is asked for.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from vid2vid_hub.data.policy import MAX_PIXELS, typed
from vid2vid_hub.data.video import read_picture
from vid2vid_hub.errors import ConditionError, DatasetError, VideoError
from vid2vid_hub.tasks import Task
from vid2vid_hub.types import Condition

FPS = Fraction(25)
"""What folders of pictures are taken to run at, since they do not say."""
CITYSCAPES_FPS = Fraction(17)

PHASES = {"train": ("train",), "val": ("val", "test")}
"""Split -> the prefixes of the released layout that may hold it; the first that is there does."""

IMAGES = ("leftImg8bit_sequence", "leftImg8bit")
LABELS = ("gtFine_sequence", "gtFine")
"""Cityscapes' folders of frames and of labels, the complete ones first. ``gtFine`` labels one frame in thirty;
``gtFine_sequence`` is what people call the output of a segmenter that has the others."""
LABEL_IDS = 34
"""Files called labelIds hold 0 to 33; those called labelTrainIds hold 0 to 18, and 255."""

_CITYSCAPES_IMAGE = re.compile(r"(.+_\d{6})_(\d{6})_leftImg8bit\.png")
_PICTURES = (".png", ".jpg", ".jpeg")


@dataclass(frozen=True)
class PictureFiles:
    """Pictures of one folder, in the order of time."""

    folder: Path
    names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.names)

    def paths(self, start: int, stop: int) -> list[Path]:
        """Pictures ``start`` to ``stop - 1``."""
        return [self.folder / name for name in self.names[start:stop]]


@dataclass(frozen=True)
class ReleasedClip:
    """A sequence that lies on disk as folders of pictures: a :class:`~vid2vid_hub.data.clips.ClipSource`.

    Attributes:
        name: of the sequence.
        real: the real frames.
        drawn: their conditions, as pictures that the task parses.
        ids: their instance ids, as grey PNGs of 8 or 16 bits; None if there are none.
        task: what the conditions mean.
        fps: frames a second.
    """

    name: str
    real: PictureFiles
    drawn: PictureFiles
    ids: PictureFiles | None
    task: Task
    fps: Fraction = FPS

    @property
    def length(self) -> int:
        """How many frames there are."""
        return len(self.real)

    @cached_property
    def size(self) -> tuple[int, int]:
        """(height, width) of the first real frame; all other pictures must have it too."""
        height, width = read_picture(self.real.paths(0, 1)[0]).shape[:2]
        return height, width

    def frames(self, start: int, stop: int) -> Tensor:
        """Real frames, uint8 (T, 3, H, W) RGB.

        Raises:
            DatasetError: there are no such frames, or a picture has another size or is grey.
            VideoError: a picture cannot be read.
        """
        frames = self._read(self.real, start, stop, read_picture)
        if frames.shape[1] != 3:
            raise DatasetError(f"{self.real.paths(start, stop)[0]} has one channel; the real frames must be in colour")
        return frames

    def condition(self, start: int, stop: int) -> Condition:
        """The condition of those frames.

        Raises:
            DatasetError: there are no such frames, or a picture has another size, or other channels than the first.
            ConditionError: the task does not take a picture; file and frame are named.
            VideoError: a picture cannot be read.
        """
        pictures = self._read(self.drawn, start, stop, read_picture)
        try:
            condition = self.task.parse(pictures)
        except ConditionError as error:
            where = self.drawn.folder if error.frame is None else self.drawn.paths(start, stop)[error.frame]
            raise ConditionError(f"{where}, {error.moved(start)}") from error
        if self.ids is None:
            return condition
        return Condition(condition.maps, self._read(self.ids, start, stop, read_ids))

    def flow(self, start: int, stop: int) -> None:
        """None: these layouts hold no flow."""

    def _read(
        self, files: PictureFiles, start: int, stop: int, read: Callable[[Path], NDArray[np.uint8 | np.int32]]
    ) -> Tensor:
        """Pictures ``start`` to ``stop - 1`` as (T, C, H, W), all of the clip's size and alike."""
        if not 0 <= start < stop <= self.length:
            raise DatasetError(f"frames {start} to {stop} of {self.name} were asked for; it has {self.length} frames")
        pictures: list[NDArray[np.uint8 | np.int32]] = []
        for path in files.paths(start, stop):
            picture = read(path)
            if picture.shape[:2] != self.size:
                raise DatasetError(
                    f"{path} is {_wxh(picture.shape)}, but the sequence's first real frame "
                    f"{self.real.paths(0, 1)[0]} is {_wxh(self.size)}; all pictures of a sequence must be of one size"
                )
            if pictures and picture.shape != pictures[0].shape:
                raise DatasetError(
                    f"{path} has {picture.shape[2]} channels after {pictures[0].shape[2]} in the pictures before it; "
                    "save all alike"
                )
            pictures.append(picture)
        return torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).contiguous()


def read_ids(path: Path) -> NDArray[np.int32]:
    """Read a picture of instance ids: a grey PNG of 8 or 16 bits, or the indices of a palette, as int32 (H, W, 1).

    Raises:
        VideoError: it is another kind of picture, or cannot be read.
    """
    with typed(path), path.open("rb") as file, Image.open(file, formats=("PNG",)) as image:
        if image.width * image.height > MAX_PIXELS:
            raise VideoError(f"{path} is {image.width}x{image.height}, over the {MAX_PIXELS} pixels that are read")
        if image.mode in ("I;16", "I"):  # 16 bits, as newer and as older versions of Pillow call them
            return np.asarray(image).astype(np.int32)[..., None]
    ids = read_picture(path)
    if ids.shape[2] != 1:
        raise VideoError(f"{path} is in colour, where instance ids as a grey PNG of 8 or 16 bits were expected")
    return ids.astype(np.int32)


def is_released(folder: Path) -> bool:
    """Whether a folder has the released layout: ``train_A`` and ``train_B``, or those of another phase."""
    phases = (phase for phases in PHASES.values() for phase in phases)
    return any((folder / f"{phase}_A").is_dir() and (folder / f"{phase}_B").is_dir() for phase in phases)


def read_released(folder: Path, split: str, task: Task) -> list[ReleasedClip]:
    """The sequences of ``{phase}_A`` (conditions), ``{phase}_B`` (real frames) and, if there, ``{phase}_inst`` (ids).

    Each holds a sub-folder a sequence. Sequences and frames pair by their order, not by name; their counts must agree.

    Args:
        folder: of the dataset.
        split: "train"; or "val", which is the phase ``val`` if there is one, else ``test``.
        task: what the conditions mean.

    Returns:
        One clip a sequence, in the order of names; none if the phase is absent.

    Raises:
        DatasetError: counts differ, a sequence is empty, or pictures lie where sequences should.
    """
    phase = next((phase for phase in PHASES.get(split, (split,)) if (folder / f"{phase}_A").is_dir()), None)
    if phase is None:
        return []
    drawn, real = _sequences(folder / f"{phase}_A"), _sequences(folder / f"{phase}_B")
    _check_pairs(folder / f"{phase}_A", drawn, folder / f"{phase}_B", real)
    ids: list[PictureFiles | None] = [None] * len(drawn)
    instances = folder / f"{phase}_inst"
    if instances.is_dir():
        found = _sequences(instances)
        _check_pairs(folder / f"{phase}_A", drawn, instances, found)
        ids = list(found)
    return [ReleasedClip(a.folder.name, b, a, i, task) for a, b, i in zip(drawn, real, ids, strict=True)]


def is_cityscapes(folder: Path) -> bool:
    """Whether a folder is a Cityscapes root: it has ``leftImg8bit_sequence`` or ``leftImg8bit``."""
    return any((folder / images).is_dir() for images in IMAGES)


def read_cityscapes(folder: Path, split: str, task: Task) -> list[ReleasedClip]:
    """The labelled stretches of a Cityscapes root: runs of two or more consecutive frames that have a label map.

    Which label maps are read follows from the task, and is never guessed from what lies there, since the two kinds
    cannot be told apart by their values: ``labelIds`` if the task has a class for each of their ids, else
    ``labelTrainIds``. Instance ids are read if the frames of a stretch have them.

    Args:
        folder: with ``leftImg8bit_sequence`` or ``leftImg8bit``, and ``gtFine_sequence`` or ``gtFine``.
        split: the folder below them.
        task: what the labels mean.

    Raises:
        DatasetError: no stretch is labelled, or only some frames of one have instance ids.
    """
    images = _first_with(folder, IMAGES, split)
    if images is None:
        return []
    labels = _first_with(folder, LABELS, split) or folder / LABELS[1] / split
    classes = task.labels.names if task.labels is not None else range(LABEL_IDS)
    kind = "labelIds" if all(label in classes for label in range(LABEL_IDS)) else "labelTrainIds"
    clips = [clip for city in _folders(images) for clip in _runs(city, labels / city.name, kind, task)]
    if not clips and any(_names(city) for city in _folders(images)):
        raise DatasetError(
            f"{labels} has no *_gtFine_{kind}.png for two consecutive frames of {images}: gtFine alone labels single "
            f"frames; segment the others into {folder / LABELS[0]}, named alike, or make a dataset with prepare"
        )
    return clips


def _runs(images: Path, labels: Path, kind: str, task: Task) -> Iterator[ReleasedClip]:
    """The labelled stretches of one city."""
    there = set(_names(labels)) if labels.is_dir() else set()
    runs: list[list[str]] = []
    expected = ""
    for name in _names(images):
        found = _CITYSCAPES_IMAGE.fullmatch(name)
        if found is None or f"{found[1]}_{found[2]}_gtFine_{kind}.png" not in there:
            continue
        frame = f"{found[1]}_{found[2]}"
        if frame != expected:
            runs.append([])
        runs[-1].append(frame)
        expected = f"{found[1]}_{int(found[2]) + 1:06}"
    for run in runs:
        if len(run) > 1:
            real, drawn, ids = (
                tuple(f"{frame}_{what}.png" for frame in run)
                for what in ("leftImg8bit", f"gtFine_{kind}", "gtFine_instanceIds")
            )
            missing = [name for name in ids if name not in there]
            if missing and len(missing) < len(ids):
                raise DatasetError(f"{labels / missing[0]} is missing, though others from {run[0]} on are there")
            instances = None if missing else PictureFiles(labels, ids)
            yield ReleasedClip(
                run[0], PictureFiles(images, real), PictureFiles(labels, drawn), instances, task, CITYSCAPES_FPS
            )


def _first_with(folder: Path, names: Sequence[str], split: str) -> Path | None:
    return next((folder / name / split for name in names if (folder / name / split).is_dir()), None)


def _sequences(folder: Path) -> list[PictureFiles]:
    if not folder.is_dir():
        raise DatasetError(f"{folder} is missing; conditions are expected in *_A and real frames in *_B")
    sequences = [PictureFiles(inside, _names(inside)) for inside in _folders(folder)]
    for sequence in sequences:
        if not sequence.names:
            raise DatasetError(f"{sequence.folder} holds no PNG or JPEG pictures; put frames there or remove it")
    if not sequences and (loose := _names(folder)):
        raise DatasetError(f"{folder / loose[0]} is in no sequence; put the frames of each into a folder of its own")
    return sequences


def _check_pairs(folder: Path, ours: Sequence[PictureFiles], other: Path, theirs: Sequence[PictureFiles]) -> None:
    if len(ours) != len(theirs):
        apart = sorted({one.folder.name for one in ours} ^ {one.folder.name for one in theirs})
        only = f"; only one of them has '{apart[0]}'" if apart else ""
        raise DatasetError(f"{folder} has {len(ours)} sequences, but {other} has {len(theirs)}{only}")
    shared = {one.folder.name for one in ours} & {one.folder.name for one in theirs}
    for one, its in zip(ours, theirs, strict=True):
        if one.folder.name != its.folder.name and {one.folder.name, its.folder.name} & shared:
            raise DatasetError(
                f"{one.folder} and {its.folder} come to stand side by side by their order, though one has its namesake "
                "elsewhere; give both folders the same sequences"
            )
        if len(one) != len(its):
            raise DatasetError(
                f"{one.folder} has {len(one)} pictures, but {its.folder} has {len(its)}; give one for each frame"
            )


def _folders(folder: Path) -> list[Path]:
    return sorted(p for p in folder.iterdir() if p.is_dir() and not p.name.startswith("."))


def _names(folder: Path) -> tuple[str, ...]:
    """Names of the pictures in a folder, sorted; those that begin with a dot are other programs' leftovers."""
    names = (path.name for path in folder.iterdir() if path.suffix.lower() in _PICTURES)
    return tuple(sorted(name for name in names if not name.startswith(".")))


def _wxh(shape: tuple[int, ...]) -> str:
    return f"{shape[1]}x{shape[0]}"

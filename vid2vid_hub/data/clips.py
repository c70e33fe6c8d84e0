"""Dataset folders on disk -> Clip: records of ``metadata.jsonl``, and stretches of them as training wants them.

A dataset folder holds ``dataset.json`` and, per split, ``metadata.jsonl`` with one line a clip. Real frames are a
video, conditions and instance ids are lossless, flow is half-precision safetensors; ``docs/data.md`` says every field.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from einops import rearrange
from safetensors import SafetensorError, safe_open
from torch import Tensor

from vid2vid_hub.data.maps import open_instances, open_maps
from vid2vid_hub.data.origin import Origin
from vid2vid_hub.data.video import open_video
from vid2vid_hub.errors import DatasetError
from vid2vid_hub.tasks import Task
from vid2vid_hub.types import Clip, Condition, resized_points

FORMAT = 1
SPLITS = ("train", "val")


class ClipSource(Protocol):
    """One clip on disk, whatever the layout around it."""

    @property
    def name(self) -> str:
        """What the clip is called in messages."""

    @property
    def length(self) -> int:
        """Its frames."""

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) in pixels."""

    @property
    def fps(self) -> Fraction:
        """Frames a second."""

    def frames(self, start: int, stop: int) -> Tensor:
        """Real frames, uint8 (T, 3, H, W) RGB."""

    def condition(self, start: int, stop: int) -> Condition:
        """The condition of those frames."""

    def flow(self, start: int, stop: int) -> Tensor | None:
        """Cached flow of frames start+1 .. stop-1 to their predecessors, float (T-1, 2, H, W) pixels, or None."""


@dataclass(frozen=True)
class PreparedClip:
    """A clip that ``prepare`` wrote: a line of ``metadata.jsonl``; file names are relative to the split's folder."""

    folder: Path
    name: str
    length: int
    size: tuple[int, int]
    fps: Fraction
    maps: int
    frames_file_name: str
    condition_file_name: str
    instances_file_name: str | None = None
    flow_file_name: str | None = None
    points_file_name: str | None = None

    def frames(self, start: int, stop: int) -> Tensor:
        """See :class:`ClipSource`."""
        with open_video(self.folder / self.frames_file_name, backend="decord") as reader:
            frames = torch.from_numpy(reader.read(range(start, stop)))
        height, width = self.size  # the encoder repeats the last row and column of odd sides
        return frames[:, :height, :width].permute(0, 3, 1, 2).contiguous()

    def condition(self, start: int, stop: int) -> Condition:
        """See :class:`ClipSource`."""
        with open_maps(self.folder / self.condition_file_name, channels=self.maps) as reader:
            maps = reader.read(start, stop)
        points = self._stored(self.points_file_name, "points", start, stop)
        if self.instances_file_name is None:
            return Condition(maps, points=points)
        with open_instances(self.folder / self.instances_file_name) as reader:
            return Condition(maps, reader.read(start, stop), points)

    def flow(self, start: int, stop: int) -> Tensor | None:
        """See :class:`ClipSource`."""
        return self._stored(self.flow_file_name, "flow", start, stop - 1)

    def _stored(self, file_name: str | None, key: str, start: int, stop: int) -> Tensor | None:
        if file_name is None:
            return None
        path = self.folder / file_name
        try:
            with safe_open(path, "pt") as file:
                tensor: Tensor = file.get_slice(key)[start:stop]
        except (OSError, SafetensorError) as error:
            raise DatasetError(f"{path} does not hold the {key} of its clip ({error}); run prepare again") from error
        return tensor.float()

    def record(self) -> dict[str, Any]:
        """The line of ``metadata.jsonl``."""
        height, width = self.size
        return {
            "name": self.name,
            "length": self.length,
            "height": height,
            "width": width,
            "fps": str(self.fps),
            "maps": self.maps,
            "frames_file_name": self.frames_file_name,
            "condition_file_name": self.condition_file_name,
            "instances_file_name": self.instances_file_name,
            "flow_file_name": self.flow_file_name,
            "points_file_name": self.points_file_name,
        }

    @classmethod
    def from_record(cls, folder: Path, record: dict[str, Any]) -> PreparedClip:
        """The inverse of :meth:`record`.

        Raises:
            DatasetError: a field is missing or unknown, or a file that it names is not there.
        """
        try:
            fields = dict(record)
            size = int(fields.pop("height")), int(fields.pop("width"))
            clip = cls(folder=folder, size=size, fps=Fraction(fields.pop("fps")), **fields)
        except (KeyError, TypeError, ValueError, ZeroDivisionError) as error:
            raise DatasetError(f"{folder / 'metadata.jsonl'}: the line {record} is not a clip: {error}") from error
        for key in (name for name in clip.__dataclass_fields__ if name.endswith("_file_name")):
            file = getattr(clip, key)
            if file is not None and not _inside(folder, str(file)):
                raise DatasetError(
                    f"{folder / 'metadata.jsonl'}: clip '{clip.name}' names {file}, which is no file of this folder; "
                    "restore it, or run prepare again"
                )
        return clip


def _inside(folder: Path, file: str) -> bool:
    path = (folder / file).resolve()
    return path.is_relative_to(folder.resolve()) and path.is_file()


@dataclass(frozen=True)
class Description:
    """``dataset.json``: what all clips of a dataset folder share.

    Attributes:
        task: what the conditions belong to.
        task_config: its settings.
        flow: whose flow is cached, or None.
        format: of the folder.
        measured: settings that the task learned from the clips (:meth:`Task.measure`); a training takes them over.
        origin: where the clips come from; a model's card repeats it.
    """

    task: str
    task_config: dict[str, Any]
    flow: str | None
    format: int = FORMAT
    measured: dict[str, Any] = field(default_factory=dict)
    origin: Origin = field(default_factory=Origin)

    @classmethod
    def read(cls, folder: Path) -> Description:
        """Read it from a dataset folder.

        Raises:
            DatasetError: it is missing, or of another format.
        """
        path = folder / "dataset.json"
        try:
            fields = json.loads(path.read_text())
            if fields["format"] != FORMAT:
                raise DatasetError(f"{path} has format {fields['format']}; this version reads format {FORMAT}")
            return cls(**fields | {"origin": Origin(**fields.get("origin", {}))})
        except FileNotFoundError as error:
            raise DatasetError(f"{folder} is not a dataset: it has no dataset.json; make one with prepare") from error
        except KeyError as error:
            raise DatasetError(f"{path} does not say its format; this version reads format {FORMAT}") from error
        except (OSError, ValueError, TypeError) as error:
            raise DatasetError(f"{path} cannot be read: {error}") from error


def read_clips(folder: Path, split: str) -> list[PreparedClip]:
    """The clips of one split of a dataset folder, in the order of its ``metadata.jsonl``; none if the split is absent.

    Raises:
        DatasetError: the folder contradicts itself.
    """
    Description.read(folder)
    path = folder / split / "metadata.jsonl"
    if not path.is_file():
        return []
    try:
        lines = path.read_text().splitlines()
    except (OSError, ValueError) as error:
        raise DatasetError(f"{path} cannot be read: {error}") from error
    clips = []
    for number, line in enumerate(lines, 1):
        try:
            record = json.loads(line)
        except ValueError as error:
            raise DatasetError(f"{path}, line {number}, is not JSON: {error}") from error
        clips.append(PreparedClip.from_record(path.parent, record))
    return clips


@dataclass(frozen=True)
class Window:
    """A stretch of a clip: which one, from which frame, how many, mirrored or not; ``seed`` lets the task vary it."""

    clip: int
    start: int
    length: int
    flip: bool = False
    seed: int | None = None


def epoch_windows(lengths: Sequence[int], frames: int, flip: float, seed: int, epoch: int) -> list[Window]:
    """Cut every clip into stretches of ``frames`` and shuffle them: a pure function, so that resuming needs no state.

    Cuts begin at a random offset, so no frame is always first; every frame but those before the offset or behind the
    last whole stretch is seen once an epoch. A clip shorter than ``frames`` is one stretch of its own length.

    Args:
        lengths: frames of each clip.
        frames: the stretch's length.
        flip: probability of mirroring a stretch left to right.
        seed: of the run.
        epoch: counted from 0.
    """
    generator = torch.Generator().manual_seed(seed * 1_000_003 + epoch)
    windows = []
    for clip, length in enumerate(lengths):
        take = min(frames, length)
        slack = length % take
        offset = int(torch.randint(slack + 1, (), generator=generator)) if slack else 0
        windows += [Window(clip, start, take) for start in range(offset, length - take + 1, take)]
    order = torch.randperm(len(windows), generator=generator).tolist()
    mirrored = (torch.rand(len(windows), generator=generator) < flip).tolist()
    seeds = torch.randint(2**31, (len(windows),), generator=generator).tolist()
    return [replace(windows[i], flip=flip, seed=own) for i, flip, own in zip(order, mirrored, seeds, strict=True)]


def batches(windows: Sequence[Window], size: int) -> list[list[Window]]:
    """Group windows of equal length, in order, ``size`` at a time; a last smaller group is kept."""
    groups: dict[int, list[Window]] = {}
    done = []
    for window in windows:
        group = groups.setdefault(window.length, [])
        group.append(window)
        if len(group) == size:
            done.append(groups.pop(window.length))
    return [*done, *groups.values()]


def read_window(
    source: ClipSource, window: Window, size: tuple[int, int] | None = None, task: Task | None = None
) -> Clip:
    """Read a stretch as a batch of one.

    Args:
        source: the clip.
        window: which stretch of it.
        size: (height, width) to resize to; labels and ids by the nearest pixel, never mixed.
        task: varies the condition of a window with a seed, and says which points a mirror exchanges.
    """
    stop = window.start + window.length
    condition = source.condition(window.start, stop)
    if task is not None and window.seed is not None:
        condition = task.augment(condition, torch.Generator().manual_seed(window.seed))
    frames = source.frames(window.start, stop).float().div(127.5).sub(1)
    clip = Clip(
        frames[None],
        condition.maps[None],
        _batch_of_one(condition.instances),
        _batch_of_one(source.flow(window.start, stop)),
        (f"{source.name}[{window.start}:{stop}]",),
        _batch_of_one(condition.points),
    )
    if size is not None:
        clip = resize(clip, size)
    return mirror(clip, None if task is None else task.mirrored) if window.flip else clip


def collate(clips: Sequence[Clip]) -> Clip:
    """Clips of equal length and size to one batch; instances, flow and points stay only if all have them."""
    return Clip(
        torch.cat([clip.frames for clip in clips]),
        torch.cat([clip.maps for clip in clips]),
        _together([clip.instances for clip in clips]),
        _together([clip.flow for clip in clips]),
        tuple(name for clip in clips for name in clip.names),
        _together([clip.points for clip in clips]),
    )


def resize(clip: Clip, size: tuple[int, int]) -> Clip:
    """The clip at another (height, width): frames and flow smoothly, maps and ids by the nearest pixel."""
    height, width = clip.frames.shape[-2:]
    if (height, width) == size:
        return clip
    scale = clip.frames.new_tensor((size[1] / width, size[0] / height)).view(1, 2, 1, 1)
    return replace(
        clip,
        frames=_interpolate(clip.frames, size, mode="bicubic", antialias=True).clamp(-1, 1),
        maps=_interpolate(clip.maps, size, mode="nearest-exact"),
        instances=None if clip.instances is None else _nearest_ids(clip.instances, size),
        flow=None if clip.flow is None else _interpolate(clip.flow, size, mode="bilinear", antialias=True) * scale,
        points=resized_points(clip.points, (height, width), size),
    )


def stretch(clip: Clip, start: int, stop: int) -> Clip:
    """Frames ``start`` to ``stop - 1`` of a clip, with the flow between them."""
    return replace(
        clip,
        frames=clip.frames[:, start:stop],
        maps=clip.maps[:, start:stop],
        instances=None if clip.instances is None else clip.instances[:, start:stop],
        flow=None if clip.flow is None else clip.flow[:, start : stop - 1],
        points=None if clip.points is None else clip.points[:, start:stop],
    )


def mirror(clip: Clip, mirrored: Sequence[int] | None = None) -> Clip:
    """The clip seen in a mirror: everything left to right, and flow's x turned round.

    Args:
        clip: a batch of any size.
        mirrored: as in :attr:`Task.mirrored`.
    """
    flow = clip.flow
    if flow is not None:
        flow = flow.flip(-1) * flow.new_tensor((-1.0, 1.0)).view(1, 1, 2, 1, 1)
    instances = None if clip.instances is None else clip.instances.flip(-1)
    points = clip.points
    if points is not None:
        points = points if mirrored is None else points[..., list(mirrored), :]
        x, y, confidence = points.unbind(-1)
        points = torch.stack((torch.where(confidence > 0, clip.frames.shape[-1] - 1 - x, x), y, confidence), -1)
    return replace(
        clip, frames=clip.frames.flip(-1), maps=clip.maps.flip(-1), instances=instances, flow=flow, points=points
    )


def encode_clip(task: Task, clip: Clip) -> tuple[Tensor, Tensor | None]:
    """The batch's conditions as the network reads them.

    Returns:
        features (B, T, S, H, W), and the foreground mask (B, T, 1, H, W) where the task has one.
    """
    encoded = task.encode(clip.condition)
    batched = "(b t) c h w -> b t c h w"
    features = rearrange(encoded.features, batched, b=len(clip.maps))
    where = None if encoded.foreground is None else rearrange(encoded.foreground, batched, b=len(clip.maps))
    return features, where


def learned(task: Task, clip: Clip) -> Tensor:
    """What a generator of the task learns to make of the batch: float (B, T, C, H, W) in [-1, 1]."""
    every = task.target(clip.frames.flatten(0, 1), clip.condition)
    return rearrange(every, "(b t) c h w -> b t c h w", b=len(clip.frames))


def _interpolate(x: Tensor, size: tuple[int, int], **how: Any) -> Tensor:
    resized: Tensor = F.interpolate(x.flatten(0, 1), size, **how)
    return torch.unflatten(resized, 0, x.shape[:2])


def _nearest_ids(ids: Tensor, size: tuple[int, int]) -> Tensor:
    """Ids pass through double precision, which holds every int32 exactly."""
    return _interpolate(ids.double(), size, mode="nearest-exact").to(torch.int32)


def _together(tensors: Sequence[Tensor | None]) -> Tensor | None:
    there = [tensor for tensor in tensors if tensor is not None]
    return torch.cat(there) if len(there) == len(tensors) else None


def _batch_of_one(tensor: Tensor | None) -> Tensor | None:
    return None if tensor is None else tensor[None]

"""One video to prepare, with what is given for it: how it is looked over, and how a stretch of it is seen by a task."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import islice
from pathlib import Path

import torch
from torch import Tensor

from vid2vid_hub.data.cuts import CutFinder
from vid2vid_hub.data.pictures import picture_blocks
from vid2vid_hub.data.policy import Pictures
from vid2vid_hub.data.released import read_ids
from vid2vid_hub.data.video import FolderReader, open_video
from vid2vid_hub.errors import ConditionError, DatasetError, TaskError
from vid2vid_hub.tasks import Task
from vid2vid_hub.types import Condition, Observed, joined

SMALLEST = 16
"""Pixels a side; flow cannot be estimated on much less."""


@dataclass(frozen=True)
class Material:
    """One video to prepare.

    Attributes:
        video: real frames, a file or a folder of pictures.
        condition: its condition, drawn as pictures or as the task reads it; None finds it in the frames.
        instances: object ids as pictures, or None.
    """

    video: Path
    condition: Path | None = None
    instances: Path | None = None


@dataclass(frozen=True)
class Overview:
    """What one look at all frames of a video tells: how many, how many a second, and where new shots begin."""

    length: int
    fps: Fraction
    cuts: tuple[int, ...]


def match(videos: Sequence[Path], conditions: Sequence[Path], instances: Sequence[Path]) -> list[Material]:
    """Pair videos with conditions and instances by their order.

    Raises:
        DatasetError: the counts differ, or two videos share a name.
    """
    for what, others in (("conditions", conditions), ("instances", instances)):
        if others and len(others) != len(videos):
            raise DatasetError(
                f"{len(videos)} videos but {len(others)} {what}; give one for each video, in the same order"
            )
    stems = [video.stem for video in videos]
    twice = sorted({stem for stem in stems if stems.count(stem) > 1})
    if twice:
        raise DatasetError(f"two videos are called '{twice[0]}'; a dataset names its clips after them")
    return [
        Material(video, conditions[i] if conditions else None, instances[i] if instances else None)
        for i, video in enumerate(videos)
    ]


def look_over(task: Task, material: Material) -> Overview:
    """Decode a video once, in constant memory: all its frames are there, and what is given for it is as long.

    Raises:
        DatasetError: it is grey or too small, or what is given has other frames.
        VideoError, ConditionError: it, or what is given, cannot be read.
    """
    video, finder, length = material.video, CutFinder(), 0
    with open_video(video) as reader:
        if reader.channels != 3:
            raise DatasetError(f"{video} has one channel; the real frames must be in colour")
        if min(reader.size) < SMALLEST:
            raise DatasetError(
                f"{video} is {wxh(reader.size)}, where at least {SMALLEST}x{SMALLEST} pixels were expected"
            )
        for frame in reader.frames():
            finder.take(frame)
            length += 1
        fps, size = reader.fps, reader.size
    for what, path in (("conditions", material.condition), ("instances", material.instances)):
        if path is None:
            continue
        if what == "conditions" and task.reads(path):
            try:
                found = sum(len(block) for block in _read(task, path, size))
            except ConditionError as error:
                raise _named(error, path) from error
        else:
            with closing(open_video(path)) as reader:
                found = len(reader)
        if found != length:
            raise DatasetError(f"{video} has {length} frames, but its {what} {path} have {found}")
    return Overview(length, fps, tuple(finder.close()))


def see(task: Task, material: Material, start: int, stop: int) -> Iterator[Observed]:
    """What the task sees in frames ``start`` to ``stop - 1``, one session of it, a few frames at a time.

    Raises:
        DatasetError: sizes differ.
        ConditionError: what is given, or seen, means nothing to the task; file and frame are named.
        TaskError: the task cannot find its condition, or returns another number of frames than it was given.
    """
    source = material.condition or material.video
    try:
        seen = (
            _found(task, material, start, stop) if material.condition is None else _given(task, material, start, stop)
        )
        ids = None if material.instances is None else _ids(material.instances, start, stop)
        first = start
        for one in seen:
            if ids is not None:
                numbers = torch.stack(list(islice(ids, len(one.frames))))
                _check_size(material.instances, first, numbers.shape[2:], material.video, one.frames.shape[2:])
                one = replace(one, condition=replace(one.condition, instances=numbers))
            _check_size(source, first, one.condition.size, material.video, one.frames.shape[2:])
            yield one
            first += len(one.frames)
    except ConditionError as error:
        raise _named(error, source) from error


def _found(task: Task, material: Material, start: int, stop: int) -> Iterator[Observed]:
    count = 0
    try:
        for seen in task.observe(_reals(material.video, start, stop)):
            count += len(seen.frames)
            yield seen
    except ConditionError as error:
        raise error.moved(start) from error
    if count != stop - start:
        raise TaskError(f"task '{task.name}' was shown {stop - start} frames of {material.video} and returned {count}")


def _given(task: Task, material: Material, start: int, stop: int) -> Iterator[Observed]:
    path = material.condition
    assert path is not None
    if task.reads(path):
        with open_video(material.video) as reader:
            size = reader.size
        read = _Taken(_read(task, path, size))
        read.take(start)
        for real in _reals(material.video, start, stop):
            yield Observed(real, joined(read.take(len(real))))
        return
    first = start
    drawn = picture_blocks(_span(path, start, stop))
    for real, pictures in zip(_reals(material.video, start, stop), drawn, strict=False):
        try:
            condition = task.parse(pictures)
        except ConditionError as error:
            raise error.moved(first) from error
        yield Observed(real, condition)
        first += len(real)


def _read(task: Task, path: Path, size: tuple[int, int]) -> Iterator[Condition]:
    """Conditions as the task reads them; key points that are all off the picture belong to another one."""
    first = 0
    for condition in task.read(path, size):
        if condition.points is not None:
            height, width = condition.size
            x, y, confidence = condition.points.unbind(2)
            inside = (x >= -0.5) & (x <= width - 0.5) & (y >= -0.5) & (y <= height - 0.5)
            there = confidence > 0
            lost = there.any(1) & ~(there & inside).any(1)
            if lost.any():
                t = int(lost.nonzero()[0])
                place = condition.points[t][there[t]].mean(0).tolist()
                raise ConditionError(
                    f"the key points lie around x {place[0]:.0f}, y {place[1]:.0f}, all off the {width}x{height} "
                    "picture; give those of this video at this size",
                    first + t,
                )
        yield condition
        first += len(condition)


class _Taken:
    """Conditions that come a few frames at a time, taken as many frames at a time as are wanted."""

    def __init__(self, blocks: Iterator[Condition]) -> None:
        self._blocks, self._left = blocks, deque[Condition]()

    def take(self, frames: int) -> list[Condition]:
        """The next so many frames, in pieces; fewer at the end."""
        taken: list[Condition] = []
        while frames:
            block = self._left.popleft() if self._left else next(self._blocks, None)
            if block is None:
                break
            taken.append(block[:frames])
            if len(block) > frames:
                self._left.append(block[frames:])
            frames -= len(taken[-1])
        return taken


def _reals(video: Path, start: int, stop: int) -> Iterator[Tensor]:
    for block in picture_blocks(_span(video, start, stop)):
        if block.shape[1] != 3:
            raise DatasetError(f"{video} has one channel; the real frames must be in colour")
        yield block


def _ids(path: Path, start: int, stop: int) -> Iterator[Tensor]:
    """Instance ids frame by frame, int32 (1, H, W), with all the bits that pictures of a folder have."""
    if not path.is_dir():
        for block in picture_blocks(_span(path, start, stop)):
            if block.shape[1] != 1:
                raise DatasetError(f"{path} is in colour, where instance ids in one lossless channel were expected")
            yield from block.to(torch.int32)
        return
    files = FolderReader(path).files[start:stop]
    size = read_ids(files[0]).shape
    for file in files:
        ids = read_ids(file)
        if ids.shape != size:
            raise DatasetError(f"{file} is {wxh(ids.shape)}, but {files[0]} is {wxh(size)}; save all alike")
        yield torch.from_numpy(ids).permute(2, 0, 1)


def _span(path: Path, start: int, stop: int) -> Iterator[Pictures]:
    with open_video(path) as reader:
        yield from reader.frames(start, stop)


def _named(error: ConditionError, source: Path) -> ConditionError:
    """The same error with the file that it is about, unless it says so itself."""
    return error if str(source) in str(error) else ConditionError(f"{source}, {error}")


def _check_size(path: Path | None, frame: int, found: Sequence[int], video: Path, expected: Sequence[int]) -> None:
    if tuple(found) != tuple(expected):
        raise DatasetError(f"{path}, frame {frame}, is {wxh(found)}, but its video {video} is {wxh(expected)}")


def wxh(size: Sequence[int]) -> str:
    """(height, width, ...) as people write it, width first."""
    return f"{size[1]}x{size[0]}"

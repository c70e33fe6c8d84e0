"""From what a visitor gives to its condition, on disk: seen in a real video, read from a file, or drawn."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vid2vid_hub.app.blocks import Blocks
from vid2vid_hub.app.limits import Limits
from vid2vid_hub.app.receive import reads, receive_condition, receive_video
from vid2vid_hub.app.shelf import Shelf
from vid2vid_hub.app.sizes import work_size
from vid2vid_hub.conditions import find, observe
from vid2vid_hub.data.pictures import picture_blocks
from vid2vid_hub.data.policy import Pictures
from vid2vid_hub.errors import ConditionError, VideoError
from vid2vid_hub.render import shows_condition
from vid2vid_hub.tasks import Labels, Task
from vid2vid_hub.types import Condition, Observed

FPS = Fraction(25)
"""Of conditions that know no time, and of what is drawn."""
KEPT = 8
"""Real frames that are kept from the beginning and from the end of a video, to begin with and to go on from."""
DRAWN = 75
"""Frames of a drawn example."""


@dataclass(frozen=True)
class Drawn:
    """An example that the task draws itself."""

    seed: int


@dataclass(frozen=True)
class Seen:
    """What was read from what a visitor gave; it lives in a folder of its own until that is cleared away.

    Attributes:
        task: the task's name.
        settings: those that decide what a condition means; a model of others does not understand it.
        blocks: the conditions.
        starts: the number of each block's first frame.
        frames: how many.
        fps: frames a second.
        size: (height, width) of the conditions.
        first: the first real frames, uint8 (n, 3, H, W); None where a condition was given.
        last: the last ones.
        labels: the classes that it knows, for tasks that have labels.
        classes: those of them that occur anywhere.
        notes: what a person should know, each with the frame at which it begins.
    """

    task: str
    settings: dict[str, Any]
    blocks: Blocks
    starts: tuple[int, ...]
    frames: int
    fps: Fraction
    size: tuple[int, int]
    first: Tensor | None = None
    last: Tensor | None = None
    labels: Labels | None = None
    classes: tuple[int, ...] = ()
    notes: Mapping[str, int] = field(default_factory=dict)

    def frame(self, number: int) -> Condition:
        """The condition of one frame, or of the nearest one that there is.

        Raises:
            ConditionError: it was cleared away.
        """
        number = min(max(number, 0), self.frames - 1)
        block = max(i for i, start in enumerate(self.starts) if start <= number)
        return self._block(block)[number - self.starts[block] :][:1]

    def conditions(self) -> Iterator[Condition]:
        """All of it, a few frames at a time.

        Raises:
            ConditionError: it was cleared away.
        """
        return (self._block(number) for number in range(len(self.starts)))

    def fits(self, task: Task) -> bool:
        """Whether a task understands it."""
        return self.task == task.name and self.settings == meaning(task)

    def _block(self, number: int) -> Condition:
        try:
            return self.blocks.read(number)
        except OSError as error:
            raise ConditionError("this video was cleared away; give it again") from error


@dataclass(frozen=True)
class Reading:
    """How far reading has come: the newest condition as a picture, and what was read once it is whole.

    Attributes:
        picture: uint8 (H, W, 3) RGB.
        done: frames read.
        total: of how many, as far as the video says.
        seen: at the end.
    """

    picture: Pictures
    done: int
    total: int | None
    seen: Seen | None = None


def meaning(task: Task) -> dict[str, Any]:
    """The settings of a task without those of which data is independent."""
    return {key: value for key, value in task.config().items() if key not in task.extraction}


def read(task: Task, source: Path | Drawn, shelf: Shelf, limits: Limits) -> Iterator[Reading]:
    """Read what a visitor gave, block by block, in constant memory.

    Args:
        task: sees, reads, parses or draws.
        source: an upload, which only another process opens; or an example that the task draws.
        shelf: where what was read is kept.
        limits: how much it may be.

    Yields:
        After every block the newest frame; at the end what was read.

    Raises:
        VideoError, ConditionError, TaskError: it cannot be read, or means nothing here; one sentence.
    """
    if isinstance(source, Drawn):
        size = work_size((9, 16) if task.labels is not None else (1, 1), (160, 160), limits.work_pixels)
        yield from _kept(task, task.draw(source.seed, DRAWN, size), shelf, FPS, DRAWN)
    elif reads(task, source):
        conditions = receive_condition(source, task.name, task.config(), limits)
        with closing(conditions):  # or its process lives on with an error that is held
            yield from _kept(task, conditions, shelf, FPS, None)
    else:
        with receive_video(source, limits) as video:
            head = next(video.frames, None)
            if head is None:
                raise VideoError("the video has no frames; give one that has")
            frames = chain((head,), video.frames)
            first = torch.from_numpy(head).movedim(-1, 0)[None]
            if shows_condition(task, first):
                found: Iterable[Observed | Condition] = find(task, frames)
            else:
                size = work_size(video.size, None, limits.work_pixels)
                shrunk = size[0] * size[1] < video.size[0] * video.size[1]
                found = observe(task, _smaller(frames, size) if shrunk else frames)
            yield from _kept(task, found, shelf, video.fps, video.total)


def _kept(
    task: Task, found: Iterable[Observed | Condition], shelf: Shelf, fps: Fraction, total: int | None
) -> Iterator[Reading]:
    blocks = Blocks(shelf.job())
    starts: list[int] = []
    done, size = 0, (0, 0)
    first: list[Tensor] = []
    last: deque[Tensor] = deque(maxlen=KEPT)
    classes: set[int] = set()
    notes: dict[str, int] = {}
    for one in found:
        condition = one.condition if isinstance(one, Observed) else one
        if not len(condition):
            continue
        size = size if done else condition.size
        if condition.size != size:
            raise ConditionError(f"the condition is {condition.size} after {size}; all frames must be alike", done)
        if isinstance(one, Observed):
            first.extend(one.frames[: KEPT - len(first)])
            last.extend(one.frames[-KEPT:])
            for note in one.notes:
                notes.setdefault(note.text, done + note.frame)
        for t, absent in enumerate(task.missing(condition)):
            if absent is not None:
                notes.setdefault(absent, done + t)
        if task.labels is not None:
            classes.update(condition.maps[:, 0].unique().tolist())
        blocks.write(len(starts), condition)
        starts.append(done)
        done += len(condition)
        yield Reading(picture(task, condition[-1:]), done, total)
    if not done:
        raise ConditionError("the condition has no frames; give one that has")
    seen = Seen(
        task.name,
        meaning(task),
        blocks,
        tuple(starts),
        done,
        fps,
        size,
        torch.stack(first) if first else None,
        torch.stack([*last]) if last else None,
        task.labels,
        tuple(sorted(classes)),
        notes,
    )
    yield Reading(picture(task, seen.frame(0)), done, done, seen)


def picture(task: Task, condition: Condition) -> Pictures:
    """A condition of one frame as people see it: uint8 (H, W, 3)."""
    return task.preview(condition)[0].permute(1, 2, 0).contiguous().cpu().numpy()


def _smaller(frames: Iterable[Pictures], size: tuple[int, int]) -> Iterator[Tensor]:
    """Real frames at another (height, width), one by one."""
    for block in picture_blocks(frames):
        nothing = Condition(block[:, :1])
        yield from Observed(block, nothing).resized(size).frames

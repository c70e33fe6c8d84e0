"""From whatever a person brings to conditions, a few frames at a time: extracted from real video, read, or parsed."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import chain, islice
from pathlib import Path
from typing import cast

import numpy as np
from PIL import Image
from torch import Tensor

from vid2vid_hub.data.pictures import BLOCK, Pictures, picture_blocks
from vid2vid_hub.errors import ConditionError, VideoError
from vid2vid_hub.tasks import Task
from vid2vid_hub.types import Condition, Observed

Conditions = Condition | Pictures | Iterable[Condition]

PATIENCE = 64
"""Frames at the start of a video within which whatever the task looks for must turn up."""

_log = logging.getLogger(__name__)


def observe(
    task: Task, video: Pictures, size: tuple[int, int] | None = None, *, block: int = BLOCK
) -> Iterator[Observed]:
    """What a task sees in real frames. What a person should know about a frame is logged as a warning, once a stretch.

    Args:
        task: looks.
        video: real frames.
        size: (height, width) to bring frames and condition to; None keeps the task's own.
        block: how many frames the task is given at a time; fewer come out sooner, more are looked at faster.

    Raises:
        VideoError: the frames cannot be read, or are not in colour.
        ConditionError: what the task looks for is in none of the first :data:`PATIENCE` frames.
        TaskError: the task cannot extract its condition here.
    """
    first, found = 0, False
    waiting: list[Observed] = []
    remarks = _Remarks()
    for seen in task.observe(_in_colour(video, block)):
        absent = task.missing(seen.condition)
        remarks.take(first, seen, absent)
        first += len(absent)
        waiting.append(seen if size is None else seen.resized(size))
        found = found or None in absent
        if not found and first >= PATIENCE:
            break
        if found:
            yield from waiting
            waiting.clear()
    if not found and first:
        raise ConditionError(
            f"{absent[0]}, nor in the {first - 1} frames after it; give a video that shows what it takes", 0
        )


def find(task: Task, condition: Conditions, size: tuple[int, int] | None = None) -> Iterator[Condition]:
    """Conditions that a person gives: handed through, read from files of the task's own, or parsed from pictures.

    Args:
        task: reads and parses.
        condition: what a person gives.
        size: (height, width) to bring it to; what key points in files belong to, where they do not say it.

    Raises:
        VideoError, ConditionError: the input cannot be read, or means nothing in this task; names the frame.
    """
    given = _given(task, condition, size)
    yield from given if size is None else (one.resized(size) for one in given)


def _given(task: Task, condition: Conditions, size: tuple[int, int] | None) -> Iterator[Condition]:
    if isinstance(condition, Condition):
        yield from (condition[i : i + BLOCK] for i in range(0, len(condition), BLOCK))
        return
    if isinstance(condition, str | Path) and task.reads(Path(condition)):
        yield from task.read(Path(condition), size)
        return
    if not isinstance(condition, str | Path | np.ndarray | Tensor | Image.Image):
        items = iter(condition)
        head = list(islice(items, 1))
        if head and isinstance(head[0], Condition):
            yield from cast(Iterator[Condition], chain(head, items))
            return
        condition = chain(head, items)
    first = 0
    for pictures in picture_blocks(cast(Pictures, condition)):
        with counting_from(first):
            parsed = task.parse(pictures)
        yield parsed
        first += len(pictures)


@contextmanager
def counting_from(first: int) -> Iterator[None]:
    """Name frames in errors by their place in the whole video, not in the block at hand."""
    try:
        yield
    except ConditionError as error:
        raise error.moved(first) from error


class _Remarks:
    """Says a thing when it begins, not again for every frame."""

    def __init__(self) -> None:
        self._said: set[str] = set()

    def take(self, first: int, seen: Observed, absent: list[str | None]) -> None:
        """Log what is new in a block that begins at frame ``first``."""
        texts: dict[str, int] = {}
        for note in seen.notes:
            texts.setdefault(note.text, first + note.frame)
        for t, what in enumerate(absent):
            if what is not None:
                texts.setdefault(what, first + t)
        for text in texts.keys() - self._said:
            _log.warning("frame %d: %s", texts[text], text)
        self._said = set(texts)


def _in_colour(video: Pictures, block: int) -> Iterator[Tensor]:
    for pictures in picture_blocks(video, block):
        if pictures.shape[1] != 3:
            raise VideoError("a video to extract from must be in colour; this one has one channel")
        yield pictures

"""From a condition and a visitor's choices to frames, as they are made, and to the two videos that come of them."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal
from weakref import WeakValueDictionary

import torch
import torch.nn.functional as F
from torch import Tensor

from vid2vid_hub.app.gpu import lent
from vid2vid_hub.app.limits import Limits
from vid2vid_hub.app.models import Model
from vid2vid_hub.app.reading import Seen
from vid2vid_hub.app.shelf import Shelf
from vid2vid_hub.app.sizes import work_size
from vid2vid_hub.app.turns import in_turn
from vid2vid_hub.data.policy import Pictures
from vid2vid_hub.errors import ConditionError, ModelError
from vid2vid_hub.ops.edit import relabel
from vid2vid_hub.recursion import FirstFrames
from vid2vid_hub.render import rendering
from vid2vid_hub.tasks import Task
from vid2vid_hub.types import Condition

_AT_WORK: WeakValueDictionary[str, Model] = WeakValueDictionary()
"""Models by name, for the process in which ZeroGPU lends its GPU: names can be sent there, networks cannot."""

SEEDS = 2**64
"""Numbers that PyTorch takes as a seed; a larger one counts from 0 again."""

Begin = Literal["usual", "nothing", "video", "picture"]
BEGINNINGS: Mapping[str, Begin] = {
    "as the model does": "usual",
    "from nothing": "nothing",
    "the video's own": "video",
    "a picture": "picture",
}
"""What the first frame can be, for people and in code."""


@dataclass(frozen=True)
class Choices:
    """What a visitor chose beside the model.

    Attributes:
        begin: see :data:`BEGINNINGS`.
        picture: the first frame, uint8 (H, W, 3), where it is a picture.
        seed: draws what is drawn: a style, or one of several futures; 0 takes the first style, the likeliest future.
        style: a style by its number; None leaves it to the seed.
        future: how many frames to go on for; 0 generates what was seen.
        edits: class -> the class that it becomes.
    """

    begin: Begin = "usual"
    picture: Pictures | None = None
    seed: int = 0
    style: int | None = None
    future: int = 0
    edits: Mapping[int, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Made:
    """How far generating has come.

    Attributes:
        frame: the newest frame, uint8 (H, W, 3); None at the end.
        done: frames made.
        total: of how many.
        rate: frames a second, so far.
        video: at the end the generated video,
        pair: and the one with the condition on its left.
    """

    frame: Pictures | None
    done: int
    total: int
    rate: float
    video: Path | None = None
    pair: Path | None = None


def edited(task: Task, condition: Condition, edits: Mapping[int, int]) -> Condition:
    """A condition in which classes were exchanged."""
    return condition if task.labels is None else relabel(condition, edits, task.labels.foreground)


def make(model: Model, seen: Seen, choices: Choices, shelf: Shelf, limits: Limits) -> Iterator[Made]:
    """Generate, frame by frame; the videos take their names once they are whole.

    Args:
        model: of the task of what was seen.
        seen: what to generate from.
        choices: how.
        shelf: where the videos go.
        limits: how much may be asked for.

    Raises:
        ConditionError, ModelError, TaskError, VideoError: it cannot be made, in one sentence.
    """
    pipeline = model.pipeline
    if not seen.fits(pipeline.task):
        raise ConditionError(
            f"{model.name} reads other conditions than the model that was chosen before; read it again"
        )
    if choices.future > limits.future:
        raise ModelError(f"{choices.future} frames are over the {limits.future} that may be asked for here")
    total = choices.future or seen.frames
    video, pair = shelf.result(seen.task), shelf.result(f"{seen.task}-side-by-side")
    _AT_WORK[model.name] = model
    began = time.monotonic()
    done = 0
    frames = _drawn(model.name, seen, choices, video, pair, limits)
    with closing(in_turn(model.turn, frames)) as made:
        for done, frame in enumerate(made, 1):
            yield Made(frame, done, total, done / (time.monotonic() - began))
    yield Made(None, done, total, done / (time.monotonic() - began), video, pair)


def size_of(model: Model, seen: Seen, limits: Limits) -> tuple[int, int]:
    """(height, width) at which a model generates from what was seen."""
    return work_size(seen.size, model.pipeline.size, limits.work_pixels)


def _draw(name: str, seen: Seen, choices: Choices, video: Path, pair: Path, limits: Limits) -> Generator[Pictures]:
    model = _AT_WORK[name]
    pipeline = model.pipeline
    size = size_of(model, seen, limits)
    given = (edited(pipeline.task, one, choices.edits).resized(size) for one in seen.conditions())
    random = torch.Generator().manual_seed(choices.seed % SEEDS) if choices.seed else None
    first, skip = _begin(seen, choices, size), 0
    conditions: Iterator[Condition] = given
    if choices.future:
        past = pipeline.past(condition=given, first_frames=None if isinstance(first, str) else first, size=size)
        conditions, skip = pipeline.ahead(past, choices.future, random), len(past.condition)
        first = past.frames if past.frames is not None else first
    yield from rendering(
        pipeline,
        conditions,
        video,
        fps=seen.fps,
        first_frames=first,
        style=choices.style,
        generator=None if choices.future else random,
        beside=pair,
        skip=skip,
        mark=limits.mark,
    )


def _begin(seen: Seen, choices: Choices, size: tuple[int, int]) -> FirstFrames | None:
    """What the video goes on from, at its size."""
    if choices.begin == "nothing":
        return "zeros"
    if choices.begin == "picture":
        if choices.picture is None:
            raise ModelError("the first frame is to be a picture, and none was given; give one, or choose another")
        return _fitted(torch.from_numpy(choices.picture).movedim(-1, 0)[None], size)
    if choices.begin == "video":
        real = seen.last if choices.future else seen.first
        if real is None:
            raise ModelError("a condition was given, which has no real first frame; choose another, or give a video")
        return _fitted(real if choices.future else real[:1], size)
    return None


def _fitted(pictures: Tensor, size: tuple[int, int]) -> Tensor:
    """Pictures uint8 (n, 3, H, W) at another (height, width), smoothly."""
    if tuple(pictures.shape[2:]) == size:
        return pictures
    smooth = F.interpolate(pictures.float(), size, mode="bicubic", antialias=True)
    return smooth.round().clamp(0, 255).to(torch.uint8)


def _count(name: str, seen: Seen, choices: Choices, *rest: Any) -> int:
    return choices.future or seen.frames


_drawn = lent(_draw, _count)

"""The way of one batch of clips: what is true of it, how it begins, and how far it has come."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor, nn

from vid2vid_hub.data.clips import encode_clip, learned, stretch
from vid2vid_hub.nn.frozen import FlowTeacher, confidence, flow_teacher
from vid2vid_hub.nn.image import Pix2PixHDGenerator
from vid2vid_hub.tasks import Task
from vid2vid_hub.training.chunk import Chunk, Past, Walk
from vid2vid_hub.training.networks import Generator
from vid2vid_hub.training.recipe import FirstFrames, TeacherRecipe
from vid2vid_hub.types import Clip, Encoded, Frame, Memory


@dataclass(frozen=True)
class Place:
    """How far a batch of clips has come: a value, so that a run can be saved and go on amid a clip.

    Attributes:
        frame: the next frame.
        memory: of the generator.
        past: of D_V.
    """

    frame: int
    memory: Memory
    past: Past

    def last(self, chunk: Chunk) -> Tensor:
        """(B, 3, H, W), the frame before ``chunk``; the real one for generators that remember none."""
        return self.memory.images[-1][:, -1] if self.memory.images else chunk.previous[:, 0]

    def after(self, chunk: Chunk, rollout: Frame, memory: Memory, reach: int) -> Self:
        """The place behind a chunk and what was made of it; D_V keeps the ``reach`` newest frames."""
        past = self.past.followed_by(chunk, rollout.image.detach().float(), reach)
        return type(self)(self.frame + chunk.frames.shape[1], memory, past)

    def pack(self) -> dict[str, Tensor]:
        """Its tensors by name."""
        scales = range(len(self.memory.images))
        features = {f"features.{s}": self.memory.features[s] for s in scales}
        images = {f"images.{s}": self.memory.images[s] for s in scales}
        counters = {"frame": torch.tensor(self.frame), "started": torch.tensor(self.memory.started)}
        past = {"real": self.past.real, "made": self.past.made, "past_flow": self.past.flow}
        return features | images | counters | past

    @classmethod
    def unpack(cls, tensors: dict[str, Tensor], device: torch.device) -> Self:
        """The inverse of :meth:`pack`."""
        there = {name: tensor.to(device) for name, tensor in tensors.items()}
        scales = range(sum(name.startswith("images.") for name in there))
        features, images = (tuple(there[f"{kind}.{s}"] for s in scales) for kind in ("features", "images"))
        memory = Memory(features, images, bool(there["started"]))
        return cls(int(there["frame"]), memory, Past(there["real"], there["made"], there["past_flow"]))


class LateTeacher:
    """A flow teacher that is loaded when it is first asked: never, where all flow is cached."""

    def __init__(self, recipe: TeacherRecipe) -> None:
        self.name, self._weights = recipe.name, recipe.weights
        self._teacher: FlowTeacher | None = None

    def flow(self, previous: Tensor, current: Tensor) -> Tensor:
        """See :class:`FlowTeacher`."""
        self._teacher = self._teacher or flow_teacher(self.name, self._weights)
        return self._teacher.flow(previous, current)


def walk_clip(task: Task, clip: Clip, generator: Generator, teacher: FlowTeacher | None) -> Walk:
    """A batch of clips with its true motion.

    Args:
        task: encodes, and says where people look.
        clip: on the device.
        generator: whether it has the foreground prior, and whether the true flow is given to it.
        teacher: of the flow where it is not cached; None where nobody needs a flow: it is then zero and not trusted.
    """
    flow, trust = _truth(clip, teacher)

    def encode(start: int, stop: int) -> Encoded:
        features, where = encode_clip(task, stretch(clip, start, stop))
        given = flow[:, start:stop] if generator.takes_flow else None
        return Encoded(features, where if generator.has_foreground else None, given)

    return Walk(learned(task, clip), encode, flow, trust, _boxes(task, clip))


def begin(
    walk: Walk,
    generator: Generator,
    kind: FirstFrames,
    scales: int | None = None,
    first_frame: Pix2PixHDGenerator | None = None,
) -> Place:
    """The place before the first frame that is trained: the first L frames are given, or nothing is.

    Clips that are no longer than L begin from nothing.

    Args:
        walk: the batch.
        generator: whose memory it is.
        kind: what the clips begin with.
        scales: of the generator that take part; None for all.
        first_frame: makes the frames of kind "generated".
    """
    history = generator.history
    if kind == "zeros" or walk.length <= history or not history:
        memory = generator.begin(walk.encode(0, 1).features, None, scales)
        return Place(0, memory, Past.nothing(walk.frames))
    features = walk.encode(0, history).features
    images = walk.frames[:, :history]
    if kind == "generated" and first_frame is not None:
        with torch.no_grad():
            rollout, _ = first_frame(Encoded(features), first_frame.begin(features))
        images = rollout.image.to(images.dtype)
    return Place(history, generator.begin(features, images, scales), Past.nothing(walk.frames))


def _truth(clip: Clip, teacher: FlowTeacher | None) -> tuple[Tensor, Tensor]:
    """True flow (B, T, 2, H, W) to the frame before, and its confidence; zero for the first frame."""
    previous, current = clip.frames[:, :-1].flatten(0, 1), clip.frames[:, 1:].flatten(0, 1)
    if teacher is None or not len(current):
        flow, trust = previous[:, :2] * 0, previous[:, :1] * 0
    else:
        flow = teacher.flow(previous, current) if clip.flow is None else clip.flow.flatten(0, 1)
        trust = confidence(previous, current, flow)
    shape = clip.frames.shape[0], clip.length - 1
    padded = [nn.functional.pad(x.unflatten(0, shape), (0, 0, 0, 0, 0, 0, 1, 0)) for x in (flow, trust)]
    return padded[0], padded[1]


def _boxes(task: Task, clip: Clip) -> Tensor | None:
    boxes = task.regions(clip.condition)
    return None if boxes is None else boxes.unflatten(0, clip.frames.shape[:2])

"""The few nouns, and the only place where axes, ranges and units are stated.

Conventions held everywhere:

* axes are (B, T, C, H, W); a video alone is (T, C, H, W); functions of single pictures take (N, C, H, W);
* images are float in [-1, 1], pictures for people are uint8 in [0, 255], RGB;
* flow is in pixels of its own resolution, channel 0 is x (to the right), channel 1 is y (down), and it points
  *backward*: the value at a pixel of frame t says where in frame t-1 that pixel came from;
* the mask (the paper's m) is 1 where the generator hallucinates and 0 where it keeps the warped past;
* the id of a part of a picture says its class: it is the class, or class · 1000 + number for one object of it;
* time runs oldest first.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Self

import torch
import torch.nn.functional as F
from torch import Tensor

from vid2vid_hub.errors import ConditionError

PER_CLASS = 1000
"""Ids of parts from here on are class · 1000 + number."""


@dataclass(frozen=True)
class Condition:
    """What drives the synthesis (the paper's s), compact as it is stored: thirty frames of labels, not of one-hots.

    Attributes:
        maps: uint8 (T, C, H, W); what the C maps mean is the task's business.
        instances: int32 (T, 1, H, W) object ids, or None; an id names the same object throughout a video. Where there
            is no single object it is 0, or the class itself.
        points: float32 (T, P, 3) key points, or None: x and y in pixels of the maps, (0, 0) the centre of the top left
            one, and confidence in [0, 1]; 0 where a point is not there. They may lie outside the picture.
    """

    maps: Tensor
    instances: Tensor | None = None
    points: Tensor | None = None

    def __post_init__(self) -> None:
        if self.maps.ndim != 4 or self.maps.dtype != torch.uint8:
            raise ConditionError(
                f"a condition holds uint8 maps of shape (T, C, H, W), not {self.maps.dtype} {tuple(self.maps.shape)}"
            )
        if self.instances is not None:
            expected = (len(self.maps), 1, *self.maps.shape[2:])
            if tuple(self.instances.shape) != expected or self.instances.dtype != torch.int32:
                raise ConditionError(
                    f"instances must be int32 {expected} beside maps {tuple(self.maps.shape)}, "
                    f"not {self.instances.dtype} {tuple(self.instances.shape)}"
                )
        if self.points is not None:
            shape = tuple(self.points.shape)
            if len(shape) != 3 or (shape[0], shape[2]) != (len(self.maps), 3) or self.points.dtype != torch.float32:
                raise ConditionError(
                    f"points must be float32 ({len(self.maps)}, P, 3) beside {len(self.maps)} frames of maps, "
                    f"not {self.points.dtype} {shape}"
                )

    def __len__(self) -> int:
        return len(self.maps)

    def __getitem__(self, frames: slice) -> Condition:
        """The condition of some of the frames, e.g. ``condition[4:8]``."""
        return self.map(lambda tensor: tensor[frames])

    def map(self, change: Callable[[Tensor], Tensor]) -> Condition:
        """The same change to every tensor that is there, where it means the same for all: frames, devices."""
        tensors = self.maps, self.instances, self.points
        return Condition(*(None if tensor is None else change(tensor) for tensor in tensors))  # type: ignore[arg-type]

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) in pixels."""
        return self.maps.shape[2], self.maps.shape[3]

    def resized(self, size: tuple[int, int]) -> Condition:
        """The condition at another (height, width): maps by nearest pixels, never mixed; points move along exactly."""
        if size == self.size:
            return self
        rows, columns = (
            (torch.arange(new, device=self.maps.device).add(0.5) * (old / new)).long()
            for new, old in zip(size, self.size, strict=True)
        )
        instances = None if self.instances is None else self.instances[..., rows, :][..., columns]
        return Condition(self.maps[..., rows, :][..., columns], instances, resized_points(self.points, self.size, size))

    def to(self, device: torch.device | str) -> Condition:
        """The same condition on another device."""
        return self.map(lambda tensor: tensor.to(device))


def joined(conditions: Sequence[Condition]) -> Condition:
    """Stretches that follow each other as one: at least one, all of one size and with the same tensors."""
    kinds = zip(*((one.maps, one.instances, one.points) for one in conditions), strict=True)
    return Condition(*(None if kind[0] is None else torch.cat(kind) for kind in kinds))  # type: ignore[arg-type]


def resized_points(points: Tensor | None, old: tuple[int, int], new: tuple[int, int]) -> Tensor | None:
    """Key points (..., P, 3) of a picture that is resized from one (height, width) to another."""
    if points is None or new == old:
        return points
    scale = points.new_tensor((new[1] / old[1], new[0] / old[0], 1))
    half = points.new_tensor((0.5, 0.5, 0))
    return torch.where(points[..., 2:] > 0, (points + half) * scale - half, points)


@dataclass(frozen=True)
class Note:
    """Something that a person should know about a frame, counted from the block's start, and that is no error."""

    frame: int
    text: str


@dataclass(frozen=True)
class Observed:
    """What a task saw in a stretch of real video.

    Attributes:
        frames: uint8 (T, 3, H, W) RGB, as the task looks at them: the video's own, or a crop that follows somebody.
        condition: of those frames, at their size.
        notes: what a person should know about it.
    """

    frames: Tensor
    condition: Condition
    notes: tuple[Note, ...] = ()

    def resized(self, size: tuple[int, int]) -> Observed:
        """The same at another (height, width): frames smoothly, the condition as :meth:`Condition.resized`."""
        frames = self.frames
        if tuple(frames.shape[2:]) != size:
            smooth = F.interpolate(frames.float(), size, mode="bicubic", antialias=True)
            frames = smooth.round().clamp(0, 255).to(frames.dtype)
        return replace(self, frames=frames, condition=self.condition.resized(size))


@dataclass(frozen=True)
class Encoded:
    """A condition as the network reads it.

    Attributes:
        features: float (T, S, H, W); S is the task's ``channels``. In batches (B, T, S, H, W).
        foreground: float (T, 1, H, W) in [0, 1], 1 - m_B of the paper; None where a task has no such prior.
        flow: float (T, 2, H, W) in pixels, for generators that are given the flow instead of estimating it. Tasks leave
            it out.
    """

    features: Tensor
    foreground: Tensor | None = None
    flow: Tensor | None = None


@dataclass(frozen=True)
class Clip:
    """A stretch of a training video, or a batch of such stretches of equal size.

    Attributes:
        frames: float (B, T, 3, H, W) in [-1, 1], the real video x.
        maps: uint8 (B, T, C, H, W), the compact condition.
        instances: int32 (B, T, 1, H, W) or None.
        flow: float (B, T-1, 2, H, W), pixels, from each frame 1..T-1 back to its predecessor, or None when not cached.
        names: where each of the B clips came from, for error messages.
        points: float32 (B, T, P, 3) key points, or None.
    """

    frames: Tensor
    maps: Tensor
    instances: Tensor | None = None
    flow: Tensor | None = None
    names: tuple[str, ...] = ()
    points: Tensor | None = None

    @property
    def length(self) -> int:
        """T, the number of frames."""
        return self.frames.shape[1]

    @property
    def condition(self) -> Condition:
        """The conditions of all clips one after the other, B·T frames."""
        tensors = self.maps, self.instances, self.points
        return Condition(*(None if tensor is None else tensor.flatten(0, 1) for tensor in tensors))  # type: ignore[arg-type]

    def to(self, device: torch.device | str) -> Clip:
        """The same clip on another device."""
        moved = {f.name: _to(getattr(self, f.name), device) for f in fields(self)}
        return replace(self, **moved)


@dataclass(frozen=True)
class Frame:
    """What one step of the generator makes, at its finest scale; with a T axis after B it is a rollout.

    Pictures have 3 channels; label maps of K classes have K, 2p - 1 of the probability p of each.

    Attributes:
        image: float (B, 3, H, W), the finished frame x̃.
        hallucinated: float (B, 3, H, W), h̃ of eq. 4 (with the foreground already in it, eq. 9).
        warped: float (B, 3, H, W), the previous frame moved by the flow; None without a flow branch.
        flow: float (B, 2, H, W), w̃, pixels; None without a flow branch.
        mask: float (B, 1, H, W), m̃; None without a flow branch.
    """

    image: Tensor
    hallucinated: Tensor
    warped: Tensor | None = None
    flow: Tensor | None = None
    mask: Tensor | None = None

    @classmethod
    def stack(cls, frames: list[Frame]) -> Frame:
        """T frames of (B, ...) to one rollout of (B, T, ...)."""
        columns = {f.name: [getattr(frame, f.name) for frame in frames] for f in fields(cls)}
        present = {name: column for name, column in columns.items() if column[0] is not None}
        return cls(**{name: torch.stack(column, 1) for name, column in present.items()})

    def map(self, change: Callable[[Tensor], Tensor]) -> Frame:
        """The same change to every tensor that is there."""
        present = {f.name: getattr(self, f.name) for f in fields(self)}
        return Frame(**{name: change(tensor) for name, tensor in present.items() if tensor is not None})


@dataclass(frozen=True)
class Memory:
    """What the recursion of eq. 3 carries from frame to frame: the last L conditions and outputs, at every scale.

    A value: steps take one and return another. Its size does not depend on how many frames have passed.

    Attributes:
        features: per scale, coarsest first, float (B, L, S, H_s, W_s).
        images: per scale, coarsest first, float (B, L, C, H_s, W_s) in [-1, 1], C as in :class:`Frame`; zeros where
            nothing was seen yet.
        started: whether ``images`` holds a real or generated last frame; if not, the next step cannot warp.
    """

    features: tuple[Tensor, ...]
    images: tuple[Tensor, ...]
    started: bool

    def detach(self) -> Self:
        """The same memory cut off from the graph that made it (truncated back-propagation through time)."""
        return replace(self, images=tuple(image.detach() for image in self.images))

    def to(self, device: torch.device | str) -> Self:
        """The same memory on another device."""
        moved = (tuple(t.to(device) for t in tensors) for tensors in (self.features, self.images))
        features, images = moved
        return replace(self, features=features, images=images)


def _to(value: object, device: torch.device | str) -> Any:
    return value.to(device) if isinstance(value, Tensor) else value

"""Key points over time: smooth them, hold them over short gaps, and follow whom they belong to with a crop."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor

from vid2vid_hub.types import Condition, Observed


@dataclass
class Smoother:
    """The one-euro filter (Casiez et al., CHI 2012) of P key points: still ones are calmed, fast ones are let go.

    Causal; it remembers one frame. A point that is gone stays where it was for ``hold`` frames; when it comes back it
    begins anew.

    Attributes:
        cutoff: of still points, in cycles a frame; lower is calmer.
        haste: how much the cutoff rises, in cycles a frame, for a speed of one subject's size a frame: more lags less.
        hold: frames over which a gone point is held.
    """

    cutoff: float = 0.15
    haste: float = 4.0
    hold: int = 5
    _place: Tensor | None = field(default=None, init=False, repr=False)
    _speed: Tensor | None = field(default=None, init=False, repr=False)
    _gone: Tensor | None = field(default=None, init=False, repr=False)

    def __call__(self, points: Tensor, size: float) -> Tensor:
        """Take the points of the next frame.

        Args:
            points: float (P, 3) x, y, confidence.
            size: of the subject in pixels, the unit that speed is measured in.

        Returns:
            (P, 3), smoothed; held points keep their last confidence.
        """
        points = points.clone()
        if self._place is None or self._speed is None or self._gone is None:
            self._place, self._speed = points, torch.zeros_like(points[:, :2])
            self._gone = torch.where(points[:, 2] > 0, 0, self.hold + 1)
            return points.clone()
        there, held = points[:, 2] > 0, self._gone <= self.hold
        step = points[:, :2] - self._place[:, :2]
        both = (there & held)[:, None]
        speed = torch.where(both, self._speed.lerp(step, _share(0.15)), torch.zeros_like(step))
        cutoff = self.cutoff + self.haste * speed.norm(dim=1, keepdim=True) / max(size, 1.0)
        rate = 1 / (1 + 1 / (2 * math.pi * cutoff))
        points[:, :2] = torch.where(both, self._place[:, :2] + rate * step, points[:, :2])
        self._gone = torch.where(there, 0, self._gone + 1)
        kept = (~there & (self._gone <= self.hold))[:, None]
        points = torch.where(kept, self._place, points)
        self._place, self._speed = points, speed
        return points.clone()


def _share(cutoff: float) -> float:
    """How much of a new value a first-order low pass takes, at a cutoff in cycles a frame."""
    return 1 / (1 + 1 / (2 * math.pi * cutoff))


@dataclass
class Follower:
    """A crop of constant size that follows a subject: still while it stays near the middle, gliding when it leaves it.

    Attributes:
        picture: (height, width) of the frames.
        crop: (height, width) of the crop; cut to the picture's.
        slack: how far the subject may stray, as a share of the crop's side, before the crop moves.
        ease: the share of the way that is made up for in a frame.
    """

    picture: tuple[int, int]
    crop: tuple[int, int]
    slack: float = 0.05
    ease: float = 0.15
    _middle: tuple[float, float] | None = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        self.crop = min(self.crop[0], self.picture[0]), min(self.crop[1], self.picture[1])

    def __call__(self, x: float, y: float) -> tuple[int, int]:
        """Where the crop's top left pixel is in the next frame, (x0, y0), when the subject's middle is at x, y."""
        height, width = self.crop
        if self._middle is None:
            self._middle = x, y
        old_x, old_y = self._middle
        self._middle = self._glide(old_x, x, width), self._glide(old_y, y, height)
        x0 = min(max(round(self._middle[0] - (width - 1) / 2), 0), self.picture[1] - width)
        y0 = min(max(round(self._middle[1] - (height - 1) / 2), 0), self.picture[0] - height)
        return x0, y0

    def _glide(self, old: float, new: float, side: int) -> float:
        stray = new - old
        excess = max(abs(stray) - self.slack * side, 0)
        return old + math.copysign(excess * self.ease, stray)


def cropped(observed: Observed, corners: list[tuple[int, int]], size: tuple[int, int]) -> Observed:
    """Cut a box of the same size out of every frame, its maps, instances and points.

    Args:
        observed: T frames.
        corners: (x0, y0) of the box in every frame; it lies in the picture.
        size: (height, width) of the box.
    """
    height, width = size

    def cut(pictures: Tensor) -> Tensor:
        return torch.stack([p[:, y : y + height, x : x + width] for p, (x, y) in zip(pictures, corners, strict=True)])

    condition = observed.condition
    points = condition.points
    if points is not None:
        origin = points.new_tensor([(x, y, 0) for x, y in corners])[:, None]
        points = torch.where(points[..., 2:] > 0, points - origin, points)
    instances = None if condition.instances is None else cut(condition.instances)
    return Observed(cut(observed.frames), Condition(cut(condition.maps), instances, points), observed.notes)

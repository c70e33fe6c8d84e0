"""People as they are found in a frame, and which of them is followed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from vid2vid_dance.layout import BODY, POINTS

Box = tuple[float, float, float, float]

SEEN = 0.1
"""A point whose confidence is less is not there: estimators place what they cannot see somewhere."""


@dataclass(frozen=True, eq=False)
class Found:
    """Somebody: the 137 points, float32 (137, 3), and x0, y0, x1, y1 in pixels around him."""

    points: Tensor
    box: Box

    @property
    def area(self) -> float:
        """Of the box, in square pixels."""
        x0, y0, x1, y1 = self.box
        return max(x1 - x0, 0.0) * max(y1 - y0, 0.0)


class Estimator(Protocol):
    """What finds people in real frames."""

    def session(self) -> Callable[[Tensor], list[Found]]:
        """A finder for one unbroken shot: frames uint8 (3, H, W) RGB in turn -> everybody in them."""


def arranged(points: Tensor, table: Mapping[int, Sequence[int]]) -> Tensor:
    """The 137 points from those of another layout.

    Args:
        points: float (N, 3) x, y, confidence.
        table: point -> the points of the other layout whose mean it is; all of them must be there.

    Returns:
        float32 (137, 3); what the other layout lacks, or is under ``SEEN`` sure of, is 0.
    """
    placed = torch.zeros(POINTS, 3)
    for point, sources in table.items():
        chosen = points[list(sources)].float().cpu()
        placed[point, :2], placed[point, 2] = chosen[:, :2].mean(0), chosen[:, 2].min()
    return clean(placed)


def clean(points: Tensor) -> Tensor:
    """Confidences in [0, 1], and 0, 0, 0 where a point is not there: float32 (..., 3)."""
    sure = points[..., 2:].clamp(max=1)
    return torch.where(sure >= SEEN, torch.cat([points[..., :2], sure], -1), 0.0).float()


def around(points: Tensor) -> Box | None:
    """x0, y0, x1, y1 of the body's points that are there, or None without any."""
    body = points[:BODY]
    there = body[body[:, 2] > 0, :2]
    if not len(there):
        return None
    (x0, y0), (x1, y1) = there.amin(0).tolist(), there.amax(0).tolist()
    return x0, y0, x1, y1


class Choice:
    """Whom to take: the largest at first, then whoever is where he was.

    Args:
        patience: frames without him after which the largest is taken anew.
    """

    def __init__(self, patience: int) -> None:
        self._patience, self._gone = patience, 0
        self._last: Box | None = None

    def __call__(self, people: Sequence[Found]) -> Found | None:
        """Choose among those of the next frame."""
        chosen = self._same(people)
        if chosen is None:
            self._gone += 1
            if self._last is not None and self._gone <= self._patience:
                return None
            chosen = max(people, key=lambda found: found.area, default=None)
        if chosen is not None:
            self._last, self._gone = chosen.box, 0
        return chosen

    def _same(self, people: Sequence[Found]) -> Found | None:
        last = self._last
        if last is None:
            return None
        best = max(people, key=lambda found: overlap(found.box, last), default=None)
        return best if best is not None and overlap(best.box, last) > 0.1 else None


def overlap(one: Box, other: Box) -> float:
    """Intersection over union of two boxes."""
    wide, high = (min(one[i + 2], other[i + 2]) - max(one[i], other[i]) for i in (0, 1))
    shared = max(wide, 0.0) * max(high, 0.0)
    whole = sum((b[2] - b[0]) * (b[3] - b[1]) for b in (one, other)) - shared
    return shared / whole if whole > 0 else 0.0

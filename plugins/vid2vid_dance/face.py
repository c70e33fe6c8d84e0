"""Where people look first: a square around the head."""

from __future__ import annotations

import torch
from torch import Tensor

from vid2vid_dance.dense import HEAD as HEAD_PARTS
from vid2vid_dance.dense import PART
from vid2vid_dance.layout import HEAD, NECK
from vid2vid_dance.paint import SURE
from vid2vid_hub.types import Condition

SMALLEST = 8
"""Pixels; a judge of the face sees at least so much."""
SIDE = 1.7
"""The square's side, in distances from the neck to the middle of the head's points."""


def squares(condition: Condition) -> Tensor:
    """A square around the head in each frame, moved into the picture where it would leave it.

    Its middle is that of the points of nose, eyes and ears, and its side 1.7 times their distance from the neck.
    Without such points it is the square around the dense parts of the head. Where there is neither, or the middle of
    the head lies off the picture, it is empty.

    Returns:
        int64 (T, 4) x0, y0, x1, y1, on the maps' device.
    """
    height, width = condition.size
    x, y, side, there = _of_parts(condition.maps)
    if condition.points is not None:
        x, y, side, there = (
            torch.where(_found(condition.points), *both)
            for both in zip(_of_points(condition.points), (x, y, side, there), strict=True)
        )
    there = there & (x > -0.5) & (x < width - 0.5) & (y > -0.5) & (y < height - 0.5)
    side = side.round().clamp(min(SMALLEST, height, width), min(height, width))
    x0 = (x + 0.5 - side / 2).round().clamp(min=0).minimum(width - side)
    y0 = (y + 0.5 - side / 2).round().clamp(min=0).minimum(height - side)
    boxes = torch.stack((x0, y0, x0 + side, y0 + side), 1)
    return torch.where(there[:, None], boxes, 0.0).long()


def _found(points: Tensor) -> Tensor:
    """Frames with a neck and something of a head."""
    return (points[:, list(HEAD), 2] > SURE).any(1) & (points[:, NECK, 2] > SURE)


def _of_points(points: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    head = points[:, list(HEAD)].double()
    sure = (head[..., 2:] > SURE).double()
    middle = (head[..., :2] * sure).sum(1) / sure.sum(1).clamp(min=1)
    side = SIDE * (middle - points[:, NECK, :2].double()).norm(dim=1)
    return middle[:, 0], middle[:, 1], side, _found(points)


def _of_parts(maps: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    head = (maps[:, PART] == HEAD_PARTS[0]) | (maps[:, PART] == HEAD_PARTS[1])
    (left, right), (top, bottom) = _extent(head.any(1)), _extent(head.any(2))
    side = torch.maximum(right - left, bottom - top) + 1
    return (left + right) / 2, (top + bottom) / 2, side, head.flatten(1).any(1)


def _extent(there: Tensor) -> tuple[Tensor, Tensor]:
    """The first and last place that is true in each row of bool (T, L), as float64."""
    place = torch.arange(there.shape[1], device=there.device, dtype=torch.float64)
    return place.where(there, there.shape[1]).amin(1), place.where(there, -1).amax(1)

"""Where people look first: the square round brows, eyes, nose and mouth."""

from __future__ import annotations

import torch
from torch import Tensor

from vid2vid_face.landmarks import JAW

MARGIN = 1.2
"""Side of the square, in longer sides of the landmarks' box."""


def inner_face(points: Tensor, size: tuple[int, int]) -> Tensor:
    """Squares round the landmarks that are no jaw.

    A square that would leave the picture is moved back in; one that is too long for it is cut.

    Args:
        points: float (T, 68, 3).
        size: (height, width) in pixels.

    Returns:
        int64 (T, 4) x0, y0, x1, y1, the latter two exclusive; 0, 0, 0, 0 where there is no face in the picture.
    """
    inner = points[:, len(JAW) :]
    there = inner[..., 2:] > 0
    low = inner[..., :2].masked_fill(~there, torch.inf).amin(1)
    high = inner[..., :2].masked_fill(~there, -torch.inf).amax(1)
    limit = points.new_tensor((size[1], size[0]))
    inside = ((high > 0) & (low < limit - 1)).all(1)
    low, high = (torch.where(inside[:, None], corner, torch.zeros_like(corner)) for corner in (low, high))
    side = (MARGIN * (high - low).amax(1, keepdim=True)).round().clamp(min=2)
    side = torch.minimum(side, limit)
    start = ((low + high + 1 - side) / 2).round()
    start = torch.minimum(start, limit - side).clamp(min=0)
    return torch.cat((start, start + side), 1).long() * inside[:, None]

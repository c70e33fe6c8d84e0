"""The sketch as a person should see it: parts of the face in their colours, the edges around it in grey."""

from __future__ import annotations

import torch
from torch import Tensor

from vid2vid_face.landmarks import PARTS
from vid2vid_face.sketch import parts_map, strokes

_AROUND = 110
"""The grey of edges around the face."""


def sketch_picture(points: Tensor, edges: Tensor) -> Tensor:
    """One frame, uint8 (3, H, W) RGB, on the CPU.

    Args:
        points: float (68, 3).
        edges: uint8 (1, H, W) of the real frame.
    """
    size = edges.shape[1], edges.shape[2]
    lines = iter(strokes(points, size, max(1, round(min(size) / 160))))
    around = (edges > 0) & (parts_map(points, size) == 0)
    picture = (around * _AROUND).to(torch.uint8).repeat(3, 1, 1)
    for part in PARTS:
        colour = torch.tensor(part.colour, dtype=torch.uint8)[:, None, None]
        for _ in part.lines:
            picture = torch.where(next(lines) > 0, colour, picture)
    return picture

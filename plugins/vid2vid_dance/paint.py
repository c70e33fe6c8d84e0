"""The skeleton as OpenPose draws it, from points: the network reads a picture of coloured strokes.

Sources: section 4 of the paper for what is drawn; thresholds, colours and widths are those of the released pose input.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from vid2vid_dance.layout import (
    FACE,
    FACE_AT,
    FACE_LINES,
    FINGERS,
    HAND,
    LEFT_HAND,
    LIMBS,
    POINTS,
    RIGHT_HAND,
    WHITE,
    Colour,
)
from vid2vid_hub.errors import ConditionError

Array = npt.NDArray[np.float64]

HEIGHT = 512
"""Pixels; the picture's height at which strokes have the widths below. They grow and shrink with the height."""
LIMB, THIN = 6.0, 2.0
"""Widths of a limb, and of a finger or line of the face, in pixels at that height; never under one pixel."""
JOINT = 6.0
"""Radius of the disc at both ends of a limb, in pixels at that height."""
SURE, SURE_FACE = 0.01, 0.1
"""Least confidence of a point of body and hands, and of the face."""


@dataclass(frozen=True)
class _Canvas:
    """What has been painted: a pixel's colour is the mean of all strokes that cover it.

    Attributes:
        total: float (H, W, 3), sum of the colours.
        count: float (H, W, 1), how many strokes.
    """

    total: Array
    count: Array

    def stroke(self, line: Array, colour: Colour, radius: float, disc: float = 0.0) -> None:
        """Paint what lies within ``radius`` of a polyline (P, 2), and within ``disc`` of its points."""
        height, width = self.count.shape[:2]
        reach = max(radius, disc)
        low, high = np.ceil(line.min(0) - reach), np.floor(line.max(0) + reach)
        x0, y0 = (int(v) for v in np.clip(low, 0, (width, height)))
        x1, y1 = (int(v) for v in np.clip(high + 1, 0, (width, height)))
        if x0 >= x1 or y0 >= y1:
            return
        y, x = np.ogrid[y0:y1, x0:x1]
        covered = np.zeros((y1 - y0, x1 - x0), bool)
        for (ax, ay), (bx, by) in pairwise(line):
            dx, dy = bx - ax, by - ay
            along = np.clip(((x - ax) * dx + (y - ay) * dy) / max(dx * dx + dy * dy, 1e-12), 0, 1)
            covered |= (x - ax - along * dx) ** 2 + (y - ay - along * dy) ** 2 <= radius * radius
        if disc:
            for px, py in line:
                covered |= (x - px) ** 2 + (y - py) ** 2 <= disc * disc
        self.total[y0:y1, x0:x1][covered] += colour
        self.count[y0:y1, x0:x1][covered] += 1


def paint(points: Tensor, size: tuple[int, int]) -> Tensor:
    """Draw one person a frame: limbs in 24 colours, fingers in five, the lines of the face in white.

    A limb is drawn where both its joints have a confidence over 0.01; a finger where all its points have, a line of the
    face where all have over 0.1. A pixel is painted when its centre is within half the stroke's width of the line.
    Widths are 6 and 2 pixels in a picture 512 pixels high, in proportion at others, and at least one pixel. Where
    strokes overlap, the colour is their mean.

    Args:
        points: float (T, 137, 3).
        size: (height, width) in pixels.

    Returns:
        uint8 (T, 3, H, W) RGB on the points' device, black where nothing is.

    Raises:
        ConditionError: not 137 points, or one that is no number.
    """
    if points.ndim != 3 or points.shape[1:] != (POINTS, 3):
        raise ConditionError(f"poses are {POINTS} points of x, y and confidence a frame, not {tuple(points.shape)}")
    found = points.detach().cpu().double().numpy()
    wrong = np.argwhere(~np.isfinite(found))
    if len(wrong):
        frame, point, _ = wrong[0]
        raise ConditionError(f"point {point} is no number; give 0, 0, 0 for a point that is not there", int(frame))
    drawn = np.stack([_paint(person, size) for person in found]) if len(found) else np.zeros((0, *size, 3), np.uint8)
    return torch.from_numpy(drawn).permute(0, 3, 1, 2).contiguous().to(points.device)


def _paint(person: Array, size: tuple[int, int]) -> npt.NDArray[np.uint8]:
    canvas = _Canvas(np.zeros((*size, 3)), np.zeros((*size, 1)))
    scale = size[0] / HEIGHT
    limb, thin = (max(width * scale, 1.0) / 2 for width in (LIMB, THIN))
    place, sure = person[:, :2], person[:, 2]
    for joints, colour in LIMBS.items():
        if (sure[list(joints)] > SURE).all():
            canvas.stroke(place[list(joints)], colour, limb, max(JOINT * scale, limb))
    for hand in (LEFT_HAND, RIGHT_HAND):
        if (sure[hand : hand + HAND] > SURE).any():
            for finger, colour in FINGERS.items():
                where = [hand + i for i in finger]
                if (sure[where] > SURE).all():
                    canvas.stroke(place[where], colour, thin)
    if (sure[FACE_AT : FACE_AT + FACE] > SURE_FACE).any():
        for line in FACE_LINES:
            where = [FACE_AT + i for i in line]
            if (sure[where] > SURE_FACE).all():
                canvas.stroke(place[where], WHITE, thin)
    return np.rint(canvas.total / np.maximum(canvas.count, 1)).astype(np.uint8)

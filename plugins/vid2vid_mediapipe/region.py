"""A turned square of a frame: cut out for a network, and what the network finds in it put back into the frame."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.uint8]
"""(H, W, 3) RGB."""
Points = NDArray[np.float64]
"""(P, 2) x, y in pixels; 0, 0 is the centre of the top left pixel."""


@dataclass(frozen=True)
class Region:
    """A square of a frame.

    Args:
        x: the centre, pixels from the centre of the left column.
        y: the centre, pixels from the centre of the top row.
        side: length of its sides in pixels.
        angle: how far it is turned clockwise, radians: the direction of its own x axis in the frame.
    """

    x: float
    y: float
    side: float
    angle: float = 0.0

    @classmethod
    def around(cls, height: int, width: int) -> Region:
        """The smallest upright square with a whole frame in its middle (a letterbox)."""
        return cls((width - 1) / 2, (height - 1) / 2, float(max(height, width)))

    @classmethod
    def of_hand(cls, middle: Sequence[float], top: Sequence[float]) -> Region:
        """The region with this centre and this middle of its upper side, each x, y; it is a pixel wide at least."""
        across, down = top[0] - middle[0], top[1] - middle[1]
        return cls(middle[0], middle[1], max(1.0, 2 * math.hypot(across, down)), math.atan2(across, -down))

    @property
    def hand(self) -> tuple[tuple[float, float], tuple[float, float]]:
        """The centre and the middle of the upper side, each x, y: as a clock's hand these say all of the region."""
        reach = self.side / 2
        top = self.x + reach * math.sin(self.angle), self.y - reach * math.cos(self.angle)
        return (self.x, self.y), top

    def matrix(self, size: int) -> NDArray[np.float64]:
        """(2, 3): takes pixels of the region's crop of size x size to pixels of the frame."""
        step = self.side / size
        cos, sin = step * math.cos(self.angle), step * math.sin(self.angle)
        middle = (size - 1) / 2
        return np.array(
            [[cos, -sin, self.x - (cos - sin) * middle], [sin, cos, self.y - (sin + cos) * middle]], np.float64
        )

    def to_frame(self, points: Points, size: int) -> Points:
        """What a network finds in the region's crop of size x size -> the same points in pixels of the frame.

        Networks count from the upper left corner of the crop's first pixel. MediaPipe on a CPU counts from its centre,
        for the frame as well, which is half a pixel of each to the lower right. Read so, landmarks of a mirrored
        picture are off by -0.2 pixels of the crop, else by 0.3 (123 frames of faces, 70 of dancers).
        """
        matrix = self.matrix(size)
        return (points - 0.5) @ matrix[:, :2].T + matrix[:, 2]

    def to_crop(self, points: Points, size: int) -> Points:
        """The inverse of `to_frame`."""
        matrix = self.matrix(size)
        return (points - matrix[:, 2]) @ np.linalg.inv(matrix[:, :2]).T + 0.5


def crop(frame: Picture, region: Region, size: int, border: Literal["black", "edge"]) -> Picture:
    """Cut a region out of a frame as (size, size, 3); what lies outside is black or the picture's edge drawn out.

    Bilinear as in MediaPipe; but a frame more than twice too large is averaged first, so that it does not alias.
    """
    import cv2

    matrix = region.matrix(size)
    height, width = frame.shape[:2]
    shrink = size / region.side
    if shrink < 0.5:
        smaller = max(1, round(width * shrink)), max(1, round(height * shrink))
        frame = cv2.resize(frame, smaller, interpolation=cv2.INTER_AREA)  # type: ignore[assignment]
        scale = np.array([[smaller[0] / width], [smaller[1] / height]])
        matrix = matrix * scale
        matrix[:, 2:] += 0.5 * scale - 0.5
    mode = cv2.BORDER_CONSTANT if border == "black" else cv2.BORDER_REPLICATE
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return cv2.warpAffine(frame, matrix, (size, size), flags=flags, borderMode=mode)  # type: ignore[return-value]

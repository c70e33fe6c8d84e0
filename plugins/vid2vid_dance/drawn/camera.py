"""How the dancer's world becomes a picture: from the front and slightly above, without perspective."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from vid2vid_dance.drawn.moves import Vector

ABOVE = 0.17
"""Radians by which the camera looks down."""


@dataclass(frozen=True)
class Camera:
    """Where the world's origin, on the floor, lies in the picture.

    Attributes:
        x: pixels.
        y: pixels.
        scale: pixels of a body's height.
    """

    x: float
    y: float
    scale: float

    @property
    def ink(self) -> float:
        """Width of dark rims, pixels."""
        return max(0.009 * self.scale, 0.8)

    def see(self, place: Vector) -> tuple[float, float]:
        """Where a place is in the picture: x and y, (0, 0) the centre of the top left pixel."""
        x, y, z = place
        return (
            float(self.x + self.scale * x),
            float(self.y - self.scale * (math.cos(ABOVE) * y - math.sin(ABOVE) * z)),
        )

    def lines(self, capsules: list[tuple[Vector, Vector, float, float]]) -> npt.NDArray[np.float32]:
        """(K, 6) lines in pixels from two ends and their radii in body heights."""
        rows = [(*self.see(a), *self.see(b), ra * self.scale, rb * self.scale) for a, b, ra, rb in capsules]
        return np.array(rows, np.float32)

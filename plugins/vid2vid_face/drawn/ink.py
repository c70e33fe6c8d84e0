"""A transparent sheet to draw on, several times as fine as the picture that it ends in, so that edges are smooth."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import numpy.typing as npt

from vid2vid_face.drawn.person import Colour

Array = npt.NDArray[np.float64]
_BITS = 4


class Ink:
    """A sheet of (height, width) pixels; coordinates are those of the picture, (0, 0) the centre of its first pixel.

    Args:
        size: (height, width) of the picture.
        fine: sub-pixels per pixel and axis.
    """

    def __init__(self, size: tuple[int, int], fine: int) -> None:
        self.size, self.fine = size, fine
        self._sheet = np.zeros((size[0] * fine, size[1] * fine, 4), np.uint8)

    def fill(self, outline: Array, colour: Colour) -> None:
        """Fill a closed outline, float (N, 2)."""
        cv2.fillPoly(self._sheet, [self._fixed(outline)], (*colour, 255), shift=_BITS)

    def line(self, along: Array, colour: Colour, width: float, *, closed: bool = False) -> None:
        """Draw a line, float (N, 2), ``width`` pixels wide."""
        thickness = max(1, round(width * self.fine))
        cv2.polylines(self._sheet, [self._fixed(along)], closed, (*colour, 255), thickness, shift=_BITS)

    def dot(self, centre: Array, radius: float, colour: Colour) -> None:
        """Draw a filled circle."""
        middle = self._fixed(centre[None])[0]
        size = max(1, round(radius * self.fine * (1 << _BITS)))
        cv2.circle(self._sheet, (int(middle[0]), int(middle[1])), size, (*colour, 255), -1, shift=_BITS)

    def inside(self, outline: Array, draw: Callable[[], None]) -> None:
        """Draw, and keep of it only what lies inside a closed outline."""
        fixed = self._fixed(outline)
        low, high = (fixed.min(0) >> _BITS) - 1, (fixed.max(0) >> _BITS) + 2
        (x0, y0), (x1, y1) = np.maximum(low, 0), np.minimum(high, (self._sheet.shape[1], self._sheet.shape[0]))
        if x1 <= x0 or y1 <= y0:
            return
        # What is drawn may reach over the box: it is drawn on a copy.
        sheet, self._sheet = self._sheet, self._sheet.copy()
        try:
            draw()
            drawn = self._sheet[y0:y1, x0:x1]
        finally:
            self._sheet = sheet
        mask = np.zeros(drawn.shape[:2], np.uint8)
        corner = np.array((x0, y0)) << _BITS
        cv2.fillPoly(mask, [(fixed - corner).astype(np.int32)], 1, shift=_BITS)
        np.copyto(sheet[y0:y1, x0:x1], drawn, where=mask[..., None].astype(bool))

    def dry(self) -> npt.NDArray[np.float32]:
        """The sheet at the picture's size: float32 (H, W, 4), RGB times alpha and alpha, in [0, 1]."""
        small = cv2.resize(self._sheet, (self.size[1], self.size[0]), interpolation=cv2.INTER_AREA)
        return small.astype(np.float32) / np.float32(255)

    def _fixed(self, points: Array) -> npt.NDArray[np.int32]:
        """Sub-pixels of the sheet in cv2's fixed point."""
        fine = (points + 0.5) * self.fine - 0.5
        return np.rint(fine * (1 << _BITS)).astype(np.int32)


def smooth(points: Array, *, closed: bool, steps: int = 6) -> Array:
    """A Catmull-Rom curve through points (N, D): ``steps`` places from each to the next."""
    count = len(points)
    if closed:
        around = np.concatenate((points[-1:], points, points[:2]))
    else:
        around = np.concatenate((2 * points[:1] - points[1:2], points, 2 * points[-1:] - points[-2:-1]))
        count -= 1
    t = np.arange(steps) / steps
    basis = 0.5 * np.stack((-t + 2 * t**2 - t**3, 2 - 5 * t**2 + 3 * t**3, t + 4 * t**2 - 3 * t**3, t**3 - t**2), 1)
    pieces = np.stack([around[k : k + count] for k in range(4)], 1)
    curve = np.einsum("sk,nkd->nsd", basis, pieces).reshape(-1, points.shape[1])
    return curve if closed else np.concatenate((curve, points[-1:]))

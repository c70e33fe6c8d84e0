"""Shaded, smooth-edged bodies of tapered capsules, painted one over the other, with the body part of every pixel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Image = npt.NDArray[np.floating[Any]]

LIGHT = (-0.42, -0.55, 0.72)
"""Where the light is, in the picture's x, y (down) and towards the viewer."""
LAYERS = 3
"""Channels of what is known about a pixel: v, u and the part, as in ``vid2vid_dance.dense``."""


@dataclass(frozen=True)
class Blob:
    """A part of the figure: the union of tapered capsules, shaded as if round.

    Attributes:
        lines: float (K, 6), x, y of one end, x, y of the other, and the radius at each; pixels.
        colours: one, or two that change at ``change``; red, green, blue.
        parts: numbers of the dense part where it faces backward, and where it faces forward.
        left_parts: the same for the surface of the left side, where that is another part.
        depth: what is nearer to the viewer has more, and covers the rest.
        front: (x, towards the viewer), which way the part faces; for ``parts``.
        change: how far along the line the second colour begins; with ``stripes``, how long a stripe is on the first.
        stripes: whether the two colours alternate.
        ink: width of the dark rim, in pixels.
        merge: over how many pixels capsules flow into each other.
    """

    lines: Image
    colours: tuple[tuple[int, int, int], ...]
    parts: tuple[int, int]
    depth: float
    front: tuple[float, float] = (0.0, 1.0)
    left_parts: tuple[int, int] | None = None
    change: float = 1.0
    stripes: bool = False
    ink: float = 1.0
    merge: float = 0.0


class Canvas:
    """A picture in the making, and the dense parts of what is on it.

    Args:
        ground: float32 (H, W, 3), [0, 255].
    """

    def __init__(self, ground: Image) -> None:
        self.image = ground.copy()
        self.dense = np.zeros((*ground.shape[:2], LAYERS), np.uint8)

    def paint(self, blob: Blob) -> None:
        """Lay a part over what is there."""
        box = self._box(blob.lines)
        if box is None:
            return
        x0, y0, x1, y1 = box
        x, y = np.arange(x0, x1, dtype=np.float32), np.arange(y0, y1, dtype=np.float32)[:, None]
        distance, along, across = _nearest(blob, x, y)
        cover = np.clip(0.5 - distance, 0, 1)
        if not cover.any():
            return
        (nx, ny), side = across, np.clip(np.hypot(*across), 0, 1)
        toward = np.sqrt(1 - side * side)
        light = 0.66 + 0.40 * np.clip(LIGHT[0] * nx + LIGHT[1] * ny + LIGHT[2] * toward, -0.2, 1)
        if blob.ink:
            light = light * (1 - 0.45 * np.clip(1 + (distance + 0.3) / blob.ink, 0, 1))
        colour = self._colour(blob, along)
        patch = self.image[y0:y1, x0:x1]
        patch += cover[..., None] * (colour * light[..., None] - patch)
        mine = cover >= 0.5
        forward = nx * blob.front[0] + toward * blob.front[1] >= 0
        dense = self.dense[y0:y1, x0:x1]
        part = np.where(forward, blob.parts[1], blob.parts[0])
        if blob.left_parts is not None:
            left = nx * blob.front[1] - toward * blob.front[0] >= 0
            part = np.where(left, np.where(forward, blob.left_parts[1], blob.left_parts[0]), part)
        # Across the part from its left to its right edge, as seen; a simple stand-in for the angle around it.
        v = 0.5 + 0.5 * np.where(forward, nx, -nx)
        fresh = np.stack((v * 255, along * 255, part), -1)
        dense[mine] = np.rint(fresh[mine])

    def spot(
        self, x: float, y: float, radius: tuple[float, float], colour: tuple[int, int, int], share: float = 1.0
    ) -> None:
        """A flat ellipse with a smooth edge, that leaves the parts as they are: eyes, cheeks."""
        rx, ry = max(radius[0], 0.3), max(radius[1], 0.3)
        box = self._box(np.array([[x - rx, y - ry, x + rx, y + ry, 0, 0]], np.float32))
        if box is None:
            return
        x0, y0, x1, y1 = box
        dx, dy = (np.arange(x0, x1) - x) / rx, (np.arange(y0, y1)[:, None] - y) / ry
        cover = share * np.clip(0.5 + (1 - np.hypot(dx, dy)) * min(rx, ry), 0, 1).astype(np.float32)
        patch = self.image[y0:y1, x0:x1]
        patch += cover[..., None] * (np.array(colour, np.float32) - patch)

    def shade(self, x: float, y: float, radius: tuple[float, float], depth: float) -> None:
        """A soft shadow: an ellipse that darkens by ``depth`` in its middle."""
        reach = 2.2
        rx, ry = radius
        box = self._box(np.array([[x - reach * rx, y - reach * ry, x + reach * rx, y + reach * ry, 0, 0]], np.float32))
        if box is None:
            return
        x0, y0, x1, y1 = box
        columns = np.exp(-(((np.arange(x0, x1) - x) / rx) ** 2))
        rows = np.exp(-(((np.arange(y0, y1) - y) / ry) ** 2))
        self.image[y0:y1, x0:x1] *= (1 - depth * rows[:, None] * columns)[..., None].astype(np.float32)

    def _box(self, lines: Image) -> tuple[int, int, int, int] | None:
        height, width = self.dense.shape[:2]
        reach = float(lines[:, 4:].max()) + 2
        x, y = lines[:, (0, 2)], lines[:, (1, 3)]
        x0, x1 = (int(v) for v in np.clip((x.min() - reach, x.max() + reach + 1), 0, width))
        y0, y1 = (int(v) for v in np.clip((y.min() - reach, y.max() + reach + 1), 0, height))
        return (x0, y0, x1, y1) if x0 < x1 and y0 < y1 else None

    @staticmethod
    def _colour(blob: Blob, along: Image) -> Image:
        first = np.array(blob.colours[0], np.float32)
        if len(blob.colours) == 1:
            return first
        second = np.array(blob.colours[1], np.float32)
        if blob.stripes:
            share = np.clip(0.5 + 3 * np.sin(along * (2 * np.pi / blob.change)), 0, 1)
        else:
            share = np.clip((along - blob.change) * 20 + 0.5, 0, 1)
        mixed: Image = first + share[..., None].astype(np.float32) * (second - first)
        return mixed


def _nearest(blob: Blob, x: Image, y: Image) -> tuple[Image, Image, tuple[Image, Image]]:
    """Signed distance to the blob in pixels, how far along its line, and the direction from there in radii."""
    best, along, nx, ny = _capsule(blob.lines[0], x, y)
    for line in blob.lines[1:]:
        distance, t, px, py = _capsule(line, x, y)
        if not blob.merge:
            nearer = distance < best
            best, along = np.where(nearer, distance, best), np.where(nearer, t, along)
            nx, ny = np.where(nearer, px, nx), np.where(nearer, py, ny)
            continue
        # The polynomial smooth minimum: within ``merge`` of each other, two surfaces become one.
        share = np.clip(0.5 + 0.5 * (best - distance) / blob.merge, 0, 1)
        best = best + share * (distance - best) - blob.merge * share * (1 - share)
        nx, ny = nx + share * (px - nx), ny + share * (py - ny)
        along = along if blob.stripes else along + share * (t - along)
    return best, along, (nx, ny)


def _capsule(line: Image, x: Image, y: Image) -> tuple[Image, Image, Image, Image]:
    """Distance to one tapered capsule, how far along it, and the direction from its line in radii, x and y."""
    ax, ay, bx, by, ra, rb = line
    dx, dy = bx - ax, by - ay
    along = np.clip(((x - ax) * dx + (y - ay) * dy) / max(dx * dx + dy * dy, 1e-6), 0, 1)
    px, py, radius = x - ax - along * dx, y - ay - along * dy, ra + along * (rb - ra)
    return np.sqrt(px * px + py * py) - radius, along, px / radius, py / radius

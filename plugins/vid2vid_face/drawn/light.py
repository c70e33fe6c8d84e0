"""The light on a drawn head: which side is bright, where the cheeks glow, and where nose and brows cast a shade."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from vid2vid_face.drawn.scene import Scene

Array = npt.NDArray[np.float64]
Plane = npt.NDArray[np.float32]

# x, y, z on the head; radii; strength. Mirrored pairs are listed once, for the picture's left.
_SHADES = (
    (-0.44, -0.08, 0.25, 0.30, 0.17, -0.10),
    (-0.20, -0.06, 0.36, 0.10, 0.16, -0.12),
    (-0.30, 0.72, 0.40, 0.06, 0.14, -0.05),
    (-0.55, 0.36, 0.22, 0.22, 0.12, 0.05),
)
_MIDDLE_SHADES = ((0.0, 0.79, 0.50, 0.20, 0.06, -0.16), (0.0, 1.38, 0.26, 0.20, 0.12, 0.05))
_BLUSH = (
    (-0.56, 0.52, 0.18, 0.25, 0.17, 0.30),
    (0.56, 0.52, 0.18, 0.25, 0.17, 0.30),
    (0.0, 0.54, 0.80, 0.12, 0.08, 0.16),
)
BLUSH = np.array((226, 96, 92), np.float32) / np.float32(255)


def roundness(scene: Scene, size: tuple[int, int]) -> Plane:
    """How bright the head's round form is in the light, float32 (H, W), about 1."""
    centre = scene.at((0.0, 0.2, -0.35))[0]
    y, x = np.mgrid[: size[0], : size[1]].astype(np.float32)
    x, y = (x - np.float32(centre[0])) / np.float32(scene.unit), (y - np.float32(centre[1])) / np.float32(scene.unit)
    cos, sin = np.float32(math.cos(scene.expression.roll)), np.float32(math.sin(scene.expression.roll))
    u, v = (cos * x + sin * y) / np.float32(1.18), (cos * y - sin * x) / np.float32(1.62)
    square = np.minimum(u * u + v * v, np.float32(1.0))
    falling = np.array((scene.expression.light * 0.75, -0.42, 0.85))
    lx, ly, lz = (np.float32(value) for value in falling / np.linalg.norm(falling))
    reach = np.maximum(np.sqrt(u * u + v * v), np.float32(1.0))
    lit = (u * lx + v * ly) / reach + np.sqrt(1 - square) * lz
    share = np.clip((lit + 0.15) / 1.0, 0, 1)
    soft = share * share * (3 - 2 * share)
    return np.asarray((0.63 + 0.37 * soft) * scene.expression.bright, np.float32)


def modelling(scene: Scene, size: tuple[int, int]) -> tuple[Plane, Plane]:
    """Shade and blush of the skin: float32 (H, W) each, a brightness to be added to 1 and a share of ``BLUSH``."""
    shade, blush = np.zeros(size, np.float32), np.zeros(size, np.float32)
    wide, light = scene.person.width, scene.expression.light
    for x, y, z, across, down, strength in _SHADES:
        for sign in (1, -1):
            _blob(shade, scene, (sign * x * wide, y, z), (across, down), strength)
    for x, y, z, across, down, strength in _MIDDLE_SHADES:
        _blob(shade, scene, (x, y, z), (across, down), strength)
    away = -1.0 if light > 0 else 1.0
    strong = min(abs(light) * 1.6, 1.0)
    mouth = scene.points[57]
    _blob(shade, scene, (0.0, mouth[1] + 0.10, mouth[2]), (0.20, 0.06), -0.14)
    _blob(shade, scene, (away * 0.15, 0.42, 0.50), (0.10, 0.26), -0.08 - 0.12 * strong)
    _blob(shade, scene, (away * 0.78 * wide, 0.62, -0.05), (0.26, 0.42), -0.10 * strong)
    _blob(shade, scene, (-away * 0.03, 0.49, 0.82), (0.055, 0.055), 0.24)
    _blob(shade, scene, (-away * 0.02, 0.18, 0.58), (0.045, 0.2), 0.09)
    _blob(shade, scene, (light * 0.35, -0.58, 0.42), (0.42, 0.20), 0.07)
    # Blood shows less through dark skin.
    shown = min(sum(scene.person.skin) / 600, 1.0) ** 1.5
    for x, y, z, across, down, strength in _BLUSH:
        _blob(blush, scene, (x * wide, y, z), (across, down), strength * shown)
    return shade, blush


def _blob(
    plane: Plane, scene: Scene, place: tuple[float, float, float], radii: tuple[float, float], strength: float
) -> None:
    """Add a soft ellipse to a plane, in the box where it is seen."""
    (x, y), (across, down) = scene.at(place)[0], (radii[0] * scene.unit, radii[1] * scene.unit)
    reach = 2.4 * max(across, down)
    x0, x1 = (int(min(max(value, 0), plane.shape[1])) for value in (x - reach, x + reach + 1))
    y0, y1 = (int(min(max(value, 0), plane.shape[0])) for value in (y - reach, y + reach + 1))
    if x1 <= x0 or y1 <= y0:
        return
    dx, dy = (
        np.arange(x0, x1, dtype=np.float32) - np.float32(x),
        np.arange(y0, y1, dtype=np.float32)[:, None] - np.float32(y),
    )
    cos, sin = math.cos(scene.expression.roll), math.sin(scene.expression.roll)
    u, v = (cos * dx + sin * dy) / across, (cos * dy - sin * dx) / down
    plane[y0:y1, x0:x1] += np.float32(strength) * np.exp(-(u * u + v * v))

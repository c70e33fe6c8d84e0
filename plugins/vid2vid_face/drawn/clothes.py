"""Shoulders and neck of a drawn head, and what they wear."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from vid2vid_face.drawn.ink import Ink, smooth
from vid2vid_face.drawn.scene import Scene, shadow, tinted

Array = npt.NDArray[np.float64]
Places = Sequence[tuple[float, float]]

_SHOULDER = ((-3.2, 3.6), (-2.5, 2.85), (-1.9, 2.45), (-1.25, 2.2), (-0.78, 2.03))
_ROUND = ((-0.55, 2.22), (-0.3, 2.36), (0.0, 2.41), (0.3, 2.36), (0.55, 2.22))
_OPEN = ((-0.5, 2.25), (-0.25, 2.5), (0.0, 2.72), (0.25, 2.5), (0.5, 2.25))
_FLAP = ((0.8, 1.98), (0.5, 2.2), (0.04, 2.7), (0.42, 2.78), (0.98, 2.22))
_HOOD = ((1.12, 2.1), (0.78, 1.82), (0.56, 1.98), (0.44, 2.3), (0.05, 2.62), (0.5, 2.66), (0.98, 2.45))


@dataclass(frozen=True)
class _Trunk:
    """The trunk breathes and sways, but does not turn with the head."""

    scene: Scene

    def __call__(self, places: Places, sign: int = 1) -> Array:
        """Pixels (N, 2) of places on the trunk, mirrored where ``sign`` is -1."""
        broad = sign * (0.5 + 0.5 * self.scene.person.jaw)
        (sway_x, sway_y), breath = self.scene.expression.shift, 0.022 * self.scene.expression.breath
        moved = np.array((0.35 * sway_x, 0.35 * sway_y - breath, 0.0))
        return self.scene.camera.still(np.array([(x * broad, y, -0.4) for x, y in places]) + moved)


def clothes(ink: Ink, scene: Scene) -> None:
    """Draw the neck, its shade under the chin, the shoulders and what they wear."""
    trunk, cloth, unit = _Trunk(scene), scene.person.cloth, scene.unit
    _neck(ink, scene, trunk)
    left, right = smooth(trunk(_SHOULDER), closed=False), smooth(trunk(_SHOULDER, -1)[::-1], closed=False)
    hole = smooth(trunk(_OPEN if scene.person.clothes == "shirt" else _ROUND), closed=False)
    ink.fill(np.concatenate((left, hole, right)), cloth)
    for sign in (-1, 1):
        fold = trunk(((1.55, 2.42), (1.42, 2.62), (1.45, 3.0)), sign)
        ink.line(smooth(fold, closed=False), tinted(cloth, 0.85), 0.035 * unit)
    if scene.person.clothes == "crew":
        ink.line(np.concatenate((left[-1:], hole, right[:1])), tinted(cloth, 0.78), 0.075 * unit)
    elif scene.person.clothes == "shirt":
        _collar(ink, scene, trunk)
    else:
        _hood(ink, scene, trunk)


def _neck(ink: Ink, scene: Scene, trunk: _Trunk) -> None:
    """The neck leans with the head at its top and stands on the trunk."""
    skin = scene.person.skin
    top = scene.at((-0.52, 0.9, -0.5), (0.52, 0.9, -0.5))
    side = ((-0.55, 1.75), (-0.72, 2.0), (-1.1, 2.2), (-1.0, 3.4))
    neck = np.concatenate((top[:1], trunk(side), trunk(side, -1)[::-1], top[1:]))
    ink.fill(neck, shadow(skin, 0.14))
    chin = scene.seen[2:15] + np.array((0.0, 0.30 * scene.unit))
    ink.inside(neck, lambda: ink.fill(np.concatenate((chin, top[::-1])), shadow(skin, 0.36)))


def _collar(ink: Ink, scene: Scene, trunk: _Trunk) -> None:
    colour = tinted(scene.person.under, 1.1)
    for sign in (-1, 1):
        ink.fill(trunk(_FLAP, sign), colour)
        ink.line(trunk(_FLAP[2:], sign), tinted(colour, 0.75), 0.025 * scene.unit)


def _hood(ink: Ink, scene: Scene, trunk: _Trunk) -> None:
    for sign in (-1, 1):
        ink.fill(smooth(trunk(_HOOD, sign), closed=True), tinted(scene.person.cloth, 0.86))
        cord = trunk(((0.22, 2.55), (0.25, 3.3)), sign)
        ink.line(cord, tinted(scene.person.under, 1.2), 0.03 * scene.unit)

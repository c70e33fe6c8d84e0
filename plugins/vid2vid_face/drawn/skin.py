"""Ears and bare face of a drawn head, and a beard."""

from __future__ import annotations

import math

import cv2
import numpy as np
import numpy.typing as npt

from vid2vid_face.drawn.head import on_skull
from vid2vid_face.drawn.ink import Ink, smooth
from vid2vid_face.drawn.scene import Scene, shadow, tinted

Array = npt.NDArray[np.float64]


def hull(points: Array) -> Array:
    """The convex outline round points (N, 2)."""
    return cv2.convexHull(points.astype(np.float32))[:, 0].astype(np.float64)


def ears(ink: Ink, scene: Scene) -> None:
    """Draw both ears; the head hides what lies behind it, for it is drawn later."""
    skin, unit = scene.person.skin, scene.unit
    round_ = np.linspace(0, 2 * math.pi, 14, endpoint=False)
    for sign in (-1, 1):
        middle = np.array((sign * 1.0 * scene.person.width, 0.10, -0.74))
        across, down = np.array((sign * 0.13, 0.0, -0.12)), np.array((-sign * 0.015, 0.27, 0.02))

        def ring(scale: float, middle: Array = middle, across: Array = across, down: Array = down) -> Array:
            lobe = np.where(np.sin(round_) > 0.3, 0.72, 1.0)
            offsets = np.cos(round_)[:, None] * across * lobe[:, None] + np.sin(round_)[:, None] * down
            return smooth(scene.camera(middle + scale * offsets), closed=True, steps=3)

        ink.fill(ring(1.0), shadow(skin, 0.05))
        ink.fill(ring(0.62), shadow(skin, 0.20))
        ink.fill(ring(0.40), shadow(skin, 0.10))
        if scene.person.rings:
            ink.dot(scene.camera((middle + 1.05 * down)[None])[0], 0.045 * unit, (240, 210, 120))


def face(ink: Ink, scene: Scene) -> None:
    """Draw the bare face, from the jaw to where the hair begins, and a beard."""
    person, skin = scene.person, scene.person.skin
    outline = face_outline(scene)
    ink.fill(outline, skin)
    if person.beard:
        _beard(ink, scene, outline)


def face_outline(scene: Scene) -> Array:
    """The jaw as the viewer sees it, and the forehead up to the hair: (N, 2)."""
    angles = np.radians(np.linspace(-88, 88, 13))
    rows = [np.full(13, -0.12), -0.5 - 0.12 * np.cos(angles), _hairline(scene, angles)]
    forehead = np.concatenate([on_skull(angles, y, scene.camera.yaw) for y in rows])
    forehead[:, 0] *= scene.person.width
    return hull(np.concatenate((smooth(scene.seen[:17], closed=False), scene.camera(forehead))))


def _hairline(scene: Scene, angles: Array) -> Array:
    top = {"bald": -1.12, "bun": -0.86}.get(scene.person.hair, -0.92)
    return top + 0.38 * (1 - np.cos(angles)) ** 1.5


def _beard(ink: Ink, scene: Scene, outline: Array) -> None:
    person = scene.person
    drop = scene.points[8, 1] - 1.49
    jaw = smooth(scene.seen[1:16], closed=False)
    middle = jaw.mean(0)
    outer = middle + (jaw - middle) * (1.0 if person.beard < 0.5 else 1.04)
    inner = [(0.93, 0.40, 0.0), (0.74, 0.72, 0.18), (0.52, 0.86, 0.34), (0.30, 0.80, 0.46), (0.08, 0.80, 0.55)]
    inner = [(x, y + 0.15 * drop * (y > 0.7), z) for x, y, z in inner]
    upper = scene.at(
        *[(x * person.width, y, z) for x, y, z in inner], *[(-x * person.width, y, z) for x, y, z in inner[::-1]]
    )
    colour = tinted(person.skin, 1 - 0.75 * person.beard, person.hair_colour)
    shape = np.concatenate((outer, smooth(upper, closed=False)))

    def paint() -> None:
        ink.fill(shape, colour)

    if person.beard < 0.5:
        ink.inside(outline, paint)
    else:
        paint()

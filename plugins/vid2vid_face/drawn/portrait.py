"""The drawn video: a wall that stands still and a head before it that acts, with the landmarks of every frame."""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np
import numpy.typing as npt

from vid2vid_face.drawn.acting import Expression, perform
from vid2vid_face.drawn.clothes import clothes
from vid2vid_face.drawn.features import features
from vid2vid_face.drawn.hair import back_hair, far_hair, front_hair
from vid2vid_face.drawn.ink import Ink
from vid2vid_face.drawn.light import BLUSH, modelling, roundness
from vid2vid_face.drawn.person import Person, some_person
from vid2vid_face.drawn.scene import Scene, scene, tinted
from vid2vid_face.drawn.skin import ears, face

Picture = npt.NDArray[np.uint8]
Points = npt.NDArray[np.float64]
Float = npt.NDArray[np.float32]
SMALLEST = 16
"""Pixels of height and width."""
VIDEOS = 16
"""Seeds that share a person."""


class Portrait:
    """A person before a wall; asking for an expression paints it, and nothing is kept.

    Args:
        seed: who it is and what the wall looks like.
        size: (height, width) of the picture in pixels.
    """

    def __init__(self, seed: int, size: tuple[int, int]) -> None:
        random = np.random.default_rng((seed, 0))
        self.size = size
        self.person: Person = some_person(random)
        self._zoom = float(random.uniform(0.94, 1.08))
        self._wall = _wall(random, self.person, size)
        self._fine = 3 if min(size) <= 192 else 2

    def paint(self, expression: Expression) -> tuple[Picture, Points]:
        """One frame, uint8 (H, W, 3) RGB, and the 68 landmarks in it, float64 (68, 2) x and y in pixels."""
        shown = scene(self.person, expression, self.size, self._zoom)
        far, skin, near = (Ink(self.size, self._fine) for _ in range(3))
        far_hair(far, shown)
        clothes(far, shown)
        back_hair(skin, shown)
        ears(skin, shown)
        face(skin, shown)
        features(near, shown)
        front_hair(near, shown)
        return self._lit(shown, far, skin, near), shown.seen

    def _lit(self, shown: Scene, far: Ink, skin: Ink, near: Ink) -> Picture:
        light = roundness(shown, self.size)[..., None]
        shade, blush = (plane[..., None] for plane in modelling(shown, self.size))
        cloth, base, top = far.dry(), skin.dry(), near.dry()
        cloth[..., :3] *= np.float32(shown.expression.bright) * (np.float32(0.55) + np.float32(0.45) * light)
        alpha = base[..., 3:]
        base[..., :3] *= light * (1 + shade)
        base[..., :3] += blush * (BLUSH * alpha * light - base[..., :3])
        top[..., :3] *= np.float32(0.3) + np.float32(0.7) * light
        picture = self._wall
        for layer in (cloth, base, top):
            picture = picture * (1 - layer[..., 3:]) + layer[..., :3]
        return np.rint(np.clip(picture, 0, 1) * 255).astype(np.uint8)


def talk(seed: int, size: tuple[int, int]) -> Iterator[tuple[Picture, Points]]:
    """A talking head without end: frames uint8 (H, W, 3) RGB and their landmarks float64 (68, 2).

    Args:
        seed: who talks and how; the same seed is the same video. Sixteen seeds in a row, from a multiple of sixteen on,
            are videos of one person in one place: a network learns one person from several videos.
        size: (height, width) in pixels.
    """
    portrait = Portrait(seed // VIDEOS, size)
    for expression in perform(seed):
        yield portrait.paint(expression)


def _wall(random: np.random.Generator, person: Person, size: tuple[int, int]) -> Float:
    """A wall with a gradient of light and a few soft things on it, float32 (H, W, 3) in [0, 1]."""
    height, width = size
    unit = min(size)
    y, x = np.mgrid[:height, :width].astype(np.float32)
    ramp = 1.04 - 0.24 * (y / height) - 0.12 * np.abs(x / width - float(random.uniform(0.2, 0.8)))
    ink = Ink(size, 3)
    whole = np.array(((-9.0, -9.0), (width + 9.0, -9.0), (width + 9.0, height + 9.0), (-9.0, height + 9.0)))
    ink.fill(whole, person.wall)
    kind = int(random.integers(3))
    for _ in range(2 if kind == 0 else 3):
        left, top = random.uniform(-0.1, 0.85) * width, random.uniform(-0.1, 0.5) * height
        wide, high = random.uniform(0.18, 0.4, 2) * unit
        box = np.array(((left, top), (left + wide, top), (left + wide, top + high), (left, top + high)))
        colour = tinted(person.wall, float(random.uniform(0.72, 1.25)))
        if kind == 0:
            middle = box.mean(0)
            ink.fill(middle + (box - middle) * 1.12, tinted(person.wall, 0.68))
            ink.fill(box, tinted(person.cloth, 0.4, person.wall))
        elif kind == 1:
            ink.dot(box[0], float(0.5 * wide), colour)
        else:
            ink.fill(np.stack((box[:, 0], np.where(box[:, 1] > top, height + 9.0, -9.0)), 1), colour)
    wall = ink.dry()[..., :3] * ramp[..., None]
    return np.asarray(cv2.GaussianBlur(wall, (0, 0), 0.012 * unit), np.float32)

"""The hair of a drawn head: the mass behind the face, and locks, fringe and strands before it."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from vid2vid_face.drawn.head import SKULL_CENTRE, SKULL_RADII, on_skull
from vid2vid_face.drawn.ink import Ink, smooth
from vid2vid_face.drawn.scene import Scene, tinted
from vid2vid_face.drawn.skin import hull

Array = npt.NDArray[np.float64]
_AROUND, _UP = (grid.ravel() for grid in np.meshgrid(np.arange(18) * math.tau / 18, np.linspace(0.05, 1.5, 7)))
_SPHERE = np.stack((np.cos(_UP) * np.sin(_AROUND), -np.sin(_UP), np.cos(_UP) * np.cos(_AROUND)), 1)


def far_hair(ink: Ink, scene: Scene) -> None:
    """Draw what hangs behind the neck and shoulders."""
    style = scene.person.hair
    if style in ("bob", "long"):
        low = 1.15 if style == "bob" else 2.3
        wide = 1.22 if style == "bob" else 1.3
        side = [(-1.0, -0.6), (-wide + 0.05, 0.1), (-wide, 0.6 * low), (-wide + 0.12, low), (-0.5, low + 0.12)]
        outline = [(x, y, -0.95) for x, y in (*side, *[(-x, y) for x, y in reversed(side)])]
        ink.fill(smooth(scene.at(*outline), closed=True), tinted(scene.person.hair_colour, 0.72))
    elif style == "bun":
        centre = scene.at((0.0, -1.38, -0.95))[0]
        ink.dot(centre, 0.42 * scene.unit, tinted(scene.person.hair_colour, 0.85))
        ink.dot(centre - 0.06 * scene.unit, 0.32 * scene.unit, scene.person.hair_colour)


def back_hair(ink: Ink, scene: Scene) -> None:
    """Draw the mass of hair on the skull; the face is drawn over it."""
    person, colour = scene.person, scene.person.hair_colour
    if person.hair == "bald":
        ink.fill(hull(_cap(scene, 1.005)), person.skin)
        return
    lift = 1.16 if person.hair == "curly" else 1.0
    cap = _cap(scene, person.volume * (1.02 if lift > 1 else 1.0))
    ink.fill(hull(cap), colour)
    if person.hair == "curly":
        for angle in np.linspace(-1.75, 1.75, 15):
            place = np.array((1.12 * math.sin(angle), -0.28 - 1.08 * math.cos(angle), -0.5))
            radius = 0.25 + 0.05 * math.sin(7 * angle + person.parting)
            ink.dot(
                scene.camera(place[None])[0], radius * scene.unit, tinted(colour, 0.93 + 0.07 * math.cos(9 * angle))
            )


def front_hair(ink: Ink, scene: Scene) -> None:
    """Draw the fringe, the locks beside the face, and strands that show how the hair lies."""
    person, colour = scene.person, scene.person.hair_colour
    if person.hair == "bald":
        return
    angles = np.radians(np.linspace(-100, 100, 25))
    edge = _fringe(scene, angles)
    scale = 1 + 0.6 * (person.volume - 1)
    low = _surface(scene, angles, edge, scale)
    high = _surface(scene, angles, np.full_like(angles, -1.08), scale)
    ink.fill(np.concatenate((low, high[::-1])), colour)
    _strands(ink, scene, angles, edge, scale)
    if person.hair in ("bob", "long"):
        _locks(ink, scene)
    elif person.hair in ("crop", "swept"):
        _sideburns(ink, scene)
    elif person.hair == "curly":
        for angle, y in zip(angles[3:-3:2], edge[3:-3:2], strict=True):
            centre = _surface(scene, np.array((angle,)), np.array((y - 0.08,)), scale)[0]
            ink.dot(centre, 0.17 * scene.unit, tinted(colour, 0.95 + 0.08 * math.cos(8 * angle)))


def _cap(scene: Scene, scale: float) -> Array:
    """The upper skull and the back of the head as points in pixels."""
    sphere = _SPHERE * SKULL_RADII * scale + SKULL_CENTRE
    sphere[:, 0] *= scene.person.width
    back = [(x * scene.person.width, y, -1.1) for x in (-0.8, 0.8) for y in (0.3, 0.65)]
    return np.concatenate((scene.camera(sphere), scene.at(*back)))


def _surface(scene: Scene, angles: Array, y: Array, scale: float) -> Array:
    places = on_skull(angles, y, scene.camera.yaw, scale)
    places[:, 0] *= scene.person.width
    return scene.camera(places)


def _fringe(scene: Scene, angles: Array) -> Array:
    """How far down the hair comes at each angle round the head."""
    person = scene.person
    temple = 0.5 * np.clip(np.abs(angles) - 0.9, 0, None)
    if person.hair == "swept":
        away = np.sign(person.parting) * (angles - 0.7 * person.parting)
        edge: Array = -0.98 + 0.42 * np.clip(-away, 0, 1.2) ** 0.8 + 0.12 * np.clip(away, 0, 1) + temple
        return edge
    if person.hair == "bob":
        return -0.60 + 0.03 * np.sin(9 * angles + person.parting) + 0.25 * temple
    if person.hair == "long":
        return -1.02 + 0.62 * np.clip(np.abs(angles - 0.6 * person.parting), 0, 1.3) ** 1.2 + 0.2 * temple
    if person.hair == "curly":
        return -0.74 + 0.05 * np.sin(11 * angles) + 0.6 * temple
    if person.hair == "bun":
        return -0.93 + 0.30 * np.abs(angles) ** 1.6 - 0.1 * temple
    return -0.82 + 0.05 * np.abs(np.sin(5 * angles + person.parting)) + 0.55 * temple


def _strands(ink: Ink, scene: Scene, angles: Array, edge: Array, scale: float) -> None:
    """Darker and lighter lines from the crown to the fringe, which shine half-way down where the light is."""
    colour, unit = scene.person.hair_colour, scene.unit
    share = np.linspace(0, 1, 9)
    for number in range(2, len(angles) - 2, 2):
        turn = angles[number] * (0.5 + 0.5 * share) + 0.12 * scene.person.parting * (1 - share)
        height = -1.22 + (edge[number] - 0.03 + 1.22) * share
        along = _surface(scene, turn, height, scale + 0.02)
        ink.line(along, tinted(colour, 1.08 if number % 4 else 0.82), 0.022 * unit)
        if abs(angles[number] - 0.6 * scene.expression.light) < 0.5:
            ink.line(along[3:6], tinted(colour, 1.22), 0.05 * unit)


def _locks(ink: Ink, scene: Scene) -> None:
    """Long hair falls before the ears on both sides."""
    person, colour = scene.person, scene.person.hair_colour
    low = 1.05 if person.hair == "bob" else 2.25
    for sign in (-1, 1):
        outer = [
            (0.72, -0.85, -0.1),
            (1.06, -0.35, -0.35),
            (1.2, 0.3, -0.45),
            (1.22, 0.7 * low, -0.5),
            (1.1, low, -0.5),
        ]
        inner = [(0.86, low + 0.05, -0.45), (0.98, 0.6 * low, -0.42), (0.96, 0.2, -0.34), (0.88, -0.3, -0.1)]
        ink.fill(smooth(_side(scene, sign, (*outer, *inner)), closed=True), colour)
        for shift, tone in ((0.4, 1.15), (0.75, 0.82)):
            lock = [
                tuple((1 - shift) * a + shift * b for a, b in zip(o, i, strict=True))
                for o, i in zip(outer[1:], inner[::-1], strict=True)
            ]
            ink.line(smooth(_side(scene, sign, lock), closed=False), tinted(colour, tone), 0.028 * scene.unit)


def _sideburns(ink: Ink, scene: Scene) -> None:
    for sign in (-1, 1):
        patch = [(0.93, -0.5, -0.2), (1.02, -0.3, -0.55), (1.01, 0.1, -0.62), (0.96, 0.12, -0.5), (0.92, -0.2, -0.25)]
        near = sign * scene.expression.yaw < 0.15
        if near:
            ink.fill(_side(scene, sign, patch), scene.person.hair_colour)


def _side(scene: Scene, sign: int, places: Sequence[Sequence[float]]) -> Array:
    return scene.camera(np.array([(sign * x * scene.person.width, y, z) for x, y, z in places]))

"""Eyes, brows, nose, mouth and glasses of a drawn head, drawn through its landmarks."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from vid2vid_face.drawn.head import eye_centre, eye_half
from vid2vid_face.drawn.ink import Ink, smooth
from vid2vid_face.drawn.scene import Scene, shadow, tinted

Array = npt.NDArray[np.float64]
_DARK = (44, 30, 32)


def features(ink: Ink, scene: Scene) -> None:
    """Draw all that makes the face a face."""
    _nose(ink, scene)
    for first, sign in ((36, -1), (42, 1)):
        _eye(ink, scene, first, sign)
    _brows(ink, scene)
    _mouth(ink, scene)
    if scene.person.glasses:
        _glasses(ink, scene)


def _eye(ink: Ink, scene: Scene, first: int, sign: int) -> None:
    seen, unit, person = scene.seen[first : first + 6], scene.unit, scene.person
    upper = smooth(seen[:4], closed=False)
    lower = smooth(seen[[3, 4, 5, 0]], closed=False)
    down = np.array((0.0, unit))
    lid = smooth(seen[:4] + 0.05 * person.eye * down * np.array((0.0, 1.0, 1.0, 0.0))[:, None], closed=False)
    centre = eye_centre(person) * (-sign, 1.0, 1.0)
    gaze = np.array((0.085 * scene.expression.gaze[0], 0.05 * scene.expression.gaze[1] - 0.005, 0.03))
    iris = scene.camera((centre + gaze)[None])[0]
    radius = 0.55 * eye_half(person) * unit

    def ball() -> None:
        ink.fill(np.concatenate((upper, lower)), (246, 244, 242))
        ink.fill(np.concatenate((upper, lid[::-1])), (206, 204, 212))
        ink.dot(iris, radius, tinted(person.iris, 0.55))
        ink.dot(iris, 0.84 * radius, person.iris)
        ink.dot(iris + np.array((0.0, 0.22 * radius)), 0.55 * radius, tinted(person.iris, 1.22))
        ink.dot(iris, 0.46 * radius, (18, 14, 18))
        glint = np.array((0.35 * (1 if scene.expression.light > 0 else -1), -0.38)) * radius
        ink.dot(iris + glint, 0.25 * radius, (255, 255, 255))
        ink.dot(iris - 0.9 * glint, 0.12 * radius, (235, 240, 250))

    if scene.expression.blink < 0.95:
        ink.inside(np.concatenate((upper, lower)), ball)
    soft = person.brow_weight < 0.95
    outer = (seen[0] if first == 36 else seen[3]) + np.array((sign * 0.05, -0.03)) * unit * soft
    thick = (0.042 if soft else 0.03) * unit
    share = np.linspace(1, 0.45, len(upper)) if first == 36 else np.linspace(0.45, 1, len(upper))
    lash = upper - np.stack((np.zeros_like(share), thick * share), 1)
    edge = np.concatenate((upper, lash[::-1]))
    ink.fill(edge, _DARK)
    ink.line(upper, _DARK, 0.016 * unit)
    if soft:
        ink.line(np.stack((seen[0] if first == 36 else seen[3], outer)), _DARK, 0.03 * unit)
    ink.line(lower[4:-2], shadow(person.skin, 0.42), 0.014 * unit)
    crease = upper - np.stack(
        (
            np.zeros_like(share),
            (0.075 + 0.02 * scene.expression.blink) * unit * np.sin(np.linspace(0.5, 2.6, len(upper))),
        ),
        1,
    )
    ink.line(crease[3:-3], shadow(person.skin, 0.27), 0.018 * unit)


def _brows(ink: Ink, scene: Scene) -> None:
    colour = tinted(scene.person.hair_colour, 0.8)
    if sum(colour) > 480:
        colour = tinted(colour, 0.75)
    half = np.array((0.008, 0.026, 0.036, 0.042, 0.03)) * scene.person.brow_weight * scene.unit
    for first, thickness in ((17, half), (22, half[::-1])):
        line = scene.seen[first : first + 5]
        offset = np.stack((np.zeros(5), thickness), 1)
        outline = np.concatenate((smooth(line - offset, closed=False), smooth((line + offset)[::-1], closed=False)))
        ink.fill(outline, colour)


def _nose(ink: Ink, scene: Scene) -> None:
    person, unit = scene.person, scene.unit
    dark, deep = shadow(person.skin, 0.30), shadow(person.skin, 0.55)
    wide, low = person.width * person.nose_width, scene.points[33, 1] - 0.71
    for sign in (-1, 1):
        wing = [(0.15, 0.52, 0.52), (0.215, 0.57, 0.47), (0.235, 0.64, 0.43), (0.19, 0.69, 0.45)]
        ink.line(
            smooth(scene.at(*[(sign * x * wide, y + low, z) for x, y, z in wing]), closed=False)[6:], dark, 0.022 * unit
        )
        hole = [(0.065, 0.672, 0.60), (0.10, 0.65, 0.57), (0.145, 0.665, 0.52), (0.10, 0.69, 0.55)]
        ink.fill(smooth(scene.at(*[(sign * x * wide, y + low, z) for x, y, z in hole]), closed=True), deep)
    ink.line(smooth(scene.seen[32:35], closed=False), dark, 0.02 * unit)
    if person.freckles:
        for number in range(16):
            x = (-1) ** number * (0.16 + 0.055 * (number // 2)) * person.width
            y = 0.36 + 0.055 * ((number * 5) % 4)
            spot = scene.at((x, y, 0.42 - 0.45 * x * x))[0]
            ink.dot(spot, 0.016 * unit, shadow(person.skin, 0.16))


def _mouth(ink: Ink, scene: Scene) -> None:
    person, seen, unit = scene.person, scene.seen, scene.unit
    top = np.concatenate(
        (
            smooth(seen[48:51], closed=False),
            smooth(seen[50:53], closed=False)[1:],
            smooth(seen[52:55], closed=False)[1:],
        )
    )
    low = smooth(seen[[54, 55, 56, 57, 58, 59, 48]], closed=False)
    inner_top, inner_low = smooth(seen[60:65], closed=False), smooth(seen[[64, 65, 66, 67, 60]], closed=False)
    ink.fill(np.concatenate((top, low)), person.lip)
    ink.fill(np.concatenate((top, inner_top[::-1])), tinted(person.lip, 0.86))
    inner = np.concatenate((inner_top, inner_low))

    def cavity() -> None:
        ink.fill(inner, (74, 26, 32))
        tongue = scene.at((0.0, scene.points[66, 1] + 0.02, 0.38))[0]
        width = 0.62 * np.linalg.norm(seen[64] - seen[60]) / 2
        around = np.linspace(0, math.tau, 16, endpoint=False)
        ink.fill(tongue + np.stack((width * np.cos(around), 0.13 * unit * np.sin(around)), 1), (206, 104, 108))
        depth = np.array((0.0, 0.07 * unit))
        bite = np.stack((inner_top, inner_top + depth))[:, 3:-3]
        ink.fill(np.concatenate((bite[0] - 0.05 * unit, bite[1][::-1])), (250, 247, 240))

    ink.inside(inner, cavity)
    ink.line(inner_top, shadow(person.lip, 0.45), 0.02 * unit)
    for corner in seen[[48, 54]]:
        ink.dot(corner, 0.022 * unit, shadow(person.skin, 0.45))
    shine = 0.45 * (seen[[58, 57, 56]]) + 0.55 * seen[[67, 66, 65]]
    ink.line(smooth(shine, closed=False)[2:-2], tinted(person.lip, 1.3), 0.03 * unit)


def _glasses(ink: Ink, scene: Scene) -> None:
    person, unit = scene.person, scene.unit
    frame, around = (52, 46, 54), np.linspace(0, math.tau, 24, endpoint=False)
    cos, sin = np.cos(around), np.sin(around)
    round_ = np.stack((np.sign(cos) * np.abs(cos) ** 0.75 * 0.33, np.sign(sin) * np.abs(sin) ** 0.75 * 0.25), 1)
    for sign in (-1, 1):
        middle = eye_centre(person) * (-sign, 1.0, 1.0)
        ring = [(middle[0] + x, middle[1] + y + 0.02, 0.42 - 0.22 * abs(middle[0] + x) ** 2) for x, y in round_]
        ink.line(scene.at(*ring), frame, 0.035 * unit, closed=True)
        edge = middle[0] + sign * 0.33
        ink.line(scene.at((edge, middle[1] - 0.05, 0.28), (sign * 1.02 * person.width, 0.0, -0.6)), frame, 0.03 * unit)
    bridge = smooth(scene.at((-0.11, 0.0, 0.44), (0.0, -0.05, 0.53), (0.11, 0.0, 0.44)), closed=False)
    ink.line(bridge, frame, 0.035 * unit)

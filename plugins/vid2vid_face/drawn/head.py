"""The shape of a drawn head in three dimensions: 68 landmarks, a skull, ears; and the camera that looks at it.

Face units: half a face's width is 1. x is to the picture's right, y down, z towards the viewer; the eyes are at y = 0.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from vid2vid_face.drawn.acting import Expression
from vid2vid_face.drawn.person import Person

Array = npt.NDArray[np.float64]

SKULL_CENTRE, SKULL_RADII = np.array((0.0, -0.16, -0.58)), np.array((1.0, 1.1, 1.04))
_PIVOT = np.array((0.0, 1.2, -0.75))
_DISTANCE = 9.0
_BEHIND = math.radians(96)
"""How far round the head the jaw's line runs before the ear covers it."""

# Cross-sections of the lower face for jaw landmarks 0..8: half width, height, z of the middle, depth before it.
_JAW = np.array(
    (
        (0.99, -0.06, -0.66, 0.86),
        (0.985, 0.22, -0.62, 0.88),
        (0.96, 0.50, -0.55, 0.86),
        (0.89, 0.78, -0.44, 0.78),
        (0.76, 1.02, -0.28, 0.62),
        (0.58, 1.22, -0.09, 0.42),
        (0.39, 1.37, 0.06, 0.25),
        (0.20, 1.46, 0.17, 0.12),
        (0.00, 1.49, 0.22, 0.06),
    )
)
_JAW_DROP = np.array((0.0, 0.0, 0.03, 0.14, 0.38, 0.62, 0.84, 0.96, 1.0))
# One brow, one eye and half a mouth on the picture's left; the other side is their mirror image.
_BROW = np.array(
    ((-0.84, -0.27, 0.02), (-0.70, -0.37, 0.22), (-0.52, -0.40, 0.34), (-0.35, -0.38, 0.41), (-0.19, -0.33, 0.44))
)
_BRIDGE = np.array(((0.0, -0.05, 0.46), (0.0, 0.15, 0.56), (0.0, 0.34, 0.68), (0.0, 0.52, 0.80)))
_NOSTRILS = np.array(
    ((-0.19, 0.65, 0.46), (-0.10, 0.685, 0.56), (0.0, 0.71, 0.61), (0.10, 0.685, 0.56), (0.19, 0.65, 0.46))
)
_EYE_CENTRE, _EYE_HALF, _EYE_HEIGHT = np.array((-0.44, 0.02, 0.24)), 0.20, 0.105
_MOUTH_Y, _MOUTH_HALF = 1.0, 0.35


@dataclass(frozen=True)
class Camera:
    """Where a head is in the picture: turned about its neck, then seen from afar, in perspective.

    Attributes:
        turn: (3, 3) rotation.
        yaw: of which, about the vertical axis.
        shift: of the head, face units (3,).
        middle: of the picture, where (0, 0.35, 0) is at rest, pixels.
        unit: pixels of a face unit.
    """

    turn: Array
    yaw: float
    shift: Array
    middle: tuple[float, float]
    unit: float

    def __call__(self, points: Array) -> Array:
        """Pixels (N, 2) of points of the head (N, 3)."""
        return self.still((points - _PIVOT) @ self.turn.T + _PIVOT + self.shift)

    def still(self, points: Array) -> Array:
        """Pixels (N, 2) of points that do not turn with the head."""
        scale = self.unit * _DISTANCE / (_DISTANCE - points[:, 2:])
        return points[:, :2] * scale + (self.middle[0], self.middle[1] - 0.35 * self.unit)


def camera(expression: Expression, size: tuple[int, int], zoom: float) -> Camera:
    """The camera for one frame; the picture's shorter side is 4.6 face units, divided by ``zoom``."""
    (sy, cy), (sp, cp), (sr, cr) = (
        (math.sin(a), math.cos(a)) for a in (expression.yaw, expression.pitch, expression.roll)
    )
    yaw = np.array(((cy, 0, sy), (0, 1, 0), (-sy, 0, cy)))
    pitch = np.array(((1, 0, 0), (0, cp, sp), (0, -sp, cp)))
    roll = np.array(((cr, -sr, 0), (sr, cr, 0), (0, 0, 1)))
    return Camera(
        turn=roll @ pitch @ yaw,
        yaw=expression.yaw,
        shift=np.array((*expression.shift, 0.0)),
        middle=((size[1] - 1) / 2, (size[0] - 1) / 2),
        unit=min(size) / 4.6 * zoom,
    )


def rim(angle: Array, width: Array, depth: Array, yaw: float) -> Array:
    """Angles on elliptic cross-sections, moved to where the surface turns away from the viewer if they lie beyond.

    Args:
        angle: radians (N,), 0 to the front, positive to the right.
        width: half widths (N,).
        depth: half depths (N,).
        yaw: of the head.
    """
    # The extremes of width sin(a) cos(yaw) + depth cos(a) sin(yaw).
    right = np.arctan2(width * math.cos(yaw), depth * math.sin(yaw))
    return np.clip(angle, right - math.pi, right)


def on_skull(angle: Array, y: Array, yaw: float, scale: float = 1.0) -> Array:
    """Points (N, 3) of the skull at an angle round it and a height; hidden ones are moved to its rim."""
    radii = SKULL_RADII * scale
    share = np.sqrt(np.clip(1 - ((y - SKULL_CENTRE[1]) / radii[1]) ** 2, 0, 1))
    width, depth = radii[0] * share, radii[2] * share
    seen = rim(angle, width, depth, yaw)
    return np.stack((width * np.sin(seen), y, SKULL_CENTRE[2] + depth * np.cos(seen)), 1)


def landmarks(person: Person, expression: Expression) -> Array:
    """The 68 landmarks (68, 3) of a person who makes a face.

    The jaw is where the cheek ends for the viewer, as people mark it in photographs; all others are fixed to the skin.
    """
    brow, eye = _brow(person, expression), _eye(person, expression)
    nose = np.concatenate((_BRIDGE, _NOSTRILS))
    nose[:, 1] = nose[:, 1] * np.where(nose[:, 1] > 0, person.nose_length, 1.0) - 0.012 * expression.smile
    nose[4:, 0] *= person.nose_width * (1 + 0.05 * expression.smile)
    flip = np.array((-1.0, 1.0, 1.0))
    other_eye = eye[[3, 2, 1, 0, 5, 4]] * flip
    points = np.concatenate(
        (_jaw(person, expression), brow, brow[::-1] * flip, nose, eye, other_eye, _mouth(person, expression))
    )
    points[:, 0] *= person.width
    return points


def eye_centre(person: Person) -> Array:
    """Middle of the eye on the picture's left, (3,)."""
    return _EYE_CENTRE * (person.eye_gap * person.width, 1.0, 1.0)


def eye_half(person: Person) -> float:
    """Half the width of an eye, in face units."""
    return _EYE_HALF * person.eye


def _jaw(person: Person, expression: Expression) -> Array:
    sections = _JAW.copy()
    sections[2:8, 0] *= 1 + (person.jaw - 1) * np.array((0.3, 0.7, 1.0, 1.2, 1.2, 1.2))
    below = np.clip((sections[:, 1] - 0.8) / 0.7, 0, 1)
    sections[:, 1] += 0.5 * (person.chin - 1) * below
    drop = 0.26 * expression.open * _JAW_DROP
    sections[:, 1] += drop
    sections[:, 2] -= 0.35 * drop
    sections[2:7, 0] += 0.02 * expression.smile
    both = np.concatenate((sections, sections[-2::-1]))
    width, y, middle, depth = both.T
    angle = np.concatenate((np.full(8, -_BEHIND), (0.0,), np.full(8, _BEHIND)))
    seen = rim(angle, np.maximum(width, 1e-6), depth, expression.yaw)
    seen[8] = 0.0
    return np.stack((width * np.sin(seen), y, middle + depth * np.cos(seen)), 1)


def _brow(person: Person, expression: Expression) -> Array:
    brow = _BROW.copy()
    brow[:, 1] -= person.brow_height + person.brow_arch * np.array((-0.3, 0.7, 1.0, 0.6, 0.0))
    brow[:, 1] -= 0.09 * expression.brow * np.array((0.6, 0.9, 1.0, 1.0, 0.9))
    brow[:, 1] += 0.02 * expression.blink
    brow[:, 0] *= person.eye_gap
    return brow


def _eye(person: Person, expression: Expression) -> Array:
    """The six landmarks of the eye on the picture's left: outer corner, upper lid, inner corner, lower lid."""
    half, height = _EYE_HALF * person.eye, _EYE_HEIGHT * person.eye
    closed = expression.blink
    upper = height * (1 + 0.12 * expression.brow - 0.25 * expression.gaze[1])
    lower = 0.72 * height * (1 - 0.28 * expression.smile)
    shut = 0.55 * lower
    upper_y = -upper * (1 - closed) + shut * closed
    lower_y = lower * (1 - closed) + shut * closed
    offsets = np.array(
        (
            (-half, -person.eye_tilt, -0.10),
            (-0.42 * half, upper_y, 0.01),
            (0.36 * half, upper_y, 0.03),
            (half, 0.02, -0.03),
            (0.36 * half, lower_y, 0.02),
            (-0.42 * half, lower_y, 0.0),
        )
    )
    return np.asarray(_EYE_CENTRE * (person.eye_gap, 1.0, 1.0) + offsets)


def _mouth(person: Person, expression: Expression) -> Array:
    """Landmarks 48..67: the outer lips from the left corner over the top, then the inner lips likewise."""
    opened, wide, smile = expression.open, expression.wide, expression.smile
    half = _MOUTH_HALF * person.mouth_width * (1 + 0.13 * wide + 0.16 * smile - 0.06 * opened)
    upper, lower = 0.085 * person.lips * (1 - 0.15 * smile), 0.11 * person.lips * (1 - 0.12 * smile)
    drop, lift = 0.30 * opened, 0.035 * opened
    corner = 0.22 * drop - 0.10 * smile
    pout = 0.05 * max(-wide, 0.0)
    outer_top = ((-1.0, corner), (-0.60, -0.72 * upper), (-0.22, -1.05 * upper), (0.0, -0.9 * upper))
    outer_low = ((0.0, drop + lower), (-0.26, 0.97 * drop + 0.96 * lower), (-0.62, 0.72 * drop + 0.66 * lower))
    inner_top = ((-0.82, 0.0), (-0.34, 0.0), (0.0, 0.012))
    inner_low = ((0.0, 0.02 + drop), (-0.34, 0.012 + 0.9 * drop))

    def place(x: float, y: float) -> tuple[float, float, float]:
        # The corners pull what is near them along, and the upper lip gives way to an open mouth.
        near = abs(x) ** 1.5
        height = y if near == 1 else y + near * corner - (lift * (1 - near) if y < 0.02 else 0)
        return x * half, _MOUTH_Y + height, 0.52 - 0.24 * abs(x) ** 1.7 + pout - 0.12 * max(y, 0)

    def mirrored(points: tuple[tuple[float, float], ...]) -> list[tuple[float, float]]:
        return [(-x, y) for x, y in reversed(points) if x]

    outline = (*outer_top, *mirrored(outer_top), *mirrored(outer_low), *outer_low)
    inside = (*inner_top, *mirrored(inner_top), *mirrored(inner_low), *inner_low)
    return np.array([place(x, y) for x, y in (*outline, *inside)])

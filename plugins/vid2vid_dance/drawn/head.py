"""The dancer's head: face, hair and the 70 points of a face, wherever it looks."""

from __future__ import annotations

import math

import numpy as np

from vid2vid_dance.dense import HEAD
from vid2vid_dance.drawn.body import Body
from vid2vid_dance.drawn.camera import Camera
from vid2vid_dance.drawn.canvas import Blob, Canvas
from vid2vid_dance.drawn.moves import Vector
from vid2vid_dance.drawn.person import Person
from vid2vid_dance.layout import FACE

WIDE, DEEP = 0.82, 0.80
"""Half the head's width and depth, as shares of half its height."""
TURNED = 0.12
"""How far towards the viewer a spot of the face must look to be seen: the cosine of the angle."""


class Head:
    """A head at a moment, as the camera sees it."""

    def __init__(self, person: Person, body: Body, camera: Camera) -> None:
        self._person, self._camera = person, camera
        self._centre, self._size = body.head, person.head
        self._crown = body.crown
        face = body.face - (body.face @ body.crown) * body.crown
        self._face = face / np.linalg.norm(face)
        self._left = np.cross(self._crown, self._face)
        self._neck = body.neck
        self._front = float(self._face[0]), float(self._face[2])

    def blobs(self, sway: float) -> list[Blob]:
        """Neck, skull, ears and hair."""
        person, size = self._person, self._size
        skin, hair = (person.skin,), (person.hair_colour,)
        blobs = [
            self._blob([(self._neck - 0.03 * self._crown, self._at(0, -0.75, -0.15), 0.033, 0.033)], skin, -0.03),
            self._blob([(self._at(0, -0.30, 0), self._at(0, 0.10, 0), 0.68 * size, 0.84 * size)], skin, 0.0),
        ]
        nose = (self._at(0, -0.04, 0.84), self._at(0, -0.16, 0.98), 0.09 * size, 0.12 * size)
        blobs.append(self._blob([nose], skin, 0.3 * size * self._face[2]))
        ears = [(self._at(s, 0.02, -0.1), self._at(s, -0.12, -0.1), 0.15 * size, 0.12 * size) for s in (-1, 1)]
        for ear, side in zip(ears, (-1, 1), strict=True):
            nearer = 0.006 if side * self._left[2] > -0.2 else -0.006
            blobs.append(self._blob([ear], skin, nearer))
        cap = [(self._at(0, 0.0, -0.5), self._at(0, 0.28, -0.36), 0.74 * size, 0.84 * size)]
        fringe = [
            (self._at(-0.58, 0.46, 0.42), self._at(0.05, 0.78, 0.40), 0.24 * size, 0.30 * size),
            (self._at(0.05, 0.78, 0.40), self._at(0.62, 0.50, 0.42), 0.30 * size, 0.22 * size),
            (self._at(-0.72, 0.38, 0), self._at(0, 0.72, 0), 0.28 * size, 0.36 * size),
            (self._at(0.72, 0.38, 0), self._at(0, 0.72, 0), 0.28 * size, 0.36 * size),
        ]
        # From the front the skull hides the hair at its back; from the side and behind the hair hides the skull.
        behind = size * (0.1 - self._face[2])
        blobs += [self._blob(cap, hair, 0.4 * behind), self._blob(fringe, hair, 0.35 * size * self._face[2])]
        for side in (-1, 1):
            temple = [
                (self._at(0.66 * side, 0.42, 0.10), self._at(0.66 * side, 0.26, -0.45), 0.26 * size, 0.38 * size),
                (self._at(0.66 * side, 0.26, -0.45), self._at(0.55 * side, -0.30, -0.62), 0.38 * size, 0.30 * size),
            ]
            blobs.append(self._blob(temple, hair, 0.3 * size * side * self._left[2]))
        if person.hair == "long":
            end = self._at(0.12 * sway, -1.75, -0.55)
            lock = [(self._at(0, 0, -0.38), end, 0.82 * size, 0.62 * size)]
            blobs.append(self._blob(lock, hair, 0.5 * behind - 0.02))
        elif person.hair == "bun":
            bun = [(self._at(0, 0.98, -0.42), self._at(0, 1.06, -0.46), 0.36 * size, 0.34 * size)]
            blobs.append(self._blob(bun, hair, 0.45 * behind))
        elif person.hair == "tail":
            root, bend = self._at(0, 0.35, -1.0), self._at(0.35 * sway, -0.35, -1.45)
            tail = [
                (root, bend, 0.22 * size, 0.3 * size),
                (bend, self._at(0.9 * sway, -1.2, -1.25), 0.3 * size, 0.12 * size),
            ]
            blobs.append(self._blob(tail, hair, 0.7 * behind))
        return blobs

    def draw_face(self, canvas: Canvas, blink: float) -> None:
        """Eyes, brows, cheeks, nose and mouth, where they can be seen."""
        points, seen, unit = self.points(), self._towards(_FACE), self._size * self._camera.scale
        dark, lip = (44, 30, 34), (168, 66, 70)
        for a, b, radius in ((-0.56, -0.28, 0.17), (0.56, -0.28, 0.17)):
            if self._towards(np.array([(a, b)]))[0] > TURNED:
                x, y = self._camera.see(self._at_surface(a, b))
                canvas.spot(x, y, (radius * unit, 0.7 * radius * unit), (236, 110, 100), 0.28)
        for corners in ((36, 39), (42, 45)):
            if seen[list(corners)].min() < TURNED:
                continue
            (ax, ay), (bx, by) = points[corners[0], :2], points[corners[1], :2]
            x, y, wide = (ax + bx) / 2, (ay + by) / 2, math.hypot(bx - ax, by - ay) / 2
            tall = 0.20 * unit * (1 - 0.85 * blink)
            canvas.spot(x, y, (wide, tall), (250, 250, 250))
            canvas.spot(x, y, (min(wide, 0.115 * unit), min(tall, 0.15 * unit)), dark)
            canvas.spot(x - 0.04 * unit, y - 0.06 * unit, (0.035 * unit,) * 2, (255, 255, 255), 1 - blink)
        for brow in (range(17, 22), range(22, 27)):
            for i in brow:
                if seen[i] > TURNED:
                    canvas.spot(points[i, 0], points[i, 1], (0.08 * unit, 0.045 * unit), self._person.hair_colour)
        if seen[30] > TURNED:
            canvas.spot(points[30, 0], points[30, 1], (0.09 * unit, 0.07 * unit), _darker(self._person.skin, 0.82))
        if seen[[48, 54]].min() > TURNED:
            (ax, ay), (bx, by) = points[48, :2], points[54, :2]
            x, y = points[[51, 57], :2].mean(0)
            canvas.spot(x, y, (math.hypot(bx - ax, by - ay) / 2.1, 0.12 * unit), lip)
            canvas.spot(x, y - 0.05 * unit, (math.hypot(bx - ax, by - ay) / 2.8, 0.045 * unit), (250, 244, 240))

    def points(self) -> Vector:
        """(70, 3): the face in the picture; of confidence 0 and at 0, 0 where the face is turned away."""
        found = np.zeros((FACE, 3))
        if self._face[2] > 0.25:
            found[:, :2] = [self._camera.see(self._at_surface(a, b)) for a, b in _FACE]
            found[:, 2] = 1
        return found

    def body_points(self) -> list[tuple[Vector, bool]]:
        """Nose, right and left eye, right and left ear: where they are, and whether they can be seen."""
        spots = ((0.0, -0.1), (-0.37, 0.08), (0.37, 0.08))
        places = [(self._at_surface(a, b), bool(self._towards(np.array([(a, b)]))[0] > 0)) for a, b in spots]
        ears = [(self._at(s, -0.04, -0.1), bool(s * self._left[2] > -0.75)) for s in (-1, 1)]
        return [*places, *ears]

    def _blob(
        self, lines: list[tuple[Vector, Vector, float, float]], colours: tuple[tuple[int, int, int], ...], bias: float
    ) -> Blob:
        return Blob(
            self._camera.lines(lines),
            colours,
            HEAD[:1] * 2,
            depth=float(self._centre[2]) + 0.03 + bias,
            front=self._front,
            left_parts=HEAD[1:] * 2,
            ink=self._camera.ink,
        )

    def _at(self, a: float, b: float, c: float) -> Vector:
        """The place so many half heights to the left, up and ahead, in the head's own measures."""
        axes = WIDE * a * self._left + b * self._crown + DEEP * c * self._face
        place: Vector = self._centre + self._size * axes
        return place

    def _at_surface(self, a: float, b: float) -> Vector:
        return self._at(a, b, math.sqrt(max(1 - a * a - b * b, 0.02)))

    def _towards(self, spots: Vector) -> Vector:
        """How much the skin at these spots looks towards the viewer: cosines."""
        a, b = spots[:, 0], spots[:, 1]
        c = np.sqrt(np.maximum(1 - a * a - b * b, 0.02))
        cosines: Vector = a * self._left[2] + b * self._crown[2] + c * self._face[2]
        return cosines


def _face() -> Vector:
    """The 70 points as (to the person's left, up) in shares of half the head's width and height."""

    def arc(centre: tuple[float, float], radii: tuple[float, float], degrees: list[float]) -> list[tuple[float, float]]:
        (x, y), (rx, ry) = centre, radii
        return [(x + rx * math.cos(math.radians(d)), y + ry * math.sin(math.radians(d))) for d in degrees]

    jaw = arc((0, 0.05), (0.93, 0.93), [180 + 180 * i / 16 for i in range(17)])
    right_brow = [
        (x, y + 0.25 * (x + 0.4)) for x, y in arc((-0.38, 0.27), (0.24, 0.10), [180 - 45 * i for i in range(5)])
    ]
    nose = [(0.0, 0.14), (0.0, 0.04), (0.0, -0.06), (0.0, -0.16)]
    nostrils = [(-0.12, -0.2), (-0.06, -0.23), (0.0, -0.24), (0.06, -0.23), (0.12, -0.2)]
    round_eye = [180.0, 125.0, 55.0, 0.0, -55.0, -125.0]
    eyes = [spot for x in (-0.37, 0.37) for spot in arc((x, 0.05), (0.17, 0.11), round_eye)]
    lips = arc((0, -0.47), (0.3, 0.12), [180 - 30 * i for i in range(12)])
    mouth = arc((0, -0.47), (0.22, 0.06), [180 - 45 * i for i in range(8)])
    left_brow = [(-x, y) for x, y in reversed(right_brow)]
    return np.array(
        [*jaw, *right_brow, *left_brow, *nose, *nostrils, *eyes, *lips, *mouth, (-0.37, 0.05), (0.37, 0.05)]
    )


_FACE = _face()


def _darker(colour: tuple[int, int, int], share: float) -> tuple[int, int, int]:
    red, green, blue = (int(share * c) for c in colour)
    return red, green, blue

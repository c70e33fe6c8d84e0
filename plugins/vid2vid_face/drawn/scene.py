"""What is painted in one frame of a drawn video: a person, an expression, a camera, and the landmarks they give."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from vid2vid_face.drawn.acting import Expression
from vid2vid_face.drawn.head import Camera, camera, landmarks
from vid2vid_face.drawn.person import Colour, Person

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Scene:
    """One frame.

    Attributes:
        person: who.
        expression: doing what.
        camera: seen how.
        points: float (68, 3) landmarks on the head.
        seen: float (68, 2) the same in pixels.
    """

    person: Person
    expression: Expression
    camera: Camera
    points: Array
    seen: Array

    @property
    def unit(self) -> float:
        """Pixels of a face unit."""
        return self.camera.unit

    def at(self, *places: tuple[float, float, float]) -> Array:
        """Pixels (N, 2) of places that are fixed to the head."""
        return self.camera(np.array(places, np.float64))


def scene(person: Person, expression: Expression, size: tuple[int, int], zoom: float) -> Scene:
    """Put a person who makes a face before the camera."""
    view, points = camera(expression, size, zoom), landmarks(person, expression)
    return Scene(person, expression, view, points, view(points))


def tinted(colour: Colour, factor: float, towards: Colour = (0, 0, 0)) -> Colour:
    """A colour, ``factor`` of it kept and the rest exchanged for another; over 1 it is lightened."""
    if factor > 1:
        return tinted(colour, 2 - factor, (255, 255, 255))
    red, green, blue = (round(factor * c + (1 - factor) * t) for c, t in zip(colour, towards, strict=True))
    return red, green, blue


def shadow(skin: Colour, depth: float) -> Colour:
    """The skin's colour in shade: darker and redder."""
    red, green, blue = skin
    return round(red * (1 - 0.8 * depth)), round(green * (1 - 1.15 * depth)), round(blue * (1 - 1.15 * depth))

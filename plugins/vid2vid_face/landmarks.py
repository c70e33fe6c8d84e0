"""The 68 landmarks of a face as data: which are which, how they are joined to lines, and who mirrors whom.

The numbering is that of iBUG 300-W (Sagonas et al. 2013), which dlib's shape predictor speaks. "Right" and "left" are
the person's own: the right eye is on the left of the picture.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

LANDMARKS = 68
UPPER = 15
"""So many points of an upper face are added to the jaw, numbered from 68 on: no landmark lies above the brows."""

Line = tuple[int, ...]


@dataclass(frozen=True)
class Part:
    """A part of the face.

    Attributes:
        name: in words.
        label: its number in the map of parts; the two brows share one, and so do the eyes.
        lines: numbers of the landmarks along its polylines; end to end they go once round it (a brow's is open).
        colour: in which a person is shown it, (red, green, blue).
    """

    name: str
    label: int
    lines: tuple[Line, ...]
    colour: tuple[int, int, int] = (255, 255, 255)

    @property
    def outline(self) -> Line:
        """The landmarks round the part, each once."""
        return tuple(dict.fromkeys(point for line in self.lines for point in line))


def _run(first: int, last: int, *then: int) -> Line:
    return (*range(first, last + 1), *then)


# The nose is a triangle whose two sides are straight, so that its mirror image is drawn as its mirror image.
PARTS: tuple[Part, ...] = (
    Part("face", 1, (_run(0, 16, *range(LANDMARKS, LANDMARKS + UPPER), 0),)),
    Part("right brow", 2, (_run(17, 21),), (255, 200, 90)),
    Part("left brow", 2, (_run(22, 26),), (255, 200, 90)),
    Part("nose", 3, ((28, 31), _run(31, 35), (35, 28)), (150, 230, 150)),
    Part("right eye", 4, (_run(36, 39), _run(39, 41, 36)), (120, 200, 255)),
    Part("left eye", 4, (_run(42, 45), _run(45, 47, 42)), (120, 200, 255)),
    Part("mouth", 5, (_run(48, 54), _run(54, 59, 48)), (255, 120, 130)),
    Part("inner mouth", 6, (_run(60, 64), _run(64, 67, 60)), (255, 190, 200)),
)
LINES: tuple[Line, ...] = tuple(line for part in PARTS for line in part.lines)

JAW, BROWS, NOSE, EYES, MOUTH = range(17), range(17, 27), range(27, 36), range(36, 48), range(48, LANDMARKS)
RIGHT_EYE, LEFT_EYE = range(36, 42), range(42, 48)


def _mirror(point: int) -> int:
    """The landmark on the other side of the face. Runs that cross the middle are turned about their ends' sum."""
    sums: list[tuple[range, Callable[[int], int]]] = [
        (JAW, lambda i: 16 - i),
        (BROWS, lambda i: 43 - i),
        (range(27, 31), lambda i: i),
        (range(31, 36), lambda i: 66 - i),
        (range(36, 40), lambda i: 81 - i),
        (range(40, 42), lambda i: 87 - i),
        (range(42, 46), lambda i: 81 - i),
        (range(46, 48), lambda i: 87 - i),
        (range(48, 55), lambda i: 102 - i),
        (range(55, 60), lambda i: 114 - i),
        (range(60, 65), lambda i: 124 - i),
        (range(65, 68), lambda i: 132 - i),
    ]
    return next(turn(point) for run, turn in sums if point in run)


MIRRORED: tuple[int, ...] = tuple(_mirror(point) for point in range(LANDMARKS))

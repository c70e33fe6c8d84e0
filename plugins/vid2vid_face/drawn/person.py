"""Who a drawn head is: the proportions of a face, its colours, hair and clothes, all chosen by a seed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

Colour = tuple[int, int, int]
Hair = Literal["crop", "swept", "bob", "long", "curly", "bun", "bald"]
Clothes = Literal["crew", "shirt", "hood"]

_SKIN: tuple[Colour, ...] = (
    (246, 210, 184),
    (240, 194, 158),
    (222, 170, 128),
    (193, 136, 97),
    (146, 95, 66),
    (104, 66, 48),
)
_HAIR: tuple[Colour, ...] = (
    (38, 32, 36),
    (72, 48, 36),
    (112, 74, 46),
    (150, 74, 44),
    (212, 168, 98),
    (148, 146, 150),
)
_EYES: tuple[Colour, ...] = ((96, 62, 36), (70, 120, 170), (84, 134, 88), (130, 100, 50), (100, 116, 128))
_CLOTHES: tuple[Colour, ...] = (
    (196, 74, 72),
    (62, 104, 158),
    (72, 136, 112),
    (226, 172, 66),
    (116, 86, 146),
    (232, 228, 218),
    (58, 62, 74),
    (214, 128, 96),
)
_WALLS: tuple[Colour, ...] = ((178, 200, 206), (222, 206, 178), (196, 186, 208), (186, 206, 180), (206, 188, 180))


@dataclass(frozen=True)
class Person:
    """The identity of a drawn head. Lengths are factors of the drawn face's own, unless a unit is given.

    Attributes:
        width: of the face.
        jaw: of the lower jaw.
        chin: length below the mouth.
        eye: size of the eyes.
        eye_gap: distance of the eyes.
        eye_tilt: how far the outer corner is raised, in face units (half a face's width).
        brow_height: above the eye, in face units added.
        brow_weight: thickness.
        brow_arch: how far the middle is raised, in face units.
        nose_width: of the nostrils.
        nose_length: from the eyes.
        mouth_width: of the lips.
        lips: their fullness.
        skin: colours of the skin, hair, iris, clothes, shirt below, lips, wall behind.
        hair: the hairdo.
        volume: how far the hair stands off, as a factor of the skull.
        parting: on which side the hair is parted, -1 to 1.
        beard: density, 0 for none.
        glasses: whether they are worn.
        rings: whether ear rings are worn.
        freckles: whether the nose has any.
    """

    width: float
    jaw: float
    chin: float
    eye: float
    eye_gap: float
    eye_tilt: float
    brow_height: float
    brow_weight: float
    brow_arch: float
    nose_width: float
    nose_length: float
    mouth_width: float
    lips: float
    skin: Colour
    hair_colour: Colour
    iris: Colour
    cloth: Colour
    under: Colour
    lip: Colour
    wall: Colour
    hair: Hair
    clothes: Clothes
    volume: float
    parting: float
    beard: float
    glasses: bool
    rings: bool
    freckles: bool


def some_person(random: np.random.Generator) -> Person:
    """A person by chance."""

    def about(middle: float, spread: float) -> float:
        return float(random.uniform(middle - spread, middle + spread))

    skin = _SKIN[random.integers(len(_SKIN))]
    soft = bool(random.random() < 0.5)
    styles: tuple[Hair, ...] = ("bob", "long", "bun", "swept", "curly") if soft else ("crop", "swept", "curly", "bald")
    weights = (0.25, 0.3, 0.15, 0.15, 0.15) if soft else (0.4, 0.35, 0.15, 0.1)
    hair = styles[int(random.choice(len(styles), p=weights))]
    dark = sum(skin) < 420
    hair_colour = _HAIR[int(random.integers(3 if dark else len(_HAIR)))]
    beard = 0.0 if soft or random.random() < 0.5 else float(random.choice((0.35, 0.85)))
    clothes: tuple[Clothes, ...] = ("crew", "shirt", "hood")
    cloth, under = (_CLOTHES[i] for i in random.permutation(len(_CLOTHES))[:2])
    red: Colour = (198, 92, 88) if soft else (182, 106, 92)
    return Person(
        width=about(1.0, 0.05),
        jaw=about(0.96 if soft else 1.06, 0.05),
        chin=about(0.97 if soft else 1.05, 0.05),
        eye=about(1.16 if soft else 1.02, 0.08),
        eye_gap=about(1.0, 0.05),
        eye_tilt=about(0.02, 0.03),
        brow_height=about(0.02 if soft else -0.01, 0.03),
        brow_weight=about(0.75 if soft else 1.15, 0.2),
        brow_arch=about(0.06 if soft else 0.03, 0.02),
        nose_width=about(0.92 if soft else 1.05, 0.12),
        nose_length=about(1.0, 0.07),
        mouth_width=about(1.0, 0.09),
        lips=about(1.15 if soft else 0.88, 0.15),
        skin=skin,
        hair_colour=hair_colour,
        iris=_EYES[0] if dark else _EYES[random.integers(len(_EYES))],
        cloth=cloth,
        under=under,
        lip=_mixed(skin, red, 0.62 if soft else 0.4),
        wall=_WALLS[random.integers(len(_WALLS))],
        hair=hair,
        clothes=clothes[random.integers(len(clothes))],
        volume=about(1.09, 0.03),
        parting=float(random.choice((-1.0, 1.0))) * about(0.55, 0.25),
        beard=beard,
        glasses=bool(random.random() < 0.2),
        rings=soft and bool(random.random() < 0.5),
        freckles=not dark and bool(random.random() < 0.25),
    )


def _mixed(one: Colour, other: Colour, share: float) -> Colour:
    """``one`` with a share of the ``other`` in it."""
    red, green, blue = (round((1 - share) * a + share * b) for a, b in zip(one, other, strict=True))
    return red, green, blue

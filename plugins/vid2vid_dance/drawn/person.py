"""Who dances: proportions, skin, hair and clothes, drawn by lot from a seed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

Colour = tuple[int, int, int]
Hair = Literal["short", "long", "bun", "tail"]
Outfit = Literal["trousers", "shorts", "dress", "skirt"]

SKINS: tuple[Colour, ...] = ((250, 214, 186), (236, 188, 150), (208, 152, 108), (165, 110, 72), (120, 78, 52))
HAIRS: tuple[Colour, ...] = ((40, 30, 32), (86, 52, 30), (140, 84, 40), (216, 170, 90), (168, 62, 38), (110, 80, 150))
TOPS: tuple[Colour, ...] = (
    (222, 70, 66),
    (64, 120, 206),
    (244, 190, 62),
    (70, 164, 110),
    (240, 240, 236),
    (176, 92, 190),
)
BOTTOMS: tuple[Colour, ...] = ((48, 62, 104), (72, 72, 80), (150, 112, 76), (34, 96, 104), (120, 44, 62))
SHOES: tuple[Colour, ...] = ((240, 240, 240), (210, 60, 60), (60, 60, 70), (90, 180, 190))


@dataclass(frozen=True)
class Person:
    """A dancer; lengths are shares of a body's height.

    Attributes:
        thigh: hip to knee.
        shin: knee to ankle.
        trunk: mid hip to neck.
        upper: shoulder to elbow.
        fore: elbow to wrist.
        shoulders: half the distance between the shoulder joints.
        hips: half the distance between the hip joints.
        girth: thickness of limbs and trunk, 1 being usual.
        head: half its height.
        skin: its colour, as the others red, green, blue.
        hair: how it is worn.
        hair_colour: of the hair.
        outfit: what is worn below the waist, or a dress.
        top: colour of the T-shirt or dress.
        trim: second colour of a striped top, or None for a plain one.
        sleeve: how much of the upper arm it covers; over 1 reaches down the forearm.
        bottom: colour of trousers, shorts or skirt.
        shoe: colour of the shoes.
    """

    thigh: float
    shin: float
    trunk: float
    upper: float
    fore: float
    shoulders: float
    hips: float
    girth: float
    head: float
    skin: Colour
    hair: Hair
    hair_colour: Colour
    outfit: Outfit
    top: Colour
    trim: Colour | None
    sleeve: float
    bottom: Colour
    shoe: Colour


def some_person(random: np.random.Generator) -> Person:
    """Somebody."""
    legs, arms = random.uniform(0.94, 1.06), random.uniform(0.95, 1.06)
    outfit: Outfit = ("trousers", "shorts", "dress", "skirt")[int(random.integers(4))]
    hair: Hair = ("short", "long", "bun", "tail")[int(random.integers(4))]
    top = _one(random, TOPS)
    return Person(
        thigh=0.235 * legs,
        shin=0.225 * legs,
        trunk=0.265 * random.uniform(0.95, 1.05),
        upper=0.150 * arms,
        fore=0.138 * arms,
        shoulders=0.098 * random.uniform(0.9, 1.12),
        hips=0.056 * random.uniform(0.92, 1.12),
        girth=random.uniform(0.9, 1.18),
        head=0.105 * random.uniform(0.94, 1.05),
        skin=_one(random, SKINS),
        hair=hair,
        hair_colour=_one(random, HAIRS),
        outfit=outfit,
        top=top,
        trim=_one(random, [c for c in TOPS if c != top]) if random.random() < 0.4 else None,
        sleeve=float(random.choice([0.0, 0.55, 1.9])) if outfit == "dress" else float(random.choice([0.55, 1.9])),
        bottom=_one(random, BOTTOMS),
        shoe=_one(random, SHOES),
    )


def _one(random: np.random.Generator, colours: tuple[Colour, ...] | list[Colour]) -> Colour:
    return colours[int(random.integers(len(colours)))]

"""Where the dancer dances: a room, a stage or a studio, drawn once."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from vid2vid_dance.drawn.person import Colour

Image = npt.NDArray[np.floating[Any]]

HORIZON = 0.70
"""Where the floor ends, as a share of the picture's height."""

WALLS: tuple[Colour, ...] = ((206, 220, 226), (232, 214, 186), (190, 208, 180), (224, 196, 200))
CURTAINS: tuple[Colour, ...] = ((128, 28, 42), (44, 40, 104), (28, 84, 78), (92, 40, 104))
FLOORS: tuple[Colour, ...] = ((176, 126, 80), (140, 96, 62), (198, 160, 112), (120, 112, 112))


def some_stage(random: np.random.Generator, size: tuple[int, int]) -> Image:
    """A background, float32 (H, W, 3) in [0, 255]."""
    height, width = size
    y, x = np.mgrid[0:height, 0:width].astype(np.float32) / height
    middle = width / height / 2
    kind = int(random.integers(3))
    image = np.empty((height, width, 3), np.float32)
    back = (_room, _curtain, _studio)[kind](random, x, y, middle)
    floor = _floor(random, x, y, middle, kind)
    image[:] = np.where((y < HORIZON)[..., None], back, floor)
    # The skirting board, and what light the floor takes from it.
    edge = np.exp(-(((y - HORIZON) / 0.02) ** 2))[..., None]
    finished: Image = np.clip(image * (1 - 0.45 * edge), 0, 255).astype(np.float32)
    return finished


def _room(random: np.random.Generator, x: Image, y: Image, middle: float) -> Image:
    wall = _flat(_one(random, WALLS), y) * (0.9 + 0.1 * np.sin(x * 42) ** 2)[..., None]
    at, wide = middle + random.choice((-0.30, 0.30)) + random.uniform(-0.05, 0.05), 0.15
    dx, dy = np.abs(x - at), np.abs(y - 0.30)
    frame, glass = (dx < wide + 0.02) & (dy < 0.20), (dx < wide) & (dy < 0.18)
    bars = (dx < 0.012) | (dy < 0.012)
    sky = np.stack((150 + 150 * (y - 0.1), 200 + 60 * (y - 0.1), 240 + 0 * y), -1)
    wall[frame] = (244, 240, 232)
    wall[glass & ~bars] = sky[glass & ~bars]
    return wall


def _curtain(random: np.random.Generator, x: Image, y: Image, middle: float) -> Image:
    folds = 0.72 + 0.20 * np.sin(x * 34 + 1.2 * np.sin(x * 9)) + 0.08 * np.sin(x * 83)
    light = 0.55 + 0.75 * np.exp(-(((x - middle) / 0.42) ** 2) - ((y - 0.35) / 0.5) ** 2)
    curtain: Image = _flat(_one(random, CURTAINS), y) * (folds * light)[..., None]
    return curtain


def _studio(random: np.random.Generator, x: Image, y: Image, middle: float) -> Image:
    wall = _flat(_one(random, WALLS), y) * (1.05 - 0.3 * y)[..., None]
    for _ in range(3):
        at, high, radius = middle + random.uniform(-0.5, 0.5), random.uniform(0.08, 0.5), random.uniform(0.08, 0.2)
        ring = np.abs(np.hypot(x - at, y - high) - radius) < 0.022
        wall[ring] = _one(random, WALLS + FLOORS)
    return wall


def _floor(random: np.random.Generator, x: Image, y: Image, middle: float, kind: int) -> Image:
    floor = _flat(_one(random, FLOORS), y)
    # Boards run towards the viewer, so they meet in a point far over the horizon.
    board = (x - middle) / np.maximum(y - HORIZON + 0.9, 0.1) * 11
    seams = np.abs(board - np.rint(board)) < 0.035
    tone = 0.94 + 0.10 * np.sin(np.rint(board + 0.5) * 12.9898)
    light = (
        0.75 + 0.55 * np.exp(-(((x - middle) / 0.5) ** 2) - ((y - 0.9) / 0.18) ** 2)
        if kind == 1
        else 0.9 + 0.4 * (y - HORIZON)
    )
    boards: Image = floor * (tone * light * np.where(seams, 0.8, 1.0))[..., None]
    return boards


def _flat(colour: Colour, y: Image) -> Image:
    return np.broadcast_to(np.array(colour, np.float32), (*y.shape, 3)).copy()


def _one(random: np.random.Generator, colours: tuple[Colour, ...]) -> Colour:
    return colours[int(random.integers(len(colours)))]

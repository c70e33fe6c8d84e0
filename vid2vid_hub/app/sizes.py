"""The size at which a visitor's frames are looked at and generated: the shape of his, as large as the model knows."""

from __future__ import annotations

from math import sqrt

STEP, SMALLEST = 8, 16
ALIKE = 1.1
"""Shapes that differ by no more than this factor count as one."""


def work_size(given: tuple[int, int], trained: tuple[int, int] | None, most_pixels: int) -> tuple[int, int]:
    """Choose a size for what a visitor brings.

    A picture shaped almost as those that the model was trained on, within a tenth, gets the trained size itself. Any
    other keeps its shape, at the area of the trained size or, where that is not known, at its own.

    Args:
        given: (height, width) of what he brings.
        trained: (height, width) that the model was trained at, if that is known.
        most_pixels: height · width is never more, unless the smallest size is.

    Returns:
        (height, width): the trained size, or multiples of 8 of at least 16 pixels.
    """
    height, width = given
    area = height * width
    if trained is not None:
        area = trained[0] * trained[1]
        stretch = (height * trained[1]) / (width * trained[0])
        if area <= most_pixels and max(stretch, 1 / stretch) <= ALIKE:
            return trained
    # The shorter side is rounded, and the longer follows from it: so the shape is off by half a step of the longer.
    longer = max(given) / min(given)
    short = _stepped(sqrt(area / longer), sqrt(most_pixels / longer))
    long = _stepped(short * longer, most_pixels / short)
    return (short, long) if height <= width else (long, short)


def _stepped(side: float, most: float) -> int:
    """The nearest multiple of the step that is no more than ``most``; the smallest side where there is none."""
    return max(STEP * min(round(side / STEP), int(most / STEP)), SMALLEST)

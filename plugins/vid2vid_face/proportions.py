"""The proportions of a face: measured in a frame of its own eyes, and carried over from one person to another.

A driver's landmarks have the driver's face; a network that knows one person draws that person only where the
landmarks have his proportions. The released successor of vid2vid (imaginaire) does likewise: offsets and spreads of
symmetric groups are brought to the reference's by ratios.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Generator, Tensor

from vid2vid_face.landmarks import BROWS, JAW, LEFT_EYE, MOUTH, NOSE, RIGHT_EYE
from vid2vid_hub.errors import TaskError

Proportions = dict[str, list[float]]
"""Per group (offset x, offset y, spread x, spread y) in distances between the eyes; 0 where nothing is measured."""

GROUPS: Mapping[str, tuple[tuple[int, ...], ...]] = {
    "jaw": (tuple(JAW),),
    "brows": (tuple(BROWS[:5]), tuple(BROWS[5:])),
    "nose": (tuple(NOSE),),
    "eyes": (tuple(RIGHT_EYE), tuple(LEFT_EYE)),
    "mouth": (tuple(MOUTH),),
}
"""Groups whose one or two sides (the picture's left one first) share their proportions."""
LIMIT = 2.0
"""Nobody's nose is over twice as long as another's: such a ratio is an error of measuring, and is cut."""
SMALLEST = 2.0
"""Pixels between the eyes, below which nothing is measured."""


class Frame:
    """The frame of a face's own eyes: its origin between them, their distance the unit, x from eye to eye.

    Args:
        points: float (..., 68, 3).
    """

    def __init__(self, points: Tensor) -> None:
        right, left = (points[..., list(eye), :2].mean(-2) for eye in (RIGHT_EYE, LEFT_EYE))
        self.origin = ((right + left) / 2)[..., None, :]
        x = left - right
        self.distance = x.norm(dim=-1).clamp(min=1e-6)[..., None, None]
        x = x / self.distance[..., 0]
        self._axes = torch.stack((x, torch.stack((-x[..., 1], x[..., 0]), -1)), -2)

    def into(self, points: Tensor) -> Tensor:
        """Pixels (..., P, 2) in this frame."""
        places: Tensor = (points - self.origin) @ self._axes.mT / self.distance
        return places

    def back(self, places: Tensor) -> Tensor:
        """Places (..., P, 2) in this frame as pixels."""
        points: Tensor = places * self.distance @ self._axes + self.origin
        return points


def seen(points: Tensor) -> Tensor:
    """Which frames show a whole face that can be measured: bool (T,) of points (T, 68, 3)."""
    whole = (points[..., 2] > 0).all(-1)
    far: Tensor = Frame(points).distance[..., 0, 0] >= SMALLEST
    return whole & far


def measured(points: Iterable[Tensor]) -> Proportions | None:
    """The proportions of one person: medians over frames, so that speech and blinks do not count.

    Args:
        points: float (T, 68, 3) each.

    Returns:
        None where no frame shows a whole face.
    """
    rows = [_rows(some[seen(some)].double()) for some in points]
    whole = torch.cat(rows) if rows else torch.zeros(0, len(GROUPS), 4)
    if not len(whole):
        return None
    # The mean of the two middle values: with torch's lower median, an even number of frames would not mirror.
    middle = whole.quantile(0.5, dim=0)
    return {group: [round(value, 6) for value in row.tolist()] for group, row in zip(GROUPS, middle, strict=True)}


def ratios(driver: Proportions, reference: Proportions) -> Tensor:
    """By what each group's offset and spread are multiplied: float64 (groups, 4), 1 where nothing is measured."""
    one, other = (
        torch.tensor([given[group] for group in GROUPS], dtype=torch.float64) for given in (driver, reference)
    )
    known = (one.abs() > 1e-3) & (one * other > 0)
    return torch.where(known, other / one.where(known, torch.ones(())), 1.0).clamp(1 / LIMIT, LIMIT)


def retargeted(points: Tensor, factors: Tensor) -> Tensor:
    """Give landmarks (T, 68, 3) other proportions; where the face is, how it is tilted and how large stays.

    Args:
        points: landmarks; frames without a whole face are left alone.
        factors: from :func:`ratios`.
    """
    frame, whole = Frame(points.double()), seen(points)
    places = frame.into(points[..., :2].double())
    moved = places.clone()
    for (group, sides), (across, down, wide, high) in zip(GROUPS.items(), factors.tolist(), strict=True):
        for side in sides:
            part = places[:, list(side)]
            middle = part.mean(1, keepdim=True)
            offset = middle if group == "eyes" else middle * middle.new_tensor((across, down))
            moved[:, list(side)] = offset + (part - middle) * middle.new_tensor((wide, high))
    result = points.clone()
    result[..., :2] = torch.where(whole[:, None, None], frame.back(moved).to(points.dtype), points[..., :2])
    return result


def jittered(points: Tensor, share: float, random: Generator) -> Tensor:
    """Vary the spreads of every group by up to a share, the same in all frames; both sides alike.

    Args:
        points: (T, 68, 3).
        share: 0.05 is half of what the released system varies its test inputs by.
        random: on the CPU.
    """
    factors = torch.ones(len(GROUPS), 4, dtype=torch.float64)
    factors[:, 2:] += share * (2 * torch.rand(len(GROUPS), 2, generator=random, dtype=torch.float64) - 1)
    return retargeted(points, factors)


def checked(reference: Any) -> Proportions | None:
    """A setting ``reference`` as proportions.

    Raises:
        TaskError: it is something else.
    """
    if reference is None:
        return None
    right = isinstance(reference, Mapping) and reference.keys() == GROUPS.keys()
    if not right or any(not isinstance(row, list | tuple) or len(row) != 4 for row in reference.values()):
        raise TaskError(
            f"the setting 'reference' of sketch2face holds four numbers for each of {', '.join(GROUPS)}, "
            f"not {reference!r}; take it from the dataset.json of a prepared dataset"
        )
    return {group: [float(value) for value in reference[group]] for group in GROUPS}


def _rows(points: Tensor) -> Tensor:
    """What is measured in every frame: (T, groups, 4)."""
    places = Frame(points).into(points[..., :2])
    rows = []
    for group, sides in GROUPS.items():
        parts = [places[:, list(side)] for side in sides]
        middle = torch.stack([part.mean(1) for part in parts], -1)
        spread = torch.stack([part.amax(1) - part.amin(1) for part in parts], -1).mean(-1)
        # How far out the two sides lie is a proportion; where a single part lies across is how the head is turned.
        across = (middle[:, 0, 1] - middle[:, 0, 0]) / 2 if len(sides) == 2 else torch.zeros(len(points))
        if group == "mouth":
            spread = torch.stack((spread[:, 0], _lips(places)), 1)
        if group == "nose":
            spread = torch.stack((_distance(places, 31, 35), spread[:, 1]), 1)
        rows.append(torch.stack((across.to(spread), middle[:, 1].mean(-1), spread[:, 0], spread[:, 1]), 1))
    return torch.stack(rows, 1)


def _lips(places: Tensor) -> Tensor:
    """How thick both lips are together, which speech does not change much: (T,)."""
    upper = places[:, 61:64, 1].mean(1) - places[:, 50:53, 1].mean(1)
    lower = places[:, 56:59, 1].mean(1) - places[:, 65:68, 1].mean(1)
    return upper + lower


def _distance(places: Tensor, one: int, other: int) -> Tensor:
    return (places[:, other, 0] - places[:, one, 0]).abs()

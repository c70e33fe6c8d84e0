"""Fitting a driver's body to the one that a network was trained on: pose transfer between people."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from itertools import chain

import torch
from torch import Tensor

from vid2vid_dance.layout import (
    FACE,
    FACE_AT,
    HAND,
    LEFT_HAND,
    LEFT_WRIST,
    MID_HIP,
    NECK,
    NOSE,
    RIGHT_HAND,
    RIGHT_WRIST,
)
from vid2vid_dance.proportions import TREE, Proportions, Tape
from vid2vid_hub.types import Condition

LOOK_AHEAD = 64
"""Frames of a shot from which the driver's proportions are taken."""
EXTREME = 2.0
"""A limb is made at most so much longer or shorter: 2D lengths tell little of limbs that point at the camera."""

_CARRIED = ((LEFT_HAND, HAND, LEFT_WRIST), (RIGHT_HAND, HAND, RIGHT_WRIST), (FACE_AT, FACE, NOSE))
"""Hands and face go along with a joint."""


def retargeted(conditions: Iterable[Condition], reference: Proportions, limbs: bool) -> Iterator[Condition]:
    """One shot of somebody, as the reference body would stand there; its first 64 frames tell who it is.

    Torso: everything is scaled about the driver's usual place so that torso and hips come to be as long and where the
    reference's are; dense parts are moved along. Limbs: each limb is then brought to the reference's length, from the
    hips outward; hands and face go along with wrist and nose.

    Args:
        conditions: in order, all of one size.
        reference: the body to fit to.
        limbs: fit the limbs too; of points only.
    """
    rest, tape = iter(conditions), Tape()
    head: list[Condition] = []
    while sum(map(len, head)) < LOOK_AHEAD and (condition := next(rest, None)) is not None:
        head.append(condition)
        tape.take(condition[: LOOK_AHEAD - sum(map(len, head[:-1]))])
    driver = tape.read()
    for condition in chain(head, rest):
        yield condition if driver is None else fitted(condition, driver, reference, limbs)


def fitted(condition: Condition, driver: Proportions, reference: Proportions, limbs: bool) -> Condition:
    """A condition of a driver's body as the reference's; see :func:`retargeted`."""
    size = torch.tensor(condition.size[::-1], dtype=torch.float64)
    scale = reference.torso / driver.torso
    old, new = (torch.tensor(body.hip, dtype=torch.float64) * size - 0.5 for body in (driver, reference))
    offset = new - scale * old
    points = condition.points
    if points is not None:
        moved = points.cpu().double()
        moved[..., :2] = moved[..., :2] * scale + offset
        if limbs:
            moved = torch.stack([_stretched(person, _ratios(driver, reference)) for person in moved])
        points = torch.where(moved[..., 2:] > 0, moved, 0.0).float().to(points.device)
    return replace(condition, maps=_moved(condition.maps, scale, offset), points=points)


def _ratios(driver: Proportions, reference: Proportions) -> dict[tuple[int, int], float]:
    both = driver.limbs.keys() & reference.limbs.keys()
    return {edge: min(max(reference.limbs[edge] / driver.limbs[edge], 1 / EXTREME), EXTREME) for edge in both}


def _stretched(person: Tensor, ratios: Mapping[tuple[int, int], float]) -> Tensor:
    """Limbs brought to other lengths; a joint that is not there passes on the shift of the one before it."""
    there, shift, ratio = person[:, 2] > 0, torch.zeros(len(person), 2, dtype=torch.float64), {MID_HIP: 1.0}
    for inner, outer in TREE:
        shift[outer], ratio[outer] = shift[inner], ratios.get((inner, outer), 1.0)
        if there[inner] and there[outer] and outer != NECK:
            shift[outer] = shift[inner] + (ratio[outer] - 1) * (person[outer, :2] - person[inner, :2])
    for first, count, joint in _CARRIED:
        shift[first : first + count] = shift[joint]
    return torch.cat([person[:, :2] + shift, person[:, 2:]], 1)


def _moved(maps: Tensor, scale: float, offset: Tensor) -> Tensor:
    """Maps whose pixel at p comes to p * scale + offset, by nearest pixels; black comes in from outside."""
    if not maps.any():
        return maps
    height, width = maps.shape[-2:]
    (dx, dy), lines = offset.tolist(), []
    for length, shift in ((height, dy), (width, dx)):
        source = ((torch.arange(length, dtype=torch.float64) - shift) / scale).round().long()
        lines.append((source.clamp(0, length - 1).to(maps.device), ((source >= 0) & (source < length)).to(maps.device)))
    (rows, high), (columns, wide) = lines
    moved: Tensor = maps[..., rows, :][..., columns] * (high[:, None] & wide)
    return moved

"""What training varies: limbs, hands, faces and dense parts that are now and then not found, as in real footage."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Generator, Tensor

from vid2vid_dance.dense import PARTS, without_parts
from vid2vid_dance.layout import FACE, FACE_AT, HAND, HEAD, LEFT_HAND, LIMBS, RIGHT_HAND
from vid2vid_dance.paint import HEIGHT
from vid2vid_hub.types import Condition

_GROUPS = ((LEFT_HAND, HAND), (RIGHT_HAND, HAND), (FACE_AT, FACE))
HEAD_SIGMA, FACE_SIGMA = 5.0, 2.0
"""How far the head's points and the face are moved, in pixels of a picture 512 high, as in the released system."""


def dropped(condition: Condition, probability: float, random: Generator) -> Condition:
    """The stretch without some of what is in it, each thing for all its frames, each with this probability.

    Things are the 24 limbs, by their outer joint (and with it the limb beyond), both hands, the face, and the 24 dense
    parts. As many numbers are drawn for every probability, so that nothing else depends on it.
    """
    chance = torch.rand(len(LIMBS) + len(_GROUPS) + PARTS, generator=random) < probability
    limbs, groups, parts = chance.split([len(LIMBS), len(_GROUPS), PARTS])
    gone = [outer for (_, outer), out in zip(LIMBS, limbs.tolist(), strict=True) if out]
    for (first, count), out in zip(_GROUPS, groups.tolist(), strict=True):
        gone += range(first, first + count) if out else []
    points = condition.points
    if points is not None and gone:
        points = points.clone()
        points[:, gone] = 0
    maps = condition.maps
    if parts.any():
        maps = without_parts(maps, torch.cat([torch.zeros(1, dtype=torch.bool), parts]))
    return replace(condition, maps=maps, points=points)


def jittered(condition: Condition, random: Generator) -> Condition:
    """The stretch with the five points of the head, and the face as a whole, a little elsewhere."""
    scale = condition.size[0] / HEIGHT
    head = torch.randn(len(HEAD), 2, generator=random) * HEAD_SIGMA * scale
    face = torch.randn(1, 2, generator=random) * FACE_SIGMA * scale
    if condition.points is None:
        return condition
    points = condition.points.clone()
    points[:, list(HEAD)] = _shifted(points[:, list(HEAD)], head)
    points[:, FACE_AT:] = _shifted(points[:, FACE_AT:], face)
    return replace(condition, points=points)


def _shifted(points: Tensor, by: Tensor) -> Tensor:
    moved = torch.cat([points[..., :2] + by.to(points.device), points[..., 2:]], -1)
    return torch.where(points[..., 2:] > 0, moved, points)

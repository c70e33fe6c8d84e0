"""One shot of real video: whom to follow, smoothing, short gaps, and a crop that goes with him."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from statistics import median

import torch
from torch import Tensor

from vid2vid_dance.layout import MID_HIP, POINTS
from vid2vid_dance.people import Box, Choice, Estimator, Found, around
from vid2vid_hub.ops.points import Follower, Smoother, cropped
from vid2vid_hub.types import Condition, Note, Observed

Dense = Callable[[Tensor, Box | None], Tensor]
"""A frame, uint8 (3, H, W), and a box around whom is meant -> his dense parts, uint8 (3, H, W)."""

HOLD = 5
"""Frames over which somebody who is gone is held where he was."""
LOOK_AHEAD = 32
"""Frames of a shot from which the crop's size is taken."""
ROOM = 1.5
"""The crop's height in heights of the person."""


def watched(blocks: Iterable[Tensor], estimator: Estimator, dense: Dense | None) -> Iterator[Observed]:
    """What is seen of one person in a shot, block by block: points smoothed, and held over five frames.

    Args:
        blocks: uint8 (n, 3, H, W) RGB.
        estimator: finds people.
        dense: finds dense parts; None leaves the maps black.
    """
    # Another person is taken one frame after the last was let go, so that nobody is smoothed into somebody else.
    find, choose, smooth = estimator.session(), Choice(HOLD + 1), Smoother(hold=HOLD)
    height = 0.0
    for frames in blocks:
        points, maps, notes = [], [], []
        for t, frame in enumerate(frames):
            people = find(frame)
            person = choose(people)
            if len(people) > 1:
                notes.append(Note(t, f"{len(people)} persons; only one is taken, the largest at first"))
            if person is not None:
                height = max(person.box[3] - person.box[1], 1.0)
            points.append(smooth(torch.zeros(POINTS, 3) if person is None else person.points, height))
            maps.append(_dense(frame, person, dense))
        place = torch.stack(points).to(frames.device)
        yield Observed(frames, Condition(torch.stack(maps), points=place), tuple(notes))


def followed(shot: Iterable[Observed], aspect: float) -> Iterator[Observed]:
    """A crop that goes with the person: 1.5 times as high as he usually is in the shot's first 32 frames.

    Where nobody is in them it is the whole picture. It is never higher than the picture; where it is wider, so that the
    person would not fit, the picture is continued by its border.

    Args:
        shot: in order.
        aspect: width by height of the crop.
    """
    rest = iter(shot)
    head: list[Observed] = []
    while sum(len(seen.frames) for seen in head) < LOOK_AHEAD and (seen := next(rest, None)) is not None:
        head.append(seen)
    boxes = [box for seen in head for points in _points(seen) if (box := around(points)) is not None]
    if not boxes:
        yield from chain(head, rest)
        return
    height, width = head[0].frames.shape[2:]
    high = max(min(round(ROOM * median(box[3] - box[1] for box in boxes)), height), 1)
    wide = max(round(high * aspect), 1)
    margin = max(-(-(wide - width) // 2), 0)
    follow = Follower((height, width + 2 * margin), (high, wide))
    x, y = (boxes[0][0] + boxes[0][2]) / 2 + margin, (boxes[0][1] + boxes[0][3]) / 2
    for seen in chain(head, rest):
        seen, corners = _widened(seen, margin), []
        for points in _points(seen):
            box = around(points)
            if box is not None:
                x, y = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
                if points[MID_HIP, 2] > 0:
                    # The hips are half-way up, and stay when an arm is raised.
                    x, y = points[MID_HIP, :2].tolist()
            corners.append(follow(x, y))
        yield cropped(seen, corners, follow.crop)


def _widened(seen: Observed, margin: int) -> Observed:
    """So many more columns on both sides: the border's colours, and no dense parts."""
    if not margin:
        return seen
    width = seen.frames.shape[3]
    columns = torch.arange(-margin, width + margin, device=seen.frames.device).clamp(0, width - 1)
    condition = seen.condition
    points = condition.points
    if points is not None:
        points = torch.where(points[..., 2:] > 0, points + points.new_tensor((margin, 0, 0)), points)
    maps = torch.nn.functional.pad(condition.maps, (margin, margin))
    return Observed(seen.frames[..., columns], Condition(maps, points=points), seen.notes)


def _points(seen: Observed) -> list[Tensor]:
    points = seen.condition.points
    return [] if points is None else list(points)


def _dense(frame: Tensor, person: Found | None, dense: Dense | None) -> Tensor:
    if dense is None or person is None:
        return torch.zeros_like(frame)
    return dense(frame, person.box).to(frame.device)

"""One face through one unbroken shot: whom to follow, smoothed over time, retargeted, and cut out of the picture."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import islice

import torch
from torch import Tensor

from vid2vid_face.estimate import Face, Look
from vid2vid_face.landmarks import LANDMARKS
from vid2vid_face.proportions import Proportions, measured, ratios, retargeted
from vid2vid_hub.ops.points import Follower, Smoother

LOOKAHEAD = 64
"""So many frames are looked at before the first is let go, where something must be known of the whole shot."""
BLOCK = 8
CROP = 2.5
"""The side of a crop, in widths of the landmarks."""


@dataclass(frozen=True)
class Sight:
    """A frame of a shot and the landmarks in it.

    Attributes:
        frame: uint8 (3, H, W) RGB.
        points: float32 (68, 3); confidence 0 throughout where there is no face.
        note: what a person should know about it.
    """

    frame: Tensor
    points: Tensor
    note: str | None = None

    @property
    def there(self) -> bool:
        """Whether there is a face."""
        return bool((self.points[:, 2] > 0).any())


def follow(look: Look, blocks: Iterable[Tensor]) -> Iterator[Sight]:
    """Follow the face that is the largest when it is first seen, smoothed, and held over gaps of up to 5 frames.

    Args:
        look: a session of an estimator.
        blocks: uint8 (n, 3, H, W) each.
    """
    last: Face | None = None
    smoother, width = Smoother(), 1.0
    for frame in (frame for block in blocks for frame in block):
        faces = look(frame)
        face = _same(last, faces) or (faces[0] if faces else None)
        if face is not None:
            if last is not None and face not in _near(last, [face]):
                smoother = Smoother()
            last, width = face, face.width
        points = torch.zeros(LANDMARKS, 3) if face is None else face.points.cpu().float()
        note = f"{len(faces)} faces; the one that was largest at first is followed" if len(faces) > 1 else None
        yield Sight(frame, smoother(points, width), note)


def to_reference(sights: Iterator[Sight], reference: Proportions) -> Iterator[Sight]:
    """Give whoever is seen the proportions of the reference.

    The driver's own are measured in the first ``LOOKAHEAD`` frames and hold for the shot: measured anew, they would
    take the driver's expression for his shape.
    """
    waiting = list(islice(sights, LOOKAHEAD))
    driver = measured([torch.stack([sight.points for sight in waiting])]) if waiting else None
    factors = None if driver is None else ratios(driver, reference)
    queue = deque(waiting)
    del waiting
    while queue:
        sight = queue.popleft()
        queue.extend(islice(sights, 1))
        points = sight.points if factors is None else retargeted(sight.points[None], factors)[0]
        yield replace(sight, points=points)


def close_up(sights: Iterator[Sight]) -> Iterator[Sight]:
    """Cut a square round the face out of every frame, of the size that fits the first face of the shot.

    Its side is 2.5 widths of the landmarks; its middle is the landmarks' own across and (3 top + bottom) / 4 down, and
    is followed smoothly; the square is moved into the picture. Where no face comes in the first ``LOOKAHEAD`` frames,
    it is the largest square of the picture.
    """
    waiting: list[Sight] = []
    for sight in islice(sights, LOOKAHEAD):
        waiting.append(sight)
        if sight.there:
            break
    if not waiting:
        return
    picture = waiting[0].frame.shape[1], waiting[0].frame.shape[2]
    side, x, y = _square(waiting[-1].points, picture)
    follower = Follower(picture, (side, side))
    for queue in (waiting, sights):
        for sight in queue:
            if sight.there:
                _, x, y = _square(sight.points, picture)
            x0, y0 = follower(x, y)
            yield _cut(sight, x0, y0, side)
        waiting = []


def blocks_of(sights: Iterator[Sight], size: int = BLOCK) -> Iterator[list[Sight]]:
    """A few frames at a time."""
    while block := list(islice(sights, size)):
        yield block


def _cut(sight: Sight, x0: int, y0: int, side: int) -> Sight:
    points = sight.points - sight.points.new_tensor((x0, y0, 0))
    points = torch.where(sight.points[:, 2:] > 0, points, sight.points)
    return replace(sight, frame=sight.frame[:, y0 : y0 + side, x0 : x0 + side], points=points)


def _square(points: Tensor, picture: tuple[int, int]) -> tuple[int, float, float]:
    """Side and middle (x, y) of the square round a face; those of the picture where there is none."""
    there = points[points[:, 2] > 0, :2]
    if not len(there):
        return min(picture), (picture[1] - 1) / 2, (picture[0] - 1) / 2
    (left, top), (right, bottom) = there.amin(0).tolist(), there.amax(0).tolist()
    # Even, so that it halves into the scales of a network; networks want more of it, and resizing sees to that.
    side = 2 * round(CROP * (right - left) / 2)
    return min(max(side, 16), *picture), (left + right) / 2, (3 * top + bottom) / 4


def _same(last: Face | None, faces: list[Face]) -> Face | None:
    """Which of the faces is the one that was seen last."""
    if last is None:
        return None
    if last.track >= 0:
        return next((face for face in faces if face.track == last.track), None)
    near = _near(last, faces)
    return min(near, key=lambda face: float((face.middle - last.middle).norm())) if near else None


def _near(last: Face, faces: list[Face]) -> list[Face]:
    """The faces that may be the last one a little later."""
    return [face for face in faces if float((face.middle - last.middle).norm()) < 0.5 * last.width]

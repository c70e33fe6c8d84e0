"""Detect, then follow: people are detected in a whole frame once, and then looked for where they were last."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, field, replace
from typing import ClassVar, Generic, TypeVar

import numpy as np
import torch
from torch import Tensor

from vid2vid_hub.ops.points import Smoother
from vid2vid_mediapipe.region import Picture, Region

PEOPLE = 4
"""At most so many people are looked at, the largest first."""
LEAST_PRESENCE = 0.5
REDETECT = 30
"""A session detects anew after so many frames, in case somebody has come."""
REMEMBER = 5
"""Whoever is lost and found again at the same place within so many frames keeps the number."""


@dataclass(frozen=True, eq=False)
class Found:
    """Somebody found in a frame.

    Args:
        points: landmarks, float32 (P, _), x and y in pixels first; 0, 0 is the centre of the top left pixel. They
            may lie outside the picture.
        score: how sure the network is that somebody is there, 0.5 to 1.
        box: x0, y0, x1, y1 in pixels: the extent of the points, not cut at the picture's edge.
        region: where to look for the same person in the next frame.
        track: the person's number within a session, the same while he is followed; -1 without a session.
    """

    points: Tensor
    score: float
    box: tuple[float, float, float, float]
    region: Region
    track: int = -1

    @property
    def area(self) -> float:
        """Of the box, in square pixels."""
        x0, y0, x1, y1 = self.box
        return (x1 - x0) * (y1 - y0)


F = TypeVar("F", bound=Found)


class Landmarker(ABC, Generic[F]):
    """What finds landmarks of people: a detector of regions, and a network that looks into one region."""

    apart: ClassVar[float]
    """Regions whose centres lie nearer to each other than this, in sides of the larger, are of one person."""
    steady: ClassVar[bool] = False
    """Whether a session smooths the regions that it follows: where they tremble, so do the landmarks found in them."""

    def __call__(self, frame: Tensor) -> list[F]:
        """Detect and look, without a memory.

        Args:
            frame: uint8 (3, H, W) RGB.

        Returns:
            Everybody found, largest first, at most PEOPLE.

        Raises:
            ValueError: the frame is something else.
        """
        return [replace(each, track=-1) for each in self.session()(frame)]

    def session(self) -> Session[F]:
        """A new follower of people for one unbroken shot: call it with frame after frame."""
        return Session(self)

    @abstractmethod
    def regions(self, picture: Picture) -> list[Region]:
        """Where people are in a whole frame (H, W, 3)."""

    @abstractmethod
    def look(self, picture: Picture, region: Region) -> F | None:
        """The landmarks of whoever is in the region, or None."""


class Session(Generic[F]):
    """Follows people through one unbroken shot, as MediaPipe does.

    Each is looked for in the region of his last landmarks. The whole frame is searched too while somebody is missing
    or nobody is known, and every REDETECT frames; whoever is new is added.
    """

    def __init__(self, landmarker: Landmarker[F]) -> None:
        self._landmarker = landmarker
        self._tracks: list[_Track[F]] = []
        self._lost: list[_Track[F]] = []
        self._since, self._known = 0, 0

    def __call__(self, frame: Tensor) -> list[F]:
        """Find people in the shot's next frame.

        Args:
            frame: uint8 (3, H, W) RGB.

        Returns:
            Everybody found, largest first, at most PEOPLE; `Found.track` tells them apart over time.

        Raises:
            ValueError: the frame is something else.
        """
        picture = _picture(frame)
        before, self._tracks = self._tracks, []
        for track in before:
            now = self._landmarker.look(picture, track.region)
            if now is not None and not self._near(now, self._tracks):
                track.move(now)
                self._tracks.append(track)
        self._lost += [track for track in before if track not in self._tracks]
        self._since += 1
        if self._lost or not self._tracks or self._since >= REDETECT:
            self._since = 0
            regions = sorted(self._landmarker.regions(picture), key=lambda region: -region.side)
            for region in regions[:PEOPLE]:
                self._welcome(self._landmarker.look(picture, region))
        for track in self._lost:
            track.missed += 1
        self._lost = [track for track in self._lost if track.missed <= REMEMBER]
        self._tracks = sorted(self._tracks, key=lambda track: -track.last.area)[:PEOPLE]
        return [track.last for track in self._tracks]

    def _welcome(self, now: F | None) -> None:
        """Somebody was detected: one who is followed already, one who was lost, or one who is new."""
        if now is None or self._near(now, self._tracks):
            return
        again = self._near(now, self._lost)
        if again:
            self._lost.remove(again[0])
        track = _Track[F](again[0].number if again else self._known, self._landmarker.steady)
        self._known = max(self._known, track.number + 1)
        track.move(now)
        self._tracks.append(track)

    def _near(self, now: F, tracks: list[_Track[F]]) -> list[_Track[F]]:
        """Those of the tracks that follow, or followed, the same person."""
        x, y, side = now.region.x, now.region.y, now.region.side
        others = [(track, track.last.region) for track in tracks]
        apart = self._landmarker.apart
        return [track for track, it in others if math.hypot(x - it.x, y - it.y) < apart * max(side, it.side)]


@dataclass(eq=False)
class _Track(Generic[F]):
    """One person, followed; the filter's numbers are those of MediaPipe's pose at 30 frames a second."""

    number: int
    steady: bool
    missed: int = 0
    last: F = field(init=False)
    region: Region = field(init=False)
    _smoother: Smoother = field(default_factory=lambda: Smoother(cutoff=0.01 / 30, haste=10.0))

    def move(self, now: F) -> None:
        self.last, self.region = replace(now, track=self.number), now.region
        if self.steady:
            middle, top = now.region.hand
            hand = self._smoother(torch.tensor([[*middle, 1.0], [*top, 1.0]]), now.region.side)[:, :2].tolist()
            self.region = Region.of_hand(hand[0], hand[1])


def _picture(frame: Tensor) -> Picture:
    if frame.dtype != torch.uint8 or frame.dim() != 3 or frame.shape[0] != 3 or not frame.numel():
        raise ValueError(f"a frame is uint8 (3, H, W), not {frame.dtype} {tuple(frame.shape)}")
    return np.ascontiguousarray(frame.permute(1, 2, 0).cpu().numpy())

"""Where a video changes from one shot to the next: hard cuts, found on small pictures, in one pass and constant memory.

A cut is a change that no frame before it and none after it bridges, far larger than the changes around it. Two measures
must agree: what is left of a picture's blocks after each was moved to where it fits best (so a pan is no cut), and how
its colours are spread over its quarters (so an object in front of the lens rarely is one). Flashes are no cuts, as the
picture comes back; fades and dissolves are not looked for.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from itertools import pairwise, product
from typing import cast

import cv2
import numpy as np
from numpy.typing import NDArray

from vid2vid_hub.data.policy import Pictures

_HEIGHT, _WIDTH, _BLOCK, _REACH = 36, 64, 8, 2
"""Pixels: the small picture, its blocks (cut to 32x64), and how far a block may have moved."""
_MARGIN = (_HEIGHT - _HEIGHT // _BLOCK * _BLOCK) // 2
_BRIDGE = 4
"""Frames on either side that may bridge a change: a flash of fewer frames than this is none."""
_AROUND = 8
"""Frames on either side whose changes a cut must exceed."""
_UPPER = 0.13
"""The share of those changes that may be large all the same: another cut on either side."""
_LEAST = np.array((5.0, 0.08))
"""The smallest change that can be a cut: grey values of 255 a pixel, and the share of colours that are others."""
_TIMES = np.array((2.75, 2.2))
"""How many times the changes around it a cut must be; joins of real clips have at least 3.1 and 3.6."""

_Small = tuple[NDArray[np.int16], NDArray[np.float64]]


class CutFinder:
    """Takes the frames of a video one by one, and knows the cuts up to a few frames ago; `close` ends the video.

    Attributes:
        cuts: the first frame of each shot but the first one, counted from 0.
    """

    def __init__(self) -> None:
        self.cuts: list[int] = []
        self._frames = 0
        self._seen: deque[_Small] = deque(maxlen=_AROUND + 2 * _BRIDGE)
        self._changes: deque[NDArray[np.float64]] = deque(maxlen=2 * _AROUND + 1)

    def take(self, frame: Pictures) -> None:
        """Look at the next frame, uint8 (H, W, 3) RGB."""
        small = _small(frame)
        if self._seen:
            self._changes.append(_change(self._seen[-1], small))
        self._seen.append(small)
        self._frames += 1
        if self._frames > _AROUND + 1:
            self._judge(self._frames - 1 - _AROUND)

    def close(self) -> list[int]:
        """Judge the last frames, too; returns ``cuts``."""
        for frame in range(max(1, self._frames - _AROUND), self._frames):
            self._judge(frame)
        return self.cuts

    def _judge(self, frame: int) -> None:
        changes = np.stack(self._changes)
        here = len(changes) - (self._frames - frame)
        around = np.delete(changes, [*range(max(0, here - _AROUND)), here, *range(here + 1 + _AROUND, len(changes))], 0)
        usual = np.zeros(2) if not len(around) else np.sort(around, 0)[-1 - int(_UPPER * len(around))]
        needed = np.maximum(_LEAST, _TIMES * usual)
        if (changes[here] < needed).any():
            return
        seen = list(self._seen)
        middle = len(seen) - (self._frames - frame)
        before, after = seen[max(0, middle - _BRIDGE) : middle], seen[middle : middle + _BRIDGE]
        if all((_change(one, other) >= needed).all() for one, other in product(before, after)):
            self.cuts.append(frame)


def find_cuts(frames: Iterable[Pictures]) -> list[int]:
    """The first frame of each shot but the first one; frames are uint8 (H, W, 3) RGB."""
    finder = CutFinder()
    for frame in frames:
        finder.take(frame)
    return finder.close()


def _small(frame: Pictures) -> _Small:
    picture = cv2.resize(frame, (_WIDTH, _HEIGHT), interpolation=cv2.INTER_AREA)
    colours = cast(Pictures, cv2.cvtColor(picture, cv2.COLOR_RGB2YCrCb))
    quarters = [half for rows in np.array_split(colours, 2) for half in np.array_split(rows, 2, 1)]
    return colours[..., 0].astype(np.int16), np.stack([_spread(quarter) for quarter in quarters])


def _spread(quarter: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Shares of brightness (neighbouring ones blurred into each other) and of colour, side by side."""
    light, red, blue = (quarter[..., i].astype(np.int64) for i in range(3))
    bright = np.convolve(np.bincount((light // 16).ravel(), minlength=16), (0.25, 0.5, 0.25), "same")
    tint = np.clip((np.stack((red, blue)) - 96) // 8, 0, 7)
    tints = np.bincount((tint[0] * 8 + tint[1]).ravel(), minlength=64)
    return np.concatenate((bright / bright.sum(), tints / tints.sum()))


def _change(one: _Small, other: _Small) -> NDArray[np.float64]:
    """How different two small pictures are: grey values a pixel after moving blocks; share of other colours, 0 to 1."""
    return np.array((_moved_difference(one[0], other[0]), np.abs(one[1] - other[1]).sum(1).mean() / 4))


def _moved_difference(one: NDArray[np.int16], other: NDArray[np.int16]) -> float:
    """The mean difference of grey values where each block of ``other`` is looked for in ``one`` nearby."""
    padded = np.pad(one, _REACH, mode="edge")
    shifts = product(range(2 * _REACH + 1), repeat=2)
    differences = np.stack([np.abs(padded[y : y + _HEIGHT, x : x + _WIDTH] - other) for y, x in shifts])
    kept = differences[:, _MARGIN : _HEIGHT - _MARGIN]
    blocks = kept.reshape(len(kept), _HEIGHT // _BLOCK, _BLOCK, _WIDTH // _BLOCK, _BLOCK).mean((2, 4))
    return float(blocks.min(0).mean())


def shots(cuts: Iterable[int], length: int) -> Iterator[tuple[int, int]]:
    """(first, one after the last) frame of each shot of a video with these cuts."""
    edges = [0, *cuts, length]
    return pairwise(edges)

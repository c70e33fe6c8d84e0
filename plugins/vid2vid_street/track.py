"""Ids that follow objects through one shot: segments matched along the optical flow, and found again after a gap."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

Numbers = npt.NDArray[np.int32]
Bytes = npt.NDArray[np.uint8]
Flow = npt.NDArray[np.float32]
Floats = npt.NDArray[np.float64]

PER_CLASS = 1000
"""Cityscapes' instance ids: class · 1000 + n."""
OVERLAP = 0.1
"""The least intersection over union of a segment and an earlier one that the flow has moved."""
INSIDE = 0.5
"""The least share of a segment's box, or of that of an expected object if it is smaller, that lies in the other."""
FORGET = 0.05
"""How much a frame an object's whole box gives way to what is seen of it: something may stand before it."""
FLOW_SIDE, FLOW_LEAST = 512, 32
"""Pixels: the longer side at which flow is estimated, more would tell objects apart no better; and the least side."""


@dataclass
class _Track:
    """One object.

    Attributes:
        id, label: its id and class.
        box: of what was seen of it last, x0, y0, x1, y1 in pixels.
        whole: the box of all of it, which something may hide in part.
        motion: (x, y) pixels a frame.
        seen: the frame in which it was seen last.
        first: whether that was the first time.
    """

    id: int
    label: int
    box: Floats
    whole: Floats
    motion: Floats
    seen: int
    first: bool = True

    def expected(self, now: int) -> Floats:
        """The whole box in frame ``now``, had it gone on as it went."""
        return self.whole + np.tile(self.motion, 2) * (now - self.seen)

    def update(self, segment: _Segment, now: int) -> None:
        """See it again."""
        # As much is seen as before: its way is known. Else something covers it, and the flow knows of what is left.
        steady = np.allclose(segment.box[2:] - segment.box[:2], self.box[2:] - self.box[:2], rtol=0.1, atol=1)
        way = (segment.box - self.box).reshape(2, 2).mean(0) / (now - self.seen) if steady else segment.motion
        moved = self.whole + np.tile(way, 2) * (now - self.seen)
        moved += FORGET * (segment.box - moved)
        self.whole = np.concatenate([np.minimum(moved[:2], segment.box[:2]), np.maximum(moved[2:], segment.box[2:])])
        # Half of what it did before: one frame is noisy, and what is out of sight is expected by it.
        self.motion = way if self.first else (self.motion + way) / 2
        self.box, self.seen, self.first = segment.box, now, False


@dataclass(frozen=True)
class _Segment:
    """An object of the frame at hand: its number, class, box, and how far the flow says it has come (x, y)."""

    number: int
    label: int
    box: Floats
    motion: Floats


@dataclass(frozen=True)
class _Seen:
    """The last frame: grey and small, the numbers of its objects, and the object of each number."""

    grey: Bytes
    objects: Numbers
    tracks: dict[int, _Track] = field(default_factory=dict)


class Tracker:
    """Gives the objects of one unbroken shot ids that stay; its memory is the last frame and the objects of late.

    An object of class c has the id c · 1000 + n. After 1000 objects of a class, numbers of those long gone come again.

    Args:
        patience: for how many frames an object may be out of sight and keep its id.
    """

    def __init__(self, patience: int = 10) -> None:
        self._patience = patience
        self._now = -1
        self._tracks: list[_Track] = []
        self._given: dict[int, int] = {}
        self._last: _Seen | None = None

    def follow(self, frame: Bytes, labels: Bytes, objects: Numbers) -> Numbers:
        """The next frame of the shot.

        Args:
            frame: uint8 (3, H, W) RGB.
            labels: uint8 (H, W); all pixels of one object have one label.
            objects: int32 (H, W), the objects of this frame in any order: 0 for none, else 1 and more.

        Returns:
            int32 (H, W): the object's id, or the label where there is none.
        """
        self._now += 1
        grey = _grey(frame)
        flow = None if self._last is None else _flow(grey, self._last.grey, objects.shape)
        segments = _segments(labels, objects, flow)
        tracks = {} if self._last is None or flow is None else self._moved(segments, objects, self._last, flow)
        tracks |= self._returned([each for each in segments if each.number not in tracks], tracks.values())
        for segment in segments:
            track = self._updated(segment, tracks.get(segment.number))
            if track is not None:
                tracks[segment.number] = track
        self._tracks = [track for track in self._tracks if self._now - track.seen <= self._patience]
        self._last = _Seen(grey, objects, tracks)
        ids = np.full(int(objects.max(initial=0)) + 1, -1, np.int32)
        ids[list(tracks)] = [track.id for track in tracks.values()]
        found = ids[objects]
        return np.where(found < 0, labels.astype(np.int32), found)

    def _moved(self, segments: list[_Segment], objects: Numbers, last: _Seen, flow: Flow) -> dict[int, _Track]:
        """Segment -> the object of the last frame that the flow moves onto it."""
        before = _sampled(last.objects, flow)
        rows, columns = int(objects.max(initial=0)) + 1, int(last.objects.max(initial=0)) + 1
        both = np.bincount((objects.astype(np.int64) * columns + before).ravel(), minlength=rows * columns)
        both = both.reshape(rows, columns)
        either = both.sum(1, keepdims=True) + both.sum(0, keepdims=True) - both
        share = both / np.maximum(either, 1)
        pairs = ((each, number, track) for each in segments for number, track in last.tracks.items())
        scores = (
            (float(share[each.number, number]), each, track)
            for each, number, track in pairs
            if each.label == track.label
        )
        return _best(scores, OVERLAP)

    def _returned(self, segments: list[_Segment], taken: Iterable[_Track]) -> dict[int, _Track]:
        """Segment -> the object out of sight that is expected there by now."""
        busy = {track.id for track in taken}
        lost = [track for track in self._tracks if track.id not in busy]
        pairs = ((each, track) for each in segments for track in lost if each.label == track.label)
        return _best(((_inside(each.box, track.expected(self._now)), each, track) for each, track in pairs), INSIDE)

    def _updated(self, segment: _Segment, track: _Track | None) -> _Track | None:
        """Write down where an object is now. A new one gets an id, unless all 1000 of its class are in use."""
        if track is None:
            fresh = self._fresh(segment.label)
            if fresh is None:
                return None
            track = _Track(fresh, segment.label, segment.box, segment.box, segment.motion, self._now)
            self._tracks.append(track)
            return track
        track.update(segment, self._now)
        return track

    def _fresh(self, label: int) -> int | None:
        used = {track.id for track in self._tracks}
        first = self._given.get(label, 0)
        for number in range(first, first + PER_CLASS):
            candidate = label * PER_CLASS + number % PER_CLASS
            if candidate not in used:
                self._given[label] = number + 1
                return candidate
        return None


def _segments(labels: Bytes, objects: Numbers, flow: Flow | None) -> list[_Segment]:
    """The objects of a frame. Flow is backward, (2, H, W) pixels; without it nothing has moved."""
    rows, columns = np.nonzero(objects)
    numbers = objects[rows, columns]
    order = np.argsort(numbers, kind="stable")
    rows, columns, numbers = rows[order], columns[order], numbers[order]
    found, starts, counts = np.unique(numbers, return_index=True, return_counts=True)
    if not len(found):
        return []
    edges = [np.minimum.reduceat(columns, starts), np.minimum.reduceat(rows, starts)]
    edges += [np.maximum.reduceat(columns, starts) + 1, np.maximum.reduceat(rows, starts) + 1]
    boxes = np.stack(edges, 1).astype(np.float64)
    motions = np.zeros((len(found), 2))
    if flow is not None:
        motions = -np.add.reduceat(flow[:, rows, columns].astype(np.float64), starts, axis=1).T / counts[:, None]
    classes = labels[rows[starts], columns[starts]]
    return [
        _Segment(int(number), int(label), box, motion)
        for number, label, box, motion in zip(found, classes, boxes, motions, strict=True)
    ]


def _best(scores: Iterable[tuple[float, _Segment, _Track]], least: float) -> dict[int, _Track]:
    """Pairs of the highest scores, each segment and object once.

    Objects of one frame do not overlap, so few pairs compete, and the best first is nearly always the best in all.
    """
    chosen: dict[int, _Track] = {}
    taken: set[int] = set()
    for score, segment, track in sorted(scores, key=lambda entry: -entry[0]):
        if score >= least and segment.number not in chosen and track.id not in taken:
            chosen[segment.number] = track
            taken.add(track.id)
    return chosen


def _inside(box: Floats, whole: Floats) -> float:
    """The share of the smaller of two boxes that lies in the other: what comes into sight is small at first."""
    sides = np.maximum(np.minimum(box[2:], whole[2:]) - np.maximum(box[:2], whole[:2]), 0)
    return float(sides.prod() / min((box[2:] - box[:2]).prod(), (whole[2:] - whole[:2]).prod()))


def _grey(frame: Bytes) -> Bytes:
    """Grey and of a size for the flow."""
    import cv2

    grey = cv2.cvtColor(np.ascontiguousarray(frame.transpose(1, 2, 0)), cv2.COLOR_RGB2GRAY)
    scale = min(FLOW_SIDE / max(grey.shape), 1)
    size = [max(round(side * scale), FLOW_LEAST) for side in grey.shape]
    small: Bytes = np.asarray(cv2.resize(grey, (size[1], size[0]), interpolation=cv2.INTER_AREA), np.uint8)
    return small


def _flow(grey: Bytes, before: Bytes, shape: tuple[int, ...]) -> Flow:
    """Where the points of a frame were in the one before: float32 (2, H, W) pixels x, y, by OpenCV's DIS."""
    import cv2

    field = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST).calc(grey, before, None)  # type: ignore[call-overload]
    height, width = shape
    whole = cv2.resize(field, (width, height), interpolation=cv2.INTER_LINEAR).transpose(2, 0, 1)
    scale = np.array([width / grey.shape[1], height / grey.shape[0]], np.float32)
    return np.asarray(whole * scale[:, None, None], np.float32)


def _sampled(numbers: Numbers, flow: Flow) -> Numbers:
    """What stood where the points come from, by nearest pixels; 0 from outside the picture."""
    height, width = numbers.shape
    y, x = np.mgrid[:height, :width]
    x, y = np.rint(x + flow[0]).astype(np.int64), np.rint(y + flow[1]).astype(np.int64)
    inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
    return np.where(inside, numbers[y.clip(0, height - 1), x.clip(0, width - 1)], 0)

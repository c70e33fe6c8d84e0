"""How a video is cut for a dataset: at its cuts, where training and validation change, and where it grows too long."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise
from pathlib import Path

from vid2vid_hub.data.clips import SPLITS
from vid2vid_hub.data.cuts import shots
from vid2vid_hub.data.material import Overview
from vid2vid_hub.errors import DatasetError

MIN_FRAMES = 16
"""What cuts and missing frames leave of a shot is worth keeping from so many frames on."""
MAX_FRAMES = 600
"""A clip has at most so many frames, unless one says otherwise."""


@dataclass(frozen=True)
class HeldOut:
    """Frames for the validation split: of the video with this stem, from ``start`` to ``stop`` (None: its end)."""

    stem: str
    start: int = 0
    stop: int | None = None

    @classmethod
    def parse(cls, text: str) -> HeldOut:
        """Read "name", "name:180:" or "name:0:40".

        Raises:
            DatasetError: the text is neither.
        """
        stem, *bounds = text.split(":")
        try:
            start, stop = (int(bound) if bound else None for bound in bounds or ("", ""))
        except ValueError as error:
            raise DatasetError(f"'{text}' does not name held-out frames; write NAME, or NAME:START:STOP") from error
        return cls(stem, start or 0, stop)


@dataclass(frozen=True)
class Piece:
    """Frames ``start`` to ``stop - 1`` of a shot, all of one split; ``torn`` if it begins or ends at a cut."""

    split: str
    start: int
    stop: int
    torn: bool = False


@dataclass(frozen=True)
class Unit:
    """What is worked on at once: pieces of one shot that one session of the task sees, one after the other.

    Attributes:
        material: number of the video, counted from 0.
        name: what it is called while it is worked on.
        pieces: without gaps between them.
    """

    material: int
    name: str
    pieces: tuple[Piece, ...]

    @property
    def start(self) -> int:
        """The first frame."""
        return self.pieces[0].start

    @property
    def stop(self) -> int:
        """The frame after the last one."""
        return self.pieces[-1].stop

    @property
    def key(self) -> str:
        """A file name of its own among all units of a dataset."""
        return f"{self.material:05d}-{self.start:07d}"


def units(
    material: int,
    video: Path,
    overview: Overview,
    held: Sequence[HeldOut],
    max_frames: int,
    whole_shots: bool,
) -> list[Unit]:
    """Cut a video into what is worked on at once.

    Args:
        material: its number.
        video: its file.
        overview: its length and cuts.
        held: what of it is held out.
        max_frames: the most frames of a piece; pieces of a long shot are of about equal length.
        whole_shots: whether a unit is a whole shot, since something holds over time, or one piece.

    Raises:
        DatasetError: frames are held out that are not there.
    """
    is_held = _held(video, overview.length, held)
    by_shot = [
        list(_pieces(start, stop, is_held, overview.length, max_frames))
        for start, stop in shots(overview.cuts, overview.length)
    ]
    grouped = [tuple(pieces) for pieces in by_shot] if whole_shots else [(one,) for shot in by_shot for one in shot]
    single = len(grouped) == 1
    return [
        Unit(material, video.stem if single else f"{video.stem}-{pieces[0].start:05d}", pieces) for pieces in grouped
    ]


def _held(video: Path, length: int, held: Sequence[HeldOut]) -> list[bool]:
    is_held = [False] * length
    for span in held:
        stop = length if span.stop is None else span.stop
        if not 0 <= span.start < stop <= length:
            raise DatasetError(f"{video} has {length} frames; {span.start} to {stop} cannot be held out of them")
        is_held[span.start : stop] = [True] * (stop - span.start)
    return is_held


def _pieces(start: int, stop: int, is_held: Sequence[bool], length: int, max_frames: int) -> Iterator[Piece]:
    """The pieces of the shot from ``start`` to ``stop``."""
    for one, group in groupby(range(start, stop), key=lambda t: is_held[t]):
        frames = list(group)
        count = -(-len(frames) // max_frames)
        edges = [frames[0] + i * len(frames) // count for i in range(count + 1)]
        for first, last in pairwise(edges):
            torn = (first == start > 0) or (last == stop < length)
            yield Piece(SPLITS[int(one)], first, last, torn)

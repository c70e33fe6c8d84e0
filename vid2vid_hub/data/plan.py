"""What is to be done for a dataset, in which order, and what came of it: the same whoever does it."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from typing import Any

from vid2vid_hub.data.material import Overview
from vid2vid_hub.data.shots import HeldOut, Unit, units
from vid2vid_hub.data.work import Job, Look, Order, Outcome
from vid2vid_hub.errors import DatasetError
from vid2vid_hub.tasks import Task


class Plan:
    """What is to be done, and what came of it: all videos are looked over, then cut into units."""

    def __init__(self, job: Job, held_out: Sequence[HeldOut], max_frames: int) -> None:
        self.wrong: dict[int, Outcome] = {}
        self.records: dict[Unit, Mapping[str, Any]] = {}
        self.overviews: dict[int, Overview] = {}
        self._job, self._held_out, self._max_frames = job, held_out, max_frames
        self._waiting: deque[Order] = deque(Look(i) for i in range(len(job.materials)))
        self._failed_at: dict[int, int] = {}
        self._units: dict[int, list[Unit]] = {}
        self._looked = self._done = 0
        self._total = len(job.materials)

    @property
    def progress(self) -> tuple[int, int]:
        """How many orders are done, and how many there are as far as is known."""
        return self._done, self._total

    def next(self) -> Order | None:
        """The next order that is still worth doing: not behind one at which its video has failed."""
        while self._waiting:
            order = self._waiting.popleft()
            if isinstance(order, Look) or order.start < self._failed_at.get(order.material, order.stop):
                return order
            self._done += 1
        return None

    def take(self, order: Order, outcome: Outcome) -> None:
        """Note what came of an order."""
        self._done += 1
        if outcome.wrong is not None:
            # Whatever order they finish in, the first unit at which a video fails is always tried, and speaks for it.
            start = order.start if isinstance(order, Unit) else 0
            if start < self._failed_at.get(order.material, start + 1):
                self._failed_at[order.material], self.wrong[order.material] = start, outcome
        elif isinstance(order, Unit):
            self.records[order] = outcome.record or {}
        else:
            self._cut(order.material, outcome.record or {})
        self._looked += isinstance(order, Look)
        if isinstance(order, Look) and self._looked == len(self._job.materials):
            found = [unit for i in sorted(self._units) for unit in self._units[i]]
            check_names([unit.name for unit in found])
            self._waiting += found
            self._total += len(found)

    def _cut(self, material: int, look: Mapping[str, Any]) -> None:
        video, condition = self._job.materials[material].video, self._job.materials[material].condition
        overview = Overview(look["length"], Fraction(look["fps"]), tuple(look["cuts"]))
        self.overviews[material] = overview
        held = [h for h in self._held_out if h.stem == video.stem]
        # A task that looks at each frame by itself sees the same in a piece of a shot as in the whole.
        whole = condition is None and type(self._job.task).observe is not Task.observe
        self._units[material] = units(material, video, overview, held, self._max_frames, whole)

    def of(self, material: int) -> Iterator[tuple[Unit, Mapping[str, Any]]]:
        """Units and records of a video that did not fail, in order."""
        if material not in self.wrong:
            yield from ((unit, self.records[unit]) for unit in self._units[material])


def check_names(names: Sequence[str]) -> None:
    """Refuse two clips of one name.

    Raises:
        DatasetError: there are two; the name is told.
    """
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise DatasetError(f"two clips would be called '{twice[0]}'; rename one of the videos")

"""One unit of preparing, wherever it is done: frames to finished clips, in a folder that appears when whole."""

from __future__ import annotations

import json
import platform
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from itertools import groupby
from pathlib import Path
from typing import Any

import cv2

from vid2vid_hub.data.material import SMALLEST, Material, look_over, see, wxh
from vid2vid_hub.data.shots import MIN_FRAMES, Piece, Unit
from vid2vid_hub.data.writer import ClipWriter, UnwritableError, writing
from vid2vid_hub.errors import ConditionError, DatasetError, VideoError
from vid2vid_hub.nn.frozen import FlowTeacher
from vid2vid_hub.tasks import Task
from vid2vid_hub.types import Observed

Report = Callable[[str, int], None]
RECORD = "record.json"
PARTIAL = "."
"""What the names of unfinished units begin with."""


@dataclass(frozen=True)
class Look:
    """To look over a whole video."""

    material: int


Order = Look | Unit


@dataclass(frozen=True)
class Job:
    """What all orders of a run share. Copied to another process, it makes the task anew from its settings.

    Attributes:
        task: what the conditions mean.
        materials: the videos.
        folder: where finished orders are kept; all processes see it.
        size: (height, width) to resize to, or None.
        teacher: whose flow is cached, or None.
        min_frames: the fewest frames of a clip; None: :data:`MIN_FRAMES` of what cuts and missing frames leave.
    """

    task: Task
    materials: tuple[Material, ...]
    folder: Path
    size: tuple[int, int] | None = None
    teacher: FlowTeacher | None = None
    min_frames: int | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "task": (type(self.task), json.dumps(self.task.config()))}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, task=_made(*state["task"]))

    def record(self, order: Order) -> Path:
        """Where the record of an order is, once that is finished."""
        if isinstance(order, Look):
            return self.folder / "looks" / f"{order.material:05d}.json"
        return self.folder / "units" / order.key / RECORD


@dataclass(frozen=True)
class Outcome:
    """What came of an order: its record as JSON values; or what is wrong with the video, and the error's name."""

    record: dict[str, Any] | None = None
    wrong: str | None = None
    kind: str = ""

    def error(self) -> DatasetError | VideoError | ConditionError:
        """What is wrong, as an exception."""
        kinds: dict[str, type[DatasetError | VideoError | ConditionError]] = {
            kind.__name__: kind for kind in (VideoError, ConditionError)
        }
        return kinds.get(self.kind, DatasetError)(self.wrong or "")


def carry_out(job: Job, order: Order, report: Report = lambda name, frames: None) -> Outcome:
    """Do an order, unless it is done already.

    Raises:
        UnwritableError: the disk is full, or not shared with this machine.
        TaskError: the task cannot do what is asked of it, with any video.
    """
    path = job.record(order)
    if not job.folder.is_dir():
        raise UnwritableError(
            f"{job.folder} is not there on {platform.node()}; all machines of a cluster must share the file system"
        )
    if path.is_file():
        return Outcome(json.loads(path.read_text()))
    try:
        with _one_thread():
            return Outcome(_look(job, order, path) if isinstance(order, Look) else _work(job, order, path, report))
    except UnwritableError:
        raise
    except (VideoError, ConditionError, DatasetError) as error:
        text, video = str(error), job.materials[order.material].video
        return Outcome(wrong=text if video.name in text else f"{video}: {text}", kind=type(error).__name__)


def _look(job: Job, order: Look, path: Path) -> dict[str, Any]:
    found = look_over(job.task, job.materials[order.material])
    record = {"length": found.length, "fps": str(found.fps), "cuts": list(found.cuts)}
    with writing():
        write_json(path, record)
    return record


def _work(job: Job, unit: Unit, path: Path, report: Report) -> dict[str, Any]:
    with writing():
        partial = Path(tempfile.mkdtemp(prefix=f"{PARTIAL}{unit.key}-", dir=path.parent.parent))
    try:
        record = _Clips(job, unit, partial).write(report)
        with writing():
            write_json(partial / RECORD, record)
            partial.chmod(0o755)  # temporary folders are private; this one will be part of a dataset
            try:
                partial.rename(path.parent)
            except OSError:
                if not path.is_file():  # else a worker that was believed lost has done it after all
                    raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return record


class _Clips:
    """A unit's frames into clips: what is missing is left out, what is too short is removed again."""

    def __init__(self, job: Job, unit: Unit, folder: Path) -> None:
        self._job, self._unit, self._folder = job, unit, folder
        self._video = job.materials[unit.material].video
        look = json.loads(job.record(Look(unit.material)).read_text())
        self._fps = Fraction(look["fps"])
        self._open: tuple[Piece, int, ClipWriter, ExitStack] | None = None
        self._record: dict[str, Any] = {"clips": [], "left_out": [], "notes": []}

    def write(self, report: Report) -> dict[str, Any]:
        """All clips of the unit; returns its record."""
        place = self._unit.start
        try:
            for seen in see(self._job.task, self._job.materials[self._unit.material], place, self._unit.stop):
                self._take(_resized(seen, self._job.size, self._video, place), place)
                place += len(seen.frames)
                report(self._unit.name, place - self._unit.start)
            self._close(place)
        except BaseException as error:
            if self._open is not None:
                self._open[3].__exit__(type(error), error, error.__traceback__)
            raise
        return self._record

    def _take(self, seen: Observed, place: int) -> None:
        for note in seen.notes:
            self._note("notes", place + note.frame, place + note.frame + 1, note.text)
        absent = self._job.task.missing(seen.condition)
        pieces = [next(p for p in self._unit.pieces if p.start <= place + t < p.stop) for t in range(len(absent))]
        for (piece, why), group in groupby(range(len(absent)), key=lambda t: (pieces[t], absent[t])):
            frames = list(group)
            span, first = slice(frames[0], frames[-1] + 1), place + frames[0]
            if self._open is not None and (why is not None or self._open[0] != piece):
                self._close(first)
            if why is not None:
                self._note("left_out", first, first + len(frames), why)
                continue
            if self._open is None:
                writer = ClipWriter(self._folder, f"{first:05d}", self._fps, self._job.teacher)
                files = ExitStack()
                files.enter_context(writer)
                self._open = piece, first, writer, files
            self._open[2].add(seen.frames[span], seen.condition[span])

    def _close(self, stop: int) -> None:
        """Finish the open clip, which ends before frame ``stop``."""
        if self._open is None:
            return
        piece, start, writer, files = self._open
        self._open = None
        files.close()
        whole = (start, stop) == (piece.start, piece.stop)
        least = self._job.min_frames or (1 if whole and not piece.torn else MIN_FRAMES)
        if stop - start < least:
            writer.discard()
            self._note("left_out", start, stop, f"shorter than {least} frames")
            return
        self._record["clips"].append({"split": piece.split, "start": start, **writer.record()})

    def _note(self, kind: str, start: int, stop: int, text: str) -> None:
        notes = self._record[kind]
        same = next((n for n in reversed(notes) if n[2] == text), None)
        if same is not None and same[1] >= start:
            same[1] = max(same[1], stop)
        else:
            notes.append([start, stop, text])


def _resized(seen: Observed, size: tuple[int, int] | None, video: Path, place: int) -> Observed:
    resized = seen if size is None else seen.resized(size)
    if min(resized.frames.shape[2:]) < SMALLEST:
        raise DatasetError(
            f"{video}, frame {place}, would be kept as {wxh(resized.frames.shape[2:])}, where at least "
            f"{SMALLEST}x{SMALLEST} pixels were expected; give a --size"
        )
    return resized


def write_json(path: Path, values: object) -> None:
    """A JSON file that appears when it is whole."""
    beside = path.with_name(f".{path.name}.part")
    beside.write_text(json.dumps(values, indent=1))
    beside.replace(path)


@contextmanager
def _one_thread() -> Iterator[None]:
    """OpenCV on one thread: on small pictures it is faster so, and workers share the cores."""
    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(before)


@lru_cache(maxsize=1)
def _made(kind: type[Task], config: str) -> Task:
    """The task of a process: made once, so that its models are loaded once."""
    return kind(**json.loads(config))

"""Videos and their conditions -> a dataset folder: in shots, checked frame by frame, gone on from where it stopped."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from vid2vid_hub.data.clips import PreparedClip
from vid2vid_hub.data.engines import run
from vid2vid_hub.data.finish import finish, publish
from vid2vid_hub.data.ledger import forget, open_ledger
from vid2vid_hub.data.material import Material, match
from vid2vid_hub.data.origin import Origin
from vid2vid_hub.data.plan import Plan, check_names
from vid2vid_hub.data.shots import MAX_FRAMES, HeldOut, Unit
from vid2vid_hub.data.work import Job, Report, write_json
from vid2vid_hub.data.writer import SUFFIXES, writing, written_clip
from vid2vid_hub.errors import DatasetError, Vid2VidError
from vid2vid_hub.nn.frozen import FlowTeacher
from vid2vid_hub.tasks import Task

__all__ = ["Failure", "HeldOut", "Material", "Prepared", "Remark", "match", "prepare", "summary"]

UNKNOWN = Origin()


@dataclass(frozen=True)
class Remark:
    """Something about frames ``start`` to ``stop - 1`` of a video: why they were left out, or what to know of them."""

    video: Path
    start: int
    stop: int
    text: str

    def __str__(self) -> str:
        count = self.stop - self.start
        where = f"frame {self.start}" if count == 1 else f"frames {self.start} to {self.stop - 1} ({count})"
        return f"{self.video}, {where}: {self.text}"


@dataclass(frozen=True)
class Failure:
    """A video of which nothing was kept, and why."""

    video: Path
    error: Vid2VidError


@dataclass(frozen=True)
class Prepared:
    """What came of preparing.

    Attributes:
        folder: the dataset.
        clips: how many were written.
        frames: in them.
        left_out: frames that are in no clip.
        failed: videos that are in no clip, because something is wrong with them.
        notes: what a person should know about frames that were kept.
        seconds: how long this run took.
    """

    folder: Path
    clips: int
    frames: int
    left_out: tuple[Remark, ...] = ()
    failed: tuple[Failure, ...] = ()
    notes: tuple[Remark, ...] = ()
    seconds: float = 0.0


def prepare(
    materials: Sequence[Material],
    output: Path,
    task: Task,
    *,
    size: tuple[int, int] | None = None,
    held_out: Sequence[HeldOut] = (),
    teacher: FlowTeacher | None = None,
    report: Report = lambda name, frames: None,
    progress: Callable[[int, int], None] = lambda done, total: None,
    min_frames: int | None = None,
    max_frames: int = MAX_FRAMES,
    engine: str = "local",
    workers: int = 0,
    restart: bool = False,
    origin: Origin = UNKNOWN,
) -> Prepared:
    """Write a dataset folder. It appears under its name only when it is whole; the same call goes on with a killed one.

    Each shot of a video is one session of :meth:`Task.observe`. Frames in which something is missing are left out. A
    video with which something is wrong is left out as a whole, and stops no other.

    Args:
        materials: the videos.
        output: a folder that does not exist yet, or is empty.
        task: what the conditions mean; parses, reads or finds them.
        size: (height, width) to resize to; None keeps each video's own.
        held_out: what goes to ``val``; the rest goes to ``train``.
        teacher: whose flow is cached; None caches none.
        report: called with the name of what is worked on and its frames done so far.
        progress: called with how much is done, and of how much as far as is known.
        min_frames: the fewest frames of a clip; None: 16 of what cuts and missing frames leave, others as they are.
        max_frames: the most frames of a clip; longer shots become several clips of about equal length.
        engine: "local", or "ray": the cluster that Ray finds, which must see inputs and output under the same paths.
        workers: processes; 0 is this one alone, or with Ray as many as the cluster has CPUs.
        restart: begin anew instead of going on.
        origin: where the videos come from, and what may be done with them.

    Raises:
        DatasetError, VideoError, ConditionError: nothing can be written; the file, and the frame where there is one,
            are named.
        TaskError: the task cannot do what is asked of it.
    """
    began = time.monotonic()
    check_output(output)
    unknown = sorted({h.stem for h in held_out} - {m.video.stem for m in materials})
    if unknown:
        raise DatasetError(f"held-out frames are of '{unknown[0]}', and no video is called so")
    if max_frames < 1 or (min_frames is not None and not 1 <= min_frames <= max_frames):
        raise DatasetError(f"a clip cannot have {min_frames or 1} to {max_frames} frames")
    decisive = {
        "size": size,
        "held-out stretch": [asdict(h) for h in held_out],
        "least number of frames": min_frames,
        "most number of frames": max_frames,
    }
    settings = _settings(materials, task, teacher) | decisive
    inputs = [path for m in materials for path in (m.video, m.condition, m.instances) if path is not None]
    with open_ledger(output, settings, inputs, restart) as folder:
        far = engine == "ray"  # its workers need not be in this directory
        job = Job(task, tuple(map(_resolved, materials) if far else materials), folder, size, teacher, min_frames)
        plan = Plan(job, held_out, max_frames)
        for order, outcome in run(engine, workers, job, plan.next, report):
            plan.take(order, outcome)
            if isinstance(order, Unit) and (engine != "local" or workers > 1):
                report(order.name, order.stop - order.start)
            progress(*plan.progress)
        staging = folder / "data"
        clips = list(_clips(plan, materials, staging))
        check_names([clip.name for clip, _ in clips])
        left_out, notes = (tuple(_remarks(plan, materials, kind)) for kind in ("left_out", "notes"))
        failed = tuple(Failure(materials[i].video, wrong.error()) for i, wrong in sorted(plan.wrong.items()))
        if not clips:
            forget(folder)
            raise _nothing(failed, left_out)
        with writing():
            for clip, files in clips:
                _move(files, folder / "units", clip.folder)
            finish(staging, [clip for clip, _ in clips], task, teacher, origin)
            remarks = {kind: [_plain(r) for r in found] for kind, found in (("left_out", left_out), ("notes", notes))}
            failures = [{"video": str(f.video), "why": str(f.error)} for f in failed]
            write_json(staging / "prepared.json", {"failed": failures, **remarks})
            publish(staging, output)
    frames = sum(clip.length for clip, _ in clips)
    return Prepared(output, len(clips), frames, left_out, failed, notes, time.monotonic() - began)


def _settings(materials: Sequence[Material], task: Task, teacher: FlowTeacher | None) -> dict[str, Any]:
    """What decides, beside numbers, what a dataset is: by names that a message may use, as JSON values."""
    paths = [(m.video, m.condition, m.instances) for m in materials]
    return {
        "version of vid2vid-hub": version("vid2vid-hub"),
        "task": task.name,
        "task setting": task.config(),
        "flow teacher": teacher and teacher.name,
        "set of inputs": [[path and str(path.resolve()) for path in three] for three in paths],
    }


def summary(prepared: Prepared) -> Iterator[str]:
    """What a person should read when all is done, in sentences."""
    if prepared.left_out:
        count = sum(remark.stop - remark.start for remark in prepared.left_out)
        yield f"left out: {count} {'frame' if count == 1 else 'frames'}"
        yield from (f"  {remark}" for remark in prepared.left_out)
    if prepared.failed:
        count = len(prepared.failed)
        yield f"failed: {count} {'video' if count == 1 else 'videos'}"
        yield from (f"  {failure.error}" for failure in prepared.failed)
    if prepared.notes:
        yield "to know:"
        yield from (f"  {remark}" for remark in prepared.notes)


def check_output(output: Path) -> None:
    """Refuse to write over anything.

    Raises:
        DatasetError: a file is there, or a folder that is not empty.
    """
    if output.exists() and any(output.iterdir() if output.is_dir() else [output]):
        raise DatasetError(f"{output} already exists and is not empty; choose another folder or remove it")


def _clips(plan: Plan, materials: Sequence[Material], root: Path) -> Iterator[tuple[PreparedClip, dict[str, str]]]:
    """All clips, in the order of videos and frames, and where each of their files is now, below the units' folder."""
    for number, material in enumerate(materials):
        for unit, record in plan.of(number):
            overview = plan.overviews[number]
            for found in record["clips"]:
                whole = found["length"] == overview.length
                name = material.video.stem if whole else f"{material.video.stem}-{found['start']:05d}"
                now = {f"{name}{SUFFIXES[field]}": f"{unit.key}/{file}" for field, file in found["files"].items()}
                yield written_clip(found, root / found["split"], name, overview.fps), now


def _move(files: Mapping[str, str], units: Path, folder: Path) -> None:
    """Give the files of a clip their names; what was moved before the run was killed is where it belongs already."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, now in files.items():
        if (units / now).exists():
            (units / now).replace(folder / name)


def _remarks(plan: Plan, materials: Sequence[Material], kind: str) -> Iterator[Remark]:
    """What the records of all units say, in order; what goes on in the next unit is one remark."""
    for number, material in enumerate(materials):
        found: list[Remark] = []
        for _, record in plan.of(number):
            for start, stop, text in record[kind]:
                same = next((i for i, r in enumerate(found) if r.text == text and r.stop == start), None)
                if same is None:
                    found.append(Remark(material.video, start, stop, text))
                else:
                    found[same] = replace(found[same], stop=stop)
        yield from sorted(found, key=lambda remark: remark.start)


def _nothing(failed: Sequence[Failure], left_out: Sequence[Remark]) -> Vid2VidError:
    """Why there is no clip at all; the one video that failed speaks for itself."""
    if len(failed) == 1 and not left_out:
        return failed[0].error
    reasons = [str(failure.error) for failure in failed] + [str(remark) for remark in left_out]
    more = f"; and {len(reasons) - 3} more" if len(reasons) > 3 else ""
    return DatasetError(f"no frame could be kept: {'; '.join(reasons[:3])}{more}")


def _resolved(material: Material) -> Material:
    condition, instances = material.condition, material.instances
    return Material(material.video.resolve(), condition and condition.resolve(), instances and instances.resolve())


def _plain(remark: Remark) -> dict[str, Any]:
    return {"video": str(remark.video), "start": remark.start, "stop": remark.stop, "text": remark.text}

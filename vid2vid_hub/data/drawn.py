"""A dataset of a task's own drawn world, exact conditions and all: for trying a task before there is any data."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

from vid2vid_hub.data.clips import SPLITS, PreparedClip
from vid2vid_hub.data.finish import finish, publish
from vid2vid_hub.data.origin import drawn_origin
from vid2vid_hub.data.prepare import Prepared, check_output
from vid2vid_hub.data.writer import ClipWriter, UnwritableError, writing, written_clip
from vid2vid_hub.errors import DatasetError
from vid2vid_hub.nn.frozen import FlowTeacher
from vid2vid_hub.tasks import Task

FPS = Fraction(25)


def draw_dataset(
    task: Task,
    output: Path,
    *,
    clips: int = 8,
    frames: int = 120,
    size: tuple[int, int] = (128, 128),
    seed: int = 0,
    val: int = 1,
    teacher: FlowTeacher | None = None,
    report: Callable[[str, int], None] = lambda name, frames: None,
) -> Prepared:
    """Write a dataset folder of drawn clips; it appears under its name when it is whole.

    Args:
        task: draws.
        output: a folder that does not exist yet, or is empty.
        clips: how many.
        frames: of each clip.
        size: (height, width).
        seed: clip i is drawn with ``seed + i``.
        val: how many of the clips, the last ones, are held out.
        teacher: whose flow is cached; None caches none.
        report: called with a clip's name and its frames done so far.

    Raises:
        DatasetError: the numbers make no dataset, or the folder cannot be written.
        TaskError: the task has no drawn world, or not of this size.
    """
    began = time.monotonic()
    check_output(output)
    origin = drawn_origin(task, seed=seed, clips=clips, frames=frames, size=f"{size[1]}x{size[0]}", val=val)
    if not (clips > 0 and frames > 0 and 0 <= val <= clips):
        raise DatasetError(f"{clips} clips of {frames} frames, {val} of them held out, make no dataset")
    target = output.resolve()
    try:
        with writing():
            target.parent.mkdir(parents=True, exist_ok=True)
            staging = Path(tempfile.mkdtemp(prefix=f".{target.name}.part-", dir=target.parent))
        try:
            made = [
                _draw(task, staging, i, frames, size, seed + i, i >= clips - val, teacher, report) for i in range(clips)
            ]
            with writing():
                finish(staging, made, task, teacher, origin)
                staging.chmod(0o755)  # temporary folders are private
                publish(staging, output)
        finally:
            shutil.rmtree(staging, ignore_errors=True)
    except UnwritableError as error:
        raise DatasetError(f"the dataset cannot be written to {output}: {error}") from error
    return Prepared(output, clips, clips * frames, seconds=time.monotonic() - began)


def _draw(
    task: Task,
    root: Path,
    number: int,
    frames: int,
    size: tuple[int, int],
    seed: int,
    held_out: bool,
    teacher: FlowTeacher | None,
    report: Callable[[str, int], None],
) -> PreparedClip:
    name, folder = f"drawn-{number:03d}", root / SPLITS[int(held_out)]
    with writing():
        folder.mkdir(exist_ok=True)
    with ClipWriter(folder, name, FPS, teacher) as writer:
        for seen in task.draw(seed, frames, size):
            writer.add(seen.frames, seen.condition)
            report(name, writer.length)
    return written_clip(writer.record(), folder, name, FPS)

"""The last steps of a dataset: its descriptions, what the task measures on it, its preview, and its name."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

from vid2vid_hub.data.clips import SPLITS, Description, PreparedClip
from vid2vid_hub.data.origin import Origin
from vid2vid_hub.data.pictures import BLOCK
from vid2vid_hub.data.preview import write_preview
from vid2vid_hub.nn.frozen import FlowTeacher
from vid2vid_hub.tasks import Task
from vid2vid_hub.types import Condition


def finish(
    folder: Path, clips: Sequence[PreparedClip], task: Task, teacher: FlowTeacher | None, origin: Origin
) -> None:
    """Describe clips that are in place, measure the training clips, and write ``preview.mp4``."""
    for split in SPLITS:
        (folder / split).mkdir(parents=True, exist_ok=True)
        lines = [json.dumps(clip.record()) + "\n" for clip in clips if clip.folder.name == split]
        if lines:
            (folder / split / "metadata.jsonl").write_text("".join(lines))
    learns = type(task).measure is not Task.measure and any(clip.folder.name == "train" for clip in clips)
    measured = task.measure(_conditions(clips)) if learns else {}
    flow = teacher.name if teacher else None
    description = Description(task.name, task.config(), flow, measured=measured, origin=origin)
    (folder / "dataset.json").write_text(json.dumps(asdict(description), indent=1))
    write_preview(folder / "preview.mp4", clips, task)


def publish(folder: Path, output: Path) -> None:
    """Give a finished dataset folder its name, which an empty folder may have."""
    target = output.resolve()
    if target.is_dir():
        target.rmdir()
    folder.replace(target)


def _conditions(clips: Sequence[PreparedClip]) -> Iterator[Condition]:
    for clip in clips:
        if clip.folder.name == "train":
            yield from (clip.condition(i, min(i + BLOCK, clip.length)) for i in range(0, clip.length, BLOCK))

"""One door to clips on disk: a prepared dataset folder, or one of the layouts that people already have."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from vid2vid_hub.data.clips import ClipSource, Description, read_clips
from vid2vid_hub.data.released import is_cityscapes, is_released, read_cityscapes, read_released
from vid2vid_hub.errors import DatasetError
from vid2vid_hub.tasks import Task


def open_clips(folder: Path, split: str, task: Task) -> list[ClipSource]:
    """The clips of one split, whatever the layout.

    Args:
        folder: with a ``dataset.json``, or with ``train_A`` and ``train_B``, or with ``leftImg8bit_sequence``.
        split: "train" or "val"; the released layout says "test" for the latter.
        task: what the conditions mean.

    Raises:
        DatasetError: the layout is none of these, belongs to another task, or contradicts itself.
    """
    if (folder / "dataset.json").is_file():
        theirs = Description.read(folder)
        meant, asked = (
            {key: value for key, value in config.items() if key not in task.extraction}
            for config in (theirs.task_config, task.config())
        )
        if (theirs.task, meant) != (task.name, asked):
            raise DatasetError(
                f"{folder} was prepared for task '{theirs.task}' with {meant}, not for '{task.name}' with {asked}"
            )
        return [*read_clips(folder, split)]
    if is_released(folder):
        return [*read_released(folder, split, task)]
    if is_cityscapes(folder):
        return [*read_cityscapes(folder, split, task)]
    raise DatasetError(
        f"{folder} is no dataset: expected dataset.json (made by prepare), train_A and train_B, or leftImg8bit_sequence"
    )


def measured(folder: Path) -> dict[str, Any]:
    """The settings that a task learned from a dataset when it was prepared; none in layouts that keep none."""
    return Description.read(folder).measured if (folder / "dataset.json").is_file() else {}


def origin(folder: Path) -> dict[str, Any]:
    """Where the clips of a folder come from, as JSON values: its name, and whatever else is known."""
    known = asdict(Description.read(folder).origin) if (folder / "dataset.json").is_file() else {}
    return {"name": folder.resolve().name} | {key: value for key, value in known.items() if value is not None}

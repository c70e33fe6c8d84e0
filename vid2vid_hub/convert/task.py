"""Which task it was that released networks were trained for: by the channels that they read, where that says enough."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from vid2vid_hub.errors import ModelError
from vid2vid_hub.tasks import Task, get_task, list_tasks
from vid2vid_hub.types import Condition


def fitting(channels: int, foreground: bool, name: str | None, settings: Mapping[str, Any] | None) -> Task:
    """The task of networks that read so many channels.

    Args:
        channels: S, of one condition.
        foreground: whether they have the foreground prior.
        name: a task's, if it is known; else the one installed task that says it was released with so many channels.
        settings: of the task, over those that go with the channels.

    Raises:
        ModelError: no task, or more than one, can be meant; or the one that is named encodes something else.
        TaskError: there is no such task, or it refuses a setting.
    """
    given = dict(settings or {})
    if name is None:
        name = _only(channels)
    task = get_task(name, dict(get_task(name).released.get(channels, {})) | given)
    if task.channels != channels:
        raise ModelError(
            f"the checkpoints read {channels} channels for each condition, and task '{name}' encodes {task.channels} "
            f"with the settings {task.config()}; give another --task, or --setting KEY=VALUE"
        )
    blank = Condition(torch.zeros(1, task.maps, 32, 32, dtype=torch.uint8))
    if foreground and task.encode(blank).foreground is None:
        raise ModelError(
            f"the checkpoints have a network for the foreground, and task '{name}' gives no foreground mask with the "
            f"settings {task.config()}; give another --task, or --setting KEY=VALUE"
        )
    return task


def _only(channels: int) -> str:
    known = [name for name in list_tasks() if channels in get_task(name).released]
    if len(known) == 1:
        return known[0]
    meant = f"that could be {' or '.join(known)}" if known else "no installed task is known by that number"
    raise ModelError(
        f"the checkpoints read {channels} channels for each condition, and {meant}; say which task it is with --task, "
        f"and with --setting KEY=VALUE how it encodes so many (installed tasks: {', '.join(list_tasks())})"
    )

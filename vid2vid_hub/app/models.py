"""The models that visitors choose from: starters, what the host named, folders and Hub repos; few in memory at once."""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vid2vid_hub.app.limits import Limits
from vid2vid_hub.app.turns import Turns
from vid2vid_hub.errors import ModelError
from vid2vid_hub.folder import INDEX
from vid2vid_hub.hub.about import HUB_ID
from vid2vid_hub.hub.contents import find_sample
from vid2vid_hub.load import load_pipeline
from vid2vid_hub.nn.remote import look
from vid2vid_hub.pipeline import Vid2VidPipeline
from vid2vid_hub.tasks import Task, get_task
from vid2vid_hub.zoo import shipped, zoo


@dataclass(frozen=True)
class Model:
    """A pipeline in memory, which all visitors share.

    Attributes:
        name: what it was asked for by.
        pipeline: loaded, on its device.
        turn: held while it makes a frame, so that visitors alternate.
    """

    name: str
    pipeline: Vid2VidPipeline
    turn: Turns = field(default_factory=Turns)


class Models:
    """What can be chosen, by task, and the pipelines that were used last.

    Args:
        limits: how many are kept, how large one from the Hub may be, and whether folders are opened.
        named: folders or Hub ids that the host offers beside the starters; loaded at once, to know their tasks.
        settings: by task, how its conditions are extracted: see :meth:`Vid2VidPipeline.adapt`.
        device: cpu, cuda, …; None for the best that is there.

    Raises:
        ModelError, TaskError: a model that the host named cannot be loaded, or does not take the settings.
    """

    def __init__(
        self,
        limits: Limits,
        *,
        named: Sequence[str] = (),
        settings: Mapping[str, Mapping[str, Any]] | None = None,
        device: str | None = None,
    ) -> None:
        self._limits, self._settings, self._device = limits, dict(settings or {}), device
        self._lock, self._loading = threading.Lock(), threading.Lock()
        self._loaded: OrderedDict[str, Model] = OrderedDict()
        self._offered: dict[str, list[str]] = {}
        try:
            starters = [entry for entry in zoo(shipped()) if entry.weights and entry.problem is None]
        except ModelError:  # an installation without any
            starters = []
        self._starters = {entry.folder.name: entry.folder for entry in starters}
        for entry in starters:
            self._offered.setdefault(str(entry.task), []).append(entry.folder.name)
        self._named = {_shown(name, limits): name for name in named}
        for name in reversed(self._named):  # what the host names comes first
            self._offered.setdefault(self.get(name).pipeline.task.name, []).insert(0, name)

    def offered(self, task: str) -> list[str]:
        """Names of the models of a task that are there from the start; the first is what a visitor sees first."""
        return list(self._offered.get(task, []))

    def sample(self, name: str) -> Path | None:
        """The condition to try that comes with a starter."""
        return find_sample(self._starters[name]) if name in self._starters else None

    def task(self, task: str, name: str | None) -> Task:
        """A task as a model of it sees the world, or as it is by itself where no model is chosen.

        Raises:
            ModelError, TaskError: as :meth:`get`; or the task does not take the host's settings.
        """
        if name:
            return self.get(name, task).pipeline.task
        return get_task(task, self._settings.get(task))

    def get(self, name: str, task: str | None = None) -> Model:
        """A pipeline by starter's name, folder or Hub id.

        Args:
            name: what a visitor chose or typed.
            task: what it must be a model of.

        Raises:
            ModelError: it cannot be had here, is too large, or is a model of another task.
            TaskError: its task is not installed.
        """
        name = name.strip()
        model = self._kept(name)
        if model is None:
            with self._loading:  # one at a time; who wants what is there already does not wait for it
                model = self._kept(name) or self._keep(self._load(name, task))
        _check_task(name, model.pipeline.task.name, task)
        return model

    def _kept(self, name: str) -> Model | None:
        with self._lock:
            if name in self._loaded:
                self._loaded.move_to_end(name)
            return self._loaded.get(name)

    def _keep(self, model: Model) -> Model:
        with self._lock:
            self._loaded[model.name] = model
            while len(self._loaded) > self._limits.models:
                self._loaded.popitem(last=False)
        return model

    def _load(self, name: str, task: str | None) -> Model:
        if name in self._starters:
            pipeline = load_pipeline(str(self._starters[name]), self._device)
        else:
            options = {} if name in self._named else self._check(name, task)
            pipeline = load_pipeline(self._named.get(name, name), self._device, **options)
        if settings := self._settings.get(pipeline.task.name):
            pipeline.adapt(**settings)
        return Model(name, pipeline)

    def _check(self, name: str, task: str | None) -> dict[str, Any]:
        """Whether a stranger's choice may be loaded at all; and how: what the host may see on the Hub is not his."""
        folder = os.path.exists(name)  # noqa: PTH110  (Path's own fails at names that no file can have)
        if folder and self._limits.folders:
            return {}
        if folder or not HUB_ID.fullmatch(name):
            known = ", ".join(sorted(self._starters)) or "none"
            raise ModelError(
                f"there is no model '{name[:80]}' here; choose one of the list ({known}), or write the id of a Hub "
                "repo, org/name"
            )
        held = look(name, INDEX, token=False)
        if INDEX in held.files:
            _check_task(name, str(held.json(INDEX).get("task")), task)
        weights = sum(one.size or 0 for file, one in held.files.items() if file.endswith(".safetensors"))
        if weights > self._limits.weights:
            raise ModelError(
                f"{name} has {weights / 1e9:.1f} GB of weights, over the {self._limits.weights / 1e9:.1f} GB that are "
                "allowed here; run it on your own machine"
            )
        return {"token": False, "revision": held.commit}


def _check_task(name: str, found: str, task: str | None) -> None:
    if task is not None and found != task:
        raise ModelError(f"{name} is a model of {found[:80]}, not of {task}; look for it under {found[:80]}")


def _shown(name: str, limits: Limits) -> str:
    """What visitors call a model that the host named: where strangers come, of a folder not where it lies."""
    folder = Path(name)
    if limits.folders or not folder.exists():
        return name
    folder = folder.resolve()
    return folder.parent.name if folder.name == "pipeline" else folder.name

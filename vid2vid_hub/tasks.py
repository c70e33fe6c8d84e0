"""Tasks: the contract that a plugin fulfils, and the registry that finds plugins. Plugin authors read only this file.

A plugin is an installed package with an entry point of the group ``vid2vid_hub.tasks`` that names a :class:`Task`
class. Listing reads metadata and imports nothing; :func:`get_task` imports the one plugin that was asked for.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from vid2vid_hub.errors import TaskError

if TYPE_CHECKING:
    from torch import Tensor, nn

    from vid2vid_hub.types import Condition, Encoded

GROUP = "vid2vid_hub.tasks"


@dataclass(frozen=True)
class Labels:
    """The classes of a label task, for legends, palettes and edits.

    Attributes:
        names: class id -> name.
        palette: class id -> (red, green, blue), 0 to 255.
        foreground: ids of classes that move on their own (the paper's foreground).
        editable: ids that a person may exchange for another; all of them unless a task says otherwise.
    """

    names: Mapping[int, str]
    palette: Mapping[int, tuple[int, int, int]]
    foreground: frozenset[int] = frozenset()
    editable: frozenset[int] = field(default_factory=frozenset)


class Task(ABC):
    """One kind of translation. Only ``name``, ``channels`` and ``encode`` are required; the rest has a plain default.

    A subclass takes its settings as keyword arguments of plain JSON values and returns them from :meth:`config`; they
    are saved with the pipeline, and ``Task(**config)`` rebuilds it.
    """

    name: ClassVar[str]
    recipe: ClassVar[Path | None] = None
    """The task's default ``recipe.yaml`` inside the plugin."""
    extraction: ClassVar[frozenset[str]] = frozenset()
    """Settings that only :meth:`extract` reads: data made with others means the same."""

    @property
    @abstractmethod
    def channels(self) -> int:
        """S, the number of feature channels that :meth:`encode` returns."""

    @property
    def maps(self) -> int:
        """C, the number of maps in a :class:`Condition` of this task."""
        return 1

    @abstractmethod
    def encode(self, condition: Condition) -> Encoded:
        """Turn compact uint8 (T, C, H, W) into network features (T, S, H, W), on the condition's own device.

        Pure and frame by frame: ``encode(c)[t]`` depends on frame t of ``c`` alone, so that a stream may encode each
        frame once.

        Raises:
            ConditionError: a value has no meaning in this task.
        """

    def config(self) -> dict[str, Any]:
        """The settings this instance was made with, as JSON values."""
        return {}

    def extract(self, frames: Tensor) -> Condition:
        """Find the condition in real frames, uint8 (T, 3, H, W) RGB. Heavy libraries are imported here, not above.

        Raises:
            TaskError: the task has no extractor, or its model cannot be had.
        """
        raise TaskError(f"task '{self.name}' cannot extract its condition from real frames; give the condition itself")

    def parse(self, pictures: Tensor) -> Condition:
        """Read conditions drawn as pictures, uint8 (T, C', H, W): C' is 1 for grey or palette indices, 3 for RGB.

        Raises:
            ConditionError: these pictures are not conditions of this task.
        """
        from vid2vid_hub.types import Condition

        return Condition(pictures)

    def preview(self, condition: Condition) -> Tensor:
        """What a person should see of a condition: uint8 (T, 3, H, W) RGB."""
        maps = condition.maps
        return maps[:, :3] if maps.shape[1] >= 3 else maps[:, :1].expand(-1, 3, -1, -1)

    @property
    def labels(self) -> Labels | None:
        """The classes, for tasks whose condition is a label map."""
        return None

    def regions(self, condition: Condition) -> Tensor | None:
        """Where an extra discriminator should look: int (T, 4) boxes x0, y0, x1, y1 in pixels, or None.

        Boxes lie in the picture, 0 <= x0 < x1 <= W and 0 <= y0 < y1 <= H: x1 and y1 are exclusive. An empty box,
        0, 0, 0, 0, says that there is nowhere to look in this frame.
        """
        return None

    def parts(self) -> dict[str, nn.Module]:
        """Networks of the task's own that are saved with the pipeline."""
        return {}


def list_tasks() -> list[str]:
    """Names of all installed tasks, sorted. Reads package metadata only; imports no plugin."""
    return sorted({point.name for point in entry_points(group=GROUP)})


def get_task(name: str, config: Mapping[str, Any] | None = None) -> Task:
    """Import the plugin that provides ``name`` and make its task with the settings ``config``.

    Raises:
        TaskError: the name is unknown, claimed by two packages, does not name a :class:`Task`, or refuses a setting.
        Exception: whatever the plugin raises while it is imported, with its own traceback.
    """
    kind = _entry_point(name).load()
    if not (isinstance(kind, type) and issubclass(kind, Task)):
        raise TaskError(f"the entry point '{name}' of group {GROUP} names {kind!r}; it must name a subclass of Task")
    try:
        return kind(**(config or {}))
    except TypeError as error:
        raise TaskError(f"task '{name}' does not take these settings: {error}") from error


def _entry_point(name: str) -> EntryPoint:
    points = sorted(entry_points(group=GROUP, name=name), key=lambda point: point.value)
    if not points:
        known = ", ".join(list_tasks()) or "none"
        raise TaskError(f"no installed package provides the task '{name}'; installed tasks: {known}")
    if len(points) > 1:
        owners = " and ".join(f"{point.dist.name if point.dist else '?'} ({point.value})" for point in points)
        raise TaskError(f"the task '{name}' is claimed by {owners}; uninstall one of them")
    return points[0]

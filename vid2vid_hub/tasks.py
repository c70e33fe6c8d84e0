"""Tasks: the contract that a plugin fulfils, and the registry that finds plugins. Plugin authors read only this file.

A plugin is an installed package with an entry point of the group ``vid2vid_hub.tasks`` that names a :class:`Task`
class. Listing reads metadata and imports nothing; :func:`get_task` imports the one plugin that was asked for.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar

from vid2vid_hub.errors import ConditionError, TaskError

if TYPE_CHECKING:
    from torch import Generator, Tensor, nn

    from vid2vid_hub.types import Condition, Encoded, Observed

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

    def find(self, name: str) -> int:
        """A class by its name, in any case, or by its id written as a number.

        Raises:
            TaskError: there is no such class; names one that is nearly called so, or all of them.
        """
        text = name.strip()
        named = [(known.strip(), number) for number, known in reversed([*self.names.items()])]
        plain = {known.casefold(): number for known, number in named}
        ids = {str(number): number for number in self.names} | plain | dict(named)
        number = ids.get(text, ids.get(text.casefold()))
        if number is None:
            near = get_close_matches(text.casefold(), plain, 1)
            known = ", ".join(self.names.values())
            hint = f"did you mean '{self.names[plain[near[0]]]}'?" if near else f"there are {known}"
            raise TaskError(f"there is no class '{text}'; {hint}")
        return number

    def edits(self, names: Mapping[str, str]) -> dict[int, int]:
        """Which classes become which others, by their ids, for :func:`vid2vid_hub.ops.edit.relabel`.

        Args:
            names: names or ids of classes -> those of what they become.

        Raises:
            TaskError: there is no such class, it may not be exchanged, or it is to become two others.
        """
        found: dict[int, int] = {}
        for old, new in names.items():
            pair = self.find(old), self.find(new)
            for number in pair:
                if self.editable and number not in self.editable:
                    raise TaskError(f"the class '{self.names[number]}' may not be exchanged for another")
            if found.setdefault(*pair) != pair[1]:
                raise TaskError(f"the class '{self.names[pair[0]]}' cannot become two others; give it once")
        return found


class Task(ABC):
    """One kind of translation. Only ``name``, ``channels`` and ``encode`` are required; the rest has a plain default.

    A subclass takes its settings as keyword arguments of plain JSON values and returns them from :meth:`config`; they
    are saved with the pipeline, and ``Task(**config)`` rebuilds it.
    """

    name: ClassVar[str]
    about: ClassVar[str | None] = None
    """What a model of this task turns into what, in a sentence for everybody."""
    recipe: ClassVar[Path | None] = None
    """The task's default ``recipe.yaml`` inside the plugin."""
    extraction: ClassVar[frozenset[str]] = frozenset()
    """Settings that only :meth:`extract` reads: data made with others means the same."""
    released: ClassVar[Mapping[int, Mapping[str, Any]]] = MappingProxyType({})
    """Channels of NVIDIA's released checkpoints of this task -> the settings with which :meth:`encode` gives them."""
    consent: ClassVar[str | None] = None
    """What people must be asked before their likeness drives or trains a model of this task, in sentences for its
    card; None where a condition shows nobody."""

    @property
    @abstractmethod
    def channels(self) -> int:
        """S, the number of feature channels that :meth:`encode` returns."""

    @property
    def maps(self) -> int:
        """C, the number of maps in a :class:`Condition` of this task."""
        return 1

    @property
    def points(self) -> int:
        """P, the number of key points in a :class:`Condition` of this task; 0 for tasks that know none."""
        return 0

    @property
    def mirrored(self) -> tuple[int, ...] | None:
        """Which point of a picture is which in its mirror image, or None where each stays what it is.

        Point i of the mirror image is point ``mirrored[i]`` of the picture: a left hand becomes a right one.
        """
        return None

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

    def observe(self, blocks: Iterable[Tensor]) -> Iterator[Observed]:
        """Find the condition in one unbroken shot, a few frames at a time: uint8 (n, 3, H, W) RGB.

        What holds over time lives in here: ids that follow objects, smoothing, a crop that follows, short gaps.
        The same number of frames comes out as goes in, in order and all of one size, in memory that does not grow with
        the shot: causal, or with a look-ahead of at most 64 frames.

        Raises:
            TaskError: as in :meth:`extract`.
            ConditionError: names the frame, counted from the shot's start.
        """
        from vid2vid_hub.types import Observed

        first = 0
        for frames in blocks:
            try:
                condition = self.extract(frames)
            except ConditionError as error:
                raise error.moved(first) from error
            yield Observed(frames, condition)
            first += len(frames)

    def missing(self, condition: Condition) -> list[str | None]:
        """What is not there in each frame and makes it useless, such as "no person"; None where all is well."""
        return [None] * len(condition)

    def augment(self, condition: Condition, random: Generator) -> Condition:
        """Vary the condition of a stretch of training; called once for it, ``random`` being its own."""
        return condition

    def measure(self, conditions: Iterable[Condition]) -> dict[str, Any]:
        """Settings that the task learns from the conditions that it is trained with, as JSON values.

        ``prepare`` keeps them with the dataset, training with the pipeline. Their keys are in ``extraction``.
        """
        return {}

    def reads(self, source: Path) -> bool:
        """Whether a file or folder holds conditions that are no pictures, which :meth:`read` understands."""
        return False

    def read(self, source: Path, size: tuple[int, int] | None = None) -> Iterator[Condition]:
        """Read conditions that are no pictures, a few frames at a time.

        Args:
            source: for which :meth:`reads` is true.
            size: (height, width) of the video that they belong to, if there is one.

        Raises:
            ConditionError: they are damaged, or of another kind; or their size cannot be known.
        """
        raise TaskError(f"task '{self.name}' reads its conditions from pictures only, and {source} holds none")

    def draw(self, seed: int, frames: int, size: tuple[int, int]) -> Iterator[Observed]:
        """Draw a video whose condition is known exactly, for trying the task without data.

        Args:
            seed: what is seen and how it moves.
            frames: how many.
            size: (height, width).

        Raises:
            TaskError: the task draws nothing.
        """
        raise TaskError(f"task '{self.name}' has no drawn world; prepare real videos")

    def parse(self, pictures: Tensor) -> Condition:
        """Read conditions drawn as pictures, uint8 (T, C', H, W): C' is 1 for grey or palette indices, 3 for RGB.

        By default the channels are the maps; colours that are all grey count as one channel.

        Raises:
            ConditionError: these pictures are not conditions of this task.
        """
        from vid2vid_hub.types import Condition

        if self.maps == 1 and pictures.shape[1] == 3 and (pictures == pictures[:, :1]).all():
            pictures = pictures[:, :1]
        if pictures.shape[1] != self.maps:
            raise ConditionError(
                f"a condition of {self.name} has {self.maps} maps a frame, and these pictures have {pictures.shape[1]} "
                "channels"
            )
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

    def picture_parts(self, condition: Condition) -> Tensor:
        """Which part of the picture every pixel is of, for networks that know what each part may look like.

        Frame by frame, and on the condition's own device. By default a part is a class of the labels, or one object of
        it; objects whose numbers end in the same three digits share a look, and so do all of class 0. Tasks without
        labels have the classes 0, where there is no object, and 1.

        Returns:
            int32 (T, 1, H, W) ids, at least 0: a class, or class · 1000 + number; see :mod:`vid2vid_hub.types`.
        """
        import torch

        from vid2vid_hub.types import PER_CLASS

        objects = condition.instances
        if self.labels is not None:
            classes = condition.maps[:, :1].int()
        else:
            classes = (
                torch.zeros_like(condition.maps[:, :1], dtype=torch.int32) if objects is None else objects.ne(0).int()
            )
        if objects is None:
            return classes
        numbered = classes * PER_CLASS + objects % PER_CLASS
        return torch.where((objects != 0) & (classes > 0), numbered, classes)

    @property
    def frame_classes(self) -> int | None:
        """K, where what the generator makes is no picture but a label map of K classes; None for pictures.

        Frames are then (T, K, H, W): 2p - 1, p being the probability of each class.
        """
        return None

    def target(self, frames: Tensor, condition: Condition) -> Tensor:
        """What a generator of this task learns to make of a stretch of video: by default its frames.

        Args:
            frames: the real ones, float (T, 3, H, W) in [-1, 1].
            condition: theirs, at the same size.

        Returns:
            float (T, 3, H, W), or (T, K, H, W) where there are ``frame_classes``, in [-1, 1].
        """
        return frames

    def forecast(
        self, network: Any, condition: Condition, frames: int, random: Generator | None = None
    ) -> Iterator[Condition]:
        """Say what the condition of the next frames will be, a few at a time.

        Args:
            network: the pipeline's forecaster, a ``Vid2VidGenerator`` on its own device.
            condition: of the last frames that were observed, at least one.
            frames: how many to forecast.
            random: draws one of the possible futures; None gives the likeliest.

        Raises:
            TaskError: the task cannot look ahead, or not with this network.
        """
        raise TaskError(f"task '{self.name}' cannot forecast; give the condition of every frame")

    _parts: Mapping[str, nn.Module] = MappingProxyType({})

    def parts(self) -> dict[str, nn.Module]:
        """Networks of the task's own that are saved with the pipeline, by their names there: "forecaster" is one."""
        return dict(self._parts)

    def adopt(self, parts: Mapping[str, nn.Module]) -> None:
        """Take the networks that :meth:`parts` names from now on: trained ones, or those that a pipeline came with."""
        self._parts = dict(parts)


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

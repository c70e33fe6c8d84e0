"""seg2street as a task: label maps (and instances) in, one-hot classes, edges and a foreground mask out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor

from vid2vid_hub.errors import ConditionError, TaskError
from vid2vid_hub.ops.raster import instance_edges, one_hot
from vid2vid_hub.tasks import Labels, Task
from vid2vid_hub.types import Condition, Encoded, Observed
from vid2vid_street.instances import COMPONENTS, ModelFinder, PanopticModel, components
from vid2vid_street.label_file import SUFFIXES, label_set_dict, parse_label_set, read_label_set
from vid2vid_street.labels import LABEL_SETS, LabelSet
from vid2vid_street.segment import Segmenter, load_segmenter
from vid2vid_street.track import Tracker

REQUIRED = "required"
"""The setting ``needs`` that leaves it to the label set what a frame must show."""
LEAST = 0.005
"""The share of a frame that what it must show covers at least."""


class SegToStreet(Task):
    """Label maps of a street, uint8 (T, 1, H, W), into street video.

    Args:
        label_set: how classes are numbered: "cityscapes" (35 ids), "cityscapes-cars" (the same, with cars alone as
            foreground: what the released networks were trained with), "cityscapes-train" (19 trainIds, and void as 19),
            "apolloscape" (28 classes), the path of a label file, or what such a file holds, as a dict.
        edges: append a channel that is 1 where objects meet (pix2pixHD, section 3.3).
        foreground: give the network the mask of what moves on its own (eq. 9).
        segmenter: what :meth:`extract` runs: Hub id or folder of a transformers model, or the path of an ``.onnx``.
        instances: where objects come from: Hub id or folder of an instance or panoptic model of transformers, which
            gives the labels too if it is the segmenter; or "components" for the connected pieces of foreground
            classes; or None for no objects, whose edges are then those of the labels.
        needs: a class without which a frame is useless; "required" for what the label set says, which is the road in
            those built in; or None.

    Raises:
        TaskError: the label set is unknown or damaged, or has no class of the name ``needs``.
    """

    name: ClassVar[str] = "seg2street"
    about: ClassVar[str | None] = "Label maps of a street become its video: exchange a class, and the street changes."
    recipe: ClassVar[Path | None] = Path(__file__).with_name("recipe.yaml")
    extraction: ClassVar[frozenset[str]] = frozenset({"segmenter", "instances", "needs"})
    released: ClassVar[Mapping[int, Mapping[str, Any]]] = {
        36: {"label_set": "cityscapes-cars"},
        35: {"label_set": "cityscapes-cars", "edges": False},
    }

    def __init__(
        self,
        *,
        label_set: str | Path | Mapping[str, Any] = "cityscapes",
        edges: bool = True,
        foreground: bool = True,
        segmenter: str = "nvidia/segformer-b0-finetuned-cityscapes-1024-1024",
        instances: str | None = None,
        needs: str | None = REQUIRED,
    ) -> None:
        self._set = self._found(label_set)
        # A file may be gone or changed when the settings are read again, so they hold what it said.
        self.label_set: str | dict[str, Any] = (
            label_set if isinstance(label_set, str) and label_set in LABEL_SETS else label_set_dict(self._set)
        )
        self.edges = edges
        self.foreground = foreground
        self.segmenter = segmenter
        self.instances = instances
        self.needs = needs
        self._needed = self._ids_needed()
        self._loaded: Segmenter | None = None
        self._finder: ModelFinder | None = None
        self._panoptic: PanopticModel | None = None

    @property
    def channels(self) -> int:
        """S: one per class, and one for the edges."""
        return len(self._set) + int(self.edges)

    @property
    def labels(self) -> Labels:
        """The classes of the label set; a person may exchange any of them."""
        return Labels(
            names=dict(enumerate(self._set.names)),
            palette=dict(enumerate(self._set.palette)),
            foreground=self._set.foreground,
            editable=frozenset(range(len(self._set))),
        )

    def config(self) -> dict[str, Any]:
        """The settings; of those that came after the first version, only what differs from what it did.

        Thus what has been prepared and saved before says the same as what is prepared and saved now.
        """
        later = {"instances": (self.instances, None), "needs": (self.needs, REQUIRED)}
        return {
            "label_set": self.label_set,
            "edges": self.edges,
            "foreground": self.foreground,
            "segmenter": self.segmenter,
        } | {key: value for key, (value, default) in later.items() if value != default}

    def encode(self, condition: Condition) -> Encoded:
        """One-hot classes, then the edges: float (T, S, H, W); the foreground is the sum of its classes, (T, 1, H, W).

        Edges are those of the instances, or of the label map where a condition carries none.

        Raises:
            ConditionError: not one map per frame, or a value that is no id of the label set.
        """
        self._check(condition.maps)
        classes = one_hot(condition.maps, len(self._set))
        foreground = classes[:, sorted(self._set.foreground)].sum(1, keepdim=True) if self.foreground else None
        if not self.edges:
            return Encoded(classes, foreground)
        objects = condition.maps if condition.instances is None else condition.instances
        return Encoded(torch.cat([classes, instance_edges(objects)], 1), foreground)

    def extract(self, frames: Tensor) -> Condition:
        """Segment real frames, uint8 (T, 3, H, W) RGB, at their own size. The model is loaded once per task instance.

        Objects, where they are wanted, keep their ids within these frames.

        Raises:
            TaskError: the frames are of another kind, or a model cannot be loaded or does not know these classes.
            MissingExtraError: the library that runs a model is not installed.
        """
        return self._condition(frames, Tracker())

    def observe(self, blocks: Iterable[Tensor]) -> Iterator[Observed]:
        """Segment one unbroken shot a few frames at a time; ids follow the objects through all of it.

        Raises:
            TaskError, MissingExtraError: as in :meth:`extract`.
        """
        tracker = Tracker()
        for frames in blocks:
            yield Observed(frames, self._condition(frames, tracker))

    def missing(self, condition: Condition) -> list[str | None]:
        """What a frame needs and shows on less than half a percent of its pixels: "no road"."""
        absent = {label: (condition.maps == label).flatten(1).float().mean(1) < LEAST for label in self._needed}
        return [
            " and ".join(f"no {self._set.names[label]}" for label in self._needed if absent[label][t]) or None
            for t in range(len(condition))
        ]

    def parse(self, pictures: Tensor) -> Condition:
        """Read label pictures: uint8 (T, 1, H, W) holding ids, or (T, 3, H, W) in exactly the palette's colours.

        Ids that share a colour in the palette come back as the lowest of them.

        Raises:
            ConditionError: another number of channels, an id out of range, or a colour that is not in the palette.
        """
        if (
            pictures.ndim != 4
            or pictures.dtype != torch.uint8
            or pictures.shape[1] not in (1, 3)
            or not pictures.numel()
        ):
            raise ConditionError(
                "label pictures are uint8 (T, 1, H, W) ids or (T, 3, H, W) colours, at least one, "
                f"not {pictures.dtype} {tuple(pictures.shape)}"
            )
        if pictures.shape[1] == 3:
            return Condition(torch.stack([self._parse_colours(t, picture) for t, picture in enumerate(pictures)]))
        maps = pictures.clone()
        for value, label in self._set.stored.items():
            maps[pictures == value] = label
        self._check(maps)
        return Condition(maps)

    def preview(self, condition: Condition) -> Tensor:
        """The label map in its palette: uint8 (T, 3, H, W) RGB.

        Raises:
            ConditionError: as in :meth:`encode`.
        """
        self._check(condition.maps)
        palette = torch.tensor(self._set.palette, dtype=torch.uint8, device=condition.maps.device)
        return _look_up(palette, condition.maps[:, 0]).permute(0, 3, 1, 2).contiguous()

    def _found(self, label_set: str | Path | Mapping[str, Any]) -> LabelSet:
        if isinstance(label_set, Mapping):
            return parse_label_set(label_set, "the label set given as a dict")
        if label_set in LABEL_SETS:
            return LABEL_SETS[str(label_set)]
        if str(label_set).lower().endswith(SUFFIXES):
            return read_label_set(label_set)
        raise TaskError(
            f"{self.name} knows no label set '{label_set}'; it knows {', '.join(LABEL_SETS)}, and label files "
            f"({', '.join(SUFFIXES)})"
        )

    def _ids_needed(self) -> list[int]:
        if self.needs == REQUIRED:
            return sorted(self._set.required)
        if self.needs is not None and self.needs not in self._set.names:
            raise TaskError(
                f"{self.name} shall need '{self.needs}', and label set '{self._set.name}' has no such class; it has "
                f"{', '.join(self._set.names)}"
            )
        return [] if self.needs is None else [self._set.names.index(self.needs)]

    def _condition(self, frames: Tensor, tracker: Tracker) -> Condition:
        """The labels of the next frames of a shot, and its objects under the ids that the tracker gives them."""
        if frames.ndim != 4 or frames.shape[1] != 3 or frames.dtype != torch.uint8 or not frames.numel():
            raise TaskError(
                f"frames to be segmented are uint8 (T, 3, H, W), at least one, not {frames.dtype} {tuple(frames.shape)}"
            )
        labels, objects = self._look(frames)
        if objects is None:
            return Condition(labels.unsqueeze(1))
        shot = zip(*(tensor.cpu().numpy() for tensor in (frames, labels, objects)), strict=True)
        ids = torch.stack([torch.from_numpy(tracker.follow(*seen)) for seen in shot])
        return Condition(labels.unsqueeze(1), ids.unsqueeze(1).to(frames.device))

    def _look(self, frames: Tensor) -> tuple[Tensor, Tensor | None]:
        """Labels uint8 (T, H, W), and where they are wanted objects int32 (T, H, W), numbered frame by frame."""
        if self.instances == self.segmenter:
            if self._panoptic is None:
                self._panoptic = PanopticModel(self.segmenter, self._set)
            return self._panoptic(frames)
        labels = self._segmented(frames)
        if self.instances is None:
            return labels, None
        if self.instances == COMPONENTS:
            return labels, components(labels, self._set.foreground)
        if self._finder is None:
            self._finder = ModelFinder(self.instances, self._set)
        return labels, self._finder(frames, labels)

    def _segmented(self, frames: Tensor) -> Tensor:
        if self._loaded is None:
            by_train_id = self._set.by_train_id
            self._loaded = load_segmenter(self.segmenter, *(() if by_train_id else (self._set.words(),)))
        found = self._loaded(frames)
        if not self._set.by_train_id:
            return found
        return _look_up(torch.tensor(self._set.from_train_ids(), dtype=torch.uint8, device=frames.device), found)

    def _check(self, maps: Tensor) -> None:
        if maps.shape[1] != 1:
            raise ConditionError(f"{self.name} takes one label map per frame, not {maps.shape[1]}")
        wrong = maps >= len(self._set)
        if wrong.any():
            frame, _, y, x = wrong.nonzero()[0].tolist()
            raise ConditionError(
                f"the label is {int(maps[frame, 0, y, x])} at x {x}, y {y}; "
                f"label set '{self._set.name}' has 0 to {len(self._set) - 1}{self._also_stored()}",
                frame,
            )

    def _also_stored(self) -> str:
        stored = [f"{value} for {self._set.names[label]}" for value, label in self._set.stored.items()]
        more = ", …" if len(stored) > 3 else ""
        return (
            "".join(f", and in pictures {each}" for each in stored[:1]) + "".join(f", {e}" for e in stored[1:3]) + more
        )

    def _parse_colours(self, frame: int, picture: Tensor) -> Tensor:
        owners = {_code(colour): label for label, colour in reversed(list(enumerate(self._set.palette)))}
        columns = zip(*sorted(owners.items()), strict=True)
        codes, ids = (torch.tensor(column, dtype=torch.int32, device=picture.device) for column in columns)
        red, green, blue = picture.int()
        found = (red << 16) | (green << 8) | blue
        nearest = torch.searchsorted(codes, found).clamp(max=len(codes) - 1)
        wrong = codes[nearest] != found
        if wrong.any():
            y, x = wrong.nonzero()[0].tolist()
            raise ConditionError(
                f"the colour is {tuple(picture[:, y, x].tolist())} at x {x}, y {y}, not in the palette of "
                f"label set '{self._set.name}'; give exact palette colours (lossless), or ids in one channel",
                frame,
            )
        return ids[nearest].to(torch.uint8).unsqueeze(0)


def _code(colour: tuple[int, int, int]) -> int:
    red, green, blue = colour
    return (red << 16) | (green << 8) | blue


def _look_up(table: Tensor, labels: Tensor) -> Tensor:
    """Rows of ``table`` for uint8 labels of any shape: (*labels.shape, *table.shape[1:])."""
    return table.index_select(0, labels.flatten().int()).reshape(*labels.shape, *table.shape[1:])

"""seg2street as a task: label maps (and instances) in, one-hot classes, edges and a foreground mask out."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor

from vid2vid_hub.errors import ConditionError, TaskError
from vid2vid_hub.ops.raster import instance_edges, one_hot
from vid2vid_hub.tasks import Labels, Task
from vid2vid_hub.types import Condition, Encoded
from vid2vid_street.labels import LABEL_SETS
from vid2vid_street.segment import Segmenter, load_segmenter


class SegToStreet(Task):
    """Label maps of a street, uint8 (T, 1, H, W), into street video.

    Args:
        label_set: how classes are numbered: "cityscapes" (35 ids) or "cityscapes-train" (19 trainIds, and void as 19).
        edges: append a channel that is 1 where objects meet (pix2pixHD, section 3.3).
        foreground: give the network the mask of what moves on its own (eq. 9).
        segmenter: what :meth:`extract` runs: Hub id or folder of a transformers model, or the path of an ``.onnx``.

    Raises:
        TaskError: the label set is unknown.
    """

    name: ClassVar[str] = "seg2street"
    recipe: ClassVar[Path | None] = Path(__file__).with_name("recipe.yaml")
    extraction: ClassVar[frozenset[str]] = frozenset({"segmenter"})

    def __init__(
        self,
        *,
        label_set: str = "cityscapes",
        edges: bool = True,
        foreground: bool = True,
        segmenter: str = "nvidia/segformer-b0-finetuned-cityscapes-1024-1024",
    ) -> None:
        if label_set not in LABEL_SETS:
            raise TaskError(f"seg2street knows no label set '{label_set}'; it knows {', '.join(LABEL_SETS)}")
        self.label_set = label_set
        self.edges = edges
        self.foreground = foreground
        self.segmenter = segmenter
        self._set = LABEL_SETS[label_set]
        self._loaded: Segmenter | None = None

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
        """The four settings."""
        return {
            "label_set": self.label_set,
            "edges": self.edges,
            "foreground": self.foreground,
            "segmenter": self.segmenter,
        }

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

        Raises:
            TaskError: the frames are of another kind, or the segmenter cannot be loaded or does not know these classes.
            MissingExtraError: the library that runs the segmenter is not installed.
        """
        if frames.ndim != 4 or frames.shape[1] != 3 or frames.dtype != torch.uint8 or not frames.numel():
            raise TaskError(
                f"frames to be segmented are uint8 (T, 3, H, W), at least one, not {frames.dtype} {tuple(frames.shape)}"
            )
        if self._loaded is None:
            self._loaded = load_segmenter(self.segmenter)
        table = torch.tensor(self._set.from_train_ids(), dtype=torch.uint8, device=frames.device)
        return Condition(_look_up(table, self._loaded(frames)).unsqueeze(1))

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

    def _check(self, maps: Tensor) -> None:
        if maps.shape[1] != 1:
            raise ConditionError(f"seg2street takes one label map per frame, not {maps.shape[1]}")
        wrong = maps >= len(self._set)
        if wrong.any():
            frame, _, y, x = wrong.nonzero()[0].tolist()
            raise ConditionError(
                f"the label is {int(maps[frame, 0, y, x])} at x {x}, y {y}; "
                f"label set '{self.label_set}' has 0 to {len(self._set) - 1}{self._also_stored()}",
                frame,
            )

    def _also_stored(self) -> str:
        return "".join(f", and in pictures {value} for {self._set.names[i]}" for value, i in self._set.stored.items())

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
                f"label set '{self.label_set}'; give exact palette colours (lossless), or ids in one channel",
                frame,
            )
        return ids[nearest].to(torch.uint8).unsqueeze(0)


def _code(colour: tuple[int, int, int]) -> int:
    red, green, blue = colour
    return (red << 16) | (green << 8) | blue


def _look_up(table: Tensor, labels: Tensor) -> Tensor:
    """Rows of ``table`` for uint8 labels of any shape: (*labels.shape, *table.shape[1:])."""
    return table.index_select(0, labels.flatten().int()).reshape(*labels.shape, *table.shape[1:])

"""The objects in single street frames: by a universal model, or as the connected pieces of the label map."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

import numpy as np
import torch
from torch import Tensor

from vid2vid_hub.errors import TaskError
from vid2vid_street.labels import LabelSet, plain
from vid2vid_street.models import is_universal
from vid2vid_street.segment import meanings
from vid2vid_street.universal import Segments, UniversalModel

COMPONENTS = "components"
"""The setting that takes the connected pieces of the label map for objects."""
SPECK = 1e-4
"""Pieces of the label map under this share of the frame are noise and no objects."""


def components(labels: Tensor, foreground: Iterable[int]) -> Tensor:
    """The connected pieces of what moves on its own: neighbours that touch are one, and who is cut in two is two.

    Args:
        labels: uint8 (T, H, W).
        foreground: ids.

    Returns:
        int32 (T, H, W) on the labels' device: 0 where there is no object, else its number in its frame, from 1.
    """
    import cv2

    found = np.zeros(tuple(labels.shape), np.int32)
    for frame, into in zip(labels.cpu().numpy(), found, strict=True):
        count = 0
        for label in sorted(foreground):
            _, pieces, stats, _ = cv2.connectedComponentsWithStats((frame == label).astype(np.uint8), connectivity=8)
            for piece in np.flatnonzero(stats[:, cv2.CC_STAT_AREA] >= SPECK * frame.size):
                if piece:
                    count += 1
                    into[pieces == piece] = count
    return torch.from_numpy(found).to(labels.device)


def settled(labels: Tensor, objects: Tensor, foreground: Collection[int]) -> Tensor:
    """Objects that agree with the label map, which has the last word on what a pixel is.

    An object is of the class that most of its pixels have, and keeps those; one that is mostly background is none.

    Args:
        labels: uint8 (H, W).
        objects: int32 (H, W), 0 where there is none.
        foreground: ids of the classes that have objects.

    Returns:
        int32 (H, W), as ``objects``.
    """
    count = int(objects.max()) + 1
    pairs = torch.bincount((objects.long() * 256 + labels.long()).flatten(), minlength=count * 256)
    main = pairs.view(count, 256).argmax(1)
    moving = torch.zeros(256, dtype=torch.bool, device=labels.device)
    moving[sorted(foreground)] = True
    kept = moving[main]
    kept[0] = False
    index = objects.long()
    return torch.where(kept[index] & (main[index] == labels), objects, 0)


class ModelFinder:
    """The objects that an instance or panoptic model finds, whose foreground classes are known by name.

    Classes that the label set does not know are passed over: a model may have been trained to find more than streets
    have. A model that knows a class of the background is asked for panoptic segments, others for instances.

    Args:
        name: Hub id or folder.
        labels: the label set.

    Raises:
        TaskError: the model cannot be loaded, or knows nothing that moves in this label set.
        MissingExtraError: transformers or SciPy is not installed.
    """

    def __init__(self, name: str, labels: LabelSet) -> None:
        self._foreground = labels.foreground
        self._model = _universal(name)
        known = _known(self._model.classes, labels)
        self._things = frozenset(index for index, label in known.items() if label in labels.foreground)
        self._stuff = frozenset(known) - self._things
        if not self._things:
            raise TaskError(
                f"the instance model '{name}' knows none of {_listed(labels)}, which move in label set "
                f"'{labels.name}'; name a model that does, or rename its classes in id2label of its config.json"
            )

    def __call__(self, frames: Tensor, labels: Tensor) -> Tensor:
        """Find the objects in frames uint8 (T, 3, H, W) with labels uint8 (T, H, W): int32 (T, H, W), see `settled`."""
        pairs = zip(frames, labels, strict=True)
        return torch.stack([settled(seen, self._objects(frame), self._foreground) for frame, seen in pairs])

    def _objects(self, frame: Tensor) -> Tensor:
        if self._stuff:
            _, segments = self._model.panoptic(frame, self._stuff)
        else:
            segments = self._model.instances(frame)
        return _only(segments, self._things)


class PanopticModel:
    """Labels and objects from one panoptic model, each frame looked at once.

    Args:
        name: Hub id or folder.
        labels: the label set.

    Raises:
        TaskError: the model cannot be loaded, has a class that the set does not know, or finds objects only.
        MissingExtraError: transformers or SciPy is not installed.
    """

    def __init__(self, name: str, labels: LabelSet) -> None:
        self._foreground = labels.foreground
        self._model = _universal(name)
        self._values = meanings(name, self._model.classes, labels.words())
        moving = [value in labels.foreground for value in self._values.tolist()]
        self._things = frozenset(index for index, moves in enumerate(moving) if moves)
        self._stuff = frozenset(range(len(moving))) - self._things
        if not self._stuff or not self._things:
            what = "no background" if not self._stuff else "nothing that moves"
            raise TaskError(
                f"the model '{name}' knows {what}, so it cannot give labels and objects at once; name a panoptic "
                "model, or one model as segmenter and another for instances"
            )

    def __call__(self, frames: Tensor) -> tuple[Tensor, Tensor]:
        """Labels uint8 and objects int32, both (T, H, W), in frames uint8 (T, 3, H, W)."""
        labels, objects = zip(*(self._look(frame) for frame in frames), strict=True)
        return torch.stack(labels), torch.stack(objects)

    def _look(self, frame: Tensor) -> tuple[Tensor, Tensor]:
        likeliest, segments = self._model.panoptic(frame, self._stuff)
        # Where the model is sure of a segment it says the class; the likeliest class fills what is left.
        classes = torch.tensor([0, *segments.classes], device=frame.device)[segments.numbers.long()]
        labels = self._values.to(frame.device)[torch.where(segments.numbers > 0, classes, likeliest)]
        return labels, settled(labels, _only(segments, self._things), self._foreground)


def _universal(name: str) -> UniversalModel:
    if name.lower().endswith(".onnx") or not is_universal(name):
        raise TaskError(
            f"'{name}' finds no objects; for instances name an instance or panoptic model of transformers (such as "
            f"Mask2Former), or '{COMPONENTS}', or leave them out"
        )
    return UniversalModel(name)


def _known(classes: Mapping[int, str], labels: LabelSet) -> dict[int, int]:
    """A model's class -> the id of the label set, where there is one that is something."""
    words = labels.words()
    found = {index: words[plain(name)] for index, name in classes.items() if plain(name) in words}
    return {index: label for index, label in found.items() if label != labels.void}


def _only(segments: Segments, classes: Collection[int]) -> Tensor:
    """The segments of some classes; the others become 0."""
    wanted = [False, *(label in classes for label in segments.classes)]
    return segments.numbers * torch.tensor(wanted, device=segments.numbers.device)[segments.numbers.long()]


def _listed(labels: LabelSet) -> str:
    return ", ".join(labels.names[label] for label in sorted(labels.foreground)) or "its classes, none of"

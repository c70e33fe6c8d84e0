"""Models that find segments (Mask2Former, MaskFormer, OneFormer, EoMT), read as transformers reads their outputs."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from inspect import signature
from typing import Any

import torch
from torch import Tensor

from vid2vid_street.models import library, load


@dataclass(frozen=True)
class Segments:
    """The segments of one frame.

    Attributes:
        numbers: int32 (H, W), 0 where there is no segment, else 1 to N.
        classes: the model's class of segments 1 to N.
    """

    numbers: Tensor
    classes: tuple[int, ...]


class UniversalModel:
    """A universal segmentation model of transformers, with the processor saved beside it.

    Args:
        name: Hub id or folder.

    Raises:
        TaskError: no such model here or on the Hub, or weights that do not fill it.
        MissingExtraError: transformers is not installed, or SciPy, which these models ask for.
    """

    def __init__(self, name: str) -> None:
        self._model, self._processor = load(name, universal=True)
        self.classes: Mapping[int, str] = self._model.config.id2label

    @torch.inference_mode()
    def semantic(self, frames: Tensor) -> Tensor:
        """The likeliest class of every pixel: int64 (T, H, W) on the frames' device."""
        return torch.stack([self._semantic(self._run(frame, "semantic"), frame) for frame in frames])

    @torch.inference_mode()
    def instances(self, frame: Tensor) -> Segments:
        """The objects in one frame uint8 (3, H, W), where the model knows nothing but objects."""
        return self._segments("instance", self._run(frame, "instance"), frame, ())

    @torch.inference_mode()
    def panoptic(self, frame: Tensor, stuff: Collection[int]) -> tuple[Tensor, Segments]:
        """The likeliest classes (H, W), and the segments, of one frame uint8 (3, H, W).

        Args:
            frame: RGB.
            stuff: classes of the model that have no objects; their segments are made one.
        """
        outputs = self._run(frame, "panoptic")
        return self._semantic(outputs, frame), self._segments("panoptic", outputs, frame, stuff)

    def _run(self, frame: Tensor, purpose: str) -> Any:
        told = {"task_inputs": [purpose]} if self._model.config.model_type == "oneformer" else {}
        # OneFormer's processor takes no format, so the channels stand where all processors look for them.
        picture = frame.permute(1, 2, 0).cpu().numpy()
        inputs = self._processor(images=[picture], return_tensors="pt", **told)
        return self._model.to(frame.device)(**inputs.to(frame.device))

    def _semantic(self, outputs: Any, frame: Tensor) -> Tensor:
        (classes,) = self._reader("semantic")(outputs, target_sizes=[tuple(frame.shape[1:])])
        found: Tensor = classes.to(frame.device)
        return found

    def _segments(self, kind: str, outputs: Any, frame: Tensor, stuff: Collection[int]) -> Segments:
        reader = self._reader(kind)
        named = next(
            (key for key in ("label_ids_to_fuse", "stuff_classes") if key in signature(reader).parameters), None
        )
        fused: dict[str, Any] = {named: set(stuff)} if named else {}
        (found,) = reader(outputs, target_sizes=[tuple(frame.shape[1:])], **fused)
        ids = found["segmentation"].to(frame.device)
        numbers = torch.zeros(ids.shape, dtype=torch.int32, device=frame.device)
        for number, segment in enumerate(found["segments_info"], 1):
            numbers[ids == segment["id"]] = number
        return Segments(numbers, tuple(segment["label_id"] for segment in found["segments_info"]))

    def _reader(self, kind: str) -> Callable[..., Any]:
        owner = self._processor
        if self._model.config.model_type == "oneformer":
            # Its outputs are Mask2Former's, and its own reading of them asks for torchvision whatever its processor is.
            owner = library("transformers", "street").Mask2FormerImageProcessor()
        reader: Callable[..., Any] = getattr(owner, f"post_process_{kind}_segmentation")
        return reader

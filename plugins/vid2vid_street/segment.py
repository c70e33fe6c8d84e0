"""Segmentation of real street frames into classes, by a model of transformers or an ONNX file."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from vid2vid_hub.errors import TaskError
from vid2vid_street.cityscapes import TRAIN_IDS, TRAINED
from vid2vid_street.labels import plain
from vid2vid_street.models import first_line, is_universal, library, load
from vid2vid_street.universal import UniversalModel

Segmenter = Callable[[Tensor], Tensor]
"""Frames uint8 (T, 3, H, W) RGB -> classes uint8 (T, H, W) on the frames' device."""

_MEAN, _DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def load_segmenter(name: str, words: Mapping[str, int] = TRAIN_IDS) -> Segmenter:
    """Load the segmenter called ``name``: a path ending in ``.onnx``, else a transformers folder or Hub id.

    Args:
        name: path or id.
        words: what is written for a class that the segmenter calls so; by default Cityscapes' names -> trainIds, 255
            where there is none.

    Raises:
        TaskError: it cannot be loaded, or it has a class that is none of the words.
        MissingExtraError: the library that runs it is not installed.
    """
    if name.lower().endswith(".onnx"):
        return OnnxSegmenter(name, words)
    if not is_universal(name):
        return TransformersSegmenter(name, words)
    model = UniversalModel(name)
    values = meanings(name, model.classes, words)
    return lambda frames: values.to(frames.device)[model.semantic(frames)]


class TransformersSegmenter:
    """A model of transformers that gives every pixel a class (SegFormer, DeepLabV3, …), and its image processor.

    Args:
        name: Hub id or folder.
        words: as in :func:`load_segmenter`.

    Raises:
        TaskError: no such model here or on the Hub, weights that do not fill it, or a class that is none of the words.
        MissingExtraError: transformers is not installed.
    """

    def __init__(self, name: str, words: Mapping[str, int]) -> None:
        self._model, self._processor = load(name, universal=False)
        self._values = meanings(name, self._model.config.id2label, words)

    @torch.inference_mode()
    def __call__(self, frames: Tensor) -> Tensor:
        """Segment frame by frame, on the frames' device."""
        self._model.to(frames.device)
        table = self._values.to(frames.device)
        return torch.stack([table[self._classes(frame)] for frame in frames])

    def _classes(self, frame: Tensor) -> Tensor:
        pixels = self._processor(images=frame.cpu().numpy(), input_data_format="channels_first", return_tensors="pt")
        return _argmax(self._model(pixels["pixel_values"].to(frame.device)).logits, frame)


class OnnxSegmenter:
    """An ONNX network of one fixed input size: RGB / 255 with ImageNet mean and deviation in, 19 trainId logits out.

    Args:
        path: the file.
        words: as in :func:`load_segmenter`.

    Raises:
        TaskError: no such file, no ONNX model, other inputs and outputs than float (1, 3, H, W) and (1, 19, h, w), or a
            trained class that is none of the words.
        MissingExtraError: onnxruntime is not installed.
    """

    def __init__(self, path: str, words: Mapping[str, int]) -> None:
        if not Path(path).is_file():
            raise TaskError(f"the segmenter '{path}' does not exist; give the path of an .onnx file or a Hub id")
        onnxruntime = library("onnxruntime", "onnx")
        try:
            self._session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        except Exception as error:
            raise TaskError(
                f"the segmenter '{path}' cannot be loaded as an ONNX model ({first_line(error)}); export it again"
            ) from error
        inputs, outputs = self._session.get_inputs(), self._session.get_outputs()
        if [_fits(each, 3) for each in inputs] != [True] or _open(inputs[0]):
            raise TaskError(
                f"the segmenter '{path}' must take one float input (1, 3, H, W) of fixed size, not {_shapes(inputs)}"
            )
        if [_fits(each, len(TRAINED)) for each in outputs] != [True]:
            raise TaskError(
                f"the segmenter '{path}' must return one float output (1, {len(TRAINED)}, h, w), the logits of "
                f"Cityscapes' trainIds, not {_shapes(outputs)}"
            )
        self._values = meanings(path, dict(enumerate(TRAINED)), words)
        self._input: str = inputs[0].name
        self._size: tuple[int, int] = tuple(inputs[0].shape[2:])

    def __call__(self, frames: Tensor) -> Tensor:
        """Segment frame by frame, on the CPU."""
        return torch.stack([self._values[self._classes(frame)] for frame in frames.cpu()]).to(frames.device)

    def _classes(self, frame: Tensor) -> Tensor:
        mean, deviation = (torch.tensor(values).view(1, 3, 1, 1) for values in (_MEAN, _DEVIATION))
        pixels = (frame.unsqueeze(0) / 255 - mean) / deviation
        resized = F.interpolate(pixels, self._size, mode="bilinear", align_corners=False, antialias=True)
        (logits,) = self._session.run(None, {self._input: resized.numpy()})
        return _argmax(torch.from_numpy(logits), frame)


def _argmax(logits: Tensor, frame: Tensor) -> Tensor:
    """(1, classes, h, w) -> the likeliest class at the frame's own size, int64 (H, W)."""
    return F.interpolate(logits, frame.shape[-2:], mode="bilinear", align_corners=False)[0].argmax(0)


def meanings(name: str, classes: Mapping[int, str], words: Mapping[str, int]) -> Tensor:
    """What is written for each of a model's classes, uint8 (classes,), found by name.

    Nameless classes count as Cityscapes' trained ones when they are 19.

    Raises:
        TaskError: a class is none of the words.
    """
    if len(classes) == len(TRAINED) and all(label == f"LABEL_{index}" for index, label in classes.items()):
        classes = dict(enumerate(TRAINED))
    stranger = next((label for _, label in sorted(classes.items()) if plain(label) not in words), None)
    if stranger is not None:
        whose, advice = (
            ("Cityscapes'", "name a model trained on Cityscapes")
            if words is TRAIN_IDS
            else (
                "the label set's",
                "name a model of its classes, give the set a void class that takes in what is left",
            )
        )
        raise TaskError(
            f"the segmenter '{name}' has {len(classes)} classes, and '{stranger}' is none of {whose}; "
            f"{advice}, or rename the model's classes in id2label of its config.json"
        )
    return torch.tensor([words[plain(classes[index])] for index in sorted(classes)], dtype=torch.uint8)


def _fits(each: Any, channels: int) -> bool:
    """Whether an input or output is float (1 or any, channels, _, _); open sizes are strings or None here."""
    shape = each.shape
    if each.type != "tensor(float)" or len(shape) != 4:
        return False
    return shape[1] == channels and (shape[0] == 1 or not isinstance(shape[0], int))


def _open(each: Any) -> bool:
    return not all(isinstance(side, int) for side in each.shape[2:])


def _shapes(sides: list[Any]) -> str:
    return " and ".join(f"{each.type} {tuple(each.shape)}" for each in sides) or "nothing"

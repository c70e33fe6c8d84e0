"""Segmentation of real street frames into Cityscapes trainIds, by a model of transformers or an ONNX file."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from vid2vid_hub.errors import MissingExtraError, TaskError
from vid2vid_street.labels import LABEL_SETS, VOID_TRAIN_ID

Segmenter = Callable[[Tensor], Tensor]
"""Frames uint8 (T, 3, H, W) RGB -> trainIds uint8 (T, H, W) on the frames' device, 255 where none applies."""

TRAINED = 19
_MEAN, _DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def load_segmenter(name: str) -> Segmenter:
    """Load the segmenter called ``name``: a path ending in ``.onnx``, else a transformers folder or Hub id.

    Raises:
        TaskError: it cannot be loaded, or it segments something else than Cityscapes classes.
        MissingExtraError: the library that runs it is not installed.
    """
    return OnnxSegmenter(name) if name.lower().endswith(".onnx") else TransformersSegmenter(name)


class TransformersSegmenter:
    """A semantic-segmentation model of transformers, with the image processor saved beside it; safetensors only.

    Args:
        name: Hub id or folder.

    Raises:
        TaskError: no such model here or on the Hub, weights that do not fill it, or classes that are not Cityscapes'.
        MissingExtraError: transformers is not installed.
    """

    def __init__(self, name: str) -> None:
        transformers = _library("transformers", "street")
        try:
            self._model, report = transformers.AutoModelForSemanticSegmentation.from_pretrained(
                name, use_safetensors=True, trust_remote_code=False, output_loading_info=True
            )
            self._processor = transformers.AutoImageProcessor.from_pretrained(name, trust_remote_code=False)
        except Exception as error:
            raise TaskError(
                f"the segmenter '{name}' cannot be loaded ({_first_line(error)}); download it beforehand, where there "
                "is a network (hf download ID), or give the path of an .onnx segmenter"
            ) from error
        absent = sorted({*report["missing_keys"], *(key for key, *_ in report["mismatched_keys"])})
        if absent:
            raise TaskError(
                f"the segmenter '{name}' lacks {len(absent)} of its weights or has them in another size, such as "
                f"{absent[0]}; name a model that was trained for semantic segmentation"
            )
        self._model.eval()
        self._train_ids = torch.tensor(_train_ids(name, self._model.config.id2label), dtype=torch.uint8)

    @torch.inference_mode()
    def __call__(self, frames: Tensor) -> Tensor:
        """Segment frame by frame, on the frames' device."""
        self._model.to(frames.device)
        table = self._train_ids.to(frames.device)
        return torch.stack([table[self._classes(frame).int()] for frame in frames])

    def _classes(self, frame: Tensor) -> Tensor:
        pixels = self._processor(images=frame.cpu().numpy(), input_data_format="channels_first", return_tensors="pt")
        return _argmax(self._model(pixels["pixel_values"].to(frame.device)).logits, frame)


class OnnxSegmenter:
    """An ONNX network of one fixed input size: RGB / 255 with ImageNet mean and deviation in, 19 trainId logits out.

    Args:
        path: the file.

    Raises:
        TaskError: no such file, no ONNX model, or other inputs and outputs than float (1, 3, H, W) and (1, 19, h, w).
        MissingExtraError: onnxruntime is not installed.
    """

    def __init__(self, path: str) -> None:
        if not Path(path).is_file():
            raise TaskError(f"the segmenter '{path}' does not exist; give the path of an .onnx file or a Hub id")
        onnxruntime = _library("onnxruntime", "onnx")
        try:
            self._session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        except Exception as error:
            raise TaskError(
                f"the segmenter '{path}' cannot be loaded as an ONNX model ({_first_line(error)}); export it again"
            ) from error
        inputs, outputs = self._session.get_inputs(), self._session.get_outputs()
        if [_fits(each, 3) for each in inputs] != [True] or _open(inputs[0]):
            raise TaskError(
                f"the segmenter '{path}' must take one float input (1, 3, H, W) of fixed size, not {_shapes(inputs)}"
            )
        if [_fits(each, TRAINED) for each in outputs] != [True]:
            raise TaskError(
                f"the segmenter '{path}' must return one float output (1, {TRAINED}, h, w), the logits of Cityscapes' "
                f"trainIds, not {_shapes(outputs)}"
            )
        self._input: str = inputs[0].name
        self._size: tuple[int, int] = tuple(inputs[0].shape[2:])

    def __call__(self, frames: Tensor) -> Tensor:
        """Segment frame by frame, on the CPU."""
        return torch.stack([self._classes(frame) for frame in frames.cpu()]).to(frames.device, torch.uint8)

    def _classes(self, frame: Tensor) -> Tensor:
        mean, deviation = (torch.tensor(values).view(1, 3, 1, 1) for values in (_MEAN, _DEVIATION))
        pixels = (frame.unsqueeze(0) / 255 - mean) / deviation
        resized = F.interpolate(pixels, self._size, mode="bilinear", align_corners=False, antialias=True)
        (logits,) = self._session.run(None, {self._input: resized.numpy()})
        return _argmax(torch.from_numpy(logits), frame)


def _argmax(logits: Tensor, frame: Tensor) -> Tensor:
    """(1, classes, h, w) -> the likeliest class at the frame's own size, int64 (H, W)."""
    return F.interpolate(logits, frame.shape[-2:], mode="bilinear", align_corners=False)[0].argmax(0)


def _train_ids(name: str, classes: Mapping[int, str]) -> list[int]:
    """The trainId of each of a model's classes, found by name; nameless ones count as trainIds when they are 19."""
    if len(classes) == TRAINED and all(label == f"LABEL_{index}" for index, label in classes.items()):
        return list(range(TRAINED))
    cityscapes = LABEL_SETS["cityscapes"]
    known = dict(zip(cityscapes.names, cityscapes.train_ids, strict=True)) | {"void": VOID_TRAIN_ID}
    found = [known.get(classes[index].lower().replace("_", " ").replace("-", " ")) for index in sorted(classes)]
    train_ids = [train_id for train_id in found if train_id is not None]
    if len(train_ids) < len(found):
        stranger = classes[sorted(classes)[found.index(None)]]
        raise TaskError(
            f"the segmenter '{name}' has {len(classes)} classes, and '{stranger}' is none of Cityscapes'; "
            "name a model trained on Cityscapes, or rename its classes in id2label of its config.json"
        )
    return train_ids


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


def _library(name: str, extra: str) -> Any:
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        if error.name != name:
            raise
        raise MissingExtraError(name, extra, "segmenting street frames") from error


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0].rstrip(".")

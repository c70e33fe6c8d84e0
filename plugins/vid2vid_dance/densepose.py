"""Finding dense body parts in real frames with detectron2's DensePose, where a person has installed it."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vid2vid_dance.people import Box, overlap
from vid2vid_hub.errors import TaskError


class DensePose:
    """A chart-based DensePose model of detectron2.

    Args:
        config: path of its ``.yaml``. Its ``MODEL.WEIGHTS``, or a ``.pkl`` or ``.pth`` of the same name beside it, are
            loaded by detectron2. Such files can run code when they are read: take them from where you trust.

    Raises:
        TaskError: detectron2 or its DensePose project is not installed, or the model cannot be loaded.
    """

    def __init__(self, config: str) -> None:
        detectron, densepose = _library("detectron2.config"), _library("densepose")
        engine, self._extractor = _library("detectron2.engine"), _library("densepose.vis.extractor")
        try:
            settings = detectron.get_cfg()
            densepose.add_densepose_config(settings)
            settings.merge_from_file(config)
            beside = [path for end in (".pkl", ".pth") if (path := Path(config).with_suffix(end)).is_file()]
            if beside:
                settings.MODEL.WEIGHTS = str(beside[0])
            if not torch.cuda.is_available():
                settings.MODEL.DEVICE = "cpu"
            self._predict = engine.DefaultPredictor(settings)
        except Exception as error:
            reason = (str(error) or type(error).__name__).splitlines()[0].rstrip(".")
            raise TaskError(
                f"the DensePose model '{config}' cannot be loaded ({reason}); give the .yaml of a chart-based model, "
                "its weights in MODEL.WEIGHTS or beside it"
            ) from error

    def __call__(self, frame: Tensor, person: Box | None) -> Tensor:
        """The dense parts of one person, or of the surest one, in a frame.

        Args:
            frame: uint8 (3, H, W) RGB.
            person: a box around whom is meant.

        Returns:
            uint8 (3, H, W) v, u, part, zeros where nobody is.
        """
        # detectron2 takes pictures as OpenCV reads them.
        instances = self._predict(frame.permute(1, 2, 0).flip(-1).contiguous().cpu().numpy())["instances"]
        results, boxes = self._extractor.DensePoseResultExtractor()(instances)
        return one_of(results or [], boxes, person, (frame.shape[1], frame.shape[2]))


def one_of(results: Sequence[Any], boxes: Tensor | None, person: Box | None, size: tuple[int, int]) -> Tensor:
    """The picture of the result that lies best over a person's box, or of the first one.

    Args:
        results: of DensePose's extractor: each has ``labels`` int (h, w) and ``uv`` float (2, h, w) in [0, 1].
        boxes: float (N, 4) x, y, width, height of the results.
        person: x0, y0, x1, y1, or None.
        size: (height, width) of the frame.

    Returns:
        uint8 (3, H, W) v, u, part.
    """
    picture = torch.zeros(3, *size, dtype=torch.uint8)
    if boxes is None or not len(results):
        return picture
    corners = [(x, y, x + wide, y + high) for x, y, wide, high in boxes.tolist()]
    chosen = 0
    if person is not None:
        chosen = max(range(len(corners)), key=lambda n: overlap(corners[n], person))
        if not overlap(corners[chosen], person):
            return picture
    labels, uv = results[chosen].labels.cpu(), results[chosen].uv.cpu()
    x, y = int(corners[chosen][0]), int(corners[chosen][1])
    top, left = max(y, 0), max(x, 0)
    bottom, right = min(y + labels.shape[0], size[0]), min(x + labels.shape[1], size[1])
    if top >= bottom or left >= right:
        return picture
    part = labels[top - y : bottom - y, left - x : right - x]
    u, v = (uv[:, top - y : bottom - y, left - x : right - x] * 255).clamp(0, 255) * (part > 0)
    picture[:, top:bottom, left:right] = torch.stack((v, u, part)).to(torch.uint8)
    return picture


def _library(name: str) -> Any:
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        if not name.startswith(error.name or " "):
            raise
        raise TaskError(
            "finding dense body parts needs detectron2 and its DensePose project, which no extra brings; install both "
            "from github.com/facebookresearch/detectron2, or leave 'densepose' out and give IUV pictures"
        ) from error

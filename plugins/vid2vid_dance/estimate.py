"""Finding people's points in real frames: MediaPipe's BlazePose, or ViTPose behind a detector, of transformers."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

import torch
from torch import Tensor

from vid2vid_dance.layout import BODY_OF_BLAZE, BODY_OF_COCO_17, MORE_OF_BLAZE
from vid2vid_dance.people import Found, arranged
from vid2vid_hub.errors import MissingExtraError, TaskError

COCO = 17
LEAST_PERSON = 0.5
"""A detection that is less sure is nobody."""


class MediaPipe:
    """BlazePose, followed from frame to frame as MediaPipe does.

    Args:
        weights: as in ``vid2vid_mediapipe.find_models``.

    Raises:
        TaskError: the models cannot be found.
        MissingExtraError: what runs them is not installed.
    """

    def __init__(self, weights: str | None) -> None:
        from vid2vid_mediapipe import BlazePose

        self._pose = BlazePose(weights)

    def session(self) -> Callable[[Tensor], list[Found]]:
        """See ``Estimator``; everybody found, largest first."""
        follow = self._pose.session()

        def find(frame: Tensor) -> list[Found]:
            return [Found(from_blaze(found.points), found.box) for found in follow(frame)]

        return find


def from_blaze(points: Tensor) -> Tensor:
    """The 137 points of BlazePose's (33, 4): x, y, depth and visibility."""
    return arranged(points[:, [0, 1, 3]], BODY_OF_BLAZE | MORE_OF_BLAZE)


class VitPose:
    """ViTPose with its person detector; both safetensors only, and without a memory.

    Args:
        model: Hub id or folder of a ``VitPoseForPoseEstimation`` of COCO's 17 points.
        detector: Hub id or folder of an object detector that knows the class "person".

    Raises:
        TaskError: a model is not here or on the Hub, lacks weights, or finds something else.
        MissingExtraError: transformers or SciPy is not installed.
    """

    def __init__(self, model: str, detector: str) -> None:
        transformers = _transformers()
        self._detector, self._boxes = _load(transformers, transformers.AutoModelForObjectDetection, detector)
        self._model, self._crops = _load(transformers, transformers.VitPoseForPoseEstimation, model)
        names = {int(index): str(label).lower() for index, label in self._detector.config.id2label.items()}
        persons = [index for index, label in names.items() if label == "person"]
        if not persons:
            raise TaskError(
                f"the detector '{detector}' has {len(names)} classes, and none is 'person'; name one with it"
            )
        self._person = persons[0]
        found = self._model.config.num_labels
        if found != COCO:
            raise TaskError(f"the pose model '{model}' finds {found} points; name one that finds COCO's {COCO}")

    def session(self) -> Callable[[Tensor], list[Found]]:
        """See ``Estimator``; everybody found, in the detector's order."""
        return self._find

    @torch.inference_mode()
    def _find(self, frame: Tensor) -> list[Found]:
        picture = frame.permute(1, 2, 0).cpu().numpy()
        boxes = self._detect(picture, frame)
        if not len(boxes):
            return []
        corner, far = boxes[:, :2], boxes[:, 2:]
        # ViTPose takes x, y, width and height, and counts its corners from the first pixel's centre.
        given = [torch.cat([corner - 0.5, far - corner], 1).cpu().numpy()]
        pixels = self._crops(images=picture, boxes=given, input_data_format="channels_last", return_tensors="pt")
        arguments = {}
        if getattr(self._model.config.backbone_config, "num_experts", 1) > 1:
            # ViTPose++ has an expert for each data set it learned from; the first is COCO's.
            arguments["dataset_index"] = torch.zeros(len(boxes), dtype=torch.int64, device=frame.device)
        outputs = self._model.to(frame.device)(pixels["pixel_values"].to(frame.device), **arguments)
        (people,) = self._crops.post_process_pose_estimation(outputs, boxes=given)
        points = (torch.cat([each["keypoints"], each["scores"].reshape(-1, 1)], 1) for each in people)
        return [
            Found(arranged(each, BODY_OF_COCO_17), (x0, y0, x1, y1))
            for each, (x0, y0, x1, y1) in zip(points, boxes.tolist(), strict=True)
        ]

    def _detect(self, picture: Any, frame: Tensor) -> Tensor:
        pixels = self._boxes(images=picture, input_data_format="channels_last", return_tensors="pt")
        outputs = self._detector.to(frame.device)(pixels["pixel_values"].to(frame.device))
        (found,) = self._boxes.post_process_object_detection(
            outputs, threshold=LEAST_PERSON, target_sizes=[tuple(frame.shape[-2:])]
        )
        boxes: Tensor = found["boxes"][found["labels"] == self._person].float().cpu()
        return boxes[(boxes[:, 2:] - boxes[:, :2] > 1).all(1)]


def _load(transformers: Any, kind: Any, name: str) -> tuple[Any, Any]:
    """A model that is whole, ready to be asked, and the image processor saved beside it."""
    try:
        model, report = kind.from_pretrained(
            name, use_safetensors=True, trust_remote_code=False, output_loading_info=True
        )
        processor = transformers.AutoImageProcessor.from_pretrained(name, trust_remote_code=False)
    except Exception as error:
        reason = (str(error) or type(error).__name__).splitlines()[0].rstrip(".")
        raise TaskError(
            f"the model '{name}' cannot be loaded ({reason}); download it beforehand, where there is a network "
            "(hf download ID), or set estimator to 'mediapipe'"
        ) from error
    absent = sorted({*report["missing_keys"], *(key for key, *_ in report["mismatched_keys"])})
    if absent:
        raise TaskError(
            f"the model '{name}' lacks {len(absent)} of its weights or has them in another size, such as {absent[0]}; "
            f"name one that was trained as {kind.__name__}"
        )
    return model.eval(), processor


def _transformers() -> Any:
    """The library, and SciPy, which its processor of ViTPose takes for granted."""
    for library in ("scipy", "transformers"):
        try:
            module = import_module(library)
        except ModuleNotFoundError as error:
            if error.name != library:
                raise
            raise MissingExtraError(library, "dance", "finding people with ViTPose") from error
    return module

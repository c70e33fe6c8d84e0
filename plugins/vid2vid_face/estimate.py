"""Who finds the 68 landmarks in real frames: MediaPipe's mesh, of which 68 points are taken, or dlib."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from vid2vid_face.landmarks import LANDMARKS
from vid2vid_hub.errors import MissingExtraError, TaskError

ESTIMATORS = ("mediapipe", "dlib")
_MODELS, _DAT = "face_recognition_models", "shape_predictor_68_face_landmarks.dat"
_SMALL = 480
"""In pictures whose shorter side is less, dlib's detector also looks for faces of 40 pixels instead of 80."""

# Landmark -> point of MediaPipe's mesh, chosen by overlay on faces and by the distance to what dlib finds on them.
MESH: tuple[int, ...] = (
    *(127, 234, 132, 58, 172, 136, 149, 148, 152, 377, 378, 365, 397, 288, 361, 454, 356),
    *(70, 63, 105, 66, 107),
    *(336, 296, 334, 293, 300),
    *(168, 197, 5, 4),
    *(75, 97, 2, 326, 305),
    *(33, 160, 158, 133, 153, 144),
    *(362, 385, 387, 263, 373, 380),
    *(61, 39, 37, 0, 267, 269, 291, 405, 314, 17, 84, 181),
    *(78, 82, 13, 312, 308, 317, 14, 87),
)


@dataclass(frozen=True)
class Face:
    """A face in a frame.

    Attributes:
        points: float32 (68, 3) x and y in pixels, and confidence.
        track: names the same person within a session; -1 where nobody is told apart.
    """

    points: Tensor
    track: int = -1

    @property
    def width(self) -> float:
        """Of the landmarks, in pixels."""
        x = self.points[:, 0]
        return float(x.max() - x.min())

    @property
    def middle(self) -> Tensor:
        """Of the landmarks, (2,)."""
        return self.points[:, :2].mean(0)


Look = Callable[[Tensor], list[Face]]
"""The next frame of a shot, uint8 (3, H, W) RGB -> its faces, largest first."""


class Estimator(Protocol):
    """What finds faces: a session for every unbroken shot."""

    def session(self) -> Look:
        """A look that may remember what it saw in the frames before."""
        ...


def load_estimator(name: str, weights: str | None) -> Estimator:
    """The estimator of that name, one of ``ESTIMATORS``.

    Raises:
        TaskError: its models are nowhere, or damaged.
        MissingExtraError: the library that runs it is not installed.
    """
    return DlibFaces(weights) if name == "dlib" else MeshFaces(weights)


class MeshFaces:
    """MediaPipe's face mesh, which follows faces from frame to frame.

    Args:
        weights: a folder of .tflite files or a mediapipe wheel; None for where ``vid2vid_mediapipe`` finds them.
    """

    def __init__(self, weights: str | None) -> None:
        from vid2vid_mediapipe import FaceMesh

        self._mesh = FaceMesh(weights)

    def session(self) -> Look:
        """Follow faces through one shot."""
        session = self._mesh.session()
        return lambda frame: [Face(_landmarks(found.points, found.score), found.track) for found in session(frame)]


class DlibFaces:
    """dlib's frontal detector and its predictor of 68 landmarks (Kazemi and Sullivan 2014), frame by frame.

    Args:
        weights: the predictor's .dat file; None for the one in an installed ``face_recognition_models``.
    """

    def __init__(self, weights: str | None) -> None:
        dlib = _library("dlib")
        path = Path(weights).expanduser() if weights else _bundled()
        if not path.is_file():
            raise TaskError(f"dlib's landmark model '{path}' does not exist; give the path of {_DAT}")
        try:
            self._predict = dlib.shape_predictor(str(path))
        except RuntimeError as error:
            raise TaskError(f"'{path}' is no landmark model that dlib can read ({error}); download it again") from error
        self._detect = dlib.get_frontal_face_detector()

    def session(self) -> Look:
        """Dlib remembers nothing."""
        return self._look

    def _look(self, frame: Tensor) -> list[Face]:
        picture = np.ascontiguousarray(frame.permute(1, 2, 0).cpu().numpy())
        boxes = self._detect(picture, 1 if min(picture.shape[:2]) < _SMALL else 0)
        faces = []
        for box in sorted(boxes, key=lambda box: -box.area()):
            shape = self._predict(picture, box)
            if shape.num_parts != LANDMARKS:
                raise TaskError(
                    f"dlib's model has {shape.num_parts} landmarks, not {LANDMARKS}; give the path of {_DAT}"
                )
            faces.append(Face(torch.tensor([(part.x, part.y, 1.0) for part in shape.parts()])))
        return faces


def _landmarks(mesh: Tensor, score: float) -> Tensor:
    """68 of the mesh's points (P, 3), all as sure as the face is."""
    points = mesh[list(MESH)].clone().float()
    points[:, 2] = score
    return points


def _library(name: str) -> Any:
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        if error.name != name:
            raise
        raise MissingExtraError(name, "dlib", "finding faces with dlib") from error


def _bundled() -> Path:
    """The model in face_recognition_models, which is not imported: it asks for pkg_resources, that is no more."""
    spec = find_spec(_MODELS)
    if spec is None or not spec.submodule_search_locations:
        raise MissingExtraError(_MODELS, "dlib", "finding faces with dlib, unless 'weights' gives its .dat file,")
    return Path(spec.submodule_search_locations[0]) / "models" / _DAT

"""MediaPipe's face mesh: BlazeFace finds faces, and a second network places the mesh's points on each."""

from __future__ import annotations

import math

import numpy as np
import torch

from vid2vid_mediapipe.detector import Detector, sigmoid
from vid2vid_mediapipe.models import find_models
from vid2vid_mediapipe.network import Network
from vid2vid_mediapipe.region import Picture, Points, Region, crop
from vid2vid_mediapipe.tracking import LEAST_PRESENCE, Found, Landmarker

POINTS, WITH_IRISES = 468, 478
_LARGER = 1.5
_EYES = 33, 263
"""The outer corners of the right and the left eye."""


class FoundFace(Found):
    """A face: ``points`` are (468, 3), or (478, 3) from a mesh with irises: x, y and depth z in pixels.

    Smaller z is nearer to the camera; 0 is about the head's middle. MediaPipe's own mesh with irises,
    face_landmark_with_attention, has operations that ai-edge-litert lacks.
    """


class FaceMesh(Landmarker[FoundFace]):
    """Finds faces and their meshes.

    Args:
        weights: see `find_models`.

    Raises:
        TaskError: the models are missing or are no tflite models of MediaPipe.
        MissingExtraError: ai-edge-litert is not installed.
    """

    apart = 0.3

    def __init__(self, weights: str | None = None) -> None:
        models = find_models(weights)
        extra = "face", "finding faces"
        self._detector = Detector(models, "face_detection_short_range", 128, (8, 16, 16, 16), 6, *extra)
        self._network = Network(models, "face_landmark", ((3 * POINTS, 3 * WITH_IRISES), (1,)), *extra)

    def regions(self, picture: Picture) -> list[Region]:
        """Around each detected face, turned so that the line through its eyes is level."""
        return [_region(each.box.reshape(2, 2), each.points[0], each.points[1]) for each in self._detector(picture)]

    def look(self, picture: Picture, region: Region) -> FoundFace | None:
        """The mesh of the face in the region, or None if there is none."""
        side = self._network.side
        mesh, logit = self._network(crop(picture, region, side, "edge").astype(np.float32) / np.float32(255))
        score = float(sigmoid(logit)[0])
        if score < LEAST_PRESENCE:
            return None
        crop_points = mesh.reshape(-1, 3).astype(np.float64)
        flat = region.to_frame(crop_points[:, :2], side)
        corners = np.stack([flat.min(0), flat.max(0)])
        points = np.concatenate([flat, crop_points[:, 2:] * region.side / side], 1)
        x0, y0, x1, y1 = corners.reshape(-1).tolist()
        following = _region(corners, flat[_EYES[0]], flat[_EYES[1]])
        return FoundFace(torch.from_numpy(points.astype(np.float32)), score, (x0, y0, x1, y1), following)


def _region(corners: Points, right_eye: Points, left_eye: Points) -> Region:
    """The square around a face's box (2, 2), half as large again, its x axis along the line through the eyes."""
    (x, y), size, (across, down) = corners.mean(0), corners[1] - corners[0], left_eye - right_eye
    return Region(float(x), float(y), max(1.0, _LARGER * float(size.max())), math.atan2(down, across))

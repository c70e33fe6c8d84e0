"""MediaPipe's BlazePose: a detector finds people by hips and size, and a second network places 33 landmarks."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from vid2vid_mediapipe.detector import Detector, Doubles, sigmoid
from vid2vid_mediapipe.models import find_models
from vid2vid_mediapipe.network import Network
from vid2vid_mediapipe.region import Picture, Points, Region, crop
from vid2vid_mediapipe.tracking import LEAST_PRESENCE, Found, Landmarker

POINTS = 33
_ALL = 39
"""The network's own points: the 33, then the hips' centre, a point on the body's circle, and four that are unused."""
_LARGER = 1.25
_HEAT = 64
_REACH, _LEAST_HEAT = 4, 0.5
"""How far a heat map is looked at around a landmark, in its cells, and how sure it must be of one of them."""


class FoundPose(Found):
    """A person: ``points`` are (33, 4): x, y and depth z in pixels, and visibility 0..1.

    Smaller z is nearer to the camera; 0 is at the hips.
    """


class BlazePose(Landmarker[FoundPose]):
    """Finds people and their 33 landmarks.

    Args:
        weights: see `find_models`.

    Raises:
        TaskError: the models are missing or are no tflite models of MediaPipe.
        MissingExtraError: ai-edge-litert is not installed.
    """

    apart = 0.1
    steady = True

    def __init__(self, weights: str | None = None) -> None:
        models = find_models(weights)
        extra = "dance", "finding people"
        self._detector = Detector(models, "pose_detection", 224, (8, 16, 32, 32, 32), 4, *extra)
        sizes = (_ALL * 5,), (1,), (_HEAT * _HEAT * _ALL,)
        self._network = Network(models, "pose_landmark_full", sizes, *extra)

    def regions(self, picture: Picture) -> list[Region]:
        """Around each detected person, turned so that he stands upright in it."""
        return [_region(each.points[0], each.points[1]) for each in self._detector(picture)]

    def look(self, picture: Picture, region: Region) -> FoundPose | None:
        """The landmarks of the person in the region, or None if there is nobody."""
        side = self._network.side
        numbers, presence, heat = self._network(
            crop(picture, region, side, "edge").astype(np.float32) / np.float32(255)
        )
        score = float(presence[0])
        if score < LEAST_PRESENCE:
            return None
        landmarks = numbers.reshape(_ALL, 5)
        crop_points = refine(landmarks[:, :2].astype(np.float64) / side, heat.reshape(_HEAT, _HEAT, _ALL)) * side
        flat = region.to_frame(crop_points, side)
        depth = landmarks[:POINTS, 2:3] * region.side / side
        points = np.concatenate([flat[:POINTS], depth, sigmoid(landmarks[:POINTS, 3:4])], 1)
        x0, y0, x1, y1 = np.concatenate([flat[:POINTS].min(0), flat[:POINTS].max(0)]).tolist()
        following = _region(flat[POINTS], flat[POINTS + 1])
        return FoundPose(torch.from_numpy(points.astype(np.float32)), score, (x0, y0, x1, y1), following)


def refine(points: Points, heat: NDArray[np.float32]) -> Points:
    """Move landmarks to the mean of their heat maps nearby, where these are sure of anything.

    Args:
        points: (P, 2) x, y as parts of the crop's side.
        heat: (h, w, P) logits.

    Returns:
        (P, 2), as ``points``.
    """
    height, width = heat.shape[:2]
    refined = points.copy()
    for index, (x, y) in enumerate(points):
        column, row = int(x * width), int(y * height)
        if not (0 <= column < width and 0 <= row < height):
            continue
        left, top = max(0, column - _REACH), max(0, row - _REACH)
        near: Doubles = sigmoid(heat[top : row + _REACH + 1, left : column + _REACH + 1, index])
        if near.max() >= _LEAST_HEAT:
            rows, columns = np.arange(top, top + near.shape[0]), np.arange(left, left + near.shape[1])
            refined[index] = (near.sum(0) @ columns / near.sum() / width, near.sum(1) @ rows / near.sum() / height)
    return refined


def _region(hips: Points, circle: Points) -> Region:
    """A quarter larger than the circle about the hips that holds the body, its upright axis through the point on it."""
    top = hips + _LARGER * (circle - hips)
    return Region.of_hand(hips.tolist(), top.tolist())

"""MediaPipe's single-shot detectors: anchors, decoding of boxes and key points, weighted non-maximum suppression."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vid2vid_mediapipe.models import Models
from vid2vid_mediapipe.network import Network
from vid2vid_mediapipe.region import Picture, Points, Region, crop

Doubles = NDArray[np.float64]

LEAST_SCORE = 0.5
OVERLAP = 0.3
"""Boxes of more common area than this (intersection over union) are of the same person."""


@dataclass(frozen=True, eq=False)
class Detection:
    """Somebody found: ``box`` x0, y0, x1, y1 and ``points`` (K, 2) in pixels of the frame, and a score 0..1."""

    box: Doubles
    points: Points
    score: float


class Detector:
    """Finds people in a whole frame.

    Args:
        models: where the file is.
        name: the file's name without .tflite.
        side: the network's input size.
        strides: its layers' strides in pixels; each gives every cell of its grid two anchors.
        points: how many key points each detection has.
        extra: extra of vid2vid-hub that brings the library, and
        need: what it is needed for: for the error message.
    """

    def __init__(
        self, models: Models, name: str, side: int, strides: Sequence[int], points: int, extra: str, need: str
    ) -> None:
        self._anchors = anchors(side, strides)
        self._numbers = 4 + 2 * points
        count = len(self._anchors)
        self._network = Network(models, name, ((count * self._numbers,), (count,)), extra, need)

    def __call__(self, frame: Picture) -> list[Detection]:
        """Detect in (H, W, 3); best score first."""
        side = self._network.side
        letterbox = Region.around(*frame.shape[:2])
        picture = crop(frame, letterbox, side, "black").astype(np.float32) / 127.5 - 1
        numbers, logits = self._network(picture)
        scores = sigmoid(logits)
        likely = scores >= LEAST_SCORE
        corners = decode(numbers.reshape(-1, self._numbers)[likely].astype(np.float64), self._anchors[likely], side)
        found = suppress(corners, scores[likely])
        return [
            Detection(placed[:2].reshape(-1), placed[2:], score)
            for placed, score in ((letterbox.to_frame(each * side, side), score) for each, score in found)
        ]


def anchors(side: int, strides: Sequence[int]) -> Doubles:
    """(N, 2) the anchors' centres x, y, as parts of the input's side; their size is fixed to the whole input.

    Layers of the same stride in a row share one grid: its cells hold two anchors for each of these layers.
    """
    layers = []
    for stride in dict.fromkeys(strides):
        cells = -(-side // stride)
        centres = (np.arange(cells) + 0.5) / cells
        y, x = np.meshgrid(centres, centres, indexing="ij")
        layers.append(np.repeat(np.stack([x, y], -1).reshape(-1, 2), 2 * list(strides).count(stride), axis=0))
    return np.concatenate(layers)


def decode(numbers: Doubles, centres: Doubles, side: int) -> Doubles:
    """Raw numbers (N, 4 + 2 K) of anchors (N, 2) -> (N, 2 + K, 2): the box's two corners, then the key points.

    The raw numbers are the box's centre and size and the key points, x first, in pixels of the input from the anchor.
    All that is returned is a part of the input's side.
    """
    pairs = numbers.reshape(len(numbers), numbers.shape[1] // 2, 2) / side
    centre, size = pairs[:, 0] + centres, pairs[:, 1]
    points = pairs[:, 2:] + centres[:, None]
    return np.concatenate([np.stack([centre - size / 2, centre + size / 2], 1), points], 1)


def suppress(corners: Doubles, scores: Doubles) -> list[tuple[Doubles, float]]:
    """Weighted non-maximum suppression: each group of overlapping detections becomes its mean, weighted by score.

    Args:
        corners: (N, 2 + K, 2) as `decode` returns them.
        scores: (N,).

    Returns:
        The mean (2 + K, 2) of each group and its best score, best first.
    """
    order = list(np.argsort(-scores, kind="stable"))
    found = []
    while order:
        overlap = overlaps(corners[order[0], :2], corners[order, :2])
        group = [each for each, common in zip(order, overlap, strict=True) if common > OVERLAP or each == order[0]]
        found.append((np.average(corners[group], axis=0, weights=scores[group]), float(scores[order[0]])))
        order = [each for each in order if each not in group]
    return found


def overlaps(box: Doubles, boxes: Doubles) -> Doubles:
    """Intersection over union of a box (2, 2) with each of (N, 2, 2); 0 where both are empty."""
    low, high = np.maximum(box[0], boxes[:, 0]), np.minimum(box[1], boxes[:, 1])
    common = np.prod(np.clip(high - low, 0, None), -1)
    whole = np.prod(np.clip(box[1] - box[0], 0, None)) + np.prod(np.clip(boxes[:, 1] - boxes[:, 0], 0, None), -1)
    return np.asarray(common / np.maximum(whole - common, 1e-12))


def sigmoid(logits: NDArray[np.float32]) -> Doubles:
    """Logits, clipped to -100..100 as in MediaPipe, to 0..1."""
    return np.asarray(1 / (1 + np.exp(-np.clip(logits.astype(np.float64), -100, 100))))

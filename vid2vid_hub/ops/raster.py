"""Pictures of labels, instances and lines: how a compact condition becomes maps that a network reads."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from vid2vid_hub.errors import ConditionError

FAR = 1_000_000


def one_hot(labels: Tensor, classes: int) -> Tensor:
    """One channel per class, on the labels' own device.

    The range is not checked, because an accelerator would have to stop and answer: who reads labels checks them.

    Args:
        labels: uint8 or int (N, 1, H, W), every value in [0, classes).
        classes: the number of channels.

    Returns:
        float32 (N, classes, H, W), 1 in the pixel's class and 0 elsewhere.
    """
    count, _, height, width = labels.shape
    planes = torch.zeros(count, classes, height, width, device=labels.device)
    return planes.scatter_(1, labels.long(), 1.0)


def instance_edges(ids: Tensor) -> Tensor:
    """Where two objects touch: both sides of every boundary, so lines are two pixels wide.

    Source: the edge channel beside the labels in pix2pixHD (Wang et al. 2018, section 3.3), which the paper keeps.

    Args:
        ids: int (N, 1, H, W) object ids.

    Returns:
        float32 (N, 1, H, W), 1 where any of the four neighbours has another id.
    """
    edges = torch.zeros_like(ids, dtype=torch.bool)
    across = ids[..., 1:] != ids[..., :-1]
    edges[..., 1:] |= across
    edges[..., :-1] |= across
    down = ids[..., 1:, :] != ids[..., :-1, :]
    edges[..., 1:, :] |= down
    edges[..., :-1, :] |= down
    return edges.float()


def instance_mean(features: Tensor, ids: Tensor) -> Tensor:
    """Give every pixel the mean of its object: instance-wise average pooling (pix2pixHD, section 3.4).

    The same id in two pictures is two objects. Differentiable in ``features``; half precision is summed in float32.

    Args:
        features: float (N, C, H, W).
        ids: int (N, 1, H, W), any values.

    Returns:
        (N, C, H, W) of the features' dtype, constant over every object.
    """
    count, channels, height, width = features.shape
    known, index = torch.unique(ids, return_inverse=True)
    picture = torch.arange(count, device=ids.device).view(-1, 1, 1, 1)
    group = (index + picture * len(known)).flatten()
    exact = features if features.dtype == torch.float64 else features.float()
    pixels = exact.permute(0, 2, 3, 1).reshape(-1, channels)
    sums = pixels.new_zeros(count * len(known), channels).index_add(0, group, pixels)
    sizes = torch.bincount(group, minlength=count * len(known)).clamp(min=1)
    means = (sums / sizes[:, None])[group]
    return means.view(count, height, width, channels).permute(0, 3, 1, 2).to(features.dtype)


def draw_polylines(lines: Sequence[Tensor], size: tuple[int, int], width: int) -> Tensor:
    """Draw open polylines; every pixel of a one-pixel line becomes a square of ``width`` by ``width`` pixels.

    Args:
        lines: each float (P, 2), x and y in pixels, (0, 0) the centre of the top left one. Points may lie outside the
            picture. One point is drawn as a dot, none as nothing.
        size: (height, width) of the picture.
        width: the side of the stroke in pixels, at least 1; even strokes lean to the left and top, as in
            the released sketches.

    Returns:
        uint8 (1, H, W), 255 on the strokes and 0 elsewhere, on the CPU.

    Raises:
        ConditionError: a coordinate is not a number, or so large that the drawing would overflow.
    """
    import cv2

    # A margin as wide as the stroke, or a line just outside would lose the half of its stroke that lies inside.
    canvas = np.zeros((size[0] + 2 * width, size[1] + 2 * width), np.uint8)
    for number, line in enumerate(lines):
        if not (line.abs() < FAR).all():
            raise ConditionError(
                f"polyline {number} has a point that is not a number or over {FAR:,} pixels away; drop it before"
            )
        points = np.rint(line.detach().cpu().double().numpy()).astype(np.int32) + width
        if len(points):
            cv2.polylines(canvas, [points[[0, 0]] if len(points) == 1 else points], isClosed=False, color=255)
    lean = (width - 1) // 2
    canvas = cv2.dilate(canvas, np.ones((width, width), np.uint8), anchor=(lean, lean)).astype(np.uint8)
    return torch.from_numpy(np.ascontiguousarray(canvas[width:-width, width:-width]))[None]


def distance_map(mask: Tensor) -> Tensor:
    """L1 distance to the nearest stroke, a third of a grey value per pixel, as the face task's sketches have it.

    Args:
        mask: uint8 (1, H, W), not zero on the strokes.

    Returns:
        uint8 (1, H, W) on the mask's device: distance / 3 rounded down, at most 255; 255 everywhere without a stroke.
    """
    import cv2

    away = (mask[0] == 0).to(torch.uint8).cpu().numpy()
    distance = cv2.distanceTransform(away, cv2.DIST_L1, 3)
    return torch.from_numpy(np.clip(distance / 3, 0, 255).astype(np.uint8))[None].to(mask.device)

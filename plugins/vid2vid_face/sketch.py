"""The drawing of a face as the network reads it: 14 curved lines, the map of parts, and the edges of a real frame.

What is drawn is what the face model of Wang et al. 2018 (vid2vid) was trained on; the figures are those of its release.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from vid2vid_face.landmarks import JAW, LINES, PARTS, UPPER, Line
from vid2vid_hub.ops.raster import draw_polylines

Array = npt.NDArray[np.float64]
STROKE = 2
STEEP = 1.0
"""A parabola that bends more than this per pixel is an accident of its three points, and is not drawn."""
LOW, HIGH, SIGMA = 25.5, 51.0, 1.0
"""Canny's thresholds on the Sobel gradient of a picture in [0, 255], and the blur before: skimage's defaults."""
_FINE = 16
_UPPER_HEIGHT = 2 / 3


def with_upper_face(points: Tensor) -> Tensor:
    """Append the upper face: the inner jaw mirrored about the line through its ends, its height scaled by 2/3.

    Args:
        points: float (68, 3) x, y, confidence.

    Returns:
        (83, 3); the added points run back from the left temple over the forehead, and are not there (confidence 0)
        unless the whole jaw is.
    """
    jaw = points[list(JAW)]
    start, along = jaw[0, :2], jaw[-1, :2] - jaw[0, :2]
    length = along.norm()
    if not (jaw[:, 2] > 0).all() or length == 0:
        return torch.cat((points, points.new_zeros(UPPER, 3)))
    across = torch.stack((-along[1], along[0])) / length
    inner = jaw[1:-1].flip(0)
    height = (inner[:, :2] - start) @ across
    mirrored = inner[:, :2] - (1 + _UPPER_HEIGHT) * height[:, None] * across
    return torch.cat((points, torch.cat((mirrored, inner[:, 2:]), 1)))


def parabola(points: Array, low: tuple[float, float], high: tuple[float, float]) -> Array | None:
    """The parabola through up to three points, at every whole pixel between its ends.

    It is a function of the axis along which the points reach farther, fitted by least squares; two points give a
    straight line.

    Args:
        points: (2 or 3, 2) x, y in pixels.
        low: x and y before which nothing is seen, so that lines from far away stay short.
        high: x and y beyond which nothing is seen.

    Returns:
        (N, 2) x, y; None where the parabola bends more than ``STEEP``, or nothing of it is seen.
    """
    xs, ys = points[:, 0].tolist(), points[:, 1].tolist()
    axis = 0 if max(xs) - min(xs) >= max(ys) - min(ys) else 1
    place, value = (xs, ys) if axis == 0 else (ys, xs)
    start, stop = max(min(place), low[axis]), min(max(place), high[axis])
    if start > stop:
        return None
    along = np.linspace(start, stop, max(2, round(stop - start) + 1))
    bend, slope, height = _fitted(place, value)
    if abs(bend) > STEEP:
        return None
    curve = np.empty((len(along), 2))
    away = along - place[0]
    curve[:, axis], curve[:, 1 - axis] = along, (bend * away + slope) * away + height
    return curve


def _fitted(place: list[float], value: list[float]) -> tuple[float, float, float]:
    """The coefficients of square, line and constant about the first place, by least squares."""
    if len(place) == 3 and len(set(place)) == 3:
        # Three points have one parabola, and Newton's differences name it at once.
        first, second = (value[k + 1] - value[k] for k in (0, 1))
        near, far = place[1] - place[0], place[2] - place[1]
        bend = (second / far - first / near) / (near + far)
        return bend, first / near - bend * near, value[0]
    # Two points give a line, and so do three of which two lie side by side.
    terms = np.vander(np.array(place) - place[0], len(set(place)))
    fitted = np.linalg.lstsq(terms, np.array(value), rcond=None)[0].tolist()
    bend, slope, height = [0.0] * (3 - len(fitted)) + fitted
    return bend, slope, height


def curves(points: Tensor, line: Line, size: tuple[int, int]) -> list[Tensor]:
    """One line of the face as the curves it is drawn with: a parabola for every run of three points, step two.

    Args:
        points: float (83, 3).
        line: numbers of points along the line; a run of which one is not there is left out.
        size: (height, width) of the picture.

    Returns:
        float (N, 2) each.
    """
    along = points[list(line)].double().cpu().numpy()
    low, high = (-4.0 * STROKE, -4.0 * STROKE), (size[1] + 4.0 * STROKE, size[0] + 4.0 * STROKE)
    found = []
    for first in range(0, len(along) - 1, 2):
        run = along[first : first + 3]
        curve = parabola(run[:, :2], low, high) if (run[:, 2] > 0).all() else None
        if curve is not None:
            beyond = np.array(((1e4, 1e4),))
            found.append(torch.from_numpy(np.clip(curve, -beyond, beyond)))
    return found


def strokes(points: Tensor, size: tuple[int, int], width: int = STROKE) -> Tensor:
    """Draw the 14 lines: uint8 (14, H, W), 255 on the strokes, on the CPU.

    Args:
        points: float (68, 3).
        size: (height, width).
        width: of a stroke in pixels.
    """
    whole = with_upper_face(points)
    return torch.cat([draw_polylines(curves(whole, line, size), size, width) for line in LINES])


def parts_map(points: Tensor, size: tuple[int, int]) -> Tensor:
    """Fill the parts of a face with their labels: uint8 (1, H, W), 0 outside, on the CPU.

    A part of which a landmark is not there is left out.

    Args:
        points: float (68, 3).
        size: (height, width).
    """
    import cv2

    canvas = np.zeros(size, np.uint8)
    whole = with_upper_face(points).double().cpu().numpy()
    for part in PARTS:
        outline = whole[list(part.outline)]
        if (outline[:, 2] > 0).all():
            corners = np.rint(np.clip(outline[:, :2], -1e4, 1e4)).astype(np.int32)
            cv2.fillPoly(canvas, [corners], part.label)
    return torch.from_numpy(canvas)[None]


def canny(frames: Tensor) -> Tensor:
    """Edges of real frames: uint8 (T, 1, H, W), 255 on the edges, on the frames' device.

    The released system takes skimage's Canny of the grey picture, sigma 1, thresholds 0.1 and 0.2 of its range. This
    is OpenCV's with the same blur, gradient and thresholds. What differs: OpenCV compares a gradient with its
    neighbours in one of four directions where skimage interpolates between them, and it finds edges up to the border,
    where skimage leaves out the outermost row. On real faces of 256 pixels, 93 to 95 % of the edge pixels are the same,
    and 97 to 99 % are at most one pixel apart.

    Args:
        frames: uint8 (T, 3, H, W) RGB.
    """
    import cv2

    edges = []
    for frame in frames.cpu().permute(0, 2, 3, 1).numpy():
        grey = cv2.cvtColor(np.ascontiguousarray(frame), cv2.COLOR_RGB2GRAY)
        calm = cv2.GaussianBlur(grey.astype(np.float32), (0, 0), SIGMA)
        # Sixteenths of a grey value, or the blur's rounding would be seen in flat regions.
        slopes = [cv2.Sobel(calm, cv2.CV_32F, x, 1 - x, ksize=3, scale=_FINE) for x in (1, 0)]
        dx, dy = (np.rint(slope).astype(np.int16) for slope in slopes)
        edges.append(cv2.Canny(dx, dy, LOW * _FINE, HIGH * _FINE, L2gradient=True))
    if not edges:
        return torch.zeros_like(frames[:, :1])
    return torch.from_numpy(np.stack(edges))[:, None].to(frames.device)

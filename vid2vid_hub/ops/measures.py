"""Distances of generated frames from real ones and from their own past, and of label maps: pure functions."""

from __future__ import annotations

import torch
from torch import Tensor

from vid2vid_hub.ops.warp import warp

SAME = 100.0
"""PSNR in dB of pictures that are all but identical: finite, since figures are averaged over frames and kept as JSON;
8-bit pictures of 256x144 that differ in one value by one level are at 98.6."""


def psnr(generated: Tensor, real: Tensor) -> Tensor:
    """Peak signal-to-noise ratio in dB of every picture, at most :data:`SAME`; higher is nearer.

    Args:
        generated: (N, 3, H, W) in [-1, 1].
        real: the same shape.

    Returns:
        (N,).
    """
    error = (generated - real).square().mean((1, 2, 3))
    return (10 * torch.log10(4 / error)).clamp_max(SAME)


def warping_error(frames: Tensor, flow: Tensor, trust: Tensor) -> Tensor:
    """Mean absolute change along the real motion, of every frame but the first; lower is steadier.

    Args:
        frames: (T, 3, H, W) in [-1, 1].
        flow: (T-1, 2, H, W), pixels, of the real video, from each frame to the one before.
        trust: (T-1, 1, H, W), 1 where that flow is reliable.

    Returns:
        (T-1,), in units of the picture's range [-1, 1], averaged over trusted pixels only.
    """
    change = (frames[1:] - warp(frames[:-1], flow)).abs().mean(1, keepdim=True)
    return (change * trust).sum((1, 2, 3)) / trust.sum((1, 2, 3)).clamp_min(1)


def confusion(labels: Tensor, truth: Tensor, classes: int) -> Tensor:
    """How many pixels of each true class are given which class, picture by picture.

    Args:
        labels: int (N, 1, H, W), every value in [0, classes).
        truth: the same shape.
        classes: K.

    Returns:
        int64 (N, K, K): [n, i, j] are the pixels of class i that are called j. Counts of several pictures may be added.
    """
    picture = torch.arange(len(labels), device=labels.device).view(-1, 1, 1, 1)
    pairs = (picture * classes + truth.long()) * classes + labels.long()
    return torch.bincount(pairs.flatten(), minlength=len(labels) * classes**2).view(-1, classes, classes)


def mean_iou(counts: Tensor) -> Tensor:
    """Mean intersection over union of the classes that truly occur; higher is nearer, 1 is the truth.

    Args:
        counts: (..., K, K) from :func:`confusion`.

    Returns:
        (...), float64 in [0, 1].
    """
    counts = counts.double()
    both, occurs = counts.diagonal(dim1=-2, dim2=-1), counts.sum(-1) > 0
    either = counts.sum(-1) + counts.sum(-2) - both
    return (both / either.clamp_min(1)).sum(-1) / occurs.sum(-1).clamp_min(1)

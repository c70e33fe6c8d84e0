"""Backward warping by a flow in pixels; how pixel corners are aligned is decided here and nowhere else."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def warp(image: Tensor, flow: Tensor) -> Tensor:
    """Sample ``image`` bilinearly at every pixel's own place plus ``flow`` (the paper's w̃(x)).

    out(x, y) = image(x + flow_x, y + flow_y), coordinates clamped to the picture's border. Zero flow is the identity.

    Args:
        image: float (N, C, H, W).
        flow: float (N, 2, H, W) in pixels of this resolution, x first.

    Returns:
        float (N, C, H, W).
    """
    height, width = image.shape[-2:]
    # Half-precision coordinates miss by a pixel on wide pictures, so places are never computed in less than float32.
    exact = torch.promote_types(torch.promote_types(image.dtype, flow.dtype), torch.float32)
    flow = flow.to(exact)
    # The gradient of grid_sample at a place that is no number ends the process on the CPU; that must not be the last
    # that is heard of a training that diverged.
    flow = flow.masked_fill(flow.isnan(), 0)
    x = torch.arange(width, device=flow.device, dtype=exact) + flow[:, 0]
    y = torch.arange(height, device=flow.device, dtype=exact)[:, None] + flow[:, 1]
    grid = torch.stack((_normalised(x, width), _normalised(y, height)), -1)
    warped = F.grid_sample(image.to(exact), grid, mode="bilinear", padding_mode="border", align_corners=True)
    return warped.to(image.dtype)


def _normalised(position: Tensor, length: int) -> Tensor:
    """Pixels 0 .. length-1 to the interval [-1, 1] of ``grid_sample`` with aligned corners."""
    return position * (2 / (length - 1)) - 1 if length > 1 else torch.zeros_like(position)

"""Flow as colours that a person can read: the colour wheel of the optical flow literature."""

from __future__ import annotations

import torch
from torch import Tensor

LEAST = 0.1
"""Pixels: a video that moves less stays pale, or the noise of a still one would be painted like a storm."""

UNKNOWN = 1e9
"""Pixels: a component this long, infinite or not a number says that the flow is unknown, as in Middlebury's files."""


def flow_colours(flow: Tensor, largest: float | None = None) -> Tensor:
    """Paint flow: the direction is the hue, the length is the saturation, no motion is white, unknown flow is black.

    The layout is that of Baker et al. 2011 ("A database and evaluation methodology for optical flow", figure 7): to
    the right is red, down is yellowish, to the left is cyan, up is violet. The hues are the plain HSV circle instead
    of their 55 hand-picked steps, so that opposite directions are complements and a third of a turn swaps channels.

    Args:
        flow: float (N, 2, H, W) in pixels, x first; see :data:`UNKNOWN`.
        largest: the length in pixels that is fully saturated, as is everything longer; by default the longest flow in
            the whole batch, but at least :data:`LEAST`. Give one to compare two batches.

    Returns:
        uint8 (N, 3, H, W) RGB on the flow's device.

    Raises:
        ValueError: ``largest`` is not a positive number.
    """
    known = (flow.abs() < UNKNOWN).all(1, keepdim=True)
    x, y = torch.where(known, flow, 0).float().unbind(1)
    length = torch.hypot(x, y).unsqueeze(1)
    if largest is None:
        largest = max(float(length.max()), LEAST) if length.numel() else LEAST
    if not largest > 0:
        raise ValueError(f"the flow length that is fully saturated must be a positive number of pixels, not {largest}")
    saturation = (length / largest).clamp(max=1)
    # Sixths of a turn; red, green and blue peak at 0, 2 and 4, each a plateau two wide with a ramp on either side.
    turn = torch.atan2(y, x).unsqueeze(1) * (3 / torch.pi)
    peaks = turn.new_tensor((0.0, 2.0, 4.0)).view(1, 3, 1, 1)
    away = ((turn - peaks + 3) % 6 - 3).abs()
    hue = (2 - away).clamp(0, 1)
    colours = 255 * (1 - saturation * (1 - hue)) * known
    return colours.round().to(torch.uint8)

"""Bring pictures to sides that a network can halve, by repeating their last rows and columns."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def padded_size(size: Sequence[int], multiple: int) -> tuple[int, int]:
    """The least (height, width) from ``size`` on that are multiples of ``multiple``, and at least twice it."""
    height, width = (max(2 * multiple, -(-side // multiple) * multiple) for side in size)
    return height, width


def extended(pictures: Tensor, size: Sequence[int]) -> Tensor:
    """Pictures (..., H, W) at a larger (height, width): the last row and column go on to the right and down."""
    rows, columns = (
        torch.arange(target, device=pictures.device).clamp(max=length - 1)
        for target, length in zip(size, pictures.shape[-2:], strict=True)
    )
    return pictures[..., rows, :][..., columns]

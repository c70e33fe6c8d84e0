"""What a network looks at: image pyramids in space, and the K-frame windows of the video discriminator in time.

The video discriminator (the paper's D_V) judges K frames at once, which are 1, K, K^2, ... frames apart. A video
arrives in chunks, so a window may begin in the past: whoever trains keeps the last :func:`history_length` frames,
detached, puts the new chunk behind them, and reads the windows that end in the chunk. With K = 3 and chunks of four
frames, chunk 2 (frames 4 to 7) is judged as [5, 6, 7] and [2, 3, 4] at scale 0 and as [1, 4, 7] at scale 1.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def pyramid(pictures: Tensor, scales: int) -> tuple[Tensor, ...]:
    """Halve pictures again and again: average pool 3x3, stride 2, padding 1, padded pixels not counted.

    One-hot labels, edges and images alike go through it, so coarse labels are soft.

    Args:
        pictures: float (..., C, H, W); compact labels are encoded before, their ids cannot be averaged.
        scales: how many levels, at least 1.

    Returns:
        ``scales`` tensors (..., C, H_s, W_s), coarsest first; the last is ``pictures`` itself. Odd sizes round up.

    Raises:
        TypeError: the pictures are not floating point.
        ValueError: ``scales`` is less than 1.
    """
    if not torch.is_floating_point(pictures):
        raise TypeError(f"a pyramid averages float pictures, not {pictures.dtype}; encode labels before")
    if scales < 1:
        raise ValueError(f"a pyramid has at least 1 scale, not {scales}")
    levels = [pictures]
    for _ in range(scales - 1):
        flat = levels[-1].reshape(-1, *levels[-1].shape[-3:])
        half = F.avg_pool2d(flat, 3, stride=2, padding=1, count_include_pad=False)
        levels.append(half.reshape(*pictures.shape[:-2], *half.shape[-2:]))
    return tuple(reversed(levels))


def flow_pyramid(flow: Tensor, scales: int) -> tuple[Tensor, ...]:
    """As :func:`pyramid` for flow (..., 2, H, W) in pixels: at half the resolution a motion is half as many pixels."""
    levels = pyramid(flow, scales)
    return tuple(level * 0.5 ** (scales - 1 - s) for s, level in enumerate(levels))


def history_length(frames: int, scales: int) -> int:
    """How many past frames the windows of all scales need: (K-1) K^(S-1).

    Args:
        frames: K, frames in a window.
        scales: S, the number of temporal scales.
    """
    return (frames - 1) * frames ** (scales - 1) if scales else 0


def temporal_windows(history: int, chunk: int, frames: int, scale: int) -> tuple[tuple[int, ...], ...]:
    """The windows of one temporal scale that end in the newest chunk.

    They end at the chunk's last frame, K before it, 2K before it, and so on, at every scale: the ends advance by K, the
    frames inside a window are K^scale apart. A window whose first frame is not there (the video is young) is left out.

    Args:
        history: how many past frames are at hand; those older than :func:`history_length` are never asked for.
        chunk: how many new frames there are.
        frames: K, frames in a window, at least 2.
        scale: s, 0 for adjacent frames.

    Returns:
        Windows, newest first, each K rising indices into ``cat([past, new])``: index ``history`` is the chunk's first
        frame. These are frame numbers of the video exactly while ``history`` reaches back to its first frame.
    """
    stride = frames**scale
    span = stride * (frames - 1)
    last = history + chunk - 1
    ends = range(last, max(history, span) - 1, -frames)
    return tuple(tuple(range(end - span, end + 1, stride)) for end in ends)

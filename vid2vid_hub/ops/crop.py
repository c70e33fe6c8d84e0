"""Cut boxes out of pictures and bring them to one size, for a judge who looks at a region."""

from __future__ import annotations

import torch
from torch import Tensor


def crop(pictures: Tensor, boxes: Tensor, size: int) -> Tensor:
    """Resample one box of each picture bilinearly to ``size`` x ``size`` pixels.

    A box of exactly that size in whole pixels is the slice ``[..., y0:y1, x0:x1]``, bit for bit. Beyond the border the
    border goes on. The samples are the centres of the new pixels: a much larger box is thinned out, not averaged. An
    empty box gives one colour everywhere; who must not see that leaves such pictures out.

    Args:
        pictures: float (N, C, H, W).
        boxes: int or float (N, 4) x0, y0, x1, y1 in pixels, on the pictures' device; pixel n reaches from n to n + 1,
            so x1 and y1 are exclusive.
        size: the new height and width.

    Returns:
        float (N, C, size, size), of the pictures' precision.
    """
    height, width = pictures.shape[-2:]
    # Half-precision coordinates miss by a pixel on wide pictures, so places are never computed in less than float32.
    exact = torch.promote_types(torch.promote_types(pictures.dtype, boxes.dtype), torch.float32)
    x0, y0, x1, y1 = boxes.to(exact).unbind(1)
    rows = _resampled(pictures, 2, *_neighbours(y0, y1, size, height))
    return _resampled(rows, 3, *_neighbours(x0, x1, size, width)).to(pictures.dtype)


def _neighbours(low: Tensor, high: Tensor, size: int, length: int) -> tuple[Tensor, Tensor, Tensor]:
    """The pixels before and after each of ``size`` samples, and the share of the one after: (N, size) each."""
    step = (high - low)[:, None] / size
    place = low[:, None] + (step * (torch.arange(size, device=low.device) + 0.5) - 0.5)
    place = place.clamp(0, length - 1)
    before = place.floor()
    return before.long(), (before + 1).clamp(max=length - 1).long(), place - before


def _resampled(pictures: Tensor, axis: int, before: Tensor, after: Tensor, share: Tensor) -> Tensor:
    """Bilinear sampling is linear sampling of one axis after the other, and exact where a sample meets a pixel."""
    line, shape = [len(pictures), 1, 1, 1], list(pictures.shape)
    line[axis] = shape[axis] = share.shape[1]
    one, other = (pictures.gather(axis, index.view(line).expand(shape)).to(share.dtype) for index in (before, after))
    return torch.lerp(one, other, share.view(line))

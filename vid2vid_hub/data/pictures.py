"""Whatever a person brings as a video -> blocks of uint8 pictures (n, C, H, W), in constant memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from vid2vid_hub.data.video import open_video
from vid2vid_hub.errors import VideoError

Pictures = str | Path | np.ndarray[Any, Any] | Tensor | Iterable[Any]
"""A file or folder, an array (T, H, W[, C]), a tensor (T, C, H, W), or PIL images, arrays or tensors one by one."""

BLOCK = 8


def picture_blocks(source: Pictures, block: int = BLOCK) -> Iterator[Tensor]:
    """Read pictures a few at a time.

    Args:
        source: see :data:`Pictures`. A palette image counts as its indices, a grey one as its values: one channel.
        block: how many pictures at a time; only the last block is shorter.

    Yields:
        uint8 (n, C, H, W), C being 1 or 3.

    Raises:
        VideoError: there is no picture, or one is not what a picture can be; named by its number, counted from 0.
    """
    pictures = _pictures(source)
    first, shape = 0, None
    while group := list(islice(pictures, block)):
        converted = [_picture(item, first + i) for i, item in enumerate(group)]
        shape = shape or converted[0].shape  # of the first picture of all, not of the block
        for i, picture in enumerate(converted):
            if picture.shape != shape:
                raise VideoError(
                    f"picture {first + i} is {_size(picture.shape)} after {_size(shape)}; all must be alike"
                )
        yield torch.stack(converted)
        first += len(group)
    if first == 0:
        raise VideoError("the video has no frames")


def _pictures(source: Pictures) -> Iterator[Any]:
    if isinstance(source, str | Path):
        with open_video(source) as reader:
            yield from reader.frames()
    elif isinstance(source, Image.Image):
        yield source
    else:
        yield from source


def _picture(item: Any, number: int) -> Tensor:
    if isinstance(item, Image.Image):  # values of more than 8 bits would be cut to 255, so they go on to be refused
        item = np.asarray(item if item.mode in ("L", "P", "RGB") or item.mode[0] in "IF" else item.convert("RGB"))
    tensor = item if isinstance(item, Tensor) else None
    if isinstance(item, np.ndarray) and item.ndim in (2, 3) and item.dtype == np.uint8:
        pixels = item[..., None] if item.ndim == 2 else item
        tensor = torch.from_numpy(np.require(pixels, requirements=["C", "W"])).movedim(-1, 0)
    right = tensor is not None and tensor.ndim == 3 and tensor.dtype == torch.uint8
    if tensor is None or not right or tensor.shape[0] not in (1, 3) or 0 in tensor.shape:
        shaped = isinstance(item, np.ndarray | Tensor)
        found = f"{item.dtype} {tuple(item.shape)}" if shaped else type(item).__name__
        raise VideoError(
            f"picture {number} is {found}; expected uint8 with 1 or 3 channels: an array (H, W, C), a tensor (C, H, W) "
            "or a PIL image"
        )
    return tensor


def _size(shape: torch.Size) -> str:
    channels, height, width = shape
    return f"{width}x{height} with {channels} channel{'s' if channels > 1 else ''}"

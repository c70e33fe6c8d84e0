"""``preview.mp4``: what a card shows, small enough to be looked at before anything is downloaded."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from fractions import Fraction
from itertools import chain, islice, tee
from pathlib import Path

import numpy as np
from PIL import Image

from vid2vid_hub.data.encode import VideoWriter
from vid2vid_hub.data.policy import Pictures
from vid2vid_hub.errors import ModelError
from vid2vid_hub.tasks import Task
from vid2vid_hub.types import Condition

FPS = Fraction(25)
FRAMES = 250
MAX_BYTES = 2_000_000
WIDEST = 1280
"""Pixels of both pictures together."""
QUALITIES = (18, 24, 30, 36, 44)


def write_preview(
    path: Path,
    task: Task,
    conditions: Iterator[Condition],
    generate: Callable[[Iterator[Condition]], Iterator[Pictures]],
    *,
    skip: int = 0,
) -> None:
    """Write conditions and what is made of them side by side; coarser and coarser, until the file is small.

    Args:
        path: of the .mp4 file.
        task: shows its conditions.
        conditions: a few frames at a time; at most :data:`FRAMES` are shown.
        generate: frames uint8 (H, W, 3) from conditions, one for one.
        skip: how many frames at the start are not shown.

    Raises:
        ModelError: no quality makes it small enough.
        VideoError: the file cannot be written.
    """
    shown, driving = tee(conditions)
    previews = chain.from_iterable(task.preview(condition).cpu() for condition in shown)
    seen = (preview.permute(1, 2, 0).contiguous().numpy() for preview in previews)
    pairs = zip(seen, generate(driving), strict=False)
    frames = [_fit(np.concatenate(pair, 1)) for pair in islice(pairs, skip, skip + FRAMES)]
    for crf in QUALITIES:
        with VideoWriter(path, FPS, crf=crf, repeatable=True) as writer:
            for frame in frames:
                writer.write(frame)
        if path.stat().st_size <= MAX_BYTES:
            return
    path.unlink()
    raise ModelError(f"a preview of {len(frames)} frames stays over {MAX_BYTES} bytes; put a smaller {path.name} there")


def _fit(picture: Pictures) -> Pictures:
    height, width = picture.shape[:2]
    if width <= WIDEST:
        return picture
    size = WIDEST, max(2, round(height * WIDEST / width))
    return np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.LANCZOS))

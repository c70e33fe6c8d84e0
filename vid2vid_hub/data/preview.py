"""A minute to look at before training: a few seconds of every clip, real frames beside what the task makes of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from vid2vid_hub.data.clips import PreparedClip
from vid2vid_hub.data.encode import VideoWriter
from vid2vid_hub.data.pictures import BLOCK
from vid2vid_hub.data.policy import Pictures
from vid2vid_hub.tasks import Task

SECONDS, CLIP_SECONDS, LEAST_SECONDS = 60.0, 3.0, 0.5
"""Of the whole, and the most and the least of a clip: where there are too many, evenly chosen ones are shown."""
_FPS = Fraction(25)
_LARGEST = 360
"""Pixels; the longer side of either picture."""
_TITLE = 20


def write_preview(path: Path, clips: Sequence[PreparedClip], task: Task) -> None:
    """Write an H.264 file of at most a minute; clips keep their shape within one common size."""
    most = int(SECONDS / LEAST_SECONDS)
    shown = clips if len(clips) <= most else [clips[i * len(clips) // most] for i in range(most)]
    seconds = min(CLIP_SECONDS, SECONDS / len(shown))
    height, width = (max(clip.size[axis] for clip in shown) for axis in range(2))
    scale = min(1.0, _LARGEST / max(height, width))
    pane = max(2, round(height * scale)), max(2, round(width * scale))
    with VideoWriter(path, _FPS, repeatable=True) as writer:
        for clip in shown:
            title = _title(clip, 2 * pane[1])
            for real, seen in _pairs(clip, task, seconds):
                writer.write(np.concatenate((title, np.concatenate((_fit(real, pane), _fit(seen, pane)), 1))))


def _pairs(clip: PreparedClip, task: Task, seconds: float) -> Iterator[tuple[Pictures, Pictures]]:
    """The middle of a clip at the preview's own pace: real frames and previews, uint8 (H, W, 3)."""
    step = float(clip.fps / _FPS)
    count = max(1, min(int(seconds * _FPS), int(clip.length / step)))
    start = (clip.length - int((count - 1) * step) - 1) // 2
    wanted = [start + int(i * step) for i in range(count)]
    for i in range(0, count, BLOCK):
        block = wanted[i : i + BLOCK]
        frames, condition = clip.frames(block[0], block[-1] + 1), clip.condition(block[0], block[-1] + 1)
        previews = task.preview(condition).cpu()
        for t in block:
            yield tuple(x[t - block[0]].permute(1, 2, 0).contiguous().numpy() for x in (frames, previews))  # type: ignore[misc]


def _fit(picture: Pictures, pane: tuple[int, int]) -> Pictures:
    """A picture as large as a pane allows, in its middle, on black."""
    height, width = picture.shape[:2]
    scale = min(pane[0] / height, pane[1] / width, 1.0)
    size = max(1, round(height * scale)), max(1, round(width * scale))
    fitted = np.zeros((*pane, 3), np.uint8)
    top, left = (pane[0] - size[0]) // 2, (pane[1] - size[1]) // 2
    resized = Image.fromarray(picture).resize((size[1], size[0]), Image.Resampling.LANCZOS)
    fitted[top : top + size[0], left : left + size[1]] = np.asarray(resized)
    return fitted


def _title(clip: PreparedClip, width: int) -> Pictures:
    bar = Image.new("RGB", (width, _TITLE))
    font = ImageFont.load_default(13)
    text = f"{clip.name}   {clip.folder.name}   {clip.length} frames"
    ImageDraw.Draw(bar).text((4, 2), text, (255, 255, 255), font)
    return np.asarray(bar)

"""A pipeline's output as files that people watch: the video, and condition and video side by side."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain, islice, tee
from pathlib import Path

import numpy as np
import torch

from vid2vid_hub.data.encode import VideoWriter
from vid2vid_hub.data.pictures import picture_blocks
from vid2vid_hub.data.video import open_video
from vid2vid_hub.errors import ConditionError
from vid2vid_hub.past import Past
from vid2vid_hub.pipeline import Vid2VidPipeline
from vid2vid_hub.recursion import FirstFrames
from vid2vid_hub.tasks import Task
from vid2vid_hub.types import Condition


@dataclass(frozen=True)
class Rendered:
    """What was written: the video, the side-by-side one if it was asked for, and how many frames."""

    video: Path
    side_by_side: Path | None
    frames: int


def is_condition(task: Task, source: Path) -> bool:
    """Whether a file or folder holds conditions of the task or real frames, judged by its kind or its first picture.

    What the task reads in its own way is a condition, so is one channel; colours are one if the task can parse them.

    Raises:
        VideoError: there is no picture to judge.
    """
    if task.reads(source):
        return True
    with open_video(source) as reader:
        first = next(picture_blocks(reader.frames(0, 1)))
    if first.shape[1] == 1:
        return True
    try:
        task.parse(first)
    except ConditionError:
        return False
    return True


def render(
    pipeline: Vid2VidPipeline,
    conditions: Iterable[Condition],
    output: Path,
    *,
    fps: Fraction | float,
    first_frames: FirstFrames | None = None,
    style: int | None = None,
    side_by_side: bool = False,
    skip: int = 0,
    report: Callable[[int], None] = lambda frames: None,
) -> Rendered:
    """Generate a video into a file, in constant memory; files appear under their names only when they are whole.

    Args:
        pipeline: what generates.
        conditions: from :meth:`Vid2VidPipeline.conditions`.
        output: an .mp4, .mkv or .mov file.
        fps: frames a second.
        first_frames: as in :meth:`Vid2VidPipeline.stream`.
        style: as there.
        side_by_side: also write ``<output>-side-by-side`` with the condition on the left.
        skip: how many frames at the start are not written.
        report: called with the number of frames written.

    Raises:
        VideoError, ConditionError, TaskError, ModelError: as in :meth:`Vid2VidPipeline.stream`, or the disk is full.
    """
    beside = output.with_name(f"{output.stem}-side-by-side{output.suffix}") if side_by_side else None
    # Only who draws both may keep both: the half of a tee that nobody reads grows as long as the video.
    shown, driving = tee(conditions) if beside else ((), conditions)
    count = 0
    with ExitStack() as files:
        video = files.enter_context(VideoWriter(output, fps))
        pair = files.enter_context(VideoWriter(beside, fps)) if beside else None
        previews = islice(_previews(pipeline.task, shown), skip, None)
        for frame in islice(pipeline.stream(condition=driving, first_frames=first_frames, style=style), skip, None):
            video.write(frame)
            if pair is not None:
                pair.write(np.concatenate((next(previews), frame), 1))
            count += 1
            report(count)
    return Rendered(output, beside, count)


def render_futures(
    pipeline: Vid2VidPipeline,
    past: Past,
    output: Path,
    *,
    future: int,
    samples: int = 1,
    seed: int = 0,
    fps: Fraction | float,
    first_frames: FirstFrames | None = None,
    side_by_side: bool = False,
    report: Callable[[int], None] = lambda frames: None,
) -> Iterator[Rendered]:
    """What may come after a past, each future in a file of its own: OUTPUT is the likeliest, OUTPUT-2, … are drawn.

    Args:
        pipeline: with a forecaster.
        past: from :meth:`Vid2VidPipeline.past`.
        output: as in :func:`render`.
        future: frames of each.
        samples: how many futures.
        seed: of those that are drawn; the same seed draws the same ones.
        fps: frames a second.
        first_frames: "generated" or "zeros", for a past without pictures.
        side_by_side: as in :func:`render`, with the forecast condition on the left.
        report: called with the number of frames written, of all futures together.

    Yields:
        Every future when it is written.

    Raises:
        VideoError, ConditionError, TaskError, ModelError: as in :meth:`Vid2VidPipeline.stream`, or the disk is full.
    """
    for number in range(samples):
        random = torch.Generator().manual_seed(seed + number) if number else None

        def count(frames: int, before: int = number * future) -> None:
            report(before + frames)

        yield render(
            pipeline,
            pipeline.ahead(past, future, random),
            output.with_name(f"{output.stem}-{number + 1}{output.suffix}") if number else output,
            fps=fps,
            first_frames=first_frames if past.frames is None else past.frames,
            side_by_side=side_by_side,
            skip=len(past.condition),
            report=count,
        )


def _previews(task: Task, conditions: Iterable[Condition]) -> Iterator[np.ndarray[tuple[int, ...], np.dtype[np.uint8]]]:
    """Drawn only when they are asked for."""
    pictures = chain.from_iterable(task.preview(condition).cpu() for condition in conditions)
    return (picture.permute(1, 2, 0).contiguous().numpy() for picture in pictures)

"""A pipeline's output as files that people watch: the video, and condition and video side by side."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain, islice, tee
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from vid2vid_hub.data.encode import VideoWriter
from vid2vid_hub.data.mark import marked, provenance
from vid2vid_hub.data.pictures import picture_blocks
from vid2vid_hub.data.policy import Pictures
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
        return shows_condition(task, next(picture_blocks(reader.frames(0, 1))))


def shows_condition(task: Task, pictures: Tensor) -> bool:
    """Whether pictures, uint8 (n, C, H, W), are conditions of the task: one channel is, and colours that it can parse.

    Real frames are not.
    """
    if pictures.shape[1] == 1:
        return True
    try:
        task.parse(pictures)
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
    mark: bool = False,
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
        mark: whether frames carry a small visible mark; that they are generated always stands in the container.
        report: called with the number of frames written.

    Raises:
        VideoError, ConditionError, TaskError, ModelError: as in :meth:`Vid2VidPipeline.stream`, or the disk is full.
    """
    beside = output.with_name(f"{output.stem}-side-by-side{output.suffix}") if side_by_side else None
    count = 0
    frames = rendering(
        pipeline,
        conditions,
        output,
        fps=fps,
        first_frames=first_frames,
        style=style,
        beside=beside,
        skip=skip,
        mark=mark,
    )
    with closing(frames):  # or, while somebody looks at an error of report, half-written files would stay
        for count, _ in enumerate(frames, 1):
            report(count)
    return Rendered(output, beside, count)


def rendering(
    pipeline: Vid2VidPipeline,
    conditions: Iterable[Condition],
    output: Path,
    *,
    fps: Fraction | float,
    first_frames: FirstFrames | None = None,
    style: int | None = None,
    generator: torch.Generator | None = None,
    beside: Path | None = None,
    skip: int = 0,
    mark: bool = False,
) -> Generator[Pictures, None, None]:
    """As :func:`render`, frame by frame: who closes it before its end leaves no file behind.

    Args:
        pipeline: as there.
        conditions: as there.
        output: as there.
        fps: as there.
        first_frames: as there.
        style: as there.
        generator: as in :meth:`Vid2VidPipeline.stream`.
        beside: also write the condition and the frame beside each other into this file.
        skip: as in :func:`render`.
        mark: as there.

    Raises:
        VideoError, ConditionError, TaskError, ModelError: as there.

    Yields:
        Every frame once it is written, as it was written: uint8 (H, W, 3).
    """
    # Only who draws both may keep both: the half of a tee that nobody reads grows as long as the video.
    shown, driving = tee(conditions) if beside else ((), conditions)
    about = provenance(str(pipeline.config.get("_name_or_path") or pipeline.task.name))
    with ExitStack() as files:
        video = files.enter_context(VideoWriter(output, fps, metadata=about))
        pair = files.enter_context(VideoWriter(beside, fps, metadata=about)) if beside else None
        previews = islice(_previews(pipeline.task, shown), skip, None)
        frames = pipeline.stream(condition=driving, first_frames=first_frames, style=style, generator=generator)
        for made in islice(frames, skip, None):
            frame = marked(made) if mark else made
            video.write(frame)
            if pair is not None:
                pair.write(np.concatenate((next(previews), frame), 1))
            yield frame


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
    mark: bool = False,
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
        mark: as there.
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
            mark=mark,
            skip=len(past.condition),
            report=count,
        )


def _previews(task: Task, conditions: Iterable[Condition]) -> Iterator[Pictures]:
    """Drawn only when they are asked for."""
    pictures = chain.from_iterable(task.preview(condition).cpu() for condition in conditions)
    return (picture.permute(1, 2, 0).contiguous().numpy() for picture in pictures)

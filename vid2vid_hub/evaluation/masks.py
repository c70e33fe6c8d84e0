"""Label maps that were forecast, measured on held-out clips beside what costs nothing: the last map, kept or moved on.

The paper's future prediction (section 4) is judged by its pictures; this is about the first of its two steps.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import chain

import torch
from torch import Tensor

from vid2vid_hub.data.clips import ClipSource
from vid2vid_hub.errors import DatasetError, TaskError
from vid2vid_hub.nn.frozen import FlowTeacher
from vid2vid_hub.ops.measures import confusion, mean_iou
from vid2vid_hub.ops.warp import warp
from vid2vid_hub.pipeline import Vid2VidPipeline
from vid2vid_hub.types import Condition

HORIZONS = (1, 3, 9, 26)
"""Frames ahead that are measured; 3 and 9 are what is usual for Cityscapes, 26 is where its clips of 30 frames end."""

SYSTEMS = ("forecast", "last map kept", "last map moved on")
"""What is measured: the pipeline's likeliest future; the last observed map; and that map carried on by the last real
motion, as if everything at a place went on as it did there."""

MEASURES = tuple(f"miou t+{horizon}" for horizon in HORIZONS)
"""What is shown to people; :func:`evaluate_future` says more."""

_ALL = MEASURES + tuple(f"accuracy t+{horizon}" for horizon in HORIZONS)

MEANING = {
    "forecast": "this model: its likeliest future",
    "last map kept": "the last observed map, kept",
    "last map moved on": "the last observed map, moved on by the last real flow, which the model is not shown",
    **{m: f"mean IoU of the classes that occur, {m.split('+')[1]} frames ahead, all pixels together" for m in MEASURES},
    **{m: f"share of pixels that are right, {m.split('+')[1]} frames ahead" for m in _ALL[len(MEASURES) :]},
}
"""What systems and measures are, in words for a card."""

BETTER = dict.fromkeys(_ALL, "higher")

Report = dict[str, dict[str, float]]


def evaluate_future(
    pipeline: Vid2VidPipeline,
    clips: Sequence[ClipSource],
    *,
    every: int = 1,
    teacher: FlowTeacher,
    progress: Callable[[str], None] = lambda clip: None,
) -> Report:
    """Forecast from every place in every clip, and compare with what came.

    The truth is what the dataset holds; where that came from a segmenter, the figures are about its labels, noise
    included. Overlaps are those of all pixels of all forecasts together, not means over frames.

    Args:
        pipeline: with a forecaster.
        clips: held-out clips, measured at their own size.
        every: frames from one forecast's start to the next one's.
        teacher: of the last motion, for clips without cached flow.
        progress: called with the name of every clip when it is done.

    Returns:
        system -> measure -> figure: "miou t+h", the mean overlap of the classes that occur, and "accuracy t+h", the
        share of pixels that are right, for all h of :data:`HORIZONS` that clips are long enough for.

    Raises:
        DatasetError: no clip is long enough to measure.
        ModelError: the pipeline has no forecaster.
        TaskError: the task has no label maps.
    """
    labels = pipeline.task.labels
    if labels is None:
        raise TaskError(f"task '{pipeline.task.name}' has no label maps, by which forecasts are measured")
    classes = len(labels.names)
    counts: dict[str, dict[int, Tensor]] = {system: {} for system in SYSTEMS}
    for clip in clips:
        truth = clip.condition(0, clip.length)
        for start in range(pipeline.observed, clip.length, every):
            ahead = min(HORIZONS[-1], clip.length - start)
            for system, maps in _forecasts(pipeline, clip, truth, start, ahead, teacher):
                for horizon in (h for h in HORIZONS if h <= ahead):
                    found = confusion(maps[horizon - 1][None], truth.maps[start + horizon - 1][None], classes)[0]
                    counts[system][horizon] = counts[system].get(horizon, 0) + found
        progress(clip.name)
    if not counts[SYSTEMS[0]]:
        raise DatasetError(
            f"no clip has more than the {pipeline.observed} frames that a forecast goes on from; give longer ones"
        )
    return {system: _figures(found) for system, found in counts.items()}


def _forecasts(
    pipeline: Vid2VidPipeline, clip: ClipSource, truth: Condition, start: int, ahead: int, teacher: FlowTeacher
) -> Iterator[tuple[str, list[Tensor]]]:
    """Every system's maps of frames start .. start + ahead - 1, each uint8 (1, H, W)."""
    past = pipeline.past(condition=truth[start - pipeline.observed : start])
    forecast = chain.from_iterable(one.maps.cpu() for one in pipeline.ahead(past, ahead))
    last = truth.maps[start - 1]
    yield "forecast", list(forecast)[len(past.condition) :]
    yield "last map kept", [last] * ahead
    yield "last map moved on", _moved(last, _motion(clip, start - 1, teacher), ahead)


def _motion(clip: ClipSource, frame: int, teacher: FlowTeacher) -> Tensor:
    """The real flow of a frame to the one before it, (1, 2, H, W) pixels; zero for the first of a clip."""
    if not frame:
        return torch.zeros(1, 2, *clip.size)
    cached = clip.flow(frame - 1, frame + 1)
    if cached is not None:
        return cached
    before, now = clip.frames(frame - 1, frame + 1).float().div(127.5).sub(1).split(1)
    return teacher.flow(before, now)


def _moved(labels: Tensor, flow: Tensor, ahead: int) -> list[Tensor]:
    """Labels (1, H, W) carried on ``ahead`` times by the same flow: exact places, the label of the nearest pixel."""
    height, width = labels.shape[1:]
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    places = torch.stack((x, y)).float()[None]
    maps = []
    for _ in range(ahead):
        places = warp(places, flow)
        column, row = places[0].round().long()
        maps.append(labels[:, row.clamp(0, height - 1), column.clamp(0, width - 1)])
    return maps


def _figures(counts: dict[int, Tensor]) -> dict[str, float]:
    figures = {}
    for horizon, found in sorted(counts.items()):
        figures[f"miou t+{horizon}"] = float(mean_iou(found))
        figures[f"accuracy t+{horizon}"] = float(found.diagonal().sum() / found.sum())
    return figures

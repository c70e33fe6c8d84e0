"""A pipeline measured on held-out clips, beside floors that any honest system must beat."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import cast

import torch
from torch import Tensor

from vid2vid_hub.data.clips import ClipSource
from vid2vid_hub.errors import DatasetError, Vid2VidError
from vid2vid_hub.evaluation.frechet import (
    WINDOW,
    frechet_distance,
    kernel_distance,
    window_features,
    window_starts,
    windows,
)
from vid2vid_hub.nn.frozen import DISFlow, FlowTeacher, confidence
from vid2vid_hub.nn.i3d import I3D
from vid2vid_hub.nn.perceptual import LPIPS
from vid2vid_hub.ops.measures import psnr, warping_error
from vid2vid_hub.pipeline import Vid2VidPipeline
from vid2vid_hub.recursion import FirstFrames

REAL = "real video"

SYSTEMS = ("generated", "no flow", "copy of the last frame", "first frame held", REAL)
"""What is measured: the pipeline; the same network hallucinating every frame, where it has a flow to do without; the
pipeline's video one frame late; the frame before the first measured one for ever; and the real video, whose warping
error is the least that the measure can say."""

MEASURES = ("psnr", "lpips", "warping", "motion", "fvd", "kvd")

MEANING = {
    "generated": "this model",
    "no flow": "the same network with its flow off: every frame is hallucinated",
    "copy of the last frame": "the model's own video, one frame late",
    "first frame held": "the frame before the first measured one, for ever",
    REAL: "the real video: the least warping error that the measure can say",
    "psnr": "peak signal-to-noise ratio in dB, mean of all frames",
    "lpips": "LPIPS v0.1 on VGG16, mean of all frames",
    "warping": "mean absolute change along the real video's flow where that is reliable, images in [-1, 1]",
    "motion": "mean length of the DIS flow over that of the real video: 1 is right, 0 is a still",
    "fvd": f"Fréchet distance of I3D features from those of the real windows of {WINDOW} frames",
    "kvd": f"kernel distance of the same features of windows of {WINDOW} frames",
}
"""What systems and measures are, in words for a card."""

BETTER = {"psnr": "higher", "lpips": "lower", "warping": "lower", "fvd": "lower", "kvd": "lower"}

FIRST_FRAMES = ("real", "generated", "zeros")

BLOCK = 16
"""Frames that are measured at once."""

Report = dict[str, dict[str, float]]


def evaluate(
    pipeline: Vid2VidPipeline,
    clips: Sequence[ClipSource],
    *,
    lpips_weights: Path | None = None,
    i3d_weights: str | Path | None = None,
    first_frames: str | None = None,
    teacher: FlowTeacher,
    progress: Callable[[str], None] = lambda clip: None,
) -> Report:
    """Generate every clip from its condition, and measure all systems on the same frames.

    Frames are measured from 1 on, since some measures compare with the frame before; or from L on, where the L first
    are real and given. Windows are cut from all frames but given ones.

    The Fréchet video distance is biased: with few windows even two halves of one video are far apart. A value says
    nothing without the number of windows, and only systems measured on the same windows compare. The kernel distance
    has no such bias, only more noise. Both see what a window shows more than how it moves, so that a still can be
    nearer than a blurred video; read them beside "motion".

    Args:
        pipeline: what is measured.
        clips: held-out clips, measured at their own size.
        lpips_weights: safetensors with VGG16 and LPIPS heads; None leaves LPIPS out.
        i3d_weights: safetensors of :class:`vid2vid_hub.nn.i3d.I3D`; None leaves the distances of windows out.
        first_frames: what the generator goes on from: "real" is the clip's own first L frames, L being the history of
            the generator; "generated", "zeros" and None as in :meth:`Vid2VidPipeline.stream`.
        teacher: for clips without cached flow.
        progress: called with the name of every clip when it is done.

    Returns:
        system -> measure -> mean over all measured frames of all clips: "psnr" in dB, "lpips", "warping" in [-1, 1]
        units; or one figure for all: "motion", the mean length of the DIS flow over that of the real video, which is 1
        for the right amount of motion, 0 for a still, more for jitter; "fvd" and "kvd", the Fréchet and the kernel
        distance of I3D's features from those of the real windows; "windows", how many there were.

    Raises:
        DatasetError: no clip is long enough to measure.
        ModelError: weights cannot be had, or the pipeline cannot begin in that way.
    """
    if first_frames not in (None, *FIRST_FRAMES):
        raise Vid2VidError(f"first frames cannot be '{first_frames}'; they can be {', '.join(FIRST_FRAMES)}")
    given = int(pipeline.generator.history) if first_frames == "real" else 0
    start = max(given, 1)
    clips = [clip for clip in clips if clip.length > start]
    _check_lengths(clips, given, i3d_weights is not None)
    lpips = LPIPS(lpips_weights).to(pipeline.device) if lpips_weights is not None else None
    i3d = I3D(i3d_weights).to(pipeline.device) if i3d_weights is not None else None
    collected: dict[str, dict[str, list[Tensor]]] = {}
    for clip in clips:
        real = clip.frames(0, clip.length)
        flow = _flow(clip, real, teacher)
        for system, video in _systems(pipeline, clip, real, flow, first_frames, start):
            into = collected.setdefault(system, {})
            for measure, values in _frame_by_frame(video, real, flow, start, None if system == REAL else lpips).items():
                into.setdefault(measure, []).append(values)
            if i3d is not None:
                into.setdefault("features", []).append(window_features(i3d, windows(video[given:])))
        progress(clip.name)
    made = {system: {name: torch.cat(parts) for name, parts in into.items()} for system, into in collected.items()}
    figures = {system: _figures(values, made[REAL]) for system, values in made.items() if system != REAL}
    return figures | {REAL: {"warping": float(made[REAL]["warping"].mean())}}


def _check_lengths(clips: Sequence[ClipSource], given: int, cut: bool) -> None:
    if not clips:
        need = "two" if given < 2 else str(given + 1)
        raise DatasetError(
            f"there are no clips of {need} or more frames to evaluate on: the split is empty or too short"
        )
    count = sum(len(window_starts(clip.length - given)) for clip in clips)
    if cut and count < 2:
        raise DatasetError(
            f"distances of windows need two or more windows of {WINDOW} frames, and these clips hold {count}; "
            "give longer clips, or leave the weights of I3D out"
        )


def _systems(
    pipeline: Vid2VidPipeline, clip: ClipSource, real: Tensor, flow: Tensor, first_frames: str | None, start: int
) -> Iterator[tuple[str, Tensor]]:
    """The systems one after the other, in the order of SYSTEMS, as uint8 (T, 3, H, W)."""
    generator, condition = pipeline.generator, clip.condition(0, clip.length)
    given = cast(FirstFrames | None, first_frames)
    if first_frames == "real":
        given = real[: generator.history] if generator.history else "zeros"
    motion = torch.cat((torch.zeros_like(flow[:1]), flow)) if generator.takes_flow else None

    def stream(warp: bool) -> Tensor:
        frames = pipeline.stream(condition=condition, first_frames=given, flow=motion, output_type="pt", warp=warp)
        return torch.stack(list(frames))

    generated = stream(warp=True)
    yield "generated", generated
    if generator.config.get("flow", False):
        yield "no flow", stream(warp=False)
    yield "copy of the last frame", torch.cat((generated[:1], generated[:-1]))
    yield "first frame held", generated[start - 1].expand_as(generated)
    yield REAL, real


def _flow(clip: ClipSource, real: Tensor, teacher: FlowTeacher) -> Tensor:
    flow = clip.flow(0, clip.length)
    if flow is not None:
        return flow
    blocks = (_pictures(real[i - 1 : i + BLOCK]) for i in range(1, len(real), BLOCK))
    return torch.cat([teacher.flow(frames[:-1], frames[1:]) for frames in blocks])


@torch.inference_mode()
def _frame_by_frame(video: Tensor, real: Tensor, flow: Tensor, start: int, lpips: LPIPS | None) -> dict[str, Tensor]:
    """Every measure of frames start .. T-1, each (T - start,); "moved" is the mean length of the flow in pixels."""
    measured: dict[str, list[Tensor]] = {}
    for first in range(start, len(video), BLOCK):
        made, truth = (_pictures(frames[first - 1 : first + BLOCK]) for frames in (video, real))
        motion = flow[first - 1 : first - 1 + BLOCK]
        values = {
            "psnr": psnr(made[1:], truth[1:]),
            "warping": warping_error(made, motion, confidence(truth[:-1], truth[1:], motion)),
            "moved": DISFlow().flow(made[:-1], made[1:]).norm(dim=1).mean((1, 2)),
        }
        if lpips is not None:
            values["lpips"] = _lpips(lpips, made[1:], truth[1:])
        for measure, value in values.items():
            measured.setdefault(measure, []).append(value)
    return {measure: torch.cat(values) for measure, values in measured.items()}


def _figures(made: dict[str, Tensor], real: dict[str, Tensor]) -> dict[str, float]:
    figures: dict[str, float] = {m: float(made[m].mean()) for m in ("psnr", "lpips", "warping") if m in made}
    if real["moved"].sum() > 0:
        figures["motion"] = float(made["moved"].mean() / real["moved"].mean())
    if "features" in made:
        figures["fvd"] = frechet_distance(made["features"], real["features"])
        figures["kvd"] = kernel_distance(made["features"], real["features"])
        figures["windows"] = float(len(made["features"]))
    return figures


def _lpips(network: LPIPS, a: Tensor, b: Tensor) -> Tensor:
    device = network.heads[0].device
    pairs = zip(a.split(4), b.split(4), strict=True)
    return torch.cat([network(x.to(device), y.to(device)).cpu() for x, y in pairs])


def _pictures(frames: Tensor) -> Tensor:
    return frames.float().div(127.5).sub(1)

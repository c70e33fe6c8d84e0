"""A pipeline measured on held-out clips, beside floors that any honest system must beat."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor

from vid2vid_hub.data.clips import ClipSource
from vid2vid_hub.errors import DatasetError
from vid2vid_hub.evaluation.measures import psnr, warping_error
from vid2vid_hub.nn.frozen import LPIPS, FlowTeacher, confidence
from vid2vid_hub.pipeline import Vid2VidPipeline

SYSTEMS = ("generated", "no flow", "copy of the last frame", "first frame held", "real video")
"""What is measured: the pipeline; the same network hallucinating every frame; the pipeline's video one frame late; its
first frame for ever; and the real video, whose warping error is the least that the measure can say."""

Report = dict[str, dict[str, float]]


def evaluate(
    pipeline: Vid2VidPipeline,
    clips: Sequence[ClipSource],
    *,
    lpips_weights: Path | None = None,
    teacher: FlowTeacher,
    progress: Callable[[str], None] = lambda clip: None,
) -> Report:
    """Generate every clip from nothing but its condition, and measure frames 1 to T-1 of all systems.

    Args:
        pipeline: what is measured.
        clips: held-out clips, measured at their own size.
        lpips_weights: safetensors with VGG16 and LPIPS heads; None leaves LPIPS out.
        teacher: for clips without cached flow.
        progress: called with the name of every clip when it is done.

    Returns:
        system -> measure -> mean over all frames of all clips: "psnr" in dB, "lpips", "warping" in [-1, 1] units.

    Raises:
        DatasetError: there are no clips, or none is longer than one frame.
    """
    clips = [clip for clip in clips if clip.length > 1]
    if not clips:
        raise DatasetError("there are no clips of two or more frames to evaluate on; the split is empty")
    lpips = LPIPS(lpips_weights).to(pipeline.device) if lpips_weights else None
    collected: dict[str, dict[str, list[Tensor]]] = {system: {} for system in SYSTEMS}
    for clip in clips:
        real = clip.frames(0, clip.length).float().div(127.5).sub(1)
        flow, trust = _motion(clip, real, teacher)
        for system, frames in _systems(pipeline, clip, real).items():
            measured = {"psnr": psnr(frames[1:], real[1:]), "warping": warping_error(frames, flow, trust)}
            if lpips is not None:
                measured["lpips"] = _lpips(lpips, frames[1:], real[1:], pipeline.device)
            if system == "real video":
                measured = {"warping": measured["warping"]}
            for measure, values in measured.items():
                collected[system].setdefault(measure, []).append(values)
        progress(clip.name)
    return {
        system: {measure: float(torch.cat(values).mean()) for measure, values in measures.items()}
        for system, measures in collected.items()
    }


def _systems(pipeline: Vid2VidPipeline, clip: ClipSource, real: Tensor) -> dict[str, Tensor]:
    condition = clip.condition(0, clip.length)
    generated, hallucinated = (
        torch.stack([frame.float().div(127.5).sub(1) for frame in stream])
        for stream in (pipeline.stream(condition=condition, output_type="pt", warp=warp) for warp in (True, False))
    )
    late = torch.cat((generated[:1], generated[:-1]))
    held = generated[:1].expand_as(generated)
    return dict(zip(SYSTEMS, (generated, hallucinated, late, held, real), strict=True))


def _motion(clip: ClipSource, real: Tensor, teacher: FlowTeacher) -> tuple[Tensor, Tensor]:
    flow = clip.flow(0, clip.length)
    if flow is None:
        flow = teacher.flow(real[:-1], real[1:])
    return flow, confidence(real[:-1], real[1:], flow)


@torch.inference_mode()
def _lpips(network: LPIPS, a: Tensor, b: Tensor, device: torch.device) -> Tensor:
    pairs = zip(a.split(4), b.split(4), strict=True)
    return torch.cat([network(x.to(device), y.to(device)).cpu() for x, y in pairs])

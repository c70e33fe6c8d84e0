"""How near a generator in training comes to clips that it has never seen."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext

import torch
from torch import Tensor

from vid2vid_hub.data.clips import ClipSource, learned
from vid2vid_hub.nn.frozen import FlowTeacher, confidence
from vid2vid_hub.nn.perceptual import LPIPS
from vid2vid_hub.ops.measures import confusion, mean_iou, psnr, warping_error
from vid2vid_hub.tasks import Task
from vid2vid_hub.training.networks import Generator
from vid2vid_hub.training.rollout import Autocast, Beginning, Rollout, roll_out


def validate(
    network: Generator,
    task: Task,
    clips: Sequence[ClipSource],
    size: tuple[int, int],
    *,
    frames: int,
    lpips: LPIPS | None = None,
    teacher: FlowTeacher | None = None,
    first_frames: Beginning = "zeros",
    scales: int | None = None,
    autocast: Autocast = nullcontext,
) -> dict[str, float]:
    """Measure the generator on the first frames of every held-out clip, at the size of the training.

    For watching a training and comparing its epochs. Figures to report come from ``evaluate``, which measures whole
    clips at their own size, rounded as they are delivered, beside floors.

    Args:
        network: bare, without what distributes it.
        task: whose conditions it reads.
        clips: held out.
        size: (height, width) in pixels.
        frames: how many frames of every clip are looked at.
        lpips: None leaves that measure out. It runs on the device that it is on.
        teacher: for clips without cached flow; without either they have no warping error.
        first_frames: as in :func:`roll_out`; real ones are not measured.
        scales: as in :meth:`Vid2VidGenerator.begin`.
        autocast: what the generator runs in; measures are taken in float32.

    Returns:
        measure -> mean over all generated frames of all clips: "psnr" in dB, "warping" in [-1, 1] units (but for the
        first frame of each clip), "lpips"; "miou" alone, of every frame's own classes, where the generator makes label
        maps. What no clip could be measured by is left out; without clips that is all.

    Raises:
        ModelError, DatasetError, VideoError: as in :func:`roll_out`.
    """
    collected: dict[str, list[Tensor]] = {}
    for clip in clips:
        rollout = roll_out(
            network,
            task,
            clip,
            frames,
            size,
            first_frames=first_frames,
            scales=scales,
            teacher=teacher,
            autocast=autocast,
        )
        measured = _measured(rollout, lpips) if task.frame_classes is None else _overlap(rollout, task)
        for measure, values in measured.items():
            collected.setdefault(measure, []).append(values)
    return {measure: float(torch.cat(values).mean()) for measure, values in collected.items()}


def _measured(rollout: Rollout, lpips: LPIPS | None) -> dict[str, Tensor]:
    """Measure -> one value a frame."""
    image, real = rollout.generated.image[0], rollout.clip.frames[0]
    measured = {"psnr": psnr(image, real)}
    if rollout.clip.flow is not None and len(image) > 1:
        flow = rollout.clip.flow[0]
        measured["warping"] = warping_error(image, flow, confidence(real[:-1], real[1:], flow))
    if lpips is not None:
        measured["lpips"] = _lpips(lpips, image, real)
    return measured


def _overlap(rollout: Rollout, task: Task) -> dict[str, Tensor]:
    """Measure -> one value a frame, of label maps."""
    made, truth = (x[0].argmax(1, keepdim=True) for x in (rollout.generated.image, learned(task, rollout.clip)))
    return {"miou": mean_iou(confusion(made, truth, rollout.generated.image.shape[2]))}


@torch.no_grad()
def _lpips(network: LPIPS, image: Tensor, real: Tensor) -> Tensor:
    """(T,), one frame at a time: the maps of VGG are large."""
    device = next(network.parameters()).device
    pairs = zip(image.split(1), real.split(1), strict=True)
    return torch.cat([network(a.to(device), b.to(device)).cpu() for a, b in pairs])

"""Released networks as ours, by way of the converter, for tests that compare with the released system."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from vid2vid_hub.convert.judges import discriminator, judged_frames
from vid2vid_hub.convert.network import Plan
from vid2vid_hub.convert.video import video_generator
from vid2vid_hub.nn.discriminator import MultiscaleDiscriminator
from vid2vid_hub.nn.generator import Vid2VidGenerator

Weights = dict[str, torch.Tensor]


def read(path: Path) -> Weights:
    """A fixture's file; it is no stranger's, so no quarantine is needed."""
    return torch.load(path, weights_only=True)


def load(folder: Path, options: dict[str, Any], channels: int) -> Vid2VidGenerator:
    """The generator of a case, in float64; what the converter found out must be what the case's options say."""
    scales = options.get("n_scales_spatial", 1)
    problems: list[str] = []
    plan = Plan(*video_generator([read(folder / f"latest_net_G{scale}.pth") for scale in range(scales)], problems))
    assert not problems
    said = {
        "condition_channels": channels,
        "base_channels": options["ngf"],
        "downsamples": options["n_downsample_G"],
        "blocks": options["n_blocks"],
        "scales": scales,
        "flow": not options.get("no_flow", False),
        "foreground": options.get("fg", False),
    }
    assert said.items() <= plan.config.items()
    return plan.build(Vid2VidGenerator).double()


def load_judge(path: Path, in_time: bool = False) -> MultiscaleDiscriminator:
    """A discriminator of a case; ``in_time`` for D_T."""
    weights, problems = read(path), []
    frames = judged_frames(weights, path.name) if in_time else 0
    plan = Plan(*discriminator(weights, path.name, problems, frames))
    assert not problems
    return plan.build(MultiscaleDiscriminator)

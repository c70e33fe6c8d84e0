"""What it takes to go on training what was converted: discriminators, and a recipe that starts from all of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from vid2vid_hub.convert.network import Plan
from vid2vid_hub.nn.discriminator import IMAGE, REGION, MultiscaleDiscriminator
from vid2vid_hub.nn.image import Pix2PixHDGenerator
from vid2vid_hub.pipeline import Vid2VidPipeline

SIZE = (256, 512)
"""(height, width) to train at where neither a person nor the task's recipe says it."""


def write_recipe(
    folder: Path, judges: dict[str, Plan], frames: int, pipeline: Vid2VidPipeline, saved: Path, final: Path
) -> None:
    """Write the discriminators and ``recipe.yaml``.

    Args:
        folder: to write into.
        judges: by the names in :mod:`vid2vid_hub.nn.discriminator`.
        frames: K, that D_V judges together.
        pipeline: that was converted.
        saved: where the pipeline will be.
        final: where ``folder`` will be.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name, plan in judges.items():
        plan.build(MultiscaleDiscriminator).save_pretrained(folder / name)
    text = yaml.safe_dump(_recipe(judges, frames, pipeline, saved, final), sort_keys=False, width=120)
    (folder / "recipe.yaml").write_text(
        "# Go on training what was converted, with frames and epochs of your choice:\n"
        f"# vid2vid-hub train --recipe {final} --data DATA --output RUN\n{text}",
        encoding="utf-8",
    )


def _recipe(
    judges: dict[str, Plan], frames: int, pipeline: Vid2VidPipeline, saved: Path, final: Path
) -> dict[str, Any]:
    """The recipe, over the task's own if it brings one."""
    task, network = pipeline.task, pipeline.generator
    alone = isinstance(network, Pix2PixHDGenerator)
    settings = {key: value for key, value in network.config.items() if not key.startswith("_")}
    settings.pop("condition_channels")
    height, width = _stage_size(pipeline)
    stage = {"epochs": 10, "width": width, "height": height} | ({"frames": 1, "unroll": 1} if alone else {})
    values: dict[str, Any] = ({} if task.recipe is None else {"base": task.name}) | {
        "task": task.name,
        "task_config": task.config(),
        "network": "pix2pixhd" if alone else "vid2vid",
        "start": str(saved.resolve()),
        "stages": [stage],
        "generator": settings,
    }
    if pipeline.first_frame is not None and not pipeline.first_frame.config.appearance_channels:
        values["first_frame"] = str(saved.resolve())
    if alone:
        values |= {"video_discriminator": {"strides": 0}, "first_frames": {"zeros": 1.0}}
    if not judges:
        return values
    values["judges"] = str(final.resolve())
    size = {name: {key: v for key, v in plan.config.items() if key != "inputs"} for name, plan in judges.items()}
    if IMAGE in size:
        values["discriminator"] = size[IMAGE]
    of_video = [name for name in size if name not in (IMAGE, REGION)]
    if of_video:
        values["video_discriminator"] = {"strides": len(of_video), "frames": frames} | size[of_video[0]]
    if REGION in size:
        values["region_discriminator"] = size[REGION]
    return values


def _stage_size(pipeline: Vid2VidPipeline) -> tuple[int, int]:
    """(height, width), such as the networks can halve."""
    own = pipeline.task.recipe
    height, width = SIZE
    if own is not None:
        last = yaml.safe_load(own.read_text("utf-8"))["stages"][-1]
        height, width = int(last["height"]), int(last["width"])
    height, width = pipeline.size or (height, width)
    multiple = pipeline.generator.multiple
    height, width = (max(2, -(-side // multiple)) * multiple for side in (height, width))
    return height, width

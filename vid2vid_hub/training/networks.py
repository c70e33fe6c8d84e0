"""The networks that a recipe asks for: the generator, and whoever judges it."""

from __future__ import annotations

from dataclasses import asdict
from typing import cast

import torch
from torch import Tensor

from vid2vid_hub.errors import RecipeError
from vid2vid_hub.nn.discriminator import MultiscaleDiscriminator
from vid2vid_hub.nn.generator import Vid2VidGenerator
from vid2vid_hub.nn.image import Pix2PixHDGenerator
from vid2vid_hub.pipeline import Network, Vid2VidPipeline
from vid2vid_hub.tasks import Task
from vid2vid_hub.training.recipe import Recipe
from vid2vid_hub.types import Condition

Generator = Network

IMAGE, REGION = "image", "region"


def video_judge(stride: int) -> str:
    """The name of D_V at a temporal stride."""
    return f"video_x{stride}"


def strides(recipe: Recipe) -> dict[str, int]:
    """The names of all D_V and s of their strides K^s."""
    video = recipe.video_discriminator
    return {video_judge(video.frames**s): s for s in range(video.strides)}


def build_generator(recipe: Recipe, task: Task) -> Generator:
    """The generator, new; the foreground prior is on where the task has one and the recipe lets it.

    Raises:
        RecipeError: an argument is unknown, or a stage does not fit the generator.
    """
    try:
        if recipe.network == "pix2pixhd":
            image = Pix2PixHDGenerator(condition_channels=task.channels, **recipe.generator)
            return _checked(recipe, image)
        has_foreground = task.encode(_blank(task)).foreground is not None
        asked = {"foreground": has_foreground} | recipe.generator
        if asked["foreground"] and not has_foreground:
            raise RecipeError(
                f"the recipe wants the foreground prior, but task '{recipe.task}' gives no foreground mask"
            )
        return _checked(recipe, Vid2VidGenerator(condition_channels=task.channels, **asked))
    except TypeError as error:
        raise RecipeError(f"the recipe's generator cannot be built: {error}") from error


def build_judges(recipe: Recipe, task: Task) -> dict[str, MultiscaleDiscriminator]:
    """D_I, D_V for every temporal stride, and the region discriminator, new, by name.

    Raises:
        RecipeError: an argument is unknown, or the task names no regions.
    """
    try:
        judges = {IMAGE: MultiscaleDiscriminator(inputs=task.channels + 3, **recipe.discriminator)}
        video, region = recipe.video_discriminator, recipe.region_discriminator
        size = {"base_channels": video.base_channels, "layers": video.layers, "scales": video.scales}
        for name in strides(recipe):
            judges[name] = MultiscaleDiscriminator(inputs=3 * video.frames + 2 * (video.frames - 1), **size)
    except TypeError as error:
        raise RecipeError(f"the recipe's discriminator cannot be built: {error}") from error
    if region is not None:
        if task.regions(_blank(task)) is None:
            raise RecipeError(f"the recipe wants a region discriminator, but task '{recipe.task}' names no regions")
        size = {name: value for name, value in asdict(region).items() if name != "size"}
        judges[REGION] = MultiscaleDiscriminator(inputs=task.channels + 3, **size)
    return judges


def continue_from(generator: Generator, start: str) -> None:
    """Give a generator the weights of a trained pipeline's; scales beyond that one's keep their own.

    Raises:
        RecipeError: the pipeline's generator is another one, and where they differ.
        ModelError, TaskError: the pipeline cannot be loaded.
    """
    theirs = cast(Generator, Vid2VidPipeline.from_pretrained(start).generator)
    ours = generator.state_dict()
    weights = {key: tensor.float() for key, tensor in theirs.state_dict().items()}
    wrong = [key for key, tensor in weights.items() if key not in ours or ours[key].shape != tensor.shape]
    begun = tuple(f"networks.{scale}." for scale in range(len(getattr(theirs, "networks", ()))))
    missing = [key for key in ours if key not in weights and (key.startswith(begun) or not begun)]
    if wrong or missing:
        raise RecipeError(
            f"the generator of {start} is not the recipe's: {len(wrong)} weights have no place or another shape, "
            f"{len(missing)} are missing, the first being {(wrong + missing)[0]}; give both the same settings"
        )
    generator.load_state_dict(weights, strict=False)


def load_first_frame(source: str, task: Task) -> Pix2PixHDGenerator:
    """The single-image generator of a pipeline: its ``first_frame``, or its generator if that is one.

    Raises:
        RecipeError: the pipeline has none, or it reads other conditions.
        ModelError, TaskError: the pipeline cannot be loaded.
    """
    pipeline = Vid2VidPipeline.from_pretrained(source)
    found = pipeline.generator if pipeline.first_frame is None else pipeline.first_frame
    if not isinstance(found, Pix2PixHDGenerator):
        raise RecipeError(f"{source} has no single-image generator; train one with 'network: pix2pixhd'")
    if found.config.condition_channels != task.channels:
        raise RecipeError(
            f"the first frame generator of {source} reads {found.config.condition_channels} channels; "
            f"task '{task.name}' encodes {task.channels}"
        )
    found.requires_grad_(False)
    return cast(Pix2PixHDGenerator, found)


def _checked(recipe: Recipe, generator: Generator) -> Generator:
    count = len(generator.networks) if isinstance(generator, Vid2VidGenerator) else 1
    for stage in recipe.stages:
        scales = count if stage.scales is None else stage.scales
        if scales > count or stage.frozen >= scales:
            raise RecipeError(
                f"a stage trains {scales} scales, {stage.frozen} of them frozen; this generator has {count}"
            )
        video = isinstance(generator, Vid2VidGenerator)
        multiple = generator.multiple_at(scales) if video else generator.multiple
        if stage.height % multiple or stage.width % multiple or min(stage.height, stage.width) < 2 * multiple:
            raise RecipeError(
                f"a stage trains at {stage.width}x{stage.height}; this generator needs both sides to be "
                f"multiples of {multiple} and at least {2 * multiple}"
            )
    return generator


def _blank(task: Task) -> Condition:
    """One small frame of zeros, to ask a task what it gives."""
    maps: Tensor = torch.zeros(1, task.maps, 32, 32, dtype=torch.uint8)
    return Condition(maps)

"""The networks that a recipe asks for: the generator, and whoever judges it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import cast

import torch
from torch import Tensor

from vid2vid_hub.errors import RecipeError
from vid2vid_hub.nn.discriminator import IMAGE, REGION, MultiscaleDiscriminator, video_judge
from vid2vid_hub.nn.generator import Vid2VidGenerator
from vid2vid_hub.nn.image import Pix2PixHDGenerator
from vid2vid_hub.pipeline import Vid2VidPipeline
from vid2vid_hub.recursion import Network
from vid2vid_hub.tasks import Task
from vid2vid_hub.training.recipe import Recipe
from vid2vid_hub.types import Condition

Generator = Network

IMAGE_CHANNELS = 3


def strides(recipe: Recipe) -> dict[str, int]:
    """The names of all D_V and s of their strides K^s."""
    video = recipe.video_discriminator
    return {video_judge(video.frames**s): s for s in range(video.strides)}


def frame_channels(task: Task) -> int:
    """Channels of the frames that a generator of the task makes."""
    return IMAGE_CHANNELS if task.frame_classes is None else task.frame_classes


def build_generator(recipe: Recipe, task: Task) -> Generator:
    """The generator, new; the foreground prior is on where the task has one and the recipe lets it.

    Raises:
        RecipeError: an argument is unknown, or a stage does not fit the generator.
    """
    try:
        if recipe.network == "pix2pixhd":
            if task.frame_classes is not None:
                raise RecipeError(f"task '{recipe.task}' makes no pictures; 'network: pix2pixhd' makes nothing else")
            image = Pix2PixHDGenerator(condition_channels=task.channels, **recipe.generator)
            return _checked(recipe, image)
        has_foreground = task.encode(_blank(task)).foreground is not None
        classes = task.frame_classes
        own = {} if classes is None else {"image_channels": classes, "frames": "probabilities"}
        asked = {"foreground": has_foreground} | own | recipe.generator
        if asked["foreground"] and not has_foreground:
            raise RecipeError(
                f"the recipe wants the foreground prior, but task '{recipe.task}' gives no foreground mask"
            )
        return _checked(recipe, Vid2VidGenerator(condition_channels=task.channels, **asked))
    except TypeError as error:
        raise RecipeError(f"the recipe's generator cannot be built: {error}") from error


def build_judges(recipe: Recipe, task: Task) -> dict[str, MultiscaleDiscriminator]:
    """D_I, D_V for every temporal stride, and the region discriminator, new, by name; those that the recipe asks for.

    Raises:
        RecipeError: an argument is unknown, or the task names no regions.
    """
    made = frame_channels(task)
    try:
        judges: dict[str, MultiscaleDiscriminator] = {}
        if recipe.discriminator is not None:
            judges[IMAGE] = MultiscaleDiscriminator(inputs=task.channels + made, **recipe.discriminator)
        video, region = recipe.video_discriminator, recipe.region_discriminator
        size = {key: value for key, value in asdict(video).items() if key not in ("strides", "frames")}
        for name in strides(recipe):
            judges[name] = MultiscaleDiscriminator(inputs=made * video.frames + 2 * (video.frames - 1), **size)
    except TypeError as error:
        raise RecipeError(f"the recipe's discriminator cannot be built: {error}") from error
    if region is not None:
        if task.regions(_blank(task)) is None:
            raise RecipeError(f"the recipe wants a region discriminator, but task '{recipe.task}' names no regions")
        size = {name: value for name, value in asdict(region).items() if name != "size"}
        judges[REGION] = MultiscaleDiscriminator(inputs=task.channels + made, **size)
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


def start_judges(judges: Mapping[str, MultiscaleDiscriminator], folder: str) -> None:
    """Give discriminators the weights of those of the same names in a folder; others keep their own.

    Raises:
        RecipeError: none of them is there, or one is of other settings, and which.
        ModelError: one cannot be loaded.
    """
    known = [name for name in judges if (Path(folder) / name).is_dir()]
    if not known:
        raise RecipeError(
            f"there is no discriminator to start from in {folder}; it must hold one of the folders "
            f"{', '.join(judges) or '(the recipe has no discriminators)'}"
        )
    for name in known:
        theirs = MultiscaleDiscriminator.from_pretrained(str(Path(folder) / name))
        differing = [
            f"{key} {theirs.config[key]} there and {judges[name].config[key]} here"
            for key in ("inputs", "base_channels", "layers", "scales", "norm")
            if theirs.config[key] != judges[name].config[key]
        ]
        if differing:
            raise RecipeError(
                f"the discriminator {name} of {folder} is not the recipe's: {', '.join(differing)}; give both the same "
                "settings"
            )
        judges[name].load_state_dict(theirs.state_dict())


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


def load_forecaster(source: str, task: Task) -> Vid2VidGenerator:
    """The forecaster of a pipeline, or its generator if that is one.

    Raises:
        RecipeError: the pipeline has none, or the recipe trains one itself.
        ModelError, TaskError: the pipeline cannot be loaded.
    """
    if task.frame_classes is not None:
        raise RecipeError("the recipe trains a forecaster; it takes none beside it")
    pipeline = Vid2VidPipeline.from_pretrained(source)
    found = pipeline.generator if pipeline.forecaster is None else pipeline.forecaster
    if not isinstance(found, Vid2VidGenerator) or found.config.frames != "probabilities":
        raise RecipeError(f"{source} has no forecaster: a generator that was trained to make label maps")
    found.requires_grad_(False)
    return cast(Vid2VidGenerator, found)


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

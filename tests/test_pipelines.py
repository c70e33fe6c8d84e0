"""What is under pipelines/: every folder is parsed, built and goes to disk and back; an ablation changes one field."""

from __future__ import annotations

import json
from hashlib import sha256
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import init_empty_weights

from vid2vid_hub import Vid2VidPipeline
from vid2vid_hub.nn.generator import Vid2VidGenerator
from vid2vid_hub.nn.image import Pix2PixHDGenerator
from vid2vid_hub.tasks import get_task
from vid2vid_hub.training.networks import build_generator, build_judges
from vid2vid_hub.training.parse import load_recipe, own_recipe, parse_recipe, plain
from vid2vid_hub.training.recipe import Recipe

PIPELINES = Path(__file__).parents[1] / "pipelines"
SHIPPED = {str(file.parent.relative_to(PIPELINES)): file for file in sorted(PIPELINES.rglob("recipe.yaml"))}
ABLATIONS = {
    "no-prior": "generator.foreground",
    "no-video-discriminator": "video_discriminator.strides",
    "no-flow": "generator.flow",
    "given-flow": "generator.given_flow",
}
FINER = {
    "stages",
    "generator.scales",
    "discriminator.scales",
    "video_discriminator.scales",
    "optimizer.decay",
    "checkpointing",
}


def flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Mappings within mappings as one, "optimizer.rate" and so on."""
    flattened: dict[str, Any] = {}
    for key, value in values.items():
        inner = isinstance(value, dict) and value
        flattened |= flat(value, f"{prefix}{key}.") if inner else {prefix + key: value}
    return flattened


def differing(one: Recipe, other: Recipe) -> set[str]:
    ours, theirs = flat(plain(one)), flat(plain(other))
    return {key for key in ours | theirs if ours.get(key, ...) != theirs.get(key, ...)}


@pytest.mark.parametrize("path", SHIPPED.values(), ids=SHIPPED)
def test_a_recipe_is_valid_and_its_networks_can_be_built(path: Path):
    """Without memory for their weights; every stage has a size and a number of scales that fit, or it is refused."""
    recipe = load_recipe(path)
    assert parse_recipe(plain(recipe)) == recipe
    task = get_task(recipe.task, recipe.task_config)
    with init_empty_weights():
        generator, judges = build_generator(recipe, task), build_judges(recipe, task)
    assert all(p.is_meta for network in (generator, *judges.values()) for p in network.parameters())
    assert isinstance(generator, Pix2PixHDGenerator if recipe.network == "pix2pixhd" else Vid2VidGenerator)
    judged = (recipe.discriminator, recipe.region_discriminator)
    assert len(judges) == recipe.video_discriminator.strides + sum(one is not None for one in judged)


@pytest.mark.parametrize("path", SHIPPED.values(), ids=SHIPPED)
def test_the_networks_of_a_recipe_come_back_from_their_configs(path: Path, tmp_path: Path):
    """At full size, without memory for their weights: the config says all that there is to know of a network."""
    recipe = load_recipe(path)
    task = get_task(recipe.task, recipe.task_config)
    with init_empty_weights():
        made = {"generator": build_generator(recipe, task), **build_judges(recipe, task)}
        for name, network in made.items():
            network.save_config(tmp_path / name)
            config = type(network).load_config(tmp_path / name)
            assert settings(config) == settings(network.config)
            again = type(network).from_config(config)
            assert settings(again.config) == settings(network.config)
            assert {key: one.shape for key, one in again.state_dict().items()} == {
                key: one.shape for key, one in network.state_dict().items()
            }


@pytest.mark.parametrize("path", SHIPPED.values(), ids=SHIPPED)
def test_a_pipeline_of_a_recipe_comes_back_from_disk(path: Path, tmp_path: Path):
    """With real weights: the recipe's own generator, but for its width."""
    recipe = load_recipe(path, {"generator.base_channels": "8"})
    task = get_task(recipe.task, recipe.task_config)
    stage = recipe.stages[-1]
    torch.manual_seed(0)
    pipeline = Vid2VidPipeline(build_generator(recipe, task), task, size=(stage.height, stage.width))
    assert told(again(pipeline, tmp_path / "saved")) == told(pipeline)


@pytest.mark.parametrize("name", [name for name, file in SHIPPED.items() if (file.parent / "generator").is_dir()])
def test_a_pipeline_with_weights_comes_back_from_disk(name: str, tmp_path: Path):
    folder = SHIPPED[name].parent
    pipeline = Vid2VidPipeline.from_pretrained(folder)
    assert told(again(pipeline, tmp_path / "saved")) == told(pipeline)
    for network in folder.glob("*/config.json"):
        ours, theirs = (
            json.loads((one / network.relative_to(folder)).read_text()) for one in (folder, tmp_path / "saved")
        )
        assert settings(ours).items() <= settings(theirs).items()


def settings(config: Any) -> dict[str, Any]:
    """The settings of a network, without what diffusers notes beside them."""
    return {key: value for key, value in dict(config).items() if not key.startswith("_")}


def again(pipeline: Vid2VidPipeline, folder: Path) -> Vid2VidPipeline:
    """Saved and loaded."""
    pipeline.save_pretrained(folder)
    return Vid2VidPipeline.from_pretrained(folder)


def told(pipeline: Vid2VidPipeline) -> dict[str, Any]:
    """Size and task, and of each network the settings, and the precision and bits of each weight."""
    networks = {name: one for name, one in pipeline.components.items() if isinstance(one, torch.nn.Module)}
    return {
        "size": pipeline.size,
        "task": (pipeline.task.name, pipeline.task.config()),
        "components": {name for name, one in pipeline.components.items() if one is not None},
        "settings": {name: settings(network.config) for name, network in networks.items()},
        "weights": {
            name: {key: bits(one) for key, one in network.state_dict().items()} for name, network in networks.items()
        },
    }


def bits(tensor: torch.Tensor) -> tuple[torch.dtype, tuple[int, ...], str]:
    raw = tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy()
    return tensor.dtype, tuple(tensor.shape), sha256(raw).hexdigest()


def test_the_recipes_that_are_spoken_of_are_there():
    spoken = {"toy", "street-small", "street-512", "street-1024", "street-2048", "street-first-frame"}
    spoken |= {f"{name}-starter" for name in ("dance", "face", "future", "street")}
    assert spoken | {f"ablations/{name}" for name in ABLATIONS} <= set(SHIPPED)


@pytest.mark.parametrize(("name", "field"), ABLATIONS.items())
def test_an_ablation_differs_from_its_base_in_one_field(name: str, field: str):
    """Whatever the base is: the task's own recipe, or another that is set."""
    path = SHIPPED[f"ablations/{name}"]
    assert differing(load_recipe(path), load_recipe(own_recipe("seg2street"))) == {field}
    small = SHIPPED["street-small"]
    assert differing(load_recipe(path, {"base": str(small)}), load_recipe(small)) == {field}


def test_an_ablation_builds_what_it_says():
    def networks(name: str) -> tuple[Any, set[str]]:
        recipe = load_recipe(SHIPPED[name])
        task = get_task(recipe.task, recipe.task_config)
        with init_empty_weights():
            return build_generator(recipe, task), set(build_judges(recipe, task))

    full, judges = networks("street-512")
    assert (full.config.flow, full.has_foreground, full.takes_flow) == (True, True, False)
    assert judges == {"image", "video_x1", "video_x3", "video_x9"}
    assert networks("ablations/no-video-discriminator")[1] == {"image"}
    assert not networks("ablations/no-prior")[0].has_foreground
    assert not networks("ablations/no-flow")[0].config.flow
    assert networks("ablations/given-flow")[0].takes_flow


def test_the_scales_of_the_paper_are_one_training():
    """Each goes on from the one before: a scale more, a stage list of its own, and nothing else about the method."""
    first, second, third = (load_recipe(SHIPPED[f"street-{width}"]) for width in (512, 1024, 2048))
    assert first == load_recipe(own_recipe("seg2street"))
    assert differing(second, first) == differing(third, first) == FINER
    assert [one.generator["scales"] for one in (first, second, third)] == [1, 2, 3]


@pytest.mark.parametrize("name", [name for name, file in SHIPPED.items() if (file.parent / "generator").is_dir()])
def test_a_recipe_beside_weights_makes_their_generator(name: str):
    recipe = load_recipe(SHIPPED[name])
    with init_empty_weights():
        made = build_generator(recipe, get_task(recipe.task, recipe.task_config))
    saved = Vid2VidGenerator.load_config(SHIPPED[name].parent / "generator")
    ours = {key: value for key, value in made.config.items() if key in saved and not key.startswith("_")}
    assert ours == {key: value for key, value in saved.items() if not key.startswith("_")}
    index = json.loads((SHIPPED[name].parent / "model_index.json").read_text())
    assert (index["task"], index["height"], index["width"]) == (
        recipe.task,
        recipe.stages[-1].height,
        recipe.stages[-1].width,
    )


@pytest.mark.parametrize("name", sorted(path.name for path in PIPELINES.glob("*-starter")))
def test_a_starter_generates_its_sample(name: str, tmp_path: Path):
    folder = PIPELINES / name
    assert (folder / "README.md").is_file()
    assert all(file.stat().st_size < 16e6 for file in folder.rglob("*"))
    pipeline = Vid2VidPipeline.from_pretrained(folder)
    (sample,) = folder.glob("sample.*")
    frames = list(islice(pipeline.stream(condition=str(sample)), 3))
    assert [frame.shape for frame in frames] == [(*(pipeline.size or ()), 3)] * 3
    assert all(frame.std() > 20 for frame in frames)

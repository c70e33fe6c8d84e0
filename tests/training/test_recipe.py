"""The recipe: what it refuses, what it writes and reads back, and that nothing in it is for show."""

from __future__ import annotations

import dataclasses
import sys
from dataclasses import fields
from pathlib import Path
from typing import get_type_hints

import pytest
import torch
import yaml
from safetensors.torch import save_file

from vid2vid_hub.data.clips import read_clips
from vid2vid_hub.errors import RecipeError
from vid2vid_hub.nn.discriminator import MultiscaleDiscriminator
from vid2vid_hub.nn.frozen import VGG16
from vid2vid_hub.nn.generator import Vid2VidGenerator
from vid2vid_hub.tasks import get_task
from vid2vid_hub.training import recipe as module
from vid2vid_hub.training.recipe import Recipe, load_recipe, parse_recipe, without_paths
from vid2vid_hub.training.trainer import Trainer

ROOT = Path(__file__).parents[2]
SHIPPED = sorted([*ROOT.glob("pipelines/*/recipe.yaml"), *ROOT.glob("plugins/*/recipe.yaml")])
MINIMAL = {"task": "toy", "stages": [{"epochs": 1, "width": 48, "height": 32}]}


def written(folder: Path, values: object) -> Path:
    path = folder / "recipe.yaml"
    path.write_text(values if isinstance(values, str) else yaml.safe_dump(values))
    return path


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.parent.name)
def test_a_shipped_recipe_is_valid(path: Path):
    recipe = load_recipe(path)
    assert get_task(recipe.task, recipe.task_config).name == recipe.task
    assert parse_recipe(recipe.to_dict()) == recipe


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.parent.name)
def test_the_networks_of_a_shipped_recipe_can_be_built(path: Path):
    """Without memory for their weights; every stage must have a size that they can halve."""
    recipe = load_recipe(path)
    task = get_task(recipe.task, recipe.task_config)
    with torch.device("meta"):
        generator = Vid2VidGenerator(task.channels, **recipe.generator)
        MultiscaleDiscriminator(task.channels + 3, **recipe.discriminator)
    assert all(side % generator.multiple == 0 for stage in recipe.stages for side in (stage.height, stage.width))


def test_some_recipes_are_shipped():
    assert {"toy", "vid2vid_street"} <= {path.parent.name for path in SHIPPED}


def test_a_recipe_survives_saving(tmp_path: Path, tiny_recipe):
    recipe = parse_recipe(tiny_recipe | {"task_config": {"deep": {"list": [1, None, "no"]}}, "precision": "bf16"})
    recipe.save(tmp_path / "recipe.yaml")
    assert load_recipe(tmp_path) == load_recipe(tmp_path / "recipe.yaml") == recipe
    assert list(yaml.safe_load((tmp_path / "recipe.yaml").read_text())) == [f.name for f in fields(Recipe)]


def test_the_default_precision_survives_yaml(tmp_path: Path):
    parse_recipe(MINIMAL).save(tmp_path / "recipe.yaml")
    assert load_recipe(tmp_path).precision == "no"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"rate": 1}, r"unknown 'rate'; known are .*optimizer"),
        ({"optimizer": {"lr": 1e-4}}, r"recipe: optimizer: unknown 'lr'; known are beta1, beta2, decay, rate"),
        ({"stages": [{"epochs": 1, "width": 8, "height": 8, "fps": 2}]}, r"stages\[0\]: unknown 'fps'"),
        ({"stages": [{"epochs": 1, "width": 8}]}, r"stages\[0\]: 'height' must be given"),
        ({"stages": []}, "at least one stage"),
        ({"stages": {}}, r"stages: expected a list, found \{\}"),
        ({"stages": [{"epochs": 1.5, "width": 8, "height": 8}]}, r"stages\[0\]: epochs: expected int, found 1.5"),
        ({"stages": [{"epochs": True, "width": 8, "height": 8}]}, "epochs: expected int, found True"),
        ({"stages": [{"epochs": 1, "width": 8, "height": 8, "unroll": 0}]}, "unroll is 0; it must be 1 or more"),
        ({"task": 3}, "task: expected str, found 3"),
        ({"task_config": "cityscapes"}, "task_config: expected a mapping, found 'cityscapes'"),
        ({"generator": None}, "generator: expected a mapping, found None"),
        ({"optimizer": 3}, "optimizer: expected a mapping, found 3"),
        ({"optimizer": {"rate": "fast"}}, "optimizer: rate: expected float, found 'fast'"),
        ({"optimizer": {"rate": float("nan")}}, "optimizer: rate: expected float, found 'nan'"),
        ({"optimizer": {"rate": 0}}, "rate is 0.0"),
        ({"optimizer": {"beta1": 1}}, "beta1 is 1.0; it must be between 0 and 1, and less than 1"),
        ({"loss": {"gan": True}}, "loss: gan: expected float, found True"),
        ({"loss": {"perceptual": 1}}, "perceptual.weights names no file"),
        ({"perceptual": {"weights": 4}}, "weights: expected str or null, found 4"),
        ({"precision": "fp8"}, "precision: expected one of 'no', 'bf16', found 'fp8'"),
        ({"precision": ["no"]}, "precision: expected one of"),
        ({"flip": 1.5}, "flip is 1.5; it must be between 0 and 1"),
        ({"ema": 1}, "ema is 1.0"),
        ({"seed": "x"}, "seed: expected int, found 'x'"),
    ],
)
def test_a_wrong_key_or_value_is_named(change: dict, words: str):
    with pytest.raises(RecipeError, match=words):
        parse_recipe(MINIMAL | change)


@pytest.mark.parametrize("key", ["task", "stages"])
def test_a_missing_key_is_named(key: str):
    with pytest.raises(RecipeError, match=f"recipe: '{key}' must be given"):
        parse_recipe({k: v for k, v in MINIMAL.items() if k != key})


@pytest.mark.parametrize(
    ("text", "words"),
    [("stages: [", "is not YAML"), ("- a\n- b\n", "holds list; a recipe is a mapping"), ("", "holds NoneType")],
)
def test_a_file_that_is_no_recipe_is_named(tmp_path: Path, text: str, words: str):
    path = written(tmp_path, text)
    with pytest.raises(RecipeError, match=words) as caught:
        load_recipe(path)
    assert str(path) in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path):
    with pytest.raises(RecipeError, match=r"there is no recipe at .*recipe\.yaml"):
        load_recipe(tmp_path)


def test_overrides_are_yaml_and_reach_every_depth(tmp_path: Path):
    overrides = {
        "optimizer.rate": "1e-4",
        "precision": "no",
        "generator.flow": "no",
        "task_config": "{bins: 3}",
        "perceptual.weights": "null",
        "stages": "[{epochs: 3, width: 16, height: 8}]",
    }
    recipe = load_recipe(written(tmp_path, MINIMAL), overrides)
    assert recipe.optimizer.rate == 1e-4
    assert recipe.precision == "no"
    assert recipe.generator == {"flow": False}
    assert recipe.task_config == {"bins": 3}
    assert [(stage.epochs, stage.width) for stage in recipe.stages] == [(3, 16)]


@pytest.mark.parametrize(
    ("key", "text", "words"),
    [
        ("optimiser.rate", "1", "unknown 'optimiser'"),
        ("optimizer.speed", "1", "optimizer: unknown 'speed'"),
        ("optimizer.rate", "fast", "optimizer: rate: expected float, found 'fast'"),
        ("stages.0.epochs", "1", "'stages' is not a mapping"),
        ("seed", "{", r"seed: '\{' is not a YAML value"),
    ],
)
def test_a_wrong_override_is_named(tmp_path: Path, key: str, text: str, words: str):
    with pytest.raises(RecipeError, match=words):
        load_recipe(written(tmp_path, MINIMAL), {key: text})


def test_what_is_published_names_no_folder_of_this_machine():
    recipe = parse_recipe(MINIMAL | {"perceptual": {"weights": "/home/me/vgg.safetensors"}})
    assert without_paths(recipe).perceptual.weights == "vgg.safetensors"
    assert without_paths(parse_recipe(MINIMAL)) == parse_recipe(MINIMAL)


def recipe_classes(kind: type) -> set[type]:
    """Recipe and the dataclasses that its fields hold."""
    held = [inner for hint in get_type_hints(kind).values() for inner in (hint, *getattr(hint, "__args__", ()))]
    return {kind}.union(*(recipe_classes(inner) for inner in held if dataclasses.is_dataclass(inner)))


def test_every_field_is_read_by_a_training(tmp_path: Path, toy_data: Path, tiny_recipe, monkeypatch):
    """A short training with every branch on; reads count where they serve it, not where a recipe is parsed or saved."""
    read: set[tuple[str, str]] = set()
    ours = Path(module.__file__).parents[1]

    def record(self: object, name: str) -> object:
        reader = Path(sys._getframe(1).f_code.co_filename)
        if reader != Path(module.__file__) and ours in reader.parents:
            read.add((type(self).__name__, name))
        return object.__getattribute__(self, name)

    weights = tmp_path / "vgg.safetensors"
    empty = torch.nn.ModuleDict({"features": vgg16_layers()})
    save_file({k: torch.zeros(v.shape, dtype=torch.float16) for k, v in empty.state_dict().items()}, weights)
    changed = {"perceptual": {"weights": str(weights)}, "loss": {"perceptual": 1.0, "mask": 1.0}}
    stages = [{"epochs": 1, "width": 48, "height": 32, "frames": 2, "unroll": 2, "batch": 4}]
    recipe = parse_recipe(tiny_recipe | changed | {"stages": stages})
    without_flow = [dataclasses.replace(clip, flow_file_name=None) for clip in read_clips(toy_data, "train")]
    kinds = recipe_classes(Recipe)
    for kind in kinds:
        monkeypatch.setattr(kind, "__getattribute__", record)
    Trainer(recipe, without_flow, tmp_path / "run").fit()
    monkeypatch.undo()
    expected = {(kind.__name__, f.name) for kind in kinds for f in fields(kind)}
    assert len(kinds) == 6
    assert expected - read == set(), "nobody reads these fields"


def vgg16_layers() -> torch.nn.ModuleList:
    """The layers of VGG16 without memory for their weights."""
    with torch.device("meta"):
        layers, inputs = torch.nn.ModuleList(), 3
        for width in VGG16.WIDTHS:
            pair = [torch.nn.Conv2d(inputs, width, 3), torch.nn.ReLU()] if width else [torch.nn.MaxPool2d(2)]
            layers.extend(pair)
            inputs = width or inputs
    return layers

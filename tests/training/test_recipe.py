"""The recipe: what it refuses, what it writes and reads back, and that nothing in it is for show."""

from __future__ import annotations

import dataclasses
import sys
from dataclasses import fields
from itertools import pairwise
from pathlib import Path
from typing import get_type_hints

import pytest
import torch
import yaml
from safetensors.torch import save_file

from vid2vid_hub.data.clips import read_clips
from vid2vid_hub.data.toy import ToyShapes
from vid2vid_hub.errors import RecipeError, TaskError
from vid2vid_hub.nn.image import Pix2PixHDGenerator
from vid2vid_hub.nn.perceptual import DEPTHS, WIDTHS
from vid2vid_hub.pipeline import Vid2VidPipeline
from vid2vid_hub.training import parse, recipe
from vid2vid_hub.training.parse import load_recipe, own_recipe, parse_recipe, plain, save_recipe
from vid2vid_hub.training.recipe import Recipe, without_paths
from vid2vid_hub.training.trainer import Trainer

STAGE = {"epochs": 1, "width": 48, "height": 32}
MINIMAL = {"task": "toy", "stages": [STAGE]}


def written(folder: Path, values: object) -> Path:
    path = folder / "recipe.yaml"
    path.write_text(values if isinstance(values, str) else yaml.safe_dump(values))
    return path


def test_a_recipe_survives_saving(tmp_path: Path, tiny_recipe):
    changes = {"task_config": {"deep": {"list": [1, None, "no"]}}, "precision": "bf16"}
    inner = {"region_discriminator": {"size": 32}, "watch": {"trackers": ["wandb"]}}
    asked = parse_recipe(tiny_recipe | changes | inner)
    save_recipe(asked, tmp_path / "recipe.yaml")
    assert load_recipe(tmp_path) == load_recipe(tmp_path / "recipe.yaml") == asked
    assert parse_recipe(plain(asked)) == asked
    assert list(yaml.safe_load((tmp_path / "recipe.yaml").read_text())) == [f.name for f in fields(Recipe)]


def test_the_default_precision_survives_yaml(tmp_path: Path):
    save_recipe(parse_recipe(MINIMAL), tmp_path / "recipe.yaml")
    assert load_recipe(tmp_path).precision == "no"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"rate": 1}, r"unknown 'rate'; known are .*optimizer"),
        ({"optimizer": {"lr": 1e-4}}, r"recipe: optimizer: unknown 'lr'; known are accumulate, beta1, .*, rate"),
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
        ({"discriminator": 3}, "discriminator: expected a mapping, found 3"),
        ({"optimizer": 3}, "optimizer: expected a mapping, found 3"),
        ({"optimizer": {"rate": "fast"}}, "optimizer: rate: expected float, found 'fast'"),
        ({"optimizer": {"rate": float("nan")}}, "optimizer: rate: expected float, found 'nan'"),
        ({"optimizer": {"rate": 0}}, "rate is 0.0"),
        ({"optimizer": {"beta1": 1}}, "beta1 is 1.0; it must be between 0 and 1, and less than 1"),
        ({"loss": {"gan": True}}, "loss: gan: expected float, found True"),
        ({"optimizer": {"discriminator_rate": -1e-4}}, "discriminator_rate is -0.0001; it must be over 0"),
        ({"optimizer": {"clip": 0}}, "clip is 0.0; it must be over 0"),
        ({"optimizer": {"accumulate": 0}}, "accumulate is 0; it must be 1 or more"),
        ({"loss": {"gan": -1}}, "gan is -1.0; it must be 0 or more"),
        ({"stages": [STAGE | {"frozen": 2, "scales": 2}]}, "frozen is 2 of 2 scales; at least one must learn"),
        ({"stages": [STAGE | {"frozen": -1}]}, "frozen is -1"),
        ({"stages": [STAGE | {"max_frames": 30}]}, "max_frames and max_unroll end a doubling; double_every"),
        ({"video_discriminator": {"frames": 1}}, "frames is 1; it must be 2 or more"),
        ({"video_discriminator": {"strides": -1}}, "strides is -1; it must be 0 or more"),
        ({"video_discriminator": None}, "video_discriminator: expected a mapping, found None"),
        ({"region_discriminator": {"size": 4}}, "size is 4; it must be 8 or more"),
        ({"watch": {"frames": 1}}, "frames is 1; it must be 2 or more"),
        ({"watch": {"trackers": "wandb"}}, "trackers: expected a list, found 'wandb'"),
        ({"perceptual": {"weights": 4}}, "perceptual: expected one of 'none', 'vgg16', 'vgg19', found"),
        ({"perceptual_weights": 4}, "perceptual_weights: expected str or null, found 4"),
        ({"network": "unet"}, "network: expected one of 'vid2vid', 'pix2pixhd', found 'unet'"),
        ({"adversarial": "wgan"}, "adversarial: expected one of 'lsgan', 'hinge', found 'wgan'"),
        ({"judged": "some"}, "judged: expected one of 'every', 'one', found 'some'"),
        ({"first_frames": {}}, r"first_frames is \{\}; it must give shares to any of real, generated, zeros"),
        ({"first_frames": {"drawn": 1}}, "must give shares to any of real, generated, zeros"),
        ({"first_frames": {"real": "all"}}, "must give shares to any of real, generated, zeros"),
        ({"first_frames": {"real": 0.5, "zeros": 0.4}}, "its shares must be 0 or more and add up to 1"),
        ({"first_frames": {"real": 1.5, "zeros": -0.5}}, "its shares must be 0 or more and add up to 1"),
        ({"first_frames": {"generated": 1}}, "a share of 'generated', but first_frame names no pipeline"),
        ({"from_nothing": 0.5}, "unknown 'from_nothing'; known are .*first_frames"),
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
        "teacher.weights": "null",
        "region_discriminator.size": "32",
        "stages": "[{epochs: 3, width: 16, height: 8}, {epochs: 4, width: 16, height: 8}]",
        "stages.1.epochs": "5",
        "watch.trackers": "[wandb]",
    }
    found = load_recipe(written(tmp_path, MINIMAL), overrides)
    assert found.optimizer.rate == 1e-4
    assert found.precision == "no"
    assert found.generator == {"flow": False}
    assert found.task_config == {"bins": 3}
    assert found.region_discriminator == recipe.RegionDiscriminatorRecipe(size=32)
    assert [(stage.epochs, stage.width) for stage in found.stages] == [(3, 16), (5, 16)]
    assert found.watch.trackers == ("wandb",)


def test_an_item_of_a_list_can_be_set(tmp_path: Path):
    changed = load_recipe(written(tmp_path, MINIMAL), {"stages.0.epochs": "3"})
    assert changed == parse_recipe(MINIMAL | {"stages": [STAGE | {"epochs": 3}]})
    whole = load_recipe(tmp_path, {"stages.0": "{epochs: 2, width: 8, height: 8}"})
    assert [dataclasses.astuple(stage)[:3] for stage in whole.stages] == [(2, 8, 8)]


@pytest.mark.parametrize(
    ("key", "text", "words"),
    [
        ("optimiser.rate", "1", "unknown 'optimiser'"),
        ("optimizer.speed", "1", "optimizer: unknown 'speed'"),
        ("optimizer.rate", "fast", "optimizer: rate: expected float, found 'fast'"),
        ("stages.1.epochs", "1", "'stages.1.epochs' cannot be set: '1' is none of the numbers 0 to 0"),
        ("stages.1", "{}", "'stages.1' cannot be set: '1' is none of the numbers 0 to 0"),
        ("stages.first.epochs", "1", "'first' is none of the numbers 0 to 0"),
        ("stages.-1.epochs", "1", "'-1' is none of the numbers 0 to 0"),
        ("stages.0.epochs.0", "1", "'stages.0.epochs.0' cannot be set: 'epochs' is not a mapping"),
        ("task.name", "toy", "'task.name' cannot be set: 'task' is not a mapping"),
        ("task.name.first", "toy", "cannot be set: what 'name' is asked of is not a mapping"),
        ("seed", "{", r"seed: '\{' is not a YAML value"),
    ],
)
def test_a_wrong_override_is_named(tmp_path: Path, key: str, text: str, words: str):
    with pytest.raises(RecipeError, match=words):
        load_recipe(written(tmp_path, MINIMAL), {key: text})


# A base, and what differs from it


def folder(path: Path, values: object) -> Path:
    path.mkdir(parents=True)
    written(path, values)
    return path


def test_values_go_over_those_of_a_base_key_by_key_and_lists_as_a_whole(tmp_path: Path):
    base = MINIMAL | {"generator": {"base_channels": 8, "blocks": 2}, "optimizer": {"rate": 0.1, "decay": 1}, "seed": 3}
    folder(tmp_path / "base", base | {"stages": [STAGE, STAGE]})
    changes = {"base": "../base", "generator": {"blocks": 4}, "optimizer": {"decay": 0}, "stages": [STAGE]}
    found = load_recipe(folder(tmp_path / "mine", changes))
    assert found.generator == {"base_channels": 8, "blocks": 4}
    assert (found.optimizer.rate, found.optimizer.decay, found.seed) == (0.1, 0, 3)
    assert len(found.stages) == 1
    assert "base" not in plain(found)


def test_a_base_is_relative_to_the_file_that_names_it_and_may_have_one_too(tmp_path: Path, monkeypatch):
    folder(tmp_path / "a" / "deep", MINIMAL | {"seed": 1, "flip": 0.25})
    (tmp_path / "a" / "middle.yaml").write_text("base: deep/recipe.yaml\nseed: 2\nema: 0.5")
    folder(tmp_path / "b", {"base": "../a/middle.yaml", "ema": 0.75})
    monkeypatch.chdir(tmp_path / "a")
    found = load_recipe(tmp_path / "b")
    assert (found.seed, found.flip, found.ema) == (2, 0.25, 0.75)
    absolute = folder(tmp_path / "c", {"base": str(tmp_path / "b")})
    assert load_recipe(absolute) == found


def test_a_base_may_be_a_task(tmp_path: Path):
    found = load_recipe(written(tmp_path, {"base": "seg2street", "seed": 7}))
    assert found == dataclasses.replace(load_recipe(own_recipe("seg2street")), seed=7)


def test_another_base_can_be_set_and_is_relative_to_where_one_is(tmp_path: Path, monkeypatch):
    mine = folder(tmp_path / "there" / "mine", {"base": "seg2street", "seed": 7})
    folder(tmp_path / "here" / "small", MINIMAL | {"flip": 0.25})
    monkeypatch.chdir(tmp_path / "here")
    found = load_recipe(mine, {"base": "small", "ema": "0.5"})
    assert found == parse_recipe(MINIMAL | {"flip": 0.25, "ema": 0.5, "seed": 7})
    assert load_recipe(mine, {"base": "seg2street"}) == load_recipe(mine)
    assert load_recipe(written(tmp_path, {"seed": 7}), {"base": "small"}).flip == 0.25, "a file without a base, too"


def test_a_base_that_is_not_there_is_named(tmp_path: Path):
    with pytest.raises(RecipeError, match=r"there is no recipe at .*seg2streets"):
        load_recipe(written(tmp_path, {"base": "seg2streets"}))
    with pytest.raises(RecipeError, match="task 'toy' brings no recipe of its own; give one"):
        load_recipe(written(tmp_path, {"base": "toy"}))
    with pytest.raises(RecipeError, match="there is no recipe at absent"):
        load_recipe(written(tmp_path, MINIMAL), {"base": "absent"})
    with pytest.raises(TaskError, match="no installed package provides the task 'nothing'"):
        own_recipe("nothing")


@pytest.mark.parametrize("chain", [("a", "a"), ("a", "b", "a"), ("start", "a", "b", "a")], ids=" ".join)
def test_a_recipe_that_is_its_own_base_is_named(tmp_path: Path, chain: tuple[str, ...]):
    for name, base in pairwise(chain):
        folder(tmp_path / name, {"base": f"../{base}"})
    with pytest.raises(RecipeError, match=f"{chain[-1]} is its own base"):
        load_recipe(tmp_path / chain[0])


def test_shares_of_first_frames_are_one_thing(tmp_path: Path):
    folder(tmp_path / "base", MINIMAL | {"first_frames": {"real": 0.25, "zeros": 0.75}})
    found = load_recipe(folder(tmp_path / "mine", {"base": "../base", "first_frames": {"real": 1.0}}))
    assert found.first_frames == {"real": 1.0}


def test_the_arguments_of_another_generator_are_not_mixed(tmp_path: Path):
    base = MINIMAL | {"generator": {"base_channels": 8, "history": 1}}
    folder(tmp_path / "base", base)
    image = {"base": "../base", "network": "pix2pixhd", "generator": {"enhancers": 1}}
    assert load_recipe(folder(tmp_path / "image", image)).generator == {"enhancers": 1}
    finer = {"base": "../image", "network": "pix2pixhd", "generator": {"blocks": 3}}
    assert load_recipe(folder(tmp_path / "finer", finer)).generator == {"enhancers": 1, "blocks": 3}
    same = {"base": "../base", "network": "vid2vid", "generator": {"blocks": 3}}
    assert load_recipe(folder(tmp_path / "same", same)).generator == {"base_channels": 8, "history": 1, "blocks": 3}
    back = {"base": "../image", "network": "vid2vid", "generator": {"blocks": 3}}
    assert load_recipe(folder(tmp_path / "back", back)).generator == {"blocks": 3}


def test_what_is_published_names_no_folder_of_this_machine(tmp_path: Path):
    (tmp_path / "vgg.safetensors").touch()
    there = str(tmp_path / "vgg.safetensors")
    everywhere = {
        "start": str(tmp_path),
        "first_frame": there,
        "forecaster": str(tmp_path),
        "perceptual_weights": there,
        "teacher": {"weights": there},
        "watch": {"lpips": there},
    }
    published = without_paths(parse_recipe(MINIMAL | everywhere))
    assert (published.start, published.first_frame) == (tmp_path.name, "vgg.safetensors")
    assert published.forecaster == tmp_path.name
    assert {published.perceptual_weights, published.teacher.weights, published.watch.lpips} == {"vgg.safetensors"}
    assert str(tmp_path) not in str(plain(published))
    hub = parse_recipe(MINIMAL | {"start": "org/name", "perceptual_weights": "torchvision"})
    assert without_paths(hub) == hub, "what is no file here is a name elsewhere"
    assert without_paths(parse_recipe(MINIMAL)) == parse_recipe(MINIMAL)


# What is in it is used


def recipe_classes(kind: type) -> set[type]:
    """Recipe and the dataclasses that its fields hold."""
    held = [inner for hint in get_type_hints(kind).values() for inner in (hint, *getattr(hint, "__args__", ()))]
    return {kind}.union(*(recipe_classes(inner) for inner in held if dataclasses.is_dataclass(inner)))


def test_every_field_is_read_by_a_training(tmp_path: Path, toy_data: Path, toy_model: Path, tiny_recipe, monkeypatch):
    """A short training with every branch on; reads count where they serve it, not where a recipe is parsed or saved."""
    read: set[tuple[str, str]] = set()
    ours = Path(recipe.__file__).parents[1]
    silent = {Path(module.__file__) for module in (recipe, parse)}

    def record(self: object, name: str) -> object:
        frame = sys._getframe(1)
        while frame.f_code.co_filename == dataclasses.__file__:  # asdict reads for whoever calls it
            frame = frame.f_back
        reader = Path(frame.f_code.co_filename)
        if reader not in silent and ours in reader.parents:
            read.add((type(self).__name__, name))
        return object.__getattribute__(self, name)

    image = Pix2PixHDGenerator(ToyShapes().channels, base_channels=4, downsamples=1, blocks=1)
    Vid2VidPipeline(image, ToyShapes()).save_pretrained(tmp_path / "image")
    save_file(vgg16_weights(), tmp_path / "vgg.safetensors")
    asked = parse_recipe(
        tiny_recipe
        | {
            "stages": [STAGE | {"frames": 4, "unroll": 2, "batch": 4, "double_every": 1, "scales": 1}],
            "start": str(toy_model),
            "first_frame": str(tmp_path / "image"),
            "first_frames": {"generated": 1.0},
            "region_discriminator": {"size": 16, "base_channels": 4, "layers": 1},
            "optimizer": {"clip": 1.0, "discriminator_rate": 1e-3},
            "loss": {"mask": 1.0, "generated_warp": 1.0},
            "perceptual": "vgg16",
            "perceptual_weights": str(tmp_path / "vgg.safetensors"),
            "watch": {"samples": 1, "validation": 1, "frames": 3, "lpips": str(tmp_path / "vgg.safetensors")},
        }
    )
    without_flow = [dataclasses.replace(clip, flow_file_name=None) for clip in read_clips(toy_data, "train")]
    kinds = recipe_classes(Recipe)
    for kind in kinds:
        monkeypatch.setattr(kind, "__getattribute__", record)
    Trainer(asked, without_flow[:1], tmp_path / "run").fit()
    monkeypatch.undo()
    expected = {(kind.__name__, f.name) for kind in kinds for f in fields(kind)}
    assert len(kinds) == 8
    assert expected - read == set(), "nobody reads these fields"


def vgg16_weights() -> dict[str, torch.Tensor]:
    """Zeros for all convolutions of VGG16, in torchvision's numbering, and for the heads of LPIPS."""
    held, index, inputs = {}, 0, 3
    for depth, width in zip(DEPTHS["vgg16"], WIDTHS, strict=True):
        for _ in range(depth):
            held[f"features.{index}.weight"] = torch.zeros(width, inputs, 3, 3, dtype=torch.float16)
            held[f"features.{index}.bias"] = torch.zeros(width, dtype=torch.float16)
            index, inputs = index + 2, width
        index += 1
    return held | {f"lin{i}.weight": torch.zeros(1, width, 1, 1) for i, width in enumerate(WIDTHS)}

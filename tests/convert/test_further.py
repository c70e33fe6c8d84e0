"""Going on with a training where the release stopped: from converted generators and discriminators."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from accelerate import Accelerator

from tests.convert.test_names import randomised
from tests.convert.writer import released_image, released_judge, save, save_scales
from vid2vid_hub import Vid2VidPipeline
from vid2vid_hub.convert import convert
from vid2vid_hub.data.toy import ToyShapes
from vid2vid_hub.errors import RecipeError
from vid2vid_hub.nn.discriminator import IMAGE, REGION, MultiscaleDiscriminator, video_judge
from vid2vid_hub.nn.generator import Vid2VidGenerator
from vid2vid_hub.nn.image import Pix2PixHDGenerator
from vid2vid_hub.training import networks
from vid2vid_hub.training.parse import load_recipe
from vid2vid_hub.training.players import Players
from vid2vid_hub.training.run import start_run

CHANNELS = ToyShapes().channels
SMALL = {"base_channels": 4, "downsamples": 2, "blocks": 2}
JUDGE = {"base_channels": 4, "layers": 2, "scales": 2, "norm": "batch"}
FAST = {"stages.0.epochs": "1", "stages.0.frames": "4", "stages.0.unroll": "2", "ema": "0", "flip": "0"}


@pytest.fixture(scope="module")
def released(tmp_path_factory) -> Path:
    """Checkpoints of a tiny network with all of its discriminators."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("released")
    save_scales(folder, Vid2VidGenerator(CHANNELS, **SMALL, foreground=True, composition="released"))
    judges = {"D": CHANNELS + 3, "D_T0": 13, "D_T1": 13, "D_f": CHANNELS + 3}
    return save(
        folder, {name: released_judge(randomised(MultiscaleDiscriminator(n, **JUDGE))) for name, n in judges.items()}
    )


@pytest.fixture(scope="module")
def converted(released, tmp_path_factory):
    return convert(released, tmp_path_factory.mktemp("models") / "toy", task="toy", size=(32, 48))


def players(recipe) -> Players:
    return Players(recipe, ToyShapes(), Accelerator(cpu=True))


def test_the_recipe_is_that_of_the_converted_networks(converted):
    recipe = load_recipe(converted.training)
    assert set(networks.build_judges(recipe, ToyShapes())) == {IMAGE, REGION, video_judge(1), video_judge(3)}
    found = players(recipe)
    start = Vid2VidPipeline.from_pretrained(converted.folder).generator
    assert all(torch.equal(found.bare.state_dict()[key], t) for key, t in start.state_dict().items())
    for name, judge in found._judges.items():
        theirs = MultiscaleDiscriminator.from_pretrained(str(converted.training / name))
        assert all(torch.equal(judge.state_dict()[key], t) for key, t in theirs.state_dict().items()), name
        assert theirs.config.norm == "batch"


def test_a_training_goes_on(converted, toy_data, tmp_path):
    """It begins with what was converted, learns, resumes without it, and its recipe speaks of no folder of ours."""
    run = tmp_path / "run"
    folder = start_run(toy_data, run, recipe=converted.training, changes=FAST)
    trained = Vid2VidPipeline.from_pretrained(folder).generator
    start = Vid2VidPipeline.from_pretrained(converted.folder).generator
    pairs = zip(trained.parameters(), start.parameters(), strict=True)
    moved = [(a.detach() - b.detach()).abs().max() for a, b in pairs]
    # Adam's first steps are of the size of the rate: it has learned, and not from anew.
    assert 0 < float(torch.stack(moved).max()) < 0.05
    assert str(converted.training.parent) not in (folder / "recipe.yaml").read_text()
    more = load_recipe(run, {"stages.0.epochs": "2"})
    assert more.judges is not None
    start_run(toy_data, run, resume=True, changes={"stages.0.epochs": "2", "judges": "gone", "start": "gone"})


def test_discriminators_of_other_settings_are_refused(converted):
    recipe = load_recipe(converted.training, {"discriminator.layers": "3", "video_discriminator.norm": "instance"})
    with pytest.raises(
        RecipeError, match=r"the discriminator image of .* is not the recipe's: layers 2 there and 3 here"
    ):
        players(recipe)
    recipe = load_recipe(converted.training, {"video_discriminator.norm": "instance"})
    with pytest.raises(RecipeError, match=r"video_x1 .*: norm batch there and instance here"):
        players(recipe)


def test_a_folder_without_discriminators_is_refused(converted):
    with pytest.raises(RecipeError, match=r"there is no discriminator to start from in .*image, video_x1"):
        players(load_recipe(converted.training, {"judges": str(converted.folder)}))


def test_those_that_are_not_there_start_anew(converted):
    recipe = load_recipe(converted.training, {"video_discriminator.strides": "3"})
    assert set(players(recipe)._judges) == {IMAGE, REGION, video_judge(1), video_judge(3), video_judge(9)}


def test_pix2pixhd_goes_on_too(tmp_path, toy_data):
    torch.manual_seed(0)
    files = {
        "G": released_image(Pix2PixHDGenerator(CHANNELS, **SMALL)),
        "D": released_judge(MultiscaleDiscriminator(CHANNELS + 3, **JUDGE)),
    }
    done = convert(save(tmp_path / "checkpoints", files), tmp_path / "model", task="toy", size=(32, 48))
    recipe = load_recipe(done.training)
    assert (recipe.network, recipe.video_discriminator.strides) == ("pix2pixhd", 0)
    changes = {key: value for key, value in FAST.items() if "frames" not in key and "unroll" not in key}
    folder = start_run(toy_data, tmp_path / "run", recipe=done.training, changes=changes)
    assert isinstance(Vid2VidPipeline.from_pretrained(folder).generator, Pix2PixHDGenerator)

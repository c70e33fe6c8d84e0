"""Folders of checkpoints to pipelines: what is found in them, what is made of it, and what is said of mistakes."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests.convert.test_names import randomised
from tests.convert.writer import (
    released_encoder,
    released_image,
    released_judge,
    released_scales,
    released_styled,
    save,
    save_scales,
)
from vid2vid_hub import Vid2VidPipeline, cli
from vid2vid_hub.convert import convert
from vid2vid_hub.convert.found import look
from vid2vid_hub.convert.task import fitting
from vid2vid_hub.data.toy import CLASSES, ToyShapes, ToyWorld
from vid2vid_hub.errors import ModelError, TaskError
from vid2vid_hub.hub.about import read_about
from vid2vid_hub.nn.appearance import AppearanceEncoder
from vid2vid_hub.nn.discriminator import MultiscaleDiscriminator
from vid2vid_hub.nn.generator import Vid2VidGenerator
from vid2vid_hub.nn.image import Pix2PixHDGenerator
from vid2vid_hub.tasks import get_task, list_tasks

CHANNELS = ToyShapes().channels
SMALL = {"base_channels": 4, "downsamples": 2, "blocks": 2}
SIZE = (32, 48)


def generator(**options) -> Vid2VidGenerator:
    torch.manual_seed(0)
    return Vid2VidGenerator(CHANNELS, **SMALL | {"foreground": True, "composition": "released"} | options)


def image_generator(channels: int = CHANNELS, **options) -> Pix2PixHDGenerator:
    torch.manual_seed(1)
    return Pix2PixHDGenerator(channels, **SMALL | options)


def encoder() -> AppearanceEncoder:
    torch.manual_seed(2)
    return AppearanceEncoder(1, 3, base_channels=4, downsamples=2)


def same(one: nn.Module, other: nn.Module) -> bool:
    ours, theirs = one.state_dict(), other.state_dict()
    return ours.keys() == theirs.keys() and all(torch.equal(ours[key], theirs[key]) for key in ours)


def frames(pipeline: Vid2VidPipeline, **options) -> Tensor:
    condition = ToyWorld(3, *SIZE).draw(4).condition
    return torch.cat([frame.image for frame in pipeline.steps([condition], **options)])


def nothing_beside(folder: Path, *names: str) -> bool:
    return sorted(path.name for path in folder.iterdir()) == sorted(names)


@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "older format"])
def test_a_generator_comes_through_with_every_bit(tmp_path, legacy):
    ours = randomised(generator(scales=2, base_channels=8))
    folder = save_scales(tmp_path / "checkpoints", ours, legacy=legacy)
    done = convert(folder, tmp_path / "model", task="toy", size=SIZE)
    pipeline = Vid2VidPipeline.from_pretrained(done.folder)
    assert same(pipeline.generator, ours)
    assert pipeline.size == SIZE
    assert torch.equal(frames(pipeline), frames(Vid2VidPipeline(ours, ToyShapes())))
    assert (done.task, done.system, done.notes) == ("toy", "vid2vid", ())
    assert nothing_beside(tmp_path, "checkpoints", "model", "model-training")


def test_where_it_comes_from_is_kept(tmp_path):
    folder = save_scales(tmp_path / "checkpoints", generator())
    said = read_about(convert(folder, tmp_path / "model", task="toy").folder)
    (path,) = folder.iterdir()
    assert said.converted is not None
    assert said.converted.files == {path.name: hashlib.sha256(path.read_bytes()).hexdigest()}
    assert said.licence == said.converted.licence == "cc-by-nc-sa-4.0"
    alone = save(tmp_path / "alone", {"G": released_image(image_generator())})
    said = read_about(convert(alone, tmp_path / "other", task="toy").folder)
    assert said.converted is not None
    assert (said.converted.system, said.converted.licence) == ("pix2pixHD", "bsd-2-clause")
    assert "says nothing of weights" in str(said.history)


@pytest.mark.parametrize("enhancers", [0, 1, 2])
def test_pix2pixhd_alone_is_a_pipeline_of_single_images(tmp_path, enhancers):
    ours = image_generator(enhancers=enhancers)
    folder = save(tmp_path / "checkpoints", {"G": released_image(ours)})
    pipeline = Vid2VidPipeline.from_pretrained(convert(folder, tmp_path / "model", task="toy").folder)
    assert same(pipeline.generator, ours)
    assert torch.equal(frames(pipeline), frames(Vid2VidPipeline(ours, ToyShapes())))


def test_first_frames_of_a_network_that_sees_no_edges(tmp_path):
    """As the street's: the one channel that it lacks has weight zero, and it lies in another folder."""
    ours, first = generator(), image_generator(CHANNELS - 1)
    folder = save_scales(tmp_path / "checkpoints", ours)
    single = save(tmp_path / "single", {"G_512": released_image(first), "G_1024": released_image(image_generator(3))})
    with pytest.raises(ModelError, match="has G_1024 and G_512, which make single images of different widths"):
        convert(folder, tmp_path / "model", task="toy", first_frame=single)
    done = convert(folder, tmp_path / "model", task="toy", first_frame=single, size=(256, 512))
    assert done.notes == ("the network for first frames does not see the last of the 6 condition channels: weight 0",)
    pipeline = Vid2VidPipeline.from_pretrained(done.folder)
    condition = ToyWorld(3, *SIZE).draw(4).condition
    features = ToyShapes().encode(condition).features[:1, :-1]
    expected = first.step(first.begin(features[:, None]), features)[0].image
    assert torch.allclose(frames(pipeline)[:1], expected, atol=1e-6)
    assert set(read_about(done.folder).converted.files) == {"latest_net_G0.pth", "first-frame/latest_net_G_512.pth"}
    by_file = convert(folder, tmp_path / "by-file", task="toy", first_frame=single / "latest_net_G_512.pth")
    assert same(Vid2VidPipeline.from_pretrained(by_file.folder).first_frame, pipeline.first_frame)
    with pytest.raises(ModelError, match="reads 3 channels for each condition, the generator 6"):
        convert(folder, tmp_path / "x", task="toy", first_frame=single / "latest_net_G_1024.pth")


def features(rows: int, columns: int, labels: range) -> dict[int, np.ndarray]:
    random = np.random.default_rng(0)
    return {label: random.uniform(-1, 1, (rows, columns)).astype(np.float32) for label in labels}


@pytest.mark.parametrize("enhancers", [0, 1])
def test_first_frames_in_many_styles(tmp_path, enhancers):
    ours, first, look = generator(), image_generator(appearance_channels=3, enhancers=enhancers), encoder()
    files = {"G": released_styled(first), "E": released_encoder(look)}
    single = save(tmp_path / "single", files)
    recorded = features(5, 4, range(len(CLASSES)))  # every label in every picture: the styles are of whole pictures
    np.save(single / "features.npy", recorded, allow_pickle=True)
    folder = save_scales(tmp_path / "checkpoints", ours)
    done = convert(folder, tmp_path / "model", task="toy", first_frame=single)
    pipeline = Vid2VidPipeline.from_pretrained(done.folder)
    assert same(pipeline.first_frame, first)
    assert same(pipeline.appearance.layers, look.layers)
    assert pipeline.appearance.styles == 5
    assert torch.equal(pipeline.appearance.looks[2], torch.from_numpy(recorded[2][:, :3]))
    assert not torch.equal(frames(pipeline, style=0), frames(pipeline, style=4))
    assert done.notes == ()


def test_pix2pixhd_with_features_behind_its_condition(tmp_path):
    theirs, look = image_generator(CHANNELS + 3, enhancers=1), encoder()
    folder = save(tmp_path / "checkpoints", {"G": released_image(theirs), "E": released_encoder(look)})
    np.save(folder / "features_clustered_010.npy", features(10, 3, range(len(CLASSES))), allow_pickle=True)
    np.save(folder / "features.npy", features(2, 4, range(2)), allow_pickle=True)  # what the clusters are of
    done = convert(folder, tmp_path / "model", task="toy")
    pipeline = Vid2VidPipeline.from_pretrained(done.folder)
    assert (done.system, pipeline.appearance.styles) == ("pix2pixHD", 10)
    condition = ToyWorld(3, *SIZE).draw(1).condition
    seen = pipeline.appearance.choose(ToyShapes().picture_parts(condition), 7)
    whole = torch.cat((ToyShapes().encode(condition).features, seen), 1)
    expected = theirs.step(theirs.begin(whole[:, None]), whole)[0].image
    assert torch.allclose(frames(pipeline, style=7)[:1], expected, atol=1e-5)


def test_features_of_appearance_without_what_gives_them(tmp_path):
    folder = save(tmp_path / "checkpoints", {"G": released_styled(image_generator(appearance_channels=3))})
    with pytest.raises(ModelError, match=r"there is no latest_net_E\.pth beside it"):
        convert(folder, tmp_path / "model", task="toy")
    save(folder, {"E": released_encoder(encoder())})
    done = convert(folder, tmp_path / "model", task="toy")
    assert done.notes == ("beside latest_net_E.pth are no recorded features (features*.npy): every look is 0",)


def test_epochs(tmp_path):
    folder = tmp_path / "checkpoints"
    for epoch in ("latest", "10", "20"):
        save_scales(folder, randomised(generator()), epoch)
    chosen = {which: look(folder, which).scales[0].name for which in (None, "latest", "10", "20")}
    assert chosen == {
        None: "latest_net_G0.pth",
        "latest": "latest_net_G0.pth",
        "10": "10_net_G0.pth",
        "20": "20_net_G0.pth",
    }
    (folder / "latest_net_G0.pth").unlink()
    with pytest.raises(ModelError, match="has checkpoints of 10 and 20, and none of 'latest'; say which: --which 20"):
        look(folder)
    with pytest.raises(ModelError, match="has checkpoints of 10 and 20, and none of '30'"):
        look(folder, "30")
    (folder / "10_net_G0.pth").unlink()
    assert look(folder).epoch == "20"


@pytest.mark.parametrize(
    ("channels", "task", "settings"),
    [
        (36, "seg2street", {"label_set": "cityscapes-cars", "edges": True}),
        (35, "seg2street", {"label_set": "cityscapes-cars", "edges": False}),
        (15, "sketch2face", {"distance_maps": True}),
        (1, "sketch2face", {"distance_maps": False}),
        (6, "pose2dance", {"inputs": "both"}),
    ],
)
def test_the_channels_say_the_task(channels, task, settings):
    found = fitting(channels, False, None, None)
    assert (found.name, found.channels) == (task, channels)
    assert settings.items() <= found.config().items()


@pytest.mark.parametrize("name", list_tasks())
def test_what_tasks_say_of_released_checkpoints_holds(name):
    for channels, settings in get_task(name).released.items():
        assert get_task(name, settings).channels == channels


def test_released_streets_have_cars_alone_as_foreground():
    assert fitting(36, True, None, None).labels.foreground == {26}


@pytest.mark.parametrize(
    ("channels", "foreground", "task", "settings", "said"),
    [
        (9, False, None, {}, "reads? 9 channels .* no installed task is known by that number; say .* --task"),
        (3, False, None, {}, "say which task it is with --task, and with --setting KEY=VALUE"),
        (36, False, "sketch2face", {}, "read 36 channels for each condition, and task 'sketch2face' encodes 15"),
        (15, True, None, {}, "have a network for the foreground, and task 'sketch2face' gives no foreground mask"),
        (36, True, None, {"foreground": False}, "task 'seg2street' gives no foreground mask"),
    ],
)
def test_a_task_that_does_not_fit_is_refused(channels, foreground, task, settings, said):
    with pytest.raises(ModelError, match=said):
        fitting(channels, foreground, task, settings)


def test_a_task_that_is_not_installed_is_refused():
    with pytest.raises(TaskError, match="no installed package provides the task 'depth'"):
        fitting(36, False, "depth", None)


@pytest.fixture
def bad(tmp_path):
    """A folder to make bad, and what is said of it; nothing is left of the attempt."""
    folder = tmp_path / "checkpoints"

    def ask(**options) -> str:
        before = {path.name for path in tmp_path.iterdir()}
        with pytest.raises(ModelError) as error:
            convert(folder, tmp_path / "model", **{"task": "toy"} | options)
        assert {path.name for path in tmp_path.iterdir()} == before
        assert "\n" not in str(error.value)
        return str(error.value)

    return folder, ask


def test_folders_without_checkpoints(bad):
    folder, ask = bad
    assert ask() == (
        f"there is no folder {folder}; give the one that holds latest_net_G0.pth of vid2vid, or latest_net_G.pth of "
        "pix2pixHD"
    )
    folder.mkdir()
    assert "holds no released checkpoints, such as" in ask()
    assert ask().endswith("it is empty")
    (folder / "model.safetensors").touch()
    assert ask().endswith("it holds model.safetensors")
    save(folder / "label2city", {"G0": {"a": torch.zeros(1)}})
    assert ask() == f"{folder} holds folders of checkpoints; give one of them: label2city"


def test_folders_with_a_part_of_a_model(bad):
    folder, ask = bad
    scales = released_scales(generator(scales=2))
    save(folder, {"G1": scales[1]})
    assert "has G1 of 'latest'; all scales from G0 on must be there" in ask()
    (folder / "latest_net_G1.pth").rename(folder / "latest_net_D.pth")
    assert "holds no generator" in ask()


def test_one_message_for_all_files(bad):
    folder, ask = bad
    first, second = released_scales(generator(scales=2))
    first.pop("model_down_seg.1.bias")
    judge = released_judge(MultiscaleDiscriminator(9, base_channels=4, norm="batch"))
    save(folder, {"G0": first, "G1": second | {"stranger": torch.zeros(1)}, "D": judge | {"other": torch.zeros(2)}})
    said = ask()
    assert said.startswith("these are not the weights of networks that can be converted: ")
    for words in ("G0: missing: model_down_seg.1.bias", "G1: surplus: stranger", "latest_net_D.pth: surplus: other"):
        assert words in said


def test_weights_that_are_no_numbers(bad):
    folder, ask = bad
    (weights,) = released_scales(generator())
    weights["model_final_img.1.bias"][1] = torch.nan
    save(folder, {"G0": weights})
    assert "G0: not all of it numbers: model_final_img.1.bias" in ask()


def test_discriminators_in_time_that_do_not_belong_together(bad):
    folder, ask = bad
    save_scales(folder, generator())
    judges = [MultiscaleDiscriminator(13, base_channels=4, layers=n, norm="batch") for n in (2, 3)]
    save(folder, {f"D_T{n}": released_judge(judge) for n, judge in enumerate(judges)})
    assert "D_T1 of" in ask()
    (folder / "latest_net_D_T0.pth").unlink()
    assert "does not go on from D_T1" in ask()


def test_an_output_that_is_there_is_left_alone(tmp_path):
    folder = save_scales(tmp_path / "checkpoints", generator())
    (tmp_path / "model-training").mkdir()
    with pytest.raises(ModelError, match="model-training is already there; give another --output"):
        convert(folder, tmp_path / "model", task="toy")
    with pytest.raises(ModelError, match="cannot be written"):
        convert(folder, folder / "latest_net_G0.pth" / "model", task="toy")


def test_what_is_no_network_is_named(tmp_path):
    folder = save_scales(tmp_path / "checkpoints", generator())
    save(folder, {"H7": {"a": torch.zeros(1)}})
    assert convert(folder, tmp_path / "model", task="toy").notes == (
        "latest_net_H7.pth is no network that we know, and was left",
    )


def test_the_command(tmp_path, monkeypatch, capsys):
    folder = save_scales(tmp_path / "checkpoints", generator(), "7")
    arguments = [str(folder), "--output", str(tmp_path / "model"), "--task", "toy", "--size", "48x32", "--which", "7"]
    monkeypatch.setattr(sys, "argv", ["vid2vid-hub", "convert", *arguments])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    assert not stop.value.code
    said = capsys.readouterr().out.splitlines()
    assert said[0].startswith("generator: condition_channels 6, base_channels 4, downsamples 2, blocks 2, scales 1")
    assert said[1] == f"{tmp_path / 'model'}: toy, converted from vid2vid"
    monkeypatch.chdir(tmp_path)
    relative = ["checkpoints", "--output", "beside", "--task", "toy"]
    monkeypatch.setattr(sys, "argv", ["vid2vid-hub", "convert", *relative])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    assert not stop.value.code
    with pytest.raises(SystemExit) as stop:
        cli.main()
    assert stop.value.code == 2
    assert "is already there; give another --output" in capsys.readouterr().err

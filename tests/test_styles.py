"""A pipeline whose networks know many styles: one is chosen or drawn, and held through the video."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import torch

from vid2vid_hub.data.toy import ToyShapes, ToyWorld
from vid2vid_hub.errors import ModelError
from vid2vid_hub.nn.appearance import AppearanceEncoder
from vid2vid_hub.nn.generator import Vid2VidGenerator
from vid2vid_hub.nn.image import Pix2PixHDGenerator
from vid2vid_hub.pipeline import Vid2VidPipeline
from vid2vid_hub.tasks import get_task
from vid2vid_hub.types import Condition

LENGTH, HEIGHT, WIDTH = 5, 32, 48
LOOKS, CENTRES = 3, 4
STYLES = range(CENTRES)


def knowing(joint=False, channels=LOOKS, classes=5, base_channels=4):
    torch.manual_seed(1)
    network = AppearanceEncoder(
        classes, channels=channels, base_channels=base_channels, downsamples=2, centres=CENTRES, joint=joint
    ).requires_grad_(False)
    network.looks.uniform_(-1, 1)
    network.known.fill_(CENTRES)
    return network


def image_network(task, channels=LOOKS):
    torch.manual_seed(3)
    options = {"base_channels": 4, "downsamples": 2, "blocks": 1, "enhancers": 1, "appearance_channels": channels}
    return Pix2PixHDGenerator(task.channels, **options).requires_grad_(False)


def video_network(task):
    torch.manual_seed(0)
    foreground = task.name == "toy"
    options = {"base_channels": 4, "downsamples": 2, "blocks": 2, "foreground": foreground}
    return Vid2VidGenerator(task.channels, **options).requires_grad_(False)


def quiet(pipeline):
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def styled(task=None, **options):
    """F, its first frames in many styles, and what knows them."""
    task = task or ToyShapes()
    networks = {"first_frame": image_network(task), "appearance": knowing()}
    return quiet(Vid2VidPipeline(video_network(task), task, **(networks | options)))


def alone(**options):
    """A generator of single images in many styles, which makes every frame."""
    return quiet(Vid2VidPipeline(image_network(ToyShapes()), ToyShapes(), appearance=knowing(**options)))


@pytest.fixture(scope="module")
def pipeline():
    return styled()


@pytest.fixture(scope="module")
def condition():
    return ToyWorld(0, HEIGHT, WIDTH).draw(LENGTH).condition


def frames(pipeline, condition, **options):
    return pipeline(condition=condition, **options).frames


def test_first_frames_are_made_with_the_features_of_the_style(pipeline, condition):
    encoded, parts = pipeline.task.encode(condition), pipeline.task.picture_parts(condition)
    first = pipeline.first_frame
    for style in STYLES:
        looks = pipeline.appearance.choose(parts, style)
        made = list(pipeline.steps([condition], style=style))
        for t in range(2):
            features = encoded.features[t : t + 1]
            expected, _ = first.step(first.begin(features[None]), features, appearance=looks[t : t + 1])
            assert torch.equal(made[t].image, expected.image)


def test_the_style_of_the_first_frames_decides_what_follows(pipeline, condition):
    made = [frames(pipeline, condition, style=style) for style in STYLES]
    assert len({video.tobytes() for video in made}) == CENTRES
    assert len({video[2:].tobytes() for video in made}) == CENTRES
    assert np.array_equal(frames(pipeline, condition), made[0]), "the first one, unless another is asked for"


def test_styles_are_drawn_by_the_generator(pipeline, condition):
    drawn = [frames(pipeline, condition, generator=torch.Generator().manual_seed(seed)) for seed in (0, 0, 1, 2)]
    assert np.array_equal(drawn[0], drawn[1])
    assert len({video.tobytes() for video in drawn}) == 3
    chosen = frames(pipeline, condition, style=2, generator=torch.Generator().manual_seed(0))
    assert np.array_equal(chosen, frames(pipeline, condition, style=2))


def test_a_stream_has_the_style_of_a_call(pipeline, condition):
    for options in ({"style": 3}, {"generator": torch.Generator().manual_seed(7)}):
        again = {"generator": torch.Generator().manual_seed(7)} if "generator" in options else options
        whole = frames(pipeline, condition, **options)
        blocks = iter([condition[:1], condition[1:3], condition[3:]])
        assert np.array_equal(np.stack(list(pipeline.stream(condition=blocks, **again))), whole)


@pytest.mark.parametrize("joint", [False, True])
def test_a_generator_of_single_images_holds_the_style_through_the_video(joint, condition):
    """The same picture again is the same frame again, though every frame is made alone and whatever is between."""
    pipeline = alone(joint=joint)
    there_and_back = Condition(
        torch.cat((condition.maps, condition.maps.flip(0))),
        torch.cat((condition.instances, condition.instances.flip(0))),
    )
    for seed in range(3):
        made = frames(pipeline, there_and_back, generator=torch.Generator().manual_seed(seed))
        assert np.array_equal(made, made[::-1])
    assert not np.array_equal(frames(pipeline, condition, style=0), frames(pipeline, condition, style=1))


def test_given_first_frames_and_zeros_need_no_style(pipeline, condition):
    plain = quiet(Vid2VidPipeline(pipeline.generator, ToyShapes()))
    for given in ("zeros", ToyWorld(2, HEIGHT, WIDTH).draw(2).frames):
        expected = frames(plain, condition, first_frames=given)
        assert np.array_equal(frames(pipeline, condition, first_frames=given, style=1), expected)


@pytest.mark.parametrize("size", [(30, 45), (16, 17), (7, 5)])
def test_parts_are_padded_with_the_condition(pipeline, size):
    condition = ToyWorld(1, 32, 48).draw(3).condition.map(lambda maps: maps[..., : size[0], : size[1]])
    rows, columns = (torch.arange(max(16, -(-side // 8) * 8)).clamp(max=side - 1) for side in size)
    padded = condition.map(lambda maps: maps[..., rows, :][..., columns])
    made = frames(pipeline, condition, style=1)
    assert made.shape == (3, *size, 3)
    assert np.array_equal(made, frames(pipeline, padded, style=1)[:, : size[0], : size[1]])


def test_a_task_without_labels_has_its_own_parts():
    task = get_task("sketch2face")
    pipeline = styled(task, appearance=knowing(joint=True, classes=7))
    seen = next(task.draw(0, 3, (64, 64)))
    assert set(task.picture_parts(seen.condition).unique().tolist()) <= set(range(7))
    made = [frames(pipeline, seen.condition, style=style) for style in STYLES]
    assert len({video.tobytes() for video in made}) == CENTRES


def test_the_nearest_style_is_found_by_a_real_picture():
    """Four pictures are the four styles; each is found again, in its colours and upright."""
    pipeline = styled(appearance=knowing(joint=True))
    task, network = pipeline.task, pipeline.appearance
    for layer in network.layers.parameters():
        layer.mul_(10)
    one = ToyWorld(4, 30, 45).draw(1).frames
    pictures = [one, one.flip(1), one.flip(2), ToyWorld(5, 30, 45).draw(1).frames]
    rows, columns = torch.arange(32).clamp(max=29), torch.arange(48).clamp(max=44)
    for style, frame in enumerate(pictures):
        parts = task.picture_parts(Condition(task.extract(frame).maps[..., rows, :][..., columns]))
        features = network(frame[..., rows, :][..., columns].float().div(127.5).sub(1), parts)
        for part in parts.unique().tolist():
            network.looks[part, style] = features[:, :, parts[0, 0] == part][0, :, 0]
    assert [pipeline.nearest_style(frame) for frame in pictures] == [0, 1, 2, 3]
    assert pipeline.nearest_style(torch.cat(pictures[::-1])) == 3, "of a video the first frame counts"


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_save_and_load_give_the_same_bits(pipeline, condition, tmp_path, dtype):
    pipeline.save_pretrained(tmp_path)
    assert json.loads((tmp_path / "model_index.json").read_text())["appearance"] == ["vid2vid_hub", "AppearanceEncoder"]
    loaded = quiet(Vid2VidPipeline.from_pretrained(tmp_path, dtype=dtype))
    assert loaded.appearance.looks.dtype == dtype
    expected = frames(pipeline, condition, style=3)
    if dtype == torch.float32:
        assert np.array_equal(frames(loaded, condition, style=3), expected)
        random = [torch.Generator().manual_seed(3) for _ in range(2)]
        one, other = (frames(p, condition, generator=g) for p, g in zip((pipeline, loaded), random, strict=True))
        assert np.array_equal(one, other)
    else:
        loaded.save_pretrained(tmp_path / "half")
        again = quiet(Vid2VidPipeline.from_pretrained(tmp_path / "half", dtype=dtype))
        assert np.array_equal(frames(again, condition, style=3), frames(loaded, condition, style=3))
        assert np.abs(frames(loaded, condition, style=3).astype(int) - expected).mean() < 1


def test_networks_that_read_features_need_what_knows_them(tmp_path):
    with pytest.raises(ModelError, match=r"first-frame network reads 3 features .* give an AppearanceEncoder"):
        styled(appearance=None)
    with pytest.raises(
        ModelError, match=r"the generator reads 3 features .* this pipeline has nothing that knows them"
    ):
        Vid2VidPipeline(image_network(ToyShapes()), ToyShapes())
    with pytest.raises(ModelError, match="first-frame network reads 3 features of appearance, and appearance gives 5"):
        styled(appearance=knowing(channels=5))
    styled().save_pretrained(tmp_path)
    index = json.loads((tmp_path / "model_index.json").read_text())
    (tmp_path / "model_index.json").write_text(json.dumps(index | {"appearance": [None, None]}))
    shutil.rmtree(tmp_path / "appearance")
    with pytest.raises(ModelError, match="reads 3 features of appearance"):
        Vid2VidPipeline.from_pretrained(tmp_path)
    assert Vid2VidPipeline.from_pretrained(tmp_path, first_frame=None).first_frame is None


def test_a_style_that_is_not_there_is_refused(pipeline, condition):
    with pytest.raises(ModelError, match="style is 4; it must be a whole number between 0 and 3"):
        frames(pipeline, condition, style=4)
    plain = quiet(Vid2VidPipeline(pipeline.generator, ToyShapes()))
    with pytest.raises(ModelError, match="knows one style: leave style out"):
        frames(plain, condition, style=0)
    with pytest.raises(ModelError, match="knows one style: there is none to look for"):
        plain.nearest_style(torch.zeros(1, 3, 32, 32, dtype=torch.uint8))
    with pytest.raises(ModelError, match="are of single parts"):
        pipeline.nearest_style(torch.zeros(1, 3, 32, 32, dtype=torch.uint8))


def test_a_class_that_nobody_knows_is_refused(condition):
    with pytest.raises(ModelError, match="knows the looks of 2 classes, from 0 on"):
        frames(styled(appearance=knowing(classes=2)), condition)

"""A pipeline takes whatever a person brings, gives one frame for each, and says in one sentence what is wrong."""

from __future__ import annotations

import gc
import json
import shutil
import sys
import tracemalloc
from fractions import Fraction
from itertools import chain, count, islice

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import nn

from vid2vid_hub.data.maps import write_maps
from vid2vid_hub.data.toy import ToyShapes, ToyWorld
from vid2vid_hub.errors import ConditionError, ModelError, TaskError, VideoError
from vid2vid_hub.folder import starter
from vid2vid_hub.nn.generator import Vid2VidGenerator
from vid2vid_hub.nn.image import Pix2PixHDGenerator
from vid2vid_hub.ops.warp import warp
from vid2vid_hub.pipeline import Vid2VidPipeline
from vid2vid_hub.types import Condition

LENGTH, HEIGHT, WIDTH = 12, 32, 48
WEIGHTS = "generator/diffusion_pytorch_model.safetensors"


def toy_pipeline(seed=0, first_frame=None, **options):
    """Random weights, with the shifts of norms that a trained network has."""
    torch.manual_seed(seed)
    settings = {"base_channels": 4, "downsamples": 2, "blocks": 2, "foreground": True}
    generator = Vid2VidGenerator(ToyShapes().channels, **(settings | options))
    for module in generator.modules():
        if isinstance(module, nn.InstanceNorm2d):
            nn.init.normal_(module.bias, 0, 0.1)
    generator.requires_grad_(False)
    return quiet(Vid2VidPipeline(generator, ToyShapes(), size=(HEIGHT, WIDTH), first_frame=first_frame))


def image_network(channels=6):
    torch.manual_seed(3)
    return Pix2PixHDGenerator(channels, base_channels=4, downsamples=2, blocks=1, enhancers=1).requires_grad_(False)


def quiet(pipeline):
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


@pytest.fixture(scope="module")
def pipeline():
    return toy_pipeline()


@pytest.fixture(scope="module")
def video():
    return ToyWorld(0, HEIGHT, WIDTH).draw(LENGTH)


@pytest.fixture(scope="module")
def labels(video):
    """Without instances, as pictures hold them."""
    return Condition(video.labels)


@pytest.fixture(scope="module")
def expected(pipeline, labels):
    frames = pipeline(condition=labels).frames
    assert frames.shape == (LENGTH, HEIGHT, WIDTH, 3)
    assert frames.dtype == np.uint8
    assert len(np.unique(frames)) > 50, "a picture of something"
    return frames


# What goes in


def folder_of(pictures, folder):
    folder.mkdir()
    for number, picture in enumerate(pictures):
        picture.save(folder / f"{number:05d}.png")
    return folder


def with_palette(array):
    picture = Image.fromarray(array)
    picture.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255, 9, 9, 9, 7, 7, 7])
    return picture


def label_file(maps, path):
    write_maps(path, maps, Fraction(25))
    return path


CONDITIONS = {
    "one condition": lambda labels, _: labels,
    "an iterator of conditions": lambda labels, _: (labels[i : i + 5] for i in range(0, LENGTH, 5)),
    "a list of conditions": lambda labels, _: [labels[i : i + 1] for i in range(LENGTH)],
    "array (T, H, W)": lambda labels, _: labels.maps[:, 0].numpy(),
    "array (T, H, W, 1)": lambda labels, _: labels.maps.permute(0, 2, 3, 1).numpy(),
    "tensor (T, 1, H, W)": lambda labels, _: labels.maps,
    "arrays one by one": lambda labels, _: iter(labels.maps[:, 0].numpy()),
    "grey images": lambda labels, _: [Image.fromarray(m) for m in labels.maps[:, 0].numpy()],
    "palette images": lambda labels, _: [with_palette(m) for m in labels.maps[:, 0].numpy()],
    "a folder": lambda labels, to: folder_of([Image.fromarray(m) for m in labels.maps[:, 0].numpy()], to / "labels"),
    "the name of a folder": lambda labels, to: str(CONDITIONS["a folder"](labels, to)),
    "a lossless video": lambda labels, to: label_file(labels.maps, to / "labels.mkv"),
}

VIDEOS = {
    "array (T, H, W, 3)": lambda frames, _: frames.permute(0, 2, 3, 1).numpy(),
    "tensor (T, 3, H, W)": lambda frames, _: frames,
    "images": lambda frames, _: [Image.fromarray(f) for f in frames.permute(0, 2, 3, 1).numpy()],
    "images with transparency": lambda frames, _: [im.convert("RGBA") for im in VIDEOS["images"](frames, _)],
    "tensors one by one": lambda frames, _: iter(frames),
    "a folder": lambda frames, to: folder_of(VIDEOS["images"](frames, to), to / "frames"),
    "the name of a folder": lambda frames, to: str(VIDEOS["a folder"](frames, to)),
}


@pytest.mark.parametrize("kind", CONDITIONS)
def test_every_kind_of_condition_gives_the_same_frames(pipeline, labels, expected, tmp_path, kind):
    assert np.array_equal(pipeline(condition=CONDITIONS[kind](labels, tmp_path)).frames, expected)


@pytest.mark.parametrize("kind", VIDEOS)
def test_every_kind_of_video_gives_the_same_frames(pipeline, video, expected, tmp_path, kind):
    assert np.array_equal(pipeline(VIDEOS[kind](video.frames, tmp_path)).frames, expected)


def test_one_image_is_a_video_of_one_frame(pipeline, video, labels, expected):
    one = Image.fromarray(video.frames[0].permute(1, 2, 0).numpy())
    assert np.array_equal(pipeline(one).frames, expected[:1])
    assert np.array_equal(pipeline(condition=Image.fromarray(labels.maps[0, 0].numpy())).frames, expected[:1])


def test_instances_are_seen(pipeline, labels, expected):
    stripes = (torch.arange(WIDTH, dtype=torch.int32) // 12).expand(LENGTH, 1, HEIGHT, -1).contiguous()
    assert not np.array_equal(pipeline(condition=Condition(labels.maps, stripes)).frames, expected)


def test_size_resizes_the_condition(pipeline, labels):
    resized = labels.resized((48, 64))
    frames = pipeline(condition=labels[:3], size=(48, 64)).frames
    assert frames.shape == (3, 48, 64, 3)
    assert np.array_equal(frames, pipeline(condition=resized[:3]).frames)


# What comes out


def test_a_stream_is_a_call(pipeline, labels, expected):
    streamed = list(pipeline.stream(condition=labels))
    assert np.array_equal(np.stack(streamed), expected)


def test_output_types_hold_the_same_pixels(pipeline, labels, expected):
    tensors = pipeline(condition=labels, output_type="pt").frames
    images = pipeline(condition=labels, output_type="pil").frames
    assert tensors.shape == (LENGTH, 3, HEIGHT, WIDTH)
    assert tensors.dtype == torch.uint8
    assert np.array_equal(tensors.permute(0, 2, 3, 1).numpy(), expected)
    assert all(image.mode == "RGB" for image in images)
    assert np.array_equal(np.stack([np.asarray(image) for image in images]), expected)
    with pytest.raises(ValueError, match="'latent'; it must be 'np', 'pt' or 'pil'"):
        pipeline(condition=labels, output_type="latent")


@pytest.mark.parametrize("size", [(30, 45), (33, 49), (16, 17), (7, 5)])
def test_sizes_that_the_network_cannot_divide_are_padded_and_cropped(pipeline, size):
    condition = Condition(torch.from_numpy(np.random.default_rng(0).integers(0, 5, (3, 1, *size), np.uint8)))
    height, width = (max(8, -(-side // 4) * 4) for side in size)
    rows, columns = torch.arange(height).clamp(max=size[0] - 1), torch.arange(width).clamp(max=size[1] - 1)
    padded = Condition(condition.maps[..., rows, :][..., columns])
    frames = pipeline(condition=condition).frames
    assert frames.shape == (3, *size, 3)
    assert np.array_equal(frames, pipeline(condition=padded).frames[:, : size[0], : size[1]])


def test_sizes_that_it_can_divide_are_not_touched(pipeline, labels, expected):
    """The network itself, with nothing of the pipeline around it, makes the same pictures."""
    generator, encoded = pipeline.generator, pipeline.task.encode(labels)
    memory, frames = generator.begin(encoded.features[None, :1]), []
    for t in range(LENGTH):
        frame, memory = generator.step(memory, encoded.features[None, t], encoded.foreground[None, t])
        frames.append(frame.image[0])
    pictures = torch.stack(frames).add(1).mul(127.5).round().to(torch.uint8)
    assert np.array_equal(pictures.permute(0, 2, 3, 1).numpy(), expected)


@pytest.mark.parametrize("given", [1, 2, 3, LENGTH, LENGTH + 2])
@pytest.mark.parametrize("size", [(HEIGHT, WIDTH), (30, 45)])
def test_first_frames_come_out_as_they_are_where_they_were(pipeline, given, size):
    video = ToyWorld(5, *size).draw(LENGTH + 2)
    pictures = video.frames.permute(0, 2, 3, 1).numpy()
    frames = pipeline(condition=video.condition[:LENGTH], first_frames=pictures[:given]).frames
    assert len(frames) == LENGTH
    kept = min(given, LENGTH)
    assert np.array_equal(frames[:kept], pictures[:kept])
    assert not any(np.array_equal(a, b) for a, b in zip(frames[kept:], pictures[kept:LENGTH], strict=True))


def test_first_frames_decide_what_follows(pipeline, video, labels, expected):
    frames = pipeline(condition=labels, first_frames=video.frames[:2]).frames
    black = pipeline(condition=labels, first_frames=torch.zeros_like(video.frames[:2])).frames
    assert not np.array_equal(frames[2], expected[2])
    assert not np.array_equal(frames[2], black[2])


def test_the_network_goes_on_from_the_last_of_the_first_frames(pipeline, video, labels):
    generator, encoded = pipeline.generator, pipeline.task.encode(labels)
    memory = generator.begin(encoded.features[None, 3:5], video.frames[None, 3:5].float().div(127.5).sub(1))
    frame, _ = generator.step(memory, encoded.features[None, 5], encoded.foreground[None, 5])
    *_, made = islice(pipeline.steps([labels], first_frames=video.frames[:5]), 6)
    assert torch.equal(made.image, frame.image)


def test_first_frames_continue_the_video_that_they_come_from(pipeline, labels):
    """A video cut after frame 6 and continued from its last two frames, rounded to pictures, goes on much the same."""
    whole = list(pipeline.steps([labels]))
    pictures = [frame.image[0].add(1).mul(127.5).round().to(torch.uint8) for frame in whole[5:7]]
    *_, continued = islice(pipeline.steps([labels[5:]], first_frames=pictures), 3)
    again = (continued.image - whole[7].image).abs().mean()
    assert again < 0.25 * (whole[7].image - whole[6].image).abs().mean()


@pytest.fixture(scope="module")
def beginning():
    """A pipeline with a network for its first frames; otherwise as ``pipeline``."""
    return toy_pipeline(first_frame=image_network())


def alone(network, features):
    """What a network for single images makes of (T, S, H, W)."""
    return torch.cat([network.step(network.begin(f[None, None]), f[None])[0].image for f in features])


def test_generated_first_frames_are_those_of_their_network_and_decide_what_follows(beginning, labels):
    encoded = beginning.task.encode(labels)
    first = alone(beginning.first_frame, encoded.features[:2])
    memory = beginning.generator.begin(encoded.features[None, :2], first[None])
    third, _ = beginning.generator.step(memory, encoded.features[None, 2], encoded.foreground[None, 2])
    made = list(islice(beginning.steps([labels], first_frames="generated"), 3))
    assert [frame.image.shape for frame in made] == [(1, 3, HEIGHT, WIDTH)] * 3
    for frame, expected in zip(made, (first[:1], first[1:], third.image), strict=True):
        assert torch.equal(frame.image, expected)


@pytest.mark.parametrize("history", [1, 3])
def test_as_many_first_frames_are_generated_as_the_generator_looks_back(labels, history):
    pipeline = toy_pipeline(first_frame=image_network(), history=history)
    images = torch.cat([frame.image for frame in pipeline.steps([labels[:5]])])
    expected = alone(pipeline.first_frame, pipeline.task.encode(labels[:5]).features)
    assert [torch.equal(*pair) for pair in zip(images, expected, strict=True)] == [t < history for t in range(5)]


def test_first_frames_are_generated_wherever_there_is_a_network_for_them(beginning, pipeline, labels, video, expected):
    generated = beginning(condition=labels, first_frames="generated").frames
    assert len(generated) == LENGTH
    assert np.array_equal(beginning(condition=labels).frames, generated)
    assert np.array_equal(beginning(condition=labels[:1]).frames, generated[:1])
    assert np.array_equal(beginning(condition=labels, first_frames="zeros").frames, expected)
    assert np.array_equal(pipeline(condition=labels, first_frames="zeros").frames, expected)
    given = beginning(condition=labels, first_frames=video.frames[:1]).frames
    assert np.array_equal(given, pipeline(condition=labels, first_frames=video.frames[:1]).frames)


def test_first_frames_cannot_be_generated_without_a_network(pipeline, labels, tmp_path):
    with pytest.raises(ModelError, match="has no network for first frames; give pictures, or 'zeros'"):
        pipeline(condition=labels, first_frames="generated")
    with pytest.raises(VideoError, match="zero"):
        pipeline(condition=labels, first_frames="zero")


@pytest.mark.parametrize("size", [(30, 45), (16, 17), (7, 5)])
def test_generated_first_frames_are_padded_and_cropped_with_the_rest(beginning, size):
    """The generator would do with multiples of 4, the network for first frames needs multiples of 8."""
    assert (beginning.generator.multiple, beginning.first_frame.multiple) == (4, 8)
    condition = Condition(torch.from_numpy(np.random.default_rng(0).integers(0, 5, (4, 1, *size), np.uint8)))
    rows, columns = (torch.arange(max(16, -(-side // 8) * 8)).clamp(max=side - 1) for side in size)
    padded = Condition(condition.maps[..., rows, :][..., columns])
    frames = beginning(condition=condition).frames
    assert frames.shape == (4, *size, 3)
    assert np.array_equal(frames, beginning(condition=padded).frames[:, : size[0], : size[1]])


def test_a_network_that_is_not_used_changes_no_size(beginning, pipeline, labels):
    condition = labels.resized((28, 44))
    assert np.array_equal(
        beginning(condition=condition, first_frames="zeros").frames, pipeline(condition=condition).frames
    )


# A generator of single images in place of the sequential one


@pytest.fixture(scope="module")
def imaging():
    return quiet(Vid2VidPipeline(image_network(), ToyShapes()))


def test_a_generator_of_single_images_makes_every_frame_alone(imaging, labels):
    made = torch.cat([frame.image for frame in imaging.steps([labels])])
    assert torch.equal(made, alone(imaging.generator, imaging.task.encode(labels).features))
    frames = imaging(condition=labels).frames
    backwards = imaging(condition=Condition(labels.maps.flip(0)), warp=False).frames
    assert np.array_equal(backwards[::-1], frames)


def test_first_frames_mean_nothing_to_it(imaging, labels, video):
    frames = imaging(condition=labels).frames
    given = imaging(condition=labels, first_frames=video.frames[:3]).frames
    assert np.array_equal(given[:3], video.frames[:3].permute(0, 2, 3, 1).numpy())
    assert np.array_equal(given[3:], frames[3:])
    with pytest.raises(ModelError, match="no network for first frames"):
        imaging(condition=labels, first_frames="generated")


# Given flow


@pytest.fixture(scope="module")
def warping():
    return toy_pipeline(given_flow=True)


@pytest.fixture(scope="module")
def flow():
    """One part of a pixel or several, different for every frame and pixel; nothing that could be used for frame 0."""
    drawn = torch.randn(LENGTH, 2, HEIGHT, WIDTH, generator=torch.Generator().manual_seed(0)) * 3
    drawn[0] = torch.nan
    return drawn


def test_the_flow_of_a_frame_warps_the_frame_before_it(warping, labels, flow):
    frames = list(warping.steps([labels], flow=flow))
    assert torch.equal(frames[0].image, frames[0].hallucinated)
    for before, frame, given in zip(frames, frames[1:], flow[1:], strict=False):
        assert torch.equal(frame.flow[0], given)
        assert torch.equal(frame.warped, warp(before.image, given[None]))
        assert (frame.mask < 1).all()


@pytest.mark.parametrize("kind", [iter, list, lambda flow: flow.double(), lambda flow: chain([None], flow[1:])])
def test_flow_comes_as_a_tensor_or_one_by_one(warping, labels, flow, kind):
    expected = warping(condition=labels, flow=flow).frames
    assert np.isfinite(expected).all()
    assert np.array_equal(warping(condition=labels, flow=kind(flow)).frames, expected)


def test_flow_is_counted_from_the_first_frame_also_where_frames_are_given(warping, labels, video, flow):
    frames = list(warping.steps([labels], flow=flow, first_frames=video.frames[:2]))
    assert torch.equal(frames[2].flow[0], flow[2])


def test_flow_is_padded_as_the_condition_is(warping, flow):
    condition = Condition(torch.from_numpy(np.random.default_rng(0).integers(0, 5, (3, 1, 30, 45), np.uint8)))
    rows, columns = torch.arange(32).clamp(max=29), torch.arange(48).clamp(max=44)
    padded = Condition(condition.maps[..., rows, :][..., columns])
    frames = warping(condition=condition, flow=flow[:3, :, :30, :45]).frames
    whole = warping(condition=padded, flow=flow[:3, :, rows][..., columns]).frames
    assert np.array_equal(frames, whole[:, :30, :45])


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (None, "needs a flow to warp by: give flow"),
        (torch.zeros(3, 2, HEIGHT, WIDTH), "the flow ended early, at frame 3; give one for every frame"),
        (torch.zeros(LENGTH, 2, HEIGHT, 16), r"flow of frame 1 is torch.float32 \(2, 32, 16\); .* float \(2, 32, 48\)"),
        (torch.zeros(LENGTH, 2, HEIGHT, WIDTH).long(), "flow of frame 1 is torch.int64"),
        ([torch.zeros(2, HEIGHT, WIDTH)] * 2 + ["0002.flo"], "flow of frame 2 is str"),
    ],
)
def test_what_is_wrong_with_a_flow_is_one_sentence(warping, labels, wrong, said):
    with pytest.raises(ModelError, match=said):
        warping(condition=labels, flow=wrong)


def test_a_generator_that_estimates_its_flow_takes_none(pipeline, imaging, labels, flow):
    for one in (pipeline, imaging):
        with pytest.raises(ModelError, match="takes no flow: leave flow out"):
            one(condition=labels, flow=flow)


def test_without_warping_every_frame_is_hallucinated(pipeline, labels, expected):
    for frame in pipeline.steps([labels[:3]], warp=False):
        assert torch.equal(frame.image, frame.hallucinated)
    hallucinated = pipeline(condition=labels, warp=False).frames
    assert np.array_equal(hallucinated[0], expected[0]), "the first frame has nothing to warp anyway"
    assert not np.array_equal(hallucinated[1], expected[1])


def test_the_progress_bar_counts_frames_and_can_be_turned_off(labels, capsys):
    pipeline = toy_pipeline()
    pipeline.set_progress_bar_config(mininterval=0)
    pipeline(condition=[labels[:2], labels[2:5]])
    assert "5/5" in capsys.readouterr().err
    pipeline(condition=iter(labels.maps[:3]))
    assert "3it" in capsys.readouterr().err, "a stream has no known end"
    pipeline.set_progress_bar_config(disable=True)
    pipeline(condition=labels[:2])
    assert capsys.readouterr().err == ""


# Streams


def test_a_stream_is_lazy(pipeline):
    asked = []

    def forever():
        for t in count():
            asked.append(t)
            yield Condition(ToyWorld(0, HEIGHT, WIDTH).frame(t).labels[None])

    stream = pipeline.stream(condition=forever())
    assert asked == []
    assert len(list(islice(stream, 10))) == 10
    assert len(asked) <= 11

    pictures = (ToyWorld(0, HEIGHT, WIDTH).frame(t).image for t in count())
    assert len(list(islice(pipeline.stream(pictures), 3))) == 3


def tensors_alive():
    gc.collect()
    return sum(issubclass(type(thing), torch.Tensor) for thing in gc.get_objects())


def test_memory_of_a_stream_does_not_grow(labels):
    pipeline = toy_pipeline(downsamples=1, foreground=False)
    pictures = (labels.maps[t % LENGTH].clone() for t in range(304))
    stream = pipeline.stream(condition=pictures, first_frames=labels.maps.new_zeros(1, 3, HEIGHT, WIDTH))
    assert sum(1 for _ in islice(stream, 200)) == 200
    tensors = tensors_alive()
    tracemalloc.start()
    try:
        for _ in islice(stream, 24):
            pass
        before = tracemalloc.get_traced_memory()[0]
        assert sum(1 for _ in islice(stream, 80)) == 80
        gc.collect()
        grown = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert abs(tensors_alive() - tensors) <= 8, "a block of pictures more or less"
    assert grown < 20_000


def test_two_streams_do_not_meet(pipeline, labels, expected):
    one, other = pipeline.stream(condition=labels), pipeline.stream(condition=labels)
    next(one)
    assert np.array_equal(np.stack(list(other)), expected)
    assert np.array_equal(np.stack(list(one)), expected[1:])


# What is wrong with the input


def test_either_a_video_or_a_condition(pipeline, labels, video):
    for wrong in ({}, {"condition": labels, "video": video.frames}):
        with pytest.raises(ConditionError, match=r"either a video .* or a condition"):
            pipeline(**wrong)


@pytest.mark.parametrize("kind", ["one condition", "a list of conditions", "array (T, H, W)", "a folder"])
def test_a_bad_label_is_named_by_its_frame_in_the_whole_video(pipeline, labels, tmp_path, kind):
    maps = labels.maps.clone()
    maps[11, 0, 3, 7] = 99
    with pytest.raises(ConditionError, match=r"^frame 11: the label is 99 at x 7, y 3; "):
        pipeline(condition=CONDITIONS[kind](Condition(maps), tmp_path))


def test_an_extractor_names_frames_of_the_whole_video(video):
    class Picky(ToyShapes):
        def extract(self, frames):
            for number, frame in enumerate(frames):
                if torch.equal(frame, video.frames[11]):
                    raise ConditionError("there is no person in it", number)
            return super().extract(frames)

    pipeline = quiet(Vid2VidPipeline(toy_pipeline().generator, Picky()))
    with pytest.raises(ConditionError, match=r"^frame 11: there is no person"):
        pipeline(video.frames)


def test_a_first_frame_of_another_size_is_named(pipeline, labels, video):
    wrong = torch.zeros(3, 3, 20, 24, dtype=torch.uint8)
    with pytest.raises(VideoError, match=r"first frame 0 is \(20, 24\) with 3 channels; .* \(32, 48\) in colour"):
        pipeline(condition=labels, first_frames=wrong)
    with pytest.raises(VideoError, match=r"first frame 0 .* with 1 channels"):
        pipeline(condition=labels, first_frames=labels.maps[:1])
    with pytest.raises(VideoError, match=r"picture 1 is 24x20 .* after 48x32"):
        pipeline(condition=labels, first_frames=[video.frames[0], wrong[0]])


def test_a_change_of_size_is_named(pipeline, labels):
    with pytest.raises(ConditionError, match=r"^frame 3: the condition is \(16, 24\) after \(32, 48\)"):
        pipeline(condition=[labels[:3], labels[3:].resized((16, 24))])
    with pytest.raises(VideoError, match="picture 9 is 24x16 with 1 channel after 48x32"):
        pipeline(condition=[*labels.maps[:9], labels.resized((16, 24)).maps[9]])


@pytest.mark.parametrize(("nothing", "error"), [([], VideoError), (iter(()), VideoError)])
def test_nothing_gives_an_error(pipeline, labels, nothing, error):
    with pytest.raises(error, match="no frames"):
        pipeline(condition=nothing)
    with pytest.raises(ConditionError, match="no frames"):
        pipeline(condition=labels[:0])


def test_a_grey_video_cannot_be_extracted_from(pipeline, labels):
    with pytest.raises(VideoError, match="in colour"):
        pipeline(labels.maps)


def test_what_is_no_picture_is_named(pipeline, labels):
    with pytest.raises(VideoError, match=r"picture 0 is torch.float32"):
        pipeline(condition=labels.maps.float())
    with pytest.raises(VideoError, match="picture 2 is str"):
        pipeline(condition=[*labels.maps[:2], "0002.png"])
    with pytest.raises(VideoError, match=r"missing\.mp4"):
        pipeline("missing.mp4")


# Folders


@pytest.fixture(scope="module")
def folder(pipeline, tmp_path_factory):
    path = tmp_path_factory.mktemp("saved")
    pipeline.save_pretrained(path)
    return path


@pytest.fixture
def copied(folder, tmp_path):
    return shutil.copytree(folder, tmp_path / "copy")


def load(folder, **options):
    return quiet(Vid2VidPipeline.from_pretrained(folder, **options))


def test_a_folder_holds_what_it_should(folder):
    files = sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
    assert files == ["config.json", "generator/config.json", WEIGHTS, "model_index.json"]
    index = json.loads((folder / "model_index.json").read_text())
    assert index.pop("_diffusers_version")
    assert index == {
        "_class_name": "Vid2VidPipeline",
        "generator": ["vid2vid_hub", "Vid2VidGenerator"],
        "first_frame": [None, None],
        "forecaster": [None, None],
        "appearance": [None, None],
        "task": "toy",
        "task_config": {},
        "height": HEIGHT,
        "width": WIDTH,
    }


@pytest.mark.parametrize("kind", [str, lambda path: path])
def test_save_and_load_give_the_same_bits(folder, pipeline, labels, expected, kind):
    loaded = load(kind(folder))
    assert isinstance(loaded.task, ToyShapes)
    assert loaded.size == (HEIGHT, WIDTH)
    assert np.array_equal(loaded(condition=labels).frames, expected)
    for ours, theirs in zip(pipeline.steps([labels[:3]]), loaded.steps([labels[:3]]), strict=True):
        assert torch.equal(ours.image, theirs.image)


def test_saved_twice_is_the_same_file(folder, tmp_path):
    load(folder).save_pretrained(tmp_path)
    assert (tmp_path / WEIGHTS).read_bytes() == (folder / WEIGHTS).read_bytes()
    assert (tmp_path / "model_index.json").read_bytes() == (folder / "model_index.json").read_bytes()


def test_stored_in_half_precision_it_is_half_as_large_and_loads_as_single(folder, tmp_path, labels, pipeline):
    load(folder, dtype=torch.float16).save_pretrained(tmp_path)
    assert {tensor.dtype for tensor in load_file(tmp_path / WEIGHTS).values()} == {torch.float16}
    assert (tmp_path / WEIGHTS).stat().st_size < 0.65 * (folder / WEIGHTS).stat().st_size
    loaded = load(tmp_path)
    assert loaded.dtype == torch.float32
    first, ours = (next(p.stream(condition=labels)).astype(int) for p in (loaded, pipeline))
    assert np.abs(first - ours).max() <= 1


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_a_dtype_is_kept_through_the_whole_way(folder, labels, video, dtype):
    loaded = load(folder, dtype=dtype)
    assert loaded.dtype == dtype
    steps = loaded.steps([labels[:4]], first_frames=video.frames[:1])
    assert {frame.image.dtype for frame in steps} == {dtype}


def test_to_moves_and_converts(folder, labels):
    loaded = load(folder).to(torch.float64)
    assert loaded.generator.dtype == loaded.dtype == torch.float64
    assert loaded(condition=labels[:2]).frames.shape == (2, HEIGHT, WIDTH, 3)
    assert loaded.to("cpu").device == torch.device("cpu")


@pytest.fixture
def with_first_frame(beginning, tmp_path):
    beginning.save_pretrained(tmp_path / "beginning")
    return tmp_path / "beginning"


def test_the_network_for_first_frames_is_saved_and_loaded(with_first_frame, beginning, labels, expected):
    index = json.loads((with_first_frame / "model_index.json").read_text())
    assert index["first_frame"] == ["vid2vid_hub", "Pix2PixHDGenerator"]
    assert sorted(p.name for p in (with_first_frame / "first_frame").iterdir()) == [
        "config.json",
        "diffusion_pytorch_model.safetensors",
    ]
    loaded = load(with_first_frame)
    assert np.array_equal(loaded(condition=labels).frames, beginning(condition=labels).frames)
    assert loaded.to(torch.float64).first_frame.dtype == torch.float64
    assert loaded(condition=labels[:3]).frames.shape == (3, HEIGHT, WIDTH, 3)
    assert np.array_equal(load(with_first_frame, first_frame=None)(condition=labels).frames, expected)


def test_a_generator_of_single_images_is_saved_and_loaded(imaging, labels, tmp_path):
    imaging.save_pretrained(tmp_path)
    loaded = load(tmp_path)
    assert isinstance(loaded.generator, Pix2PixHDGenerator)
    assert np.array_equal(loaded(condition=labels).frames, imaging(condition=labels).frames)


def test_a_folder_without_a_word_of_first_frames_loads(copied, labels, expected):
    edit(copied / "model_index.json", first_frame=...)
    loaded = load(copied)
    assert loaded.first_frame is None
    assert np.array_equal(loaded(condition=labels).frames, expected)


def test_what_is_missing_of_the_network_for_first_frames_is_named(with_first_frame):
    (weights,) = (with_first_frame / "first_frame").glob("*.safetensors")
    weights.rename(weights.with_suffix(".bin"))
    assert "first_frame holds diffusion_pytorch_model.bin, a pickle" in refused(with_first_frame)
    shutil.rmtree(with_first_frame / "first_frame")
    assert "first_frame/config.json is missing" in refused(with_first_frame)
    assert load(with_first_frame, first_frame=None).first_frame is None


def test_a_task_and_a_generator_that_do_not_fit_are_refused():
    with pytest.raises(ModelError, match="task 'toy' encodes 6 channels, the generator reads 3"):
        Vid2VidPipeline(Vid2VidGenerator(3, base_channels=4, downsamples=1, blocks=2), ToyShapes())
    with pytest.raises(ModelError, match="task 'toy' encodes 6 channels, the first-frame network reads 3"):
        toy_pipeline(first_frame=image_network(3))
    with pytest.raises(ModelError, match="needs a task"):
        Vid2VidPipeline(toy_pipeline().generator)
    with pytest.raises(TaskError, match=r"'seg2moon'; installed tasks: .*toy"):
        Vid2VidPipeline(toy_pipeline().generator, "seg2moon")


def refused(folder, error=ModelError, **options):
    with pytest.raises(error) as caught:
        Vid2VidPipeline.from_pretrained(folder, **options)
    message = str(caught.value)
    assert "\n" not in message
    assert len(message) < 700
    return message


def edit(path, **changes):
    settings = json.loads(path.read_text()) | changes
    path.write_text(json.dumps({key: value for key, value in settings.items() if value is not ...}))


def test_missing_folders_and_files_are_named(copied, tmp_path):
    assert f"no pipeline folder {tmp_path / 'typo'}" in refused(tmp_path / "typo")
    assert "no pipeline folder typo" in refused("typo")
    (copied / WEIGHTS).unlink()
    assert "generator/ holds no safetensors" in refused(copied)
    (copied / "generator/config.json").unlink()
    assert "generator/config.json is missing" in refused(copied)
    (copied / "model_index.json").unlink()
    assert "no model_index.json" in refused(copied)


@pytest.mark.parametrize("name", ["diffusion_pytorch_model.bin", "latest_net_G0.pth"])
def test_pickles_are_never_loaded_or_saved(copied, pipeline, name):
    (copied / WEIGHTS).rename(copied / "generator" / name)
    message = refused(copied)
    assert name in message
    assert "never loaded; expected safetensors" in message
    assert "safetensors only" in refused(copied, use_safetensors=False)
    with pytest.raises(ModelError, match="safetensors only"):
        pipeline.save_pretrained(copied, safe_serialization=False)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"_class_name": "StableDiffusionPipeline"}, "StableDiffusionPipeline; expected Vid2VidPipeline"),
        ({"_class_name": ["pipeline", "Vid2VidPipeline"]}, "expected Vid2VidPipeline"),
        ({"_class_name": ...}, "of class None"),
        ({"generator": ...}, "nothing as its generator"),
        ({"generator": [None, None]}, "as its generator"),
        ({"generator": ["diffusers", "UNet2DModel"]}, "['diffusers', 'UNet2DModel'] as its generator"),
        ({"first_frame": ["diffusers", "UNet2DModel"]}, "['diffusers', 'UNet2DModel'] as its first_frame"),
        (
            {"first_frame": ["vid2vid_hub", "Vid2VidGenerator"]},
            'as its first_frame; its model_index.json must say ["vid2vid_hub", "Pix2PixHDGenerator"] or [null, null]',
        ),
        ({"first_frame": None}, "None as its first_frame"),
        ({"first_frame": ["vid2vid_hub", "Pix2PixHDGenerator"]}, "first_frame/config.json is missing"),
        ({"generator": ["vid2vid_hub", "Pix2PixHDGenerator"]}, "Pix2PixHDGenerator has no setting"),
        ({"unet": ["diffusers", "UNet2DModel"]}, "'unet', unknown to Vid2VidPipeline"),
        ({"speed": 3}, "'speed', unknown to Vid2VidPipeline"),
        ({"height": "tall"}, "height is 'tall'"),
        ({"task": ...}, "needs a task"),
    ],
)
def test_an_index_of_something_else_is_refused(copied, changes, said):
    edit(copied / "model_index.json", **changes)
    assert said in refused(copied)


def test_a_component_from_elsewhere_is_refused_and_never_imported(copied):
    edit(copied / "model_index.json", generator=["antigravity", "x"])
    assert "antigravity" in refused(copied)
    edit(copied / "model_index.json", generator=["vid2vid_hub", "Vid2VidGenerator"], mixture=["antigravity", "x"])
    assert "'mixture'" in refused(copied)
    assert "antigravity" not in sys.modules


def test_an_unknown_task_lists_the_installed_ones(copied):
    edit(copied / "model_index.json", task="seg2moon")
    message = refused(copied, TaskError)
    assert "'seg2moon'" in message
    assert "toy" in message
    edit(copied / "model_index.json", task="toy", task_config={"colours": 7})
    assert "'toy' does not take these settings" in refused(copied, TaskError)


@pytest.mark.parametrize("text", ["{", "[]", "", '"index"'])
def test_an_index_that_is_no_index_is_refused(copied, text):
    (copied / "model_index.json").write_text(text)
    assert "model_index.json" in refused(copied)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"colour": "blue"}, "no setting colour"),
        ({"base_channels": 10**9}, "base_channels is 1000000000"),
        ({"base_channels": 512, "downsamples": 6}, "is 32768"),
        ({"blocks": "many"}, "blocks is 'many'"),
        ({"condition_channels": ...}, "condition_channels"),
        ({"base_channels": 8}, "expected shape"),
    ],
)
def test_a_config_that_is_not_its_own_is_refused(copied, changes, said):
    edit(copied / "generator/config.json", **changes)
    assert said in refused(copied)


@pytest.mark.parametrize("kept", [0, 100, 5000])
def test_truncated_weights_are_named(copied, kept):
    (copied / WEIGHTS).write_bytes((copied / WEIGHTS).read_bytes()[:kept])
    assert WEIGHTS in refused(copied)


def test_wrong_keys_are_named(copied):
    whole = load_file(copied / WEIGHTS)
    save_file(whole | {"one_more": torch.zeros(1)}, copied / WEIGHTS)
    assert "unexpected keys: one_more" in refused(copied)
    key = whole.popitem()[0]
    save_file(whole, copied / WEIGHTS)
    assert f"missing keys: {key}" in refused(copied)


def test_a_variant_that_is_not_there_is_named(copied):
    assert "variant=fp16" in refused(copied, variant="fp16")


def test_a_folder_that_cannot_be_written_is_an_error(pipeline, tmp_path):
    (tmp_path / "taken").write_text("a file")
    with pytest.raises(ModelError, match=r"taken"):
        pipeline.save_pretrained(tmp_path / "taken" / "inside")


def test_an_unknown_starter_is_named():
    with pytest.raises(ModelError, match="no starter 'moon-starter'"):
        starter("moon-starter")

"""Sample videos: every panel in its place under a caption that can be read, at any size and for any generator."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from vid2vid_hub.data.clips import read_clips
from vid2vid_hub.data.toy import ToyShapes, ToyWorld
from vid2vid_hub.data.video import open_video
from vid2vid_hub.nn.generator import Vid2VidGenerator
from vid2vid_hub.ops.wheel import flow_colours
from vid2vid_hub.training.samples import sample_rollout, write_sample
from vid2vid_hub.types import Frame

COLUMNS = ("condition", "generated", "warped", "hallucinated", "mask", "flow", "real")
GAP = 4
SHADES = {"generated": -0.6, "warped": -0.2, "hallucinated": 0.2, "real": 0.6}
GREYS = {name: round((shade + 1) * 127.5) for name, shade in SHADES.items()}


def parts(length=2, height=72, width=128):
    """A sample whose every panel is of one colour, known from its name."""
    plane = torch.ones(1, length, 3, height, width)
    flow = torch.zeros(1, length, 2, height, width)
    flow[:, :, 0] = 5
    preview = torch.zeros(length, 3, height, width, dtype=torch.uint8)
    preview[:, 2] = 200
    rollout = Frame(
        plane * SHADES["generated"],
        plane * SHADES["hallucinated"],
        plane * SHADES["warped"],
        flow,
        plane[:, :, :1] * 0.9,
    )
    return preview, rollout, plane[0] * SHADES["real"]


def written(path, *sample, fps=10):
    write_sample(path, *sample, fps)
    with open_video(path) as reader:
        return np.stack(list(reader.frames())).astype(int)


def panels(video, height, width):
    """Caption -> (strip, panel) of a video, found by nothing but the size of a panel."""
    columns = (video.shape[2] + GAP) // (width + GAP)
    rows = -(-len(COLUMNS) // columns)
    strip = (video.shape[1] + GAP) // rows - height - GAP
    found = {}
    for number, name in enumerate(COLUMNS):
        top = number // columns * (strip + height + GAP)
        left = number % columns * (width + GAP)
        cell = video[:, top : top + strip + height, left : left + width]
        found[name] = cell[:, :strip], cell[:, strip:]
    return found


def colour(panel):
    """The colour of a panel, once it is known to have only one; the encoder blurs its border."""
    inner = panel[:, 4:-4, 4:-4]
    assert np.ptp(inner, (0, 1, 2)).max() < 12
    return inner.mean((0, 1, 2))


def alike(one, other):
    return np.abs(one - np.array(other)).max() < 6


EXPECTED = {
    "condition": (0, 0, 200),
    **{name: (grey,) * 3 for name, grey in GREYS.items()},
    "mask": (round(0.9 * 255),) * 3,
    "flow": (255, 0, 0),
}


@pytest.mark.parametrize(("height", "width"), [(72, 128), (144, 256), (35, 151)])
def test_a_row_of_all_that_there_is(tmp_path, height, width):
    video = written(tmp_path / "sample.mp4", *parts(2, height, width))
    assert video.shape[2] in (7 * (width + GAP) - GAP, 7 * (width + GAP) - GAP + 1)
    assert video.shape[0] == 2
    found = panels(video, height, width)
    for name, expected in EXPECTED.items():
        assert alike(colour(found[name][1][:, : height - 1]), expected), name


@pytest.mark.parametrize(("width", "rows"), [(288, 1), (296, 2), (512, 2)])
def test_what_would_be_wider_than_a_screen_becomes_two_rows(tmp_path, width, rows):
    video = written(tmp_path / "sample.mp4", *parts(1, 32, width))
    assert video.shape[2] == (7 if rows == 1 else 4) * (width + GAP) - GAP
    found = panels(video, 32, width)
    for name, expected in EXPECTED.items():
        assert alike(colour(found[name][1]), expected), name


@pytest.mark.parametrize(("height", "width"), [(32, 48), (72, 128), (144, 256), (64, 512), (32, 1024)])
def test_captions_can_be_read(tmp_path, height, width):
    """Letters of 8 pixels or more, all within their column, and every column another word."""
    factor = -(-128 // width)
    video = written(tmp_path / "sample.mkv", *parts(1, height, width))
    height, width = height * factor, width * factor
    strips = {name: strip[0].mean(-1) > 128 for name, (strip, _) in panels(video, height, width).items()}
    for name, ink in strips.items():
        assert ink.any(1).sum() >= 8, f"'{name}' is too small"
        assert not ink[:, :2].any(), f"'{name}' is cut off"
        assert not ink[:, -2:].any(), f"'{name}' is cut off"
        assert not ink[:2].any(), f"'{name}' is cut off"
    assert len({ink.tobytes() for ink in strips.values()}) == len(COLUMNS)
    widths = {name: ink.any(0).sum() for name, ink in strips.items()}
    assert max(widths, key=widths.__getitem__) == "hallucinated"


def test_small_frames_are_enlarged_by_whole_pixels(tmp_path):
    preview, rollout, real = parts(1, 32, 48)
    preview[:, :, :, 24:] = 0
    video = written(tmp_path / "sample.mp4", preview, rollout, real)
    shown = panels(video, 96, 144)["condition"][1][0, :, :, 2]
    assert np.abs(shown[4:-4, 2:70] - 200).max() < 12
    assert np.abs(shown[4:-4, 74:142]).max() < 12


def test_a_generator_without_flow_has_the_same_layout_and_says_so(tmp_path):
    preview, rollout, real = parts()
    without = replace(rollout, warped=None, flow=None, mask=None)
    full, bare = (written(tmp_path / "sample.mp4", preview, frames, real) for frames in (rollout, without))
    assert full.shape == bare.shape
    found = panels(bare, 72, 128)
    for name in ("warped", "mask", "flow"):
        strip, panel = found[name]
        assert alike(panel[:, 4:20, 4:-4].mean((0, 1, 2)), (128,) * 3), name
        assert panel.max() > 200, "the word is missing"
        assert np.abs(strip - panels(full, 72, 128)[name][0]).max() < 40, "the caption stays"
    for name in ("condition", "generated", "hallucinated", "real"):
        assert alike(colour(found[name][1]), EXPECTED[name]), name


def test_frames_one_by_one_are_the_same_as_a_rollout(tmp_path):
    preview, rollout, real = parts(3)
    frames = [rollout.map(lambda tensor, t=t: tensor[:, t]) for t in range(3)]
    one, other = (written(tmp_path / "sample.mp4", preview, frames, real) for frames in (rollout, frames))
    assert np.array_equal(one, other)


def test_the_longest_flow_of_the_whole_video_is_saturated(tmp_path):
    """Or the colours of two frames could not be compared."""
    preview, rollout, real = parts(2)
    rollout.flow[:, 0] /= 2
    video = written(tmp_path / "sample.mp4", preview, rollout, real)
    halved, full = (panels(video[t : t + 1], 72, 128)["flow"][1] for t in range(2))
    assert alike(colour(halved), (255, 128, 128))
    assert alike(colour(full), (255, 0, 0))


def test_parts_of_different_lengths_are_refused_before_anything_is_written(tmp_path):
    preview, rollout, real = parts(3)
    (tmp_path / "sample.mp4").write_bytes(b"the sample of yesterday")
    with pytest.raises(ValueError, match=r"as many frames in every column.*'condition': 2.*'real': 3"):
        write_sample(tmp_path / "sample.mp4", preview[:2], rollout, real, 10)
    assert [path.name for path in tmp_path.iterdir()] == ["sample.mp4"]
    assert (tmp_path / "sample.mp4").read_bytes() == b"the sample of yesterday"


@pytest.mark.parametrize("first_frames", ["real", "zeros"])
def test_a_sample_of_a_generator(toy_data, tmp_path, first_frames):
    """From a clip to a file: what is shown belongs together, frame by frame."""
    clip, task = read_clips(toy_data, "val")[0], ToyShapes()
    torch.manual_seed(0)
    generator = Vid2VidGenerator(task.channels, base_channels=4, downsamples=1, blocks=2, foreground=True)
    sample = sample_rollout(generator, task, clip, 4, (32, 48), first_frames=first_frames)
    first = 2 if first_frames == "real" else 0
    world = ToyWorld(2, 32, 48).draw(4)
    assert torch.equal(sample.preview, task.preview(world.condition)[first:])
    assert (sample.real - (world.frames[first:].float() / 127.5 - 1)).abs().mean() < 0.1
    video = written(tmp_path / "sample.mp4", *sample, fps=25)
    assert len(video) == 4 - first
    found = panels(video, 96, 144)
    shown = {"condition": sample.preview, "flow": flow_colours(sample.rollout.flow[0])}
    for name, pictures in shown.items():
        expected = pictures.permute(0, 2, 3, 1).numpy().astype(int)
        mean = found[name][1].reshape(len(video), 32, 3, 48, 3, 3).mean((2, 4))
        assert np.abs(mean - expected).mean() < 12, name
    with open_video(tmp_path / "sample.mp4") as reader:
        assert reader.fps == 25


def test_a_teacher_is_asked_only_by_a_generator_that_takes_flow(toy_data):
    class Never:
        name = "never"

        def flow(self, previous, current):
            raise AssertionError("nobody needs this flow")

    clip = replace(read_clips(toy_data, "val")[0], flow_file_name=None)
    generator = Vid2VidGenerator(ToyShapes().channels, base_channels=4, downsamples=1, blocks=2)
    assert len(sample_rollout(generator, ToyShapes(), clip, 3, (32, 48), teacher=Never()).real) == 3

"""Validation: a generator that cannot be better measures as such, and a real one as its frames say."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from vid2vid_hub.data.clips import Window, read_clips, read_window
from vid2vid_hub.data.toy import ToyShapes
from vid2vid_hub.nn.frozen import DISFlow, confidence
from vid2vid_hub.nn.generator import Vid2VidGenerator
from vid2vid_hub.nn.perceptual import LPIPS
from vid2vid_hub.ops.measures import SAME, psnr, warping_error
from vid2vid_hub.training.rollout import roll_out
from vid2vid_hub.training.validation import validate
from vid2vid_hub.types import Frame, Memory

SIZE = (32, 48)
TASK = ToyShapes()


class Oracle:
    """Stands for the best generator there can be: it knows the real frames, and is ``wrong`` by so much in each."""

    history, has_foreground, takes_flow, device = 2, False, False, torch.device("cpu")

    def __init__(self, clip, wrong=0.0):
        self.frames, self.wrong = read_window(clip, Window(0, 0, clip.length), SIZE).frames, wrong

    def begin(self, features, images=None, scales=None):
        self.t = 0 if images is None else images.shape[1]
        return Memory((), (), started=False)

    def step(self, memory, features, foreground=None, flow=None):
        image = self.frames[:, self.t] + self.wrong
        self.t += 1
        return Frame(image, image), memory


@pytest.fixture
def generator():
    torch.manual_seed(0)
    return Vid2VidGenerator(TASK.channels, base_channels=4, downsamples=1, blocks=2)


@pytest.fixture(scope="module")
def clips(toy_data):
    """Nine and six frames, flow cached."""
    return read_clips(toy_data, "train")


@pytest.fixture(scope="module")
def lpips(shared):
    weights = shared / "data/weights/vgg16_imagenet_lpips_fp16.safetensors"
    if not weights.is_file():
        pytest.skip(f"needs the weights of LPIPS, and there is no {weights}")
    return LPIPS(weights)


def real_warping(clip, start, stop):
    clip = read_window(clip, Window(0, start, stop - start), SIZE)
    frames, flow = clip.frames[0], clip.flow[0]
    return warping_error(frames, flow, confidence(frames[:-1], frames[1:], flow))


@pytest.mark.parametrize(("first_frames", "first"), [("real", 2), ("zeros", 0)])
def test_the_real_video_is_the_best_there_is(clips, first_frames, first):
    found = validate(Oracle(clips[0]), TASK, clips[:1], SIZE, frames=6, first_frames=first_frames)
    assert found == {"psnr": SAME, "warping": pytest.approx(float(real_warping(clips[0], first, 6).mean()))}


@pytest.mark.parametrize("wrong", [0.02, 0.2])
def test_a_known_error_is_measured_in_full(clips, wrong):
    found = validate(Oracle(clips[0], wrong), TASK, clips[:1], SIZE, frames=6)
    assert found["psnr"] == pytest.approx(-20 * torch.log10(torch.tensor(wrong / 2)).item(), abs=1e-2)
    assert found["warping"] == pytest.approx(float(real_warping(clips[0], 0, 6).mean()), rel=1e-3), "steadily wrong"


def test_the_mean_is_over_all_frames_of_all_clips(generator, clips):
    """Or a frame of a short clip would count for more than one of a long clip."""
    found = validate(generator, TASK, clips, SIZE, frames=100)
    near, steady = [], []
    for clip in clips:
        generated, shown = roll_out(generator, TASK, clip, 100, SIZE)
        near += psnr(generated.image[0], shown.frames[0]).tolist()
        flow, frames = shown.flow[0], shown.frames[0]
        steady += warping_error(generated.image[0], flow, confidence(frames[:-1], frames[1:], flow)).tolist()
    assert (len(near), len(steady)) == (15, 13)
    assert found == {
        "psnr": pytest.approx(sum(near) / len(near), rel=1e-4),
        "warping": pytest.approx(sum(steady) / len(steady), rel=1e-4),
    }


def test_only_the_first_frames_are_looked_at(generator, clips):
    few, more = (validate(generator, TASK, clips[:1], SIZE, frames=frames) for frames in (3, 9))
    assert few != more
    assert validate(generator, TASK, clips[:1], SIZE, frames=1).keys() == {"psnr"}, "one frame moves nowhere"


def test_a_teacher_stands_in_for_cached_flow(generator, clips):
    bare = [replace(clips[0], flow_file_name=None)]
    assert validate(generator, TASK, bare, SIZE, frames=4).keys() == {"psnr"}
    found = validate(generator, TASK, bare, SIZE, frames=4, teacher=DISFlow())
    # The cache holds the same teacher's flow, in half precision.
    assert found["warping"] == pytest.approx(validate(generator, TASK, clips[:1], SIZE, frames=4)["warping"], rel=0.02)


def test_without_clips_there_is_nothing_to_say(generator):
    assert validate(generator, TASK, [], SIZE, frames=4) == {}


def test_lpips_is_nought_for_the_real_video_and_grows_with_the_error(clips, lpips):
    distances = [
        validate(Oracle(clips[0], wrong), TASK, clips[:1], SIZE, frames=3, lpips=lpips)["lpips"]
        for wrong in (0.0, 0.05, 0.5)
    ]
    assert distances[0] == pytest.approx(0, abs=1e-6)
    assert distances[0] < distances[1] < distances[2]

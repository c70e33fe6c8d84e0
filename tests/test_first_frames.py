"""First frames that are no pictures of 8 bits: exact ones, and two frames of nothing, as released networks begin."""

from __future__ import annotations

import pytest
import torch

from vid2vid_hub import Vid2VidPipeline
from vid2vid_hub.data.toy import ToyShapes, ToyWorld
from vid2vid_hub.errors import VideoError
from vid2vid_hub.nn.generator import Vid2VidGenerator

SIZE = (32, 48)


@pytest.fixture(scope="module")
def pipeline() -> Vid2VidPipeline:
    torch.manual_seed(0)
    network = Vid2VidGenerator(ToyShapes().channels, base_channels=4, downsamples=2, blocks=2, foreground=True)
    return Vid2VidPipeline(network, ToyShapes())


def made(pipeline, first, **options):
    condition = ToyWorld(0, *SIZE).draw(5).condition
    return list(pipeline.steps([condition], first_frames=first, **options))


def test_pictures_and_their_exact_values_begin_alike(pipeline):
    pictures = ToyWorld(0, *SIZE).draw(2).frames
    exact = pictures.float().div(127.5).sub(1)
    for one, other in zip(made(pipeline, pictures), made(pipeline, exact), strict=True):
        assert torch.equal(one.image, other.image)


def test_first_frames_are_shown_as_they_are(pipeline):
    first = torch.rand(2, 3, *SIZE) * 2 - 1
    frames = made(pipeline, first)
    assert torch.equal(torch.cat([frame.image for frame in frames[:2]]), first)
    assert not torch.equal(frames[2].image, made(pipeline, first.round(decimals=1))[2].image)


def test_frames_of_nothing_are_not_warped(pipeline):
    """The two conditions count, their frames do not: the third frame is hallucinated, and the next one is not."""
    nothing = torch.zeros(2, 3, *SIZE)
    frames = made(pipeline, nothing)
    network, condition = pipeline.generator, ToyWorld(0, *SIZE).draw(5).condition
    encoded = ToyShapes().encode(condition)
    with torch.inference_mode():
        memory = network.begin(encoded.features[None, :2])
        expected, _ = network.step(memory, encoded.features[2:3], encoded.foreground[2:3])
    assert torch.equal(frames[2].image, expected.image)
    assert torch.equal(frames[2].image, frames[2].hallucinated)
    assert not torch.equal(frames[3].image, frames[3].hallucinated)
    assert not torch.equal(frames[2].image, made(pipeline, "zeros")[2].image)


@pytest.mark.parametrize(
    "first",
    [
        torch.zeros(2, 1, *SIZE),
        torch.zeros(3, *SIZE),
        torch.zeros(0, 3, *SIZE),
        torch.full((1, 3, *SIZE), 1.5),
        torch.full((1, 3, *SIZE), torch.nan),
    ],
)
def test_what_is_no_frame_is_refused(pipeline, first):
    with pytest.raises(VideoError, match=r"expected uint8 pictures, or float \(n, 3, H, W\) from -1 to 1"):
        made(pipeline, first)


def test_frames_of_another_size_are_refused(pipeline):
    with pytest.raises(VideoError, match="first frame 0 is"):
        made(pipeline, torch.zeros(2, 3, 8, 8))

"""Letting a generator loose is the same recursion as everywhere, and leaves a training as it was."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from vid2vid_hub.data.clips import PreparedClip, Window, encode_clip, read_clips, read_window, stretch
from vid2vid_hub.data.toy import ToyShapes
from vid2vid_hub.errors import ModelError
from vid2vid_hub.nn.generator import Vid2VidGenerator
from vid2vid_hub.nn.image import Pix2PixHDGenerator
from vid2vid_hub.training.rollout import roll_out
from vid2vid_hub.types import Encoded

SIZE = (32, 48)
TASK = ToyShapes()


def network(**settings):
    torch.manual_seed(0)
    return Vid2VidGenerator(TASK.channels, **{"base_channels": 4, "downsamples": 1, "blocks": 2} | settings)


@pytest.fixture(scope="module")
def clip(toy_data) -> PreparedClip:
    """Nine frames of 48x32, flow cached."""
    return read_clips(toy_data, "train")[0]


@pytest.fixture
def bare(clip) -> PreparedClip:
    """The same without cached flow."""
    return replace(clip, flow_file_name=None)


class Teacher:
    """Says that everything moved by as many pixels as the pair's number, and remembers how often it was asked."""

    name = "counting"

    def __init__(self) -> None:
        self.pairs = 0

    def flow(self, previous, current):
        numbers = torch.arange(self.pairs + 1, self.pairs + len(current) + 1.0)
        self.pairs += len(current)
        return torch.stack((numbers, -numbers), 1)[..., None, None].expand(-1, -1, *current.shape[-2:])


def same(one, other):
    return all(torch.equal(vars(one)[name], tensor) for name, tensor in vars(other).items() if tensor is not None)


@pytest.mark.parametrize("foreground", [False, True])
@pytest.mark.parametrize("flow", [False, True])
@pytest.mark.parametrize(("first_frames", "first"), [("real", 2), ("zeros", 0)])
def test_it_is_the_recursion_of_training(clip, foreground, flow, first_frames, first):
    generator = network(foreground=foreground, flow=flow)
    generated, shown = roll_out(generator, TASK, clip, 6, SIZE, first_frames=first_frames)
    whole = read_window(clip, Window(0, 0, 6), SIZE)
    features, where = encode_clip(TASK, whole)
    memory = generator.begin(features[:, : max(first, 1)], whole.frames[:, :first] if first else None)
    encoded = Encoded(features[:, first:], where[:, first:] if foreground else None)
    with torch.no_grad():
        expected, _ = generator(encoded, memory)
    assert same(generated, expected)
    assert (generated.flow is not None) == flow
    assert torch.equal(shown.frames, whole.frames[:, first:])
    assert torch.equal(shown.maps, whole.maps[:, first:])
    assert torch.equal(shown.flow, whole.flow[:, first:])


@pytest.mark.parametrize(("frames", "length"), [(1, 1), (2, 2), (3, 1), (9, 7), (100, 7)])
def test_real_first_frames_are_not_in_the_result_and_never_all_of_it(clip, frames, length):
    generated, shown = roll_out(network(), TASK, clip, frames, SIZE, first_frames="real")
    assert generated.image.shape[1] == shown.length == length
    assert shown.flow.shape[1] == length - 1


def test_frames_do_not_depend_on_how_many_are_looked_at(clip):
    few, many = (roll_out(network(), TASK, clip, frames, SIZE).generated for frames in (3, 8))
    assert same(many.map(lambda tensor: tensor[:, :3]), few)


def test_a_training_is_left_as_it_was(clip):
    generator = network(foreground=True)
    generator.train()
    before = {name: tensor.clone() for name, tensor in generator.state_dict().items()}
    state = torch.get_rng_state()
    generated, _ = roll_out(generator, TASK, clip, 4, SIZE)
    assert torch.equal(torch.get_rng_state(), state)
    assert generator.training
    assert all(p.grad is None and p.requires_grad for p in generator.parameters())
    assert not generated.image.requires_grad
    assert all(torch.equal(tensor, before[name]) for name, tensor in generator.state_dict().items())
    assert torch.is_grad_enabled()


def test_cached_flow_is_handed_to_a_generator_that_takes_it(clip):
    generated, _ = roll_out(network(given_flow=True), TASK, clip, 5, SIZE, teacher=(teacher := Teacher()))
    assert torch.equal(generated.flow[:, 1:], read_window(clip, Window(0, 0, 5), SIZE).flow)
    assert (generated.flow[:, 0] == 0).all(), "nothing is before the first frame"
    assert teacher.pairs == 0


@pytest.mark.parametrize(("first_frames", "numbers"), [("real", range(2, 8)), ("zeros", range(8))])
def test_a_teacher_gives_the_flow_that_is_not_cached(bare, first_frames, numbers):
    """In blocks, and each frame the flow of its own pair: frame t was the t-th."""
    generated, shown = roll_out(
        network(given_flow=True), TASK, bare, 8, SIZE, teacher=Teacher(), first_frames=first_frames
    )
    assert generated.flow[0, :, 0, 0, 0].tolist() == list(numbers)
    assert shown.flow[0, :, 1, 5, 5].tolist() == [-number for number in numbers[1:]]


def test_a_given_flow_that_nobody_has_is_an_error(bare):
    with pytest.raises(ModelError, match=r"clip 'a' has none cached; give a flow teacher"):
        roll_out(network(given_flow=True), TASK, bare, 3, SIZE)
    assert roll_out(network(), TASK, bare, 3, SIZE).clip.flow is None
    assert roll_out(network(given_flow=True), TASK, bare, 1, SIZE).generated.image.shape[1] == 1


def test_a_generator_of_single_images(clip):
    generator = Pix2PixHDGenerator(TASK.channels, base_channels=4, downsamples=1, blocks=1)
    generated, shown = roll_out(generator, TASK, clip, 4, SIZE, first_frames="real")
    assert generated.image.shape == shown.frames.shape == (1, 4, 3, *SIZE)


def test_the_size_and_the_scales_of_a_stage(clip):
    generator = network(scales=2)
    generated, shown = roll_out(generator, TASK, clip, 3, (16, 24), scales=1)
    assert generated.image.shape == shown.frames.shape == (1, 3, 3, 16, 24)
    finer, _ = roll_out(generator, TASK, clip, 3, (16, 24))
    assert not torch.equal(generated.image, finer.image)


def test_steps_run_in_the_precision_of_the_training(clip):
    exact = roll_out(network(), TASK, clip, 3, SIZE).generated
    coarse = roll_out(network(), TASK, clip, 3, SIZE, autocast=lambda: torch.autocast("cpu", torch.bfloat16)).generated
    assert all(tensor.dtype == torch.float32 for tensor in vars(coarse).values())
    assert 0 < (coarse.image - exact.image).abs().max() < 0.2


def test_a_stretch_keeps_the_flow_between_its_frames(clip):
    whole = read_window(clip, Window(0, 0, 9))
    part = stretch(whole, 2, 6)
    assert part.length == 4
    assert torch.equal(part.frames, whole.frames[:, 2:6])
    assert torch.equal(part.flow, whole.flow[:, 2:5])
    again, direct = stretch(part, 1, 3), stretch(whole, 3, 5)
    for name in ("frames", "maps", "flow"):
        assert torch.equal(getattr(again, name), getattr(direct, name))

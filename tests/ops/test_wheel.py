"""The flow wheel: stillness is white, directions are hues, and only the ratio to the largest length counts."""

from __future__ import annotations

import colorsys
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vid2vid_hub.ops.wheel import LEAST, flow_colours

angles = st.floats(0, 2 * math.pi)
lengths = st.floats(0, 50)


def field(*vectors):
    """Flow (1, 2, 1, W), one vector a pixel."""
    return torch.tensor(vectors, dtype=torch.float32).T[None, :, None]


def polar(length, angle):
    return length * math.cos(angle), length * math.sin(angle)


def colours(flow, largest=50.0):
    """Colours of a field as signed integers, (W, 3)."""
    return flow_colours(flow, largest)[0, :, 0].T.int()


def noise(seed, shape=(2, 2, 5, 7)):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)) * 10


@pytest.mark.parametrize("largest", [None, 0.5, 100.0])
def test_no_motion_is_white(largest):
    painted = flow_colours(torch.zeros(2, 2, 4, 6), largest)
    assert (painted.shape, painted.dtype) == ((2, 3, 4, 6), torch.uint8)
    assert (painted == 255).all()


def test_the_four_directions():
    """Right is red, left is cyan; down leans to yellow and up to violet, as in the figure of Baker et al."""
    right, left, down, up = colours(field((50, 0), (-50, 0), (0, 50), (0, -50)))
    assert right.tolist() == [255, 0, 0]
    assert left.tolist() == [0, 255, 255]
    assert down.tolist() == [128, 255, 0]
    assert up.tolist() == [128, 0, 255]


@given(angles, st.floats(0, 60))
def test_it_is_the_hsv_circle(angle, length):
    found = colours(field(polar(length, angle)))[0]
    expected = colorsys.hsv_to_rgb(angle / (2 * math.pi) % 1, min(length / 50, 1), 1)
    assert (found - torch.tensor(expected) * 255).abs().max() < 0.6


@given(angles)
def test_opposite_directions_are_opposite_colours(angle):
    there, back = colours(field(polar(50, angle), polar(50, angle + math.pi)))
    assert ((there + back - 255).abs() <= 1).all()


@given(angles, lengths)
def test_a_third_of_a_turn_swaps_the_channels(angle, length):
    one, turned = colours(field(polar(length, angle), polar(length, angle + 2 * math.pi / 3)))
    assert ((one.roll(1) - turned).abs() <= 1).all()


@given(angles, lengths, lengths)
def test_longer_is_never_paler(angle, one, other):
    short, long = colours(field(polar(min(one, other), angle), polar(max(one, other), angle)))
    assert (long <= short + 1).all()


@given(st.integers(0, 2**16), st.sampled_from([0.25, 0.5, 2.0, 64.0]))
def test_only_the_ratio_to_the_largest_counts(seed, scale):
    flow = noise(seed)
    assert torch.equal(flow_colours(flow), flow_colours(flow * scale))
    assert torch.equal(flow_colours(flow, 7.0), flow_colours(flow * scale, 7.0 * scale))


def test_the_default_is_the_longest_of_the_whole_batch():
    flow = noise(0)
    flow[0] *= 0.1
    assert torch.equal(flow_colours(flow), flow_colours(flow, float(flow.norm(dim=1).max())))
    assert not torch.equal(flow_colours(flow)[:1], flow_colours(flow[:1])), "or each picture had its own scale"


def test_beyond_the_largest_nothing_changes():
    assert torch.equal(colours(field((3, 4)), 5.0), colours(field((300, 400)), 5.0))


def test_noise_of_a_still_video_stays_pale():
    still = field((LEAST / 100, 0), (0, -LEAST / 100))
    assert flow_colours(still).min() >= 252
    assert flow_colours(field((LEAST, 0))).tolist() == [[[[255]], [[0]], [[0]]]]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), 1e9, -3e38])
@pytest.mark.parametrize("channel", [0, 1])
def test_unknown_flow_is_black_and_harms_no_other_pixel(value, channel):
    flow = noise(1)
    flow[0, :, 2, 3] = 0
    spoiled = flow.clone()
    spoiled[0, channel, 2, 3] = value
    painted, spared = flow_colours(spoiled), flow_colours(flow)
    assert painted[0, :, 2, 3].tolist() == [0, 0, 0]
    painted[0, :, 2, 3] = 255
    assert torch.equal(painted, spared)


def test_empty_and_all_unknown_batches():
    assert flow_colours(torch.zeros(0, 2, 4, 6)).shape == (0, 3, 4, 6)
    assert (flow_colours(torch.full((1, 2, 4, 6), float("nan"))) == 0).all()


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16, torch.float64])
def test_any_precision(kind):
    flow = noise(2).to(kind)
    assert torch.equal(flow_colours(flow, 20.0), flow_colours(flow.float(), 20.0))


@pytest.mark.parametrize("largest", [0.0, -1.0, float("nan")])
def test_a_scale_that_is_none_is_refused(largest):
    with pytest.raises(ValueError, match="positive number of pixels"):
        flow_colours(torch.zeros(1, 2, 4, 6), largest)

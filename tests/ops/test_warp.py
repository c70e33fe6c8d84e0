"""Backward warping: zero flow is nothing, whole pixels are exact, and the drawn world's own flow is followed."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vid2vid_hub.data.toy import ToyWorld
from vid2vid_hub.ops.warp import warp

sizes = st.tuples(st.integers(1, 40), st.integers(1, 40))


def picture(height=32, width=48, dtype=torch.float32):
    return torch.rand(2, 3, height, width, generator=torch.Generator().manual_seed(0), dtype=dtype) * 2 - 1


def constant(image, x, y):
    return torch.tensor([x, y], dtype=image.dtype).view(1, 2, 1, 1).expand(len(image), -1, *image.shape[-2:])


@given(sizes)
def test_zero_flow_is_the_identity(size):
    image = picture(*size)
    torch.testing.assert_close(warp(image, constant(image, 0, 0)), image, rtol=0, atol=2e-5)


@pytest.mark.parametrize("size", [(32, 48), (64, 128), (35, 51), (1, 7), (1, 1)])
def test_thirty_zero_flow_warps_change_nothing(size):
    """Not one value of a picture of 256 values moves, in single precision."""
    stored = (picture(*size) * 127.5 + 127.5).round()
    image = stored / 127.5 - 1
    for _ in range(30):
        image = warp(image, constant(image, 0, 0))
    assert torch.equal((image * 127.5 + 127.5).round(), stored)


@given(st.integers(-6, 6), st.integers(-6, 6))
def test_whole_pixels_shift(x, y):
    image = picture(9, 13, torch.float64)
    rows = (torch.arange(9) + y).clamp(0, 8)
    columns = (torch.arange(13) + x).clamp(0, 12)
    shifted = image[..., rows, :][..., columns]
    torch.testing.assert_close(warp(image, constant(image, x, y)), shifted, rtol=0, atol=1e-12)


def test_the_first_channel_is_x_and_points_to_where_the_pixel_came_from():
    image = torch.arange(5.0).expand(1, 1, 3, 5)
    assert torch.equal(warp(image, constant(image, 2, 0))[0, 0, 0], torch.tensor([2.0, 3.0, 4.0, 4.0, 4.0]))
    torch.testing.assert_close(warp(image, constant(image, 0, 1)), image)


def test_half_pixels_are_averages():
    image = torch.tensor([[[[0.0, 2.0, 6.0]]]])
    torch.testing.assert_close(warp(image, constant(image, 0.5, 0)), torch.tensor([[[[1.0, 4.0, 6.0]]]]))


def test_beyond_the_border_is_the_border():
    image = picture(8, 8)
    far = warp(image, constant(image, 1000, -1000))
    torch.testing.assert_close(far, image[..., :1, -1:].expand_as(far))


@given(st.integers(0, 2**16))
def test_nothing_leaves_the_range_of_the_picture(seed):
    image = picture(12, 10)
    flow = torch.randn(2, 2, 12, 10, generator=torch.Generator().manual_seed(seed)) * 20
    warped = warp(image, flow)
    assert warped.min() >= image.min() - 1e-5
    assert warped.max() <= image.max() + 1e-5


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16])
def test_half_precision_flow_hits_the_right_pixel(kind):
    """Half-precision coordinates would miss by up to a pixel at the right end of a wide picture."""
    image = torch.arange(2048.0).expand(1, 1, 2, 2048)
    warped = warp(image, constant(image, 3, 0).to(kind))
    torch.testing.assert_close(warped[..., :-3], image[..., 3:], rtol=0, atol=0.01)
    assert warp(image.to(kind), constant(image, 3, 0).to(kind)).dtype == kind


def test_gradient_reaches_flow_and_picture():
    image = picture(8, 8, torch.float64).requires_grad_()
    flow = (torch.rand(2, 2, 8, 8, dtype=torch.float64) * 0.6 + 0.2).requires_grad_()
    assert torch.autograd.gradcheck(warp, (image[:1, :1], flow[:1]), atol=1e-6)
    warp(image, flow).square().sum().backward()
    assert (flow.grad != 0).any()
    assert (image.grad != 0).any()


@pytest.mark.parametrize("size", [(1, 9), (9, 1), (1, 1)])
def test_pictures_of_one_pixel_width_or_height(size):
    image = picture(*size)
    warped = warp(image, constant(image, 0, 0))
    assert torch.isfinite(warped).all()
    torch.testing.assert_close(warped, image, rtol=0, atol=2e-6)


def test_the_exact_flow_of_the_drawn_world_carries_each_frame_to_the_next():
    video = ToyWorld(0, 96, 128).draw(4)
    error, unmoved = (
        (warp(video.frames[:-1].float(), flow) - video.frames[1:].float()).abs().mean(1, keepdim=True)[video.visible]
        for flow in (video.flow, torch.zeros_like(video.flow))
    )
    assert video.visible.float().mean() > 0.9
    assert error.median() < 0.5
    assert (error < 2).float().mean() > 0.9
    assert (unmoved < 2).float().mean() < 0.7, "or standing still would pass too"


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), 1e30])
def test_a_flow_that_leads_nowhere_ends_no_process(value):
    """PyTorch's own gradient at a place that is no number is a segmentation fault on the CPU."""
    image = torch.rand(1, 3, 8, 12, generator=torch.Generator().manual_seed(0), requires_grad=True)
    flow = torch.zeros(1, 2, 8, 12)
    flow[..., 3, 4] = value
    warped = warp(image, flow.requires_grad_())
    warped.sum().backward()
    assert flow.grad.isfinite().all()
    untouched = torch.ones_like(warped, dtype=torch.bool)
    untouched[..., 3, 4] = False
    torch.testing.assert_close(warped[untouched], image[untouched])

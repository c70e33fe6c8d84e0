"""Cutting boxes: whole pixels are a slice, all else is what grid_sample makes of it, and the border goes on."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from vid2vid_hub.ops.crop import crop

sizes = st.tuples(st.integers(1, 30), st.integers(1, 30))
places = st.floats(-40, 60, allow_nan=False, width=32)
lengths = st.floats(0, 60, allow_nan=False, width=32)


def pictures(height, width, dtype=torch.float32, count=2):
    random = torch.Generator().manual_seed(height * 100 + width)
    return torch.rand(count, 3, height, width, generator=random, dtype=dtype) * 2 - 1


@given(st.data())
def test_a_box_of_just_that_size_is_the_slice_bit_for_bit(data):
    height, width = data.draw(sizes)
    size = data.draw(st.integers(1, min(height, width)))
    corners = [(data.draw(st.integers(0, width - size)), data.draw(st.integers(0, height - size))) for _ in range(2)]
    image = pictures(height, width)
    cut = crop(image, torch.tensor([(x, y, x + size, y + size) for x, y in corners]), size)
    for picture, one, (x, y) in zip(image, cut, corners, strict=True):
        assert torch.equal(one, picture[:, y : y + size, x : x + size])


@given(sizes, places, places, lengths, lengths, st.integers(1, 12))
def test_any_box_is_what_grid_sample_makes_of_it(shape, x, y, wide, high, size):
    image = pictures(*shape, dtype=torch.float64)
    boxes = torch.tensor([(x, y, x + wide, y + high), (0, 0, shape[1], shape[0])], dtype=torch.float64)
    scale, shift = (boxes[:, 2:] - boxes[:, :2]) / torch.tensor(shape[::-1]), boxes[:, 2:] + boxes[:, :2]
    theta = torch.zeros(2, 2, 3, dtype=torch.float64)
    theta[:, [0, 1], [0, 1]], theta[..., 2] = scale, shift / torch.tensor(shape[::-1]) - 1
    grid = F.affine_grid(theta, [2, 3, size, size], align_corners=False)
    expected = F.grid_sample(image, grid, padding_mode="border", align_corners=False)
    torch.testing.assert_close(crop(image, boxes, size), expected, rtol=0, atol=1e-9)


@given(st.integers(-30, 30), st.integers(-30, 30))
def test_beyond_the_border_the_border_goes_on(x, y):
    image = pictures(9, 13, count=1)
    padded = F.pad(image, (50, 50, 50, 50), mode="replicate")
    cut = crop(image, torch.tensor([[x, y, x + 8, y + 8]]), 8)
    assert torch.equal(cut, padded[..., y + 50 : y + 58, x + 50 : x + 58])


@given(sizes, places, places, lengths)
def test_nothing_leaves_the_range_of_the_picture(shape, x, y, side):
    image = pictures(*shape, count=1)
    cut = crop(image, torch.tensor([[x, y, x + side, y + side]]), 5)
    assert cut.shape == (1, 3, 5, 5)
    assert cut.min() >= image.min() - 1e-6
    assert cut.max() <= image.max() + 1e-6


def test_doubling_and_halving_are_about_pixel_centres():
    ramp = torch.arange(8.0).expand(1, 1, 8, 8)
    box = torch.tensor([[2, 2, 6, 6]])
    assert crop(ramp, box, 2)[0, 0, 0].tolist() == [2.5, 4.5]
    assert crop(ramp, box, 8)[0, 0, 0].tolist() == [1.75, 2.25, 2.75, 3.25, 3.75, 4.25, 4.75, 5.25]


def test_x_is_across_and_y_is_down():
    image = torch.zeros(1, 1, 4, 6)
    image[0, 0, 1, 4] = 1
    assert crop(image, torch.tensor([[4, 1, 5, 2]]), 1).item() == 1


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16])
def test_half_precision_hits_the_right_pixel(kind):
    """Half-precision coordinates would miss at the right end of a wide picture."""
    stripes = (torch.arange(2048) % 7).to(kind).expand(1, 1, 8, 2048)
    cut = crop(stripes, torch.tensor([[2037, 0, 2045, 8]]), 8)
    assert cut.dtype == kind
    assert torch.equal(cut, stripes[..., 2037:2045])


def test_gradient_reaches_the_pictures_and_boxes_between_pixels():
    image = pictures(7, 9, torch.float64).requires_grad_()
    boxes = torch.tensor([(1.1, 0.7, 6.3, 5.9), (-2.2, 3.4, 4.9, 8.8)], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda one, other: crop(one, other, 4), (image, boxes))
    crop(image, boxes, 4).sum().backward()
    assert (image.grad != 0).any()


def test_no_picture_is_no_crop_and_an_empty_box_is_one_colour():
    assert crop(pictures(5, 5)[:0], torch.zeros(0, 4, dtype=torch.int64), 3).shape == (0, 3, 3, 3)
    image = pictures(5, 5, count=1)
    cut = crop(image, torch.zeros(1, 4, dtype=torch.int64), 3)
    assert torch.equal(cut, image[..., :1, :1].expand_as(cut))

"""Labels, instances and lines as pictures, against slow loops."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from vid2vid_hub.errors import ConditionError
from vid2vid_hub.ops.raster import distance_map, draw_polylines, instance_edges, instance_mean, one_hot

IDS = arrays.arrays(
    np.int32,
    st.tuples(st.integers(1, 3), st.just(1), st.integers(1, 7), st.integers(1, 7)),
    elements=st.sampled_from([-2, 0, 3, 26001, 2**31 - 1]),
)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int32, torch.int64])
def test_one_hot_is_one_in_the_class_and_nothing_else(dtype):
    labels = torch.randint(0, 35, (2, 1, 9, 13), generator=torch.Generator().manual_seed(0)).to(dtype)
    planes = one_hot(labels, 35)
    assert planes.shape == (2, 35, 9, 13)
    assert planes.dtype == torch.float32
    assert torch.equal(planes.sum(1), torch.ones(2, 9, 13))
    assert torch.equal(planes.argmax(1, keepdim=True), labels.long())


def test_one_hot_reaches_the_last_of_256_classes():
    assert one_hot(torch.full((1, 1, 1, 1), 255, dtype=torch.uint8), 256)[0, 255] == 1


@settings(deadline=None)
@given(IDS)
def test_edges_are_where_a_4_neighbour_differs(ids):
    expected = np.zeros(ids.shape, np.float32)
    for n, _, y, x in np.ndindex(ids.shape):
        for dy, dx in ((0, 1), (1, 0), (0, -1), (-1, 0)):
            inside = 0 <= y + dy < ids.shape[2] and 0 <= x + dx < ids.shape[3]
            if inside and ids[n, 0, y + dy, x + dx] != ids[n, 0, y, x]:
                expected[n, 0, y, x] = 1
    edges = instance_edges(torch.from_numpy(ids))
    assert edges.dtype == torch.float32
    np.testing.assert_array_equal(edges.numpy(), expected)


@settings(deadline=None)
@given(IDS, st.integers(0, 99))
def test_instance_mean_is_the_mean_over_every_object(ids, seed):
    shape = (len(ids), 3, *ids.shape[2:])
    features = torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    expected = torch.empty(shape, dtype=torch.float64)
    for n in range(len(ids)):
        for value in np.unique(ids[n]):
            where = torch.from_numpy(ids[n, 0] == value)
            expected[n][:, where] = features[n][:, where].mean(1, keepdim=True)
    torch.testing.assert_close(instance_mean(features, torch.from_numpy(ids)), expected)


def test_instance_mean_of_half_precision_does_not_overflow():
    features = torch.full((1, 1, 128, 128), 10.0, dtype=torch.float16)
    mean = instance_mean(features, torch.zeros(1, 1, 128, 128, dtype=torch.int32))
    assert mean.dtype == torch.float16
    assert torch.equal(mean, features), "the sum, 163840, is past the largest float16"


def test_gradients_go_through_instance_mean():
    features = torch.randn(2, 2, 3, 4, dtype=torch.float64, requires_grad=True)
    ids = torch.tensor([[0, 0, 1, 1]] * 3).expand(2, 1, 3, 4)
    assert torch.autograd.gradcheck(instance_mean, (features, ids))


def test_a_stroke_is_a_square_of_its_width_at_every_point():
    lines = [torch.tensor([[2.0, 3.0], [5.0, 3.0]]), torch.tensor([[7.4, 0.6]]), torch.empty(0, 2)]
    thin = torch.zeros(6, 9, dtype=torch.uint8)
    thin[3, 2:6] = 255
    thin[1, 7] = 255
    assert torch.equal(draw_polylines(lines, (6, 9), 1), thin[None])
    thick = torch.zeros(6, 9, dtype=torch.uint8)
    thick[2:4, 1:6] = 255
    thick[0:2, 6:8] = 255
    assert torch.equal(draw_polylines(lines, (6, 9), 2), thick[None])


def test_a_line_off_the_picture_is_cut_at_the_border():
    picture = draw_polylines([torch.tensor([[-50.0, 2.0], [50.0, 2.0], [50.0, 90.0]])], (5, 8), 1)
    assert (picture[0, 2] == 255).all()
    assert picture.count_nonzero() == 8
    beside = draw_polylines([torch.tensor([[8.0, 0.0], [8.0, 4.0]])], (5, 8), 3)
    assert (beside[0, :, 7] == 255).all(), "half of a wide stroke along the border lies inside"


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -1e9])
def test_a_point_that_cannot_be_drawn_is_named(value):
    fine, broken = torch.tensor([[1.0, 1.0]]), torch.tensor([[1.0, 1.0], [value, 2.0]])
    with pytest.raises(ConditionError, match=r"polyline 1 .*drop it before"):
        draw_polylines([fine, broken], (5, 5), 1)


def test_distances_are_l1_and_three_pixels_a_grey_value():
    mask = torch.zeros(1, 30, 1200, dtype=torch.uint8)
    mask[0, 10, 100] = mask[0, 29, 1199] = 1
    y, x = torch.meshgrid(torch.arange(30), torch.arange(1200), indexing="ij")
    first, second = (y - 10).abs() + (x - 100).abs(), (y - 29).abs() + (x - 1199).abs()
    expected = (torch.minimum(first, second) / 3).clamp(max=255).to(torch.uint8)
    assert torch.equal(distance_map(mask), expected[None])


def test_without_a_stroke_everything_is_far():
    assert (distance_map(torch.zeros(1, 4, 5, dtype=torch.uint8)) == 255).all()
    far = torch.zeros(1, 1, 1200, dtype=torch.uint8)
    far[..., 0] = 255
    assert distance_map(far)[0, 0, -1] == 255

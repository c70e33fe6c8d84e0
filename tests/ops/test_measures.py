"""The measures, against what they are by definition."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vid2vid_hub.ops.measures import SAME, confusion, mean_iou, psnr, warping_error

NOISE = torch.rand(3, 40, 60, generator=torch.Generator().manual_seed(0)) * 2 - 1


def test_psnr_of_a_constant_error_has_a_closed_form():
    real = torch.zeros(4, 3, 8, 6)
    errors = torch.tensor([2.0, 0.2, 0.02, 1.0])
    found = psnr(real + errors.view(4, 1, 1, 1), real)
    assert found.tolist() == pytest.approx([0, 20, 40, 10 * math.log10(4)], abs=1e-4)


def test_psnr_squares_before_it_averages():
    real, generated = torch.zeros(1, 3, 2, 2), torch.zeros(1, 3, 2, 2)
    generated[..., 0] = 0.2
    assert psnr(generated, real).item() == pytest.approx(20 + 10 * math.log10(2), abs=1e-4)


def test_psnr_of_the_same_is_finite_and_symmetric():
    one, other = NOISE[None], NOISE.flip(-1)[None]
    assert psnr(one, one).tolist() == [SAME]
    assert psnr(one.half(), one.half()).tolist() == [SAME]
    assert torch.equal(psnr(one, other), psnr(other, one))


def test_psnr_tells_one_level_of_one_pixel_from_the_same():
    real = torch.zeros(1, 3, 144, 256)
    generated = real.clone()
    generated[0, 0, 0, 0] = 2 / 255
    assert 98 < psnr(generated, real).item() < SAME


def moving(velocity: tuple[int, int], frames: int = 3) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """A window of 20x30 over noise that travels by whole pixels a frame, its backward flow, and where it is known."""
    dx, dy = velocity
    video = torch.stack([NOISE[:, 8 - t * dy : 28 - t * dy, 12 - t * dx : 42 - t * dx] for t in range(frames)])
    flow = torch.tensor([-dx, -dy]).float().view(1, 2, 1, 1).expand(frames - 1, 2, 20, 30)
    y, x = torch.meshgrid(torch.arange(20) - dy, torch.arange(30) - dx, indexing="ij")
    inside = (x >= 0) & (x < 30) & (y >= 0) & (y < 20)
    return video, flow, inside.float().expand(frames - 1, 1, 20, 30)


@pytest.mark.parametrize("velocity", [(0, 0), (3, 0), (0, -2), (-2, 1), (4, 3)])
def test_a_video_moved_by_its_own_flow_has_no_warping_error(velocity: tuple[int, int]):
    video, flow, trust = moving(velocity)
    assert warping_error(video, flow, trust).max() < 2e-5
    if any(velocity):
        assert warping_error(video, torch.zeros_like(flow), trust).min() > 0.3
        assert warping_error(video, -flow, trust).min() > 0.3


def test_warping_error_is_the_mean_of_trusted_pixels_only():
    video = torch.zeros(2, 3, 8, 10)
    video[1, :, :, :5] = 0.5
    trust = torch.zeros(1, 1, 8, 10)
    trust[..., :4] = 1
    flow = torch.zeros(1, 2, 8, 10)
    assert warping_error(video, flow, trust).tolist() == pytest.approx([0.5])
    assert warping_error(video, flow, torch.ones_like(trust)).tolist() == pytest.approx([0.25])
    assert warping_error(video, flow, torch.zeros_like(trust)).tolist() == [0.0], "no division by nothing"


def test_every_frame_but_the_first_has_an_error_of_its_own():
    video = torch.zeros(4, 3, 8, 10)
    video[2:] = 1.0
    error = warping_error(video, torch.zeros(3, 2, 8, 10), torch.ones(3, 1, 8, 10))
    assert error.tolist() == pytest.approx([0, 1, 0])


def test_confusion_by_hand():
    labels = torch.tensor([[[[0, 1, 1], [2, 2, 0]]], [[[2, 2, 2], [2, 2, 2]]]], dtype=torch.uint8)
    truth = torch.tensor([[[[0, 1, 0], [2, 1, 0]]], [[[2, 2, 2], [2, 2, 2]]]], dtype=torch.uint8)
    counts = confusion(labels, truth, 4)
    assert counts[0].tolist() == [[2, 1, 0, 0], [0, 1, 1, 0], [0, 0, 1, 0], [0, 0, 0, 0]]
    assert counts[1].tolist() == [[0] * 4, [0] * 4, [0, 0, 6, 0], [0] * 4]
    assert counts.sum() == labels.numel()


def test_mean_overlap_is_of_the_classes_that_occur():
    counts = torch.tensor([[2, 1, 0, 0], [0, 1, 1, 0], [0, 0, 1, 0], [0, 0, 0, 0]])
    assert mean_iou(counts).item() == pytest.approx((2 / 3 + 1 / 3 + 1 / 2) / 3)
    invented = torch.tensor([[2, 0], [0, 0]]) + torch.tensor([[0, 2], [0, 0]])
    assert mean_iou(invented).item() == 0.5, "pixels of a class that is not there are missed by another"
    assert mean_iou(torch.zeros(3, 3, dtype=torch.int64)).item() == 0
    assert mean_iou(torch.stack((counts, counts.T))).shape == (2,)


@given(st.integers(1, 6), st.integers(0, 2**31))
def test_the_truth_overlaps_with_itself_wholly_and_no_order_of_pixels_matters(classes: int, seed: int):
    random = torch.Generator().manual_seed(seed)
    one, other = (torch.randint(classes, (2, 1, 4, 5), generator=random) for _ in range(2))
    assert mean_iou(confusion(one, one, classes)).tolist() == [1, 1]
    assert torch.equal(confusion(one, other, classes), confusion(one.flip(-1), other.flip(-1), classes))
    assert torch.equal(confusion(one, other, classes), confusion(other, one, classes).mT)

"""Image pyramids, and the windows of the video discriminator over chunk borders."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vid2vid_hub.ops.warp import warp
from vid2vid_hub.ops.windows import flow_pyramid, history_length, pyramid, temporal_windows


def test_the_worked_example():
    """Chunks of four frames, K = 3: what each scale judges in chunks 1, 2 and 5, as frame numbers of the video."""
    judged = {chunk: [temporal_windows(4 * (chunk - 1), 4, 3, scale) for scale in range(3)] for chunk in (1, 2, 4, 5)}
    assert judged[1] == [((1, 2, 3),), (), ()]
    assert judged[2] == [((5, 6, 7), (2, 3, 4)), ((1, 4, 7),), ()]
    assert judged[4][2] == (), "scale 2 has too short a past in chunk 4"
    assert judged[5][2] == ((1, 10, 19),)


def test_scales_begin_with_3_7_and_19_frames_in_all():
    for scale, needed in enumerate((3, 7, 19)):
        assert temporal_windows(needed - 2, 1, 3, scale) == ()
        assert len(temporal_windows(needed - 1, 1, 3, scale)) == 1


def test_history_is_two_times_three_to_the_last_scale():
    assert [history_length(3, scales) for scales in (1, 2, 3)] == [2, 6, 18]
    assert history_length(2, 3) == 4
    assert history_length(3, 0) == 0, "without a temporal scale nothing is kept"


@settings(deadline=None)
@given(st.integers(0, 80), st.integers(1, 24), st.integers(2, 4), st.integers(0, 3))
def test_windows_have_their_stride_and_end_in_the_chunk(history, chunk, frames, scale):
    windows = temporal_windows(history, chunk, frames, scale)
    span = history_length(frames, scale + 1)
    for window in windows:
        assert len(window) == frames
        assert {b - a for a, b in pairwise(window)} == {frames**scale}
        assert history <= window[-1] < history + chunk
        assert window[0] >= max(0, history - span), "nothing older than the kept history is asked for"
    ends = [window[-1] for window in windows]
    possible = range(history + chunk - 1, history - 1, -frames)
    assert ends == [end for end in possible if end >= span], "every K-th end from the last one that has its past"


@settings(deadline=None)
@given(st.integers(0, 60), st.integers(1, 12), st.integers(2, 4), st.integers(0, 3))
def test_keeping_only_the_history_loses_no_window(past, chunk, frames, scale):
    kept = min(past, history_length(frames, scale + 1))
    cut = temporal_windows(kept, chunk, frames, scale)
    whole = temporal_windows(past, chunk, frames, scale)
    assert tuple(tuple(index + past - kept for index in window) for window in cut) == whole


@pytest.mark.parametrize("size", [(64, 96), (35, 50), (7, 1), (1, 1)])
def test_pyramid_levels_are_halves_rounded_up_and_coarsest_first(size):
    pictures = torch.randn(2, 3, 4, *size)
    levels = pyramid(pictures, 3)
    assert levels[-1] is pictures
    for coarse, fine in pairwise(levels):
        assert coarse.shape == (2, 3, 4, (fine.shape[-2] + 1) // 2, (fine.shape[-1] + 1) // 2)


def test_pyramid_of_a_constant_is_constant():
    for level in pyramid(torch.full((1, 2, 13, 22), 0.7), 4):
        torch.testing.assert_close(level, torch.full_like(level, 0.7))


def test_pyramid_averages_three_by_three_without_the_padding():
    picture = torch.arange(20.0).reshape(1, 1, 4, 5)
    coarse, _ = pyramid(picture, 2)
    assert coarse[0, 0, 0, 0] == picture[0, 0, :2, :2].mean()
    assert coarse[0, 0, 1, 1] == picture[0, 0, 1:4, 1:4].mean()
    assert coarse[0, 0, 1, 2] == picture[0, 0, 1:4, 3:5].mean()


def test_a_flow_pyramid_halves_the_vectors_with_the_resolution():
    flow = torch.stack((torch.full((16, 24), 8.0), torch.full((16, 24), -4.0)))[None]
    levels = flow_pyramid(flow, 3)
    for level, factor in zip(levels, (4, 2, 1), strict=True):
        assert level.shape == (1, 2, 16 // factor, 24 // factor)
        torch.testing.assert_close(level[0].mean((1, 2)), torch.tensor((8.0, -4.0)) / factor)


def test_a_flow_pyramid_leads_to_the_same_places_at_every_scale():
    """Half a picture that is warped by half a flow is half of the warped picture, but for what averaging blurs."""
    rows, columns = torch.meshgrid(torch.arange(32.0), torch.arange(48.0), indexing="ij")
    smooth = torch.stack((rows, columns, rows + columns)).div(40)[None]
    flow = torch.stack((torch.full((32, 48), 6.0), torch.full((32, 48), -2.0)))[None]
    half_flow, half = flow_pyramid(flow, 2)[0], pyramid(smooth, 2)[0]
    expected = pyramid(warp(smooth, flow), 2)[0]
    inner = (..., slice(3, -3), slice(4, -4))
    torch.testing.assert_close(warp(half, half_flow)[inner], expected[inner], rtol=0, atol=1e-4)
    assert not torch.allclose(warp(half, pyramid(flow, 2)[0])[inner], expected[inner], atol=0.05)


def test_leading_axes_do_not_mix():
    pictures = torch.randn(2, 3, 4, 9, 8)
    for whole, alone in zip(pyramid(pictures, 3), pyramid(pictures[1, 2], 3), strict=True):
        assert torch.equal(whole[1, 2], alone)


def test_labels_and_no_scales_are_refused():
    with pytest.raises(TypeError, match="uint8"):
        pyramid(torch.zeros(1, 1, 4, 4, dtype=torch.uint8), 2)
    with pytest.raises(ValueError, match="at least 1"):
        pyramid(torch.zeros(1, 1, 4, 4), 0)

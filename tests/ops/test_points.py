"""Key points over time: what is still stays still, what moves is followed, what is gone is held for a while."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vid2vid_hub.ops.points import Follower, Smoother, cropped
from vid2vid_hub.types import Condition, Note, Observed

SIZE = 100.0


def frames(*places: tuple[float, float, float]) -> list[torch.Tensor]:
    return [torch.tensor([place]) for place in places]


def test_a_still_point_is_left_where_it_is():
    smooth = Smoother()
    for points in frames(*[(10.0, 20.0, 0.7)] * 5):
        assert torch.equal(smooth(points, SIZE), points)


def test_noise_is_calmed_and_haste_lags_little():
    random = torch.Generator().manual_seed(0)
    noise = torch.randn(200, 1, 2, generator=random)
    smooth = Smoother()
    calm = torch.stack([smooth(torch.cat((50 + one, torch.ones(1, 1)), 1), SIZE)[:, :2] for one in noise])
    assert calm[20:].std() < 0.6 * noise[20:].std()
    smooth = Smoother()
    for t in range(30):
        x = smooth(torch.tensor([[8.0 * t, 0.0, 1.0]]), SIZE)[0, 0]
    assert 8.0 * 29 - x < 8.0, "less than a frame behind"


def test_a_step_is_never_overshot():
    smooth = Smoother()
    places = [float(smooth(one, SIZE)[0, 0]) for one in frames(*[(0.0, 0.0, 1.0)] * 3, *[(30.0, 0.0, 1.0)] * 20)]
    assert places == sorted(places)
    assert 29 < places[-1] <= 30


@pytest.mark.parametrize("gap", range(1, 8))
def test_a_point_is_held_over_a_short_gap_only(gap: int):
    smooth = Smoother(hold=5)
    first = smooth(torch.tensor([[10.0, 20.0, 0.9]]), SIZE)
    for number in range(1, gap + 1):
        held = smooth(torch.zeros(1, 3), SIZE)
        assert torch.equal(held, first if number <= 5 else torch.zeros(1, 3))
    back = smooth(torch.tensor([[90.0, 20.0, 0.9]]), SIZE)
    assert (back[0, 0] == 90.0) == (gap > 5), "after a long gap it begins anew, after a short one it glides"


def test_a_point_that_was_never_there_is_not_made_up():
    smooth = Smoother()
    assert torch.equal(smooth(torch.zeros(2, 3), SIZE), torch.zeros(2, 3))
    there = torch.tensor([[5.0, 6.0, 1.0], [0.0, 0.0, 0.0]])
    assert torch.equal(smooth(there, SIZE), there)


def test_what_it_returns_may_be_written_to():
    smooth = Smoother()
    smooth(torch.tensor([[1.0, 2.0, 1.0]]), SIZE).zero_()
    assert torch.equal(smooth(torch.tensor([[1.0, 2.0, 1.0]]), SIZE), torch.tensor([[1.0, 2.0, 1.0]]))


@given(
    st.tuples(st.integers(1, 80), st.integers(1, 80)),
    st.tuples(st.integers(1, 120), st.integers(1, 120)),
    st.lists(st.tuples(st.floats(-50, 150), st.floats(-50, 150)), min_size=1, max_size=12),
)
def test_a_crop_always_lies_in_the_picture(picture, crop, places):
    follow = Follower(picture, crop)
    height, width = follow.crop
    for x, y in places:
        x0, y0 = follow(x, y)
        assert 0 <= x0 <= picture[1] - width
        assert 0 <= y0 <= picture[0] - height


def test_a_crop_is_still_while_its_subject_is_near_and_glides_after_it():
    follow = Follower((100, 400), (50, 50))
    assert follow(100, 50) == (76, 26)
    assert follow(102, 51) == (76, 26), "within the slack"
    ways = [follow(200, 50)[0] for _ in range(60)]
    steps = [b - a for a, b in pairwise(ways)]
    assert min(steps) >= 0
    assert max(steps) < 20
    assert abs(ways[-1] - (200 - 24.5)) <= 0.05 * 50 + 1


def test_everything_is_cut_alike():
    frames = torch.randint(256, (2, 3, 20, 30), dtype=torch.uint8)
    ids = torch.randint(9, (2, 1, 20, 30), dtype=torch.int32)
    points = torch.tensor([[[10.0, 8.0, 1.0], [0.0, 0.0, 0.0]]]).expand(2, 2, 3)
    seen = Observed(frames, Condition(frames[:, :1], ids, points), (Note(1, "two"),))
    cut = cropped(seen, [(3, 2), (5, 4)], (10, 12))
    assert cut.notes == seen.notes
    for t, (x, y) in enumerate([(3, 2), (5, 4)]):
        box = (..., slice(y, y + 10), slice(x, x + 12))
        assert torch.equal(cut.frames[t], frames[t][box])
        assert torch.equal(cut.condition.maps[t], frames[t, :1][box])
        assert torch.equal(cut.condition.instances[t], ids[t][box])
        assert cut.condition.points[t].tolist() == [[10.0 - x, 8.0 - y, 1.0], [0.0, 0.0, 0.0]]

"""What a future goes on from: the last frames, however they come."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vid2vid_hub.data.toy import ToyShapes, ToyWorld
from vid2vid_hub.errors import ConditionError
from vid2vid_hub.past import look_back
from vid2vid_hub.types import Condition

LENGTH = 11
VIDEO = ToyWorld(0, 24, 32).draw(LENGTH)


def same(one: Condition, other: Condition) -> bool:
    pairs = ((one.maps, other.maps), (one.instances, other.instances))
    return all((a is None) == (b is None) and (a is None or torch.equal(a, b)) for a, b in pairs)


@given(st.integers(1, 15), st.lists(st.integers(1, LENGTH - 1), unique=True))
def test_the_last_frames_of_a_condition_in_blocks_of_any_length(count: int, cuts: list[int]):
    edges = [0, *sorted(cuts), LENGTH]
    blocks = [VIDEO.condition[start:stop] for start, stop in pairwise(edges)]
    past = look_back(ToyShapes(), count, condition=iter(blocks))
    assert same(past.condition, VIDEO.condition[-count:])
    assert past.frames is None


@pytest.mark.parametrize("count", [1, 3, 8, 9, 20])
def test_the_last_frames_of_a_video_with_what_they_show(count: int):
    past = look_back(ToyShapes(), count, video=VIDEO.frames)
    assert torch.equal(past.frames, VIDEO.frames[-count:])
    assert same(past.condition, ToyShapes().extract(VIDEO.frames)[-count:])


def test_everything_is_brought_to_a_size():
    past = look_back(ToyShapes(), 3, video=VIDEO.frames, size=(12, 20))
    assert (past.condition.size, past.frames.shape) == ((12, 20), (3, 3, 12, 20))
    given_maps = look_back(ToyShapes(), 3, condition=VIDEO.condition, size=(12, 20))
    assert same(given_maps.condition, VIDEO.condition[-3:].resized((12, 20)))


@pytest.mark.parametrize("pictures", [1, 2, LENGTH])
def test_pictures_belong_to_the_last_frames_of_a_condition(pictures: int):
    frames = VIDEO.frames[-pictures:].permute(0, 2, 3, 1).numpy()
    past = look_back(ToyShapes(), 3, condition=VIDEO.condition, frames=frames)
    count = min(pictures, 3)
    assert torch.equal(past.frames, VIDEO.frames[-count:])
    assert same(past.condition, VIDEO.condition[-count:])


def test_what_nothing_can_go_on_from_is_refused():
    with pytest.raises(ConditionError, match="give either a video"):
        look_back(ToyShapes(), 3)
    with pytest.raises(ConditionError, match="give either a video"):
        look_back(ToyShapes(), 3, video=VIDEO.frames, condition=VIDEO.condition)
    with pytest.raises(ConditionError, match="no frames to go on from"):
        look_back(ToyShapes(), 3, condition=iter([VIDEO.condition[:0]]))
    sizes = iter([VIDEO.condition[:2], VIDEO.condition[2:4].resized((12, 20))])
    with pytest.raises(ConditionError, match="of 2 sizes"):
        look_back(ToyShapes(), 3, condition=sizes)


def test_an_array_of_pictures_is_a_condition_too():
    grey = np.ascontiguousarray(VIDEO.labels[:, 0].numpy()[..., None])
    assert same(look_back(ToyShapes(), 2, condition=grey).condition, Condition(VIDEO.labels[-2:]))

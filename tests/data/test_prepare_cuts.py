"""Cuts are found to the frame; what only looks like one is none."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.data.shots_world import film, shot
from vid2vid_hub.data import cuts
from vid2vid_hub.data.cuts import find_cuts, shots
from vid2vid_hub.data.toy import ToyWorld
from vid2vid_hub.data.video import open_video

NEARLY_ONE = ("udacity_highway_d", "udacity_highway_e")
"""One drive with a gap of a few frames between them: not even a person sees a cut."""


def pictures(frames):
    return list(frames.permute(0, 2, 3, 1).contiguous().numpy())


def panorama(length, step=3, size=(72, 128)):
    """A pan over a still picture, ``step`` pixels a frame."""
    height, width = size
    wide = pictures(ToyWorld(4, height, width + step * length, objects=9).draw(1).frames)[0]
    return [wide[:, t * step : t * step + width] for t in range(length)]


@pytest.mark.parametrize("lengths", [(30, 30), (12, 9, 40), (20, 10, 10, 20), (1, 30), (30, 2)])
def test_cuts_are_found_to_the_frame(lengths):
    frames = pictures(film(*lengths, size=(64, 96))[0])
    assert find_cuts(frames) == list(np.cumsum(lengths)[:-1])


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10_000), st.integers(0, 5))
def test_a_drawn_world_has_no_cuts(seed, objects):
    assert find_cuts(pictures(ToyWorld(seed, 48, 80, objects).draw(24).frames)) == []


@pytest.mark.parametrize("length", [1, 2, 3])
@pytest.mark.parametrize("light", [(255, 255, 255), (0, 0, 0), (255, 120, 40)])
def test_a_flash_is_no_cut(length, light):
    frames = pictures(shot(2, 40)[0])
    for t in range(20, 20 + length):
        frames[t] = (frames[t] // 8 + np.array(light) * 7 // 8).astype(np.uint8)
    assert find_cuts(frames) == []


def test_a_change_that_lasts_is_a_cut_even_when_it_begins_with_a_flash():
    frames = pictures(film(20, 20)[0])
    frames[20] = np.full_like(frames[20], 255)
    assert find_cuts(frames) in ([20], [21], [20, 21])


@pytest.mark.parametrize("step", [1, 3, 6])
def test_a_pan_is_no_cut(step):
    assert find_cuts(panorama(40, step)) == []


def test_a_jerk_in_a_still_picture_is_no_cut():
    frames = panorama(40, 1)
    assert find_cuts(frames[:1] * 20 + frames[6:7] * 20) == []


def test_blocks_that_have_moved_a_little_are_found_again():
    texture = np.random.default_rng(3).integers(0, 255, (36, 80, 3), np.uint8).repeat(2, 0).repeat(2, 1)
    still, moved, gone = (cuts._small(texture[:, x : x + 128]) for x in (0, 4, 20))
    assert cuts._change(still, moved)[0] < 4 < 20 < cuts._change(still, gone)[0]


def test_light_that_goes_down_is_no_cut():
    frames = pictures(shot(2, 40)[0])
    assert find_cuts([(frame * (1 - t / 45)).astype(np.uint8) for t, frame in enumerate(frames)]) == []


def test_noise_and_stills_have_no_cuts():
    random = np.random.default_rng(0)
    assert find_cuts([np.full((40, 60, 3), 90, np.uint8)] * 30) == []
    assert find_cuts([random.integers(0, 255, (40, 60, 3), np.uint8) for _ in range(30)]) == []
    assert find_cuts([]) == find_cuts([np.zeros((40, 60, 3), np.uint8)]) == []


def test_memory_does_not_grow_with_the_video():
    finder = cuts.CutFinder()
    for frame in panorama(60, 1):
        finder.take(frame)
    assert len(finder._seen) <= 16
    assert len(finder._changes) <= 17


def test_shots_are_what_lies_between_cuts():
    assert list(shots([3, 8], 10)) == [(0, 3), (3, 8), (8, 10)]
    assert list(shots([], 4)) == [(0, 4)]


@pytest.mark.slow
def test_joins_of_real_clips_are_found_and_nothing_inside_them(shared, monkeypatch):
    clips = {}
    for path in sorted((shared / "data").rglob("*.mp4")):
        with open_video(path) as reader:
            clips[path.stem] = [cuts._small(frame) for frame in reader.frames()]
    monkeypatch.setattr(cuts, "_small", lambda small: small)
    assert {name: found for name, small in clips.items() if (found := find_cuts(small))} == {}
    joins = [(one, other) for one in clips for other in clips if one != other]
    assert len(joins) > 300
    wrong = [pair for pair in joins if find_cuts([*clips[pair[0]][-40:], *clips[pair[1]][:40]]) != [40]]
    assert wrong == [NEARLY_ONE]

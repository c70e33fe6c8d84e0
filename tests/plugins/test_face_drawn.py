"""The drawn talking head: decided by its seed, alive, and painted where its landmarks say."""

from itertools import islice, pairwise

import numpy as np
import pytest
import torch

from vid2vid_face import SketchToFace
from vid2vid_face.drawn.acting import Expression, perform
from vid2vid_face.drawn.portrait import Portrait, talk
from vid2vid_hub.errors import TaskError

SEEDS = (0, 1, 2, 6, 7, 9)
LUMA = np.array((0.299, 0.587, 0.114))


def grey(picture: np.ndarray, x: float, y: float) -> float:
    return float(picture[round(y), round(x)] @ LUMA)


def darkest(picture: np.ndarray, x: float, y: float, reach: int = 1) -> float:
    row, column = round(y), round(x)
    return float((picture[row - reach : row + reach + 1, column - reach : column + reach + 1] @ LUMA).min())


def test_the_seed_decides_everything_and_a_longer_video_begins_like_a_shorter():
    def video(seed: int, frames: int) -> torch.Tensor:
        seen = list(SketchToFace().draw(seed, frames, (48, 64)))
        assert [len(one.frames) for one in seen] == [min(8, frames - i) for i in range(0, frames, 8)]
        return torch.cat([one.frames for one in seen])

    assert torch.equal(video(3, 10)[:4], video(3, 4))
    assert not torch.equal(video(3, 4), video(4, 4))
    assert video(3, 4).shape == (4, 3, 48, 64)


@pytest.mark.parametrize("seed", SEEDS)
def test_eyes_look_out_between_their_landmarks(seed: int):
    picture, points = Portrait(seed, (256, 256)).paint(Expression())
    for eye in (points[36:42], points[42:48]):
        middle, height = eye.mean(0), eye[[4, 5], 1].mean() - eye[[1, 2], 1].mean()
        assert darkest(picture, *middle) < 60, "a pupil"
        for corner in (eye[0], eye[3]):
            beside = max(grey(picture, *(middle + share * (corner - middle))) for share in (0.5, 0.6, 0.7, 0.8))
            assert beside > 140, "the white beside it"
        for lid in (eye[1], eye[2]):
            assert darkest(picture, *lid) < 90, "lashes"
        assert height > 10


@pytest.mark.parametrize("seed", SEEDS)
def test_a_shut_eye_shows_lashes_and_no_white(seed: int):
    picture, points = Portrait(seed, (256, 256)).paint(Expression(blink=1.0))
    for eye in (points[36:42], points[42:48]):
        assert abs(eye[[4, 5], 1].mean() - eye[[1, 2], 1].mean()) < 1
        (left, top), (right, bottom) = np.rint(eye.min(0)).astype(int), np.rint(eye.max(0)).astype(int)
        inside = picture[top : bottom + 1, left:right] @ LUMA
        assert inside.min() < 90
        assert (picture[top : bottom + 1, left:right].min(-1) > 225).mean() < 0.05


@pytest.mark.parametrize("seed", SEEDS)
def test_the_mouth_opens_between_its_landmarks_and_its_corners_are_dark(seed: int):
    portrait = Portrait(seed, (256, 256))
    shut, points = portrait.paint(Expression())
    for corner in (points[48], points[54]):
        around = np.mean([grey(shut, corner[0] + dx, corner[1] - 8) for dx in (-3, 0, 3)])
        assert darkest(shut, *corner) < 0.85 * around
    picture, points = portrait.paint(Expression(open=1.0))
    assert points[66, 1] - points[62, 1] > 8
    across = np.linspace(points[62], points[66], 9)[1:-1]
    tones = np.array([picture[round(y), round(x)] for x, y in across])
    assert (tones.sum(1) < 250).any(), "the dark of the mouth"
    assert (tones.min(1) > 170).any(), "teeth"
    lip = picture[round((points[57, 1] + points[66, 1]) / 2), round(points[57, 0])].astype(int)
    assert lip[0] > lip[1] + 10


@pytest.mark.parametrize("yaw", [-0.4, 0.0, 0.4])
@pytest.mark.parametrize("seed", [1, 4, 10])
def test_the_jaw_is_where_the_face_ends(seed: int, yaw: float):
    picture, points = Portrait(seed, (256, 256)).paint(Expression(yaw=yaw))
    centre = points[33]
    differ = []
    for place in points[3:14]:
        out = (place - centre) / np.linalg.norm(place - centre)
        inside, outside = (picture[tuple(np.rint(place + 4 * s * out).astype(int)[::-1])].astype(int) for s in (-1, 1))
        differ.append(np.abs(inside - outside).max() > 12)
    assert np.mean(differ) > 0.8


def test_landmarks_are_a_face():
    for seed in range(12):
        _, points = Portrait(seed, (128, 128)).paint(Expression())
        x, y = points.T
        assert (np.diff(x[:17]) > -0.5).all()
        assert y[17:27].max() < y[36:48].min() < y[30] < y[48:60].min() < y[8]
        assert np.abs(np.add(x[36:40], x[[45, 44, 43, 42]]) - 127).max() < 1e-6
        assert ((points >= 0) & (points < 128)).all()


def test_the_wall_stands_still_and_the_head_does_not():
    frames = np.stack([picture for picture, _ in islice(talk(1, (96, 96)), 40)])
    assert (frames[:, :6, :6] == frames[0, :6, :6]).all()
    assert (frames.std(0).max(-1) > 3).mean() > 0.2


def test_it_acts_alive():
    acts = list(islice(perform(2), 500))
    blinks = sum(now.blink > 0.9 and before.blink < 0.9 for before, now in pairwise(acts))
    assert 4 <= blinks <= 20, "in twenty seconds"
    opened = np.array([act.open for act in acts])
    assert opened.min() < 0.05
    assert opened.max() > 0.6
    assert np.ptp([act.yaw for act in acts]) > 0.3
    steps = np.abs(np.diff([(act.yaw, act.pitch, act.roll) for act in acts], axis=0))
    assert steps.max() < 0.08, "heads do not jump"


@pytest.mark.parametrize("size", [(16, 16), (24, 40), (90, 50)])
def test_every_size_can_be_drawn(size: tuple[int, int]):
    (seen,) = SketchToFace().draw(5, 2, size)
    assert seen.frames.shape == (2, 3, *size)
    assert SketchToFace().missing(seen.condition) == [None, None]
    with pytest.raises(TaskError, match="needs 16 pixels each way"):
        next(SketchToFace().draw(5, 2, (15, 40)))

"""The drawing of a face: upper face, parabolas, filled parts, and Canny's edges against what can be said of them."""

import math

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

from vid2vid_face.landmarks import JAW, LANDMARKS
from vid2vid_face.sketch import canny, curves, parabola, parts_map, with_upper_face

FAR = ((-1e3, -1e3), (1e3, 1e3))
numbers = st.floats(-50, 50)


def level_jaw() -> torch.Tensor:
    points = torch.zeros(LANDMARKS, 3)
    for i in JAW:
        angle = math.pi * i / 16
        points[i] = torch.tensor((40 - 20 * math.cos(angle), 30 + 24 * math.sin(angle), 0.9))
    return points


def test_the_upper_face_of_a_level_jaw_is_two_thirds_as_high():
    points = level_jaw()
    whole = with_upper_face(points)
    assert torch.equal(whole[:LANDMARKS], points)
    for k in range(15):
        x, y, sure = points[15 - k].tolist()
        assert whole[LANDMARKS + k].tolist() == pytest.approx((x, 30 - (y - 30) * 2 / 3, sure), abs=1e-4)


@given(numbers, numbers, st.floats(-3, 3))
def test_the_upper_face_moves_and_turns_with_the_face(x: float, y: float, angle: float):
    turn = torch.tensor(((math.cos(angle), -math.sin(angle)), (math.sin(angle), math.cos(angle))))

    def moved(points: torch.Tensor) -> torch.Tensor:
        return torch.cat((points[:, :2] @ turn.T + torch.tensor((x, y)), points[:, 2:]), 1)

    points = level_jaw()
    assert torch.allclose(with_upper_face(moved(points)), moved(with_upper_face(points)), atol=1e-3)


def test_there_is_no_upper_face_without_the_whole_jaw():
    points = level_jaw()
    points[7, 2] = 0
    assert with_upper_face(points)[LANDMARKS:].eq(0).all()
    assert with_upper_face(torch.zeros(LANDMARKS, 3)).eq(0).all()


@given(numbers, numbers, st.floats(-0.9, 0.9), st.floats(-1, 1), st.floats(2, 20), st.floats(2, 20), st.booleans())
def test_three_points_of_a_parabola_give_that_parabola(x, y, bend, slope, left, right, across):
    def value(place: np.ndarray) -> np.ndarray:
        return y + slope * (place - x) + bend * (place - x) ** 2

    places = np.array((x - left, x, x + right))
    points = np.stack((places, value(places)), 1)
    assume(np.ptp(points[:, 0]) > np.ptp(points[:, 1]))
    curve = parabola(points if across else points[:, ::-1], *FAR)
    place, height = curve.T if across else curve[:, ::-1].T
    assert height == pytest.approx(value(place), abs=1e-6)
    assert (place[0], place[-1]) == pytest.approx((x - left, x + right))
    assert np.diff(place).max() <= 1.3


def test_a_parabola_that_bends_more_than_one_a_pixel_is_dropped():
    kept, dropped = (np.array(((0.0, 0.0), (1.0, bend), (2.0, 0.0))) for bend in (-0.99, -1.01))
    assert parabola(kept, *FAR) is not None
    assert parabola(dropped, *FAR) is None


def test_points_side_by_side_still_give_a_line():
    assert parabola(np.array(((0.0, 1.0), (0.0, 1.0), (4.0, 3.0))), *FAR)[:, 1] == pytest.approx((1, 1.5, 2, 2.5, 3))
    level = parabola(np.array(((1.0, 5.0), (4.0, 5.0))), *FAR)
    assert level.T.tolist() == [[1, 2, 3, 4], pytest.approx([5] * 4)]
    assert np.isfinite(parabola(np.full((3, 2), 7.0), *FAR)).all()


def test_lines_from_far_away_stay_short():
    curve = parabola(np.array(((-1e5, 0.0), (1e5, 10.0))), (-8, -8), (40, 40))
    assert len(curve) == 49
    assert parabola(np.array(((100.0, 0.0), (120.0, 0.0))), (-8, -8), (40, 40)) is None


def test_a_line_is_cut_into_runs_of_three_points_that_share_their_ends():
    points = torch.zeros(83, 3)
    places = ((10, 20), (14, 16), (18, 20), (22, 25), (26, 20))
    for k, place in enumerate(places):
        points[17 + k] = torch.tensor((*place, 1.0))
    first, second = (curve.numpy() for curve in curves(points, (17, 18, 19, 20, 21), (40, 40)))
    for curve, run in ((first, places[:3]), (second, places[2:])):
        assert curve[:, 0].tolist() == list(range(run[0][0], run[2][0] + 1))
        assert curve[:, 1] == pytest.approx(np.polyval(np.polyfit(*zip(*run, strict=True), 2), curve[:, 0]))
    rest = curves(points, (17, 18, 19, 20), (40, 40))
    assert [len(curve) for curve in rest] == [9, 6], "two points are left for a straight end"
    points[18, 2] = 0
    assert len(curves(points, (17, 18, 19, 20, 21), (40, 40))) == 1


def test_parts_are_filled_and_smaller_ones_lie_on_top():
    points = level_jaw()
    points[17:22] = torch.tensor([(28 + 2 * k, 22 - (k == 2), 1) for k in range(5)])
    for first, y in ((48, 44), (60, 44)):
        count = 12 if first == 48 else 8
        radius = 8 if first == 48 else 4
        turn = torch.arange(count) * math.tau / count
        places = (40 - radius * turn.cos(), y - radius * turn.sin(), torch.ones(count))
        points[first : first + count] = torch.stack(places, 1)
    filled = parts_map(points, (64, 80))[0]
    assert [filled[44, 40], filled[44, 34], filled[32, 40], filled[20, 40], filled[2, 2]] == [6, 5, 1, 1, 0]
    assert filled[21, 32] == 2
    assert filled.unique().tolist() == [0, 1, 2, 5, 6], "eyes and nose are not there"


def test_edges_lie_between_dark_and_bright_and_nowhere_else():
    frames = torch.full((2, 3, 32, 40), 60, dtype=torch.uint8)
    frames[1, :, :, 20:] = 200
    edges = canny(frames)
    assert (edges.shape, edges.dtype) == ((2, 1, 32, 40), torch.uint8)
    assert edges[0].eq(0).all()
    columns = edges[1, 0].amax(0).nonzero().flatten().tolist()
    assert set(columns) <= {19, 20}
    assert (edges[1, 0, :, columns].amax(1) == 255).all()
    assert canny(frames[:0]).shape == (0, 1, 32, 40)


@pytest.mark.parametrize(("step", "found"), [(20, False), (40, True)])
def test_thresholds_are_those_of_skimage(step: int, found: bool):
    """A step blurred by sigma 1 has a Sobel slope of 3.0 steps: 51 is passed from 17 on in truth, 20 is near it."""
    frame = torch.full((1, 3, 32, 40), 100, dtype=torch.uint8)
    frame[..., 20:] += step if found else 14
    assert bool(canny(frame).any()) == found

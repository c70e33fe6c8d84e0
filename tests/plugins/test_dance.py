"""pose2dance: its points and pictures, what training varies, and where it looks for faces."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from vid2vid_dance import PoseToDance, dense, layout
from vid2vid_dance.paint import paint
from vid2vid_hub.data.clips import mirror
from vid2vid_hub.errors import ConditionError, TaskError
from vid2vid_hub.types import Clip, Condition

RED, ORANGE = (153, 51, 0), (153, 102, 0)


def nobody(size: tuple[int, int] = (512, 512), frames: int = 1) -> Condition:
    return Condition(torch.zeros(frames, 3, *size, dtype=torch.uint8), points=torch.zeros(frames, layout.POINTS, 3))


def somebody(
    places: dict[int, tuple[float, float]], size: tuple[int, int] = (512, 512), sure: float = 1.0
) -> Condition:
    condition = nobody(size)
    assert condition.points is not None
    for point, place in places.items():
        condition.points[:, point] = torch.tensor((*place, sure))
    return condition


@cache
def drawn(frames: int = 8, size: tuple[int, int] = (96, 96), seed: int = 0) -> Condition:
    seen = [one.condition for one in PoseToDance().draw(seed, frames, size)]
    return Condition(torch.cat([c.maps for c in seen]), points=torch.cat([c.points for c in seen]))


def picture(condition: Condition) -> Tensor:
    """The skeleton of the first frame, uint8 (3, H, W)."""
    return PoseToDance(inputs="openpose").encode(condition).features[0].add(1).mul(127.5).round().to(torch.uint8)


def is_colour(shown: Tensor, colour: tuple[int, int, int]) -> Tensor:
    return (shown == torch.tensor(colour).view(3, 1, 1)).all(0)


def test_the_layout_is_the_papers():
    assert layout.POINTS == 25 + 21 + 21 + 70
    assert len(layout.LIMBS) == 24
    assert {v for colour in layout.LIMBS.values() for v in colour} <= {0, 51, 102, 153}
    assert len(layout.FINGERS) == len(set(layout.FINGERS.values())) == 5
    assert all(len(finger) - 1 == 4 for finger in layout.FINGERS)
    drawn_points = {point for line in layout.FACE_LINES for point in line}
    assert drawn_points == set(range(17, 68)), "without the jaw line and the pupils"


def test_every_joint_hangs_on_one_that_came_before():
    reached = {layout.NECK}
    for inner, outer in layout.LIMBS:
        assert inner in reached
        reached.add(outer)
    assert reached == set(range(25))


def test_mirrored_is_an_involution_that_moves_left_to_right():
    mirrored = layout.MIRRORED
    assert [mirrored[i] for i in mirrored] == list(range(layout.POINTS))
    assert mirrored[layout.LEFT_WRIST] == layout.RIGHT_WRIST
    assert mirrored[layout.LEFT_HAND + 7] == layout.RIGHT_HAND + 7
    unmoved = {i - layout.FACE_AT for i in range(layout.FACE_AT, layout.POINTS) if mirrored[i] == i}
    assert unmoved == {8, 27, 28, 29, 30, 33, 51, 57, 62, 66}, "the face's middle line"
    sides = {frozenset((i, mirrored[i])) for i in range(25) if mirrored[i] != i}
    assert len(sides) == 11


def test_the_drawn_face_is_symmetric_under_mirrored():
    """A face that looks at the viewer is, mirrored, itself: which fails if two points were exchanged wrongly."""
    from vid2vid_dance.drawn.head import _FACE

    mirrored = [i - layout.FACE_AT for i in layout.MIRRORED[layout.FACE_AT :]]
    np.testing.assert_allclose(_FACE[mirrored] * (-1, 1), _FACE, atol=1e-9)


def test_a_mirrored_dancer_is_encoded_as_the_mirrored_picture():
    """Strokes are exact, so but for colours (left is not right) the same pixels are painted."""
    condition = drawn(4, (128, 128))
    points = condition.points
    assert points is not None
    points = (points * 4).round() / 4
    clip = Clip(torch.zeros(1, 4, 3, 128, 128), condition.maps[None], points=points[None])
    turned = mirror(clip, PoseToDance().mirrored).condition
    one, other = (paint(p, (128, 128)).any(1) for p in (points, turned.points))
    assert (one.flip(-1) != other).float().mean() < 1e-3


@pytest.mark.parametrize(
    ("height", "stroke", "disc"), [(512, 6.0, 6.0), (1024, 12.0, 12.0), (128, 1.5, 1.5), (48, 1.0, 0.5625)]
)
def test_a_limb_is_what_lies_within_half_a_stroke_of_it_or_near_its_joints(height: int, stroke: float, disc: float):
    size = height, height
    a, b = np.array((0.31, 0.22)) * height, np.array((0.36, 0.74)) * height
    shown = picture(somebody({layout.RIGHT_SHOULDER: tuple(a), layout.RIGHT_ELBOW: tuple(b)}, size))
    y, x = np.mgrid[0:height, 0:height]
    pixels = np.stack((x, y), -1).astype(float)
    a, b = np.float32(a).astype(float), np.float32(b).astype(float)
    along = np.clip((pixels - a) @ (b - a) / ((b - a) @ (b - a)), 0, 1)
    near = np.linalg.norm(pixels - a - along[..., None] * (b - a), axis=-1) <= stroke / 2
    near |= (np.linalg.norm(pixels - a, axis=-1) <= disc) | (np.linalg.norm(pixels - b, axis=-1) <= disc)
    assert np.array_equal(is_colour(shown, ORANGE).numpy(), near)
    assert shown.any(0).sum() == near.sum()


def test_widths_at_512_are_six_and_two_pixels():
    upright = {layout.RIGHT_SHOULDER: (100.5, 100.0), layout.RIGHT_ELBOW: (100.5, 300.0)}
    fingers = {layout.LEFT_HAND + i: (200.5, 100.0 + 20 * n) for n, i in enumerate((0, 5, 6, 7, 8))}
    nose = {layout.FACE_AT + i: (300.5, 100.0 + 20 * n) for n, i in enumerate(range(27, 31))}
    shown = picture(somebody(upright | fingers | nose))
    assert is_colour(shown, ORANGE)[200].nonzero().flatten().tolist() == [98, 99, 100, 101, 102, 103]
    assert is_colour(shown, (163, 204, 0))[150].nonzero().flatten().tolist() == [200, 201]
    assert is_colour(shown, (255, 255, 255))[130].nonzero().flatten().tolist() == [300, 301]
    assert is_colour(shown, ORANGE)[100].sum() == 12, "the disc of the joint"


def test_overlapping_strokes_have_their_mean_colour():
    corner = {layout.NECK: (100.0, 100.0), layout.RIGHT_SHOULDER: (200.0, 100.0), layout.RIGHT_ELBOW: (200.0, 200.0)}
    shown = picture(somebody(corner))
    assert tuple(shown[:, 100, 150].tolist()) == RED
    assert tuple(shown[:, 150, 200].tolist()) == ORANGE
    mean = tuple(round((one + other) / 2) for one, other in zip(RED, ORANGE, strict=True))
    assert np.abs(np.array(shown[:, 100, 200].tolist()) - mean).max() <= 1


@pytest.mark.parametrize(
    ("points", "threshold"),
    [
        ((layout.RIGHT_SHOULDER, layout.RIGHT_ELBOW), 0.01),
        (tuple(layout.RIGHT_HAND + i for i in (0, 1, 2, 3, 4)), 0.01),
        (tuple(layout.FACE_AT + i for i in range(17, 22)), 0.1),
    ],
)
def test_a_line_is_drawn_where_all_its_points_are_sure_enough(points: tuple[int, ...], threshold: float):
    places = {point: (100.0 + 20 * n, 120.0) for n, point in enumerate(points)}
    assert picture(somebody(places, sure=threshold * 1.01)).any()
    assert not picture(somebody(places, sure=threshold * 0.99)).any()
    for point in points:
        one_unsure = somebody(places)
        assert one_unsure.points is not None
        one_unsure.points[:, point, 2] = threshold * 0.99
        assert not picture(one_unsure).any(), "no part of a line, where one of its points is missing"


def test_what_lies_outside_is_cut_and_what_is_no_number_is_refused():
    condition = somebody({layout.RIGHT_SHOULDER: (-1e6, 40.0), layout.RIGHT_ELBOW: (1e6, 40.0)}, (64, 64))
    assert picture(condition)[:, 40].any(0).all()
    far = somebody({layout.RIGHT_SHOULDER: (-500.0, 40.0), layout.RIGHT_ELBOW: (-400.0, 40.0)}, (64, 64))
    assert not picture(far).any()
    assert condition.points is not None
    condition.points[0, 60, 1] = float("nan")
    with pytest.raises(ConditionError, match=r"frame 0: point 60 is no number"):
        picture(condition)


@pytest.mark.parametrize(("inputs", "channels"), [("both", 6), ("openpose", 3), ("densepose", 3)])
def test_inputs_are_dense_parts_and_then_the_skeleton(inputs: str, channels: int):
    condition = drawn()
    features = PoseToDance(inputs=inputs).encode(condition).features
    both = PoseToDance().encode(condition).features
    assert features.shape == (8, channels, 96, 96) == (8, PoseToDance(inputs=inputs).channels, 96, 96)
    expected = {"both": both, "densepose": both[:, :3], "openpose": both[:, 3:]}[inputs]
    assert torch.equal(features, expected)
    assert -1 == features.min() < features.max() <= 1


@settings(max_examples=10)
@given(t=st.integers(0, 7), seed=st.integers(0, 3))
def test_encoding_is_pure_and_frame_by_frame(t: int, seed: int):
    task, condition = PoseToDance(), drawn(8, (48, 64), seed)
    before = condition.map(Tensor.clone)
    whole = task.encode(condition).features
    assert torch.equal(whole[t : t + 1], task.encode(condition[t : t + 1]).features)
    assert torch.equal(condition.maps, before.maps)
    assert torch.equal(condition.points, before.points)


def test_part_numbers_span_the_range_evenly():
    maps = torch.zeros(1, 3, 1, 26, dtype=torch.uint8)
    maps[0, dense.PART, 0] = torch.arange(26)
    maps[0, dense.V, 0, 1:], maps[0, dense.U, 0, 1:] = 255, 51
    found = PoseToDance(inputs="densepose").encode(Condition(maps)).features[0, :, 0]
    torch.testing.assert_close(found[dense.PART, :25], torch.arange(25) / 12 - 1)
    assert found[:, 0].tolist() == [-1, -1, -1]
    torch.testing.assert_close(found[:2, 5], torch.tensor((1.0, -0.6)))
    assert found[:, 25].tolist() == [-1, -1, -1], "no part has this number"


def test_removing_the_face_leaves_out_the_heads_parts_in_generating_too():
    condition = drawn()
    head = condition.maps[:, dense.PART] >= 23
    assert head.any()
    plain, without = (PoseToDance(remove_face=on).encode(condition).features for on in (False, True))
    assert (without[:, :3].permute(0, 2, 3, 1)[head] == -1).all()
    where = head[:, None].expand_as(plain[:, :3])
    assert torch.equal(plain[:, :3][~where], without[:, :3][~where])
    assert torch.equal(plain[:, 3:], without[:, 3:])


def test_pictures_of_dense_parts_are_read_and_others_refused():
    task, maps = PoseToDance(), drawn().maps
    assert torch.equal(task.parse(maps).maps, maps)
    assert torch.equal(task.preview(task.parse(maps)), maps)
    wrong = maps.clone()
    wrong[3, dense.PART, 5, 7] = 25
    with pytest.raises(ConditionError, match=r"frame 3: the part is 25 at x 7, y 5"):
        task.parse(wrong)
    with pytest.raises(ConditionError, match="swap red and blue"):
        task.parse(maps.flip(1))
    with pytest.raises(ConditionError, match=r"uint8 \(T, 3, H, W\)"):
        task.parse(maps[:, :1])
    with pytest.raises(ConditionError, match="OpenPose JSON"):
        PoseToDance(inputs="openpose").parse(maps)


@pytest.mark.parametrize("probability", [0.0, 0.05, 0.5, 1.0])
def test_dropout_is_decided_by_its_generator_and_drops_whole_things(probability: float):
    task, condition = PoseToDance(dropout=probability), drawn()
    points = torch.ones_like(condition.points)
    condition = replace(condition, points=points)
    one, again = (task.augment(condition, torch.Generator().manual_seed(4)) for _ in range(2))
    assert torch.equal(one.points, again.points)
    assert torch.equal(one.maps, again.maps)
    assert torch.equal(condition.points, torch.ones_like(points)), "the original stays"
    gone = (one.points == 0).all(2)
    assert torch.equal(gone.any(0), gone.all(0)), "for all frames of the stretch"
    assert (one.points[~gone] == 1).all()
    for first, count in ((layout.LEFT_HAND, 21), (layout.RIGHT_HAND, 21), (layout.FACE_AT, 70)):
        assert gone[0, first : first + count].unique().numel() == 1
    assert not gone[0, layout.NECK], "is no limb's outer joint"
    changed = (one.maps != condition.maps).any(1)
    assert (one.maps.permute(0, 2, 3, 1)[changed] == 0).all()
    lost = set(condition.maps[:, dense.PART][changed].tolist())
    assert lost.isdisjoint(one.maps[:, dense.PART].unique().tolist()), "a part is dropped whole"
    if probability == 0:
        assert not gone.any()
        assert not changed.any()
    if probability == 1:
        assert gone.sum() == 8 * (layout.POINTS - 1)
        assert not one.maps.any()


def test_things_are_dropped_as_often_as_said():
    task, condition = PoseToDance(dropout=0.2), drawn(1)
    condition = replace(condition, points=torch.ones_like(condition.points))
    draws = [task.augment(condition, torch.Generator().manual_seed(seed)).points[0, :, 2] == 0 for seed in range(600)]
    shares = torch.stack(draws).float().mean(0)
    outer = [joint for _, joint in layout.LIMBS]
    things = shares[[*outer, layout.LEFT_HAND, layout.RIGHT_HAND, layout.FACE_AT]]
    assert (things - 0.2).abs().max() < 0.07
    assert (things.mean() - 0.2).abs() < 0.015


def test_without_the_face_training_moves_the_head_a_little():
    task, condition = PoseToDance(remove_face=True, dropout=0.0), drawn(4, (512, 512))
    moves = [task.augment(condition, torch.Generator().manual_seed(n)).points - condition.points for n in range(60)]
    moved = torch.stack(moves)
    head, face = moved[:, :, list(layout.HEAD), :2], moved[:, :, layout.FACE_AT :, :2]
    there = (condition.points[0, layout.FACE_AT :, 2] > 0).all()
    assert there
    assert (head[:, :1] - head).abs().max() < 1e-3, "the same for all frames of a stretch"
    assert (face[:, :, :1] - face).abs().max() < 1e-3, "the face as a whole"
    assert 4 < head[:, 0].std() < 6
    assert 1.5 < face[:, 0, 0].std() < 2.5
    others = [i for i in range(layout.FACE_AT) if i not in layout.HEAD]
    assert not moved[:, :, others].any()


def test_the_region_is_a_square_on_the_head_from_points_or_parts():
    task, condition = PoseToDance(), drawn(8, (128, 160))
    from_points = task.regions(condition)
    from_parts = task.regions(Condition(condition.maps))
    for t in range(8):
        head = (condition.maps[t, dense.PART] >= 23).nonzero().float().mean(0)
        for x0, y0, x1, y1 in (from_points[t].tolist(), from_parts[t].tolist()):
            assert x1 - x0 == y1 - y0 >= 8
            assert 0 <= x0 < x1 <= 160
            assert 0 <= y0 < y1 <= 128
            assert x0 < head[1] < x1
            assert y0 < head[0] < y1
    assert not task.regions(nobody((64, 64), 2)).any()
    away = somebody({layout.NECK: (-40.0, 30.0), layout.NOSE: (-40.0, 15.0)}, (64, 64))
    assert not task.regions(away).any()


def test_who_is_missing_is_said():
    task = PoseToDance()
    assert task.missing(nobody((64, 64), 2)) == ["no person"] * 2
    assert task.missing(somebody({layout.NECK: (-40.0, 30.0), layout.NOSE: (-40.0, 15.0)}, (64, 64))) == [
        "person off the picture"
    ]
    assert task.missing(drawn()) == [None] * 8
    assert task.missing(Condition(drawn().maps)) == [None] * 8
    assert PoseToDance(inputs="openpose").missing(Condition(drawn().maps)) == ["no person"] * 8
    without_parts = replace(drawn(), maps=torch.zeros_like(drawn().maps))
    assert PoseToDance(inputs="densepose").missing(without_parts) == ["no person"] * 8


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"inputs": "depth"}, r"inputs is 'depth'; it must be one of both, openpose, densepose"),
        ({"estimator": "openpose"}, r"estimator is 'openpose'"),
        ({"crop": "face"}, r"crop is 'face'"),
        ({"dropout": 1.5}, r"dropout is 1.5; it is a probability"),
        ({"crop_aspect": 0.0}, r"crop_aspect is 0.0"),
        ({"retarget": "limbs"}, r"or inputs 'openpose'"),
        ({"reference": {"torso": 0.2}}, r"reference must be what measure returns"),
        ({"reference": {"torso": 0.0, "hip": [0.5, 0.5], "limbs": {}}}, r"not over 0"),
    ],
)
def test_settings_that_mean_nothing_are_refused(settings: dict, message: str):
    with pytest.raises(TaskError, match=message):
        PoseToDance(**settings)


def test_conditions_of_another_kind_are_refused():
    maps = torch.zeros(1, 1, 32, 32, dtype=torch.uint8)
    with pytest.raises(ConditionError, match="three maps"):
        PoseToDance().encode(Condition(maps))
    with pytest.raises(ConditionError, match="137 points a frame, not 68"):
        PoseToDance().encode(Condition(maps.expand(-1, 3, -1, -1), points=torch.zeros(1, 68, 3)))

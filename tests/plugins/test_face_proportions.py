"""Proportions: a face is its own reference, and a driver with other ones is given the reference's."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from vid2vid_face import SketchToFace
from vid2vid_face.drawn.acting import Expression
from vid2vid_face.drawn.head import landmarks
from vid2vid_face.drawn.person import some_person
from vid2vid_face.landmarks import MIRRORED
from vid2vid_face.proportions import GROUPS, Frame, jittered, measured, ratios, retargeted


def acted(seed: int, frames: int = 48, size: tuple[int, int] = (96, 96)) -> Tensor:
    """Landmarks of a drawn person, (T, 68, 3)."""
    return torch.cat([seen.condition.points for seen in SketchToFace(canny=False).draw(seed, frames, size)])


@pytest.fixture(scope="module")
def points() -> dict[int, Tensor]:
    return {seed: acted(seed) for seed in (1, 6)}


def test_the_frame_of_the_eyes_has_them_half_a_unit_aside(points):
    places = Frame(points[6]).into(points[6][..., :2])
    assert torch.allclose(places[:, 36:42].mean(1), torch.tensor((-0.5, 0.0)), atol=1e-5)
    assert torch.allclose(places[:, 42:48].mean(1), torch.tensor((0.5, 0.0)), atol=1e-5)
    assert torch.allclose(Frame(points[6]).back(places), points[6][..., :2], atol=1e-3)


def test_retargeting_to_oneself_changes_nothing(points):
    own = measured([points[1]])
    assert torch.allclose(retargeted(points[1], ratios(own, own)), points[1], atol=1e-3)


def test_retargeting_gives_a_driver_the_measured_proportions_of_the_reference(points):
    driver, reference = measured([points[1]]), measured([points[6]])
    assert max(abs(a - b) for group in GROUPS for a, b in zip(driver[group], reference[group], strict=True)) > 0.05
    result = measured([retargeted(points[1], ratios(driver, reference))])
    for group in GROUPS:
        assert result[group] == pytest.approx(reference[group], abs=2e-3), group


def test_retargeting_leaves_the_eyes_where_they_are_and_a_shut_mouth_shut(points):
    result = retargeted(points[1], ratios(measured([points[1]]), measured([points[6]])))
    for eye in (slice(36, 42), slice(42, 48)):
        assert torch.allclose(result[:, eye, :2].mean(1), points[1][:, eye, :2].mean(1), atol=1e-3)
    gap, before = (p[:, 66, 1] - p[:, 62, 1] for p in (result, points[1]))
    assert (gap[before < 0.5] < 1).all()
    assert torch.equal(result[..., 2], points[1][..., 2])


@given(st.floats(-100, 100), st.floats(-100, 100), st.floats(-3, 3), st.floats(0.5, 3))
def test_proportions_do_not_know_place_tilt_or_size(x: float, y: float, angle: float, scale: float):
    face = torch.tensor(landmarks(some_person(np.random.default_rng(3)), Expression(open=0.3)))[None]
    face = torch.cat((60 * face[..., :2], torch.ones(1, 68, 1)), -1)
    turn = scale * torch.tensor(((math.cos(angle), -math.sin(angle)), (math.sin(angle), math.cos(angle))))
    moved = face.clone()
    moved[..., :2] = face[..., :2] @ turn.double().T + torch.tensor((x, y))
    one, other = measured([face]), measured([moved])
    for group in GROUPS:
        assert other[group] == pytest.approx(one[group], abs=1e-5)


def test_proportions_are_the_mirror_images_own(points):
    turned = points[6][:, list(MIRRORED)].clone()
    turned[..., 0] = 95 - turned[..., 0]
    one, other = measured([points[6]]), measured([turned])
    for group in GROUPS:
        assert other[group] == pytest.approx(one[group], abs=1e-4), group


def test_blocks_do_not_matter_and_frames_without_a_face_do_not_count(points):
    whole = points[6].clone()
    whole[5] = 0
    blocks = [whole[i : i + 8] for i in range(0, len(whole), 8)]
    kept = torch.cat((whole[:5], whole[6:]))
    assert measured(blocks) == measured([kept])
    assert measured([torch.zeros(4, 68, 3)]) is None
    assert measured([]) is None
    assert SketchToFace().measure([]) == {}
    assert torch.equal(retargeted(whole, ratios(measured([kept]), measured([points[1]])))[5], whole[5])


def test_absurd_ratios_are_cut():
    small = {group: [0.1, 0.1, 0.1, 0.1] for group in GROUPS}
    large = {group: [1.0, -1.0, 0.0, 0.15] for group in GROUPS}
    factors = ratios(small, large)
    assert factors[0].tolist() == pytest.approx([2, 1, 1, 1.5])


def test_speech_is_not_taken_for_thick_lips():
    person = some_person(np.random.default_rng(3))

    def lips(opened: float) -> float:
        places = 60 * torch.tensor(landmarks(person, Expression(open=opened)))[None, :, :2]
        return measured([torch.cat((places, torch.ones(1, 68, 1)), -1)])["mouth"][3]

    assert lips(0.9) == pytest.approx(lips(0.0), rel=0.2)


def test_jitter_by_nothing_is_nothing(points):
    assert torch.allclose(jittered(points[6], 0.0, torch.Generator()), points[6], atol=1e-3)

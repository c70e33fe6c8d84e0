"""Fitting one body to another in pose2dance: identities, sizes and places, and limbs."""

from __future__ import annotations

import json
from functools import cache

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from vid2vid_dance import PoseToDance, dense, layout
from vid2vid_dance.proportions import TREE, Proportions
from vid2vid_hub.types import Condition

SIZE = (96, 96)


@cache
def danced(seed: int, frames: int = 40, size: tuple[int, int] = SIZE) -> Condition:
    seen = [one.condition for one in PoseToDance().draw(seed, frames, size)]
    return Condition(torch.cat([c.maps for c in seen]), points=torch.cat([c.points for c in seen]))


def fitted(condition: Condition, reference: Condition, retarget: str, block: int = 8) -> Condition:
    """A condition fitted to the body of another one, a few frames at a time."""
    measured = json.loads(json.dumps(PoseToDance().measure([reference[:8], reference[8:]])))
    task = PoseToDance(inputs="openpose", retarget=retarget, **measured)
    blocks = (condition[i : i + block] for i in range(0, len(condition), block))
    done = list(task._fitted(blocks))
    return Condition(torch.cat([c.maps for c in done]), points=torch.cat([c.points for c in done]))


def proportions(condition: Condition) -> Proportions:
    return Proportions.from_setting(PoseToDance().measure([condition])["reference"])


@pytest.mark.parametrize("retarget", ["none", "torso", "limbs"])
def test_a_body_fitted_to_itself_stays(retarget: str):
    condition = danced(5)
    again = fitted(condition, condition, retarget)
    torch.testing.assert_close(again.points, condition.points, atol=1e-3, rtol=0)
    assert torch.equal(again.maps, condition.maps)


def test_nothing_happens_without_a_reference_or_somebody():
    task, condition = PoseToDance(retarget="torso"), danced(5, 8)
    assert [one is condition for one in task._fitted([condition])] == [True]
    nobody = Condition(condition.maps, points=torch.zeros_like(condition.points))
    kept = fitted(nobody, condition, "torso")
    assert torch.equal(kept.maps, nobody.maps)
    assert task.measure([nobody]) == {}


@settings(max_examples=10)
@given(scale=st.floats(0.6, 1.5), x=st.floats(-20, 20), y=st.floats(-10, 10), limbs=st.booleans())
def test_somebody_elsewhere_and_of_another_size_is_brought_back(scale: float, x: float, y: float, limbs: bool):
    condition = danced(5, 24)
    points = condition.points
    there = points[..., 2:] > 0
    away = torch.where(there, torch.cat([points[..., :2] * scale + torch.tensor((x, y)), points[..., 2:]], -1), 0.0)
    back = fitted(Condition(condition.maps, points=away), condition, "limbs" if limbs else "torso")
    torch.testing.assert_close(back.points, points, atol=5e-3, rtol=0)


def test_torso_and_hips_come_to_be_the_references():
    driver, reference = danced(16), danced(32, size=(128, 64))
    found = proportions(fitted(driver, reference, "torso"))
    want = proportions(reference)
    assert found.torso == pytest.approx(want.torso, rel=1e-4)
    assert found.hip == pytest.approx(want.hip, abs=1e-3)
    before = proportions(driver)
    assert dict(found.limbs) == pytest.approx(dict(before.limbs), rel=1e-3), "the limbs are still the driver's"


def lengths(points: Tensor) -> Tensor:
    """Limbs' lengths by frame, (T, 24)."""
    return torch.stack([(points[:, b, :2] - points[:, a, :2]).norm(dim=-1) for a, b in TREE], 1)


def test_limbs_come_to_be_as_long_as_the_references_and_keep_their_directions():
    driver, reference = danced(16), danced(32)
    plain, done = (fitted(driver, reference, how).points for how in ("torso", "limbs"))
    found, want = proportions(Condition(driver.maps, points=done)), proportions(reference)
    arms_and_legs = [edge for edge in TREE if edge[0] not in (layout.NOSE, layout.RIGHT_EYE, layout.LEFT_EYE)]
    for edge in arms_and_legs:
        assert found.limbs[edge] == pytest.approx(want.limbs[edge], rel=1e-3), edge
    both = (plain[..., 2] > 0).all(0)
    for a, b in TREE:
        if both[a] and both[b]:
            one, other = (points[:, b, :2] - points[:, a, :2] for points in (plain, done))
            assert torch.nn.functional.cosine_similarity(one, other, dim=1).min() > 0.9999
    assert torch.equal(plain[:, [layout.NECK, layout.MID_HIP]], done[:, [layout.NECK, layout.MID_HIP]])
    hand = slice(layout.LEFT_HAND, layout.LEFT_HAND + 21)
    shift = done[:, hand, :2] - plain[:, hand, :2]
    wrist = done[:, layout.LEFT_WRIST, :2] - plain[:, layout.LEFT_WRIST, :2]
    torch.testing.assert_close(shift, wrist[:, None].expand_as(shift), atol=1e-3, rtol=0)


def test_a_joint_that_is_not_there_does_not_hold_up_the_rest():
    driver, reference = danced(16), danced(32)
    points = driver.points.clone()
    points[:, layout.RIGHT_ELBOW] = 0
    done = fitted(Condition(driver.maps, points=points), reference, "limbs").points
    assert not done[:, layout.RIGHT_ELBOW].any()
    plain = fitted(Condition(driver.maps, points=points), reference, "torso").points
    joints = [layout.RIGHT_SHOULDER, layout.RIGHT_WRIST]
    shoulder, wrist = (done[:, joints, :2] - plain[:, joints, :2]).unbind(1)
    torch.testing.assert_close(shoulder, wrist, atol=1e-3, rtol=0)


def test_dense_parts_move_with_the_torso():
    driver, reference = danced(16), danced(32)
    done = fitted(driver, reference, "torso")
    hits = []
    for t in range(0, 40, 5):
        for joint in (layout.NECK, layout.MID_HIP, layout.RIGHT_KNEE, layout.LEFT_ELBOW):
            (x, y), (u, v) = driver.points[t, joint, :2].round().long(), done.points[t, joint, :2].round().long()
            hits.append(bool(driver.maps[t, dense.PART, y, x] == done.maps[t, dense.PART, v, u]))
    assert sum(hits) / len(hits) > 0.85


def test_only_the_first_frames_of_a_shot_decide():
    condition, reference = danced(16, 100), danced(32)
    whole = fitted(condition, reference, "limbs").points
    head = fitted(condition[:64], reference, "limbs").points
    assert torch.equal(whole[:64], head)
    assert torch.equal(whole, fitted(condition, reference, "limbs", block=5).points), "whatever the blocks"


def test_what_is_measured_is_the_median_over_frames():
    condition = danced(3, 21)
    measured = PoseToDance().measure([condition[:10], condition[10:]])["reference"]
    points = condition.points.double()
    torso = (points[:, layout.NECK, :2] - points[:, layout.MID_HIP, :2]).norm(dim=1)
    arm = (points[:, layout.LEFT_ELBOW, :2] - points[:, layout.LEFT_SHOULDER, :2]).norm(dim=1) / torso
    assert measured["torso"] == pytest.approx(torso.median().item() / 96)
    assert measured["limbs"]["5-6"] == pytest.approx(arm.median().item())
    assert measured["hip"][1] == pytest.approx((points[:, layout.MID_HIP, 1].median().item() + 0.5) / 96)

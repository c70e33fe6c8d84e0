"""The drawn dancer of pose2dance: decided by its seed, exact, alive, and quick."""

from __future__ import annotations

import time

import numpy as np
import pytest
import torch

from vid2vid_dance import PoseToDance, dense, layout
from vid2vid_dance.drawn import DrawnDancer
from vid2vid_dance.drawn.body import ANKLE, Arm, Leg, bend, pose
from vid2vid_dance.drawn.moves import Choreography
from vid2vid_hub.errors import TaskError

SIZE = (128, 128)
PARTS_OF_JOINT = {
    layout.RIGHT_SHOULDER: (*dense.TORSO, *dense.RIGHT_ARM),
    layout.LEFT_SHOULDER: (*dense.TORSO, *dense.LEFT_ARM),
    layout.RIGHT_ELBOW: (*dense.RIGHT_ARM, *dense.RIGHT_FOREARM),
    layout.LEFT_ELBOW: (*dense.LEFT_ARM, *dense.LEFT_FOREARM),
    layout.RIGHT_WRIST: (*dense.RIGHT_FOREARM, dense.RIGHT_HAND),
    layout.LEFT_WRIST: (*dense.LEFT_FOREARM, dense.LEFT_HAND),
    layout.RIGHT_HIP: (*dense.TORSO, *dense.RIGHT_THIGH),
    layout.LEFT_HIP: (*dense.TORSO, *dense.LEFT_THIGH),
    layout.RIGHT_KNEE: (*dense.RIGHT_THIGH, *dense.RIGHT_SHIN),
    layout.LEFT_KNEE: (*dense.LEFT_THIGH, *dense.LEFT_SHIN),
    layout.RIGHT_ANKLE: (*dense.RIGHT_SHIN, dense.RIGHT_FOOT),
    layout.LEFT_ANKLE: (*dense.LEFT_SHIN, dense.LEFT_FOOT),
    layout.RIGHT_BIG_TOE: (dense.RIGHT_FOOT,),
    layout.LEFT_BIG_TOE: (dense.LEFT_FOOT,),
    layout.RIGHT_HEEL: (dense.RIGHT_FOOT,),
    layout.LEFT_HEEL: (dense.LEFT_FOOT,),
    layout.NOSE: dense.HEAD,
    layout.MID_HIP: dense.TORSO,
}


def test_a_seed_is_a_dance_whatever_the_order_of_its_frames():
    one, again = DrawnDancer(3, SIZE), DrawnDancer(3, SIZE)
    late, early = again.frame(30), again.frame(2)
    for frame, other in ((one.frame(2), early), (one.frame(30), late)):
        assert np.array_equal(frame.image, other.image)
        assert np.array_equal(frame.dense, other.dense)
        assert np.array_equal(frame.points, other.points)
    assert not np.array_equal(early.image, late.image)


def test_sixteen_seeds_share_a_dancer_and_dance_differently():
    one, other, stranger = (DrawnDancer(seed, SIZE) for seed in (0, 15, 16))
    assert one.person == other.person != stranger.person
    assert np.array_equal(one.frame(0).image[:8], other.frame(0).image[:8]), "the same place"
    assert not np.array_equal(one.frame(5).points, other.frame(5).points)
    people = {DrawnDancer(16 * n, SIZE).person for n in range(12)}
    assert len(people) == 12
    assert len({person.outfit for person in people}) >= 3
    assert len({person.skin for person in people}) >= 3


def test_draw_hands_out_blocks_with_their_conditions():
    task = PoseToDance()
    seen = list(task.draw(7, 20, (64, 80)))
    assert [len(one.frames) for one in seen] == [8, 8, 4]
    assert {one.condition.size for one in seen} == {(64, 80)}
    assert {tuple(one.frames.shape[1:]) for one in seen} == {(3, 64, 80)}
    whole = torch.cat([one.condition.points for one in seen])
    longer = torch.cat([one.condition.points for one in task.draw(7, 40, (64, 80))])
    assert torch.equal(whole, longer[:20])
    with pytest.raises(TaskError, match="16 pixels"):
        next(task.draw(7, 1, (8, 80)))


def test_joints_lie_in_the_pixels_of_their_limbs():
    """Unless something nearer hides them: then in the person's pixels at least."""
    hits: dict[int, list[bool]] = {joint: [] for joint in PARTS_OF_JOINT}
    for seed in range(0, 96, 16):
        dancer = DrawnDancer(seed, (192, 192))
        for t in range(0, 100, 20):
            frame = dancer.frame(t)
            part = frame.dense[..., dense.PART]
            for joint, parts in PARTS_OF_JOINT.items():
                x, y, sure = frame.points[joint]
                if not sure:
                    continue
                found = part[round(y), round(x)]
                assert found > 0, f"joint {joint} of seed {seed}, frame {t} is beside the dancer"
                hits[joint].append(bool(np.isin(found, parts)))
    for joint, found in hits.items():
        assert np.mean(found) > 0.5, f"joint {joint} lies in other parts"
    assert np.mean([hit for found in hits.values() for hit in found]) > 0.85


def test_every_part_is_seen_and_left_is_on_the_side_of_the_left_points():
    seen = set()
    for seed in range(0, 64, 16):
        dancer = DrawnDancer(seed, SIZE)
        for t in range(0, 200, 10):
            frame = dancer.frame(t)
            seen |= set(np.unique(frame.dense[..., dense.PART]).tolist())
    assert seen == set(range(25))


def test_hands_and_faces_lie_where_they_are_drawn():
    shares = []
    for seed in range(0, 96, 16):
        dancer = DrawnDancer(seed, (256, 256))
        for t in range(0, 80, 16):
            frame = dancer.frame(t)
            part = frame.dense[..., dense.PART]
            for first, number in ((layout.LEFT_HAND, dense.LEFT_HAND), (layout.RIGHT_HAND, dense.RIGHT_HAND)):
                x, y = np.rint(frame.points[first + 5 : first + 20, :2]).astype(int).T
                shares.append(np.isin(part[y, x], number).mean())
            face = frame.points[layout.FACE_AT + 17 :]
            if face[0, 2]:
                x, y = np.rint(face[:, :2]).astype(int).T
                shares.append(np.isin(part[y, x], dense.HEAD).mean())
    assert np.mean(shares) > 0.85


def test_feet_stand_and_knees_bend_for_it():
    lowest, deepest = [], 0.0
    for seed in range(5):
        dance, dancer = Choreography(seed), DrawnDancer(seed, SIZE)
        previous = None
        for t in range(150):
            moment = dance.moment(t)
            body = pose(dancer.person, moment)
            for foot, leg in ((moment.left, body.left_leg), (moment.right, body.right_leg)):
                np.testing.assert_allclose(leg.ankle, (foot.x, ANKLE + foot.lift, foot.z), atol=1e-9)
                lengths = np.linalg.norm(leg.knee - leg.hip), np.linalg.norm(leg.ankle - leg.knee)
                np.testing.assert_allclose(lengths, (dancer.person.thigh, dancer.person.shin), atol=1e-9)
                deepest = max(deepest, 1 - np.linalg.norm(leg.ankle - leg.hip) / sum(lengths))
            assert min(moment.left.lift, moment.right.lift) == 0, "one foot is always on the floor"
            feet = moment.left, moment.right
            if previous is not None:
                moved = [one != other for one, other in zip(feet, previous, strict=True)]
                assert not all(moved), "one foot is always still"
                lowest.append(moved)
            previous = feet
    assert np.mean(lowest) > 0.1, "and it steps"
    assert deepest > 0.05, "and knees bend"


def test_it_moves_smoothly():
    """No joint jumps between two frames, over a sixth of the body's height."""
    for seed in range(6):
        dance, person = Choreography(seed), DrawnDancer(seed, SIZE).person
        place = []
        for t in range(150):
            body = pose(person, dance.moment(t))
            limbs = body.left, body.right, body.left_leg, body.right_leg
            place.append(
                [body.head, body.neck, body.middle, *(getattr(limb, j) for limb in limbs for j in _joints(limb))]
            )
        step = np.linalg.norm(np.diff(np.array(place), axis=0), axis=-1)
        assert step.max() < 0.16
        assert step.mean() > 0.005, "and it moves"


def _joints(limb: Arm | Leg) -> tuple[str, ...]:
    return ("shoulder", "elbow", "wrist") if isinstance(limb, Arm) else ("hip", "knee", "ankle")


def test_two_bones_reach_what_they_can():
    start, towards = np.array((0.0, 1.0, 0.0)), np.array((0.0, 0.0, 1.0))
    middle, end = bend(start, np.array((0.3, 0.4, 0.1)), 0.5, 0.45, towards)
    np.testing.assert_allclose(end, (0.3, 0.4, 0.1))
    np.testing.assert_allclose(np.linalg.norm(middle - start), 0.5)
    np.testing.assert_allclose(np.linalg.norm(end - middle), 0.45)
    assert middle[2] > 0.1, "bent towards where it points"
    middle, end = bend(start, np.array((0.0, -9.0, 0.0)), 0.5, 0.45, towards)
    assert 0.94 < np.linalg.norm(end - start) < 0.95


def test_a_frame_takes_under_twenty_milliseconds():
    dancer = DrawnDancer(6, SIZE)
    dancer.frame(0)
    taken = []
    for t in range(20):
        start = time.process_time()
        dancer.frame(t)
        taken.append(time.process_time() - start)
    assert min(taken) < 0.020


def test_feet_point_where_they_are_headed():
    for seed in range(0, 64, 16):
        dancer = DrawnDancer(seed, SIZE)
        for t in range(0, 60, 12):
            frame = dancer.frame(t)
            for leg, first in (
                (frame.body.left_leg, layout.LEFT_BIG_TOE),
                (frame.body.right_leg, layout.RIGHT_BIG_TOE),
            ):
                for n, place in enumerate((leg.big_toe, leg.small_toe, leg.heel)):
                    np.testing.assert_allclose(frame.points[first + n, :2], dancer.camera.see(place))
                assert (leg.big_toe - leg.heel) @ leg.front > 0.05
                assert np.linalg.norm((leg.small_toe - leg.big_toe)[[0, 2]]) > 0.01, "and is as wide as a foot"

"""Poses that pose2dance reads from files, and files that it refuses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from vid2vid_dance import PoseToDance, layout
from vid2vid_hub.errors import ConditionError

SIZE = (64, 48)


def flat(count: int, at: float = 10.0, sure: float = 0.9) -> list[float]:
    """x, y, confidence of so many points, each a little farther right."""
    return [value for n in range(count) for value in (at + n / 4, 2 * at + n / 2, sure)]


def write(folder: Path, frames: list[Any]) -> Path:
    folder.mkdir(exist_ok=True)
    for number, people in enumerate(frames):
        record = {"version": 1.3, "people": people} if isinstance(people, list) else people
        (folder / f"video_{number:012}_keypoints.json").write_text(json.dumps(record))
    return folder


def read(source: Path, size: tuple[int, int] | None = SIZE) -> torch.Tensor:
    conditions = list(PoseToDance().read(source, size))
    assert all(1 <= len(condition) <= 8 for condition in conditions)
    assert not any(condition.maps.any() for condition in conditions)
    return torch.cat([condition.points for condition in conditions])


def test_openpose_json_is_read(tmp_path: Path):
    whole = {
        "pose_keypoints_2d": flat(25),
        "hand_left_keypoints_2d": flat(21, 11),
        "hand_right_keypoints_2d": flat(21, 12),
        "face_keypoints_2d": flat(70, 13),
    }
    body = {"pose_keypoints_2d": flat(25), "hand_left_keypoints_2d": [], "face_keypoints_2d": []}
    source = write(tmp_path / "json", [[whole], [body], []] * 4)
    assert PoseToDance().reads(source)
    points = read(source)
    assert points.shape == (12, layout.POINTS, 3)
    expected = torch.tensor(flat(25) + flat(21, 11) + flat(21, 12) + flat(70, 13)).view(-1, 3)
    torch.testing.assert_close(points[0], expected)
    torch.testing.assert_close(points[1, :25], expected[:25])
    assert not points[1, 25:].any()
    assert not points[2].any()
    task = PoseToDance()
    absent = [what for condition in task.read(source, SIZE) for what in task.missing(condition)]
    assert absent[:3] == [None, None, "no person"]


def test_the_older_body_of_openpose_is_mapped(tmp_path: Path):
    points = read(write(tmp_path / "json", [[{"pose_keypoints_2d": flat(18)}]]))[0]
    coco = torch.tensor(flat(18)).view(-1, 3)
    torch.testing.assert_close(points[:8], coco[:8])
    torch.testing.assert_close(points[layout.MID_HIP], (coco[8] + coco[11]) / 2)
    torch.testing.assert_close(points[layout.LEFT_ANKLE], coco[13])
    torch.testing.assert_close(points[layout.RIGHT_EYE : layout.LEFT_EAR + 1], coco[14:18])
    assert not points[layout.LEFT_BIG_TOE :].any()


def test_of_several_people_the_largest_is_taken_and_followed(tmp_path: Path):
    small = {"pose_keypoints_2d": [v / 4 for v in flat(25)]}
    large = {"pose_keypoints_2d": flat(25)}
    grown = {"pose_keypoints_2d": [v * 3 for v in flat(25, 40)]}
    points = read(write(tmp_path / "json", [[small, large], [grown, large]]))
    torch.testing.assert_close(points[0], points[1])
    torch.testing.assert_close(points[0, :25], torch.tensor(flat(25)).view(-1, 3))


def test_what_is_not_there_is_at_zero_and_confidences_are_shares(tmp_path: Path):
    values = flat(25)
    values[3:6], values[6:9] = [5.0, 6.0, 0.0], [5.0, 6.0, 1.7]
    points = read(write(tmp_path / "json", [[{"pose_keypoints_2d": values}]]))[0]
    assert points[1].tolist() == [0, 0, 0]
    assert points[2].tolist() == [5, 6, 1]


def test_a_stated_size_is_brought_to_that_of_the_video(tmp_path: Path):
    record = {"people": [{"pose_keypoints_2d": flat(25)}], "canvas_height": 128, "canvas_width": 96}
    source = write(tmp_path / "json", [[record]])
    (source / "video_000000000000_keypoints.json").write_text(json.dumps([record]))
    (alone,) = PoseToDance().read(source, None)
    assert alone.size == (128, 96)
    (halved,) = PoseToDance().read(source, (64, 48))
    assert halved.size == (64, 48)
    torch.testing.assert_close(halved.points[0, 3, :2], (alone.points[0, 3, :2] + 0.5) / 2 - 0.5)


@pytest.mark.parametrize(
    ("people", "message"),
    [
        ([{"pose_keypoints_2d": flat(17)}], r"has 17 points in pose_keypoints_2d; .*BODY_25 \(25\) and COCO \(18\)"),
        ([{"pose_keypoints_2d": flat(25), "face_keypoints_2d": flat(68)}], r"has 68 points in face_keypoints_2d"),
        ([{"pose_keypoints_2d": [1.0, 2.0]}], r"no x, y, confidence for each point"),
        ([{"pose_keypoints_2d": ["a", "b", "c"]}], r"no x, y, confidence for each point"),
        ([{"pose_keypoints_2d": [1.0, float("nan"), 1.0] * 25}], r"something else than numbers"),
        ({"persons": []}, r"no list 'people'"),
        (["somebody"], r"no list 'people'"),
    ],
)
def test_json_of_another_kind_is_refused_by_name(tmp_path: Path, people: Any, message: str):
    source = write(tmp_path / "json", [[], people])
    with pytest.raises(ConditionError, match=rf"video_0*1_keypoints\.json .*{message}"):
        read(source)


def test_json_that_is_none_or_of_unknown_size_is_refused(tmp_path: Path):
    source = write(tmp_path / "json", [[]])
    with pytest.raises(ConditionError, match=r"keypoints\.json does not say .*; give its size"):
        read(source, None)
    (source / "video_000000000000_keypoints.json").write_text("{")
    with pytest.raises(ConditionError, match=r"is no JSON"):
        read(source)


def test_npz_is_read_as_it_was_written(tmp_path: Path):
    points = np.random.default_rng(0).uniform(0, 40, (20, layout.POINTS, 3)).astype(np.float32)
    points[..., 2] = points[..., 2] > 8
    points[points[..., 2] == 0] = 0
    path = tmp_path / "poses.npz"
    np.savez(path, points=points, size=np.array(SIZE))
    assert PoseToDance().reads(path)
    np.testing.assert_array_equal(read(path, None).numpy(), points)
    np.testing.assert_array_equal(read(path, SIZE).numpy(), points)
    assert [len(c) for c in PoseToDance().read(path)] == [8, 8, 4]


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"points": np.zeros((4, 68, 3), np.float32), "size": SIZE}, r"pose2dance takes float \(T, 137, 3\)"),
        ({"points": np.zeros((4, 137, 3), np.int64), "size": SIZE}, r"holds points int64"),
        ({"points": np.full((4, 137, 3), np.nan, np.float32), "size": SIZE}, r"that are no numbers"),
        ({"points": np.zeros((4, 137, 3), np.float32)}, r"give its size, \(height, width\)"),
        ({"points": np.zeros((4, 137, 3), np.float32), "size": (0, 48)}, r"states the size"),
        ({"poses": np.zeros(3)}, r"is no .npz with arrays 'points' and 'size'"),
        ({"points": np.array([{}], dtype=object), "size": SIZE}, r"is no .npz with arrays"),
    ],
)
def test_npz_of_another_kind_is_refused_by_name(tmp_path: Path, arrays: dict[str, Any], message: str):
    path = tmp_path / "poses.npz"
    np.savez(path, **arrays)
    with pytest.raises(ConditionError, match=message) as caught:
        read(path, None)
    assert str(path) in str(caught.value)


def test_other_files_are_left_to_others(tmp_path: Path):
    task = PoseToDance()
    (tmp_path / "video.mp4").write_bytes(b"")
    assert not task.reads(tmp_path / "video.mp4")
    assert not task.reads(tmp_path)
    assert not task.reads(tmp_path / "nowhere")

"""Landmark files: text and npz are read as they were written, and what is wrong is named with its file and line."""

from pathlib import Path

import numpy as np
import pytest
import torch

from vid2vid_face import SketchToFace
from vid2vid_hub.errors import ConditionError


def some_points(frames: int) -> np.ndarray:
    places = np.random.default_rng(0).uniform(0, 50, (frames, 68, 2)).round(2)
    return np.concatenate((places, np.ones((frames, 68, 1))), -1).astype(np.float32)


def write(folder: Path, points: np.ndarray) -> Path:
    folder.mkdir()
    for number, frame in enumerate(points):
        (folder / f"{number:04d}.txt").write_text("".join(f"{x},{y}\n" for x, y, _ in frame))
    return folder


def test_a_folder_of_text_files_is_read_in_blocks(tmp_path: Path):
    points = some_points(11)
    folder = write(tmp_path / "keypoints", points)
    (folder / "0004.txt").write_text("\n")
    task = SketchToFace()
    assert task.reads(folder)
    blocks = list(task.read(folder, (40, 60)))
    assert [len(block) for block in blocks] == [8, 3]
    read = torch.cat([block.points for block in blocks])
    points[4] = 0
    assert torch.allclose(read, torch.from_numpy(points))
    assert blocks[0].size == (40, 60)
    assert blocks[0].maps.eq(0).all()
    assert task.missing(blocks[0])[3:6] == [None, "no face", None]


@pytest.mark.parametrize("size", [None, (80, 120)])
def test_an_npz_is_read_and_brought_to_the_size_of_its_video(tmp_path: Path, size: tuple[int, int] | None):
    points = some_points(9)
    np.savez(tmp_path / "face.npz", points=points, size=np.array((40, 60)))
    assert SketchToFace().reads(tmp_path / "face.npz")
    blocks = list(SketchToFace().read(tmp_path / "face.npz", size))
    read = torch.cat([block.points for block in blocks])
    expected = torch.from_numpy(points)
    if size:
        expected[..., :2] = (expected[..., :2] + 0.5) * 2 - 0.5
    assert torch.allclose(read, expected, atol=1e-4)
    assert blocks[0].size == (size or (40, 60))


def test_what_is_no_landmark_file_is_not_read(tmp_path: Path):
    (tmp_path / "a.png").write_bytes(b"")
    assert not any(SketchToFace().reads(path) for path in (tmp_path, tmp_path / "a.png", tmp_path / "none.npz"))


def test_text_files_do_not_know_their_size(tmp_path: Path):
    with pytest.raises(ConditionError, match="give its size"):
        list(SketchToFace().read(write(tmp_path / "k", some_points(1))))
    np.savez(tmp_path / "face.npz", points=some_points(1))
    with pytest.raises(ConditionError, match=r"holds no 'size'.*give its size"):
        list(SketchToFace().read(tmp_path / "face.npz"))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("1,2\n" * 67, "0000.txt' has 67 lines; landmark files have 68"),
        ("1,2\n" * 3 + "1 2\n" + "1,2\n" * 64, "line 4 of '.*0000.txt' is '1 2'; it must be 'x,y'"),
        ("1,2,3\n" * 68, "line 1 of '.*0000.txt' is '1,2,3'"),
        ("1,nan\n" * 68, "0000.txt' has a coordinate that is not a number"),
    ],
)
def test_damaged_text_is_named(tmp_path: Path, text: str, words: str):
    (tmp_path / "0000.txt").write_text(text)
    with pytest.raises(ConditionError, match=words):
        list(SketchToFace().read(tmp_path, (8, 8)))


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"size": np.array((8, 8))}, "must hold 'points'.*not none"),
        ({"points": np.zeros((2, 33, 3), np.float32)}, r"not float32 \(2, 33, 3\)"),
        ({"points": np.zeros((2, 68, 3), np.int32)}, r"not int32 \(2, 68, 3\)"),
        ({"points": np.full((2, 68, 3), np.nan, np.float32)}, "not a number"),
        ({"points": np.zeros((2, 68, 3), np.float32), "size": np.array((0, 8))}, r"'size' in .* is \[0, 8\]"),
    ],
)
def test_a_damaged_npz_is_named(tmp_path: Path, arrays: dict, words: str):
    np.savez(tmp_path / "face.npz", **arrays)
    with pytest.raises(ConditionError, match=words):
        list(SketchToFace().read(tmp_path / "face.npz", (8, 8)))


@pytest.mark.parametrize("content", [b"", b"no zip", b"PK\x03\x04broken"])
def test_what_is_no_npz_is_named(tmp_path: Path, content: bytes):
    (tmp_path / "face.npz").write_bytes(content)
    with pytest.raises(ConditionError, match=r"face.npz' cannot be read as .npz"):
        list(SketchToFace().read(tmp_path / "face.npz", (8, 8)))


def test_an_npz_may_hold_the_edges_of_its_frames(tmp_path: Path):
    edges = (np.random.default_rng(0).random((9, 12, 16)) < 0.2).astype(np.uint8) * 255
    held = {"points": np.ones((9, 68, 3), np.float32), "size": (12, 16)}
    np.savez_compressed(tmp_path / "face.npz", edges=edges, **held)
    read = list(SketchToFace().read(tmp_path / "face.npz"))
    assert [len(one) for one in read] == [8, 1]
    assert np.array_equal(np.concatenate([one.maps[:, 0] for one in read]), edges)
    np.savez_compressed(tmp_path / "wrong.npz", edges=edges[:, :-1], **held)
    with pytest.raises(
        ConditionError, match=r"'edges' in .* are uint8 \(9, 11, 16\); they must be uint8 \(9, 12, 16\)"
    ):
        list(SketchToFace().read(tmp_path / "wrong.npz"))

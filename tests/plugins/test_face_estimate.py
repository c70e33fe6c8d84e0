"""Who finds faces: MediaPipe's mesh and dlib on real people and on drawn ones, and what is said when they cannot."""

import importlib.util
import sys
from pathlib import Path

import av
import pytest
import torch
from torch import Tensor

from vid2vid_face import SketchToFace
from vid2vid_face.estimate import MESH
from vid2vid_face.landmarks import LANDMARKS
from vid2vid_hub.errors import MissingExtraError, TaskError

CLIPS = ("lp_d10", "lp_d12", "lp_d14", "lp_d18", "lp_d19", "lp_d3", "lp_d6", "lp_d9")
PARTS = {
    "jaw": slice(0, 17),
    "brows": slice(17, 27),
    "nose": slice(27, 36),
    "eyes": slice(36, 48),
    "mouth": slice(48, 68),
}


def decode(path: Path, frames: int, step: int = 1) -> Tensor:
    with av.open(str(path)) as held:
        pictures = [
            frame.to_ndarray(format="rgb24")
            for frame, _ in zip(held.decode(video=0), range(frames * step), strict=False)
        ]
    return torch.stack([torch.from_numpy(picture).permute(2, 0, 1) for picture in pictures[::step]])


@pytest.fixture
def mesh(shared: Path) -> SketchToFace:
    pytest.importorskip("ai_edge_litert")
    return SketchToFace(weights=str(shared / "data/weights/mediapipe"))


@pytest.fixture
def dlib() -> SketchToFace:
    pytest.importorskip("dlib")
    if importlib.util.find_spec("face_recognition_models") is None:
        pytest.skip("needs dlib's model of 68 landmarks: face_recognition_models")
    return SketchToFace(estimator="dlib")


def test_each_landmark_has_a_point_of_the_mesh_of_its_own():
    assert len(MESH) == len(set(MESH)) == LANDMARKS
    assert max(MESH) < 468


@pytest.mark.parametrize("clip", CLIPS)
def test_a_face_is_found_in_every_frame_of_a_real_clip(clip: str, mesh: SketchToFace, shared: Path):
    frames = decode(shared / f"data/face/videos/{clip}.mp4", 16, 4)
    found = [what for seen in mesh.observe(frames.split(8)) for what in mesh.missing(seen.condition)]
    assert found == [None] * 16


def test_both_find_the_same_landmarks_on_a_real_face(mesh: SketchToFace, dlib: SketchToFace, shared: Path):
    """In pixels, the face 116 wide: measured 5.2 jaw, 3.3 brows, 1.8 nose, 1.8 eyes, 3.6 mouth."""
    frames = decode(shared / "data/face/videos/lp_d18.mp4", 12, 10)
    one, other = (task.extract(frames).points for task in (mesh, dlib))
    apart = (one - other)[..., :2].norm(dim=-1)
    distances = {part: apart[:, points].mean().item() for part, points in PARTS.items()}
    limits = {"jaw": 10, "brows": 7, "nose": 4, "eyes": 4, "mouth": 4}
    assert all(distances[part] < limit for part, limit in limits.items()), distances


@pytest.mark.parametrize("estimator", ["mesh", "dlib"])
@pytest.mark.parametrize("seed", [1, 14])
def test_a_drawn_face_is_a_face_and_its_landmarks_are_true(estimator: str, seed: int, request: pytest.FixtureRequest):
    task: SketchToFace = request.getfixturevalue(estimator)
    (seen,) = SketchToFace().draw(seed, 6, (256, 256))
    found = task.extract(seen.frames)
    assert task.missing(found) == [None] * 6
    apart = (found.points - seen.condition.points)[..., :2].norm(dim=-1)
    distances = {part: apart[:, points].mean().item() for part, points in PARTS.items()}
    limits = {"jaw": 8, "brows": 14, "nose": 7, "eyes": 5, "mouth": 6}
    assert all(distances[part] < limit for part, limit in limits.items()), distances


def test_an_empty_picture_has_no_face(mesh: SketchToFace, dlib: SketchToFace):
    for task in (mesh, dlib):
        found = task.extract(torch.full((1, 3, 64, 64), 128, dtype=torch.uint8))
        assert task.missing(found) == ["no face"]
        assert found.points.eq(0).all()


def test_dlib_names_a_model_that_it_cannot_read(dlib: SketchToFace, tmp_path: Path):
    frames = torch.zeros(1, 3, 16, 16, dtype=torch.uint8)
    with pytest.raises(TaskError, match=r"'nowhere.dat' does not exist; give the path of shape_predictor_68"):
        SketchToFace(estimator="dlib", weights="nowhere.dat").extract(frames)
    (tmp_path / "bad.dat").write_bytes(b"no model")
    with pytest.raises(TaskError, match=r"bad.dat' is no landmark model that dlib can read"):
        SketchToFace(estimator="dlib", weights=str(tmp_path / "bad.dat")).extract(frames)


@pytest.mark.parametrize(("gone", "words"), [("dlib", "needs dlib"), ("face_recognition_models", "needs face_recog")])
def test_missing_libraries_are_named_with_their_extra(gone: str, words: str, monkeypatch, dlib: SketchToFace):
    if gone == "dlib":
        monkeypatch.setitem(sys.modules, "dlib", None)
    else:
        monkeypatch.setattr("vid2vid_face.estimate.find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=rf"{words}.*vid2vid-hub\[dlib\]"):
        dlib.extract(torch.zeros(1, 3, 16, 16, dtype=torch.uint8))


def test_the_models_package_is_not_imported(dlib: SketchToFace):
    """It asks for pkg_resources, which setuptools no longer has."""
    dlib.extract(torch.zeros(1, 3, 16, 16, dtype=torch.uint8))
    assert "face_recognition_models" not in sys.modules

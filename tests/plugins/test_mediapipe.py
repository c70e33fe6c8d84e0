"""MediaPipe's models: the geometry around the networks, how people are followed, and what is seen in real pictures."""

import math
import sys
import zipfile
from itertools import islice
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from vid2vid_hub.errors import MissingExtraError, TaskError
from vid2vid_mediapipe import BlazePose, FaceMesh, FoundFace, Region, find_models
from vid2vid_mediapipe.detector import anchors, decode, overlaps, sigmoid, suppress
from vid2vid_mediapipe.models import MODULES, VARIABLE
from vid2vid_mediapipe.pose import refine
from vid2vid_mediapipe.region import crop
from vid2vid_mediapipe.tracking import PEOPLE, REDETECT, REMEMBER, Landmarker

FACE_STRIDES, POSE_STRIDES = (8, 16, 16, 16), (8, 16, 32, 32, 32)
MIDLINE = [10, 151, 9, 8, 168, 6, 197, 195, 5, 4, 1, 19, 94, 2, 164, 0, 17, 18, 200, 199, 175, 152]

coordinates = st.floats(-1e3, 1e3)
regions = st.builds(Region, coordinates, coordinates, st.floats(1, 2e3), st.floats(-math.pi, math.pi))


def test_anchors_are_as_many_as_the_networks_have():
    assert anchors(128, FACE_STRIDES).shape == (896, 2)
    assert anchors(224, POSE_STRIDES).shape == (2254, 2)


def test_anchors_go_row_by_row_in_the_middle_of_their_cells():
    found = anchors(128, FACE_STRIDES)
    assert np.allclose(found[:4] * 128, [[4, 4], [4, 4], [12, 4], [12, 4]])
    assert np.allclose(found[512:519] * 128, [[8, 8]] * 6 + [[24, 8]])
    assert np.allclose(found.mean(0), 0.5)


@given(st.integers(0, 895), st.tuples(*[st.floats(0, 1)] * 6))
def test_decoding_undoes_the_encoding(index: int, truth: tuple[float, ...]):
    centre, size, point = np.array(truth).reshape(3, 2)
    anchor = anchors(128, FACE_STRIDES)[index]
    numbers = np.concatenate([centre - anchor, size, point - anchor]) * 128
    corners = decode(numbers[None], anchor[None], 128)[0]
    assert np.allclose(corners, [centre - size / 2, centre + size / 2, point])


def test_the_score_of_a_huge_logit_is_finite():
    assert np.allclose(sigmoid(np.array([-1e9, 0, 1e9], np.float32)), [0, 0.5, 1])


@given(st.lists(st.tuples(*[st.floats(0, 1)] * 4), min_size=1, max_size=6))
def test_overlap_is_symmetric_and_at_most_one(numbers: list[tuple[float, ...]]):
    boxes = np.sort(np.array(numbers).reshape(-1, 2, 2), axis=1)
    table = np.stack([overlaps(box, boxes) for box in boxes])
    assert np.allclose(table, table.T)
    assert (table >= 0).all()
    assert (table <= 1 + 1e-9).all()


def test_overlap_of_known_boxes():
    box = np.array([[0, 0], [2, 2]], float)
    assert np.allclose(overlaps(box, box + np.array([[[0, 0]], [[1, 0]], [[2, 0]]])), [1, 1 / 3, 0])


def test_overlapping_detections_become_their_weighted_mean_and_others_stay():
    one = np.array([[0, 0], [2, 2], [1, 1]], float)
    right = np.array([0.4, 0])
    found = suppress(np.stack([one + 10, one, one + right]), np.array([0.6, 0.9, 0.6]))
    assert [score for _, score in found] == [0.9, 0.6]
    assert np.allclose(found[0][0], one + 0.4 * right)
    assert np.allclose(found[1][0], one + 10)
    assert suppress(np.zeros((0, 3, 2)), np.zeros(0)) == []


def test_detections_of_no_size_end_too():
    assert len(suppress(np.zeros((3, 2, 2)), np.full(3, 0.9))) == 3


@given(regions, st.integers(1, 300), st.tuples(coordinates, coordinates))
def test_a_point_goes_into_a_crop_and_back(region: Region, size: int, point: tuple[float, float]):
    points = np.array([point])
    assert np.allclose(region.to_frame(region.to_crop(points, size), size), points, atol=1e-6)


@given(regions)
def test_a_region_is_known_from_its_hand(region: Region):
    again = Region.of_hand(*region.hand)
    assert np.allclose([again.x, again.y, again.side], [region.x, region.y, region.side])
    assert math.isclose(math.cos(again.angle - region.angle), 1, abs_tol=1e-9)


@given(regions, st.integers(1, 300))
def test_a_regions_corners_are_its_sides_length_apart_and_its_top_is_where_the_hand_points(region: Region, size: int):
    corners = region.to_frame(np.array([[0, 0], [size, 0], [size, size], [0, size]], float), size)
    assert np.allclose(np.linalg.norm(corners - np.roll(corners, 1, 0), axis=1), region.side)
    assert np.allclose(corners.mean(0), region.hand[0], atol=1e-6)
    assert np.allclose(corners[:2].mean(0), region.hand[1], atol=1e-6)


def test_a_region_of_no_size_is_a_pixel():
    assert Region.of_hand((3.0, 4.0), (3.0, 4.0)).side == 1


def noise(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).integers(256, size=(height, width, 3), dtype=np.uint8)


def ramp(height: int, width: int) -> np.ndarray:
    """Red is x and green is y."""
    y, x = np.mgrid[:height, :width]
    return np.stack([x, y, x * 0], -1).astype(np.uint8)


def test_the_crop_of_all_of_a_square_is_itself_also_turned():
    frame = noise(40, 40)
    for quarters in range(4):
        region = Region(19.5, 19.5, 40, quarters * math.pi / 2)
        assert np.array_equal(crop(frame, region, 40, "black"), np.rot90(frame, quarters))


@given(st.floats(60, 140), st.floats(60, 140), st.floats(20, 60), st.floats(-math.pi, math.pi))
def test_a_crops_pixels_are_those_of_the_place_that_the_region_names(x: float, y: float, side: float, angle: float):
    region = Region(x, y, side, angle)
    seen = crop(ramp(200, 200), region, 32, "black")[..., :2].reshape(-1, 2)
    columns, rows = np.meshgrid(np.arange(32), np.arange(32))
    place = region.to_frame(np.stack([columns, rows], -1).reshape(-1, 2) + 0.5, 32)
    assert np.abs(seen - place).max() < 0.6


def test_a_crop_that_shrinks_averages():
    board = (np.indices((256, 256)).sum(0) % 2 * 255).astype(np.uint8)[..., None].repeat(3, 2)
    seen = crop(board, Region.around(256, 256), 32, "black")
    assert np.abs(seen.astype(float) - 127.5).max() <= 1
    place = crop(ramp(250, 250), Region(120, 130, 90, 0.3), 16, "black")[8, 8, :2]
    assert np.abs(place - Region(120, 130, 90, 0.3).to_frame(np.array([[8.5, 8.5]]), 16)).max() < 3


def test_a_letterbox_keeps_the_shape_and_is_black_or_drawn_out_around():
    frame = np.full((20, 40, 3), 200, np.uint8)
    for border, around in ("black", 0), ("edge", 200):
        seen = crop(frame, Region.around(20, 40), 40, border)
        assert (seen[10:30] == 200).all()
        assert (seen[:9] == around).all()
        assert (seen[31:] == around).all()


def test_a_heat_map_moves_a_landmark_to_its_peak_only_if_it_is_near_and_sure():
    heat = np.full((64, 64, 4), -20, np.float32)
    heat[32, 34, 0] = heat[32, 50, 1] = 20
    heat[32, 34, 2] = -1
    heat[32, 34, 3] = 20
    points = np.array([[0.5, 0.5], [0.5, 0.5], [0.5, 0.5], [1.5, 0.5]])
    assert np.allclose(refine(points, heat), [[34 / 64, 0.5], [0.5, 0.5], [0.5, 0.5], [1.5, 0.5]], atol=1e-6)


class Squares(Landmarker[FoundFace]):
    """Finds people who are squares of one colour, told apart by red; sees one in a region if it is at its centre."""

    apart = 0.2

    def __init__(self) -> None:
        self.detections = 0

    def regions(self, picture: np.ndarray) -> list[Region]:
        self.detections += 1
        return [self._square(picture, red).region for red in np.unique(picture[..., 0]) if red]

    def look(self, picture: np.ndarray, region: Region) -> FoundFace | None:
        row, column = round(region.y), round(region.x)
        height, width = picture.shape[:2]
        red = picture[row, column, 0] if 0 <= row < height and 0 <= column < width else 0
        return self._square(picture, red) if red else None

    def _square(self, picture: np.ndarray, red: int) -> FoundFace:
        rows, columns = (picture[..., 0] == red).nonzero()
        x0, y0, x1, y1 = (float(each) for each in (columns.min(), rows.min(), columns.max(), rows.max()))
        region = Region((x0 + x1) / 2, (y0 + y1) / 2, max(x1 - x0, y1 - y0, 1.0))
        return FoundFace(torch.tensor([[x0, y0, 0], [x1, y1, 0]]), 1.0, (x0, y0, x1, y1), region)


def squares(**people: tuple[int, int, int]) -> Tensor:
    """A frame with squares: a=(x, y, side), …"""
    frame = torch.zeros(3, 64, 64, dtype=torch.uint8)
    for red, (x, y, side) in people.items():
        frame[0, y : y + side, x : x + side] = ord(red)
    return frame


def test_a_session_detects_once_and_then_follows():
    landmarker = Squares()
    session = landmarker.session()
    for t in range(REDETECT - 1):
        (found,) = session(squares(a=(t, 10, 12)))
        assert found.track == 0
        assert found.box[0] == t
    assert landmarker.detections == 1


def test_whoever_comes_is_found_in_time_and_keeps_the_number():
    session = Squares().session()
    session(squares(a=(0, 0, 12)))
    seen = [session(squares(a=(0, 0, 12), b=(30, 30, 20))) for _ in range(2 * REDETECT)]
    assert [each.track for each in seen[REDETECT]] == [1, 0]
    assert [each.track for each in seen[-1]] == [1, 0]


def test_somebody_lost_is_sought_at_once_while_others_are_followed():
    session = Squares().session()
    first = session(squares(a=(0, 0, 12), b=(40, 40, 10)))
    assert [each.track for each in first] == [1, 0] or [each.track for each in first] == [0, 1]
    jumped = session(squares(a=(0, 0, 12), b=(0, 50, 10)))
    assert [each.box[:2] for each in jumped] == [(0, 0), (0, 50)]
    assert jumped[0].track == first[0].track
    assert jumped[1].track not in {each.track for each in first}
    assert session(squares()) == []
    assert len(session(squares(a=(5, 5, 9)))) == 1


@pytest.mark.parametrize("gap", [1, REMEMBER, REMEMBER + 1])
@pytest.mark.parametrize("other", [{}, {"b": (0, 0, 12)}])
def test_whoever_is_found_again_soon_keeps_the_number(gap: int, other: dict[str, tuple[int, int, int]]):
    session = Squares().session()
    number = session(squares(a=(40, 40, 20), **other))[0].track
    for _ in range(gap):
        assert len(session(squares(**other))) == len(other)
    again = [session(squares(a=(41, 40, 20), **other)) for _ in range(REDETECT)]
    assert (again[-1][0].track == number) == (gap <= REMEMBER)
    if gap <= REMEMBER:
        assert again[0][0].track == number


def test_two_who_become_one_are_counted_once():
    session = Squares().session()
    assert len(session(squares(a=(0, 0, 12), b=(20, 0, 12)))) == 2
    one = squares(a=(4, 0, 24))
    assert len(session(one)) == 1
    assert len(session(one)) == 1


def test_without_a_session_nothing_is_remembered_and_the_largest_come_first():
    crowd = squares(a=(0, 0, 4), b=(10, 0, 8), c=(20, 0, 5), d=(30, 0, 7), e=(40, 0, 6), f=(50, 0, 3))
    found = Squares()(crowd)
    assert [each.box[2] - each.box[0] + 1 for each in found] == [8, 7, 6, 5]
    assert len(found) == PEOPLE
    assert {each.track for each in found} == {-1}


@pytest.mark.parametrize("frame", [torch.zeros(3, 8, 8), torch.zeros(8, 8, 3).byte(), torch.zeros(3, 0, 8).byte()])
def test_what_is_no_frame_is_said(frame: Tensor):
    with pytest.raises(ValueError, match="uint8"):
        Squares()(frame)


def test_missing_models_are_said_with_a_way_to_get_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    with pytest.raises(TaskError, match=r"pip download mediapipe==0\.10\.21"):
        find_models()
    with pytest.raises(TaskError, match="'/nowhere', which does not exist"):
        find_models("/nowhere")
    monkeypatch.setenv(VARIABLE, "/elsewhere")
    with pytest.raises(TaskError, match=f"{VARIABLE} '/elsewhere'"):
        find_models()
    with pytest.raises(TaskError, match=r"no face_landmark\.tflite"):
        find_models(str(tmp_path)).read("face_landmark")


def test_models_are_read_from_a_folder_a_package_and_a_wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv(VARIABLE, raising=False)
    flat, site, wheel = tmp_path / "flat", tmp_path / "site", tmp_path / "mediapipe-0.10.21.whl"
    flat.mkdir()
    with zipfile.ZipFile(wheel, "w") as archive:
        for name, module in MODULES.items():
            (flat / f"{name}.tflite").write_bytes(name.encode())
            member = Path("mediapipe", "modules", module, f"{name}.tflite")
            (site / member).parent.mkdir(parents=True, exist_ok=True)
            (site / member).write_bytes(name.encode())
            archive.writestr(member.as_posix(), name)
    (site / "mediapipe" / "__init__.py").write_text("raise AssertionError('imported')")
    monkeypatch.setattr(sys, "path", [str(site), *sys.path])
    places = [str(flat), str(site), str(site / "mediapipe"), str(wheel), None]
    for place in places:
        assert [find_models(place).read(name) for name in MODULES] == [name.encode() for name in MODULES]
    monkeypatch.setenv(VARIABLE, str(wheel))
    assert find_models().source == wheel
    assert find_models(str(flat)).source == flat


def test_what_is_no_wheel_is_said(tmp_path: Path):
    path = tmp_path / "mediapipe.whl"
    path.write_text("not a zip file")
    with pytest.raises(TaskError, match="no readable wheel"):
        find_models(str(path)).read("face_landmark")


def weights(shared: Path) -> str:
    return str(shared / "data/weights/mediapipe")


@pytest.fixture(scope="module")
def mesh(shared: Path) -> FaceMesh:
    pytest.importorskip("ai_edge_litert")
    return FaceMesh(weights(shared))


@pytest.fixture(scope="module")
def pose(shared: Path) -> BlazePose:
    pytest.importorskip("ai_edge_litert")
    return BlazePose(weights(shared))


def clip(shared: Path, name: str, stop: int, step: int = 1) -> list[Tensor]:
    with av.open(str(shared / "data" / name)) as container:
        frames = islice(container.decode(video=0), 0, stop, step)
        return [torch.from_numpy(each.to_ndarray(format="rgb24")).permute(2, 0, 1) for each in frames]


def landmarks(shared: Path, name: str, key: str, stop: int, step: int = 1) -> Tensor:
    """What MediaPipe itself found, in pixels counted from the picture's corner."""
    with np.load(shared / "data" / name) as arrays:
        points = torch.from_numpy(arrays[key][:stop:step].astype(np.float32))
    points[..., :2] -= 0.5
    return points


def apart(one: Tensor, other: Tensor) -> float:
    return (one[..., :2] - other[..., :2]).norm(dim=-1).mean().item()


def test_a_file_that_is_no_model_or_another_is_said(shared: Path, tmp_path: Path):
    pytest.importorskip("ai_edge_litert")
    source = shared / "data/weights/mediapipe"
    detection = (source / "face_detection_short_range.tflite").read_bytes()
    (tmp_path / "face_detection_short_range.tflite").write_bytes(detection)
    (tmp_path / "face_landmark.tflite").write_bytes(b"no model at all")
    with pytest.raises(TaskError, match=r"face_landmark\.tflite .* cannot be loaded as a tflite model"):
        FaceMesh(str(tmp_path))
    (tmp_path / "face_landmark.tflite").write_bytes(detection)
    with pytest.raises(TaskError, match=r"must have an output of 1404 or 1434 numbers, and has 896, 14336"):
        FaceMesh(str(tmp_path))


def test_the_missing_library_is_said(shared: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "ai_edge_litert", None)
    monkeypatch.setitem(sys.modules, "ai_edge_litert.interpreter", None)
    with pytest.raises(MissingExtraError, match=r"finding faces needs ai-edge-litert.*\[face\]"):
        FaceMesh(weights(shared))
    with pytest.raises(MissingExtraError, match=r"finding people needs ai-edge-litert.*\[dance\]"):
        BlazePose(weights(shared))


@pytest.mark.parametrize("name", ["lp_d6", "lp_d10", "lp_d18"])
def test_the_mesh_lies_where_mediapipe_puts_it(shared: Path, mesh: FaceMesh, name: str):
    truth = landmarks(shared, f"face/landmarks/{name}.npz", "facemesh478", 100, 25)
    session = mesh.session()
    for frame, points in zip(clip(shared, f"face/videos/{name}.mp4", 100, 25), truth, strict=True):
        for (found,) in mesh(frame), session(frame):
            assert found.points.shape == (468, 3)
            assert found.points.dtype == torch.float32
            # Lips and eyes are refined there, by a network that cannot be run here.
            assert apart(found.points, points[:468]) < 4
            extent = torch.cat([found.points[:, :2].amin(0), found.points[:, :2].amax(0)])
            assert found.box == pytest.approx(extent.tolist(), abs=1e-3)


@pytest.mark.parametrize("name", ["lp_s13_dancer", "mgt_dance", "sam2_juggle"])
def test_the_pose_is_where_mediapipe_puts_it(shared: Path, pose: BlazePose, name: str):
    truth = landmarks(shared, f"dance/landmarks/{name}.npz", "blazepose33", 90, 30)
    session = pose.session()
    for frame, points in zip(clip(shared, f"dance/videos/{name}.mp4", 90, 30), truth, strict=True):
        sure = points[:, 3] > 0.5
        for (found,) in pose(frame), session(frame):
            assert found.points.shape == (33, 4)
            assert apart(found.points[sure], points[sure]) < 5
            # It is smoothed over time there.
            assert (found.points[:, 3] - points[:, 3]).abs().mean() < 0.15


def test_a_mirrored_face_has_a_mirrored_mesh(shared: Path, mesh: FaceMesh):
    for frame in clip(shared, "face/videos/lp_d10.mp4", 100, 50):
        (found,), (mirrored,) = mesh(frame), mesh(frame.flip(-1))
        middle = (found.points[MIDLINE, 0] + mirrored.points[MIDLINE, 0]) / 2
        assert abs(middle.mean().item() - (frame.shape[-1] - 1) / 2) < 1


def test_a_larger_picture_has_a_larger_face(shared: Path, mesh: FaceMesh):
    (frame,) = clip(shared, "face/videos/lp_d18.mp4", 1)
    large = frame.repeat_interleave(4, 1).repeat_interleave(4, 2)
    (found,), (again,) = mesh(frame), mesh(large)
    assert apart((again.points[:, :2] + 0.5) / 4 - 0.5, found.points) < 0.5
    assert again.points[:, 2].std() / found.points[:, 2].std() == pytest.approx(4, rel=0.05)


@pytest.mark.parametrize("quarters", [1, 3])
def test_a_face_that_lies_on_its_side_is_found(shared: Path, mesh: FaceMesh, quarters: int):
    (frame,) = clip(shared, "face/videos/lp_d18.mp4", 1)
    (upright,), (turned,) = mesh(frame), mesh(frame.rot90(quarters, (1, 2)))
    x, y = upright.points[:, 0], upright.points[:, 1]
    there = torch.stack([y, 255 - x] if quarters == 1 else [255 - y, x], 1)
    assert apart(turned.points, there) < 4


def test_nobody_is_found_where_nobody_is(shared: Path, mesh: FaceMesh, pose: BlazePose):
    random = torch.Generator().manual_seed(0)
    frames = [
        *clip(shared, "street/videos/udacity_highway_a.mp4", 100, 50),
        *(torch.zeros(3, *size, dtype=torch.uint8) for size in [(64, 64), (1, 300), (300, 1), (1, 1)]),
        *(torch.randint(256, (3, *size), generator=random).byte() for size in [(64, 64), (1, 300), (2, 2000), (1, 1)]),
    ]
    for landmarker in mesh, pose:
        session = landmarker.session()
        for frame in frames:
            assert landmarker(frame) == []
            assert session(frame) == []


def test_two_faces_are_found_and_told_apart_over_time(shared: Path, mesh: FaceMesh):
    left, right = (clip(shared, f"face/videos/{name}.mp4", 20) for name in ("lp_d10", "lp_d18"))
    session, alone = mesh.session(), mesh.session()
    for frames in zip(left, right, strict=True):
        found = session(torch.cat(frames, 2))
        assert [each.area for each in found] == sorted((each.area for each in found), reverse=True)
        by_place = sorted(found, key=lambda each: each.box[0])
        assert len(by_place) == 2
        assert [each.track for each in by_place] == [by_place[0].track, 1 - by_place[0].track]
        assert apart(by_place[0].points, alone(frames[0])[0].points) < 1
    assert session(torch.zeros_like(left[0])) == []
    assert [each.track for each in session(left[-1])] == [by_place[0].track]
    assert [session(torch.zeros_like(left[0])) for _ in range(REMEMBER + 1)] == [[]] * (REMEMBER + 1)
    assert [each.track for each in session(left[-1])] == [2]


def test_two_dancers_are_found(shared: Path, pose: BlazePose):
    frames = clip(shared, "dance/videos/lp_s13_dancer.mp4", 31, 30)
    left, right = sorted(pose(torch.cat(frames, 2)), key=lambda each: each.box[0])
    shift = torch.tensor([frames[0].shape[2], 0])
    assert apart(left.points, pose(frames[0])[0].points) < 4
    assert apart(right.points[:, :2] - shift, pose(frames[1])[0].points) < 4


def test_at_most_four_faces_are_looked_at(shared: Path, mesh: FaceMesh):
    (frame,) = clip(shared, "face/videos/lp_d18.mp4", 1)
    assert len(mesh(frame.repeat(1, 2, 3))) == PEOPLE


def test_a_still_person_trembles_less_when_followed(shared: Path, pose: BlazePose):
    frames = clip(shared, "dance/videos/mgt_dance.mp4", 30)
    session = pose.session()
    followed, alone = (torch.stack([find(frame)[0].points for frame in frames])[5:] for find in (session, pose))
    assert apart(followed[2:] + followed[:-2], 2 * followed[1:-1]) < 0.7 * apart(
        alone[2:] + alone[:-2], 2 * alone[1:-1]
    )

"""sketch2face: what its encoding says, where its judge looks, what it calls missing, and what it refuses."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import yaml
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from vid2vid_face import SketchToFace
from vid2vid_face.landmarks import LANDMARKS, LINES, MIRRORED, PARTS
from vid2vid_hub import Vid2VidPipeline
from vid2vid_hub.data.clips import Description
from vid2vid_hub.data.drawn import draw_dataset
from vid2vid_hub.errors import ConditionError, TaskError
from vid2vid_hub.nn.generator import Vid2VidGenerator
from vid2vid_hub.training.run import start_run
from vid2vid_hub.types import Condition

SIZE = (40, 48)
BROW, OTHER_BROW, EYE = (next(i for i, line in enumerate(LINES) if first in line) for first in (17, 22, 36))


def drawn(frames: int = 3, size: tuple[int, int] = (64, 64), seed: int = 6, **settings: bool) -> Condition:
    (seen,) = SketchToFace(**settings).draw(seed, frames, size)
    return seen.condition


def only(points: dict[int, tuple[float, float]], size: tuple[int, int] = SIZE, frames: int = 1) -> Condition:
    """A condition of which just these landmarks are there, and no edges."""
    whole = torch.zeros(frames, LANDMARKS, 3)
    for number, place in points.items():
        whole[:, number] = torch.tensor((*place, 1.0))
    return Condition(torch.zeros(frames, 1, *size, dtype=torch.uint8), points=whole)


def test_there_are_fourteen_lines_and_two_of_them_at_most_are_mirror_images_of_one():
    assert len(LINES) == 14
    assert [part.label for part in PARTS] == [1, 2, 2, 3, 4, 4, 5, 6]
    sets = {frozenset(line) for line in LINES[1:]}
    assert {frozenset(MIRRORED[point] for point in line) for line in LINES[1:]} == sets


def test_a_straight_brow_is_two_pixels_thick_and_its_map_is_the_distance_over_three():
    condition = only({17 + k: (10 + 4 * k, 20) for k in range(5)})
    features = SketchToFace().encode(condition).features
    assert features.shape == (1, 15, *SIZE)
    stroke = torch.zeros(SIZE)
    stroke[19:21, 9:27] = 1
    assert torch.equal(features[0, 0], stroke)
    y, x = torch.meshgrid(torch.arange(SIZE[0]), torch.arange(SIZE[1]), indexing="ij")
    away = (x - x.clamp(9, 26)).abs() + (y - y.clamp(19, 20)).abs()
    assert torch.equal(features[0, 1 + BROW], (away // 3).float() / 255)
    others = [i for i in range(1, 15) if i != 1 + BROW]
    assert torch.equal(features[0, others], torch.ones(13, *SIZE))


def test_each_line_has_a_map_that_is_nought_exactly_near_its_own_strokes():
    condition = drawn(1, (128, 128))
    features = SketchToFace(canny=False).encode(condition).features[0]
    near = features[1:] == 0
    assert torch.equal((features[0] > 0) & near.any(0), features[0] > 0)
    eye = condition.points[0, 36:42, :2].mean(0).round().long()
    assert features[1 + EYE, eye[1], eye[0]] < features[1 + OTHER_BROW, eye[1], eye[0]]


def test_edges_are_drawn_where_no_part_of_the_face_is():
    condition = replace(drawn(1, (96, 96)), maps=torch.full((1, 1, 96, 96), 255, dtype=torch.uint8))
    x, y = condition.points[0, :, :2].round().long().unbind(1)
    edges = SketchToFace(distance_maps=False).encode(condition).features[0, 0]
    lines = SketchToFace(distance_maps=False, canny=False).encode(condition).features[0, 0]
    assert (edges[:, : int(x[:17].min()) - 2] == 1).all()
    cheek = (int(y[30]) + 3, int(x[[31, 48]].float().mean()) - 4)
    assert (edges[cheek], lines[cheek]) == (0, 0)
    assert torch.equal(edges.maximum(lines), edges)
    assert (edges != lines).any()


def test_without_landmarks_the_sketch_is_the_edges_and_every_line_is_far():
    maps = torch.randint(2, (2, 1, *SIZE), dtype=torch.uint8) * 255
    features = SketchToFace().encode(Condition(maps)).features
    assert torch.equal(features[:, :1], maps.float() / 255)
    assert (features[:, 1:] == 1).all()
    assert (SketchToFace(canny=False).encode(Condition(maps)).features[:, 0] == 0).all()


@pytest.mark.parametrize(("distance_maps", "channels"), [(True, 15), (False, 1)])
def test_encoding_is_pure_frame_by_frame_and_in_range(distance_maps: bool, channels: int):
    task, condition = SketchToFace(distance_maps=distance_maps), drawn()
    before = condition.map(Tensor.clone)
    whole = task.encode(condition).features
    assert (task.channels, whole.shape) == (channels, (3, channels, 64, 64))
    assert (whole.min(), whole.max()) == (0, 1) or not distance_maps
    assert torch.equal(condition.points, before.points)
    for t in range(3):
        assert torch.equal(task.encode(condition[t : t + 1]).features[0], whole[t])
    assert task.encode(condition[:0]).features.shape == (0, channels, 64, 64)


@given(st.integers(0, 2**31), st.floats(1, 1e5))
def test_wherever_the_landmarks_are_something_is_encoded(seed: int, reach: float):
    random = torch.Generator().manual_seed(seed)
    points = torch.randn(1, LANDMARKS, 3, generator=random) * torch.tensor((reach, reach, 1))
    points[..., 2] = points[..., 2].clamp(0, 1)
    condition = Condition(torch.zeros(1, 1, 16, 16, dtype=torch.uint8), points=points)
    task = SketchToFace()
    features = task.encode(condition).features
    assert features.isfinite().all()
    assert (features >= 0).all()
    assert (features <= 1).all()
    box = task.regions(condition)[0].tolist()
    assert box == [0, 0, 0, 0] or (0 <= box[0] < box[2] <= 16 and 0 <= box[1] < box[3] <= 16)


def test_mirrored_landmarks_draw_the_mirrored_sketch():
    condition = drawn(2, (96, 96), canny=False)
    points = condition.points[:, list(MIRRORED)].clone()
    points[..., 0] = 95 - points[..., 0]
    task = SketchToFace(canny=False)
    turned = task.encode(replace(condition, points=points)).features[:, 0].flip(-1)
    # Two-pixel strokes lean to the left, so they come to lie a pixel aside.
    shifted = torch.nn.functional.max_pool2d(task.encode(condition).features[:, :1], 3, 1, 1)[:, 0]
    assert ((turned > 0) & (shifted == 0)).float().sum() <= 0.01 * (turned > 0).sum()
    assert [MIRRORED[i] for i in MIRRORED] == list(range(LANDMARKS))


def test_the_judge_looks_at_brows_eyes_nose_and_mouth():
    condition = drawn(4, (128, 128))
    boxes = SketchToFace().regions(condition)
    inner = condition.points[:, 17:, :2]
    assert (inner >= boxes[:, None, :2]).all()
    assert (inner <= boxes[:, None, 2:]).all()
    assert torch.equal(boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1])
    gone = replace(condition, points=condition.points + torch.tensor((500.0, 0, 0)))
    assert SketchToFace().regions(gone).eq(0).all()
    assert SketchToFace().regions(Condition(condition.maps)).eq(0).all()


def test_what_is_missing():
    condition = drawn(4)
    points = condition.points.clone()
    points[1] = 0
    points[2, :, 0] += 200
    points[3, 1:, 2] = 0
    found = SketchToFace().missing(replace(condition, points=points))
    assert found == [None, "no face", "landmarks off the picture", None]
    assert SketchToFace().missing(Condition(condition.maps)) == ["no face"] * 4


def test_jitter_changes_sizes_by_its_share_and_the_same_in_all_frames():
    condition = drawn(3, (256, 256))
    assert SketchToFace().augment(condition, torch.Generator()) is condition
    varied = SketchToFace(jitter=0.05).augment(condition, torch.Generator().manual_seed(1))
    again = SketchToFace(jitter=0.05).augment(condition, torch.Generator().manual_seed(1))
    assert torch.equal(varied.points, again.points)
    assert not torch.equal(varied.points, condition.points)

    def eye_widths(points: Tensor) -> Tensor:
        return torch.stack([(points[:, a, :2] - points[:, b, :2]).norm(dim=1) for a, b in ((36, 39), (42, 45))])

    change = eye_widths(varied.points) / eye_widths(condition.points)
    assert ((change - 1).abs() < 0.052).all()
    assert change.std() < 2e-3


def test_a_preview_shows_parts_in_their_colours_and_edges_in_grey():
    condition = drawn(1, (128, 128))
    shown = SketchToFace().preview(condition)
    assert (shown.shape, shown.dtype) == ((1, 3, 128, 128), torch.uint8)
    colours = {tuple(colour) for colour in shown[0].flatten(1).T.unique(dim=0).tolist()}
    assert colours == {(0, 0, 0), (110, 110, 110), *(part.colour for part in PARTS)}
    assert SketchToFace().preview(condition[:0]).shape == (0, 3, 128, 128)


def test_config_rebuilds_the_task():
    reference = SketchToFace().measure([drawn(8)])["reference"]
    settings = {
        "canny": False,
        "distance_maps": False,
        "estimator": "dlib",
        "weights": "a.dat",
        "crop": True,
        "reference": reference,
        "retarget": "parts",
        "jitter": 0.05,
    }
    assert SketchToFace(**settings).config() == settings
    assert SketchToFace(**SketchToFace().config()).config() == SketchToFace().config()
    assert SketchToFace.extraction <= settings.keys()


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"estimator": "openpose"}, "no estimator 'openpose'; it knows mediapipe, dlib"),
        ({"retarget": "all"}, "cannot retarget 'all'; it can none, parts"),
        ({"jitter": 0.5}, "share from 0 to under 0.5, not 0.5"),
        ({"reference": {"jaw": [1, 2, 3, 4]}}, "four numbers for each of jaw, brows, nose, eyes, mouth"),
    ],
)
def test_settings_without_meaning_are_refused(settings: dict, words: str):
    with pytest.raises(TaskError, match=words):
        SketchToFace(**settings)


@pytest.mark.parametrize("verb", ["encode", "preview"])
def test_conditions_of_another_kind_are_refused(verb: str):
    act = getattr(SketchToFace(), verb)
    with pytest.raises(ConditionError, match="one map of edges per frame, not 3"):
        act(Condition(torch.zeros(1, 3, 8, 8, dtype=torch.uint8)))
    with pytest.raises(ConditionError, match="68 landmarks per frame, not 33"):
        act(Condition(torch.zeros(1, 1, 8, 8, dtype=torch.uint8), points=torch.zeros(1, 33, 3)))
    condition = drawn(3)
    condition.points[2, 5, 1] = torch.nan
    with pytest.raises(ConditionError, match="not a number") as caught:
        act(condition)
    assert caught.value.frame == 2


def test_pictures_are_read_as_edges_and_coloured_ones_refused():
    edges = torch.randint(256, (2, 1, 8, 8), dtype=torch.uint8)
    assert torch.equal(SketchToFace().parse(edges).maps, edges)
    with pytest.raises(ConditionError, match=r"give a video, a folder of landmark files or an .npz"):
        SketchToFace().parse(edges.expand(-1, 3, -1, -1))


def test_importing_the_plugin_imports_nothing_heavy():
    heavy = "{'cv2', 'dlib', 'ai_edge_litert', 'vid2vid_mediapipe', 'vid2vid_face.drawn'} & set(sys.modules)"
    code = f"import sys, vid2vid_face; print({heavy})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_a_trained_pipeline_takes_another_way_of_extracting_and_no_other_features(tmp_path: Path):
    task = SketchToFace()
    network = Vid2VidGenerator(condition_channels=task.channels, base_channels=4, downsamples=1, blocks=2)
    pipeline = Vid2VidPipeline(network, task)
    learned = task.measure(seen.condition for seen in task.draw(0, 16, (64, 64)))
    pipeline.adapt(retarget="parts", crop=True, **learned)
    assert (pipeline.task.retarget, pipeline.task.crop, pipeline.task.config() | learned) == (
        "parts",
        True,
        pipeline.task.config(),
    )
    pipeline.save_pretrained(tmp_path)
    assert Vid2VidPipeline.from_pretrained(tmp_path).task.config() == pipeline.task.config()
    with pytest.raises(TaskError, match=r"'canny' is fixed in a trained pipeline of sketch2face; free to change: crop"):
        pipeline.adapt(canny=False)


def test_what_a_dataset_measured_goes_into_the_pipeline_and_outlives_a_resumed_run(tmp_path: Path):
    data, run = tmp_path / "data", tmp_path / "run"
    draw_dataset(SketchToFace(), data, clips=2, frames=4, size=(32, 32), val=0)
    learned = Description.read(data).measured
    assert learned.keys() == {"reference"}
    recipe = {
        "task": "sketch2face",
        "stages": [{"epochs": 1, "width": 32, "height": 32, "frames": 4, "unroll": 2}],
        "generator": {"base_channels": 4, "downsamples": 1, "blocks": 2},
        "discriminator": {"base_channels": 4, "layers": 2},
        "video_discriminator": {"strides": 0},
        "perceptual": "none",
    }
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    folder = start_run(data, run, recipe=tmp_path / "recipe.yaml")
    assert Vid2VidPipeline.from_pretrained(folder).task.config() == SketchToFace().config() | learned
    again = start_run(data, run, resume=True, changes={"stages.0.epochs": "2"})
    assert Vid2VidPipeline.from_pretrained(again).task.config() == SketchToFace().config() | learned

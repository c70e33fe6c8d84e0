"""How pose2dance sees people in real frames: estimators, whom it follows, the crop, and dense parts."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType, SimpleNamespace

import av
import numpy as np
import pytest
import torch
from torch import Tensor

from vid2vid_dance import PoseToDance, layout
from vid2vid_dance.densepose import DensePose, one_of
from vid2vid_dance.estimate import VitPose, from_blaze
from vid2vid_dance.people import Choice, Found, around, arranged, overlap
from vid2vid_hub.errors import MissingExtraError, TaskError
from vid2vid_hub.types import Condition, Observed

CLIPS = "mgt_dance", "lp_s13_dancer", "sam2_juggle", "pose2sim_cam03"
LOOKED_AT = 40
"""Frames of each."""


def person(x: float, y: float, height: float = 40.0) -> Found:
    """Somebody whose body stands around x, y."""
    points = torch.zeros(layout.POINTS, 3)
    points[:25, 2] = 1
    points[:25, 0] = x + torch.linspace(-height / 6, height / 6, 25)
    points[:25, 1] = y + torch.linspace(-height / 2, height / 2, 25)
    points[layout.NECK, :2], points[layout.MID_HIP, :2] = torch.tensor(((x, y - height / 3), (x, y)))
    box = around(points)
    assert box is not None
    return Found(points, box)


@dataclass
class Recorded:
    """An estimator that says what was recorded, frame by frame."""

    frames: list[list[Found]]

    def session(self) -> Callable[[Tensor], list[Found]]:
        rest = iter(self.frames)
        return lambda frame: next(rest)


def seen(task: PoseToDance, people: list[list[Found]], size: tuple[int, int] = (96, 128)) -> list[Observed]:
    """What the task observes when an estimator finds these people; frame t is grey value t."""
    task._estimator = Recorded(people)
    frames = torch.arange(len(people), dtype=torch.uint8).view(-1, 1, 1, 1).expand(-1, 3, *size)
    return list(task.observe(frames[i : i + 8] for i in range(0, len(people), 8)))


def points_of(shot: list[Observed]) -> Tensor:
    return torch.cat([one.condition.points for one in shot])


def test_blaze_points_are_arranged_as_body_25():
    blaze = torch.rand(33, 4, generator=torch.Generator().manual_seed(0)) * 100
    blaze[:, 3] = torch.linspace(0.2, 1.0, 33)
    found = from_blaze(blaze)
    torch.testing.assert_close(found[layout.NECK, :2], (blaze[11, :2] + blaze[12, :2]) / 2)
    torch.testing.assert_close(found[layout.MID_HIP, :2], (blaze[23, :2] + blaze[24, :2]) / 2)
    torch.testing.assert_close(found[layout.NECK, 2], blaze[11, 3])
    torch.testing.assert_close(found[layout.LEFT_WRIST], blaze[15, [0, 1, 3]])
    torch.testing.assert_close(found[layout.RIGHT_BIG_TOE], blaze[32, [0, 1, 3]])
    torch.testing.assert_close(found[layout.LEFT_HEEL], blaze[29, [0, 1, 3]])
    torch.testing.assert_close(found[layout.RIGHT_HAND + 5], blaze[20, [0, 1, 3]])
    assert not found[[layout.LEFT_SMALL_TOE, layout.RIGHT_SMALL_TOE]].any()
    blaze[11, 3] = 0.05
    assert not from_blaze(blaze)[[layout.NECK, layout.LEFT_SHOULDER]].any(), "what cannot be seen is not there"


def test_left_stays_left_in_every_layout():
    for table in (layout.BODY_OF_BLAZE, layout.BODY_OF_COCO_17, layout.BODY_OF_COCO_18):
        count = 1 + max(i for sources in table.values() for i in sources)
        points = torch.rand(count, 3, generator=torch.Generator().manual_seed(1))
        points[:, 2] = 1
        found = arranged(points, table)
        assert set(table) >= set(range(19))
        for left, right in ((layout.LEFT_EYE, layout.LEFT_EAR), (layout.RIGHT_EYE, layout.RIGHT_EAR)):
            assert found[left, 2] == found[right, 2] == 1
        middle = (found[layout.LEFT_HIP] + found[layout.RIGHT_HIP]) / 2
        torch.testing.assert_close(found[layout.MID_HIP], middle)


def test_the_largest_is_taken_and_then_followed_and_somebody_else_when_he_is_gone():
    choose = Choice(patience=2)
    small, large = person(20, 40, 20), person(80, 40, 60)
    assert choose([small, large]) is large
    grown = person(20, 40, 90)
    moved = person(84, 41, 60)
    assert choose([grown, moved]) is moved
    assert choose([grown]) is None
    assert choose([grown]) is None
    assert choose([grown]) is grown
    assert choose([]) is None
    assert overlap(small.box, small.box) == pytest.approx(1)
    assert overlap(small.box, large.box) == 0


def test_short_gaps_are_held_and_long_ones_are_nobody():
    there, gone = [person(60, 48)], list[Found]()
    task = PoseToDance()
    shot = seen(task, [[*there]] * 4 + [gone] * 5 + [[*there]] * 3 + [gone] * 9 + [[*there]] * 2)
    absent = [what for one in shot for what in task.missing(one.condition)]
    assert absent == [None] * (4 + 5 + 3 + 5) + ["no person"] * 4 + [None] * 2
    points = points_of(shot)
    torch.testing.assert_close(points[8], points[3])
    assert not points[17:21].any()


def test_points_are_calmed():
    random = torch.Generator().manual_seed(0)
    people = []
    for _ in range(60):
        one = person(60, 48)
        noise = torch.randn(layout.POINTS, 2, generator=random)
        moved = torch.cat([one.points[:, :2] + noise * (one.points[:, 2:] > 0), one.points[:, 2:]], 1)
        people.append([Found(moved, one.box)])
    raw = torch.stack([found[0].points for found in people])[:, :25, :2]
    calm = points_of(seen(PoseToDance(), people))[:, :25, :2]
    assert calm.diff(dim=0).std() < 0.6 * raw.diff(dim=0).std()
    assert (calm[10:].mean(0) - raw[10:].mean(0)).abs().max() < 0.5


def test_several_people_are_a_note_and_not_an_error():
    shot = seen(PoseToDance(), [[person(60, 48)], [person(60, 48), person(20, 40, 20)], [person(60, 48)]])
    notes = [note for one in shot for note in one.notes]
    assert [(note.frame, note.text) for note in notes] == [(1, "2 persons; only one is taken, the largest at first")]


@pytest.mark.parametrize(("aspect", "size"), [(1.0, (60, 60)), (0.5, (60, 30)), (2.5, (60, 150))])
def test_the_crop_is_half_as_high_again_and_follows(aspect: float, size: tuple[int, int]):
    people = [[person(30 + t, 48, 40)] for t in range(70)]
    task = PoseToDance(crop="person", crop_aspect=aspect)
    shot = seen(task, people)
    assert {one.condition.size for one in shot} == {size}
    assert {tuple(one.frames.shape[2:]) for one in shot} == {size}
    values = torch.cat([one.frames for one in shot])[:, 0, 0, 0]
    assert values.tolist() == list(range(70)), "every frame once, in order"
    hip = points_of(shot)[:, layout.MID_HIP, :2]
    assert ((hip[:, 0] - (size[1] - 1) / 2).abs() < 0.35 * size[1]).all()


def test_points_lie_on_the_same_things_before_and_after_the_crop():
    """Draw dancers on the way across a larger picture: crop, and the crop's points are the crop's pixels."""
    task = PoseToDance(crop="person")
    (block,) = task.draw(3, 8, (64, 64))
    scene = torch.zeros(8, 3, 120, 240, dtype=torch.uint8)
    people = []
    for t in range(8):
        x = 20 + 9 * t
        scene[t, :, 30:94, x : x + 64] = block.frames[t]
        points = block.condition.points[t] + torch.tensor((x, 30, 0)) * (block.condition.points[t, :, 2:] > 0)
        people.append([Found(points, around(points))])
    task._estimator = Recorded(people)
    shot = list(task.observe(iter([scene])))
    plain = PoseToDance()
    plain._estimator = Recorded(people)
    whole = list(plain.observe(iter([scene])))
    moved = points_of(whole)[..., :2] - points_of(shot)[..., :2]
    sure = points_of(whole)[..., 2] > 0
    for t in range(8):
        corner = moved[t][sure[t]]
        assert (corner - corner[0]).abs().max() < 1e-3
        x, y = (round(v) for v in corner[0].tolist())
        height, width = shot[0].condition.size
        assert torch.equal(shot[0].frames[t], scene[t, :, y : y + height, x : x + width])


def test_a_crop_wider_than_the_picture_goes_on_with_its_border():
    task = PoseToDance(crop="person")
    people = [[person(20, 48, 60)]] * 4
    task._estimator = Recorded(people)
    frames = torch.arange(40, dtype=torch.uint8).expand(4, 3, 96, 40)
    (one,) = task.observe(iter([frames]))
    assert one.condition.size == (90, 90)
    row = one.frames[0, 0, 0].tolist()
    first = row.index(1) - 1
    assert row == [0] * first + list(range(40)) + [39] * (50 - first)
    assert one.condition.points[0, layout.MID_HIP, 0] == pytest.approx(20 + first)


def test_a_shot_without_anybody_is_its_own_crop():
    task = PoseToDance(crop="person")
    shot = seen(task, [[]] * 40)
    assert {one.condition.size for one in shot} == {(96, 128)}
    assert [what for one in shot for what in task.missing(one.condition)] == ["no person"] * 40


def test_observing_looks_ahead_a_bounded_number_of_frames():
    task = PoseToDance(crop="person", retarget="torso")
    measured = task.measure(
        [Condition(torch.zeros(1, 3, 96, 128, dtype=torch.uint8), points=person(60, 48).points[None])]
    )
    task = PoseToDance(crop="person", retarget="torso", **measured)
    task._estimator = Recorded([[person(60, 48)]] * 400)
    taken = 0

    def blocks() -> Iterator[Tensor]:
        nonlocal taken
        for _ in range(50):
            taken += 8
            yield torch.zeros(8, 3, 96, 128, dtype=torch.uint8)

    given = 0
    for one in task.observe(blocks()):
        given += len(one.frames)
        assert taken - given <= 64
    assert given == taken == 400


def test_extract_has_no_memory():
    task = PoseToDance()
    task._estimator = SimpleNamespace(session=lambda: lambda frame: [person(float(frame[0, 0, 0]), 48)])
    frames = torch.tensor((30, 90, 30), dtype=torch.uint8).view(3, 1, 1, 1).expand(3, 3, 96, 128)
    found = task.extract(frames).points[:, layout.MID_HIP, 0]
    assert found.tolist() == [30, 90, 30]
    with pytest.raises(TaskError, match="uint8"):
        task.extract(frames.float())


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ViTPose and a detector that have learned nothing, saved as a Hub repo is."""
    transformers = pytest.importorskip("transformers")
    folder = tmp_path_factory.mktemp("models")
    torch.manual_seed(0)
    backbone = transformers.VitPoseBackboneConfig(
        image_size=(64, 48), hidden_size=32, num_hidden_layers=2, num_attention_heads=2, mlp_ratio=2, out_indices=[2]
    )
    for name, points in (("pose", 17), ("other", 14)):
        config = transformers.VitPoseConfig(backbone_config=backbone, num_labels=points)
        transformers.VitPoseForPoseEstimation(config).save_pretrained(folder / name)
        transformers.VitPoseImageProcessorPil(size={"height": 64, "width": 48}).save_pretrained(folder / name)
    resnet = transformers.RTDetrResNetConfig(
        embedding_size=8, hidden_sizes=[8, 16, 24, 32], depths=[1, 1, 1, 1], layer_type="basic", out_indices=[2, 3, 4]
    )
    for name, labels in (("detector", {0: "ball", 1: "person"}), ("balls", {0: "ball", 1: "bat"})):
        config = transformers.RTDetrConfig(
            backbone_config=resnet,
            encoder_in_channels=[16, 24, 32],
            encoder_hidden_dim=32,
            encoder_ffn_dim=32,
            encoder_attention_heads=2,
            d_model=32,
            decoder_in_channels=[32, 32, 32],
            decoder_ffn_dim=32,
            decoder_layers=1,
            decoder_attention_heads=2,
            num_queries=20,
            id2label=labels,
            label2id={label: index for index, label in labels.items()},
        )
        transformers.RTDetrForObjectDetection(config).save_pretrained(folder / name)
        transformers.RTDetrImageProcessorPil(size={"height": 64, "width": 64}).save_pretrained(folder / name)
    return folder


def test_real_models_of_transformers_run_from_their_folders(models: Path, monkeypatch: pytest.MonkeyPatch):
    task = PoseToDance(estimator="vitpose", model=str(models / "pose"), detector=str(models / "detector"))
    frames = torch.randint(256, (2, 3, 80, 120), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    monkeypatch.setattr("vid2vid_dance.estimate.LEAST_PERSON", 0.0)
    finder = task._finder()
    people = finder.session()(frames[0])
    assert people, "with no threshold, an untrained detector sees people everywhere"
    assert {found.points.shape for found in people} == {(layout.POINTS, 3)}
    assert torch.equal(task.extract(frames).points, task.extract(frames).points)
    monkeypatch.setattr("vid2vid_dance.estimate.LEAST_PERSON", 1.0)
    assert finder.session()(frames[0]) == []
    assert task.missing(task.extract(frames)) == ["no person"] * 2


def test_what_the_models_find_is_placed_in_the_frame(models: Path, monkeypatch: pytest.MonkeyPatch):
    """Outputs as the models return them: two boxes, one of a ball, and a heat map with one peak for each point."""
    finder = VitPose(str(models / "pose"), str(models / "detector"))
    x0, y0, x1, y1 = 40.0, 20.0, 76.0, 68.0
    boxes = torch.tensor([[(x0 + x1) / 2 / 120, (y0 + y1) / 2 / 80, (x1 - x0) / 120, (y1 - y0) / 80], [0.5, 0.5, 1, 1]])
    detected = SimpleNamespace(logits=torch.tensor([[[-9.0, 4.0], [6.0, -9.0]]]), pred_boxes=boxes[None])
    random = np.random.default_rng(0)
    places = np.stack((random.integers(2, 10, 17), random.integers(2, 14, 17)), 1)
    rows, columns = np.mgrid[0:16, 0:12]
    heat = [np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / 4) for x, y in places]
    looked: list[Tensor] = []

    def look(pixels: Tensor) -> SimpleNamespace:
        looked.append(pixels)
        return SimpleNamespace(heatmaps=torch.tensor(np.stack(heat)[None], dtype=torch.float32))

    monkeypatch.setattr(finder._detector, "forward", lambda *_, **__: detected)
    monkeypatch.setattr(finder._model, "forward", look)
    (found,) = finder.session()(torch.zeros(3, 80, 120, dtype=torch.uint8))
    assert found.box == pytest.approx((x0, y0, x1, y1), abs=1e-3)
    assert looked[0].shape == (1, 3, 64, 48)
    # The box, widened by a quarter, is 45 x 60 pixels and spans the 12 x 16 heat map from centre to centre.
    want = torch.tensor(places / (11, 15) * (45, 60) + ((x0 + x1) / 2 - 0.5 - 22.5, (y0 + y1) / 2 - 0.5 - 30))
    assert (found.points[layout.LEFT_WRIST, :2] - want[9]).norm() < 0.5
    assert (found.points[layout.RIGHT_KNEE, :2] - want[14]).norm() < 0.5
    assert (found.points[layout.NECK, :2] - (want[5] + want[6]) / 2).norm() < 0.5
    assert not found.points[layout.LEFT_BIG_TOE :].any(), "COCO has no feet, hands and faces"


def test_models_that_find_something_else_are_refused(models: Path, tmp_path: Path):
    with pytest.raises(TaskError, match=r"'.*balls' has 2 classes, and none is 'person'"):
        VitPose(str(models / "pose"), str(models / "balls"))
    with pytest.raises(TaskError, match=r"'.*other' finds 14 points"):
        VitPose(str(models / "other"), str(models / "detector"))
    with pytest.raises(TaskError, match=r"the model '.*nothing' cannot be loaded"):
        VitPose(str(models / "pose"), str(tmp_path / "nothing"))


@pytest.mark.parametrize("library", ["transformers", "scipy"])
def test_without_its_libraries_the_message_says_what_to_type(library: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(MissingExtraError, match=rf"needs {library}.*pip install 'vid2vid-hub\[dance\]'"):
        PoseToDance(estimator="vitpose").extract(torch.zeros(1, 3, 32, 32, dtype=torch.uint8))


@dataclass
class Chart:
    """A result as DensePose's extractor returns it."""

    labels: Tensor
    uv: Tensor


def test_dense_parts_are_those_of_the_person_who_is_meant():
    one = Chart(torch.full((10, 6), 2), torch.stack((torch.full((10, 6), 0.2), torch.full((10, 6), 0.8))))
    labels = torch.zeros(20, 8, dtype=torch.long)
    labels[2:, 3:] = 23
    other = Chart(labels, torch.ones(2, 20, 8))
    boxes = torch.tensor([[5.0, 6.0, 6.0, 10.0], [36.0, 25.0, 8.0, 20.0]])
    found = one_of([one, other], boxes, (5, 5, 12, 16), (40, 40))
    assert found[:, 8, 7].tolist() == [204, 51, 2], "v, u, part"
    assert (found[2] == 2).sum() == 60
    cut = one_of([one, other], boxes, (36, 25, 44, 45), (40, 40))
    assert (cut[2] == 23).nonzero().amin(0).tolist() == [27, 39]
    assert not cut[:, 26, 39].any(), "u and v are 0 where no part is"
    assert not one_of([one], boxes[:1], (30, 30, 38, 38), (40, 40)).any()
    assert not one_of([], None, None, (40, 40)).any()


def test_densepose_is_asked_through_detectron2(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """A stand-in with detectron2's names, since it cannot be had here: what it is given, and what comes of it."""
    calls: dict[str, object] = {}

    class Settings:
        MODEL = SimpleNamespace(WEIGHTS="", DEVICE="cuda")

        def merge_from_file(self, path: str) -> None:
            calls["config"] = path

    class Predictor:
        def __init__(self, settings: Settings) -> None:
            calls["weights"] = settings.MODEL.WEIGHTS

        def __call__(self, picture: np.ndarray) -> dict[str, str]:
            calls["picture"] = picture
            return {"instances": "found"}

    class Extractor:
        def __call__(self, instances: str) -> tuple[list[Chart], Tensor]:
            assert instances == "found"
            return [Chart(torch.full((4, 4), 5), torch.zeros(2, 4, 4))], torch.tensor([[1.0, 2.0, 4.0, 4.0]])

    modules = {
        "detectron2": {},
        "detectron2.config": {"get_cfg": Settings},
        "detectron2.engine": {"DefaultPredictor": Predictor},
        "densepose": {"add_densepose_config": lambda settings: calls.setdefault("added", settings)},
        "densepose.vis": {},
        "densepose.vis.extractor": {"DensePoseResultExtractor": Extractor},
    }
    for name, members in modules.items():
        module = ModuleType(name)
        vars(module).update(members)
        monkeypatch.setitem(sys.modules, name, module)
    (tmp_path / "model.pkl").write_bytes(b"")
    task = PoseToDance(densepose=str(tmp_path / "model.yaml"))
    task._estimator = Recorded([[person(3, 4, 6)]])
    frame = torch.zeros(1, 3, 12, 12, dtype=torch.uint8)
    frame[:, 0] = 200
    (one,) = task.observe(iter([frame]))
    assert calls["config"] == str(tmp_path / "model.yaml")
    assert calls["weights"] == str(tmp_path / "model.pkl")
    assert calls["picture"].shape == (12, 12, 3)
    assert calls["picture"][0, 0].tolist() == [0, 0, 200], "blue first, as OpenCV reads"
    assert (one.condition.maps[0, 2] == 5).sum() == 16


def test_without_detectron2_the_message_says_where_it_is():
    with pytest.raises(TaskError, match="needs detectron2"):
        DensePose("model.yaml")


@pytest.mark.parametrize("clip", CLIPS)
def test_people_are_found_in_real_clips(shared: Path, clip: str):
    """By MediaPipe's networks; beside the landmarks that were found beforehand."""
    pytest.importorskip("ai_edge_litert")
    video, weights = shared / "data" / "dance" / "videos" / f"{clip}.mp4", shared / "data" / "weights" / "mediapipe"
    if not video.is_file() or not weights.is_dir():
        pytest.skip(f"needs {video} and {weights}")
    frames = []
    with av.open(str(video)) as file:
        for picture, _ in zip(file.decode(video=0), range(LOOKED_AT), strict=False):
            frames.append(torch.from_numpy(picture.to_ndarray(format="rgb24")).permute(2, 0, 1))
    stack = torch.stack(frames)
    task = PoseToDance(weights=str(weights))
    shot = list(task.observe(stack[i : i + 8] for i in range(0, len(stack), 8)))
    absent = [what for one in shot for what in task.missing(one.condition)]
    assert len(absent) == len(stack)
    stored = np.load(shared / "data" / "dance" / "landmarks" / f"{clip}.npz")
    valid = torch.from_numpy(stored["valid"][: len(stack)])
    wanted = torch.stack(
        [from_blaze(torch.from_numpy(p.astype(np.float32))) for p in stored["blazepose33"][: len(stack)]]
    )
    points = points_of(shot)
    both = (points[:, :25, 2] > 0) & (wanted[:, :25, 2] > 0) & valid[:, None]
    apart = (points[:, :25, :2] - wanted[:, :25, :2]).norm(dim=-1)[both]
    height = np.median([box[3] - box[1] for p in points if (box := around(p)) is not None])
    rate = absent.count(None) / len(absent)
    print(
        f"{clip}: found in {rate:.3f} of {len(stack)} frames, {apart.mean():.2f} px from the stored, of {height:.0f} px"
    )
    assert rate > 0.97
    assert apart.mean() < 0.025 * height

"""Objects in single street frames, and ids through a shot: outputs whose segments are known, and pieces of labels."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from torch import Tensor

from vid2vid_hub.types import Condition
from vid2vid_street import SegToStreet
from vid2vid_street.cityscapes import TRAINED
from vid2vid_street.instances import ModelFinder, PanopticModel, components, settled
from vid2vid_street.labels import LABEL_SETS
from vid2vid_street.universal import UniversalModel

SET = LABEL_SETS["cityscapes-train"]
ROAD, SKY, PERSON, RIDER, CAR = (SET.names.index(name) for name in ("road", "sky", "person", "rider", "car"))
SIZE = 48, 64


def outputs(*queries: tuple[int, tuple[slice, slice]]) -> Any:
    """What a Mask2Former that knows TRAINED says of a frame, quarter size: class and place of each query."""
    classes = torch.full((1, len(queries), len(TRAINED) + 1), -20.0)
    masks = torch.full((1, len(queries), SIZE[0] // 4, SIZE[1] // 4), -20.0)
    for query, (label, (rows, columns)) in enumerate(queries):
        classes[0, query, label] = 20
        masks[0, query, rows, columns] = 20
    return SimpleNamespace(class_queries_logits=classes, masks_queries_logits=masks)


# Sky above, road below, two cars on it side by side, and somebody on the right.
SCENE = outputs(
    (SKY, np.s_[:6, :]),
    (ROAD, np.s_[10:, :]),
    (CAR, np.s_[6:10, 0:4]),
    (CAR, np.s_[6:10, 4:9]),
    (PERSON, np.s_[6:10, 9:16]),
)


@pytest.fixture
def known(monkeypatch: pytest.MonkeyPatch) -> None:
    """Any universal model is a Mask2Former that sees the scene, read by its own processor."""
    from transformers.models.mask2former.image_processing_pil_mask2former import Mask2FormerImageProcessorPil

    def load(name: str, *, universal: bool) -> tuple[Any, Any]:
        names = TRAINED if name == "panoptic" else ("car", "person", "sofa")
        config = SimpleNamespace(id2label=dict(enumerate(names)), model_type="mask2former")
        return SimpleNamespace(config=config), Mask2FormerImageProcessorPil()

    def run(self: UniversalModel, frame: Tensor, purpose: str) -> Any:
        if len(self.classes) == len(TRAINED):
            return SCENE
        kept = [2, 3, 4]
        columns = [CAR, PERSON, ROAD, len(TRAINED)]
        return SimpleNamespace(
            class_queries_logits=SCENE.class_queries_logits[:, kept][..., columns],
            masks_queries_logits=SCENE.masks_queries_logits[:, kept],
        )

    monkeypatch.setattr("vid2vid_street.universal.load", load)
    monkeypatch.setattr("vid2vid_street.instances.is_universal", lambda name: True)
    monkeypatch.setattr(UniversalModel, "_run", run)


def at(tensor: Tensor) -> list[int]:
    """The values in the middle of sky, road, the cars and the person."""
    return [int(tensor[..., y, x].flatten()[0]) for y, x in ((8, 30), (44, 30), (32, 7), (32, 26), (32, 50))]


@pytest.mark.usefixtures("known")
def test_known_segments_become_labels_and_objects():
    labels, objects = PanopticModel("panoptic", SET)(torch.zeros(1, 3, *SIZE, dtype=torch.uint8))
    assert at(labels) == [SKY, ROAD, CAR, CAR, PERSON]
    assert at(objects > 0) == [0, 0, 1, 1, 1]
    assert len(objects.unique()) == 4
    # Nothing is left unsaid where segments touch, and they meet within a pixel of where they were put.
    assert (labels[0, :, 5] == torch.tensor([SKY] * 24 + [CAR] * 16 + [ROAD] * 8)).float().mean() > 0.9


@pytest.mark.usefixtures("known")
@pytest.mark.parametrize("model", ["panoptic", "objects"])
def test_the_segmenter_has_the_last_word(model: str):
    labels = torch.full((1, *SIZE), ROAD, dtype=torch.uint8)
    labels[:, 24:40, :30] = CAR
    labels[:, 24:40, 34:] = RIDER
    labels[:, :24] = SKY
    found = ModelFinder(model, SET)(torch.zeros(1, 3, *SIZE, dtype=torch.uint8), labels)
    assert at(found > 0) == [0, 0, 1, 1, 1]
    assert len(found.unique()) == 4
    assert not found[labels == ROAD].any()
    assert labels[found == found[0, 32, 50]].unique().tolist() == [RIDER]


@given(
    labels=arrays(np.uint8, (5, 7), elements=st.sampled_from([ROAD, SKY, PERSON, CAR])),
    objects=arrays(np.int32, (5, 7), elements=st.integers(0, 4)),
)
def test_settled_objects_have_one_class_and_it_moves(labels: np.ndarray, objects: np.ndarray):
    classes, given_to = torch.from_numpy(labels), torch.from_numpy(objects)
    found = settled(classes, given_to, SET.foreground)
    assert ((found == given_to) | (found == 0)).all()
    for number in found.unique():
        own = classes[found == number].unique().tolist()
        assert number == 0 or (len(own) == 1 and own[0] in SET.foreground)
    assert torch.equal(settled(classes, found, SET.foreground), found)


def test_components_are_pieces_of_one_class():
    labels = torch.tensor([[[13, 13, 0, 13], [0, 0, 0, 13], [11, 13, 0, 0]]], dtype=torch.uint8)
    found = components(labels, SET.foreground)[0]
    assert found.dtype == torch.int32
    assert (found > 0).tolist() == (labels[0] > 0).tolist()
    pieces = [found[0, 0], found[0, 3], found[2, 0], found[2, 1]]
    assert len({int(piece) for piece in pieces}) == 4
    assert found[0, 1] == found[0, 0]
    assert found[1, 3] == found[0, 3]


def test_specks_are_no_objects():
    labels = torch.zeros(1, 200, 200, dtype=torch.uint8)
    labels[0, 0, :3] = CAR
    labels[0, 100, :4] = CAR
    found = components(labels, SET.foreground)
    assert not found[0, 0].any()
    assert found[0, 100].sum() == 4


def moving(frames: int) -> Tensor:
    """Two bright squares on noise, one of which sinks while the other rises: uint8 (T, 3, 48, 64)."""
    random = torch.Generator().manual_seed(0)
    pictures = torch.randint(60, (3, *SIZE), generator=random, dtype=torch.uint8).repeat(frames, 1, 1, 1)
    for t in range(frames):
        pictures[t, :, 2 + 2 * t : 8 + 2 * t, 4:20] = 200
        pictures[t, :, 40 - 2 * t : 46 - 2 * t, 40:56] = 200
    return pictures


@pytest.fixture
def bright(monkeypatch: pytest.MonkeyPatch) -> None:
    """A segmenter for which everything bright is a car, and the rest is road."""
    seen = torch.tensor([ROAD, CAR], dtype=torch.uint8)
    monkeypatch.setattr("vid2vid_street.task.load_segmenter", lambda name: lambda x: seen[(x[:, 0] > 100).int()])


@pytest.mark.usefixtures("bright")
@pytest.mark.parametrize("block", [1, 5, 20])
def test_ids_follow_objects_through_a_shot_whatever_its_blocks(block: int):
    task, frames = SegToStreet(label_set="cityscapes-train", instances="components"), moving(20)
    observed = list(task.observe(frames.split(block)))
    assert torch.equal(torch.cat([each.frames for each in observed]), frames)
    ids = torch.cat([each.condition.instances for each in observed])[:, 0]
    assert ids.unique().tolist() == [ROAD, CAR * 1000, CAR * 1000 + 1]
    for t in range(20):
        assert ids[t, 2 + 2 * t : 8 + 2 * t, 4:20].unique().tolist() == [CAR * 1000]
        assert ids[t, 40 - 2 * t : 46 - 2 * t, 40:56].unique().tolist() == [CAR * 1000 + 1]


@pytest.mark.usefixtures("bright")
def test_each_shot_is_counted_anew_and_without_instances_there_are_none():
    task, frames = SegToStreet(label_set="cityscapes-train", instances="components"), moving(4)
    first, second = (next(task.observe([frames])).condition for _ in range(2))
    assert torch.equal(first.instances, second.instances)
    assert torch.equal(task.extract(frames).instances, first.instances)
    bare = next(SegToStreet(label_set="cityscapes-train").observe([frames])).condition
    assert bare.instances is None
    assert torch.equal(bare.maps, first.maps)


def test_objects_that_a_person_gives_stay_as_they_are():
    ids = torch.tensor([[[[7, 2_000_000_000], [7, 5]]]], dtype=torch.int32)
    condition = Condition(torch.full((1, 1, 2, 2), 26, dtype=torch.uint8), ids.clone())
    SegToStreet(instances="components").encode(condition)
    assert torch.equal(condition.instances, ids)


@pytest.mark.parametrize("clip", ["udacity_highway_a"])
def test_real_cars_keep_their_ids(shared: Path, clip: str):
    """Pieces of the labels as detections. People were not asked, so only what must hold is checked."""
    from PIL import Image

    folder = shared / "data" / "street"
    if not folder.is_dir():
        pytest.skip(f"needs the street clips, and there is no folder {folder}")
    import av

    with av.open(str(folder / "videos" / f"{clip}.mp4")) as video:
        frames = [next(video.decode(video=0)).to_ndarray(format="rgb24") for _ in range(24)]
    pictures = [np.array(Image.open(folder / "labels" / clip / f"{t:05d}.png")) for t in range(24)]
    labels = torch.from_numpy(np.stack(pictures))
    task = SegToStreet(label_set="cityscapes-train", instances="components")
    task._loaded = lambda shown: labels[: len(shown)]
    ids = task.extract(torch.from_numpy(np.stack(frames)).permute(0, 3, 1, 2).contiguous()).instances[:, 0]
    assert torch.equal(torch.where(ids >= 1000, ids // 1000, ids), labels.int())

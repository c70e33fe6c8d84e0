"""seg2street: what its encoding says, which pictures it reads, and how well its segmenters see a real street."""

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import av
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from PIL import Image
from torch import Tensor

from vid2vid_hub.data.open import open_clips
from vid2vid_hub.errors import ConditionError, DatasetError, MissingExtraError, TaskError
from vid2vid_hub.types import Condition
from vid2vid_street import SegToStreet
from vid2vid_street.labels import LABEL_SETS

SETS = sorted(LABEL_SETS)
TRAIN_NAMES = LABEL_SETS["cityscapes-train"].names[:19]

# CamVid's 11 classes put walls with buildings, terrain with trees, traffic lights with signs, and every rider and
# two-wheeler with cyclists; its void (11) is left out.
CAMVID_OF_TRAIN_ID = torch.tensor([3, 4, 1, 1, 7, 2, 6, 6, 5, 5, 0, 9, 10, 8, 8, 8, 8, 10, 10, 255])


def random_condition(label_set: str, frames: int = 3, *, instances: bool = False) -> Condition:
    random = torch.Generator().manual_seed(0)
    maps = torch.randint(len(LABEL_SETS[label_set]), (frames, 1, 6, 8), generator=random, dtype=torch.uint8)
    ids = torch.randint(3, maps.shape, generator=random, dtype=torch.int32) if instances else None
    return Condition(maps, ids)


@pytest.mark.parametrize("instances", [False, True])
@pytest.mark.parametrize("label_set", SETS)
def test_encoding_is_frame_by_frame(label_set: str, instances: bool):
    task, condition = SegToStreet(label_set=label_set), random_condition(label_set, instances=instances)
    whole = task.encode(condition)
    assert whole.features.shape == (3, task.channels, 6, 8)
    for t in range(len(condition)):
        alone = task.encode(condition[t : t + 1])
        assert torch.equal(whole.features[t], alone.features[0])
        assert torch.equal(whole.foreground[t], alone.foreground[0])


@pytest.mark.parametrize("label_set", SETS)
def test_every_pixel_has_one_class_and_that_is_its_label(label_set: str):
    task, condition = SegToStreet(label_set=label_set), random_condition(label_set)
    classes = task.encode(condition).features[:, :-1]
    assert torch.equal(classes.sum(1, keepdim=True), torch.ones(3, 1, 6, 8))
    assert torch.equal(classes.argmax(1, keepdim=True), condition.maps.long())


def test_edges_are_where_instances_meet_and_not_where_labels_do():
    maps = torch.tensor([[[[7, 7, 26, 26]]]], dtype=torch.uint8)
    ids = torch.tensor([[[[5, 5, 5, 6]]]], dtype=torch.int32)
    task = SegToStreet()
    assert task.encode(Condition(maps, ids)).features[0, -1].tolist() == [[0, 0, 1, 1]]
    assert task.encode(Condition(maps)).features[0, -1].tolist() == [[0, 1, 1, 0]]


def test_foreground_is_what_moves_on_its_own():
    condition = Condition(torch.tensor([[[[7, 23, 24, 26, 33, 34]]]], dtype=torch.uint8))
    assert SegToStreet().encode(condition).foreground.tolist() == [[[[0, 0, 1, 1, 1, 0]]]]
    labels = SegToStreet(label_set="cityscapes-train").labels
    moving = "person rider car truck bus train motorcycle bicycle"
    assert [labels.names[i] for i in sorted(labels.foreground)] == moving.split()


@pytest.mark.parametrize(("label_set", "classes"), [("cityscapes", 35), ("cityscapes-train", 20)])
def test_edges_and_foreground_can_be_left_out(label_set: str, classes: int):
    bare = SegToStreet(label_set=label_set, edges=False, foreground=False)
    encoded = bare.encode(random_condition(label_set))
    assert (bare.channels, encoded.features.shape[1], encoded.foreground) == (classes, classes, None)
    assert SegToStreet(label_set=label_set).channels == classes + 1


def test_config_rebuilds_the_task():
    settings = {"label_set": "cityscapes-train", "edges": False, "foreground": False, "segmenter": "a.onnx"}
    assert SegToStreet(**settings).config() == settings
    assert SegToStreet(**SegToStreet().config()).config() == SegToStreet().config()


def test_an_unknown_label_set_is_answered_with_the_known_ones():
    with pytest.raises(TaskError, match=r"'mapillary'.*cityscapes, cityscapes-train"):
        SegToStreet(label_set="mapillary")


def test_the_two_label_sets_tell_the_same_story():
    full, trained = LABEL_SETS["cityscapes"], LABEL_SETS["cityscapes-train"]
    for train_id, label in enumerate(full.from_train_ids()[:19]):
        assert full.train_ids[label] == train_id
        assert (full.names[label], full.palette[label]) == (trained.names[train_id], trained.palette[train_id])
        assert (label in full.foreground) == (train_id in trained.foreground)
    assert trained.from_train_ids()[255] == 19
    assert trained.names[19] == "void"


@pytest.mark.parametrize("label_set", SETS)
@given(data=st.data())
def test_reading_a_preview_gives_the_labels_back(label_set: str, data: st.DataObject):
    task, labels = SegToStreet(label_set=label_set), LABEL_SETS[label_set]
    shape = data.draw(array_shapes(min_dims=3, max_dims=3, max_side=4))
    maps = data.draw(arrays(np.uint8, shape, elements=st.integers(0, len(labels) - 1)))
    condition = Condition(torch.from_numpy(maps).unsqueeze(1))
    owner = torch.tensor([labels.palette.index(colour) for colour in labels.palette], dtype=torch.uint8)
    assert torch.equal(task.parse(task.preview(condition)).maps, owner[condition.maps.long()])
    assert torch.equal(task.parse(condition.maps).maps, condition.maps)


def test_only_these_ids_share_a_colour():
    def shared_colours(label_set: str) -> list[int]:
        palette = LABEL_SETS[label_set].palette
        return [i for i, colour in enumerate(palette) if palette.index(colour) < i]

    assert shared_colours("cityscapes") == [1, 2, 3, 4, 18, 34]
    assert shared_colours("cityscapes-train") == []


def test_255_in_train_id_pictures_is_void():
    pictures = torch.tensor([[[[0, 255, 18, 19]]]], dtype=torch.uint8)
    assert SegToStreet(label_set="cityscapes-train").parse(pictures).maps.flatten().tolist() == [0, 19, 18, 19]
    assert pictures[0, 0, 0, 1] == 255


@pytest.mark.parametrize("verb", ["encode", "preview", "parse"])
@pytest.mark.parametrize(("label_set", "value", "limit"), [("cityscapes", 35, 34), ("cityscapes-train", 20, 19)])
def test_a_label_out_of_range_is_named_with_its_frame(verb: str, label_set: str, value: int, limit: int):
    maps = random_condition(label_set).maps
    maps[2, 0, 4, 5] = value
    given_to = maps if verb == "parse" else Condition(maps)
    with pytest.raises(ConditionError, match=f"frame 2: the label is {value} at x 5, y 4;.* 0 to {limit}"):
        getattr(SegToStreet(label_set=label_set), verb)(given_to)


def test_a_colour_outside_the_palette_is_named_with_its_place():
    task = SegToStreet()
    pictures = task.preview(random_condition("cityscapes"))
    pictures[1, :, 3, 2] = torch.tensor([1, 2, 3])
    pictures[2, :, 0, 0] = torch.tensor([255, 255, 255])
    with pytest.raises(ConditionError, match=r"frame 1: the colour is \(1, 2, 3\) at x 2, y 3"):
        task.parse(pictures)
    with pytest.raises(ConditionError, match=r"frame 0: the colour is \(255, 255, 255\)"):
        task.parse(pictures[2:])


@pytest.mark.parametrize("shape", [(1, 2, 4, 4), (1, 4, 4, 4), (0, 1, 4, 4), (3, 4, 4)])
def test_pictures_of_another_shape_are_refused(shape: tuple[int, ...]):
    with pytest.raises(ConditionError, match=r"\(T, 1, H, W\) ids or \(T, 3, H, W\) colours"):
        SegToStreet().parse(torch.zeros(shape, dtype=torch.uint8))


def test_more_than_one_map_is_refused():
    with pytest.raises(ConditionError, match="one label map per frame, not 3"):
        SegToStreet().encode(Condition(torch.zeros(1, 3, 4, 4, dtype=torch.uint8)))


def test_importing_the_plugin_imports_nothing_heavy():
    code = "import sys, vid2vid_street; print({'transformers', 'onnxruntime', 'cv2'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


@pytest.mark.parametrize(("label_set", "expected"), [("cityscapes", [7, 33, 0]), ("cityscapes-train", [0, 18, 19])])
def test_extraction_speaks_the_label_set_and_loads_once(label_set: str, expected: list[int], monkeypatch):
    loaded = []

    def load(name: str):
        loaded.append(name)
        return lambda frames: torch.tensor([[[0, 18, 255]]], dtype=torch.uint8).expand(len(frames), 1, 3)

    monkeypatch.setattr("vid2vid_street.task.load_segmenter", load)
    task = SegToStreet(label_set=label_set, segmenter="mine")
    for _ in range(2):
        assert task.extract(torch.zeros(2, 3, 1, 3, dtype=torch.uint8)).maps.tolist() == [[[expected]]] * 2
    assert loaded == ["mine"]


@pytest.mark.parametrize("frames", [torch.zeros(1, 3, 4, 4), torch.zeros(0, 3, 4, 4, dtype=torch.uint8)])
def test_frames_of_another_kind_are_refused(frames: Tensor):
    with pytest.raises(TaskError, match=r"uint8 \(T, 3, H, W\), at least one, not torch"):
        SegToStreet().extract(frames)


FRAMES = torch.randint(256, (2, 3, 40, 52), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)


def save_segformer(folder: Path, names: tuple[str, ...], *, head: bool = True) -> str:
    """A tiny Segformer with random weights; without its head it is a backbone, as ImageNet training leaves it."""
    from transformers import SegformerConfig, SegformerForSemanticSegmentation, SegformerImageProcessor

    small = {"hidden_sizes": [8] * 4, "depths": [1] * 4, "num_attention_heads": [1] * 4, "decoder_hidden_size": 8}
    torch.manual_seed(0)
    model = SegformerForSemanticSegmentation(SegformerConfig(**small, id2label=dict(enumerate(names)))).eval()
    (model if head else model.segformer).save_pretrained(folder)
    SegformerImageProcessor(size={"height": 64, "width": 64}).save_pretrained(folder)
    return str(folder)


def test_a_transformers_model_is_read_by_the_names_of_its_classes(tmp_path: Path):
    def segment(names: tuple[str, ...]) -> Tensor:
        folder = save_segformer(tmp_path / str(len(list(tmp_path.iterdir()))), names)
        return SegToStreet(label_set="cityscapes-train", segmenter=folder).extract(FRAMES).maps

    found = segment(TRAIN_NAMES)
    assert found.shape == (2, 1, 40, 52)
    assert len(found.unique()) > 3
    assert torch.equal(segment(TRAIN_NAMES[::-1]), 18 - found)
    assert torch.equal(segment(tuple(name.replace(" ", "_").title() for name in TRAIN_NAMES)), found)
    assert torch.equal(segment(tuple(f"LABEL_{i}" for i in range(19))), found)
    assert torch.equal(segment((*TRAIN_NAMES[:-1], "ego vehicle")), torch.where(found == 18, 19, found))


def test_a_transformers_model_of_other_classes_is_refused(tmp_path: Path):
    task = SegToStreet(segmenter=save_segformer(tmp_path, (*TRAIN_NAMES, "sofa")))
    with pytest.raises(TaskError, match="20 classes, and 'sofa' is none of Cityscapes'"):
        task.extract(FRAMES)


def test_a_backbone_without_a_trained_head_is_refused(tmp_path: Path):
    task = SegToStreet(segmenter=save_segformer(tmp_path, TRAIN_NAMES, head=False))
    with pytest.raises(TaskError, match=r"lacks \d+ of its weights.*decode_head"):
        task.extract(FRAMES)


def test_weights_that_are_not_safetensors_are_not_opened(tmp_path: Path):
    folder = save_segformer(tmp_path, TRAIN_NAMES)
    (tmp_path / "model.safetensors").rename(tmp_path / "pytorch_model.bin")
    with pytest.raises(TaskError, match=r"no file named model\.safetensors"):
        SegToStreet(segmenter=folder).extract(FRAMES)


def test_without_a_network_the_message_names_both_ways_out(monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(TaskError) as caught:
        SegToStreet(segmenter="nobody/no-such-segmenter").extract(FRAMES)
    message = str(caught.value)
    assert "'nobody/no-such-segmenter'" in message
    assert "couldn't connect" in message
    assert "download it beforehand" in message
    assert ".onnx" in message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("library", "extra", "segmenter"),
    [("transformers", "street", "any/model"), ("onnxruntime", "onnx", __file__ + ".onnx")],
)
def test_a_missing_library_is_answered_with_what_to_type(library: str, extra: str, segmenter: str, monkeypatch):
    monkeypatch.setitem(sys.modules, library, None)
    monkeypatch.setattr(Path, "is_file", lambda path: True)
    with pytest.raises(MissingExtraError, match=rf"needs {library}.*pip install 'vid2vid-hub\[{extra}\]'"):
        SegToStreet(segmenter=segmenter).extract(FRAMES)


def test_an_onnx_file_that_is_absent_or_broken_is_named(tmp_path: Path):
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"not a network")
    with pytest.raises(TaskError, match=r"broken\.onnx' cannot be loaded as an ONNX model"):
        SegToStreet(segmenter=str(broken)).extract(FRAMES)
    with pytest.raises(TaskError, match=r"absent\.onnx' does not exist"):
        SegToStreet(segmenter=str(tmp_path / "absent.onnx")).extract(FRAMES)


GOOD_INPUT, GOOD_OUTPUT = ("tensor(float)", [1, 3, 32, 64]), ("tensor(float)", [1, 19, 4, 8])


def pretend_session(monkeypatch, tmp_path: Path, inputs: list, outputs: list, run=None) -> str:
    """A path that onnxruntime opens as a network of these inputs and outputs."""
    ends = [[SimpleNamespace(name="x", type=kind, shape=shape) for kind, shape in side] for side in (inputs, outputs)]
    session = SimpleNamespace(get_inputs=lambda: ends[0], get_outputs=lambda: ends[1], run=run)
    monkeypatch.setattr("onnxruntime.InferenceSession", lambda path, providers: session)
    (tmp_path / "pretend.onnx").touch()
    return str(tmp_path / "pretend.onnx")


@pytest.mark.parametrize(
    ("inputs", "outputs", "sentence"),
    [
        ([("tensor(float)", ["batch", 3, "h", "w"])], [GOOD_OUTPUT], "fixed size, not .*'h', 'w'"),
        ([("tensor(uint8)", [1, 3, 32, 64])], [GOOD_OUTPUT], r"must take one float input .* not tensor\(uint8\)"),
        ([("tensor(float)", [1, 1, 32, 64])], [GOOD_OUTPUT], r"must take one float input .* \(1, 1, 32, 64\)"),
        ([GOOD_INPUT, GOOD_INPUT], [GOOD_OUTPUT], "must take one float input .* and "),
        ([GOOD_INPUT], [("tensor(float)", [1, 150, 4, 8])], r"\(1, 19, h, w\).* \(1, 150, 4, 8\)"),
        ([GOOD_INPUT], [("tensor(int64)", [1, 32, 64])], r"\(1, 19, h, w\).* tensor\(int64\)"),
    ],
)
def test_an_onnx_network_of_other_shapes_is_refused(inputs, outputs, sentence: str, monkeypatch, tmp_path: Path):
    path = pretend_session(monkeypatch, tmp_path, inputs, outputs)
    with pytest.raises(TaskError, match=sentence):
        SegToStreet(segmenter=path).extract(FRAMES)


def test_an_onnx_network_sees_normalised_pixels_of_its_own_size(monkeypatch, tmp_path: Path):
    seen = []

    def run(outputs: None, feed: dict[str, np.ndarray]) -> list[np.ndarray]:
        seen.append(feed["x"])
        logits = np.zeros((1, 19, 4, 8), np.float32)
        logits[:, 13, :, :4] = 1
        return [logits]

    path = pretend_session(monkeypatch, tmp_path, [("tensor(float)", ["batch", 3, 32, 64])], [GOOD_OUTPUT], run)
    frame = torch.tensor([255, 0, 51], dtype=torch.uint8).view(1, 3, 1, 1).expand(2, 3, 40, 52)
    maps = SegToStreet(segmenter=path).extract(frame).maps
    assert [pixels.shape for pixels in seen] == [(1, 3, 32, 64)] * 2
    np.testing.assert_allclose(seen[0][0, :, 5, 5], [(1 - 0.485) / 0.229, -0.456 / 0.224, (0.2 - 0.406) / 0.225], 1e-5)
    assert maps.shape == (2, 1, 40, 52)
    assert maps[..., :22].unique().tolist() == [26]
    assert maps[..., 30:].unique().tolist() == [7]


def test_onnx_segmentation_agrees_with_people_on_a_real_street(shared: Path):
    folder = shared / "data" / "camvid_0016E5_noncommercial"
    if not folder.is_dir():
        pytest.skip(f"needs the CamVid clip, and there is no folder {folder}")
    chosen = range(0, 101, 20)
    with av.open(str(folder / "video.mp4")) as video:
        frames = [picture.to_ndarray(format="rgb24") for picture in video.decode(video=0)]
    assert len(frames) == 101
    real = torch.stack([torch.from_numpy(frames[t]).permute(2, 0, 1) for t in chosen])
    task = SegToStreet(
        label_set="cityscapes-train", segmenter=str(shared / "data" / "weights" / "evit_b0_576x1024.onnx")
    )
    found = CAMVID_OF_TRAIN_ID[task.extract(real).maps[:, 0].long()]
    human = torch.stack(
        [torch.from_numpy(np.array(Image.open(folder / "labels_camvid11_gt" / f"{t:05d}.png"))) for t in chosen]
    )
    known = human != 11
    accuracy = (found == human)[known].float().mean().item()
    print(f"pixel accuracy against CamVid's human labels, {len(chosen)} frames: {accuracy:.4f}")
    assert accuracy >= 0.88


@pytest.mark.slow
@pytest.mark.parametrize("clip", "abcde")
def test_the_road_is_found_on_every_real_frame(shared: Path, clip: str):
    path = shared / "data" / "street" / "videos" / f"udacity_highway_{clip}.mp4"
    if not path.is_file():
        pytest.skip(f"needs the street clips, and there is no file {path}")
    task = SegToStreet(segmenter=str(shared / "data" / "weights" / "evit_b0_576x1024.onnx"))
    with av.open(str(path)) as video:
        chosen = [frame.to_ndarray(format="rgb24") for t, frame in enumerate(video.decode(video=0)) if t % 20 == 0]
    absent = task.missing(task.extract(torch.from_numpy(np.stack(chosen)).permute(0, 3, 1, 2).contiguous()))
    print(f"{clip}: the road is found on {absent.count(None)} of {len(absent)} frames")
    assert absent == [None] * len(chosen)


def test_data_of_another_segmenter_may_be_trained_on_but_not_that_of_other_labels(tmp_path: Path):
    config = SegToStreet(segmenter="mine.onnx").config()
    (tmp_path / "dataset.json").write_text(
        json.dumps({"task": "seg2street", "task_config": config, "flow": None, "format": 1})
    )
    assert open_clips(tmp_path, "train", SegToStreet()) == []
    with pytest.raises(DatasetError, match=r"'label_set': 'cityscapes'.*'label_set': 'cityscapes-train'"):
        open_clips(tmp_path, "train", SegToStreet(label_set="cityscapes-train"))

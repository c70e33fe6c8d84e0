"""Label sets of one's own, Apolloscape's, and what a frame must show."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from vid2vid_hub import Vid2VidPipeline
from vid2vid_hub.errors import ConditionError, TaskError
from vid2vid_hub.nn.generator import Vid2VidGenerator
from vid2vid_hub.types import Condition
from vid2vid_street import SegToStreet
from vid2vid_street.cityscapes import TRAIN_IDS, TRAINED
from vid2vid_street.label_file import label_set_dict, parse_label_set
from vid2vid_street.labels import LABEL_SETS

CAMPUS = """
name: campus
classes:
  - {id: 0, name: road, colour: [128, 64, 128], required: true}
  - {id: 2, name: rest, colour: [0, 0, 0], void: true, stored: [255, 77]}
  - {id: 1, name: vehicle, colour: [0, 0, 142], foreground: true, cityscapes: [car, truck, 15]}
  - {id: 3, name: Sky, colour: [70, 130, 180]}
"""
SMALL = {"base_channels": 4, "downsamples": 1, "blocks": 2}


@pytest.fixture
def campus(tmp_path: Path) -> Path:
    path = tmp_path / "campus.yaml"
    path.write_text(CAMPUS)
    return path


def changed(**changes: Any) -> dict[str, Any]:
    """What the file holds, with the class of id 1 changed; None takes a key away."""
    raw: dict[str, Any] = yaml.safe_load(CAMPUS)
    entry = next(entry for entry in raw["classes"] if entry["id"] == 1)
    entry.update(changes)
    for key in [key for key, value in entry.items() if value is None]:
        del entry[key]
    return raw


def test_a_label_file_is_a_label_set(campus: Path):
    task = SegToStreet(label_set=str(campus))
    assert (task.channels, task.labels.names) == (5, {0: "road", 1: "vehicle", 2: "rest", 3: "Sky"})
    assert task.labels.foreground == {1}
    assert task.labels.palette[1] == (0, 0, 142)
    pictures = torch.tensor([[[[0, 1, 77, 255, 3]]]], dtype=torch.uint8)
    assert task.parse(pictures).maps.flatten().tolist() == [0, 1, 2, 2, 3]
    assert task.parse(task.preview(Condition(pictures.clamp(max=3)))).maps.flatten().tolist() == [0, 1, 3, 3, 3]
    with pytest.raises(
        ConditionError, match="label set 'campus' has 0 to 3, and in pictures 77 for rest, 255 for rest"
    ):
        task.parse(pictures + 4)


def test_yaml_json_dict_and_lists_beside_the_classes_say_the_same(campus: Path, tmp_path: Path):
    raw = yaml.safe_load(CAMPUS)
    (tmp_path / "campus.JSON").write_text(json.dumps(raw))
    beside = changed(foreground=None) | {"foreground": ["vehicle"], "required": [0], "void": "rest"}
    for entry in beside["classes"]:
        entry.pop("required", None), entry.pop("void", None)
    given = [campus, str(tmp_path / "campus.JSON"), raw, beside]
    configs = [SegToStreet(label_set=each).config() for each in given]
    assert configs == [configs[0]] * 4


def test_a_pipeline_is_rebuilt_without_the_file(campus: Path, tmp_path: Path):
    task = SegToStreet(label_set=campus, needs="Sky")
    generator = Vid2VidGenerator(task.channels, foreground=True, **SMALL)
    Vid2VidPipeline(generator, task, size=(16, 16)).save_pretrained(tmp_path / "model")
    campus.unlink()
    again = Vid2VidPipeline.from_pretrained(tmp_path / "model").task
    assert json.loads(json.dumps(task.config())) == task.config() == again.config()
    assert again.labels == task.labels
    pictures = torch.tensor([[[[0, 255, 77, 1]]]], dtype=torch.uint8)
    assert torch.equal(again.parse(pictures).maps, task.parse(pictures).maps)


@pytest.mark.parametrize("name", sorted(LABEL_SETS))
def test_any_set_is_itself_as_a_dict(name: str):
    own = {**label_set_dict(LABEL_SETS["cityscapes-train"]), "name": "mine"}
    assert label_set_dict(parse_label_set(own, "mine")) == own
    with_colours = [
        {**entry, "colour": [i, 0, 0]} for i, entry in enumerate(label_set_dict(LABEL_SETS[name])["classes"])
    ]
    labels = parse_label_set({"name": name, "classes": with_colours}, name)
    assert labels.from_train_ids() == LABEL_SETS[name].from_train_ids()
    assert (labels.foreground, labels.void, labels.stored, labels.required) == (
        LABEL_SETS[name].foreground,
        LABEL_SETS[name].void,
        LABEL_SETS[name].stored,
        LABEL_SETS[name].required,
    )


def test_an_old_pipeline_has_the_settings_it_had():
    saved = {"edges": True, "foreground": True, "label_set": "cityscapes-train", "segmenter": "any/model"}
    assert SegToStreet(**saved).config() == saved
    later = SegToStreet(**saved, instances="components", needs=None)
    assert later.config() == {**saved, "instances": "components", "needs": None}
    assert SegToStreet(**later.config()).config() == later.config()
    assert {"instances", "needs"} <= SegToStreet.extraction


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"id": 7}, "no class has the id 1, but one has 2; number them 0 to 3 without a gap"),
        ({"id": 0}, "two classes have the id 0"),
        ({"id": None}, "entry 2 is .*; give it an id"),
        ({"id": True}, "entry 2 is .*; give it an id"),
        ({"name": None}, "class 1 has the name None"),
        ({"name": True}, "class 1 has the name True; give a word"),
        ({"name": "ROAD"}, "class 1 has the name 'ROAD' of class 0"),
        ({"colour": [128, 64, 128]}, r"class 1 \('vehicle'\) has the colour \[128, 64, 128\] of class 0"),
        ({"colour": [0, 0, 256]}, r"class 1 \('vehicle'\) has the colour \[0, 0, 256\]; give \[red, green, blue\]"),
        ({"colour": [0, 0]}, r"the colour \[0, 0\]"),
        ({"colour": "blue"}, "the colour 'blue'"),
        ({"colour": [0, 0, 1.5]}, r"the colour \[0, 0, 1.5\]"),
        ({"foreground": "yes"}, "has foreground: 'yes'; write true or false"),
        ({"void": True}, "2 classes are void"),
        ({"cityscapes": ["lorry"]}, "takes in 'lorry' of Cityscapes; .* road, sidewalk"),
        ({"cityscapes": 19}, "takes in 19 of Cityscapes"),
        ({"cityscapes": "parking"}, "takes in 'parking' of Cityscapes"),
        ({"stored": [3]}, "is stored as 3; give values from 4 to 255"),
        ({"stored": [77]}, "is stored as 77, and so is class|class 2 .* is stored as 77, and so is class 1"),
        ({"color": [1, 2, 3]}, "has the key 'color', which nothing reads; it may have .*colour"),
    ],
)
def test_what_is_wrong_in_a_label_file_is_named(changes: dict[str, Any], sentence: str, tmp_path: Path):
    path = tmp_path / "wrong.yml"
    path.write_text(yaml.safe_dump(changed(**changes)))
    with pytest.raises(TaskError, match=sentence) as caught:
        SegToStreet(label_set=str(path))
    assert f"the label file {path}" in str(caught.value)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("[1, 2", "is neither YAML nor JSON"),
        ("just words", "must hold 'classes'"),
        ("classes: []", "must hold 'classes'"),
        ("{classes: [{id: 0, name: a, colour: [0, 0, 0]}], foregrund: [a]}", "has the key 'foregrund'"),
        ("{classes: [{id: 0, name: a, colour: [0, 0, 0]}], foreground: [b]}", "'foreground' names 'b'"),
        ("{classes: [{id: 0, name: a, colour: [0, 0, 0]}], required: a}", "'required' is 'a'; give a list"),
        ("{name: 3, classes: [{id: 0, name: a, colour: [0, 0, 0]}]}", "the set's name is 3"),
    ],
)
def test_what_is_no_label_file_is_named(text: str, sentence: str, tmp_path: Path):
    path = tmp_path / "labels.yaml"
    path.write_text(text)
    with pytest.raises(TaskError, match=f"{path}.*{sentence}"):
        SegToStreet(label_set=path)
    with pytest.raises(TaskError, match=r"absent\.json cannot be read"):
        SegToStreet(label_set=str(tmp_path / "absent.json"))


def test_ade20k_sized_sets_fit_and_more_than_a_byte_does_not():
    def classes(count: int) -> dict[str, Any]:
        return {"classes": [{"id": i, "name": f"class {i}", "colour": [i % 256, i // 256, 9]} for i in range(count)]}

    task = SegToStreet(label_set=classes(150))
    assert task.channels == 151
    assert task.missing(Condition(torch.zeros(2, 1, 4, 4, dtype=torch.uint8))) == [None, None]
    with pytest.raises(TaskError, match="has 256 classes, and a label map holds 255"):
        SegToStreet(label_set=classes(256))


def test_a_cityscapes_segmenter_speaks_the_own_set(campus: Path):
    words = SegToStreet(label_set=campus)._set.words()
    assert [words[name] for name in ("car", "truck", "bus", "sky", "road", "train", "ego vehicle", "vehicle")] == [
        1, 1, 1, 3, 0, 2, 2, 1
    ]  # fmt: skip


def test_without_void_a_segmenter_must_say_nothing_unknown():
    from vid2vid_street.segment import meanings

    raw = yaml.safe_load(CAMPUS)
    labels = SegToStreet(label_set=raw)._set
    assert meanings("m", dict(enumerate(TRAINED)), labels.words()).tolist() == [
        {"road": 0, "car": 1, "truck": 1, "bus": 1, "sky": 3}.get(name, 2) for name in TRAINED
    ]
    next(entry for entry in raw["classes"] if entry["id"] == 2).pop("void")
    bare = SegToStreet(label_set=raw)._set
    with pytest.raises(TaskError, match=r"'sidewalk' is none of the label set's; .*void class"):
        meanings("m", dict(enumerate(TRAINED)), bare.words())
    assert meanings("m", {0: "Sky", 1: "rest"}, bare.words()).tolist() == [3, 2]


APOLLO = LABEL_SETS["apolloscape"]
# Names and ids of the dataset's published table; instance files hold id * 1000 + n.
APOLLO_FILES = {
    0: "others", 1: "rover", 17: "sky", 33: "car", 34: "motorbicycle", 35: "bicycle", 36: "person", 37: "rider",
    38: "truck", 39: "bus", 40: "tricycle", 49: "road", 50: "sidewalk", 65: "traffic cone", 66: "road pile",
    67: "fence", 81: "traffic light", 82: "pole", 83: "traffic sign", 84: "wall", 85: "dustbin", 86: "billboard",
    97: "building", 98: "bridge", 99: "tunnel", 100: "overpass", 113: "vegetation", 161: "car", 162: "motorbicycle",
    163: "bicycle", 164: "person", 165: "rider", 166: "truck", 167: "bus", 168: "tricycle", 255: "unlabeled",
}  # fmt: skip


def test_apolloscape_files_are_read_as_they_are():
    task = SegToStreet(label_set="apolloscape")
    stored = torch.tensor(list(APOLLO_FILES), dtype=torch.uint8).view(1, 1, 1, -1)
    found = [APOLLO.names[label] for label in task.parse(stored).maps.flatten().tolist()]
    assert found == list(APOLLO_FILES.values())
    assert len(APOLLO) == len(set(APOLLO_FILES.values())) == 28
    with pytest.raises(ConditionError, match=r"label is 60 .*'apolloscape' has 0 to 27, and in pictures 33 for car.*…"):
        task.parse(torch.full((1, 1, 1, 1), 60, dtype=torch.uint8))


def test_apolloscape_and_cityscapes_tell_the_same_story():
    cityscapes = LABEL_SETS["cityscapes"]
    other = {"motorbicycle": "motorcycle"}
    for label, train_id in enumerate(APOLLO.train_ids):
        if train_id != 255:
            assert TRAIN_IDS[other.get(APOLLO.names[label], APOLLO.names[label])] == train_id
    table = APOLLO.from_train_ids()
    assert [APOLLO.names[table[TRAIN_IDS[name]]] for name in ("road", "car", "motorcycle", "terrain", "train")] == [
        "road", "car", "motorbicycle", "vegetation", "unlabeled"
    ]  # fmt: skip
    moving = {APOLLO.names[label] for label in APOLLO.foreground}
    assert moving == {"car", "motorbicycle", "bicycle", "person", "rider", "truck", "bus", "tricycle"}
    assert {cityscapes.names[label] for label in cityscapes.required} == {"road"}
    assert {APOLLO.names[label] for label in APOLLO.required} == {"road"}
    assert [APOLLO.palette.index(c) for c in APOLLO.palette] == [0, 0, *range(2, 28)]


@pytest.mark.parametrize(("label_set", "road"), [("cityscapes", 7), ("cityscapes-train", 0), ("apolloscape", 10)])
def test_a_frame_without_road_is_of_no_use(label_set: str, road: int):
    maps = torch.full((3, 1, 20, 50), 11, dtype=torch.uint8)
    maps[1, 0, 0, :4] = road
    maps[2, 0, 0, :5] = road
    assert SegToStreet(label_set=label_set).missing(Condition(maps)) == ["no road", "no road", None]
    assert SegToStreet(label_set=label_set, needs=None).missing(Condition(maps)) == [None] * 3
    assert SegToStreet(label_set=label_set, needs="sky").missing(Condition(maps)) == ["no sky"] * 3


def test_needs_must_be_a_class_of_the_set_and_all_that_is_absent_is_named(campus: Path):
    with pytest.raises(TaskError, match=r"shall need 'rode', and label set 'cityscapes' has no such class"):
        SegToStreet(needs="rode")
    raw = yaml.safe_load(CAMPUS) | {"required": ["Sky"]}
    nothing = Condition(torch.full((1, 1, 4, 4), 2, dtype=torch.uint8))
    assert SegToStreet(label_set=raw).missing(nothing) == ["no road and no Sky"]

"""Exchanging classes of label maps: all at once, pixel by pixel, and objects keep their ids where there are any."""

from __future__ import annotations

from collections import ChainMap

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vid2vid_hub.data.toy import BOX, DISC, GROUND, PATH, ToyShapes, ToyWorld
from vid2vid_hub.errors import ConditionError, TaskError
from vid2vid_hub.ops.edit import relabel
from vid2vid_hub.ops.raster import instance_edges
from vid2vid_hub.tasks import Labels
from vid2vid_hub.types import Condition

CLASSES = 7
OBJECTS = (4, 5, 6)


def condition(seed, frames=3, size=(5, 6), maps=2):
    """Classes, ids as data has them (class · 1000 + number for an object, else the class), and points."""
    random = torch.Generator().manual_seed(seed)
    labels = torch.randint(CLASSES, (frames, maps, *size), generator=random, dtype=torch.uint8)
    number = torch.randint(3, (frames, 1, *size), generator=random, dtype=torch.int32)
    first = labels[:, :1].int()
    instances = torch.where(first >= min(OBJECTS), 1000 * first + number, first)
    return Condition(labels, instances, torch.rand(frames, 4, 3, generator=random))


def same(one, other):
    pairs = zip((one.maps, one.instances, one.points), (other.maps, other.instances, other.points), strict=True)
    return all((a is None and b is None) or (a.dtype == b.dtype and torch.equal(a, b)) for a, b in pairs)


seeds = st.integers(0, 1000)
edits = st.dictionaries(st.integers(0, CLASSES + 1), st.integers(0, 255))


@given(seeds, st.permutations(range(CLASSES)))
def test_a_permutation_and_its_inverse_change_nothing(seed, order):
    given_one = condition(seed)
    there = relabel(given_one, dict(enumerate(order)), OBJECTS)
    back = relabel(there, {new: old for old, new in enumerate(order)}, OBJECTS)
    assert torch.equal(back.maps, given_one.maps)


@given(seeds, st.permutations(OBJECTS), st.permutations([c for c in range(CLASSES) if c not in OBJECTS]))
def test_and_no_id_where_objects_become_objects(seed, things, others):
    order = [*others, *things]
    given_one = condition(seed)
    there = relabel(given_one, dict(enumerate(order)), OBJECTS)
    assert same(relabel(there, {new: old for old, new in enumerate(order)}, OBJECTS), given_one)


@given(seeds, edits)
def test_every_pixel_becomes_what_it_is_to_become(seed, classes):
    given_one = condition(seed)
    edited = relabel(given_one, classes, OBJECTS)
    expected = given_one.maps[:, 0].clone().apply_(lambda label: classes.get(label, label))
    assert edited.maps.dtype == torch.uint8
    assert torch.equal(edited.maps[:, 0], expected)
    untouched = edited.maps[:, :1] == given_one.maps[:, :1]
    assert torch.equal(edited.instances[untouched], given_one.instances[untouched])


@given(seeds, edits)
def test_other_maps_and_points_stay(seed, classes):
    given_one = condition(seed)
    edited = relabel(given_one, classes, OBJECTS)
    assert torch.equal(edited.maps[:, 1:], given_one.maps[:, 1:])
    assert torch.equal(edited.points, given_one.points)


@given(seeds, edits)
def test_what_was_given_is_not_changed(seed, classes):
    given_one = condition(seed)
    relabel(given_one, classes, OBJECTS)
    assert same(given_one, condition(seed))


@given(seeds, edits, st.integers(1, 4))
def test_chunks_are_the_whole(seed, classes, cut):
    given_one = condition(seed, frames=5)
    parts = [relabel(part, classes, OBJECTS) for part in (given_one[:cut], given_one[cut:])]
    whole = relabel(given_one, classes, OBJECTS)
    assert same(parts[0], whole[:cut])
    assert same(parts[1], whole[cut:])


@given(seeds, edits, st.tuples(st.integers(1, 12), st.integers(1, 12)))
def test_it_makes_no_difference_whether_it_is_resized_before(seed, classes, size):
    given_one = condition(seed)
    first = relabel(given_one.resized(size), classes, OBJECTS)
    assert same(first, relabel(given_one, classes, OBJECTS).resized(size))


def row(labels, ids=None):
    maps = torch.tensor(labels, dtype=torch.uint8)[None, None, None]
    return Condition(maps, None if ids is None else torch.tensor(ids, dtype=torch.int32)[None, None, None])


def test_a_swap_happens_at_once():
    assert relabel(row([1, 2, 3]), {1: 2, 2: 1}).maps.flatten().tolist() == [2, 1, 3]
    assert relabel(row([1, 2, 3]), {1: 2, 2: 3, 3: 0}).maps.flatten().tolist() == [2, 3, 0]


def test_all_ids_of_a_label_map_may_be_exchanged():
    assert relabel(row([0, 255]), {0: 255, 255: 0}).maps.flatten().tolist() == [255, 0]


def test_ids_of_objects():
    """4 and 5 are objects; 1 and 2 are not."""
    labels, ids = [1, 2, 4, 4, 5, 4], [1, 2, 4000, 4001, 5000, 4]

    def became(classes, objects=(4, 5)):
        return relabel(row(labels, ids), classes, objects).instances.flatten().tolist()

    assert became({4: 5}) == [1, 2, 4000, 4001, 5000, 5], "an object goes on being one"
    assert became({4: 1}) == [1, 2, 1, 1, 5000, 1], "or is no more than its class"
    assert became({1: 2}) == [2, 2, 4000, 4001, 5000, 4], "what was no object has no edge within the new class"
    assert became({2: 4}) == [1, 4, 4000, 4001, 5000, 4], "nor is it made one"
    assert became({4: 5}, ()) == [1, 2, 5, 5, 5000, 5], "without objects there are classes alone"


def test_ids_of_data_that_numbers_objects_alone():
    edited = relabel(row([1, 2, 4, 0], [0, 0, 9, 0]), {1: 2, 2: 1, 4: 5}, (4, 5))
    assert edited.instances.flatten().tolist() == [0, 0, 9, 0]
    assert relabel(row([0, 2], [0, 2]), {0: 2}).instances.flatten().tolist() == [2, 2], "0 is a class, too"


def test_the_edges_of_a_former_class_are_gone():
    world = ToyWorld(3, 32, 48).draw(2)
    edited = relabel(world.condition, {PATH: GROUND}, ToyShapes().labels.foreground)
    assert set(world.labels.unique().tolist()) > {PATH, GROUND}
    background = edited.maps == GROUND
    assert (edited.instances[background] == GROUND).all()
    assert torch.equal(edited.instances[~background], world.instances[~background])
    assert instance_edges(edited.instances).sum() < instance_edges(world.instances).sum()


def test_objects_that_become_other_objects_stay_apart():
    world = ToyWorld(3, 32, 48).draw(2)
    objects = ToyShapes().labels.foreground
    edited = relabel(world.condition, {old: DISC + BOX - old for old in (DISC, BOX)}, objects)
    assert (world.labels == DISC).any()
    assert torch.equal(edited.instances, world.instances)


def test_a_condition_without_ids_gets_none():
    assert relabel(row([1, 4]), {1: 4}, OBJECTS).instances is None


@pytest.mark.parametrize("classes", [{}, {1: 1}, {1: 1, 240: 240}])
def test_nothing_to_change_is_the_same_object(classes):
    given_one = condition(0)
    assert relabel(given_one, classes, OBJECTS) is given_one


@pytest.mark.parametrize("classes", [{256: 1}, {1: 256}, {-1: 1}, {1: -1}, {300: 300}])
def test_ids_out_of_range_are_refused(classes):
    with pytest.raises(ConditionError, match=r"^-?\d+ is no class of a label map; .* 0 to 255$"):
        relabel(condition(0), classes)


# Classes as people name them.

LABELS = Labels(
    names={0: "road", 7: "Traffic light", 3: "vegetation", 5: "5 o'clock", 9: "3"},
    palette=dict.fromkeys((0, 7, 3, 5, 9), (0, 0, 0)),
)


@pytest.mark.parametrize(
    ("name", "number"),
    [("road", 0), ("ROAD", 0), (" road ", 0), ("traffic LIGHT", 7), ("7", 7), ("0", 0), ("3", 9), ("5", 5)],
)
def test_a_class_is_found(name, number):
    assert LABELS.find(name) == number


def test_every_class_of_a_task_is_found_by_name_and_by_id():
    labels = ToyShapes().labels
    for number, name in labels.names.items():
        assert [labels.find(text) for text in (name, name.upper(), str(number))] == [number] * 3


def test_of_two_classes_of_nearly_one_name_the_exact_one_is_found():
    labels = Labels({1: "Car", 2: "car", 3: "car"}, {})
    assert [labels.find(name) for name in ("Car", "car", "CAR")] == [1, 2, 2]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("vegetatoin", "there is no class 'vegetatoin'; did you mean 'vegetation'?"),
        ("Traffic-Light", "there is no class 'Traffic-Light'; did you mean 'Traffic light'?"),
        ("sea", "there is no class 'sea'; there are road, Traffic light, vegetation, 5 o'clock, 3"),
        ("", "there is no class ''; there are road, Traffic light, vegetation, 5 o'clock, 3"),
        ("255", "there is no class '255'; there are road, Traffic light, vegetation, 5 o'clock, 3"),
        ("-1", "there is no class '-1'; there are road, Traffic light, vegetation, 5 o'clock, 3"),
    ],
)
def test_a_class_that_is_not_there(name, said):
    with pytest.raises(TaskError) as error:
        LABELS.find(name)
    assert str(error.value) == said


def test_a_number_of_any_length_is_no_class():
    with pytest.raises(TaskError, match="there is no class"):
        LABELS.find("9" * 5000)


def test_names_may_come_in_any_mapping():
    assert Labels(ChainMap({1: "car"}), {}).find("car") == 1


def test_edits_are_by_ids():
    assert LABELS.edits({"Road": "vegetation", "vegetation": "0"}) == {0: 3, 3: 0}
    assert LABELS.edits({}) == {}
    assert LABELS.edits({"road": "7", "0": "traffic light"}) == {0: 7}, "the same twice is the same"


@pytest.mark.parametrize("names", [{"road": "7", "Road": "3"}, {"0": "road", "road": "7"}])
def test_a_class_becomes_one_other(names):
    with pytest.raises(TaskError, match=r"^the class 'road' cannot become two others; give it once$"):
        LABELS.edits(names)


def test_classes_that_a_task_keeps_are_refused_on_both_sides():
    labels = Labels(LABELS.names, LABELS.palette, editable=frozenset({0, 3}))
    assert labels.edits({"road": "vegetation"}) == {0: 3}
    for names in ({"road": "7"}, {"7": "road"}):
        with pytest.raises(TaskError, match=r"^the class 'Traffic light' may not be exchanged for another$"):
            labels.edits(names)

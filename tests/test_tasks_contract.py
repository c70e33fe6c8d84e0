"""What every installed task promises, ours and those of others: the contract of vid2vid_hub/tasks.py, checked."""

from __future__ import annotations

import json
from dataclasses import dataclass, fields, replace
from fractions import Fraction
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from vid2vid_hub import Vid2VidPipeline
from vid2vid_hub.data.clips import mirror
from vid2vid_hub.errors import ConditionError, TaskError
from vid2vid_hub.tasks import Task, get_task, list_tasks
from vid2vid_hub.training.parse import load_recipe
from vid2vid_hub.training.trainer import Trainer
from vid2vid_hub.types import PER_CLASS, Clip, Condition, Encoded, joined

SIZE = (24, 40)
FRAMES = 4


@dataclass(frozen=True)
class Given:
    """A task, and a condition that it must understand."""

    task: Task
    condition: Condition


@pytest.fixture(params=list_tasks())
def name(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(params=[False, True], ids=["labels", "instances"])
def given(name: str, request: pytest.FixtureRequest) -> Given:
    """The task as it is by default, and a condition with or without object ids."""
    task = get_task(name)
    return Given(task, some_condition(task, instances=request.param))


def some_condition(task: Task, instances: bool) -> Condition:
    """What the task draws, if it draws; else patches of random valid labels, or of random bytes, and random points."""
    random = torch.Generator().manual_seed(0)
    shape = FRAMES, task.maps, SIZE[0] // 4, SIZE[1] // 4
    ids = torch.randint(2**31 - 1, (FRAMES, 1, *shape[2:]), generator=random, dtype=torch.int32) if instances else None
    if task.labels is None and (drawn := draw(task)):
        return replace(drawn, instances=None if ids is None else Condition(ids.byte(), ids).resized(SIZE).instances)
    allowed = torch.arange(256) if task.labels is None else torch.tensor(sorted(task.labels.names))
    maps = allowed[torch.randint(len(allowed), shape, generator=random)].to(torch.uint8)
    points = torch.rand(FRAMES, task.points, 3, generator=random) * torch.tensor((shape[3], shape[2], 1))
    return Condition(maps, ids, points if task.points else None).resized(SIZE)


def draw(task: Task, size: tuple[int, int] = SIZE) -> Condition | None:
    """The condition of what the task draws, or None."""
    try:
        return joined([seen.condition for seen in task.draw(0, FRAMES, size)])
    except TaskError:
        return None


def equal(one: Encoded, other: Encoded) -> bool:
    if one.foreground is None or other.foreground is None:
        return one.foreground is other.foreground and torch.equal(one.features, other.features)
    return torch.equal(one.features, other.features) and torch.equal(one.foreground, other.foreground)


def same(one: Condition, other: Condition) -> bool:
    pairs = [(getattr(one, f.name), getattr(other, f.name)) for f in fields(Condition)]
    return all(a is b if a is None or b is None else torch.equal(a, b) for a, b in pairs)


def test_the_registered_name_is_its_own(name: str):
    task = get_task(name)
    assert isinstance(task, Task)
    assert task.name == name


def test_the_settings_rebuild_it(name: str):
    task = get_task(name)
    settings = task.config()
    assert json.loads(json.dumps(settings)) == settings
    again = get_task(name, settings)
    assert type(again) is type(task)
    assert (again.config(), again.channels, again.maps) == (settings, task.channels, task.maps)
    assert again.points == task.points


def test_the_features_have_the_promised_shape(given: Given):
    encoded = given.task.encode(given.condition)
    assert encoded.features.shape == (FRAMES, given.task.channels, *SIZE)
    assert encoded.features.dtype == torch.float32
    assert torch.isfinite(encoded.features).all()


def test_the_foreground_is_a_share_of_every_pixel(given: Given):
    foreground = given.task.encode(given.condition).foreground
    if foreground is None:
        pytest.skip(f"{given.task.name} has no foreground prior")
    assert foreground.shape == (FRAMES, 1, *SIZE)
    assert foreground.dtype == torch.float32
    assert 0 <= foreground.min() < foreground.max() <= 1


def test_the_features_say_something(given: Given):
    condition = given.condition
    points = None if condition.points is None else condition.points + torch.tensor((3.0, 0.0, 0.0))
    instances = None if condition.instances is None else condition.instances.flip(-1)
    moved = Condition(condition.maps.flip(-1), instances, points)
    assert not equal(given.task.encode(given.condition), given.task.encode(moved))


def test_encoding_is_frame_by_frame(given: Given):
    whole = given.task.encode(given.condition)
    for t in range(FRAMES):
        alone = given.task.encode(given.condition[t : t + 1])
        where = None if whole.foreground is None else whole.foreground[t : t + 1]
        assert equal(alone, Encoded(whole.features[t : t + 1], where)), f"frame {t} depends on other frames"


def test_encoding_is_pure(given: Given):
    before = given.condition.map(Tensor.clone)
    first, second = given.task.encode(given.condition), given.task.encode(given.condition)
    assert equal(first, second)
    assert same(given.condition, before)
    assert equal(first, get_task(given.task.name, given.task.config()).encode(given.condition))


def test_a_preview_is_a_picture(given: Given):
    shown = given.task.preview(given.condition)
    assert shown.shape == (FRAMES, 3, *SIZE)
    assert shown.dtype == torch.uint8
    assert len(shown.unique()) > 1


def test_pictures_of_a_condition_are_read_back(given: Given):
    """A preview is read to what looks the same, or the task refuses colours and reads the maps as they are."""
    if given.task.points:
        pytest.skip("key points are not read from pictures")
    try:
        read = given.task.parse(given.task.preview(given.condition))
    except ConditionError:
        assert torch.equal(given.task.parse(given.condition.maps).maps, given.condition.maps)
    else:
        bare = Condition(given.condition.maps)
        assert torch.equal(given.task.preview(read), given.task.preview(bare))


def test_labels_are_whole(name: str):
    labels = get_task(name).labels
    if labels is None:
        pytest.skip(f"the conditions of {name} are no labels")
    assert set(labels.names) == set(labels.palette)
    assert labels.foreground | labels.editable <= set(labels.names)
    assert all(len(colour) == 3 and all(0 <= c <= 255 for c in colour) for colour in labels.palette.values())


def test_a_value_without_meaning_is_refused(name: str):
    task = get_task(name)
    if task.labels is None:
        pytest.skip(f"the conditions of {name} are no labels")
    maps = torch.full((2, task.maps, *SIZE), min(task.labels.names), dtype=torch.uint8)
    maps[1, 0, 3, 5] = max(task.labels.names) + 1
    with pytest.raises(ConditionError, match="x 5, y 3") as caught:
        task.encode(Condition(maps))
    assert caught.value.frame == 1
    assert str(max(task.labels.names) + 1) in str(caught.value)


def test_every_pixel_is_of_a_part_whose_id_says_its_class(given: Given):
    parts = given.task.picture_parts(given.condition)
    assert parts.shape == (FRAMES, 1, *SIZE)
    assert parts.dtype == torch.int32
    assert parts.min() >= 0
    classes = torch.where(parts < PER_CLASS, parts, parts // PER_CLASS)
    if given.task.labels is not None:
        assert torch.equal(classes, given.condition.maps[:, :1].int())
    assert classes.max() < 256
    alone = [given.task.picture_parts(given.condition[t : t + 1]) for t in range(FRAMES)]
    assert torch.equal(torch.cat(alone), parts)
    assert given.task.picture_parts(given.condition[:0]).shape == (0, 1, *SIZE)


def test_objects_are_parts_of_their_own(name: str):
    """Two objects of a class are two parts, an object stays the same one over time, and what is none is its class."""
    task = get_task(name)
    if type(task).picture_parts is not Task.picture_parts:
        pytest.skip(f"{name} has parts of its own")
    label = max(task.labels.names) if task.labels else 0
    maps = torch.full((2, task.maps, 2, 3), label, dtype=torch.uint8)
    ids = torch.tensor([0, 26007, 5], dtype=torch.int32).expand(2, 1, 2, 3).contiguous()
    ids[1] = ids[1].flip(-1)
    parts = task.picture_parts(Condition(maps, ids))
    of = label or 1
    expected = torch.tensor([label, of * PER_CLASS + 7, of * PER_CLASS + 5], dtype=torch.int32)
    assert torch.equal(parts[0, 0, 0], expected)
    assert torch.equal(parts[1, 0, 0], expected.flip(0))


def test_regions_are_boxes_in_the_picture(given: Given):
    boxes = given.task.regions(given.condition)
    if boxes is None:
        pytest.skip(f"{given.task.name} has no region")
    assert boxes.shape == (FRAMES, 4)
    assert not boxes.is_floating_point()
    assert boxes.device == given.condition.maps.device
    x0, y0, x1, y1 = boxes.T
    within = (x0 >= 0) & (x0 < x1) & (x1 <= SIZE[1]) & (y0 >= 0) & (y0 < y1) & (y1 <= SIZE[0])
    assert (within | (boxes == 0).all(1)).all(), "a box in the picture, or 0, 0, 0, 0 for nowhere"


def test_a_mirror_exchanges_points_and_back(name: str):
    task = get_task(name)
    if task.mirrored is None:
        pytest.skip(f"no point of {name} is another in a mirror")
    assert sorted(task.mirrored) == list(range(task.points))
    assert [task.mirrored[i] for i in task.mirrored] == list(range(task.points))


def test_a_mirrored_condition_encodes_to_mirrored_features_of_as_many_pixels(given: Given):
    """Strokes may fall a pixel beside where they were; what was drawn is still drawn."""
    if given.condition.points is None:
        pytest.skip(f"{given.task.name} has no points")
    clip = Clip(torch.zeros(1, FRAMES, 3, *SIZE), given.condition.maps[None], points=given.condition.points[None])
    turned = mirror(clip, given.task.mirrored).condition
    back = mirror(mirror(clip, given.task.mirrored), given.task.mirrored).condition
    assert torch.equal(back.maps, given.condition.maps)
    assert torch.allclose(back.points, given.condition.points, atol=1e-4)
    one, other = (given.task.encode(condition).features for condition in (given.condition, turned))
    assert torch.allclose(
        one.mean((2, 3)).sum(1), other.mean((2, 3)).sum(1), atol=0.15 * one.abs().mean().item() + 0.05
    )


def test_what_is_missing_is_said_for_every_frame(given: Given):
    absent = given.task.missing(given.condition)
    assert len(absent) == FRAMES
    assert all(what is None or (isinstance(what, str) and what) for what in absent)
    if given.condition.points is not None:
        nobody = replace(given.condition, points=torch.zeros_like(given.condition.points))
        assert None not in given.task.missing(replace(nobody, maps=torch.zeros_like(nobody.maps)))


def test_nobody_is_encoded_as_an_empty_picture(given: Given):
    if not given.task.points:
        pytest.skip(f"{given.task.name} has no points")
    maps = torch.zeros_like(given.condition.maps)
    none = given.task.encode(Condition(maps))
    gone = given.task.encode(Condition(maps, points=torch.zeros(FRAMES, given.task.points, 3)))
    assert equal(none, gone)
    assert none.features.shape == (FRAMES, given.task.channels, *SIZE)


def test_augmenting_is_decided_by_its_seed(given: Given):
    one, other = (given.task.augment(given.condition, torch.Generator().manual_seed(1)) for _ in range(2))
    assert same(one, other)
    assert (one.size, len(one)) == (given.condition.size, FRAMES)
    given.task.encode(one)


def test_what_is_measured_are_settings_of_its_extraction(given: Given):
    learned = given.task.measure(iter([given.condition[:2], given.condition[2:]]))
    assert json.loads(json.dumps(learned)) == learned
    assert learned.keys() <= given.task.extraction
    again = get_task(given.task.name, given.task.config() | learned)
    assert equal(again.encode(given.condition), given.task.encode(given.condition))


def test_a_drawn_world_is_exact_and_decided_by_its_seed(name: str):
    task = get_task(name)
    drawn = draw(task, size=(64, 64))
    if drawn is None:
        pytest.skip(f"{name} draws nothing")
    assert (len(drawn), drawn.size) == (FRAMES, (64, 64))
    again = draw(task, size=(64, 64))
    assert again is not None
    assert same(drawn, again)
    assert task.missing(drawn) == [None] * FRAMES
    one, other = (torch.cat([seen.frames for seen in task.draw(seed, FRAMES, (64, 64))]) for seed in (0, 1))
    assert one.shape == (FRAMES, 3, 64, 64)
    assert not torch.equal(one, other)
    assert not torch.equal(one[0], one[-1]), "something moves"


def test_files_that_are_pictures_are_not_read_as_anything_else(name: str, tmp_path: Path):
    (tmp_path / "frames").mkdir()
    (tmp_path / "frames" / "0.png").write_bytes(b"")
    (tmp_path / "video.mp4").write_bytes(b"")
    task = get_task(name)
    assert not any(task.reads(path) for path in (tmp_path / "frames", tmp_path / "video.mp4", tmp_path / "nothing"))


def test_parts_are_networks(name: str):
    assert all(isinstance(part, nn.Module) for part in get_task(name).parts().values())


@dataclass(frozen=True)
class Noise:
    """A training clip: frames that are noise, with a condition that the task understands."""

    held: Condition
    name: str = "noise"
    length: int = FRAMES
    size: tuple[int, int] = SIZE
    fps: Fraction = Fraction(25)

    def frames(self, start: int, stop: int) -> Tensor:
        random = torch.Generator().manual_seed(0)
        return torch.randint(256, (FRAMES, 3, *SIZE), generator=random, dtype=torch.uint8)[start:stop]

    def condition(self, start: int, stop: int) -> Condition:
        return self.held[start:stop]

    def flow(self, start: int, stop: int) -> None:
        """None is cached."""


def test_its_recipe_trains_it(name: str, tmp_path: Path):
    """All its choices, with networks of a size for a second or two, and without weights from elsewhere."""
    path = get_task(name).recipe
    if path is None:
        pytest.skip(f"{name} brings no recipe")
    whole = load_recipe(path)
    assert whole.task == name
    smaller = {
        "stages": f"[{{epochs: 1, width: {SIZE[1]}, height: {SIZE[0]}, frames: {FRAMES}, unroll: 2}}]",
        "generator.base_channels": "4",
        "generator.downsamples": "1",
        "generator.blocks": "2",
        "discriminator.base_channels": "4",
        "video_discriminator.base_channels": "4",
        "perceptual": "none",
        "precision": "no",
        "watch": "{}",
        "start": "null",
        "first_frame": "null",
        "first_frames": "{zeros: 1}",
        "teacher": "{name: dis}",
    }
    if whole.region_discriminator is not None:
        smaller["region_discriminator.base_channels"] = "4"
    recipe = load_recipe(path, smaller)
    task = get_task(name, recipe.task_config)
    condition = some_condition(task, instances=False)
    folder = Trainer(recipe, [Noise(condition)], tmp_path).fit()
    pipeline = Vid2VidPipeline.from_pretrained(folder)
    assert (pipeline.task.name, pipeline.task.config()) == (name, task.config())
    assert pipeline(condition=condition).frames.shape == (FRAMES, *SIZE, 3)

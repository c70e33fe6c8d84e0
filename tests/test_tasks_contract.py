"""What every installed task promises, ours and those of others: the contract of vid2vid_hub/tasks.py, checked."""

from __future__ import annotations

import json
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from vid2vid_hub import Vid2VidPipeline
from vid2vid_hub.errors import ConditionError
from vid2vid_hub.tasks import Task, get_task, list_tasks
from vid2vid_hub.training.parse import load_recipe
from vid2vid_hub.training.trainer import Trainer
from vid2vid_hub.types import Condition, Encoded

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
    """Patches of random valid labels where the task has labels, else random bytes."""
    random = torch.Generator().manual_seed(0)
    shape = FRAMES, task.maps, SIZE[0] // 4, SIZE[1] // 4
    allowed = torch.arange(256) if task.labels is None else torch.tensor(sorted(task.labels.names))
    maps = allowed[torch.randint(len(allowed), shape, generator=random)].to(torch.uint8)
    ids = torch.randint(2**31 - 1, (FRAMES, 1, *shape[2:]), generator=random, dtype=torch.int32)
    return Condition(maps, ids if instances else None).resized(SIZE)


def equal(one: Encoded, other: Encoded) -> bool:
    if one.foreground is None or other.foreground is None:
        return one.foreground is other.foreground and torch.equal(one.features, other.features)
    return torch.equal(one.features, other.features) and torch.equal(one.foreground, other.foreground)


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
    moved = Condition(
        given.condition.maps.flip(-1), None if given.condition.instances is None else given.condition.instances.flip(-1)
    )
    assert not equal(given.task.encode(given.condition), given.task.encode(moved))


def test_encoding_is_frame_by_frame(given: Given):
    whole = given.task.encode(given.condition)
    for t in range(FRAMES):
        alone = given.task.encode(given.condition[t : t + 1])
        where = None if whole.foreground is None else whole.foreground[t : t + 1]
        assert equal(alone, Encoded(whole.features[t : t + 1], where)), f"frame {t} depends on other frames"


def test_encoding_is_pure(given: Given):
    maps, instances = given.condition.maps.clone(), given.condition.instances
    ids = None if instances is None else instances.clone()
    first, second = given.task.encode(given.condition), given.task.encode(given.condition)
    assert equal(first, second)
    assert torch.equal(given.condition.maps, maps)
    assert ids is None or torch.equal(given.condition.instances, ids)
    assert equal(first, get_task(given.task.name, given.task.config()).encode(given.condition))


def test_a_preview_is_a_picture(given: Given):
    shown = given.task.preview(given.condition)
    assert shown.shape == (FRAMES, 3, *SIZE)
    assert shown.dtype == torch.uint8
    assert len(shown.unique()) > 1


def test_pictures_of_a_condition_are_read_back(given: Given):
    """A preview is read to what looks the same, or the task refuses colours and reads the maps as they are."""
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

"""Drawn datasets are exact, the same for the same seed, and read like any other."""

import pytest
import torch

from vid2vid_hub.data.clips import Description, read_clips
from vid2vid_hub.data.drawn import draw_dataset
from vid2vid_hub.data.open import open_clips
from vid2vid_hub.data.origin import Origin
from vid2vid_hub.data.toy import ToyShapes, ToyWorld
from vid2vid_hub.errors import DatasetError, TaskError
from vid2vid_hub.nn.frozen import flow_teacher

TASK = ToyShapes()
SIZE = (32, 48)


def test_a_drawn_dataset_is_the_drawn_world(tmp_path):
    seen = []
    made = draw_dataset(
        TASK,
        tmp_path / "data",
        clips=3,
        frames=5,
        size=SIZE,
        seed=7,
        teacher=flow_teacher(),
        report=lambda *what: seen.append(what),
    )
    assert (made.clips, made.frames) == (3, 15)
    again = "vid2vid-hub draw --task toy --seed 7 --clips 3 --frames 5 --size 48x32 --val 1"
    origin = Origin("apache-2.0", again, "nobody")
    assert Description.read(made.folder) == Description("toy", {}, "dis", origin=origin)
    train, val = (open_clips(made.folder, split, TASK) for split in ("train", "val"))
    assert [clip.name for clip in (*train, *val)] == ["drawn-000", "drawn-001", "drawn-002"]
    for seed, clip in enumerate((*train, *val), 7):
        video = ToyWorld(seed, *SIZE).draw(5)
        condition = clip.condition(0, 5)
        assert torch.equal(condition.maps, video.labels)
        assert torch.equal(condition.instances, video.instances)
        assert (clip.frames(0, 5).float() - video.frames.float()).abs().mean() < 8
        assert clip.flow(0, 5).shape == (4, 2, *SIZE)
    assert (made.folder / "preview.mp4").is_file()
    assert seen[:2] == [("drawn-000", 1), ("drawn-000", 2)]
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


def test_the_same_seed_draws_the_same(tmp_path):
    folders = [
        draw_dataset(TASK, tmp_path / n, clips=2, frames=2, size=SIZE, seed=int(n), val=0).folder for n in "112"[1:]
    ]
    one, other = (read_clips(folder, "train") for folder in folders)
    assert torch.equal(one[1].condition(0, 2).maps, other[0].condition(0, 2).maps)
    assert read_clips(folders[0], "val") == []


@pytest.mark.parametrize("numbers", [{"clips": 0}, {"frames": 0}, {"clips": 2, "val": 3}, {"val": -1}])
def test_numbers_that_make_no_dataset_are_refused(tmp_path, numbers):
    with pytest.raises(DatasetError, match="make no dataset"):
        draw_dataset(TASK, tmp_path / "data", size=SIZE, **numbers)
    assert not list(tmp_path.iterdir())


def test_a_task_that_draws_nothing_says_so_and_leaves_nothing(tmp_path):
    class Bare(ToyShapes):
        draw = ToyShapes.__mro__[1].draw

    with pytest.raises(TaskError, match="has no drawn world"):
        draw_dataset(Bare(), tmp_path / "data")
    with pytest.raises(TaskError, match="at least 16x16 pixels, not 8x32"):
        draw_dataset(TASK, tmp_path / "data", size=(32, 8))
    assert not list(tmp_path.iterdir())
    (tmp_path / "data").write_text("mine")
    with pytest.raises(DatasetError, match="already exists"):
        draw_dataset(TASK, tmp_path / "data")

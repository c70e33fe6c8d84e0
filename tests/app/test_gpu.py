"""ZeroGPU: nothing where it is not; where it is, a GPU is asked for as long as the frames take, and all can be sent."""

import dataclasses
import importlib.util
import pickle
import sys
import types
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.test_styles import quiet, video_network
from vid2vid_hub import Vid2VidPipeline
from vid2vid_hub.app import gpu, making
from vid2vid_hub.app.blocks import Blocks
from vid2vid_hub.app.limits import LOCAL, PUBLIC
from vid2vid_hub.app.making import Choices, make
from vid2vid_hub.app.models import Model
from vid2vid_hub.app.reading import Drawn, Seen, meaning, read
from vid2vid_hub.app.shelf import Shelf
from vid2vid_hub.data.toy import ToyShapes
from vid2vid_hub.tasks import get_task, list_tasks


class Spaces(types.ModuleType):
    """A platform that lends its GPU to whoever asks, and sends everything to a process of its own and back."""

    def __init__(self):
        super().__init__("spaces")
        self.asked = []

    def GPU(self, duration):  # noqa: N802
        def decorate(make):
            def sent(*given, **named):
                self.asked.append(duration(*given, **named))
                given, named = pickle.loads(pickle.dumps((given, named)))
                for one in make(*given, **named):
                    yield pickle.loads(pickle.dumps(one))

            return sent

        return decorate


@pytest.fixture
def spaces(monkeypatch):
    platform = Spaces()
    monkeypatch.setitem(sys.modules, "spaces", platform)
    monkeypatch.setenv("SPACES_ZERO_GPU", "true")
    return platform


@pytest.fixture
def read_and_model(tmp_path):
    model = Model("tiny", quiet(Vid2VidPipeline(video_network(ToyShapes()), ToyShapes(), size=(32, 48))))
    with Shelf(3600, tmp_path / "shelf") as shelf:
        *_, last = read(ToyShapes(), Drawn(0), shelf, dataclasses.replace(LOCAL, work_pixels=32 * 48))
        yield last.seen, model, shelf


def count(frames, **_):
    yield from range(frames)


@pytest.mark.parametrize("there", [None, ""])
def test_elsewhere_a_function_stays_what_it_is(there, monkeypatch):
    monkeypatch.setitem(sys.modules, "spaces", None)  # whoever imports it fails
    monkeypatch.delenv("SPACES_ZERO_GPU", raising=False)
    if there is not None:
        monkeypatch.setenv("SPACES_ZERO_GPU", there)
    assert gpu.lent(count, lambda frames: frames) is count
    assert making._drawn is making._draw


@pytest.mark.parametrize(("frames", "seconds"), [(-100, 20), (0, 20), (1, 20), (75, 28), (300, 50), (10**6, 120)])
def test_a_gpu_is_asked_for_by_the_frames(spaces, frames, seconds):
    assert gpu.duration(frames) == seconds
    lent = gpu.lent(count, lambda given, **named: frames + named["more"])
    assert list(lent(3, more=0)) == [0, 1, 2]
    assert spaces.asked == [seconds]


def test_what_is_generated_there_is_what_is_generated_here(spaces, read_and_model, monkeypatch):
    seen, model, shelf = read_and_model
    choices = Choices("video", seed=3, edits={2: 3})
    here = [one.frame for one in make(model, seen, choices, shelf, PUBLIC)]
    assert spaces.asked == []
    monkeypatch.setattr(making, "_drawn", gpu.lent(making._draw, making._count))
    *there, end = make(model, seen, choices, shelf, PUBLIC)
    assert all(np.array_equal(one.frame, frame) for one, frame in zip(there, here, strict=False))
    assert len(there) == seen.frames == 75
    assert end.video.is_file()
    assert end.pair.is_file()
    assert spaces.asked == [28]


def test_the_module_asks_where_it_is_made(spaces):
    """For as many frames as the future has, or the condition."""
    spec = importlib.util.spec_from_file_location("vid2vid_hub.app.making_there", making.__file__)
    there = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = there
    try:
        spec.loader.exec_module(there)
    finally:
        del sys.modules[spec.name]
    assert there._drawn is not there._draw
    seen = Seen("toy", {}, Blocks(Path("x")), (0,), 200, Fraction(25), (32, 48))
    for choices in (Choices(), Choices(future=100)):
        with pytest.raises(KeyError):  # there is no such model there
            next(there._drawn("none", seen, choices, Path("a.mp4"), Path("b.mp4"), PUBLIC))
    assert spaces.asked == [40, 30]


@pytest.mark.parametrize("name", list_tasks())
def test_all_that_is_sent_can_be_sent(name):
    task = get_task(name)
    frames = torch.zeros((8, 3, 4, 4), dtype=torch.uint8)
    blocks = Blocks(Path("folder"))
    seen = Seen(
        name, meaning(task), blocks, (0,), 8, Fraction(30000, 1001), (4, 4), frames, frames, task.labels, (0,), {"a": 1}
    )
    choices = Choices("picture", np.zeros((4, 4, 3), np.uint8), 1, 2, 3, {1: 2})
    given = ("name", seen, choices, Path("a.mp4"), Path("b.mp4"), LOCAL)
    back = pickle.loads(pickle.dumps(given))
    assert back[3:] == given[3:]
    assert back[1].labels == task.labels
    assert back[1].fits(task)
    assert back[1].blocks.folder == blocks.folder
    assert torch.equal(back[1].first, frames)
    assert dataclasses.replace(back[2], picture=None) == dataclasses.replace(choices, picture=None)

"""From real frames to conditions: what a task sees, what it says about it, and when it has waited long enough."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from vid2vid_hub.conditions import PATIENCE, find, observe
from vid2vid_hub.errors import ConditionError, VideoError
from vid2vid_hub.tasks import Task
from vid2vid_hub.types import Condition, Encoded, Note, Observed


class Lamp(Task):
    """A task that looks for light: one point, or nothing in the dark; it crops off the right half."""

    name = "lamp"
    channels = 1
    points = 1

    def encode(self, condition: Condition) -> Encoded:
        return Encoded(condition.maps.float())

    def observe(self, blocks: Iterable[Tensor]) -> Iterator[Observed]:
        for frames in blocks:
            half = frames[..., : frames.shape[-1] // 2]
            light = half.amax((1, 2, 3))
            points = torch.stack((torch.full_like(light, 3), torch.full_like(light, 1), light > 0), 1).float()[:, None]
            notes = tuple(Note(t, "two lamps") for t in range(len(light)) if light[t] == 200)
            yield Observed(half, Condition(half[:, :1], None, points), notes)

    def missing(self, condition: Condition) -> list[str | None]:
        return [None if there else "no light" for there in condition.points[:, 0, 2] > 0]

    def reads(self, source: Path) -> bool:
        return source.suffix == ".lamp"

    def read(self, source: Path, size: tuple[int, int] | None = None) -> Iterator[Condition]:
        yield Condition(torch.zeros(2, 1, 4, 4, dtype=torch.uint8))


def video(*lights: int) -> list[np.ndarray]:
    return [np.full((4, 12, 3), light, np.uint8) for light in lights]


def test_frames_come_as_the_task_looks_at_them():
    seen = list(observe(Lamp(), video(*[9] * 11)))
    assert [len(one.condition) for one in seen] == [8, 3]
    assert seen[0].frames.shape == (8, 3, 4, 6)


def test_a_size_moves_everything_along():
    (seen,) = observe(Lamp(), video(9, 9), size=(8, 12))
    assert seen.frames.shape == (2, 3, 8, 12)
    assert seen.condition.size == (8, 12)
    assert seen.condition.points[0, 0].tolist() == [6.5, 2.5, 1.0]


def test_what_is_missing_is_said_when_it_begins_and_not_again(caplog: pytest.LogCaptureFixture):
    lights = [9] * 10 + [0] * 20 + [9] * 10 + [0] * 3
    with caplog.at_level(logging.WARNING):
        seen = list(observe(Lamp(), video(*lights)))
    assert sum(len(one.condition) for one in seen) == len(lights)
    assert caplog.messages == ["frame 10: no light", "frame 40: no light"]


def test_notes_are_said(caplog: pytest.LogCaptureFixture):
    with caplog.at_level(logging.WARNING):
        list(observe(Lamp(), video(*[9] * 9, *[200] * 20)))
    assert caplog.messages == ["frame 9: two lamps"]


def test_a_late_start_is_waited_for():
    lights = [0] * (PATIENCE - 1) + [9]
    assert sum(len(one.condition) for one in observe(Lamp(), video(*lights))) == PATIENCE


@pytest.mark.parametrize("length", [1, 9, PATIENCE, 3 * PATIENCE])
def test_nothing_at_all_is_refused_without_reading_for_ever(length: int):
    read = iter(video(*[0] * length))
    with pytest.raises(ConditionError, match=r"frame 0: no light") as caught:
        list(observe(Lamp(), read))
    assert caught.value.frame == 0
    assert len(list(read)) == max(length - PATIENCE, 0)


def test_grey_videos_are_refused():
    with pytest.raises(VideoError, match="in colour"):
        list(observe(Lamp(), np.zeros((2, 4, 12), np.uint8)))


def test_files_of_the_tasks_own_are_read_by_it(tmp_path: Path):
    source = tmp_path / "a.lamp"
    source.write_text("")
    (condition,) = find(Lamp(), source)
    assert condition.size == (4, 4)


def test_conditions_are_handed_through():
    whole = Condition(torch.randint(256, (11, 1, 4, 4), dtype=torch.uint8))
    assert torch.equal(torch.cat([one.maps for one in find(Lamp(), whole)]), whole.maps)
    parts = [whole[:3], whole[3:]]
    assert list(find(Lamp(), iter(parts))) == parts

"""Forecasts of label maps are measured against what came, and their floors are what they say."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import pytest
import torch
from torch import Tensor

from vid2vid_hub import Vid2VidPipeline
from vid2vid_hub.data.toy import ToyShapes
from vid2vid_hub.errors import DatasetError, ModelError, TaskError
from vid2vid_hub.evaluation.masks import HORIZONS, SYSTEMS, evaluate_future
from vid2vid_hub.nn.frozen import DISFlow
from vid2vid_hub.nn.generator import Vid2VidGenerator
from vid2vid_hub.types import Condition

SIZE = (16, 24)
CLASSES = 5


class Panning(ToyShapes):
    """Knows that its world moves by two columns a frame."""

    def forecast(
        self, network: Any, condition: Condition, frames: int, random: torch.Generator | None = None
    ) -> Iterator[Condition]:
        yield from (Condition(condition.maps[-1:].roll(2 * (t + 1), -1)) for t in range(frames))


class Unlabelled(ToyShapes):
    labels = None


@dataclass(frozen=True)
class World:
    """A clip that moves by ``speed`` columns a frame, and comes back in on the other side."""

    speed: int = 2
    length: int = 12
    cached: bool = True
    name: str = "world"
    size: tuple[int, int] = SIZE
    fps: Fraction = Fraction(25)

    def condition(self, start: int, stop: int) -> Condition:
        random = torch.Generator().manual_seed(0)
        first = torch.randint(CLASSES, (1, SIZE[0] // 4, SIZE[1] // 4), generator=random, dtype=torch.uint8)
        first = first.repeat_interleave(4, 1).repeat_interleave(4, 2)
        return Condition(torch.stack([first.roll(self.speed * t, -1) for t in range(start, stop)]))

    def frames(self, start: int, stop: int) -> Tensor:
        return ToyShapes().preview(self.condition(start, stop))

    def flow(self, start: int, stop: int) -> Tensor | None:
        motion = torch.tensor((-float(self.speed), 0.0)).view(1, 2, 1, 1)
        return motion.expand(stop - start - 1, 2, *SIZE) if self.cached else None


class Asked:
    """A flow teacher that says that everything came from two columns to the left, and remembers being asked."""

    name = "asked"

    def __init__(self) -> None:
        self.pairs: list[tuple[Tensor, Tensor]] = []

    def flow(self, previous: Tensor, current: Tensor) -> Tensor:
        self.pairs.append((previous, current))
        return torch.tensor((-2.0, 0.0)).view(1, 2, 1, 1).expand(len(current), 2, *SIZE)


def pipeline(task: ToyShapes | None = None, forecasts: bool = True) -> Vid2VidPipeline:
    small = {"base_channels": 4, "downsamples": 1, "blocks": 2}
    network = Vid2VidGenerator(2, image_channels=CLASSES, frames="probabilities", history=3, **small)
    renderer = Vid2VidGenerator(6, foreground=True, **small)
    return Vid2VidPipeline(renderer, task or Panning(), forecaster=network if forecasts else None)


def test_who_knows_the_future_is_right():
    heard: list[str] = []
    figures = evaluate_future(pipeline(), [World()], teacher=DISFlow(), progress=heard.append)
    assert tuple(figures) == SYSTEMS
    horizons = [h for h in HORIZONS if h <= 9]
    assert figures["forecast"] == {f"{m} t+{h}": 1.0 for h in horizons for m in ("miou", "accuracy")}
    assert heard == ["world"]


@pytest.mark.parametrize("every", [1, 4])
def test_the_last_map_kept_is_measured_from_every_place(every: int):
    clips = [World(), World(speed=3, length=7)]
    figures = evaluate_future(pipeline(), clips, every=every, teacher=DISFlow())["last map kept"]
    for horizon in (1, 3, 9):
        counts = torch.zeros(CLASSES, CLASSES)
        for clip in clips:
            maps = clip.condition(0, clip.length).maps
            for now in range(2, clip.length - horizon, every):
                for true, said in zip(
                    maps[now + horizon].flatten().tolist(), maps[now].flatten().tolist(), strict=True
                ):
                    counts[true, said] += 1
        overlap = counts.diag() / (counts.sum(0) + counts.sum(1) - counts.diag())
        assert figures[f"miou t+{horizon}"] == pytest.approx(overlap.mean().item())
        assert figures[f"accuracy t+{horizon}"] == pytest.approx((counts.diag().sum() / counts.sum()).item())
    assert "miou t+26" not in figures


def test_the_last_map_moved_on_follows_the_last_real_motion():
    """Right but for what came in at the border: two columns of 24 a frame."""
    figures = evaluate_future(pipeline(), [World()], teacher=DISFlow())["last map moved on"]
    for horizon in (1, 3, 9):
        assert 1 - 2 * horizon / 24 <= figures[f"accuracy t+{horizon}"] < 1
    assert figures["accuracy t+9"] < figures["accuracy t+1"]


def test_a_teacher_is_asked_for_motion_that_is_not_cached():
    teacher, clip = Asked(), World(cached=False)
    asked = evaluate_future(pipeline(), [clip], teacher=teacher)
    assert asked == evaluate_future(pipeline(), [World()], teacher=DISFlow())
    real = clip.frames(0, clip.length).float() / 127.5 - 1
    assert len(teacher.pairs) == 9
    for now, (previous, current) in enumerate(teacher.pairs, 2):
        assert torch.equal(torch.cat((previous, current)), real[now - 1 : now + 1])


def test_what_cannot_be_measured_is_refused():
    with pytest.raises(DatasetError, match="more than the 3 frames"):
        evaluate_future(pipeline(), [World(length=3)], teacher=DISFlow())
    with pytest.raises(ModelError, match="no forecaster"):
        evaluate_future(pipeline(forecasts=False), [World()], teacher=DISFlow())
    with pytest.raises(TaskError, match="no label maps"):
        evaluate_future(pipeline(Unlabelled()), [World()], teacher=DISFlow())

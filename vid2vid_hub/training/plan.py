"""What a training will be, said before it begins: the resolved recipe, its stages, its networks and their memory."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import groupby

import yaml

from vid2vid_hub.training.memory import GIB, Estimate, estimate
from vid2vid_hub.training.parse import plain
from vid2vid_hub.training.recipe import Recipe
from vid2vid_hub.training.schedule import Stage, schedule, total_epochs


def plan(recipe: Recipe) -> Iterator[str]:
    """The plan, a paragraph at a time, since each estimate takes seconds for large networks.

    Raises:
        RecipeError, TaskError: the recipe asks for networks or a task that are not there.
    """
    yield yaml.safe_dump(plain(recipe), sort_keys=False)
    yield _row("epochs", "size", "scales", "frozen", "frames", "unroll", "batch", "rate", "memory")
    largest: Estimate | None = None
    known: dict[Stage, Estimate] = {}
    for epochs, stage in _stages(recipe):
        shape = replace(stage, index=0, rate=0.0, discriminator_rate=0.0)
        if shape not in known:
            known[shape] = estimate(recipe, stage)
        found = known[shape]
        if largest is None or found.total > largest.total:
            largest = found
        yield _line(recipe, epochs, stage, found)
    yield f"\nThe stage that takes most, on each process:\n{largest}"


def _stages(recipe: Recipe) -> Iterator[tuple[range, Stage]]:
    """Epochs that differ in their rate alone are one line."""

    def shape(epoch: int) -> Stage:
        return replace(schedule(recipe, epoch), rate=0.0, discriminator_rate=0.0)

    for _, alike in groupby(range(total_epochs(recipe)), shape):
        epochs = list(alike)
        yield range(epochs[0], epochs[-1] + 1), schedule(recipe, epochs[0])


def _line(recipe: Recipe, epochs: range, stage: Stage, found: Estimate) -> str:
    height, width = stage.size
    last = schedule(recipe, epochs[-1]).rate
    rates = f"{stage.rate:.2g}" if last == stage.rate else f"{stage.rate:.2g} to {last:.2g}"
    span = f"{epochs[0] + 1}" if len(epochs) == 1 else f"{epochs[0] + 1} to {epochs[-1] + 1}"
    scales = "all" if stage.scales is None else stage.scales
    numbers = (scales, stage.frozen, stage.frames, stage.unroll, stage.batch)
    return _row(span, f"{width}x{height}", *numbers, rates, f"{found.total / GIB:.2f} GiB")


def _row(*cells: object) -> str:
    widths = (10, 11, 8, 8, 8, 8, 7, 22, 0)
    return "".join(f"{cell!s:<{width}}" for cell, width in zip(cells, widths, strict=True))

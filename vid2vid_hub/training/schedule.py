"""What every epoch trains, as a pure function of the recipe."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

from vid2vid_hub.training.recipe import Recipe


@dataclass(frozen=True)
class Stage:
    """What one epoch needs to know.

    Attributes:
        index: which of the recipe's stages this is.
        size: (height, width) of the frames, pixels.
        frames: clip length.
        unroll: frames that one back-propagation spans.
        batch: clips a step.
        rate: learning rate of every optimizer in this epoch.
    """

    index: int
    size: tuple[int, int]
    frames: int
    unroll: int
    batch: int
    rate: float


def total_epochs(recipe: Recipe) -> int:
    """Epochs of all stages together."""
    return sum(stage.epochs for stage in recipe.stages)


def schedule(recipe: Recipe, epoch: int) -> Stage:
    """The stage of an epoch, counted from 0.

    The rate is constant and then falls linearly, so that the epoch after the last would have rate 0.

    Raises:
        IndexError: the recipe ends before this epoch.
    """
    first = 0
    for index, stage in enumerate(recipe.stages):
        if first <= epoch < first + stage.epochs:
            left = total_epochs(recipe) - epoch
            optimizer = recipe.optimizer
            rate = optimizer.rate * min(1.0, left / (optimizer.decay + 1))
            size = stage.height, stage.width
            return Stage(index, size, stage.frames, stage.unroll, stage.batch, rate)
        first += stage.epochs
    raise IndexError(f"epoch {epoch} is not in a recipe of {total_epochs(recipe)} epochs")


def changes_to_the_past(old: Recipe, new: Recipe, epoch: int) -> list[str]:
    """Names of the recipe's fields that differ in a way that epochs 0 to ``epoch`` have already felt.

    Stages and rates to come may be rewritten in the middle of a run: longer, shorter, with another decay.
    """
    differing = [f.name for f in fields(Recipe) if getattr(old, f.name) != getattr(new, f.name)]
    if not set(differing) <= {"stages", "optimizer"} or replace(old.optimizer, decay=0) != replace(
        new.optimizer, decay=0
    ):
        return differing
    begun = range(min(epoch + 1, total_epochs(old)))
    ahead = total_epochs(new)
    return [] if all(e < ahead and schedule(old, e) == schedule(new, e) for e in begun) else differing

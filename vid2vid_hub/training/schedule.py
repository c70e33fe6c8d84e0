"""What every epoch trains, as a pure function of the recipe."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

from vid2vid_hub.training.recipe import Recipe

HARMLESS = ("watch", "checkpoint_minutes", "checkpointing", "perceptual_weights", "start", "judges", "forecaster")


@dataclass(frozen=True)
class Stage:
    """What one epoch needs to know.

    Attributes:
        index: which of the recipe's stages this is.
        size: (height, width) of the frames, pixels.
        scales: spatial scales of the generator that take part, coarsest first; None for all of them.
        frozen: how many of those, coarsest first, do not learn.
        frames: clip length.
        unroll: frames that one back-propagation spans: a chunk.
        batch: clips a step, on each process.
        rate: learning rate of the generator.
        discriminator_rate: learning rate of all discriminators.
    """

    index: int
    size: tuple[int, int]
    scales: int | None
    frozen: int
    frames: int
    unroll: int
    batch: int
    rate: float
    discriminator_rate: float

    @property
    def learning(self) -> tuple[int | None, int]:
        """Which scales learn; where this changes, the generator's optimizer begins afresh."""
        return self.scales, self.frozen


def total_epochs(recipe: Recipe) -> int:
    """Epochs of all stages together."""
    return sum(stage.epochs for stage in recipe.stages)


def schedule(recipe: Recipe, epoch: int) -> Stage:
    """The stage of an epoch, counted from 0.

    The rates are constant and then fall linearly, so that the epoch after the last would have rate 0.

    Raises:
        IndexError: the recipe ends before this epoch.
    """
    first = 0
    for index, stage in enumerate(recipe.stages):
        if first <= epoch < first + stage.epochs:
            doublings = (epoch - first) // stage.double_every if stage.double_every else 0
            left = total_epochs(recipe) - epoch
            optimizer = recipe.optimizer
            share = min(1.0, left / (optimizer.decay + 1))
            return Stage(
                index=index,
                size=(stage.height, stage.width),
                scales=stage.scales,
                frozen=stage.frozen,
                frames=_doubled(stage.frames, doublings, stage.max_frames),
                unroll=_doubled(stage.unroll, doublings, stage.max_unroll or stage.unroll),
                batch=stage.batch,
                rate=optimizer.rate * share,
                discriminator_rate=(optimizer.discriminator_rate or optimizer.rate) * share,
            )
        first += stage.epochs
    raise IndexError(f"epoch {epoch} is not in a recipe of {total_epochs(recipe)} epochs")


def _doubled(start: int, times: int, most: int | None) -> int:
    """Never below the start, whatever the limit says."""
    doubled: int = start * 2**times
    return doubled if most is None else max(start, min(doubled, most))


def changes_to_the_past(old: Recipe, new: Recipe, epoch: int) -> list[str]:
    """Names of the recipe's fields that differ in a way that epochs 0 to ``epoch`` have already felt.

    Stages and rates to come may be rewritten in the middle of a run: longer, shorter, with another decay. So may what
    decides nothing: what is watched, when it is saved, where files are.
    """
    differing = [f.name for f in fields(Recipe) if getattr(old, f.name) != getattr(new, f.name)]
    differing = [name for name in differing if name not in HARMLESS]
    if not set(differing) <= {"stages", "optimizer"} or replace(old.optimizer, decay=0) != replace(
        new.optimizer, decay=0
    ):
        return differing
    begun = range(min(epoch + 1, total_epochs(old)))
    ahead = total_epochs(new)
    return [] if all(e < ahead and schedule(old, e) == schedule(new, e) for e in begun) else differing

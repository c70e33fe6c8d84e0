"""Which clips an epoch trains, in which order, and which of them each process takes."""

from __future__ import annotations

import signal
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch.utils.data import DataLoader, Dataset

from vid2vid_hub.data.clips import ClipSource, Window, batches, collate, epoch_windows, read_window
from vid2vid_hub.tasks import Task
from vid2vid_hub.training.recipe import Recipe
from vid2vid_hub.training.schedule import Stage
from vid2vid_hub.types import Clip


@dataclass(frozen=True)
class Share:
    """What one process takes of a batch.

    Attributes:
        windows: at least one, so that all processes walk in step.
        weight: of this process's mean loss, so that the mean over processes is the mean over the whole batch. 1 where
            the batch divides evenly; 0 for a process that has nothing and walks along on another's clip.
    """

    windows: tuple[Window, ...]
    weight: float


def share(batch: Sequence[Window], process: int, processes: int) -> Share:
    """The part of a whole batch that process ``process`` of ``processes`` takes: every ``processes``-th window."""
    mine = tuple(batch[process::processes])
    return Share(mine or (batch[0],), len(mine) * processes / len(batch))


def epoch_batches(
    sources: Sequence[ClipSource], recipe: Recipe, stage: Stage, epoch: int, processes: int
) -> list[list[Window]]:
    """The batches of an epoch over all processes, a pure function, so that resuming needs no state.

    All windows of a batch are equally long; clips shorter than the stage's clip length give windows of their own.
    """
    lengths = [source.length for source in sources]
    windows = epoch_windows(lengths, stage.frames, recipe.flip, recipe.seed, epoch)
    return batches(windows, stage.batch * processes)


def load(
    sources: Sequence[ClipSource], shares: Sequence[Share], size: tuple[int, int], task: Task, workers: int = 0
) -> Iterator[Clip]:
    """The clips of every share as one batch, resized to ``size``; read ahead by ``workers`` processes."""
    dataset = _Windows(sources, size, task)
    picked = [list(one.windows) for one in shares]
    # The loader draws a seed for its workers at every start; from the global generator, that would break resuming.
    seeds = torch.Generator().manual_seed(0)
    yield from DataLoader(
        dataset,
        batch_sampler=picked,
        collate_fn=collate,
        generator=seeds,
        num_workers=workers,
        worker_init_fn=_outlive_sigterm,
    )


def _outlive_sigterm(worker: int) -> None:
    """Schedulers send it to every process of a run; without its readers the run could not finish its step."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)


class _Windows(Dataset[Clip]):
    """Clips addressed by :class:`Window`; opened in the worker that reads."""

    def __init__(self, sources: Sequence[ClipSource], size: tuple[int, int], task: Task) -> None:
        self.sources, self.size, self.task = sources, size, task

    def __getitem__(self, window: Window) -> Clip:
        return read_window(self.sources[window.clip], window, self.size, self.task)

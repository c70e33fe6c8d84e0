"""What a person sees of a running training: the log, curves in trackers, sample videos, measures on held-out clips."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from accelerate import Accelerator

from vid2vid_hub.data.clips import ClipSource
from vid2vid_hub.errors import CheckpointError
from vid2vid_hub.nn.frozen import FlowTeacher
from vid2vid_hub.nn.perceptual import LPIPS
from vid2vid_hub.tasks import Task
from vid2vid_hub.training import trackers
from vid2vid_hub.training.parse import plain
from vid2vid_hub.training.players import Players
from vid2vid_hub.training.recipe import Recipe, without_paths
from vid2vid_hub.training.samples import sample_rollout, write_sample
from vid2vid_hub.training.schedule import Stage
from vid2vid_hub.training.validation import validate


class Watch:
    """Looks on; the training is the same with it and without.

    Args:
        recipe: what is to be seen, under ``watch``.
        task: of the training.
        clips: what samples and measures are made of.
        teacher: for clips without cached flow.
        run: the run's folder.
        accelerator: whose main process writes.

    Raises:
        RecipeError, MissingExtraError: a tracker is unknown or not installed.
        ModelError: there are no weights for LPIPS where the recipe says.
    """

    def __init__(
        self,
        recipe: Recipe,
        task: Task,
        clips: Sequence[ClipSource],
        teacher: FlowTeacher | None,
        run: Path,
        accelerator: Accelerator,
    ) -> None:
        self.recipe, self.task, self.clips, self.teacher = recipe, task, clips, teacher
        self.run, self.accelerator = run, accelerator
        trackers.check_trackers(recipe.watch.trackers)
        weights = recipe.watch.lpips
        self.lpips = None if weights is None else LPIPS(weights).to(accelerator.device)

    def begin(self, step: int) -> None:
        """Start the trackers, and drop what the log says of steps after ``step``: they are about to happen again."""
        if self.accelerator.is_main_process:
            self._shorten(step)
        if self.recipe.watch.trackers:
            values = plain(without_paths(self.recipe))
            trackers.start_trackers(self.accelerator, self.recipe.watch.trackers, self.run, values, step)

    def look(self, step: int, epoch: int, stage: Stage, terms: dict[str, float], players: Players) -> None:
        """Hear of a step; on the main process only."""
        watch = self.recipe.watch
        values = {"rate": stage.rate} | terms
        measures = watch.validation and step % watch.validation == 0
        samples = watch.samples and step % watch.samples == 0
        if measures or samples:
            generator = players.place(players.averaged())
            how: dict[str, Any] = {
                "frames": watch.frames,
                "size": stage.size,
                "first_frames": "zeros" if self.recipe.first_frames.get("zeros") else "real",
                "scales": stage.scales,
                "teacher": self.teacher,
                "autocast": self.accelerator.autocast,
            }
            if measures:
                found = validate(generator, self.task, self.clips, lpips=self.lpips, **how)
                values |= {f"validation/{name}": value for name, value in found.items()}
            if samples:
                sample = sample_rollout(generator, self.task, self.clips[0], **how)
                folder = self.run / "samples"
                folder.mkdir(parents=True, exist_ok=True)
                write_sample(folder / f"step-{step:08d}.mp4", *sample, fps=float(self.clips[0].fps))
        self._write({"step": step, "epoch": epoch, "time": round(time.time(), 1)} | values)
        if watch.trackers:
            trackers.log(self.accelerator, values, step)

    def end(self) -> None:
        """Let the trackers write what they still hold."""
        trackers.end(self.accelerator)

    def _write(self, line: dict[str, Any]) -> None:
        log = self.run / "log.jsonl"
        with _or_sentence(log):
            self.run.mkdir(parents=True, exist_ok=True)
            with log.open("a") as file:
                file.write(json.dumps(line) + "\n")

    def _shorten(self, step: int) -> None:
        """Beside and renamed, so that a kill does not cost the log."""
        log, beside = self.run / "log.jsonl", self.run / ".log.jsonl.part"
        with _or_sentence(log):
            if log.is_file():
                lines = [line for line in log.read_text().splitlines() if _step(line) <= step]
                beside.write_text("".join(f"{line}\n" for line in lines))
                beside.replace(log)


@contextmanager
def _or_sentence(log: Path) -> Iterator[None]:
    """What the disk refuses, in a sentence."""
    try:
        yield
    except OSError as error:
        raise CheckpointError(f"the log {log} cannot be written: {error}; free some space and resume") from error


def _step(line: str) -> float:
    """The step of a line of the log; infinity for one that was cut off."""
    try:
        return float(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError):
        return float("inf")

"""A run folder's life: find the recipe and the clips, start or go on, and train to the end."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import cast

from vid2vid_hub.data.open import measured, open_clips, origin
from vid2vid_hub.errors import CheckpointError, RecipeError
from vid2vid_hub.tasks import get_task
from vid2vid_hub.training.checkpoint import has_checkpoints
from vid2vid_hub.training.parse import load_recipe, own_recipe, save_recipe
from vid2vid_hub.training.recipe import Recipe
from vid2vid_hub.training.trainer import Report, Trainer


def start_run(
    data: Path,
    run: Path,
    *,
    task: str | None = None,
    recipe: Path | None = None,
    resume: bool = False,
    changes: dict[str, str] | None = None,
    workers: int = 0,
    report: Report = lambda progress: None,
    announce: Callable[[str], None] = lambda text: None,
) -> Path:
    """Train ``data`` into the folder ``run``; returns the folder of the trained pipeline.

    Args:
        data: a dataset folder, or one in the released layout.
        run: where checkpoints, log and pipeline go.
        task: the task; must agree with the recipe if both are given.
        recipe: a ``recipe.yaml`` or a folder with one; the task's own by default, a resumed run's own first of all.
        resume: go on from the newest checkpoint.
        changes: "optimizer.rate" -> "1e-4", on top of the recipe.
        workers: processes that read clips ahead.
        report: called after every step.
        announce: called with who trains (how many processes, where, how precisely), and at the end with how fast.

    Raises:
        RecipeError, TaskError, DatasetError, CheckpointError: what is missing or wrong, and what to do.
    """
    kept = run / "recipe.yaml"
    if resume and not kept.is_file():
        raise CheckpointError(f"{run} holds no run to resume; start one without --resume")
    if not resume and kept.exists():
        raise CheckpointError(f"{run} already holds a run; give --resume to go on, or another folder")
    found = find_recipe(task, kept if resume else recipe, changes)
    own = get_task(found.task, found.task_config)
    clips, held_out = (open_clips(data, split, own) for split in ("train", "val"))
    found = replace(found, task_config=measured(data) | found.task_config)
    resumes = resume and has_checkpoints(run)
    trainer = Trainer(found, clips, run, held_out=held_out, workers=workers, data=origin(data), resumes=resumes)
    if resumes:
        trainer.resume()
    first = trainer.accelerator.is_main_process
    if first:
        _keep(run, found)
        announce(trainer.introduction)
    folder = trainer.fit(report)
    if first:
        announce(str(trainer.pace))
    return folder


def find_recipe(task: str | None, recipe: Path | None, changes: dict[str, str] | None = None) -> Recipe:
    """The recipe at a path, or the task's own, with changes on top; arguments as in :func:`start_run`.

    Raises:
        RecipeError, TaskError: what is missing or wrong, and what to do.
    """
    if recipe is None and task is None:
        raise RecipeError("nothing says what to train: give a task or a recipe")
    found = load_recipe(own_recipe(task) if recipe is None and task is not None else cast(Path, recipe), changes)
    if task is not None and found.task != task:
        raise RecipeError(f"the recipe is for task '{found.task}', not '{task}'")
    return found


def _keep(run: Path, recipe: Recipe) -> None:
    try:
        run.mkdir(parents=True, exist_ok=True)
        save_recipe(recipe, run / "recipe.yaml")
    except OSError as error:
        raise CheckpointError(f"the run folder {run} cannot be written: {error}") from error

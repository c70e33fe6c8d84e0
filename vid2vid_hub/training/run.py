"""A run folder's life: find the recipe and the clips, start or go on, and train to the end."""

from __future__ import annotations

from pathlib import Path

from vid2vid_hub.data.open import open_clips
from vid2vid_hub.errors import CheckpointError, RecipeError
from vid2vid_hub.tasks import get_task
from vid2vid_hub.training.recipe import Recipe, load_recipe
from vid2vid_hub.training.trainer import Report, Trainer


def start_run(
    data: Path,
    run: Path,
    *,
    task: str | None = None,
    recipe: Path | None = None,
    resume: bool = False,
    changes: dict[str, str] | None = None,
    report: Report = lambda progress: None,
) -> Path:
    """Train ``data`` into the folder ``run``; returns the folder of the trained pipeline.

    Args:
        data: a dataset folder, or one in the released layout.
        run: where checkpoints, log and pipeline go.
        task: the task; must agree with the recipe if both are given.
        recipe: a ``recipe.yaml`` or a folder with one; the task's own by default, a resumed run's own first of all.
        resume: go on from the newest checkpoint.
        changes: "optimizer.rate" -> "1e-4", on top of the recipe.
        report: called after every batch.

    Raises:
        RecipeError, TaskError, DatasetError, CheckpointError: what is missing or wrong, and what to do.
    """
    kept = run / "recipe.yaml"
    if resume and not kept.is_file():
        raise CheckpointError(f"{run} holds no run to resume; start one without --resume")
    if not resume and kept.exists():
        raise CheckpointError(f"{run} already holds a run; give --resume to go on, or another folder")
    found = load_recipe(kept if resume else _recipe_path(task, recipe), changes)
    if task is not None and found.task != task:
        raise RecipeError(f"the recipe is for task '{found.task}', not '{task}'")
    clips = open_clips(data, "train", get_task(found.task, found.task_config))
    trainer = Trainer(found, clips, run)
    if resume:
        trainer.resume()
    _keep(run, found)
    return trainer.fit(report)


def _recipe_path(task: str | None, recipe: Path | None) -> Path:
    if recipe is not None:
        return recipe
    if task is None:
        raise RecipeError("nothing says what to train: give a task or a recipe")
    own = get_task(task).recipe
    if own is None:
        raise RecipeError(f"task '{task}' brings no recipe of its own; give one")
    return own


def _keep(run: Path, recipe: Recipe) -> None:
    try:
        run.mkdir(parents=True, exist_ok=True)
        recipe.save(run / "recipe.yaml")
    except OSError as error:
        raise CheckpointError(f"the run folder {run} cannot be written: {error}") from error

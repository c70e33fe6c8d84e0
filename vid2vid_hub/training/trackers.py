"""Experiment trackers: the scalars of a training in TensorBoard, Weights & Biases or Trackio, through Accelerate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from accelerate import Accelerator
from accelerate.tracking import GeneralTracker, TensorBoardTracker, TrackioTracker, WandBTracker

from vid2vid_hub.errors import MissingExtraError, RecipeError, Vid2VidError
from vid2vid_hub.secrets import without_secrets

PROJECT = "vid2vid-hub"
"""Under which hosted trackers keep the runs; each run is called as its folder."""
TRACKERS = ("tensorboard", "trackio", "wandb")
"""Those that a recipe may name; each needs the package of its name."""

Scalar = bool | int | float | str


class MissingTrackerError(MissingExtraError):
    """The package of a tracker that is in no extra of ours is not installed."""

    def __init__(self, name: str) -> None:
        Vid2VidError.__init__(
            self, f"the tracker '{name}' needs {name}, which is not installed; type: pip install {name}"
        )


def check_trackers(names: Sequence[str]) -> None:
    """Say what is wrong with the trackers of a recipe before anything else is done.

    Raises:
        RecipeError: a name is unknown.
        MissingExtraError: a tracker's package is not installed.
    """
    for name in names:
        if name not in TRACKERS:
            raise RecipeError(f"there is no tracker '{name}'; there are {', '.join(TRACKERS)}")
        spec = find_spec(name)
        # A mere folder of that name, such as wandb leaves wherever it ran, is a package too, but one without a file.
        if spec is None or spec.origin is None:
            if name == "tensorboard":
                raise MissingExtraError(name, "track", f"the tracker '{name}'")
            raise MissingTrackerError(name)


def start_trackers(
    accelerator: Accelerator, names: Sequence[str], run: Path, recipe: Mapping[str, Any], step: int = 0
) -> None:
    """Start the trackers of a run, and tell each the recipe. Nothing is started unless all of them can be.

    TensorBoard's files lie in ``run/tensorboard``, wandb's in ``run/wandb``, and trackio's where its settings say. A
    resumed run goes on in TensorBoard's curves, and what it logged after its checkpoint is hidden there. Trackio
    appends to the run of that name. To wandb it is a new run of the same name, unless the environment's WANDB_RUN_ID
    and WANDB_RESUME say which to go on with.

    Args:
        accelerator: of the training; trackers of an earlier start are ended first.
        names: any of :data:`TRACKERS`; a name given twice counts once.
        run: the run's folder.
        recipe: as nested plain values; paths that are nobody's business must be taken out before. What names or holds
            a secret is not handed on.
        step: the last step that was done, where a run is resumed.

    Raises:
        RecipeError: a name is unknown.
        MissingExtraError: a tracker's package is not installed.
    """
    check_trackers(names)
    end(accelerator)
    accelerator.log_with = [_tracker(name, run, step) for name in dict.fromkeys(names)]
    accelerator.init_trackers(PROJECT, config=flat(without_secrets(recipe)) or None)


def log(accelerator: Accelerator, values: Mapping[str, float], step: int) -> None:
    """Hand scalars of one step to every tracker that was started; on the main process only."""
    accelerator.log(dict(values), step=step)


def end(accelerator: Accelerator) -> None:
    """Let every tracker write what it still holds. Unlike Accelerate's ``end_training``, processes stay connected."""
    if accelerator.is_main_process:
        for tracker in accelerator.trackers:
            tracker.finish()
    accelerator.trackers = []


def flat(values: Mapping[str, Any] | Sequence[Any], prefix: str = "") -> dict[str, Scalar]:
    """Nested plain values as one level, as trackers want hyper-parameters: ``loss.gan``, ``stages.0.width``.

    None becomes "null", as the recipe writes it: TensorBoard would drop it.
    """
    named = values.items() if isinstance(values, Mapping) else enumerate(values)
    level: dict[str, Scalar] = {}
    for name, value in named:
        if isinstance(value, Mapping | list | tuple):
            level |= flat(value, f"{prefix}{name}.")
        else:
            level[f"{prefix}{name}"] = "null" if value is None else value
    return level


def _tracker(name: str, run: Path, step: int) -> GeneralTracker:
    called = run.resolve().name
    if name == "tensorboard":
        return TensorBoardTracker(name, logging_dir=run, **({"purge_step": step + 1} if step else {}))
    if name == "wandb":
        return WandBTracker(PROJECT, name=called, dir=str(run))
    return TrackioTracker(PROJECT, name=called, resume="allow")

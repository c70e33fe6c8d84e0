"""Checkpoints of a run: tensors as safetensors, the rest as JSON, a sha256 manifest; written beside, then renamed.

A checkpoint is a folder ``checkpoint-<step>``. It appears under that name only when it is whole, and older ones are
removed only after that; whatever was damaged since is found by its hash and passed over.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from vid2vid_hub.errors import CheckpointError, ModelError
from vid2vid_hub.hub.contents import TRAINING
from vid2vid_hub.pipeline import Vid2VidPipeline
from vid2vid_hub.training.parse import save_recipe
from vid2vid_hub.training.recipe import Recipe

KEEP = 2
MANIFEST = "manifest.json"


@dataclass(frozen=True)
class Checkpoint:
    """What a run needs to go on.

    Attributes:
        tensors: file stem -> tensors by name, e.g. "generator" -> its state dict.
        state: JSON values: position, optimizer settings, the recipe.
    """

    tensors: dict[str, dict[str, Tensor]]
    state: dict[str, Any]


def save_checkpoint(run: Path, step: int, checkpoint: Checkpoint) -> Path:
    """Write ``run/checkpoint-<step>`` and keep the two newest.

    Raises:
        CheckpointError: the disk is full or cannot be written; the older checkpoints are still there.
    """
    final = run / f"checkpoint-{step:09d}"
    beside = run / f".{final.name}.part-{os.getpid()}"
    before = beside.with_suffix(".old")
    try:
        for abandoned in run.glob(".checkpoint-*"):
            shutil.rmtree(abandoned, ignore_errors=True)
        beside.mkdir(parents=True)
        for stem, tensors in checkpoint.tensors.items():
            save_file({k: v.detach().contiguous().cpu() for k, v in tensors.items()}, beside / f"{stem}.safetensors")
        (beside / "state.json").write_text(json.dumps(checkpoint.state, indent=1))
        files = sorted(beside.iterdir())
        manifest = {file.name: _sha256(file) for file in files}
        (beside / MANIFEST).write_text(json.dumps(manifest, indent=1))
        for path in [*files, beside / MANIFEST, beside]:
            _sync(path)
        if final.exists():
            final.replace(before)
        beside.replace(final)
        _sync(run)
    except (OSError, SafetensorError) as error:
        shutil.rmtree(beside, ignore_errors=True)
        raise CheckpointError(f"checkpoint {final} cannot be written: {error}; free some space and resume") from error
    found = _checkpoints(run)
    # Later ones are of a run that went back beyond them, because they were damaged; they must not outlive it.
    kept = [folder for folder in found if folder <= final][-KEEP:]
    for old in {before, *found} - set(kept):
        shutil.rmtree(old, ignore_errors=True)
    return final


def has_checkpoints(run: Path) -> bool:
    """Whether a run has any, whole or damaged."""
    return bool(_checkpoints(run))


def load_checkpoint(run: Path) -> Checkpoint | None:
    """The newest checkpoint that is whole, or None if the run has none at all.

    Damaged ones are passed over with a warning.

    Raises:
        CheckpointError: there are checkpoints, and every one is damaged.
    """
    candidates = _checkpoints(run)
    for folder in reversed(candidates):
        try:
            return _load(folder)
        except (OSError, ValueError, KeyError, AttributeError, SafetensorError) as error:
            warnings.warn(f"passing over the damaged checkpoint {folder}: {error}", stacklevel=2)
    if candidates:
        raise CheckpointError(f"all {len(candidates)} checkpoints in {run} are damaged; start a new run")
    return None


def publish(pipeline: Vid2VidPipeline, recipe: Recipe, training: Mapping[str, Any], folder: Path) -> None:
    """Write a pipeline's folder beside its name, and exchange it for the older one when it is whole.

    Args:
        pipeline: what has been learned.
        recipe: what was asked for.
        training: what came of it, as JSON values, for ``training.json``.
        folder: where.

    Raises:
        CheckpointError: the disk is full or cannot be written.
    """
    beside, before = (folder.with_name(f".{folder.name}.{what}-{os.getpid()}") for what in ("part", "old"))
    try:
        for abandoned in folder.parent.glob(f".{folder.name}.*"):
            shutil.rmtree(abandoned, ignore_errors=True)
        pipeline.save_pretrained(beside)
        save_recipe(recipe, beside / "recipe.yaml")
        (beside / TRAINING).write_text(json.dumps(training, indent=1) + "\n", encoding="utf-8")
        if folder.exists():
            folder.replace(before)
        beside.replace(folder)
    except (OSError, SafetensorError, ModelError) as error:
        raise CheckpointError(
            f"the pipeline {folder} cannot be written: {error}; free some space and resume"
        ) from error
    finally:
        for rest in (beside, before):
            shutil.rmtree(rest, ignore_errors=True)


def pack_optimizer(optimizer: torch.optim.Optimizer) -> tuple[dict[str, Tensor], list[dict[str, Any]]]:
    """An optimizer's state as tensors named ``<parameter index>.<field>``, and its groups as JSON values."""
    state = optimizer.state_dict()
    tensors = {
        f"{index}.{name}": torch.as_tensor(value)
        for index, fields in state["state"].items()
        for name, value in fields.items()
    }
    return tensors, state["param_groups"]


def unpack_optimizer(
    optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor], groups: list[dict[str, Any]]
) -> None:
    """The inverse of :func:`pack_optimizer`."""
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        index, name = key.split(".", 1)
        state.setdefault(int(index), {})[name] = value
    optimizer.load_state_dict({"state": state, "param_groups": groups})


def _load(folder: Path) -> Checkpoint:
    manifest = json.loads((folder / MANIFEST).read_text())
    for name, digest in manifest.items():
        if _sha256(folder / name) != digest:
            raise ValueError(f"{name} is not what was written")
    if "state.json" not in manifest:
        raise ValueError(f"{MANIFEST} does not name state.json")
    tensors = {Path(n).stem: load_file(folder / n) for n in manifest if n.endswith(".safetensors")}
    return Checkpoint(tensors, json.loads((folder / "state.json").read_text()))


def _checkpoints(run: Path) -> list[Path]:
    return sorted(run.glob("checkpoint-*")) if run.is_dir() else []


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

"""A pipeline folder or Hub repo before anything of it is loaded: what must be there, and where the starters are."""

from __future__ import annotations

import json
from collections.abc import Mapping
from inspect import signature
from pathlib import Path
from typing import Any

from huggingface_hub import hf_hub_download
from huggingface_hub.errors import (
    EntryNotFoundError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from vid2vid_hub.errors import ModelError

GENERATOR, IMAGE = ["vid2vid_hub", "Vid2VidGenerator"], ["vid2vid_hub", "Pix2PixHDGenerator"]
NONE = [None, None]
COMPONENTS = {
    "generator": (GENERATOR, IMAGE),
    "first_frame": (IMAGE, NONE),
    "forecaster": (GENERATOR, NONE),
}
"""What ``model_index.json`` may say of the networks. Where it has no word of the last two, the pipeline has none."""

HUB_ARGUMENTS = ("cache_dir", "force_download", "local_files_only", "token", "revision")


def check_folder(folder: Path) -> None:
    """Look at a local pipeline folder before anything of it is loaded.

    Raises:
        ModelError: what is missing or foreign, and what to do.
    """
    if not folder.is_dir():
        raise ModelError(f"there is no pipeline folder {folder}; give a folder with a model_index.json, or org/name")
    if not (folder / "model_index.json").is_file():
        raise ModelError(f"{folder} is not a pipeline folder: it has no model_index.json")


def check_network(folder: Path, name: str) -> None:
    """Look at one network's folder in a local pipeline folder before anything of it is loaded.

    Raises:
        ModelError: what is missing or foreign.
    """
    network = folder / name
    if not (network / "config.json").is_file():
        raise ModelError(f"{folder} is incomplete: {name}/config.json is missing")
    if not any(network.glob("*.safetensors")):
        pickles = sorted(p.name for p in network.glob("*") if p.suffix in {".bin", ".pth", ".pt", ".pkl", ".ckpt"})
        if pickles:
            raise ModelError(f"{network} holds {pickles[0]}, a pickle, which is never loaded; expected safetensors")
        raise ModelError(f"{folder} is incomplete: {name}/ holds no safetensors weights")


def index_from_hub(repo: str, options: Mapping[str, Any]) -> Path:
    """Download the one small file that says what a Hub repo is.

    Args:
        repo: "org/name".
        options: those of ``from_pretrained``; what concerns the Hub is taken.

    Raises:
        ModelError: it cannot be had, and why.
    """
    try:
        chosen = {name: options[name] for name in HUB_ARGUMENTS if name in options}
        return Path(hf_hub_download(repo, "model_index.json", **chosen))
    except RepositoryNotFoundError as error:
        raise ModelError(
            f"there is no folder {repo} here and no such model on the Hub; if it is private, log in with: hf auth login"
        ) from error
    except RevisionNotFoundError as error:
        raise ModelError(f"{repo} has no revision '{options.get('revision')}' on the Hub") from error
    except LocalEntryNotFoundError as error:
        raise ModelError(
            f"{repo} was not downloaded before and the Hub cannot be asked now; connect, or give a pipeline folder"
        ) from error
    except EntryNotFoundError as error:
        raise ModelError(f"{repo} on the Hub is not a pipeline: it has no model_index.json") from error


def check_index(path: Path, kind: type, source: Any) -> list[str]:
    """Look at ``model_index.json`` before anything that it names is downloaded, imported or loaded.

    Args:
        path: the file.
        kind: the pipeline class that is to be loaded.
        source: folder or repo, for messages.

    Returns:
        The names of the networks that it holds.

    Raises:
        ModelError: it holds no pipeline of ours, or something beside it.
    """
    try:
        index = json.loads(path.read_text("utf-8"))
    except ValueError as error:
        raise ModelError(f"the model_index.json of {source} is not JSON: {error}") from error
    if not isinstance(index, dict):
        raise ModelError(f"the model_index.json of {source} holds no settings but {type(index).__name__}")
    found, ours = index.get("_class_name"), [one.__name__ for one in kind.__mro__]
    if found not in ours[: ours.index("DiffusionPipeline")]:
        raise ModelError(f"{source} holds a pipeline of class {found}; expected {kind.__name__}")
    for name, allowed in COMPONENTS.items():
        component = index.get(name, "nothing" if name == "generator" else NONE)
        if component not in allowed:
            must = " or ".join(map(json.dumps, allowed))
            raise ModelError(f"{source} has {component} as its {name}; its model_index.json must say {must}")
    unknown = sorted({key for key in index if not key.startswith("_")} - set(signature(kind).parameters))
    if unknown:
        raise ModelError(f"the model_index.json of {source} has the key '{unknown[0]}', unknown to {kind.__name__}")
    return [name for name in COMPONENTS if index.get(name, NONE) != NONE]


def starter(name: str) -> Path:
    """The folder of a starter that comes with the package: in a wheel inside it, in a checkout under ``pipelines/``.

    Raises:
        ModelError: there is no such starter.
    """
    here = Path(__file__).resolve().parent
    for folder in (here / "starters" / name, here.parent / "pipelines" / name):
        if (folder / "model_index.json").is_file():
            return folder
    raise ModelError(f"this installation comes with no starter '{name}'")

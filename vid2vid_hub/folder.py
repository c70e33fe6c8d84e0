"""A pipeline folder before anything of it is loaded: what must be there and what may not, and where starters are."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from importlib import import_module
from inspect import signature
from pathlib import Path
from typing import Any

from vid2vid_hub.errors import ModelError
from vid2vid_hub.nn.layout import stranger, variants
from vid2vid_hub.nn.strict import CONVERT, PRIVATE, check_inside, read_json, shown
from vid2vid_hub.tasks import get_task, list_tasks

INDEX, CONFIG = "model_index.json", "config.json"
MODEL_TYPE, FORMAT = "vid2vid", 1
"""What the root ``config.json`` of a pipeline folder says; one without it is of this format too."""
MAX_SIDE = 8192
"""Pixels of a frame."""
GENERATOR, IMAGE = ["vid2vid_hub", "Vid2VidGenerator"], ["vid2vid_hub", "Pix2PixHDGenerator"]
NONE = [None, None]
COMPONENTS = {
    "generator": (GENERATOR, IMAGE),
    "first_frame": (IMAGE, NONE),
    "forecaster": (GENERATOR, NONE),
    "appearance": (["vid2vid_hub", "AppearanceEncoder"], NONE),
}
"""What ``model_index.json`` may say of the networks. Where it has no word of the last three, the pipeline has none."""

MAX_NAME = 100
"""Letters of a task's name."""
CODE = "None.py"
"""diffusers takes a file of this name for a pipeline's code where no code was asked for."""


def check(
    folder: Path, kind: type, variant: str | None = None, given: Collection[str] = (), source: str | None = None
) -> list[str]:
    """Look at a pipeline folder before anything of it is imported or allocated, down to the headers of its weights.

    Args:
        folder: the folder.
        kind: the pipeline class that is to be loaded.
        variant: of the weights, such as "fp16"; a network without it is loaded plain, if another one has it.
        given: networks that the caller has already, and that are not looked at.
        source: what the folder is called in messages: itself by default, "org/name" on the Hub.

    Returns:
        The names of its networks.

    Raises:
        ModelError: what is missing, foreign, damaged or too large, and what to do.
    """
    # Not above: whoever only wants the names of networks or a starter does without torch.
    from vid2vid_hub.nn.stored import check_stored

    source = source or str(folder)
    check_folder(folder, source)
    for name in (INDEX, CONFIG, CODE):
        if (folder / name).exists():
            check_inside(folder / name, folder, f"{source}/{name}")
    index = read_json(folder / INDEX, f"{source}/{INDEX}")
    networks = check_index(index, kind, source, given)
    if (folder / CONFIG).exists():
        check_format(read_json(folder / CONFIG, f"{source}/{CONFIG}"), index["task"], source)
    if (folder / CODE).exists():
        raise ModelError(
            f"{source} holds {CODE}, which diffusers takes for code of its own; there is no code in a pipeline folder"
        )
    wanted = [name for name in networks if name not in given]
    for name in wanted:
        check_inside(folder / name, folder, f"{source}/{name}")
        if not (folder / name / CONFIG).is_file():
            raise ModelError(f"{source} is incomplete: {name}/{CONFIG} is missing")
    own = variant_of_each({name: [path.name for path in (folder / name).iterdir()] for name in wanted}, variant, source)
    for name in wanted:
        check_stored(folder / name, network_class(networks[name]), own[name], f"{source}/{name}")
    return list(networks)


def variant_of_each(files: Mapping[str, Collection[str]], variant: str | None, source: str) -> dict[str, str | None]:
    """Which variant of weights each network has: the wanted one, or none where only others have that.

    Args:
        files: names of those in each network's folder, by the network's name.
        variant: the wanted one.
        source: folder or repo, for messages.

    Raises:
        ModelError: no network has it; names what there is.
    """
    there = {name: variants(names) for name, names in files.items()}
    known = {one for held in there.values() for one in held}
    if variant is not None and files and variant not in known:
        others = ", ".join(sorted(f"variant={one}" if one else "plain ones" for one in known)) or "none"
        raise ModelError(f"{source} has no weights of variant={variant}; there are: {others}")
    return {name: variant if variant in held else None for name, held in there.items()}


def network_class(name: str) -> type[Any]:
    """The class of a network that :func:`check_index` has allowed."""
    found: type[Any] = getattr(import_module("vid2vid_hub"), name)
    return found


def check_folder(folder: Path, source: str) -> None:
    """Refuse what is no pipeline folder at first sight.

    Raises:
        ModelError: what is missing or foreign, and what to do.
    """
    if not folder.is_dir():
        raise ModelError(f"there is no pipeline folder {source}; give a folder with a {INDEX}, or org/name")
    if not (folder / INDEX).is_file():
        raise no_pipeline(source, [path.name for path in folder.iterdir()])


def no_pipeline(source: str, names: Collection[str]) -> ModelError:
    """What to say of a folder or repo without an index, going by what else is there."""
    found = stranger(names)
    hint = f" but {found}, which is never loaded; {CONVERT} makes a pipeline of checkpoints" if found else ""
    return ModelError(f"{source} is not a pipeline folder: it has no {INDEX}{hint}")


def check_format(config: Mapping[str, Any], task: str, source: str) -> None:
    """Look at the root ``config.json``, which says how the folder is to be read.

    Args:
        config: what it holds.
        task: of the index.
        source: folder or repo, for messages.

    Raises:
        ModelError: it is of a newer format, of something else, or of another task.
    """
    version = config.get("format_version")
    if type(version) is int and version > FORMAT and config.get("model_type") == MODEL_TYPE:
        raise ModelError(
            f"{source} was made by a newer vid2vid-hub (format {version}); upgrade: pip install -U vid2vid-hub"
        )
    right = {"model_type": MODEL_TYPE, "task": config.get("task"), "format_version": FORMAT}
    wrong = sorted(key for key in config.keys() | right.keys() if repr(config.get(key)) != repr(right.get(key)))
    if wrong:
        raise ModelError(
            f"{source}/{CONFIG} is of no pipeline: it says {shown(config.get(wrong[0]))} for {shown(wrong[0])}; "
            "expected model_type, task and format_version as vid2vid-hub writes them"
        )
    if config.get("task", task) != task:
        raise ModelError(
            f"{source} is of two tasks: its {INDEX} says {shown(task)}, its {CONFIG} {shown(config['task'])}; "
            "write the same into both"
        )


def check_index(index: Mapping[str, Any], kind: type, source: Any, given: Collection[str] = ()) -> dict[str, str]:
    """Look at what ``model_index.json`` says before anything that it names is downloaded, imported or loaded.

    Args:
        index: what it holds.
        kind: the pipeline class that is to be loaded.
        source: folder or repo, for messages.
        given: what the caller has another of.

    Returns:
        The class of each network that it holds, by the network's name.

    Raises:
        ModelError: it holds no pipeline of ours, or something beside it.
        TaskError: its task is not installed.
    """
    found, ours = index.get("_class_name"), [one.__name__ for one in kind.__mro__]
    if found not in ours[: ours.index("Vid2VidPipeline") + 1]:
        raise ModelError(f"{source} holds a pipeline of class {shown(found)}; expected {kind.__name__}")
    for name, allowed in COMPONENTS.items():
        component = index.get(name, "nothing" if name == "generator" else NONE)
        if component not in allowed:
            must = " or ".join(map(json.dumps, allowed))
            raise ModelError(f"{source} has {shown(component)} as its {name}; its {INDEX} must say {must}")
    unknown = sorted(index.keys() - set(PRIVATE) - signature(kind).parameters.keys())
    if unknown:
        raise ModelError(f"the {INDEX} of {source} has the key '{shown(unknown[0])}', unknown to {kind.__name__}")
    for name, value in index.items():
        if isinstance(value, list) and name not in COMPONENTS:
            raise ModelError(f"the {INDEX} of {source} has a list as its {name}, which only networks are")
    task, settings = index.get("task"), index.get("task_config")
    if not isinstance(task, str) or len(task) > MAX_NAME:
        raise ModelError(f"{source} needs a task by name; its {INDEX} says {shown(task)}")
    if not isinstance(settings, dict | None):
        raise ModelError(f"the {INDEX} of {source} has {shown(settings)} as task_config; it must be settings by name")
    for side in ("height", "width"):
        value = index.get(side)
        if value is not None and not (type(value) is int and 1 <= value <= MAX_SIDE):
            raise ModelError(f"{source}: {side} is {value!r:.80}; it must be a whole number between 1 and {MAX_SIDE}")
    if "task" not in given and task not in list_tasks():
        get_task(task)  # which says so, and imports nothing
    return {name: index[name][1] for name in COMPONENTS if index.get(name, NONE) != NONE}


def starter(name: str) -> Path:
    """The folder of a starter that comes with the package: in a wheel inside it, in a checkout under ``pipelines/``.

    Raises:
        ModelError: there is no such starter.
    """
    here = Path(__file__).resolve().parent
    for folder in (here / "starters" / name, here.parent / "pipelines" / name):
        if (folder / INDEX).is_file():
            return folder
    raise ModelError(f"this installation comes with no starter '{name}'")

"""The zoo: the pipeline folders under a folder, what each is for, how large, how good, and whether it has weights.

``python -m vid2vid_hub.zoo PAGE ...`` writes the table of this checkout's zoo into pages that have a place for it.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from vid2vid_hub.errors import ModelError, Vid2VidError
from vid2vid_hub.folder import COMPONENTS, CONFIG, INDEX, NONE, check_folder
from vid2vid_hub.hub.contents import MEASURES, RECIPE
from vid2vid_hub.nn.layout import variants, weight_files
from vid2vid_hub.nn.strict import read_header, read_json, shown, total
from vid2vid_hub.tasks import list_tasks

DEPTH = 4
"""How far below the root folders are looked for: ROOT/runs/street/pipeline is three down."""

COLUMNS = ("pipeline", "task", "size", "parameters", "weights", "measures")

BEGIN, END = "<!-- zoo: make zoo writes this table -->", "<!-- /zoo -->"


@dataclass(frozen=True)
class Entry:
    """One pipeline folder.

    Attributes:
        name: its place below the folder that was looked through, with slashes.
        folder: where it is.
        task: the task's name; None where that cannot be said.
        size: (height, width) in pixels that it was trained for; None for any.
        parameters: of all its networks, or of the generator that its recipe makes; None where they are not known.
        weights: bytes of the weights that are there; 0 says that the recipe must be trained first.
        measures: those of the pipeline's own videos, and of its forecasts, in its newest measurements, by name.
        problem: why it cannot be used, in one sentence; None where nothing is known against it.
    """

    name: str
    folder: Path
    task: str | None = None
    size: tuple[int, int] | None = None
    parameters: int | None = None
    weights: int = 0
    measures: dict[str, float] = field(default_factory=dict)
    problem: str | None = None

    def plain(self) -> dict[str, Any]:
        """As JSON holds it."""
        size = None if self.size is None else {"height": self.size[0], "width": self.size[1]}
        return {**vars(self), "folder": str(self.folder), "size": size}


def shipped() -> Path:
    """The folder of the pipelines that come with the package: in a wheel inside it, in a checkout ``pipelines/``.

    Raises:
        ModelError: this installation comes with none.
    """
    here = Path(__file__).resolve().parent
    for folder in (here / "starters", here.parent / "pipelines"):
        if folder.is_dir():
            return folder
    raise ModelError("this installation comes with no pipelines; give a folder of your own")


def zoo(root: Path) -> list[Entry]:
    """Look through a folder, or at a pipeline folder itself. Nothing is loaded, and what is broken is listed as such.

    Returns:
        The pipelines by name, those with weights first.

    Raises:
        ModelError: there is no such folder, or no pipeline and no recipe in it.
    """
    if not root.is_dir():
        raise ModelError(f"there is no folder {root}; give a pipeline folder, or a folder of several")
    folders = sorted(_folders(root, DEPTH))
    if not folders:
        raise ModelError(f"{root} holds no pipeline: no folder in it has a {INDEX} or a {RECIPE}")
    alone = root.resolve().name
    found = (look(folder, alone if folder == root else folder.relative_to(root).as_posix()) for folder in folders)
    return sorted(found, key=lambda entry: not entry.weights)


def look(folder: Path, name: str) -> Entry:
    """What one folder holds."""
    entry = Entry(name, folder)
    try:
        return _with_weights(entry) if _is_pipeline(folder) else _to_be_trained(entry)
    except Vid2VidError as error:
        return replace(entry, problem=" ".join(str(error).split()))


def _folders(folder: Path, depth: int) -> Iterator[Path]:
    """Pipeline folders, and folders of recipes that no pipeline below them was made from."""
    if _is_pipeline(folder):
        yield folder
        return
    below: list[Path] = []
    for inner in folder.iterdir() if depth else ():
        if inner.is_dir() and not inner.is_symlink() and not inner.name.startswith("."):
            below += _folders(inner, depth - 1)
    if (folder / RECIPE).is_file() and not below:
        yield folder
    yield from below


def _is_pipeline(folder: Path) -> bool:
    return (folder / INDEX).is_file() or (folder / "generator" / CONFIG).is_file()


def _with_weights(entry: Entry) -> Entry:
    check_folder(entry.folder, "it")
    index = read_json(entry.folder / INDEX, INDEX)
    task, height, width = (index.get(key) for key in ("task", "height", "width"))
    if not isinstance(task, str):
        raise ModelError(f"its {INDEX} names no task")
    if task not in list_tasks():
        raise ModelError(f"its task {shown(task)} is not installed; installed are {', '.join(list_tasks())}")
    networks = [name for name in COMPONENTS if index.get(name, NONE) != NONE]
    return replace(
        entry,
        task=task,
        size=(height, width) if isinstance(height, int) and isinstance(width, int) else None,
        parameters=sum(_parameters(entry.folder / name) for name in networks),
        weights=sum(file.stat().st_size for name in networks for file in (entry.folder / name).glob("*.safetensors")),
        measures=_measures(entry.folder),
    )


def _parameters(network: Path) -> int:
    """Of one network, from the headers of its plain weights, or of another variant where there are none."""
    read_json(network / CONFIG, f"{network.name}/{CONFIG}")
    names = [path.name for path in network.iterdir()]
    there = variants(names)
    variant = None if None in there or not there else min(filter(None, there))
    files = weight_files(names, variant, network.name).files
    return total(read_header(network / name, f"{network.name}/{name}") for name in files)


def _to_be_trained(entry: Entry) -> Entry:
    """What a recipe will make; its generator is built without memory for weights, which takes PyTorch."""
    from accelerate import init_empty_weights

    from vid2vid_hub.tasks import get_task
    from vid2vid_hub.training.networks import build_generator
    from vid2vid_hub.training.parse import load_recipe

    recipe = load_recipe(entry.folder)
    with init_empty_weights():
        generator = build_generator(recipe, get_task(recipe.task, recipe.task_config))
    stage = recipe.stages[-1]
    parameters = sum(one.numel() for one in generator.parameters())
    return replace(entry, task=recipe.task, size=(stage.height, stage.width), parameters=parameters)


def _measures(folder: Path) -> dict[str, float]:
    """The model's own figures in the newest measurement of each kind, if they are of the weights that are there."""
    if not (folder / MEASURES).is_file():
        return {}
    from vid2vid_hub.hub.measures import read_measures  # with PyTorch: it looks at the weights

    newest = {one.kind: next(iter(one.systems.values())) for one in read_measures(folder)}
    return {name: value for values in newest.values() for name, value in values.items() if name != "windows"}


def cells(entry: Entry) -> tuple[str, ...]:
    """What stands under ``COLUMNS`` after the name, for people; empty where there is nothing to say."""
    size = "" if entry.size is None else f"{entry.size[1]}x{entry.size[0]}"
    parameters = "" if entry.parameters is None else f"{entry.parameters / 1e6:.3g} M"
    weights = f"{entry.weights / 1e6:.3g} MB" if entry.weights else "train it" if entry.problem is None else ""
    measures = ", ".join(f"{name} {value:.4g}" for name, value in entry.measures.items())
    return entry.task or "", size, parameters, weights, measures


def markdown(entries: list[Entry], link: str) -> str:
    """The zoo as a table of a page.

    Args:
        entries: what :func:`zoo` found.
        link: where the folder that was looked through is, from the page.

    Raises:
        ModelError: an entry is broken; a table for readers has only what works.
    """
    lines = [f"| {' | '.join(COLUMNS)} |", f"|{'---|' * len(COLUMNS)}"]
    for entry in entries:
        if entry.problem is not None:
            raise ModelError(f"{entry.folder} cannot be used: {entry.problem}")
        page = "README.md" if (entry.folder / "README.md").is_file() else RECIPE
        lines.append(f"| {' | '.join([f'[{entry.name}]({link}/{entry.name}/{page})', *cells(entry)])} |")
    return "\n".join(lines) + "\n"


def rewritten(page: Path) -> str:
    """The text of a page with the table of this checkout's zoo between its two marks.

    Raises:
        ModelError: it has no place for it.
    """
    text = page.read_text("utf-8")
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise ModelError(f"{page} has no place for the zoo: expected {BEGIN} and {END}, on lines of their own")
    root = shipped()
    link = f"{'../' * len(page.resolve().parent.relative_to(root.parent).parts)}{root.name}"
    return f"{before}{begin}\n\n{markdown(zoo(root), link)}\n{end}{after}"


if __name__ == "__main__":
    for named in sys.argv[1:]:
        Path(named).write_text(rewritten(Path(named)), encoding="utf-8")

"""What is typed at the command line, read; and what is shown there."""

from __future__ import annotations

import json
import os
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from typer.core import TyperCommand

from vid2vid_hub.errors import Vid2VidError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from vid2vid_hub.recursion import FirstFrames


class ListsCommand(TyperCommand):
    """A command with options that take several values: ``--conditions a.mkv b.mkv``."""

    several = ("--conditions", "--instances", "--first-frames")

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Repeat the option before each of its values, as typer wants it."""
        spread: list[str] = []
        option = ""
        for arg in args:
            if arg.startswith("-"):
                option = arg if arg in self.several else ""
            elif option and spread[-1] != option:
                spread.append(option)
            spread.append(arg)
        return super().parse_args(ctx, spread)


def parse_pairs(texts: list[str]) -> dict[str, str]:
    """KEY=VALUE texts by their keys."""
    for text in texts:
        if "=" not in text:
            raise Vid2VidError(f"'{text}' is not a setting; write KEY=VALUE")
    return dict(text.split("=", 1) for text in texts)


def parse_values(pairs: dict[str, str]) -> dict[str, Any]:
    """The values as YAML says what they are: numbers, words, lists."""
    import yaml

    try:
        return {key: yaml.safe_load(value) for key, value in pairs.items()}
    except yaml.YAMLError as error:
        raise Vid2VidError(f"a setting is no YAML value: {error}") from error


def parse_by_task(texts: list[str]) -> dict[str, dict[str, Any]]:
    """TASK.KEY=VALUE texts as settings by task."""
    found: dict[str, dict[str, Any]] = {}
    for name, value in parse_values(parse_pairs(texts)).items():
        task, dot, key = name.partition(".")
        if not (task and dot and key):
            raise Vid2VidError(f"'{name}' is not a setting of a task; write TASK.KEY=VALUE")
        found.setdefault(task, {})[key] = value
    return found


def parse_size(text: str | None) -> tuple[int, int] | None:
    """(height, width) from "256x144"; None stays None."""
    if text is None:
        return None
    width, _, height = text.partition("x")
    if not (width.isdigit() and height.isdigit() and int(width) and int(height)):
        raise Vid2VidError(f"'{text}' is not a size; write WIDTHxHEIGHT in pixels, e.g. 256x144")
    return int(height), int(width)


def open_first_frames(values: list[str]) -> FirstFrames | None:
    """What a video goes on from: a word, pictures, or None."""
    from PIL import Image, UnidentifiedImageError

    if values in (["generated"], ["zeros"]):
        return values[0]
    pictures = []
    for value in values:
        if value in ("generated", "zeros"):
            raise Vid2VidError(f"--first-frames {value} stands alone; a picture of that name is ./{value}")
        try:
            pictures.append(Image.open(value).convert("RGB"))
        except (OSError, UnidentifiedImageError) as error:
            raise Vid2VidError(f"the first frame {value} is not a picture that can be read: {error}") from error
    return pictures or None


def print_table(title: str, figures: dict[str, dict[str, float]], measures: Iterable[str]) -> None:
    """A row for each system, a column for each measure that any of them has."""
    from rich.console import Console
    from rich.table import Column, Table

    there = [m for m in measures if any(m in values for values in figures.values())]
    table = Table("system", *(Column(m, justify="right", no_wrap=True) for m in there), title=title)
    for system, values in figures.items():
        table.add_row(system, *(f"{values[m]:.4f}" if m in values else "" for m in there))
    Console().print(table)


def write_json(path: Path, figures: dict[str, Any]) -> None:
    """A JSON file that appears when it is whole."""
    beside = path.with_name(f".{path.name}.part")
    try:
        beside.write_text(json.dumps(figures, indent=1))
        beside.replace(path)
    except OSError as error:
        beside.unlink(missing_ok=True)
        raise Vid2VidError(f"{path} cannot be written: {error}") from error


def is_first_process() -> bool:
    """Whether this is the only process, or the one of several that speaks."""
    return os.environ.get("RANK", "0") == "0"


def leave(code: int) -> NoReturn:
    """End this process with an exit code.

    One of several of a training ends at once: torch's threads may still run, and the usual end of the interpreter then
    aborts with a signal in place of the code ("terminate called without an active exception").
    """
    distributed = sys.modules.get("torch.distributed")
    if distributed is not None and distributed.is_available() and distributed.is_initialized():
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)


@contextmanager
def progress_bar(title: str) -> Iterator[Callable[[str, int | None, int | None], None]]:
    """A bar for what takes longer than two seconds; call it with a text, how much is done, and of how much."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    text = TextColumn("{task.description}", markup=False)
    console = Console(stderr=True, quiet=not is_first_process())
    with Progress(
        BarColumn(bar_width=20), MofNCompleteColumn(), TimeElapsedColumn(), text, console=console
    ) as progress:
        bar = progress.add_task(title, total=None)
        try:
            yield lambda text, done, total: progress.update(bar, description=text, completed=done, total=total)
        except BaseException:
            # What failed leaves its one sentence and no bar before it: erased on a terminal, never printed elsewhere.
            progress.live.transient, progress.console.quiet = True, not progress.console.is_terminal
            raise

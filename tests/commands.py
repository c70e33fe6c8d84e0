"""What tests of the command line share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple


class Said(NamedTuple):
    """What a command left behind."""

    code: int
    out: str
    err: str


Command = Callable[..., Said]


def is_one_sentence(said: Said) -> bool:
    """Whether it is a mistake that a person can mend, said as such."""
    lines = said.err.splitlines()
    return said.code == 2 and not said.out and len(lines) == 1 and lines[0].startswith("error: ")


def left_in(folder: Path) -> list[str]:
    """What is in a folder, and in those in it."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))

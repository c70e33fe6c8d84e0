"""Somebody who does what the pages say: a process that runs their blocks, one page after the other.

It reads one JSON value a line, {"folder": where to be, "page": its name, "blocks": [{"language", "text", "line"}]}, and
answers each with one: null, or what went wrong and at which line of the page.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import subprocess
import sys
import tomllib
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.pages import ROOT, commands


class FailedError(Exception):
    """A block does not do what the page says."""


def follow(page: str, blocks: list[dict[str, Any]]) -> str | None:
    """Run the blocks of a page; Python blocks share their names, as in one session."""
    names: dict[str, Any] = {"__name__": "__main__"}
    for block in blocks:
        said = io.StringIO()
        try:
            with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
                if block["language"] == "python":
                    exec(compile("\n" * block["line"] + block["text"], page, "exec"), names)
                else:
                    for words in commands(block["text"]):
                        run(words)
        except BaseException:
            where = f"{page}, block at line {block['line']}"
            return "\n".join((where, block["text"], said.getvalue(), traceback.format_exc()))
    return None


def run(words: list[str]) -> None:
    """One command: ours here and now; for those that install or build, that what they name is there."""
    program, *rest = words
    if program == "vid2vid-hub":
        ours(rest)
    elif program == "pip":
        project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
        extras = {extra for word in rest for listed in re.findall(r"\[(.+)\]", word) for extra in listed.split(",")}
        check(rest[0] == "install", f"pip {rest[0]} is not known here")
        check(extras <= set(project["optional-dependencies"]), f"pip: no extras {extras} in pyproject.toml")
    elif program == "make":
        subprocess.run(["make", "-n", *rest], cwd=ROOT, check=True, capture_output=True)
    elif program == "hf":
        subprocess.run([*words, "--help"], check=True, capture_output=True)
    else:
        raise FailedError(f"nobody here knows how to run '{program}'")


def ours(words: list[str]) -> None:
    """``vid2vid-hub`` in this process."""
    from vid2vid_hub.cli import main

    sys.argv = ["vid2vid-hub", *expanded(words)]
    try:
        main()
    except SystemExit as stop:
        check(not stop.code, f"{' '.join(sys.argv)} exited with {stop.code}")


def expanded(words: list[str]) -> Iterator[str]:
    """Words with the files that they stand for, as a shell has them."""
    for word in words:
        found = sorted(map(str, Path().glob(word))) if set(word) & set("*?") else []
        yield from found or [word]


def check(holds: bool, otherwise: str) -> None:
    """Complain."""
    if not holds:
        raise FailedError(otherwise)


if __name__ == "__main__":
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # whatever else is printed is no answer
    for line in sys.stdin:
        asked = json.loads(line)
        os.chdir(asked["folder"])
        answers.write(json.dumps(follow(asked["page"], asked["blocks"])) + "\n")

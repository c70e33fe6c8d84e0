"""The command about what is there: zoo."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from vid2vid_hub.cli.app import app
from vid2vid_hub.terminal import write_json

WIDE = 160
"""Columns of a table that is not read on a terminal."""


@app.command()
def zoo(
    folder: Annotated[
        Path | None,
        typer.Argument(help="A pipeline folder, or one of several; what comes with the package by default."),
    ] = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="Also write the list here.")] = None,
) -> None:
    """List pipelines: task, size, parameters, measures, and whether weights are at hand.

    What is broken is listed after the table, with the reason, and the exit code is 3.
    """
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Column, Table

    from vid2vid_hub.zoo import COLUMNS, cells, shipped, zoo

    root = shipped() if folder is None else folder
    entries = zoo(root)
    sound = [entry for entry in entries if entry.problem is None]
    if sound:
        table = Table(*(Column(name, overflow="fold") for name in COLUMNS), title=str(root), box=SIMPLE_HEAD)
        for entry in sound:
            table.add_row(entry.name, *cells(entry))
        Console(width=None if sys.stdout.isatty() else WIDE).print(table)
    for entry in entries:
        if entry.problem is not None:
            typer.echo(f"{entry.folder} cannot be used: {entry.problem}")
    if json_file is not None:
        write_json(json_file, {"pipelines": [entry.plain() for entry in entries]})
    if len(sound) < len(entries):
        raise typer.Exit(3)

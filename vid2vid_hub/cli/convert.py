"""The command that turns other people's checkpoints into pipelines."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vid2vid_hub.cli.app import app
from vid2vid_hub.terminal import parse_pairs, parse_size, parse_values


@app.command()
def convert(
    checkpoints: Annotated[
        Path, typer.Argument(metavar="CHECKPOINTS_DIR", help="Holds latest_net_G0.pth, …; or latest_net_G.pth.")
    ],
    output: Annotated[Path, typer.Option(metavar="FOLDER", help="The pipeline folder to make.")],
    first_frame: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="A folder or file with the generator of single images for first frames."),
    ] = None,
    task: Annotated[
        str | None, typer.Option(help="The task, where the channels of the networks do not say it.")
    ] = None,
    setting: Annotated[list[str] | None, typer.Option(help="A setting of the task, as KEY=VALUE.")] = None,
    which: Annotated[
        str | None, typer.Option(metavar="latest|EPOCH", help="Which of several epochs; the latest by default.")
    ] = None,
    size: Annotated[
        str | None, typer.Option(metavar="WxH", help="What they were trained at, e.g. 2048x1024; no file says it.")
    ] = None,
) -> None:
    """Turn checkpoints of vid2vid or pix2pixHD (.pth) into a pipeline folder.

    What the networks are is found in the names and shapes of their weights, all of which must have their place.

    FOLDER-training gets a recipe to go on training with, and the discriminators where there are any.

    Files are opened by another process, under limits of memory and time and without a network.
    """
    from diffusers.utils import logging

    from vid2vid_hub.convert import convert as run

    logging.disable_progress_bar()
    done = run(
        checkpoints,
        output,
        task=task,
        task_config=parse_values(parse_pairs(setting or [])),
        which=which,
        size=parse_size(size),
        first_frame=first_frame,
    )
    for name, config in done.networks.items():
        typer.echo(f"{name}: {', '.join(f'{key} {value}' for key, value in config.items())}")
    for note in done.notes:
        typer.echo(f"note: {note}", err=True)
    typer.echo(f"{done.folder}: {done.task}, converted from {done.system}")
    typer.echo(f"{done.training}: recipe.yaml, to go on training")

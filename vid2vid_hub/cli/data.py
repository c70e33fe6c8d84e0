"""Commands about data: the tasks that are installed, videos and drawn worlds to dataset folders."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from vid2vid_hub.cli.app import Size, app
from vid2vid_hub.tasks import get_task, list_tasks
from vid2vid_hub.terminal import ListsCommand, parse_pairs, parse_size, parse_values, progress_bar

if TYPE_CHECKING:
    from vid2vid_hub.tasks import Task


@app.command()
def tasks() -> None:
    """List the installed tasks."""
    for name in list_tasks():
        typer.echo(name)


@app.command(cls=ListsCommand)
def prepare(
    videos: Annotated[list[Path], typer.Argument(help="Videos, or folders of frames.")],
    task: Annotated[str, typer.Option(help="The task that the conditions belong to.")],
    output: Annotated[Path, typer.Option(help="The dataset folder to make.")],
    conditions: Annotated[
        list[Path] | None, typer.Option(help="Their conditions, in the same order; extracted when left out.")
    ] = None,
    instances: Annotated[list[Path] | None, typer.Option(help="Their instance ids, in the same order.")] = None,
    size: Size = None,
    val: Annotated[list[str] | None, typer.Option(help="Held out: NAME of a video, or NAME:START:STOP.")] = None,
    flow: Annotated[str, typer.Option(help="Flow teacher to cache: dis, raft, raft-small or none.")] = "dis",
    flow_weights: Annotated[str | None, typer.Option(help="Weights of the flow teacher, if it needs any.")] = None,
    setting: Annotated[list[str] | None, typer.Option(help="A setting of the task, as KEY=VALUE.")] = None,
    min_frames: Annotated[
        int | None,
        typer.Option(min=1, help="Leave shorter clips out; by default what cuts or gaps made shorter than 16."),
    ] = None,
    max_frames: Annotated[int, typer.Option(min=1, help="Split longer shots into clips of at most so many.")] = 600,
    workers: Annotated[
        int, typer.Option(min=0, help="Processes; by default one, or as many as a Ray cluster has CPUs.")
    ] = 0,
    engine: Annotated[
        str, typer.Option(help="local, or ray: on the cluster of RAY_ADDRESS, which must see the same files.")
    ] = "local",
    restart: Annotated[
        bool, typer.Option("--restart", help="Begin anew, where the same command was stopped before its end.")
    ] = False,
    licence: Annotated[
        str | None, typer.Option(help="The videos' licence as the Hub writes it, e.g. mit or cc-by-4.0; for the card.")
    ] = None,
    source: Annotated[str | None, typer.Option(help="Where the videos come from: an address or a few words.")] = None,
    people: Annotated[
        str | None, typer.Option(help="Who is to be seen: nobody, drawn, consented, or other words; for the card.")
    ] = None,
) -> None:
    """Make a dataset folder out of videos: in shots, checked frame by frame. What was stopped is gone on with.

    The exit code is 3 when frames or videos had to be left out.
    """
    from vid2vid_hub.data import prepare as data
    from vid2vid_hub.data.origin import Origin
    from vid2vid_hub.nn.frozen import flow_teacher

    origin = Origin(licence and licence.lower(), source, people)
    materials = data.match(videos, conditions or [], instances or [])
    with progress_bar("preparing") as show:
        seen = {"text": "looking for cuts", "done": 0, "total": len(materials)}

        def say(**news: Any) -> None:
            seen.update(news)
            show(*cast("tuple[str, int, int]", tuple(seen.values())))

        prepared = data.prepare(
            materials,
            output,
            _task(task, setting or []),
            size=parse_size(size),
            held_out=[data.HeldOut.parse(text) for text in val or []],
            teacher=None if flow == "none" else flow_teacher(flow, flow_weights),
            report=lambda name, frames: say(text=f"{name}: {frames} frames"),
            progress=lambda done, total: say(done=done, total=total),
            min_frames=min_frames,
            max_frames=max_frames,
            engine=engine,
            workers=workers,
            restart=restart,
            origin=origin,
        )
    typer.echo(f"{output}: {_counted(output)}")
    for line in data.summary(prepared):
        typer.echo(line)
    if prepared.left_out or prepared.failed:
        raise typer.Exit(3)


@app.command()
def draw(
    task: Annotated[str, typer.Option(help="The task whose drawn world is to be seen.")],
    output: Annotated[Path, typer.Option(help="The dataset folder to make.")],
    clips: Annotated[int, typer.Option(min=1, help="How many clips.")] = 8,
    frames: Annotated[int, typer.Option(min=1, help="Frames of each.")] = 120,
    size: Annotated[str, typer.Option(metavar="WxH", help="Their size in pixels.")] = "128x128",
    seed: Annotated[int, typer.Option(help="What is drawn; each clip has the next one.")] = 0,
    val: Annotated[int, typer.Option(min=0, help="How many of the clips are held out.")] = 1,
    flow: Annotated[str, typer.Option(help="Flow teacher to cache: dis, raft, raft-small or none.")] = "dis",
    setting: Annotated[list[str] | None, typer.Option(help="A setting of the task, as KEY=VALUE.")] = None,
) -> None:
    """Make a dataset folder of a task's own drawn world, for trying the task without data."""
    from vid2vid_hub.data.drawn import draw_dataset
    from vid2vid_hub.nn.frozen import flow_teacher

    with progress_bar("drawing") as show:
        draw_dataset(
            _task(task, setting or []),
            output,
            clips=clips,
            frames=frames,
            size=cast("tuple[int, int]", parse_size(size)),
            seed=seed,
            val=val,
            teacher=None if flow == "none" else flow_teacher(flow),
            report=lambda name, drawn: show(name, drawn, frames),
        )
    typer.echo(f"{output}: {_counted(output)}")


def _task(name: str, settings: list[str]) -> Task:
    return get_task(name, parse_values(parse_pairs(settings)))


def _counted(folder: Path) -> str:
    from vid2vid_hub.data.clips import SPLITS, read_clips

    found = {split: read_clips(folder, split) for split in SPLITS}
    return ", ".join(f"{split} {len(c)} clips, {sum(x.length for x in c)} frames" for split, c in found.items())

"""Commands that make videos: generate, demo."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vid2vid_hub.cli.app import Device, Model, Size, app, load
from vid2vid_hub.errors import ConditionError, TaskError, Vid2VidError, VideoError
from vid2vid_hub.terminal import (
    ListsCommand,
    open_first_frames,
    parse_by_task,
    parse_pairs,
    parse_size,
    parse_values,
    progress_bar,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from vid2vid_hub.tasks import Task
    from vid2vid_hub.types import Condition


@app.command(cls=ListsCommand)
def generate(
    model: Model,
    source: Annotated[Path, typer.Argument(metavar="INPUT", help="A condition or a real video; a file or a folder.")],
    output: Annotated[Path, typer.Option(help="The video to write: .mp4, .mkv or .mov.")],
    side_by_side: Annotated[
        bool, typer.Option("--side-by-side", help="Also write the condition beside the generated video.")
    ] = False,
    condition: Annotated[
        bool | None, typer.Option("--condition/--video", help="What INPUT is; found out by looking when left out.")
    ] = None,
    first_frames: Annotated[
        list[str] | None,
        typer.Option(
            metavar="generated|zeros|FILE",
            help="What to go on from: frames made by the model's own network for them, nothing, or pictures.",
        ),
    ] = None,
    size: Size = None,
    fps: Annotated[float | None, typer.Option(help="Frames a second; those of the input by default.")] = None,
    future: Annotated[
        int | None, typer.Option(min=1, help="Go on after INPUT for this many frames, and write only those.")
    ] = None,
    samples: Annotated[
        int, typer.Option(min=1, help="How many futures: the likeliest in OUTPUT, others in OUTPUT-2, OUTPUT-3, …")
    ] = 1,
    seed: Annotated[int, typer.Option(help="Of the futures after the first, which are drawn.")] = 0,
    style: Annotated[
        int | None,
        typer.Option(min=0, help="Which of the looks that its model for first frames knows; the first by default."),
    ] = None,
    relabel: Annotated[
        list[str] | None,
        typer.Option(metavar="CLASS=CLASS", help="Exchange a class of the labels for another; can be repeated."),
    ] = None,
    mark: Annotated[bool, typer.Option("--mark", help="Show on every frame, small, that it is generated.")] = False,
    setting: Annotated[
        list[str] | None, typer.Option(help="How the task extracts, as KEY=VALUE: another model, its weights, …")
    ] = None,
    device: Device = None,
) -> None:
    """Generate a video from a condition, or from a real video whose condition the task extracts."""
    from vid2vid_hub.render import is_condition, render, render_futures

    if samples > 1 and future is None:
        raise Vid2VidError("--samples asks for several futures; say with --future how many frames each of them has")
    if style is not None and future is not None:
        raise Vid2VidError("--style chooses the look of a video's first frames, and a future has none; leave one out")
    if not source.exists():  # before the model, which takes longer
        raise VideoError(f"{source} does not exist; give a video, a folder of pictures, or conditions of the task")
    pipeline = load(model, device)
    if setting:
        pipeline.adapt(**parse_values(parse_pairs(setting)))
    edits = _edits(pipeline.task, relabel or [])
    rate, total, given_size = _looked_at(pipeline.task, source)
    drawn = is_condition(pipeline.task, source) if condition is None else condition
    given = {"condition": source} if drawn else {"video": source}
    if size is None:
        _note_size(pipeline.size, given_size)
    with progress_bar("generating") as show:
        how: dict[str, Any] = {
            "fps": rate if fps is None else fps,
            "side_by_side": side_by_side,
            "mark": mark,
            "report": lambda frames: show("frames", frames, total),
        }
        try:
            begin = open_first_frames(first_frames or [])
            if future is not None:
                total = future * samples
                past = pipeline.past(**given, first_frames=begin, size=parse_size(size))
                made = render_futures(
                    pipeline,
                    replace(past, condition=edits(past.condition)),
                    output,
                    future=future,
                    samples=samples,
                    seed=seed,
                    first_frames=begin,
                    **how,
                )
            else:
                found = map(edits, pipeline.conditions(**given, size=parse_size(size)))
                made = iter([render(pipeline, found, output, first_frames=begin, style=style, **how)])
            rendered = list(made)
        except ConditionError as error:
            raise ConditionError(f"{source}, {error}") from error
    for one in rendered:
        for path in (one.video, one.side_by_side):
            if path is not None:
                typer.echo(f"{path}: {one.frames} frames")


@app.command()
def demo(
    output: Annotated[Path, typer.Option(help="Folder for the videos.")] = Path("demo"),
    device: Device = None,
    web: Annotated[bool, typer.Option("--web", help="Serve the app instead, in which all tasks can be tried.")] = False,
    host: Annotated[str | None, typer.Option(help="Of --web: the address to serve at; 127.0.0.1 by default.")] = None,
    port: Annotated[
        int | None, typer.Option(min=1, max=65535, help="Of --web: the first free one from 7860 by default.")
    ] = None,
    model: Annotated[
        list[str] | None, typer.Option(help="Of --web: a folder or Hub id to offer; can be repeated.")
    ] = None,
    setting: Annotated[
        list[str] | None,
        typer.Option(metavar="TASK.KEY=VALUE", help="Of --web: how a task extracts: another model, its weights, …"),
    ] = None,
    public: Annotated[
        bool, typer.Option("--public", help="Of --web: with the limits and marks of a Space, for strangers.")
    ] = False,
) -> None:
    """Generate five seconds of street with the starter that comes with the package; or serve the app."""
    if web:
        from vid2vid_hub.app import LOCAL, PUBLIC, build, launch

        limits = PUBLIC if public else LOCAL
        page = build(limits, models=model or (), settings=parse_by_task(setting or []), device=device)
        launch(page, limits, server_name=host, server_port=port)
        return
    if host or port or model or setting or public:
        raise Vid2VidError("--host, --port, --model, --setting and --public are of the app; add --web")
    from vid2vid_hub.folder import starter

    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise Vid2VidError(f"the folder {output} cannot be made: {error}") from error
    folder = starter("street-starter")
    generate(
        str(folder), folder / "sample.mkv", output / "street.mp4", side_by_side=True, condition=True, device=device
    )


def _note_size(trained: tuple[int, int] | None, given: tuple[int, int] | None) -> None:
    """Say where a model is not asked for the (height, width) that it was trained at."""
    if trained is not None and trained != given:
        size = f"{trained[1]}x{trained[0]}"
        typer.echo(f"note: this model was trained at {size}; --size {size} may look better", err=True)


def _edits(task: Task, texts: list[str]) -> Callable[[Condition], Condition]:
    """What exchanges the classes of a condition as CLASS=CLASS texts say."""
    from vid2vid_hub.ops.edit import relabel

    if not texts:
        return lambda condition: condition
    if task.labels is None:
        raise TaskError(f"--relabel exchanges classes of a label map, and a condition of {task.name} has none")
    pairs: dict[str, str] = {}
    for text in texts:
        old, sign, new = text.partition("=")
        if not sign:
            raise TaskError(f"--relabel {text} says of no class what it becomes; write CLASS=CLASS")
        if pairs.setdefault(old, new) != new:
            raise TaskError(f"--relabel gives '{old}' twice, for {pairs[old]} and for {new}; give it once")
    classes, foreground = task.labels.edits(pairs), task.labels.foreground
    return lambda condition: relabel(condition, classes, foreground)


def _looked_at(task: Task, source: Path) -> tuple[Fraction, int | None, tuple[int, int] | None]:
    """Frames a second, how many, and (height, width) of an input; key points in files may not tell."""
    from vid2vid_hub.data.video import open_video

    if task.reads(source):
        return Fraction(25), None, None
    with open_video(source) as reader:
        return reader.fps, len(reader), reader.size

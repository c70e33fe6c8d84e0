"""The command line: every command reads its arguments, calls one function of the library, and says what came of it."""

from __future__ import annotations

import signal
import sys
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from vid2vid_hub.errors import ConditionError, StoppedError, Vid2VidError, VideoError
from vid2vid_hub.tasks import get_task, list_tasks
from vid2vid_hub.terminal import (
    ListsCommand,
    is_first_process,
    open_first_frames,
    parse_pairs,
    parse_size,
    parse_values,
    print_table,
    progress_bar,
    write_json,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from vid2vid_hub.pipeline import Vid2VidPipeline
    from vid2vid_hub.tasks import Task
    from vid2vid_hub.training.trainer import Progress

app = typer.Typer(
    help="Turn one video into another: label maps into streets, sketches into faces, poses into dance.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)

Size = Annotated[str | None, typer.Option(metavar="WxH", help="Resize to this many pixels, e.g. 256x144.")]
Model = Annotated[str, typer.Argument(help="A pipeline folder, a starter's name, or org/name on the Hub.")]
Device = Annotated[str | None, typer.Option(help="cpu, cuda, mps, …; the best that is there by default.")]
_debug = False


@app.callback()
def _options(debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks.")] = False) -> None:
    global _debug
    _debug = debug


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
) -> None:
    """Make a dataset folder out of videos: in shots, checked frame by frame. What was stopped is gone on with.

    The exit code is 3 when frames or videos had to be left out.
    """
    from vid2vid_hub.data import prepare as data
    from vid2vid_hub.nn.frozen import flow_teacher

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


@app.command()
def train(
    data: Annotated[Path | None, typer.Option(help="A dataset folder, or one in the released layout.")] = None,
    output: Annotated[Path | None, typer.Option(help="The run folder: checkpoints, log, and the pipeline.")] = None,
    task: Annotated[str | None, typer.Option(help="The task; its own recipe unless --recipe is given.")] = None,
    recipe: Annotated[Path | None, typer.Option(help="A recipe.yaml, or a pipeline folder that has one.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the newest checkpoint of the run.")] = False,
    change: Annotated[list[str] | None, typer.Option("--set", help="A change to the recipe, as KEY=VALUE.")] = None,
    workers: Annotated[int, typer.Option(min=0, help="Processes that read clips ahead.")] = 0,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what would be trained, how, and in how much memory.")
    ] = False,
) -> None:
    """Train a generator; what it has learned is in OUTPUT/pipeline. Alone, or under torchrun."""
    from diffusers.utils import logging

    from vid2vid_hub.training.plan import plan
    from vid2vid_hub.training.run import find_recipe, start_run

    changes = parse_pairs(change or [])
    if dry_run:
        kept = output if output and resume else recipe
        for paragraph in plan(find_recipe(task, kept, changes)):
            typer.echo(paragraph)
        return
    if data is None or output is None:
        raise Vid2VidError("a training needs --data and --output; --dry-run does without")
    logging.disable_progress_bar()
    with progress_bar("training") as show:
        folder = start_run(
            data,
            output,
            task=task,
            recipe=recipe,
            resume=resume,
            changes=changes,
            workers=workers,
            report=_losses(show),
            announce=lambda text: typer.echo(text, err=True),
        )
    if is_first_process():
        typer.echo(f"{folder}")


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
    setting: Annotated[
        list[str] | None, typer.Option(help="How the task extracts, as KEY=VALUE: another model, its weights, …")
    ] = None,
    device: Device = None,
) -> None:
    """Generate a video from a condition, or from a real video whose condition the task extracts."""
    from vid2vid_hub.render import is_condition, render, render_futures

    if samples > 1 and future is None:
        raise Vid2VidError("--samples asks for several futures; say with --future how many frames each of them has")
    if not source.exists():  # before the model, which takes longer
        raise VideoError(f"{source} does not exist; give a video, a folder of pictures, or conditions of the task")
    pipeline = _load(model, device)
    if setting:
        pipeline.adapt(**parse_values(parse_pairs(setting)))
    rate, total, given_size = _looked_at(pipeline.task, source)
    drawn = is_condition(pipeline.task, source) if condition is None else condition
    given = {"condition": source} if drawn else {"video": source}
    if size is None and pipeline.size is not None and pipeline.size != given_size:
        height, width = pipeline.size
        trained = f"{width}x{height}"
        typer.echo(f"note: this model was trained at {trained}; --size {trained} may look better", err=True)
    with progress_bar("generating") as show:
        how: dict[str, Any] = {
            "fps": rate if fps is None else fps,
            "side_by_side": side_by_side,
            "report": lambda frames: show("frames", frames, total),
        }
        try:
            begin = open_first_frames(first_frames or [])
            if future is not None:
                total = future * samples
                made = render_futures(
                    pipeline,
                    pipeline.past(**given, first_frames=begin, size=parse_size(size)),
                    output,
                    future=future,
                    samples=samples,
                    seed=seed,
                    first_frames=begin,
                    **how,
                )
            else:
                found = pipeline.conditions(**given, size=parse_size(size))
                made = iter([render(pipeline, found, output, first_frames=begin, **how)])
            rendered = list(made)
        except ConditionError as error:
            raise ConditionError(f"{source}, {error}") from error
    for one in rendered:
        for path in (one.video, one.side_by_side):
            if path is not None:
                typer.echo(f"{path}: {one.frames} frames")


@app.command()
def evaluate(
    model: Model,
    data: Annotated[Path, typer.Option(help="A dataset folder.")],
    split: Annotated[str, typer.Option(help="Which of its splits.")] = "val",
    lpips: Annotated[Path | None, typer.Option(help="Safetensors of VGG16 and the LPIPS heads.")] = None,
    i3d: Annotated[str | None, typer.Option(help="Safetensors of I3D, for the distances fvd and kvd.")] = None,
    first_frames: Annotated[
        str | None,
        typer.Option(metavar="real|generated|zeros", help="What to go on from; real ones are given and not measured."),
    ] = None,
    future: Annotated[
        bool, typer.Option("--future", help="Measure its forecasts of label maps instead of its pictures.")
    ] = False,
    every: Annotated[int, typer.Option(min=1, help="With --future: frames from one forecast to the next.")] = 1,
    json_file: Annotated[Path | None, typer.Option("--json", help="Also write the figures here.")] = None,
    device: Device = None,
) -> None:
    """Measure a pipeline on held-out clips, beside floors that it must beat."""
    from vid2vid_hub.data.open import open_clips
    from vid2vid_hub.evaluation import masks, report
    from vid2vid_hub.nn.frozen import flow_teacher

    pipeline = _load(model, device)
    clips = open_clips(data, split, pipeline.task)
    with progress_bar("evaluating") as show:
        how: dict[str, Any] = {"teacher": flow_teacher(), "progress": lambda clip: show(clip, None, None)}
        if future:
            figures = masks.evaluate_future(pipeline, clips, every=every, **how)
        else:
            figures = report.evaluate(
                pipeline, clips, lpips_weights=lpips, i3d_weights=i3d, first_frames=first_frames, **how
            )
    title = f"{len(clips)} clips, {sum(clip.length for clip in clips)} frames"
    windows = next(iter(figures.values())).get("windows")
    measures = masks.MEASURES if future else report.MEASURES
    print_table(title if windows is None else f"{title}, {windows:.0f} windows", figures, measures)
    if json_file is not None:
        write_json(json_file, figures)


@app.command()
def benchmark(
    model: Model,
    size: Size = None,
    frames: Annotated[int, typer.Option(min=1, help="Frames to time.")] = 20,
    device: Device = None,
) -> None:
    """Say how long a frame takes: in the network, outside it, and in all."""
    from vid2vid_hub.evaluation.benchmark import benchmark as run

    pipeline = _load(model, device)
    timing = run(pipeline, parse_size(size) or pipeline.size or (256, 512), frames)
    height, width = timing.size
    typer.echo(f"{width}x{height} on {pipeline.device}, {timing.threads} threads, median of {frames} frames")
    typer.echo(f"network {timing.network:.1f} ms, host {timing.host:.1f} ms, whole {timing.whole:.1f} ms a frame")
    typer.echo(f"outside the network: {timing.outside:.1%}")
    typer.echo(
        f"resident: {timing.early:.0f} MiB after a tenth, {timing.late:.0f} MiB at the end ({timing.growth:+.2%})"
    )


@app.command()
def demo(
    output: Annotated[Path, typer.Option(help="Folder for the videos.")] = Path("demo"),
    device: Device = None,
) -> None:
    """Generate five seconds of street with the starter that comes with the package."""
    from vid2vid_hub.folder import starter

    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise Vid2VidError(f"the folder {output} cannot be made: {error}") from error
    folder = starter("street-starter")
    generate(
        str(folder), folder / "sample.mkv", output / "street.mp4", side_by_side=True, condition=True, device=device
    )


def main() -> None:
    """Run the command line; mistakes that a person can mend are one sentence and exit code 2.

    A training that SIGTERM stopped says so in one sentence, too, and exits as the shell calls that signal: 143.
    """
    try:
        app()
    except StoppedError as stop:
        if is_first_process():
            typer.echo(str(stop), err=True)
        sys.exit(128 + signal.SIGTERM)
    except Vid2VidError as error:
        if _debug:
            raise
        typer.echo(f"error: {' '.join(str(error).split())}", err=True)
        sys.exit(2)


def _load(model: str, device: str | None) -> Vid2VidPipeline:
    import torch
    from diffusers.utils import logging

    from vid2vid_hub.folder import starter
    from vid2vid_hub.pipeline import Vid2VidPipeline

    logging.disable_progress_bar()
    plain = "/" not in model and not Path(model).exists()
    pipeline = Vid2VidPipeline.from_pretrained(starter(model) if plain else model)
    best = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        return cast("Vid2VidPipeline", pipeline.to(device or best))
    except (RuntimeError, AssertionError) as error:
        raise Vid2VidError(f"the device '{device}' cannot be used: {str(error).splitlines()[0]}") from error


def _looked_at(task: Task, source: Path) -> tuple[Fraction, int | None, tuple[int, int] | None]:
    """Frames a second, how many, and (height, width) of an input; key points in files may not tell."""
    from vid2vid_hub.data.video import open_video

    if task.reads(source):
        return Fraction(25), None, None
    with open_video(source) as reader:
        return reader.fps, len(reader), reader.size


def _task(name: str, settings: list[str]) -> Task:
    return get_task(name, parse_values(parse_pairs(settings)))


def _counted(folder: Path) -> str:
    from vid2vid_hub.data.clips import SPLITS, read_clips

    found = {split: read_clips(folder, split) for split in SPLITS}
    return ", ".join(f"{split} {len(c)} clips, {sum(x.length for x in c)} frames" for split, c in found.items())


def _losses(show: Callable[[str, int | None, int | None], None]) -> Callable[[Progress], None]:
    def report(progress: Progress) -> None:
        position = progress.position
        terms = " ".join(f"{name} {value:.3f}" for name, value in progress.terms.items())
        epoch = f"epoch {position.epoch + 1}/{progress.epochs} step {position.step}"
        show(f"{epoch} {terms}", position.batch, progress.batches)

    return report


if __name__ == "__main__":
    main()

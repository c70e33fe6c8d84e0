"""Commands about learning: train, evaluate, benchmark."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vid2vid_hub.cli.app import Device, Model, Size, app, load
from vid2vid_hub.errors import Vid2VidError
from vid2vid_hub.terminal import is_first_process, parse_pairs, parse_size, print_table, progress_bar, write_json

if TYPE_CHECKING:
    from collections.abc import Callable

    from vid2vid_hub.training.trainer import Progress


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
    save: Annotated[
        bool, typer.Option("--save", help="Keep the figures in the model's folder (measures.json), for its card.")
    ] = False,
    device: Device = None,
) -> None:
    """Measure a pipeline on held-out clips, beside floors that it must beat."""
    from vid2vid_hub.data.open import open_clips
    from vid2vid_hub.evaluation import masks, report
    from vid2vid_hub.evaluation.keep import keep, keeping
    from vid2vid_hub.nn.frozen import flow_teacher

    kept = keeping(model) if save else None
    pipeline = load(model, device)
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
    if kept is not None:
        where: dict[str, Any] = {"data": data.resolve().name, "split": split, "every": every if future else None}
        keep(kept, pipeline, clips, figures, first_frames=first_frames, **where)


@app.command()
def benchmark(
    model: Model,
    size: Size = None,
    frames: Annotated[int, typer.Option(min=1, help="Frames to time.")] = 20,
    device: Device = None,
) -> None:
    """Say how long a frame takes: in the network, outside it, and in all."""
    from vid2vid_hub.evaluation.benchmark import benchmark as run

    pipeline = load(model, device)
    timing = run(pipeline, parse_size(size) or pipeline.size or (256, 512), frames)
    height, width = timing.size
    typer.echo(f"{width}x{height} on {pipeline.device}, {timing.threads} threads, median of {frames} frames")
    typer.echo(f"network {timing.network:.1f} ms, host {timing.host:.1f} ms, whole {timing.whole:.1f} ms a frame")
    typer.echo(f"outside the network: {timing.outside:.1%}")
    typer.echo(
        f"resident: {timing.early:.0f} MiB after a tenth, {timing.late:.0f} MiB at the end ({timing.growth:+.2%})"
    )


def _losses(show: Callable[[str, int | None, int | None], None]) -> Callable[[Progress], None]:
    def report(progress: Progress) -> None:
        position = progress.position
        terms = " ".join(f"{name} {value:.3f}" for name, value in progress.terms.items())
        epoch = f"epoch {position.epoch + 1}/{progress.epochs} step {position.step}"
        show(f"{epoch} {terms}", position.batch, progress.batches)

    return report

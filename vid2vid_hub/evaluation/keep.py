"""A report into the folder of the model that it is about, from where its card takes it."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

from vid2vid_hub.data.clips import ClipSource
from vid2vid_hub.errors import ModelError
from vid2vid_hub.evaluation import masks, report
from vid2vid_hub.folder import INDEX
from vid2vid_hub.hub.measures import Measurement, save_measures, weights_digest
from vid2vid_hub.pipeline import Vid2VidPipeline


def keeping(model: str | Path) -> Path:
    """The folder that figures of a model can be kept in.

    Raises:
        ModelError: the model is not in a folder of this machine.
    """
    folder = Path(model)
    if not (folder / INDEX).is_file():
        raise ModelError(
            f"--save keeps figures in the model's folder, and {model} is no folder here; measure the folder that it "
            "was pushed from, and push it again"
        )
    return folder


def keep(
    folder: Path,
    pipeline: Vid2VidPipeline,
    clips: Sequence[ClipSource],
    figures: dict[str, dict[str, float]],
    *,
    data: str,
    split: str,
    first_frames: str | None = None,
    every: int | None = None,
) -> None:
    """Keep what :func:`report.evaluate` found, or what :func:`masks.evaluate_future` found, in ``measures.json``.

    Args:
        folder: that the pipeline was loaded from.
        pipeline: what was measured.
        clips: on what.
        figures: what was found.
        data: name of the dataset.
        split: of it.
        first_frames: as in :func:`report.evaluate`.
        every: as in :func:`masks.evaluate_future`; None for pictures.

    Raises:
        ModelError: the folder cannot be written.
    """
    begun = first_frames or ("zeros" if pipeline.first_frame is None else "generated")
    least = pipeline.observed if every is not None else max(1, pipeline.generator.history if begun == "real" else 0)
    measured = [clip for clip in clips if clip.length > least]
    sizes = {clip.size for clip in measured}
    height, width = sizes.pop() if len(sizes) == 1 else (None, None)
    words = report if every is None else masks
    named = {*figures, *(measure for values in figures.values() for measure in values)}
    measurement = Measurement(
        kind="frames" if every is None else "future",
        task=pipeline.task.name,
        data=data,
        split=split,
        clips=len(measured),
        frames=sum(clip.length for clip in measured),
        width=width,
        height=height,
        first_frames=begun if every is None else "observed",
        every=every,
        precision=str(pipeline.dtype).removeprefix("torch."),
        systems=figures,
        meaning={name: text for name, text in words.MEANING.items() if name in named},
        better={measure: way for measure, way in words.BETTER.items() if measure in named},
        weights=weights_digest(folder),
        version=version("vid2vid-hub"),
    )
    save_measures(folder, measurement)

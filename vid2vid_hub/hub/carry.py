"""What a pipeline's folder holds beside its networks, and what of it stays true where the pipeline is saved."""

from __future__ import annotations

import shutil
from pathlib import Path

from vid2vid_hub.folder import CONFIG
from vid2vid_hub.hub.contents import COMPANIONS, MEASURES, PREVIEW, find_sample, root_config
from vid2vid_hub.hub.measures import read_measures, weights_digest, write_measures


def carry(source: Path | None, folder: Path, task: str) -> None:
    """Put beside saved networks what belongs to them.

    The card is not carried: it is written when the pipeline is published. Measures and preview are those of certain
    weights, and are carried while the weights are the same.

    Args:
        source: the folder that the pipeline was loaded from; None where it was made here.
        folder: where it was saved.
        task: its name.

    Raises:
        OSError: the folder cannot be written.
        ModelError: the measures of the source are damaged.
    """
    (folder / CONFIG).write_text(root_config(task), encoding="utf-8")
    if source is None or not source.is_dir() or source.resolve() == folder.resolve():
        return
    measured = read_measures(source, current=False)
    digest = weights_digest(folder) if measured or (source / PREVIEW).is_file() else ""
    kept = [one for one in measured if one.weights == digest]
    if kept:
        write_measures(folder, kept)
    left = {MEASURES} | ({PREVIEW} if digest and digest != weights_digest(source) else set())
    companions = [source / name for name in COMPANIONS if name not in left]
    for path in (*companions, find_sample(source)):
        if path is not None and path.is_file():
            shutil.copyfile(path, folder / path.name)

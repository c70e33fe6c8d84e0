"""The whole way of a conversion: look, open in quarantine, rename, find the task, save beside and move in place."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import Tensor

from vid2vid_hub.convert.assemble import assemble
from vid2vid_hub.convert.found import IMAGE, NAMED, Found, look
from vid2vid_hub.convert.names import bare
from vid2vid_hub.convert.quarantine import unpickle
from vid2vid_hub.convert.recipe import write_recipe
from vid2vid_hub.errors import ModelError
from vid2vid_hub.hub.about import About, write_about
from vid2vid_hub.hub.about import Converted as Origin
from vid2vid_hub.nn.strict import read_header
from vid2vid_hub.nn.weights import read_weights

VID2VID, PIX2PIXHD = "vid2vid", "pix2pixHD"
LICENCES = {VID2VID: "cc-by-nc-sa-4.0", PIX2PIXHD: "bsd-2-clause"}
"""What the releases say of themselves."""
HISTORY = {
    VID2VID: "Trained with NVIDIA's vid2vid (Wang et al., Video-to-Video Synthesis, 2018) and converted, not "
    "trained anew.",
    PIX2PIXHD: "Trained with NVIDIA's pix2pixHD (Wang et al., High-Resolution Image Synthesis, 2018) and converted, "
    "not trained anew. Its release is under a BSD licence of two clauses, which says nothing of weights in particular.",
}


@dataclass(frozen=True)
class Converted:
    """What came of a conversion.

    Attributes:
        folder: the pipeline.
        training: beside it, what it takes to go on training it.
        system: whose checkpoints they were.
        task: its task.
        networks: name -> the settings that were found out.
        notes: what a person should know.
    """

    folder: Path
    training: Path
    system: str
    task: str
    networks: dict[str, dict[str, Any]]
    notes: tuple[str, ...]


def convert(
    folder: Path,
    output: Path,
    *,
    task: str | None = None,
    task_config: Mapping[str, Any] | None = None,
    which: str | None = None,
    size: tuple[int, int] | None = None,
    first_frame: Path | None = None,
) -> Converted:
    """Turn released checkpoints into a pipeline folder.

    Args:
        folder: holds ``latest_net_G0.pth`` and so on.
        output: the pipeline folder to make; beside it comes OUTPUT-training.
        task: its task, where the channels do not say it.
        task_config: settings of the task, over those that go with the channels.
        which: "latest" or an epoch; None for the latest, or for the one epoch that is there.
        size: (height, width) that the networks were trained at, which no file says; kept in the pipeline.
        first_frame: a folder or file with the generator of single images that makes first frames.

    Raises:
        ModelError: there is nothing to convert, a file is not what it should be, or its weights are of another network:
            then with every key that is missing, surplus or misshapen; or the output cannot be written.
        TaskError: there is no such task, or it refuses a setting.
    """
    training = output.with_name(f"{output.name}-training")
    for target in (output, training):
        if target.exists():
            raise ModelError(f"{target} is already there; give another --output, or take it away first")
    width = None if size is None else size[1]
    found = look(folder, which, width)
    first = None if first_frame is None else _first(first_frame, width)
    system = _system(found)
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        beside = Path(tempfile.mkdtemp(prefix=f".{output.name}.", dir=output.parent))
    except OSError as error:
        raise ModelError(f"{output} cannot be written: {error}") from error
    try:
        held = _open([*found.files, *(first.files if first else ())], beside)
        networks, meant = assemble(held, found, first, task, task_config)
        pipeline = networks.pipeline(meant, size)
        pipeline.save_pretrained(beside / "pipeline")
        write_about(_about(system, found, first), beside / "pipeline")
        write_recipe(beside / "training", networks.judges, networks.frames, pipeline, output, training)
        (beside / "pipeline").replace(output)
        (beside / "training").replace(training)
    except OSError as error:
        raise ModelError(f"{output} cannot be written: {error}") from error
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    settings = {name: plan.config for name, plan in networks.plans().items()}
    return Converted(output, training, system, meant.name, settings, tuple(networks.notes))


def _first(source: Path, width: int | None) -> Found:
    """The generator of single images in a folder, or the one that a file is, with what lies beside it for it."""
    if source.is_file():
        named = NAMED.fullmatch(source.name)
        if named is None or not IMAGE.fullmatch(named["network"]):
            raise ModelError(f"{source} is not called as generators of single images are, such as latest_net_G.pth")
        found = look(source.parent, named["epoch"], image=named["network"])
    else:
        found = look(source, None, width)
    if found.image is None:
        raise ModelError(f"{source} holds no generator of single images, such as latest_net_G.pth")
    return replace(found, scales=(), judges={})


def _open(files: list[Path], beside: Path) -> dict[Path, dict[str, Tensor]]:
    """What the files hold, out of their pickles; on the disk until it is used."""
    into = beside / "pickles"
    into.mkdir()
    unique = list(dict.fromkeys(files))
    held = {}
    for file, stored in zip(unique, unpickle(unique, into), strict=True):
        read_header(stored, file.name)  # what wrote it may have been taken over
        held[file] = bare(read_weights(stored, file.name))
    return held


def _system(found: Found) -> str:
    """Whose checkpoints they are: names tell where pix2pixHD has none of the kind."""
    own = found.image is not None and not found.scales and found.image.name.endswith("_net_G.pth")
    return PIX2PIXHD if own else VID2VID


def _about(system: str, found: Found, first: Found | None) -> About:
    """What the card says of where the weights come from."""
    digests = {path.name: _sha256(path) for path in found.files}
    digests |= {f"first-frame/{path.name}": _sha256(path) for path in (first.files if first else ())}
    licence = LICENCES[system]
    return About(licence=licence, history=HISTORY[system], converted=Origin(system, licence, digests))


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

"""What a Hub repo of ours holds, by name: what is published, and of which a card speaks. Nothing else ever is."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from vid2vid_hub.errors import ModelError
from vid2vid_hub.folder import COMPONENTS, CONFIG, FORMAT, INDEX, NONE
from vid2vid_hub.hub.measures import weight_files
from vid2vid_hub.nn.layout import FILE, SHARDS

CARD, PREVIEW, TRAINING = "README.md", "preview.mp4", "training.json"

SAMPLES = (".mkv", ".mp4", ".npz", ".png")
"""How the name of ``sample.*``, a condition to try, may end."""

COMPANIONS = ("recipe.yaml", "forecaster.yaml", "about.yaml", "measures.json", TRAINING, PREVIEW)
"""What lies beside the networks, but for the sample and the card."""

_NETWORK = re.compile(rf"(?:{'|'.join(COMPONENTS)})/(?:{re.escape(CONFIG)}|{FILE.pattern}|{SHARDS.pattern})")


def belongs(name: str) -> bool:
    """Whether a file of this name, relative to the repo, with "/", can be part of a pipeline."""
    if "/" in name:
        return _NETWORK.fullmatch(name) is not None
    return name in (INDEX, CONFIG, CARD, *COMPANIONS) or name in [f"sample{suffix}" for suffix in SAMPLES]


def find_sample(folder: Path) -> Path | None:
    """The condition that a pipeline folder brings to be tried, if it does."""
    return next((folder / f"sample{s}" for s in SAMPLES if (folder / f"sample{s}").is_file()), None)


def root_config(task: str) -> str:
    """The small ``config.json`` at the root, which is what the Hub counts downloads by."""
    return json.dumps({"model_type": "vid2vid", "task": task, "format_version": FORMAT}, indent=2) + "\n"


@dataclass(frozen=True)
class Network:
    """One network of a pipeline folder: its place, its class, how many parameters it has, and how they are stored."""

    name: str
    kind: str
    parameters: int
    stored: str


def read_index(folder: Path) -> Mapping[str, Any]:
    """The ``model_index.json`` of a pipeline folder, which was checked before.

    Raises:
        ModelError: it is not there, or no JSON object.
    """
    return read_object(folder / INDEX)


def read_object(path: Path) -> Mapping[str, Any]:
    """A JSON file that holds an object.

    Raises:
        ModelError: it is not there, damaged, or holds something else.
    """
    try:
        found = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ModelError(f"{path} cannot be read as JSON: {error}") from error
    if not isinstance(found, dict):
        raise ModelError(f"{path} holds {type(found).__name__}; expected an object")
    return found


def networks(folder: Path) -> list[Network]:
    """The networks of a pipeline folder, from the headers of their files alone.

    Raises:
        ModelError: weights cannot be read.
    """
    index = read_index(folder)
    found = []
    for name in COMPONENTS:
        if index.get(name, NONE) == NONE:
            continue
        count, kinds = 0, set()
        for path in weight_files(folder / name):
            try:
                with safe_open(path, "pt") as file:
                    for key in file.keys():  # noqa: SIM118  (no mapping)
                        tensor = file.get_slice(key)
                        kinds.add(_PRECISION.get(tensor.get_dtype(), tensor.get_dtype()))
                        size = 1
                        for side in tensor.get_shape():
                            size *= side
                        count += size
            except (OSError, SafetensorError) as error:
                raise ModelError(f"{path} is no safetensors file that can be read: {error}") from error
        found.append(Network(name, str(index[name][1]), count, " and ".join(sorted(kinds)) or "nothing"))
    return found


_PRECISION = {"F16": "float16", "BF16": "bfloat16", "F32": "float32", "F64": "float64"}

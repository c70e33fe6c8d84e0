"""What a Hub repo of ours holds, by name: what is published, and of which a card speaks. Nothing else ever is."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vid2vid_hub.folder import COMPONENTS, CONFIG, FORMAT, INDEX, MODEL_TYPE, NONE
from vid2vid_hub.nn.layout import FILE, SHARDS, plain_files
from vid2vid_hub.nn.strict import read_header, read_json, total

CARD, PREVIEW = "README.md", "preview.mp4"
RECIPE, ABOUT, MEASURES, TRAINING = "recipe.yaml", "about.yaml", "measures.json", "training.json"

SAMPLES = (".mkv", ".mp4", ".npz", ".png")
"""How the name of ``sample.*``, a condition to try, may end."""

COMPANIONS = (RECIPE, "forecaster.yaml", ABOUT, MEASURES, TRAINING, PREVIEW)
"""What lies beside the networks, but for the sample and the card."""

_NETWORK = re.compile(rf"(?:{'|'.join(COMPONENTS)})/(?:{re.escape(CONFIG)}|{FILE.pattern}|{SHARDS.pattern})")


def belongs(name: str) -> bool:
    """Whether a file of this name, relative to the repo, with "/", can be part of a pipeline."""
    if "/" in name:
        return _NETWORK.fullmatch(name) is not None
    return name in (INDEX, CONFIG, CARD) or is_companion(name)


def is_companion(name: str) -> bool:
    """Whether a file of this name lies beside the networks of a pipeline and is carried with it; no card is."""
    return name in COMPANIONS or name in [f"sample{suffix}" for suffix in SAMPLES]


def find_sample(folder: Path) -> Path | None:
    """The condition that a pipeline folder brings to be tried, if it does."""
    return next((folder / f"sample{s}" for s in SAMPLES if (folder / f"sample{s}").is_file()), None)


def root_config(task: str) -> str:
    """The small ``config.json`` at the root, which is what the Hub counts downloads by."""
    return json.dumps({"model_type": MODEL_TYPE, "task": task, "format_version": FORMAT}, indent=2) + "\n"


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
        ModelError: it is not there, or no JSON object; see :func:`vid2vid_hub.nn.strict.read_json`.
    """
    return read_json(folder / INDEX)


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
        headers = [read_header(path) for path in plain_files(folder / name)]
        kinds = {_PRECISION.get(tensor.dtype, tensor.dtype) for header in headers for tensor in header.values()}
        found.append(Network(name, str(index[name][1]), total(headers), " and ".join(sorted(kinds)) or "nothing"))
    return found


_PRECISION = {"F16": "float16", "BF16": "bfloat16", "F32": "float32", "F64": "float64"}

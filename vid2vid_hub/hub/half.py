"""The fp16 variant of a pipeline folder's weights, made of the plain ones file by file, without loading a network."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from vid2vid_hub.errors import ModelError
from vid2vid_hub.folder import COMPONENTS
from vid2vid_hub.nn.layout import LIST, STEM, plain_files
from vid2vid_hub.nn.strict import read_json


def write_half(folder: Path, output: Path) -> None:
    """Write the weights of all networks in half precision, under the names that ``variant="fp16"`` asks for.

    Args:
        folder: of a pipeline.
        output: where a folder for each network is made; may be ``folder`` itself.

    Raises:
        ModelError: a weight is too large for half precision, a file cannot be read or written.
    """
    for network in COMPONENTS:
        for path in plain_files(folder / network):
            (output / network).mkdir(parents=True, exist_ok=True)
            _halve(path, output / network / _named(path.name))
        if (shards := folder / network / f"{LIST}.json").is_file():
            _reindex(shards, output / network / f"{LIST}.fp16.json")


def _named(name: str) -> str:
    """The name of a file of the variant."""
    return f"{STEM}.fp16{name.removeprefix(STEM)}"


def _halve(path: Path, output: Path) -> None:
    try:
        with safe_open(path, "pt") as file:
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118  (no mapping)
        for key, tensor in tensors.items():
            if not tensor.is_floating_point():
                continue
            half = tensor.to(torch.float16)
            if not torch.isfinite(half).all():
                raise ModelError(f"{path} has weights over 65504 in '{key}', too large for fp16; publish without it")
            tensors[key] = half
        save_file(tensors, output, metadata={"format": "pt"})
    except (OSError, SafetensorError) as error:
        raise ModelError(f"{output} cannot be made of {path}: {error}") from error


def _reindex(path: Path, output: Path) -> None:
    index = read_json(path)
    places = index.get("weight_map")
    if not isinstance(places, dict):
        raise ModelError(f"{path} does not say where its weights are")
    index["weight_map"] = {key: _named(str(name)) for key, name in places.items()}
    output.write_text(json.dumps(index, indent=2, sort_keys=True) + "\n", encoding="utf-8")

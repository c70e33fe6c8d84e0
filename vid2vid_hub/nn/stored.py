"""What is stored of a network, looked at before anything of it is allocated: settings, and names and shapes of weights.

Of a network's folder ``config.json`` is read, and the files that :mod:`vid2vid_hub.nn.layout` names; nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping
from inspect import Parameter, signature
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from vid2vid_hub.errors import ModelError
from vid2vid_hub.nn.layout import FILE, weight_files
from vid2vid_hub.nn.strict import PRIVATE, Stored, check_inside, read_header, read_json, shown, some

MAX_PARAMETERS = 2_000_000_000
"""Numbers of one network; the widest of the paper has a fifth of that."""
MAX_WORD = 200
"""Letters of a setting."""


def check_stored(
    folder: Path,
    kind: type[nn.Module],
    variant: str | None = None,
    source: str | None = None,
    changes: Mapping[str, Any] | None = None,
) -> None:
    """Look at a network's folder before anything of it is allocated: settings, then every header of its weights.

    Args:
        folder: holds config.json and weights.
        kind: the network's class.
        variant: of the weights, such as "fp16".
        source: what the folder is called in messages: itself by default, "org/name/generator" on the Hub.
        changes: settings that the person who loads it wants to be different.

    Raises:
        ModelError: a setting is unknown or out of its range; the network is too large; weights are missing, are not
            safetensors, or are not this network's: every missing, surplus and misshapen key counts.
    """
    source = source or str(folder)
    network = blank(folder, kind, source, changes)
    weights = weight_files(_listed(folder, source), variant, source)
    stored: dict[str, Stored] = {}
    where: dict[str, str] = {}
    for name in (*weights.files, *filter(None, [weights.shards])):
        check_inside(folder / name, folder, f"{source}/{name}")
    for name in weights.files:
        header = read_header(folder / name, f"{source}/{name}")
        if twice := sorted(header.keys() & stored):
            raise ModelError(f"two of the shards in {source} hold {some(twice)}; each tensor must be in one")
        stored |= header
        where |= dict.fromkeys(header, name)
    if weights.shards is not None:
        _check_shards(read_json(folder / weights.shards, f"{source}/{weights.shards}"), where, source, weights.shards)
    _compare(network.state_dict(), stored, f"the weights in {source} are not those of {kind.__name__}")


def blank(folder: Path, kind: type[nn.Module], source: str, changes: Mapping[str, Any] | None = None) -> nn.Module:
    """The network of a folder's settings on the meta device, where tensors have shapes and take no memory.

    Raises:
        ModelError: a setting is missing, unknown or out of its range, or the network is too large.
    """
    name = f"{source}/config.json"
    check_inside(folder / "config.json", folder, name)
    settings = read_json(folder / "config.json", name)
    check_settings(kind, settings, name)
    settings = {key: value for key, value in settings.items() if key not in PRIVATE} | dict(changes or {})
    taken = signature(kind).parameters.values()
    missing = [one.name for one in taken if one.default is Parameter.empty and one.name not in settings]
    if missing:
        raise ModelError(f"{name} says nothing of {some(missing)}, without which there is no {kind.__name__}")
    try:
        with torch.device("meta"):
            network = kind(**settings)
    except ModelError as error:
        raise ModelError(f"{name}: {error}") from error
    total = numbers(network)
    if total > MAX_PARAMETERS:
        raise ModelError(f"{name} asks for a network of {total} numbers; at most {MAX_PARAMETERS} are loaded")
    return network


def numbers(network: nn.Module) -> int:
    """How many numbers the weights of a network are."""
    return sum(tensor.numel() for tensor in network.state_dict().values())


def check_settings(kind: type[nn.Module], settings: Mapping[str, Any], name: str) -> None:
    """Refuse settings that are not a network's own, or no plain values.

    Raises:
        ModelError: one is unknown, is of another class, or is no number, word or switch.
    """
    unknown = sorted(settings.keys() - signature(kind).parameters.keys() - set(PRIVATE))
    if unknown:
        raise ModelError(f"{name} is of another network or version: {kind.__name__} has no setting {some(unknown)}")
    owner = settings.get("_class_name", kind.__name__)
    if owner != kind.__name__:
        raise ModelError(f"{name} is of the class {shown(owner)}; expected {kind.__name__}")
    for key, value in settings.items():
        word = isinstance(value, str) and len(value) <= MAX_WORD and value.isprintable()
        if not (word or value is None or isinstance(value, bool | int | float)):
            raise ModelError(f"{name}: {key} is {shown(value)}; it must be a number, a word, true, false or null")


def _listed(folder: Path, source: str) -> list[str]:
    try:
        return sorted(path.name for path in folder.iterdir())
    except OSError as error:
        raise ModelError(f"{source} cannot be read: {' '.join(str(error).split())[:200]}") from error


def _check_shards(listed: Mapping[str, Any], where: Mapping[str, str], source: str, name: str) -> None:
    """The list of shards must say of every tensor the file that it is in, and of none that is nowhere."""
    said, about = listed.get("weight_map"), listed.get("metadata")
    if listed.keys() != {"weight_map", "metadata"} or not isinstance(said, dict) or not isinstance(about, dict):
        raise ModelError(f"{source}/{name} is no list of shards; it must hold weight_map and metadata")
    for key, file in said.items():
        if not isinstance(file, str) or not FILE.fullmatch(file):
            raise ModelError(f"{source}/{name} puts {some([key])} into {shown(file)}, which is no name of a shard")
    wrong = sorted(key for key in said.keys() | where.keys() if said.get(key) != where.get(key))
    if wrong:
        raise ModelError(f"{source}/{name} and the shards themselves disagree about where to find {some(wrong)}")


def _compare(wanted: Mapping[str, Tensor], stored: Mapping[str, Stored], trouble: str) -> None:
    wrong = {
        "missing keys": sorted(wanted.keys() - stored.keys()),
        "unexpected keys": sorted(stored.keys() - wanted.keys()),
        "mismatched keys": [
            said for key in sorted(wanted.keys() & stored.keys()) if (said := _unlike(key, wanted[key], stored[key]))
        ],
    }
    if any(wrong.values()):
        raise ModelError(f"{trouble}: " + "; ".join(f"{what}: {some(keys)}" for what, keys in wrong.items() if keys))


def _unlike(key: str, wanted: Tensor, stored: Stored) -> str | None:
    if tuple(wanted.shape) != stored.shape:
        return f"{key} of shape {list(stored.shape)}, expected shape {list(wanted.shape)}"
    fits = FLOATS if wanted.is_floating_point() else WHOLE.get(wanted.dtype, ())
    return None if stored.dtype in fits else f"{key} of type {stored.dtype}, expected {' or '.join(fits)}"


FLOATS = ("F64", "F32", "F16", "BF16")
"""Stored in any of these, weights are loaded in the precision that is asked for."""
WHOLE = {torch.int64: ("I64",), torch.int32: ("I32",), torch.uint8: ("U8",), torch.bool: ("BOOL",)}

"""Released weights under our names: a tensor has one place here and one name there, and all that differs is listed."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from vid2vid_hub.errors import ModelError

Weights = Mapping[str, Tensor]
"""A released file: name -> tensor."""
Name = Callable[[str], str]
"""The released name of one of our tensors."""

STATISTICS = ("running_mean", "running_var", "num_batches_tracked")
"""What the released norms count and never use, as they run on the frame at hand: dropped, and no loss if missing."""
LISTED = 200
"""Names that one message lists at most."""


@dataclass(frozen=True)
class Stretch:
    """Layers in a row that the released system numbers in another row.

    Attributes:
        ours: how our names begin, without the number.
        theirs: how the released names begin, without the number.
        shift: what is added to our number.
        first: the first of our numbers that belongs to the stretch.
        stop: the first behind it.
    """

    ours: str
    theirs: str
    shift: int = 0
    first: int = 0
    stop: float = math.inf


def in_stretches(stretches: Iterable[Stretch]) -> Name:
    """A naming of networks that are rows of layers, ``room.number.rest``; residual blocks have a name of their own."""
    table = list(stretches)

    def name(key: str) -> str:
        for one in table:
            found = re.fullmatch(rf"{re.escape(one.ours)}\.(\d+)\.(.+)", key)
            if found and one.first <= int(found.group(1)) < one.stop:
                rest = found.group(2).replace("body.", "conv_block.")
                return f"{one.theirs}.{int(found.group(1)) + one.shift}.{rest}"
        raise ModelError(f"no released file has a name for {key}")

    return name


def match(network: nn.Module, theirs: Weights, name: Name, what: str, problems: list[str]) -> dict[str, Tensor]:
    """Released weights under our names, one to one.

    Args:
        network: ours, with or without weights of its own (on the meta device).
        theirs: what the file holds.
        name: the released name of each of our tensors.
        what: the file, for messages.
        problems: here goes a sentence for whatever is missing, surplus, misshapen or no number.

    Returns:
        A whole state of ``network`` in float32. Norms that learned neither scale nor shift have scale 1 and shift 0
        where ours have them, which is the same. Incomplete where there were problems.
    """
    ours = {key: name(key) for key in network.state_dict()}
    shapes = {ours[key]: tuple(tensor.shape) for key, tensor in network.state_dict().items()}
    norms = [name(f"{key}.weight").removesuffix(".weight") for key in _norms(network)]
    learned = {f"{norm}.{kind}" for norm in norms for kind in ("weight", "bias")} & set(shapes)
    plain = learned if not learned & set(theirs) else set()
    dropped = {f"{norm}.{kind}" for norm in norms for kind in STATISTICS}
    surplus = sorted(set(theirs) - set(shapes) - dropped)
    wrong = {
        "missing": sorted(set(shapes) - set(theirs) - plain),
        "surplus": surplus,
        "misshapen": [
            f"{key} (is {_shape(theirs[key].shape)}, expected {_shape(shape)})"
            for key, shape in sorted(shapes.items())
            if key in theirs and tuple(theirs[key].shape) != shape
        ],
        "not all of it numbers": [key for key in sorted(set(shapes) & set(theirs)) if not _is_finite(theirs[key])],
    }
    listed = "; ".join(f"{kind}: {_listed(keys)}" for kind, keys in wrong.items() if keys)
    if listed:
        scaled = {f"{norm}.{kind}" for norm in norms for kind in ("weight", "bias")} & set(surplus)
        hint = " (its norms learned scale and shift, and this kind of network has none)" if scaled else ""
        problems.append(f"{what}: {listed}{hint}")
    return {
        key: theirs[there].float() if there in theirs else torch.full(shapes[there], float(there.endswith(".weight")))
        for key, there in ours.items()
        if there in theirs or there in plain
    }


def refuse(problems: list[str]) -> None:
    """Say all that is wrong at once.

    Raises:
        ModelError: there are problems.
    """
    if problems:
        raise ModelError(f"these are not the weights of networks that can be converted: {'; '.join(problems)}")


def first_layer(weights: Weights, key: str, what: str) -> tuple[int, int]:
    """(outputs, inputs) of a convolution.

    Raises:
        ModelError: there is none of this name.
    """
    if key not in weights or weights[key].ndim != 4:
        raise ModelError(f"{what} has no convolution {key}: it is a file of another network")
    outputs, inputs = weights[key].shape[:2]
    return int(outputs), int(inputs)


def halvings(weights: Weights, prefix: str) -> int:
    """How many convolutions of stride 2 follow the first layer of a row (B.9: 4, 7, 10, …)."""
    count = 0
    while f"{prefix}.{4 + 3 * count}.weight" in weights:
        count += 1
    return count


def blocks(weights: Weights, prefix: str) -> int:
    """How many residual blocks a row has, from the first to the last of them."""
    numbers = [
        int(found.group(1)) for key in weights if (found := re.match(rf"{re.escape(prefix)}\.(\d+)\.conv_block\.", key))
    ]
    return max(numbers) - min(numbers) + 1 if numbers else 0


def bare(weights: Weights) -> dict[str, Tensor]:
    """Without the ``module.`` that DataParallel puts before every name."""
    wrapped = bool(weights) and all(key.startswith("module.") for key in weights)
    return {key.removeprefix("module.") if wrapped else key: tensor for key, tensor in weights.items()}


def _norms(network: nn.Module) -> list[str]:
    return [key for key, layer in network.named_modules() if isinstance(layer, nn.InstanceNorm2d | nn.BatchNorm2d)]


def _is_finite(tensor: Tensor) -> bool:
    return tensor.is_meta or bool(torch.isfinite(tensor).all())


def _shape(shape: Iterable[int]) -> str:
    return "x".join(map(str, shape)) or "a number"


def _listed(keys: list[str]) -> str:
    more = f" and {len(keys) - LISTED} more" if len(keys) > LISTED else ""
    return ", ".join(keys[:LISTED]) + more

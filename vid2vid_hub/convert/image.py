"""The generator of single images from a file G (B.5): pix2pixHD's, and those that make first frames for vid2vid."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import Tensor

from vid2vid_hub.convert.names import Stretch, Weights, blocks, first_layer, halvings, in_stretches, match
from vid2vid_hub.nn.image import Pix2PixHDGenerator


def image_generator(weights: Weights, what: str, problems: list[str]) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Settings and weights of a `Pix2PixHDGenerator` of one style.

    Args:
        weights: what the file holds: a global network, alone or with enhancers.
        what: the file, for messages.
        problems: here go the keys that are missing, surplus or misshapen.

    Raises:
        ModelError: the file is of another network, or settings that follow from it are out of range.
    """
    config = settings(weights, what)
    return config, matched(config, rows(config), weights, what, problems)


def matched(
    config: dict[str, Any], stretches: Iterable[Stretch], weights: Weights, what: str, problems: list[str]
) -> dict[str, Tensor]:
    """The weights of a `Pix2PixHDGenerator` of these settings; see :func:`vid2vid_hub.convert.names.match`."""
    with torch.device("meta"):
        network = Pix2PixHDGenerator(**config)
    return match(network, weights, in_stretches(stretches), what, problems)


def settings(weights: Weights, what: str) -> dict[str, Any]:
    """What `Pix2PixHDGenerator` is to be, by the names and shapes of the file."""
    width, inputs = first_layer(weights, "model.1.weight", what)
    return {
        "condition_channels": inputs,
        "base_channels": width,
        "downsamples": halvings(weights, "model"),
        "blocks": blocks(weights, "model"),
        **finer_settings(weights),
    }


def finer_settings(weights: Weights) -> dict[str, Any]:
    """How many enhancers there are, and residual blocks in each."""
    fine = (int(found.group(1)) for key in weights if (found := re.match(r"model(\d+)_[12]\.", key)))
    enhancers = max(fine, default=0)
    return {"enhancers": enhancers, "local_blocks": blocks(weights, "model1_2") if enhancers else 3}


def rows(config: dict[str, Any]) -> Iterator[Stretch]:
    """Where our rows of layers lie in the file's; its last layers belong to the last row."""
    count = config["enhancers"]
    yield Stretch("coarse", "model")
    yield from finer_rows(count)
    # Before the last convolution, our number 1, lie its padding and the rows above.
    before = config["local_blocks"] + 3 if count else 4 + 6 * config["downsamples"] + config["blocks"]
    yield Stretch("head", f"model{count}_2" if count else "model", before)


def finer_rows(enhancers: int) -> Iterator[Stretch]:
    """The same of the enhancers alone."""
    for n in range(enhancers):
        yield Stretch(f"finer.{n}.condition", f"model{n + 1}_1")
        yield Stretch(f"finer.{n}.image", f"model{n + 1}_2")

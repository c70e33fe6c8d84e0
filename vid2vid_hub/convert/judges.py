"""Discriminators from D, D_T0, D_T1, … and D_f (B.6), so that a training can go on from where the release stopped."""

from __future__ import annotations

import re
from typing import Any

import torch
from torch import Tensor

from vid2vid_hub.convert.names import Name, Weights, first_layer, match
from vid2vid_hub.errors import ModelError
from vid2vid_hub.nn.discriminator import MultiscaleDiscriminator

IMAGE_CHANNELS, FLOW_CHANNELS = 3, 2
FEATURED, ROW = r"scale(\d+)_layer(\d+)\.", r"layer(\d+)\.(\d+)\."
"""How names begin where feature matching needs every layer by itself, and where a scale is one row of layers."""


def discriminator(
    weights: Weights, what: str, problems: list[str], frames: int = 0
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Settings and weights of a `MultiscaleDiscriminator`.

    Args:
        weights: what the file holds.
        what: the file, for messages.
        problems: here go the keys that are missing, surplus or misshapen.
        frames: K, for D_T, which reads K frames before their flows; ours reads them after.

    Raises:
        ModelError: the file is of another network, or settings that follow from it are out of range.
    """
    scales, layers, featured = _extent(weights, what)
    finest = f"scale{scales - 1}_layer0.0.weight" if featured else f"layer{scales - 1}.0.weight"
    width, inputs = first_layer(weights, finest, what)
    # The first norm follows the second convolution.
    norm = f"scale{scales - 1}_layer1.1.weight" if featured else f"layer{scales - 1}.3.weight"
    kind = "batch" if norm in weights else "instance"
    config = {"inputs": inputs, "base_channels": width, "layers": layers, "scales": scales, "norm": kind}
    with torch.device("meta"):
        network = MultiscaleDiscriminator(**config)
    state = match(network, weights, (_by_layer if featured else _by_row)(scales, layers), what, problems)
    if frames:
        firsts = [key for key in state if key.endswith(".layers.0.0.weight")]
        state |= {key: state[key].roll(-IMAGE_CHANNELS * frames, 1) for key in firsts}
    return config, state


def judged_frames(weights: Weights, what: str) -> int:
    """K, how many frames D_T judges together, by the channels that it reads: 3K + 2(K - 1).

    Raises:
        ModelError: no K has so many.
    """
    scales, _, featured = _extent(weights, what)
    _, inputs = first_layer(
        weights, f"scale{scales - 1}_layer0.0.weight" if featured else f"layer{scales - 1}.0.weight", what
    )
    frames, rest = divmod(inputs + FLOW_CHANNELS, IMAGE_CHANNELS + FLOW_CHANNELS)
    if rest or frames < 2:
        raise ModelError(f"{what} reads {inputs} channels; K frames and the flows between them have 5K - 2")
    return frames


def _extent(weights: Weights, what: str) -> tuple[int, int, bool]:
    """Scales, convolutions of stride 2, and whether names tell every layer by itself."""
    for pattern, featured in ((FEATURED, True), (ROW, False)):
        places = [tuple(map(int, found.groups())) for key in weights if (found := re.match(pattern, key))]
        if places:
            scales, last = (1 + max(column) for column in zip(*places, strict=True))
            # A row is conv, ReLU, then conv, norm, ReLU for each further layer, and the last conv.
            return scales, last - 2 if featured else (last - 3) // 3, featured
    raise ModelError(f"{what} has no layer scale0_layer0 or layer0.0: it is a file of another network")


def _by_layer(scales: int, layers: int) -> Name:
    def name(key: str) -> str:
        scale, layer, index, kind = _place(key, layers)
        return f"scale{scales - 1 - scale}_layer{layer}.{index}.{kind}"

    return name


def _by_row(scales: int, layers: int) -> Name:
    def name(key: str) -> str:
        scale, layer, index, kind = _place(key, layers)
        return f"layer{scales - 1 - scale}.{3 * layer - 1 + index if layer else index}.{kind}"

    return name


def _place(key: str, layers: int) -> tuple[int, int, int, str]:
    """Scale, layer, number in the layer, and the rest of one of our names; our finest scale is the released last."""
    found = re.fullmatch(r"judges\.(\d+)\.layers\.(\d+)\.(?:(\d+)\.)?(\w+)", key)
    if found is None:
        raise ModelError(f"no released file has a name for {key}")
    scale, layer, index, kind = found.groups()
    return int(scale), int(layer), int(index or 0), kind

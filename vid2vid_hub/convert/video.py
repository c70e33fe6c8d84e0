"""The sequential generator from G0, G1, … (B.3, B.4): settings from shapes and names, and weights under our names."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from vid2vid_hub.convert.names import Stretch, Weights, blocks, first_layer, halvings, in_stretches, match
from vid2vid_hub.errors import ModelError
from vid2vid_hub.nn.generator import Vid2VidGenerator

IMAGE_CHANNELS = 3


def video_generator(scales: Sequence[Weights], problems: list[str]) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Settings and weights of a `Vid2VidGenerator`.

    Args:
        scales: what G0, G1, … hold, coarsest first.
        problems: here go the keys of each file that are missing, surplus or misshapen.

    Raises:
        ModelError: the files are of another network, or settings that follow from them are out of range.
    """
    config = settings(scales)
    with torch.device("meta"):
        network = Vid2VidGenerator(**config)
    state: dict[str, Tensor] = {}
    for scale, weights in enumerate(scales):
        name = in_stretches(fine() if scale else coarse(config["downsamples"], config["blocks"]))
        found = match(network.networks[scale], weights, name, f"G{scale}", problems)
        state |= {f"networks.{scale}.{key}": tensor for key, tensor in found.items()}
    return config, state


def settings(scales: Sequence[Weights]) -> dict[str, Any]:
    """What `Vid2VidGenerator` is to be, by the names and shapes of G0 and G1."""
    coarsest = scales[0]
    width, conditions = first_layer(coarsest, "model_down_seg.1.weight", "G0")
    _, past = first_layer(coarsest, "model_down_img.1.weight", "G0")
    history, rest = divmod(past, IMAGE_CHANNELS)
    if rest or not history or conditions % (history + 1):
        raise ModelError(
            f"G0 reads {past} channels of past frames and {conditions} of conditions; with L frames of 3 channels the "
            "conditions must be a multiple of L + 1"
        )
    names = set(coarsest)
    return {
        "condition_channels": conditions // (history + 1),
        "base_channels": width,
        "downsamples": halvings(coarsest, "model_down_seg"),
        "blocks": blocks(coarsest, "model_down_seg") + blocks(coarsest, "model_res_img"),
        "scales": len(scales),
        "local_blocks": blocks(scales[1], "model_up_img") if len(scales) > 1 else 3,
        "history": history,
        "flow": any(key.startswith(("model_final_flow.", "model_final_w.", "model_res_flow.")) for key in names),
        "foreground": any(key.startswith("indv_") for key in names),
        "composition": "released",
    }


def coarse(downsamples: int, count: int) -> Iterator[Stretch]:
    """G0: where our rows of layers lie in its; a trunk is two rows there."""
    trunk, front = count // 2, 4 + 3 * downsamples
    yield from _ends()
    for ours, theirs in (("image", "img"), ("flow", "flow")):
        yield Stretch(ours, f"model_res_{theirs}", stop=trunk)
        yield Stretch(ours, f"model_up_{theirs}", -trunk, trunk)
    yield Stretch("foreground", "indv_down", stop=front)
    yield Stretch("foreground", "indv_res", -front, front, front + count)
    yield Stretch("foreground", "indv_up", -front - count, front + count)


def fine() -> Iterator[Stretch]:
    """G1, G2, …."""
    yield from _ends()
    yield Stretch("image", "model_up_img")
    yield Stretch("flow", "model_up_flow")
    yield Stretch("foreground_in", "indv_down")
    yield Stretch("foreground", "indv_up")


def _ends() -> Iterator[Stretch]:
    """Encoders and last layers, which are alike at all scales."""
    yield Stretch("condition", "model_down_seg")
    yield Stretch("past", "model_down_img")
    yield Stretch("heads.image", "model_final_img")
    yield Stretch("heads.flow", "model_final_flow")
    yield Stretch("heads.mask", "model_final_w")
    yield Stretch("heads.foreground", "indv_final")

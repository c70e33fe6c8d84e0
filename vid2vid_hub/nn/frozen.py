"""Networks and methods we trust and never train: the flow teachers and their confidence."""

from __future__ import annotations

from typing import Protocol, cast

import numpy as np
import torch
from torch import Tensor, nn

from vid2vid_hub.errors import MissingExtraError, ModelError
from vid2vid_hub.nn.weights import brief, read_weights
from vid2vid_hub.ops.warp import warp

CONFIDENT_BELOW = 0.02
"""A flow is trusted where the summed squared colour error of its warp, images in [-1, 1], stays below this (C.3)."""


class FlowTeacher(Protocol):
    """Estimates the backward flow between real frames."""

    name: str

    def flow(self, previous: Tensor, current: Tensor) -> Tensor:
        """Frames float (N, 3, H, W) in [-1, 1] to flow (N, 2, H, W) in pixels, from ``current`` to ``previous``."""


def confidence(previous: Tensor, current: Tensor, flow: Tensor) -> Tensor:
    """1 where the flow carries the previous real frame to the current one, 0 where it does not: (N, 1, H, W)."""
    error = (current - warp(previous, flow)).square().sum(1, keepdim=True)
    return (error < CONFIDENT_BELOW).to(current.dtype)


class DISFlow:
    """OpenCV's dense inverse search on the CPU: no weights, no download (Kroeger et al. 2016)."""

    name = "dis"

    def flow(self, previous: Tensor, current: Tensor) -> Tensor:
        """See :class:`FlowTeacher`."""
        import cv2

        method = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
        pairs = zip(_grey(current), _grey(previous), strict=True)
        flows = np.stack([method.calc(now, before, np.zeros((*now.shape, 2), np.float32)) for now, before in pairs])
        return torch.from_numpy(flows).permute(0, 3, 1, 2).to(current)


class RAFTFlow:
    """torchvision's RAFT (Teed and Deng 2020).

    Args:
        weights: a local safetensors file with torchvision's keys, "org/repo" on the Hub that holds
            ``model.safetensors``, or None for the weights that torchvision itself downloads.
        small: the 1 M parameter network instead of the 5 M one.

    Raises:
        MissingExtraError: torchvision is not installed, or is a build that does not fit this torch.
        ModelError: the weights cannot be had or do not fit.
    """

    name = "raft"

    def __init__(self, weights: str | None = None, small: bool = False) -> None:
        try:
            from torchvision.models import optical_flow
        except (ImportError, RuntimeError) as error:
            raise MissingExtraError("a torchvision that fits this torch", "raft", "the RAFT flow teacher") from error
        build = optical_flow.raft_small if small else optical_flow.raft_large
        try:
            network = build(weights="DEFAULT" if weights is None else None)
            if weights is not None:
                network.load_state_dict(read_weights(weights, "RAFT"))
        except (OSError, RuntimeError) as error:
            raise ModelError(f"RAFT weights {weights or 'of torchvision'} cannot be loaded: {brief(error)}") from error
        self.network = cast(nn.Module, network).eval().requires_grad_(False)

    def flow(self, previous: Tensor, current: Tensor) -> Tensor:
        """See :class:`FlowTeacher`. Sides are stretched to multiples of 8, at least 128, and the flow scaled back."""
        height, width = current.shape[-2:]
        size = max(128, -(-height // 8) * 8), max(128, -(-width // 8) * 8)
        stretched = [nn.functional.interpolate(x, size, mode="bilinear") for x in (current, previous)]
        self.network.to(current.device)
        with torch.inference_mode():
            flow = self.network(*stretched)[-1]
        flow = nn.functional.interpolate(flow, (height, width), mode="bilinear")
        return flow * flow.new_tensor((width / size[1], height / size[0])).view(1, 2, 1, 1)


TEACHERS = ("dis", "raft", "raft-small")


def flow_teacher(name: str = "dis", weights: str | None = None) -> FlowTeacher:
    """The teacher called ``name``, one of :data:`TEACHERS`.

    Raises:
        ModelError: there is no such teacher.
    """
    if name == "dis":
        return DISFlow()
    if name in TEACHERS:
        return RAFTFlow(weights, small=name == "raft-small")
    raise ModelError(f"there is no flow teacher '{name}'; there are {', '.join(TEACHERS)}")


def _grey(frames: Tensor) -> list[np.ndarray[tuple[int, int], np.dtype[np.uint8]]]:
    luma = (frames.detach().float().cpu() * frames.new_tensor((0.299, 0.587, 0.114)).cpu().view(1, 3, 1, 1)).sum(1)
    return list(((luma + 1) * 127.5).round().clamp(0, 255).to(torch.uint8).numpy())

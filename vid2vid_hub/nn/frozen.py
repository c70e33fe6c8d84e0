"""Networks and methods we trust and never train: the flow teacher and its confidence; LPIPS and its VGG16."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple, Protocol, cast

import numpy as np
import torch
from torch import Tensor, nn

from vid2vid_hub.errors import MissingExtraError, ModelError
from vid2vid_hub.ops.warp import warp

CONFIDENT_BELOW = 0.02
"""A flow is trusted where the summed squared colour error of its warp, images in [-1, 1], stays below this (C.3)."""


class FlowTruth(NamedTuple):
    """Reference flow (N, 2, H, W) in pixels, current to previous frame, and its confidence (N, 1, H, W), 0 or 1."""

    flow: Tensor
    confidence: Tensor


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
                network.load_state_dict(_weights(weights))
        except (OSError, RuntimeError) as error:
            reason = " ".join(str(error).split())[:300]
            raise ModelError(f"RAFT weights {weights or 'of torchvision'} cannot be loaded: {reason}") from error
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


class VGG16(nn.Module):
    """The 13 convolutions of VGG16 (Simonyan and Zisserman 2014), frozen; pictures in [-1, 1] in, feature maps out.

    Args:
        weights: a safetensors file with torchvision's keys ``features.N.weight`` and ``.bias``.
        taps: indices of the ReLU layers whose maps are returned, in torchvision's numbering.

    Raises:
        ModelError: the file is missing or holds something else.
    """

    FIRST_OF_EACH_BLOCK = (1, 6, 11, 18, 25)
    LAST_OF_EACH_BLOCK = (3, 8, 15, 22, 29)
    WIDTHS = (64, 64, 0, 128, 128, 0, 256, 256, 256, 0, 512, 512, 512, 0, 512, 512, 512)

    def __init__(self, weights: str | Path, taps: tuple[int, ...] = FIRST_OF_EACH_BLOCK) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        inputs = 3
        for width in self.WIDTHS:
            if width:
                layers += [nn.Conv2d(inputs, width, 3, padding=1), nn.ReLU()]
                inputs = width
            else:
                layers.append(nn.MaxPool2d(2))
        self.features = nn.ModuleList(layers)
        self.taps = taps
        self.mean: Tensor
        self.deviation: Tensor
        self.register_buffer("mean", torch.tensor((0.485, 0.456, 0.406)).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("deviation", torch.tensor((0.229, 0.224, 0.225)).view(1, 3, 1, 1), persistent=False)
        held = _read(weights, "VGG16")
        try:
            self.load_state_dict({k: v for k, v in held.items() if k.startswith("features.")})
        except RuntimeError as error:
            raise ModelError(f"{weights} does not hold the convolutions of VGG16: {_brief(error)}") from error
        self.requires_grad_(False)

    def forward(self, pictures: Tensor) -> list[Tensor]:
        """(N, 3, H, W) in [-1, 1] to the maps of the tapped layers, in order."""
        x = ((pictures + 1) / 2 - self.mean) / self.deviation
        maps = []
        for index, layer in enumerate(self.features):
            if index > max(self.taps):
                break
            x = layer(x)
            if index in self.taps:
                maps.append(x)
        return maps


class LPIPS(nn.Module):
    """Learned perceptual distance, version 0.1 over VGG16 (Zhang et al. 2018).

    Args:
        weights: a safetensors file with VGG16's convolutions and the heads ``lin0.weight`` to ``lin4.weight``.

    Raises:
        ModelError: the file is missing or holds something else.
    """

    def __init__(self, weights: str | Path) -> None:
        super().__init__()
        self.network = VGG16(weights, VGG16.LAST_OF_EACH_BLOCK)
        held = _read(weights, "LPIPS")
        try:
            self.heads = [held[f"lin{i}.weight"].float() for i in range(5)]
        except KeyError as error:
            raise ModelError(f"{weights} has no LPIPS head {error}") from error

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        """Pictures (N, 3, H, W) in [-1, 1] to distances (N,); 0 is identical."""
        total = a.new_zeros(len(a))
        for x, y, head in zip(self.network(a), self.network(b), self.heads, strict=True):
            x, y = (z / (z.square().sum(1, keepdim=True).sqrt() + 1e-10) for z in (x, y))
            total = total + ((x - y).square() * head.to(a.device)).sum(1).mean((1, 2))
        return total


def _read(weights: str | Path, what: str) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(weights)
    except (OSError, SafetensorError) as error:
        raise ModelError(f"the {what} weights {weights} cannot be read as safetensors: {error}") from error


def _brief(error: Exception) -> str:
    """The first words of an error, without the line breaks and key lists of torch."""
    return " ".join(str(error).split())[:200]


def _grey(frames: Tensor) -> list[np.ndarray[tuple[int, int], np.dtype[np.uint8]]]:
    luma = (frames.detach().float().cpu() * frames.new_tensor((0.299, 0.587, 0.114)).cpu().view(1, 3, 1, 1)).sum(1)
    return list(((luma + 1) * 127.5).round().clamp(0, 255).to(torch.uint8).numpy())


def _weights(source: str) -> dict[str, Tensor]:
    from huggingface_hub import hf_hub_download

    return _read(source if Path(source).is_file() else hf_hub_download(source, "model.safetensors"), "RAFT")

"""Frozen networks that compare pictures as people do: the features of VGG, and LPIPS on top of them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from vid2vid_hub.errors import MissingExtraError, ModelError
from vid2vid_hub.nn.weights import brief, read_weights

DEPTHS = {"vgg16": (2, 2, 3, 3, 3), "vgg19": (2, 2, 4, 4, 4)}
"""How many convolutions each block has: configurations D and E of Simonyan and Zisserman 2014, table 1."""
WIDTHS = (64, 128, 256, 512, 512)
"""How many channels the maps of each block have."""
TORCHVISION = "torchvision"
"""In place of a file or repo: the weights that torchvision itself downloads."""


class VGG(nn.Module):
    """The convolutions of VGG (Simonyan and Zisserman 2014) as a frozen measure of what a picture shows.

    Pictures are normalised as ImageNet's were when the weights were trained. The released system feeds its pictures in
    [-1, 1] without that (C.9, 19); features of a shifted and paler picture are not those that the network learned.

    Args:
        name: "vgg16" or "vgg19".
        weights: tensors ``features.N.weight`` and ``features.N.bias``, N in torchvision's numbering and of any
            precision; they are copied to float32. What is beyond the last tap, or the classifier's, is ignored.
        taps: which ReLU of each of the five blocks is looked at: the "first" for the perceptual loss (relu1_1 to
            relu5_1), the "last" for LPIPS.

    Raises:
        ValueError: a tensor is missing or has another shape.
    """

    def __init__(self, name: str, weights: Mapping[str, Tensor], taps: Literal["first", "last"] = "first") -> None:
        super().__init__()
        layers: list[nn.Module] = []
        tapped: list[int] = []
        inputs = 3
        for depth, width in zip(DEPTHS[name], WIDTHS, strict=True):
            if layers:
                layers.append(nn.MaxPool2d(2))
            first = len(layers) + 1
            tapped.append(first if taps == "first" else first + 2 * (depth - 1))
            for _ in range(depth):
                # Drawing weights only to overwrite them would take time, and move the random numbers of a training.
                layers += [nn.utils.skip_init(nn.Conv2d, inputs, width, 3, padding=1), nn.ReLU()]
                inputs = width
        self.taps = tuple(tapped)
        self.features = nn.ModuleList(layers[: self.taps[-1] + 1])
        self.mean: Tensor
        self.deviation: Tensor
        self.register_buffer("mean", torch.tensor((0.485, 0.456, 0.406)).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("deviation", torch.tensor((0.229, 0.224, 0.225)).view(1, 3, 1, 1), persistent=False)
        for key, own in self.state_dict().items():
            if key not in weights:
                raise ValueError(f"{key} is missing")
            if weights[key].shape != own.shape:
                raise ValueError(f"{key} is {tuple(weights[key].shape)} and should be {tuple(own.shape)}")
            own.copy_(weights[key])
        self.requires_grad_(False)

    def forward(self, pictures: Tensor) -> list[Tensor]:
        """Pictures (N, 3, H, W) in [-1, 1], sides of 16 pixels or more, to the five tapped maps, finest first."""
        x = ((pictures.to(self.mean.dtype) + 1) / 2 - self.mean) / self.deviation
        maps = []
        for index, layer in enumerate(self.features):
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
        held = read_weights(weights, "LPIPS", ("features.", "lin"))
        self.network = _trunk("vgg16", held, str(weights), "last")
        try:
            self.heads = [held[f"lin{i}.weight"].float() for i in range(len(WIDTHS))]
        except KeyError as error:
            raise ModelError(f"{weights} has no LPIPS head {error}") from error

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        """Pictures (N, 3, H, W) in [-1, 1] to distances (N,); 0 is identical."""
        total = a.new_zeros(len(a))
        for x, y, head in zip(self.network(a), self.network(b), self.heads, strict=True):
            x, y = (z / (z.square().sum(1, keepdim=True).sqrt() + 1e-10) for z in (x, y))
            total = total + ((x - y).square() * head.to(a.device)).sum(1).mean((1, 2))
        return total


def perceptual_network(name: str = "vgg19", weights: str | Path | None = None) -> VGG:
    """The network whose features the perceptual loss compares, with the weights it learned on ImageNet.

    Args:
        name: "vgg19", as the released system has it, or "vgg16".
        weights: a local safetensors file with torchvision's key names; "org/name" on the Hub, a repo with such a file
            as ``model.safetensors``; "torchvision" for the weights that torchvision itself downloads; or None for
            timm's copy of these on the Hub, about 550 MB, because the classifier, which nothing here needs, is in it.

    Raises:
        ModelError: there is no such network, or its weights cannot be had or do not fit.
        MissingExtraError: torchvision is asked for and not installed, or is a build that does not fit this torch.
    """
    if name not in DEPTHS:
        raise ModelError(f"there is no perceptual network '{name}'; there are {' and '.join(DEPTHS)}")
    if weights == TORCHVISION:
        return _trunk(name, _of_torchvision(name), TORCHVISION)
    source = f"timm/{name}.tv_in1k" if weights is None else weights
    return _trunk(name, read_weights(source, name.upper(), ("features.",)), str(source))


def _trunk(name: str, held: Mapping[str, Tensor], source: str, taps: Literal["first", "last"] = "first") -> VGG:
    try:
        return VGG(name, held, taps)
    except ValueError as error:
        raise ModelError(f"{source} does not hold the convolutions of {name.upper()}: {error}") from error


def _of_torchvision(name: str) -> dict[str, Any]:
    try:
        from torchvision.models import get_model_weights
    except (ImportError, RuntimeError) as error:
        need = f"{name.upper()} with the weights of torchvision"
        raise MissingExtraError("a torchvision that fits this torch", "raft", need) from error
    try:
        return dict(get_model_weights(name).DEFAULT.get_state_dict())
    except (OSError, RuntimeError) as error:
        raise ModelError(
            f"torchvision cannot download the weights of {name.upper()}: {brief(error)}; "
            "connect, or give a safetensors file"
        ) from error

"""Inception-I3D on RGB, the video network whose features the Fréchet video distance compares; frozen."""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path
from typing import cast

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from vid2vid_hub.errors import ModelError
from vid2vid_hub.nn.weights import brief, read_weights

Triple = tuple[int, int, int]

SIDE = 224
"""Pixels of a side of what the network sees; it was trained on squares of this size."""

CLASSES = 400
"""Of Kinetics-400, in alphabetical order."""

BATCH_NORM_EPS = 1e-3
"""TensorFlow's default, a hundred times PyTorch's."""

HEAD = "Logits.Conv3d_0c_1x1.conv3d."
"""How the weights call the classifier behind the trunk."""


def pad_same(x: Tensor, kernel: Triple, stride: Triple) -> Tensor:
    """Zeros around (N, C, T, H, W) as TensorFlow's "SAME" puts them: ceil(n / stride) windows, the odd zero behind."""
    zeros: list[int] = []
    for length, k, s in zip(reversed(x.shape[2:]), reversed(kernel), reversed(stride), strict=True):
        total = max((-(-length // s) - 1) * s + k - length, 0)
        zeros += [total // 2, total - total // 2]
    return F.pad(x, zeros) if any(zeros) else x


class Norm(nn.Module):
    """Batch norm with the statistics of its training, always, and without a gain."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.running_mean: Tensor
        self.running_var: Tensor
        self.bias = nn.Parameter(torch.zeros(channels))
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, T, H, W) to the same shape."""
        return F.batch_norm(x, self.running_mean, self.running_var, None, self.bias, eps=BATCH_NORM_EPS)


class Unit(nn.Module):
    """Convolution with a cubic kernel, norm, ReLU."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1) -> None:
        super().__init__()
        self.kernel, self.stride = (kernel,) * 3, (stride,) * 3
        self.conv3d = nn.Conv3d(inputs, outputs, kernel, stride, bias=False)
        nn.init.kaiming_normal_(self.conv3d.weight, nonlinearity="relu")  # untrained features do not fade with depth
        self.bn = Norm(outputs)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, T, H, W) to (N, C', T', H', W')."""
        return F.relu(self.bn(self.conv3d(pad_same(x, self.kernel, self.stride))))


class Pool(nn.Module):
    """Maximum over windows. It follows a ReLU, so zeros around the picture never win over what is in it."""

    def __init__(self, kernel: Triple, stride: Triple) -> None:
        super().__init__()
        self.kernel, self.stride = kernel, stride

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, T, H, W), none below 0, to (N, C, T', H', W')."""
        return F.max_pool3d(pad_same(x, self.kernel, self.stride), self.kernel, self.stride)


class Mixed(nn.ModuleDict):
    """An Inception module: four branches side by side, their maps one behind the other.

    Args:
        inputs: channels in.
        widths: channels out of its six convolutions, in the order of the branches.
    """

    def __init__(self, inputs: int, widths: tuple[int, ...]) -> None:
        point, reduced3, wide3, reduced5, wide5, pooled = widths
        super().__init__(
            OrderedDict(
                Branch_0=_chain(Conv3d_0a_1x1=Unit(inputs, point, 1)),
                Branch_1=_chain(Conv3d_0a_1x1=Unit(inputs, reduced3, 1), Conv3d_0b_3x3=Unit(reduced3, wide3, 3)),
                Branch_2=_chain(Conv3d_0a_1x1=Unit(inputs, reduced5, 1), Conv3d_0b_3x3=Unit(reduced5, wide5, 3)),
                Branch_3=_chain(MaxPool3d_0a_3x3=Pool((3, 3, 3), (1, 1, 1)), Conv3d_0b_1x1=Unit(inputs, pooled, 1)),
            )
        )

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, T, H, W) to (N, C', T, H, W)."""
        return torch.cat([branch(x) for branch in self.values()], 1)


class I3D(nn.Module):
    """Inception-I3D for RGB (Carreira and Zisserman 2017), trained on Kinetics-400.

    Any number of frames goes in. The network shrinks time eightfold, so that fewer than nine frames leave one step of
    it, and what a window of 16 frames gives and what a window of 4 gives are not comparable.

    Args:
        weights: a safetensors file with the names of the TensorFlow Hub module, or "org/name" of a Hub repo with one;
            None leaves the network untrained.

    Raises:
        ModelError: the weights cannot be had, or are of another network.
    """

    def __init__(self, weights: str | Path | None) -> None:
        super().__init__()
        self.trunk = _chain(
            Conv3d_1a_7x7=Unit(3, 64, 7, 2),
            MaxPool3d_2a_3x3=Pool((1, 3, 3), (1, 2, 2)),
            Conv3d_2b_1x1=Unit(64, 64, 1),
            Conv3d_2c_3x3=Unit(64, 192, 3),
            MaxPool3d_3a_3x3=Pool((1, 3, 3), (1, 2, 2)),
            Mixed_3b=Mixed(192, (64, 96, 128, 16, 32, 32)),
            Mixed_3c=Mixed(256, (128, 128, 192, 32, 96, 64)),
            MaxPool3d_4a_3x3=Pool((3, 3, 3), (2, 2, 2)),
            Mixed_4b=Mixed(480, (192, 96, 208, 16, 48, 64)),
            Mixed_4c=Mixed(512, (160, 112, 224, 24, 64, 64)),
            Mixed_4d=Mixed(512, (128, 128, 256, 24, 64, 64)),
            Mixed_4e=Mixed(512, (112, 144, 288, 32, 64, 64)),
            Mixed_4f=Mixed(528, (256, 160, 320, 32, 128, 128)),
            MaxPool3d_5a_2x2=Pool((2, 2, 2), (2, 2, 2)),
            Mixed_5b=Mixed(832, (256, 160, 320, 32, 128, 128)),
            Mixed_5c=Mixed(832, (384, 192, 384, 48, 128, 128)),
        )
        self.head = nn.Conv3d(1024, CLASSES, 1)
        if weights is not None:
            self._load(weights)
        self.requires_grad_(False)

    def forward(self, video: Tensor) -> Tensor:
        """The last maps, Mixed_5c.

        Args:
            video: float (N, T, 3, H, W) in [-1, 1], of any size: it is stretched to :data:`SIDE` squared, bilinearly
                and without smoothing, as Fréchet video distances are commonly measured.

        Returns:
            (N, 1024, T', 7, 7), none below 0; T' is T / 8, rounded up.
        """
        if video.ndim != 5 or video.shape[2] != 3 or 0 in video.shape:
            raise ValueError(f"I3D reads videos (N, T, 3, H, W) of one frame or more, not {tuple(video.shape)}")
        pictures = F.interpolate(video.flatten(0, 1), (SIDE, SIDE), mode="bilinear")
        return cast(Tensor, self.trunk(rearrange(pictures, "(n t) c h w -> n c t h w", n=len(video))))

    def features(self, video: Tensor) -> Tensor:
        """Mean over space and time of the last maps: video as in :meth:`forward` to (N, 1024)."""
        return cast(Tensor, self(video)).mean((2, 3, 4))

    def logits(self, video: Tensor) -> Tensor:
        """The :data:`CLASSES`, before the softmax: video as in :meth:`forward` to (N, 400)."""
        maps = self(video)
        pooled = F.avg_pool3d(maps, (min(2, maps.shape[2]), *maps.shape[3:]), stride=1)
        return cast(Tensor, self.head(pooled)).mean((2, 3, 4))

    def _load(self, weights: str | Path) -> None:
        held = read_weights(weights, "I3D")
        ours = {f"head.{k.removeprefix(HEAD)}" if k.startswith(HEAD) else f"trunk.{k}": v for k, v in held.items()}
        try:
            self.load_state_dict(ours)
        except RuntimeError as error:
            raise ModelError(f"{weights} does not hold the weights of I3D: {brief(error)}") from error


def _chain(**layers: nn.Module) -> nn.Sequential:
    """One layer after the other, under the names that the weights have for them."""
    return nn.Sequential(OrderedDict(layers))

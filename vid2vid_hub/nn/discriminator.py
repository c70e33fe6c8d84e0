"""Patch discriminators at several scales: D_I on a frame and its condition, D_V on frames and flows, and on regions."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from diffusers.configuration_utils import register_to_config
from torch import Tensor, nn

from vid2vid_hub.errors import ModelError
from vid2vid_hub.nn.blocks import initialise
from vid2vid_hub.nn.model import Vid2VidModel, check_number

Norm = Literal["instance", "batch"]
Judged = list[list[Tensor]]
"""What is said of one set of pictures: per scale the feature maps, the verdict last."""

IMAGE, REGION = "image", "region"
"""What D_I and the discriminator of regions are called where several judge; see also :func:`video_judge`."""
MAX_CHANNELS = 512
MAX_FIRST_CHANNELS = 64


def video_judge(stride: int) -> str:
    """What D_V is called that judges frames so far apart."""
    return f"video_x{stride}"


class PatchDiscriminator(nn.Module):
    """4x4 convolutions that judge overlapping patches (B.6); the maps before the verdict serve feature matching."""

    def __init__(self, inputs: int, channels: int, layers: int, norm: Norm = "instance") -> None:
        super().__init__()
        normalise = nn.InstanceNorm2d if norm == "instance" else _BatchNorm
        widths = [min(channels * 2**i, MAX_CHANNELS) for i in range(layers + 1)]
        self.layers = nn.ModuleList([nn.Sequential(nn.Conv2d(inputs, widths[0], 4, 2, 2), nn.LeakyReLU(0.2))])
        for i in range(1, layers + 1):
            stride = 2 if i < layers else 1
            convolution = nn.Conv2d(widths[i - 1], widths[i], 4, stride, 2)
            self.layers.append(nn.Sequential(convolution, normalise(widths[i], affine=True), nn.LeakyReLU(0.2)))
        self.layers.append(nn.Conv2d(widths[-1], 1, 4, 1, 2))

    def forward(self, x: Tensor) -> list[Tensor]:
        """(N, C, H, W) to the feature maps of every layer; the last is the verdict (N, 1, h, w), without a sigmoid."""
        maps = []
        for layer in self.layers:
            x = layer(x)
            maps.append(x)
        return maps


class MultiscaleDiscriminator(Vid2VidModel):
    """The same question asked at several resolutions, finest first.

    Args:
        inputs: channels of the condition and the frames together.
        base_channels: width of the finest scale's first layer; doubled at each coarser scale up to 64.
        layers: convolutions of stride 2 (the paper's networks: 3).
        scales: how many resolutions judge; between them the input is halved.
        norm: "instance" normalises every picture by itself. "batch" normalises all pictures of a set together, which is
            what the released system's discriminators do; their running statistics are never used.

    Raises:
        ModelError: a number is out of its range.
    """

    @register_to_config
    def __init__(
        self, inputs: int, base_channels: int = 64, layers: int = 3, scales: int = 2, norm: Norm = "instance"
    ) -> None:
        super().__init__()
        check_number("inputs", inputs, 1, 4096)
        check_number("base_channels", base_channels, 1, MAX_CHANNELS)
        check_number("layers", layers, 1, 6)
        check_number("scales", scales, 1, 6)
        widths = [min(MAX_FIRST_CHANNELS, base_channels * 2**s) for s in range(scales)]
        if norm not in ("instance", "batch"):
            raise ModelError(f"norm is {norm!r}; it must be 'instance' or 'batch'")
        self.judges = nn.ModuleList([PatchDiscriminator(inputs, width, layers, norm) for width in widths])
        self.apply(initialise)

    def forward(self, condition: Tensor, *sets: Tensor) -> list[Judged]:
        """Judge sets of pictures, each (N, C, H, W), all given ``condition`` (N, S, H, W).

        Returns:
            For every set, per scale, finest first, the feature maps of :class:`PatchDiscriminator`.
        """
        if self.config.norm == "batch":
            return [self._judge(torch.cat((condition, pictures), 1)) for pictures in sets]
        together = self._judge(torch.cat((condition.repeat(len(sets), 1, 1, 1), torch.cat(sets)), 1))
        pieces = [[m.chunk(len(sets)) for m in maps] for maps in together]
        return [[[m[i] for m in maps] for maps in pieces] for i in range(len(sets))]

    def _judge(self, x: Tensor) -> Judged:
        judged = []
        for judge in self.judges:
            judged.append(judge(x))
            x = F.avg_pool2d(x, 3, stride=2, padding=1, count_include_pad=False)
        return judged


class _BatchNorm(nn.BatchNorm2d):
    """Batch normalisation by the statistics at hand, always."""

    def __init__(self, channels: int, affine: bool) -> None:
        super().__init__(channels, affine=affine, track_running_stats=False)

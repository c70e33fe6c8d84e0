"""The pieces all networks are made of, with the released networks' exact geometry, and their initialisation."""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor, nn


def norm(channels: int, affine: bool = True) -> nn.Module:
    """Per-picture normalisation, with learned scale and shift where it is ``affine``.

    The released networks say batch norm, but run it on the statistics of the one frame at hand, always: that is this.
    Their networks of single pictures say instance norm, and learn neither scale nor shift.
    """
    return nn.InstanceNorm2d(channels, affine=affine)


def norm_relu(channels: int, affine: bool = True) -> list[nn.Module]:
    """Normalisation and ReLU, as they follow every convolution but the last."""
    return [norm(channels, affine), nn.ReLU(inplace=True)]


def conv7(inputs: int, outputs: int) -> list[nn.Module]:
    """7x7 convolution over a reflected border of 3: the first and the last layer of every generator."""
    return [nn.ReflectionPad2d(3), nn.Conv2d(inputs, outputs, 7)]


def stem(inputs: int, channels: int, affine: bool = True) -> list[nn.Module]:
    """The first layer: (N, inputs, H, W) to (N, channels, H, W)."""
    return [*conv7(inputs, channels), *norm_relu(channels, affine)]


def down(inputs: int, outputs: int, affine: bool = True) -> list[nn.Module]:
    """Half the resolution, by a 3x3 convolution of stride 2."""
    return [nn.Conv2d(inputs, outputs, 3, stride=2, padding=1), *norm_relu(outputs, affine)]


def up(inputs: int, outputs: int, affine: bool = True) -> list[nn.Module]:
    """Twice the resolution, by a transposed 3x3 convolution of stride 2."""
    return [nn.ConvTranspose2d(inputs, outputs, 3, stride=2, padding=1, output_padding=1), *norm_relu(outputs, affine)]


def downs(channels: int, count: int, affine: bool = True, widest: int | None = None) -> list[nn.Module]:
    """``count`` halvings of the resolution, each doubling the channels, to no more than ``widest``."""
    return [layer for i, o in pairwise(_widths(channels, count, widest)) for layer in down(i, o, affine)]


def ups(channels: int, count: int, affine: bool = True, widest: int | None = None) -> list[nn.Module]:
    """``count`` doublings of the resolution, back through the channels of :func:`downs` to ``channels``."""
    return [layer for i, o in pairwise(reversed(_widths(channels, count, widest))) for layer in up(i, o, affine)]


def _widths(channels: int, count: int, widest: int | None) -> list[int]:
    widths = [channels * 2**i for i in range(count + 1)]
    return widths if widest is None else [min(width, widest) for width in widths]


class Residual(nn.Module):
    """x + conv(relu(conv(x))), both convolutions 3x3 over a reflected border, no ReLU after the sum."""

    def __init__(self, channels: int, affine: bool = True) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.ReflectionPad2d(1),
            nn.Conv2d(channels, channels, 3),
            *norm_relu(channels, affine),
            nn.ReflectionPad2d(1),
            nn.Conv2d(channels, channels, 3),
            norm(channels, affine),
        )

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to the same shape."""
        residual: Tensor = self.body(x)
        return x + residual


def residuals(channels: int, count: int, affine: bool = True) -> list[nn.Module]:
    """``count`` residual blocks."""
    return [Residual(channels, affine) for _ in range(count)]


def initialise(module: nn.Module) -> None:
    """The released initialisation: convolutions N(0, 0.02), norms N(1, 0.02), zero shift, biases as torch has them."""
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
        nn.init.normal_(module.weight, 0.0, 0.02)
    elif isinstance(module, nn.InstanceNorm2d | nn.BatchNorm2d) and module.affine:
        nn.init.normal_(module.weight, 1.0, 0.02)
        nn.init.zeros_(module.bias)

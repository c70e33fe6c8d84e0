"""The pieces all networks are made of, with the released networks' exact geometry, and their initialisation."""

from __future__ import annotations

from torch import Tensor, nn


def norm(channels: int) -> nn.Module:
    """Per-picture normalisation with learned scale and shift.

    The released networks say batch norm, but run it on the statistics of the one frame at hand, always: that is this.
    """
    return nn.InstanceNorm2d(channels, affine=True)


def norm_relu(channels: int) -> list[nn.Module]:
    """Normalisation and ReLU, as they follow every convolution but the last."""
    return [norm(channels), nn.ReLU(inplace=True)]


def conv7(inputs: int, outputs: int) -> list[nn.Module]:
    """7x7 convolution over a reflected border of 3: the first and the last layer of every generator."""
    return [nn.ReflectionPad2d(3), nn.Conv2d(inputs, outputs, 7)]


def stem(inputs: int, channels: int) -> list[nn.Module]:
    """The first layer: (N, inputs, H, W) to (N, channels, H, W)."""
    return [*conv7(inputs, channels), *norm_relu(channels)]


def down(inputs: int, outputs: int) -> list[nn.Module]:
    """Half the resolution, by a 3x3 convolution of stride 2."""
    return [nn.Conv2d(inputs, outputs, 3, stride=2, padding=1), *norm_relu(outputs)]


def up(inputs: int, outputs: int) -> list[nn.Module]:
    """Twice the resolution, by a transposed 3x3 convolution of stride 2."""
    return [nn.ConvTranspose2d(inputs, outputs, 3, stride=2, padding=1, output_padding=1), *norm_relu(outputs)]


def downs(channels: int, count: int) -> list[nn.Module]:
    """``count`` halvings of the resolution, each doubling the channels."""
    return [layer for i in range(count) for layer in down(channels * 2**i, channels * 2 ** (i + 1))]


def ups(channels: int, count: int) -> list[nn.Module]:
    """``count`` doublings of the resolution, each halving the channels, down to ``channels``."""
    return [layer for i in reversed(range(count)) for layer in up(channels * 2 ** (i + 1), channels * 2**i)]


class Residual(nn.Module):
    """x + conv(relu(conv(x))), both convolutions 3x3 over a reflected border, no ReLU after the sum."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.ReflectionPad2d(1),
            nn.Conv2d(channels, channels, 3),
            *norm_relu(channels),
            nn.ReflectionPad2d(1),
            nn.Conv2d(channels, channels, 3),
            norm(channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to the same shape."""
        residual: Tensor = self.body(x)
        return x + residual


def residuals(channels: int, count: int) -> list[nn.Module]:
    """``count`` residual blocks."""
    return [Residual(channels) for _ in range(count)]


def initialise(module: nn.Module) -> None:
    """The released initialisation: convolutions N(0, 0.02), norms N(1, 0.02), zero shift, biases as torch has them."""
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
        nn.init.normal_(module.weight, 0.0, 0.02)
    elif isinstance(module, nn.InstanceNorm2d | nn.BatchNorm2d) and module.affine:
        nn.init.normal_(module.weight, 1.0, 0.02)
        nn.init.zeros_(module.bias)

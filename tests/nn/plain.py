"""The layers of released generators (B.5) in plain functions, over the released names of weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch.nn.functional as F
from torch import Tensor


def norm_relu(x: Tensor) -> Tensor:
    return F.instance_norm(x).relu()


def pooled(x: Tensor, times: int = 1) -> Tensor:
    """At half the size, so many times."""
    for _ in range(times):
        x = F.avg_pool2d(x, 3, 2, 1, count_include_pad=False)
    return x


class Layers:
    """Convolutions by the name of their weights, and what the networks are made of beside them."""

    def __init__(self, weights: Mapping[str, Tensor]) -> None:
        self.weights = weights

    def conv(
        self, x: Tensor, key: str, border: int = 0, function: Callable[..., Tensor] = F.conv2d, **options: Any
    ) -> Tensor:
        x = F.pad(x, (border,) * 4, "reflect") if border else x
        return function(x, self.weights[f"{key}.weight"], self.weights[f"{key}.bias"], **options)

    def first(self, x: Tensor, key: str) -> Tensor:
        return norm_relu(self.conv(x, key, 3))

    def residual(self, x: Tensor, key: str) -> Tensor:
        inner = norm_relu(self.conv(x, f"{key}.conv_block.1", 1))
        return x + F.instance_norm(self.conv(inner, f"{key}.conv_block.5", 1))

    def down(self, x: Tensor, key: str) -> Tensor:
        return norm_relu(self.conv(x, key, stride=2, padding=1))

    def up(self, x: Tensor, key: str) -> Tensor:
        return norm_relu(self.conv(x, key, function=F.conv_transpose2d, stride=2, padding=1, output_padding=1))

"""Stand-ins for what the meta device lacks, where tensors have shapes and no numbers: autocast, and answers."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

LOWERED = frozenset((F.conv2d, F.conv_transpose2d, F.linear))
"""Of the operations in our networks, those that autocast computes in half precision; the rest follows their inputs."""


class MetaAutocast(TorchFunctionMode):
    """What ``torch.autocast("cuda", torch.bfloat16)`` does to our networks, wherever they are.

    Source: the op reference of torch's automatic mixed precision. Convolutions get bfloat16 copies of whatever they are
    given; that of a weight that learns is kept as long as the context, so that it is made once.
    """

    def __init__(self) -> None:
        super().__init__()
        self._copies: dict[int, Tensor] = {}

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in LOWERED:
            args = tuple(self._lowered(value) for value in args)
            kwargs = {name: self._lowered(value) for name, value in (kwargs or {}).items()}
        return func(*args, **(kwargs or {}))

    def _lowered(self, value: Any) -> Any:
        if not isinstance(value, Tensor) or not value.is_floating_point():
            return value
        if not (value.is_leaf and value.requires_grad):
            return value.to(torch.bfloat16)
        if id(value) not in self._copies:
            self._copies[id(value)] = value.to(torch.bfloat16)
        return self._copies[id(value)]


class FullMasks(TorchFunctionMode):
    """Takes every mask for full and every number for 1, so that code which asks goes the way that takes most."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in (Tensor.__float__, Tensor.__bool__):
            return func(torch.ones(()))
        if func is Tensor.__getitem__ and isinstance(args[1], Tensor) and args[1].dtype == torch.bool:
            return args[0].clone()
        return func(*args, **(kwargs or {}))

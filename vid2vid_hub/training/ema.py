"""An exponential moving average of the generator's weights, which is what users get."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class EMA:
    """Averaged parameters: average = decay · average + (1 - decay) · weights, after every step.

    Early on the decay is held below (1 + n) / (10 + n) at step n, so that the random start is soon forgotten.

    Args:
        module: whose parameters are averaged; all of them, trained or frozen.
        decay: 0 keeps the average equal to the weights.
    """

    def __init__(self, module: nn.Module, decay: float) -> None:
        self.decay = decay
        self.steps = 0
        self.average: dict[str, Tensor] = {name: p.detach().clone() for name, p in module.named_parameters()}

    @torch.no_grad()
    def update(self, module: nn.Module) -> None:
        """Take in the weights after one more step."""
        self.steps += 1
        decay = min(self.decay, (1 + self.steps) / (10 + self.steps)) if self.decay else 0.0
        for name, parameter in module.named_parameters():
            self.average[name].lerp_(parameter.detach(), 1 - decay)

    def restart(self) -> None:
        """Forget the past as quickly as at the beginning: parameters that begin to learn now are random, too."""
        self.steps = 0

    @torch.no_grad()
    def copy_to(self, module: nn.Module) -> None:
        """Give a module of the same shape the averaged weights."""
        for name, parameter in module.named_parameters():
            parameter.copy_(self.average[name])

"""How a future is drawn where several may come: classes by their probabilities, neighbours in space and time together.

Independent draws at every pixel would be noise. Here every pixel is still drawn by exactly its own probabilities (the
Gumbel-max way: the class whose log p + g is largest, g being Gumbel noise of each class), but the noise is smooth: it
is a Gaussian field seen through its own distribution function (a Gaussian copula).
"""

from __future__ import annotations

import math

import torch
from torch import Generator, Tensor

REACH = 1 / 8
"""Standard deviation of the field's kernel, in heights of the picture: how far neighbours are drawn alike."""
LASTING = 0.96
"""Correlation of the noise of one frame with that of the next: e times less after a second at 25 frames a second."""
REST = 1e-6
"""Keeps probabilities and uniform numbers away from 0 and 1, whose logarithms are infinite."""


class Chance:
    """The noise of one future, frame after frame.

    Args:
        classes: K.
        size: (height, width) in pixels.
        random: source of the numbers; drawn on the CPU, so that a seed means the same on all devices.
    """

    def __init__(self, classes: int, size: tuple[int, int], random: Generator) -> None:
        self.random = random
        spacing = max(1.0, size[0] * REACH)
        self._rows, self._columns = (_bumps(length, spacing) for length in size)
        self._shape = classes, self._rows.shape[1], self._columns.shape[1]
        self._grid: Tensor | None = None

    def field(self) -> Tensor:
        """The next frame's noise: (K, H, W), at every place a standard normal number."""
        fresh = torch.randn(self._shape, generator=self.random, device=self.random.device).cpu()
        before = self._grid
        self._grid = fresh if before is None else LASTING * before + math.sqrt(1 - LASTING**2) * fresh
        noise: Tensor = self._rows @ self._grid @ self._columns.T
        return noise

    def draw(self, probabilities: Tensor, temperature: float) -> Tensor:
        """Classes, int64 (1, H, W), for the next frame.

        Args:
            probabilities: (K, H, W).
            temperature: 1 draws by them; less draws likelier classes, and 0 the likeliest.
        """
        uniform: Tensor = torch.special.ndtr(self.field()).clamp(REST, 1 - REST)
        gumbel = -(-uniform.log()).log()
        chances = probabilities.float().clamp_min(REST).log()
        return (chances + temperature * gumbel.to(chances.device)).argmax(0, keepdim=True)


def _bumps(length: int, spacing: float) -> Tensor:
    """(length, points): what each point of a coarse grid gives to each pixel; the squares of every row add up to 1.

    So white noise on the grid is noise of variance 1 at every pixel, not on average only.
    """
    points = torch.arange(-3, math.ceil(length / spacing) + 4) * spacing
    rows = torch.exp(-(((torch.arange(length)[:, None] - points) / spacing) ** 2) / 2)
    length_of_each: Tensor = torch.linalg.vector_norm(rows, dim=1, keepdim=True)
    return rows / length_of_each

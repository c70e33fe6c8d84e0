"""How fast a training goes and how much memory it takes, as it is."""

from __future__ import annotations

import time
from statistics import median

import psutil
import torch

MIB = 2**20


class Pace:
    """Hears of every step; says what the steps so far took.

    Args:
        device: where the networks are. On a GPU memory is what tensors took there at their most, elsewhere what the
            process had resident after a step at its most.
    """

    def __init__(self, device: torch.device) -> None:
        self._device, self._process = device, psutil.Process()
        self._last = time.monotonic()
        self._seconds: list[float] = []
        self._resident = 0

    def step(self) -> None:
        """A step is done."""
        now = time.monotonic()
        self._seconds.append(now - self._last)
        self._last = now
        self._resident = max(self._resident, self._process.memory_info().rss)

    def __str__(self) -> str:
        if not self._seconds:
            return "no steps"
        on_gpu = self._device.type == "cuda"
        peak = torch.cuda.max_memory_allocated(self._device) if on_gpu else self._resident
        return f"{len(self._seconds)} steps, median {median(self._seconds):.3f} s, peak memory {peak / MIB:.0f} MiB"

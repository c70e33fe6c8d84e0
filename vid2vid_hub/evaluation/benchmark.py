"""Where the time of a pipeline goes: the network, the way to it and from it on the host, and the whole."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from statistics import median

import torch

from vid2vid_hub.pipeline import Vid2VidPipeline
from vid2vid_hub.types import Condition


@dataclass(frozen=True)
class Timing:
    """Milliseconds a frame, medians.

    Attributes:
        network: one generator step, its input ready on the device.
        host: the whole less the network: padding, encoding, the copy to uint8 and to the CPU.
        whole: a frame of ``stream``.
        size: (height, width) in pixels.
        threads: CPU threads that torch may use.
    """

    network: float
    host: float
    whole: float
    size: tuple[int, int]
    threads: int

    @property
    def outside(self) -> float:
        """Share of the whole that is spent outside the network."""
        return self.host / self.whole


def benchmark(pipeline: Vid2VidPipeline, size: tuple[int, int], frames: int = 20, warmup: int = 3) -> Timing:
    """Stream ``frames`` frames of one condition and time them from the outside and around the generator.

    Whole and network are taken from the same frames, so their difference is the host path and no noise of another run.

    Args:
        pipeline: what is timed, on its own device.
        size: (height, width) of the condition.
        frames: how many are timed.
        warmup: how many are made before.
    """
    maps = torch.zeros(1, pipeline.task.maps, *size, dtype=torch.uint8)
    conditions: Iterator[Condition] = (Condition(maps) for _ in range(warmup + frames))
    inside: list[float] = []
    generator = pipeline.generator
    step = generator.step

    def timed(*args: object, **kwargs: object) -> object:
        _wait(pipeline)
        start = time.perf_counter()
        result = step(*args, **kwargs)
        _wait(pipeline)
        inside.append((time.perf_counter() - start) * 1000)
        return result

    generator.step = timed
    try:
        whole, last = [], time.perf_counter()
        for _ in pipeline.stream(condition=conditions):
            now = time.perf_counter()
            whole.append((now - last) * 1000)
            last = now
    finally:
        del generator.step
    network, total = (median(times[warmup:]) for times in (inside, whole))
    return Timing(network, total - network, total, size, torch.get_num_threads())


def _wait(pipeline: Vid2VidPipeline) -> None:
    if pipeline.device.type == "cuda":
        torch.cuda.synchronize(pipeline.device)

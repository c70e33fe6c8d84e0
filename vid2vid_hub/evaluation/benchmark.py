"""Where the time of a pipeline goes, network and host path, and whether its memory grows with the video."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from statistics import median

import psutil
import torch

from vid2vid_hub.pipeline import Vid2VidPipeline
from vid2vid_hub.types import Condition


@dataclass(frozen=True)
class Timing:
    """Milliseconds a frame, medians; and resident memory.

    Attributes:
        network: one generator step, its input ready on the device.
        host: the whole less the network: padding, encoding, the copy to uint8 and to the CPU.
        whole: a frame of ``stream``.
        size: (height, width) in pixels.
        threads: CPU threads that torch may use.
        early: MiB resident after a tenth of the frames.
        late: MiB resident at the end.
    """

    network: float
    host: float
    whole: float
    size: tuple[int, int]
    threads: int
    early: float
    late: float

    @property
    def outside(self) -> float:
        """Share of the whole that is spent outside the network."""
        return self.host / self.whole

    @property
    def growth(self) -> float:
        """How much of the early memory was added since; 0.01 is one percent."""
        return self.late / self.early - 1


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
    early = 0.0
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
            if len(whole) <= warmup + max(frames // 10, 1):
                early = _resident()
            last = time.perf_counter()
    finally:
        del generator.step
    network, total = (median(times[warmup:]) for times in (inside, whole))
    return Timing(network, total - network, total, size, torch.get_num_threads(), early, _resident())


def _resident() -> float:
    return float(psutil.Process().memory_info().rss) / 2**20


def _wait(pipeline: Vid2VidPipeline) -> None:
    if pipeline.device.type == "cuda":
        torch.cuda.synchronize(pipeline.device)

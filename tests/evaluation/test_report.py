"""The report's floors are what they say, and the benchmark's parts are parts of its whole."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from vid2vid_hub import Vid2VidPipeline
from vid2vid_hub.data.clips import PreparedClip, read_clips
from vid2vid_hub.errors import DatasetError
from vid2vid_hub.evaluation import benchmark as benchmark_module
from vid2vid_hub.evaluation.benchmark import benchmark
from vid2vid_hub.evaluation.measures import psnr, warping_error
from vid2vid_hub.evaluation.report import SYSTEMS, evaluate
from vid2vid_hub.nn.frozen import DISFlow, confidence


@pytest.fixture(scope="module")
def pipeline(toy_model: Path) -> Vid2VidPipeline:
    return Vid2VidPipeline.from_pretrained(toy_model)


@pytest.fixture(scope="module")
def clips(toy_data: Path) -> list[PreparedClip]:
    return [*read_clips(toy_data, "val"), *read_clips(toy_data, "train")[1:]]


def images(frames: np.ndarray | Tensor) -> Tensor:
    pixels = torch.from_numpy(frames).permute(0, 3, 1, 2) if isinstance(frames, np.ndarray) else frames
    return pixels.float() / 127.5 - 1


def test_every_system_is_what_it_says(pipeline: Vid2VidPipeline, clips: list[PreparedClip]):
    """The same figures, computed from whole videos that are made here."""
    expected: dict[str, dict[str, list[Tensor]]] = {}
    for clip in clips:
        condition, real = clip.condition(0, clip.length), images(clip.frames(0, clip.length))
        flow = clip.flow(0, clip.length)
        trust = confidence(real[:-1], real[1:], flow)
        generated = images(pipeline(condition=condition).frames)
        systems = {
            "generated": generated,
            "no flow": images(pipeline(condition=condition, warp=False).frames),
            "copy of the last frame": generated[[0, *range(clip.length - 1)]],
            "first frame held": generated[[0] * clip.length],
            "real video": real,
        }
        for system, frames in systems.items():
            measured = {"psnr": psnr(frames[1:], real[1:]), "warping": warping_error(frames, flow, trust)}
            for measure, values in measured.items():
                expected.setdefault(system, {}).setdefault(measure, []).append(values)
    heard: list[str] = []
    found = evaluate(pipeline, clips, teacher=DISFlow(), progress=heard.append)
    assert heard == ["c", "b"]
    assert list(found) == list(SYSTEMS) == list(expected)
    del expected["real video"]["psnr"]
    for system, measures in expected.items():
        means = {measure: torch.cat(values).mean().item() for measure, values in measures.items()}
        assert found[system] == pytest.approx(means, rel=1e-5), system
    assert found["generated"] != found["no flow"]


def test_the_floor_of_the_measure_is_low_and_that_of_standing_still_is_not(
    pipeline: Vid2VidPipeline, clips: list[PreparedClip]
):
    report = evaluate(pipeline, clips, teacher=DISFlow())
    assert report["real video"]["warping"] < 0.1
    assert set(report["real video"]) == {"warping"}


def test_without_cached_flow_the_teacher_is_asked(pipeline: Vid2VidPipeline, clips: list[PreparedClip]):
    bare = [replace(clip, flow_file_name=None) for clip in clips]
    asked = evaluate(pipeline, bare, teacher=DISFlow())
    assert asked["generated"]["psnr"] == evaluate(pipeline, clips, teacher=DISFlow())["generated"]["psnr"]

    class Deaf:
        name = "deaf"

        def flow(self, previous: Tensor, current: Tensor) -> Tensor:
            raise AssertionError("flow is cached")

    evaluate(pipeline, clips, teacher=Deaf())
    with pytest.raises(AssertionError, match="flow is cached"):
        evaluate(pipeline, bare, teacher=Deaf())


def test_lpips_is_measured_where_its_weights_are(pipeline: Vid2VidPipeline, clips: list[PreparedClip], shared: Path):
    weights = shared / "data/weights/vgg16_imagenet_lpips_fp16.safetensors"
    if not weights.is_file():
        pytest.skip(f"needs the weights of LPIPS, and there is no {weights}")
    report = evaluate(pipeline, clips[:1], teacher=DISFlow(), lpips_weights=weights)
    assert set(report["generated"]) == {"psnr", "warping", "lpips"}
    assert 0 < report["generated"]["lpips"] < 2
    assert "lpips" not in report["real video"]


def test_a_split_without_a_pair_of_frames_is_an_error(pipeline: Vid2VidPipeline, clips: list[PreparedClip]):
    still = replace(clips[0], length=1, flow_file_name=None)
    for nothing in ([], [still]):
        with pytest.raises(DatasetError, match="no clips of two or more frames"):
            evaluate(pipeline, nothing, teacher=DISFlow())
    with_it = evaluate(pipeline, [still, *clips], teacher=DISFlow())
    assert with_it == evaluate(pipeline, clips, teacher=DISFlow())


class Clock:
    """Time that passes only when told: the network takes 30 ms a frame, the rest of a frame 10 ms."""

    def __init__(self) -> None:
        self.now = 0.0

    def perf_counter(self) -> float:
        return self.now


def test_the_parts_of_the_benchmark_add_up(pipeline: Vid2VidPipeline, monkeypatch: pytest.MonkeyPatch):
    clock = Clock()
    step, stream = type(pipeline.generator).step, Vid2VidPipeline.stream

    def slow_step(self, *args, **kwargs):
        clock.now += 0.030
        return step(self, *args, **kwargs)

    def slow_stream(self, **kwargs):
        for frame in stream(self, **kwargs):
            clock.now += 0.010
            yield frame

    monkeypatch.setattr(benchmark_module, "time", clock)
    monkeypatch.setattr(type(pipeline.generator), "step", slow_step)
    monkeypatch.setattr(Vid2VidPipeline, "stream", slow_stream)
    timing = benchmark(pipeline, (32, 48), frames=5, warmup=1)
    assert (timing.network, timing.host, timing.whole) == pytest.approx((30, 10, 40))
    assert timing.outside == pytest.approx(0.25)


def test_the_benchmark_measures_and_leaves_no_trace(pipeline: Vid2VidPipeline):
    timing = benchmark(pipeline, (40, 56), frames=4, warmup=1)
    assert timing.size == (40, 56)
    assert 0 < timing.network < timing.whole
    assert timing.network + timing.host == pytest.approx(timing.whole)
    assert 0 < timing.outside < 1
    assert timing.threads == torch.get_num_threads()
    assert "step" not in vars(pipeline.generator)

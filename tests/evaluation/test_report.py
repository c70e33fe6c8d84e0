"""The report's floors are what they say, and the benchmark's parts are parts of its whole."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from vid2vid_hub import Vid2VidPipeline
from vid2vid_hub.cli import main
from vid2vid_hub.data.clips import PreparedClip, read_clips
from vid2vid_hub.data.toy import ToyShapes, ToyWorld
from vid2vid_hub.errors import DatasetError, ModelError, Vid2VidError
from vid2vid_hub.evaluation import benchmark as benchmark_module
from vid2vid_hub.evaluation import report as report_module
from vid2vid_hub.evaluation.benchmark import benchmark
from vid2vid_hub.evaluation.frechet import frechet_distance, kernel_distance, window_features, windows
from vid2vid_hub.evaluation.report import SYSTEMS, evaluate
from vid2vid_hub.nn.frozen import DISFlow, confidence
from vid2vid_hub.nn.generator import Vid2VidGenerator
from vid2vid_hub.nn.i3d import I3D
from vid2vid_hub.nn.image import Pix2PixHDGenerator
from vid2vid_hub.ops.measures import SAME, psnr, warping_error
from vid2vid_hub.types import Condition


@pytest.fixture(scope="module")
def pipeline(toy_model: Path) -> Vid2VidPipeline:
    return Vid2VidPipeline.from_pretrained(toy_model)


@pytest.fixture(scope="module")
def clips(toy_data: Path) -> list[PreparedClip]:
    return [*read_clips(toy_data, "val"), *read_clips(toy_data, "train")[1:]]


def images(frames: np.ndarray | Tensor) -> Tensor:
    pixels = torch.from_numpy(frames).permute(0, 3, 1, 2) if isinstance(frames, np.ndarray) else frames
    return pixels.float() / 127.5 - 1


def moved(frames: Tensor) -> Tensor:
    return DISFlow().flow(frames[:-1], frames[1:]).norm(dim=1).mean((1, 2))


def by_hand(pipeline: Vid2VidPipeline, clips: list[PreparedClip], given: int) -> dict[str, dict[str, float]]:
    """The figures of whole videos that are made here, ``given`` real frames of each of which are handed in."""
    collected: dict[str, dict[str, list[Tensor]]] = {}
    start = max(given, 1)
    for clip in clips:
        condition, pixels = clip.condition(0, clip.length), clip.frames(0, clip.length)
        real, flow = images(pixels), clip.flow(0, clip.length)
        trust = confidence(real[:-1], real[1:], flow)
        first = {"first_frames": pixels[:given]} if given else {}
        generated = images(pipeline(condition=condition, **first).frames)
        systems = {
            "generated": generated,
            "no flow": images(pipeline(condition=condition, warp=False, **first).frames),
            "copy of the last frame": generated[[0, *range(clip.length - 1)]],
            "first frame held": generated[[start - 1] * clip.length],
            "real video": real,
        }
        for system, frames in systems.items():
            values = {
                "psnr": psnr(frames[start:], real[start:]),
                "warping": warping_error(frames, flow, trust)[start - 1 :],
                "motion": moved(frames)[start - 1 :],
            }
            for measure, value in values.items():
                collected.setdefault(system, {}).setdefault(measure, []).append(value)
    means = {s: {m: torch.cat(v).mean().item() for m, v in measures.items()} for s, measures in collected.items()}
    for measures in means.values():
        measures["motion"] /= means["real video"]["motion"] if measures is not means["real video"] else 1
    means["real video"] = {"warping": means["real video"]["warping"]}
    return means


@pytest.mark.parametrize(("first_frames", "given"), [(None, 0), ("zeros", 0), ("real", 2)])
def test_every_system_is_what_it_says(
    pipeline: Vid2VidPipeline, clips: list[PreparedClip], first_frames: str | None, given: int
):
    heard: list[str] = []
    found = evaluate(pipeline, clips, teacher=DISFlow(), first_frames=first_frames, progress=heard.append)
    assert heard == ["c", "b"]
    expected = by_hand(pipeline, clips, given)
    assert list(found) == list(SYSTEMS) == list(expected)
    for system, measures in expected.items():
        assert found[system] == pytest.approx(measures, rel=1e-4, abs=1e-6), system
    assert found["generated"] != found["no flow"]
    assert found["first frame held"]["motion"] == 0


def test_measuring_a_few_frames_at_a_time_changes_nothing(
    pipeline: Vid2VidPipeline, clips: list[PreparedClip], monkeypatch: pytest.MonkeyPatch
):
    bare = [replace(clip, flow_file_name=None) for clip in clips]
    at_once = evaluate(pipeline, bare, teacher=DISFlow())
    for block in (1, 3):
        monkeypatch.setattr(report_module, "BLOCK", block)
        for system, measures in evaluate(pipeline, bare, teacher=DISFlow()).items():
            assert measures == pytest.approx(at_once[system], rel=1e-5), (block, system)


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
    evaluate(pipeline, clips, teacher=Deaf())
    with pytest.raises(AssertionError, match="flow is cached"):
        evaluate(pipeline, bare, teacher=Deaf())


class Deaf:
    name = "deaf"

    def flow(self, previous: Tensor, current: Tensor) -> Tensor:
        raise AssertionError("flow is cached")


def test_lpips_is_measured_where_its_weights_are(pipeline: Vid2VidPipeline, clips: list[PreparedClip], shared: Path):
    weights = shared / "data/weights/vgg16_imagenet_lpips_fp16.safetensors"
    if not weights.is_file():
        pytest.skip(f"needs the weights of LPIPS, and there is no {weights}")
    report = evaluate(pipeline, clips[:1], teacher=DISFlow(), lpips_weights=weights)
    assert set(report["generated"]) == {"psnr", "warping", "motion", "lpips"}
    assert 0 < report["generated"]["lpips"] < 2
    assert "lpips" not in report["real video"]


def test_a_network_without_a_flow_branch_is_not_compared_with_itself(clips: list[PreparedClip]):
    torch.manual_seed(0)
    channels = ToyShapes().channels
    flowless = Vid2VidGenerator(channels, base_channels=8, downsamples=2, blocks=2, flow=False)
    image = Pix2PixHDGenerator(channels, base_channels=8, downsamples=2, blocks=1)
    for network in (flowless, image):
        pipeline = Vid2VidPipeline(network, ToyShapes())
        report = evaluate(pipeline, clips[:1], teacher=DISFlow())
        assert list(report) == [system for system in SYSTEMS if system != "no flow"]
        assert set(evaluate(pipeline, clips[:1], teacher=DISFlow(), first_frames="real")) == set(report)
    seen_nothing = evaluate(pipeline, clips[:1], teacher=DISFlow(), first_frames="real")
    assert seen_nothing == report, "a network that sees no past is given no past"


def test_a_network_that_takes_a_flow_is_given_that_of_the_clip(clips: list[PreparedClip]):
    torch.manual_seed(0)
    network = Vid2VidGenerator(ToyShapes().channels, base_channels=8, downsamples=2, blocks=2, given_flow=True)
    pipeline, clip = Vid2VidPipeline(network, ToyShapes()), clips[0]
    condition, real = clip.condition(0, clip.length), images(clip.frames(0, clip.length))
    cached = clip.flow(0, clip.length)
    asked = DISFlow().flow(real[:-1], real[1:])
    for flow, source in ((cached * 3, Tripled(clip)), (asked, replace(clip, flow_file_name=None))):
        driven = pipeline(condition=condition, flow=torch.cat((torch.zeros_like(flow[:1]), flow)))
        expected = psnr(images(driven.frames)[1:], real[1:]).mean().item()
        report = evaluate(pipeline, [source], teacher=DISFlow())
        assert list(report) == list(SYSTEMS)
        assert report["generated"]["psnr"] == pytest.approx(expected, rel=1e-5)


class Tripled:
    """A clip whose cached flow is three times too long, so that using another would be seen."""

    def __init__(self, clip: PreparedClip) -> None:
        self.clip = clip

    def __getattr__(self, name: str):
        return getattr(self.clip, name)

    def flow(self, start: int, stop: int) -> Tensor:
        return self.clip.flow(start, stop) * 3


@dataclass
class Drawn:
    """A clip of the drawn world in memory, 48x32, its real frames replaced where others are given."""

    seed: int
    length: int
    others: Tensor | None = None
    size: tuple[int, int] = (32, 48)
    fps: Fraction = Fraction(25)

    def __post_init__(self) -> None:
        self.name, self.video = f"drawn {self.seed}", ToyWorld(self.seed, *self.size).draw(self.length)

    def frames(self, start: int, stop: int) -> Tensor:
        return (self.video.frames if self.others is None else self.others)[start:stop]

    def condition(self, start: int, stop: int) -> Condition:
        return Condition(torch.as_tensor(self.video.labels)[start:stop])

    def flow(self, start: int, stop: int) -> Tensor:
        return self.video.flow[start : stop - 1]


@pytest.fixture
def i3d(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Weights of an untrained I3D, whose random features separate videos too, at a seventh of its side for speed."""
    monkeypatch.setattr("vid2vid_hub.nn.i3d.SIDE", 32)
    torch.manual_seed(0)
    weights = {
        key.replace("head.", "Logits.Conv3d_0c_1x1.conv3d.").replace("trunk.", ""): tensor
        for key, tensor in I3D(None).state_dict().items()
    }
    path = tmp_path / "untrained.safetensors"
    save_file(weights, path)
    return path


def test_a_pipeline_that_makes_the_real_video_is_at_no_distance_from_it(pipeline: Vid2VidPipeline, i3d: Path):
    clips = []
    for seed, length in ((0, 16), (1, 24)):
        clip = Drawn(seed, length)
        made = torch.from_numpy(pipeline(condition=clip.condition(0, length)).frames).permute(0, 3, 1, 2)
        clips.append(replace(clip, others=made))
    report = evaluate(pipeline, clips, teacher=Deaf(), i3d_weights=i3d)
    assert report["generated"]["windows"] == 3
    assert report["generated"]["fvd"] == pytest.approx(0, abs=1e-9)
    assert report["generated"]["kvd"] < 1e-9, "unbiased: a set is nearer to itself than its members are to each other"
    assert (report["generated"]["psnr"], report["generated"]["motion"]) == (SAME, 1)
    assert report["generated"]["warping"] == report["real video"]["warping"]
    for floor in ("no flow", "copy of the last frame", "first frame held"):
        assert report[floor]["fvd"] > 1e-6, floor
    assert set(report["real video"]) == {"warping"}


def test_given_frames_are_in_no_window(pipeline: Vid2VidPipeline, i3d: Path):
    """Two windows in 24 frames, but only one in the 22 behind two given ones; two more frames make it two again."""
    with pytest.raises(DatasetError, match="two or more windows of 16 frames, and these clips hold 1"):
        evaluate(pipeline, [Drawn(0, 24)], teacher=Deaf(), i3d_weights=i3d, first_frames="real")
    clip = Drawn(0, 26)
    report = evaluate(pipeline, [clip], teacher=Deaf(), i3d_weights=i3d, first_frames="real")
    made = pipeline(condition=clip.condition(0, 26), first_frames=clip.frames(0, 2), output_type="pt").frames
    features = [window_features(I3D(i3d), windows(video[2:])) for video in (made, clip.frames(0, 26))]
    assert report["generated"]["windows"] == 2
    assert report["generated"]["fvd"] == pytest.approx(frechet_distance(*features), rel=1e-4)
    assert report["generated"]["kvd"] == pytest.approx(kernel_distance(*features), rel=1e-3, abs=1e-6)


def test_the_command_says_how_many_windows_it_compared(
    toy_model: Path, i3d: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr("vid2vid_hub.data.open.open_clips", lambda *arguments: [Drawn(0, 24)])
    figures = tmp_path / "figures.json"
    arguments = ["--i3d", str(i3d), "--first-frames", "zeros", "--json", str(figures), "--device", "cpu"]
    monkeypatch.setattr(sys, "argv", ["vid2vid-hub", "evaluate", str(toy_model), "--data", "absent", *arguments])
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 0
    said = capsys.readouterr().out
    assert "1 clips, 24 frames, 2 windows" in said
    held = json.loads(figures.read_text())
    for measure in ("psnr", "warping", "motion", "fvd", "kvd"):
        assert measure in said
        assert f"{held['generated'][measure]:.4f}" in said, "no figure is cut off"


@pytest.mark.parametrize("nothing", [0, 1])
def test_a_split_without_a_pair_of_frames_is_an_error(
    pipeline: Vid2VidPipeline, clips: list[PreparedClip], nothing: int
):
    still = [replace(clips[0], length=1, flow_file_name=None)] * nothing
    with pytest.raises(DatasetError, match="no clips of two or more frames"):
        evaluate(pipeline, still, teacher=DISFlow())
    with_it = evaluate(pipeline, [*still, *clips], teacher=DISFlow())
    assert with_it == evaluate(pipeline, clips, teacher=DISFlow())


def test_clips_that_are_all_given_are_an_error(pipeline: Vid2VidPipeline, clips: list[PreparedClip]):
    with pytest.raises(DatasetError, match="no clips of 3 or more frames"):
        evaluate(pipeline, [Drawn(0, 2)], teacher=DISFlow(), first_frames="real")


def test_another_way_to_begin_is_refused_with_the_known_ones(pipeline: Vid2VidPipeline, clips: list[PreparedClip]):
    with pytest.raises(Vid2VidError, match="cannot be 'black'; they can be real, generated, zeros"):
        evaluate(pipeline, clips, teacher=DISFlow(), first_frames="black")
    with pytest.raises(ModelError, match="no network for first frames"):
        evaluate(pipeline, clips, teacher=DISFlow(), first_frames="generated")


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

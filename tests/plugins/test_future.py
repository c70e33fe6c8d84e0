"""past2future: what a forecast goes on from, how futures are drawn, and that a forecaster learns to look ahead."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from vid2vid_future import PastToFuture
from vid2vid_future.chance import Chance
from vid2vid_future.task import places
from vid2vid_hub import Vid2VidPipeline
from vid2vid_hub.cli import main
from vid2vid_hub.data.clips import Window, learned, read_window
from vid2vid_hub.data.maps import write_maps
from vid2vid_hub.data.video import open_video
from vid2vid_hub.errors import ConditionError, ModelError, RecipeError, TaskError
from vid2vid_hub.evaluation.masks import evaluate_future
from vid2vid_hub.nn.frozen import DISFlow
from vid2vid_hub.nn.generator import Vid2VidGenerator
from vid2vid_hub.nn.heads import Distribution
from vid2vid_hub.render import render_futures
from vid2vid_hub.training.networks import build_generator, build_judges, load_forecaster
from vid2vid_hub.training.parse import load_recipe, parse_recipe
from vid2vid_hub.training.rollout import roll_out
from vid2vid_hub.training.samples import sample_rollout
from vid2vid_hub.training.trainer import Trainer
from vid2vid_hub.training.validation import validate
from vid2vid_hub.training.walk import walk_clip
from vid2vid_hub.types import Condition, Observed
from vid2vid_street import SegToStreet

TRAIN_IDS = {"label_set": "cityscapes-train"}
CLASSES, SIZE, HISTORY = 20, (24, 40), 3
ROAD, CAR, SKY = 0, 13, 10


def task(**settings: object) -> PastToFuture:
    return PastToFuture(**TRAIN_IDS | settings)


def forecaster(seed: int = 0, certain: bool = False, **options: object) -> Vid2VidGenerator:
    """Random weights; what it says is far from the last map unless it is ``certain``, as it begins."""
    torch.manual_seed(seed)
    sizes = {"base_channels": 4, "downsamples": 2, "blocks": 2, "history": HISTORY}
    network = Vid2VidGenerator(2, image_channels=CLASSES, frames="probabilities", **sizes | options)
    if not certain:
        for name, parameter in network.named_parameters():
            if "heads" in name:
                torch.nn.init.normal_(parameter, 0, 0.2)
    return network.requires_grad_(False)


def observed(frames: int = 5, seed: int = 0, size: tuple[int, int] = SIZE) -> Condition:
    """Blocks of classes that move to the right."""
    random = torch.Generator().manual_seed(seed)
    coarse = torch.randint(CLASSES, (size[0] // 4, size[1] // 4 + frames), generator=random, dtype=torch.uint8)
    fine = coarse.repeat_interleave(4, 0).repeat_interleave(4, 1)
    views = [fine[:, 2 * (frames - t) : 2 * (frames - t) + size[1]] for t in range(frames)]
    return Condition(torch.stack(views)[:, None].contiguous())


def maps(forecast) -> Tensor:
    return torch.cat([one.maps for one in forecast])


@dataclass(frozen=True)
class Drive:
    """A clip on a plain road: a car moves to the right, two pixels a frame, round and round; everything is coloured."""

    length: int = 30
    start: int = 0
    cached: bool = True
    name: str = "drive"
    size: tuple[int, int] = SIZE
    fps: Fraction = Fraction(25)

    def condition(self, start: int, stop: int) -> Condition:
        labels = torch.full((stop - start, 1, *self.size), ROAD, dtype=torch.uint8)
        labels[:, :, : self.size[0] // 3] = SKY
        for t in range(start, stop):
            columns = (torch.arange(8) + 2 * t + self.start) % self.size[1]
            labels[t - start, 0, 12:18, columns] = CAR
        return Condition(labels)

    def frames(self, start: int, stop: int) -> Tensor:
        return task().preview(self.condition(start, stop))

    def flow(self, start: int, stop: int) -> Tensor | None:
        cars = (self.condition(start + 1, stop).maps == CAR).float()
        return torch.cat((-2 * cars, 0 * cars), 1) if self.cached else None


# What the two networks of the task read and make.


def test_the_renderer_is_that_of_seg2street():
    ours, theirs, condition = task(), SegToStreet(**TRAIN_IDS), observed()
    assert (ours.channels, ours.frame_classes) == (theirs.channels, None)
    assert torch.equal(ours.encode(condition).features, theirs.encode(condition).features)
    assert torch.equal(ours.encode(condition).foreground, theirs.encode(condition).foreground)
    frames = torch.rand(5, 3, *SIZE)
    assert ours.target(frames, condition) is frames


def test_the_forecaster_learns_label_maps_and_is_shown_places():
    ours, condition = task(learns="masks"), observed()
    assert (ours.channels, ours.frame_classes) == (2, CLASSES)
    target = ours.target(torch.rand(5, 3, *SIZE), condition)
    assert torch.equal(target.argmax(1, keepdim=True), condition.maps.long())
    assert torch.equal(target.sort(1).values[:, -1:], torch.ones(5, 1, *SIZE))
    assert torch.equal(target.sum(1), torch.full((5, *SIZE), 2.0 - CLASSES)), "the others are -1"
    encoded = ours.encode(condition)
    assert torch.equal(encoded.features, ours.encode(observed(seed=1)).features), "and nothing of the maps"
    assert encoded.foreground is None


def test_places_are_from_left_to_right_and_from_top_to_bottom():
    where = places((3, 5))
    assert where[0, 0].tolist() == [[-1.0, -0.5, 0.0, 0.5, 1.0]] * 3
    assert where[0, 1].T.tolist() == [[-1.0, 0.0, 1.0]] * 5


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"learns": "flow"}, "'frames' or 'masks'"),
        ({"temperature": -1}, "between 0 and 10"),
        ({"temperature": True}, "between 0 and 10"),
        ({"label_set": "mapillary"}, "mapillary"),
    ],
)
def test_a_setting_that_means_nothing_is_refused(settings: dict[str, object], said: str):
    with pytest.raises(TaskError, match=said):
        PastToFuture(**settings)


def test_data_is_the_same_for_both_networks():
    assert {"learns", "temperature"} <= PastToFuture.extraction


# Forecasts.


def test_a_forecast_is_the_recursion_from_the_last_maps():
    network, condition = forecaster(), observed()
    where = places(SIZE)
    seen = task(learns="masks").target(torch.empty(0), condition)[None, -HISTORY:]
    memory, expected = network.begin(where.expand(HISTORY, -1, -1, -1)[None], seen), []
    for _ in range(4):
        frame, memory = network.step(memory, where)
        expected.append(frame.image.argmax(1, keepdim=True))
    found = maps(task().forecast(network, condition, 4))
    assert torch.equal(found, torch.cat(expected))
    assert found.dtype == torch.uint8
    assert len(found.unique()) > 3, "something is forecast"


def test_only_the_last_frames_matter():
    network, condition = forecaster(), observed()
    changed = condition.maps.clone()
    changed[: 5 - HISTORY] = 0
    before, after, other = (
        maps(task().forecast(network, Condition(one), 3)) for one in (condition.maps, changed, condition.maps.flip(0))
    )
    assert torch.equal(before, after)
    assert not torch.equal(before, other)


def test_an_untrained_forecaster_copies_the_last_map():
    condition = observed(size=(16, 24))
    assert torch.equal(
        maps(task().forecast(forecaster(certain=True), condition, 3)), condition.maps[-1:].expand(3, -1, -1, -1)
    )


@pytest.mark.parametrize("size", [(24, 40), (17, 21), (5, 9)])
@pytest.mark.parametrize("frames", [1, 2, 5])
def test_any_size_and_any_number_of_observed_frames_will_do(size: tuple[int, int], frames: int):
    condition = Condition(torch.randint(CLASSES, (frames, 1, *size), dtype=torch.uint8))
    forecast = list(task().forecast(forecaster(), condition, 2))
    assert [(one.size, len(one), one.instances) for one in forecast] == [(size, 1, None)] * 2
    SegToStreet(**TRAIN_IDS).encode(forecast[0])


def test_a_forecast_is_a_stream():
    forecast = task().forecast(forecaster(), observed(), 10**9)
    assert len([next(forecast) for _ in range(3)]) == 3


def test_what_cannot_be_forecast_from_is_refused():
    with pytest.raises(TaskError, match=r"20 classes.*has 35"):
        next(PastToFuture().forecast(forecaster(), observed(), 1))
    with pytest.raises(ConditionError, match="at least one frame"):
        next(task().forecast(forecaster(), observed()[:0], 1))
    with pytest.raises(ConditionError, match="the label is 77"):
        next(task().forecast(forecaster(), Condition(torch.full((1, 1, 8, 8), 77, dtype=torch.uint8)), 1))
    with pytest.raises(TaskError, match="'seg2street' cannot forecast"):
        SegToStreet().forecast(forecaster(), observed(), 1)


# Drawing one of several futures.


def test_the_same_seed_draws_the_same_future_and_another_seed_another():
    def drawn(seed: int) -> Tensor:
        return maps(task().forecast(forecaster(), observed(), 4, torch.Generator().manual_seed(seed)))

    assert torch.equal(drawn(1), drawn(1))
    assert not torch.equal(drawn(1), drawn(2))


def test_without_temperature_the_likeliest_is_drawn():
    cold = maps(task(temperature=0).forecast(forecaster(), observed(), 4, torch.Generator().manual_seed(1)))
    assert torch.equal(cold, maps(task().forecast(forecaster(), observed(), 4)))


@given(st.integers(2, 60), st.integers(2, 60))
def test_the_noise_has_the_same_variance_at_every_pixel(height: int, width: int):
    chance = Chance(2, (height, width), torch.Generator())
    for rows in (chance._rows, chance._columns):
        torch.testing.assert_close(rows.square().sum(1), torch.ones(len(rows)))


def test_every_pixel_is_drawn_by_its_probabilities():
    """Also at the border, and in later frames."""
    random = torch.Generator().manual_seed(0)
    probabilities = torch.tensor([0.7, 0.2, 0.1]).view(3, 1, 1).expand(3, 16, 24)
    counts = torch.zeros(2, 3, 16, 24)
    draws = 3000
    for _ in range(draws):
        chance = Chance(3, (16, 24), random)
        for frame in counts:
            frame.scatter_add_(0, chance.draw(probabilities, 1.0), torch.ones(1, 16, 24))
    error = (counts / draws - probabilities).abs().amax((0, 2, 3))
    assert (error < 5 * (probabilities[:, 0, 0] * (1 - probabilities[:, 0, 0]) / draws).sqrt()).all()


def test_neighbours_in_space_and_time_are_drawn_alike():
    random = torch.Generator().manual_seed(0)
    chance = Chance(200, (64, 96), random)
    first, second = chance.field(), chance.field()

    def together(a: Tensor, b: Tensor) -> float:
        return float((a * b).mean())

    assert together(first, first) == pytest.approx(1, abs=0.1)
    assert together(first[..., 1:], first[..., :-1]) > 0.9
    assert abs(together(first[..., 48:], first[..., :48])) < 0.1
    assert together(first, second) == pytest.approx(0.96, abs=0.1)
    for _ in range(100):
        last = chance.field()
    assert abs(together(first, last)) < 0.15
    assert together(last, last) == pytest.approx(1, abs=0.1)


def test_futures_differ_where_it_is_open_which_one_comes():
    open_half = torch.tensor([0.5, 0.5]).view(2, 1, 1).expand(2, 32, 24)
    sure_half = torch.tensor([0.999, 0.001]).view(2, 1, 1).expand(2, 32, 24)
    probabilities = torch.cat((open_half, sure_half), 2)
    drawn = torch.stack(
        [Chance(2, (32, 48), torch.Generator().manual_seed(s)).draw(probabilities, 1.0) for s in range(20)]
    ).float()
    differ = drawn.std(0)[0]
    assert differ[:, :24].mean() > 0.4
    assert differ[:, 24:].mean() < 0.02


# The pipeline.


class ByColour(PastToFuture):
    """Finds classes by their exact colours, as a segmenter would by their looks."""

    def observe(self, blocks: Iterable[Tensor]) -> Iterator[Observed]:
        return (Observed(frames, self.parse(frames)) for frames in blocks)


@pytest.fixture(scope="module")
def pipeline() -> Vid2VidPipeline:
    torch.manual_seed(0)
    ours = ByColour(**TRAIN_IDS)
    renderer = Vid2VidGenerator(ours.channels, base_channels=4, downsamples=2, blocks=2, foreground=True)
    return Vid2VidPipeline(renderer.requires_grad_(False), ours, forecaster=forecaster())


def test_the_future_goes_on_from_the_real_frames(pipeline: Vid2VidPipeline):
    video, truth = Drive().frames(0, 10), Drive().condition(0, 10)
    made = pipeline(video, future=5, output_type="pt").frames
    forecast = maps(task().forecast(pipeline.forecaster, truth, 5))
    whole = Condition(torch.cat((truth.maps[-HISTORY:], forecast)))
    expected = pipeline(condition=whole, first_frames=video[-HISTORY:], output_type="pt").frames
    assert made.shape == (5, 3, *SIZE)
    assert torch.equal(made, expected[HISTORY:])


def test_a_future_of_a_condition_goes_on_from_what_was_made_of_it(pipeline: Vid2VidPipeline):
    condition = Drive().condition(0, 10)
    made = pipeline(condition=condition, output_type="pt").frames
    ahead = pipeline(condition=condition, first_frames=made, future=4, output_type="pt").frames
    forecast = maps(task().forecast(pipeline.forecaster, condition, 4))
    both = Condition(torch.cat((condition.maps, forecast)))
    assert torch.equal(ahead, pipeline(condition=both, first_frames=made, output_type="pt").frames[10:])
    alone = pipeline(condition=condition, future=4, output_type="pt").frames
    assert not torch.equal(alone, ahead), "without the pictures another video begins"
    last = pipeline(condition=condition[-HISTORY:], future=4, first_frames="zeros", output_type="pt").frames
    assert torch.equal(alone, last)


def test_a_generator_draws_the_future_of_a_pipeline(pipeline: Vid2VidPipeline):
    video = Drive().frames(0, 6)

    def made(seed: int | None) -> np.ndarray:
        random = None if seed is None else torch.Generator().manual_seed(seed)
        return pipeline(video, future=3, generator=random).frames

    assert np.array_equal(made(1), made(1))
    assert not np.array_equal(made(1), made(2))
    assert np.array_equal(made(None), made(None))


def test_a_future_at_another_size(pipeline: Vid2VidPipeline):
    assert pipeline(Drive().frames(0, 6), condition=None, future=2, size=(17, 30)).frames.shape == (2, 17, 30, 3)


def test_a_forecaster_is_saved_and_loaded_with_its_pipeline(pipeline: Vid2VidPipeline, tmp_path: Path):
    whole = Vid2VidPipeline(pipeline.generator, task(), forecaster=pipeline.forecaster)
    whole.save_pretrained(tmp_path / "whole")
    condition = Drive().condition(0, 6)
    expected = whole(condition=condition, future=3).frames
    loaded = Vid2VidPipeline.from_pretrained(tmp_path / "whole")
    assert np.array_equal(loaded(condition=condition, future=3).frames, expected)
    Vid2VidPipeline(pipeline.generator, SegToStreet(**TRAIN_IDS)).save_pretrained(tmp_path / "half")
    completed = Vid2VidPipeline.from_pretrained(
        tmp_path / "half", task="past2future", task_config=task().config(), forecaster=pipeline.forecaster
    )
    assert np.array_equal(completed(condition=condition, future=3).frames, expected)


def test_what_lacks_a_part_says_which(pipeline: Vid2VidPipeline):
    condition = observed()
    bare = Vid2VidPipeline(pipeline.generator, task())
    with pytest.raises(ModelError, match=r"no forecaster.*forecaster=\.\.\."):
        bare(condition=condition, future=3)
    with pytest.raises(ModelError, match="makes pictures"):
        Vid2VidPipeline(pipeline.generator, task(), forecaster=pipeline.generator)
    alone = Vid2VidPipeline(forecaster(), task(learns="masks"))
    with pytest.raises(ModelError, match="makes label maps and no pictures"):
        alone(condition=condition)
    street = Vid2VidPipeline(pipeline.generator, SegToStreet(**TRAIN_IDS), forecaster=forecaster())
    with pytest.raises(TaskError, match="'seg2street' cannot forecast"):
        street(condition=condition, future=3)
    with pytest.raises(ModelError, match="future is 0"):
        pipeline(condition=condition, future=0)
    with pytest.raises(ConditionError, match="either a video"):
        pipeline(future=3)
    with pytest.raises(ConditionError, match="no frames to go on from"):
        pipeline(condition=iter([condition[:0]]), future=3)


def test_several_futures_are_written(pipeline: Vid2VidPipeline, tmp_path: Path):
    past = pipeline.past(Drive().frames(0, 6))
    heard: list[int] = []
    options = {"future": 4, "samples": 3, "seed": 5, "fps": 25, "side_by_side": True, "report": heard.append}
    done = list(render_futures(pipeline, past, tmp_path / "out.mkv", **options))
    names = ["out.mkv", "out-2.mkv", "out-3.mkv"]
    assert [one.video.name for one in done] == names
    assert [one.frames for one in done] == [4] * 3
    assert heard == list(range(1, 13))
    sides = {f"{Path(name).stem}-side-by-side.mkv" for name in names}
    assert {path.name for path in tmp_path.iterdir()} == {*names, *sides}
    with open_video(tmp_path / "out-2-side-by-side.mkv") as reader:
        both = np.stack(list(reader.frames()))
    assert both.shape == (4, SIZE[0], 2 * SIZE[1], 3)

    def away(random: torch.Generator | None) -> float:
        forecast = maps(list(pipeline.ahead(past, 4, random))[1:])
        preview = task().preview(Condition(forecast)).permute(0, 2, 3, 1).numpy()
        return float(np.abs(both[:, :, : SIZE[1]].astype(int) - preview).mean())

    drawn = away(torch.Generator().manual_seed(6))
    assert all(drawn < 0.8 * away(other) for other in (None, torch.Generator().manual_seed(7)))


# The command line.


def said_by(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *words: object) -> tuple[str, str]:
    monkeypatch.setattr(sys, "argv", ["vid2vid-hub", *map(str, words)])
    with pytest.raises(SystemExit) as end:
        main()
    out, err = capsys.readouterr()
    assert end.value.code in (0, 2), err
    return out, err


@pytest.fixture
def saved(pipeline: Vid2VidPipeline, tmp_path: Path) -> Path:
    whole = Vid2VidPipeline(pipeline.generator, task(), forecaster=pipeline.forecaster, size=SIZE)
    whole.save_pretrained(tmp_path / "model")
    write_maps(tmp_path / "past.mkv", Drive().condition(0, 6).maps, 25)
    return tmp_path


def test_futures_from_the_command_line(saved: Path, capsys, monkeypatch):
    words = ["generate", saved / "model", saved / "past.mkv", "--output", saved / "out.mkv", "--device", "cpu"]
    out, _ = said_by(capsys, monkeypatch, *words, "--future", 3, "--samples", 2, "--seed", 4, "--side-by-side")
    files = ["out.mkv", "out-side-by-side.mkv", "out-2.mkv", "out-2-side-by-side.mkv"]
    assert out == "".join(f"{saved / name}: 3 frames\n" for name in files)
    with open_video(saved / "out.mkv") as reader:
        written = np.stack(list(reader.frames())).astype(int)
    model = Vid2VidPipeline.from_pretrained(saved / "model")
    made = model(condition=Drive().condition(0, 6), future=3).frames
    assert written.shape == made.shape
    assert np.abs(written.mean((1, 2)) - made.mean((1, 2))).max() < 4
    _, err = said_by(capsys, monkeypatch, *words, "--samples", 2)
    assert "say with --future how many frames" in err


def test_forecasts_are_measured_from_the_command_line(saved: Path, capsys, monkeypatch):
    monkeypatch.setattr("vid2vid_hub.data.open.open_clips", lambda *given: [Drive(12)])
    words = [
        "evaluate",
        saved / "model",
        "--data",
        "absent",
        "--future",
        "--every",
        4,
        "--json",
        saved / "figures.json",
    ]
    out, _ = said_by(capsys, monkeypatch, *words, "--device", "cpu")
    held = json.loads((saved / "figures.json").read_text())
    assert held.keys() == {"forecast", "last map kept", "last map moved on"}
    for figures in held.values():
        assert figures.keys() == {f"{measure} t+{h}" for measure in ("miou", "accuracy") for h in (1, 3, 9)}
        assert all(f"{figures[f'miou t+{h}']:.4f}" in out for h in (1, 3, 9)), "no figure is cut off"


# Training.


def recipe(tmp_path: Path, **changes: str):
    path = PastToFuture.recipe.with_name("forecaster.yaml")
    smaller = {
        "task_config": "{label_set: cityscapes-train, learns: masks}",
        "stages": f"[{{epochs: 1, width: {SIZE[1]}, height: {SIZE[0]}, frames: 8, unroll: 2}}]",
        "generator": "{base_channels: 4, downsamples: 2, blocks: 2, history: 3, sharpen: 1.2}",
        "precision": "no",
    }
    return load_recipe(path, smaller | changes)


def test_the_recipe_trains_a_forecaster_and_a_renderer_takes_it(tmp_path: Path):
    clips = [Drive(16), Drive(16, 9)]
    folder = Trainer(recipe(tmp_path), clips, tmp_path / "forecaster").fit()
    found = Vid2VidPipeline.from_pretrained(folder)
    assert (found.task.frame_classes, found.generator.config.frames) == (CLASSES, "probabilities")
    assert found.forecaster is None
    street = {
        "stages": f"[{{epochs: 1, width: {SIZE[1]}, height: {SIZE[0]}, frames: 4, unroll: 2}}]",
        "task_config.label_set": "cityscapes-train",
        "generator": "{base_channels: 4, downsamples: 1, blocks: 2}",
        "discriminator.base_channels": "4",
        "video_discriminator": "{strides: 0}",
        "perceptual": "none",
        "precision": "no",
        "forecaster": str(folder),
    }
    whole = Trainer(load_recipe(PastToFuture.recipe, street), clips[:1], tmp_path / "renderer").fit()
    pipeline = Vid2VidPipeline.from_pretrained(whole)
    for ours, theirs in zip(pipeline.forecaster.parameters(), found.generator.parameters(), strict=True):
        assert torch.equal(ours, theirs)
    assert pipeline(condition=clips[0].condition(0, 5), future=2).frames.shape == (2, *SIZE, 3)
    assert str(tmp_path) not in (whole / "recipe.yaml").read_text()


def test_a_training_knows_what_it_makes():
    masks = recipe(Path())
    network = build_generator(masks, task(learns="masks"))
    assert network.image_channels == CLASSES
    assert isinstance(network.networks[0].heads.image[-1], Distribution)
    assert build_judges(masks, task(learns="masks")) == {}
    stages = [{"epochs": 1, "width": 40, "height": 24}]
    judged = parse_recipe({"task": "past2future", "stages": stages, "discriminator": {"base_channels": 4}})
    judges = build_judges(judged, task(learns="masks"))
    assert judges["image"].config.inputs == 2 + CLASSES
    assert judges["video_x1"].config.inputs == 3 * CLASSES + 2 * 2
    single = parse_recipe({"task": "past2future", "stages": stages, "network": "pix2pixhd"})
    with pytest.raises(RecipeError, match="makes no pictures"):
        build_generator(single, task(learns="masks"))
    with pytest.raises(RecipeError, match="takes none beside it"):
        load_forecaster("anywhere", task(learns="masks"))


def test_a_pipeline_without_a_forecaster_gives_none(pipeline: Vid2VidPipeline, tmp_path: Path):
    Vid2VidPipeline(pipeline.generator, task()).save_pretrained(tmp_path)
    with pytest.raises(RecipeError, match="has no forecaster"):
        load_forecaster(str(tmp_path), task())


def test_true_flow_is_that_of_the_real_frames_and_not_of_label_maps():
    """Whether it is cached or estimated: a label map has no texture whose motion could be seen."""
    ours, network = task(learns="masks"), forecaster()
    clip = read_window(Drive(cached=False), Window(0, 0, 6))
    walk = walk_clip(ours, clip, network, DISFlow())
    assert walk.frames.shape == (1, 6, CLASSES, *SIZE)
    assert torch.equal(walk.frames, learned(ours, clip))
    street = walk_clip(task(), clip, network, DISFlow())
    assert torch.equal(walk.flow, street.flow)
    assert torch.equal(walk.trust, street.trust)
    assert walk.flow.any()


def test_a_forecaster_in_training_is_looked_at_as_label_maps():
    ours, network = task(learns="masks"), forecaster()
    rolled = roll_out(network, ours, Drive(), 9, SIZE, first_frames="real")
    made = rolled.generated.image[0].argmax(1, keepdim=True)
    assert torch.equal(made, maps(task().forecast(network, Drive().condition(0, HISTORY), 6)).long())
    sample = sample_rollout(network, ours, Drive(), 9, SIZE, first_frames="real")
    shown = sample.rollout.image[0].add(1).mul(127.5).round().to(torch.uint8)
    assert torch.equal(shown, ours.preview(Condition(made.to(torch.uint8))))
    assert sample.real.shape == (6, 3, *SIZE)
    truth = Drive().condition(HISTORY, 9).maps
    overlaps = []
    for one, other in zip(made, truth, strict=True):
        classes = other.unique()
        overlaps.append(
            np.mean([float(((one == c) & (other == c)).sum() / ((one == c) | (other == c)).sum()) for c in classes])
        )
    measured = validate(network, ours, [Drive()], SIZE, frames=9, first_frames="real")
    assert measured == {"miou": pytest.approx(np.mean(overlaps))}


@pytest.mark.slow
def test_a_forecaster_learns_where_a_car_goes(tmp_path: Path):
    """Beyond the last map, which is all that it knows at first."""
    changes = {
        "stages": f"[{{epochs: 30, width: {SIZE[1]}, height: {SIZE[0]}, frames: 11, unroll: 4}}]",
        "generator.base_channels": "8",
        "generator.downsamples": "2",
        "optimizer.decay": "15",
        "ema": "0.9",
        "flip": "0.0",
    }
    clips = [Drive(33, start) for start in (0, 7, 15, 22, 31)]
    folder = Trainer(recipe(tmp_path, **changes), clips, tmp_path / "run").fit()
    renderer = Vid2VidGenerator(task().channels, base_channels=4, downsamples=1, blocks=2, foreground=True)
    learned_it = Vid2VidPipeline.from_pretrained(folder).generator
    pipeline = Vid2VidPipeline(renderer, task(), forecaster=learned_it)
    figures = evaluate_future(pipeline, [Drive(30, 12)], every=3, teacher=DISFlow())
    for measure in ("miou t+3", "miou t+9"):
        assert figures["forecast"][measure] > figures["last map kept"][measure] + 0.1


def test_a_task_keeps_its_forecaster_and_a_pipeline_saves_it(pipeline: Vid2VidPipeline, tmp_path: Path):
    ours, network = task(), forecaster()
    assert ours.parts() == {}
    ours.adopt({"forecaster": network})
    whole = Vid2VidPipeline(pipeline.generator, ours)
    assert whole.forecaster is network
    whole.save_pretrained(tmp_path)
    again = Vid2VidPipeline.from_pretrained(tmp_path)
    assert again.task.parts() == {"forecaster": again.forecaster}
    again.adapt(temperature=0.5)
    assert again.task.parts() == {"forecaster": again.forecaster}
    with pytest.raises(TaskError, match="encodes 2 channels"):
        again.adapt(learns="masks")
    ours.adopt({"other": network})
    with pytest.raises(ModelError, match="no place for the part 'other'"):
        Vid2VidPipeline(pipeline.generator, ours)

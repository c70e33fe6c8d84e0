"""A whole life on the drawn world: train, be killed, resume to the same bits, and every branch of the loop."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from statistics import mean
from typing import Any

import pytest
import torch
from torch import Tensor

from vid2vid_hub import Vid2VidPipeline, losses
from vid2vid_hub.data.clips import ClipSource, PreparedClip, read_clips
from vid2vid_hub.errors import CheckpointError, DatasetError, RecipeError, Vid2VidError
from vid2vid_hub.nn.frozen import DISFlow, confidence
from vid2vid_hub.nn.generator import Vid2VidGenerator
from vid2vid_hub.training import trainer as module
from vid2vid_hub.training.checkpoint import load_checkpoint
from vid2vid_hub.training.recipe import Recipe, load_recipe, parse_recipe
from vid2vid_hub.training.run import start_run
from vid2vid_hub.training.trainer import Progress, Trainer, build_networks

TERMS = {"gan", "feature", "flow", "warp", "generated_warp", "discriminator"}


class KilledError(Exception):
    """Stands for whatever ends a process between two batches."""


@pytest.fixture
def recipe(tiny_recipe) -> Callable[..., Recipe]:
    """The tiny recipe with changes; ``stage`` changes its only stage."""

    def build(stage: dict[str, Any] | None = None, **changes: Any) -> Recipe:
        stages = [tiny_recipe["stages"][0] | (stage or {})]
        return parse_recipe(tiny_recipe | {"stages": stages} | changes)

    return build


@pytest.fixture
def clips(toy_data: Path) -> list[PreparedClip]:
    return read_clips(toy_data, "train")


@pytest.fixture
def any_precision() -> Iterator[None]:
    """Accelerate remembers the first precision of a process; let another one in, and go."""
    from accelerate.state import AcceleratorState

    AcceleratorState._reset_state(reset_partial_state=True)
    yield
    AcceleratorState._reset_state(reset_partial_state=True)


def kill_after(batches: int) -> Callable[[Progress], None]:
    heard: list[Progress] = []

    def report(progress: Progress) -> None:
        heard.append(progress)
        if len(heard) == batches:
            raise KilledError

    return report


def last_manifest(run: Path) -> dict[str, str]:
    """The sha256 of everything that the last checkpoint holds: weights, optimizers, average, position, recipe."""
    return json.loads((max(run.glob("checkpoint-*")) / "manifest.json").read_text())


def log(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]


def terms_of(trainer: Trainer) -> list[dict[str, float]]:
    collected: list[dict[str, float]] = []
    trainer.fit(lambda progress: collected.append(progress.terms))
    return collected


def snapshot(trainer: Trainer) -> list[Tensor]:
    networks = (trainer.bare_generator, trainer.accelerator.unwrap_model(trainer.discriminator))
    return [p.detach().clone() for network in networks for p in network.parameters()]


@pytest.mark.usefixtures("any_precision")
@pytest.mark.parametrize("precision", ["no", "bf16"])
def test_a_killed_run_ends_with_the_same_bits(tmp_path: Path, clips, recipe, precision: str):
    """Killed amid the first epoch and again amid the second; everything that a checkpoint holds has the same sha256."""
    asked = recipe(precision=precision)
    Trainer(asked, clips, tmp_path / "calm").fit()
    with pytest.raises(KilledError):
        Trainer(asked, clips, tmp_path / "killed").fit(kill_after(2))
    for batches in (4, None):
        torch.manual_seed(batches or 99)  # what else happened in this process must not matter
        again = Trainer(asked, clips, tmp_path / "killed")
        assert again.resume()
        assert again.position.step > 0
        if batches:
            with pytest.raises(KilledError):
                again.fit(kill_after(batches))
        else:
            again.fit()
    assert last_manifest(tmp_path / "killed") == last_manifest(tmp_path / "calm")
    assert len(last_manifest(tmp_path / "calm")) == 6
    calm, killed = ([{k: v for k, v in line.items() if k != "time"} for line in log(tmp_path / n)] for n in NAMES)
    assert killed == calm, "every batch is in the log once"


NAMES = ("calm", "killed")


def test_another_seed_gives_other_bits(tmp_path: Path, clips, recipe):
    for seed in (0, 1):
        Trainer(recipe({"epochs": 1}, seed=seed), clips, tmp_path / str(seed)).fit()
    one, other = (last_manifest(tmp_path / str(seed))["generator.safetensors"] for seed in (0, 1))
    assert one != other


def test_losses_fall(tmp_path: Path, clips, recipe):
    terms = terms_of(Trainer(recipe({"epochs": 12}, from_nothing=0.0, checkpoint_minutes=10), clips, tmp_path))
    assert len(terms) == 36
    for name, most in (("feature", 0.75), ("generated_warp", 0.75)):
        first, last = mean(t[name] for t in terms[:6]), mean(t[name] for t in terms[-6:])
        assert last < most * first, name


class WithFlow:
    """A clip with another flow than the cached one."""

    def __init__(self, clip: ClipSource, flow: Callable[[Tensor], Tensor] | None) -> None:
        self.clip, self._flow = clip, flow

    def __getattr__(self, name: str) -> Any:
        return getattr(self.clip, name)

    def flow(self, start: int, stop: int) -> Tensor | None:
        return None if self._flow is None else self._flow(self.clip.frames(start, stop).float().div(127.5).sub(1))


def test_a_loss_that_is_no_number_names_itself_and_the_clip(tmp_path: Path, clips, recipe):
    broken = WithFlow(clips[0], lambda frames: torch.full((len(frames) - 1, 2, *frames.shape[2:]), torch.nan))
    trainer = Trainer(recipe(), [broken], tmp_path)
    before = snapshot(trainer)
    with pytest.raises(Vid2VidError, match=r"the loss 'flow' became nan at step 0 on a\[\d:\d\]; no step was taken"):
        trainer.fit()
    assert all(torch.equal(a, b) for a, b in zip(before, snapshot(trainer), strict=True))
    assert trainer.position.step == 0
    assert not list(tmp_path.glob("checkpoint-*"))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_no_step_is_taken_either_when_it_is_the_discriminators(
    tmp_path: Path, clips, recipe, monkeypatch, value: float
):
    honest = losses.gan_discriminator
    monkeypatch.setattr(losses, "gan_discriminator", lambda real, fake: honest(real, fake) * value)
    trainer = Trainer(recipe(), clips, tmp_path)
    before = snapshot(trainer)
    with pytest.raises(Vid2VidError, match=f"the loss 'discriminator' became {value} at step 0"):
        trainer.fit()
    assert all(torch.equal(a, b) for a, b in zip(before, snapshot(trainer), strict=True))


@pytest.mark.parametrize(("share", "steps"), [(0.0, 3), (1.0, 6)])
def test_starts_from_nothing_or_from_real_frames(tmp_path: Path, clips, recipe, monkeypatch, share: float, steps: int):
    """Three stretches of four frames: from nothing two chunks of two each, after two real frames one chunk."""
    given: list[Tensor | None] = []
    begin = Vid2VidGenerator.begin

    def watched(self: Vid2VidGenerator, features: Tensor, images: Tensor | None = None) -> Any:
        given.append(images)
        return begin(self, features, images)

    monkeypatch.setattr(Vid2VidGenerator, "begin", watched)
    trainer = Trainer(recipe({"epochs": 1}, from_nothing=share), clips, tmp_path)
    trainer.fit()
    assert trainer.position.step == steps
    if share:
        assert given == [None] * 3
    else:
        assert [images.shape[:2] for images in given if images is not None] == [(1, 2)] * 3


def test_two_clips_a_batch(tmp_path: Path, clips, recipe):
    terms = terms_of(Trainer(recipe({"epochs": 1, "batch": 2}), clips, tmp_path))
    assert len(terms) == 2, "three stretches: two together, one alone"
    assert all(set(batch) == TERMS for batch in terms)


@pytest.mark.parametrize("frames", [1, 2])
def test_a_clip_no_longer_than_the_history_starts_from_nothing(tmp_path: Path, clips, recipe, frames: int):
    stage = {"epochs": 1, "frames": frames, "batch": 8}
    trainer = Trainer(recipe(stage, from_nothing=0.0), clips, tmp_path)
    assert all(set(batch) == TERMS for batch in terms_of(trainer))


def test_a_stretch_longer_than_every_clip(tmp_path: Path, clips, recipe):
    """Clips of 9 and 6 frames, asked for 30: each is one stretch, and they cannot share a batch."""
    trainer = Trainer(recipe({"epochs": 1, "frames": 30, "unroll": 5, "batch": 2}, from_nothing=1.0), clips, tmp_path)
    assert len(terms_of(trainer)) == 2
    assert trainer.position.step == 4


def test_without_flow(tmp_path: Path, clips, recipe):
    asked = recipe({"epochs": 1}, generator={"base_channels": 8, "downsamples": 2, "blocks": 2, "flow": False})
    (terms, *_) = terms_of(Trainer(asked, clips, tmp_path))
    assert set(terms) == TERMS - {"flow", "warp"}


def test_without_foreground(tmp_path: Path, clips, recipe):
    small = {"base_channels": 8, "downsamples": 2, "blocks": 2}
    trainer = Trainer(recipe({"epochs": 1}, generator=small | {"foreground": False}), clips, tmp_path)
    assert set(terms_of(trainer)[0]) == TERMS
    assert not trainer.bare_generator.has_foreground
    assert Trainer(recipe(generator=small), clips, tmp_path).bare_generator.has_foreground


def test_a_loss_without_weight_is_left_out_and_the_mask_comes_in(tmp_path: Path, clips, recipe):
    (terms, *_) = terms_of(Trainer(recipe({"epochs": 1}, loss={"feature": 0.0, "mask": 1.0}), clips, tmp_path))
    assert set(terms) == TERMS - {"feature", "generated_warp"} | {"mask"}


def test_cached_flow_and_the_teachers_agree(tmp_path: Path, clips, recipe, monkeypatch):
    teacher = DISFlow()
    asked = recipe({"epochs": 1}, flip=0.0, loss={"mask": 1.0})

    def cached(frames: Tensor) -> Tensor:
        return teacher.flow(frames[:-1], frames[1:]).half().float()

    asks = terms_of(Trainer(asked, [WithFlow(clip, None) for clip in clips], tmp_path / "teacher"))
    monkeypatch.setattr(module, "flow_teacher", None)
    has = terms_of(Trainer(asked, [WithFlow(clip, cached) for clip in clips], tmp_path / "cached"))
    for one, other in zip(asks, has, strict=True):
        assert one == pytest.approx(other, rel=2e-2)
    assert asks[0] == pytest.approx(has[0], rel=2e-3)


def test_the_truth_of_the_first_frame_is_not_trusted(tmp_path: Path, clips, recipe):
    trainer = Trainer(recipe(), clips, tmp_path)
    clip = module.read_window(clips[0], module.Window(0, 0, 4))
    flow, trust = trainer._truth(clip)
    assert flow.shape == (1, 4, 2, 32, 48)
    assert not flow[:, 0].any()
    assert not trust[:, 0].any()
    assert torch.equal(flow[:, 1:], clip.flow)
    assert torch.equal(trust[0, 1:], confidence(clip.frames[0, :-1], clip.frames[0, 1:], clip.flow[0]))
    assert 0.2 < trust[:, 1:].mean() <= 1


def test_the_log_has_a_line_a_batch(tmp_path: Path, clips, recipe):
    Trainer(recipe(), clips, tmp_path).fit()
    lines = log(tmp_path)
    assert len(lines) == 6
    assert all(set(line) == TERMS | {"step", "epoch", "rate", "time"} for line in lines)
    assert [line["epoch"] for line in lines] == [0, 0, 0, 1, 1, 1]
    assert [line["rate"] for line in lines] == pytest.approx([1e-3] * 3 + [5e-4] * 3)
    steps = [line["step"] for line in lines]
    assert steps == sorted(set(steps))


def test_both_optimizers_follow_the_schedule(tmp_path: Path, clips, recipe):
    trainer, heard = Trainer(recipe(), clips, tmp_path), []

    def report(progress: Progress) -> None:
        adams = (trainer.generator_step, trainer.discriminator_step)
        heard.append((progress.position.epoch, *(group["lr"] for adam in adams for group in adam.param_groups)))

    trainer.fit(report)
    assert heard == [(0, 1e-3, 1e-3)] * 3 + [(1, 5e-4, 5e-4)] * 3


def test_resuming_takes_out_of_the_log_what_will_happen_again(tmp_path: Path, clips, recipe):
    asked = recipe({"epochs": 1})
    Trainer(asked, clips, tmp_path).fit()
    whole = (tmp_path / "log.jsonl").read_text()
    (tmp_path / "log.jsonl").write_text(whole + '{"step": 99, "epoch": 7}\n{"step": 10')
    assert Trainer(asked, clips, tmp_path).resume()
    assert (tmp_path / "log.jsonl").read_text() == whole


def test_the_saved_pipeline_generates_with_the_averaged_weights(tmp_path: Path, clips, recipe):
    asked = recipe()
    trainer = Trainer(asked, clips, tmp_path)
    folder = trainer.fit()
    pipeline = Vid2VidPipeline.from_pretrained(folder)
    assert load_recipe(folder) == asked
    assert (pipeline.task.name, pipeline.size) == ("toy", (32, 48))
    averaged = dict(pipeline.generator.named_parameters())
    assert all(torch.equal(averaged[name], value) for name, value in trainer.ema.average.items())
    assert not torch.equal(
        averaged["networks.0.heads.image.1.weight"],
        dict(trainer.bare_generator.named_parameters())["networks.0.heads.image.1.weight"],
    )
    frames = pipeline(condition=clips[0].condition(0, 3)).frames
    assert frames.shape == (3, 32, 48, 3)
    assert sorted(path.name for path in tmp_path.iterdir() if path.name.startswith(".")) == []


def test_epochs_to_come_may_change_and_nothing_else(tmp_path: Path, clips, recipe, tiny_recipe):
    with pytest.raises(KilledError):
        Trainer(recipe(), clips, tmp_path).fit(kill_after(2))
    for changes, names in (
        ({"flip": 0.25, "seed": 3}, "flip, seed"),
        ({"optimizer": {"rate": 0.5, "decay": 1}}, "optimizer"),
        ({"stage": {"unroll": 1}}, "stages"),
    ):
        with pytest.raises(RecipeError, match=f"trained with another {names}; take its own recipe"):
            Trainer(recipe(**changes), clips, tmp_path).resume()
    longer = Trainer(recipe({"epochs": 3}), clips, tmp_path)
    assert longer.resume()
    longer.fit()
    assert longer.position.epoch == 3


def test_a_checkpoint_that_is_older_than_a_key_of_the_recipe_goes_on(tmp_path: Path, clips, recipe, monkeypatch):
    asked = recipe({"epochs": 1})
    Trainer(asked, clips, tmp_path).fit()
    checkpoint = load_checkpoint(tmp_path)
    assert checkpoint is not None
    older = {k: v for k, v in checkpoint.state["recipe"].items() if k not in ("teacher", "flip")}
    checkpoint.state["recipe"] = older | {"loss": {"generated_warp": 10.0}}
    monkeypatch.setattr(module, "load_checkpoint", lambda run: checkpoint)
    assert Trainer(asked, clips, tmp_path).resume()


def test_a_finished_run_resumes_to_itself(tmp_path: Path, clips, recipe):
    Trainer(recipe({"epochs": 1}), clips, tmp_path).fit()
    before = last_manifest(tmp_path)
    again = Trainer(recipe({"epochs": 1}), clips, tmp_path)
    assert again.resume()
    again.fit(kill_after(1))
    assert last_manifest(tmp_path) == before


def test_a_run_without_a_checkpoint_starts_anew(tmp_path: Path, clips, recipe):
    assert not Trainer(recipe(), clips, tmp_path).resume()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"generator": {"base_chanels": 8}}, "networks cannot be built: .*base_chanels"),
        ({"discriminator": {"depth": 8}}, "networks cannot be built: .*depth"),
        ({"generator": {"condition_channels": 8}}, "networks cannot be built: .*condition_channels"),
        ({"stage": {"width": 50}}, "a stage trains at 50x32; this generator needs .* multiples of 8"),
    ],
)
def test_networks_that_cannot_be_are_named(tmp_path: Path, clips, recipe, changes, words: str):
    with pytest.raises(RecipeError, match=words):
        Trainer(recipe(**({"generator": {"base_channels": 8, "blocks": 2}} | changes)), clips, tmp_path)


def test_a_foreground_that_the_task_does_not_give(clips, recipe, tmp_path: Path):
    class Flat(type(Trainer(recipe(), clips, tmp_path).task)):
        def encode(self, condition):
            return replace(super().encode(condition), foreground=None)

    assert not build_networks(recipe(), Flat(), clips[0])[0].has_foreground
    with pytest.raises(RecipeError, match="wants the foreground prior, but task 'toy' gives no foreground mask"):
        build_networks(recipe(generator={"foreground": True}), Flat(), clips[0])


def test_no_clips_is_an_error(tmp_path: Path, recipe):
    with pytest.raises(DatasetError, match="no training clips"):
        Trainer(recipe(), [], tmp_path)


def test_a_run_folder_is_begun_once_and_resumed_with_its_own_recipe(tmp_path: Path, toy_data: Path, recipe):
    file, run = tmp_path / "recipe.yaml", tmp_path / "run"
    recipe().save(file)
    with pytest.raises(CheckpointError, match="holds no run to resume"):
        start_run(toy_data, run, recipe=file, resume=True)
    with pytest.raises(KilledError):
        start_run(toy_data, run, recipe=file, changes={"seed": "5"}, report=kill_after(2))
    with pytest.raises(CheckpointError, match="already holds a run; give --resume"):
        start_run(toy_data, run, recipe=file)
    assert load_recipe(run).seed == 5
    with pytest.raises(RecipeError, match="trained with another seed"):
        start_run(toy_data, run, resume=True, changes={"seed": "0"})
    assert load_recipe(run).seed == 5, "a refused change leaves the run's recipe alone"
    longer = "[{epochs: 3, width: 48, height: 32, frames: 4, unroll: 2}]"
    assert start_run(toy_data, run, resume=True, changes={"stages": longer}) == run / "pipeline"
    assert load_recipe(run).stages[0].epochs == load_recipe(run / "pipeline").stages[0].epochs == 3
    start_run(toy_data, run, resume=True)


def test_nothing_to_train_is_an_error(tmp_path: Path, toy_data: Path, recipe):
    recipe().save(tmp_path / "recipe.yaml")
    with pytest.raises(RecipeError, match="give a task or a recipe"):
        start_run(toy_data, tmp_path / "run")
    with pytest.raises(RecipeError, match="'toy' brings no recipe of its own"):
        start_run(toy_data, tmp_path / "run", task="toy")
    with pytest.raises(RecipeError, match="the recipe is for task 'toy', not 'seg2street'"):
        start_run(toy_data, tmp_path / "run", task="seg2street", recipe=tmp_path)
    assert not (tmp_path / "run").exists()

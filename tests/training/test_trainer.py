"""A whole life on the drawn world: train, be killed, resume to the same bits, and every branch of the loop."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from statistics import mean
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from vid2vid_hub import Vid2VidPipeline, losses
from vid2vid_hub.data.clips import ClipSource, PreparedClip, Window, collate, read_clips, read_window
from vid2vid_hub.data.toy import ToyShapes
from vid2vid_hub.data.video import open_video
from vid2vid_hub.errors import CheckpointError, DatasetError, ModelError, RecipeError, Vid2VidError
from vid2vid_hub.nn.frozen import DISFlow, confidence
from vid2vid_hub.nn.generator import Vid2VidGenerator
from vid2vid_hub.nn.image import Pix2PixHDGenerator
from vid2vid_hub.training import trainer as module
from vid2vid_hub.training import walk as walk_module
from vid2vid_hub.training.checkpoint import load_checkpoint
from vid2vid_hub.training.networks import build_generator, build_judges, continue_from, load_first_frame
from vid2vid_hub.training.parse import load_recipe, parse_recipe, save_recipe
from vid2vid_hub.training.players import Players
from vid2vid_hub.training.recipe import Recipe
from vid2vid_hub.training.run import start_run
from vid2vid_hub.training.schedule import schedule
from vid2vid_hub.training.trainer import Position, Progress, Trainer
from vid2vid_hub.training.walk import begin, walk_clip
from vid2vid_hub.types import Encoded

# A chunk has those of the video discriminator where three frames have been made.
TERMS = {"gan", "feature", "flow", "warp", "generated_warp", "discriminator"}
VIDEO = {"video_x1_gan", "video_x1_feature", "video_x1_discriminator"}

REAL, ZEROS, GENERATED = {"real": 1.0}, {"zeros": 1.0}, {"generated": 1.0}
SMALL = {"base_channels": 8, "downsamples": 2, "blocks": 2}
IMAGE = {"base_channels": 4, "downsamples": 1, "blocks": 1}


class KilledError(Exception):
    """Stands for whatever ends a process between two steps."""


@pytest.fixture
def recipe(tiny_recipe) -> Callable[..., Recipe]:
    """The tiny recipe with changes; ``stage`` changes its only stage. It saves at the end alone."""

    def build(stage: dict[str, Any] | None = None, **changes: Any) -> Recipe:
        stages = [tiny_recipe["stages"][0] | (stage or {})]
        return parse_recipe(tiny_recipe | {"stages": stages, "checkpoint_minutes": 10.0} | changes)

    return build


@pytest.fixture
def clips(toy_data: Path) -> list[PreparedClip]:
    """Nine and six frames: three stretches of four."""
    return read_clips(toy_data, "train")


@pytest.fixture
def any_precision() -> Iterator[None]:
    """Accelerate remembers the first precision of a process; let another one in, and go."""
    from accelerate.state import AcceleratorState

    AcceleratorState._reset_state(reset_partial_state=True)
    yield
    AcceleratorState._reset_state(reset_partial_state=True)


def kill_after(steps: int) -> Callable[[Progress], None]:
    heard: list[Progress] = []

    def report(progress: Progress) -> None:
        heard.append(progress)
        if len(heard) == steps:
            raise KilledError

    return report


def last_manifest(run: Path) -> dict[str, str]:
    """The sha256 of everything that the last checkpoint holds: weights, optimizers, average, position, recipe."""
    return json.loads((max(run.glob("checkpoint-*")) / "manifest.json").read_text())


def log(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]


def heard(trainer: Trainer) -> list[Progress]:
    collected: list[Progress] = []
    trainer.fit(collected.append)
    return collected


def terms_of(trainer: Trainer) -> list[dict[str, float]]:
    return [progress.terms for progress in heard(trainer)]


def copied(network: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in network.state_dict().items()}


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(tensor, other[name]) for name, tensor in one.items())


def all_differ(one: nn.Module, other: dict[str, Tensor]) -> bool:
    """Every layer has learned; a bias before a norm has nothing to say."""
    return all(not torch.equal(t, other[name]) for name, t in one.state_dict().items() if name.endswith("weight"))


def snapshot(trainer: Trainer) -> dict[str, Tensor]:
    networks = nn.ModuleDict({"generator": trainer.players.bare, **trainer.players.judges})
    return copied(networks)


# Killed, and itself again


@pytest.mark.usefixtures("any_precision")
@pytest.mark.parametrize("precision", ["no", "bf16"])
def test_a_killed_run_ends_with_the_same_bits(tmp_path: Path, clips, recipe, precision: str):
    """Killed amid the first clip and again amid the second epoch; all that a checkpoint holds has the same sha256."""
    asked = recipe({"batch": 3}, precision=precision, checkpoint_minutes=0.0, first_frames=ZEROS)
    Trainer(asked, clips, tmp_path / "calm").fit()
    with pytest.raises(KilledError):
        Trainer(asked, clips, tmp_path / "killed").fit(kill_after(2))
    for steps in (3, None):
        torch.manual_seed(steps or 99)  # what else happened in this process must not matter
        again = Trainer(asked, clips, tmp_path / "killed")
        assert again.resume()
        assert again.position.step == (1 if steps else 3)
        if steps:
            with pytest.raises(KilledError):
                again.fit(kill_after(steps))
        else:
            again.fit()
    assert last_manifest(tmp_path / "killed") == last_manifest(tmp_path / "calm")
    assert set(last_manifest(tmp_path / "calm")) == {
        *(f"{name}.safetensors" for name in ("generator", "average", "generator-optimizer", "discriminator-optimizer")),
        *(f"{name}-discriminator.safetensors" for name in ("image", "video_x1", "video_x3")),
        "state.json",
    }
    calm, killed = (
        [{k: v for k, v in line.items() if k != "time"} for line in log(tmp_path / name)] for name in ("calm", "killed")
    )
    assert killed == calm, "every step is in the log once"


def test_another_seed_gives_other_bits(tmp_path: Path, clips, recipe):
    for seed in (0, 1):
        Trainer(recipe({"epochs": 1}, seed=seed), clips, tmp_path / str(seed)).fit()
    one, other = (last_manifest(tmp_path / str(seed))["generator.safetensors"] for seed in (0, 1))
    assert one != other


def test_resuming_takes_out_of_the_log_what_will_happen_again(tmp_path: Path, clips, recipe):
    asked = recipe({"epochs": 1})
    Trainer(asked, clips, tmp_path).fit()
    whole = (tmp_path / "log.jsonl").read_text()
    (tmp_path / "log.jsonl").write_text(whole + '{"step": 99, "epoch": 7}\n{"step": 10')
    again = Trainer(asked, clips, tmp_path)
    assert again.resume()
    again.fit()
    assert (tmp_path / "log.jsonl").read_text() == whole


def test_epochs_to_come_may_change_and_nothing_else(tmp_path: Path, clips, recipe):
    asked = {"checkpoint_minutes": 0.0}
    with pytest.raises(KilledError):
        Trainer(recipe(**asked), clips, tmp_path).fit(kill_after(2))
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


# Learning


@pytest.mark.slow
def test_losses_fall(tmp_path: Path, clips, recipe):
    terms = terms_of(Trainer(recipe({"epochs": 12}, first_frames=REAL), clips, tmp_path))
    assert len(terms) == 36
    for name, most in (("feature", 0.75), ("generated_warp", 0.75)):
        first, last = mean(t[name] for t in terms[:6]), mean(t[name] for t in terms[-6:])
        assert last < most * first, name


def test_all_networks_learn(tmp_path: Path, clips, recipe):
    """D_V at stride 3 has had nothing to look at in so short clips."""
    trainer = Trainer(recipe({"epochs": 1, "batch": 3}, first_frames=ZEROS), clips, tmp_path)
    before = snapshot(trainer)
    trainer.fit()
    for name, tensor in snapshot(trainer).items():
        if name.endswith("weight"):
            assert torch.equal(tensor, before[name]) == name.startswith("video_x3"), name


@pytest.mark.parametrize(
    "changes",
    [
        {"adversarial": "hinge"},
        {"judged": "one", "stage": {"batch": 2}},
        {"region_discriminator": {"size": 16, "base_channels": 4, "layers": 1}},
        {"generator": SMALL | {"given_flow": True}},
        {"optimizer": {"rate": 1e-3, "clip": 0.5}},
    ],
    ids=str,
)
def test_a_choice_of_the_recipe_trains(tmp_path: Path, clips, recipe, changes: dict[str, Any]):
    stage = {"epochs": 1} | changes.pop("stage", {})
    asked = recipe(stage, first_frames=ZEROS, **changes)
    terms = set().union(*terms_of(Trainer(asked, clips, tmp_path)))
    given = asked.generator.get("given_flow", False)
    region = {"region_gan", "region_feature", "region_discriminator"} if asked.region_discriminator else set()
    assert terms == (TERMS | VIDEO | region) - ({"flow", "warp"} if given else set())


def test_computing_activations_twice_changes_no_bit(tmp_path: Path, clips, recipe):
    for name, twice in (("once", False), ("twice", True)):
        Trainer(recipe({"epochs": 1, "batch": 3}, checkpointing=twice), clips, tmp_path / name).fit()
    once, twice = (last_manifest(tmp_path / name) for name in ("once", "twice"))
    assert once.pop("state.json") != twice.pop("state.json"), "it is in the recipe, and in nothing else"
    assert once == twice


def gradients_at_each_step(trainer: Trainer) -> list[dict[str, Tensor]]:
    """What the optimizers are given: after clipping, before anything is forgotten."""
    found: list[dict[str, Tensor]] = []
    players = trainer.players
    players.enter(schedule(trainer.recipe, 0))
    players.generator_adam.register_step_pre_hook(
        lambda *_: found.append({name: p.grad.clone() for name, p in players.bare.named_parameters()})
    )
    trainer.fit()
    return found


def test_gradients_of_several_chunks_are_averaged(tmp_path: Path, clips, recipe):
    """At a rate that changes no weight, so that all chunks see the same networks."""
    stage = {"epochs": 1}

    def found(accumulate: int) -> list[dict[str, Tensor]]:
        optimizer = {"rate": 1e-30, "accumulate": accumulate}
        trainer = Trainer(recipe(stage, optimizer=optimizer, first_frames=ZEROS), clips, tmp_path / str(accumulate))
        return gradients_at_each_step(trainer)

    alone, together = found(1), found(2)
    assert (len(alone), len(together)) == (6, 3)
    for (first, second), both in zip(zip(alone[::2], alone[1::2], strict=True), together, strict=True):
        for name, gradient in both.items():
            torch.testing.assert_close(gradient, (first[name] + second[name]) / 2, rtol=1e-3, atol=1e-6)
    assert [line["step"] for line in log(tmp_path / "2")] == [1, 2, 3], "a line a step"


def test_no_gradient_is_longer_than_the_clip(tmp_path: Path, clips, recipe):
    def norms(name: str, clip: float | None) -> list[float]:
        asked = recipe({"epochs": 1}, optimizer={"rate": 1e-30, "clip": clip}, first_frames=REAL)
        found = gradients_at_each_step(Trainer(asked, clips, tmp_path / name))
        return [float(torch.stack([g.norm() for g in gradients.values()]).norm()) for gradients in found]

    free, clipped = norms("free", None), norms("clipped", 0.5)
    assert min(free) > 0.5
    assert clipped == pytest.approx([0.5] * 3, rel=1e-3)


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
    trainer = Trainer(recipe(checkpoint_minutes=0.0), [broken], tmp_path)
    before = snapshot(trainer)
    with pytest.raises(Vid2VidError, match=r"the loss 'flow' became nan at step 0 on a\[\d:\d\]; no step was taken"):
        trainer.fit()
    assert same(before, snapshot(trainer))
    assert trainer.position.step == 0
    assert not list(tmp_path.glob("checkpoint-*"))


def test_an_estimated_flow_that_is_no_number_is_named_too(tmp_path: Path, clips, recipe):
    trainer = Trainer(recipe(first_frames={"real": 1.0}), clips, tmp_path)
    with torch.no_grad():
        trainer.players.bare.networks[0].heads.flow[1].bias.fill_(torch.nan)
    with pytest.raises(Vid2VidError, match=r"the loss '\w+' became nan at step 0 on \w\[\d:\d\]; no step was taken"):
        trainer.fit()


def test_a_network_that_is_lost_names_the_loss_too(tmp_path: Path, clips, recipe):
    """Its flow is no number, by which pictures are warped, and through which gradients go back."""
    trainer = Trainer(recipe(first_frames=REAL), clips, tmp_path)
    with torch.no_grad():
        trainer.players.bare.networks[0].heads.flow[1].bias[0] = torch.nan
    with pytest.raises(Vid2VidError, match="the loss 'flow' became nan at step 0"):
        trainer.fit()


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_no_step_is_taken_either_when_it_is_the_discriminators(
    tmp_path: Path, clips, recipe, monkeypatch, value: float
):
    honest = losses.gan_discriminator
    monkeypatch.setattr(losses, "gan_discriminator", lambda real, fake, kind: honest(real, fake, kind) * value)
    trainer = Trainer(recipe(), clips, tmp_path)
    before = snapshot(trainer)
    with pytest.raises(Vid2VidError, match=f"the loss 'discriminator' became {value} at step 0"):
        trainer.fit()
    assert same(before, snapshot(trainer))


# What a clip begins with


class Begun:
    """Every call of ``Vid2VidGenerator.begin``: conditions, images and the scales that take part."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.calls: list[tuple[Tensor, Tensor | None, int | None]] = []
        begin = Vid2VidGenerator.begin

        def watched(network: Vid2VidGenerator, features: Tensor, images: Tensor | None = None, scales=None) -> Any:
            self.calls.append((features, images, scales))
            return begin(network, features, images, scales)

        monkeypatch.setattr(Vid2VidGenerator, "begin", watched)


@pytest.mark.parametrize(("shares", "steps"), [(REAL, 3), (ZEROS, 6)], ids=["real", "zeros"])
def test_starts_from_nothing_or_from_real_frames(tmp_path: Path, clips, recipe, monkeypatch, shares, steps: int):
    """Three stretches of four frames: from nothing two chunks of two each, after two real frames one chunk."""
    begun = Begun(monkeypatch)
    trainer = Trainer(recipe({"epochs": 1}, first_frames=shares, flip=0.0), clips, tmp_path)
    trainer.fit()
    assert trainer.position.step == steps
    if shares == ZEROS:
        assert [images for _, images, _ in begun.calls] == [None] * 3
    else:
        stretches = [clip.frames(t, t + 2).float() / 127.5 - 1 for clip in clips for t in range(clip.length - 3)]
        assert [images.shape[:2] for _, images, _ in begun.calls] == [(1, 2)] * 3
        assert all(any(torch.allclose(images[0], real) for real in stretches) for _, images, _ in begun.calls)


@pytest.mark.parametrize("frames", [1, 2])
def test_a_clip_no_longer_than_the_history_starts_from_nothing(tmp_path: Path, clips, recipe, frames: int):
    stage = {"epochs": 1, "frames": frames, "batch": 8}
    trainer = Trainer(recipe(stage, first_frames=REAL), clips, tmp_path)
    assert all(set(terms) == TERMS for terms in terms_of(trainer))


@pytest.fixture(scope="module")
def image_pipeline(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pipeline that makes every frame alone, untrained."""
    torch.manual_seed(3)
    folder = tmp_path_factory.mktemp("image") / "pipeline"
    Vid2VidPipeline(Pix2PixHDGenerator(6, **IMAGE), ToyShapes()).save_pretrained(folder)
    return folder


def test_generated_first_frames_are_the_first_frame_networks(
    tmp_path: Path, clips, recipe, monkeypatch, image_pipeline: Path
):
    begun = Begun(monkeypatch)
    asked = recipe({"epochs": 1}, first_frame=str(image_pipeline), first_frames=GENERATED)
    trainer = Trainer(asked, clips, tmp_path)
    trainer.fit()
    assert trainer.position.step == 3
    network = Vid2VidPipeline.from_pretrained(image_pipeline).generator
    assert len(begun.calls) == 3
    for features, images, _ in begun.calls:
        with torch.no_grad():
            made, _ = network(Encoded(features), network.begin(features))
        assert torch.equal(images, made.image)
        assert not images.requires_grad


def test_the_shares_of_first_frames_are_kept(tmp_path: Path, clips, recipe, image_pipeline: Path):
    shares = {"real": 0.2, "generated": 0.5, "zeros": 0.3}
    trainer = Trainer(recipe(first_frame=str(image_pipeline), first_frames=shares), clips, tmp_path)
    drawn = []
    for number in range(600):
        trainer.position = Position(number // 20, number % 20, chunk=number * 7)
        drawn.append(trainer._beginning())
    counts = Counter(drawn)
    for kind, share in shares.items():
        assert counts[kind] / 600 == pytest.approx(share, abs=0.06)
    for number, before in enumerate(drawn[:60]):
        trainer.position = Position(number // 20, number % 20, chunk=number * 11, step=number)
        assert trainer._beginning() == before, "a pure function of the batch, whatever happened before"


# The clips


def test_two_clips_a_batch(tmp_path: Path, clips, recipe):
    terms = terms_of(Trainer(recipe({"epochs": 1, "batch": 2}, first_frames=REAL), clips, tmp_path))
    assert len(terms) == 2, "three stretches: two together, one alone"
    assert all(set(step) == TERMS for step in terms)


def test_a_stretch_longer_than_every_clip(tmp_path: Path, clips, recipe):
    """Clips of 9 and 6 frames, asked for 30: each is one stretch, and they cannot share a batch."""
    trainer = Trainer(recipe({"epochs": 1, "frames": 30, "unroll": 5, "batch": 2}, first_frames=ZEROS), clips, tmp_path)
    progress = heard(trainer)
    assert [(p.position.chunk, p.position.step, p.batches) for p in progress] == [(n, n, 2) for n in (1, 2, 3, 4)]
    assert [p.position.batch for p in progress] == [0, 1, 1, 2]


def test_workers_read_the_same(tmp_path: Path, clips, recipe):
    for workers in (0, 1):
        Trainer(recipe({"epochs": 1, "batch": 3}), clips, tmp_path / str(workers), workers=workers).fit()
    assert last_manifest(tmp_path / "0") == last_manifest(tmp_path / "1")


def test_no_clips_is_an_error(tmp_path: Path, recipe):
    with pytest.raises(DatasetError, match="no training clips"):
        Trainer(recipe(), [], tmp_path)


def test_cached_flow_and_the_teachers_agree(tmp_path: Path, clips, recipe, monkeypatch):
    teacher = DISFlow()
    asked = recipe({"epochs": 1}, flip=0.0, loss={"mask": 1.0})

    def cached(frames: Tensor) -> Tensor:
        return teacher.flow(frames[:-1], frames[1:]).half().float()

    asks = terms_of(Trainer(asked, [WithFlow(clip, None) for clip in clips], tmp_path / "teacher"))
    monkeypatch.setattr(walk_module, "flow_teacher", None)
    has = terms_of(Trainer(asked, [WithFlow(clip, cached) for clip in clips], tmp_path / "cached"))
    for one, other in zip(asks, has, strict=True):
        assert one == pytest.approx(other, rel=2e-2)
    assert asks[0] == pytest.approx(has[0], rel=2e-3)


def test_the_truth_of_the_first_frame_is_not_trusted(tmp_path: Path, clips, recipe):
    trainer = Trainer(recipe(), clips, tmp_path)
    clip = read_window(clips[0], Window(0, 0, 4))
    walk = walk_clip(trainer.task, clip, trainer.players.bare, trainer.teacher)
    assert walk.flow.shape == (1, 4, 2, 32, 48)
    assert not walk.flow[:, 0].any()
    assert not walk.trust[:, 0].any()
    assert torch.equal(walk.flow[:, 1:], clip.flow)
    assert torch.equal(walk.trust[0, 1:], confidence(clip.frames[0, :-1], clip.frames[0, 1:], clip.flow[0]))
    assert 0.2 < walk.trust[:, 1:].mean() <= 1
    assert walk.encode(0, 4).flow is None, "who estimates the flow is not given it"


def test_a_generator_that_takes_flow_is_given_the_true_one(tmp_path: Path, clips, recipe):
    trainer = Trainer(recipe(generator=SMALL | {"given_flow": True}), clips, tmp_path)
    batch = collate([read_window(clip, Window(0, 0, 4)) for clip in clips])
    walk = walk_clip(trainer.task, batch, trainer.players.bare, trainer.teacher)
    assert torch.equal(walk.encode(0, 4).flow[:, 1:], batch.flow)
    chunk = walk.chunk(2, 4)
    assert torch.equal(chunk.encoded.flow, batch.flow[:, 1:])
    assert torch.equal(chunk.previous, batch.frames[:, 1:3])
    assert begin(walk, trainer.players.bare, "real").frame == 2


def test_who_needs_no_flow_asks_no_teacher(tmp_path: Path, clips, recipe, monkeypatch):
    monkeypatch.setattr(walk_module, "flow_teacher", None)
    asked = recipe(
        {"epochs": 1, "batch": 3},
        generator=SMALL | {"flow": False},
        video_discriminator={"strides": 0},
        loss={"generated_warp": 0.0},
    )
    bare = [WithFlow(clip, None) for clip in clips]
    terms = set().union(*terms_of(Trainer(asked, bare, tmp_path)))
    assert terms == {"gan", "feature", "discriminator"}


# Which terms there are


def test_without_flow(tmp_path: Path, clips, recipe):
    asked = recipe({"epochs": 1}, generator=SMALL | {"flow": False}, first_frames=REAL)
    (terms, *_) = terms_of(Trainer(asked, clips, tmp_path))
    assert set(terms) == TERMS - {"flow", "warp"}


def test_without_foreground(tmp_path: Path, clips, recipe):
    flat = SMALL | {"foreground": False}
    trainer = Trainer(recipe({"epochs": 1}, generator=flat, first_frames=REAL), clips, tmp_path)
    assert set(terms_of(trainer)[0]) == TERMS
    assert not trainer.players.bare.has_foreground
    assert Trainer(recipe(generator=SMALL), clips, tmp_path).players.bare.has_foreground


def test_a_loss_without_weight_is_left_out_and_the_mask_comes_in(tmp_path: Path, clips, recipe):
    """The perceptual network is not even looked for."""
    asked = recipe(
        {"epochs": 1},
        loss={"feature": 0.0, "mask": 1.0, "perceptual": 0.0},
        perceptual="vgg19",
        perceptual_weights="absent.safetensors",
        first_frames=REAL,
    )
    (terms, *_) = terms_of(Trainer(asked, clips, tmp_path))
    assert set(terms) == TERMS - {"feature", "generated_warp"} | {"mask"}


def test_a_perceptual_network_that_is_not_there_is_named_before_anything_is_trained(tmp_path: Path, clips, recipe):
    with pytest.raises(ModelError, match=r"absent\.safetensors"):
        Trainer(recipe(perceptual="vgg19", perceptual_weights="absent.safetensors"), clips, tmp_path)


# What is written


def test_the_log_has_a_line_a_step(tmp_path: Path, clips, recipe):
    Trainer(recipe(first_frames=ZEROS), clips, tmp_path).fit()
    lines = log(tmp_path)
    assert [line["step"] for line in lines] == list(range(1, 13))
    common = TERMS | {"step", "epoch", "rate", "time"}
    assert [set(line) for line in lines] == [common, common | VIDEO] * 6
    assert [line["epoch"] for line in lines] == [0] * 6 + [1] * 6
    assert [line["rate"] for line in lines] == pytest.approx([1e-3] * 6 + [5e-4] * 6)


def test_both_optimizers_follow_the_schedule(tmp_path: Path, clips, recipe):
    optimizer = {"rate": 1e-3, "discriminator_rate": 4e-3, "decay": 1}
    trainer, rates = Trainer(recipe({"batch": 3}, optimizer=optimizer, first_frames=REAL), clips, tmp_path), []

    def report(progress: Progress) -> None:
        adams = (trainer.players.generator_adam, trainer.players.judges_adam)
        rates.append((progress.position.epoch, *(group["lr"] for adam in adams for group in adam.param_groups)))

    trainer.fit(report)
    assert rates == [(0, 1e-3, 4e-3), (1, 5e-4, 2e-3)]


def test_the_saved_pipeline_generates_with_the_averaged_weights(tmp_path: Path, clips, recipe):
    asked = recipe()
    trainer = Trainer(asked, clips, tmp_path)
    folder = trainer.fit()
    pipeline = Vid2VidPipeline.from_pretrained(folder)
    assert load_recipe(folder) == asked
    assert (pipeline.task.name, pipeline.size) == ("toy", (32, 48))
    averaged = dict(pipeline.generator.named_parameters())
    assert all(torch.equal(averaged[name], value) for name, value in trainer.players.ema.average.items())
    assert all_differ(pipeline.generator, trainer.players.bare.state_dict())
    frames = pipeline(condition=clips[0].condition(0, 3)).frames
    assert frames.shape == (3, 32, 48, 3)
    assert sorted(path.name for path in tmp_path.iterdir() if path.name.startswith(".")) == []


def test_who_looks_on_changes_nothing(tmp_path: Path, clips, toy_data: Path, recipe):
    """Samples and measures come when they are asked for, of a held-out clip, and the training stays the same."""
    watch = {"samples": 2, "validation": 3, "frames": 4}
    seen = Trainer(recipe({"epochs": 1}, watch=watch), clips, tmp_path / "seen", held_out=read_clips(toy_data, "val"))
    seen.fit()
    Trainer(recipe({"epochs": 1}), clips, tmp_path / "unseen").fit()
    last = seen.position.step
    assert last >= 3
    samples = sorted(path.name for path in (tmp_path / "seen" / "samples").iterdir())
    assert samples == [f"step-{step:08d}.mp4" for step in range(2, last + 1, 2)]
    with open_video(tmp_path / "seen" / "samples" / samples[0]) as reader:
        assert len(reader) == 4
    measured = [line["step"] for line in log(tmp_path / "seen") if any(key.startswith("validation/") for key in line)]
    assert measured == list(range(3, last + 1, 3))
    one, other = (last_manifest(tmp_path / name) for name in ("seen", "unseen"))
    assert one.pop("state.json") != other.pop("state.json")
    assert one == other


# What cannot be


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"generator": {"base_chanels": 8}}, r"generator cannot be built: .*base_chanels"),
        ({"discriminator": {"depth": 8}}, r"discriminator cannot be built: .*depth"),
        ({"generator": {"condition_channels": 8}}, r"generator cannot be built: .*condition_channels"),
        ({"network": "pix2pixhd", "generator": {"history": 2}}, r"generator cannot be built: .*history"),
        ({"stage": {"width": 50}}, r"a stage trains at 50x32; this generator needs .* multiples of 8"),
        ({"stage": {"height": 8}}, r"a stage trains at 48x8; .* multiples of 8 and at least 16"),
        ({"stage": {"scales": 2}}, r"a stage trains 2 scales, 0 of them frozen; this generator has 1"),
        ({"stage": {"frozen": 1}}, r"a stage trains 1 scales, 1 of them frozen; this generator has 1"),
    ],
)
def test_networks_that_cannot_be_are_named(tmp_path: Path, clips, recipe, changes, words: str):
    with pytest.raises(RecipeError, match=words):
        Trainer(recipe(**({"generator": {"base_channels": 8, "blocks": 2}} | changes)), clips, tmp_path)


def test_what_the_task_does_not_give_cannot_be_wanted(recipe):
    class Flat(ToyShapes):
        def encode(self, condition):
            return replace(super().encode(condition), foreground=None)

        def regions(self, condition):
            return None

    assert not build_generator(recipe(), Flat()).has_foreground
    with pytest.raises(RecipeError, match="wants the foreground prior, but task 'toy' gives no foreground mask"):
        build_generator(recipe(generator={"foreground": True}), Flat())
    assert set(build_judges(recipe(), Flat())) == {"image", "video_x1", "video_x3"}
    with pytest.raises(RecipeError, match="wants a region discriminator, but task 'toy' names no regions"):
        build_judges(recipe(region_discriminator={"size": 16}), Flat())


# Coarse to fine

TWO = {"base_channels": 8, "downsamples": 1, "blocks": 2, "scales": 2, "local_blocks": 1}
COARSE = {"epochs": 2, "width": 24, "height": 16, "scales": 1, "frames": 4, "unroll": 4, "batch": 3}
FINE = COARSE | {"epochs": 1, "width": 48, "height": 32, "scales": 2}
BOTH = {key: value for key, value in FINE.items() if key != "scales"}


def test_the_coarse_scale_learns_then_the_fine_one_then_both(tmp_path: Path, clips, recipe, monkeypatch):
    entered: list[tuple[set[str], bool, int]] = []
    enter = Players.enter

    def watched(players: Players, stage: Any) -> None:
        enter(players, stage)
        names = {id(p): name for name, p in players.bare.named_parameters()}
        adam = players.generator_adam
        held = [names[id(p)] for group in adam.param_groups for p in group["params"]]
        assert len(held) == len(set(held))
        entered.append((set(held), bool(adam.state), players.ema.steps))

    monkeypatch.setattr(Players, "enter", watched)
    asked = recipe(stages=[COARSE, FINE | {"frozen": 1}, BOTH], generator=TWO, first_frames=ZEROS)
    trainer = Trainer(asked, clips, tmp_path)
    coarse, fine = trainer.players.bare.networks
    states = [(copied(coarse), copied(fine))]
    trainer.fit(lambda progress: states.append((copied(coarse), copied(fine))))

    assert len(states) == 1 + 4, "an epoch is one step"
    assert all_differ(coarse, states[0][0])
    assert [same(fine_, states[0][1]) for _, fine_ in states[1:]] == [True, True, False, False]
    assert same(states[2][0], states[3][0]), "while it is frozen, not a bit of the coarse scale moves"
    for learned, before in ((fine, states[2][1]), (coarse, states[3][0]), (fine, states[3][1])):
        # The coarse head draws a picture that nobody sees while a finer scale is there.
        drawn = {name: t for name, t in before.items() if learned is fine or not name.startswith("heads.")}
        assert all(not torch.equal(learned.state_dict()[n], t) for n, t in drawn.items() if n.endswith("weight"))

    every = {name for name, _ in trainer.players.bare.named_parameters()}
    of_coarse, of_fine = ({n for n in every if n.startswith(f"networks.{s}.")} for s in (0, 1))
    assert [held for held, *_ in entered] == [of_coarse, of_coarse, of_fine, every]
    assert [(old, steps) for _, old, steps in entered] == [(False, 0), (True, 1), (False, 0), (False, 0)], (
        "a fresh optimizer and average, but not between epochs of the same kind"
    )
    assert len(trainer.players.judges_adam.state) > 0
    pipeline = Vid2VidPipeline.from_pretrained(tmp_path / "pipeline")
    assert (pipeline.size, len(pipeline.generator.networks)) == ((32, 48), 2)


def test_waiting_scales_do_not_take_part(tmp_path: Path, clips, recipe, monkeypatch):
    begun = Begun(monkeypatch)
    stages = [COARSE | {"epochs": 1}, FINE | {"frozen": 1}, BOTH]
    trainer = Trainer(recipe(stages=stages, generator=TWO), clips, tmp_path)
    trainer.fit()
    assert [(features.shape[-2:], scales) for features, _, scales in begun.calls] == [
        ((16, 24), 1),
        ((32, 48), 2),
        ((32, 48), None),
    ]


def test_a_finished_coarse_run_goes_on_with_the_fine_scale(tmp_path: Path, clips, recipe):
    """Stages that are added to the end of a run begin as they would have without its end."""
    one, more = ([COARSE], [COARSE, FINE | {"frozen": 1}])
    asked = {"generator": TWO, "optimizer": {"rate": 1e-3}, "first_frames": ZEROS}
    Trainer(recipe(stages=one, **asked), clips, tmp_path / "run").fit()
    longer = Trainer(recipe(stages=more, **asked), clips, tmp_path / "run")
    assert longer.resume()
    longer.fit()
    Trainer(recipe(stages=more, **asked), clips, tmp_path / "at once").fit()
    assert last_manifest(tmp_path / "run") == last_manifest(tmp_path / "at once")


def test_a_start_gives_its_scales_and_no_more(tmp_path: Path, clips, recipe):
    """From the pipeline of a trained run; the next scale begins as it would alone."""
    one = TWO | {"scales": 1}
    asked = recipe(stages=[COARSE | {"epochs": 1}], generator=one)
    start = Trainer(asked, clips, tmp_path / "small").fit()
    trained = Vid2VidPipeline.from_pretrained(start).generator.networks[0].state_dict()
    stages = [FINE | {"frozen": 1}]
    fresh = Trainer(recipe(stages=stages, generator=TWO), clips, tmp_path / "large").players.bare
    went_on = Trainer(recipe(stages=stages, generator=TWO, start=str(start)), clips, tmp_path / "large")
    assert same(copied(went_on.players.bare.networks[0]), trained)
    assert same(copied(went_on.players.bare.networks[1]), copied(fresh.networks[1]))
    assert not same(copied(fresh.networks[0]), trained)
    averaged = {k.removeprefix("networks.0."): v for k, v in went_on.players.ema.average.items() if "networks.0" in k}
    assert same(averaged, trained), "what is published begins there too"
    went_on.fit()
    published = Vid2VidPipeline.from_pretrained(tmp_path / "large" / "pipeline").generator
    assert same(copied(went_on.players.bare.networks[0]), trained)
    for name, tensor in published.networks[0].state_dict().items():
        torch.testing.assert_close(tensor, trained[name])


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ({"base_channels": 4}, {}),
        ({"foreground": True}, {"foreground": False}),
        ({"foreground": False}, {"foreground": True}),
        ({"scales": 2, "local_blocks": 1}, {}),
        ({"blocks": 3}, {}),
        ({"blocks": 2}, {"blocks": 3}),
        ({"given_flow": True}, {}),
    ],
    ids=str,
)
def test_a_start_that_is_another_generator_is_refused(tmp_path: Path, theirs, ours):
    common = {"base_channels": 8, "downsamples": 1, "blocks": 2}
    Vid2VidPipeline(Vid2VidGenerator(6, **common | theirs), ToyShapes()).save_pretrained(tmp_path)
    generator = Vid2VidGenerator(6, **common | ours)
    before = copied(generator)
    with pytest.raises(RecipeError, match=r"is not the recipe's: \d+ weights have no place .* give both the same"):
        continue_from(generator, str(tmp_path))
    assert same(copied(generator), before)


def test_a_resumed_run_needs_its_start_no_more(tmp_path: Path, clips, toy_data: Path, recipe):
    start = Trainer(recipe({"epochs": 1}), clips, tmp_path / "small").fit()
    save_recipe(recipe(start=str(start), checkpoint_minutes=0.0), tmp_path / "recipe.yaml")
    with pytest.raises(KilledError):
        start_run(toy_data, tmp_path / "run", recipe=tmp_path, report=kill_after(2))
    shutil.rmtree(start)
    assert start_run(toy_data, tmp_path / "run", resume=True) == tmp_path / "run" / "pipeline"


def test_a_start_that_is_not_there_is_named(tmp_path: Path, clips, recipe):
    with pytest.raises(ModelError, match="absent"):
        Trainer(recipe(start=str(tmp_path / "absent")), clips, tmp_path / "run")


def test_single_images_start_from_single_images_alone(image_pipeline: Path, toy_model: Path):
    network = Pix2PixHDGenerator(6, **IMAGE)
    continue_from(network, str(image_pipeline))
    assert same(copied(network), copied(Vid2VidPipeline.from_pretrained(image_pipeline).generator))
    for other in (Pix2PixHDGenerator(6, **IMAGE | {"enhancers": 1}), Vid2VidGenerator(6, **SMALL)):
        with pytest.raises(RecipeError, match="is not the recipe's"):
            continue_from(other, str(image_pipeline))
    with pytest.raises(RecipeError, match="is not the recipe's"):
        continue_from(network, str(toy_model))


# The network of the first frames


def test_a_network_for_first_frames_is_trained_used_and_published(tmp_path: Path, clips, recipe):
    stage = {"epochs": 1, "frames": 1, "unroll": 1, "batch": 8}
    alone = {"network": "pix2pixhd", "generator": IMAGE, "video_discriminator": {"strides": 0}, "first_frames": ZEROS}
    images = Trainer(recipe(stage, loss={"generated_warp": 0.0}, **alone), clips, tmp_path / "images")
    before = copied(images.players.bare)
    terms = terms_of(images)
    assert all(set(step) == {"gan", "feature", "discriminator"} for step in terms)
    assert all_differ(images.players.bare, before)
    made = Vid2VidPipeline.from_pretrained(tmp_path / "images" / "pipeline")
    assert isinstance(made.generator, Pix2PixHDGenerator)

    asked = recipe({"epochs": 1}, first_frame=str(tmp_path / "images" / "pipeline"), first_frames=GENERATED)
    folder = Trainer(asked, clips, tmp_path / "run").fit()
    assert (folder / "first_frame" / "config.json").is_file()
    pipeline = Vid2VidPipeline.from_pretrained(folder)
    assert same(copied(pipeline.first_frame), copied(made.generator)), "it does not learn any more"
    condition = clips[0].condition(0, 4)
    frames, alone_ = pipeline(condition=condition).frames, made(condition=condition).frames
    assert (frames[:2] == alone_[:2]).all(), "the default is to begin with them"
    assert (frames[2:] != alone_[2:]).any()
    assert (pipeline(condition=condition, first_frames="zeros").frames[0] != frames[0]).any()
    assert load_recipe(folder).first_frame == "pipeline", "no folder of this machine is published"

    from_it = load_first_frame(str(folder), ToyShapes())
    assert same(copied(from_it), copied(made.generator)), "a whole pipeline lends its network for first frames"


def test_a_pipeline_without_such_a_network_cannot_make_first_frames(tmp_path: Path, clips, recipe, toy_model: Path):
    with pytest.raises(RecipeError, match="has no single-image generator; train one with 'network: pix2pixhd'"):
        Trainer(recipe(first_frame=str(toy_model)), clips, tmp_path)
    street = Pix2PixHDGenerator(36, **IMAGE)
    Vid2VidPipeline(street, "seg2street").save_pretrained(tmp_path / "street")
    with pytest.raises(RecipeError, match="reads 36 channels; task 'toy' encodes 6"):
        Trainer(recipe(first_frame=str(tmp_path / "street")), clips, tmp_path)


# Run folders


def test_a_run_folder_is_begun_once_and_resumed_with_its_own_recipe(tmp_path: Path, toy_data: Path, recipe):
    file, run = tmp_path / "recipe.yaml", tmp_path / "run"
    save_recipe(recipe(checkpoint_minutes=0.0), file)
    with pytest.raises(CheckpointError, match="holds no run to resume"):
        start_run(toy_data, run, recipe=file, resume=True)
    said: list[str] = []
    with pytest.raises(KilledError):
        start_run(toy_data, run, recipe=file, changes={"seed": "5"}, report=kill_after(2), announce=said.append)
    assert said == ["1 process on cpu, float32; 2 clips, 15 frames"]
    with pytest.raises(CheckpointError, match="already holds a run; give --resume"):
        start_run(toy_data, run, recipe=file)
    assert load_recipe(run).seed == 5
    with pytest.raises(RecipeError, match="trained with another seed"):
        start_run(toy_data, run, resume=True, changes={"seed": "0"})
    assert load_recipe(run).seed == 5, "a refused change leaves the run's recipe alone"
    longer = {"stages.0.epochs": "3", "checkpoint_minutes": "10"}
    assert start_run(toy_data, run, resume=True, changes=longer) == run / "pipeline"
    assert load_recipe(run).stages[0].epochs == load_recipe(run / "pipeline").stages[0].epochs == 3
    start_run(toy_data, run, resume=True)


def test_nothing_to_train_is_an_error(tmp_path: Path, toy_data: Path, recipe):
    save_recipe(recipe(), tmp_path / "recipe.yaml")
    with pytest.raises(RecipeError, match="give a task or a recipe"):
        start_run(toy_data, tmp_path / "run")
    with pytest.raises(RecipeError, match="'toy' brings no recipe of its own"):
        start_run(toy_data, tmp_path / "run", task="toy")
    with pytest.raises(RecipeError, match="the recipe is for task 'toy', not 'seg2street'"):
        start_run(toy_data, tmp_path / "run", task="seg2street", recipe=tmp_path)
    assert not (tmp_path / "run").exists()

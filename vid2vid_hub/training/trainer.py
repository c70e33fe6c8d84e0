"""Eq. 5 as a loop: clips in, one step of the generator and one of the discriminator a chunk, checkpoints out."""

from __future__ import annotations

import json
import os
import random
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import torch
from accelerate import Accelerator
from safetensors import SafetensorError
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from vid2vid_hub import losses
from vid2vid_hub.data.clips import ClipSource, Window, batches, collate, encode_clip, epoch_windows, read_window
from vid2vid_hub.errors import CheckpointError, DatasetError, ModelError, RecipeError, Vid2VidError
from vid2vid_hub.nn.discriminator import MultiscaleDiscriminator
from vid2vid_hub.nn.frozen import VGG16, FlowTeacher, confidence, flow_teacher
from vid2vid_hub.nn.generator import Vid2VidGenerator
from vid2vid_hub.pipeline import Vid2VidPipeline
from vid2vid_hub.tasks import Task, get_task
from vid2vid_hub.training.checkpoint import (
    Checkpoint,
    load_checkpoint,
    pack_optimizer,
    save_checkpoint,
    unpack_optimizer,
)
from vid2vid_hub.training.ema import EMA
from vid2vid_hub.training.recipe import Recipe, parse_recipe, without_paths
from vid2vid_hub.training.schedule import Stage, changes_to_the_past, schedule, total_epochs
from vid2vid_hub.types import Clip, Encoded, Frame, Memory

Report = Callable[["Progress"], None]


@dataclass(frozen=True)
class Position:
    """Where a run stands: ``batch`` batches of ``epoch`` are done, ``step`` optimizer steps in all."""

    epoch: int = 0
    batch: int = 0
    step: int = 0


@dataclass(frozen=True)
class Progress:
    """What a watcher hears after every batch."""

    position: Position
    batches: int
    epochs: int
    terms: dict[str, float]


@dataclass(frozen=True)
class Chunk:
    """A stretch of a clip that one back-propagation spans.

    Attributes:
        frames: float (B, T, 3, H, W), the real frames.
        previous: float (B, T, 3, H, W), the real frame before each of them.
        encoded: of the same frames.
        flow: float (B, T, 2, H, W), the true flow to ``previous``; zeros where ``trust`` is.
        trust: float (B, T, 1, H, W), its confidence; 0 for a frame that has none before it.
    """

    frames: Tensor
    previous: Tensor
    encoded: Encoded
    flow: Tensor
    trust: Tensor


class WindowDataset(Dataset[Clip]):
    """Clips addressed by :class:`Window`; opened in the worker that reads."""

    def __init__(self, sources: Sequence[ClipSource], size: tuple[int, int]) -> None:
        self.sources, self.size = sources, size

    def __getitem__(self, window: Window) -> Clip:
        """Read one stretch, resized."""
        return read_window(self.sources[window.clip], window, self.size)


class Trainer:
    """Everything a run holds in its hands between two batches.

    Args:
        recipe: what to train.
        sources: the training clips.
        run: folder for checkpoints, log and the pipeline.

    Raises:
        RecipeError, TaskError, ModelError: the recipe asks for what is not there.
        DatasetError: there are no clips.
    """

    def __init__(self, recipe: Recipe, sources: Sequence[ClipSource], run: Path) -> None:
        if not sources:
            raise DatasetError("the dataset has no training clips")
        self.recipe, self.sources, self.run = recipe, sources, run
        self.accelerator = Accelerator(mixed_precision=recipe.precision)
        self.task: Task = get_task(recipe.task, recipe.task_config)
        torch.manual_seed(recipe.seed)
        generator, discriminator = build_networks(recipe, self.task, sources[0])
        # Half-precision convolutions are faster with the channels last; statistics are exact in both layouts.
        self._layout = torch.channels_last if recipe.precision == "bf16" else torch.contiguous_format
        generator, discriminator = self._place(generator), self._place(discriminator)
        optimizer = recipe.optimizer
        adams = [
            torch.optim.Adam(network.parameters(), optimizer.rate, (optimizer.beta1, optimizer.beta2))
            for network in (generator, discriminator)
        ]
        prepared = self.accelerator.prepare(generator, discriminator, *adams)
        self.generator, self.discriminator, self.generator_step, self.discriminator_step = prepared
        self.ema = EMA(self.bare_generator, recipe.ema)
        self.position = Position()
        self.teacher: FlowTeacher | None = None
        self.vgg: VGG16 | None = None
        if recipe.loss.perceptual and recipe.perceptual.weights:
            self.vgg = self._place(VGG16(recipe.perceptual.weights))

    @property
    def bare_generator(self) -> Vid2VidGenerator:
        """The generator itself, without what distributes it."""
        return cast(Vid2VidGenerator, self.accelerator.unwrap_model(self.generator))

    def fit(self, report: Report = lambda progress: None) -> Path:
        """Train to the end of the recipe, from wherever the run stands; returns the folder of the trained pipeline."""
        saved = time.monotonic()
        self.run.mkdir(parents=True, exist_ok=True)
        for epoch in range(self.position.epoch, total_epochs(self.recipe)):
            stage = schedule(self.recipe, epoch)
            groups = self._groups(stage, epoch)
            for optimizer in (self.generator_step, self.discriminator_step):
                for group in optimizer.param_groups:
                    group["lr"] = stage.rate
            for number, clip in enumerate(self._clips(stage, groups[self.position.batch :]), self.position.batch):
                terms = self._train_clip(clip.to(self.accelerator.device), stage, epoch, number)
                self.position = replace(self.position, epoch=epoch, batch=number + 1)
                report(Progress(self.position, len(groups), total_epochs(self.recipe), terms))
                self._log(stage, terms)
                if time.monotonic() - saved > self.recipe.checkpoint_minutes * 60:
                    self.save()
                    saved = time.monotonic()
            self.position = replace(self.position, epoch=epoch + 1, batch=0)
        self.save()
        return self.run / "pipeline"

    def save(self) -> None:
        """Write a checkpoint, and the pipeline with the averaged weights."""
        packed = {
            name: pack_optimizer(adam)
            for name, adam in (("generator", self.generator_step), ("discriminator", self.discriminator_step))
        }
        tensors = {
            "generator": self.bare_generator.state_dict(),
            "discriminator": self.accelerator.unwrap_model(self.discriminator).state_dict(),
            "average": self.ema.average,
            **{f"{name}-optimizer": state for name, (state, _) in packed.items()},
        }
        position = self.position
        state = {
            "position": {"epoch": position.epoch, "batch": position.batch, "step": position.step},
            "groups": {name: groups for name, (_, groups) in packed.items()},
            "ema_steps": self.ema.steps,
            "recipe": self.recipe.to_dict(),
        }
        save_checkpoint(self.run, position.step, Checkpoint(tensors, state))
        self._publish(self.run / "pipeline")

    def resume(self) -> bool:
        """Go back to the newest whole checkpoint of the run folder; False if it has none.

        Raises:
            RecipeError: the recipe differs from the run's in more than the epochs to come.
            CheckpointError: every checkpoint is damaged.
        """
        checkpoint = load_checkpoint(self.run)
        if checkpoint is None:
            return False
        position = Position(**checkpoint.state["position"])
        # Parsed, so that keys which are newer than the checkpoint count as their defaults.
        changed = changes_to_the_past(parse_recipe(checkpoint.state["recipe"]), self.recipe, position.epoch)
        if changed:
            raise RecipeError(
                f"the run {self.run} was trained with another {', '.join(changed)}; take its own recipe.yaml"
            )
        self.bare_generator.load_state_dict(checkpoint.tensors["generator"])
        self.accelerator.unwrap_model(self.discriminator).load_state_dict(checkpoint.tensors["discriminator"])
        self.ema.average = {
            name: tensor.to(self.accelerator.device) for name, tensor in checkpoint.tensors["average"].items()
        }
        self.ema.steps = checkpoint.state["ema_steps"]
        for name, adam in (("generator", self.generator_step), ("discriminator", self.discriminator_step)):
            unpack_optimizer(adam, checkpoint.tensors[f"{name}-optimizer"], checkpoint.state["groups"][name])
        self.position = position
        self._shorten_log()
        return True

    def pipeline(self) -> Vid2VidPipeline:
        """The pipeline as it would be published now, with the averaged weights."""
        generator = Vid2VidGenerator.from_config(self.bare_generator.config)
        self.ema.copy_to(generator)
        stage = schedule(self.recipe, total_epochs(self.recipe) - 1)
        return Vid2VidPipeline(generator, self.task, size=stage.size)

    def _publish(self, folder: Path) -> None:
        """Write the pipeline's folder beside its name, and exchange it for the older one when it is whole."""
        beside, before = (folder.with_name(f".{folder.name}.{what}-{os.getpid()}") for what in ("part", "old"))
        try:
            for abandoned in folder.parent.glob(f".{folder.name}.*"):
                shutil.rmtree(abandoned, ignore_errors=True)
            self.pipeline().save_pretrained(beside)
            without_paths(self.recipe).save(beside / "recipe.yaml")
            if folder.exists():
                folder.replace(before)
            beside.replace(folder)
        except (OSError, SafetensorError, ModelError) as error:
            raise CheckpointError(
                f"the pipeline {folder} cannot be written: {error}; free some space and resume"
            ) from error
        finally:
            for rest in (beside, before):
                shutil.rmtree(rest, ignore_errors=True)

    def _place(self, network: Any) -> Any:
        return network.to(self.accelerator.device, memory_format=self._layout)

    def _groups(self, stage: Stage, epoch: int) -> list[list[Window]]:
        lengths = [source.length for source in self.sources]
        windows = epoch_windows(lengths, stage.frames, self.recipe.flip, self.recipe.seed, epoch)
        return batches(windows, stage.batch)

    def _clips(self, stage: Stage, groups: list[list[Window]]) -> Iterator[Clip]:
        dataset = WindowDataset(self.sources, stage.size)
        # The loader draws a seed for its workers at every start; from the global generator, that would break resuming.
        seeds = torch.Generator().manual_seed(self.recipe.seed)
        yield from DataLoader(dataset, batch_sampler=groups, collate_fn=collate, generator=seeds)

    def _train_clip(self, clip: Clip, stage: Stage, epoch: int, number: int) -> dict[str, float]:
        """Roll through a clip, one optimizer step of each network a chunk; the terms of its last chunk."""
        features, where = encode_clip(self.task, clip)
        if not self.bare_generator.has_foreground:
            where = None
        history = self.bare_generator.config.history
        coin = random.Random(f"{self.recipe.seed}/{epoch}/{number}").random()
        from_nothing = coin < self.recipe.from_nothing or clip.length <= history
        first = 0 if from_nothing else history
        seen = features[:, : max(first, 1)]
        memory = self.bare_generator.begin(seen, None if from_nothing else clip.frames[:, :first])
        flow, trust = self._truth(clip)
        terms: dict[str, float] = {}
        for start in range(first, clip.length, stage.unroll):
            part = slice(start, min(start + stage.unroll, clip.length))
            before = [max(t - 1, 0) for t in range(part.start, part.stop)]
            encoded = Encoded(features[:, part], None if where is None else where[:, part])
            chunk = Chunk(clip.frames[:, part], clip.frames[:, before], encoded, flow[:, part], trust[:, part])
            memory, terms = self._train_chunk(chunk, memory, clip.names)
            self.position = replace(self.position, step=self.position.step + 1)
        return terms

    def _truth(self, clip: Clip) -> tuple[Tensor, Tensor]:
        """True flow (B, T, 2, H, W) to the frame before, and its confidence; zero for the first frame."""
        previous, current = clip.frames[:, :-1].flatten(0, 1), clip.frames[:, 1:].flatten(0, 1)
        if clip.flow is not None:
            flow = clip.flow.flatten(0, 1)
        elif len(current):
            self.teacher = self.teacher or flow_teacher(self.recipe.teacher.name, self.recipe.teacher.weights)
            flow = self.teacher.flow(previous, current)
        else:
            flow = previous[:, :2]
        trust = confidence(previous, current, flow)
        shape = clip.frames.shape[0], clip.length - 1
        padded = [nn.functional.pad(x.unflatten(0, shape), (0, 0, 0, 0, 0, 0, 1, 0)) for x in (flow, trust)]
        return padded[0], padded[1]

    def _train_chunk(self, chunk: Chunk, memory: Memory, names: tuple[str, ...]) -> tuple[Memory, dict[str, float]]:
        """One step of the generator, then one of the discriminator, both from the weights before the chunk."""
        last = memory.images[-1][:, -1]
        rollout, memory = self.generator(chunk.encoded, memory)
        rollout = rollout.map(Tensor.float)
        condition = chunk.encoded.features.flatten(0, 1)
        real, image, hallucinated = (x.flatten(0, 1) for x in (chunk.frames, rollout.image, rollout.hallucinated))
        with self.accelerator.accumulate(self.generator, self.discriminator):
            self.discriminator.requires_grad_(False)
            terms = self._generator_terms(chunk, rollout, last)
            total = self._weighted(terms, names)
            self.accelerator.backward(total)
            self.discriminator.requires_grad_(True)
            fakes = torch.cat((image, hallucinated)).detach()
            verdicts = self._judge(condition, torch.cat((real, fakes)))
            judged_real, judged_image, judged_raw = _split(verdicts, 3)
            loss = losses.gan_discriminator(judged_real, judged_image) + losses.gan_discriminator(
                judged_real, judged_raw
            )
            self._finite("discriminator", loss, names)
            self.accelerator.backward(loss)
            for adam in (self.generator_step, self.discriminator_step):
                adam.step()
                adam.zero_grad()
        self.ema.update(self.bare_generator)
        named = {name: float(term.detach()) for name, term in terms.items()}
        return memory.detach(), named | {"discriminator": float(loss.detach())}

    def _generator_terms(self, chunk: Chunk, rollout: Frame, last: Tensor) -> dict[str, Tensor]:
        """Every term of eq. 5 that the recipe gives a weight, by its name there."""
        weights = self.recipe.loss
        condition = chunk.encoded.features.flatten(0, 1)
        real, image, hallucinated = (x.flatten(0, 1) for x in (chunk.frames, rollout.image, rollout.hallucinated))
        with torch.no_grad():
            judged_real = self._judge(condition, real)
        judged_image, judged_raw = _split(self._judge(condition, torch.cat((image, hallucinated))), 2)
        terms = {
            "gan": losses.gan_generator(judged_image) + losses.gan_generator(judged_raw),
            "feature": losses.feature_matching(judged_real, judged_image)
            + losses.feature_matching(judged_real, judged_raw),
        }
        if self.vgg is not None:
            with self.accelerator.autocast():
                with torch.no_grad():
                    of_real = [m.float() for m in self.vgg(real)]
                seen = self.vgg(torch.cat((image, hallucinated)))
            of_image, of_raw = (list(maps) for maps in zip(*(m.float().chunk(2) for m in seen), strict=True))
            terms["perceptual"] = losses.perceptual(of_real, of_image) + losses.perceptual(of_real, of_raw)
        truth, trust = chunk.flow.flatten(0, 1), chunk.trust.flatten(0, 1)
        if rollout.flow is not None and rollout.mask is not None:
            flow = rollout.flow.flatten(0, 1)
            terms["flow"] = losses.flow_endpoint(flow, truth, trust)
            terms["warp"] = losses.flow_warping(flow, chunk.previous.flatten(0, 1), real, trust)
            terms["mask"] = losses.mask_pull(rollout.mask.flatten(0, 1), trust)
        before = torch.cat((last[:, None], rollout.image[:, :-1]), 1).flatten(0, 1)
        terms["generated_warp"] = losses.generated_warping(image, before, truth, trust)
        return {name: term for name, term in terms.items() if getattr(weights, name)}

    def _judge(self, condition: Tensor, frames: Tensor) -> losses.Judged:
        """Frames (n·N, 3, H, W), n kinds of the same N, all given the same conditions (N, S, H, W)."""
        repeated = condition.repeat(len(frames) // len(condition), 1, 1, 1)
        return [[m.float() for m in maps] for maps in self.discriminator(repeated, frames)]

    def _weighted(self, terms: dict[str, Tensor], names: tuple[str, ...]) -> Tensor:
        for name, term in terms.items():
            self._finite(name, term, names)
        weights = self.recipe.loss
        return torch.stack([getattr(weights, name) * term for name, term in terms.items()]).sum()

    def _finite(self, name: str, loss: Tensor, names: tuple[str, ...]) -> None:
        if not torch.isfinite(loss):
            raise Vid2VidError(
                f"the loss '{name}' became {float(loss.detach())} at step {self.position.step} on {', '.join(names)}; "
                "no step was taken: resume from the last checkpoint with a lower rate"
            )

    def _shorten_log(self) -> None:
        """Drop what came after the checkpoint: it is about to happen again."""
        log = self.run / "log.jsonl"
        if log.is_file():
            lines = [line for line in log.read_text().splitlines() if _step(line) <= self.position.step]
            log.write_text("".join(f"{line}\n" for line in lines))

    def _log(self, stage: Stage, terms: dict[str, float]) -> None:
        line: dict[str, Any] = {"step": self.position.step, "epoch": self.position.epoch, "rate": stage.rate}
        log = self.run / "log.jsonl"
        try:
            with log.open("a") as file:
                file.write(json.dumps(line | {"time": round(time.time(), 1)} | terms) + "\n")
        except OSError as error:
            raise CheckpointError(f"the log {log} cannot be written: {error}; free some space and resume") from error


def build_networks(recipe: Recipe, task: Task, source: ClipSource) -> tuple[Vid2VidGenerator, MultiscaleDiscriminator]:
    """The networks that a recipe asks for; the foreground prior is on where the task has one and the recipe lets it.

    Raises:
        RecipeError: an argument of a network is unknown.
    """
    has_foreground = task.encode(source.condition(0, 1)).foreground is not None
    asked = {"foreground": has_foreground} | recipe.generator
    if asked["foreground"] and not has_foreground:
        raise RecipeError(f"the recipe wants the foreground prior, but task '{recipe.task}' gives no foreground mask")
    try:
        generator = Vid2VidGenerator(condition_channels=task.channels, **asked)
        discriminator = MultiscaleDiscriminator(inputs=task.channels + 3, **recipe.discriminator)
    except TypeError as error:
        raise RecipeError(f"the recipe's networks cannot be built: {error}") from error
    for stage in recipe.stages:
        if stage.height % generator.multiple or stage.width % generator.multiple:
            raise RecipeError(
                f"a stage trains at {stage.width}x{stage.height}; this generator needs both sides to be "
                f"multiples of {generator.multiple}"
            )
    return generator, discriminator


def _step(line: str) -> float:
    """The step of a line of the log; infinity for one that was cut off."""
    try:
        return float(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError):
        return float("inf")


def _split(judged: losses.Judged, kinds: int) -> list[losses.Judged]:
    """What D said of several kinds of frames in one batch, kind by kind."""
    pieces = [[m.chunk(kinds) for m in maps] for maps in judged]
    return [[[m[kind] for m in maps] for maps in pieces] for kind in range(kinds)]

"""The training loop: clips in, chunk by chunk through eq. 5, one step of all networks a chunk, checkpoints out."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path
from types import MappingProxyType
from typing import Any, cast

import torch
from accelerate import Accelerator
from accelerate.utils import DistributedDataParallelKwargs, gather_object
from torch import Tensor

from vid2vid_hub.data.clips import ClipSource
from vid2vid_hub.errors import (
    CheckpointError,
    DatasetError,
    ModelError,
    RecipeError,
    StoppedError,
    Vid2VidError,
)
from vid2vid_hub.hub.training import read_training
from vid2vid_hub.nn.frozen import FlowTeacher
from vid2vid_hub.nn.generator import Vid2VidGenerator
from vid2vid_hub.nn.perceptual import VGG, perceptual_network
from vid2vid_hub.pipeline import Vid2VidPipeline
from vid2vid_hub.tasks import Task, get_task
from vid2vid_hub.training.checkpoint import Checkpoint, load_checkpoint, publish, save_checkpoint
from vid2vid_hub.training.chunk import Chunk
from vid2vid_hub.training.feed import epoch_batches, load, share
from vid2vid_hub.training.networks import load_first_frame, load_forecaster
from vid2vid_hub.training.objective import Objective, Terms
from vid2vid_hub.training.pace import Pace
from vid2vid_hub.training.parse import parse_recipe, plain
from vid2vid_hub.training.players import Players
from vid2vid_hub.training.recipe import FirstFrames, Recipe, without_paths
from vid2vid_hub.training.schedule import Stage, changes_to_the_past, schedule, total_epochs
from vid2vid_hub.training.signals import Stopping
from vid2vid_hub.training.walk import LateTeacher, Place, begin, walk_clip
from vid2vid_hub.training.watch import Watch
from vid2vid_hub.types import Clip

Report = Callable[["Progress"], None]
PRECISIONS = {"no": "float32", "bf16": "bfloat16"}


@dataclass(frozen=True)
class Position:
    """Where a run stands.

    Attributes:
        epoch: counted from 0.
        batch: batches of this epoch that are done.
        chunk: chunks that were trained, in all.
        step: optimizer steps that were taken, in all.
    """

    epoch: int = 0
    batch: int = 0
    chunk: int = 0
    step: int = 0


@dataclass(frozen=True)
class Progress:
    """What a watcher hears after every step: ``batches`` and ``epochs`` are how many there are in all."""

    position: Position
    batches: int
    epochs: int
    terms: dict[str, float]


class Trainer:
    """Everything a run holds in its hands between two steps.

    Args:
        recipe: what to train.
        sources: the training clips.
        run: folder for checkpoints, log, samples and the pipeline.
        held_out: clips for validation and samples; may be none.
        workers: processes that read clips ahead.
        data: what is known of the clips' origin, by name; goes into the pipeline's ``training.json``.
        resumes: whether :meth:`resume` will find a checkpoint: then the recipe's ``start`` and ``judges`` need not be
            there any more.

    Raises:
        RecipeError, TaskError, ModelError: the recipe asks for what is not there.
        DatasetError: there are no clips.
    """

    def __init__(
        self,
        recipe: Recipe,
        sources: Sequence[ClipSource],
        run: Path,
        *,
        held_out: Sequence[ClipSource] = (),
        workers: int = 0,
        data: Mapping[str, Any] = MappingProxyType({}),
        resumes: bool = False,
    ) -> None:
        if not sources:
            raise DatasetError("the dataset has no training clips")
        self.recipe, self.sources, self.run, self.workers, self.data = recipe, sources, run, workers, dict(data)
        self._began, self._lived = time.monotonic(), 0.0
        # Heads that a chunk does not use (the mask of a first frame) have no gradient in it, on any process.
        ddp = DistributedDataParallelKwargs(find_unused_parameters=True)
        self.accelerator = Accelerator(mixed_precision=recipe.precision, kwargs_handlers=[ddp])
        self.task: Task = get_task(recipe.task, recipe.task_config)
        self.first_frame = None
        if recipe.first_frame is not None:
            self.first_frame = load_first_frame(recipe.first_frame, self.task).to(self.accelerator.device)
        self.forecaster = None if recipe.forecaster is None else load_forecaster(recipe.forecaster, self.task)
        self.players = Players(
            replace(recipe, start=None, judges=None) if resumes else recipe, self.task, self.accelerator
        )
        self.teacher = self._teacher()
        self.objective = Objective(
            recipe,
            self.players.judges,
            self._vgg(),
            self.teacher,
            backward=self._backward,
            autocast=self.accelerator.autocast,
        )
        self.watch = Watch(recipe, self.task, held_out or sources[:1], self.teacher, run, self.accelerator)
        self.pace = Pace(self.accelerator.device)
        self.position = Position()
        self.place: Place | None = None
        self._weight = 1.0
        self._added = 0  # chunks whose gradients wait for a step; none whenever a run is saved
        self._saved: int | None = None

    @property
    def processes(self) -> int:
        """How many processes train together."""
        return int(self.accelerator.num_processes)

    @property
    def introduction(self) -> str:
        """Who trains, in a line."""
        many = "1 process" if self.processes == 1 else f"{self.processes} processes"
        precision = PRECISIONS[self.recipe.precision]
        clips = f"{len(self.sources)} clips, {sum(source.length for source in self.sources)} frames"
        return f"{many} on {self.accelerator.device.type}, {precision}; {clips}"

    def fit(self, report: Report = lambda progress: None) -> Path:
        """Train from where the run stands to the recipe's end; returns the folder of the trained pipeline.

        Raises:
            Vid2VidError: a loss is no number; names it and the clip.
            StoppedError: SIGTERM came; the step was finished and the run saved.
            CheckpointError: the run folder cannot be written.
        """
        saved = time.monotonic()
        self.watch.begin(self.position.step)
        with Stopping() as stopping:
            while self.position.epoch < total_epochs(self.recipe):
                for progress in self._epoch():
                    self.pace.step()
                    if self.accelerator.is_main_process:
                        report(progress)
                    late = time.monotonic() - saved > self.recipe.checkpoint_minutes * 60
                    stop, save = self._agreed(stopping.asked, late)
                    if stop or save:
                        self.save()
                        saved = time.monotonic()
                    if stop:
                        raise StoppedError(f"stopped at step {self.position.step}; go on with --resume")
                self.position = replace(self.position, epoch=self.position.epoch + 1, batch=0)
            self.save()
        self.watch.end()
        return self.run / "pipeline"

    def save(self) -> None:
        """Write a checkpoint where this step has none, and the pipeline with the averaged weights."""
        tensors, state = self.players.pack()
        if self.place is not None:
            places = [{name: tensor.cpu() for name, tensor in self.place.pack().items()}]
            tensors |= {f"place-{i}": place for i, place in enumerate(self._gathered(places))}
        state |= {"position": asdict(self.position), "processes": self.processes, "recipe": plain(self.recipe)}
        if self.accelerator.is_main_process:
            # A folder cannot be put in the place of another at once; what is whole already is left as it is.
            if self._saved != self.position.step:
                save_checkpoint(self.run, self.position.step, Checkpoint(tensors, state))
            publish(self.pipeline(), without_paths(self.recipe), self.described(), self.run / "pipeline")
        self._saved = self.position.step
        self.accelerator.wait_for_everyone()

    def resume(self) -> bool:
        """Go back to the newest whole checkpoint of the run folder; False if it has none.

        Raises:
            RecipeError: the recipe differs from the run's in more than the epochs to come.
            CheckpointError: every checkpoint is damaged, or the run had another number of processes.
        """
        checkpoint = load_checkpoint(self.run)
        if checkpoint is None:
            return False
        state = checkpoint.state
        position = Position(**state["position"])
        # Parsed, so that keys which are newer than the checkpoint count as their defaults.
        old = parse_recipe(state["recipe"])
        changed = changes_to_the_past(old, self.recipe, position.epoch)
        if changed:
            raise RecipeError(
                f"the run {self.run} was trained with another {', '.join(changed)}; take its own recipe.yaml"
            )
        if state["processes"] != self.processes:
            raise CheckpointError(
                f"the run {self.run} was trained by {state['processes']} processes, these are {self.processes}; "
                "go on with as many, or its batches would be others"
            )
        # A run that had ended was packed in its last epoch, whatever stages have been added since.
        epoch = min(position.epoch, total_epochs(old) - 1)
        self.players.unpack(checkpoint.tensors, state, schedule(self.recipe, epoch))
        kept = checkpoint.tensors.get(f"place-{self.accelerator.process_index}")
        self.place = None if kept is None else Place.unpack(kept, self.accelerator.device)
        self.position = position
        self._saved = position.step
        self._lived = float(read_training(self.run / "pipeline").get("seconds", 0))
        return True

    def described(self) -> dict[str, Any]:
        """What this training has been so far, as JSON values: how long, on what, with which data."""
        device = self.accelerator.device
        named = f" {torch.cuda.get_device_name(device)}" if device.type == "cuda" else ""
        return {
            "steps": self.position.step,
            "epochs": self.position.epoch,
            "seconds": round(self._lived + time.monotonic() - self._began),
            "processes": self.processes,
            "device": device.type + named,
            "precision": PRECISIONS[self.recipe.precision],
            "data": {
                **self.data,
                "clips": len(self.sources),
                "frames": sum(source.length for source in self.sources),
            },
            "version": version("vid2vid-hub"),
        }

    def pipeline(self) -> Vid2VidPipeline:
        """The pipeline as it would be published now, with the averaged weights."""
        stage = schedule(self.recipe, total_epochs(self.recipe) - 1)
        return Vid2VidPipeline(
            self.players.averaged(),
            self.task,
            size=stage.size,
            first_frame=self.first_frame,
            forecaster=self.forecaster,
        )

    def _epoch(self) -> Iterator[Progress]:
        """Train what is left of the epoch; yields after every step."""
        epoch = self.position.epoch
        stage = schedule(self.recipe, epoch)
        self.players.enter(stage)
        groups = epoch_batches(self.sources, self.recipe, stage, epoch, self.processes)
        todo = [share(group, self.accelerator.process_index, self.processes) for group in groups[self.position.batch :]]
        for mine, clip in zip(todo, load(self.sources, todo, stage.size, self.task, self.workers), strict=True):
            last = self.position.batch + 1 == len(groups)
            for terms in self._clip(clip.to(self.accelerator.device), mine.weight, stage, last):
                if self.accelerator.is_main_process:
                    self.watch.look(self.position.step, epoch, stage, terms, self.players)
                yield Progress(self.position, len(groups), total_epochs(self.recipe), terms)

    def _clip(self, clip: Clip, weight: float, stage: Stage, last: bool) -> Iterator[dict[str, float]]:
        """Walk a batch of clips, the last of an epoch or not, to its end; yields the terms after every step."""
        self._weight = weight
        walk = walk_clip(self.task, clip, self.players.bare, self.teacher)
        place = self.place or begin(walk, self.players.bare, self._beginning(), stage.scales, self.first_frame)
        while place.frame < walk.length:
            stop = min(place.frame + stage.unroll, walk.length)
            ends = last and stop == walk.length
            place, terms = self._chunk(walk.chunk(place.frame, stop), place, clip.names, ends)
            self.place = place
            if stop == walk.length:
                self.place = None
                self.position = replace(self.position, batch=self.position.batch + 1)
            if terms is not None:
                yield terms

    def _chunk(
        self, chunk: Chunk, place: Place, names: tuple[str, ...], ends: bool
    ) -> tuple[Place, dict[str, float] | None]:
        """The gradients of one chunk, and a step of all networks where enough of them have come together.

        Whatever has come together when an epoch ``ends`` takes its step then: the next may train other scales.
        """
        position = self.position
        steps = ends or self._added + 1 == self.recipe.optimizer.accumulate
        self._added = 0 if steps else self._added + 1
        # A pure function of where the run stands, so that resuming needs no state of random numbers.
        torch.manual_seed((self.recipe.seed * 1_000_003 + position.chunk) * 4099 + self.accelerator.process_index)
        with nullcontext() if steps else self.players.keeping_to_themselves():
            rollout, memory = self.players.generator(chunk.encoded, place.memory)
            terms = self._shared(self.objective(chunk, rollout, place.past, place.last(chunk)), names)
        place = place.after(chunk, rollout, memory, self.objective.reach)
        self.position = replace(position, chunk=position.chunk + 1, step=position.step + steps)
        if not steps:
            return place, None
        self.players.step()
        return place, terms

    def _beginning(self) -> FirstFrames:
        """What the clips of the batch at hand begin with: the same on all processes."""
        where = self.position
        coin = random.Random(f"{self.recipe.seed}/{where.epoch}/{where.batch}")
        kinds, shares = zip(*self.recipe.first_frames.items(), strict=True)
        return cast(FirstFrames, coin.choices(kinds, shares)[0])

    def _backward(self, loss: Tensor) -> None:
        self.accelerator.backward(loss * (self._weight / self.recipe.optimizer.accumulate))

    def _shared(self, terms: Terms, names: tuple[str, ...]) -> dict[str, float]:
        """The terms, averaged over all processes as the gradients are.

        Raises:
            Vid2VidError: on all processes, when a term of any of them is no number.
        """
        ours = torch.stack([*terms.values()]) * self._weight
        mean = cast(Tensor, self.accelerator.reduce(ours, "mean"))
        values = dict(zip(terms, mean.tolist(), strict=True))
        if not all(math.isfinite(value) for value in values.values()):
            bad = self._gathered([self._bad(terms, names)])
            raise Vid2VidError(bad[0] if bad else f"the losses of all processes overflow at step {self.position.step}")
        return values

    def _bad(self, terms: Terms, names: tuple[str, ...]) -> str | None:
        for name, value in terms.items():
            if not torch.isfinite(value):
                return (
                    f"the loss '{name}' became {float(value)} at step {self.position.step} on {', '.join(names)}; "
                    "no step was taken: resume from the last checkpoint with a lower rate"
                )
        return None

    def _gathered(self, ours: list[Any]) -> list[Any]:
        """What every process has to say, in their order, without the Nones."""
        everyone = gather_object(ours) if self.processes > 1 else ours
        return [one for one in everyone if one is not None]

    def _agreed(self, *wishes: bool) -> list[bool]:
        """What any process wishes, all do."""
        if self.processes == 1:
            return list(wishes)
        votes = torch.tensor(wishes, dtype=torch.float32, device=self.accelerator.device)
        return [vote > 0 for vote in cast(Tensor, self.accelerator.reduce(votes, "sum")).tolist()]

    def _vgg(self) -> VGG | None:
        wanted = self.recipe.perceptual
        if wanted == "none" or not self.recipe.loss.perceptual:
            return None
        try:
            return cast(VGG, self.players.place(perceptual_network(wanted, self.recipe.perceptual_weights)))
        except ModelError as error:
            raise ModelError(f"{error} as perceptual_weights; 'perceptual: none' trains without") from error

    def _teacher(self) -> FlowTeacher | None:
        """Nobody, where no term and no network needs a flow."""
        bare, weights = self.players.bare, self.recipe.loss
        warps = isinstance(bare, Vid2VidGenerator) and bare.config.flow
        if warps or self.recipe.video_discriminator.strides or weights.generated_warp:
            return LateTeacher(self.recipe.teacher)
        return None

"""How much memory a training will take: its very step, rehearsed on the meta device, where nothing is allocated."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, fields, replace
from functools import partial
from typing import Any

import torch
from accelerate import init_empty_weights
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from vid2vid_hub.nn.perceptual import DEPTHS, VGG, WIDTHS
from vid2vid_hub.tasks import Task, get_task
from vid2vid_hub.training.chunk import Past, Walk
from vid2vid_hub.training.meta import FullMasks, MetaAutocast
from vid2vid_hub.training.networks import IMAGE_CHANNELS, frame_channels
from vid2vid_hub.training.objective import Objective
from vid2vid_hub.training.peak import peak_bytes
from vid2vid_hub.training.players import Players
from vid2vid_hub.training.recipe import Recipe
from vid2vid_hub.training.schedule import Stage
from vid2vid_hub.training.walk import Place
from vid2vid_hub.types import Clip, Encoded

GIB = 2**30
NOT_COUNTED = (
    "Not counted: the CUDA context (about 0.5 GiB), workspaces of cuDNN, what the allocator loses between its blocks, "
    "the networks of a flow teacher and of generated first frames, what encoding a chunk takes for a "
    "moment, and the copy of the gradients that each of several processes keeps to exchange them."
)

Context = Callable[[], AbstractContextManager[Any]]


@dataclass(frozen=True)
class Estimate:
    """Bytes that a stage of a training holds on its device when it holds most.

    Attributes:
        parameters: how many, by network: the generator, the discriminators, VGG.
        weights: of all networks, float32 also under autocast.
        optimizer: Adam's two moments of everything that learns.
        average: the moving average of the generator's weights.
        clip: a batch of clips: frames, conditions, true motion, and what is remembered between chunks.
        gradients: of everything that learns.
        activations: what a step holds beyond all of these at its peak, mostly what is kept for the way back.
    """

    parameters: Mapping[str, int]
    weights: int
    optimizer: int
    average: int
    clip: int
    gradients: int
    activations: int

    @property
    def total(self) -> int:
        """All of it."""
        return sum(self._rows().values())

    def __str__(self) -> str:
        """For people: a line for each part in GiB, how many parameters, and what is not counted."""
        rows = self._rows() | {"total": self.total}
        counts = ", ".join(f"{name} {count / 1e6:.1f} M" for name, count in self.parameters.items())
        lines = [f"{name:<12}{size / GIB:8.2f} GiB" for name, size in rows.items()]
        return "\n".join((*lines, f"Parameters: {counts}.", NOT_COUNTED))

    def _rows(self) -> dict[str, int]:
        return {f.name: getattr(self, f.name) for f in fields(self) if f.name != "parameters"}


def estimate(recipe: Recipe, stage: Stage, device: str = "meta") -> Estimate:
    """Say before a stage begins how much memory of a GPU it will take, within seconds and without that memory.

    The networks are built, the last chunk of a clip is learned from, and a step is taken, by what does so in the
    training itself; the last chunk, because the video discriminators look back furthest there.

    It is an estimate, because it counts tensors and not what a device reserves to hold and to make them, see
    ``NOT_COUNTED``. Under bf16 there is a second reason: the meta device has no autocast, so that a stand-in casts what
    the real one is documented to cast.

    Args:
        recipe: of the training.
        stage: of one epoch, see :func:`vid2vid_hub.training.schedule.schedule`. Which one takes most is for the caller
            to find out.
        device: where to rehearse. On "cuda" or "cpu" two steps are really taken, with noise for frames, and autocast is
            the real one: that is for comparing the count with what the device says.

    Raises:
        RecipeError, TaskError: the recipe asks for networks or a task that are not there.
    """
    with torch.random.fork_rng(devices=[]):
        rehearsal = _Rehearsal(recipe, stage, device)
        rehearsal.learn()
        gradients = rehearsal.gradients
        rehearsal.players.step()  # the optimizers have their moments from here on
        carried = recipe.optimizer.accumulate > 1
        if carried:
            rehearsal.learn()
        peak = peak_bytes(rehearsal.step)
    networks = {name: list(network.parameters()) for name, network in rehearsal.networks.items()}
    return Estimate(
        parameters={name: sum(p.numel() for p in parameters) for name, parameters in networks.items()},
        weights=_size(p for parameters in networks.values() for p in parameters),
        optimizer=_size(v for adam in rehearsal.adams for state in adam.state.values() for v in state.values()),
        average=_size(rehearsal.players.ema.average.values()),
        clip=_size(rehearsal.given),
        gradients=gradients,
        # Gradients that are carried from chunk to chunk were there before the count; otherwise they are in it.
        activations=peak if carried else peak - gradients,
    )


class _Rehearsal:
    """All that a training holds, with noise for its data."""

    def __init__(self, recipe: Recipe, stage: Stage, device: str) -> None:
        task = get_task(recipe.task, recipe.task_config)
        without_numbers = device == "meta"
        autocast = _autocast(recipe, device)
        self.answers: Context = FullMasks if without_numbers else nullcontext
        with init_empty_weights() if without_numbers else nullcontext():
            self.players = Players(
                replace(recipe, start=None, judges=None), task, _Alone(torch.device(device), autocast)
            )
        if recipe.checkpointing:
            # What is computed again is computed in the same precision: the real autocast sees to that by itself.
            again = partial(checkpoint, use_reentrant=False, context_fn=lambda: (nullcontext(), autocast()))
            self.players.bare.enable_gradient_checkpointing(again)
        self.players.enter(stage)
        for adam in self.adams:
            for group in adam.param_groups:
                group["foreach"] = True  # as torch chooses on a GPU: faster, but with space for all parameters at once
        judges = {name: judge.network for name, judge in self.players.judges.items()}
        self.networks: dict[str, nn.Module] = {"generator": self.players.bare, **judges}
        vgg = None
        if recipe.perceptual != "none" and recipe.loss.perceptual:
            vgg = self.networks[recipe.perceptual] = _vgg(recipe.perceptual).to(device)
        self.objective = Objective(recipe, self.players.judges, vgg, _AnyFlow(), autocast=autocast)
        self._take_in(stage, task, device)

    def _take_in(self, stage: Stage, task: Task, device: str) -> None:
        """A batch of clips, and the place in it where the last chunk begins."""
        (height, width), generator = stage.size, self.players.bare

        def maps(channels: int, length: int = stage.frames) -> Tensor:
            # Noise, because norms magnify the rounding errors of constant pictures to gradients of any size.
            return torch.rand(stage.batch, length, channels, height, width, device=device)

        self.clip = Clip(maps(3), maps(task.maps).to(torch.uint8), None, maps(2, stage.frames - 1))
        flow = maps(2)

        def encode(start: int, stop: int) -> Encoded:
            return Encoded(
                maps(task.channels, stop - start),
                maps(1, stop - start) if generator.has_foreground else None,
                flow[:, start:stop] if generator.takes_flow else None,
            )

        boxes = torch.tensor((0, 0, width, height), device=device).expand(stage.batch, stage.frames, 4)
        made = frame_channels(task)
        frames = self.clip.frames if made == IMAGE_CHANNELS else maps(made)
        self.walk = Walk(frames, encode, flow, maps(1), boxes)
        start = stage.frames - min(stage.unroll, stage.frames)
        seen = slice(max(start - generator.history, 0), start)
        images = self.walk.frames[:, seen] if start else None
        features = encode(seen.start, max(start, 1)).features
        memory = generator.begin(features, images, stage.scales)
        reach = min(start, self.objective.reach)
        self.place = Place(start, memory, Past(maps(made, reach), maps(made, reach), maps(2, reach)))

    @property
    def adams(self) -> list[torch.optim.Optimizer]:
        """The optimizers of both sides."""
        return [adam for adam in (self.players.generator_adam, self.players.judges_adam) if adam is not None]

    @property
    def given(self) -> list[Tensor | None]:
        """What there is before the chunk, beside weights."""
        walk, place = self.walk, self.place
        clip = (self.clip.frames, self.clip.maps, self.clip.flow)
        return [
            *clip,
            walk.frames,
            walk.flow,
            walk.trust,
            *place.memory.features,
            *place.memory.images,
            *vars(place.past).values(),
        ]

    @property
    def gradients(self) -> int:
        """Bytes of the gradients that are there now."""
        return _size(p.grad for network in self.networks.values() for p in network.parameters())

    def learn(self) -> object:
        """Leave gradients everywhere; returns what the training still holds afterwards."""
        chunk = self.walk.chunk(self.place.frame, self.walk.length)
        rollout, memory = self.players.generator(chunk.encoded, self.place.memory)
        with self.answers():
            self.objective(chunk, rollout, self.place.past, self.place.last(chunk))
        return chunk, rollout, self.place.after(chunk, rollout, memory, self.objective.reach)

    def step(self) -> object:
        """All that is done with one chunk."""
        held = self.learn()
        self.players.step()
        return held


@dataclass(frozen=True)
class _Under:
    """A network under autocast."""

    network: nn.Module
    autocast: Context

    def __call__(self, *given: Any) -> Any:
        with self.autocast():
            return self.network(*given)


@dataclass(frozen=True)
class _Alone:
    """What an accelerator is to networks, for one process and any device."""

    device: torch.device
    autocast: Context

    def prepare_model(self, network: nn.Module) -> _Under:
        return _Under(network, self.autocast)

    def unwrap_model(self, network: Any, **options: Any) -> Any:
        return network


def _autocast(recipe: Recipe, device: str) -> Context:
    if recipe.precision == "no":
        return nullcontext
    return MetaAutocast if device == "meta" else partial(torch.autocast, device, torch.bfloat16)


class _AnyFlow:
    """A flow teacher that only knows the shape of its answers."""

    name = "none"

    def flow(self, previous: Tensor, current: Tensor) -> Tensor:
        return torch.zeros_like(current[:, :2])


def _vgg(name: str) -> VGG:
    """VGG of any weights: a number each, seen as tensors of all shapes that it asks for."""
    number, weights = torch.zeros(()), {}
    index, inputs = 0, 3
    for depth, width in zip(DEPTHS[name], WIDTHS, strict=True):
        for _ in range(depth):
            weights[f"features.{index}.weight"] = number.expand(width, inputs, 3, 3)
            weights[f"features.{index}.bias"] = number.expand(width)
            index, inputs = index + 2, width
        index += 1
    return VGG(name, weights)


def _size(tensors: Iterable[Tensor | None]) -> int:
    """Bytes of all storages, each counted once."""
    storages = {id(s): s for s in (t.untyped_storage() for t in tensors if t is not None)}
    return sum(storage.nbytes() for storage in storages.values())

"""The networks of a running training with what makes them learn: optimizers, average, processes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, cast

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from vid2vid_hub.nn.discriminator import IMAGE, MultiscaleDiscriminator
from vid2vid_hub.nn.generator import Vid2VidGenerator
from vid2vid_hub.tasks import Task
from vid2vid_hub.training.checkpoint import pack_optimizer, unpack_optimizer
from vid2vid_hub.training.ema import EMA
from vid2vid_hub.training.networks import Generator, build_generator, build_judges, continue_from, start_judges
from vid2vid_hub.training.recipe import Recipe
from vid2vid_hub.training.schedule import Stage

Tensors = dict[str, dict[str, Tensor]]


class Players:
    """Generator and discriminators.

    Args:
        recipe: which networks, and how they learn.
        task: what they read.
        accelerator: the processes and the precision.

    Attributes:
        bare: the generator itself.
        generator: the same as it is called in training, so that all processes learn from all clips.
        judges: the discriminators by name, as they are called in training.
        ema: the average of the generator's weights.

    Raises:
        RecipeError, ModelError: the recipe asks for what cannot be built or loaded.
    """

    def __init__(self, recipe: Recipe, task: Task, accelerator: Accelerator) -> None:
        self.recipe, self.accelerator = recipe, accelerator
        torch.manual_seed(recipe.seed)
        self.bare: Generator = self.place(build_generator(recipe, task))
        if recipe.start is not None:
            continue_from(self.bare, recipe.start)
        self._judges: dict[str, MultiscaleDiscriminator] = {
            name: self.place(judge) for name, judge in build_judges(recipe, task).items()
        }
        if recipe.judges is not None:
            start_judges(self._judges, recipe.judges)
        if recipe.checkpointing:
            self.bare.enable_gradient_checkpointing()
        self.judges: dict[str, Any] = {name: accelerator.prepare_model(judge) for name, judge in self._judges.items()}
        parameters = [p for judge in self._judges.values() for p in judge.parameters()]
        self.judges_adam = self._adam(parameters) if parameters else None
        self.generator: Any = self.bare
        self.generator_adam: torch.optim.Optimizer | None = None
        self.ema = EMA(self.bare, recipe.ema)
        self._learning: tuple[int | None, int] | None = None

    def place(self, network: Any) -> Any:
        """A network on the device, in the layout that is fastest there."""
        # Half-precision convolutions are faster with the channels last; statistics are exact in both layouts.
        layout = torch.channels_last if self.recipe.precision == "bf16" else torch.contiguous_format
        return network.to(self.accelerator.device, memory_format=layout)

    def enter(self, stage: Stage) -> None:
        """Make ready for an epoch: its rates, and a fresh optimizer where other scales learn than before."""
        if stage.learning != self._learning:
            self._let_learn(stage)
            self._learning = stage.learning
            self.ema.restart()
        for adam, rate in ((self.generator_adam, stage.rate), (self.judges_adam, stage.discriminator_rate)):
            for group in adam.param_groups if adam is not None else ():
                group["lr"] = rate

    def step(self) -> None:
        """One step of all networks from the gradients on them, and into the average with it."""
        clip = self.recipe.optimizer.clip
        networks: list[nn.Module] = [self.bare, *self._judges.values()]
        if clip is not None:
            for network in networks:
                nn.utils.clip_grad_norm_(network.parameters(), clip)
        for adam in self._adams().values():
            adam.step()
        self.forget_gradients()
        self.ema.update(self.bare)

    def forget_gradients(self) -> None:
        """No gradient on any network."""
        for network in (self.bare, *self._judges.values()):
            network.zero_grad()

    @contextmanager
    def keeping_to_themselves(self) -> Iterator[None]:
        """Where gradients are only added up, processes need not tell each other theirs.

        But D_V tells what it has every time: the chunk that ends a step may be too young to ask it once more.
        """
        with ExitStack() as quiet:
            for network in (self.generator, *(self.judges[name] for name in (IMAGE,) if name in self.judges)):
                quiet.enter_context(self.accelerator.no_sync(network))
            yield

    def pack(self) -> tuple[Tensors, dict[str, Any]]:
        """Everything that a checkpoint must hold of them: tensors by file, and JSON values."""
        judges = {f"{name}-discriminator": judge.state_dict() for name, judge in self._judges.items()}
        tensors: Tensors = {"generator": self.bare.state_dict(), **judges, "average": self.ema.average}
        groups = {}
        for name, adam in self._adams().items():
            tensors[f"{name}-optimizer"], groups[name] = pack_optimizer(adam)
        return tensors, {"groups": groups, "ema_steps": self.ema.steps}

    def unpack(self, tensors: Tensors, state: dict[str, Any], stage: Stage) -> None:
        """The inverse of :meth:`pack`, in the stage in which it was packed."""
        self.enter(stage)
        self.bare.load_state_dict(tensors["generator"])
        for name, judge in self._judges.items():
            judge.load_state_dict(tensors[f"{name}-discriminator"])
        for name, adam in self._adams().items():
            unpack_optimizer(adam, tensors[f"{name}-optimizer"], state["groups"][name])
        self.ema.average = {name: t.to(self.accelerator.device) for name, t in tensors["average"].items()}
        self.ema.steps = state["ema_steps"]

    def averaged(self) -> Generator:
        """A generator with the averaged weights, which is what users get."""
        generator = cast(Generator, type(self.bare).from_config(self.bare.config))
        self.ema.copy_to(generator)
        generator.requires_grad_(False)
        return generator

    def _adams(self) -> dict[str, torch.optim.Optimizer]:
        adams = {"generator": self.generator_adam, "discriminator": self.judges_adam}
        return {name: adam for name, adam in adams.items() if adam is not None}

    def _let_learn(self, stage: Stage) -> None:
        """Only the stage's scales learn, with an optimizer of just their parameters.

        The released system keeps stepping the old optimizer when the coarse scales are set free (C.9, 22).
        """
        if isinstance(self.bare, Vid2VidGenerator):
            last = len(self.bare.networks) if stage.scales is None else stage.scales
            for scale, network in enumerate(self.bare.networks):
                network.requires_grad_(stage.frozen <= scale < last)
        self.generator_adam = self._adam([p for p in self.bare.parameters() if p.requires_grad])
        self.accelerator.unwrap_model(self.generator, keep_fp32_wrapper=False)
        self.generator = self.accelerator.prepare_model(self.bare)

    def _adam(self, parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
        optimizer = self.recipe.optimizer
        return torch.optim.Adam(parameters, optimizer.rate, (optimizer.beta1, optimizer.beta2))

"""The sequential generator F of eqs. 3, 4 and 9: flow W, mask M, hallucination H (or H_F and H_B), coarse to fine."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple, cast

import torch
from diffusers.configuration_utils import register_to_config
from torch import Tensor, nn

from vid2vid_hub.errors import ModelError
from vid2vid_hub.nn.blocks import conv7, down, downs, initialise, residuals, stem, up, ups
from vid2vid_hub.nn.model import Vid2VidModel, check_number
from vid2vid_hub.ops.compose import Composition, compose
from vid2vid_hub.ops.warp import warp
from vid2vid_hub.ops.windows import pyramid
from vid2vid_hub.types import Encoded, Frame, Memory

FLOW_RANGE = 20.0
"""Pixels that a flow head's output of 1 stands for at the coarsest scale (B.3); doubled with every finer scale."""

MAX_WIDTH = 4096
"""Channels at the lowest resolution (the paper's networks: 1024); one convolution of this width holds 0.6 GB."""


class Features(NamedTuple):
    """What a coarse scale hands to the next finer one: maps of (N, c, H_s, W_s), nothing else crosses scales."""

    image: Tensor
    flow: Tensor | None
    foreground: Tensor | None

    def detach(self) -> Features:
        """The same maps, cut off from their graph: a frozen coarse scale."""
        flow, foreground = (None if feature is None else feature.detach() for feature in self[1:])
        return Features(self.image.detach(), flow, foreground)


class Heads(nn.Module):
    """The last layers: features to picture, flow, mask and foreground picture."""

    def __init__(self, channels: int, front: int, flow: bool, foreground: bool, flow_range: float) -> None:
        super().__init__()
        self.image = nn.Sequential(*conv7(channels, 3), nn.Tanh())
        self.flow = nn.Sequential(*conv7(channels, 2)) if flow else None
        self.mask = nn.Sequential(*conv7(channels, 1), nn.Sigmoid()) if flow else None
        self.foreground = nn.Sequential(*conv7(front, 3), nn.Tanh()) if foreground else None
        self.flow_range = flow_range

    def forward(self, features: Features, previous: Tensor | None, where: Tensor | None, order: Composition) -> Frame:
        """Compose a frame. ``previous`` (N, 3, H, W) is None when there is nothing to warp: all is hallucinated."""
        background = self.image(features.image)
        front = None if self.foreground is None else self.foreground(features.foreground)
        if self.flow is None or self.mask is None:
            image, hallucinated = compose(None, background, None, front, where, order)
            return Frame(image, hallucinated)
        flow = self.flow(features.flow) * self.flow_range
        mask = self.mask(features.flow)
        if previous is None:
            image, hallucinated = compose(None, background, None, front, where, order)
            return Frame(image, hallucinated, hallucinated, flow, torch.ones_like(mask))
        warped = warp(previous, flow)
        image, hallucinated = compose(warped, background, mask, front, where, order)
        return Frame(image, hallucinated, warped, flow, mask)


class CoarseScale(nn.Module):
    """The global network: encoders of conditions and past frames, a residual trunk each for picture and flow."""

    def __init__(
        self, inputs: int, past: int, width: int, depth: int, blocks: int, flow: bool, foreground: bool
    ) -> None:
        super().__init__()
        deep, trunk = width * 2**depth, blocks // 2
        self.condition = nn.Sequential(*stem(inputs, width), *downs(width, depth), *residuals(deep, blocks - trunk))
        self.past = nn.Sequential(*stem(past, width), *downs(width, depth), *residuals(deep, blocks - trunk))
        self.image = nn.Sequential(*residuals(deep, trunk), *ups(width, depth))
        self.flow = nn.Sequential(*residuals(deep, trunk), *ups(width, depth)) if flow else None
        front = foreground_width(width, depth)
        self.foreground = (
            nn.Sequential(
                *stem(inputs, front), *downs(front, depth), *residuals(front * 2**depth, blocks), *ups(front, depth)
            )
            if foreground
            else None
        )
        self.heads = Heads(width, front, flow, foreground, FLOW_RANGE)

    def forward(self, conditions: Tensor, past: Tensor, coarse: Features | None = None) -> Features:
        """Conditions (N, (L+1)·S, H, W) and past frames (N, L·3, H, W) to features of (N, width, H, W)."""
        x = self.condition(conditions) + self.past(past)
        return Features(
            self.image(x),
            None if self.flow is None else self.flow(x),
            None if self.foreground is None else self.foreground(conditions),
        )


class FineScale(nn.Module):
    """A local network at twice the resolution: its own encoders, refined features of the scale below."""

    def __init__(
        self, inputs: int, past: int, width: int, depth: int, blocks: int, flow: bool, foreground: bool, scale: int
    ) -> None:
        super().__init__()
        front = foreground_width(width, depth)
        self.condition = nn.Sequential(*stem(inputs, width), *down(width, width * 2))
        self.past = nn.Sequential(*stem(past, width), *down(width, width * 2))
        self.image = nn.Sequential(*residuals(width * 2, blocks), *up(width * 2, width))
        self.flow = nn.Sequential(*residuals(width * 2, blocks), *up(width * 2, width)) if flow else None
        self.foreground_in = nn.Sequential(*stem(inputs, front), *down(front, front * 2)) if foreground else None
        self.foreground = nn.Sequential(*residuals(front * 2, blocks), *up(front * 2, front)) if foreground else None
        self.heads = Heads(width, front, flow, foreground, FLOW_RANGE * 2**scale)

    def forward(self, conditions: Tensor, past: Tensor, coarse: Features | None = None) -> Features:
        """As in :class:`CoarseScale`; ``coarse`` are the features of the scale below, at half this resolution."""
        if coarse is None:
            raise ModelError("a fine scale refines the features of the scale below it; none were given")
        x = self.condition(conditions) + self.past(past)
        flow, foreground = None, None
        if self.flow is not None:
            flow = self.flow(x + coarse.flow)
        if self.foreground is not None and self.foreground_in is not None:
            foreground = self.foreground(self.foreground_in(conditions) + coarse.foreground)
        return Features(self.image(x + coarse.image), flow, foreground)


def foreground_width(width: int, depth: int) -> int:
    """The foreground network has half the channels when it halves the resolution more than twice (B.3)."""
    return width // 2 if depth > 2 else width


class Vid2VidGenerator(Vid2VidModel):
    """F: the next frame from the last L frames and the last L + 1 conditions, one step at a time.

    Args:
        condition_channels: S, what the task's ``encode`` returns.
        base_channels: width of the first layer of the coarsest scale (the paper's networks: 128).
        downsamples: how often the coarsest scale halves its resolution.
        blocks: residual blocks from input to output of the coarsest scale.
        scales: spatial scales, coarse to fine; each finer one doubles the resolution and halves the width.
        local_blocks: residual blocks of each finer scale.
        history: L, how many past frames a step sees.
        flow: whether past frames are warped (eq. 4); without it every frame is hallucinated.
        foreground: whether moving objects have a network of their own (eq. 9).
        composition: "paper" (eq. 9) or "released", see :func:`vid2vid_hub.ops.compose.compose`.

    Raises:
        ModelError: a number is out of its range.
    """

    _supports_gradient_checkpointing = False

    @register_to_config
    def __init__(
        self,
        condition_channels: int,
        base_channels: int = 128,
        downsamples: int = 3,
        blocks: int = 9,
        scales: int = 1,
        local_blocks: int = 3,
        history: int = 2,
        flow: bool = True,
        foreground: bool = False,
        composition: Composition = "paper",
    ) -> None:
        super().__init__()
        check_number("condition_channels", condition_channels, 1, 1024)
        check_number("base_channels", base_channels, 2, 512)
        check_number("downsamples", downsamples, 1, 6)
        check_number("blocks", blocks, 2, 32)
        check_number("scales", scales, 1, 4)
        check_number("local_blocks", local_blocks, 1, 32)
        check_number("history", history, 1, 8)
        check_number("base_channels * 2 ** downsamples", base_channels * 2**downsamples, 4, MAX_WIDTH)
        for name, switch in {"flow": flow, "foreground": foreground}.items():
            if not isinstance(switch, bool):
                raise ModelError(f"{name} is {switch!r}; it must be true or false")
        if base_channels % 2**scales:
            raise ModelError(f"base_channels {base_channels} cannot be halved for each of {scales} scales")
        if composition not in ("paper", "released"):
            raise ModelError(f"composition is '{composition}'; it must be 'paper' or 'released'")
        self.has_foreground = foreground
        inputs, past = (history + 1) * condition_channels, history * 3
        self.networks = nn.ModuleList(
            [
                CoarseScale(inputs, past, base_channels, downsamples, blocks, flow, foreground),
                *(
                    FineScale(inputs, past, base_channels // 2**s, downsamples, local_blocks, flow, foreground, s)
                    for s in range(1, scales)
                ),
            ]
        )
        self.apply(initialise)

    @property
    def multiple(self) -> int:
        """Heights and widths must be multiples of this, and at least twice it."""
        return int(2 ** (len(self.networks) - 1 + self.config.downsamples))

    def begin(self, features: Tensor, images: Tensor | None = None) -> Memory:
        """The memory before the first step.

        Args:
            features: (B, n, S, H, W), conditions of the n frames that were already seen, oldest first. Where n < L the
                oldest stands in for those before it. To begin with nothing seen, give the first frame's own condition.
            images: (B, n, 3, H, W), those n frames; None when there are none: the past is black and the first step
                hallucinates everything.
        """
        self._check_size(features)
        batch, _, _, height, width = features.shape
        started = images is not None
        if images is None:
            images = features.new_zeros(batch, 1, 3, height, width)
        return Memory(
            tuple(pyramid(_last(features, self.config.history), len(self.networks))),
            tuple(pyramid(_last(images, self.config.history), len(self.networks))),
            started,
        )

    def step(self, memory: Memory, features: Tensor, foreground: Tensor | None = None) -> tuple[Frame, Memory]:
        """Eq. 3: one more frame.

        Args:
            memory: from :meth:`begin` or the step before.
            features: (B, S, H, W), the encoded condition of the new frame. Only this one is ever encoded anew.
            foreground: (B, 1, H, W) in [0, 1]; needed exactly when the generator has the foreground prior.

        Returns:
            The frame at the finest scale, and the memory for the next step.
        """
        *_, last = self.steps(memory, features, foreground)
        return last

    def steps(
        self, memory: Memory, features: Tensor, foreground: Tensor | None = None
    ) -> Iterator[tuple[Frame, Memory]]:
        """The frame of every scale, coarsest first; the last one's memory holds them all."""
        if self.has_foreground != (foreground is not None):
            raise ModelError(
                "this generator has the foreground prior: the task must give a foreground mask"
                if self.has_foreground
                else "this generator has no foreground prior: leave the foreground mask out"
            )
        count = len(self.networks)
        currents = pyramid(features, count)
        wheres = (None,) * count if foreground is None else pyramid(foreground, count)
        seen: list[Tensor] = []
        made: list[Tensor] = []
        coarse: Features | None = None
        for network, current, where, past_conditions, past in zip(
            cast(Iterable[CoarseScale | FineScale], self.networks),
            currents,
            wheres,
            memory.features,
            memory.images,
            strict=True,
        ):
            conditions = torch.cat((past_conditions, current.unsqueeze(1)), 1)
            coarse = network(conditions.flatten(1, 2), past.flatten(1, 2), coarse)
            previous = past[:, -1] if memory.started else None
            frame = network.heads(coarse, previous, where, self.config.composition)
            seen.append(conditions[:, 1:])
            made.append(torch.cat((past[:, 1:], frame.image.unsqueeze(1).to(past.dtype)), 1))
            yield frame, Memory(tuple(seen), tuple(made), started=True)

    def forward(self, encoded: Encoded, memory: Memory) -> tuple[Frame, Memory]:
        """Fold :meth:`step` over a chunk.

        Args:
            encoded: features (B, T, S, H, W) and, with the prior, foreground (B, T, 1, H, W).
            memory: of the frames before the chunk.

        Returns:
            The rollout, a :class:`Frame` whose tensors are (B, T, ...), and the memory after it.
        """
        frames = []
        for t in range(encoded.features.shape[1]):
            where = None if encoded.foreground is None else encoded.foreground[:, t]
            frame, memory = self.step(memory, encoded.features[:, t], where)
            frames.append(frame)
        return Frame.stack(frames), memory

    def _check_size(self, features: Tensor) -> None:
        channels, height, width = features.shape[-3:]
        if channels != self.config.condition_channels:
            raise ModelError(
                f"this generator reads {self.config.condition_channels} condition channels; the task gives {channels}"
            )
        if height % self.multiple or width % self.multiple or min(height, width) < 2 * self.multiple:
            raise ModelError(
                f"frames of {width}x{height} do not fit this generator: both sides must be multiples of "
                f"{self.multiple} and at least {2 * self.multiple}"
            )


def _last(sequence: Tensor, count: int) -> Tensor:
    """The last ``count`` of (B, n, ...), the oldest repeated where there are fewer."""
    missing = count - sequence.shape[1]
    if missing > 0:
        sequence = torch.cat((sequence[:, :1].expand(-1, missing, *sequence.shape[2:]), sequence), 1)
    return sequence[:, -count:]

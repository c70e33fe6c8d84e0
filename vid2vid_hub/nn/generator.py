"""The sequential generator F of eqs. 3, 4 and 9: flow W, mask M, hallucination H (or H_F and H_B), coarse to fine."""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast, get_args

import torch
from diffusers.configuration_utils import register_to_config
from torch import Tensor, nn

from vid2vid_hub.errors import ModelError
from vid2vid_hub.nn.blocks import down, downs, initialise, residuals, stem, up, ups
from vid2vid_hub.nn.heads import FLOW_RANGE, Branches, Features, Frames, Heads, Picture, begin_as_copy, sharpened
from vid2vid_hub.nn.model import Vid2VidModel, check_number
from vid2vid_hub.ops.compose import Composition
from vid2vid_hub.ops.windows import flow_pyramid, pyramid
from vid2vid_hub.types import Encoded, Frame, Memory

MAX_WIDTH = 4096
"""Channels at the lowest resolution (the paper's networks: 1024); one convolution of this width holds 0.6 GB."""


class Scale(nn.Module):
    """One spatial scale: from what was seen to features, from features to a frame."""

    heads: Heads

    def features(self, conditions: Tensor, past: Tensor, coarse: Features | None) -> Features:
        """What the scale makes of its inputs; see the two kinds below."""
        raise NotImplementedError

    def forward(
        self,
        conditions: Tensor,
        past: Tensor,
        coarse: Features | None,
        previous: Tensor | None,
        where: Tensor | None,
        given: Tensor | None,
        order: Composition,
    ) -> tuple[Features, Frame]:
        """Features for the next finer scale and the frame of this one; arguments as in ``features`` and `Heads`."""
        made = self.features(conditions, past, coarse)
        return made, self.heads(made, previous, where, given, order)


class CoarseScale(Scale):
    """The global network: encoders of conditions and past frames, a residual trunk each for picture and flow."""

    def __init__(
        self, inputs: int, past: int, width: int, depth: int, blocks: int, branches: Branches, picture: Picture
    ) -> None:
        super().__init__()
        deep, trunk = width * 2**depth, blocks // 2
        self.condition = nn.Sequential(*stem(inputs, width), *downs(width, depth), *residuals(deep, blocks - trunk))
        self.past = nn.Sequential(*stem(past, width), *downs(width, depth), *residuals(deep, blocks - trunk))
        self.image = nn.Sequential(*residuals(deep, trunk), *ups(width, depth))
        self.flow = nn.Sequential(*residuals(deep, trunk), *ups(width, depth)) if branches.warps else None
        front = foreground_width(width, depth)
        self.foreground = (
            nn.Sequential(
                *stem(inputs, front), *downs(front, depth), *residuals(front * 2**depth, blocks), *ups(front, depth)
            )
            if branches.foreground
            else None
        )
        self.heads = Heads(width, front, branches, picture, FLOW_RANGE)

    def features(self, conditions: Tensor, past: Tensor, coarse: Features | None) -> Features:
        """Conditions (N, (L+1)·S, H, W) and past frames (N, L·C, H, W) to features of (N, width, H, W)."""
        x = self.condition(conditions) + self.past(past)
        return Features(
            self.image(x),
            None if self.flow is None else self.flow(x),
            None if self.foreground is None else self.foreground(conditions),
        )


class FineScale(Scale):
    """A local network at twice the resolution: its own encoders, refined features of the scale below."""

    def __init__(
        self,
        inputs: int,
        past: int,
        width: int,
        depth: int,
        blocks: int,
        branches: Branches,
        picture: Picture,
        scale: int,
    ) -> None:
        super().__init__()
        front = foreground_width(width, depth)
        self.condition = nn.Sequential(*stem(inputs, width), *down(width, width * 2))
        self.past = nn.Sequential(*stem(past, width), *down(width, width * 2))
        self.image = nn.Sequential(*residuals(width * 2, blocks), *up(width * 2, width))
        self.flow = nn.Sequential(*residuals(width * 2, blocks), *up(width * 2, width)) if branches.warps else None
        self.foreground_in = (
            nn.Sequential(*stem(inputs, front), *down(front, front * 2)) if branches.foreground else None
        )
        self.foreground = (
            nn.Sequential(*residuals(front * 2, blocks), *up(front * 2, front)) if branches.foreground else None
        )
        self.heads = Heads(width, front, branches, picture, FLOW_RANGE * 2**scale)

    def features(self, conditions: Tensor, past: Tensor, coarse: Features | None) -> Features:
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
        given_flow: the flow is handed to every step instead of being estimated (the paper's experiment with ground
            truth flow); the mask is estimated all the same.
        foreground: whether moving objects have a network of their own (eq. 9).
        composition: "paper" (eq. 9) or "released", see :func:`vid2vid_hub.ops.compose.compose`.
        image_channels: C, of the frames it remembers and makes.
        frames: "images" are C free values in [-1, 1]; "probabilities" are 2p - 1 of C classes, as in predicting the
            masks of the future (section 4). Then flow and mask begin as a copy of the last frame.
        sharpen: power to which remembered probabilities are raised, and normalised again; 1 leaves them. Bilinear
            warping mixes neighbours a little, and after dozens of frames small things would have faded away.

    Raises:
        ModelError: a number is out of its range.
    """

    _supports_gradient_checkpointing = True

    takes_appearance = False

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
        given_flow: bool = False,
        foreground: bool = False,
        composition: Composition = "paper",
        image_channels: int = 3,
        frames: Frames = "images",
        sharpen: float = 1.0,
    ) -> None:
        super().__init__()
        check_number("condition_channels", condition_channels, 1, 1024)
        check_number("base_channels", base_channels, 2, 512)
        check_number("downsamples", downsamples, 1, 6)
        check_number("blocks", blocks, 2, 32)
        check_number("scales", scales, 1, 4)
        check_number("local_blocks", local_blocks, 1, 32)
        check_number("history", history, 1, 8)
        check_number("image_channels", image_channels, 1, 256)
        check_number("base_channels * 2 ** downsamples", base_channels * 2**downsamples, 4, MAX_WIDTH)
        for name, switch in {"flow": flow, "given_flow": given_flow, "foreground": foreground}.items():
            if not isinstance(switch, bool):
                raise ModelError(f"{name} is {switch!r}; it must be true or false")
        if given_flow and not flow:
            raise ModelError(
                "given_flow is true and flow is false; without a flow branch there is nothing to warp by it"
            )
        if base_channels % 2**scales:
            raise ModelError(f"base_channels {base_channels} cannot be halved for each of {scales} scales")
        if composition not in ("paper", "released"):
            raise ModelError(f"composition is '{composition}'; it must be 'paper' or 'released'")
        if frames not in get_args(Frames):
            raise ModelError(f"frames is {frames!r}; it must be 'images' or 'probabilities'")
        if isinstance(sharpen, bool) or not isinstance(sharpen, int | float) or not 1 <= sharpen <= 4:
            raise ModelError(f"sharpen is {sharpen!r}; it must be a number between 1 and 4")
        if sharpen > 1 and frames == "images":
            raise ModelError(f"sharpen is {sharpen} and frames are 'images'; only 'probabilities' can be sharpened")
        self.has_foreground, self.takes_flow = foreground, given_flow
        self.gradient_checkpointing = False
        inputs, past = (history + 1) * condition_channels, history * image_channels
        branches, picture = Branches(flow, flow and not given_flow, foreground), Picture(image_channels, frames)
        self.networks = nn.ModuleList(
            [
                CoarseScale(inputs, past, base_channels, downsamples, blocks, branches, picture),
                *(
                    FineScale(inputs, past, base_channels // 2**s, downsamples, local_blocks, branches, picture, s)
                    for s in range(1, scales)
                ),
            ]
        )
        self.apply(initialise)
        if frames == "probabilities":
            for network in self.networks:
                begin_as_copy(cast(Scale, network).heads)

    @property
    def image_channels(self) -> int:
        """C, of the frames it remembers and makes."""
        return int(self.config.image_channels)

    @property
    def history(self) -> int:
        """L, how many past frames a step sees."""
        return int(self.config.history)

    @property
    def multiple(self) -> int:
        """Heights and widths must be multiples of this, and at least twice it."""
        return self.multiple_at(len(self.networks))

    def multiple_at(self, scales: int) -> int:
        """As :attr:`multiple`, while only the ``scales`` coarsest scales take part."""
        return int(2 ** (scales - 1 + self.config.downsamples))

    def begin(self, features: Tensor, images: Tensor | None = None, scales: int | None = None) -> Memory:
        """The memory before the first step.

        Args:
            features: (B, n, S, H, W), conditions of the n frames that were already seen, oldest first. Where n < L the
                oldest stands in for those before it. To begin with nothing seen, give the first frame's own condition.
            images: (B, n, C, H, W), those n frames; None when there are none: the past is all zeros and the first step
                hallucinates everything.
            scales: how many scales take part, coarsest first, while a coarse-to-fine training has not reached the
                others; all of them by default. The finest of them makes frames of HxW.

        Raises:
            ModelError: conditions or frames have other channels than this generator's, or a size that does not fit.
        """
        scales = len(self.networks) if scales is None else scales
        self._check_size(features, scales)
        batch, _, _, height, width = features.shape
        started = images is not None
        if images is None:
            images = features.new_zeros(batch, 1, self.image_channels, height, width)
        elif images.shape[2] != self.image_channels:
            raise ModelError(
                f"this generator goes on from frames of {self.image_channels} channels; these have {images.shape[2]}"
            )
        return Memory(
            tuple(pyramid(_last(features, self.history), scales)),
            tuple(pyramid(_last(images, self.history), scales)),
            started,
        )

    def step(
        self, memory: Memory, features: Tensor, foreground: Tensor | None = None, flow: Tensor | None = None
    ) -> tuple[Frame, Memory]:
        """Eq. 3: one more frame.

        Args:
            memory: from :meth:`begin` or the step before.
            features: (B, S, H, W), the encoded condition of the new frame. Only this one is ever encoded anew.
            foreground: (B, 1, H, W) in [0, 1]; needed exactly when the generator has the foreground prior.
            flow: (B, 2, H, W) in pixels, to the frame before; needed exactly when the generator takes a given flow.

        Returns:
            The frame at the finest scale, and the memory for the next step.
        """
        *_, last = self.steps(memory, features, foreground, flow)
        return last

    def steps(
        self, memory: Memory, features: Tensor, foreground: Tensor | None = None, flow: Tensor | None = None
    ) -> Iterator[tuple[Frame, Memory]]:
        """The frame of every scale, coarsest first; the last one's memory holds them all."""
        self._check_given(foreground, flow)
        count = len(memory.images)
        currents = pyramid(features, count)
        wheres = (None,) * count if foreground is None else pyramid(foreground, count)
        flows = (None,) * count if flow is None else flow_pyramid(flow, count)
        seen: list[Tensor] = []
        made: list[Tensor] = []
        coarse: Features | None = None
        for network, current, where, given, past_conditions, past in zip(
            self.networks[:count], currents, wheres, flows, memory.features, memory.images, strict=True
        ):
            conditions = torch.cat((past_conditions, current.unsqueeze(1)), 1)
            previous = past[:, -1] if memory.started else None
            inputs = (
                conditions.flatten(1, 2),
                past.flatten(1, 2),
                coarse,
                previous,
                where,
                given,
                self.config.composition,
            )
            if self.gradient_checkpointing and torch.is_grad_enabled():
                coarse, frame = self._gradient_checkpointing_func(network, *inputs)
            else:
                coarse, frame = network(*inputs)
            seen.append(conditions[:, 1:])
            kept = frame.image if self.config.sharpen == 1 else sharpened(frame.image, self.config.sharpen)
            made.append(torch.cat((past[:, 1:], kept.unsqueeze(1).to(past.dtype)), 1))
            yield frame, Memory(tuple(seen), tuple(made), started=True)

    def forward(self, encoded: Encoded, memory: Memory) -> tuple[Frame, Memory]:
        """Fold :meth:`step` over a chunk.

        Args:
            encoded: features (B, T, S, H, W), with the prior foreground (B, T, 1, H, W), and flow (B, T, 2, H, W) where
                it is given.
            memory: of the frames before the chunk.

        Returns:
            The rollout, a :class:`Frame` whose tensors are (B, T, ...), and the memory after it, cut off from the graph
            (truncated back-propagation through time).
        """
        frames = []
        for t in range(encoded.features.shape[1]):
            where, flow = (None if x is None else x[:, t] for x in (encoded.foreground, encoded.flow))
            frame, memory = self.step(memory, encoded.features[:, t], where, flow)
            frames.append(frame)
        return Frame.stack(frames), memory.detach()

    def _check_given(self, foreground: Tensor | None, flow: Tensor | None) -> None:
        if self.has_foreground != (foreground is not None):
            raise ModelError(
                "this generator has the foreground prior: the task must give a foreground mask"
                if self.has_foreground
                else "this generator has no foreground prior: leave the foreground mask out"
            )
        if self.takes_flow != (flow is not None):
            raise ModelError(
                "this generator warps by a flow that is given to it: hand one in with every frame"
                if self.takes_flow
                else "this generator takes no flow: leave it out"
            )

    def _check_size(self, features: Tensor, scales: int) -> None:
        channels, height, width = features.shape[-3:]
        if channels != self.config.condition_channels:
            raise ModelError(
                f"this generator reads {self.config.condition_channels} condition channels; the task gives {channels}"
            )
        if not 1 <= scales <= len(self.networks):
            raise ModelError(f"this generator has {len(self.networks)} scales; {scales} of them cannot take part")
        multiple = self.multiple_at(scales)
        if height % multiple or width % multiple or min(height, width) < 2 * multiple:
            raise ModelError(
                f"frames of {width}x{height} do not fit this generator: both sides must be multiples of "
                f"{multiple} and at least {2 * multiple}"
            )


def _last(sequence: Tensor, count: int) -> Tensor:
    """The last ``count`` of (B, n, ...), the oldest repeated where there are fewer."""
    missing = count - sequence.shape[1]
    if missing > 0:
        sequence = torch.cat((sequence[:, :1].expand(-1, missing, *sequence.shape[2:]), sequence), 1)
    return sequence[:, -count:]

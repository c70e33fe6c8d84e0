"""The single-image generator of pix2pixHD: a picture from its own condition alone, for first frames and as a baseline.

A global network works at the coarsest resolution; each enhancer doubles the resolution and refines the features of the
networks below it (Wang et al., High-Resolution Image Synthesis, 2018). The same calls as the sequential generator have,
so that whoever trains or streams takes either; but no frame knows of another.
"""

from __future__ import annotations

import torch
from diffusers.configuration_utils import register_to_config
from torch import Tensor, nn

from vid2vid_hub.errors import ModelError
from vid2vid_hub.nn.blocks import conv7, down, downs, initialise, residuals, stem, up, ups
from vid2vid_hub.nn.model import Vid2VidModel, check_number
from vid2vid_hub.ops.windows import pyramid
from vid2vid_hub.types import Encoded, Frame, Memory

MAX_CHANNELS = 1024
"""No layer of the global network is wider (B.5)."""


class Enhancer(nn.Module):
    """A local network at twice the resolution of what it refines."""

    def __init__(self, inputs: int, width: int, blocks: int) -> None:
        super().__init__()
        self.condition = nn.Sequential(*stem(inputs, width, affine=False), *down(width, width * 2, affine=False))
        self.image = nn.Sequential(*residuals(width * 2, blocks, affine=False), *up(width * 2, width, affine=False))

    def forward(self, condition: Tensor, coarse: Tensor) -> Tensor:
        """Condition (N, S, H, W) and features (N, 2·width, H/2, W/2) from below to features (N, width, H, W)."""
        features: Tensor = self.image(self.condition(condition) + coarse)
        return features


class Pix2PixHDGenerator(Vid2VidModel):
    """One frame from its own condition: nothing before it is seen, and nothing is remembered.

    Args:
        condition_channels: S, what the task's ``encode`` returns.
        base_channels: width of the first layer of the global network; each enhancer halves it.
        downsamples: how often the global network halves its resolution, doubling the channels up to 1024.
        blocks: residual blocks of the global network.
        enhancers: local networks after the global one; each doubles the resolution.
        local_blocks: residual blocks of each enhancer.

    Raises:
        ModelError: a number is out of its range.
    """

    _supports_gradient_checkpointing = True

    history = 0
    """L, how many past frames a step sees."""
    has_foreground = False
    takes_flow = False

    @register_to_config
    def __init__(
        self,
        condition_channels: int,
        base_channels: int = 64,
        downsamples: int = 4,
        blocks: int = 9,
        enhancers: int = 0,
        local_blocks: int = 3,
    ) -> None:
        super().__init__()
        check_number("condition_channels", condition_channels, 1, 1024)
        check_number("base_channels", base_channels, 2, 512)
        check_number("downsamples", downsamples, 1, 6)
        check_number("blocks", blocks, 1, 32)
        check_number("enhancers", enhancers, 0, 4)
        check_number("local_blocks", local_blocks, 1, 32)
        if base_channels % 2**enhancers:
            raise ModelError(f"base_channels {base_channels} cannot be halved for each of {enhancers} enhancers")
        self.gradient_checkpointing = False
        deep = min(base_channels * 2**downsamples, MAX_CHANNELS)
        self.coarse = nn.Sequential(
            *stem(condition_channels, base_channels, affine=False),
            *downs(base_channels, downsamples, affine=False, widest=MAX_CHANNELS),
            *residuals(deep, blocks, affine=False),
            *ups(base_channels, downsamples, affine=False, widest=MAX_CHANNELS),
        )
        widths = [base_channels // 2**n for n in range(enhancers + 1)]
        self.finer = nn.ModuleList([Enhancer(condition_channels, width, local_blocks) for width in widths[1:]])
        self.head = nn.Sequential(*conv7(widths[-1], 3), nn.Tanh())
        self.apply(initialise)

    @property
    def multiple(self) -> int:
        """Heights and widths must be multiples of this, and at least twice it."""
        return int(2 ** (len(self.finer) + self.config.downsamples))

    def begin(self, features: Tensor, images: Tensor | None = None, scales: int | None = None) -> Memory:
        """The memory before the first step, which is empty and stays so; only the size is checked.

        Args:
            features: (B, n, S, H, W), a condition.
            images: frames that were already seen; they change nothing.
            scales: how many of the networks take part: all of them, because only the last one has a picture to show.

        Raises:
            ModelError: the channels or the size do not fit, or fewer networks are asked for.
        """
        count = 1 + len(self.finer)
        if scales not in (None, count):
            raise ModelError(f"this generator makes a picture with all of its {count} scales; {scales} were asked for")
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
        return Memory((), (), started=False)

    def step(
        self, memory: Memory, features: Tensor, foreground: Tensor | None = None, flow: Tensor | None = None
    ) -> tuple[Frame, Memory]:
        """The frame of one condition.

        Args:
            memory: from :meth:`begin`; comes back as it is.
            features: (B, S, H, W), the encoded condition of the frame.
            foreground: must be left out; there is no foreground prior.
            flow: must be left out; nothing is warped.

        Returns:
            The frame, (B, 3, H, W), all of it hallucinated, and the memory.
        """
        if foreground is not None:
            raise ModelError("this generator has no foreground prior: leave the foreground mask out")
        if flow is not None:
            raise ModelError("this generator takes no flow: leave it out")
        coarsest, *rest = pyramid(features, 1 + len(self.finer))
        made = self._run(self.coarse, coarsest)
        for enhancer, condition in zip(self.finer, rest, strict=True):
            made = self._run(enhancer, condition, made)
        image = self.head(made)
        return Frame(image, image), memory

    def forward(self, encoded: Encoded, memory: Memory) -> tuple[Frame, Memory]:
        """Fold :meth:`step` over a chunk.

        Args:
            encoded: features (B, T, S, H, W).
            memory: from :meth:`begin`.

        Returns:
            The rollout, a :class:`Frame` whose tensors are (B, T, ...), and the memory.
        """
        frames = []
        for t in range(encoded.features.shape[1]):
            where, flow = (None if x is None else x[:, t] for x in (encoded.foreground, encoded.flow))
            frame, memory = self.step(memory, encoded.features[:, t], where, flow)
            frames.append(frame)
        return Frame.stack(frames), memory

    def _run(self, network: nn.Module, *inputs: Tensor) -> Tensor:
        if self.gradient_checkpointing and torch.is_grad_enabled():
            made: Tensor = self._gradient_checkpointing_func(network, *inputs)
        else:
            made = network(*inputs)
        return made

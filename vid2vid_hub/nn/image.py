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


class Coarse(nn.Sequential):
    """The global network as one row of layers; features of appearance enter before, amid and after its blocks."""

    def __init__(self, inputs: int, width: int, downsamples: int, blocks: int, appearance: int) -> None:
        deep, first = (min(width * 2**halvings, MAX_CHANNELS) for halvings in (downsamples, downsamples - 1))
        encoder = [
            *stem(inputs + appearance, width, affine=False),
            *downs(width, downsamples, affine=False, widest=MAX_CHANNELS),
        ]
        trunk = residuals(deep + appearance, blocks, affine=False)
        decoder = [
            *up(deep + 2 * appearance, first, affine=False),
            *ups(width, downsamples - 1, affine=False, widest=MAX_CHANNELS),
        ]
        super().__init__(*encoder, *trunk, *decoder)
        self.deepest = (len(encoder), len(encoder) + len(trunk))
        """Before which layers the look enters at the lowest resolution."""

    def forward(self, condition: Tensor, look: Tensor | None = None, deep: Tensor | None = None) -> Tensor:
        """Condition (N, S, H, W), and the look at this resolution and at the lowest, to features (N, width, H, W)."""
        x = beside(condition, look)
        for place, layer in enumerate(self):
            x = layer(beside(x, deep) if place in self.deepest else x)
        return x


class Enhancer(nn.Module):
    """A local network at twice the resolution of what it refines."""

    def __init__(self, inputs: int, width: int, blocks: int, appearance: int) -> None:
        super().__init__()
        wide = width * 2 + appearance
        self.condition = nn.Sequential(
            *stem(inputs + appearance, width, affine=False), *down(width, width * 2, affine=False)
        )
        self.image = nn.Sequential(*residuals(wide, blocks, affine=False), *up(wide, width, affine=False))

    def forward(
        self, condition: Tensor, coarse: Tensor, look: Tensor | None = None, half: Tensor | None = None
    ) -> Tensor:
        """Condition (N, S, H, W) and features (N, 2·width, H/2, W/2) from below to features (N, width, H, W).

        ``look`` and ``half`` are the features of appearance at this resolution and at half of it.
        """
        features: Tensor = self.image(beside(self.condition(beside(condition, look)) + coarse, half))
        return features


def beside(x: Tensor, look: Tensor | None) -> Tensor:
    """Features of appearance as further channels, where there are any."""
    return x if look is None else torch.cat((x, look), 1)


class Pix2PixHDGenerator(Vid2VidModel):
    """One frame from its own condition: nothing before it is seen, and nothing is remembered.

    Args:
        condition_channels: S, what the task's ``encode`` returns.
        base_channels: width of the first layer of the global network; each enhancer halves it.
        downsamples: how often the global network halves its resolution, doubling the channels up to 1024.
        blocks: residual blocks of the global network.
        enhancers: local networks after the global one; each doubles the resolution.
        local_blocks: residual blocks of each enhancer.
        appearance_channels: F, features of appearance that every step reads beside the condition; 0 for a network that
            knows one style. The release has them with one enhancer at most; further ones read them as the first does.

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
        appearance_channels: int = 0,
    ) -> None:
        super().__init__()
        check_number("condition_channels", condition_channels, 1, 1024)
        check_number("base_channels", base_channels, 2, 512)
        check_number("downsamples", downsamples, 1, 6)
        check_number("blocks", blocks, 1, 32)
        check_number("enhancers", enhancers, 0, 4)
        check_number("local_blocks", local_blocks, 1, 32)
        check_number("appearance_channels", appearance_channels, 0, 256)
        if base_channels % 2**enhancers:
            raise ModelError(f"base_channels {base_channels} cannot be halved for each of {enhancers} enhancers")
        self.takes_appearance = appearance_channels > 0
        self.gradient_checkpointing = False
        self.coarse = Coarse(condition_channels, base_channels, downsamples, blocks, appearance_channels)
        widths = [base_channels // 2**n for n in range(enhancers + 1)]
        self.finer = nn.ModuleList(
            [Enhancer(condition_channels, width, local_blocks, appearance_channels) for width in widths[1:]]
        )
        self.head = nn.Sequential(*conv7(widths[-1] + appearance_channels, 3), nn.Tanh())
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
        self,
        memory: Memory,
        features: Tensor,
        foreground: Tensor | None = None,
        flow: Tensor | None = None,
        appearance: Tensor | None = None,
    ) -> tuple[Frame, Memory]:
        """The frame of one condition.

        Args:
            memory: from :meth:`begin`; comes back as it is.
            features: (B, S, H, W), the encoded condition of the frame.
            foreground: must be left out; there is no foreground prior.
            flow: must be left out; nothing is warped.
            appearance: (B, F, H, W), what every pixel's part looks like; needed exactly where there are
                ``appearance_channels``.

        Returns:
            The frame, (B, 3, H, W), all of it hallucinated, and the memory.

        Raises:
            ModelError: something is given that must be left out, or the appearance is missing or of another shape.
        """
        if foreground is not None:
            raise ModelError("this generator has no foreground prior: leave the foreground mask out")
        if flow is not None:
            raise ModelError("this generator takes no flow: leave it out")
        self._check_appearance(features, appearance)
        coarsest, *rest = pyramid(features, 1 + len(self.finer))
        looks = self._looks(appearance)
        made = self._run(self.coarse, coarsest, looks[-1 - len(rest)], looks[0])
        for level, (enhancer, condition) in enumerate(zip(self.finer, rest, strict=True), -len(rest)):
            made = self._run(enhancer, condition, made, looks[level], looks[level - 1])
        image = self.head(beside(made, appearance))
        return Frame(image, image), memory

    def forward(self, encoded: Encoded, memory: Memory, appearance: Tensor | None = None) -> tuple[Frame, Memory]:
        """Fold :meth:`step` over a chunk.

        Args:
            encoded: features (B, T, S, H, W).
            memory: from :meth:`begin`.
            appearance: (B, T, F, H, W), where there are ``appearance_channels``.

        Returns:
            The rollout, a :class:`Frame` whose tensors are (B, T, ...), and the memory.
        """
        frames = []
        for t in range(encoded.features.shape[1]):
            given = (None if x is None else x[:, t] for x in (encoded.foreground, encoded.flow, appearance))
            frame, memory = self.step(memory, encoded.features[:, t], *given)
            frames.append(frame)
        return Frame.stack(frames), memory

    def _looks(self, appearance: Tensor | None) -> tuple[Tensor | None, ...]:
        """The features of appearance from the lowest resolution inside the global network to the full one."""
        levels = 1 + len(self.finer) + self.config.downsamples
        return (None,) * levels if appearance is None else pyramid(appearance, levels)

    def _check_appearance(self, features: Tensor, appearance: Tensor | None) -> None:
        channels = self.config.appearance_channels
        if not channels and appearance is not None:
            raise ModelError("this generator knows one style: leave the features of appearance out")
        if channels and appearance is None:
            raise ModelError(f"this generator reads {channels} features of appearance for every pixel: give them")
        expected = (len(features), channels, *features.shape[2:])
        if appearance is not None and tuple(appearance.shape) != expected:
            raise ModelError(
                f"the features of appearance are {tuple(appearance.shape)}; this condition asks for {expected}"
            )

    def _run(self, network: nn.Module, *inputs: Tensor | None) -> Tensor:
        if self.gradient_checkpointing and torch.is_grad_enabled():
            made: Tensor = self._gradient_checkpointing_func(network, *inputs)
        else:
            made = network(*inputs)
        return made

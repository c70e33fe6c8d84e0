"""A batch of clips as the training walks it: true motion, chunks, and what D_V remembers of the chunks before."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from vid2vid_hub.types import Encoded


@dataclass(frozen=True)
class Chunk:
    """A stretch of a clip that one back-propagation spans.

    Attributes:
        frames: float (B, T, 3, H, W), the real frames.
        previous: float (B, T, 3, H, W), the real frame before each of them.
        encoded: of the same frames.
        flow: float (B, T, 2, H, W), the true flow to ``previous``; zeros for a frame that has none before it.
        trust: float (B, T, 1, H, W), its confidence; 0 for a frame that has none before it.
        boxes: int (B, T, 4), where a region discriminator looks; None where the task names no regions.
    """

    frames: Tensor
    previous: Tensor
    encoded: Encoded
    flow: Tensor
    trust: Tensor
    boxes: Tensor | None = None


@dataclass(frozen=True)
class Walk:
    """A batch of whole clips, with the true motion of all frames; tensors as in :class:`Chunk`.

    Attributes:
        encode: gives the encoded conditions of frames ``start`` to ``stop`` - 1 when they are asked for: those of a
            whole clip would be the largest thing in memory.
    """

    frames: Tensor
    encode: Callable[[int, int], Encoded]
    flow: Tensor
    trust: Tensor
    boxes: Tensor | None = None

    @property
    def length(self) -> int:
        """T, the number of frames."""
        return self.frames.shape[1]

    def chunk(self, start: int, stop: int) -> Chunk:
        """Frames ``start`` to ``stop`` - 1."""
        part = slice(start, stop)
        before = [max(t - 1, 0) for t in range(start, stop)]
        return Chunk(
            self.frames[:, part],
            self.frames[:, before],
            self.encode(start, stop),
            self.flow[:, part],
            self.trust[:, part],
            None if self.boxes is None else self.boxes[:, part],
        )


@dataclass(frozen=True)
class Past:
    """The frames that D_V has seen of a clip: a value, so that its windows reach over the borders of chunks.

    Attributes:
        real: float (B, n, 3, H, W).
        made: float (B, n, 3, H, W), the generated ones, without a graph.
        flow: float (B, n, 2, H, W), the true flow to the frame before.
    """

    real: Tensor
    made: Tensor
    flow: Tensor

    @classmethod
    def nothing(cls, frames: Tensor) -> Self:
        """The past of clips like ``frames`` (B, T, 3, H, W) that have not begun."""
        none = frames[:, :0]
        return cls(none, none, none[:, :, :2])

    def followed_by(self, chunk: Chunk, made: Tensor, keep: int) -> Self:
        """With a chunk and what was ``made`` of it (B, T, 3, H, W); the ``keep`` newest frames."""
        joined = (
            torch.cat((self.real, chunk.frames), 1),
            torch.cat((self.made, made.detach()), 1),
            torch.cat((self.flow, chunk.flow), 1),
        )
        return type(self)(*(x[:, max(x.shape[1] - keep, 0) :] for x in joined))

"""The last layers of a generator, and what a frame is: a picture, or what is said of the classes of every pixel."""

from __future__ import annotations

from typing import Literal, NamedTuple, cast

import torch
from torch import Tensor, nn

from vid2vid_hub.nn.blocks import conv7
from vid2vid_hub.ops.compose import Composition, compose
from vid2vid_hub.ops.warp import warp
from vid2vid_hub.types import Frame

FLOW_RANGE = 20.0
"""Pixels that a flow head's output of 1 stands for at the coarsest scale (B.3); doubled with every finer scale."""

MASK_PRIOR = -3.0
"""Where the mask's bias begins for probabilities: a future is almost its past, so it begins by keeping 95 % of it."""

Frames = Literal["images", "probabilities"]


class Features(NamedTuple):
    """What a coarse scale hands to the next finer one: maps of (N, c, H_s, W_s), nothing else crosses scales."""

    image: Tensor
    flow: Tensor | None
    foreground: Tensor | None


class Branches(NamedTuple):
    """Which parts a generator has: a mask and a warped past, an own estimate of its flow, a foreground network."""

    warps: bool
    estimates: bool
    foreground: bool


class Picture(NamedTuple):
    """What a frame is: how many channels, and whether they are free or sum up to one."""

    channels: int
    kind: Frames


class Distribution(nn.Module):
    """The last word on frames of probabilities p: softmax, scaled to 2p - 1, in [-1, 1] as images are.

    What is warped bilinearly or blended by a mask (eqs. 4 and 9) is a weighted mean of such frames: a distribution too.
    """

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) of any values to the same shape, a distribution over C at every pixel."""
        return x.softmax(1) * 2 - 1


class Heads(nn.Module):
    """The last layers: features to picture, flow, mask and foreground picture."""

    def __init__(self, channels: int, front: int, branches: Branches, picture: Picture, flow_range: float) -> None:
        super().__init__()
        self.image = _paint(channels, picture)
        self.flow = nn.Sequential(*conv7(channels, 2)) if branches.estimates else None
        self.mask = nn.Sequential(*conv7(channels, 1), nn.Sigmoid()) if branches.warps else None
        self.foreground = _paint(front, picture) if branches.foreground else None
        self.flow_range = flow_range

    def forward(
        self,
        features: Features,
        previous: Tensor | None,
        where: Tensor | None,
        given: Tensor | None,
        order: Composition,
    ) -> Frame:
        """Compose a frame.

        Args:
            features: of this scale.
            previous: (N, C, H, W), the frame before; None when there is nothing to warp: all is hallucinated.
            where: (N, 1, H, W), 1 on the foreground; None without the prior.
            given: (N, 2, H, W), the flow to warp by; None where it is estimated.
            order: of eq. 9.
        """
        background = self.image(features.image)
        front = None if self.foreground is None else self.foreground(features.foreground)
        if self.mask is None:
            image, hallucinated = compose(None, background, None, front, where, order)
            return Frame(image, hallucinated)
        flow = cast(Tensor, given if self.flow is None else self.flow(features.flow) * self.flow_range)
        mask = self.mask(features.flow)
        if previous is None:
            image, hallucinated = compose(None, background, None, front, where, order)
            return Frame(image, hallucinated, hallucinated, flow, torch.ones_like(mask))
        warped = warp(previous, flow)
        image, hallucinated = compose(warped, background, mask, front, where, order)
        return Frame(image, hallucinated, warped, flow, mask)


def _paint(channels: int, picture: Picture) -> nn.Sequential:
    """The last layer of a picture: features to a frame in [-1, 1]."""
    return nn.Sequential(*conv7(channels, picture.channels), nn.Tanh() if picture.kind == "images" else Distribution())


def sharpened(frame: Tensor, power: float) -> Tensor:
    """Frames of probabilities 2p - 1, (N, C, H, W), with p ** power, normalised, in place of p."""
    chances = ((frame + 1) / 2).clamp_min(0) ** power
    return chances / chances.sum(1, keepdim=True) * 2 - 1


def begin_as_copy(heads: Heads) -> None:
    """No flow, and a mask that keeps most of the past."""
    if heads.flow is not None:
        nn.init.zeros_(cast(nn.Conv2d, heads.flow[-1]).weight)
        nn.init.zeros_(cast(Tensor, cast(nn.Conv2d, heads.flow[-1]).bias))
    if heads.mask is not None:
        nn.init.constant_(cast(Tensor, cast(nn.Conv2d, heads.mask[-2]).bias), MASK_PRIOR)

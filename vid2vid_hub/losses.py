"""The terms of eq. 5 as pure functions; their weights stand in the recipe."""

from __future__ import annotations

from typing import Literal

from torch import Tensor

from vid2vid_hub.nn.discriminator import Judged
from vid2vid_hub.ops.warp import warp

Adversarial = Literal["lsgan", "hinge"]

DOUBT = 0.01
"""The share of a predicted distribution that stands for "none of what was said": a class with no chance at all, as a
warped past has them, would cost infinitely much and pull by nothing."""


def gan_discriminator(real: Judged, fake: Judged, kind: Adversarial = "lsgan") -> Tensor:
    """Eqs. 6 and 7 for D: real patches towards 1, generated ones away from it. Scalar; summed over scales, halved.

    "lsgan" is what the paper trains with (Mao et al. 2017): squares of the distance to 1 and to 0. "hinge" (Lim and Ye
    2017) stops pushing beyond 1 and -1.
    """
    if kind == "hinge":
        terms = [(1 - r[-1]).relu().mean() + (1 + f[-1]).relu().mean() for r, f in zip(real, fake, strict=True)]
    else:
        terms = [((r[-1] - 1) ** 2).mean() + (f[-1] ** 2).mean() for r, f in zip(real, fake, strict=True)]
    return sum(terms[1:], terms[0]) / 2


def gan_generator(fake: Judged, kind: Adversarial = "lsgan") -> Tensor:
    """Eqs. 6 and 7 for the generator: generated patches towards 1, or upwards ("hinge"). Scalar; summed over scales."""
    terms = [-f[-1].mean() if kind == "hinge" else ((f[-1] - 1) ** 2).mean() for f in fake]
    return sum(terms[1:], terms[0])


def cross_entropy(frame: Tensor, truth: Tensor) -> Tensor:
    """-log p of what came, in nats a pixel, for frames of probabilities: section 4, predicting future masks.

    Both (N, C, H, W) are 2p - 1, the truth one-hot. Between 0 and log(C / DOUBT).
    """
    # In bfloat16 the two weights of a blend do not quite add up to 1, and p falls short of 0.
    chance = ((frame + 1) / 2).clamp_min(0) * (1 - DOUBT) + DOUBT / frame.shape[1]
    return -((truth + 1) / 2 * chance.log()).sum(1).mean()


def feature_matching(real: Judged, fake: Judged) -> Tensor:
    """Distance of D's features of generated and real frames: L1, each scale's layers weighted 4 / layers (C.2)."""
    terms = [
        (f - r.detach()).abs().mean() * (4 / len(reals[:-1]) / len(real))
        for reals, fakes in zip(real, fake, strict=True)
        for r, f in zip(reals[:-1], fakes[:-1], strict=True)
    ]
    return sum(terms[1:], terms[0])


def perceptual(real: list[Tensor], fake: list[Tensor]) -> Tensor:
    """VGG feature matching (C.2): L1 of the maps of five depths, weighted 1/32, 1/16, 1/8, 1/4 and 1."""
    weights = (1 / 32, 1 / 16, 1 / 8, 1 / 4, 1.0)
    terms = [w * (f - r.detach()).abs().mean() for w, r, f in zip(weights, real, fake, strict=True)]
    return sum(terms[1:], terms[0])


def flow_endpoint(flow: Tensor, truth: Tensor, confidence: Tensor) -> Tensor:
    """First term of eq. 8, L1 where the truth is trusted. Flows (N, 2, H, W) in pixels, confidence (N, 1, H, W)."""
    return (confidence * (flow - truth)).abs().mean()


def flow_warping(flow: Tensor, previous: Tensor, current: Tensor, confidence: Tensor) -> Tensor:
    """Second term of eq. 8: the flow must carry the real previous frame (N, 3, H, W) to the current one."""
    return (confidence * (warp(previous, flow) - current)).abs().mean()


def generated_warping(image: Tensor, previous: Tensor, truth: Tensor, confidence: Tensor) -> Tensor:
    """The true flow must carry the generated previous frame to the generated current one (C.2, absent from the paper).

    All (N, 3, H, W) but ``truth`` (N, 2, H, W) and ``confidence`` (N, 1, H, W). Only ``image`` receives a gradient.
    """
    return (confidence * (image - warp(previous.detach(), truth))).abs().mean()


def mask_pull(mask: Tensor, confidence: Tensor) -> Tensor:
    """Pull the mask towards "warp" where the true flow is reliable (C.2, absent from the paper). Both (N, 1, H, W)."""
    return (confidence * mask).abs().mean()

"""The terms of eq. 5 as pure functions; their weights stand in the recipe."""

from __future__ import annotations

from torch import Tensor

from vid2vid_hub.ops.warp import warp

Judged = list[list[Tensor]]
"""What a multi-scale discriminator says: per scale its feature maps, the verdict last."""


def gan_discriminator(real: Judged, fake: Judged) -> Tensor:
    """Eq. 6 for D as least squares: real patches towards 1, generated ones towards 0. Scalar; summed over scales."""
    terms = [((r[-1] - 1) ** 2).mean() + (f[-1] ** 2).mean() for r, f in zip(real, fake, strict=True)]
    return sum(terms[1:], terms[0]) / 2


def gan_generator(fake: Judged) -> Tensor:
    """Eq. 6 for the generator as least squares: generated patches towards 1. Scalar; summed over scales."""
    terms = [((f[-1] - 1) ** 2).mean() for f in fake]
    return sum(terms[1:], terms[0])


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

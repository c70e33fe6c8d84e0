"""How a frame is put together from the warped past and the hallucinated present: eqs. 4 and 9."""

from __future__ import annotations

from typing import Literal, NamedTuple

from torch import Tensor

Composition = Literal["paper", "released"]


class Composite(NamedTuple):
    """A finished frame and the hallucination in it, both (N, C, H, W)."""

    image: Tensor
    hallucinated: Tensor


def blend(warped: Tensor, hallucinated: Tensor, mask: Tensor) -> Tensor:
    """Eq. 4: (1 - m) · warped + m · hallucinated. Pictures (N, C, H, W), ``mask`` (N, 1, H, W) in [0, 1]."""
    return hallucinated * mask + warped * (1 - mask)


def compose(
    warped: Tensor | None,
    background: Tensor,
    mask: Tensor | None,
    foreground: Tensor | None = None,
    where: Tensor | None = None,
    composition: Composition = "paper",
) -> Composite:
    """Eq. 9, in the paper's order or in the released system's.

    Args:
        warped: (N, C, H, W), w̃(x), or None where nothing can be warped: then the frame is the hallucination.
        background: (N, C, H, W), h̃_B (or h̃ without the foreground prior).
        mask: (N, 1, H, W), m̃; None exactly where ``warped`` is.
        foreground: (N, C, H, W), h̃_F, or None without the prior.
        where: (N, 1, H, W), 1 - m_B: 1 on foreground objects.
        composition: "paper" blends the foreground into the hallucination, which the mask then mixes with the warped
            frame; "released" pastes it over the finished frame, so that foreground never comes from the past.
    """
    if foreground is None or where is None:
        hallucinated = background
        image = hallucinated if warped is None or mask is None else blend(warped, hallucinated, mask)
        return Composite(image, hallucinated)
    hallucinated = blend(background, foreground, where)
    if warped is None or mask is None:
        return Composite(hallucinated, hallucinated)
    if composition == "paper":
        return Composite(blend(warped, hallucinated, mask), hallucinated)
    return Composite(blend(blend(warped, background, mask), foreground, where), hallucinated)

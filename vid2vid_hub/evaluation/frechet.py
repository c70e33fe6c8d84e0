"""How far the windows of one set of videos are from those of another: Fréchet and kernel distance of their features."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from vid2vid_hub.nn.i3d import I3D

WINDOW = 16
"""Frames that the video network sees at once."""

STRIDE = 8
"""Frames from the start of one window to the start of the next."""


def window_starts(frames: int, length: int = WINDOW, stride: int = STRIDE) -> range:
    """Where the windows of a video of so many frames begin; frames behind the last whole window are in none."""
    return range(0, frames - length + 1, stride)


def windows(video: Tensor, length: int = WINDOW, stride: int = STRIDE) -> list[Tensor]:
    """Cut a video (T, 3, H, W) into windows (length, 3, H, W), which share its memory; none if it is shorter."""
    return [video[start : start + length] for start in window_starts(len(video), length, stride)]


@torch.inference_mode()
def window_features(network: I3D, found: Sequence[Tensor], batch: int = 4) -> Tensor:
    """What the video network makes of windows, a few at a time.

    Args:
        network: on the device that does the work.
        found: windows of equal shape, uint8 (T, 3, H, W): what a person sees, rounding included.
        batch: how many windows pass at once.

    Returns:
        float64 (n, 1024) on the CPU, in the order of the windows.
    """
    device = network.head.weight.device
    made = [torch.zeros(0, network.head.in_channels, dtype=torch.float64)]
    for start in range(0, len(found), batch):
        videos = torch.stack(list(found[start : start + batch])).to(device).float().div(127.5).sub(1)
        made.append(network.features(videos).double().cpu())
    return torch.cat(made)


def frechet_distance(a: Tensor, b: Tensor) -> float:
    """Squared Fréchet distance between the Gaussians that fit two sets of features (Heusel et al. 2017, eq. 6).

    |mean_a - mean_b|² + Tr(A + B - 2 (A B)^½), A and B being the unbiased covariances. It grows as the sets shrink: two
    draws from the *same* distribution are far apart with ten features each, and nearly as far with a hundred. So a
    value means little by itself, and only values measured with equally many features, against the same real ones,
    compare.

    Args:
        a: (n, d), n at least 2.
        b: (m, d), m at least 2.

    Raises:
        ValueError: a set is too small, not finite, or the two have different widths.
    """
    a, b = _checked(a, b)
    means = (a.mean(0) - b.mean(0)).square().sum()
    x, y = (features.sub(features.mean(0)) / (len(features) - 1) ** 0.5 for features in (a, b))
    return float(means + x.square().sum() + y.square().sum() - 2 * _root_trace(x, y))


def _root_trace(x: Tensor, y: Tensor) -> Tensor:
    """Tr (A B)^½ of A = XᵀX and B = YᵀY: the singular values of X Yᵀ, summed, since its square is similar to A B.

    No covariance is built and no root is taken, so nothing is lost where features are fewer than their dimensions.
    Where they are more, X = Q R and Y = Q' R' have the same singular values in R R'ᵀ, which is (d, d).
    """
    x, y = (torch.linalg.qr(part, mode="r").R if len(part) > part.shape[1] else part for part in (x, y))
    singular: Tensor = torch.linalg.svdvals(x @ y.T)
    return singular.sum()


def kernel_distance(a: Tensor, b: Tensor) -> float:
    """Unbiased squared maximum mean discrepancy with the kernel (x·y / d + 1)³ (Binkowski et al. 2018, eq. 4).

    Its expectation does not depend on the number of features; that of equal distributions is 0, so that it comes out
    slightly negative as often as slightly positive.

    Args:
        a: (n, d), n at least 2.
        b: (m, d), m at least 2.

    Raises:
        ValueError: a set is too small, not finite, or the two have different widths.
    """
    a, b = _checked(a, b)
    return float(_mean_of_others(a) + _mean_of_others(b) - 2 * _kernel(a, b).mean())


def _kernel(a: Tensor, b: Tensor) -> Tensor:
    return (a @ b.T / a.shape[1] + 1) ** 3


def _mean_of_others(a: Tensor) -> Tensor:
    kernel = _kernel(a, a)
    return (kernel.sum() - kernel.trace()) / (len(a) * (len(a) - 1))


def _checked(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[1] or min(len(a), len(b)) < 2:
        raise ValueError(
            f"features must be (n, d) and (m, d), n and m at least 2, not {tuple(a.shape)} and {tuple(b.shape)}"
        )
    if not (a.isfinite().all() and b.isfinite().all()):
        raise ValueError("features must be finite; these hold NaN or infinity")
    return a.double(), b.double()

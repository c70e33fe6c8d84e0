"""The distances of feature sets, against closed forms and what must not change them."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from vid2vid_hub.evaluation.frechet import (
    frechet_distance,
    kernel_distance,
    window_features,
    windows,
)
from vid2vid_hub.nn.i3d import I3D

seeds = st.integers(0, 2**31)
shapes = st.tuples(st.integers(2, 12), st.integers(2, 12), st.integers(1, 9))


def drawn(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def two_sets(seed: int, shape: tuple[int, int, int]) -> tuple[Tensor, Tensor]:
    n, m, d = shape
    return drawn(seed, n, d), 2 * drawn(seed + 1, m, d) + 1


def rotation(seed: int, d: int) -> Tensor:
    return torch.linalg.qr(drawn(seed, d, d))[0]


def gaussian(seed: int, n: int, mean: Tensor, deviations: Tensor, axes: Tensor) -> Tensor:
    """n features whose mean and covariance are exactly those of the Gaussian: axes diag(deviations²) axesᵀ."""
    whitened = torch.linalg.qr(drawn(seed, n, len(mean)).sub(drawn(seed, n, len(mean)).mean(0)))[0] * (n - 1) ** 0.5
    return whitened * deviations @ axes.T + mean


@given(seeds, st.integers(1, 6))
def test_gaussians_whose_covariances_commute_have_a_closed_form(seed: int, d: int):
    """Then the square root acts on the deviations along the common axes alone (Dowson and Landau 1982)."""
    means, deviations, axes = drawn(seed, 2, d), drawn(seed + 1, 2, d).abs(), rotation(seed + 2, d)
    a, b = (gaussian(seed + i, 20 + i, means[i], deviations[i], axes) for i in (0, 1))
    expected = (means[0] - means[1]).square().sum() + (deviations[0] - deviations[1]).square().sum()
    assert frechet_distance(a, b) == pytest.approx(expected.item(), rel=1e-9, abs=1e-9)


def test_with_fewer_features_than_dimensions_the_closed_form_holds_too():
    """Two sets along one common line in ten dimensions: |5 - 1|² of their means, (3 - 1)² of their deviations."""
    line = torch.zeros(10, dtype=torch.float64)
    line[3] = 1
    points = torch.tensor([-1.0, 0.0, 1.0], dtype=torch.float64)[:, None]
    assert frechet_distance(line * (points * 3 + 5), line * (points + 1)) == pytest.approx(16 + 4)


@given(seeds, shapes)
def test_the_root_of_the_covariances_is_the_symmetric_one(seed: int, shape: tuple[int, int, int]):
    """Tr (A^½ B A^½)^½ from eigenvalues, the slower way that meets no complex root either."""
    a, b = two_sets(seed, shape)
    covariances = [features.T.cov().reshape(shape[2], shape[2]) for features in (a, b)]
    values, vectors = torch.linalg.eigh(covariances[0])
    half = vectors * values.clamp_min(0).sqrt() @ vectors.T
    root = torch.linalg.eigvalsh(half @ covariances[1] @ half).clamp_min(0).sqrt().sum()
    traces = sum(covariance.trace() for covariance in covariances)
    expected = (a.mean(0) - b.mean(0)).square().sum() + traces - 2 * root
    # The root of an eigenvalue that should be 0 is that of its rounding error, so this way is exact to 1e-7 only.
    assert frechet_distance(a, b) == pytest.approx(expected.item(), rel=1e-6, abs=1e-5)


@given(seeds, shapes)
def test_a_set_is_no_distance_from_itself(seed: int, shape: tuple[int, int, int]):
    a, b = two_sets(seed, shape)
    assert abs(frechet_distance(a, a)) < 1e-12 * (1 + a.square().sum().item())
    assert abs(frechet_distance(a, b)) > 1e-6


@given(seeds, shapes)
def test_distances_are_symmetric(seed: int, shape: tuple[int, int, int]):
    a, b = two_sets(seed, shape)
    assert frechet_distance(a, b) == pytest.approx(frechet_distance(b, a), rel=1e-9, abs=1e-9)
    assert kernel_distance(a, b) == pytest.approx(kernel_distance(b, a), abs=1e-9)


@given(seeds, shapes, st.randoms(use_true_random=False))
def test_the_order_of_features_does_not_matter(seed: int, shape: tuple[int, int, int], chance):
    a, b = two_sets(seed, shape)
    shuffled = a[chance.sample(range(len(a)), len(a))]
    assert frechet_distance(shuffled, b) == pytest.approx(frechet_distance(a, b), rel=1e-9, abs=1e-9)
    assert kernel_distance(shuffled, b) == pytest.approx(kernel_distance(a, b), abs=1e-9)


@given(seeds, shapes)
def test_turning_both_sets_changes_no_distance_and_shifting_not_the_frechet_distance(
    seed: int, shape: tuple[int, int, int]
):
    a, b = two_sets(seed, shape)
    turn, shift = rotation(seed + 2, shape[2]), 10 * drawn(seed + 3, shape[2])
    turned = frechet_distance(a @ turn + shift, b @ turn + shift)
    assert turned == pytest.approx(frechet_distance(a, b), rel=1e-9, abs=1e-9)
    assert kernel_distance(a @ turn, b @ turn) == pytest.approx(kernel_distance(a, b), abs=1e-8)


def test_few_features_bias_the_frechet_distance_up_and_leave_the_kernel_distance_at_0():
    """Forty times two draws of the same eight-dimensional Gaussian, with few and with many features."""
    frechet, kernel = {}, {}
    for n in (4, 64):
        draws = [(drawn(2 * i, n, 8), drawn(2 * i + 1, n, 8)) for i in range(40)]
        frechet[n] = sum(frechet_distance(a, b) for a, b in draws) / 40
        distances = torch.tensor([kernel_distance(a, b) for a, b in draws])
        kernel[n] = distances.mean() / (distances.std() / 40**0.5)
    assert frechet[4] > 5 * frechet[64] > 0
    assert all(abs(z) < 3 for z in kernel.values()), kernel
    shifted = kernel_distance(drawn(0, 64, 8), drawn(1, 64, 8) + 1)
    assert shifted > 0.5


def test_the_kernel_distance_is_its_definition():
    a, b = two_sets(0, (4, 3, 5))

    def kernel(x: Tensor, y: Tensor) -> float:
        return (x.dot(y).item() / 5 + 1) ** 3

    within_a = sum(kernel(a[i], a[j]) for i in range(4) for j in range(4) if i != j) / 12
    within_b = sum(kernel(b[i], b[j]) for i in range(3) for j in range(3) if i != j) / 6
    across = sum(kernel(x, y) for x in a for y in b) / 12
    assert kernel_distance(a, b) == pytest.approx(within_a + within_b - 2 * across)


@pytest.mark.parametrize("distance", [frechet_distance, kernel_distance])
def test_features_are_compared_in_double_precision(distance):
    a, b = ((features + 1000).float() for features in two_sets(0, (30, 30, 6)))
    assert distance(a, b) == pytest.approx(distance(a.double(), b.double()), rel=1e-12)


@pytest.mark.parametrize("distance", [frechet_distance, kernel_distance])
@pytest.mark.parametrize(
    ("a", "b", "words"),
    [
        (torch.zeros(1, 3), torch.zeros(5, 3), r"at least 2, not \(1, 3\)"),
        (torch.zeros(5, 3), torch.zeros(5, 4), r"\(5, 3\) and \(5, 4\)"),
        (torch.zeros(5), torch.zeros(5), r"\(5,\)"),
        (torch.full((5, 3), float("nan")), torch.zeros(5, 3), "finite"),
    ],
)
def test_what_is_no_set_of_features_is_refused(distance, a: Tensor, b: Tensor, words: str):
    with pytest.raises(ValueError, match=words):
        distance(a, b)


@given(st.integers(0, 60), st.integers(1, 20), st.integers(1, 20))
def test_windows_start_every_stride_and_are_whole(frames: int, length: int, stride: int):
    video = torch.arange(frames)[:, None, None, None].expand(frames, 3, 2, 2)
    cut = windows(video, length, stride)
    assert [window[:, 0, 0, 0].tolist() for window in cut] == [
        list(range(start, start + length)) for start in range(0, frames, stride) if start + length <= frames
    ]


def test_by_default_windows_are_sixteen_frames_eight_apart():
    video = torch.arange(33)[:, None, None, None].expand(33, 3, 2, 2)
    assert [(int(w[0, 0, 0, 0]), int(w[-1, 0, 0, 0])) for w in windows(video)] == [(0, 15), (8, 23), (16, 31)]
    assert windows(video[:15]) == []


def test_features_of_windows_are_those_of_each_in_order_whatever_the_batch():
    torch.manual_seed(0)
    network = I3D(None)
    found = list(torch.randint(256, (3, 2, 3, 32, 48), dtype=torch.uint8))
    features = window_features(network, found, batch=2)
    assert (features.shape, features.dtype) == ((3, 1024), torch.float64)
    for row, window in zip(features, found, strict=True):
        alone = network.features(window[None].float() / 127.5 - 1)[0]
        torch.testing.assert_close(row, alone.double(), rtol=1e-4, atol=1e-5)
    assert window_features(network, []).shape == (0, 1024)

"""Every term of eq. 5 against a calculation by hand, and who receives a gradient from it."""

from __future__ import annotations

import math

import pytest
import torch

from vid2vid_hub import losses


def judged(*verdicts, features=()):
    """One scale for each verdict, all with the same feature maps."""
    return [[*features, torch.tensor([[[[float(v) for v in verdict]]]])] for verdict in verdicts]


def constant(value, channels=3, height=4, width=6):
    return torch.full((1, channels, height, width), float(value))


def test_discriminator_by_hand():
    real, fake = judged([1, 3], [0, 0]), judged([2, 0], [1, 1])
    # scale 0: mean(0, 4) + mean(4, 0) = 4; scale 1: mean(1, 1) + mean(1, 1) = 2; halved
    assert losses.gan_discriminator(real, fake).item() == 3


def test_generator_by_hand():
    # scale 0: mean((2 - 1)^2, (0 - 1)^2) = 1; scale 1: (3 - 1)^2 = 4
    assert losses.gan_generator(judged([2, 0], [3, 3])).item() == 5


def test_a_perfect_discriminator_and_a_perfect_generator_lose_nothing():
    assert losses.gan_discriminator(judged([1, 1], [1, 1]), judged([0, 0], [0, 0])).item() == 0
    assert losses.gan_generator(judged([1, 1], [1, 1])).item() == 0
    assert losses.gan_discriminator(judged([0, 0]), judged([1, 1])).item() == 1


def test_the_hinge_by_hand():
    real, fake = judged([0.5, 3], [-1, 1]), judged([-3, 0], [2, 0])
    # scale 0: mean(0.5, 0) + mean(0, 1) = 0.75; scale 1: mean(2, 0) + mean(3, 1) = 3; halved
    assert losses.gan_discriminator(real, fake, "hinge").item() == 1.875
    # scale 0: -mean(-3, 0) = 1.5; scale 1: -mean(2, 0) = -1
    assert losses.gan_generator(fake, "hinge").item() == 0.5


def test_the_hinge_stops_pushing_the_discriminator_and_never_the_generator():
    real, fake = leaf(1.5, 1), leaf(-1.5, 1)
    sure = losses.gan_discriminator([[real]], [[fake]], "hinge")
    assert sure.item() == 0
    assert gradients(sure, real, fake) == [False, False]
    assert gradients(losses.gan_generator([[fake]], "hinge"), fake) == [True]
    assert fake.grad.sum().item() == -1, "one unit over all patches, however sure the discriminator is"
    unsure = leaf(0.5, 1), leaf(-0.5, 1)
    assert gradients(losses.gan_discriminator([[unsure[0]]], [[unsure[1]]], "hinge"), *unsure) == [True, True]


def test_least_squares_are_what_nothing_else_is_said():
    real, fake = judged([0.5, 3]), judged([-3, 0])
    assert losses.gan_discriminator(real, fake) == losses.gan_discriminator(real, fake, "lsgan")
    assert losses.gan_generator(fake) == losses.gan_generator(fake, "lsgan")


def test_feature_matching_by_hand():
    real = judged([9], [9], features=[constant(0), constant(1)])
    fake = judged([5], [5], features=[constant(2), constant(4)])
    # |2 - 0| and |4 - 1|, each weighted 4 / 2 layers / 2 scales, over two scales; the verdict is no feature
    assert losses.feature_matching(real, fake).item() == pytest.approx((2 + 3) * (4 / 2 / 2) * 2)
    assert losses.feature_matching(real, real).item() == 0


def test_feature_matching_counts_pixels_once_whatever_the_size_of_the_maps():
    small, large = (
        [losses.feature_matching(*(judged([0], features=[constant(v, 2, side, side)]) for v in (0, 1)))]
        for side in (2, 16)
    )
    assert small == large == [torch.tensor(4.0)]


def test_perceptual_by_hand():
    real, fake = [constant(0)] * 5, [constant(v) for v in (32, 16, 8, 4, 1)]
    assert losses.perceptual(real, fake).item() == 5
    with pytest.raises(ValueError, match="zip"):
        losses.perceptual(real[:4], fake)


def test_flow_endpoint_by_hand():
    flow, truth = constant(3, 2), constant(1, 2)
    assert losses.flow_endpoint(flow, truth, constant(1, 1)).item() == 2
    half = constant(1, 1)
    half[..., :3] = 0
    assert losses.flow_endpoint(flow, truth, half).item() == 1, "the mean is over all pixels, trusted or not"
    assert losses.flow_endpoint(flow, truth, constant(0, 1)).item() == 0


def test_flow_warping_by_hand():
    previous = torch.arange(6.0).expand(1, 3, 4, 6)
    current = (torch.arange(6.0) + 1).clamp(max=5).expand(1, 3, 4, 6)
    right = torch.stack((torch.ones(1, 4, 6), torch.zeros(1, 4, 6)), 1)
    assert losses.flow_warping(right, previous, current, constant(1, 1)).item() == pytest.approx(0, abs=1e-6)
    standing = losses.flow_warping(right * 0, previous, current, constant(1, 1)).item()
    assert standing == pytest.approx(5 / 6), "five of six columns are wrong by one"
    assert losses.flow_warping(right * 0, previous, current, constant(0, 1)).item() == 0


def test_generated_warping_by_hand():
    image, previous, truth = constant(0.5), constant(0.25), constant(0, 2)
    assert losses.generated_warping(image, previous, truth, constant(1, 1)).item() == pytest.approx(0.25)
    assert losses.generated_warping(image, previous, truth, constant(0, 1)).item() == 0


def test_mask_pull_by_hand():
    trusted = constant(1, 1)
    trusted[..., :3] = 0
    assert losses.mask_pull(constant(0.5, 1), trusted).item() == pytest.approx(0.25)
    assert losses.mask_pull(constant(0, 1), trusted).item() == 0


def chances(*probabilities):
    """Frames of 2p - 1, the same at every pixel."""
    return torch.tensor(probabilities).view(1, -1, 1, 1).expand(1, len(probabilities), 4, 6) * 2 - 1


def test_cross_entropy_by_hand():
    """A hundredth of every distribution is doubt, shared out among the classes."""
    truth = chances(0.0, 1.0, 0.0, 0.0)
    said = losses.cross_entropy(chances(0.25, 0.5, 0.25, 0.0), truth).item()
    assert said == pytest.approx(-math.log(0.99 * 0.5 + 0.01 / 4))
    assert losses.cross_entropy(truth, truth).item() == pytest.approx(-math.log(0.9925))
    assert losses.cross_entropy(chances(1.0, 0.0, 0.0, 0.0), truth).item() == pytest.approx(-math.log(0.0025))
    assert losses.cross_entropy(truth * 1.01, truth).isfinite(), "as blends of bfloat16 are: a little beyond -1 and 1"


def test_cross_entropy_is_least_where_the_truth_is_told():
    said = torch.tensor([0.3, 0.3, 0.4]).requires_grad_()
    truth = torch.cat([chances(*row) for row in ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 1.0, 0.0))])
    frames = (said / said.sum()).view(1, 3, 1, 1).expand(3, 3, 4, 6) * 2 - 1
    losses.cross_entropy(frames, truth).backward()
    assert said.grad[1] < 0 < said.grad[2], "two of three times it was the second class, and never the third"


def gradients(loss, *tensors):
    loss.backward()
    return [tensor.grad is not None and bool((tensor.grad != 0).any()) for tensor in tensors]


def leaf(value, channels=3):
    return constant(value, channels).requires_grad_()


def test_feature_matching_gives_no_gradient_to_the_real_features():
    real, fake = leaf(0), leaf(1)
    loss = losses.feature_matching(judged([0], features=[real]), judged([0], features=[fake]))
    assert gradients(loss, real, fake) == [False, True]


def test_perceptual_gives_no_gradient_to_the_real_features():
    real, fake = leaf(0), leaf(1)
    assert gradients(losses.perceptual([real] * 5, [fake] * 5), real, fake) == [False, True]


def test_generated_warping_gives_no_gradient_to_the_previous_frame():
    image, previous = leaf(0.5), leaf(0.25)
    loss = losses.generated_warping(image, previous, constant(0, 2), constant(1, 1))
    assert gradients(loss, image, previous) == [True, False]


def test_flow_warping_teaches_the_flow():
    flow = leaf(0.25, 2)
    previous = torch.rand(1, 3, 4, 6, generator=torch.Generator().manual_seed(0))
    assert gradients(losses.flow_warping(flow, previous, constant(0), constant(1, 1)), flow) == [True]


def test_both_verdicts_teach_the_discriminator():
    real, fake = leaf(0, 1), leaf(0.5, 1)
    assert gradients(losses.gan_discriminator([[real]], [[fake]]), real, fake) == [True, True]


def test_scales_that_do_not_pair_are_refused():
    with pytest.raises(ValueError, match="zip"):
        losses.gan_discriminator(judged([1], [1]), judged([0]))
    with pytest.raises(ValueError, match="zip"):
        losses.feature_matching(judged([1], features=[constant(0)]), judged([0]))

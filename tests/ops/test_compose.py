"""Eqs. 4 and 9: what the masks choose, and where the paper's order and the released one part."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vid2vid_hub.ops.compose import blend, compose

ORDERS = ("paper", "released")
orders = st.sampled_from(ORDERS)
seeds = st.integers(0, 2**16)


def pictures(seed, count=3):
    random = torch.Generator().manual_seed(seed)
    return [torch.rand(2, 3, 4, 5, generator=random) * 2 - 1 for _ in range(count)]


def masks(seed, count=2):
    random = torch.Generator().manual_seed(seed + 1)
    return [torch.rand(2, 1, 4, 5, generator=random) for _ in range(count)]


@given(seeds, orders)
def test_mask_0_is_the_warp_and_mask_1_the_hallucination(seed, order):
    warped, background, _ = pictures(seed)
    nothing = torch.zeros(2, 1, 4, 5)
    assert torch.equal(compose(warped, background, nothing, composition=order).image, warped)
    assert torch.equal(compose(warped, background, nothing + 1, composition=order).image, background)


@given(seeds)
def test_blend_is_equation_4(seed):
    warped, hallucinated, _ = pictures(seed)
    mask, _ = masks(seed)
    torch.testing.assert_close(blend(warped, hallucinated, mask), (1 - mask) * warped + mask * hallucinated)


@given(seeds, orders)
def test_equation_9_with_no_foreground_is_equation_4(seed, order):
    warped, background, foreground = pictures(seed)
    mask, _ = masks(seed)
    nowhere = torch.zeros_like(mask)
    made = compose(warped, background, mask, foreground, nowhere, order)
    plain = compose(warped, background, mask, composition=order)
    assert torch.equal(made.image, plain.image)
    assert torch.equal(made.hallucinated, background)


@given(seeds, orders)
def test_the_hallucination_holds_the_foreground(seed, order):
    warped, background, foreground = pictures(seed)
    mask, where = masks(seed)
    made = compose(warped, background, mask, foreground, where, order)
    torch.testing.assert_close(made.hallucinated, where * foreground + (1 - where) * background)


@given(seeds)
def test_the_orders_part_exactly_where_the_foreground_is_and_the_mask_keeps_the_past(seed):
    warped, background, foreground = pictures(seed)
    mask, where = (m.round() for m in masks(seed))
    paper, released = (compose(warped, background, mask, foreground, where, order).image for order in ORDERS)
    differ = (paper != released).any(1, keepdim=True)
    assert torch.equal(differ, (where == 1) & (mask == 0))
    assert torch.equal(paper[differ.expand_as(paper)], warped[differ.expand_as(warped)])
    assert torch.equal(released[differ.expand_as(paper)], foreground[differ.expand_as(warped)])


@given(seeds)
def test_between_0_and_1_they_differ_by_the_kept_past_of_the_foreground(seed):
    warped, background, foreground = pictures(seed)
    mask, where = masks(seed)
    paper, released = (compose(warped, background, mask, foreground, where, order).image for order in ORDERS)
    torch.testing.assert_close(released - paper, (1 - mask) * where * (foreground - warped), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("order", ORDERS)
def test_without_a_warp_everything_is_hallucinated(order):
    _, background, foreground = pictures(3)
    _, where = masks(3)
    made = compose(None, background, None, foreground, where, order)
    assert torch.equal(made.image, made.hallucinated)
    assert torch.equal(made.image, blend(background, foreground, where))
    assert torch.equal(compose(None, background, None, composition=order).image, background)

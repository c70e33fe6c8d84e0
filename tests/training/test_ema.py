"""The averaged weights, against their formula."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from vid2vid_hub.training.ema import EMA


def weights(module: nn.Module) -> list[float]:
    return [value for p in module.parameters() for value in p.detach().flatten().tolist()]


def drift(module: nn.Module) -> None:
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(1.0)


def test_the_average_follows_its_formula():
    module = nn.Linear(1, 1)
    nn.init.zeros_(module.weight)
    nn.init.constant_(module.bias, 5.0)
    ema, expected = EMA(module, 0.25), [0.0, 5.0]
    for n in range(1, 6):
        drift(module)
        ema.update(module)
        decay = min(0.25, (1 + n) / (10 + n))
        expected = [decay * old + (1 - decay) * new for old, new in zip(expected, weights(module), strict=True)]
        assert [float(t) for t in ema.average.values()] == pytest.approx(expected)


def test_the_first_steps_forget_the_random_start():
    module = nn.Linear(1, 1)
    ema = EMA(module, 0.999)
    start = weights(module)
    drift(module)
    ema.update(module)
    assert [float(t) for t in ema.average.values()] == pytest.approx([s + 1 - 2 / 11 for s in start])


def test_no_decay_is_no_average():
    module = nn.Conv2d(2, 3, 3)
    ema = EMA(module, 0.0)
    drift(module)
    ema.update(module)
    assert all(torch.equal(ema.average[name], p) for name, p in module.named_parameters())


def test_the_average_is_a_copy_and_goes_where_it_is_sent():
    module, other = nn.Linear(2, 2), nn.Linear(2, 2)
    ema, before = EMA(module, 0.9), weights(module)
    drift(module)
    ema.copy_to(other)
    assert weights(other) == before != weights(module)
    drift(other)
    assert [v for t in ema.average.values() for v in t.flatten().tolist()] == before


def test_frozen_parameters_are_averaged_too():
    module = nn.Linear(2, 2).requires_grad_(False)
    assert set(EMA(module, 0.9).average) == {"weight", "bias"}


def test_after_a_restart_the_past_is_forgotten_as_quickly_as_at_the_beginning():
    module = nn.Linear(1, 1)
    ema = EMA(module, 0.999)
    for _ in range(200):
        ema.update(module)
    before = weights(module)
    ema.restart()
    assert [float(t) for t in ema.average.values()] == pytest.approx(before), "the average itself stays"
    drift(module)
    ema.update(module)
    assert [float(t) for t in ema.average.values()] == pytest.approx([b + 1 - 2 / 11 for b in before])

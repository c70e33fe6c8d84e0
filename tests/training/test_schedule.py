"""What every epoch trains, against a table that was written by hand."""

from __future__ import annotations

import pytest

from vid2vid_hub.training.recipe import Recipe, parse_recipe
from vid2vid_hub.training.schedule import Stage, changes_to_the_past, schedule, total_epochs

VALUES = {
    "task": "toy",
    "stages": [
        {"epochs": 2, "width": 48, "height": 32, "frames": 4, "unroll": 2, "batch": 3},
        {"epochs": 1, "width": 96, "height": 64},
        {"epochs": 3, "width": 96, "height": 64, "frames": 12, "unroll": 4},
    ],
    "optimizer": {"rate": 0.8, "decay": 3},
}

# epoch: stage, (height, width), frames, unroll, batch, rate
TABLE = [
    (0, (32, 48), 4, 2, 3, 0.8),
    (0, (32, 48), 4, 2, 3, 0.8),
    (1, (64, 96), 6, 3, 1, 0.8),
    (2, (64, 96), 12, 4, 1, 0.6),
    (2, (64, 96), 12, 4, 1, 0.4),
    (2, (64, 96), 12, 4, 1, 0.2),
]


def recipe(**changes: object) -> Recipe:
    return parse_recipe(VALUES | changes)


def test_the_written_out_table():
    stages = [schedule(recipe(), epoch) for epoch in range(6)]
    assert total_epochs(recipe()) == 6
    for stage, (*row, rate) in zip(stages, TABLE, strict=True):
        assert [stage.index, stage.size, stage.frames, stage.unroll, stage.batch] == row
        assert stage.rate == pytest.approx(rate)


def test_it_is_pure():
    one = recipe()
    assert [schedule(one, 3), schedule(one, 0), schedule(one, 3)] == [schedule(recipe(), e) for e in (3, 0, 3)]
    assert isinstance(schedule(one, 0), Stage)


def test_without_decay_the_rate_stays():
    steady = recipe(optimizer={"rate": 0.8, "decay": 0})
    assert {schedule(steady, epoch).rate for epoch in range(6)} == {0.8}


def test_a_decay_as_long_as_the_training_falls_from_the_start():
    falling = recipe(optimizer={"rate": 0.7, "decay": 6})
    assert [schedule(falling, e).rate for e in range(6)] == pytest.approx([0.6, 0.5, 0.4, 0.3, 0.2, 0.1])


@pytest.mark.parametrize("epoch", [-1, 6])
def test_an_epoch_outside_is_an_error(epoch: int):
    with pytest.raises(IndexError, match=f"epoch {epoch} is not in a recipe of 6 epochs"):
        schedule(recipe(), epoch)


def test_epochs_to_come_may_be_rewritten_and_past_ones_not():
    longer = recipe(stages=[*VALUES["stages"], {"epochs": 5, "width": 96, "height": 64}])
    assert changes_to_the_past(recipe(), longer, 1) == []
    assert changes_to_the_past(recipe(), longer, 3) == ["stages"], "epoch 3 had a falling rate, and has it no more"
    assert changes_to_the_past(recipe(), recipe(stages=VALUES["stages"][:1]), 0) == ["stages"]
    assert changes_to_the_past(recipe(), recipe(optimizer={"rate": 0.8, "decay": 1}), 2) == []
    assert changes_to_the_past(recipe(), recipe(optimizer={"rate": 0.7, "decay": 3}), 0) == ["optimizer"]
    assert changes_to_the_past(recipe(), recipe(seed=1, flip=0.0), 0) == ["flip", "seed"]
    assert changes_to_the_past(recipe(), recipe(), 5) == []

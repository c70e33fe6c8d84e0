"""What every epoch trains, against tables that were written by hand."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vid2vid_hub.training.parse import load_recipe, own_recipe, parse_recipe
from vid2vid_hub.training.recipe import Recipe
from vid2vid_hub.training.schedule import Stage, changes_to_the_past, schedule, total_epochs

PIPELINES = Path(__file__).parents[2] / "pipelines"

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
        assert stage.rate == stage.discriminator_rate == pytest.approx(rate)
        assert (stage.scales, stage.frozen) == (None, 0)


# epoch by epoch: (width, height), scales, frozen, frames, unroll, both rates in units of 2e-4
FIRST_SCALE = [
    ((512, 256), None, 0, 6, 2, 1),
    ((512, 256), None, 0, 6, 2, 1),
    ((512, 256), None, 0, 6, 2, 1),
    ((512, 256), None, 0, 6, 2, 1),
    ((512, 256), None, 0, 6, 2, 1),
    ((512, 256), None, 0, 12, 4, 1),
    ((512, 256), None, 0, 12, 4, 1),
    ((512, 256), None, 0, 12, 4, 1),
    ((512, 256), None, 0, 12, 4, 1),
    ((512, 256), None, 0, 12, 4, 1),
    ((512, 256), None, 0, 24, 8, 10 / 11),
    ((512, 256), None, 0, 24, 8, 9 / 11),
    ((512, 256), None, 0, 24, 8, 8 / 11),
    ((512, 256), None, 0, 24, 8, 7 / 11),
    ((512, 256), None, 0, 24, 8, 6 / 11),
    ((512, 256), None, 0, 30, 8, 5 / 11),
    ((512, 256), None, 0, 30, 8, 4 / 11),
    ((512, 256), None, 0, 30, 8, 3 / 11),
    ((512, 256), None, 0, 30, 8, 2 / 11),
    ((512, 256), None, 0, 30, 8, 1 / 11),
]
SECOND_SCALE = [
    ((1024, 512), 2, 1, 4, 2, 1),
    ((1024, 512), 2, 1, 4, 2, 1),
    ((1024, 512), 2, 1, 8, 2, 1),
    ((1024, 512), 2, 1, 8, 2, 1),
    ((1024, 512), 2, 1, 16, 2, 1),
    ((1024, 512), 2, 0, 16, 2, 5 / 6),
    ((1024, 512), 2, 0, 16, 2, 4 / 6),
    ((1024, 512), 2, 0, 30, 2, 3 / 6),
    ((1024, 512), 2, 0, 30, 2, 2 / 6),
    ((1024, 512), 2, 0, 30, 2, 1 / 6),
]
THIRD_SCALE = [
    ((2048, 1024), 3, 2, 4, 4, 1),
    ((2048, 1024), 3, 2, 8, 4, 1),
    ((2048, 1024), 3, 2, 16, 4, 1),
    ((2048, 1024), 3, 2, 30, 4, 1),
    ((2048, 1024), 3, 2, 30, 4, 1),
    ((2048, 1024), 3, 0, 30, 4, 5 / 6),
    ((2048, 1024), 3, 0, 30, 4, 4 / 6),
    ((2048, 1024), 3, 0, 30, 4, 3 / 6),
    ((2048, 1024), 3, 0, 30, 4, 2 / 6),
    ((2048, 1024), 3, 0, 30, 4, 1 / 6),
]
PUBLISHED = {
    "the task's own": (own_recipe("seg2street"), FIRST_SCALE),
    "street-512": (PIPELINES / "street-512", FIRST_SCALE),
    "street-1024": (PIPELINES / "street-1024", SECOND_SCALE),
    "street-2048": (PIPELINES / "street-2048", THIRD_SCALE),
}


@pytest.mark.parametrize(("path", "table"), PUBLISHED.values(), ids=PUBLISHED)
def test_a_published_recipe_is_its_table(path: Path, table: list[tuple]):
    published = load_recipe(path)
    stages = [schedule(published, epoch) for epoch in range(total_epochs(published))]
    for epoch, (stage, (size, *row, rate)) in enumerate(zip(stages, table, strict=True)):
        assert (stage.size[1], stage.size[0]) == size, f"epoch {epoch}"
        assert [stage.scales, stage.frozen, stage.frames, stage.unroll] == row, f"epoch {epoch}"
        assert stage.rate == stage.discriminator_rate == pytest.approx(rate * 2e-4), f"epoch {epoch}"
        assert stage.batch == 1


def test_the_three_scales_are_the_papers_forty_epochs():
    published = [load_recipe(PIPELINES / name) for name in ("street-512", "street-1024", "street-2048")]
    assert sum(total_epochs(one) for one in published) == 40


def one_stage(**values: object) -> Recipe:
    return recipe(stages=[{"epochs": 6, "width": 48, "height": 32} | values])


def frames_and_unroll(one: Recipe) -> list[tuple[int, int]]:
    return [(stage.frames, stage.unroll) for stage in (schedule(one, epoch) for epoch in range(total_epochs(one)))]


def test_length_and_chunks_double_until_their_caps_and_keep_without():
    growing = {"frames": 3, "unroll": 2, "double_every": 1}
    by_itself = [(3, 2), (6, 2), (12, 2), (24, 2), (48, 2), (96, 2)]
    assert frames_and_unroll(one_stage(**growing)) == by_itself, "chunks grow only where they are let"
    capped = one_stage(**growing, max_frames=20, max_unroll=7)
    assert frames_and_unroll(capped) == [(3, 2), (6, 4), (12, 7), (20, 7), (20, 7), (20, 7)]
    slowly = one_stage(**growing | {"double_every": 4}, max_unroll=9)
    assert frames_and_unroll(slowly) == [(3, 2)] * 4 + [(6, 4)] * 2


def test_doubling_begins_anew_with_every_stage():
    stage = {"epochs": 3, "width": 48, "height": 32, "frames": 4, "unroll": 1, "double_every": 2}
    assert frames_and_unroll(recipe(stages=[stage, stage])) == [(4, 1), (4, 1), (8, 1)] * 2


@given(frames=st.integers(1, 40), unroll=st.integers(1, 40), cap=st.integers(1, 60), every=st.integers(1, 3))
def test_no_cap_takes_a_stage_below_its_start(frames: int, unroll: int, cap: int, every: int):
    grown = one_stage(frames=frames, unroll=unroll, double_every=every, max_frames=cap, max_unroll=cap)
    for length, chunk in frames_and_unroll(grown):
        assert frames <= length <= max(frames, cap)
        assert unroll <= chunk <= max(unroll, cap)


def test_the_discriminators_may_have_a_rate_of_their_own():
    two = recipe(optimizer={"rate": 0.8, "discriminator_rate": 0.4, "decay": 3})
    rates = [(schedule(two, e).rate, schedule(two, e).discriminator_rate) for e in range(6)]
    shares = [1, 1, 1, 3 / 4, 2 / 4, 1 / 4]
    assert rates == [(pytest.approx(0.8 * share), pytest.approx(0.4 * share)) for share in shares]


def test_what_learns_is_scales_and_frozen():
    coarse, fine = {"epochs": 1, "width": 48, "height": 32, "scales": 1}, {"epochs": 1, "width": 96, "height": 64}
    grown = recipe(stages=[coarse, coarse, fine | {"scales": 2, "frozen": 1}, fine | {"scales": 2}, fine])
    assert [schedule(grown, e).learning for e in range(5)] == [(1, 0), (1, 0), (2, 1), (2, 0), (None, 0)]


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


def test_what_decides_nothing_may_be_rewritten_always():
    elsewhere = recipe(
        watch={"samples": 5}, checkpoint_minutes=1, checkpointing=True, perceptual_weights="there", start="there"
    )
    assert changes_to_the_past(recipe(), elsewhere, 5) == []
    other_teacher = recipe(watch={"samples": 5}, teacher={"name": "raft"})
    assert changes_to_the_past(recipe(), other_teacher, 0) == ["teacher"]

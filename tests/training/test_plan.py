"""What --dry-run says before a training: the recipe as it is resolved, the stages, the networks and their memory."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from vid2vid_hub.training.memory import GIB, estimate
from vid2vid_hub.training.parse import load_recipe, parse_recipe, plain, save_recipe
from vid2vid_hub.training.plan import plan
from vid2vid_hub.training.schedule import schedule

STAGES = [
    {"epochs": 3, "width": 48, "height": 32, "scales": 1, "frames": 4, "double_every": 2, "unroll": 2},
    {"epochs": 2, "width": 96, "height": 64, "frozen": 1, "frames": 6, "unroll": 2, "batch": 3},
]


@pytest.fixture
def values(tiny_recipe: dict[str, Any]) -> dict[str, Any]:
    generator = tiny_recipe["generator"] | {"scales": 2}
    return tiny_recipe | {"stages": STAGES, "generator": generator, "optimizer": {"rate": 0.001, "decay": 1}}


def test_the_plan_has_the_recipe_a_line_a_stage_and_the_largest_estimate(values: dict[str, Any]):
    recipe = parse_recipe(values)
    resolved, header, *lines, largest = plan(recipe)
    assert parse_recipe(yaml.safe_load(resolved)) == recipe
    assert header.split() == ["epochs", "size", "scales", "frozen", "frames", "unroll", "batch", "rate", "memory"]
    cells = [re.split(r"\s{2,}", line) for line in lines]
    assert [row[:-2] for row in cells] == [
        ["1 to 2", "48x32", "1", "0", "4", "2", "1"],
        ["3", "48x32", "1", "0", "8", "2", "1"],
        ["4 to 5", "96x64", "all", "1", "6", "2", "3"],
    ]
    assert [row[-2] for row in cells] == ["0.001", "0.001", "0.001 to 0.0005"]
    totals = [estimate(recipe, schedule(recipe, epoch)).total for epoch in (0, 2, 4)]
    assert [row[-1] for row in cells] == [f"{total / GIB:.2f} GiB" for total in totals]
    assert totals[0] < totals[1] < totals[2]
    assert f"{totals[2] / GIB:8.2f} GiB" in largest
    assert re.search(r"Parameters: generator [\d.]+ M, image [\d.]+ M, video_x1", largest)


def test_the_command_needs_neither_data_nor_a_folder(values: dict[str, Any], tmp_path: Path):
    from typer.testing import CliRunner

    from vid2vid_hub.cli import app

    save_recipe(parse_recipe(values), tmp_path / "recipe.yaml")
    said = CliRunner().invoke(app, ["train", "--recipe", str(tmp_path), "--dry-run", "--set", "seed=7"])
    assert said.exit_code == 0, said.output
    assert "\nseed: 7\n" in said.output
    assert "4 to 5" in said.output
    assert [path.name for path in tmp_path.iterdir()] == ["recipe.yaml"]
    assert plain(load_recipe(tmp_path))["seed"] == 0

"""The zoo: what is listed of whole and of broken pipeline folders, and the pages that show the table."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from vid2vid_hub import Vid2VidPipeline
from vid2vid_hub.cli.app import app
from vid2vid_hub.errors import ModelError
from vid2vid_hub.hub.measures import Measurement, save_measures, weights_digest
from vid2vid_hub.training.parse import parse_recipe, save_recipe
from vid2vid_hub.zoo import rewritten, zoo

ROOT = Path(__file__).parents[1]
PAGES = ("README.md", "docs/zoo.md")


def call(*words: str | Path) -> Result:
    return CliRunner().invoke(app, ["zoo", *map(str, words)])


def test_every_folder_under_pipelines_is_in_the_zoo_and_sound():
    root = ROOT / "pipelines"
    entries = {entry.folder: entry for entry in zoo(root)}
    assert [entry.problem for entry in entries.values()] == [None] * len(entries)
    for folder in (path for path in root.rglob("*") if path.is_dir()):
        related = {one for one in entries if one.is_relative_to(folder) or folder.is_relative_to(one)}
        assert related, f"{folder} has no recipe and no pipeline"


def test_what_is_said_of_a_pipeline_is_what_is_loaded(toy_model: Path):
    pipeline = Vid2VidPipeline.from_pretrained(toy_model)
    (entry,) = zoo(toy_model)
    assert (entry.name, entry.task, entry.size) == (toy_model.name, pipeline.task.name, pipeline.size)
    assert entry.parameters == sum(one.numel() for one in pipeline.generator.parameters())
    assert entry.weights == (toy_model / "generator/diffusion_pytorch_model.safetensors").stat().st_size


def test_all_networks_count_and_a_variant_counts_once(toy_model: Path, tmp_path: Path):
    folder = tmp_path / "model"
    shutil.copytree(toy_model, folder)
    (before,) = zoo(folder)
    pipeline = Vid2VidPipeline.from_pretrained(folder)
    pipeline.generator.half().save_pretrained(folder / "generator", variant="fp16")
    (after,) = zoo(folder)
    assert after.parameters == before.parameters
    assert after.weights > before.weights
    (folder / "generator/diffusion_pytorch_model.safetensors").unlink()
    (half,) = zoo(folder)
    assert (half.parameters, half.weights) == (before.parameters, after.weights - before.weights)


def test_shards_are_counted_together(toy_model: Path, tmp_path: Path):
    folder = tmp_path / "model"
    shutil.copytree(toy_model, folder)
    pipeline = Vid2VidPipeline.from_pretrained(folder)
    shutil.rmtree(folder / "generator")
    pipeline.generator.save_pretrained(folder / "generator", max_shard_size="20KB")
    assert len(list(folder.glob("generator/*.safetensors"))) > 1
    assert zoo(folder)[0].parameters == zoo(toy_model)[0].parameters


def test_a_run_is_listed_once_with_or_without_its_pipeline(toy_model: Path, tiny_recipe, tmp_path: Path):
    run = tmp_path / "runs/toy"
    run.mkdir(parents=True)
    save_recipe(parse_recipe(tiny_recipe), run / "recipe.yaml")
    (recipe,) = zoo(tmp_path / "runs")
    assert (recipe.name, recipe.size, recipe.weights, recipe.problem) == ("toy", (32, 48), 0, None)
    shutil.copytree(toy_model, run / "pipeline")
    (trained,) = zoo(tmp_path / "runs")
    assert trained.name == "toy/pipeline"
    assert trained.parameters == recipe.parameters


def no_json(folder: Path) -> None:
    (folder / "model_index.json").write_text("{")


def a_list(folder: Path) -> None:
    (folder / "model_index.json").write_text("[]")


def deep(folder: Path) -> None:
    (folder / "model_index.json").write_text("[" * 100_000)


def no_index(folder: Path) -> None:
    (folder / "model_index.json").unlink()


def no_task(folder: Path) -> None:
    change_index(folder, task=None)


def foreign_task(folder: Path) -> None:
    change_index(folder, task="depth2scene")


def no_config(folder: Path) -> None:
    (folder / "generator/config.json").unlink()


def no_weights(folder: Path) -> None:
    (folder / "generator/diffusion_pytorch_model.safetensors").unlink()


def half_weights(folder: Path) -> None:
    path = folder / "generator/diffusion_pytorch_model.safetensors"
    path.write_bytes(path.read_bytes()[:-1])


def text_for_weights(folder: Path) -> None:
    (folder / "generator/diffusion_pytorch_model.safetensors").write_text(
        "version https://git-lfs.github.com/spec/v1\n"
    )


def wrong_recipe(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.mkdir()
    (folder / "recipe.yaml").write_text("task: toy\nstagse: []\n")


def no_yaml(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.mkdir()
    (folder / "recipe.yaml").write_text("{task: [")


def change_index(folder: Path, **values: object) -> None:
    path = folder / "model_index.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


@pytest.mark.parametrize(
    ("harm", "reason"),
    [
        (no_json, "model_index.json is not JSON"),
        (a_list, "list"),
        (deep, "nested deeper"),
        (no_index, "no model_index.json"),
        (no_task, "names no task"),
        (foreign_task, "depth2scene is not installed"),
        (no_config, "generator/config.json is missing"),
        (no_weights, "generator/ holds no safetensors"),
        (half_weights, "cut short"),
        (text_for_weights, "no safetensors"),
        (wrong_recipe, "'stagse'"),
        (no_yaml, "not YAML"),
    ],
)
def test_a_broken_folder_is_one_line_beside_those_that_are_whole(
    harm: Callable[[Path], None], reason: str, toy_model: Path, tmp_path: Path
):
    for name in ("broken", "whole"):
        shutil.copytree(toy_model, tmp_path / name)
    harm(tmp_path / "broken")
    said = call(tmp_path)
    assert said.exit_code == 3
    (line,) = [line for line in said.output.splitlines() if line.startswith(f"{tmp_path}/broken ")]
    assert line.startswith(f"{tmp_path}/broken cannot be used: ")
    assert reason in line
    assert [line.split()[0] for line in said.output.splitlines() if " toy " in line] == ["whole"]


@pytest.mark.parametrize("made", [True, False])
def test_a_folder_without_pipelines_is_an_error(made: bool, tmp_path: Path):
    root = tmp_path / "empty"
    if made:
        (root / "notes").mkdir(parents=True)
    with pytest.raises(ModelError, match="holds no pipeline" if made else "there is no folder"):
        zoo(root)


def test_measures_are_shown_while_the_weights_are_those_that_were_measured(toy_model: Path, tmp_path: Path):
    folder = tmp_path / "model"
    shutil.copytree(toy_model, folder)
    systems = {"generated": {"psnr": 17.25, "windows": 9.0}, "first frame held": {"psnr": 12.0}}
    facts = {"kind": "frames", "task": "toy", "data": "drawn", "split": "val", "clips": 2, "frames": 40}
    how = {
        "width": 48,
        "height": 32,
        "first_frames": "zeros",
        "every": None,
        "precision": "float32",
        "version": "0.1.0",
    }
    words = {"meaning": {"psnr": "in dB"}, "better": {"psnr": "higher"}}
    save_measures(folder, Measurement(**facts, **how, **words, systems=systems, weights=weights_digest(folder)))
    (measured,) = zoo(folder)
    assert (measured.problem, measured.measures) == (None, {"psnr": 17.25})
    assert "psnr 17.25" in call(folder).output
    pipeline = Vid2VidPipeline.from_pretrained(folder)
    next(pipeline.generator.parameters()).data.add_(1)
    pipeline.generator.save_pretrained(folder / "generator")
    assert zoo(folder)[0].measures == {}


def test_a_link_is_not_followed(toy_model: Path, tmp_path: Path):
    shutil.copytree(toy_model, tmp_path / "one")
    (tmp_path / "again").symlink_to(tmp_path)
    assert [entry.name for entry in zoo(tmp_path)] == ["one"]


def test_the_list_is_there_for_programs(toy_model: Path, tmp_path: Path):
    said = call(toy_model, "--json", tmp_path / "zoo.json")
    assert said.exit_code == 0
    (entry,) = json.loads((tmp_path / "zoo.json").read_text())["pipelines"]
    assert (entry["task"], entry["size"], entry["problem"]) == ("toy", {"height": 32, "width": 48}, None)


def test_pipelines_with_weights_are_listed_without_pytorch(toy_model: Path):
    program = (
        "import sys; from pathlib import Path; from vid2vid_hub.zoo import zoo;"
        f"print(zoo(Path({str(toy_model)!r}))[0].task, 'torch' in sys.modules)"
    )
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert said.split() == ["toy", "False"]


@pytest.mark.parametrize("page", PAGES)
def test_the_table_of_a_page_is_that_of_the_zoo(page: str):
    """``make zoo`` writes it."""
    assert (ROOT / page).read_text(encoding="utf-8") == rewritten(ROOT / page)

"""Measures are of certain weights, whatever files those lie in; they come from ``evaluate --save`` and nowhere else."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.hub.test_card import measured
from vid2vid_hub import Vid2VidPipeline
from vid2vid_hub.cli import main
from vid2vid_hub.errors import ModelError
from vid2vid_hub.hub.card import card
from vid2vid_hub.hub.half import write_half
from vid2vid_hub.hub.measures import read_measures, save_measures, weights_digest

WEIGHTS = "generator/diffusion_pytorch_model.safetensors"


@pytest.fixture
def folder(toy_model: Path, tmp_path: Path) -> Path:
    return shutil.copytree(toy_model, tmp_path / "model")


def change(path: Path) -> None:
    """Another value in one place of one weight."""
    tensors = load_file(path)
    next(iter(tensors.values())).view(-1)[0] += 1
    save_file(tensors, path, metadata={"format": "pt"})


def test_one_value_makes_another_digest(folder: Path):
    before = weights_digest(folder)
    change(folder / WEIGHTS)
    assert weights_digest(folder) != before


def test_shards_and_a_variant_are_the_same_weights(folder: Path, tmp_path: Path):
    before = weights_digest(folder)
    write_half(folder, folder)
    assert weights_digest(folder) == before
    shards = tmp_path / "shards"
    Vid2VidPipeline.from_pretrained(folder).save_pretrained(shards, max_shard_size="60KB")
    assert len(list((shards / "generator").glob("*.safetensors"))) > 1
    assert weights_digest(shards) == before


def test_half_precision_widened_measures_the_same(folder: Path, tmp_path: Path):
    """A starter is stored in half precision and saved again in single: its measures stay its own."""
    tensors = {key: tensor.half() for key, tensor in load_file(folder / WEIGHTS).items()}
    save_file(tensors, folder / WEIGHTS, metadata={"format": "pt"})
    save_measures(folder, measured(folder))
    Vid2VidPipeline.from_pretrained(folder).save_pretrained(tmp_path / "saved")
    assert load_file(tmp_path / "saved" / WEIGHTS).popitem()[1].dtype == torch.float32
    assert read_measures(tmp_path / "saved") == read_measures(folder) != []


def test_what_is_measured_again_takes_its_place(folder: Path):
    first, again = measured(folder), measured(folder, systems={"generated": {"psnr": 2.0}}, version="0.2.0")
    other = measured(folder, split="train")
    for one in (first, other, again):
        save_measures(folder, one)
    assert read_measures(folder) == [again, other]
    change(folder / WEIGHTS)
    assert read_measures(folder) == []
    save_measures(folder, new := measured(folder))
    assert read_measures(folder, current=False) == [new], "what other weights measured is gone"


def test_companions_go_where_the_pipeline_goes(folder: Path, tmp_path: Path):
    save_measures(folder, measured(folder))
    for name in ("recipe.yaml", "about.yaml", "training.json", "preview.mp4", "sample.mkv", "README.md", "notes.txt"):
        (folder / name).write_text("{}")
    pipe = Vid2VidPipeline.from_pretrained(folder)
    assert pipe.sample == folder / "sample.mkv"
    pipe.save_pretrained(tmp_path / "same")
    beside = {"config.json", "model_index.json", "recipe.yaml", "about.yaml", "training.json", "sample.mkv"}
    names = {path.name for path in (tmp_path / "same").iterdir() if path.is_file()}
    assert names == beside | {"preview.mp4", "measures.json"}
    with torch.no_grad():
        next(pipe.generator.parameters()).add_(1)
    pipe.save_pretrained(tmp_path / "other")
    assert {path.name for path in (tmp_path / "other").iterdir() if path.is_file()} == beside
    pipe.save_pretrained(folder)
    assert (folder / "notes.txt").exists()
    assert read_measures(folder) == []


def test_a_variant_is_saved_and_loaded_by_its_name(folder: Path, tmp_path: Path):
    pipe = Vid2VidPipeline.from_pretrained(folder).to(torch.float16)
    pipe.save_pretrained(tmp_path / "half", variant="fp16")
    (file,) = (tmp_path / "half").rglob("*.safetensors")
    assert file.name == "diffusion_pytorch_model.fp16.safetensors"
    loaded = Vid2VidPipeline.from_pretrained(tmp_path / "half", variant="fp16", dtype=torch.float16)
    ours, theirs = pipe.generator.state_dict(), loaded.generator.state_dict()
    assert all(torch.equal(ours[key], theirs[key]) for key in ours)


def test_weights_too_large_for_half_precision_are_refused(folder: Path, tmp_path: Path):
    tensors = load_file(folder / WEIGHTS)
    next(iter(tensors.values())).view(-1)[0] = 7e4
    save_file(tensors, folder / WEIGHTS)
    with pytest.raises(ModelError, match="too large for fp16"):
        write_half(folder, tmp_path / "half")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("[]", "cannot be read"),
        ('{"format": 2, "measurements": []}', "format 2, and this version reads format 1"),
        ('{"format": 1}', "measure again"),
        ("{" * 100_000, "cannot be read"),
        ('{"format": 1, "measurements": [{}]}', "cannot be read"),
    ],
)
def test_damaged_measures_are_one_sentence(folder: Path, content: str, said: str):
    (folder / "measures.json").write_text(content)
    with pytest.raises(ModelError, match=said) as caught:
        read_measures(folder)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("clips", "2"),
        ("split", 3),
        ("width", 1.5),
        ("systems", {}),
        ("systems", {"generated": {"psnr": float("nan")}}),
        ("systems", {"generated": {"psnr": "<b>"}}),
        ("meaning", {"psnr": 1}),
    ],
)
def test_a_measurement_holds_what_it_should(folder: Path, field: str, value: object):
    with pytest.raises(ModelError, match="a measurement"):
        measured(folder, **{field: value})


def test_evaluate_keeps_what_it_found(
    folder: Path, toy_data: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    def evaluate(model: Path | str) -> int | str | None:
        command = ["vid2vid-hub", "evaluate", str(model), "--data", str(toy_data), "--save", "--json"]
        monkeypatch.setattr("sys.argv", [*command, str(folder.parent / "figures.json")])
        try:
            main()
        except SystemExit as end:
            return end.code
        return 0

    assert evaluate(folder) == 0
    (kept,) = read_measures(folder)
    assert kept.systems == json.loads((folder.parent / "figures.json").read_text())
    assert (kept.data, kept.split, kept.clips, kept.frames) == ("toy", "val", 1, 5)
    assert (kept.width, kept.height, kept.first_frames, kept.precision) == (48, 32, "zeros", "float32")
    assert list(kept.meaning) == [*kept.systems, "psnr", "warping", "motion"]
    assert "| this model | " in card(folder, "org/toy")
    capsys.readouterr()
    assert evaluate("org/toy") == 2
    error = capsys.readouterr().err
    assert "org/toy is no folder here" in error

"""Checkpoints outlive what happens to disks: kills, full ones, and bytes that change."""

from __future__ import annotations

import hashlib
import json
import re
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from vid2vid_hub import Vid2VidPipeline
from vid2vid_hub.errors import CheckpointError
from vid2vid_hub.training.checkpoint import (
    Checkpoint,
    load_checkpoint,
    pack_optimizer,
    publish,
    save_checkpoint,
    unpack_optimizer,
)
from vid2vid_hub.training.parse import load_recipe, parse_recipe


def made(step: int, numbers: int = 10) -> Checkpoint:
    random = torch.Generator().manual_seed(step)
    tensors = {
        "generator": {"w": torch.randn(numbers, generator=random), "turned": torch.arange(6).view(2, 3).T},
        "average": {"w": torch.randn(3, generator=random).to(torch.bfloat16)},
    }
    return Checkpoint(tensors, {"position": {"step": step}, "recipe": {"seed": 0}})


def steps(run: Path) -> list[int]:
    return sorted(int(path.name.split("-")[1]) for path in run.glob("checkpoint-*"))


def same(one: Checkpoint, other: Checkpoint) -> bool:
    return one.state == other.state and all(
        torch.equal(value, other.tensors[stem][name])
        for stem, tensors in one.tensors.items()
        for name, value in tensors.items()
    )


def flip_a_byte(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """What a full disk does, by the kernel: no file grows beyond so many bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_what_was_saved_comes_back(tmp_path: Path):
    folder = save_checkpoint(tmp_path / "new" / "run", 7, made(7))
    assert folder.name == "checkpoint-000000007"
    loaded = load_checkpoint(tmp_path / "new" / "run")
    assert loaded is not None
    assert same(made(7), loaded)
    assert loaded.tensors["average"]["w"].dtype == torch.bfloat16


def test_a_run_without_checkpoints_has_none(tmp_path: Path):
    assert load_checkpoint(tmp_path) is None
    assert load_checkpoint(tmp_path / "absent") is None


def test_the_manifest_says_the_sha256_of_every_other_file(tmp_path: Path):
    folder = save_checkpoint(tmp_path, 1, made(1))
    manifest = json.loads((folder / "manifest.json").read_text())
    hashes = {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in folder.iterdir()}
    hashes.pop("manifest.json")
    assert manifest == hashes
    assert set(manifest) == {"generator.safetensors", "average.safetensors", "state.json"}


def test_the_two_newest_are_kept(tmp_path: Path):
    for step in (5, 100, 20, 1_000_000_000):
        save_checkpoint(tmp_path, step, made(step))
        assert steps(tmp_path)[-1] == step
    assert steps(tmp_path) == [20, 1_000_000_000]


def test_saving_a_step_again_replaces_it(tmp_path: Path):
    for checkpoint in (made(1), made(2)):
        save_checkpoint(tmp_path, 1, checkpoint)
    loaded = load_checkpoint(tmp_path)
    assert loaded is not None
    assert same(made(2), loaded)
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint-000000001"]


def cut(folder: Path) -> None:
    path = folder / "generator.safetensors"
    path.write_bytes(path.read_bytes()[:-5])


DAMAGES = {
    "a flipped bit in the weights": lambda folder: flip_a_byte(folder / "generator.safetensors"),
    "a flipped bit in the state": lambda folder: flip_a_byte(folder / "state.json"),
    "cut weights": cut,
    "no weights": lambda folder: (folder / "average.safetensors").unlink(),
    "no manifest": lambda folder: (folder / "manifest.json").unlink(),
    "a cut manifest": lambda folder: (folder / "manifest.json").write_text('{"state.json": '),
    "another manifest": lambda folder: (folder / "manifest.json").write_text("[]"),
    "an empty manifest": lambda folder: (folder / "manifest.json").write_text("{}"),
    "an empty folder": lambda folder: [path.unlink() for path in folder.iterdir()],
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_one_is_passed_over_with_a_warning(tmp_path: Path, damage):
    save_checkpoint(tmp_path, 1, made(1))
    damage(save_checkpoint(tmp_path, 2, made(2)))
    with pytest.warns(UserWarning, match=r"passing over the damaged checkpoint .*checkpoint-000000002: "):
        loaded = load_checkpoint(tmp_path)
    assert loaded is not None
    assert same(made(1), loaded)


def test_all_damaged_is_an_error(tmp_path: Path):
    for step in (1, 2):
        flip_a_byte(save_checkpoint(tmp_path, step, made(step)) / "state.json")
    with (
        pytest.warns(UserWarning, match="passing over"),
        pytest.raises(CheckpointError, match=f"all 2 checkpoints in {re.escape(str(tmp_path))} are damaged"),
    ):
        load_checkpoint(tmp_path)


def test_a_damaged_one_does_not_take_the_place_of_a_whole_one(tmp_path: Path):
    """A run that goes back to step 1 saves steps below the damaged 9 again, and keeps two that can be trusted."""
    save_checkpoint(tmp_path, 1, made(1))
    flip_a_byte(save_checkpoint(tmp_path, 9, made(9)) / "state.json")
    for step in (2, 3):
        save_checkpoint(tmp_path, step, made(step))
    assert steps(tmp_path) == [2, 3]


def test_a_half_written_one_is_ignored_and_cleared_away(tmp_path: Path):
    save_checkpoint(tmp_path, 1, made(1))
    half = tmp_path / ".checkpoint-000000002.part-12345"
    half.mkdir()
    (half / "generator.safetensors").write_bytes(b"half")
    loaded = load_checkpoint(tmp_path)
    assert loaded is not None
    assert same(made(1), loaded)
    save_checkpoint(tmp_path, 2, made(2))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoint-000000001", "checkpoint-000000002"]


@pytest.mark.parametrize("step", [2, 3])
def test_a_full_disk_leaves_the_old_ones(tmp_path: Path, step: int):
    for old in (1, 2):
        save_checkpoint(tmp_path, old, made(old))
    with files_of_at_most(20_000), pytest.raises(CheckpointError, match=r"cannot be written: .*free some space"):
        save_checkpoint(tmp_path, step, made(3, numbers=100_000))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoint-000000001", "checkpoint-000000002"]
    loaded = load_checkpoint(tmp_path)
    assert loaded is not None
    assert same(made(2), loaded)


def test_an_optimizer_comes_back_with_everything_it_knows(tmp_path: Path):
    def one_step(weight: torch.nn.Parameter, adam: torch.optim.Adam) -> None:
        adam.zero_grad()
        (weight**3).sum().backward()
        adam.step()

    first = torch.nn.Parameter(torch.tensor([1.0, -2.0]))
    adam = torch.optim.Adam([first], 0.1, (0.5, 0.999))
    one_step(first, adam)
    tensors, groups = pack_optimizer(adam)
    state = {"groups": groups}
    save_checkpoint(tmp_path, 1, Checkpoint({"weights": {"w": first.data}, "adam": tensors}, state))
    loaded = load_checkpoint(tmp_path)
    assert loaded is not None
    second = torch.nn.Parameter(loaded.tensors["weights"]["w"].clone())
    other = torch.optim.Adam([second], 9.0)
    unpack_optimizer(other, loaded.tensors["adam"], loaded.state["groups"])
    for weight, optimizer in ((first, adam), (second, other)):
        one_step(weight, optimizer)
    assert torch.equal(first, second)
    assert other.param_groups[0]["betas"] == [0.5, 0.999]


# The pipeline beside them


def published(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_a_pipeline_is_exchanged_whole(tmp_path: Path, toy_model: Path, tiny_recipe):
    """The older one goes, and so does what an earlier life left."""
    pipeline, folder = Vid2VidPipeline.from_pretrained(toy_model), tmp_path / "pipeline"
    for name in ("pipeline", ".pipeline.part-99", ".pipeline.old-99"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "left.txt").touch()
    recipe = parse_recipe(tiny_recipe)
    publish(pipeline, recipe, {"steps": 3}, folder)
    assert [path.name for path in tmp_path.iterdir()] == ["pipeline"]
    assert load_recipe(folder) == recipe
    weights = "generator/diffusion_pytorch_model.safetensors"
    beside = {"model_index.json", "config.json", "recipe.yaml", "training.json", "generator/config.json"}
    assert set(published(folder)) == beside | {weights}
    assert json.loads((folder / "training.json").read_text()) == {"steps": 3}
    assert published(folder)[weights] == published(toy_model)[weights]


def test_a_full_disk_leaves_the_older_pipeline(tmp_path: Path, toy_model: Path, tiny_recipe):
    pipeline, folder = Vid2VidPipeline.from_pretrained(toy_model), tmp_path / "pipeline"
    publish(pipeline, parse_recipe(tiny_recipe), {}, folder)
    before = published(folder)
    with files_of_at_most(20_000), pytest.raises(CheckpointError, match=r"pipeline .*cannot be written: .*free some"):
        publish(pipeline, parse_recipe(tiny_recipe | {"seed": 1}), {}, folder)
    assert published(folder) == before
    assert [path.name for path in tmp_path.iterdir()] == ["pipeline"]

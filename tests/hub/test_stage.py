"""What leaves this machine: an allow-list of files, and no text in them that tells of it."""

from __future__ import annotations

import pickle
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from vid2vid_hub.errors import ModelError
from vid2vid_hub.hub.about import About, write_about
from vid2vid_hub.hub.push import push_folder
from vid2vid_hub.hub.stage import find_place, stage
from vid2vid_hub.nn.generator import Vid2VidGenerator

WEIGHTS = "generator/diffusion_pytorch_model.safetensors"
TOKEN = "hf_" + "aB3" * 12


@pytest.fixture
def folder(toy_model: Path, tmp_path: Path) -> Path:
    folder = shutil.copytree(toy_model, tmp_path / "model")
    (folder / "README.md").write_text("# a card\n")
    return folder


def test_only_what_is_part_of_a_pipeline_goes(folder: Path):
    own = set(stage(folder).files)
    assert own == {"README.md", "config.json", "model_index.json", "generator/config.json", WEIGHTS}
    stays = {
        "pytorch_model.bin": "a pickle, or could be one",
        "generator/diffusion_pytorch_model.bin": "a pickle, or could be one",
        "sample.npy": "a pickle, or could be one",
        "weights.PTH": "a pickle, or could be one",
        "pipeline.py": "no part of a pipeline",
        "generator/model.safetensors": "no part of a pipeline",
        "judges/config.json": "no part of a pipeline",
        ".env": "no part of a pipeline",
        ".git/config": "no part of a pipeline",
        "sample.mkv.part": "no part of a pipeline",
        "generator/deep/config.json": "no part of a pipeline",
    }
    for name in stays:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(pickle.dumps(TOKEN))
    assert stage(folder).left_out == stays
    assert set(stage(folder).files) == own


def test_links_stay_and_what_they_stand_for_is_missed(folder: Path, tmp_path: Path):
    (tmp_path / "private.yaml").write_text(f"token: {TOKEN}")
    (folder / "recipe.yaml").symlink_to(tmp_path / "private.yaml")
    assert stage(folder).left_out == {"recipe.yaml": "a link"}
    (folder / "generator").rename(tmp_path / "elsewhere")
    (folder / "generator").symlink_to(tmp_path / "elsewhere")
    assert not [name for name in stage(folder).files if name.startswith("generator")]
    (folder / "model_index.json").rename(tmp_path / "index.json")
    (folder / "model_index.json").symlink_to(tmp_path / "index.json")
    with pytest.raises(ModelError, match=r"without model_index\.json, and it is a link"):
        stage(folder)


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("recipe.yaml", f"task: toy\nnote: {TOKEN}\n", r"recipe\.yaml, line 2, holds what looks like a token"),
        ("README.md", f"# x\n\n{TOKEN}", r"README\.md, line 3, holds"),
        ("training.json", '{"start":\n "/home/alice/runs"}', r"training\.json, line 2, tells .*'/home/alice/runs'"),
        ("recipe.yaml", "perceptual_weights: /mnt/weights/vgg.safetensors", "'/mnt/weights/vgg.safetensors'"),
        ("recipe.yaml", "start: C:\\Users\\alice\\run", "tells of this machine"),
        ("recipe.yaml", "start: C:/Users/alice", "tells of this machine"),
        ("about.yaml", "history: kept in ~/runs/one", "'~/runs/one'"),
        ("about.yaml", "history: see file:///etc/passwd", "'file:///etc/passwd'"),
        ("about.yaml", "history: in `/workspace`", "'/workspace'"),
        ("about.yaml", "history: \\\\server\\share\\x", "tells of this machine"),
        ("model_index.json", '{"_name_or_path": "/tmp/x/y"}', "'/tmp/x/y'"),
        ("config.json", '{"a": "/private/var/folders/x"}', "tells of this machine"),
        ("about.yaml", "x" * 1_000_001, "more than 1000000 bytes"),
    ],
)
def test_what_tells_of_this_machine_is_refused_by_file_and_line(folder: Path, name: str, text: str, said: str):
    (folder / name).write_text(text)
    with pytest.raises(ModelError, match=said) as caught:
        stage(folder)
    assert TOKEN not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_header_of_weights_is_looked_into(folder: Path):
    save_file(load_file(folder / WEIGHTS), folder / WEIGHTS, metadata={"format": "pt", "from": "/home/alice/x"})
    with pytest.raises(ModelError, match=r"the header of generator/.* tells of this machine"):
        stage(folder)


def test_a_sample_of_arrays_holds_no_pickle(folder: Path):
    np.savez(folder / "sample.npz", points=np.zeros(3))
    assert "sample.npz" in stage(folder).files
    np.savez(folder / "sample.npz", points=np.array([{"a": 1}], dtype=object))
    with pytest.raises(ModelError, match="perhaps a pickle"):
        stage(folder)


@pytest.mark.parametrize(
    "text",
    [
        "https://huggingface.co/org/name/resolve/main/x.json",
        "a pixel moves by 0.014/255, at 25 m/s and/or 3 km/h",
        "start: runs/street/pipeline",
        "vid2vid-hub generate org/name INPUT --output video.mp4",
        "[recipe.yaml](recipe.yaml) and ../street-starter/README.md",
        "one / two // three",
        "source: ftp://a.example/home/x",
        "ratio 16:9, C: drive, a~b",
        "</td>",
    ],
)
def test_what_tells_nothing_of_it_passes(text: str):
    assert find_place(text) is None


@given(
    st.sampled_from(["home", "Users", "data", "scratch", "x1"]), st.from_regex(r"[a-z][a-z0-9_.-]{0,9}", fullmatch=True)
)
def test_an_absolute_path_is_found_wherever_it_stands(root: str, name: str):
    for text in (
        f"/{root}/{name}/x",
        f'"a": "/{root}/{name}/"',
        f"`/{root}/{name}/y`",
        f"(/{root}/{name}/z)",
        f"=/{root}/{name}/z",
    ):
        assert find_place(text) is not None, text


def test_the_name_of_the_user_is_found_in_paths(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("getpass.getuser", lambda: "alice")
    for text in ("runs/alice/one", "alice@machine", "\\alice\\x"):
        assert find_place(text) is not None
    for text in ("alice", "malice/x", "by Alice and others"):
        assert find_place(text) is None
    assert find_place("from alice/vid2vid", owner="Alice") is None, "who publishes may be named"
    monkeypatch.setattr("getpass.getuser", lambda: "root")
    assert find_place("runs/root/one") is None


def test_a_file_that_is_made_takes_the_place_of_the_folders(folder: Path, tmp_path: Path):
    (tmp_path / "made" / "generator").mkdir(parents=True)
    (tmp_path / "made" / "README.md").write_text("# another\n")
    assert stage(folder, tmp_path / "made").files["README.md"] == tmp_path / "made" / "README.md"
    write_about(About(title="x"), tmp_path / "made")
    assert "about.yaml" in stage(folder, tmp_path / "made").files


@pytest.mark.parametrize(
    ("repo", "how", "said"),
    [
        ("name", {}, "write org/name"),
        ("org/na me", {}, "write org/name"),
        ("../org/x", {}, "write org/name"),
        ("org/x", {"revision": "0" * 40}, "no name of a branch"),
        ("org/x", {"revision": "../main"}, "no name of a branch"),
        ("org/x", {"revision": "v2", "create_pr": True}, "leave the revision 'v2' out"),
        ("org/x", {"commit_message": f"with {TOKEN}"}, "the message of the commit"),
        ("org/x", {"commit_message": "from /home/alice/x"}, "the message of the commit"),
    ],
)
def test_what_is_asked_wrongly_is_refused_before_the_hub_hears_of_it(folder: Path, repo: str, how: Any, said: str):
    with pytest.raises(ModelError, match=said) as caught:
        push_folder(folder, repo, **how)
    assert TOKEN not in str(caught.value)


def test_a_network_alone_is_not_published(toy_model: Path, tmp_path: Path):
    network = Vid2VidGenerator.from_pretrained(toy_model, subfolder="generator")
    with pytest.raises(ModelError, match=r"with its pipeline, .*vid2vid-hub push FOLDER"):
        network.push_to_hub("org/x")
    with pytest.raises(ModelError, match="with its pipeline"):
        network.save_pretrained(tmp_path / "x", push_to_hub=True, repo_id="org/x")
    assert not (tmp_path / "x").exists()

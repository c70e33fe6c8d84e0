"""The whole way: videos with their licence, a training, its measures, one command to the Hub, and back elsewhere."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from tests.hub_client import UPLOADS_WARN, Client, client_environment
from tests.hub_server import serving
from vid2vid_hub import Vid2VidPipeline
from vid2vid_hub.data.clips import Description
from vid2vid_hub.data.maps import write_maps
from vid2vid_hub.data.open import origin
from vid2vid_hub.data.origin import Origin
from vid2vid_hub.data.toy import ToyWorld
from vid2vid_hub.errors import DatasetError
from vid2vid_hub.hub.card import card
from vid2vid_hub.training.run import start_run

LOAD = """
import numpy as np
from vid2vid_hub import Vid2VidPipeline
pipe = Vid2VidPipeline.from_pretrained("org/round")
pipe.set_progress_bar_config(disable=True)
np.save(given["to"], pipe(condition=pipe.sample).frames)
"""


def command(*words: Any, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """The command line, as a person has it."""
    run = [sys.executable, "-W", "error", "-W", UPLOADS_WARN, "-m", "vid2vid_hub", *map(str, words)]
    return subprocess.run(run, env=env, capture_output=True, text=True, timeout=300)


@pytest.fixture(scope="module")
def data(toy_videos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Prepared by the command line, with all that it can be told of the videos."""
    folder = tmp_path_factory.mktemp("data") / "shapes"
    videos, labels = ([toy_videos / f"{name}.{end}" for name in "abc"] for end in ("mp4", "mkv"))
    facts = ("--licence", "CC-BY-4.0", "--source", "https://a.example/shapes", "--people", "nobody")
    made = ("prepare", *videos, "--task", "toy", "--conditions", *labels, "--val", "c", "--output", folder)
    done = command(*made, *facts)
    assert done.returncode == 0, done.stderr
    return folder


def test_a_dataset_says_where_it_comes_from(data: Path, toy_data: Path):
    assert Description.read(data).origin == Origin("cc-by-4.0", "https://a.example/shapes", "nobody")
    assert Description.read(toy_data).origin == Origin()
    assert origin(toy_data) == {"name": "toy"}


def test_a_dataset_from_before_says_nothing(toy_data: Path, tmp_path: Path):
    old = json.loads((toy_data / "dataset.json").read_text())
    del old["origin"]
    (tmp_path / "dataset.json").write_text(json.dumps(old))
    assert Description.read(tmp_path).origin == Origin()
    for spoilt in ({"licence": "no licence"}, {"people": ""}, {"source": "a\nb"}, {"owner": "me"}):
        (tmp_path / "dataset.json").write_text(json.dumps(old | {"origin": spoilt}))
        with pytest.raises(DatasetError):
            Description.read(tmp_path)


@pytest.fixture(scope="module")
def run(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    from tests.conftest import TINY_RECIPE

    folder = tmp_path_factory.mktemp("runs") / "run"
    recipe = folder.with_suffix(".yaml")
    recipe.write_text(yaml.safe_dump(TINY_RECIPE | {"optimizer": {"rate": 1e-3}}))
    start_run(data, folder, recipe=recipe)
    return folder


def told(run: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((run / "pipeline" / "training.json").read_text())
    return found


def test_the_trainer_says_what_came_of_it(run: Path):
    facts = told(run)
    assert (facts["epochs"], facts["processes"], facts["device"], facts["precision"]) == (2, 1, "cpu", "float32")
    assert facts["steps"] > 0
    origin_ = {"licence": "cc-by-4.0", "source": "https://a.example/shapes", "people": "nobody"}
    assert facts["data"] == {"name": "shapes", "clips": 2, "frames": 15, **origin_}
    text = card(run / "pipeline", "org/x")
    assert "**shapes**: licence `cc-by-4.0`; from <https://a.example/shapes>; nobody is to be seen." in text
    assert f"It took {facts['steps']} steps in 2 epochs" in text


def test_time_goes_on_where_a_run_goes_on(run: Path, data: Path):
    path = run / "pipeline" / "training.json"
    path.write_text(json.dumps(told(run) | {"seconds": 5000}))
    start_run(data, run, resume=True, changes={"stages": "[{epochs: 3, width: 48, height: 32, frames: 4, unroll: 2}]"})
    assert told(run)["epochs"] == 3
    assert 5000 <= told(run)["seconds"] < 5300


@pytest.mark.hub
@pytest.mark.slow
def test_from_videos_to_the_hub_and_back(run: Path, data: Path, tmp_path: Path):
    folder = run / "pipeline"
    write_maps(folder / "sample.mkv", ToyWorld(5, 32, 48).draw(4).labels, 25)
    assert command("evaluate", folder, "--data", data, "--save").returncode == 0
    pipe = Vid2VidPipeline.from_pretrained(folder)
    pipe.set_progress_bar_config(disable=True)
    expected = pipe(condition=pipe.sample).frames
    with serving() as hub:
        mine = client_environment(hub, tmp_path / "writer", hub.token)
        (tmp_path / "writer").mkdir()
        (folder / "notes.txt").write_text("mine")
        done = command("push", folder, "org/round", "--private", "--fp16", env=mine)
        assert done.returncode == 0, done.stderr
        assert "left out: notes.txt, no part of a pipeline" in done.stdout
        assert f"{hub.address}/org/round: " in done.stdout
        there = hub.files("org/round")
        assert {"measures.json", "training.json", "recipe.yaml", "preview.mp4", "sample.mkv"} <= set(there)
        assert b"model-index" in there["README.md"]
        reader = Client(hub, tmp_path / "reader", hub.login("read"))
        reader.do(LOAD, to=str(tmp_path / "frames.npy"))
        reader.close()
        assert np.array_equal(np.load(tmp_path / "frames.npy"), expected)
        again = command("push", folder, "org/round", "--revision", "no branch", env=mine)
        assert again.returncode == 2
        assert "'no branch' is no name of a branch" in again.stderr
        nobody = command("push", folder, "org/round", env=client_environment(hub, tmp_path / "writer"))
        assert nobody.returncode == 2
        assert "hf auth login" in nobody.stderr
        assert hub.leaked == []
    everything = (done, again, nobody)
    assert not [
        said for one in everything for said in (one.stdout, one.stderr) if hub.token in said or "Traceback" in said
    ]


def test_a_card_before_it_is_published(run: Path, tmp_path: Path):
    done = command("card", run / "pipeline", "--repo", "org/x")
    assert done.returncode == 0, done.stderr
    assert (run / "pipeline" / "README.md").read_text("utf-8") == card(run / "pipeline", "org/x")
    done = command("card", tmp_path)
    assert done.returncode == 2
    assert "model_index.json" in done.stderr

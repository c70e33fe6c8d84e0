"""The contract with the Hub: what is saved here loads from there, by the libraries' own unchanged code.

A pipeline that loads from a folder can still fail from the Hub, because only the way over the network asks where the
class of each component comes from. So these tests go over a network, to a stand-in for the Hub on this machine.
"""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from vid2vid_hub.data.toy import ToyShapes, ToyWorld
from vid2vid_hub.nn.generator import Vid2VidGenerator
from vid2vid_hub.pipeline import Vid2VidPipeline

pytestmark = pytest.mark.hub

SIZE, LENGTH = (32, 48), 4

LOAD = """
import sys
import numpy as np
from vid2vid_hub import Vid2VidPipeline
from vid2vid_hub.data.toy import ToyWorld
pipeline = Vid2VidPipeline.from_pretrained("org/toy")
pipeline.set_progress_bar_config(disable=True)
np.save(sys.argv[1], pipeline(condition=ToyWorld(0, 32, 48).draw(4).condition).frames)
"""

REFUSED = """
import sys
from vid2vid_hub import Vid2VidPipeline
from vid2vid_hub.errors import ModelError
try:
    Vid2VidPipeline.from_pretrained(sys.argv[1], **eval(sys.argv[2]))
except ModelError as error:
    print(error)
    print("antigravity" in sys.modules, file=sys.stderr)
"""


def stand_in():
    """The file beside this one; tests are no package."""
    spec = importlib.util.spec_from_file_location("hub_server", Path(__file__).with_name("hub_server.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    torch.manual_seed(0)
    generator = Vid2VidGenerator(ToyShapes().channels, base_channels=4, downsamples=1, blocks=2)
    folder = tmp_path_factory.mktemp("hub") / "org" / "toy"
    Vid2VidPipeline(generator, ToyShapes(), size=SIZE).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def hub(saved):
    with stand_in().serving(saved.parents[1]) as hub:
        yield hub


@pytest.fixture(scope="module")
def expected(saved):
    pipeline = Vid2VidPipeline.from_pretrained(saved)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline(condition=ToyWorld(0, *SIZE).draw(LENGTH).condition).frames


@pytest.fixture
def run(hub, tmp_path):
    """Runs code in a Python of its own, whose Hub is the stand-in and whose cache is empty at first."""

    def running(code, *arguments, **environment):
        names = ("PATH", "SYSTEMROOT", "LANG", "OMP_NUM_THREADS")
        inherited = {name: os.environ[name] for name in names if name in os.environ}
        mine = {"HF_ENDPOINT": hub.address, "HF_HOME": str(tmp_path / "cache"), "HOME": str(tmp_path)}
        command = [sys.executable, "-W", "error", "-c", code, *map(str, arguments)]
        hub.asked.clear()
        return subprocess.run(
            command,
            env=inherited | mine | {"HF_HUB_DISABLE_TELEMETRY": "1"} | environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=True,
        )

    return running


def frames(run, path, **environment):
    run(LOAD, path, **environment)
    return np.load(path)


def downloaded(hub):
    return {
        line.split("/resolve/")[1].split("/", 1)[1]
        for line in hub.asked
        if line.startswith("GET") and "/resolve/" in line
    }


def test_a_pipeline_from_the_hub_makes_the_frames_of_the_folder_and_again_without_the_hub(
    hub, run, saved, expected, tmp_path
):
    assert np.array_equal(frames(run, tmp_path / "online.npy"), expected)
    wanted = {path.relative_to(saved).as_posix() for path in saved.rglob("*") if path.is_file()}
    assert downloaded(hub) == wanted
    assert np.array_equal(frames(run, tmp_path / "offline.npy", HF_HUB_OFFLINE="1"), expected)
    assert hub.asked == []


def test_a_generator_alone_from_the_hub(run, saved):
    code = """
from vid2vid_hub import Vid2VidGenerator
generator = Vid2VidGenerator.from_pretrained("org/toy", subfolder="generator")
print(sum(p.double().sum().item() for p in generator.parameters()))
"""
    ours = Vid2VidGenerator.from_pretrained(saved, subfolder="generator")
    assert float(run(code).stdout) == sum(p.double().sum().item() for p in ours.parameters())


def test_the_index_says_a_name_that_survives_moving_files_about(saved):
    index = json.loads((saved / "model_index.json").read_text())
    assert index["generator"] == ["vid2vid_hub", "Vid2VidGenerator"]
    listed = {key for key, value in index.items() if isinstance(value, list)}
    assert listed == {"generator"}, "on the way from the Hub every list is taken for a component"
    assert str(saved.parent) not in (saved / "model_index.json").read_text()


def refusal(run, repo, options=None):
    done = run(REFUSED, repo, options or {})
    assert done.stderr.splitlines()[-1] == "False"
    (sentence,) = done.stdout.splitlines()
    return sentence


def test_a_repository_that_is_not_there_is_one_sentence(run):
    assert "org/missing" in refusal(run, "org/missing")


def test_a_revision_that_is_not_there_is_one_sentence(run):
    assert "org/toy" in refusal(run, "org/toy", {"revision": "v9"})


def test_offline_without_a_cache_is_one_sentence(run):
    assert "org/toy" in refusal(run, "org/toy", {"local_files_only": True})


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"generator": ["antigravity", "x"]}, "['antigravity', 'x'] as its generator"),
        ({"mixture": ["antigravity", "x"]}, "'mixture'"),
        ({"_class_name": "StableDiffusionPipeline"}, "StableDiffusionPipeline"),
    ],
)
def test_a_foreign_repository_is_refused_before_anything_is_downloaded_or_imported(hub, run, saved, changes, said):
    foreign = shutil.copytree(saved, saved.with_name("foreign"))
    try:
        index = foreign / "model_index.json"
        index.write_text(json.dumps(json.loads(index.read_text()) | changes))
        assert said in refusal(run, "org/foreign")
        assert downloaded(hub) == {"model_index.json"}
    finally:
        shutil.rmtree(foreign)


def test_a_pickle_on_the_hub_is_not_loaded(run, saved):
    pickled = shutil.copytree(saved, saved.with_name("pickled"))
    try:
        for weights in pickled.rglob("*.safetensors"):
            weights.rename(weights.with_suffix(".bin"))
        assert "safetensors" in refusal(run, "org/pickled")
    finally:
        shutil.rmtree(pickled)

"""The contract with the Hub: what is saved here loads from there, by the libraries' own unchanged code.

A pipeline that loads from a folder can still fail from the Hub, because only the way over the network asks where the
class of each component comes from. So these tests go over a network, to a stand-in for the Hub on this machine, and in
a Python of their own, because the libraries read the Hub's address when they are imported.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from itertools import combinations

import numpy as np
import pytest
import torch

from tests.hub_server import downloaded, serving
from vid2vid_hub.data.toy import ToyShapes, ToyWorld
from vid2vid_hub.folder import COMPONENTS
from vid2vid_hub.nn.generator import Vid2VidGenerator
from vid2vid_hub.nn.image import Pix2PixHDGenerator
from vid2vid_hub.pipeline import Vid2VidPipeline

pytestmark = pytest.mark.hub

SIZE, LENGTH = (32, 48), 4

FOREIGN = {
    "component": {"generator": ["antigravity", "x"]},
    "beginning": {"first_frame": ["antigravity", "x"]},
    "extra": {"mixture": ["antigravity", "x"]},
    "diffusion": {"_class_name": "StableDiffusionPipeline"},
}
REFUSED = {
    **{name: (f"org/{name}", {}) for name in (*FOREIGN, "missing", "pickled", "indexless")},
    "revision": ("org/toy", {"revision": "v9"}),
    "offline": ("org/never-asked-for", {"local_files_only": True}),
}

VISIT = """
import json
import sys
import warnings
import numpy as np
from vid2vid_hub import Vid2VidGenerator, Vid2VidPipeline
from vid2vid_hub.data.toy import ToyWorld
from vid2vid_hub.errors import ModelError

frames = {}
for name in ("toy", "begun", "alone"):
    pipeline = Vid2VidPipeline.from_pretrained(f"org/{name}")
    pipeline.set_progress_bar_config(disable=True)
    frames[name] = pipeline(condition=ToyWorld(0, 32, 48).draw(4).condition).frames
np.savez(sys.argv[1], **frames)
with warnings.catch_warnings():
    # A network alone goes through ConfigMixin.load_config, where diffusers 0.42 passes on an argument of old hubs.
    warnings.filterwarnings("ignore", "The `local_dir_use_symlinks` argument", UserWarning)
    generator = Vid2VidGenerator.from_pretrained("org/toy", subfolder="generator")
np.save(sys.argv[2], np.array([p.double().sum().item() for p in generator.parameters()]))
said = {}
for name, (repo, options) in json.loads(sys.argv[3]).items():
    try:
        Vid2VidPipeline.from_pretrained(repo, **options)
    except ModelError as error:
        said[name] = str(error)
assert "antigravity" not in sys.modules
print(json.dumps(said))
"""


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A repository that is right, two with a generator of single images in either place, and some that are wrong."""
    torch.manual_seed(0)
    generator = Vid2VidGenerator(ToyShapes().channels, base_channels=4, downsamples=1, blocks=2)
    image = Pix2PixHDGenerator(ToyShapes().channels, base_channels=4, downsamples=1, blocks=1)
    folder = tmp_path_factory.mktemp("hub") / "org" / "toy"
    Vid2VidPipeline(generator, ToyShapes(), size=SIZE).save_pretrained(folder)
    Vid2VidPipeline(generator, ToyShapes(), first_frame=image).save_pretrained(folder.with_name("begun"))
    Vid2VidPipeline(image, ToyShapes()).save_pretrained(folder.with_name("alone"))
    for name, changes in FOREIGN.items():
        index = shutil.copytree(folder, folder.with_name(name)) / "model_index.json"
        index.write_text(json.dumps(json.loads(index.read_text()) | changes))
    (weights,) = shutil.copytree(folder, folder.with_name("pickled")).rglob("*.safetensors")
    weights.rename(weights.with_suffix(".bin"))
    (shutil.copytree(folder, folder.with_name("indexless")) / "model_index.json").unlink()
    return folder


@pytest.fixture(scope="module")
def hub(saved):
    with serving(saved.parents[1]) as hub:
        yield hub


@pytest.fixture(scope="module")
def visit(hub, tmp_path_factory):
    """What a fresh Python makes of the repositories, with the stand-in as its Hub and at first an empty cache."""
    home = tmp_path_factory.mktemp("home")

    def visiting(refused, **environment):
        inherited = {name: os.environ[name] for name in ("PATH", "SYSTEMROOT", "OMP_NUM_THREADS") if name in os.environ}
        mine = {"HF_ENDPOINT": hub.address, "HF_HOME": str(home / "cache"), "HOME": str(home), "NO_PROXY": "127.0.0.1"}
        names = home / "frames.npz", home / "sums.npy", json.dumps(refused)
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", VISIT, *names],
            env=inherited | mine | environment,
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert done.returncode == 0, done.stderr
        asked, hub.asked[:] = list(hub.asked), []
        return dict(np.load(names[0])), np.load(names[1]), json.loads(done.stdout), asked

    return visiting


@pytest.fixture(scope="module")
def online(visit):
    return visit(REFUSED)


@pytest.fixture(scope="module")
def expected(saved):
    frames = {}
    for name in ("toy", "begun", "alone"):
        pipeline = Vid2VidPipeline.from_pretrained(saved.with_name(name))
        pipeline.set_progress_bar_config(disable=True)
        frames[name] = pipeline(condition=ToyWorld(0, *SIZE).draw(LENGTH).condition).frames
    return frames


@pytest.mark.parametrize(
    ("name", "networks"), [("toy", ["generator"]), ("begun", ["generator", "first_frame"]), ("alone", ["generator"])]
)
def test_a_pipeline_from_the_hub_makes_the_frames_of_the_folder(online, saved, expected, name, networks):
    frames, _, _, asked = online
    assert np.array_equal(frames[name], expected[name])
    configs = {f"{network}/config.json" for network in networks}
    found = {str(path.relative_to(saved.with_name(name))) for path in saved.with_name(name).rglob("*.safetensors")}
    assert len(found) == len(networks)
    assert downloaded(asked, f"org/{name}") == {"model_index.json", "config.json"} | configs | found


def test_the_networks_of_a_repository_do_something(expected):
    assert not any(np.array_equal(expected[a], expected[b]) for a, b in combinations(expected, 2))


def test_a_generator_alone_from_the_hub(online, saved):
    ours = Vid2VidGenerator.from_pretrained(saved, subfolder="generator")
    assert online[1].tolist() == [parameter.double().sum().item() for parameter in ours.parameters()]


def test_what_was_loaded_once_loads_again_without_the_hub(online, visit, expected):
    frames, sums, _, asked = visit({}, HF_HUB_OFFLINE="1")
    assert all(np.array_equal(frames[name], expected[name]) for name in expected)
    assert sums.tolist() == online[1].tolist()
    assert asked == []


def test_the_index_says_a_name_that_survives_moving_files_about(saved):
    text = (saved / "model_index.json").read_text()
    index = json.loads(text)
    assert index["generator"] == ["vid2vid_hub", "Vid2VidGenerator"]
    listed = {key for key, value in index.items() if isinstance(value, list)}
    assert listed == set(COMPONENTS), "on the way from the Hub every list is taken for a component"
    assert str(saved.parent) not in text


@pytest.mark.parametrize(
    ("name", "said"),
    {
        "missing": "org/missing",
        "revision": "v9",
        "offline": "org/never-asked-for",
        "pickled": "safetensors",
        "indexless": "model_index.json",
        "component": "['antigravity', 'x'] as its generator",
        "beginning": "['antigravity', 'x'] as its first_frame",
        "extra": "'mixture'",
        "diffusion": "StableDiffusionPipeline; expected Vid2VidPipeline",
    }.items(),
)
def test_what_is_wrong_with_a_repository_is_one_sentence(online, name, said):
    sentence = online[2][name]
    assert said in sentence
    assert REFUSED[name][0] in sentence
    assert "\n" not in sentence
    assert len(sentence) < 500


@pytest.mark.parametrize("name", FOREIGN)
def test_of_a_foreign_repository_nothing_but_the_index_is_downloaded(online, name):
    assert downloaded(online[3], f"org/{name}") == {"model_index.json"}

"""Weights come from a file or from the Hub, here a stand-in over a network, asked in a Python of its own.

Why so: see tests/test_hub.py.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from vid2vid_hub.errors import ModelError
from vid2vid_hub.nn.weights import read_weights

ASKED = {
    "given": ("vgg16", "org/given"),
    "default": ("vgg16", None),
    "missing": ("vgg16", "org/missing"),
    "empty": ("vgg16", "org/empty"),
    "foreign": ("vgg16", "org/foreign"),
    "misspelt": ("vgg16", "org/a--b"),
}

VISIT = """
import json
import sys
from vid2vid_hub.errors import ModelError
from vid2vid_hub.nn.perceptual import perceptual_network

said = {}
for key, (name, source) in json.loads(sys.argv[1]).items():
    try:
        network = perceptual_network(name, source)
        said[key] = sum(parameter.double().sum().item() for parameter in network.parameters())
    except ModelError as error:
        said[key] = str(error)
print(json.dumps(said))
"""


def stand_in():
    """The file of the stand-in; tests are no package."""
    spec = importlib.util.spec_from_file_location("hub_server", Path(__file__).parents[1] / "hub_server.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def vgg16():
    """The convolutions of VGG16 up to relu5_1, all of one value; sums tell such values apart."""
    shapes = {0: (64, 3), 2: (64, 64), 5: (128, 64), 7: (128, 128), 10: (256, 128), 12: (256, 256), 14: (256, 256)}
    shapes |= {17: (512, 256), 19: (512, 512), 21: (512, 512), 24: (512, 512)}
    held = {f"features.{n}.weight": torch.ones(*shape, 3, 3, dtype=torch.float16) for n, shape in shapes.items()}
    return held | {f"features.{n}.bias": torch.ones(shape[0], dtype=torch.float16) for n, shape in shapes.items()}


@pytest.fixture(scope="module")
def visit(tmp_path_factory):
    """What a fresh Python gets of :data:`ASKED`, with the stand-in as its Hub and at first an empty cache."""
    root, home, held = tmp_path_factory.mktemp("hub"), tmp_path_factory.mktemp("home"), vgg16()
    repos = {
        "org/given": held,
        "timm/vgg16.tv_in1k": {key: 2 * tensor for key, tensor in held.items()} | {"head.fc.bias": torch.zeros(9)},
        "org/foreign": {"encoder.weight": torch.zeros(3)},
        "org/empty": {},
    }
    for name, tensors in repos.items():
        (root / name).mkdir(parents=True)
        (root / name / "README.md").write_text("weights")
        if tensors:
            save_file(tensors, root / name / "model.safetensors")

    def visiting(address, **environment):
        inherited = {name: os.environ[name] for name in ("PATH", "SYSTEMROOT", "OMP_NUM_THREADS") if name in os.environ}
        mine = {"HF_ENDPOINT": address, "HF_HOME": str(home / "cache"), "HOME": str(home), "NO_PROXY": "127.0.0.1"}
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", VISIT, json.dumps(ASKED)],
            env=inherited | mine | environment,
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    with stand_in().serving(root) as hub:
        yield lambda **environment: visiting(hub.address, **environment)


@pytest.fixture(scope="module")
def offline(visit):
    return visit(HF_HUB_OFFLINE="1")


@pytest.fixture(scope="module")
def online(offline, visit):
    return visit()


@pytest.mark.hub
def test_weights_come_from_the_named_repo_or_from_the_usual_one(online):
    values = sum(tensor.numel() for tensor in vgg16().values())
    assert online["given"] == values
    assert online["default"] == 2 * values


@pytest.mark.hub
def test_what_was_downloaded_once_is_there_without_the_hub(online, visit):
    again = visit(HF_HUB_OFFLINE="1")
    assert [again[name] for name in ("given", "default")] == [online[name] for name in ("given", "default")]


@pytest.mark.hub
@pytest.mark.parametrize(
    ("name", "said"),
    {
        "missing": r"no file org/missing here .*VGG16.* no such repo on the Hub; give a safetensors file",
        "misspelt": r"no file org/a--b here .*VGG16.* no such repo on the Hub; give a safetensors file",
        "empty": r"org/empty on the Hub holds no model\.safetensors",
        "foreign": r"org/foreign does not hold the convolutions of VGG16: features\.0\.weight is missing",
    }.items(),
)
def test_what_is_wrong_with_a_repo_is_one_sentence(online, name, said):
    assert re.search(said, online[name])
    assert "\n" not in online[name]
    assert len(online[name]) < 300


@pytest.mark.hub
@pytest.mark.parametrize(("name", "repo"), [("given", "org/given"), ("default", "timm/vgg16.tv_in1k")])
def test_without_the_hub_the_sentence_says_what_was_wanted_and_how_to_go_on(offline, name, repo):
    assert re.search(f"VGG16 were to come from {repo} .*; connect, or give a safetensors file", offline[name])
    assert "\n" not in offline[name]


def test_only_the_wanted_tensors_are_read(tmp_path):
    file = tmp_path / "some.safetensors"
    save_file({"features.0.bias": torch.ones(2).half(), "classifier.bias": torch.zeros(1)}, file)
    assert set(read_weights(file, "VGG16")) == {"features.0.bias", "classifier.bias"}
    (tensor,) = read_weights(str(file), "VGG16", ("features.",)).values()
    assert tensor.tolist() == [1, 1]
    assert tensor.dtype == torch.float16, "as it is stored"


@pytest.mark.parametrize("name", ["missing.safetensors", "some/missing.safetensors", "missing", "a/folder/of/weights"])
def test_a_file_that_is_not_there_is_not_asked_of_the_hub(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for source in (name, tmp_path / name):
        with pytest.raises(ModelError, match=f"no file {source} with the weights of RAFT; give a safetensors file"):
            read_weights(source, "RAFT")


def test_a_file_that_is_no_safetensors_is_refused(tmp_path):
    (tmp_path / "text.safetensors").write_text("no weights")
    with pytest.raises(ModelError, match=r"RAFT weights .*text\.safetensors cannot be read as safetensors") as caught:
        read_weights(tmp_path / "text.safetensors", "RAFT")
    assert "\n" not in str(caught.value)

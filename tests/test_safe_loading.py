"""Nothing but JSON and safetensors is read, and no code is run, whatever a folder or a repo holds.

The corpus (:mod:`tests.repos`) is loaded in a Python of its own, from folders and from the stand-in for the Hub, where
unpickling, the Python of files and starting programs end in an alarm. ``pytest -s`` prints what each said.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from urllib.parse import unquote

import pytest
import torch

from tests.hub_server import serving
from tests.repos import CONFIG, INDEX, SECRET, WEIGHTS, corpus, disguised, pickles, script
from vid2vid_hub.data.toy import ToyShapes
from vid2vid_hub.hub.contents import belongs
from vid2vid_hub.nn.generator import Vid2VidGenerator
from vid2vid_hub.pipeline import Vid2VidPipeline

pytestmark = pytest.mark.hub

VISIT = """
import json, pickle, sys, time
from pathlib import Path
import numpy, torch
from diffusers import DiffusionPipeline
from vid2vid_hub import Vid2VidGenerator, Vid2VidPipeline
from vid2vid_hub.errors import Vid2VidError

root, good, cases = sys.argv[1], sys.argv[2], json.loads(Path(sys.argv[3]).read_text())
for source in (f"{root}/org/{good}", f"org/{good}"):
    Vid2VidPipeline.from_pretrained(source)
    DiffusionPipeline.from_pretrained(source)
    Vid2VidGenerator.from_pretrained(source, subfolder="generator")
try:
    Vid2VidPipeline.from_pretrained(f"org/{good}", variant="none")
except Vid2VidError:
    pass

alarms, armed = [], []
ALARMING = {"pickle.find_class", "os.system", "os.exec", "os.posix_spawn", "subprocess.Popen", "marshal.loads"}

def watch(event, arguments):
    if armed and (event in ALARMING or event == "open" and str(arguments[0]) == cases["canary"]):
        alarms.append(f"{armed[0]}: {event} {arguments!r}")

sys.addaudithook(watch)

def alarm(name):
    def ring(*arguments, **options):
        alarms.append(f"{armed[0]}: {name}")
        raise RuntimeError(name)
    return ring

for module, name in ((pickle, "Unpickler"), (pickle, "load"), (pickle, "loads"), (torch, "load"), (numpy, "load")):
    setattr(module, name, alarm(f"{module.__name__}.{name}"))

said = {}
for key, source, options in cases["loads"]:
    kind = {"pipeline": Vid2VidPipeline, "generator": Vid2VidGenerator, "diffusers": DiffusionPipeline}
    load = kind[options.pop("load", "pipeline")].from_pretrained
    before = set(sys.modules)
    armed[:] = [key]
    started = time.perf_counter()
    try:
        load(source, **options)
        error = None
    except Exception as caught:
        error = caught
    seconds = time.perf_counter() - started
    armed.clear()
    said[key] = [type(error).__name__, str(error), seconds, sorted(set(sys.modules) - before)]
print(json.dumps({"said": said, "alarms": alarms}))
"""


class Visited:
    """What became of all cases, and what was asked of the Hub."""

    def __init__(self, said, alarms, asked, canary):
        self.said, self.alarms, self.asked, self.canary = said, alarms, asked, canary


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return tmp_path_factory.mktemp("bad")


@pytest.fixture(scope="module")
def canary(root):
    return root / "canary"


@pytest.fixture(scope="module")
def good(root):
    """A pipeline that is as it should be."""
    torch.manual_seed(0)
    generator = Vid2VidGenerator(ToyShapes().channels, base_channels=4, downsamples=1, blocks=2)
    Vid2VidPipeline(generator, ToyShapes(), size=(32, 48)).save_pretrained(root / "org" / "good")
    (root / "org" / SECRET).write_text(json.dumps({"secret": "what no sentence may tell"}))
    return root / "org" / "good"


@pytest.fixture(scope="module")
def cases(root, good, canary):
    """The corpus by the name of its folder, made on the disk."""
    made = {}
    for number, bad in enumerate(corpus(canary)):
        folder = shutil.copytree(good, root / "org" / f"bad-{number}")
        bad.spoil(folder)
        made[folder.name] = bad
    return made


@pytest.fixture(scope="module")
def beside(root, good, canary):
    """A good pipeline with everything beside it that nobody needs, and that nothing may touch."""
    folder = shutil.copytree(good, root / "org" / "beside")
    payload = pickles(canary)
    for name in ("pipeline.py", "modeling.py", "__init__.py", "generator/model.py", "setup.py", "sitecustomize.py"):
        (folder / name).write_text(script(canary))
    for end in (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".npy", ".fp16.bin"):
        (folder / f"generator/diffusion_pytorch_model{end}").write_bytes(payload["torch"])
    for name in ("pytorch_model.bin", "features.npy", "tokenizer/x.pkl", "scheduler/scheduler_config.json"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(payload["protocol 4"])
    (folder / "recipe.yaml").write_text("task: toy\n")
    return folder


@pytest.fixture(scope="module")
def visited(root, good, cases, beside, canary, tmp_path_factory):
    loads = []
    for name, bad in cases.items():
        if bad.local:
            loads.append([f"local {name}", str(root / "org" / name), dict(bad.options)])
        if bad.hub:
            loads.append([f"hub {name}", f"org/{name}", dict(bad.options)])
    for name in pickled(cases, canary):
        # Through the other doors: a network alone; and diffusers' own loader, which downloads more, from a copy.
        loads.append([f"alone {name}", f"org/{name}", {"load": "generator", "subfolder": "generator"}])
        shutil.copytree(root / "org" / name, root / "org" / f"plain-{name}")
        loads.append([f"diffusers {name}", f"org/plain-{name}", {"load": "diffusers"}])
    shutil.copytree(beside, root / "org" / "plain-beside")
    for way, folder in {"local": f"{root}/", "hub": ""}.items():
        loads.append([f"{way} beside", f"{folder}org/beside", {}])
        loads.append([f"{way} beside alone", f"{folder}org/beside", {"load": "generator", "subfolder": "generator"}])
        loads.append([f"{way} beside diffusers", f"{folder}org/plain-beside", {"load": "diffusers"}])
    home = tmp_path_factory.mktemp("home")
    orders = home / "orders.json"
    orders.write_text(json.dumps({"loads": loads, "canary": str(canary)}))
    with serving(root) as hub:
        inherited = {name: os.environ[name] for name in ("PATH", "SYSTEMROOT", "OMP_NUM_THREADS") if name in os.environ}
        mine = {"HF_ENDPOINT": hub.address, "HF_HOME": str(home / "cache"), "HOME": str(home), "NO_PROXY": "127.0.0.1"}
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", VISIT, str(root), good.name, str(orders)],
            env=inherited | mine,
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )
        asked = list(hub.asked)
    assert done.returncode == 0, done.stderr[-3000:]
    told = json.loads(done.stdout)
    return Visited(told["said"], told["alarms"], asked, canary)


def pickled(cases, canary):
    """The names of the folders whose networks are or hold pickles."""
    names = {bad.name for bad in disguised(canary) if not bad.options and "index" not in bad.name}
    return [name for name, bad in cases.items() if bad.name in names]


def test_every_case_is_refused_with_one_sentence(visited, cases, root):
    wrong, slowest = [], 0.0
    for name, bad in cases.items():
        for way in ("local",) * bad.local + ("hub",) * bad.hub:
            kind, sentence, seconds, _ = visited.said[f"{way} {name}"]
            source = str(root / "org" / name) if way == "local" else f"org/{name}"
            print(f"{bad.name} ({way}, {seconds * 1000:.0f} ms): {sentence.replace(source, 'REPO')}")
            slowest = max(slowest, seconds if way == "local" else 0)
            if (
                kind != bad.error
                or source not in sentence
                or bad.said not in sentence
                or "\n" in sentence
                or len(sentence) > 700
            ):
                wrong.append((bad.name, way, bad.said, kind, sentence[:700]))
    print(f"{len(cases)} cases; the slowest refusal of a folder took {slowest * 1000:.0f} ms")
    assert not wrong
    assert len(cases) > 200


def test_nothing_is_unpickled_run_or_imported(visited, canary):
    assert visited.alarms == []
    assert not canary.exists()
    assert {key: modules for key, (*_, modules) in visited.said.items() if modules} == {}


def test_pickles_are_refused_at_every_door(visited, cases, canary):
    names = pickled(cases, canary)
    assert len(names) > 12
    for name in names:
        kind, sentence, *_ = visited.said[f"alone {name}"]
        assert kind == "ModelError", (cases[name].name, sentence)
        assert visited.said[f"diffusers {name}"][0] != "NoneType", cases[name].name


@pytest.mark.parametrize("way", ["local", "hub"])
@pytest.mark.parametrize("door", ["", " alone", " diffusers"])
def test_what_lies_beside_a_good_pipeline_does_no_harm(visited, way, door):
    kind, sentence, *_ = visited.said[f"{way} beside{door}"]
    assert kind == "NoneType", sentence


def test_only_what_makes_a_pipeline_is_downloaded(visited, cases):
    asked = re.compile(r"GET /org/((?:bad|beside)[^/]*)/(?:resolve/[^/]+/([^?]+)|[0-9a-f]{64}\?path=(.+))$")
    files = {(m[1], unquote(m[2] or m[3])) for line in visited.asked if (m := asked.match(line))}
    assert {file for _, file in files if not belongs(file)} == set()
    assert {file for repo, file in files if repo == "beside"} == {INDEX, "config.json", CONFIG, WEIGHTS, "recipe.yaml"}
    early = {bad.name: name for name, bad in cases.items() if "10^9" in bad.name or "as its generator" in bad.said}
    assert early
    assert not {(repo, file) for repo, file in files if repo in early.values() and file == WEIGHTS}

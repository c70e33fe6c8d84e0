"""Which models visitors may choose, who loads them, and how many stay in memory."""

import dataclasses
import os
import shutil
import threading
from pathlib import Path

import pytest

from tests.hub_client import Client
from tests.hub_server import downloaded, serving
from vid2vid_face import SketchToFace
from vid2vid_hub import Vid2VidPipeline
from vid2vid_hub.app import models
from vid2vid_hub.app.limits import LOCAL, PUBLIC
from vid2vid_hub.app.models import Models
from vid2vid_hub.errors import ModelError, TaskError
from vid2vid_hub.nn.generator import Vid2VidGenerator
from vid2vid_hub.tasks import get_task, list_tasks
from vid2vid_hub.zoo import Entry

STARTERS = {
    "past2future": "future-starter",
    "pose2dance": "dance-starter",
    "seg2street": "street-starter",
    "sketch2face": "face-starter",
}


@pytest.fixture
def loads(monkeypatch):
    """No starters; the names of what was loaded."""
    found = []
    load = models.load_pipeline
    monkeypatch.setattr(models, "zoo", lambda _: [])
    monkeypatch.setattr(
        models, "load_pipeline", lambda name, device, **hub: found.append(name) or load(name, device, **hub)
    )
    return found


@pytest.fixture
def folders(toy_model, tmp_path, monkeypatch):
    """Three folders beside each other, of the same model: org/a, org/b, org/c, from where the tests stand."""
    monkeypatch.chdir(tmp_path)
    return [str(shutil.copytree(toy_model, f"org/{name}")) for name in "abc"]


@pytest.fixture(scope="module")
def face_model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models") / "face"
    task = SketchToFace()
    network = Vid2VidGenerator(task.channels, base_channels=4, downsamples=1, blocks=2)
    Vid2VidPipeline(network, task, size=(32, 32)).save_pretrained(folder)
    return str(folder)


def made(limits=LOCAL, **options):
    return Models(limits, device="cpu", **options)


def refused(found, name, task=None, error=ModelError):
    with pytest.raises(error) as caught:
        found.get(name, task)
    said = str(caught.value)
    assert "\n" not in said
    assert len(said) < 500
    return said


def test_starters_are_offered_to_their_tasks(toy_model):
    found = made(named=[str(toy_model)])
    offered = {task: found.offered(task) for task in list_tasks()}
    assert offered == {"toy": [str(toy_model)]} | {task: [name] for task, name in STARTERS.items()}
    for name in STARTERS.values():
        assert found.sample(name).stem == "sample"
    assert found.sample(str(toy_model)) is None
    assert found.offered("nothing") == []


def test_a_starter_is_loaded_by_its_name():
    model = made(PUBLIC).get("face-starter", "sketch2face")
    assert model.name == "face-starter"
    assert model.pipeline.task.name == "sketch2face"
    assert model.pipeline.device.type == "cpu"


def test_what_the_host_names_comes_first(folders, loads, monkeypatch):
    a, b, c = folders
    monkeypatch.setattr(models, "zoo", lambda _: [Entry("c", Path(c), "toy", weights=1), Entry("x", Path("x"), "toy")])
    found = made(PUBLIC, named=[b, a])
    assert found.offered("toy") == ["b", "a", "c"], "and what has no weights is not offered"
    assert made(named=[b, a]).offered("toy") == [b, a, "c"], "on one's own machine folders are called by where they lie"
    assert found.get("a", "toy").name == "a", "folders that the host named are open to all"
    assert found.get("c", "toy").name == "c"


def test_the_list_cannot_be_changed_from_outside(folders, loads):
    found = made(named=folders[:1])
    found.offered("toy").clear()
    assert found.offered("toy") == folders[:1]


def test_an_installation_without_starters(folders, monkeypatch):
    def none():
        raise ModelError("this installation comes with no pipelines")

    monkeypatch.setattr(models, "shipped", none)
    assert made().offered("seg2street") == []
    assert made().get(folders[0], "toy").name == folders[0]
    assert "list (none)" in refused(made(PUBLIC), "street-starter")


@pytest.mark.parametrize("kept", [1, 2])
def test_those_that_were_used_last_are_kept(folders, loads, kept):
    a, b, c = folders
    found = made(dataclasses.replace(LOCAL, models=kept))
    for name in (a, b, a, c, a):
        found.get(name)
    assert loads == ([a, b, c] if kept == 2 else [a, b, a, c, a])
    found.get(b)
    assert loads[-1] == b, "it was used longest ago"


def test_all_visitors_share_a_model(folders, loads):
    found = made()
    assert found.get(folders[0]) is found.get(f" {folders[0]}\n", "toy")
    assert loads == folders[:1]


def test_a_model_of_another_task(folders, loads):
    said = refused(made(), folders[0], "seg2street")
    assert said == "org/a is a model of toy, not of seg2street; look for it under toy"


PLACES = (
    "org/a",
    "./org/a",
    "org/../org/a",
    "../{here}/org/a",
    "{there}/org/a",
    "org",
    "/etc",
    "~",
    ".",
    "..",
    "",
    "a\0b",
    "x" * 5000,
    "a/b" + "語" * 95,
    "file:///etc/passwd",
    "https://huggingface.co/org/a",
    "org/none/none",
    "none",
)


@pytest.mark.parametrize("place", PLACES, ids=[str(number) for number in range(len(PLACES))])
def test_strangers_open_no_folder(place, folders, loads, tmp_path, monkeypatch):
    monkeypatch.setattr(models, "look", lambda *_: pytest.fail("the Hub was asked"))
    place = place.format(here=tmp_path.name, there=tmp_path)
    if "語" not in place:
        assert refused(made(PUBLIC), place).startswith("there is no model '")
    else:
        monkeypatch.setattr(models, "look", refuse)
        assert refused(made(PUBLIC), place) == "none of the Hub's"
    assert loads == []


def refuse(*_, **options):
    raise ModelError("none of the Hub's")


@pytest.mark.parametrize("place", PLACES, ids=[str(number) for number in range(len(PLACES))])
def test_where_folders_are_open_a_folder_is_loaded_or_a_sentence_said(place, folders, loads, tmp_path, monkeypatch):
    monkeypatch.setattr(models, "look", refuse)
    place = place.format(here=tmp_path.name, there=tmp_path)
    if place.endswith("org/a") and ":" not in place:
        assert made().get(place, "toy").name == place
    else:
        refused(made(), place)


def test_settings_of_the_host_are_applied(face_model, loads):
    settings = {"sketch2face": {"crop": True}}
    found = made(settings=settings, named=[face_model])
    assert found.get(face_model).pipeline.task.config()["crop"]
    assert found.task("sketch2face", face_model) is found.get(face_model).pipeline.task
    assert found.task("sketch2face", None).config()["crop"]
    plain = made()
    assert plain.get(face_model).pipeline.task.config() == SketchToFace().config()
    assert plain.task("sketch2face", "").config() == get_task("sketch2face").config()


def test_a_setting_that_nobody_knows(folders, loads):
    with pytest.raises(TaskError, match=r"^'glow' is fixed in a trained pipeline of toy; free to change: none$"):
        made(settings={"toy": {"glow": 1}}, named=folders[:1])
    found = made(settings={"toy": {"glow": 1}})
    refused(found, folders[0], error=TaskError)
    with pytest.raises(TaskError, match="does not take these settings"):
        found.task("toy", None)


# Several visitors at once.


class Slow:
    """A loading that waits for the test."""

    def __init__(self, load):
        self.load, self.began, self.go, self.names = load, threading.Event(), threading.Event(), []

    def __call__(self, name, device):
        self.names.append(name)
        self.began.set()
        assert self.go.wait(20)
        return self.load(name, device)


@pytest.fixture
def slow(monkeypatch):
    monkeypatch.setattr(models, "zoo", lambda _: [])
    loading = Slow(models.load_pipeline)
    monkeypatch.setattr(models, "load_pipeline", loading)
    return loading


def asking(found, name, answers):
    thread = threading.Thread(target=lambda: answers.append(found.get(name)))
    thread.start()
    return thread


def test_two_ask_at_once_and_it_is_loaded_once(folders, slow):
    found, answers = made(), []
    threads = [asking(found, folders[0], answers) for _ in range(2)]
    assert slow.began.wait(20)
    slow.go.set()
    for thread in threads:
        thread.join(20)
    assert slow.names == folders[:1]
    assert len(answers) == 2
    assert answers[0] is answers[1]


def test_who_wants_what_is_there_does_not_wait(folders, slow):
    slow.go.set()
    found, answers = made(), []
    there = found.get(folders[0])
    slow.go.clear()
    slow.began.clear()
    thread = asking(found, folders[1], answers)
    assert slow.began.wait(20)
    other = asking(found, folders[0], answers)
    other.join(20)
    assert answers == [there]
    slow.go.set()
    thread.join(20)
    assert [one.name for one in answers] == folders[:2]


def test_a_loading_that_fails_is_tried_again(folders, loads, monkeypatch):
    found = made()
    index = os.path.join(folders[0], "model_index.json")  # noqa: PTH118
    os.rename(index, index + ".away")  # noqa: PTH104
    refused(found, folders[0])
    os.rename(index + ".away", index)  # noqa: PTH104
    assert found.get(folders[0]).name == folders[0]


# From the Hub.

GET = """
from vid2vid_hub.app import models
from vid2vid_hub.app.limits import Limits
models.zoo = lambda _: []
found = models.Models(Limits(**given["limits"]), device="cpu").get(given["name"], "toy")
answer = [found.name, float(sum(one.detach().double().sum() for one in found.pipeline.generator.parameters()))]
"""


@pytest.fixture(scope="module")
def hub(toy_model, tmp_path_factory):
    root = tmp_path_factory.mktemp("hub")
    shutil.copytree(toy_model, root / "org" / "toy")
    with serving(root) as running:
        yield running


@pytest.fixture(scope="module")
def client(hub, tmp_path_factory):
    running = Client(hub, tmp_path_factory.mktemp("home"))
    yield running
    running.close()


@pytest.mark.hub
def test_models_of_the_hub(hub, client, toy_model):
    weights = sum(path.stat().st_size for path in toy_model.rglob("*.safetensors"))
    limits = {"folders": False, "weights": weights - 1}
    said = client.run(GET, name="org/toy", limits=limits)
    assert said.error == "ModelError", said.trace
    assert said.sentence.startswith("org/toy has 0.0 GB of weights, over the ")
    assert downloaded(hub.asked, "org/toy") == {"model_index.json"}, "refused by what the Hub lists"

    pipeline = Vid2VidPipeline.from_pretrained(toy_model)
    total = sum(one.detach().double().sum() for one in pipeline.generator.parameters())
    answer = client.do(GET, name="org/toy", limits=limits | {"weights": weights})
    assert answer == ["org/toy", pytest.approx(float(total))]

    said = client.run(GET, name="org/none", limits=limits)
    assert said.error == "ModelError", said.trace
    assert "\n" not in said.sentence
    assert "no such model on the Hub" in said.sentence


@pytest.mark.hub
def test_what_the_host_may_see_on_the_hub_is_not_the_visitor_s(hub, tmp_path):
    hub.repos["org/toy"].private = True
    token = hub.login("read")
    offered = GET.replace('"cpu")', '"cpu", named=[given["name"]])')
    host = Client(hub, tmp_path / "host", token=token)
    try:
        for weights in (1, 10**9):  # neither its size nor anything else of it is told
            said = host.run(GET, name="org/toy", limits={"folders": False, "weights": weights})
            assert said.error == "ModelError", "a stranger asked for it"
            assert "no such model on the Hub" in said.sentence
        assert host.do(offered, name="org/toy", limits={"folders": False})[0] == "org/toy", "the host offers it"
    finally:
        host.close()
        hub.repos["org/toy"].private = False

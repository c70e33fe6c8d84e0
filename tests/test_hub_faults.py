"""What networks and servers do wrong, done to loading and publishing: the result is right, or a sentence says why not.

And afterwards, with the fault gone, all is as if nothing had been: what was loaded badly loads well from the same
cache, also in another process, and what was pushed by halves was never to be seen and is pushed again.
"""

from __future__ import annotations

import hashlib
import json
import random
from pathlib import Path

import pytest
import torch

from tests.hub_client import Client, Said
from tests.hub_faults import Fault, changed, cut, faulty, flipped, page, slow, status, unanswered, unheard
from tests.hub_server import serving
from vid2vid_hub import Pix2PixHDGenerator, Vid2VidGenerator, Vid2VidPipeline
from vid2vid_hub.data.toy import ToyShapes

pytestmark = pytest.mark.hub

LOAD = """
from vid2vid_hub import Vid2VidPipeline
pipeline = Vid2VidPipeline.from_pretrained("org/toy", **given)
answer = [sum(p.double().sum().item() for p in pipeline.generator.parameters()), str(pipeline.config.task)]
"""
PUSH = """
from pathlib import Path
from vid2vid_hub.hub.push import push_folder
push_folder(Path(given.pop("folder")), given.pop("repo"), **given)
"""

READ = {
    "revision": r"GET /api/models/org/toy(/revision/\w+)?(\?|$)",
    "index": r"GET /org/toy/resolve/\w+/model_index\.json",
    "config": r"GET /org/toy/resolve/\w+/generator/config\.json",
    "companion": r"GET /org/toy/resolve/\w+/recipe\.yaml",
    "weights": r"GET /org/toy/[0-9a-f]{64}\?",
    "heads": r"HEAD /org/toy/resolve/",
}
"""What loading asks for."""
FILES = ("index", "config", "companion", "weights")
WRITE = {
    "create": r"POST /api/repos/create",
    "card": r"POST /api/validate-yaml",
    "preupload": r"POST /api/models/org/\w+/preupload/",
    "batch": r"POST /org/\w+\.git/info/lfs/objects/batch",
    "upload": r"PUT /org/\w+/[0-9a-f]{64}",
    "verify": r"POST /org/\w+\.git/info/lfs/objects/verify",
    "commit": r"POST /api/models/org/\w+/commit/",
}
"""What publishing sends."""
FOR_EVER = None


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A pipeline with two files of weights and a recipe."""
    torch.manual_seed(0)
    channels = ToyShapes().channels
    generator = Vid2VidGenerator(channels, base_channels=4, downsamples=1, blocks=2)
    image = Pix2PixHDGenerator(channels, base_channels=4, downsamples=1, blocks=1)
    folder = tmp_path_factory.mktemp("hub") / "org" / "toy"
    Vid2VidPipeline(generator, ToyShapes(), first_frame=image).save_pretrained(folder)
    (folder / "recipe.yaml").write_text("task: toy\n")
    return folder


@pytest.fixture(scope="module")
def hub(folder):
    with serving(folder.parents[1]) as hub:
        yield hub


@pytest.fixture(scope="module")
def clients(hub, tmp_path_factory):
    """Two processes: in one a fault is met, in the other it is seen what is left of it."""
    patience = {"HF_HUB_DOWNLOAD_TIMEOUT": "1", "HF_HUB_ETAG_TIMEOUT": "1"}
    both = [Client(hub, tmp_path_factory.mktemp("home"), hub.token, **patience) for _ in range(2)]
    yield both
    for client in both:
        client.close()


@pytest.fixture(scope="module")
def expected(clients, folder):
    return clients[0].do(LOAD.replace('"org/toy"', f"{str(folder)!r}"))


@pytest.fixture
def loading(hub, clients, expected, tmp_path):
    """Loads under faults into an empty cache, and then without them from what became of it."""
    count = 0

    def load(*faults: Fault) -> Said:
        nonlocal count
        count += 1
        cache = str(tmp_path / str(count))
        with faulty(hub, *faults):
            said = clients[0].run(LOAD, cache_dir=cache)
        assert said.answer == expected or is_sentence(said), said.trace
        assert clients[1].do(LOAD, cache_dir=cache) == expected, "the cache was left poisoned"
        assert clients[0].do(LOAD, cache_dir=cache) == expected, "this process remembers what was wrong"
        assert not list(Path(cache).rglob("*.incomplete"))
        return said

    return load


def is_sentence(said: Said) -> bool:
    """Whether a failure is told as people want to be told."""
    return (
        said.error == "ModelError"
        and "\n" not in said.sentence
        and len(said.sentence) < 500
        and "<!DOCTYPE" not in said.sentence
    )


def sizes(folder: Path) -> dict[str, int]:
    names = {"index": "model_index.json", "config": "generator/config.json", "companion": "recipe.yaml"}
    names["weights"] = "generator/diffusion_pytorch_model.safetensors"
    return {kind: (folder / name).stat().st_size for kind, name in names.items()}


@pytest.mark.parametrize("reset", [False, True], ids=["closed", "reset"])
@pytest.mark.parametrize("kind", ["revision", *FILES])
def test_the_connection_drops_at_any_byte(loading, folder, kind, reset):
    draw = random.Random(f"{kind} {reset}")
    size = sizes(folder).get(kind, 300)
    for byte in [0, *sorted(draw.randrange(size) for _ in range(4 if kind == "weights" else 2))]:
        fault = Fault(READ[kind], cut(byte, reset=reset))
        said = loading(fault)
        assert fault.happened == 1
        if kind in FILES and not reset:
            assert said.error is None, f"one drop at byte {byte} is too much: {said.sentence}"


@pytest.mark.parametrize("kind", ["revision", "index", "weights"])
def test_a_connection_that_always_drops(loading, kind):
    assert is_sentence(loading(Fault(READ[kind], cut(7, reset=True), FOR_EVER)))


@pytest.mark.parametrize("kind", READ)
@pytest.mark.parametrize("code", [429, 500, 503])
def test_a_server_that_is_busy_for_a_moment(loading, kind, code):
    said = loading(Fault(READ[kind], status(code, "busy", **({"Retry_After": "3"} if code == 429 else {}))))
    if code == 429 and kind in FILES:
        assert said.error is None, said.sentence
        assert any(nap >= 3 for nap in said.naps), "it did not wait for as long as it was told to"


@pytest.mark.parametrize("kind", ["revision", "index", "config", "weights", "heads"])
@pytest.mark.parametrize("code", [404, 429, 500, 503])
def test_a_server_that_will_not(loading, kind, code):
    said = loading(Fault(READ[kind], status(code, "no"), FOR_EVER))
    assert is_sentence(said), said.trace
    assert sum(said.naps) < 300


@pytest.mark.parametrize("kind", ["revision", "index", "weights"])
def test_not_found_in_between(loading, kind):
    fault = Fault(READ[kind], status(404, "Entry not found", X_Error_Code="EntryNotFound"))
    said = loading(fault)
    assert fault.happened == 1
    assert is_sentence(said)
    assert "is incomplete" in said.sentence


@pytest.mark.parametrize("kind", FILES)
@pytest.mark.parametrize("told", [True, False], ids=["right length", "wrong length"])
@pytest.mark.parametrize("times", [1, FOR_EVER], ids=["once", "always"])
def test_a_file_that_is_cut_short(loading, kind, told, times):
    said = loading(Fault(READ[kind], changed(lambda content: content[: len(content) // 2], size=told), times))
    assert times == 1 or is_sentence(said)


@pytest.mark.parametrize("kind", FILES)
@pytest.mark.parametrize("times", [1, FOR_EVER], ids=["once", "always"])
def test_another_content_of_the_same_size(loading, folder, kind, times):
    draw = random.Random(kind)
    for byte in {draw.randrange(sizes(folder)[kind]) for _ in range(3)}:
        said = loading(Fault(READ[kind], flipped(byte), times))
        assert times == 1 or is_sentence(said), f"byte {byte} of {kind} is another and nobody noticed"


@pytest.mark.parametrize("kind", ["revision", *FILES])
@pytest.mark.parametrize("times", [1, FOR_EVER], ids=["once", "always"])
def test_a_web_page_in_place_of_the_answer(loading, kind, times):
    said = loading(Fault(READ[kind], page(), times))
    assert times == 1 or is_sentence(said)


def test_a_listing_with_another_digest_is_not_believed(loading):
    def other(content):
        info = json.loads(content)
        for one in info["siblings"]:
            if "lfs" in one:
                one["lfs"]["sha256"] = "0" * 64
        return json.dumps(info).encode()

    fault = Fault(READ["revision"], changed(other), FOR_EVER)
    loading(fault)
    assert fault.happened


@pytest.mark.parametrize("kind", ["index", "weights"])
def test_a_slow_server(loading, kind):
    assert loading(Fault(READ[kind], slow(1.3))).error is None


class Pushing:
    """Publishes under faults, and again without them."""

    def __init__(self, hub, client, folder):
        self.hub, self.client, self.folder, self.count = hub, client, folder, 0
        self.repo = ""

    def __call__(self, *faults: Fault) -> Said:
        self.count += 1
        self.repo = f"org/pushed{self.count}"
        self.client.do(f"from huggingface_hub import HfApi; HfApi().create_repo({self.repo!r})")
        before = self.hub.files(self.repo)
        with faulty(self.hub, *faults):
            said = self.push()
        if said.error is None:
            assert self.right()
        else:
            assert is_sentence(said), said.trace
            assert self.hub.files(self.repo) in (before, self.files()), "half of a push is to be seen"
        return said

    def push(self) -> Said:
        return self.client.run(PUSH, folder=str(self.folder), repo=self.repo)

    def files(self):
        """What was pushed, where all of it was; None otherwise."""
        found = self.hub.files(self.repo)
        return found if self.right() else None

    def right(self) -> bool:
        found = self.hub.files(self.repo)
        paths = [path for path in self.folder.rglob("*") if path.is_file()]
        return all(found.get(path.relative_to(self.folder).as_posix()) == path.read_bytes() for path in paths)

    def sent_twice(self) -> bool:
        return self.hub.stored(self.repo) > sum(path.stat().st_size for path in self.folder.rglob("*.safetensors"))


@pytest.fixture(scope="module")
def pusher(hub, clients, folder, tmp_path_factory):
    return Pushing(hub, clients[0], folder)


def size_of(kind: str, folder: Path) -> int:
    return sizes(folder)["weights"] if kind == "upload" else 500


@pytest.mark.parametrize("kind", WRITE)
def test_a_push_that_breaks_off_is_taken_up(pusher, folder, kind):
    draw = random.Random(kind)
    for byte in [0] + [draw.randrange(size_of(kind, folder)) for _ in range(3 if kind in ("upload", "commit") else 0)]:
        fault = Fault(WRITE[kind], unheard(byte))
        said = pusher(fault)
        assert fault.happened == 1
        assert said.error is None, f"one break at byte {byte} is too much: {said.sentence}"


@pytest.mark.parametrize("kind", WRITE)
@pytest.mark.parametrize("code", [429, 500, 503])
def test_a_push_to_a_busy_server(pusher, kind, code):
    fault = Fault(WRITE[kind], status(code, "busy", **({"Retry_After": "3"} if code == 429 else {})))
    said = pusher(fault)
    assert fault.happened == 1
    assert said.error is None, said.sentence
    if code == 429 and kind in ("preupload", "batch", "upload", "verify"):
        assert any(nap >= 3 for nap in said.naps), "it did not wait for as long as it was told to"


@pytest.mark.parametrize("kind", WRITE)
@pytest.mark.parametrize("deed", [unheard(100), status(503, "no"), status(403, "no"), page(502)], ids=lambda _: "")
def test_a_push_that_fails_is_not_to_be_seen_and_goes_on_later(pusher, hub, kind, deed):
    said = pusher(Fault(WRITE[kind], deed, FOR_EVER))
    # The repository is there already; and what arrived although nobody could say so needs no second sending.
    if kind not in ("create", "verify"):
        assert said.error is not None, "nothing was sent, and all is said to be well"
        assert list(hub.files(pusher.repo)) == [".gitattributes"]
    again = pusher.push()
    assert again.error is None, again.trace
    assert pusher.right()


def test_what_has_arrived_is_not_sent_again(pusher, hub, folder):
    first, second = sorted(path.stat().st_size for path in folder.rglob("*.safetensors"))
    pusher(Fault(WRITE["commit"], status(500, "no"), FOR_EVER))
    assert hub.stored(pusher.repo) == first + second
    assert pusher.push().error is None
    assert hub.stored(pusher.repo) == first + second
    assert pusher.right()

    (larger,) = [path for path in folder.rglob("*.safetensors") if path.stat().st_size == second]
    oid = hashlib.sha256(larger.read_bytes()).hexdigest()
    said = pusher(Fault(rf"PUT /org/\w+/{oid}", status(500, "no"), FOR_EVER))
    assert is_sentence(said)
    hub.sent.clear()
    assert pusher.push().error is None
    assert hub.stored(pusher.repo) == second
    assert pusher.right()


@pytest.mark.parametrize("times", [1, FOR_EVER], ids=["once", "always"])
@pytest.mark.parametrize("code", [409, 412])
def test_somebody_else_commits_meanwhile(pusher, code, times):
    said = pusher(Fault(WRITE["commit"], status(code, "A commit has happened since. Please refresh."), times))
    assert times == 1 or is_sentence(said)
    assert pusher.push().error is None
    assert pusher.right()


def test_a_commit_whose_answer_is_lost(pusher, hub):
    pusher(Fault(WRITE["commit"], unanswered()))
    assert pusher.push().error is None
    assert pusher.right()
    repo = hub.repos[pusher.repo]
    assert len(list(repo.log(repo.heads["main"]))) == 2, "one push is two commits"

"""What is published is the folder with its card, in one commit; what breaks off goes on; what may not be is refused."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from tests.hub_client import Client
from tests.hub_faults import Fault, faulty, page, status, unanswered, unheard
from tests.hub_server import Hub, serving
from vid2vid_hub import Vid2VidPipeline
from vid2vid_hub.data.maps import write_maps
from vid2vid_hub.data.toy import ToyWorld
from vid2vid_hub.hub.about import About, Converted, write_about

pytestmark = pytest.mark.hub

SIZE, LENGTH = (32, 48), 4
WEIGHTS = "generator/diffusion_pytorch_model.safetensors"

PUSH = """
from pathlib import Path
from vid2vid_hub.hub.push import push_folder
heard = []
done = push_folder(Path(given["folder"]), given["repo"], say=heard.append, **given.get("how", {}))
answer = {"url": done.url, "oid": done.commit.oid, "files": done.files, "removed": done.removed,
          "left_out": done.left_out, "heard": heard, "pr": done.commit.pr_url}
"""
LOAD = """
import numpy as np
from vid2vid_hub import Vid2VidPipeline
pipe = Vid2VidPipeline.from_pretrained(given["repo"], **given.get("how", {}))
pipe.set_progress_bar_config(disable=True)
np.save(given["to"], pipe(condition=pipe.sample).frames)
answer = [str(pipe.dtype), pipe.sample.name]
"""


@pytest.fixture(scope="module")
def hub() -> Iterator[Hub]:
    with serving() as running:
        yield running


@pytest.fixture(scope="module")
def writer(hub: Hub, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    client = Client(hub, tmp_path_factory.mktemp("writer"), hub.token)
    yield client
    client.close()


@pytest.fixture(scope="module")
def model(toy_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pipeline folder as a training leaves it, with a sample and its author's words."""
    folder = tmp_path_factory.mktemp("published") / "toy"
    shutil.copytree(toy_model, folder)
    write_maps(folder / "sample.mkv", ToyWorld(0, *SIZE).draw(LENGTH).labels, 25)
    write_about(About(title="Toy", summary="Moves shapes.", licence="mit"), folder)
    (folder / "recipe.yaml").write_text("task: toy\nstages: [{epochs: 2, width: 48, height: 32}]\n")
    (folder / "training.json").write_text(json.dumps({"steps": 3, "epochs": 2, "seconds": 60, "device": "cpu"}))
    return folder


@pytest.fixture
def folder(model: Path, tmp_path: Path) -> Path:
    return shutil.copytree(model, tmp_path / "model")


@pytest.fixture(scope="module")
def frames(model: Path) -> np.ndarray[Any, Any]:
    pipe = Vid2VidPipeline.from_pretrained(model)
    pipe.set_progress_bar_config(disable=True)
    made: np.ndarray[Any, Any] = pipe(condition=pipe.sample).frames
    return made


@pytest.fixture(scope="module")
def halved(model: Path) -> np.ndarray[Any, Any]:
    """The frames of weights that were rounded to half precision."""
    pipe = Vid2VidPipeline.from_pretrained(model)
    pipe.set_progress_bar_config(disable=True)
    pipe.generator.half().float()
    made: np.ndarray[Any, Any] = pipe(condition=pipe.sample).frames
    return made


def the_card(hub: Hub, repo: str, revision: str = "main") -> tuple[dict[str, Any], str]:
    text = hub.files(repo, revision)["README.md"].decode()
    _, head, body = re.split(r"^---$", text, maxsplit=2, flags=re.M)
    return yaml.safe_load(head), body


def test_a_folder_becomes_a_repo_that_loads_by_its_name(
    hub: Hub, writer: Client, folder: Path, frames: np.ndarray[Any, Any], tmp_path: Path
):
    done = writer.do(PUSH, folder=str(folder), repo="org/toy")
    assert done["left_out"] == {}
    assert done["removed"] == []
    assert done["url"] == f"{hub.address}/org/toy"
    there = hub.files("org/toy")
    assert set(there) == {*done["files"], ".gitattributes"}
    for name in set(done["files"]) - {"README.md", "preview.mp4"}:
        assert there[name] == (folder / name).read_bytes(), name
    assert json.loads(there["config.json"]) == {"model_type": "vid2vid", "task": "toy", "format_version": 1}
    assert not (folder / "README.md").exists(), "the folder stays as it is"
    assert len(list(hub.repos["org/toy"].log(hub.repos["org/toy"].find("main")))) == 2, "one commit after the Hub's own"
    reader = Client(hub, tmp_path / "reader")
    assert reader.do(LOAD, repo="org/toy", to=str(tmp_path / "frames.npy")) == ["torch.float32", "sample.mkv"]
    reader.close()
    assert np.array_equal(np.load(tmp_path / "frames.npy"), frames)


def test_the_snippet_of_the_card_runs_letter_by_letter(
    hub: Hub, writer: Client, folder: Path, frames: np.ndarray[Any, Any], tmp_path: Path
):
    writer.do(PUSH, folder=str(folder), repo="org/snippet")
    head, body = the_card(hub, "org/snippet")
    assert (head["library_name"], head["pipeline_tag"], head["license"]) == ("vid2vid-hub", "video-to-video", "mit")
    (snippet,) = re.findall(r"^```python\n(.*?)^```$", body, flags=re.M | re.S)
    shape = [int(side) for side in re.search(r"uint8 \((.+)\)", snippet)[1].split(", ")]  # type: ignore[index]
    reader = Client(hub, tmp_path / "reader")
    reader.do(snippet + f"\nimport numpy\nnumpy.save({str(tmp_path / 'frames.npy')!r}, frames)\n")
    reader.close()
    made = np.load(tmp_path / "frames.npy")
    assert np.array_equal(made, frames)
    assert list(made.shape) == shape


def test_pushing_again_changes_what_changed(hub: Hub, writer: Client, folder: Path):
    first = writer.do(PUSH, folder=str(folder), repo="org/again")
    before = hub.stored("org/again")
    assert before >= (folder / WEIGHTS).stat().st_size
    assert writer.do(PUSH, folder=str(folder), repo="org/again")["oid"] == first["oid"], "nothing changed, no commit"
    write_about(About(title="Toy", summary="Moves other shapes.", licence="mit"), folder)
    (folder / "sample.mkv").rename(folder / "sample.mkv.away")
    last = writer.do(PUSH, folder=str(folder), repo="org/again")
    assert last["oid"] != first["oid"]
    assert last["removed"] == ["sample.mkv"]
    assert last["left_out"] == {"sample.mkv.away": "no part of a pipeline"}
    assert hub.stored("org/again") == before, "weights that the Hub has are not sent again"
    assert "Moves other shapes." in the_card(hub, "org/again")[1]


def test_what_is_no_part_of_a_pipeline_stays_in_the_repo(hub: Hub, writer: Client, folder: Path):
    writer.do(PUSH, folder=str(folder), repo="org/notes")
    writer.do(
        "from huggingface_hub import HfApi\nHfApi().upload_file(path_or_fileobj=b'mine', "
        "path_in_repo='notes.txt', repo_id='org/notes')"
    )
    (folder / "training.json").unlink()
    assert writer.do(PUSH, folder=str(folder), repo="org/notes")["removed"] == ["training.json"]
    assert hub.files("org/notes")["notes.txt"] == b"mine"


def test_half_precision_beside_the_plain_weights(
    hub: Hub, writer: Client, folder: Path, halved: np.ndarray[Any, Any], tmp_path: Path
):
    writer.do(PUSH, folder=str(folder), repo="org/half", how={"fp16": True})
    sizes = {name: len(content) for name, content in hub.files("org/half").items() if name.endswith(".safetensors")}
    assert set(sizes) == {WEIGHTS, WEIGHTS.replace(".safetensors", ".fp16.safetensors")}
    assert sizes[WEIGHTS] > 1.8 * sizes[WEIGHTS.replace(".safetensors", ".fp16.safetensors")]
    load = {"repo": "org/half", "to": str(tmp_path / "half.npy"), "how": {"variant": "fp16"}}
    assert writer.do(LOAD, **load)[0] == "torch.float32"
    assert np.array_equal(np.load(tmp_path / "half.npy"), halved)
    # Without --fp16 the old half would be of other weights: it goes.
    assert writer.do(PUSH, folder=str(folder), repo="org/half")["removed"] == [
        WEIGHTS.replace(".safetensors", ".fp16.safetensors")
    ]


def test_a_pipeline_publishes_itself_in_shards_with_their_halves(
    hub: Hub,
    writer: Client,
    folder: Path,
    frames: np.ndarray[Any, Any],
    halved: np.ndarray[Any, Any],
    tmp_path: Path,
):
    code = """
from vid2vid_hub import Vid2VidPipeline
pipe = Vid2VidPipeline.from_pretrained(given["folder"])
pipe.set_progress_bar_config(disable=True)
commit = pipe.push_to_hub("org/shards", commit_message="In pieces", max_shard_size="60KB", variant="fp16")
answer = [str(commit), commit.oid]
"""
    url, oid = writer.do(code, folder=str(folder))
    assert url == f"{hub.address}/org/shards/commit/{oid}"
    there = set(hub.files("org/shards"))
    plain = {name for name in there if re.search(r"model-\d{5}-of-\d{5}\.safetensors$", name)}
    half = {name for name in there if re.search(r"model\.fp16-\d{5}-of-\d{5}\.safetensors$", name)}
    assert len(plain) == len(half) > 1
    assert {"sample.mkv", "preview.mp4", "about.yaml", "recipe.yaml", "training.json", "README.md"} <= there
    for how, expected in (({}, frames), ({"variant": "fp16"}, halved)):
        writer.do(LOAD, repo="org/shards", to=str(tmp_path / "made.npy"), how=how)
        assert np.array_equal(np.load(tmp_path / "made.npy"), expected)


def test_a_branch_is_made_where_it_is_missing(hub: Hub, writer: Client, folder: Path, tmp_path: Path):
    writer.do(PUSH, folder=str(folder), repo="org/branch", how={"revision": "v2"})
    assert set(hub.files("org/branch")) == {".gitattributes"}
    snippet = the_card(hub, "org/branch", "v2")[1]
    assert 'from_pretrained("org/branch", revision="v2")' in snippet
    assert writer.do(LOAD, repo="org/branch", to=str(tmp_path / "x.npy"), how={"revision": "v2"})
    writer.do(PUSH, folder=str(folder), repo="org/branch", how={"revision": "v2"})
    assert writer.do(PUSH, folder=str(folder), repo="org/branch", how={"create_pr": True})["pr"].endswith("/1")
    assert set(hub.files("org/branch")) == {".gitattributes"}, "a pull request leaves main alone"


def test_a_private_repo_is_private_from_its_first_moment(hub: Hub, writer: Client, folder: Path, tmp_path: Path):
    writer.do(PUSH, folder=str(folder), repo="org/secret", how={"private": True})
    assert hub.repos["org/secret"].private
    stranger = Client(hub, tmp_path / "stranger")
    said = stranger.run(LOAD, repo="org/secret", to=str(tmp_path / "x.npy"))
    stranger.close()
    assert said.error == "ModelError"
    assert "org/secret" in said.sentence
    writer.do(PUSH, folder=str(folder), repo="org/public")
    said = writer.run(PUSH, folder=str(folder), repo="org/public", how={"private": True})
    assert said.error == "ModelError"
    assert "public" in said.sentence
    assert len(list(hub.repos["org/public"].log(hub.repos["org/public"].find("main")))) == 2


@pytest.mark.parametrize(
    ("where", "what"),
    {
        "while large files are sent": (r"PUT /org/", unheard(1000)),
        "after a large file has come": (r"PUT /org/", unanswered()),
        "in the commit": (r"POST .*/commit/", unheard(100)),
        "after the commit": (r"POST .*/commit/", unanswered()),
        "before anything": (r"POST /api/repos/create", unheard(0)),
        "in the list": (r"POST .*/preupload/", status(503)),
        "as it is busy": (r"POST .*/commit/", status(429)),
    }.values(),
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_dropped_connection_is_gone_on_from(hub: Hub, writer: Client, folder: Path, where: str, what: Any):
    repo = f"org/dropped-{hashlib.sha1(f'{where}{what.__qualname__}'.encode()).hexdigest()[:8]}"
    with faulty(hub, fault := Fault(where, what)):
        done = writer.do(PUSH, folder=str(folder), repo=repo)
    assert fault.happened == 1
    assert set(hub.files(repo)) == {*done["files"], ".gitattributes"}
    assert hub.files(repo)[WEIGHTS] == (folder / WEIGHTS).read_bytes()
    assert len(list(hub.repos[repo].log(hub.repos[repo].find("main")))) == 2, "one commit, however often it was tried"


def test_what_the_hub_has_is_not_sent_again_after_a_failure(hub: Hub, writer: Client, folder: Path):
    """The weights arrive, and the commit never does; the next push sends no byte of them."""
    with faulty(hub, Fault(r"POST .*/commit/", unheard(10), times=None)):
        said = writer.run(PUSH, folder=str(folder), repo="org/later", how={"attempts": 2})
    assert said.error == "ModelError"
    assert "push again" in said.sentence
    sent = hub.stored("org/later")
    assert sent >= (folder / WEIGHTS).stat().st_size
    assert set(hub.files("org/later")) == {".gitattributes"}, "nothing of a commit that failed is there"
    writer.do(PUSH, folder=str(folder), repo="org/later")
    assert hub.stored("org/later") == sent


@pytest.mark.parametrize(
    ("fault", "said"),
    {
        "401": ((r"POST /api/repos/create", status(401)), "hf auth login"),
        "403": ((r"POST .*/preupload/", status(403)), "may not write"),
        "404": ((r"POST .*/preupload/", status(404)), "may not write"),
        "taken": ((r"POST /api/repos/create", status(409, "name is taken")), "may not write|taken|cannot be"),
        "quota": (
            (r"POST .*/batch", status(403, X_Error_Message="Private repository storage limit reached")),
            "no room",
        ),
        "moved": ((r"POST .*/commit/", status(412)), "somebody else"),
        "page": ((r"POST /api/repos/create", page()), "cannot be published|does not take"),
    }.values(),
)
def test_what_the_hub_refuses_is_one_sentence(hub: Hub, writer: Client, folder: Path, fault: Any, said: str):
    where, deed = fault
    with faulty(hub, Fault(where, deed, times=None)):
        heard = writer.run(PUSH, folder=str(folder), repo="org/refused")
    assert heard.is_one_sentence(said, hub), heard.trace
    assert len(heard.naps) <= 1, "what was refused is not asked again"


def test_without_a_login_and_without_the_hub(hub: Hub, folder: Path, tmp_path: Path):
    for name, environment, said in (
        ("nobody", {}, "hf auth login"),
        ("offline", {"HF_HUB_OFFLINE": "1"}, "HF_HUB_OFFLINE"),
        ("nowhere", {"HF_ENDPOINT": "http://127.0.0.1:9"}, "failed 2 times"),
    ):
        client = Client(hub, tmp_path / name, **environment)
        heard = client.run(PUSH, folder=str(folder), repo="org/nobody", how={"attempts": 2})
        client.close()
        assert heard.error == "ModelError", heard.trace
        assert said in heard.sentence
        assert "\n" not in heard.sentence
    assert "org/nobody" not in hub.repos


def test_converted_weights_are_published_by_those_who_may(hub: Hub, writer: Client, folder: Path):
    converted = Converted("vid2vid", "cc-by-nc-sa-4.0", {"latest_net_G0.pth": "0" * 64})
    write_about(About(title="Theirs", converted=converted), folder)
    asked = len(hub.asked)
    heard = writer.run(PUSH, folder=str(folder), repo="org/theirs")
    assert heard.error == "ModelError"
    assert "--i-have-the-rights" in heard.sentence
    assert len(hub.asked) == asked, "the Hub hears nothing of it"
    load = "from vid2vid_hub import Vid2VidPipeline\npipe = Vid2VidPipeline.from_pretrained(given['folder'])\n"
    assert writer.run(load + "pipe.push_to_hub('org/theirs')", folder=str(folder)).sentence == heard.sentence
    assert "org/theirs" not in hub.repos
    writer.do(PUSH, folder=str(folder), repo="org/theirs", how={"rights": True})
    head, body = the_card(hub, "org/theirs")
    assert head["license"] == "cc-by-nc-sa-4.0"
    assert "converted" in head["tags"]
    assert "carry the licence of the original: `cc-by-nc-sa-4.0`" in body
    assert "latest_net_G0.pth" in body

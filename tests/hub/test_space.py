"""A Space in the Hub is its folder: one commit, gone on from where it broke off, of requirements that pip installs."""

from __future__ import annotations

import hashlib
import io
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.hub.test_space_folder import DEMO, TOKEN, write_wheel
from tests.hub_client import COMMAND, Client
from tests.hub_faults import Fault, faulty, page, status, unanswered, unheard
from tests.hub_server import Hub, serving

pytestmark = pytest.mark.hub

LIST = ".vid2vid-hub.json"
PUSH = """
from pathlib import Path
from vid2vid_hub.hub.space import push_space
heard, how = [], given.get("how", {})
wheel = Path(given["wheel"]) if "wheel" in given else None
done = push_space(Path(given["folder"]), given["repo"], wheel=wheel, say=heard.append, **how)
answer = {"url": done.url, "oid": done.commit.oid, "files": done.files, "removed": done.removed,
          "left_out": done.left_out, "heard": heard}
"""
FETCH = """
from huggingface_hub import snapshot_download
answer = snapshot_download(given["repo"], repo_type="space", local_dir=given["to"])
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


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A Space with a binary file, which the Hub keeps apart."""
    folder = shutil.copytree(DEMO, tmp_path / "demo")
    (folder / "example.npz").write_bytes(_arrays())
    return folder


def _arrays() -> bytes:
    np.savez(made := io.BytesIO(), points=np.arange(3000))
    return made.getvalue()


def count(hub: Hub, name: str) -> int:
    repo = hub.repos[name]
    return len(list(repo.log(repo.find("main"))))


def test_a_folder_becomes_a_space_that_holds_the_same_bytes(hub: Hub, writer: Client, folder: Path, tmp_path: Path):
    done = writer.do(PUSH, folder=str(folder), repo="org/demo")
    assert done["url"] == f"{hub.address}/spaces/org/demo"
    assert (done["left_out"], done["removed"], done["heard"]) == ({}, [], [])
    mine = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert {name: content for name, content in hub.files("spaces/org/demo").items() if name in mine} == mine
    assert set(hub.files("spaces/org/demo")) == {*mine, ".gitattributes", LIST}
    assert hub.repos["spaces/org/demo"].sdk == "gradio"
    assert count(hub, "spaces/org/demo") == 2, "one commit after the Hub's own"
    assert "org/demo" not in hub.repos, "no model of the name is made"
    reader = Client(hub, tmp_path / "reader")
    there = Path(reader.do(FETCH, repo="org/demo", to=str(tmp_path / "there")))
    reader.close()
    assert {name: (there / name).read_bytes() for name in mine} == mine
    assert not any(hub.token.encode() in content for content in hub.files("spaces/org/demo").values())
    assert hub.leaked == []


def test_pushing_again_changes_what_changed(hub: Hub, writer: Client, folder: Path):
    (folder / "old.txt").write_text("old")
    first = writer.do(PUSH, folder=str(folder), repo="org/again")
    stored = hub.stored("spaces/org/again")
    assert stored >= (folder / "example.npz").stat().st_size
    assert writer.do(PUSH, folder=str(folder), repo="org/again")["oid"] == first["oid"], "nothing changed, no commit"
    (folder / "old.txt").unlink()
    (folder / "new.txt").write_text("new")
    last = writer.do(PUSH, folder=str(folder), repo="org/again", how={"commit_message": "Anew"})
    assert last["removed"] == ["old.txt"]
    assert hub.stored("spaces/org/again") == stored, "large files that the Hub has are not sent again"
    there = hub.files("spaces/org/again")
    assert "old.txt" not in there
    assert there["new.txt"] == b"new"
    repo = hub.repos["spaces/org/again"]
    assert repo.commits[repo.heads["main"]].title == "Anew"


UPLOAD = """
from huggingface_hub import HfApi
for name, text in given["files"].items():
    HfApi().upload_file(path_or_fileobj=text.encode(), path_in_repo=name, repo_id=given["repo"], repo_type="space")
"""


@pytest.mark.parametrize(
    "ours", ["{", "[]", '{"files": 3}', '{"files": [{}, ".gitattributes", "gone.txt", "../x"]}', "[" * 100_000]
)
def test_what_others_put_there_stays(hub: Hub, writer: Client, folder: Path, ours: str):
    repo = f"org/others-{hashlib.sha1(ours.encode()).hexdigest()[:8]}"
    writer.do(PUSH, folder=str(folder), repo=repo)
    writer.do(UPLOAD, repo=repo, files={"notes.txt": "mine", LIST: ours})
    (folder / "example.npz").unlink()
    assert writer.do(PUSH, folder=str(folder), repo=repo)["removed"] == []
    assert {"notes.txt", ".gitattributes", "example.npz"} <= set(hub.files(f"spaces/{repo}"))


def test_a_model_of_the_same_name_and_a_space_of_another_kind(hub: Hub, writer: Client, folder: Path):
    make = "from huggingface_hub import HfApi\nHfApi().create_repo(given['repo'], **given['how'])"
    writer.do(make, repo="org/both", how={})
    writer.do(PUSH, folder=str(folder), repo="org/both")
    assert set(hub.files("org/both")) == {".gitattributes"}, "a model of the name is another repo"
    writer.do(make, repo="org/other", how={"repo_type": "space", "space_sdk": "docker"})
    said = writer.run(PUSH, folder=str(folder), repo="org/other")
    assert said.error == "ModelError", said.trace
    assert said.sentence == "org/other is there already, and a Space of docker; take another name"
    assert count(hub, "spaces/org/other") == 1


def test_a_private_space_is_private_from_its_first_moment(hub: Hub, writer: Client, folder: Path):
    writer.do(PUSH, folder=str(folder), repo="org/secret", how={"private": True})
    assert hub.repos["spaces/org/secret"].private
    writer.do(PUSH, folder=str(folder), repo="org/public")
    said = writer.run(PUSH, folder=str(folder), repo="org/public", how={"private": True})
    assert said.error == "ModelError"
    assert "public" in said.sentence
    assert count(hub, "spaces/org/public") == 2


@pytest.mark.parametrize(
    ("where", "what"),
    {
        "before anything": (r"POST /api/repos/create", unheard(0)),
        "while large files are sent": (r"PUT /spaces/org/", unheard(1000)),
        "in the commit": (r"POST .*/commit/", unheard(100)),
        "after the commit": (r"POST .*/commit/", unanswered()),
        "as it is busy": (r"POST .*/commit/", status(429)),
        "in the info": (r"GET /api/spaces/org/[^/]+/revision/main", status(503)),
    }.values(),
)
def test_a_dropped_connection_is_gone_on_from(hub: Hub, writer: Client, folder: Path, where: str, what: Any):
    repo = f"org/dropped-{hashlib.sha1(f'{where}{what.__qualname__}'.encode()).hexdigest()[:8]}"
    with faulty(hub, fault := Fault(where, what)):
        done = writer.do(PUSH, folder=str(folder), repo=repo)
    assert fault.happened == 1
    assert set(hub.files(f"spaces/{repo}")) == {*done["files"], ".gitattributes"}
    assert count(hub, f"spaces/{repo}") == 2, "one commit, however often it was tried"


def test_the_list_of_what_is_ours_is_asked_for_again_too(hub: Hub, writer: Client, folder: Path):
    (folder / "old.txt").write_text("old")
    writer.do(PUSH, folder=str(folder), repo="org/list")
    (folder / "old.txt").unlink()
    where = rf"(HEAD|GET) /spaces/org/list/resolve/.*{re.escape(LIST)}"
    with faulty(hub, fault := Fault(where, status(503), times=12)):
        done = writer.do(PUSH, folder=str(folder), repo="org/list")
    assert fault.happened >= 1
    assert done["removed"] == ["old.txt"]


@pytest.mark.parametrize(
    ("fault", "said"),
    {
        "401": ((r"POST /api/repos/create", status(401)), "hf auth login"),
        "402": ((r"POST /api/repos/create", status(402, X_Error_Message="needs a subscription")), "wants to be paid"),
        "403": ((r"POST .*/preupload/", status(403)), "may not write"),
        "moved": ((r"POST .*/commit/", status(412)), "somebody else"),
        "page": ((r"POST /api/repos/create", page()), "cannot be published|does not take"),
    }.values(),
)
def test_what_the_hub_refuses_is_one_sentence(hub: Hub, writer: Client, folder: Path, fault: Any, said: str):
    where, deed = fault
    with faulty(hub, Fault(where, deed, times=None)):
        heard = writer.run(PUSH, folder=str(folder), repo="org/refused")
    assert heard.is_one_sentence(said, hub), heard.trace


def test_a_broken_folder_is_refused_before_the_hub_hears_of_it(hub: Hub, writer: Client, folder: Path):
    (folder / "app.py").write_text(f"# {TOKEN}")
    asked = len(hub.asked)
    assert "looks like a token" in writer.run(PUSH, folder=str(folder), repo="org/broken").sentence
    assert len(hub.asked) == asked
    assert "spaces/org/broken" not in hub.repos


def test_a_wheel_goes_along_and_pip_installs_it(hub: Hub, writer: Client, folder: Path, tmp_path: Path):
    extras = ("app", "street", "face", "dance")
    wheel = write_wheel(tmp_path / "vid2vid_hub-0.1.0-py3-none-any.whl", extras=extras)
    (folder / wheel.name).write_bytes(b"an older one")
    done = writer.do(PUSH, folder=str(folder), repo="org/wheel", wheel=str(wheel))
    assert wheel.name in done["files"]
    assert done["left_out"] == {}
    there = hub.files("spaces/org/wheel")
    assert there[wheel.name] == wheel.read_bytes()
    assert "./" not in there["requirements.txt"].decode()
    fetched = tmp_path / "requirements.txt"
    fetched.write_bytes(there["requirements.txt"])

    def pip(to: Path) -> subprocess.CompletedProcess[str]:
        quiet = ("--isolated", "--disable-pip-version-check", "--no-cache-dir", "--retries", "0")
        words = (sys.executable, "-m", "pip", "download", *quiet, "--no-index", "--no-deps", "-r", fetched, "-d", to)
        env = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "NO_PROXY": "127.0.0.1"}
        return subprocess.run(words, env=env, cwd=tmp_path, capture_output=True, text=True, check=False)

    said = pip(tmp_path / "installed")
    assert said.returncode == 0, said.stderr
    assert (tmp_path / "installed" / wheel.name).read_bytes() == wheel.read_bytes()
    fetched.write_bytes(re.sub(rb"sha256=....", b"sha256=0000", there["requirements.txt"]))
    assert "DO NOT MATCH" in pip(tmp_path / "other").stderr, "another wheel of that name is refused"

    newer = write_wheel(tmp_path / "vid2vid_hub-0.2.0-py3-none-any.whl", "vid2vid_hub-0.2.0", extras)
    assert writer.do(PUSH, folder=str(folder), repo="org/wheel", wheel=str(newer))["removed"] == [wheel.name]
    assert writer.do(PUSH, folder=str(folder), repo="org/wheel")["removed"] == [newer.name]
    assert hub.files("spaces/org/wheel")["requirements.txt"] == (DEMO / "requirements.txt").read_bytes()
    hub.repos["spaces/org/wheel"].private = True
    said_of_private = writer.run(PUSH, folder=str(folder), repo="org/wheel", wheel=str(newer))
    assert "is private" in said_of_private.sentence


def test_the_command_line(hub: Hub, writer: Client, folder: Path):
    (folder / ".env").write_text("x")
    space = ["push", "--space", str(folder), "org/cli"]
    for words, refused in (
        ([*space, "--fp16"], "--fp16 is of models"),
        ([*space, "--revision", "v2"], "--revision is of models"),
        ([*space, "--i-have-the-rights"], "--i-have-the-rights is of models"),
        (["push", str(folder), "org/cli", "--wheel", "x.whl"], "--wheel is of Spaces"),
    ):
        code, out, err = writer.do(COMMAND, arguments=words)
        assert (code, out) == (2, "")
        assert refused in err
        assert err.count("\n") == 1
    assert "spaces/org/cli" not in hub.repos
    code, out, err = writer.do(COMMAND, arguments=[*space, "--private", "--message", "From the command line"])
    assert code == 0, err
    assert out.splitlines()[0] == "left out: .env, hidden"
    assert re.fullmatch(rf"{hub.address}/spaces/org/cli: 5 files, commit [0-9a-f]{{7}}", out.splitlines()[-1])
    repo = hub.repos["spaces/org/cli"]
    assert repo.private
    assert repo.commits[repo.heads["main"]].title == "From the command line"


def test_the_stand_in_refuses_what_the_hub_does(writer: Client, hub: Hub):
    start = "from huggingface_hub import HfApi\napi = HfApi()\n"
    make = start + "api.create_repo('org/strict', repo_type='space', space_sdk='gradio')"
    upload = start + (
        "api.upload_file(path_or_fileobj=given['text'].encode(), path_in_repo='README.md', repo_id='org/strict', "
        "repo_type='space')"
    )
    writer.do(make)
    for text in ("sdk: streamlit", "sdk: gradio\ncolorTo: teal", "sdk: gradio\npython_version: 3.12"):
        said = writer.run(upload, text=f"---\n{text}\n---\n")
        assert said.error == "ValueError", said.trace
        assert "Invalid metadata in README.md" in said.sentence
    assert count(hub, "spaces/org/strict") == 1

"""Publishing and loading, said in the Hub's own protocol: huggingface_hub as it is against a stand-in on this machine.

Everything runs in other Python processes, because the libraries read the Hub's address when they are imported.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from textwrap import indent

import numpy as np
import pytest
import torch

from tests.hub_client import COMMAND, Client
from tests.hub_faults import Fault, cut, faulty
from tests.hub_server import downloaded, serving
from vid2vid_hub import Vid2VidGenerator, Vid2VidPipeline
from vid2vid_hub.data.toy import ToyShapes

pytestmark = pytest.mark.hub

PUSH = """
from vid2vid_hub import Vid2VidPipeline
repo, folder = given.pop("repo"), given.pop("folder")
answer = Vid2VidPipeline.from_pretrained(folder).push_to_hub(repo, **given).oid
"""
LOAD = """
import numpy as np
from vid2vid_hub import Vid2VidPipeline
from vid2vid_hub.data.toy import ToyWorld
repo = given.pop("repo")
pipeline = Vid2VidPipeline.from_pretrained(repo, **given)
pipeline.set_progress_bar_config(disable=True)
frames = pipeline(condition=ToyWorld(0, 32, 48).draw(3).condition).frames
answer = [int(frames.astype(np.int64).sum()), sum(p.double().sum().item() for p in pipeline.generator.parameters())]
"""
API = """
from huggingface_hub import HfApi
api = HfApi()
"""


def saved(folder: Path, seed: int = 0) -> Path:
    """A pipeline folder whose weights the seed chose."""
    torch.manual_seed(seed)
    generator = Vid2VidGenerator(ToyShapes().channels, base_channels=4, downsamples=1, blocks=2)
    Vid2VidPipeline(generator, ToyShapes(), size=(32, 48)).save_pretrained(folder)
    return folder


def weight(files: dict[str, bytes]) -> str:
    """The one file of weights."""
    (name,) = [name for name in files if name.endswith(".safetensors")]
    return name


@pytest.fixture(scope="module")
def hub():
    with serving(page=4) as hub:
        yield hub


@pytest.fixture(scope="module")
def client(hub, tmp_path_factory):
    """Somebody who may write."""
    client = Client(hub, tmp_path_factory.mktemp("writer"), hub.token)
    yield client
    client.close()


@pytest.fixture(scope="module")
def reader(hub, tmp_path_factory):
    """Somebody who is not logged in."""
    client = Client(hub, tmp_path_factory.mktemp("reader"))
    yield client
    client.close()


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    return saved(tmp_path_factory.mktemp("models") / "toy")


@pytest.fixture(scope="module")
def published(hub, client, toy):
    """A repository with a history: three commits that are told apart by their weights, a branch and a tag."""
    first = client.do(PUSH, repo="org/history", folder=str(toy))
    client.do(API + "api.create_tag('org/history', tag='v1'); api.create_branch('org/history', branch='dev')")
    other = saved(toy.with_name("other"), 1)
    second = client.do(PUSH, repo="org/history", folder=str(other), revision="dev")
    third = client.do(PUSH, repo="org/history", folder=str(saved(toy.with_name("third"), 2)))
    return {"v1": toy, first: toy, "dev": other, second: other, "main": toy.with_name("third"), third: None}


@pytest.fixture(scope="module")
def sums(client):
    """What a folder makes, computed once."""
    known = {}

    def of(folder):
        if folder not in known:
            known[folder] = client.do(LOAD, repo=str(folder))
        return known[folder]

    return of


def test_a_repository_is_made_once(client, hub):
    client.do(API + "api.create_repo('org/once'); api.create_repo('org/once', exist_ok=True)")
    said = client.run(API + "api.create_repo('org/once')")
    assert said.error == "HfHubHTTPError"
    assert "409" in said.sentence
    assert list(hub.files("org/once")) == [".gitattributes"]


def test_what_is_pushed_is_the_folder_weights_apart(client, hub, toy, published):
    found = hub.files("org/history", "v1")
    for path in (path for path in toy.rglob("*") if path.is_file()):
        assert found[path.relative_to(toy).as_posix()] == path.read_bytes()
    repo = hub.repos["org/history"]
    large = {name for name, blob in repo.commits[repo.tags["v1"]].files.items() if blob.large}
    assert large == {"generator/diffusion_pytorch_model.safetensors"}
    assert hub.leaked == []


def test_listings(client, hub, published):
    listed = client.do(
        API
        + """
info = api.model_info("org/history", files_metadata=True)
answer = {
    "files": api.list_repo_files("org/history"),
    "tree": {one.path: one.lfs.sha256 if one.lfs else one.blob_id for one in api.list_repo_tree("org/history",
        recursive=True) if hasattr(one, "blob_id")},
    "siblings": {one.rfilename: one.lfs.sha256 if one.lfs else one.blob_id for one in info.siblings},
    "some": [one.path for one in api.get_paths_info("org/history", ["generator/config.json", "nothing"])],
    "refs": [[one.name for one in kind] for kind in (api.list_repo_refs("org/history").branches,
        api.list_repo_refs("org/history").tags)],
    "commits": [one.commit_id for one in api.list_repo_commits("org/history")],
    "library": info.library_name,
}
"""
    )
    files = hub.files("org/history")
    assert len(files) > hub.page
    assert set(listed["files"]) == set(listed["tree"]) == set(listed["siblings"]) == set(files)
    assert listed["tree"] == listed["siblings"]
    assert listed["some"] == ["generator/config.json"]
    assert listed["refs"] == [["main", "dev"], ["v1"]]
    shas = list(published)
    assert listed["commits"][:2] == [shas[5], shas[1]]
    assert listed["library"] == "vid2vid-hub"


@pytest.mark.parametrize("which", range(6), ids=["tag", "first commit", "branch", "its commit", "main", "last commit"])
def test_every_revision_loads_its_own_weights(client, published, sums, which):
    revision = list(published)[which]
    folder = published[revision] or published["main"]
    assert client.do(LOAD, repo="org/history", revision=revision) == sums(folder)
    assert len({tuple(sums(one)) for one in published.values() if one}) == 3


def test_pushing_again_sends_what_has_changed(client, hub, toy, tmp_path):
    client.do(PUSH, repo="org/again", folder=str(toy))
    hub.sent.clear()
    before = hub.repos["org/again"].heads["main"]
    client.do(PUSH, repo="org/again", folder=str(toy))
    assert hub.stored("org/again") == 0
    assert hub.repos["org/again"].heads["main"] == before, "nothing has changed, and there is a commit of it"

    changed = shutil.copytree(toy, tmp_path / "changed")
    (changed / "recipe.yaml").write_text("task: toy\n")
    hub.sent.clear()
    client.do(PUSH, repo="org/again", folder=str(changed))
    assert hub.stored("org/again") == 0
    assert hub.files("org/again")["recipe.yaml"] == b"task: toy\n"
    (sent,) = [size for path, size in hub.sent if "/commit/" in path]
    assert sent < 20_000


def test_a_variant_is_loaded_alone(client, hub, toy):
    client.do(PUSH, repo="org/half", folder=str(toy))
    client.do(PUSH, repo="org/half", folder=str(toy), variant="fp16")
    assert sum(name.endswith(".safetensors") for name in hub.files("org/half")) == 2
    hub.asked.clear()
    dtype = "import torch; answer = str(pipeline.generator.dtype)"
    assert client.do(LOAD.split("frames =")[0] + dtype, repo="org/half", variant="fp16") == "torch.float32"
    (weights,) = [name for name in downloaded(hub.asked, "org/half") if name.endswith(".safetensors")]
    assert ".fp16." in weights


def test_a_pull_request_leaves_main_alone(client, hub, toy, sums):
    client.do(PUSH, repo="org/asked", folder=str(toy))
    before = hub.files("org/asked")
    client.do(PUSH, repo="org/asked", folder=str(toy.with_name("other")), create_pr=True)
    assert hub.files("org/asked") == before
    loaded = client.do(LOAD, repo="org/asked", revision="refs/pr/1")
    assert loaded == sums(toy.with_name("other")) != sums(toy)


def test_what_was_deleted_is_gone(client, hub, toy):
    client.do(PUSH, repo="org/gone", folder=str(toy))
    client.do(API + "api.delete_repo('org/gone')")
    said = client.run(LOAD, repo="org/gone")
    assert said.error == "ModelError"
    assert "org/gone" in said.sentence
    assert "org/gone" not in hub.repos


@pytest.mark.parametrize("who", ["nobody", "stranger", "wrong", "reader", "writer"])
def test_a_private_repository_is_for_members(client, reader, hub, toy, sums, who):
    if "org/private" not in hub.repos:
        client.do(PUSH, repo="org/private", folder=str(toy), private=True)
    assert hub.repos["org/private"].private
    wrong = "hf_" + "x" * 34
    known = {"nobody": False, "stranger": hub.login("visit"), "wrong": wrong, "reader": hub.login("read")}
    token = known.get(who, hub.token)
    said = reader.run(LOAD, repo="org/private", token=token, cache_dir=str(reader.home / who))
    if who in ("reader", "writer"):
        assert said.answer == sums(toy)
    else:
        assert said.error == "ModelError"
        assert "org/private" in said.sentence
        assert "\n" not in said.sentence
        assert "hf auth login" in said.sentence
        assert wrong not in said.sentence
    if who == "reader":
        pushed = reader.run(PUSH, repo="org/private", folder=str(toy.with_name("other")), token=token)
        assert pushed.error == "ModelError"
        assert "org/private" in pushed.sentence


def test_nobody_pushes_without_a_login(reader, hub, toy):
    said = reader.run(PUSH, repo="org/nobodys", folder=str(toy))
    assert said.error == "ModelError"
    assert "hf auth login" in said.sentence
    assert "org/nobodys" not in hub.repos


@pytest.mark.parametrize("repo", ["org/missing", "org/history@v9"])
def test_what_is_not_there(reader, published, repo):
    name, _, revision = repo.partition("@")
    said = reader.run(LOAD, repo=name, **({"revision": revision} if revision else {}))
    assert said.error == "ModelError"
    assert name in said.sentence
    assert revision in said.sentence
    assert "\n" not in said.sentence


def test_a_warm_cache_needs_no_hub(client, hub, published, sums, tmp_path):
    cache = str(tmp_path / "cache")
    client.do(LOAD, repo="org/history", cache_dir=cache, revision="v1")
    hub.asked.clear()
    loaded = client.do(LOAD, repo="org/history", cache_dir=cache, revision="v1", local_files_only=True)
    assert loaded == sums(published["v1"])
    offline = Client(hub, tmp_path / "home", HF_HUB_OFFLINE="1")
    assert offline.do(LOAD, repo="org/history", cache_dir=cache, revision="v1") == loaded
    said = offline.run(LOAD, repo="org/history", cache_dir=cache, revision="dev")
    assert said.error == "ModelError"
    assert "org/history" in said.sentence
    offline.close()
    assert hub.asked == []


@pytest.mark.parametrize(("piece", "ranges"), [(1000, ["bytes=1000-"]), (10 << 20, [])], ids=["pieces", "one piece"])
def test_an_interrupted_download_goes_on_after_its_last_whole_piece(
    client, hub, published, sums, tmp_path, piece, ranges
):
    # huggingface_hub writes a file in pieces, of 10 MiB unless told otherwise, and asks again from the end of the last
    # that came whole: of a connection that breaks within the first, as this one does, it keeps nothing.
    code = """
from unittest.mock import patch
from huggingface_hub import constants
with patch.object(constants, "DOWNLOAD_CHUNK_SIZE", given.pop("piece")):
""" + indent(LOAD, "    ")
    hub.ranges.clear()
    fault = Fault(r"GET /org/history/[0-9a-f]{64}\?", cut(1234))
    with faulty(hub, fault):
        loaded = client.do(code, repo="org/history", cache_dir=str(tmp_path), revision="v1", piece=piece)
    assert fault.happened == 1
    assert loaded == sums(published["v1"])
    assert [wanted for _, wanted in hub.ranges] == ranges


def test_two_processes_fill_one_cache(client, reader, hub, published, sums, tmp_path):
    for revision in ("v1", "dev"):
        for one in (client, reader):
            one.send(LOAD, repo="org/history", cache_dir=str(tmp_path), revision=revision)
        both = [one.hear() for one in (client, reader)]
        assert [said.error for said in both] == [None, None], both
        assert both[0].answer == both[1].answer == sums(published[revision])
    assert not list(tmp_path.rglob("*.incomplete"))


def test_the_command_line_pushes_and_generates(client, reader, hub, toy, toy_videos, tmp_path):
    code, out, err = client.do(COMMAND, arguments=["push", str(toy), "org/typed", "--private"])
    assert code == 0, err
    assert "org/typed" in out
    assert hub.repos["org/typed"].private
    client.do(API + "api.update_repo_settings('org/typed', private=False)")
    arguments = ["org/typed", str(toy_videos / "c.mkv"), "--output", str(tmp_path / "out.mkv"), "--condition"]
    code, out, err = reader.do(COMMAND, arguments=["generate", *arguments])
    assert code == 0, err
    assert (tmp_path / "out.mkv").stat().st_size > 0
    code, out, err = reader.do(COMMAND, arguments=["push", str(toy), "org/typed"])
    assert code == 2
    assert err.startswith("error: ")
    assert err.count("\n") == 1


@pytest.mark.slow
def test_the_full_round(hub, client, tiny_recipe, toy_data, tmp_path):
    """Train, push, and load by id in a process that has never seen it: the frames are the folder's, bit for bit."""
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(json.dumps(tiny_recipe))
    arguments = ["train", "--recipe", str(recipe), "--data", str(toy_data), "--output", str(tmp_path / "run")]
    code, _, err = client.do(COMMAND, arguments=arguments)
    assert code == 0, err
    folder = tmp_path / "run" / "pipeline"
    code, _, err = client.do(COMMAND, arguments=["push", str(folder), "org/round"])
    assert code == 0, err
    visitor = Client(hub, tmp_path / "home")
    loaded = visitor.do(LOAD + f"np.save({str(tmp_path / 'frames.npy')!r}, frames)", repo="org/round")
    visitor.close()
    pipeline = Vid2VidPipeline.from_pretrained(folder)
    pipeline.set_progress_bar_config(disable=True)
    from vid2vid_hub.data.toy import ToyWorld

    frames = pipeline(condition=ToyWorld(0, 32, 48).draw(3).condition).frames
    assert np.array_equal(np.load(tmp_path / "frames.npy"), frames)
    assert loaded == client.do(LOAD, repo=str(folder))

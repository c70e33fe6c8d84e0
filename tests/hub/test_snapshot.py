"""Of a repo only what is needed is downloaded, and proven to be right; what rots in the cache does not stay there."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.hub_client import Client
from tests.hub_faults import Fault, cut, faulty, status
from tests.hub_server import Hub, downloaded, serving
from vid2vid_hub import Pix2PixHDGenerator, Vid2VidGenerator, Vid2VidPipeline
from vid2vid_hub.data.toy import ToyShapes
from vid2vid_hub.hub.snapshot import check_places

pytestmark = pytest.mark.hub

STEM = "generator/diffusion_pytorch_model"
FIRST = "first_frame/diffusion_pytorch_model.safetensors"
BASE = {"model_index.json", "config.json", "generator/config.json"}

PREPARE = """
import torch
from diffusers import DiffusionPipeline
from vid2vid_hub import Vid2VidGenerator, Vid2VidPipeline

def total(network):
    return [str(network.dtype), sum(p.double().sum().item() for p in network.parameters())]
"""
LOAD = PREPARE + "answer = total(Vid2VidPipeline.from_pretrained(given.pop('repo'), **given).generator)"
ALONE = PREPARE + "answer = total(Vid2VidGenerator.from_pretrained(given.pop('repo'), subfolder='generator', **given))"


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Repos: plain; with shards and the variant fp16 of one network; one for each test that changes it."""
    torch.manual_seed(0)
    channels = ToyShapes().channels
    generator = Vid2VidGenerator(channels, base_channels=4, downsamples=1, blocks=2)
    image = Pix2PixHDGenerator(channels, base_channels=4, downsamples=1, blocks=1)
    folder = tmp_path_factory.mktemp("hub") / "org" / "toy"
    Vid2VidPipeline(generator, ToyShapes(), first_frame=image).save_pretrained(folder)
    shards = folder.with_name("shards")
    Vid2VidPipeline(generator, ToyShapes(), first_frame=image).save_pretrained(shards, max_shard_size="20KB")
    generator.half().save_pretrained(shards / "generator", variant="fp16")
    return folder.parents[1]


@pytest.fixture(scope="module")
def hub(root: Path) -> Iterator[Hub]:
    with serving(root) as running:
        yield running


@pytest.fixture(scope="module")
def client(hub: Hub, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    made = Client(hub, tmp_path_factory.mktemp("home"), hub.token)
    yield made
    made.close()


@pytest.fixture
def copy(root: Path, request: pytest.FixtureRequest) -> Path:
    """A repo that the test may change; its name is the test's."""
    return shutil.copytree(root / "org" / "toy", root / "org" / request.node.originalname[5:35])


def load(client: Client, repo: str, cache: Path, code: str = LOAD, **options: Any) -> Any:
    return client.do(code, repo=repo, cache_dir=str(cache), **options)


def refused(client: Client, repo: str, cache: Path, code: str = LOAD, **options: Any) -> str:
    said = client.run(code, repo=repo, cache_dir=str(cache), **options)
    assert said.error == "ModelError", (said.answer, said.trace)
    assert "\n" not in said.sentence
    assert repo in said.sentence
    return said.sentence


def blobs(cache: Path, over: int = 10_000) -> list[Path]:
    """The large files of a cache."""
    return [path for path in sorted(cache.rglob("blobs/*")) if path.stat().st_size > over]


def sums(folder: Path) -> list[Any]:
    generator = Vid2VidGenerator.from_pretrained(folder, subfolder="generator")
    return ["torch.float32", sum(p.double().sum().item() for p in generator.parameters())]


def test_a_network_that_one_has_is_not_downloaded(client: Client, hub: Hub, tmp_path: Path) -> None:
    hub.asked.clear()
    code = LOAD.replace("**given", "**given, first_frame=None")
    load(client, "org/toy", tmp_path, code)
    assert downloaded(hub.asked, "org/toy") == BASE | {f"{STEM}.safetensors"}
    hub.asked.clear()
    own = "Vid2VidGenerator(6, base_channels=4, downsamples=1, blocks=4)"
    code = LOAD.replace("**given", f"**given, generator={own}, first_frame=None")
    load(client, "org/toy", tmp_path / "other", code)
    assert downloaded(hub.asked, "org/toy") == {"model_index.json", "config.json"}


def test_settings_can_be_other_than_in_the_repo(client: Client, tmp_path: Path) -> None:
    code = LOAD.replace("= total(", "= (").replace(".generator)", ".config.height)")
    code = code.replace("**given", "**given, height=64")
    assert load(client, "org/toy", tmp_path, code) == 64


@pytest.mark.parametrize("code", [LOAD, ALONE], ids=["pipeline", "network alone"])
def test_shards_and_variants(client: Client, hub: Hub, root: Path, tmp_path: Path, code: str) -> None:
    other = {"first_frame/config.json", "model_index.json", "config.json"}
    expected = sums(root / "org" / "toy")
    hub.asked.clear()
    assert load(client, "org/shards", tmp_path, code) == expected
    assert len([name for name in downloaded(hub.asked, "org/shards") if "-of-" in name and "generator" in name]) > 2

    hub.asked.clear()
    half = load(client, "org/shards", tmp_path / "half", code, variant="fp16")
    assert half[0] == "torch.float32"
    assert half[1] == pytest.approx(expected[1], abs=0.1)
    found = {name for name in downloaded(hub.asked, "org/shards") if not name.startswith("first_frame/diff")}
    assert found - other == {"generator/config.json", f"{STEM}.fp16.safetensors"}

    hub.asked.clear()
    assert "variant=bf16" in refused(client, "org/shards", tmp_path / "none", code, variant="bf16")
    assert not [name for name in downloaded(hub.asked, "org/shards") if name.endswith(".safetensors")]


def test_a_network_alone_takes_no_other_files(client: Client, hub: Hub, root: Path, tmp_path: Path) -> None:
    hub.asked.clear()
    assert load(client, "org/toy", tmp_path, ALONE) == sums(root / "org" / "toy")
    assert downloaded(hub.asked, "org/toy") == {"generator/config.json", f"{STEM}.safetensors"}
    assert load(client, "org/toy", tmp_path, ALONE, local_files_only=True) == sums(root / "org" / "toy")


def test_precision_and_device(client: Client, tmp_path: Path) -> None:
    for code in (LOAD, ALONE):
        code = code.replace("**given", "**given, dtype=torch.float16, device_map='cpu'")
        assert load(client, "org/toy", tmp_path, code)[0] == "torch.float16"


def test_the_loader_of_diffusers_finds_the_class(client: Client, root: Path, tmp_path: Path) -> None:
    for source in ("org/toy", str(root / "org" / "toy")):
        code = LOAD.replace("Vid2VidPipeline.from", "DiffusionPipeline.from")
        assert load(client, source, tmp_path, code) == sums(root / "org" / "toy")
        name = code.replace("= total(", "= type(").replace(".generator)", ").__name__")
        assert load(client, source, tmp_path, name) == "Vid2VidPipeline"


@pytest.mark.parametrize("rotten", [1, 1000], ids=["a byte", "cut short"])
def test_what_rots_in_the_cache_is_downloaded_again(
    client: Client, hub: Hub, root: Path, tmp_path: Path, rotten: int
) -> None:
    right = load(client, "org/toy", tmp_path)
    for path in blobs(tmp_path):
        content = bytearray(path.read_bytes())
        content[-1] ^= 1
        path.write_bytes(content if rotten == 1 else content[:-rotten])
    hub.asked.clear()
    assert load(client, "org/toy", tmp_path) == right == sums(root / "org" / "toy")
    assert downloaded(hub.asked, "org/toy") == {f"{STEM}.safetensors", FIRST}


def test_what_rots_in_the_cache_is_not_loaded_without_the_hub(client: Client, tmp_path: Path) -> None:
    right = load(client, "org/toy", tmp_path)
    for path in blobs(tmp_path):
        path.write_bytes(path.read_bytes()[:-1] + b"?")
    said = refused(client, "org/toy", tmp_path, local_files_only=True)
    assert "is damaged: its digest is" in said
    assert "removed from the cache; connect and load again" in said
    assert load(client, "org/toy", tmp_path) == right


def test_an_update_that_breaks_off_leaves_what_was_there(
    client: Client, hub: Hub, root: Path, copy: Path, tmp_path: Path
) -> None:
    repo, before = f"org/{copy.name}", sums(copy)
    assert load(client, repo, tmp_path) == before
    torch.manual_seed(1)
    Vid2VidGenerator(ToyShapes().channels, base_channels=4, downsamples=1, blocks=2).save_pretrained(copy / "generator")
    after = sums(copy)
    assert after != before
    with faulty(hub, Fault(rf"GET /{repo}/[0-9a-f]{{64}}\?", cut(7, reset=True), None)):
        refused(client, repo, tmp_path)
    assert load(client, repo, tmp_path, local_files_only=True) == before
    assert load(client, repo, tmp_path) == after
    assert load(client, repo, tmp_path, local_files_only=True) == after


def test_a_busy_hub_is_no_hindrance_to_what_was_downloaded(client: Client, hub: Hub, tmp_path: Path) -> None:
    right = load(client, "org/toy", tmp_path)
    with faulty(hub, Fault(r"/api/models/org/toy", status(503, "busy"), None)):
        assert load(client, "org/toy", tmp_path) == right
        assert "503" in refused(client, "org/toy", tmp_path / "empty")


@pytest.mark.parametrize(
    ("code", "error", "said"),
    [
        (401, None, "refuses to give org/toy (401)"),
        (401, "RepoNotFound", "no such model on the Hub"),
        (403, "GatedRepo", "org/toy is gated: accept its conditions"),
        (403, None, "refuses to give org/toy (403)"),
        (403, "DisabledRepo", "has been disabled"),
        (404, "RevisionNotFound", "has no revision 'main'"),
        (429, None, "asked too much now and does not give org/toy (429)"),
        (418, None, "does not give org/toy (418)"),
        (500, None, "cannot give org/toy now (500)"),
    ],
)
def test_what_the_hub_refuses_is_said(
    client: Client, hub: Hub, tmp_path: Path, code: int, error: str, said: str
) -> None:
    headers = {"X_Error_Code": error} if error else {}
    if error == "DisabledRepo":
        headers = {"X_Error_Message": "Access to this resource is disabled."}
    with faulty(hub, Fault(r"/api/models/org/toy", status(code, "no", **headers), None)):
        assert said in refused(client, "org/toy", tmp_path, revision="main")


def test_weights_that_are_too_large_for_their_network_are_left_there(
    client: Client, hub: Hub, copy: Path, tmp_path: Path
) -> None:
    with (copy / f"{STEM}.safetensors").open("ab") as file:
        file.truncate(18 << 20)
    hub.asked.clear()
    assert "bytes of weights; those of its network take at most" in refused(client, f"org/{copy.name}", tmp_path)
    assert downloaded(hub.asked, f"org/{copy.name}") == BASE


def test_settings_that_are_too_large_are_left_there(client: Client, hub: Hub, copy: Path, tmp_path: Path) -> None:
    (copy / "generator/config.json").write_text(json.dumps({"colour": "x" * (2 << 20)}))
    hub.asked.clear()
    assert "settings at most 1048576" in refused(client, f"org/{copy.name}", tmp_path)
    assert downloaded(hub.asked, f"org/{copy.name}") == BASE - {"generator/config.json"}


def test_companions_come_along_unless_they_are_too_large(client: Client, hub: Hub, copy: Path, tmp_path: Path) -> None:
    for name, size in {"recipe.yaml": 10, "sample.mkv": 20, "about.yaml": 2 << 20, "README.md": 30}.items():
        (copy / name).write_text("# " + "x" * size)
    hub.asked.clear()
    load(client, f"org/{copy.name}", tmp_path)
    found = downloaded(hub.asked, f"org/{copy.name}")
    assert found - BASE - {f"{STEM}.safetensors", "first_frame/config.json", FIRST} == {"recipe.yaml", "sample.mkv"}


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"trust_remote_code": True}, "trust_remote_code is not taken: no code"),
        ({"custom_pipeline": "org/evil"}, "custom_pipeline is not taken: no code"),
        ({"use_safetensors": False}, "safetensors only"),
        ({"use_flashpack": True}, "safetensors only"),
        ({"ignore_mismatched_sizes": True}, "weights must be the network's own"),
        ({"proxies": {"http": "x"}}, "HTTPS_PROXY"),
        ({"revison": "v1"}, "no option revison"),
    ],
)
@pytest.mark.parametrize("code", [LOAD, ALONE], ids=["pipeline", "network alone"])
def test_options_that_are_not_taken(client: Client, hub: Hub, code: str, options: dict[str, Any], said: str) -> None:
    hub.asked.clear()
    answer = client.run(code, repo="org/toy", **options)
    assert answer.error == "ModelError"
    assert said in answer.sentence
    assert hub.asked == []


def test_options_of_others_that_ask_for_nothing_are_taken(client: Client, tmp_path: Path) -> None:
    plain = load(client, "org/toy", tmp_path)
    idle = {"trust_remote_code": False, "custom_pipeline": None, "use_safetensors": None}
    assert load(client, "org/toy", tmp_path, **idle) == plain


@pytest.mark.parametrize("name", ["dance-starter", "face-starter", "future-starter", "street-starter"])
def test_our_own_pipelines_name_no_places(name: str) -> None:
    index = json.loads((Path(__file__).parents[2] / "pipelines" / name / "model_index.json").read_text())
    assert check_places(index["task_config"], name) is None

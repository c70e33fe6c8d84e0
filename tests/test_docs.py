"""The pages for readers, taken at their word: every block of Python and every command of README.md and docs/ is run."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path

import pytest
from typer.main import get_command

from tests.hub_server import Hub, serving
from tests.pages import BLOCK, CHANGES, MADE_BEFORE, PAGES, ROOT, Block, blocks
from tests.pages_shelf import fill_desk, fill_hub, fill_shelf
from vid2vid_hub.cli import app

NOT_RUN = 3
"""At most so many blocks of all pages may be left out."""

Read = Callable[[str, list[Block]], str | None]


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("desk")
    fill_desk(folder)
    for name in ("pipelines", "plugins", "spaces"):
        (folder / name).symlink_to(ROOT / name)
    return folder


@pytest.fixture(scope="module")
def shelf(desk: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shelf")
    fill_shelf(desk, folder)
    return folder


@pytest.fixture(scope="module")
def hub(shelf: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    root = tmp_path_factory.mktemp("hub")
    fill_hub(root, shelf)
    with serving(root) as server:
        yield server


@pytest.fixture(scope="module")
def read(desk: Path, shelf: Path, hub: Hub, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Read]:
    """Let the reader follow a page; returns what went wrong."""
    home = tmp_path_factory.mktemp("reader")
    ours = {
        "HF_ENDPOINT": hub.address,
        "HF_HOME": str(home / "hf"),
        "HF_HUB_DISABLE_XET": "1",
        "HF_TOKEN": hub.token,
        "PYTHONPATH": str(ROOT),
        "COLUMNS": "200",
    }
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("HF_", "VID2VID_"))}
    with subprocess.Popen(
        [sys.executable, "-m", "tests.pages_reader"],
        cwd=home,
        env=kept | ours,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as reader:

        def follow(page: str, found: list[Block]) -> str | None:
            folder = home / re.sub(r"\W", "-", page)
            shutil.copytree(desk, folder, symlinks=True)
            for name in MADE_BEFORE.get(page, ()):
                shutil.copytree(shelf / name, folder / name)
            asked = {"page": page, "folder": str(folder), "blocks": [asdict(block) for block in found]}
            assert reader.stdin is not None
            assert reader.stdout is not None
            reader.stdin.write(json.dumps(asked) + "\n")
            reader.stdin.flush()
            answer = reader.stdout.readline()
            return json.loads(answer) if answer else "the reader died"

        yield follow
        assert reader.stdin is not None
        reader.stdin.close()


@pytest.mark.slow
@pytest.mark.hub
@pytest.mark.parametrize("page", PAGES)
def test_what_a_page_says_works(page: str, read: Read):
    run = [block for block in blocks(page) if block.not_run is None]
    if run:
        failed = read(page, run)
        assert failed is None, failed


def test_few_blocks_are_left_out_and_each_says_why():
    """Those that a test cannot do at all: what needs a download, or a large library that is not ours."""
    left_out = [block for page in PAGES for block in blocks(page) if block.not_run is not None]
    assert 0 < len(left_out) <= NOT_RUN
    assert all(block.not_run for block in left_out)


def test_every_change_is_needed():
    lines = [line for page in PAGES for block in blocks(page) for line in block.text.splitlines()]
    for pattern in CHANGES:
        assert any(re.search(pattern, line) for line in lines), f"no page says what {pattern} changes"
    assert set(MADE_BEFORE) <= set(PAGES)


@pytest.mark.parametrize(
    ("language", "text", "said"),
    [
        ("python", "from vid2vid_hub import Vid2VidPipelin", "ImportError"),
        ("python", "assert 1 == 2", "AssertionError"),
        ("sh", "vid2vid-hub tasks\nvid2vid-hub taskz", "No such command 'taskz'"),
        ("sh", "vid2vid-hub generate street-starter gone.mp4 --output x.mp4", "gone.mp4 does not exist"),
        ("sh", "vid2vid-hub zoo --no-such-option", "No such option"),
        ("sh", "pip install '.[no-such-extra]'", "no extras"),
        ("sh", "make no-such-target", "no-such-target"),
        ("sh", "no-such-program --help", "knows how to run 'no-such-program'"),
    ],
)
@pytest.mark.slow
@pytest.mark.hub
def test_a_block_that_does_not_work_is_found(language: str, text: str, said: str, read: Read):
    failed = read(f"page-{language}-{abs(hash(text))}", [Block(language, text + "\n", 7, None)])
    assert failed is not None
    assert "block at line 7" in failed
    assert said in failed


OTHERS_OPTIONS = {"--multi_gpu", "--num_processes", "--num_machines", "--machine_rank", "--cpu", "--strict", "--help"}
"""Of accelerate, and of everything."""


@pytest.mark.parametrize("page", PAGES)
def test_the_options_that_a_page_names_are_there(page: str):
    """In the text between the blocks, which nobody runs."""
    commands = get_command(app).commands.values()  # type: ignore[attr-defined]
    known = {
        name for command in commands for option in command.params for name in (*option.opts, *option.secondary_opts)
    }
    quoted = re.findall(r"`[^`\n]+`", BLOCK.sub("", (ROOT / page).read_text(encoding="utf-8")))
    named = {option for text in quoted for option in re.findall(r"(?<![\w-])--[a-z][\w-]*", text)}
    assert named <= known | OTHERS_OPTIONS


READABLE = [*PAGES, "CONTRIBUTING.md", "plugins/README.md"]
READABLE += [str(path.relative_to(ROOT)) for path in sorted((ROOT / "pipelines").rglob("README.md"))]


@pytest.mark.parametrize("page", READABLE)
def test_the_links_of_a_page_lead_somewhere(page: str):
    """In the repository; the site's are checked when it is built."""
    text = BLOCK.sub("", (ROOT / page).read_text(encoding="utf-8"))
    for target, anchor in re.findall(r"\]\((?![a-z]+:)([^)#\s]*)(#[^)\s]*)?\)", text):
        path = (ROOT / page).parent / target if target else ROOT / page
        assert path.exists(), f"{page} links to {target}"
        if anchor:
            titles = re.findall(r"^#+ (.+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
            assert anchor[1:] in {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


def test_the_paper_in_the_code_names_every_file_and_no_other():
    text = (ROOT / "docs/paper.md").read_text(encoding="utf-8")
    table = text[text.index("## Concept to file") :]
    named = set()
    for row in (line for line in table.splitlines() if line.startswith("| ")):
        folder = ""
        for path in re.findall(r"`([\w/]+\.py)`", row.split("|")[2]):
            folder = path.rpartition("/")[0] if "/" in path else folder
            named.add(path if "/" in path else f"{folder}/{path}".lstrip("/"))
    package = ROOT / "vid2vid_hub"
    files = {path.relative_to(package).as_posix() for path in package.rglob("*.py")}
    assert named == {path for path in files if not path.endswith(("__init__.py", "__main__.py"))}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built as ``make docs`` does."""
    folder = tmp_path_factory.mktemp("site")
    said = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", folder],
        cwd=ROOT,
        env=os.environ | {"NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert said.returncode == 0, said.stderr
    assert {line.split()[0] for line in said.stderr.splitlines()} == {"INFO"}
    return folder


def test_the_site_is_built_without_a_warning_and_has_every_page(site: Path):
    for page in (path.stem for path in (ROOT / "docs").glob("*.md")):
        assert (site / ("index.html" if page == "index" else f"{page}/index.html")).is_file()
    assert "Write the fifth task" in (site / "plugins/index.html").read_text(encoding="utf-8")
    assert not (site / "hooks.py").exists()


def test_the_site_asks_nobody_for_anything(site: Path):
    """What a page loads by itself is on the site; links that a reader may follow are another thing."""
    loads = re.compile(r"""<(?!a\b)[^>]*\b(?:src|href|srcset|data)=["']?(?:https?:)?//|url\(["']?(?:https?:)?//""")
    for path in [*site.rglob("*.html"), *site.rglob("*.css")]:
        found = loads.search(path.read_text(encoding="utf-8"))
        assert found is None, f"{path.relative_to(site)}: {found}"

"""What a Space's folder must be before the Hub hears of it; spaces/demo is one."""

from __future__ import annotations

import re
import shutil
import tomllib
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from vid2vid_hub.errors import ModelError
from vid2vid_hub.hub import space
from vid2vid_hub.hub.space import COLOURS, push_space, read_front_matter, stage_space
from vid2vid_hub.hub.wheel import carry

ROOT = Path(__file__).parents[2]
DEMO = ROOT / "spaces/demo"
TOKEN = "hf_" + "aB3" * 12
ADDRESS = "https://hub.example/spaces/org/x/resolve/main"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return shutil.copytree(DEMO, tmp_path / "demo")


def write_wheel(path: Path, name: str = "vid2vid_hub-0.1.0", extras: tuple[str, ...] = ("app", "street")) -> Path:
    """The smallest wheel that pip installs."""
    about = f"Metadata-Version: 2.4\nName: vid2vid-hub\nVersion: {name.split('-')[-1]}\n"
    about += "".join(f"Provides-Extra: {extra}\n" for extra in extras)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("vid2vid_hub/__init__.py", "")
        archive.writestr(f"{name}.dist-info/METADATA", about)
        archive.writestr(f"{name}.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{name}.dist-info/RECORD", "")
    return path


def test_the_demo_can_be_published_as_it_is():
    staged = stage_space(DEMO)
    assert set(staged.files) == {"README.md", "app.py", "requirements.txt"}
    head = read_front_matter((DEMO / "README.md").read_text("utf-8"))
    assert head["license"] == "apache-2.0"
    assert {head["colorFrom"], head["colorTo"]} <= COLOURS
    assert 0 < len(head["short_description"]) <= 60
    assert "vid2vid-hub" in head["tags"]
    assert head["suggested_hardware"] in {"cpu-basic", "zero-a10g"}
    assert f"gradio=={head['sdk_version']}" in (ROOT / "constraints/ci.txt").read_text().split()


def test_what_the_demo_installs_is_what_the_package_offers():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    head = read_front_matter((DEMO / "README.md").read_text("utf-8"))
    assert SpecifierSet(project["requires-python"]).contains(head["python_version"])
    lines = (DEMO / "requirements.txt").read_text().splitlines()
    wanted = [Requirement(line) for line in lines if line and not line.startswith("#")]
    (ours,) = [one for one in wanted if one.name == project["name"]]
    assert "app" in ours.extras <= set(project["optional-dependencies"])
    assert ours.specifier.contains(project["version"], prereleases=True)
    (gradio,) = [Requirement(one) for one in project["optional-dependencies"]["app"] if one.startswith("gradio")]
    assert gradio.specifier.contains(head["sdk_version"])


def test_the_app_of_the_demo_is_a_page_over_the_public_api():
    text = (DEMO / "app.py").read_text()
    compile(text, "app.py", "exec")
    assert len(text.splitlines()) <= 60
    assert set(re.findall(r"^from (vid2vid_hub\S*)", text, flags=re.M)) == {"vid2vid_hub.app"}
    assert text.index("import spaces") < text.index("from vid2vid_hub"), "ZeroGPU comes before PyTorch"


def test_nothing_in_spaces_is_imported_in_place_of_the_platforms_library():
    assert not list((ROOT / "spaces").rglob("__init__.py"))


def head(**changes: str | None) -> Callable[[Path], object]:
    """The front matter with other lines; None takes one out."""

    def change(folder: Path) -> None:
        text = (folder / "README.md").read_text("utf-8")
        for key, value in changes.items():
            text = re.sub(rf"^{key}: .*\n", "" if value is None else f"{key}: {value}\n", text, count=1, flags=re.M)
        (folder / "README.md").write_text(text, "utf-8")

    return change


def write(name: str, content: str | bytes) -> Callable[[Path], object]:
    def change(folder: Path) -> None:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())

    return change


BROKEN: dict[str, tuple[Callable[[Path], object], str]] = {
    "no folder": (shutil.rmtree, "is no folder"),
    "no README": (lambda folder: (folder / "README.md").unlink(), r"without README\.md, and it is not there"),
    "no requirements": (lambda folder: (folder / "requirements.txt").unlink(), r"without requirements\.txt"),
    "no app": (lambda folder: (folder / "app.py").unlink(), r"names 'app\.py' as app_file, which is no file"),
    "linked requirements": (
        lambda folder: (folder / "requirements.txt").symlink_to((folder / "requirements.txt").rename(folder / "x.txt")),
        "is a link",
    ),
    "no head": (write("README.md", "# A Space\n"), "has no head"),
    "an open head": (write("README.md", "---\ntitle: x\nsdk: gradio\n"), "has no head"),
    "no YAML": (write("README.md", "---\ntitle: [x\n---\n"), "is no YAML"),
    "no mapping": (write("README.md", "---\n- sdk\n---\n"), "is list; expected a mapping"),
    "another sdk": (head(sdk="docker"), "sdk: docker; only Spaces of gradio"),
    "no sdk": (head(sdk=None), "sdk: None; only Spaces of gradio"),
    "version as a number": (head(sdk_version="6.31"), r"sdk_version: 6\.31; write it in quotes"),
    "no version": (head(sdk_version=None), "sdk_version: None; write it in quotes"),
    "python as a number": (head(python_version="3.12"), r'write it in quotes, such as python_version: "3\.12"'),
    "no python": (head(python_version=None), "python_version: None"),
    "old python": (head(python_version='"3.10"'), r"python_version: 3\.10; vid2vid-hub needs 3\.11 or newer"),
    "a colour": (head(colorTo="teal"), "colorTo: teal; the Hub knows blue"),
    "long": (head(short_description="x" * 61), "is 61 letters long; the Hub takes 60"),
    "no app named": (head(app_file=None), "app_file: None; name the file"),
    "an app that is none": (head(app_file="README.md"), r"app_file: README\.md; name the file"),
    "an app elsewhere": (head(app_file="../app.py"), r"names '\.\./app\.py' as app_file"),
    "a token": (write("app.py", f"x = 1\nlogin('{TOKEN}')\n"), r"app\.py, line 2, holds what looks like a token"),
    "a token in no kind": (write("LICENSE", TOKEN), "LICENSE, line 1, holds"),
    "a token in capitals": (write("x.PY", TOKEN), r"x\.PY, line 1, holds"),
    "a place": (write("app.py", 'x = "/home/alice/run"\n'), r"app\.py, line 1, tells of this machine: '/home/alice"),
    "a place in requirements": (write("requirements.txt", "vid2vid-hub @ file:///x/y.whl\n"), r"tells .*'file:///x"),
    "no text": (write("app.py", b"\xff\xfe"), r"app\.py is no text in UTF-8"),
    "a pickle": (write("model.pt", b"x"), r"model\.pt is a pickle"),
    "a package": (write("__init__.py", ""), r"__init__\.py would be imported in place"),
    "a shadow": (write("spaces.py", ""), r"spaces\.py would be imported in place of a library"),
    "a shadow's folder": (write("vid2vid_hub/x.py", ""), r"vid2vid_hub/x\.py would be imported"),
    "a large file": (write("x.mp4", bytes(space.MAX_FILE + 1)), "and a file of a Space at most"),
    "a long text": (write("x.txt", b"x" * 1_000_001), "more than 1000000 bytes"),
    "too many files": (
        lambda folder: [(folder / f"{n}.txt").touch() for n in range(space.MAX_FILES)],
        "has 503 files, and a Space at most 500",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_folder_that_is_no_space_is_refused_in_one_sentence(folder: Path, name: str):
    spoil, said = BROKEN[name]
    spoil(folder)
    with pytest.raises(ModelError, match=said) as caught:
        push_space(folder, "org/x")
    assert "\n" not in str(caught.value)
    assert TOKEN not in str(caught.value)


def test_what_stays_here_is_told(folder: Path, tmp_path: Path):
    for name in (".env", ".git/config", "__pycache__/app.cpython-312.pyc", "x/__pycache__/y.py", "old.zip", "a.whl"):
        write(name, TOKEN)(folder)
    (folder / "link.txt").symlink_to(tmp_path)
    assert stage_space(folder).left_out == {
        ".env": "hidden",
        ".git/config": "hidden",
        "__pycache__/app.cpython-312.pyc": "a cache",
        "x/__pycache__/y.py": "a cache",
        "old.zip": "no kind of file that a Space is made of",
        "a.whl": "no kind of file that a Space is made of",
        "link.txt": "a link",
    }


def test_modules_and_examples_go_along(folder: Path):
    for name in ("parts/__init__.py", "parts/page.py", "style.css", "packages.txt", "example.mp4"):
        write(name, "")(folder)
    write("parts/page.py", 'HERE = "/home/user/app/x"\nCALL = "/gradio_api/call/generate"\n')(folder)
    assert {"parts/__init__.py", "parts/page.py", "style.css", "packages.txt", "example.mp4"} <= set(
        stage_space(folder).files
    )


def test_what_is_asked_wrongly_is_refused(folder: Path, tmp_path: Path):
    wheel = write_wheel(tmp_path / "vid2vid_hub-0.1.0-py3-none-any.whl", extras=("app", "street", "face", "dance"))
    for how, said in (
        ({"repo": "name"}, "write org/name"),
        ({"repo": "org/x", "commit_message": TOKEN}, "the message of the commit"),
        ({"repo": "org/x", "wheel": wheel, "private": True}, "a private Space cannot install"),
        ({"repo": "org/x", "wheel": tmp_path / "x.whl"}, "is no wheel of this package"),
    ):
        with pytest.raises(ModelError, match=said):
            push_space(folder, **how)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("line", "becomes"),
    [
        ("vid2vid-hub", "vid2vid-hub @ {}"),
        ("vid2vid_hub[App]>=0.1", "vid2vid-hub[App] @ {}"),
        ("vid2vid-hub [app, street] == 0.1.0  # ours", "vid2vid-hub[app,street] @ {}"),
        ('vid2vid-hub[app]>=0.1; python_version >= "3.11"', 'vid2vid-hub[app] @ {} ; python_version >= "3.11"'),
        ("vid2vid-hub[app] @ https://a.example/b.whl#sha256=0", "vid2vid-hub[app] @ {}"),
    ],
)
def test_the_line_of_the_package_names_the_wheel(tmp_path: Path, line: str, becomes: str):
    wheel = write_wheel(tmp_path / "vid2vid_hub-0.1.0-py3-none-any.whl")
    before, changed, after = carry(wheel, f"# a\n{line}\nvid2vid-hub-plus>=1\n", ADDRESS).splitlines()
    (digest,) = re.findall(r"#sha256=([0-9a-f]{64})", changed)
    assert changed == becomes.format(f"{ADDRESS}/{wheel.name}#sha256={digest}")
    assert (before, after) == ("# a", "vid2vid-hub-plus>=1")
    named = Requirement(changed)
    assert named.url == f"{ADDRESS}/{wheel.name}#sha256={digest}"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("numpy\n", "0 lines for vid2vid-hub"),
        ("vid2vid-hub\nvid2vid-hub[app]\n", "2 lines for vid2vid-hub"),
        ("vid2vid-hub[app,gone,none]\n", "has no extra gone, none"),
    ],
)
def test_requirements_that_have_no_place_for_the_wheel(tmp_path: Path, text: str, said: str):
    with pytest.raises(ModelError, match=said):
        carry(write_wheel(tmp_path / "vid2vid_hub-0.1.0-py3-none-any.whl"), text, ADDRESS)


def test_what_is_no_wheel_of_the_package(tmp_path: Path):
    path = tmp_path / "vid2vid_hub-0.1.0-py3-none-any.whl"
    for content, said in ((None, "cannot be read as a wheel"), (b"x", "cannot be read as a wheel")):
        if content is not None:
            path.write_bytes(content)
        with pytest.raises(ModelError, match=said):
            carry(path, "vid2vid-hub\n", ADDRESS)
    write_wheel(path, "other-0.1.0")
    with pytest.raises(ModelError, match="cannot be read as a wheel"):
        carry(path, "vid2vid-hub\n", ADDRESS)
    write_wheel(path)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("vid2vid_hub/x.yaml", TOKEN)
    with pytest.raises(ModelError, match=r"vid2vid_hub/x\.yaml in .* looks like a token"):
        carry(path, "vid2vid-hub\n", ADDRESS)

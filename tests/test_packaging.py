"""What people get when they install: public names, a light import, a light command line, a wheel that runs anywhere."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from configparser import ConfigParser
from pathlib import Path
from zipfile import ZipFile

import pytest

import vid2vid_hub

ROOT = Path(__file__).parents[1]
PLUGINS = {path.name for path in (ROOT / "plugins").iterdir() if (path / "__init__.py").is_file()}
STARTERS = ("dance-starter", "face-starter", "future-starter", "street-starter")
HEAVY = {"accelerate", "cv2", "diffusers", "gradio", "numpy", "ray", "torch", "torchvision", "transformers", *PLUGINS}


def run(*command: str | Path, **env: str) -> str:
    """The output of a command; its errors are shown when it fails."""
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, env={**os.environ, **env}, check=False)
    assert done.returncode == 0, f"{command} exited with {done.returncode}:\n{done.stdout}\n{done.stderr}"
    return done.stdout


def modules_after(code: str) -> set[str]:
    """Names of the modules that are loaded when ``code`` has run in an interpreter of its own."""
    marker = "modules:"
    watch = f"import atexit, sys\natexit.register(lambda: print('\\n{marker}', *sys.modules))\n"
    return set(run(sys.executable, "-c", watch + code).rpartition(marker)[2].split())


def test_the_public_names_are_listed_once_and_sorted() -> None:
    assert vid2vid_hub.__all__ == sorted(set(vid2vid_hub.__all__))
    assert set(dir(vid2vid_hub)) >= set(vid2vid_hub.__all__)


@pytest.mark.parametrize("name", vid2vid_hub.__all__)
def test_a_public_name_can_be_imported(name: str) -> None:
    assert getattr(vid2vid_hub, name) is not None


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="Vid2VidPipelin'"):
        _ = vid2vid_hub.Vid2VidPipelin


def test_the_version_is_said_once() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["version"] == vid2vid_hub.__version__


def test_importing_the_package_is_light() -> None:
    assert not HEAVY & modules_after("import vid2vid_hub")


@pytest.mark.parametrize("arguments", [["--help"], ["tasks"], ["generate", "--help"], ["train", "--help"]])
def test_the_command_line_is_light_until_it_works(arguments: list[str]) -> None:
    code = f"sys.argv = {['vid2vid-hub', *arguments]!r}\nfrom vid2vid_hub.cli import main\nsys.exit(main())"
    assert not HEAVY & modules_after(code)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder)
    (built,) = folder.glob("*.whl")
    return built


@pytest.mark.wheel
def test_the_wheel_holds_package_plugins_starters_and_licence(wheel: Path) -> None:
    with ZipFile(wheel) as archive:
        names = set(archive.namelist())
    roots = [(ROOT, "vid2vid_hub"), *((ROOT / "plugins", plugin) for plugin in PLUGINS)]
    sources = {str(path.relative_to(root)) for root, package in roots for path in (root / package).rglob("*.py")}
    data = {
        f"vid2vid_hub/starters/{path.relative_to(ROOT / 'pipelines')}"
        for starter in STARTERS
        for path in (ROOT / "pipelines" / starter).rglob("*")
        if path.is_file()
    }
    assert sources | data <= names
    assert {f"{plugin}/recipe.yaml" for plugin in PLUGINS - {"vid2vid_mediapipe"}} <= names
    assert any(name.endswith("licenses/LICENSE") for name in names)
    assert {name.split("/")[0].split("-")[0] for name in names} == {"vid2vid_hub", *PLUGINS}
    assert not [name for name in names if name.endswith((".pyc", ".pth", ".bin", ".ckpt"))]
    assert wheel.stat().st_size < 60e6


@pytest.mark.wheel
def test_the_wheel_declares_what_the_project_declares(wheel: Path) -> None:
    declared = ConfigParser()
    declared.optionxform = str  # type: ignore[assignment, method-assign]
    with ZipFile(wheel) as archive:
        (path,) = [name for name in archive.namelist() if name.endswith("entry_points.txt")]
        declared.read_string(archive.read(path).decode())
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert dict(declared["console_scripts"]) == project["scripts"]
    assert dict(declared["vid2vid_hub.tasks"]) == project["entry-points"]["vid2vid_hub.tasks"]


@pytest.mark.wheel
def test_the_installed_wheel_runs_outside_the_checkout(
    wheel: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = tmp_path / "site"
    run(sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-index", "--target", site, wheel)
    monkeypatch.chdir(tmp_path)

    where = run(sys.executable, "-c", "import vid2vid_hub; print(vid2vid_hub.__file__)", PYTHONPATH=str(site))
    assert Path(where.strip()).is_relative_to(site)
    assert "generate" in run(site / "bin/vid2vid-hub", "--help", PYTHONPATH=str(site))
    tasks = run(site / "bin/vid2vid-hub", "tasks", PYTHONPATH=str(site))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert tasks.split() == sorted(project["entry-points"]["vid2vid_hub.tasks"])

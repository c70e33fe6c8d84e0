"""The registry's manners: what people read when a task is unknown, claimed twice, broken or set up wrongly."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from textwrap import dedent

import pytest

from vid2vid_hub.errors import TaskError
from vid2vid_hub.tasks import GROUP, Task, get_task, list_tasks

Install = Callable[..., Path]

TASK = """
    from vid2vid_hub.tasks import Task

    class Depth(Task):
        name = "depth2scene"

        def __init__(self, *, bins: int = 8) -> None:
            self.bins = bins

        @property
        def channels(self) -> int:
            return self.bins

        def encode(self, condition):
            raise NotImplementedError

        def config(self):
            return {"bins": self.bins}
"""


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Install a one-file distribution on sys.path, with the metadata that pip would write."""

    def write(distribution: str, module: str, source: str, entry_points: dict[str, str]) -> Path:
        site = tmp_path / distribution
        info = site / f"{distribution}-1.0.dist-info"
        info.mkdir(parents=True)
        (site / f"{module}.py").write_text(dedent(source), encoding="utf-8")
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.0\n", encoding="utf-8")
        lines = [f"[{GROUP}]", *(f"{name} = {value}" for name, value in entry_points.items())]
        (info / "entry_points.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
        monkeypatch.syspath_prepend(str(site))
        monkeypatch.delitem(sys.modules, module, raising=False)
        return site

    return write


def test_an_installed_plugin_is_listed_and_made(install: Install) -> None:
    install("vid2vid-depth", "depth_plugin", TASK, {"depth2scene": "depth_plugin:Depth"})

    assert "depth2scene" in list_tasks()
    task = get_task("depth2scene", {"bins": 3})
    assert isinstance(task, Task)
    assert task.channels == 3
    assert get_task("depth2scene", task.config()).channels == 3


def test_our_own_tasks_enter_by_the_same_door() -> None:
    assert {"past2future", "pose2dance", "seg2street", "sketch2face", "toy"} <= set(list_tasks())
    assert list_tasks() == sorted(list_tasks())


def test_listing_imports_no_plugin(install: Install, tmp_path: Path) -> None:
    install("vid2vid-loud", "loud_plugin", "raise RuntimeError('imported')", {"loud": "loud_plugin:Loud"})

    assert "loud" in list_tasks()
    assert "loud_plugin" not in sys.modules


def test_listing_imports_no_plugin_of_ours() -> None:
    code = "import sys; from vid2vid_hub.tasks import list_tasks; list_tasks(); print(*sys.modules, sep='\\n')"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert not {"vid2vid_street", "vid2vid_hub.data.toy"} & set(done.stdout.split())


def test_an_unknown_name_lists_the_known_ones(install: Install) -> None:
    install("vid2vid-depth", "depth_plugin", TASK, {"depth2scene": "depth_plugin:Depth"})

    with pytest.raises(TaskError, match=r"task 'seg2streat'; installed tasks: .*depth2scene.*seg2street"):
        get_task("seg2streat")


def test_a_name_claimed_twice_names_both_packages(install: Install) -> None:
    install("first-depth", "first_plugin", TASK, {"depth2scene": "first_plugin:Depth"})
    install("second-depth", "second_plugin", TASK, {"depth2scene": "second_plugin:Depth"})

    with pytest.raises(TaskError, match="uninstall one of them") as caught:
        get_task("depth2scene")
    for owner in ("first-depth (first_plugin:Depth)", "second-depth (second_plugin:Depth)"):
        assert owner in str(caught.value)
    assert list_tasks().count("depth2scene") == 1


def test_a_clash_of_others_leaves_the_rest_alone(install: Install) -> None:
    install("first-depth", "first_plugin", TASK, {"depth2scene": "first_plugin:Depth", "mine": "first_plugin:Depth"})
    install("second-depth", "second_plugin", TASK, {"depth2scene": "second_plugin:Depth"})

    assert get_task("mine").channels == 8


def test_the_same_package_found_twice_is_one_claim(install: Install, monkeypatch: pytest.MonkeyPatch) -> None:
    site = install("vid2vid-depth", "depth_plugin", TASK, {"depth2scene": "depth_plugin:Depth"})
    monkeypatch.syspath_prepend(f"{site}/.")

    assert get_task("depth2scene").channels == 8


def test_a_plugin_that_fails_to_import_fails_with_its_own_traceback(install: Install) -> None:
    source = """
        def connect():
            raise OSError("the depth camera's driver is missing")

        connect()
    """
    site = install("vid2vid-broken", "broken_plugin", source, {"broken": "broken_plugin:Broken"})

    with pytest.raises(OSError, match="driver is missing") as caught:
        get_task("broken")
    innermost = caught.traceback[-1]
    assert Path(innermost.path) == site / "broken_plugin.py"
    assert innermost.name == "connect"


def test_a_plugin_without_the_class_it_names_says_so(install: Install) -> None:
    install("vid2vid-empty", "empty_plugin", "", {"empty": "empty_plugin:Missing"})

    with pytest.raises(AttributeError, match="Missing"):
        get_task("empty")


@pytest.mark.parametrize(("value", "shown"), [("dict", "class 'dict'"), ("make", "function make"), ("SIZE", "512")])
def test_an_entry_point_to_something_else_is_refused(install: Install, value: str, shown: str) -> None:
    source = "SIZE = 512\ndict = dict\ndef make(): ...\n"
    install("vid2vid-odd", "odd_plugin", source, {"odd": f"odd_plugin:{value}"})

    with pytest.raises(TaskError, match=r"must name a subclass of Task") as caught:
        get_task("odd")
    assert shown in str(caught.value)
    assert "'odd'" in str(caught.value)


def test_a_setting_that_the_task_does_not_take_is_named(install: Install) -> None:
    install("vid2vid-depth", "depth_plugin", TASK, {"depth2scene": "depth_plugin:Depth"})

    with pytest.raises(TaskError, match=r"task 'depth2scene' does not take these settings: .*'boxes'"):
        get_task("depth2scene", {"boxes": 3})


def test_an_unfinished_task_names_what_it_lacks(install: Install) -> None:
    source = """
        from vid2vid_hub.tasks import Task

        class Half(Task):
            name = "half"

            @property
            def channels(self):
                return 1
    """
    install("vid2vid-half", "half_plugin", source, {"half": "half_plugin:Half"})

    with pytest.raises(TaskError, match="encode"):
        get_task("half")

"""The app as people start it: by the command line, and as the Space does."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import httpx
import pytest
from typer.testing import CliRunner

from vid2vid_hub.cli import app as commands
from vid2vid_hub.tasks import list_tasks

ROOT = Path(__file__).parents[2]
MINUTES = 120


def free_port() -> int:
    with closing(socket.create_server(("127.0.0.1", 0))) as free:
        return int(free.getsockname()[1])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("command", "limit"),
    [
        (["-m", "vid2vid_hub", "demo", "--web", "--port", "{port}"], "60 seconds and 200 MB"),
        (["-m", "vid2vid_hub", "demo", "--web", "--public", "--port", "{port}"], "20 seconds and 100 MB"),
        (["spaces/demo/app.py"], "20 seconds and 100 MB"),
    ],
    ids=["local", "public", "space"],
)
def test_the_app_serves_until_it_is_interrupted(command: list[str], limit: str, tmp_path: Path) -> None:
    port = free_port()
    environment = os.environ | {
        "GRADIO_SERVER_PORT": str(port),
        "GRADIO_SERVER_NAME": "127.0.0.1",
        "GRADIO_ANALYTICS_ENABLED": "False",
        "TMPDIR": str(tmp_path),
        "PYTHONPATH": str(ROOT),
    }
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, *(word.format(port=port) for word in command)],
            cwd=ROOT,
            env=environment,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        config = wait_for(f"http://127.0.0.1:{port}/config", process, tmp_path / "log")
        assert all(task in config for task in list_tasks())
        assert limit in config
        assert str(tmp_path) not in config
        assert [path.name for path in tmp_path.glob("vid2vid-hub-app-*")], "what is uploaded has a folder"
    finally:
        os.killpg(process.pid, signal.SIGINT)
        code = process.wait(30)
    said = (tmp_path / "log").read_text()
    assert code in (0, 128 + signal.SIGINT), said
    assert "Traceback" not in said
    assert not list(tmp_path.glob("vid2vid-hub-app-*")), "what visitors left is removed with the app"


def wait_for(address: str, process: subprocess.Popen[bytes], log: Path) -> str:
    end = time.monotonic() + MINUTES
    while time.monotonic() < end and process.poll() is None:
        try:
            answer = httpx.get(address, trust_env=False)
        except httpx.HTTPError:
            time.sleep(0.2)
            continue
        assert answer.status_code == 200
        return answer.text
    raise AssertionError(f"the app did not come: {log.read_text()}")


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["demo", "--port", "7860"], "add --web"),
        (["demo", "--public"], "add --web"),
        (["demo", "--web", "--setting", "segmenter=x.onnx"], "write TASK.KEY=VALUE"),
        (["demo", "--web", "--setting", "juggling.balls=3"], "no installed package provides the task 'juggling'"),
        (["demo", "--web", "--setting", "toy.balls=3"], "does not take these settings"),
        (["demo", "--web", "--model", "nowhere/at/all"], "nowhere/at/all"),
    ],
)
def test_mistakes_at_the_command_line_are_one_sentence(words: list[str], sentence: str) -> None:
    result = CliRunner().invoke(commands, words)
    assert result.exit_code != 0
    assert re.search(re.escape(sentence), str(result.exception)), result.exception

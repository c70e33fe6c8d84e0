"""Another Python process that talks to the stand-in for the Hub, and goes on doing so for as long as a test wants.

The libraries read the Hub's address when they are imported, so they cannot be told another within the tests' own
process. What is waited for between two attempts is made short there, and written down.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.hub_server import Hub

UPLOADS_WARN = "ignore:Use 'content=<...>' to upload raw bytes:DeprecationWarning"
"""huggingface_hub 2.4 sends large files in a way that its library of the network is giving up."""

LOOP = """
import io, json, os, sys, time, traceback, warnings
talk = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)
naps, sleep = [], time.sleep
def nap(seconds):
    naps.append(seconds)
    sleep(min(seconds, 0.01))
time.sleep = nap
shared = {}
for line in sys.stdin:
    naps.clear()
    said = {}
    space = {"given": json.loads(line), "answer": None}
    try:
        exec(space["given"].pop("code"), shared, space)
        said["answer"] = space["answer"]
    except BaseException as error:
        said["error"] = [type(error).__name__, str(error), traceback.format_exc()]
        if not isinstance(error, Exception):
            raise
    said["naps"] = naps
    talk.write(json.dumps(said) + "\\n")
    talk.flush()
"""

COMMAND = """
import contextlib, io, sys
from vid2vid_hub.cli import main
sys.argv = ["vid2vid-hub", *given["arguments"]]
out, err = io.StringIO(), io.StringIO()
code = 0
with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
    try:
        main()
    except SystemExit as end:
        code = end.code or 0
answer = [code, out.getvalue(), err.getvalue()]
"""
"""Runs a command line of ours, ``arguments``; answers with its exit status, and what it said on both streams."""


@dataclass
class Said:
    """What came of a piece of code.

    Attributes:
        answer: what it left in ``answer``.
        error: name of the exception that ended it, or None.
        sentence: that exception's message.
        trace: its traceback.
        naps: how long it wanted to wait, each time that it waited.
    """

    answer: Any = None
    error: str | None = None
    sentence: str = ""
    trace: str = ""
    naps: list[float] = field(default_factory=list)

    def is_one_sentence(self, pattern: str, hub: Hub) -> bool:
        """Whether it ended with a ModelError of one line that has the pattern in it, and no token of the Hub's."""
        said = self.sentence
        found = re.search(pattern, said) is not None
        return self.error == "ModelError" and found and "\n" not in said and hub.token not in said


class Client:
    """A Python process with the stand-in as its Hub.

    Args:
        hub: the stand-in.
        home: its home, in which the Hub's cache lies.
        token: of its login, or None.
        **environment: more variables.
    """

    def __init__(self, hub: Hub, home: Path, token: str | None = None, **environment: str) -> None:
        home.mkdir(parents=True, exist_ok=True)
        self.home, self.cache, self.log = home, home / "hf" / "hub", home / "stderr.txt"
        self.environment = client_environment(hub, home, token) | environment
        with self.log.open("a") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-W", "error", "-W", UPLOADS_WARN, "-c", LOOP],
                cwd=Path(__file__).resolve().parents[1],
                env=self.environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )

    def send(self, code: str, **given: Any) -> None:
        """Start a piece of code, which finds ``given`` and leaves ``answer``."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps({"code": code, **given}) + "\n")
        self.process.stdin.flush()

    def hear(self) -> Said:
        """What came of it."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, f"the client ended: {self.log.read_text()[-2000:]}"
        said = json.loads(line)
        error, sentence, trace = said.get("error", (None, "", ""))
        return Said(said.get("answer"), error, sentence, trace, said["naps"])

    def run(self, code: str, **given: Any) -> Said:
        """Run a piece of code."""
        self.send(code, **given)
        return self.hear()

    def do(self, code: str, **given: Any) -> Any:
        """Run a piece of code that must not fail; returns its ``answer``."""
        said = self.run(code, **given)
        assert said.error is None, f"{said.trace}\n{self.log.read_text()[-2000:]}"
        return said.answer

    def close(self) -> None:
        """End the process."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.close()
        self.process.stdout.close()
        self.process.wait(timeout=60)


def client_environment(hub: Hub, home: Path, token: str | None = None) -> dict[str, str]:
    """What the environment of a process with the stand-in as its Hub must be, and nothing of this one's logins."""
    inherited = {name: os.environ[name] for name in ("PATH", "SYSTEMROOT", "OMP_NUM_THREADS") if name in os.environ}
    mine = {
        "HF_ENDPOINT": hub.address,
        "HF_HOME": str(home / "hf"),
        "HOME": str(home),
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "HF_HUB_DOWNLOAD_TIMEOUT": "2",
        "HF_HUB_ETAG_TIMEOUT": "2",
        "NO_PROXY": "127.0.0.1",
    }
    return inherited | mine | ({"HF_TOKEN": token} if token else {})

"""The real page, served by its own launch from a thread, with small limits and none but cheap models."""

from __future__ import annotations

import asyncio
import dataclasses
import http.client
import json
import os
import socket
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from tests.app.made import movie
from vid2vid_hub.app import models
from vid2vid_hub.app.limits import PUBLIC
from vid2vid_hub.app.page import Page, build, launch

# Set before an app starts: nothing of a test leaves this machine, and Gradio makes no table of its calls, for which it
# asks pandas in a way that pandas warns of.
os.environ |= {"GRADIO_ANALYTICS_ENABLED": "False", "GRADIO_ANALYTICS_CACHE_FREQUENCY": "1000000000"}

SMALL = dataclasses.replace(
    PUBLIC, upload=3_000_000, frames=40, decode_seconds=20, queue=64, requests=100_000, work_pixels=64 * 48, mark=False
)
"""Limits of tests: of :data:`PUBLIC`, smaller; and requests without end, where a test does not count them."""


class Served:
    """The page on its address, and a visitor who does not use a browser.

    Attributes:
        page: what is served.
        url: where.
        http: asks for it, and follows nothing.
    """

    def __init__(self, page: Page, http: httpx.Client) -> None:
        self.page, self.http = page, http
        self.url = str(page.local_url).rstrip("/")

    def upload(self, path: Path, name: str | None = None, **how: Any) -> httpx.Response:
        """Upload a file."""
        return self.http.post("/gradio_api/upload", files={"files": (name or path.name, path.read_bytes())}, **how)

    def number(self, name: str) -> int:
        """Of an event, by its name."""
        return next(number for number, fn in self.page.fns.items() if fn.api_name == name)

    def join(self, name: str | int, data: list[Any], session: str | None = None) -> tuple[httpx.Response, str]:
        """Stand in the queue for an event; the answer, and the session."""
        session = session or uuid.uuid4().hex[:11]
        number = self.number(name) if isinstance(name, str) else name
        body = {"data": data, "fn_index": number, "session_hash": session}
        return self.http.post("/gradio_api/queue/join", json=body), session

    def follow(self, session: str) -> list[dict[str, Any]]:
        """What the queue says to a session, until it has no more to say."""
        said = []
        with self.http.stream("GET", "/gradio_api/queue/data", params={"session_hash": session}) as lines:
            for line in lines.iter_lines():
                if line.startswith("data:"):
                    said.append(json.loads(line[5:]))
        return said

    def ask(self, name: str | int, data: list[Any], session: str | None = None) -> dict[str, Any]:
        """Do an event; its last word: success, output."""
        answer, session = self.join(name, data, session)
        answer.raise_for_status()
        return next(one for one in reversed(self.follow(session)) if one["msg"] == "process_completed")

    def read(self, path: str, task: str = "toy", session: str | None = None, **more: Any) -> dict[str, Any]:
        """Read an upload, by its path on the server."""
        return self.ask(f"{task}_read", [file_data(path, **more), None], session)

    def file(self, path: str | Path) -> httpx.Response:
        """A file by its path on the server, as the page asks for it."""
        return self.http.get(f"/gradio_api/file={quote(str(path))}")


def file_data(path: str, **more: Any) -> dict[str, Any]:
    """What a component sends for a file."""
    return {"path": path, "meta": {"_type": "gradio.FileData"}, **more}


def sentence_of(said: dict[str, Any]) -> str | None:
    """What a visitor is told of an event that failed; None where it did not."""
    return None if said["success"] else (said["output"] or {}).get("error") or "Error"


def raw(house: Served, request: bytes) -> tuple[int, bytes]:
    """The status of an answer to exactly these bytes, and the answer; 0 where the connection was cut."""
    host, port = house.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=20) as wire:
        wire.sendall(request)
        answer = http.client.HTTPResponse(wire)
        try:
            answer.begin()
            return answer.status, answer.read(2000)
        except (http.client.BadStatusLine, ConnectionError):
            return 0, b""


def line(house: Served, target: str, method: str = "GET", headers: str = "") -> bytes:
    """A request for a path that no client would write."""
    return f"{method} {target} HTTP/1.1\r\nHost: {house.url[7:]}\r\n{headers}Connection: close\r\n\r\n".encode()


@contextmanager
def serving(limits: Any = SMALL, named: tuple[str, ...] = (), **how: Any) -> Iterator[Served]:
    """Build and launch the page on a free port of this machine while the block lasts."""
    with closing(socket.create_server(("127.0.0.1", 0))) as free:
        port = free.getsockname()[1]
    settings: dict[str, Any] = {"server_name": "127.0.0.1", "server_port": port, "quiet": True} | how
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRADIO_TEMP_DIR", "")  # build sets it; gone again afterwards
        patch.setattr(models, "zoo", lambda _: [])
        page = build(limits, models=named, device="cpu")

        async def start() -> None:
            launch(page, limits, prevent_thread_lock=True, **settings)

        try:
            # Where no event loop runs, Gradio makes two that nobody closes, and they are warned of in a later test.
            with ThreadPoolExecutor(1) as thread:
                thread.submit(asyncio.run, start()).result()
            with httpx.Client(base_url=str(page.local_url), timeout=60, trust_env=False) as http:
                yield Served(page, http)
        finally:
            page.close(verbose=False)


@pytest.fixture(scope="module")
def house():
    """The page without a model."""
    with serving() as served:
        yield served


@pytest.fixture
def film(tmp_path):
    """A video that can be read."""
    path = tmp_path / "a.mp4"
    path.write_bytes(movie())
    return path

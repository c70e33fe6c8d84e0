"""A stand-in for the Hub on this machine: what huggingface_hub asks of it to read repositories, and no more.

Each folder ``<root>/<owner>/<name>`` is a repository of models with one revision, ``main``.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from urllib.parse import unquote, urlsplit

API = re.compile(
    r"/api/models/(?P<repo>[^/]+/[^/]+)(?:/(?P<kind>revision|tree)/(?P<revision>[^/]+)(?:/(?P<path>.*))?)?$"
)
FILE = re.compile(r"/(?P<repo>[^/]+/[^/]+)/resolve/(?P<revision>[^/]+)/(?P<path>.+)$")


def files(repo: Path) -> list[Path]:
    """Every file of a repository, sorted."""
    return sorted(path for path in repo.rglob("*") if path.is_file())


def commit(repo: Path) -> str:
    """Forty hex digits that change when any file does."""
    contents = (path.relative_to(repo).as_posix().encode() + path.read_bytes() for path in files(repo))
    return hashlib.sha1(b"".join(contents)).hexdigest()


class Hub(ThreadingHTTPServer):
    """Serves the folders under ``root``; ``asked`` lists what was asked for, as "METHOD path"."""

    daemon_threads = True

    def __init__(self, root: Path) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        self.root = root
        self.asked: list[str] = []

    @property
    def address(self) -> str:
        """What ``HF_ENDPOINT`` must be."""
        return f"http://127.0.0.1:{self.server_port}"


class Answer(BaseHTTPRequestHandler):
    """One request."""

    protocol_version = "HTTP/1.1"
    server: Hub

    def do_GET(self) -> None:
        """Answer with the content."""
        self.server.asked.append(f"{self.command} {self.path}")
        path = unquote(urlsplit(self.path).path)
        if match := API.match(path):
            self._api(**match.groupdict())
        elif match := FILE.match(path):
            self._file(**match.groupdict())
        else:
            self._missing("EntryNotFound")

    do_HEAD = do_GET  # noqa: N815

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def _repo(self, name: str, revision: str | None) -> Path | None:
        repo = self.server.root / name
        if not repo.is_dir():
            self._missing("RepoNotFound")
        elif revision not in (None, "main", commit(repo)):
            self._missing("RevisionNotFound")
        else:
            return repo
        return None

    def _api(self, repo: str, kind: str | None, revision: str | None, path: str | None) -> None:
        folder = self._repo(repo, revision)
        if folder is None:
            return
        if kind == "tree":
            listed = [
                {"type": "file", "path": name, "size": file.stat().st_size, "oid": etag(file)}
                for file in files(folder)
                if (name := file.relative_to(folder).as_posix()).startswith(path or "")
            ]
            self._send(200, json.dumps(listed).encode(), {"Content-Type": "application/json"})
            return
        siblings = [{"rfilename": file.relative_to(folder).as_posix()} for file in files(folder)]
        info = {"_id": "0", "id": repo, "modelId": repo, "sha": commit(folder), "siblings": siblings}
        info |= {"private": False, "tags": [], "downloads": 0, "likes": 0}
        self._send(200, json.dumps(info).encode(), {"Content-Type": "application/json"})

    def _file(self, repo: str, revision: str, path: str) -> None:
        folder = self._repo(repo, revision)
        if folder is None:
            return
        file = folder / path
        if not file.is_file() or not file.resolve().is_relative_to(folder.resolve()):
            self._missing("EntryNotFound", commit(folder))
            return
        content = file.read_bytes()
        headers = {"ETag": f'"{etag(file)}"', "X-Repo-Commit": commit(folder), "Accept-Ranges": "bytes"}
        wanted = re.match(r"bytes=(\d+)-(\d*)$", self.headers.get("Range", ""))
        if wanted is None:
            self._send(200, content, headers)
            return
        first, last = int(wanted[1]), min(int(wanted[2] or len(content) - 1), len(content) - 1)
        headers["Content-Range"] = f"bytes {first}-{last}/{len(content)}"
        self._send(206, content[first : last + 1], headers)

    def _missing(self, code: str, revision: str | None = None) -> None:
        self._send(
            404,
            b"",
            {"X-Error-Code": code, "X-Error-Message": code} | ({"X-Repo-Commit": revision} if revision else {}),
        )

    def _send(self, status: int, content: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in (headers | {"Content-Length": str(len(content))}).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)


def etag(file: Path) -> str:
    """The digest of a file's content."""
    return hashlib.sha256(file.read_bytes()).hexdigest()


@contextmanager
def serving(root: Path) -> Iterator[Hub]:
    """A running stand-in; it stops when the block ends."""
    with Hub(root) as hub:
        thread = Thread(target=hub.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        try:
            yield hub
        finally:
            hub.shutdown()
            thread.join()

"""A stand-in for the Hub on this machine: the part of its protocol that models and Spaces come and go with.

It keeps repositories in memory (:mod:`tests.hub_repos`) and answers as :mod:`tests.hub_api` says. A folder
``<root>/<owner>/<name>``, if a root is given, is a public repository too, whose branch ``main`` is what lies in the
folder. Large files are kept as the Hub does: on a storage of another origin, where no token belongs. Xet is not
offered; huggingface_hub 2.4 uploads to nothing else where hf_xet is installed, unless HF_HUB_DISABLE_XET is set.
"""

from __future__ import annotations

import hashlib
import random
import re
import string
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import ThreadingHTTPServer
from pathlib import Path
from threading import RLock, Thread
from typing import Any
from urllib.parse import unquote

from tests.hub_api import Answer
from tests.hub_repos import Repo
from tests.hub_wire import Exchange, RefusedError, Response


class Hub(ThreadingHTTPServer):
    """The API and its storage, which listens on a port of its own.

    Attributes:
        repos: by "owner/name"; Spaces by "spaces/owner/name".
        tokens: what each login may do: "write" and "read" are members, who see private repositories; "visit" is
            somebody else.
        faults: called with every request before it is answered; see :mod:`tests.hub_faults`.
        asked: what was asked for, as "METHOD path", of both.
        ranges: (path, range) of every request for a part of a file.
        sent: (path, bytes) of every body that arrived, whole or not.
        leaked: requests that carried a token to the storage.
    """

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, root: Path | None = None, *, multipart: int = 5 << 30, page: int = 1000) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        self.root, self.multipart, self.page = root, multipart, page
        self.storage = Storage(self)
        self.lock = RLock()
        self.repos: dict[str, Repo] = {}
        self.tokens: dict[str, str] = {}
        self.faults: list[Callable[[Exchange], bool]] = []
        self.asked: list[str] = []
        self.ranges: list[tuple[str, str]] = []
        self.sent: list[tuple[str, int]] = []
        self.leaked: list[str] = []
        self.parts: dict[str, dict[int, bytes]] = {}
        self.token = self.login()

    @property
    def address(self) -> str:
        """What ``HF_ENDPOINT`` must be."""
        return f"http://127.0.0.1:{self.server_port}"

    def login(self, role: str = "write") -> str:
        """A new token, which looks like the Hub's."""
        token = "hf_" + "".join(random.SystemRandom().choices(string.ascii_letters, k=34))
        self.tokens[token] = role
        return token

    def repo(self, name: str) -> Repo | None:
        """A repository, with what was changed in its folder meanwhile."""
        folder = None if self.root is None else self.root / name
        if folder is not None and folder.is_dir():
            self.repos.setdefault(name, Repo()).follow(folder)
        return self.repos.get(name)

    def files(self, name: str, revision: str = "main") -> dict[str, bytes]:
        """What a revision of a repository holds."""
        repo = self.repos[name]
        return {path: blob.content for path, blob in repo.commits[repo.find(revision) or ""].files.items()}

    def stored(self, name: str) -> int:
        """How many bytes of large files were sent for a repository, counting those that came twice."""
        return sum(size for path, size in self.sent if re.match(rf"/{name}/[0-9a-f]{{64}}", path))

    def server_close(self) -> None:
        """Close both."""
        self.storage.server_close()
        super().server_close()


class Storage(ThreadingHTTPServer):
    """Where the Hub keeps large files."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, hub: Hub) -> None:
        super().__init__(("127.0.0.1", 0), StorageAnswer)
        self.hub = hub
        self.address = f"http://127.0.0.1:{self.server_port}"


class StorageAnswer(Exchange):
    """Large files come and go by their address alone, ``/[spaces/]owner/name/sha256[/part]``."""

    server: Storage

    @property
    def hub(self) -> Hub:
        """Whose storage it is."""
        return self.server.hub

    def answer(self, path: str) -> Response:
        """Keep or give a file."""
        if "Authorization" in self.headers:
            self.hub.leaked.append(f"{self.command} {self.path}")
        found = re.fullmatch(r"/(.+?)/([0-9a-f]{64})(?:/(\d+))?", path)
        repo = self.hub.repos.get(found[1]) if found else None
        if found is None or repo is None:
            raise RefusedError(403, None, "AccessDenied")
        oid, part = found[2], found[3]
        if self.command == "PUT":
            if part:
                self.hub.parts.setdefault(oid, {})[int(part)] = self.body
            elif hashlib.sha256(self.body).hexdigest() != oid:
                raise RefusedError(400, None, "XAmzContentSHA256Mismatch")
            else:
                repo.objects[oid] = self.body
            return 200, b"", {"ETag": f'"{hashlib.md5(self.body).hexdigest()}"'}
        if oid not in repo.objects:
            raise RefusedError(404, None, "NoSuchKey")
        return self.content(repo.objects[oid], {"ETag": f'"{oid}"', "Content-Type": "binary/octet-stream"})


def downloaded(asked: list[str], name: str) -> set[str]:
    """The files of a repository whose content was asked for, of the Hub or of its storage."""
    here = re.compile(rf"GET /{name}/(?:resolve/[^/]+/([^?]+)|[0-9a-f]{{64}}\?path=(.+))$")
    return {unquote(match[1] or match[2]) for line in asked if (match := here.match(line))}


@contextmanager
def serving(root: Path | None = None, **options: Any) -> Iterator[Hub]:
    """A running stand-in; it stops when the block ends."""
    with Hub(root, **options) as hub:
        servers = (hub, hub.storage)
        threads = [Thread(target=one.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True) for one in servers]
        for thread in threads:
            thread.start()
        try:
            yield hub
        finally:
            for one in servers:
                one.shutdown()
            for thread in threads:
                thread.join()

"""One request to the stand-in for the Hub, on the wire: read, answered, and spoiled where a fault is asked for."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

Response = tuple[int, bytes, dict[str, str]]
"""Status, content, headers."""


class RefusedError(Exception):
    """A request is answered with an error: status, the Hub's word for it, its sentence."""

    def __init__(self, status: int, code: str | None, message: str, **headers: str) -> None:
        named = {"X-Error-Message": message} | ({"X-Error-Code": code} if code else {})
        self.status, self.message, self.headers = status, message, named | headers


class Exchange(BaseHTTPRequestHandler):
    """One request, in the words of both servers."""

    protocol_version = "HTTP/1.1"
    timeout = 60
    disable_nagle_algorithm = True
    hub: Any
    spoil: Callable[[Response], Response] | None
    before: Callable[[], None] | None
    after: Callable[[], None] | None

    def handle_any(self) -> None:
        """Note the request, let a fault have it, or answer it."""
        self.spoil, self.before, self.after, self.body = None, None, None, b""
        self.parts = urlsplit(self.path)
        self.query = parse_qs(self.parts.query)
        with self.hub.lock:
            self.hub.asked.append(f"{self.command} {self.path}")
            if "Range" in self.headers:
                self.hub.ranges.append((self.path, self.headers["Range"]))
        if any(fault(self) for fault in self.hub.faults):
            return
        try:
            self.body = self.read()
            with self.hub.lock:
                answered = self.answer(unquote(self.parts.path))
            self.send(*answered)
        except RefusedError as refused:
            body = json.dumps({"error": refused.message}).encode()
            self.send(refused.status, body, {"Content-Type": "application/json"} | refused.headers)

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = handle_any  # noqa: N815

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def read(self, limit: int | None = None) -> bytes:
        """The body, at most its first ``limit`` bytes; a client that breaks off ends the exchange."""
        if self.headers.get("Transfer-Encoding") == "chunked":
            chunks = []
            while (size := int(self.rfile.readline().strip() or b"0", 16)) > 0:
                chunks.append(self.rfile.read(size))
                self.rfile.readline()
                if limit is not None and sum(map(len, chunks)) >= limit:
                    break
            else:
                self.rfile.readline()
            body = b"".join(chunks)
        else:
            size = int(self.headers.get("Content-Length") or 0)
            body = self.rfile.read(size if limit is None else min(size, limit))
        if body:
            with self.hub.lock:
                self.hub.sent.append((self.path, len(body)))
        return body

    def send(self, status: int, content: bytes, headers: dict[str, str]) -> None:
        """Answer, as a fault left it."""
        headers = headers | {"Content-Length": str(len(content))}
        if self.spoil is not None:
            try:
                status, content, headers = self.spoil((status, content, headers))
            except ConnectionError:
                return
            self.close_connection = True
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        if self.before is not None:
            self.before()
        if self.command != "HEAD":
            self.wfile.write(content)
        if self.after is not None:
            self.after()

    def content(self, content: bytes, headers: dict[str, str]) -> Response:
        """A file, or the range of it that was asked for."""
        headers = {"Accept-Ranges": "bytes"} | headers
        wanted = re.match(r"bytes=(\d+)-(\d*)$", self.headers.get("Range", ""))
        if wanted is None:
            return 200, content, headers
        first, last = int(wanted[1]), min(int(wanted[2] or len(content) - 1), len(content) - 1)
        if first >= len(content):
            raise RefusedError(416, None, "Range Not Satisfiable", **{"Content-Range": f"bytes */{len(content)}"})
        headers["Content-Range"] = f"bytes {first}-{last}/{len(content)}"
        return 206, content[first : last + 1], headers

    def answer(self, path: str) -> Response:
        """Status, content and headers."""
        raise NotImplementedError


def as_json(value: Any, status: int = 200) -> Response:
    return status, json.dumps(value).encode(), {"Content-Type": "application/json"}

"""The body of a request: neither too much nor too slow, one file an upload, and no address that Gradio would fetch."""

from __future__ import annotations

import asyncio
import json
import re
import time
from math import isfinite
from typing import Any

from starlette.formparsers import MultiPartException
from starlette.types import Message, Receive

SILENCE = 20.0
"""Seconds in which some of a body must arrive."""
PATIENCE, SLOWEST = 30.0, 20_000
"""Seconds that any body may take, and the bytes a second of one that takes longer."""
HEAD = 8192
"""Bytes in which the head of a file must be whole; and of a body, beside the file."""
FORM = re.compile(r'multipart/form-data;\s*boundary="?([\w\'()+,./:=? -]{8,70})"?', re.ASCII | re.IGNORECASE)


class RefusedError(MultiPartException):
    """A request that is answered in one sentence; as a MultiPartException, Gradio removes what it holds of an upload.

    Args:
        message: the sentence.
        status: of HTTP.
    """

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status

    def __str__(self) -> str:
        return self.message


class Body:
    """What arrives of a body.

    Args:
        receive: where from.
        most: bytes.
        form: the content type, of an upload; one file is taken.

    Raises:
        RefusedError: it is no such thing.
    """

    def __init__(self, receive: Receive, most: int, form: str | None = None) -> None:
        self._receive, self._most = receive, most
        self.seen, self._began, self._whole = 0, time.monotonic(), False
        self.refused: RefusedError | None = None
        self._head, self._tail, self._marks = b"", b"", 0
        self._boundary = None
        if form is not None:
            found = FORM.fullmatch(form.strip())
            if found is None:
                raise no_file()
            self._boundary = b"--" + found[1].encode()

    async def __call__(self) -> Message:
        """The next part of it.

        Raises:
            RefusedError: it is more, or slower, than is granted, or not one file.
        """
        if self._whole:  # now it waits for the visitor to leave, which may take as long as it likes
            return await self._receive()
        try:
            return await self._next()
        except RefusedError as refused:
            self.refused = refused
            raise

    async def _next(self) -> Message:
        try:
            message: Message = await asyncio.wait_for(self._receive(), SILENCE)
        except TimeoutError:
            raise RefusedError("The upload stopped arriving; try again.", 408) from None
        if message["type"] == "http.disconnect":
            raise RefusedError("The upload ended before it was whole; try again.", 400)
        part = message.get("body", b"")
        self.seen += len(part)
        self._whole = not message.get("more_body", False)
        if self.seen > self._most:
            raise too_large(self._most)
        if not self._whole and time.monotonic() - self._began > PATIENCE + self.seen / SLOWEST:
            raise RefusedError("The upload arrives too slowly; try again over a faster connection.", 408)
        if self._boundary is not None:
            self._check_file(part, self._boundary)
        return message

    def _check_file(self, part: bytes, boundary: bytes) -> None:
        """One file, so its boundary stands twice, before and after it; what is no file would be kept in memory."""
        near = self._tail + part
        self._marks += near.count(boundary)
        self._tail = near[-(len(boundary) - 1) :]
        if self._marks > 2:
            raise RefusedError("That is more than one file; give one at a time.", 400)
        if len(self._head) < HEAD:
            self._head = (self._head + part)[:HEAD]
            whole = self._whole or len(self._head) == HEAD or b"\r\n\r\n" in self._head
            if whole and b"filename" not in self._head.split(b"\r\n\r\n")[0].lower():
                raise no_file()


async def checked(body: Body) -> Receive:
    """A body of JSON, read whole, that names no address where a file is meant: Gradio would fetch what lies there.

    Raises:
        RefusedError: it does, or is no JSON.
    """
    content = bytearray()
    more = True
    while more:
        message = await body()
        content += message.get("body", b"")
        more = message.get("more_body", False)
    try:
        asked = json.loads(bytes(content), parse_constant=_finite, parse_float=_finite) if content else {}
        if not isinstance(asked, dict):
            raise ValueError
        bad = _names_address(asked)
    except (ValueError, RecursionError):
        raise RefusedError("That is no question that this page asks.", 400) from None
    if bad:
        raise RefusedError("An address is not fetched here; upload the file itself.", 400)
    given = False

    async def again() -> Message:
        nonlocal given
        if given:
            return await body()
        given = True
        return {"type": "http.request", "body": bytes(content), "more_body": False}

    return again


def too_large(most: int) -> RefusedError:
    """What is said of a body of more than so many bytes."""
    return RefusedError(f"That is too large: at most {most / 1e6:.1f} MB are taken. Make it smaller, or shorter.", 413)


def no_file() -> RefusedError:
    """What is said of an upload without a file."""
    return RefusedError("That is no upload of a file; choose one on the page.", 400)


def _finite(number: str) -> float:
    value = float(number)
    if not isfinite(value):  # which FastAPI could not even refuse
        raise ValueError
    return value


def _names_address(value: Any) -> bool:
    if isinstance(value, dict):
        path = value.get("path")
        return (isinstance(path, str) and "://" in path) or any(map(_names_address, value.values()))
    return isinstance(value, list) and any(map(_names_address, value))

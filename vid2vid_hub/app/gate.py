"""The gate before the app: what it has no use for is not there, bodies have a size and a time, and nobody asks for all.

Gradio brings more than the app uses, such as routes that run ffmpeg on what is sent to them, or that fetch other
addresses. A list of what is let through is short, and stays right when Gradio learns something new.
"""

from __future__ import annotations

import logging
import re
import time
from collections import Counter, OrderedDict
from contextlib import suppress
from ipaddress import ip_address
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from vid2vid_hub.app.body import HEAD, Body, RefusedError, checked, no_file, too_large
from vid2vid_hub.app.limits import Limits
from vid2vid_hub.app.said import SORRY

GETS = re.compile(
    r"/|/(config|theme\.css|robots\.txt|favicon\.ico|manifest\.json)"
    r"|/(assets|static|svelte)/[\w./-]+"
    r"|/gradio_api/(info|startup-events|queue/data|queue/status|upload_progress|app_id|user)"
    r"|/gradio_api/(heartbeat|call/[\w-]+)/[\w-]+"
    r"|/gradio_api/file=(?!\s*[A-Za-z][\w+.-]*://).+"  # of an address Gradio would fetch what lies there
)
POSTS = re.compile(
    r"/gradio_api/(upload|queue/join|cancel|reset)"
    r"|/gradio_api/(call|run|api)/[\w-]+"
    r"|/gradio_api/stream/[\w-]+(/close)?"
)
FRAMES = re.compile(r"/gradio_api/stream/.+")
UPLOAD = "/gradio_api/upload"
LOGIN = "/login"
"""Only there where the host asked for names and passwords."""

SMALL, FRAME = 256_000, 5_000_000
"""Bytes of a question, and of a frame of a camera."""
FRAMES_A_SECOND = 40
ADDRESSES = 10_000
"""That are remembered."""
UPLOADS, UPLOADS_OF_ONE = 128, 16
"""That arrive at once: of all visitors, and from one address. Each holds two descriptors."""

HEADERS = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "permissions-policy": "geolocation=(), payment=(), usb=()",
}
FILE_POLICY = "sandbox; default-src 'none'; media-src 'self'; style-src 'unsafe-inline'"

_log = logging.getLogger(__name__)


class Bucket:
    """Grants so many things a second, and ``most`` at once, to each address."""

    def __init__(self, rate: float, most: float) -> None:
        self._rate, self._most = rate, most
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, who: str, now: float | None = None) -> bool:
        """Whether there is one left for an address; takes it."""
        now = time.monotonic() if now is None else now
        left, then = self._left.pop(who, (self._most, now))
        left = min(self._most, left + (now - then) * self._rate)
        self._left[who] = (left - 1 if left >= 1 else left, now)
        if len(self._left) > ADDRESSES:
            self._left.popitem(last=False)
        return left >= 1


class Gate:
    """An ASGI middleware.

    Args:
        app: what it guards.
        limits: ``upload`` and ``requests`` count here.
    """

    def __init__(self, app: ASGIApp, limits: Limits) -> None:
        self.app, self.limits = app, limits
        self._asked = Bucket(limits.requests / 60, limits.requests)
        self._frames = Bucket(FRAMES_A_SECOND, 5 * FRAMES_A_SECOND)
        self._uploads: Counter[str] = Counter()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through, or answer it here in one sentence."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        if scope["type"] != "http":  # no part of the app speaks over websockets
            await send({"type": "websocket.close", "code": 1008})
            return
        started = False

        async def answer(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers[name] = value
                if scope["path"].startswith("/gradio_api/file="):
                    headers["content-security-policy"] = FILE_POLICY
            await send(message)

        try:
            self._check(scope)
            await self._pass(scope, receive, answer)
        except RefusedError as refused:
            if not started:
                await PlainTextResponse(str(refused), refused.status)(scope, receive, answer)
        except Exception:
            if started:
                raise
            _log.exception("unforeseen, at a request")
            await PlainTextResponse(SORRY, 500)(scope, receive, answer)

    def _check(self, scope: Scope) -> None:
        """What can be known before anything of a body is there."""
        path, method = scope["path"], scope["method"]
        login = path == LOGIN and method == "POST" and getattr(scope.get("app"), "auth", None) is not None
        if not login and not is_known(method, path):
            raise RefusedError("There is nothing here.", 404)
        headers = Headers(scope=scope)
        if _foreign(headers, scope):
            raise RefusedError("Another page may not ask this one; open it itself.", 403)
        if method != "POST":
            return
        bucket = self._frames if FRAMES.fullmatch(path) else self._asked
        if not bucket.take(address(scope)):
            raise RefusedError("That is more than one visitor may ask for; wait a minute.", 429)
        length, most = headers.get("content-length", "0"), self._most(path)
        if not length.isdecimal() or len(length) > 18 or int(length) > most:
            raise too_large(most)

    async def _pass(self, scope: Scope, receive: Receive, answer: Send) -> None:
        path = scope["path"]
        if scope["method"] != "POST":
            await self.app(scope, receive, answer)
        elif path == UPLOAD:
            who = address(scope)
            if self._uploads.total() >= UPLOADS or self._uploads[who] >= UPLOADS_OF_ONE:
                raise RefusedError("Too many uploads arrive at once; try again in a minute.", 429)
            self._uploads[who] += 1
            try:
                await self._upload(scope, receive, answer)
            finally:
                self._uploads[who] -= 1
                self._uploads += Counter()  # forgets those who have none
        else:
            body = Body(receive, self._most(path))
            await self.app(scope, await checked(body) if path != LOGIN else body, answer)

    async def _upload(self, scope: Scope, receive: Receive, answer: Send) -> None:
        """Gradio turns what a body raises into an answer of its own, after it has removed what had come."""
        most = self._most(UPLOAD)
        body = Body(receive, most, Headers(scope=scope).get("content-type", ""))

        async def unless_refused(message: Message) -> None:
            status = message.get("status", 200)
            if body.refused is None and status in (400, 413):
                body.refused = too_large(most) if body.seen > self.limits.upload else no_file()
            if body.refused is None:
                await answer(message)

        await self.app(scope, body, unless_refused)
        if body.refused is not None:
            raise body.refused

    def _most(self, path: str) -> int:
        if path == UPLOAD:
            return self.limits.upload + HEAD
        return FRAME if FRAMES.fullmatch(path) else SMALL


def is_known(method: str, path: str) -> bool:
    """Whether the app has a use for it."""
    known = {"GET": GETS, "HEAD": GETS, "POST": POSTS}.get(method)
    return known is not None and bool(known.fullmatch(path)) and ".." not in re.split(r"[/\\]", path)


def address(scope: Scope) -> str:
    """Who asks. Behind a proxy, which has a private address, it is the last public one that proxies wrote down."""
    peer = str((scope.get("client") or ("", 0))[0])
    if not _is_public(peer):
        for name in reversed(",".join(Headers(scope=scope).getlist("x-forwarded-for")).split(",")):
            if _is_public(name.strip()):
                return name.strip()
    return peer


def _is_public(name: str) -> bool:
    with suppress(ValueError):
        return ip_address(name).is_global
    return False


def _foreign(headers: Headers, scope: Scope) -> bool:
    """Whether a script or a form of another page asks; browsers name the page in all that could change or tell."""
    origin = headers.get("origin")
    if origin is None or headers.get("sec-fetch-site") in ("same-origin", "none"):
        return False
    hosts = [headers.get("host", ""), *headers.get("x-forwarded-host", "").split(",")]
    with suppress(ValueError):
        return urlsplit(origin).netloc.lower() not in [host.strip().lower() for host in hosts if host.strip()]
    return True

"""What can go wrong between a client and the stand-in for the Hub: each a thing that servers and networks do."""

from __future__ import annotations

import re
import socket
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.hub_server import Hub
    from tests.hub_wire import Exchange, Response

Deed = Callable[["Exchange"], bool]
"""Spoils an exchange; True where nothing is left to be answered."""


class Fault:
    """Something that happens to the requests of one kind.

    Args:
        where: found in "METHOD path?query" of those that it happens to.
        deed: what happens.
        times: to how many of them; None is to all.
        after: how many are left alone before.
    """

    def __init__(self, where: str, deed: Deed, times: int | None = 1, after: int = 0) -> None:
        self.where, self.deed, self.after = re.compile(where), deed, after
        self.left = times
        self.happened = 0

    def __call__(self, exchange: Exchange) -> bool:
        if not self.where.search(f"{exchange.command} {exchange.path}"):
            return False
        with exchange.hub.lock:
            if self.after or self.left == 0:
                self.after = max(0, self.after - 1)
                return False
            self.left = None if self.left is None else self.left - 1
            self.happened += 1
        return self.deed(exchange)


@contextmanager
def faulty(hub: Hub, *faults: Fault) -> Iterator[None]:
    """The faults are there until the block ends."""
    hub.faults.extend(faults)
    try:
        yield
    finally:
        for fault in faults:
            hub.faults.remove(fault)


def status(code: int, text: str = "", **headers: str) -> Deed:
    """The request is read and answered with an error."""

    def deed(exchange: Exchange) -> bool:
        exchange.read()
        echoed = text.replace("{authorization}", exchange.headers.get("Authorization", ""))
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        exchange.send(code, echoed.encode(), {"Content-Type": "text/plain"} | named)
        return True

    return deed


def page(code: int = 200) -> Deed:
    """A web page comes instead of the answer, as from the portal of a hotel."""

    def deed(exchange: Exchange) -> bool:
        exchange.read()
        exchange.send(code, b"<!DOCTYPE html><title>Log in to the network</title>", {"Content-Type": "text/html"})
        return True

    return deed


def unheard(byte: int) -> Deed:
    """The connection breaks when so many bytes of the request's body have come."""

    def deed(exchange: Exchange) -> bool:
        exchange.read(byte)
        _break(exchange)
        return True

    return deed


def unanswered() -> Deed:
    """What was asked for is done, and the connection breaks before the answer."""

    def deed(exchange: Exchange) -> bool:
        def spoil(_: Response) -> Response:
            _break(exchange)
            raise ConnectionAbortedError

        exchange.spoil = spoil
        return False

    return deed


def cut(byte: int, *, reset: bool = False) -> Deed:
    """The connection ends (or is reset) after so many bytes of the content."""

    def deed(exchange: Exchange) -> bool:
        exchange.spoil = lambda response: (response[0], response[1][:byte], response[2])
        exchange.after = (lambda: _break(exchange)) if reset else None
        return False

    return deed


def changed(change: Callable[[bytes], bytes], *, size: bool = True) -> Deed:
    """Other content comes; with ``size``, the headers tell the size that it has."""

    def deed(exchange: Exchange) -> bool:
        def spoil(response: Response) -> Response:
            code, content, headers = response
            other = change(content)
            return code, other, headers | ({"Content-Length": str(len(other))} if size else {})

        exchange.spoil = spoil
        return False

    return deed


def flipped(byte: int) -> Deed:
    """One bit of the content is another."""
    return changed(
        lambda content: content[:byte] + bytes([content[byte] ^ 1]) + content[byte + 1 :] if content else b""
    )


def slow(seconds: float) -> Deed:
    """The content is late."""

    def deed(exchange: Exchange) -> bool:
        exchange.before = lambda: time.sleep(seconds)
        return False

    return deed


def _break(exchange: Any) -> None:
    """Reset the connection, so that the other side's next word fails."""
    exchange.close_connection = True
    broken = socket.socket(fileno=exchange.connection.detach())
    broken.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    broken.close()

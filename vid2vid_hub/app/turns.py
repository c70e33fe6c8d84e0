"""Who is next where several share one model: a lock that serves in the order of asking."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Generator, Iterator
from contextlib import AbstractContextManager
from typing import TypeVar

Item = TypeVar("Item")


class Turns:
    """A lock that serves in the order of asking. A plain one may serve the same thread again and again."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._line: deque[object] = deque()

    def __enter__(self) -> None:
        me = object()
        with self._changed:
            self._line.append(me)
            self._changed.wait_for(lambda: self._line[0] is me)

    def __exit__(self, *_: object) -> None:
        with self._changed:
            self._line.popleft()
            self._changed.notify_all()


def in_turn(turn: AbstractContextManager[object], items: Iterator[Item]) -> Generator[Item]:
    """Go through something, each step of it in a turn of its own; who closes this closes that."""
    try:
        while True:
            with turn:
                item = next(items, None)
            if item is None:
                return
            yield item
    finally:
        if isinstance(items, Generator):
            items.close()

"""SIGTERM as a wish: whoever is training hears of it when the step is finished."""

from __future__ import annotations

import signal
import threading
from types import FrameType
from typing import Any, Self


class Stopping:
    """While entered, SIGTERM sets ``asked`` instead of ending the process.

    Signals come to the main thread only; a training in another one cannot be asked this way.
    """

    def __init__(self) -> None:
        self.asked = False
        self._before: Any = None

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            self._before = signal.signal(signal.SIGTERM, self._ask)
        return self

    def __exit__(self, *_: object) -> None:
        if self._before is not None:
            signal.signal(signal.SIGTERM, self._before)

    def _ask(self, number: int, frame: FrameType | None) -> None:
        self.asked = True

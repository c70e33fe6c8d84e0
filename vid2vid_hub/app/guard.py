"""The other process that decodes what a stranger uploaded, seen from here: started, waited for, and ended for sure."""

from __future__ import annotations

import io
import json
import os
import signal
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any, Self, TypeGuard, cast

import numpy as np

from vid2vid_hub.app import child
from vid2vid_hub.app.limits import Limits
from vid2vid_hub.convert.quarantine import KEPT
from vid2vid_hub.data.policy import Pictures
from vid2vid_hub.errors import ConditionError, VideoError

LONGEST_WORDS, LONGEST_SENTENCE = 2**14, 400
PIPE = 2**20
"""Bytes that may wait in the pipe, where Linux lets us say so; the usual 64 KiB wake both ends 95 times a frame."""
TICK = 0.1


class Guarded:
    """One upload in the hands of its process; the clock runs only while this one waits.

    Args:
        kind: which of the orders of `child.py`.
        what: how errors call it.
        error: their class.
        path: a regular file; links are not followed.
        limits: what is granted.
        orders: whatever else the order needs, as JSON values.
    """

    def __init__(
        self, kind: str, what: str, error: type[VideoError | ConditionError], path: Path, limits: Limits, **orders: Any
    ) -> None:
        self.what, self.error, self.limits, self.path = what, error, limits, os.path.abspath(path)  # noqa: PTH100
        self._check()
        self._orders = {"kind": kind, "what": what, "path": self.path, "limits": asdict(limits), **orders}
        self._waited, self._since, self._late = 0.0, cast(float | None, None), False
        self._over = threading.Event()
        self._watch = threading.Thread(target=self._watching, name="receive", daemon=True)

    def __enter__(self) -> Self:
        try:
            self._process = subprocess.Popen(
                # -P: what lies beside the program is not what it imports.
                [sys.executable, "-P", child.__file__, json.dumps(self._orders)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env={name: os.environ[name] for name in KEPT if name in os.environ} | {"OMP_NUM_THREADS": "1"},
                bufsize=0,
                start_new_session=True,
            )
        except OSError:
            raise self.error(f"no process can be started now that would read {self.what}; try again later") from None
        self._pipe = cast(io.FileIO, self._process.stdout)
        with suppress(ImportError, OSError, AttributeError):
            import fcntl

            fcntl.fcntl(self._pipe, fcntl.F_SETPIPE_SZ, PIPE)
        self._watch.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end()
        self._pipe.close()

    def _check(self) -> None:
        """What can be known without opening it."""
        try:
            status = os.lstat(self.path)
        except (OSError, ValueError):
            raise self.error(f"{self.what} is not there any more; upload it again") from None
        if not stat.S_ISREG(status.st_mode):
            raise self.error(f"{self.what} is no regular file, where one was expected; upload the file itself")
        if not status.st_size:
            raise self.error(f"{self.what} is empty (0 bytes); copy or record it again")
        if status.st_size > self.limits.upload:
            raise self.error(
                f"{self.what} has {status.st_size / 1e6:.1f} MB, where at most {self.limits.upload / 1e6:g} MB are "
                "taken; make it shorter or smaller"
            )

    def content(self, kind: bytes, most: int) -> bytearray | None:
        """The next message, if it is of this kind and not longer than that; None at the end of what is whole."""
        length = self._length(kind)
        if length is None:
            return None
        if length > most:
            raise self.babble()
        return cast(bytearray, self._fill(bytearray(length)))

    def words(self, kind: bytes) -> dict[str, Any]:
        """The next message as a mapping of JSON."""
        try:
            words = json.loads(self.content(kind, LONGEST_WORDS) or b"null")
        except (ValueError, RecursionError):
            words = None
        if not isinstance(words, dict):
            raise self.babble()
        return words

    def size_of(self, words: Mapping[str, Any]) -> tuple[int, int]:
        """(height, width), if it is one that is granted."""
        size = words.get("size")
        if not whole(size, 2) or size[0] * size[1] > self.limits.pixels:
            raise self.babble()
        return size[0], size[1]

    def picture(self, shape: tuple[int, int, int]) -> Pictures | None:
        """The next frame; None at the end."""
        length = self._length(child.FRAME)
        if length is None:
            return None
        if length != shape[0] * shape[1] * shape[2]:
            raise self.babble()
        picture = np.empty(shape, np.uint8)
        self._fill(picture.data.cast("B"))
        return picture

    def _length(self, kind: bytes) -> int | None:
        if self._pipe.closed:
            raise self.error(f"{self.what} is closed; go through it inside of its with block")
        found, length = child.HEAD.unpack(self._fill(bytearray(child.HEAD.size)))
        if found == kind:
            return int(length)
        if found != child.END or length > LONGEST_WORDS:
            raise self.babble()
        try:
            words = json.loads(cast(bytearray, self._fill(bytearray(length))))
        except (ValueError, RecursionError):
            words = None
        if isinstance(words, dict) and words.get("done") is True:
            return None
        if isinstance(words, dict) and isinstance(words.get("refused"), str):
            raise self.error(self._clean(words["refused"]))
        raise self.babble()

    def _fill(self, room: bytearray | memoryview) -> bytearray | memoryview:
        """Exactly so many bytes as there is room for; waiting for them is what the clock counts."""
        left = memoryview(room)
        self._since = time.monotonic()
        try:
            while left:
                got = self._pipe.readinto(left)
                if not got:
                    raise self.error(self._why())
                left = left[got:]
        finally:
            began, self._since = self._since, None
            self._waited += time.monotonic() - began
        return room

    def _watching(self) -> None:
        while not self._over.wait(TICK):
            since, waited = self._since, self._waited
            late = since is not None and waited + time.monotonic() - since > 2 * self.limits.decode_seconds
            if late and self._since == since:
                self._late = True
                self._kill()
                return

    def _kill(self) -> None:
        with suppress(OSError):
            if hasattr(os, "killpg"):
                os.killpg(self._process.pid, signal.SIGKILL)
            else:
                self._process.kill()

    def _end(self) -> int:
        """Kill it, and wait until nothing of it is left; returns how it ended."""
        self._over.set()
        self._watch.join()
        if self._process.returncode is None:
            self._kill()
        return self._process.wait()

    def _why(self) -> str:
        """Why it ended in the middle."""
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(TICK)  # it has let go of the pipe, and says in a moment why
        code = self._end()
        if self._late or code == -getattr(signal, "SIGXCPU", 0):
            return (
                f"reading {self.what} takes more than the {self.limits.decode_seconds} seconds that are granted; make "
                "it shorter or smaller"
            )
        if code == -getattr(signal, "SIGKILL", 0):
            return f"reading {self.what} takes more memory than there is; make it smaller"
        return (
            f"{self.what} ended the process that read it (exit code {code}), as damaged files do; convert it, or copy "
            "it again"
        )

    def babble(self) -> VideoError | ConditionError:
        """The error of a process that does not keep to what was agreed, as one does that was taken over."""
        return self.error(f"{self.what} confused the process that read it, as malicious files do; give another one")

    def _clean(self, text: str) -> str:
        text = text.replace(self.path, self.what).replace(str(Path(self.path).parent), "…")
        return "".join(letter if letter.isprintable() else "?" for letter in text)[:LONGEST_SENTENCE]


def whole(values: Any, count: int) -> TypeGuard[list[int]]:
    """Whether it is a list of so many whole numbers, from 1 to what 31 bits hold."""
    return (
        isinstance(values, list)
        and len(values) == count
        and all(type(value) is int and 0 < value < 2**31 for value in values)
    )

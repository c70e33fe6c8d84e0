"""Tokens stay where they are: what looks like one is recognised, and blotted out of all that is written or shown."""

from __future__ import annotations

import logging
import os
import re
import sys
import traceback
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TextIO, cast

BLOTS = {
    r"(hf_)[A-Za-z0-9]{30,}": r"\1***",
    r"(hf_oauth_)[A-Za-z0-9._-]{30,}": r"\1***",
    r"\b(api_org_)[A-Za-z0-9]{30,}": r"\1***",
    r"\b(github_pat_|gh[oprsu]_)[A-Za-z0-9_]{30,}": r"\1***",
    r"\b(wandb_v1_)[A-Za-z0-9_]{30,}": r"\1***",
    r"\b(sk-)[A-Za-z0-9_-]{32,}": r"\1***",
    r"\b(AKIA)[A-Z0-9]{16}\b": r"\1***",
    r"(?i)(authorization\W+(?:basic|bearer|token)|bearer)\s+[A-Za-z0-9._~+/=-]{16,}": r"\1 ***",
    r"(-----BEGIN [A-Z ]*PRIVATE KEY-----)[\s\S]*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)": r"\1 ***",
    r"(://)[^\s/:@]+:[^\s/@]+(@)": r"\1***\2",
}
"""What looks like a secret, and what is left of it: tokens of the Hub and of where its users come from, the value of an
Authorization header, private keys, and a password in an address."""
PATTERNS = {re.compile(pattern): left for pattern, left in BLOTS.items()}

SECRET_NAME = re.compile(r"token|secret|passwd|password|api_?key|credential", re.IGNORECASE)
PLACE_NAME = re.compile(r"_(?:dir|file|path)$", re.IGNORECASE)
SHORTEST = 16
"""A value of the environment that is shorter may be a word that is used elsewhere, and is left alone."""


def redacted(text: str) -> str:
    """A text without its secrets: what looks like one, and the values of the environment's variables that hold one."""
    for value in _kept_by_environment():
        text = text.replace(value, "***")
    for pattern, left in PATTERNS.items():
        text = pattern.sub(left, text)
    return text


def find_secret(text: str) -> str | None:
    """Where a text holds a secret, without telling it: "hf_*** in line 3". None if it holds none."""
    for number, (line, clean) in enumerate(zip(text.splitlines(), redacted(text).splitlines(), strict=False), 1):
        if line != clean:
            blot = re.search(r"\S*(?:\S+ )?\*{3}", clean)
            return f"{blot[0] if blot else '***'} in line {number}"
    return None


def without_secrets(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Nested settings without the keys that name a token, secret or password; what looks like one elsewhere is blotted.

    Lists and mappings are gone through; other values than text are kept as they are.
    """
    return {key: _clean(value) for key, value in settings.items() if not SECRET_NAME.search(str(key))}


def blot_out(error: BaseException | None) -> None:
    """Take the secrets out of the messages of an error and of all that it came from, which tracebacks show with it."""
    seen: list[BaseException] = []
    while error is not None and error not in seen:
        seen.append(error)
        kept = tuple(redacted(arg) if isinstance(arg, str) else arg for arg in error.args)
        if kept != error.args:
            error.args = kept
        error = error.__cause__ or error.__context__


def clean(record: logging.LogRecord) -> logging.LogRecord:
    """The record of a log without secrets."""
    try:
        said = record.getMessage()
    except (TypeError, ValueError):
        # The logging of others may be broken; the handler says so when it comes to this record.
        return record
    if redacted(said) != said:
        record.msg, record.args = redacted(said), None
    if record.exc_info and not record.exc_text:
        lines = "".join(traceback.format_exception(*record.exc_info)).rstrip("\n")
        if redacted(lines) != lines:
            record.exc_text = redacted(lines)
    return record


class RedactedStream:
    """A text stream that blots out the secrets in everything that is written to it."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write what is left of a text; returns its whole length, as writers expect."""
        self._stream.write(redacted(text))
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        """Write several."""
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextmanager
def guarded() -> Iterator[None]:
    """Keep secrets out of all that a program prints, warns and logs while this lasts; tracebacks too, printed within.

    The records of every logger are cleaned where they are made, because a filter of one logger does not see those of
    its children, and one of a handler does not know the handlers of libraries.
    """
    make, streams = logging.getLogRecordFactory(), (sys.stdout, sys.stderr)
    logging.setLogRecordFactory(lambda *args, **kwargs: clean(make(*args, **kwargs)))
    sys.stdout, sys.stderr = (cast("TextIO", RedactedStream(stream)) for stream in streams)
    try:
        yield
    finally:
        logging.setLogRecordFactory(make)
        sys.stdout, sys.stderr = streams


def _kept_by_environment() -> list[str]:
    """Values of variables such as HF_TOKEN or WANDB_API_KEY, the longest first."""
    kept = {
        value
        for name, value in os.environ.items()
        if len(value) >= SHORTEST and SECRET_NAME.search(name) and not PLACE_NAME.search(name)
    }
    return sorted(kept, key=len, reverse=True)


def _clean(value: Any) -> Any:
    if isinstance(value, str):
        return redacted(value)
    if isinstance(value, Mapping):
        return without_secrets(value)
    if isinstance(value, list | tuple):
        return [_clean(one) for one in value]
    return value

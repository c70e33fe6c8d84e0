"""What visitors are told: sentences, never tracebacks, and never a place on the host's machine."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager

import gradio as gr

from vid2vid_hub.errors import Vid2VidError

_log = logging.getLogger(__name__)

SORRY = "Something went wrong here, and it is not your video's fault; it was written down for whoever runs this page."
BRACKETS = str.maketrans("<>", "\u2039\u203a")
LONGEST = 600
"""Characters of a sentence; what visitors typed is part of some errors."""


@contextmanager
def told() -> Iterator[None]:
    """Turn what goes wrong into one sentence for the visitor; what nobody foresaw goes to the host's log instead.

    Raises:
        gr.Error: with the sentence.
    """
    try:
        yield
    except gr.Error:
        raise
    except Vid2VidError as error:
        raise gr.Error(sentence(error), duration=None, print_exception=False) from None
    except Exception as error:
        _log.exception("unforeseen, while a visitor waited")
        raise gr.Error(SORRY, duration=None, print_exception=False) from error


def sentence(error: Vid2VidError) -> str:
    """An error as a sentence: one line, a capital, a full stop; without anything that a page would take for markup.

    Gradio shows errors as HTML, and programs get them as they are, so brackets become others that look alike.
    """
    text = " ".join(str(error).translate(BRACKETS).split())
    text = "".join(letter if letter.isprintable() else "?" for letter in text)
    if len(text) > LONGEST:
        text = text[: LONGEST - 1] + "…"
    return text[:1].upper() + text[1:].rstrip(".") + "."


def plain(text: str) -> str:
    """A text that Markdown shows as it is, on one line."""
    return re.sub(r"([!-/:-@\[-`{-~])", r"\\\1", " ".join(text.split()))

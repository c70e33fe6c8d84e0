"""ZeroGPU, where the platform has it: a GPU that is lent for as long as one call takes."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable
from typing import Any, TypeVar, cast

Made = TypeVar("Made", bound=Callable[..., Any])

SECONDS_A_FRAME, SECONDS_TO_START, MOST_SECONDS = 0.1, 20, 120
"""What is asked for; a guess, not measured there. More than the last is never asked for."""


def is_lent() -> bool:
    """Whether this is a place where the GPU is there for the length of a call only."""
    return os.environ.get("SPACES_ZERO_GPU", "").lower() in ("1", "true", "t")


def duration(frames: int) -> int:
    """Seconds of a GPU to ask for, to make so many frames."""
    return min(MOST_SECONDS, SECONDS_TO_START + round(SECONDS_A_FRAME * max(0, frames)))


def lent(make: Made, frames: Callable[..., int]) -> Made:
    """Decorate a function that needs the GPU; elsewhere than on ZeroGPU it stays what it is.

    Args:
        make: a function, or a generator function, at module level: it runs in a process of its own, into which its
            arguments are pickled, and which sees what the module knows at that moment.
        frames: how many frames it will make, of the same arguments.
    """
    if not is_lent():
        return make
    spaces = importlib.import_module("spaces")
    return cast(Made, spaces.GPU(duration=lambda *given, **named: duration(frames(*given, **named)))(make))

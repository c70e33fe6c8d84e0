"""What a picture is, which files are opened as pictures, and what every failure becomes: a `VideoError`."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vid2vid_hub.errors import VideoError

Pictures = NDArray[np.uint8]

MAX_PIXELS = 8192 * 4320
"""The largest frame that is read or written; 27 kB of VP9 can otherwise unfold to 7 GB."""


@contextmanager
def typed(path: str | Path) -> Iterator[None]:
    """Whatever a decoder throws (fuzzing found nine kinds) leaves as a VideoError that names the file."""
    try:
        yield
    except VideoError:
        raise
    except Exception as error:
        raise VideoError(
            f"{path} cannot be read ({reason(error)}); check that it is a complete, unencrypted video "
            f"and convert it to H.264 MP4 if it plays elsewhere"
        ) from error


def reason(error: Exception) -> str:
    """What an error says, without a full stop, to stand in brackets."""
    return str(getattr(error, "strerror", None) or error or type(error).__name__).rstrip(".")


def regular_file(source: str | Path) -> Path:
    """The absolute path of a file that is there, is no device or pipe, and is not empty; else a VideoError."""
    with typed(source):
        try:
            path = Path(source).resolve()
            status = path.stat()
        except (FileNotFoundError, NotADirectoryError) as error:
            raise VideoError(f"{source} does not exist; give the path of a video file or a picture folder") from error
        if not stat.S_ISREG(status.st_mode):
            raise VideoError(f"{source} is not a regular file; give the path of a video file or a picture folder")
        if not status.st_size:
            raise VideoError(f"{source} is empty (0 bytes), where a video was expected; copy or record it again")
        return path

"""What everything that reads frames promises, be it a video file or a folder of pictures."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Self

import numpy as np

from vid2vid_hub.data.policy import Pictures
from vid2vid_hub.errors import VideoError


class VideoReader(ABC):
    """Frames as uint8 (H, W, C): C is 3 for RGB, 1 for raw single-channel values such as labels.

    Handles open at the first use, in the process that uses them; a reader is cheap to pickle. One reader serves one
    thread. All methods raise `VideoError`.

    Attributes:
        path: the video file or picture folder.
        fps: frames a second (the mean where they vary).
        size: (height, width) in pixels, as displayed.
        channels: 1 or 3.
    """

    path: Path

    @property
    @abstractmethod
    def fps(self) -> Fraction: ...  # noqa: D102

    @property
    @abstractmethod
    def size(self) -> tuple[int, int]: ...  # noqa: D102

    @property
    @abstractmethod
    def channels(self) -> int: ...  # noqa: D102

    @abstractmethod
    def __len__(self) -> int: ...

    def frames(self, start: int = 0, stop: int | None = None) -> Iterator[Pictures]:
        """Frames start..stop-1 in order, (H, W, C) each, in constant memory; ``stop`` may lie beyond the end."""
        if start < 0 or (stop is not None and stop < 0):
            raise VideoError(f"frames {start} to {stop} of {self.path} were asked for; frames count from 0")
        return self._run(start, stop)

    @abstractmethod
    def _run(self, start: int, stop: int | None) -> Iterator[Pictures]:
        """What `frames` promises, for bounds that are not negative."""

    @abstractmethod
    def _fetch(self, indices: list[int]) -> Iterator[Pictures]:
        """The frames of strictly increasing indices, known to exist."""

    def read(self, indices: Sequence[int]) -> Pictures:
        """The frames of these indices, in any order and with repetitions, as uint8 (T, H, W, C)."""
        wanted = sorted(set(indices))
        for index in wanted:
            if not 0 <= index < len(self):
                raise VideoError(
                    f"{self.path} has {len(self)} frames, so there is no frame {index}; ask for 0 to {len(self) - 1}"
                )
        if not wanted:
            return np.empty((0, *self.size, self.channels), np.uint8)
        found = dict(zip(wanted, self._fetch(wanted), strict=True))
        return np.stack([found[index] for index in indices])

    def close(self) -> None:  # noqa: B027
        """Lets go of the handle; the next use opens it again."""

    def __enter__(self) -> Self:
        _ = self.size
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

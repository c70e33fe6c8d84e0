"""A condition on disk while its visitor is there, so that a long video takes no more memory than a short one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from vid2vid_hub.types import Condition


class Blocks:
    """Conditions, a few frames a file, in the order in which they came; label maps of a street shrink to a fortieth."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def write(self, number: int, condition: Condition) -> None:
        """Keep block ``number``."""
        there = {name: tensor for name, tensor in vars(condition).items() if tensor is not None}
        np.savez_compressed(self._path(number), **{name: tensor.cpu().numpy() for name, tensor in there.items()})

    def read(self, number: int) -> Condition:
        """Block ``number``.

        Raises:
            FileNotFoundError: it was cleared away, or never written.
        """
        with np.load(self._path(number), allow_pickle=False) as arrays:
            return Condition(**{name: torch.from_numpy(arrays[name]) for name in arrays.files})

    def __iter__(self) -> Iterator[Condition]:
        for number in range(len(list(self.folder.glob("[0-9]*.npz")))):
            yield self.read(number)

    def _path(self, number: int) -> Path:
        return self.folder / f"{number:06}.npz"

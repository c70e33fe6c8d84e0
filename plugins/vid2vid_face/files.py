"""Landmarks in files: a folder of text files, one a frame with 68 lines "x,y", or our own .npz."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from vid2vid_face.landmarks import LANDMARKS
from vid2vid_hub.errors import ConditionError
from vid2vid_hub.types import Condition

BLOCK = 8
_TEXT = ".txt"


def reads(source: Path) -> bool:
    """Whether a path is a folder of text files, or an .npz file."""
    if source.is_dir():
        return any(path.suffix.lower() == _TEXT for path in source.iterdir())
    return source.suffix.lower() == ".npz" and source.is_file()


def read(source: Path, size: tuple[int, int] | None) -> Iterator[Condition]:
    """Read landmarks in blocks of at most eight frames; their maps are empty, or the ``edges`` of an .npz.

    An empty text file says that there is no face in its frame. Files are taken in the order of their names. An .npz
    holds ``points``, floats (T, 68, 3) of x, y, confidence; ``size``, (height, width); and if you like ``edges``, uint8
    (T, height, width), 255 on the edges of the real frames.

    Args:
        source: for which :func:`reads` is true.
        size: (height, width) of the video that they belong to.

    Raises:
        ConditionError: a file does not hold what it should, or the size cannot be known.
    """
    return _read_npz(source, size) if source.is_file() else _read_folder(source, size)


def _read_folder(source: Path, size: tuple[int, int] | None) -> Iterator[Condition]:
    if size is None:
        raise ConditionError(f"the landmark files in '{source}' do not say how large their video is; give its size")
    paths = iter(sorted(path for path in source.iterdir() if path.suffix.lower() == _TEXT))
    while block := list(islice(paths, BLOCK)):
        yield _condition(torch.stack([_read_text(path) for path in block]), size)


def _read_text(path: Path) -> Tensor:
    """The landmarks of one frame, (68, 3)."""
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise ConditionError(f"'{path}' cannot be read as text ({error})") from error
    points = torch.zeros(LANDMARKS, 3)
    if not lines:
        return points
    if len(lines) != LANDMARKS:
        raise ConditionError(f"'{path}' has {len(lines)} lines; landmark files have {LANDMARKS}, 'x,y' each")
    for number, line in enumerate(lines):
        try:
            x, y = (float(value) for value in line.split(","))
        except ValueError:
            raise ConditionError(
                f"line {number + 1} of '{path}' is '{line[:40]}'; it must be 'x,y' in pixels"
            ) from None
        points[number] = torch.tensor((x, y, 1.0))
    if not points.isfinite().all():
        raise ConditionError(f"'{path}' has a coordinate that is not a number; empty the file where there is no face")
    return points


def _read_npz(source: Path, size: tuple[int, int] | None) -> Iterator[Condition]:
    try:
        with source.open("rb") as file, np.load(file, allow_pickle=False) as held:
            arrays = {name: held[name] for name in ("points", "size", "edges") if name in held.files}
    except (OSError, EOFError, ValueError, zipfile.BadZipFile) as error:
        raise ConditionError(f"'{source}' cannot be read as .npz ({error}); write it with numpy.savez") from error
    points = arrays.get("points", np.zeros(0))
    if points.ndim != 3 or points.shape[1:] != (LANDMARKS, 3) or points.dtype.kind != "f":
        found = f"{points.dtype} {points.shape}" if "points" in arrays else "none"
        raise ConditionError(
            f"'{source}' must hold 'points', floats (T, {LANDMARKS}, 3) of x, y, confidence, not {found}"
        )
    if not np.isfinite(points).all():
        raise ConditionError(f"'{source}' has a coordinate that is not a number; give such points confidence 0")
    own = arrays.get("size")
    if own is None and size is None:
        raise ConditionError(f"'{source}' holds no 'size' (height, width) of its video; give its size")
    if own is not None and (own.shape != (2,) or own.min() < 1):
        raise ConditionError(
            f"'size' in '{source}' is {own.tolist()}; it must be the video's height and width in pixels"
        )
    drawn_for = size if own is None else (int(own[0]), int(own[1]))
    assert drawn_for is not None
    edges = arrays.get("edges")
    if edges is not None and (edges.shape != (len(points), *drawn_for) or edges.dtype != np.uint8):
        raise ConditionError(
            f"'edges' in '{source}' are {edges.dtype} {edges.shape}; they must be uint8 {(len(points), *drawn_for)}"
        )
    for first in range(0, len(points), BLOCK):
        span = slice(first, first + BLOCK)
        maps = None if edges is None else torch.from_numpy(edges[span])[:, None]
        block = _condition(torch.from_numpy(points[span].astype(np.float32)), drawn_for, maps)
        yield block if size is None else block.resized(size)


def _condition(points: Tensor, size: tuple[int, int], maps: Tensor | None = None) -> Condition:
    return Condition(torch.zeros(len(points), 1, *size, dtype=torch.uint8) if maps is None else maps, points=points)

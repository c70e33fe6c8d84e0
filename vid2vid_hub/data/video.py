"""The door to frames: `open_video` picks the reader for a video file, and reads folders of pictures itself."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from fractions import Fraction
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image, ImageOps

from vid2vid_hub.data.decode import AVReader, DecordReader
from vid2vid_hub.data.policy import MAX_PIXELS, Pictures, typed
from vid2vid_hub.data.reader import VideoReader
from vid2vid_hub.errors import VideoError

__all__ = ["FolderReader", "VideoReader", "open_video", "read_picture"]


def open_video(source: str | Path, *, backend: Literal["auto", "av", "decord"] = "auto") -> VideoReader:
    """A reader of a video file or of a folder of PNG/JPEG pictures.

    Args:
        source: a file or a folder; never a URL.
        backend: "decord" is for H.264 MP4 files that `VideoWriter` wrote, and means "av" where decord is not
            installed; "auto" is "av".

    Raises:
        VideoError: nothing readable is there. What the file holds is looked at in the first use of the reader.
    """
    if backend not in ("auto", "av", "decord"):
        raise VideoError(f"there is no video backend {backend!r}; choose auto, av or decord")
    with typed(source):
        if Path(source).is_dir():
            return FolderReader(source)
    if backend == "decord" and importlib.util.find_spec("decord"):
        return DecordReader(source)
    return AVReader(source)


class FolderReader(VideoReader):
    """PNG or JPEG pictures in the order of their names; grey and palette pictures give raw values, never colours."""

    def __init__(self, source: str | Path, fps: Fraction = Fraction(25)) -> None:
        self.path, self._fps = Path(source).resolve(), fps
        with typed(source):
            found = (p for p in self.path.iterdir() if p.suffix.lower() in (".png", ".jpg", ".jpeg") and p.is_file())
            self.files = sorted(found, key=lambda p: p.name)
        if not self.files:
            raise VideoError(f"{source} is a folder without PNG or JPEG pictures; put the frames there, named in order")

    @property
    def fps(self) -> Fraction:  # noqa: D102
        return self._fps

    @cached_property
    def _shape(self) -> tuple[int, int, int]:
        height, width, channels = read_picture(self.files[0]).shape
        return height, width, channels

    @property
    def size(self) -> tuple[int, int]:  # noqa: D102
        return self._shape[:2]

    @property
    def channels(self) -> int:  # noqa: D102
        return self._shape[2]

    def __len__(self) -> int:
        return len(self.files)

    def _run(self, start: int, stop: int | None) -> Iterator[Pictures]:
        return self._fetch(list(range(len(self))[start:stop]))

    def _fetch(self, indices: list[int]) -> Iterator[Pictures]:
        for index in indices:
            picture = read_picture(self.files[index])
            if picture.shape != self._shape:
                raise VideoError(
                    f"{self.files[index]} is (height, width, channels) {picture.shape}, but the first "
                    f"picture of the folder is {self._shape}; save all alike"
                )
            yield picture


def read_picture(path: Path) -> Pictures:
    """One PNG or JPEG file as uint8 (H, W, C), upright: C is 1 for grey values and palette indices, 3 for RGB.

    Raises:
        VideoError: it is another kind of picture, too large, or cannot be read.
    """
    with typed(path), path.open("rb") as file:
        head = file.read(26)
        file.seek(0)
        image = Image.open(file, formats=("PNG", "JPEG"))
        kind = image.mode
        if image.format == "PNG" and (depth := head[24]) != 8 and kind != "P":
            kind = f"{depth}-bit {kind}"  # Pillow stretches 1-, 2- and 4-bit values and drops half of 16-bit colours
        if kind not in ("L", "P", "RGB") or image.width * image.height > MAX_PIXELS:
            raise VideoError(
                f"{path} is a {image.width}x{image.height} {kind} picture, where 8-bit grey, palette or "
                f"RGB of at most {MAX_PIXELS} pixels was expected; convert it"
            )
        pixels = np.array(ImageOps.exif_transpose(image), np.uint8)
        return pixels.reshape(*pixels.shape[:2], -1)

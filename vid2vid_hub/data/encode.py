"""The only encoder of the product: a file takes its name once it is whole, and plays everywhere."""

from __future__ import annotations

import itertools
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Self, cast

import av
import numpy as np
from av.container import OutputContainer
from av.video.stream import VideoStream

from vid2vid_hub.data.policy import MAX_PIXELS, Pictures, reason
from vid2vid_hub.errors import VideoError

_BT709, _LIMITED = 1, 1
_part_numbers = itertools.count()


class PictureFile:
    """A video file being encoded beside its final name, which it takes when the `with` block ends well.

    Raises:
        VideoError: a frame does not fit, nothing was written, or the disk is full. The final name is then as before.
    """

    suffixes: tuple[str, ...] = (".mp4", ".mkv", ".mov")

    def __init__(
        self,
        path: str | Path,
        fps: Fraction | float,
        *,
        codec: str,
        pixel_format: str,
        options: Mapping[str, str],
        metadata: Mapping[str, str] | None = None,
        overwrite: bool = True,
    ) -> None:
        self.path = Path(path).absolute()
        if self.path.suffix.lower() not in self.suffixes:
            raise VideoError(
                f"{path} cannot be written as {self.path.suffix or 'a file without suffix'}; name it "
                f"with {', '.join(self.suffixes)}"
            )
        if not self.path.parent.is_dir():
            raise VideoError(f"{path} cannot be written because its folder does not exist; create {self.path.parent}")
        if self.path.is_dir() or (self.path.exists() and not overwrite):
            raise VideoError(f"{path} exists already and is not to be replaced; choose another name or overwrite it")
        try:
            self.fps = Fraction(fps).limit_denominator(1001)
        except (ValueError, OverflowError, TypeError):
            self.fps = Fraction(0)
        if self.fps <= 0:
            raise VideoError(f"{path} cannot have {fps} frames a second; give a positive number such as 25")
        self._codec, self._pixel_format, self._options = codec, pixel_format, dict(options)
        self._metadata = dict(metadata or {})
        self._encoder: tuple[OutputContainer, VideoStream] | None = None
        self._shape: tuple[int, ...] = ()
        self.written = 0
        name = f".{self.path.stem[:40]}.part-{os.getpid()}-{next(_part_numbers)}{self.path.suffix}"
        self._part = self.path.with_name(name)

    def write(self, frame: Pictures) -> None:
        """Encodes one frame: uint8 (H, W, 3), or (H, W) where the file is gray."""
        shape = self._shape or ((*frame.shape[:2], 3) if self._pixel_format != "gray" else frame.shape[:2])
        if frame.dtype != np.uint8 or frame.shape != shape or not 0 < shape[0] * shape[1] <= MAX_PIXELS:
            raise VideoError(
                f"frame {self.written} for {self.path} is {frame.dtype} {frame.shape}, where uint8 "
                f"{shape} of 1 to {MAX_PIXELS} pixels was expected"
            )
        with self._writing():
            self._encoder = self._encoder or self._open(shape)
            container, stream = self._encoder
            picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), "gray" if frame.ndim == 2 else "rgb24")
            if frame.ndim == 3:
                picture = picture.reformat(format=self._pixel_format, dst_colorspace=_BT709, dst_color_range=_LIMITED)
            picture.pts, picture.duration, picture.time_base = self.written, 1, 1 / self.fps
            container.mux(stream.encode(picture))
        self._shape, self.written = shape, self.written + 1

    def _open(self, shape: tuple[int, ...]) -> tuple[OutputContainer, VideoStream]:
        flags = "+faststart" + ("+use_metadata_tags" if self._metadata else "")
        # Matroska files carry a random number, unless they are to be the same bytes each time.
        muxing = {"fflags": "+bitexact"} if self.path.suffix.lower() == ".mkv" else {"movflags": flags}
        container = av.open(str(self._part), "w", options=muxing)
        container.metadata.update(self._metadata)
        stream = cast(VideoStream, container.add_stream(self._codec, rate=self.fps, options=self._options))
        stream.height, stream.width = shape[:2]
        stream.pix_fmt = self._pixel_format
        if self._pixel_format != "gray":
            context = stream.codec_context
            context.colorspace = context.color_primaries = context.color_trc = _BT709
            context.color_range = _LIMITED
        return container, stream

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except BaseException as error:
            self.discard()
            if isinstance(error, Exception) and not isinstance(error, VideoError):
                free = shutil.disk_usage(self.path.parent).free
                raise VideoError(
                    f"{self.path} could not be written after {self.written} frames ({reason(error)}); "
                    f"{free} bytes are free in its folder: make room or choose another"
                ) from error
            raise

    def close(self) -> None:
        """Finishes the file and gives it its name."""
        if self._encoder is None:
            raise VideoError(f"{self.path} was not written because no frame arrived; check where the frames come from")
        with self._writing():
            container, stream = self._encoder
            container.mux(stream.encode(None))
            container.close()
            with self._part.open("rb+") as file:
                os.fsync(file.fileno())
            self._part.replace(self.path)
        self._encoder = None

    def discard(self) -> None:
        """Removes what was encoded so far; the final name is left as it was."""
        encoder, self._encoder = self._encoder, None
        with suppress(OSError, ValueError):
            if encoder is not None:
                encoder[0].close()
        self._part.unlink(missing_ok=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        self.close() if kind is None else self.discard()


class VideoWriter(PictureFile):
    """RGB frames to H.264 that plays everywhere: yuv420p, BT.709, closed GOPs, the index at the front.

    Args:
        path: ends in .mp4, .mkv or .mov.
        fps: frames a second.
        crf: x264's quality, 0 (lossless) to 51; 18 looks like the original.
        gop: frames from key frame to key frame at most; None leaves it to x264 (250).
        overwrite: whether an existing file may be replaced, once the new one is complete.
        metadata: kept in the container.
        repeatable: the same frames always make the same bytes, a few per cent more of them: x264's macroblock tree,
            which saves those, reads memory that nobody wrote where sides are no multiples of its vectors.

    Raises:
        VideoError: as in `PictureFile`.
    """

    def __init__(
        self,
        path: str | Path,
        fps: Fraction | float,
        *,
        crf: int = 18,
        gop: int | None = None,
        overwrite: bool = True,
        metadata: Mapping[str, str] | None = None,
        repeatable: bool = False,
    ) -> None:
        tuning = "open-gop=0:mbtree=0" if repeatable else "open-gop=0"
        options = {"crf": str(crf), "x264-params": tuning} | ({"g": str(gop)} if gop else {})
        super().__init__(
            path, fps, codec="libx264", pixel_format="yuv420p", options=options, metadata=metadata, overwrite=overwrite
        )

    def write(self, frame: Pictures) -> None:
        """Encodes one frame, uint8 (H, W, 3); odd sides grow by one repeated row or column, as yuv420p needs."""
        if frame.ndim == 3 and (frame.shape[0] % 2 or frame.shape[1] % 2):
            frame = np.pad(frame, ((0, frame.shape[0] % 2), (0, frame.shape[1] % 2), (0, 0)), mode="edge")
        super().write(frame)

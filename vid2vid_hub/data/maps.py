"""Compact conditions on disk: uint8 maps and int32 instance ids, lossless, bit-exact, and quick to enter anywhere.

Storage is FFV1 gray in Matroska, every frame a key frame, the C maps of a frame one under the other (C*H rows).
Instance ids are their four bytes, lowest first, as four such maps. FFV1 closes each slice with a checksum, which
libavcodec only logs; here a wrong one is an error.
"""

from __future__ import annotations

import zlib
from abc import ABC, abstractmethod
from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import torch
from av.packet import Packet
from av.video.stream import VideoStream
from numpy.typing import NDArray
from torch import Tensor

from vid2vid_hub.data.container import Source
from vid2vid_hub.data.decode import AVReader
from vid2vid_hub.data.encode import PictureFile
from vid2vid_hub.data.policy import Pictures
from vid2vid_hub.errors import VideoError

_MAPS, _INSTANCES = "maps", "instances"
_CONTENT, _CHANNELS = "vid2vid_content", "vid2vid_channels"
_FFV1 = {"level": "3", "slicecrc": "1", "g": "1", "coder": "1", "context": "0"}
_FOOTER = 8
_MIRRORED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


def write_maps(path: str | Path, maps: Iterable[NDArray[Any] | Tensor], fps: Fraction | float) -> None:
    """Stores label maps without loss.

    Args:
        path: ends in .mkv.
        maps: uint8 (T, C, H, W), or an iterator of its frames (C, H, W).
        fps: frames a second.

    Raises:
        VideoError: a frame is not uint8 (C, H, W) or unlike the first, there is none, or the disk is full.
    """
    _write(path, maps, fps, _MAPS)


def write_instances(path: str | Path, instances: Iterable[NDArray[Any] | Tensor], fps: Fraction | float) -> None:
    """Stores object ids without loss.

    Args:
        path: ends in .mkv.
        instances: integers (T, 1, H, W), or an iterator of its frames (1, H, W); any value that int32 can hold.
        fps: frames a second.

    Raises:
        VideoError: as in `write_maps`, or an id does not fit into int32; the frame and the id are named.
    """
    _write(path, instances, fps, _INSTANCES)


def _write(path: str | Path, frames: Iterable[NDArray[Any] | Tensor], fps: Fraction | float, content: str) -> None:
    with _MapFile(path, fps, content) as file:
        for frame in frames:
            file.add(frame)


class _MapFile(PictureFile):
    suffixes = (".mkv",)

    def __init__(self, path: str | Path, fps: Fraction | float, content: str) -> None:
        super().__init__(path, fps, codec="ffv1", pixel_format="gray", options=_FFV1)
        self._content, self._channels = content, 0

    def add(self, frame: NDArray[Any] | Tensor) -> None:
        """Encode one frame: uint8 maps (C, H, W), or ids (1, H, W)."""
        pixels = np.asarray(frame)
        if not self.written:
            self._channels = len(pixels) if pixels.ndim else 0
            self._metadata |= {_CONTENT: self._content, _CHANNELS: str(self._channels)}
        planes = _planes(pixels, self.path, self.written, self._content, self._channels)
        self.write(planes.reshape(-1, planes.shape[2]))


class MapWriter(_MapFile):
    """A file of maps that takes frames one by one; see :func:`write_maps`."""

    def __init__(self, path: str | Path, fps: Fraction | float) -> None:
        super().__init__(path, fps, _MAPS)


class InstanceWriter(_MapFile):
    """A file of instance ids that takes frames one by one; see :func:`write_instances`."""

    def __init__(self, path: str | Path, fps: Fraction | float) -> None:
        super().__init__(path, fps, _INSTANCES)


def _planes(frame: NDArray[Any], path: str | Path, n: int, content: str, channels: int) -> Pictures:
    """One frame as uint8 (maps, H, W)."""
    right = frame.dtype == np.uint8 if content == _MAPS else frame.dtype.kind in "iu" and channels == 1
    if frame.ndim != 3 or len(frame) != channels or not right:
        expected = f"uint8 ({channels or 'C'}, H, W)" if content == _MAPS else "integers (1, H, W)"
        raise VideoError(f"frame {n} for {path} is {frame.dtype} {frame.shape}, where {expected} was expected")
    if frame.shape[2] < 2:
        raise VideoError(f"frame {n} for {path} is {frame.shape[2]} pixel wide, where FFV1 needs at least 2; pad it")
    if content == _MAPS:
        return frame
    limits = np.iinfo(np.int32)
    outside = frame[(frame < limits.min) | (frame > limits.max)]
    if outside.size:
        raise VideoError(
            f"frame {n} for {path} has the instance id {outside[0]}, which int32 cannot hold; number the objects anew"
        )
    octets = np.ascontiguousarray(frame[0].astype("<i4")).view(np.uint8)
    return octets.reshape(*frame.shape[1:], 4).transpose(2, 0, 1)


class MapReader(ABC):
    """T frames of maps, any stretch of which can be read without decoding what comes before; cheap to pickle.

    One reader serves one thread. All methods raise `VideoError`.

    Attributes:
        channels: C.
        fps: frames a second.
        size: (height, width) of one map.
    """

    channels: int

    def __init__(self, path: str | Path, content: str, channels: int, planes: int) -> None:
        self.channels, self._planes, self._content = channels, planes, content
        self._pictures = _Pictures(path)
        self._checked = False

    def _open(self) -> AVReader:
        if not self._checked:
            rows, tags = self._pictures.size[0], self._pictures.metadata
            found = (tags.get(_CONTENT, self._content), tags.get(_CHANNELS, str(self.channels)))
            if found != (self._content, str(self.channels)) or rows % self._planes or self._pictures.channels != 1:
                raise VideoError(
                    f"{self._pictures.path} holds {found[1]} channels of {found[0]} in {rows} rows and "
                    f"{self._pictures.channels} colours, where {self.channels} of {self._content} in one colour were "
                    "expected; prepare it again"
                )
            self._checked = True
        return self._pictures

    @property
    def fps(self) -> Fraction:  # noqa: D102
        return self._open().fps

    @property
    def size(self) -> tuple[int, int]:  # noqa: D102
        rows, width = self._open().size
        return rows // self._planes, width

    def __len__(self) -> int:
        return len(self._open())

    def _stacked(self, start: int, stop: int | None) -> Pictures:
        last = len(self) if stop is None else stop
        if not 0 <= start <= last <= len(self):
            raise VideoError(
                f"frames {start} to {last} of {self._pictures.path} were asked for; it has {len(self)} frames"
            )
        return self._open().read(range(start, last)).reshape(last - start, self._planes, *self.size)

    @abstractmethod
    def read(self, start: int = 0, stop: int | None = None) -> Tensor:
        """Frames start..stop-1 as (T, C, H, W), with stop at most the length."""

    def close(self) -> None:
        """Lets go of the handle; the next use opens it again."""
        self._pictures.close()

    def __enter__(self) -> Self:
        self._open()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        self.close()


class LabelReader(MapReader):
    """uint8 maps as `write_maps` stored them."""

    def read(self, start: int = 0, stop: int | None = None) -> Tensor:
        """Frames start..stop-1, uint8 (T, C, H, W)."""
        return torch.from_numpy(self._stacked(start, stop))


class InstanceReader(MapReader):
    """int32 object ids as `write_instances` stored them."""

    def read(self, start: int = 0, stop: int | None = None) -> Tensor:
        """Frames start..stop-1, int32 (T, 1, H, W)."""
        octets = np.ascontiguousarray(self._stacked(start, stop).transpose(0, 2, 3, 1))
        ids = octets.view("<i4").astype(np.int32, copy=False)
        return torch.from_numpy(ids.reshape(len(octets), 1, *self.size))


def open_maps(path: str | Path, channels: int) -> LabelReader:
    """A reader of maps with C = ``channels``.

    Raises:
        VideoError: there is no such file; in the first use, that it holds something else or is damaged.
    """
    return LabelReader(path, _MAPS, channels, channels)


def open_instances(path: str | Path) -> InstanceReader:
    """A reader of object ids; raises as `open_maps` does."""
    return InstanceReader(path, _INSTANCES, 1, 4)


class _Pictures(AVReader):
    """The stacked pictures, each checked against the checksums of its slices and all against the promised length."""

    def _inspect(self, packet: Packet[VideoStream]) -> None:
        rest = bytes(packet)
        if packet.stream.codec_context.name != "ffv1":
            raise VideoError(
                f"{self.path} is {packet.stream.codec_context.name}, where FFV1 was expected; prepare it again"
            )
        while rest:
            length = int.from_bytes(rest[-_FOOTER : -_FOOTER + 3], "big") + _FOOTER
            if length > len(rest) or not _sound(rest[-length:]):
                raise VideoError(
                    f"{self.path} is damaged at time stamp {packet.pts} (a checksum does not match); prepare it again"
                )
            rest = rest[:-length]

    def _check_complete(self, source: Source, found: int, end: int) -> None:
        if source.stream.time_base:  # frames are evenly spaced, so one lost in the middle shows too
            end = round(found / source.fps / source.stream.time_base)
        super()._check_complete(source, found, end)


def _sound(piece: bytes) -> bool:
    """Whether a slice and its checksum have remainder 0 under FFV1's CRC-32: highest bit first, start 0 (RFC 9043)."""
    return zlib.crc32(piece.translate(_MIRRORED), 0xFFFFFFFF) == 0xFFFFFFFF

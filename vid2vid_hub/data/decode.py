"""Video files frame by frame: frame i is always the i-th shown, and a damaged file is never read as a whole one."""

from __future__ import annotations

import itertools
import os
from bisect import bisect_right
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from pathlib import Path
from typing import Any, cast

import av
import numpy as np
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from vid2vid_hub.data.container import Source
from vid2vid_hub.data.policy import Pictures, reason, regular_file, typed
from vid2vid_hub.data.reader import VideoReader
from vid2vid_hub.errors import VideoError

_ONE_PACKET_ONE_FRAME = {"h264", "hevc", "vp9", "av1", "ffv1", "mjpeg", "png", "prores"}


@dataclass(frozen=True)
class _Facts:
    coded: tuple[int, int]
    rotation: int
    gray: bool
    fps: Fraction
    codec: str
    container: str
    metadata: dict[str, str]


@dataclass(frozen=True)
class _Index:
    """Where frames are: sorted time stamps and those of key frames; no stamps where the file has none to trust."""

    count: int
    stamps: list[int]
    keys: list[int]


class AVReader(VideoReader):
    """Any video a person may bring, through PyAV; frame i is the i-th in display order, never a guess from a time."""

    def __init__(self, source: str | Path) -> None:
        self.path = regular_file(source)
        self._source: Source | None = None
        self._pid = os.getpid()

    @cached_property
    def _facts(self) -> _Facts:
        with typed(self.path), Source(self.path) as source:
            frame = next(self._decoded(source), None)
            if frame is None:
                raise VideoError(f"{self.path} has a video stream but no frame in it can be decoded; export it again")
            name = frame.format.name
            if name.startswith("gray") and name != "gray":
                raise VideoError(
                    f"{self.path} holds {name} frames, where 8 bits a value were expected; save labels "
                    "as 8-bit gray FFV1 or PNG"
                )
            rotation = frame.rotation % 360
            if rotation % 90:
                raise VideoError(
                    f"{self.path} is to be shown rotated by {rotation} degrees, where a multiple of 90 "
                    "was expected; export it upright"
                )
            metadata = {key.lower(): value for key, value in source.container.metadata.items()}
            return _Facts(
                (frame.height, frame.width),
                rotation,
                name == "gray",
                source.fps,
                source.stream.codec_context.name,
                source.container.format.name,
                metadata,
            )

    @property
    def fps(self) -> Fraction:  # noqa: D102
        return self._facts.fps

    @property
    def size(self) -> tuple[int, int]:  # noqa: D102
        height, width = self._facts.coded
        return (width, height) if self._facts.rotation % 180 else (height, width)

    @property
    def channels(self) -> int:  # noqa: D102
        return 1 if self._facts.gray else 3

    @property
    def metadata(self) -> dict[str, str]:
        """What the container says about itself; keys in lower case (Matroska writes capitals)."""
        return dict(self._facts.metadata)

    def __len__(self) -> int:
        return self._index.count

    @cached_property
    def _index(self) -> _Index:
        _ = self._facts
        with typed(self.path), Source(self.path) as source:
            count, end = 0, 0
            keyed: set[int] = set()
            stamps = []
            for packet in source.video_packets():  # none is kept: together they are as large as the file
                if packet.size:
                    count, end = count + 1, max(end, source.end(packet))
                    if packet.is_keyframe and packet.pts is not None:
                        keyed.add(packet.pts)
                    if not packet.is_discard:
                        stamps.append(packet.pts)
            self._check_complete(source, count, end)
            keys = sorted(keyed)
        if self._facts.codec not in _ONE_PACKET_ONE_FRAME or None in stamps:
            with typed(self.path), Source(self.path) as source:
                stamps = [frame.pts for frame in self._decoded(source)]
        known = sorted(s for s in stamps if s is not None and keys and s >= keys[0])
        if len(known) == len(set(known)) and None not in stamps:
            return _Index(len(known), known, keys)
        return _Index(len(stamps), [], [])

    def _run(self, start: int, stop: int | None) -> Iterator[Pictures]:
        end, found = 0, start
        with typed(self.path), Source(self.path) as source:
            if start and start >= len(self):
                return
            for n, frame in self._numbered_from(source, start) if start else self._frames_of(source):
                if stop is not None and n >= stop:
                    return
                if n > found:
                    raise self._lost(found)
                if n == found:
                    yield self._pixels(frame, n)
                    found += 1
                end = max(end, source.end(frame))
            if not start:
                self._check_complete(source, found, end)
            elif found < len(self):
                raise self._lost(found)

    def _frames_of(self, source: Source) -> Iterator[tuple[int, VideoFrame]]:
        """(number, frame) from the beginning; a decoder's complaint is told with how far it came."""
        n = -1
        try:
            for n, frame in enumerate(self._decoded(source)):
                yield n, frame
        except av.error.FFmpegError as error:
            raise VideoError(
                f"{self.path} is cut off or damaged ({reason(error)}): {n + 1} frames found, "
                f"{source.stream.frames or 'more'} declared; copy or download it again"
            ) from error

    def _lost(self, n: int) -> VideoError:
        return VideoError(f"frame {n} of {self.path} cannot be decoded; the file is damaged there, copy it again")

    def _fetch(self, indices: list[int]) -> Iterator[Pictures]:
        with typed(self.path):
            n = -1
            numbered: Iterator[tuple[int, VideoFrame]] = iter(())
            for index in indices:
                if n < 0 or self._key_before(index) > n:
                    numbered = self._numbered_from(self._opened(), index)
                for n, frame in numbered:  # noqa: B007
                    if n >= index:
                        break
                if n != index:
                    raise self._lost(index)
                yield self._pixels(frame, n)

    def _key_before(self, index: int) -> int:
        """The number of the last key frame at or before a frame; 0 where only the beginning is safe."""
        if not self._index.stamps:
            return 0
        key = self._index.keys[bisect_right(self._index.keys, self._index.stamps[index]) - 1]
        return max(0, bisect_right(self._index.stamps, key) - 1)

    def _numbered_from(self, source: Source, index: int) -> Iterator[tuple[int, VideoFrame]]:
        """(number, frame) from some frame at or before ``index``; where a seek landed is read off the time stamps."""
        stamps, keys = self._index.stamps, self._index.keys
        numbers: dict[int | None, int] = {stamp: n for n, stamp in enumerate(stamps)}
        for key in reversed(keys[: bisect_right(keys, stamps[index])] if stamps else []):
            source.container.seek(key, stream=source.stream)
            landed = self._decoded(source)
            first = next(landed, None)
            if first is not None and numbers.get(first.pts, index + 1) <= index:
                return ((numbers.get(frame.pts, -1), frame) for frame in itertools.chain([first], landed))
        source.rewind()
        return self._frames_of(source)

    def _decoded(self, source: Source) -> Iterator[VideoFrame]:
        first_key: int | None = None
        for n, packet in enumerate(source.video_packets()):
            first_key = packet.pts if n == 0 else first_key
            if packet.size:
                self._inspect(packet)
            for frame in packet.decode():
                if first_key is None or frame.pts is None or frame.pts >= first_key:
                    yield frame

    def _inspect(self, packet: Packet[VideoStream]) -> None:
        """A place for readers that can tell a damaged packet before it is decoded."""

    def _pixels(self, frame: VideoFrame, n: int) -> Pictures:
        facts = self._facts
        if (frame.height, frame.width) != facts.coded or (frame.format.name == "gray") != facts.gray:
            height, width = facts.coded
            raise VideoError(
                f"frame {n} of {self.path} is {frame.width}x{frame.height} {frame.format.name}, but the "
                f"video began as {width}x{height}; cut it there or export it at one size"
            )
        if frame.is_corrupt:
            raise VideoError(f"frame {n} of {self.path} is damaged; export or copy the video again, or cut it before")
        picture = frame.to_ndarray() if facts.gray else frame.to_ndarray(format="rgb24")
        picture = np.rot90(picture.reshape(*facts.coded, -1), facts.rotation // 90)
        return cast(Pictures, np.ascontiguousarray(picture))

    def _check_complete(self, source: Source, found: int, end: int) -> None:
        """Compares what was found up to time stamp ``end`` with what the header promises."""
        declared, promise, formats = found, source.stream.metadata.get("DURATION"), source.container.format.name
        if "mp4" in formats:
            declared = found + max(0, source.stream.frames - source.packets)
        elif promise and source.stream.time_base:
            hours, minutes, seconds = promise.split(":")
            promised = Fraction(hours) * 3600 + Fraction(minutes) * 60 + Fraction(seconds)
            if round((promised - end * source.stream.time_base) * source.fps) > 0:
                declared = max(found + 1, round(promised * source.fps))
        if declared > found:
            raise VideoError(
                f"{self.path} is cut off: {found} frames found, {declared} declared; copy or download it again"
            )
        if found < source.shown and self._facts.codec in _ONE_PACKET_ONE_FRAME and formats.startswith(("mov", "mat")):
            raise VideoError(
                f"{self.path} is damaged: {found} of {source.shown} frames can be decoded; copy or download it again"
            )

    def _opened(self) -> Source:
        if self._pid != os.getpid():
            self.close()
        if self._source is None:
            self._source, self._pid = Source(self.path), os.getpid()
        return self._source

    def close(self) -> None:  # noqa: D102
        source, self._source = self._source, None
        if source is not None:
            source.close()

    def __del__(self) -> None:
        with suppress(AttributeError):
            self.close()

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_source": None}


_NARROW = 80
"""Decord takes a row's bytes over its width for the number of channels; padding makes that 4 for most widths below."""


class DecordReader(AVReader):
    """H.264 MP4 files of our own encoder through decord; its seeks are exact only where every GOP is closed.

    Narrow videos go through PyAV all the same.
    """

    def __init__(self, source: str | Path) -> None:
        super().__init__(source)
        self._decord: Any = None

    def _new(self) -> Any:
        facts = self._facts
        if facts.codec != "h264" or "mp4" not in facts.container or facts.rotation:
            raise VideoError(
                f"{self.path} holds {facts.codec} in {facts.container}, where decord reads only the H.264 "
                "MP4 that prepare writes; use the backend av"
            )
        import decord

        return decord.VideoReader(str(self.path), num_threads=1)

    def _run(self, start: int, stop: int | None) -> Iterator[Pictures]:
        if self._facts.coded[1] < _NARROW:
            yield from super()._run(start, stop)
            return
        with typed(self.path):
            reader = self._new()
            last = len(reader) if stop is None else min(stop, len(reader))
            if 0 < start < last:
                reader.seek_accurate(start)
            for _ in range(start, last):
                yield reader.next().asnumpy()

    def _fetch(self, indices: list[int]) -> Iterator[Pictures]:
        if self._facts.coded[1] < _NARROW:
            yield from super()._fetch(indices)
            return
        with typed(self.path):
            if self._decord is None or self._pid != os.getpid():
                self._decord, self._pid = self._new(), os.getpid()
            yield from self._decord.get_batch(indices).asnumpy()

    def close(self) -> None:  # noqa: D102
        self._decord = None
        super().close()

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_decord": None}

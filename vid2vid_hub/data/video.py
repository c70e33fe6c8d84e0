"""Pictures in and out: videos and picture folders read frame by frame, and the only encoder of the product.

Every failure is a `VideoError`. Files are untrusted: containers come from a whitelist, are opened from a Python file
object (libavformat never sees a name that it could take for a URL or a playlist), and frames have a largest size.
"""

from __future__ import annotations

import importlib.util
import itertools
import os
import shutil
import stat
from abc import ABC, abstractmethod
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self, cast

import av
import numpy as np
from av.container import InputContainer, OutputContainer
from av.packet import Packet
from av.stream import Disposition
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from numpy.typing import NDArray
from PIL import Image, ImageOps

from vid2vid_hub.errors import VideoError

Pictures = NDArray[np.uint8]

MAX_PIXELS = 8192 * 4320
"""The largest frame that is read or written; 27 kB of VP9 can otherwise unfold to 7 GB."""

_CONTAINERS = "MP4/MOV, Matroska/WebM, AVI, MPEG-TS or GIF"
_READ_OPTIONS = {
    "format_whitelist": "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,gif",
    "protocol_whitelist": "file",
    "max_pixels": str(MAX_PIXELS),
}
_ONE_PACKET_ONE_FRAME = {"h264", "hevc", "vp9", "av1", "ffv1", "mjpeg", "png", "prores"}
_BT709, _LIMITED = 1, 1
_part_numbers = itertools.count()


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
    with _typed(source):
        if Path(source).is_dir():
            return FolderReader(source)
    if backend == "decord" and importlib.util.find_spec("decord"):
        return DecordReader(source)
    return AVReader(source)


@contextmanager
def _typed(path: str | Path) -> Iterator[None]:
    """Whatever a decoder throws (fuzzing found nine kinds) leaves as a VideoError that names the file."""
    try:
        yield
    except VideoError:
        raise
    except Exception as error:
        raise VideoError(
            f"{path} cannot be read ({_reason(error)}); check that it is a complete, unencrypted video "
            f"and convert it to H.264 MP4 if it plays elsewhere"
        ) from error


def _reason(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or error or type(error).__name__).rstrip(".")


def _regular_file(source: str | Path) -> Path:
    with _typed(source):
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


class Source:
    """One opened container under the decode policy: its first video stream, and counts of its packets so far.

    Attributes:
        packets: all that came.
        shown: those that edit lists and broken beginnings leave to be seen.
    """

    container: InputContainer
    stream: VideoStream

    def __init__(self, path: Path) -> None:
        self.path, self.packets, self.shown = path, 0, 0
        self._file = path.open("rb")
        try:
            self.rewind()
        except BaseException as error:
            self._file.seek(0)
            head = self._file.read(20)
            self.close()
            if isinstance(error, (av.error.InvalidDataError, av.error.ArgumentError)):
                what = f"text beginning {head.decode()!r}" if head.isascii() and b"\0" not in head else "other bytes"
                raise VideoError(
                    f"{path} is not a readable {_CONTAINERS} file ({what} found); give a video in one of "
                    "these containers or a folder of PNG/JPEG pictures"
                ) from error
            raise

    def rewind(self) -> None:
        """Opens the container anew, from the first byte: some formats cannot seek to their beginning."""
        if hasattr(self, "container"):
            self.container.close()
        self._file.seek(0)
        self.packets = self.shown = 0
        self.container = av.open(self._file, "r", options=dict(_READ_OPTIONS))
        videos = [s for s in self.container.streams.video if not s.disposition & Disposition.attached_pic]
        if not videos:
            kinds = ", ".join(sorted({s.type for s in self.container.streams})) or "no streams"
            raise VideoError(f"{self.path} holds no video ({kinds} found); give a file with a video stream")
        self.stream = videos[0]
        self.stream.thread_count = 1  # decoder threads would not survive the fork of a DataLoader worker
        self.stream.codec_context.options = {"max_pixels": str(MAX_PIXELS)}

    @property
    def fps(self) -> Fraction:
        """Frames a second, the mean where they vary; 25 where the file does not say."""
        return Fraction(self.stream.average_rate or self.stream.guessed_rate or 25)

    def video_packets(self) -> Iterator[Packet[VideoStream]]:
        """Packets from the first key frame on; what comes before it cannot be decoded exactly."""
        first: Packet[VideoStream] | None = None
        for packet in self.container.demux(self.stream):
            self.packets += packet.size > 0
            first = first or (packet if packet.is_keyframe else None)
            if first is not None:
                self.shown += packet.size > 0 and not packet.is_discard and (packet.pts or 0) >= (first.pts or 0)
                yield packet

    def end(self, piece: Packet[VideoStream] | VideoFrame) -> int:
        """The time stamp at which a frame ends, by the mean rate where the file leaves durations out."""
        usual = round(1 / (self.fps * self.stream.time_base)) if self.stream.time_base else 0
        return (piece.pts or 0) + (piece.duration or usual)

    def close(self) -> None:
        """Closes container and file."""
        if hasattr(self, "container"):
            self.container.close()
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


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
        self.path = _regular_file(source)
        self._source: Source | None = None
        self._pid = os.getpid()

    @cached_property
    def _facts(self) -> _Facts:
        with _typed(self.path), Source(self.path) as source:
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
        with _typed(self.path), Source(self.path) as source:
            packets = [packet for packet in source.video_packets() if packet.size]
            self._check_complete(source, len(packets), max((source.end(p) for p in packets), default=0))
            keys = sorted({p.pts for p in packets if p.is_keyframe and p.pts is not None})
            stamps = [p.pts for p in packets if not p.is_discard]
        if self._facts.codec not in _ONE_PACKET_ONE_FRAME or None in stamps:
            with _typed(self.path), Source(self.path) as source:
                stamps = [frame.pts for frame in self._decoded(source)]
        known = sorted(s for s in stamps if s is not None and keys and s >= keys[0])
        if len(known) == len(set(known)) and None not in stamps:
            return _Index(len(known), known, keys)
        return _Index(len(stamps), [], [])

    def _run(self, start: int, stop: int | None) -> Iterator[Pictures]:
        end, found = 0, start
        with _typed(self.path), Source(self.path) as source:
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
                f"{self.path} is cut off or damaged ({_reason(error)}): {n + 1} frames found, "
                f"{source.stream.frames or 'more'} declared; copy or download it again"
            ) from error

    def _lost(self, n: int) -> VideoError:
        return VideoError(f"frame {n} of {self.path} cannot be decoded; the file is damaged there, copy it again")

    def _fetch(self, indices: list[int]) -> Iterator[Pictures]:
        with _typed(self.path):
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


class DecordReader(AVReader):
    """H.264 MP4 files of our own encoder through decord; its seeks are exact only where every GOP is closed."""

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
        with _typed(self.path):
            reader = self._new()
            last = len(reader) if stop is None else min(stop, len(reader))
            if 0 < start < last:
                reader.seek_accurate(start)
            for _ in range(start, last):
                yield reader.next().asnumpy()

    def _fetch(self, indices: list[int]) -> Iterator[Pictures]:
        with _typed(self.path):
            if self._decord is None or self._pid != os.getpid():
                self._decord, self._pid = self._new(), os.getpid()
            yield from self._decord.get_batch(indices).asnumpy()

    def close(self) -> None:  # noqa: D102
        self._decord = None
        super().close()

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_decord": None}


class FolderReader(VideoReader):
    """PNG or JPEG pictures in the order of their names; grey and palette pictures give raw values, never colours."""

    def __init__(self, source: str | Path, fps: Fraction = Fraction(25)) -> None:
        self.path, self._fps = Path(source).resolve(), fps
        with _typed(source):
            found = (p for p in self.path.iterdir() if p.suffix.lower() in (".png", ".jpg", ".jpeg") and p.is_file())
            self.files = sorted(found, key=lambda p: p.name)
        if not self.files:
            raise VideoError(f"{source} is a folder without PNG or JPEG pictures; put the frames there, named in order")

    @property
    def fps(self) -> Fraction:  # noqa: D102
        return self._fps

    @cached_property
    def _shape(self) -> tuple[int, int, int]:
        height, width, channels = _picture(self.files[0]).shape
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
            picture = _picture(self.files[index])
            if picture.shape != self._shape:
                raise VideoError(
                    f"{self.files[index]} is (height, width, channels) {picture.shape}, but the first "
                    f"picture of the folder is {self._shape}; save all alike"
                )
            yield picture


def _picture(path: Path) -> Pictures:
    with _typed(path), path.open("rb") as file:
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
        muxing = {} if self.path.suffix.lower() == ".mkv" else {"movflags": flags}
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
                    f"{self.path} could not be written after {self.written} frames ({_reason(error)}); "
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
    ) -> None:
        options = {"crf": str(crf), "x264-params": "open-gop=0"} | ({"g": str(gop)} if gop else {})
        super().__init__(
            path, fps, codec="libx264", pixel_format="yuv420p", options=options, metadata=metadata, overwrite=overwrite
        )

    def write(self, frame: Pictures) -> None:
        """Encodes one frame, uint8 (H, W, 3); odd sides grow by one repeated row or column, as yuv420p needs."""
        if frame.ndim == 3 and (frame.shape[0] % 2 or frame.shape[1] % 2):
            frame = np.pad(frame, ((0, frame.shape[0] % 2), (0, frame.shape[1] % 2), (0, 0)), mode="edge")
        super().write(frame)

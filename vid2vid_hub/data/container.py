"""One opened video container: which kinds are opened, from what, and what their packets are.

Files are untrusted: containers come from a whitelist, are opened from a Python file object (libavformat never sees a
name that it could take for a URL or a playlist), and frames have a largest size.
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Self

import av
from av.container import InputContainer
from av.packet import Packet
from av.stream import Disposition
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from vid2vid_hub.data.policy import MAX_PIXELS
from vid2vid_hub.errors import VideoError

_CONTAINERS = "MP4/MOV, Matroska/WebM, AVI, MPEG-TS or GIF"
_READ_OPTIONS = {
    "format_whitelist": "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,gif",
    "protocol_whitelist": "file",
    "max_pixels": str(MAX_PIXELS),
}


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

"""Makers of videos, pictures and archives, whole and broken: they write a file, or give its bytes."""

import io
import struct
import tempfile
import zipfile
import zlib
from collections.abc import Callable
from fractions import Fraction
from functools import cache
from pathlib import Path

import av
import numpy as np
from av.stream import Disposition
from PIL import Image

VP9 = (("deadline", "realtime"), ("cpu-used", "8"))


def picture(size: tuple[int, int], number: int = 0) -> np.ndarray:
    """Something to see that moves: uint8 (H, W, 3)."""
    y, x = np.mgrid[: size[0], : size[1]]
    return np.stack([(3 * x + 5 * number) % 256, (5 * y) % 256, (x + y + 9 * number) % 256], -1).astype(np.uint8)


@cache
def movie(
    form: str = "mp4",
    codec: str = "libx264",
    pixels: str = "yuv420p",
    length: int = 20,
    size: tuple[int, int] = (48, 64),
    rate: Fraction | int = 25,
    rotate: int = 0,
    black: bool = False,
    muxing: tuple[tuple[str, str], ...] = (),
    options: tuple[tuple[str, str], ...] = (),
) -> bytes:
    """A small video."""
    held = Path(tempfile.mkdtemp()) / "movie"  # a file, since putting the index first takes a second look
    with av.open(str(held), "w", format=form, options=dict(muxing)) as container:
        stream = container.add_stream(codec, rate=rate, options=dict(options))
        stream.height, stream.width, stream.pix_fmt = *size, pixels
        if rotate:
            stream.set_display_rotation(rotate)
        container.start_encoding()
        for n in range(length):
            if black:
                frame = av.VideoFrame(size[1], size[0], pixels)
                for plane in frame.planes:
                    plane.update(bytes(plane.buffer_size))
            else:
                frame = av.VideoFrame.from_ndarray(picture(size, n)).reformat(format=pixels)
            frame.pts, frame.time_base = n, 1 / Fraction(rate)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    try:
        return held.read_bytes()
    finally:
        held.unlink()
        held.parent.rmdir()


def clip_of(form: str, codec: str, **how: object) -> Callable[[Path], object]:
    """Writes a video when asked to."""
    return lambda path: path.write_bytes(movie(form, codec, **how))  # type: ignore[arg-type]


def cut(part: float, **how: object) -> Callable[[Path], object]:
    """The beginning of a video."""

    def write(path: Path) -> None:
        whole = movie(**how)  # type: ignore[arg-type]
        path.write_bytes(whole[: int(part * len(whole)) if part < 1 else -1])

    return write


def holed(fill: bytes, **how: object) -> Callable[[Path], object]:
    """A video with something else in its middle."""

    def write(path: Path) -> None:
        whole = movie(**how)  # type: ignore[arg-type]
        start = len(whole) // 3
        path.write_bytes(whole[:start] + fill + whole[start + len(fill) :])

    return write


def patched(box: bytes, offset: int, value: bytes) -> Callable[[Path], object]:
    """An MP4 with other bytes behind the name of a box."""

    def write(path: Path) -> None:
        whole = bytearray(movie())
        at = whole.rindex(box) + len(box) + offset
        whole[at : at + len(value)] = value
        path.write_bytes(whole)

    return write


def audio(form: str, codec: str, cover: bool = False) -> Callable[[Path], object]:
    """A second of silence, perhaps with the picture of an album."""

    def write(path: Path) -> None:
        with av.open(str(path), "w", format=form) as container:
            stream = container.add_stream(codec, rate=16000)
            art = container.add_stream("mjpeg", rate=25) if cover else None
            if art is not None:
                art.height, art.width, art.pix_fmt, art.disposition = 48, 64, "yuvj420p", Disposition.attached_pic
            for n in range(8):
                frame = av.AudioFrame.from_ndarray(np.zeros((1, 2000), np.int16), "s16", "mono")
                frame.rate, frame.pts = 16000, 2000 * n
                container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
            if art is not None:
                container.mux(art.encode(av.VideoFrame.from_ndarray(picture((48, 64))).reformat(format="yuvj420p")))
                container.mux(art.encode(None))

    return write


def many_streams(path: Path) -> None:
    """A thousand videos of one frame in one file."""
    jpeg = io.BytesIO()
    Image.fromarray(picture((16, 16))).save(jpeg, "JPEG")
    with av.open(str(path), "w", format="mp4") as container:
        streams = [container.add_stream("mjpeg", rate=25) for _ in range(1000)]
        for stream in streams:
            stream.height, stream.width, stream.pix_fmt = 16, 16, "yuvj420p"
        container.start_encoding()
        for stream in streams:
            packet = av.Packet(jpeg.getvalue())
            packet.stream, packet.pts, packet.dts, packet.time_base = stream, 0, 0, Fraction(1, 25)
            container.mux(packet)


def two_sizes(path: Path) -> None:
    """Motion JPEG whose pictures grow in the middle."""
    with av.open(str(path), "w", format="avi") as container:
        stream = container.add_stream("mjpeg", rate=25)
        stream.height, stream.width, stream.pix_fmt = 48, 64, "yuvj420p"
        container.start_encoding()
        for n in range(20):
            jpeg = io.BytesIO()
            Image.fromarray(picture((48, 64) if n < 10 else (96, 128), n)).save(jpeg, "JPEG")
            packet = av.Packet(jpeg.getvalue())
            packet.stream, packet.pts, packet.dts, packet.time_base = stream, n, n, Fraction(1, 25)
            container.mux(packet)


def vp9_claim(path: Path) -> None:
    """VP9 of 64x48 whose frame header says 16384x16384: a decoder makes room for 400 MB a frame at once."""
    whole = bytearray(movie("webm", "libvpx-vp9", options=VP9))
    at = whole.index(b"\x49\x83\x42") + 3
    # Four bits of colour, then width - 1 and height - 1 in sixteen bits each.
    sizes = (whole[at] >> 4 << 36 | 16383 << 20 | 16383 << 4 | whole[at + 4] & 15).to_bytes(5, "big")
    whole[at : at + 5] = sizes
    path.write_bytes(whole)


def gif(length: int) -> bytes:
    """A GIF of many pictures of one pixel."""
    start = b"GIF89a" + struct.pack("<HHBBB", 1, 1, 0x80, 0, 0) + bytes([0, 0, 0, 255, 255, 255])
    frame = b"!\xf9\x04\0" + struct.pack("<H", 2) + b"\0\0," + struct.pack("<HHHHB", 0, 0, 1, 1, 0) + b"\2\2\x44\1\0"
    return start + frame * length + b";"


def png(width: int, height: int, depth: int = 8, colour: int = 0, data: bytes | None = None) -> bytes:
    """A PNG of nothing but zeros, as large as one likes; ``data`` in place of its pixels."""
    if data is None:
        packer, data = zlib.compressobj(1), b""
        row = bytes(1 + (width * depth * (3 if colour == 2 else 1) + 7) // 8)
        data = b"".join(packer.compress(row * 64) for _ in range(-(-height // 64))) + packer.flush()
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", data), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(name, content) for name, content in chunks)


def _chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def text_bomb() -> bytes:
    """A small PNG whose comment unfolds to 100 MB."""
    whole = png(8, 8)
    return whole[:33] + _chunk(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(100_000_000), 1)) + whole[33:]


def saved(form: str, mode: str = "RGB", part: float = 1) -> Callable[[Path], object]:
    """A picture as Pillow saves it, or the beginning of it."""

    def write(path: Path) -> None:
        held = io.BytesIO()
        image = Image.fromarray(picture((48, 64)))
        if mode == "I;16":
            image = Image.fromarray(np.arange(48 * 64, dtype=np.uint16).reshape(48, 64))
        elif mode != "RGB":
            image = image.convert(mode)
        image.save(held, form)
        path.write_bytes(held.getvalue()[: int(len(held.getvalue()) * part)])

    return write


def npz(**arrays: object) -> Callable[[Path], object]:
    """Arrays as numpy saves them."""

    def write(path: Path) -> None:
        with path.open("wb") as file:
            np.savez(file, **arrays)  # type: ignore[arg-type]

    return write


def npz_claim(path: Path) -> None:
    """An array that claims to be a thousand times as large as memory."""
    header = b"{'descr': '<f8', 'fortran_order': False, 'shape': (10000000000, 68, 3), }"
    header += b" " * (-(len(header) + 11) % 64) + b"\n"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("points.npy", b"\x93NUMPY\x01\0" + struct.pack("<H", len(header)) + header + bytes(100))


def npz_bomb(path: Path) -> None:
    """33 MB of zeros in 33 kB: twenty thousand frames."""
    with path.open("wb") as file:
        np.savez_compressed(file, points=np.zeros((20_000, 68, 3)), size=np.array([32, 32]))


def npz_cut(path: Path) -> None:
    """The first half of a good file."""
    npz(points=np.zeros((4, 68, 3)), size=np.array([32, 32]))(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def sparse(path: Path) -> None:
    """A gigabyte that takes no place."""
    with path.open("wb") as file:
        file.write(movie())
        file.truncate(10**9)


def text(content: str | bytes) -> Callable[[Path], object]:
    """Just these bytes."""
    return lambda path: path.write_bytes(content if isinstance(content, bytes) else content.encode())

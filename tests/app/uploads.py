"""What strangers may upload: files that are broken, hostile or only odd, each with the words that refuse it."""

import os
import struct
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np

from tests.app.made import (
    VP9,
    audio,
    clip_of,
    cut,
    gif,
    holed,
    many_streams,
    movie,
    npz,
    npz_bomb,
    npz_claim,
    npz_cut,
    patched,
    png,
    saved,
    sparse,
    text,
    text_bomb,
    two_sizes,
    vp9_claim,
)

CANARY = "canary-that-nobody-reads"


@dataclass(frozen=True)
class Upload:
    """One file.

    Attributes:
        name: what is special about it.
        file: its name.
        write: makes it at a path; beside it lie ``ok.mp4`` and ``canary.txt``.
        says: what the sentence that refuses it must hold; None if it is accepted.
        kind: "video", "picture" or "condition".
    """

    name: str
    file: str
    write: Callable[[Path], object]
    says: str | None
    kind: str = "video"


def write_all(folder: Path) -> dict[str, Path]:
    """Writes every upload; name -> path, each in a folder of its own."""
    paths = {}
    for number, upload in enumerate(UPLOADS):
        home = folder / str(number)
        home.mkdir()
        (home / "ok.mp4").write_bytes(movie())
        (home / "canary.txt").write_text(CANARY)
        paths[upload.name] = home / upload.file
        upload.write(paths[upload.name])
    return paths


CONCAT = "ffconcat version 1.0\nfile ok.mp4\nfile canary.txt\n"
M3U8 = "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nok.mp4\n#EXTINF:1,\nhttp://127.0.0.1:9/\n#EXT-X-ENDLIST\n"
SDP = "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 5004 RTP/AVP 96\na=rtpmap:96 H264/90000\n"
HTML = "<html><script>alert('boo')</script></html>"
SVG = "<svg xmlns='http://www.w3.org/2000/svg'><image href='file:///etc/passwd'/></svg>"
NOISE = np.random.default_rng(0).bytes(200_000)
NO_CONTAINER = "is not a readable MP4/MOV"
FAST = (("movflags", "faststart"),)

ODD_NAMES = {
    "a newline": "a\nb.mp4",
    "quotes": '\'"`$(touch x)`".mp4',
    "emoji": "🎬🕺.mp4",
    "250 bytes": "x" * 246 + ".mp4",
    "a leading dash": "-i.mp4",
    "a pattern": "frame%03d.mp4",
    "a protocol": "concat:ok.mp4|canary.txt",
    "control letters": "\x1b[2J\x07\u202e.mp4",
    "markup": "<img src=x onerror=alert(1)>.mp4",
    "no ending": "clip",
    "only dots": "....mp4",
    "a semicolon": "; rm -rf *.mp4",
}
WIRE_NAMES = ("../evil.mp4", "..\\evil.mp4", "/etc/passwd", "a\0b.mp4", "x" * 5000 + ".mp4", "C:\\evil.mp4", "")
"""Names that no file can have, for those who upload through HTTP."""

UPLOADS = [
    Upload("text", "a.mp4", text("hello"), NO_CONTAINER),
    Upload("empty", "a.mp4", text(""), "is empty (0 bytes)"),
    Upload("one byte", "a.mp4", text("x"), "the video"),
    Upload("HTML", "a.mp4", text(HTML), NO_CONTAINER),
    Upload("SVG", "a.mp4", text(SVG), NO_CONTAINER),
    Upload("zeros", "a.mp4", text(bytes(1_000_000)), "the video"),
    Upload("noise", "a.mp4", text(NOISE), "the video"),
    Upload("PDF", "a.mp4", text(b"%PDF-1.7\n" + NOISE), NO_CONTAINER),
    Upload("a program", "a.mp4", text(b"\x7fELF" + NOISE), NO_CONTAINER),
    Upload("a pickle", "a.mp4", text(b"\x80\x04cos\nsystem\n(S'touch x'\ntR."), NO_CONTAINER),
    Upload("a concat script", "a.mp4", text(CONCAT), NO_CONTAINER),
    Upload("a playlist", "a.mp4", text(M3U8), NO_CONTAINER),
    Upload("SDP", "a.mp4", text(SDP), NO_CONTAINER),
    Upload("an address", "a.mp4", text("http://127.0.0.1:9/a.mp4"), NO_CONTAINER),
    Upload("a WAV", "a.mp4", audio("wav", "pcm_s16le"), NO_CONTAINER),
    Upload("only sound", "a.mp4", audio("mp4", "aac"), "holds no video (audio found)"),
    Upload("a cover picture only", "a.m4a", audio("mp4", "aac", cover=True), "holds no video"),
    Upload("no frames", "a.mp4", clip_of("mp4", "libx264", length=0), "the video"),
    Upload("FLV", "a.mp4", clip_of("flv", "flv1"), NO_CONTAINER),
    Upload("bare H.264", "a.mp4", clip_of("h264", "libx264"), NO_CONTAINER),
    *[Upload(f"cut at {part:.0%}", "a.mp4", cut(part), "the video") for part in (0.01, 0.5, 0.9)],
    Upload("the last byte is missing", "a.mp4", cut(1), None),
    *[Upload(f"index first, cut at {part:.0%}", "a.mp4", cut(part, muxing=FAST), "the video") for part in (0.6, 0.9)],
    Upload("WebM, cut", "a.webm", cut(0.6, form="webm", codec="libvpx-vp9", options=VP9), "cut off"),
    Upload("Matroska, cut", "a.mkv", cut(0.6, form="matroska", codec="ffv1"), "the video"),
    Upload("AVI, cut", "a.avi", cut(0.6, form="avi", codec="mpeg4"), "the video"),
    Upload("a hole of zeros", "a.mp4", holed(bytes(3000), muxing=FAST, length=60), "the video"),
    Upload("garbage in the middle", "a.mkv", holed(NOISE[:3000], form="matroska", codec="ffv1"), "the video"),
    Upload("VP9 that claims to unfold", "a.webm", vp9_claim, "the video"),
    Upload(
        "H.264 that unfolds",
        "a.mp4",
        clip_of("mp4", "libx264", size=(8192, 8192), length=1, black=True, options=(("preset", "ultrafast"),)),
        "the video",
    ),
    Upload(
        "a little too large",
        "a.mp4",
        clip_of("mp4", "libx264", size=(2304, 4128), length=1, black=True, options=(("preset", "ultrafast"),)),
        "million pixels a frame are taken",
    ),
    Upload("a false size that no decoder heeds", "a.mp4", patched(b"avc1", 24, b"\xff\xff\xff\xff"), None),
    Upload("10^9 frames declared", "a.mp4", patched(b"stts", 8, struct.pack(">I", 10**9)), "the video"),
    Upload("duration of a century", "a.mp4", patched(b"stts", 12, b"\x7f\xff\xff\xff"), "the video"),
    Upload("two sizes", "a.avi", two_sizes, "the video began as 64x48"),
    Upload(
        "ten minutes",
        "a.mp4",
        clip_of("mp4", "libx264", size=(16, 16), length=300, rate=Fraction(1, 2)),
        "lasts 600.0 seconds or more",
    ),
    Upload("100000 frames a second", "a.mp4", clip_of("mp4", "libx264", rate=100_000), "at most 1000 are taken"),
    Upload(
        "a frame in three years", "a.mkv", clip_of("matroska", "ffv1", rate=Fraction(1, 10**8), length=2), "the video"
    ),
    Upload("a GIF of 2000 pictures", "a.gif", text(gif(2000)), "at most"),
    Upload("a thousand streams", "a.mp4", many_streams, "the video holds 1000 streams"),
    Upload("10-bit grey", "a.mkv", clip_of("matroska", "ffv1", pixels="gray10le"), "8 bits a value were expected"),
    Upload("askew", "a.mp4", clip_of("mp4", "libx264", rotate=45), "a multiple of 90"),
    Upload("a gigabyte", "a.mp4", sparse, "has 1000.0 MB, where at most"),
    Upload("a link", "a.mp4", lambda path: path.symlink_to("ok.mp4"), "is no regular file"),
    Upload("a link to a secret", "a.mp4", lambda path: path.symlink_to("/etc/passwd"), "is no regular file"),
    Upload("a pipe", "a.mp4", lambda path: os.mkfifo(path), "is no regular file"),
    Upload("a folder", "a.mp4", lambda path: path.mkdir(), "is no regular file"),
    Upload("a device", "a.mp4", lambda path: path.symlink_to("/dev/zero"), "is no regular file"),
    Upload("gone", "a.mp4", lambda path: None, "is not there any more"),
    Upload("a picture called a video", "a.mp4", saved("PNG"), None),
    Upload("a JPEG", "a.jpg", saved("JPEG"), None),
    Upload("a cut PNG", "a.png", saved("PNG", part=0.6), "the video"),
    Upload("16-bit grey PNG", "a.png", saved("PNG", "I;16"), "where 8-bit grey"),
    Upload("a transparent PNG", "a.png", saved("PNG", "RGBA"), "where 8-bit grey"),
    Upload("a PNG that unfolds", "a.png", text(png(30_000, 30_000, 1)), "million pixels a frame"),
    *[Upload(f"called with {what}", name, text(movie()), None) for what, name in ODD_NAMES.items()],
    Upload("text as a picture", "a.png", text("hello"), "is no readable PNG, JPEG, WEBP", "picture"),
    Upload("nothing as a picture", "a.png", text(""), "is empty", "picture"),
    Upload("SVG as a picture", "a.png", text(SVG), "is no readable PNG, JPEG, WEBP", "picture"),
    Upload("a video as a picture", "a.png", text(movie()), "is no readable PNG, JPEG, WEBP", "picture"),
    Upload("a GIF as a picture", "a.png", saved("GIF"), "is no readable PNG, JPEG, WEBP", "picture"),
    Upload("TIFF as a picture", "a.png", saved("TIFF"), "is no readable PNG, JPEG, WEBP", "picture"),
    Upload("a picture that unfolds", "a.png", text(png(30_000, 30_000, 1)), "million pixels", "picture"),
    Upload("a picture of 10^10 pixels", "a.png", text(png(10**5, 10**5, data=b"")), "million pixels", "picture"),
    Upload("a comment that unfolds", "a.png", text(text_bomb()), "the picture cannot be read", "picture"),
    Upload("a cut JPEG", "a.jpg", saved("JPEG", part=0.5), "the picture cannot be read", "picture"),
    Upload("a cut WebP", "a.webp", saved("WEBP", part=0.5), "the picture cannot be read", "picture"),
    Upload("16 bits a value", "a.png", saved("PNG", "I;16"), "more than 8 bits", "picture"),
    Upload("text as points", "a.npz", text("hello"), "the file", "condition"),
    Upload("pickled points", "a.npz", npz(points=np.array([{}, print], object)), "the file", "condition"),
    Upload("points of another kind", "a.npz", npz(points=np.zeros((4, 3, 2))), "the file must hold", "condition"),
    Upload("points that are no numbers", "a.npz", npz(points=np.full((4, 68, 3), np.nan)), "no", "condition"),
    Upload("points that claim 16 TB", "a.npz", npz_claim, "of memory that are granted", "condition"),
    Upload("points that unfold", "a.npz", npz_bomb, "frames or more, where at most", "condition"),
    Upload("a cut archive", "a.npz", npz_cut, "the file", "condition"),
    Upload(
        "points of a giant picture",
        "a.npz",
        npz(points=np.zeros((4, 68, 3)), size=np.array([60_000] * 2)),
        "of memory that are granted",
        "condition",
    ),
    Upload("points without a size", "a.npz", npz(points=np.zeros((4, 68, 3))), "give its size", "condition"),
    Upload("no kind that the task reads", "a.xyz", text("hello"), "is no video by its name", "condition"),
]

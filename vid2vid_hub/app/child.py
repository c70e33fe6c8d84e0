"""A program of its own that decodes what a stranger uploaded, under limits, and writes plain numbers to a pipe.

`receive.py` starts it, believes nothing of what it writes but the form, and calls what was uploaded by the word that it
is told: "the video". A message is one letter for its kind, eight bytes of length, and so many bytes.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import re
import struct
import sys
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError, WebPImagePlugin  # noqa: F401  (else Pillow imports every format there is)

from vid2vid_hub.data.container import Source
from vid2vid_hub.data.policy import Pictures, typed
from vid2vid_hub.data.video import open_video, read_picture
from vid2vid_hub.errors import Vid2VidError, VideoError

CLONE_NEWUSER, CLONE_NEWNET = 0x10000000, 0x40000000
HEAD = struct.Struct(">cQ")
"""What every message begins with."""
HEADER, FRAME, CONDITION, END = b"H", b"F", b"C", b"E"
STILL = (b"\x89PNG", b"\xff\xd8\xff")
STILL_FPS = 25
FASTEST, MOST_STREAMS = 1000, 64
DESCRIPTORS = 64
BLOCK = 2**26
"""Bytes of a message of conditions, where one frame is not larger."""
BETTER = {
    r" or a folder of PNG/JPEG pictures": "",
    r"\(Invalid argument\)": "(it is damaged, or its frames are larger than any that are read)",
    r"\.? If you trust the file.*?`\.?(?=\))": "",
}
"""Words of readers that would mislead a visitor, who uploads one file and is trusted with nothing."""


class Answer:
    """The pipe to the parent. What libraries print meanwhile goes nowhere."""

    def __init__(self) -> None:
        self._pipe = os.dup(1)
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 1)
        os.close(nowhere)

    def say(self, kind: bytes, content: bytes | memoryview) -> None:
        """One message."""
        for part in (HEAD.pack(kind, len(content)), content):
            left = memoryview(part)
            while left:
                left = left[os.write(self._pipe, left) :]

    def tell(self, kind: bytes, **words: Any) -> None:
        """One message of JSON."""
        self.say(kind, json.dumps(words).encode())

    def frame(self, picture: Pictures) -> None:
        """One frame, row by row."""
        self.say(FRAME, np.ascontiguousarray(picture).data.cast("B"))


def main() -> None:
    """Do the orders of the one argument, JSON: which file it is, what to make of it, and what is granted."""
    orders = json.loads(sys.argv[1])
    answer = Answer()
    leave_the_network()
    path, what, granted = Path(orders["path"]).resolve(), orders["what"], orders["limits"]
    try:
        {"video": send_video, "picture": send_picture, "condition": send_condition}[orders["kind"]](
            path, granted, answer, orders
        )
        answer.tell(END, done=True)
    except BrokenPipeError:
        pass  # nobody waits for it any more
    except Exception as error:
        with contextlib.suppress(OSError):
            answer.tell(END, refused=sentence(error, path, what, granted))
    os._exit(0)  # what a stranger built is not taken apart piece by piece


def leave_the_network() -> None:
    """Live on without any network, where Linux lets us."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).unshare(CLONE_NEWNET if os.geteuid() == 0 else CLONE_NEWNET | CLONE_NEWUSER)


def close_doors(granted: dict[str, Any]) -> None:
    """From here on: so much more memory and time, no file written, few opened, no process started."""
    try:
        import resource
    except ImportError:
        return
    used = resource.getrusage(resource.RUSAGE_SELF)
    seconds = int(used.ru_utime + used.ru_stime) + 1 + granted["decode_seconds"]
    limits = {"RLIMIT_FSIZE": 0, "RLIMIT_CORE": 0, "RLIMIT_NOFILE": DESCRIPTORS, "RLIMIT_NPROC": 0}
    with contextlib.suppress(OSError):
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        limits["RLIMIT_AS"] = pages * resource.getpagesize() + granted["memory"]
    for name, most in limits.items():
        with contextlib.suppress(OSError, ValueError, AttributeError):
            resource.setrlimit(getattr(resource, name), (most, most))
    with contextlib.suppress(OSError, ValueError):  # a second apart: the first limit's signal says what it was
        resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 1))


def sentence(error: BaseException, path: Path, what: str, granted: dict[str, Any]) -> str:
    """What an exception means to whoever uploaded the file, in one line that names no path."""
    chain: BaseException | None = error
    while chain is not None:
        if isinstance(chain, MemoryError) or "can't allocate memory" in str(chain):
            return (
                f"reading {what} takes more than the {granted['memory'] / 1e6:.0f} MB of memory that are granted; "
                "make it smaller, or check what made it"
            )
        chain = chain.__cause__ or chain.__context__
    text = str(error) or type(error).__name__
    for name in (f"'{path}'", repr(str(path)), str(path)):
        text = text.replace(name, what)
    for pattern, better in BETTER.items():
        text = re.sub(pattern, better, text)
    if not isinstance(error, Vid2VidError):
        text = f"{what} cannot be read ({type(error).__name__}: {text}); check that it is complete"
    return " ".join(text.split())


def send_video(path: Path, granted: dict[str, Any], answer: Answer, _: dict[str, Any]) -> None:
    """Header and frames of a video; a PNG or JPEG is a video of one frame."""
    close_doors(granted)
    with path.open("rb") as file:
        still = file.read(4).startswith(STILL)
    if still:
        with open_still(path, ("PNG", "JPEG"), "the video", granted):
            pass
        picture = read_picture(path)
        answer.tell(HEADER, fps=[STILL_FPS, 1], size=picture.shape[:2], channels=picture.shape[2], total=1)
        answer.frame(picture)
        return
    total = check_declared(path, granted)
    with open_video(path) as reader:
        fps = reader.fps
        check_pixels(*reader.size, "the video", granted)
        answer.tell(
            HEADER, fps=[fps.numerator, fps.denominator], size=reader.size, channels=reader.channels, total=total
        )
        for number, frame in enumerate(reader.frames(), 1):
            check_length(number, number / fps, granted)
            answer.frame(frame)


def check_declared(path: Path, granted: dict[str, Any]) -> int | None:
    """The number of frames that a file declares, if it does; refuses it for that, its size or its duration."""
    with typed(path), Source(path) as source:
        stream, container = source.stream, source.container
        if len(container.streams) > MOST_STREAMS:
            raise VideoError(
                f"the video holds {len(container.streams)} streams, where at most {MOST_STREAMS} are read; "
                "export its picture alone"
            )
        check_pixels(stream.codec_context.height, stream.codec_context.width, "the video", granted)
        if not 0 < source.fps <= FASTEST:
            raise VideoError(
                f"the video has {float(source.fps):.0f} frames a second, where at most {FASTEST} are taken; "
                "export it at its true rate"
            )
        seconds = Fraction(container.duration or 0, 1_000_000)
        if stream.duration and stream.time_base:
            seconds = stream.duration * stream.time_base
        total = stream.frames or round(seconds * source.fps)
        check_length(total, seconds, granted)
        return total if total > 0 else None


def check_length(frames: int, seconds: Fraction, granted: dict[str, Any]) -> None:
    """Refuses what is too long, be it declared or counted."""
    if frames > granted["frames"]:
        raise VideoError(
            f"the video has {frames} frames or more, where at most {granted['frames']} are taken; cut it, or lower its "
            "frame rate"
        )
    if seconds > granted["seconds"]:
        raise VideoError(
            f"the video lasts {float(seconds):.1f} seconds or more, where at most {granted['seconds']:g} are taken; "
            "cut it"
        )


def check_pixels(height: int, width: int, what: str, granted: dict[str, Any]) -> None:
    """Refuses what is too large."""
    if height * width > granted["pixels"]:
        raise VideoError(
            f"{what} is {width}x{height}, where at most {granted['pixels'] / 1e6:.1f} million pixels a frame are "
            "taken; make it smaller"
        )


def send_picture(path: Path, granted: dict[str, Any], answer: Answer, _: dict[str, Any]) -> None:
    """One picture in RGB, upright; what is transparent becomes white."""
    close_doors(granted)
    try:
        with open_still(path, ("PNG", "JPEG", "WEBP"), "the picture", granted) as image:
            if image.mode[0] in "IF":
                raise VideoError(
                    f"the picture has values of more than 8 bits ({image.mode}), where a PNG, JPEG or WebP in colours "
                    "was expected; convert it"
                )
            upright = ImageOps.exif_transpose(image)
            if upright.has_transparency_data:
                upright = Image.alpha_composite(Image.new("RGBA", upright.size, "white"), upright.convert("RGBA"))
            pixels = np.asarray(upright.convert("RGB"), np.uint8)
    except (OSError, ValueError, SyntaxError, struct.error) as error:
        said = " ".join(str(error).split()).rstrip(".")
        raise VideoError(f"the picture cannot be read ({said}); save or copy it again") from error
    answer.tell(HEADER, size=pixels.shape[:2])
    answer.frame(pixels)


def open_still(path: Path, formats: tuple[str, ...], what: str, granted: dict[str, Any]) -> Image.Image:
    """A picture of which only the size was looked at, and found to be granted."""
    Image.MAX_IMAGE_PIXELS = None  # Pillow's own limit names no size; nothing of it is decoded before this one
    try:
        image = Image.open(path, formats=formats)
    except UnidentifiedImageError as error:
        raise VideoError(f"{what} is no readable {', '.join(formats)}; convert it to one of them") from error
    check_pixels(image.height, image.width, what, granted)
    return image


def send_condition(path: Path, granted: dict[str, Any], answer: Answer, orders: dict[str, Any]) -> None:
    """Conditions that an installed task reads in its own way, as safetensors of a few frames each."""
    from vid2vid_hub.tasks import get_task

    task = get_task(orders["task"], orders["settings"])
    import safetensors.torch

    close_doors(granted)
    if not task.reads(path):
        raise VideoError(
            f"the file is no video by its name, and nothing that {orders['task']} reads; give an MP4, MOV, MKV, WebM, "
            "AVI, GIF, PNG or JPEG, or what its task reads"
        )
    size = None if orders["size"] is None else (int(orders["size"][0]), int(orders["size"][1]))
    frames = 0
    for condition in task.read(path, size):
        check_pixels(*condition.size, "the file", granted)
        frames += len(condition)
        if frames > granted["frames"]:
            raise VideoError(
                f"the file holds {frames} frames or more, where at most {granted['frames']} are taken; cut it"
            )
        named = {"maps": condition.maps, "instances": condition.instances, "points": condition.points}
        tensors = {name: tensor for name, tensor in named.items() if tensor is not None}
        each = sum(tensor.numel() * tensor.element_size() for tensor in tensors.values()) // max(1, len(condition))
        step = max(1, BLOCK // max(1, each))
        for start in range(0, len(condition), step):
            part = {name: tensor[start : start + step].contiguous() for name, tensor in tensors.items()}
            answer.say(CONDITION, safetensors.torch.save(part))


if __name__ == "__main__":
    main()

"""What strangers upload, decoded by another process under limits: this one never opens it, and gets plain numbers."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import safetensors.torch

from vid2vid_hub.app import child
from vid2vid_hub.app.guard import Guarded, whole
from vid2vid_hub.app.limits import Limits
from vid2vid_hub.data.policy import Pictures
from vid2vid_hub.errors import ConditionError, VideoError
from vid2vid_hub.tasks import Task
from vid2vid_hub.types import Condition

VIDEOS = {".3g2", ".3gp", ".avi", ".gif", ".m2ts", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".ts", ".webm"}
PICTURES = {".jpeg", ".jpg", ".png", ".webp"}


@dataclass(frozen=True)
class ReceivedVideo:
    """A video while its process lives.

    Attributes:
        fps: frames a second.
        size: (height, width), as displayed.
        channels: 3 for RGB, 1 for raw values such as labels.
        total: the number of frames that the file declares; a guide, not a promise. None if it declares none.
        frames: uint8 (height, width, channels), one by one; can be gone through once. Raises VideoError.
    """

    fps: Fraction
    size: tuple[int, int]
    channels: int
    total: int | None
    frames: Iterator[Pictures]


@contextmanager
def receive_video(path: Path, limits: Limits) -> Iterator[ReceivedVideo]:
    """Decode an uploaded video, or a PNG or JPEG as a video of one frame, while the block lasts.

    Args:
        path: a regular file; links are not followed.
        limits: how long and large it may be, and what decoding it may take.

    Raises:
        VideoError: it is no video, is damaged, or is more than is granted; one sentence about "the video".
    """
    with Guarded("video", "the video", VideoError, path, limits) as decoding:
        words = decoding.words(child.HEADER)
        height, width = decoding.size_of(words)
        channels, rate, total = words.get("channels"), words.get("fps"), words.get("total")
        if channels not in (1, 3) or not whole(rate, 2) or not (total is None or whole([total], 1)):
            raise decoding.babble()
        fps = Fraction(rate[0], rate[1])

        def frames() -> Iterator[Pictures]:
            count = 0
            while (picture := decoding.picture((height, width, channels))) is not None:
                count += 1
                if count > limits.frames or count / fps > limits.seconds:
                    raise decoding.babble()
                yield picture
            if not count:
                raise decoding.babble()

        yield ReceivedVideo(fps, (height, width), channels, total, frames())


def receive_picture(path: Path, limits: Limits) -> Pictures:
    """Decode an uploaded PNG, JPEG or WebP: uint8 (H, W, 3) RGB, upright; what is transparent becomes white.

    Args:
        path: a regular file; links are not followed.
        limits: how large it may be.

    Raises:
        VideoError: it is no such picture, is damaged or too large; one sentence about "the picture".
    """
    with Guarded("picture", "the picture", VideoError, path, limits) as decoding:
        size = decoding.size_of(decoding.words(child.HEADER))
        picture = decoding.picture((*size, 3))
        if picture is None or decoding.picture((*size, 3)) is not None:
            raise decoding.babble()
        return picture


def receive_condition(
    path: Path,
    task: str,
    settings: Mapping[str, Any],
    limits: Limits,
    size: tuple[int, int] | None = None,
) -> Generator[Condition]:
    """Read conditions from an uploaded file in the way of a task, a few frames at a time.

    Args:
        path: a regular file for which :func:`reads` is true; links are not followed.
        task: the registered name of an installed task.
        settings: its settings.
        limits: how many frames and pixels it may hold, and what reading it may take.
        size: (height, width) of the video that they belong to, if there is one.

    Raises:
        ConditionError: it means nothing to the task, or is more than is granted; one sentence about "the file".
    """
    orders = {"task": task, "settings": dict(settings), "size": size}
    with Guarded("condition", "the file", ConditionError, path, limits, **orders) as reading:
        count = 0
        while (content := reading.content(child.CONDITION, max(child.BLOCK, 16 * limits.pixels) + 2**16)) is not None:
            try:
                tensors = safetensors.torch.load(bytes(content))
                condition = Condition(tensors.pop("maps"), tensors.pop("instances", None), tensors.pop("points", None))
            except (safetensors.SafetensorError, KeyError, ValueError, ConditionError):
                raise reading.babble() from None
            count += len(condition)
            height, width = condition.size
            wrong = tensors or not len(condition) or not 0 < height * width <= limits.pixels
            if wrong or count > limits.frames:
                raise reading.babble()
            yield condition
        if not count:
            raise ConditionError("the file holds no frames; give one that does")


def reads(task: Task, path: Path) -> bool:
    """Whether an upload is for :func:`receive_condition`, judged by its name alone: nothing is opened here."""
    own = type(task).reads is not Task.reads
    return own and path.suffix.lower() not in VIDEOS | PICTURES | {""}

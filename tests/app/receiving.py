"""What tests of uploads share: receive one, judge the sentence that refuses it, and see that nothing is left of it."""

import dataclasses
from contextlib import contextmanager

import psutil
import pytest

from vid2vid_hub.app.limits import PUBLIC
from vid2vid_hub.app.receive import receive_condition, receive_picture, receive_video
from vid2vid_hub.errors import ConditionError, VideoError

LIMITS = dataclasses.replace(PUBLIC, decode_seconds=20)
TASK = "sketch2face"
MISLEADING = ("Traceback", "If you trust", "folder of PNG")
LOSSLESS = {"form": "matroska", "codec": "ffv1"}


def receive_any(kind, path, limits=LIMITS):
    """How many frames come in."""
    if kind == "picture":
        assert receive_picture(path, limits).shape[2] == 3
        return 1
    if kind == "condition":
        return sum(len(one) for one in receive_condition(path, TASK, {}, limits))
    with receive_video(path, limits) as video:
        return sum(1 for _ in video.frames)


def refused(path, limits=LIMITS, kind="video"):
    """The sentence that refuses a file."""
    with pytest.raises((VideoError, ConditionError)) as caught:
        receive_any(kind, path, limits)
    return str(caught.value)


def is_one_sentence(said, path):
    """Whether a visitor may read it."""
    plain = said.isprintable() and len(said) <= 400 and not any(word in said for word in MISLEADING)
    return plain and str(path) not in said and str(path.parent) not in said


@contextmanager
def leaving_nothing():
    """No process, no descriptor and no thread more than there were."""
    me = psutil.Process()
    before = me.children(recursive=True), me.num_fds(), me.num_threads()
    yield
    assert (me.children(recursive=True), me.num_fds(), me.num_threads()) == before

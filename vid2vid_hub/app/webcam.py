"""The live part of a tab: the visitor's camera, the condition in it, what a model makes of it, and how fast."""

from __future__ import annotations

import base64
import binascii
import threading
from collections.abc import Callable
from functools import partial
from html import escape
from io import BytesIO
from math import inf
from time import monotonic
from typing import TYPE_CHECKING, Any

import gradio as gr
import numpy as np
from gradio.context import Context
from PIL import Image

from vid2vid_hub.app.gpu import is_lent
from vid2vid_hub.app.limits import Limits
from vid2vid_hub.app.live import Live, LiveFrame
from vid2vid_hub.app.plain import JPEG, Camera, Picture
from vid2vid_hub.app.sizes import work_size
from vid2vid_hub.data.mark import marked
from vid2vid_hub.data.policy import Pictures
from vid2vid_hub.errors import ModelError, TaskError, Vid2VidError, VideoError

if TYPE_CHECKING:
    from vid2vid_hub.app.models import Model

EVERY = 0.05
"""Seconds between two frames of the camera: no more than 20 a second are sent."""
IDLE = 10.0
"""Seconds without a frame after which a visitor has left."""
LARGEST = 4_000_000
"""Characters of a frame of the camera: 640x480 pixels take some 60,000."""
_SEND = {"video": {"width": {"ideal": 640}, "height": {"ideal": 480}, "frameRate": {"ideal": 30}}}


class _Visit:
    """One visitor's live session: what he chose, what works for him, what he has seen, and when he was here last."""

    def __init__(self, key: tuple[str, str]) -> None:
        self.key = key
        self.live: Live | None = None
        self.failed = False
        self.number = -1
        self.remark: str | None = None
        self.here = inf  # until the model is loaded

    def close(self) -> None:
        if self.live is not None:
            self.live.close()


class Visitors:
    """Who is live, by session; one instance for all tabs.

    Args:
        most: visitors at once.
    """

    def __init__(self, most: int = 2) -> None:
        self._most, self._lock = most, threading.Lock()
        self._visits: dict[str, _Visit] = {}

    def __len__(self) -> int:
        return len(self._visits)

    def admit(self, session: str, key: tuple[str, str]) -> _Visit:
        """The visit of a session; a new one where there is none, or where he chose something else.

        Raises:
            TaskError: there are too many others.
        """
        with self._lock:
            left = [who for who, visit in self._visits.items() if monotonic() - visit.here > IDLE]
            mine = self._visits.get(session)
            if mine is not None and session not in left and mine.key == key:
                return mine
            over = [self._visits.pop(who) for who in {*left, session} if who in self._visits]
            full = len(self._visits) >= self._most
            visit = _Visit(key)
            if not full:
                self._visits[session] = visit
        for one in over:
            one.close()
        if full:
            count = "one other visitor is" if self._most == 1 else f"{self._most} other visitors are"
            raise TaskError(f"{count} live now, and there is no room for more; wait a little, or upload a video")
        return visit

    def leave(self, session: str) -> None:
        """End a session's visit, if there is one."""
        with self._lock:
            visit = self._visits.pop(session, None)
        if visit is not None:
            visit.close()


def live_section(
    task_name: str,
    models: Callable[[str], Model],
    model_choice: gr.components.Component,
    limits: Limits,
    *,
    visitors: Visitors | None = None,
    mirror: bool = True,
) -> None:
    """Build the live part into the tab at hand.

    Frames never pile up: of those that Gradio has not handed over yet it keeps the newest alone, handing one over does
    not wait for the model, and :class:`Live` keeps two. Where the GPU is lent by the call (ZeroGPU) no thread can hold
    it, and the section only says so.

    Args:
        task_name: of the tab.
        models: a model by the name that was chosen.
        model_choice: its value is that name.
        limits: ``work_pixels``, ``pixels`` and ``mark`` count here.
        visitors: who is live on all tabs; alone here when left out.
        mirror: whether the camera shows people themselves as a mirror does.
    """
    if is_lent():
        gr.Markdown("Live mode needs a machine of its own: type `vid2vid-hub demo --web` on yours.")
        return
    guests = Visitors() if visitors is None else visitors
    with gr.Row(elem_classes="live"):
        camera = Camera(
            sources=["webcam"],
            streaming=True,
            label="Camera",
            min_width=240,
            webcam_options=gr.WebcamOptions(mirror=mirror, constraints=_SEND),
        )
        condition, generated = (
            Picture(label=label, alt_text=text, interactive=False, buttons=["fullscreen"], min_width=240)
            for label, text in (
                ("Condition", "what the task sees in the camera's picture"),
                ("Generated", "what the model makes of it"),
            )
        )
    line = gr.HTML(_said("Allow the camera, then press Record: frames come as soon as the model is loaded."))

    def step(frame: str | None, choice: str | None, request: gr.Request) -> tuple[Any, Any, Any]:
        return _step(guests, (task_name, choice or ""), models, limits, str(request.session_hash), frame)

    def leave(request: gr.Request) -> None:
        guests.leave(str(request.session_hash))

    streaming = camera.stream(
        step,
        [camera, model_choice],
        [condition, generated, line],
        stream_every=EVERY,
        time_limit=None,
        concurrency_limit=None,
        show_progress="hidden",
        api_visibility="private",
    )
    streaming.then(leave, show_progress="hidden", api_visibility="private", queue=False)
    assert Context.root_block is not None
    Context.root_block.unload(leave)


def _step(
    guests: Visitors,
    key: tuple[str, str],
    models: Callable[[str], Model],
    limits: Limits,
    session: str,
    frame: str | None,
) -> tuple[Any, Any, Any]:
    """Hand over a frame and show what there is by now: condition, generated, line."""
    nothing = gr.skip(), gr.skip()
    if frame is None:
        return *nothing, gr.skip()
    try:
        visit = guests.admit(session, key)
    except Vid2VidError as error:
        return *nothing, _said(str(error), alert=True)
    try:
        if visit.failed:  # said already; it goes on when something else is chosen, or the camera is started anew
            return *nothing, gr.skip()
        if visit.live is None:
            visit.live = _started(key[1], models, limits)
        visit.live.push(_decoded(frame, limits.pixels))
        shown = visit.live.latest()
    except Vid2VidError as error:
        visit.failed = True
        visit.close()
        return *nothing, _said(str(error), alert=True)
    finally:
        visit.here = monotonic()
    if shown is None or shown.number == visit.number:
        return *nothing, gr.skip()
    visit.number = shown.number
    if shown.generated is None:
        return shown.condition, gr.skip(), _line(shown)
    return shown.condition, marked(shown.generated) if limits.mark else shown.generated, _line(shown)


def _started(choice: str, models: Callable[[str], Model], limits: Limits) -> Live:
    if not choice:
        raise ModelError("no model is chosen; choose one")
    model = models(choice)
    size = partial(work_size, most_pixels=limits.work_pixels)
    return Live(model.pipeline, size=size, turn=model.turn, idle=IDLE)


def _decoded(frame: str, most_pixels: int) -> Pictures:
    """A frame of the camera, uint8 (H, W, 3); nothing but a JPEG of moderate size is opened."""
    if not frame.startswith(JPEG) or len(frame) > LARGEST:
        raise VideoError(f"the camera sent no JPEG of less than {LARGEST // 1_000_000} MB; use this page's own camera")
    try:
        data = base64.b64decode(frame[len(JPEG) :], validate=True)
        with Image.open(BytesIO(data), formats=["JPEG"]) as image:
            if image.width * image.height <= most_pixels:
                return np.asarray(image.convert("RGB"))
            found = f"{image.width}x{image.height} pixels"
    except (OSError, ValueError, SyntaxError, binascii.Error, Image.DecompressionBombError) as error:
        raise VideoError("the camera's picture cannot be read as JPEG; start the camera again") from error
    raise VideoError(f"the camera's picture has {found}; at most {most_pixels} are looked at, so set it to fewer")


def _line(frame: LiveFrame) -> str:
    numbers = f"{frame.fps:.1f} frames a second, {frame.latency:.0f} ms behind, {frame.dropped} dropped"
    return (
        f'<p class="live-line"><span>{numbers}</span> <strong role="status">{escape(frame.remark or "")}</strong></p>'
    )


def _said(text: str, alert: bool = False) -> str:
    return f'<p class="live-line" role="{"alert" if alert else "status"}">{escape(text)}</p>'

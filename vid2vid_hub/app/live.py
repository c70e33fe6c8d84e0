"""Live mode: a camera's frames through a pipeline one by one, in a thread of their own; old frames give way to new."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import dataclass, replace
from itertools import chain
from time import monotonic
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from vid2vid_hub.data.policy import Pictures
from vid2vid_hub.errors import ModelError, Vid2VidError, VideoError
from vid2vid_hub.pipeline import Vid2VidPipeline
from vid2vid_hub.types import Condition

Size = tuple[int, int]
SizeRule = Callable[[Size, Size | None], Size]
"""(height, width) of a condition, and that the model was trained at or None -> the size to bring the condition to."""

ENDING = 10.0
"""Seconds that :meth:`Live.close` waits for the frame at hand."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class LiveFrame:
    """What has become of the last frame that was worked on.

    Attributes:
        condition: what the task saw, as a person should see it.
        generated: of it; where a frame is useless, the last one that was generated; None before the first.
        number: of the frame, among all that were pushed, from 0.
        fps: generated frames a second, of late; 0 before the second.
        dropped: frames that gave way to newer ones, so far.
        latency: milliseconds from the frame's coming in to its result.
        remark: what makes the frame useless, such as "no person", or what else a person should know about it.
    """

    condition: Pictures
    generated: Pictures | None
    number: int
    fps: float
    dropped: int
    latency: float
    remark: str | None


@dataclass(frozen=True)
class _Captured:
    """A frame that was pushed: its number, and when it came."""

    frame: Pictures
    number: int
    at: float


@dataclass(frozen=True)
class _Sight:
    """What the task saw in a frame, as a person should see it, and what is to be said about it."""

    of: _Captured
    condition: Pictures
    remark: str | None


class Live:
    """Frames go in by :meth:`push`, which never waits, and what became of them is asked for by :meth:`latest`.

    Frames reach the task's ``observe`` one by one, so it follows, smooths and holds as in a video. It is as late as the
    task looks ahead: not at all, or by up to 64 frames with settings that crop to or retarget whom they follow.
    Frames in which the task misses something are shown and not generated; the last generated one is held. When the
    camera's size changes, a new video begins. Memory does not grow.

    Args:
        pipeline: others may use it too, if all take the same ``turn``.
        size: (height, width) to bring the condition to, or a rule.
        turn: entered for every frame: a lock, of those who share a pipeline or a device.
        style: as in :meth:`Vid2VidPipeline.stream`.
        fps_window: seconds over which frames are counted.
        waiting: frames that wait at most; when one more comes, the oldest is dropped.
        idle: seconds without a frame after which it ends of itself.
    """

    def __init__(
        self,
        pipeline: Vid2VidPipeline,
        *,
        size: Size | SizeRule,
        turn: AbstractContextManager[Any] | None = None,
        style: int | None = None,
        fps_window: float = 2.0,
        waiting: int = 2,
        idle: float = 30.0,
    ) -> None:
        self._pipeline, self._size, self._style = pipeline, size, style
        self._turn: AbstractContextManager[Any] = nullcontext() if turn is None else turn
        self._window, self._idle = fps_window, idle
        self._changed = threading.Condition()
        # Under the condition:
        self._queue: deque[_Captured] = deque(maxlen=waiting)
        self._pushed = self._dropped = 0
        self._times: deque[float] = deque(maxlen=512)
        self._latest: LiveFrame | None = None
        self._error: Vid2VidError | None = None
        self._ended = False
        # The worker's own: frames that the task has not said anything about yet, and the last generated one.
        self._looked_at: deque[_Captured] = deque()
        self._generated: Pictures | None = None
        self._sight: _Sight | None = None
        self._worker = threading.Thread(target=self._work, name="live", daemon=True)
        self._worker.start()

    @property
    def closed(self) -> bool:
        """Whether it takes no more frames: closed, idle for too long, or stopped by an error."""
        return self._ended

    def push(self, frame: Pictures) -> bool:
        """Hand over the newest frame, from any thread, and go on at once.

        Args:
            frame: uint8 (H, W, 3) RGB; it is copied.

        Returns:
            Whether it was taken: False once this is :attr:`closed`.

        Raises:
            VideoError: it is no such picture.
            Vid2VidError: what stopped the work, said once here or by :meth:`latest`.
        """
        shape: tuple[int, ...] = getattr(frame, "shape", ())
        kind = getattr(frame, "dtype", type(frame).__name__)
        if kind != np.uint8 or len(shape) != 3 or shape[2] != 3 or 0 in shape:
            raise VideoError(f"a camera's frame is {kind} {shape}; expected uint8 (H, W, 3) in colour")
        with self._changed:
            self._complain()
            if self._ended:
                return False
            self._dropped += len(self._queue) == self._queue.maxlen
            self._queue.append(_Captured(np.array(frame, order="C"), self._pushed, monotonic()))
            self._pushed += 1
            self._changed.notify_all()
        return True

    def latest(self) -> LiveFrame | None:
        """The newest result, or None before there is any.

        Raises:
            Vid2VidError: what stopped the work, said once here or by :meth:`push`.
        """
        with self._changed:
            self._complain()
            return self._latest and replace(self._latest, fps=self._rate(), dropped=self._dropped)

    def close(self) -> None:
        """End the work after the frame at hand, and free what it held. Closing twice is fine."""
        with self._changed:
            self._ended = True
            self._queue.clear()
            self._latest = None
            self._changed.notify_all()
        if threading.current_thread() is not self._worker:
            self._worker.join(ENDING)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _complain(self) -> None:
        error, self._error = self._error, None
        if error is not None:
            raise error

    def _rate(self) -> float:
        """Over the window, or the last two frames where they are further apart; it falls while none comes."""
        if len(self._times) < 2:
            return 0.0
        now = monotonic()
        recent = sum(time > now - self._window for time in self._times)
        steps = max(recent - 1, 1)
        return 1 / max((self._times[-1] - self._times[-1 - steps]) / steps, now - self._times[-1], 1e-6)

    # The worker

    def _work(self) -> None:
        error: Vid2VidError | None = None
        try:
            # The recursion has its own inference mode; here a task may load weights, which others shall use outside it.
            with torch.no_grad():
                while not self._ended:
                    self._shoot()
        except Vid2VidError as caught:
            error = caught.with_traceback(None)
        except Exception as caught:
            _log.exception("live generation failed")
            error = ModelError(f"live generation failed ({type(caught).__name__}); start again, or take another model")
        with self._changed:
            self._ended, self._error = True, error
            self._queue.clear()
        self._looked_at.clear()
        self._generated = self._sight = None

    def _shoot(self) -> None:
        """One video: frames of one size."""
        self._looked_at.clear()
        with closing(self._frames()) as frames:
            useful = self._useful(frames)
            first = next(useful, None)
            if first is None:  # a stream wants at least one condition
                return
            for picture in self._pipeline.stream(condition=chain((first,), useful), style=self._style):
                self._generated = picture
                self._show()

    def _frames(self) -> Generator[Tensor, None, None]:
        """Frames as uint8 (1, 3, H, W). It is this one's turn until the next frame is asked for."""
        shape: tuple[int, ...] | None = None
        while self._wait():
            with self._turn:
                captured = self._take(shape)
                if captured is None:
                    return
                shape = captured.frame.shape
                self._looked_at.append(captured)
                yield torch.from_numpy(captured.frame).permute(2, 0, 1)[None].contiguous()

    def _useful(self, frames: Iterator[Tensor]) -> Iterator[Condition]:
        """What the task sees in them, one frame at a time; where something is missing, that is all that is shown."""
        task = self._pipeline.task
        for seen in task.observe(frames):
            notes = {note.frame: note.text for note in reversed(seen.notes)}
            for t, missing in enumerate(task.missing(seen.condition)):
                condition = seen.condition[t : t + 1]
                condition = condition.resized(self._sized(condition.size))
                picture = task.preview(condition)[0].permute(1, 2, 0).contiguous().cpu().numpy()
                self._sight = _Sight(self._looked_at.popleft(), picture, missing or notes.get(t))
                if missing is None:
                    yield condition
                else:
                    self._show(held=True)

    def _sized(self, given: Size) -> Size:
        return self._size(given, self._pipeline.size) if callable(self._size) else self._size

    def _show(self, held: bool = False) -> None:
        """The frame at hand is done."""
        sight = self._sight
        assert sight is not None
        now = monotonic()
        late = 1000 * (now - sight.of.at)
        frame = LiveFrame(sight.condition, self._generated, sight.of.number, 0.0, 0, late, sight.remark)
        with self._changed:
            if not self._ended:
                self._latest = frame
            if not held:
                self._times.append(now)

    def _wait(self) -> bool:
        """Whether there is a frame; ends the work where there is none for too long."""
        with self._changed:
            there = self._changed.wait_for(lambda: self._queue or self._ended, self._idle)
            self._ended = self._ended or not there
            return not self._ended

    def _take(self, shape: tuple[int, ...] | None) -> _Captured | None:
        """The oldest frame that waits; None where it is of another shape, or somebody has closed."""
        with self._changed:
            if not self._queue or shape not in (None, self._queue[0].frame.shape):
                return None
            return self._queue.popleft()

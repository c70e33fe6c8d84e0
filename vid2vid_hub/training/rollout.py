"""The generator let loose on the start of a clip while it is in training: what samples and validation look at."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from vid2vid_hub.data.clips import ClipSource, Window, encode_clip, learned, read_window, stretch
from vid2vid_hub.errors import ModelError
from vid2vid_hub.nn.frozen import FlowTeacher
from vid2vid_hub.tasks import Task
from vid2vid_hub.training.networks import Generator
from vid2vid_hub.types import Clip, Frame

Beginning = Literal["real", "zeros"]
Autocast = Callable[[], AbstractContextManager[object]]
"""Makes the context that networks run in, such as an accelerator's ``autocast``; ``nullcontext`` is full precision."""

PAIRS = 4
"""Frame pairs that a flow teacher sees at once."""


class Rollout(NamedTuple):
    """What was generated, and the real clip beside it: the same T frames of a batch of one, all on the CPU.

    Attributes:
        generated: tensors of (1, T, ...), float32.
        clip: frames and condition of (1, T, ...), flow of (1, T-1, ...) or None.
    """

    generated: Frame
    clip: Clip


@torch.no_grad()
def roll_out(
    network: Generator,
    task: Task,
    source: ClipSource,
    frames: int,
    size: tuple[int, int],
    *,
    first_frames: Beginning = "zeros",
    scales: int | None = None,
    teacher: FlowTeacher | None = None,
    autocast: Autocast = nullcontext,
) -> Rollout:
    """Generate the first frames of a clip, at the size of the training, on the network's own device.

    Nothing random is drawn and no gradient or mode is touched, so a training is the same with it and without. One frame
    at a time is encoded and kept on the device: at full resolution a clip's features would fill it.

    Args:
        network: bare, without what distributes it.
        task: whose conditions it reads.
        source: the clip.
        frames: how many of its frames are looked at, at least 1; a shorter clip is taken whole.
        size: (height, width) in pixels.
        first_frames: "real" goes on from the clip's first L frames, which are not part of the result. "zeros" starts
            from nothing; so does a stretch that would have no frame left after the real ones.
        scales: as in :meth:`Vid2VidGenerator.begin`.
        teacher: gives the clip's flow where none is cached.
        autocast: what every step runs in.

    Raises:
        ModelError: the generator takes a given flow, and there is none; or the size does not fit it.
        DatasetError, VideoError: the clip cannot be read.
    """
    clip = read_window(source, Window(0, 0, min(frames, source.length)), size, task)
    clip = replace(clip, flow=_flow(clip, teacher, network.device))
    if network.takes_flow and clip.flow is None and clip.length > 1:
        raise ModelError(
            f"this generator warps by a given flow, and the clip '{source.name}' has none cached; "
            "give a flow teacher, or run prepare with one"
        )
    first = network.history if first_frames == "real" and clip.length > network.history else 0
    seen = stretch(clip, 0, max(first, 1)).to(network.device)
    memory = network.begin(encode_clip(task, seen)[0], learned(task, seen) if first else None, scales)
    generated = []
    for t in range(first, clip.length):
        features, where = encode_clip(task, stretch(clip, t, t + 1).to(network.device))
        foreground = where[:, 0] if where is not None and network.has_foreground else None
        flow = _flow_to_the_past(clip, t).to(network.device) if network.takes_flow else None
        with autocast():
            frame, memory = network.step(memory, features[:, 0], foreground, flow)
        generated.append(frame.map(lambda tensor: tensor.float().cpu()))
    return Rollout(Frame.stack(generated), stretch(clip, first, clip.length))


def _flow(clip: Clip, teacher: FlowTeacher | None, device: torch.device) -> Tensor | None:
    """The cached flow of a batch of one, or else the teacher's, or None."""
    if clip.flow is not None or teacher is None or clip.length < 2:
        return clip.flow
    pairs = zip(clip.frames[0, :-1].split(PAIRS), clip.frames[0, 1:].split(PAIRS), strict=True)
    return torch.cat([teacher.flow(before.to(device), now.to(device)).cpu() for before, now in pairs])[None]


def _flow_to_the_past(clip: Clip, t: int) -> Tensor:
    """The flow of frame t to the one before, (1, 2, H, W): zero for frame 0, which has none before it."""
    if t == 0 or clip.flow is None:
        return torch.zeros_like(clip.frames[:, 0, :2])
    return clip.flow[:, t - 1]

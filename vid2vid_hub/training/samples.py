"""Sample videos of a training: what the generator sees, makes and should have made, side by side under captions."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vid2vid_hub.data.clips import ClipSource
from vid2vid_hub.data.encode import VideoWriter
from vid2vid_hub.nn.frozen import FlowTeacher
from vid2vid_hub.ops.wheel import flow_colours
from vid2vid_hub.tasks import Task
from vid2vid_hub.training.networks import Generator
from vid2vid_hub.training.rollout import Autocast, Beginning, roll_out
from vid2vid_hub.types import Condition, Frame

Picture = NDArray[np.uint8]

WIDEST = 2048
"""Pixels; a row that would be wider becomes two."""
NARROWEST = 128
"""Pixels; narrower panels are enlarged by a whole factor, or the longest caption would not fit."""
GAP = 4
"""Pixels between panels."""
DARK, GREY, LIGHT = 24, 128, 235
"""Grey values of what is around the panels, of a panel with nothing to show, and of letters."""


class Sample(NamedTuple):
    """What a sample video shows of one clip, T frames that were generated.

    Attributes:
        preview: uint8 (T, 3, H, W), the condition as a person sees it.
        rollout: tensors of (1, T, ...).
        real: float (T, 3, H, W) in [-1, 1].
    """

    preview: Tensor
    rollout: Frame
    real: Tensor


def sample_rollout(
    network: Generator,
    task: Task,
    clip: ClipSource,
    frames: int,
    size: tuple[int, int],
    *,
    first_frames: Beginning = "zeros",
    scales: int | None = None,
    teacher: FlowTeacher | None = None,
    autocast: Autocast = nullcontext,
) -> Sample:
    """Generate what :func:`write_sample` shows. Arguments and errors are those of :func:`roll_out`."""
    generated, shown = roll_out(
        network,
        task,
        clip,
        frames,
        size,
        first_frames=first_frames,
        scales=scales,
        # Only a generator that is given its flow needs one here, and a teacher takes its time.
        teacher=teacher if network.takes_flow else None,
        autocast=autocast,
    )
    if task.frame_classes is not None:
        generated = replace(
            generated,
            image=_painted(task, generated.image),
            hallucinated=_painted(task, generated.hallucinated),
            warped=None if generated.warped is None else _painted(task, generated.warped),
        )
    return Sample(task.preview(shown.condition), generated, shown.frames[0])


def _painted(task: Task, frames: Tensor) -> Tensor:
    """Label maps as people see them: (1, T, K, H, W), what is said of K classes, to (1, T, 3, H, W) in [-1, 1]."""
    labels = frames[0].argmax(1, keepdim=True).to(torch.uint8)
    return task.preview(Condition(labels)).float().div(127.5).sub(1)[None]


def write_sample(path: Path, preview: Tensor, rollout: Frame | Sequence[Frame], real: Tensor, fps: float) -> None:
    """Write condition, generated, warped, hallucinated, mask, flow and real frames beside each other.

    The mask is white where the generator hallucinates, black where it keeps the warped past. Flow is painted with the
    wheel of :func:`flow_colours`, its longest in the whole video fully saturated. What a generator does not have
    (warped, mask and flow without a flow branch) is a grey panel that says so: every video of a size has the same
    layout, so two runs can be watched side by side. The file takes its name once it is whole; an older one stays until
    then.

    Args:
        path: an .mp4, .mkv or .mov file in a folder that exists.
        preview: uint8 (T, 3, H, W).
        rollout: tensors of (1, T, ...), or T frames of (1, ...).
        real: float (T, 3, H, W) in [-1, 1].
        fps: frames a second.

    Raises:
        ValueError: the parts are not equally long.
        VideoError: the file cannot be written.
    """
    columns = _columns(preview, rollout if isinstance(rollout, Frame) else Frame.stack(list(rollout)), real)
    lengths = {name: len(pictures) for name, pictures in columns.items() if pictures is not None}
    if len(set(lengths.values())) > 1:
        raise ValueError(f"a sample shows as many frames in every column, not {lengths}")
    height, width = real.shape[-2:]
    factor = -(-NARROWEST // width)
    sheet = _Sheet(tuple(columns), height * factor, width * factor)
    nothing = sheet.nothing()
    with VideoWriter(path, fps) as writer:
        for t in range(len(real)):
            panels = [nothing if column is None else _enlarged(column[t], factor) for column in columns.values()]
            writer.write(sheet.lay(panels))


def _columns(preview: Tensor, rollout: Frame, real: Tensor) -> dict[str, Tensor | None]:
    """Caption -> uint8 (T, 3, H, W) on the CPU, in the order in which they are shown; None for what is not there."""
    whole = rollout.map(lambda tensor: tensor[0].detach().float().cpu())
    return {
        "condition": preview.cpu(),
        "generated": _visible(whole.image),
        "warped": None if whole.warped is None else _visible(whole.warped),
        "hallucinated": _visible(whole.hallucinated),
        "mask": None if whole.mask is None else _visible(whole.mask * 2 - 1).expand(-1, 3, -1, -1),
        "flow": None if whole.flow is None else flow_colours(whole.flow),
        "real": _visible(real.cpu()),
    }


def _visible(pictures: Tensor) -> Tensor:
    """Floats in [-1, 1] to uint8."""
    return pictures.add(1).mul(127.5).round().clamp(0, 255).to(torch.uint8)


def _enlarged(picture: Tensor, factor: int) -> Picture:
    """uint8 (3, H, W) to (H, W, 3), every pixel a square of ``factor`` by ``factor``."""
    pixels = picture.permute(1, 2, 0).numpy()
    return pixels.repeat(factor, 0).repeat(factor, 1)


class _Sheet:
    """One or two rows of equal panels, each under its caption.

    Args:
        captions: one a panel.
        height: of a panel, in pixels.
        width: of a panel, in pixels.
    """

    def __init__(self, captions: tuple[str, ...], height: int, width: int) -> None:
        self.height, self.width, self.strip = height, width, max(24, width // 16)
        fits = len(captions) * (width + GAP) - GAP <= WIDEST
        columns = len(captions) if fits else -(-len(captions) // 2)
        rows = -(-len(captions) // columns)
        cell = self.strip + height + GAP
        self.corners = [
            (number // columns * cell + self.strip, number % columns * (width + GAP)) for number in range(len(captions))
        ]
        self.empty: Picture = np.full((rows * cell - GAP, columns * (width + GAP) - GAP, 3), DARK, np.uint8)
        for caption, (top, left) in zip(captions, self.corners, strict=True):
            self.empty[top - self.strip : top, left : left + width] = _lettering(caption, self.strip, width, DARK)

    def lay(self, panels: Sequence[Picture]) -> Picture:
        """The sheet with uint8 (H, W, 3) in the place of every panel."""
        sheet = self.empty.copy()
        for panel, (top, left) in zip(panels, self.corners, strict=True):
            sheet[top : top + self.height, left : left + self.width] = panel
        return sheet

    def nothing(self) -> Picture:
        """A panel that says that there is nothing to show."""
        return _lettering("none", self.height, self.width, GREY, lines=self.height / self.strip)


def _lettering(text: str, height: int, width: int, ground: int, lines: float = 1.0) -> Picture:
    """A picture (height, width, 3) with a word in its middle, as high as one of ``lines`` lines allows."""
    import cv2

    font, thickness = cv2.FONT_HERSHEY_SIMPLEX, max(1, round(height / lines / 24))
    (long, high), _ = cv2.getTextSize(text, font, 1.0, thickness)
    scale = 0.5 * height / lines / high
    place = round((width - long * scale) / 2), round((height + high * scale) / 2)
    picture = np.full((height, width, 3), ground, np.uint8)
    cv2.putText(picture, text, place, font, scale, (LIGHT,) * 3, thickness, cv2.LINE_AA)
    return picture

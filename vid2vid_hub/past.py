"""What a video goes on from when its future is asked for: the last frames of what was observed."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from vid2vid_hub.conditions import Conditions, find, observe
from vid2vid_hub.data.pictures import Pictures, picture_blocks
from vid2vid_hub.errors import ConditionError
from vid2vid_hub.tasks import Task
from vid2vid_hub.types import Condition, joined


@dataclass(frozen=True)
class Past:
    """The last frames that were observed; as few as the networks remember, however long the video was.

    Attributes:
        condition: of n frames, oldest first.
        frames: the same n frames as pictures, uint8 (n, 3, H, W) RGB; None where only the condition is known.
    """

    condition: Condition
    frames: Tensor | None = None


def look_back(
    task: Task,
    count: int,
    video: Pictures | None = None,
    condition: Conditions | None = None,
    frames: Pictures | None = None,
    size: tuple[int, int] | None = None,
) -> Past:
    """The last ``count`` frames of a video, or of a condition, or all of them where there are fewer.

    Args:
        task: extracts, reads and parses.
        count: how many frames matter.
        video: real frames. Give this or ``condition``.
        condition: as in :meth:`Vid2VidPipeline.stream`.
        frames: pictures of the last frames of ``condition``, such as were generated from it.
        size: (height, width) to bring everything to.

    Raises:
        VideoError, TaskError: as in :meth:`Vid2VidPipeline.stream`.
        ConditionError: there is no frame, or they are of several sizes; or both or neither of the inputs is given.
    """
    if (video is None) == (condition is None):
        raise ConditionError("give either a video to go on from, or the condition of one")
    if video is not None:
        seen = _newest(((one.condition, one.frames) for one in observe(task, video, size)), count)
        return Past(_one_size([c for c, _ in seen]), torch.cat([f for _, f in seen if f is not None]))
    seen = _newest(((one, None) for one in find(task, condition, size)), count)  # type: ignore[arg-type]
    past = Past(_one_size([c for c, _ in seen]))
    if frames is None:
        return past
    pictures = deque((one for block in picture_blocks(frames) for one in block), maxlen=len(past.condition))
    return replace(past, condition=past.condition[-len(pictures) :], frames=torch.stack([*pictures]))


def _newest(blocks: Iterable[tuple[Condition, Tensor | None]], count: int) -> deque[tuple[Condition, Tensor | None]]:
    """The last ``count`` frames, one by one."""
    kept: deque[tuple[Condition, Tensor | None]] = deque(maxlen=count)
    for condition, frames in blocks:
        for t in range(max(len(condition) - count, 0), len(condition)):
            kept.append((condition[t : t + 1], None if frames is None else frames[t : t + 1]))
    return kept


def _one_size(conditions: list[Condition]) -> Condition:
    """Conditions of one frame each as one."""
    sizes = sorted({one.size for one in conditions})
    if len(sizes) != 1:
        raise ConditionError(
            f"the last frames are of {len(sizes)} sizes, {sizes[0]} and {sizes[-1]}; all must be alike"
            if sizes
            else "nothing was observed: there are no frames to go on from"
        )
    return joined(conditions)

"""A task for released networks whose inputs are float maps: faces and poses as the released system drew them."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from vid2vid_hub.tasks import Task
from vid2vid_hub.types import Condition, Encoded


class FloatMaps(Task):
    """Float maps as the four bytes of each of their numbers, which is what a condition can carry."""

    name = "float-maps"

    def __init__(self, *, planes: int) -> None:
        self.planes = planes

    @property
    def channels(self) -> int:
        return self.planes

    @property
    def maps(self) -> int:
        return 4 * self.planes

    def config(self) -> dict[str, Any]:
        return {"planes": self.planes}

    def encode(self, condition: Condition) -> Encoded:
        count, _, height, width = condition.maps.shape
        numbers = condition.maps.view(count, self.planes, 4, height, width).movedim(2, -1).contiguous()
        return Encoded(numbers.view(torch.float32)[..., 0])


def carried(maps: np.ndarray) -> Condition:
    """float32 (T, planes, H, W) as a condition of :class:`FloatMaps`."""
    found: Tensor = torch.from_numpy(maps)[..., None].view(torch.uint8).movedim(-1, 2)
    return Condition(found.flatten(1, 2).contiguous())

"""past2future as a task: the future of a street as label maps (section 4), for a renderer that seg2street has too."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from vid2vid_future.chance import Chance
from vid2vid_hub.errors import ConditionError, TaskError
from vid2vid_hub.ops.pad import extended, padded_size
from vid2vid_hub.ops.raster import one_hot
from vid2vid_hub.types import Condition, Encoded
from vid2vid_street import SegToStreet

Learns = Literal["frames", "masks"]


class PastToFuture(SegToStreet):
    """Label maps of a street into street video, as seg2street does, and the label maps of what has not been seen yet.

    Two networks share its data: the renderer, which makes frames of label maps, and the forecaster, which makes label
    maps of label maps before them. Both are trained with this task, and ``learns`` says which.

    Args:
        learns: "frames" for the renderer and the finished pipeline, "masks" for training the forecaster.
        temperature: how far a future that is drawn at random strays from the likeliest: 1 draws by the forecaster's
            probabilities, 0 not at all.
        **settings: those of :class:`SegToStreet`.

    Raises:
        TaskError: a setting is out of its range.
    """

    name: ClassVar[str] = "past2future"
    about: ClassVar[str | None] = "A street goes on after your video ends: first as label maps, then as video."
    recipe: ClassVar[Path | None] = Path(__file__).with_name("recipe.yaml")
    extraction: ClassVar[frozenset[str]] = SegToStreet.extraction | {"learns", "temperature"}
    released: ClassVar[Mapping[int, Mapping[str, Any]]] = {}

    def __init__(self, *, learns: Learns = "frames", temperature: float = 1.0, **settings: Any) -> None:
        super().__init__(**settings)
        if learns not in ("frames", "masks"):
            raise TaskError(f"past2future learns {learns!r}; it can learn 'frames' or 'masks'")
        if isinstance(temperature, bool) or not isinstance(temperature, int | float) or not 0 <= temperature <= 10:
            raise TaskError(f"temperature is {temperature!r}; it must be between 0 and 10")
        self.learns: Learns = learns
        self.temperature = float(temperature)

    @property
    def channels(self) -> int:
        """S: that of seg2street for the renderer, two coordinates for the forecaster."""
        return 2 if self.learns == "masks" else super().channels

    @property
    def frame_classes(self) -> int | None:
        """The classes of the label set for the forecaster, whose frames are label maps; None for the renderer."""
        return len(self._set) if self.learns == "masks" else None

    def config(self) -> dict[str, Any]:
        """The settings of seg2street and the two of its own."""
        return super().config() | {"learns": self.learns, "temperature": self.temperature}

    def encode(self, condition: Condition) -> Encoded:
        """For the renderer as seg2street; for the forecaster where each pixel is: float (T, 2, H, W), see `places`.

        The forecaster is not shown the label map of the frame that it makes: it is what is to be found. Of the past
        it remembers what it made.

        Raises:
            ConditionError: as in seg2street.
        """
        if self.learns == "frames":
            return super().encode(condition)
        self._check(condition.maps)
        return Encoded(places(condition.size, condition.maps.device).expand(len(condition), -1, -1, -1))

    def target(self, frames: Tensor, condition: Condition) -> Tensor:
        """The frames themselves for the renderer; the label maps as frames of probabilities for the forecaster."""
        if self.learns == "frames":
            return frames
        self._check(condition.maps)
        return one_hot(condition.maps, len(self._set)) * 2 - 1

    @torch.inference_mode()
    def forecast(
        self, network: Any, condition: Condition, frames: int, random: torch.Generator | None = None
    ) -> Iterator[Condition]:
        """Say what the label maps of the next frames will be, one frame at a time.

        The forecaster goes on from its own probabilities, whatever is drawn from them: a draw is one of the futures
        that it holds possible, not a new past. No instances are forecast; edges are then those of the label maps.

        Args:
            network: the forecaster, a ``Vid2VidGenerator`` of probabilities.
            condition: what was observed, at least one frame; the last L of them count.
            frames: how many to forecast.
            random: draws one of the possible futures; None gives the likeliest classes.

        Raises:
            ConditionError: a label has no meaning, or there is no frame.
            TaskError: the network forecasts other classes.
        """
        classes = len(self._set)
        if network.image_channels != classes:
            raise TaskError(
                f"the forecaster makes {network.image_channels} classes; label set '{self._set.name}' has {classes}"
            )
        if not len(condition):
            raise ConditionError("nothing was observed; a forecast goes on from at least one frame")
        self._check(condition.maps)
        height, width = condition.size
        size = padded_size(condition.size, network.multiple)
        observed = extended(condition.maps[-network.history :], size).to(network.device)
        where = places(size, network.device)[None].to(network.dtype)
        seen = one_hot(observed, classes)[None].mul(2).sub(1).to(network.dtype)
        memory = network.begin(where.expand(-1, seen.shape[1], -1, -1, -1), seen)
        chance = None if random is None else Chance(classes, (height, width), random)
        for _ in range(frames):
            frame, memory = network.step(memory, where[:, 0])
            probabilities = frame.image[0, :, :height, :width].add(1).div(2)
            if chance is None:
                labels = probabilities.argmax(0, keepdim=True)
            else:
                labels = chance.draw(probabilities, self.temperature)
            yield Condition(labels.to(torch.uint8)[None])


def places(size: tuple[int, int], device: torch.device | str = "cpu") -> Tensor:
    """Where each pixel is: float (1, 2, H, W), x and y from -1 (left, top) to 1.

    On a road what is to the left moves left and what is above moves up, the faster the further out: motion is a matter
    of place, which convolutions alone cannot know.
    """
    height, width = size
    y, x = (torch.linspace(-1, 1, length, device=device) for length in (height, width))
    return torch.stack((x.expand(height, width), y[:, None].expand(height, width)))[None]

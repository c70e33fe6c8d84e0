"""The recursion of eq. 3 over a stream of conditions: the networks of a pipeline, the first frames, and the memory."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal, cast

import torch
from torch import Tensor

from vid2vid_hub.conditions import counting_from
from vid2vid_hub.data.pictures import Pictures, picture_blocks
from vid2vid_hub.errors import ConditionError, ModelError, VideoError
from vid2vid_hub.nn.appearance import AppearanceEncoder
from vid2vid_hub.nn.generator import Vid2VidGenerator
from vid2vid_hub.nn.image import Pix2PixHDGenerator
from vid2vid_hub.ops.pad import extended, padded_size
from vid2vid_hub.tasks import Task
from vid2vid_hub.types import Condition, Frame, Memory

FirstFrames = Pictures | Literal["generated", "zeros"]
"""Pictures, or where the first frames come from; a file that is called so is meant by ``./generated``.

Frames that are no pictures of 8 bits are a float tensor (n, 3, H, W) in [-1, 1]; where all of it is 0, which no picture
is, nothing was seen yet: the next frame is hallucinated.
"""
Network = Vid2VidGenerator | Pix2PixHDGenerator


@dataclass(frozen=True)
class Recursion:
    """What turns conditions into frames, one after another.

    Attributes:
        task: encodes conditions.
        network: makes the frames, on its own device and in its own precision.
        first_frame: makes the first frames, each from its own condition; None where there is no such network.
        look: the style of the video, for networks that know many: ids of parts (N, 1, H, W) to features (N, F, H, W).
    """

    task: Task
    network: Network
    first_frame: Pix2PixHDGenerator | None = None
    look: Callable[[Tensor], Tensor] | None = None

    def steps(
        self,
        conditions: Iterable[Condition],
        *,
        first_frames: FirstFrames | None = None,
        flow: Iterable[Tensor] | None = None,
        warp: bool = True,
    ) -> Iterator[Frame]:
        """See :meth:`vid2vid_hub.pipeline.Vid2VidPipeline.steps`."""
        network = self.network
        if self.task.frame_classes is not None:
            raise ModelError(
                "this pipeline makes label maps and no pictures: it was trained to be the forecaster of another one, "
                "from_pretrained(..., forecaster=...)"
            )
        given = self._given(first_frames)
        start = self.first_frame if given == "generated" else None
        multiple = max(network.multiple, 1 if start is None else start.multiple)
        device, dtype = network.device, network.dtype
        flows = self._flows(flow)
        seen: deque[tuple[Tensor, Tensor]] = deque(maxlen=network.history)
        memory: Memory | None = None
        number = 0
        size: tuple[int, int] | None = None
        for block in conditions:
            size = size or block.size
            if block.size != size:
                raise ConditionError(f"the condition is {block.size} after {size}; all frames must be alike", number)
            whole = padded(block.to(device), multiple)
            for t in range(len(block)):
                with torch.inference_mode():
                    condition = whole[t : t + 1]
                    with counting_from(number):
                        encoded = self.task.encode(condition)
                    features = encoded.features.to(dtype)
                    motion = None if flows is None else _flow(flows, number, features, size)
                    frame = self._first(given, number, condition, features, size)
                    if frame is not None:
                        seen.append((features, frame.image))
                    else:
                        if memory is None:
                            memory = self._begin(seen, features)
                        memory = memory if warp else replace(memory, started=False)
                        where = encoded.foreground if network.has_foreground else None
                        where = None if where is None else where.to(dtype)
                        look = self._look(network, number, condition, features)
                        frame, memory = network.step(memory, features, where, motion, **look)
                yield _crop(frame, *size)
                number += 1
        if number == 0:
            raise ConditionError("the condition has no frames")

    def _given(self, first_frames: FirstFrames | None) -> list[Tensor] | str:
        """Pictures as uint8 (3, H, W) or frames as float ones, or which way the video begins without any."""
        if first_frames is None:
            return "zeros" if self.first_frame is None else "generated"
        if isinstance(first_frames, str) and first_frames in ("generated", "zeros"):
            if first_frames == "generated" and self.first_frame is None:
                raise ModelError(
                    "this pipeline has no network for first frames; give pictures, or 'zeros' to do without"
                )
            return first_frames
        if isinstance(first_frames, Tensor) and first_frames.is_floating_point():
            return _checked(first_frames)
        return [image for block in picture_blocks(first_frames) for image in block]

    def _first(
        self, given: list[Tensor] | str, number: int, condition: Condition, features: Tensor, size: tuple[int, int]
    ) -> Frame | None:
        """A frame from before the recursion, padded as its condition is; None from where the generator goes on."""
        if given == "generated" and number < self.network.history:
            network = cast(Pix2PixHDGenerator, self.first_frame)
            look = self._look(network, number, condition, features)
            return network.step(network.begin(features.unsqueeze(1)), features, **look)[0]
        if isinstance(given, str) or number >= len(given):
            return None
        picture = given[number]
        if picture.shape[0] != 3 or tuple(picture.shape[1:]) != size:
            raise VideoError(
                f"first frame {number} is {tuple(picture.shape[1:])} with {picture.shape[0]} channels; "
                f"the condition asks for {size} in colour"
            )
        image = picture[None].to(features)
        image = extended(image if picture.is_floating_point() else image.div(127.5).sub(1), features.shape[-2:])
        return Frame(image, image)

    def _look(self, network: Network, number: int, condition: Condition, features: Tensor) -> dict[str, Tensor]:
        """What a network that knows many styles is told beside the features of one frame."""
        if self.look is None or not network.takes_appearance:
            return {}
        with counting_from(number):
            parts = self.task.picture_parts(condition)
        return {"appearance": self.look(parts).to(features)}

    def _begin(self, seen: Sequence[tuple[Tensor, Tensor]], features: Tensor) -> Memory:
        if not seen:
            return self.network.begin(features.unsqueeze(1))
        conditions, images = (torch.stack(column, 1) for column in zip(*seen, strict=True))
        return self.network.begin(conditions, images if images.any() else None)

    def _flows(self, flow: Iterable[Tensor] | None) -> Iterator[Tensor] | None:
        takes_flow = self.network.takes_flow
        if takes_flow and flow is None:
            raise ModelError("this generator needs a flow to warp by: give flow, a float (2, H, W) for every frame")
        if not takes_flow and flow is not None:
            raise ModelError("this generator takes no flow: leave flow out")
        return None if flow is None else iter(flow)


def _checked(frames: Tensor) -> list[Tensor]:
    """Frames as a network makes them, one by one."""
    shape = tuple(frames.shape)
    if len(shape) != 4 or shape[1] != 3 or 0 in shape or not (frames.abs() <= 1).all():
        raise VideoError(
            f"first frames are {frames.dtype} {shape}; expected uint8 pictures, or float (n, 3, H, W) from -1 to 1"
        )
    return list(frames)


def _flow(flows: Iterator[Tensor], number: int, features: Tensor, size: tuple[int, int]) -> Tensor:
    """The flow of the next frame, (1, 2, H, W), padded as its condition is; zero for frame 0: nothing is before it."""
    height, width = features.shape[-2:]
    try:
        flow = next(flows)
    except StopIteration:
        raise ModelError(f"the flow ended early, at frame {number}; give one for every frame") from None
    if number == 0:
        return features.new_zeros(1, 2, height, width)
    if not isinstance(flow, Tensor) or not flow.is_floating_point() or tuple(flow.shape) != (2, *size):
        found = f"{flow.dtype} {tuple(flow.shape)}" if isinstance(flow, Tensor) else type(flow).__name__
        raise ModelError(f"the flow of frame {number} is {found}; the condition asks for float {(2, *size)} in pixels")
    return extended(flow[None].to(features), (height, width))


def check_styles(name: str, network: Network, appearance: AppearanceEncoder | None) -> None:
    """A network of many styles and what knows them must speak of as many features.

    Raises:
        ModelError: they do not, or the latter is missing.
    """
    if not network.takes_appearance:
        return
    reads, given = network.config.appearance_channels, None if appearance is None else appearance.config.channels
    if given is None:
        raise ModelError(
            f"the {name} reads {reads} features of appearance and this pipeline has nothing that knows them; "
            "give an AppearanceEncoder as appearance"
        )
    if given != reads:
        raise ModelError(f"the {name} reads {reads} features of appearance, and appearance gives {given}")


def padded(condition: Condition, multiple: int) -> Condition:
    """A condition whose sides are multiples of ``multiple``, and at least twice it; see :mod:`vid2vid_hub.ops.pad`."""
    target = padded_size(condition.size, multiple)
    if target == condition.size:
        return condition
    maps, instances, points = condition.maps, condition.instances, condition.points
    return Condition(extended(maps, target), None if instances is None else extended(instances, target), points)


def _crop(frame: Frame, height: int, width: int) -> Frame:
    return frame.map(lambda tensor: tensor[..., :height, :width])

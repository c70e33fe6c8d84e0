"""Vid2VidPipeline: a task and its generator as one folder or Hub repo, and the way of a video through them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sized
from dataclasses import dataclass
from itertools import islice
from typing import Any, Literal, cast

import diffusers
import numpy as np
import torch
from diffusers.utils import BaseOutput
from PIL import Image
from torch import Tensor

from vid2vid_hub.conditions import Conditions, find, observe
from vid2vid_hub.data.pictures import Pictures
from vid2vid_hub.errors import ConditionError, ModelError, TaskError
from vid2vid_hub.folder import MAX_SIDE
from vid2vid_hub.nn.appearance import AppearanceEncoder
from vid2vid_hub.nn.generator import Vid2VidGenerator
from vid2vid_hub.nn.image import Pix2PixHDGenerator
from vid2vid_hub.nn.model import check_number
from vid2vid_hub.ops.pad import extended
from vid2vid_hub.past import Past, look_back
from vid2vid_hub.recursion import FirstFrames, Network, Recursion, check_styles, padded
from vid2vid_hub.saved import SavedPipeline
from vid2vid_hub.tasks import Task, get_task
from vid2vid_hub.types import Condition, Frame

MAX_FUTURE = 1_000_000

OutputType = Literal["np", "pt", "pil"]


@dataclass
class Vid2VidPipelineOutput(BaseOutput):
    """What a call returns.

    Attributes:
        frames: uint8 (T, H, W, 3) RGB as "np", uint8 (T, 3, H, W) as "pt", or a list of T images as "pil".
    """

    frames: np.ndarray[Any, np.dtype[np.uint8]] | Tensor | list[Image.Image]


class Vid2VidPipeline(SavedPipeline):
    """Turns one video into another: a condition extractor, the sequential generator F, and what makes first frames.

    Args:
        generator: F; or a generator of single images, which makes every frame alone.
        task: a task, or its registered name.
        task_config: settings of a task given by name.
        size: (height, width) that the generator was trained at; kept as ``height`` and ``width`` in the config.
        height: as ``size``, when loaded from a folder.
        width: as ``size``, when loaded from a folder.
        first_frame: makes the first frames, each from its own condition; None where F starts from nothing.
        forecaster: makes the conditions of frames to come from those before them; None for the task's own, if it has
            one in its ``parts``.
        appearance: knows the styles of networks with ``appearance_channels``, which need it.

    Raises:
        TaskError: no installed package provides the task.
        ModelError: task and networks do not fit each other.
    """

    model_cpu_offload_seq = "forecaster->appearance->first_frame->generator"
    _optional_components = ["first_frame", "forecaster", "appearance"]  # noqa: RUF012  (diffusers reads it as it is)

    def __init__(
        self,
        generator: Vid2VidGenerator | Pix2PixHDGenerator,
        task: Any = None,
        task_config: dict[str, Any] | None = None,
        height: int | None = None,
        width: int | None = None,
        size: tuple[int, int] | None = None,
        first_frame: Pix2PixHDGenerator | None = None,
        forecaster: Vid2VidGenerator | None = None,
        appearance: AppearanceEncoder | None = None,
    ) -> None:
        super().__init__()
        if task is None:
            raise ModelError("a pipeline needs a task; give a Task or the name of an installed one")
        self.task = task if isinstance(task, Task) else get_task(task, task_config)
        for name, network in {"generator": generator, "first-frame network": first_frame}.items():
            if network is not None and self.task.channels != network.config.condition_channels:
                raise ModelError(
                    f"task '{self.task.name}' encodes {self.task.channels} channels, "
                    f"the {name} reads {network.config.condition_channels}"
                )
            if network is not None:
                check_styles(name, network, appearance)
        parts = self.task.parts()
        if unknown := parts.keys() - {"forecaster"}:
            raise ModelError(f"a pipeline has no place for the part '{min(unknown)}' of task '{self.task.name}'")
        forecaster = cast(Vid2VidGenerator | None, parts.get("forecaster")) if forecaster is None else forecaster
        if forecaster is not None and forecaster.config.frames != "probabilities":
            raise ModelError("this forecaster makes pictures; it must be a generator whose frames are 'probabilities'")
        height, width = size or (height, width)
        for name, side in {"height": height, "width": width}.items():
            if side is not None:
                check_number(name, side, 1, MAX_SIDE)
        if forecaster is not None:
            self.task.adopt({"forecaster": forecaster})
        self.register_modules(
            generator=generator, first_frame=first_frame, forecaster=forecaster, appearance=appearance
        )
        self.register_to_config(task=self.task.name, task_config=self.task.config(), height=height, width=width)

    @property
    def size(self) -> tuple[int, int] | None:
        """(height, width) that the generator was trained at, if the folder says so. Any other size works too."""
        height, width = self.config.height, self.config.width
        return None if height is None or width is None else (height, width)

    def __call__(
        self,
        video: Pictures | None = None,
        *,
        condition: Conditions | None = None,
        first_frames: FirstFrames | None = None,
        flow: Iterable[Tensor] | None = None,
        generator: torch.Generator | None = None,
        style: int | None = None,
        output_type: OutputType = "np",
        size: tuple[int, int] | None = None,
        warp: bool = True,
        future: int | None = None,
    ) -> Vid2VidPipelineOutput:
        """Generate a whole video; see :meth:`stream` for the arguments and for videos of any length."""
        frames = self.stream(
            video,
            condition=condition,
            first_frames=first_frames,
            flow=flow,
            generator=generator,
            style=style,
            output_type=output_type,
            size=size,
            warp=warp,
            future=future,
        )
        total = _length(condition if condition is not None else video) if future is None else future
        # Without a total diffusers wants something to iterate over; the bar then counts without an end.
        with self.progress_bar(iter(()) if total is None else None, total) as bar:
            collected = []
            for frame in frames:
                collected.append(frame)
                bar.update()
        if output_type == "np":
            return Vid2VidPipelineOutput(frames=np.stack(collected))
        if output_type == "pt":
            return Vid2VidPipelineOutput(frames=torch.stack(collected))
        return Vid2VidPipelineOutput(frames=collected)

    def stream(
        self,
        video: Pictures | None = None,
        *,
        condition: Conditions | None = None,
        first_frames: FirstFrames | None = None,
        flow: Iterable[Tensor] | None = None,
        generator: torch.Generator | None = None,
        style: int | None = None,
        output_type: OutputType = "np",
        size: tuple[int, int] | None = None,
        warp: bool = True,
        future: int | None = None,
    ) -> Iterator[Any]:
        """Generate frame by frame, in constant memory: one frame out for every frame in, at the same size and place.

        Or go on: with ``future`` the input is what was observed, and only the frames that come after it are made. The
        task forecasts their conditions from those of the last observed frames. The generator goes on from the real
        frames of a ``video``; after a ``condition`` from pictures of its last frames, if ``first_frames`` gives them.

        Args:
            video: real frames, whose condition the task extracts. Give this or ``condition``.
            condition: the condition itself: a :class:`Condition`, an iterator of them, or pictures to parse.
            first_frames: what the video goes on from. Pictures come out as they are. "generated": the first-frame
                network makes the first L frames, each from its own condition. "zeros": the generator starts from
                nothing. None is "generated" where the pipeline has such a network, and "zeros" where it has none.
            flow: float (2, H, W) for every frame, in pixels of the condition's size, back to the frame before; that of
                frame 0 is not looked at. For generators that take a given flow, and for no others.
            generator: source of randomness for what is drawn: a style where none is given, or one of several futures;
                without it the first style and the likeliest future. The networks themselves draw nothing.
            style: which of the recorded looks the parts of the picture have, counted from 0, through the whole video;
                for pipelines with an ``appearance``, and for no others.
            output_type: "np" yields uint8 (H, W, 3), "pt" uint8 (3, H, W), "pil" images.
            size: (height, width) to bring the condition to, by nearest pixels; None keeps its own.
            warp: False hallucinates every frame instead of warping the past.
            future: how many frames to go on for, at least 1; None generates what the input shows.

        Raises:
            VideoError, ConditionError: the input cannot be read, or means nothing in this task; names the frame.
            TaskError: the task cannot extract its condition here, or cannot look ahead.
            ModelError: the pipeline lacks what it takes to make the first frames or to forecast; a flow is missing,
                ends early, is of another size, or is not asked for; there is no such style.
        """
        if output_type not in ("np", "pt", "pil"):
            raise ValueError(f"output_type is '{output_type}'; it must be 'np', 'pt' or 'pil'")
        if future is None:
            conditions, observed = self.conditions(video, condition=condition, size=size), 0
        else:
            past = self.past(video, condition=condition, first_frames=first_frames, size=size)
            conditions, observed = self.ahead(past, future, generator), len(past.condition)
            first_frames = first_frames if isinstance(first_frames, str) and past.frames is None else past.frames
        frames = self.steps(
            conditions, first_frames=first_frames, flow=flow, warp=warp, style=style, generator=generator
        )
        for frame in islice(frames, observed, None):
            picture = _to_uint8(frame.image[0])
            if output_type == "pt":
                yield picture
            else:
                array = picture.permute(1, 2, 0).contiguous().numpy()
                yield array if output_type == "np" else Image.fromarray(array)

    def conditions(
        self,
        video: Pictures | None = None,
        *,
        condition: Conditions | None = None,
        size: tuple[int, int] | None = None,
    ) -> Iterator[Condition]:
        """What the video is generated from, a few frames at a time: extracted, parsed, or handed through.

        Raises:
            VideoError, ConditionError, TaskError: see :meth:`stream`.
        """
        if (video is None) == (condition is None):
            raise ConditionError("give either a video to extract the condition from, or a condition")
        if video is not None:
            return (seen.condition for seen in observe(self.task, video, size))
        return find(self.task, cast(Conditions, condition), size)

    @property
    def observed(self) -> int:
        """How many of the last frames matter to what comes after them: as many as the networks remember.

        Raises:
            ModelError: the pipeline has no forecaster.
        """
        return max(self._forecaster().history, cast(Network, self.generator).history)

    def nearest_style(self, picture: Pictures) -> int:
        """The recorded style that looks most like a real picture, for ``style``; of a video the first frame counts.

        Raises:
            VideoError, ConditionError, TaskError: as in :meth:`stream`.
            ModelError: the pipeline has no ``appearance``, or one whose styles are not of whole pictures.
        """
        if self.appearance is None:
            raise ModelError("this pipeline knows one style: there is none to look for")
        network = cast(AppearanceEncoder, self.appearance)
        seen = next(observe(self.task, picture))
        condition = padded(seen.condition[:1], network.multiple).to(network.device)
        with torch.inference_mode():
            image = extended(seen.frames[:1].to(network.device, network.dtype).div(127.5).sub(1), condition.size)
            return network.nearest(image, self.task.picture_parts(condition))[0]

    def past(
        self,
        video: Pictures | None = None,
        *,
        condition: Conditions | None = None,
        first_frames: FirstFrames | None = None,
        size: tuple[int, int] | None = None,
    ) -> Past:
        """What :meth:`stream` goes on from with ``future``: as many of the last frames as the networks remember.

        Raises:
            VideoError, ConditionError, TaskError: see :meth:`stream`.
            ModelError: the pipeline has no forecaster.
        """
        pictures = None if isinstance(first_frames, str) and first_frames in ("generated", "zeros") else first_frames
        return look_back(self.task, self.observed, video, condition, pictures, size)

    def ahead(self, past: Past, future: int, generator: torch.Generator | None = None) -> Iterator[Condition]:
        """The conditions of a past and of what comes after it, for :meth:`steps` with the past's frames.

        Args:
            past: from :meth:`past`.
            future: how many frames to forecast, at least 1.
            generator: draws one of the possible futures; None gives the likeliest.

        Raises:
            TaskError, ConditionError: the task cannot look ahead, or not from here.
            ModelError: the pipeline has no forecaster, or is asked for no frames.
        """
        check_number("future", future, 1, MAX_FUTURE)
        yield past.condition
        yield from self.task.forecast(self._forecaster(), past.condition, future, generator)

    def _forecaster(self) -> Vid2VidGenerator:
        if self.forecaster is None:
            raise ModelError(
                "this pipeline has no forecaster; load it with one, from_pretrained(..., forecaster=...), "
                "or give the condition of every frame"
            )
        return cast(Vid2VidGenerator, self.forecaster)

    def adapt(self, **settings: Any) -> None:
        """Change how the task extracts: which model looks, where its weights are, to whom motion is fitted.

        Args:
            **settings: of the task, and only such as extraction alone reads (``task.extraction``).

        Raises:
            TaskError: another setting, which the networks were trained with; or a value that the task refuses.
        """
        fixed = sorted(settings.keys() - self.task.extraction)
        if fixed:
            free = ", ".join(sorted(self.task.extraction)) or "none"
            raise TaskError(f"'{fixed[0]}' is fixed in a trained pipeline of {self.task.name}; free to change: {free}")
        task = get_task(self.task.name, self.task.config() | settings)
        if task.channels != self.task.channels:
            raise TaskError(
                f"with these settings {task.name} encodes {task.channels} channels, not {self.task.channels}"
            )
        task.adopt(self.task.parts())
        self.task = task
        # diffusers has just put the task itself into the config, where its name belongs.
        self.register_to_config(task=task.name, task_config=task.config())

    def steps(
        self,
        conditions: Iterable[Condition],
        *,
        first_frames: FirstFrames | None = None,
        flow: Iterable[Tensor] | None = None,
        warp: bool = True,
        style: int | None = None,
        generator: torch.Generator | None = None,
    ) -> Iterator[Frame]:
        """The recursion of eq. 3 over a stream of conditions, with everything that the generator saw and made.

        Arguments and errors are those of :meth:`stream`.

        Yields:
            For every frame of the conditions a :class:`Frame` on the pipeline's device, its tensors (1, C, H, W).
        """
        network, first_frame = cast(Network, self.generator), cast(Pix2PixHDGenerator | None, self.first_frame)
        if style is not None and self.appearance is None:
            raise ModelError("this pipeline knows one style: leave style out")
        look = None if self.appearance is None else self.appearance.held(style, generator)
        return Recursion(self.task, network, first_frame, look).steps(
            conditions, first_frames=first_frames, flow=flow, warp=warp
        )


def _length(given: Any) -> int | None:
    """How many frames something to generate from has, if that can be known without reading it."""
    if not isinstance(given, Sized) or isinstance(given, str):
        return None
    if isinstance(given, list | tuple) and given and isinstance(given[0], Condition):
        return sum(len(block) for block in given)
    return len(given)


def _to_uint8(image: Tensor) -> Tensor:
    """(C, H, W) in [-1, 1] on any device to uint8 on the CPU; rounding happens before the copy."""
    return image.float().add(1).mul(127.5).round().clamp(0, 255).to(torch.uint8).cpu()


# diffusers looks a pipeline's class up by name among its own; there it finds ours from now on.
diffusers.Vid2VidPipeline = Vid2VidPipeline

"""Vid2VidPipeline: a task and its generator as one folder or Hub repo, and the way of a video through them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sized
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import chain, islice
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
import torch
from diffusers import DiffusionPipeline
from diffusers.utils import BaseOutput
from PIL import Image
from torch import Tensor

from vid2vid_hub.data.pictures import BLOCK, Pictures, picture_blocks
from vid2vid_hub.errors import ConditionError, ModelError, VideoError
from vid2vid_hub.folder import check_folder, check_index, index_from_hub
from vid2vid_hub.nn.generator import Vid2VidGenerator
from vid2vid_hub.nn.model import check_number, loading, portable
from vid2vid_hub.tasks import Task, get_task
from vid2vid_hub.types import Condition, Frame, Memory

MAX_SIDE = 8192

OutputType = Literal["np", "pt", "pil"]
Conditions = Condition | Pictures | Iterable[Condition]


@dataclass
class Vid2VidPipelineOutput(BaseOutput):
    """What a call returns.

    Attributes:
        frames: uint8 (T, H, W, 3) RGB as "np", uint8 (T, 3, H, W) as "pt", or a list of T images as "pil".
    """

    frames: np.ndarray[Any, np.dtype[np.uint8]] | Tensor | list[Image.Image]


class Vid2VidPipeline(DiffusionPipeline):
    """Turns one video into another: a condition extractor and the sequential generator F.

    Args:
        generator: F.
        task: a task, or its registered name.
        task_config: settings of a task given by name.
        size: (height, width) that the generator was trained at; kept as ``height`` and ``width`` in the config.
        height: as ``size``, when loaded from a folder.
        width: as ``size``, when loaded from a folder.

    Raises:
        TaskError: no installed package provides the task.
        ModelError: task and generator do not fit each other.
    """

    model_cpu_offload_seq = "generator"

    def __init__(
        self,
        generator: Vid2VidGenerator,
        task: Any = None,
        task_config: dict[str, Any] | None = None,
        height: int | None = None,
        width: int | None = None,
        size: tuple[int, int] | None = None,
    ) -> None:
        super().__init__()
        if task is None:
            raise ModelError("a pipeline needs a task; give a Task or the name of an installed one")
        self.task: Task = task if isinstance(task, Task) else get_task(task, task_config)
        if self.task.channels != generator.config.condition_channels:
            raise ModelError(
                f"task '{self.task.name}' encodes {self.task.channels} channels, "
                f"the generator reads {generator.config.condition_channels}"
            )
        height, width = size or (height, width)
        for name, side in {"height": height, "width": width}.items():
            if side is not None:
                check_number(name, side, 1, MAX_SIDE)
        self.register_modules(generator=generator)
        self.register_to_config(task=self.task.name, task_config=self.task.config(), height=height, width=width)

    @property
    def size(self) -> tuple[int, int] | None:
        """(height, width) that the generator was trained at, if the folder says so. Any other size works too."""
        height, width = self.config.height, self.config.width
        return None if height is None or width is None else (height, width)

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: Any, **kwargs: Any) -> Vid2VidPipeline:
        """Load a pipeline folder or a Hub repo.

        Args:
            pretrained_model_name_or_path: a folder, or "org/name" on the Hub.
            **kwargs: as in ``diffusers.DiffusionPipeline.from_pretrained``: ``dtype``, ``revision``, ``variant``,
                ``cache_dir``, ``token``, ``local_files_only``, …

        Raises:
            ModelError: the folder or repo is not there, is incomplete, or holds something else than it should.
            TaskError: its task is not installed.
        """
        if not kwargs.setdefault("use_safetensors", True):
            raise ModelError("weights are loaded from safetensors only; leave use_safetensors as it is")
        folder = Path(pretrained_model_name_or_path)
        if folder.exists() or str(pretrained_model_name_or_path).count("/") != 1:
            check_folder(folder)
        with loading(pretrained_model_name_or_path, "a vid2vid pipeline"):
            index = folder / cls.config_name
            if not folder.is_dir():
                index = index_from_hub(str(pretrained_model_name_or_path), kwargs)
            check_index(index, cls, pretrained_model_name_or_path)
            return cast(Vid2VidPipeline, super().from_pretrained(str(pretrained_model_name_or_path), **kwargs))

    def to_json_string(self) -> str:
        """``model_index.json``; see :func:`vid2vid_hub.nn.model.portable`."""
        return portable(super().to_json_string())

    def save_pretrained(self, save_directory: Any, safe_serialization: bool = True, **kwargs: Any) -> None:
        """Write the folder: ``model_index.json`` and one folder of safetensors for every network.

        Raises:
            ModelError: a pickle was asked for, or the folder cannot be written.
        """
        if not safe_serialization:
            raise ModelError("weights are saved as safetensors only; leave safe_serialization as it is")
        try:
            super().save_pretrained(save_directory, safe_serialization=True, **kwargs)
        except OSError as error:
            raise ModelError(f"the pipeline cannot be written to {save_directory}: {error}") from error

    def __call__(
        self,
        video: Pictures | None = None,
        *,
        condition: Conditions | None = None,
        first_frames: Pictures | None = None,
        generator: torch.Generator | None = None,
        output_type: OutputType = "np",
        size: tuple[int, int] | None = None,
        warp: bool = True,
    ) -> Vid2VidPipelineOutput:
        """Generate a whole video; see :meth:`stream` for the arguments and for videos of any length."""
        frames = self.stream(
            video,
            condition=condition,
            first_frames=first_frames,
            generator=generator,
            output_type=output_type,
            size=size,
            warp=warp,
        )
        total = _length(condition if condition is not None else video)
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
        first_frames: Pictures | None = None,
        generator: torch.Generator | None = None,
        output_type: OutputType = "np",
        size: tuple[int, int] | None = None,
        warp: bool = True,
    ) -> Iterator[Any]:
        """Generate frame by frame, in constant memory: one frame out for every frame in, at the same size and place.

        Args:
            video: real frames, whose condition the task extracts. Give this or ``condition``.
            condition: the condition itself: a :class:`Condition`, an iterator of them, or pictures to parse.
            first_frames: pictures of the first frames. They come out as they are, and the video goes on from them;
                without any, the generator starts from nothing.
            generator: source of randomness for tasks that draw styles; the networks themselves draw nothing.
            output_type: "np" yields uint8 (H, W, 3), "pt" uint8 (3, H, W), "pil" images.
            size: (height, width) to bring the condition to, by nearest pixels; None keeps its own.
            warp: False hallucinates every frame instead of warping the past.

        Raises:
            VideoError, ConditionError: the input cannot be read, or means nothing in this task; names the frame.
            TaskError: the task cannot extract its condition here.
        """
        if output_type not in ("np", "pt", "pil"):
            raise ValueError(f"output_type is '{output_type}'; it must be 'np', 'pt' or 'pil'")
        conditions = self.conditions(video, condition=condition, size=size)
        for frame in self.steps(conditions, first_frames=first_frames, warp=warp):
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
        found = self._extracted(video) if video is not None else self._parsed(cast(Conditions, condition))
        return found if size is None else (one.resized(size) for one in found)

    def _extracted(self, video: Pictures) -> Iterator[Condition]:
        first = 0
        for pictures in picture_blocks(video):
            if pictures.shape[1] != 3:
                raise VideoError("a video to extract from must be in colour; this one has one channel")
            with _counting_from(first):
                extracted = self.task.extract(pictures)
            yield extracted
            first += len(pictures)

    def _parsed(self, condition: Conditions) -> Iterator[Condition]:
        if isinstance(condition, Condition):
            yield from (condition[i : i + BLOCK] for i in range(0, len(condition), BLOCK))
            return
        if not isinstance(condition, str | Path | np.ndarray | Tensor | Image.Image):
            items = iter(condition)
            head = list(islice(items, 1))
            if head and isinstance(head[0], Condition):
                yield from cast(Iterator[Condition], chain(head, items))
                return
            condition = chain(head, items)
        first = 0
        for pictures in picture_blocks(cast(Pictures, condition)):
            with _counting_from(first):
                parsed = self.task.parse(pictures)
            yield parsed
            first += len(pictures)

    def steps(
        self, conditions: Iterable[Condition], *, first_frames: Pictures | None = None, warp: bool = True
    ) -> Iterator[Frame]:
        """The recursion of eq. 3 over a stream of conditions, with everything that the generator saw and made.

        Yields:
            For every frame of the conditions a :class:`Frame` on the pipeline's device, its tensors (1, C, H, W).
        """
        given = [] if first_frames is None else [image for block in picture_blocks(first_frames) for image in block]
        network = cast(Vid2VidGenerator, self.generator)
        seen: list[Tensor] = []
        memory: Memory | None = None
        number = 0
        size: tuple[int, int] | None = None
        for block in conditions:
            size = size or block.size
            if block.size != size:
                raise ConditionError(f"the condition is {block.size} after {size}; all frames must be alike", number)
            height, width = size
            padded = _pad(block.to(self.device), network.multiple)
            for t in range(len(block)):
                with torch.inference_mode():
                    with _counting_from(number):
                        encoded = self.task.encode(padded[t : t + 1])
                    features = encoded.features.to(self.dtype)
                    where = encoded.foreground.to(self.dtype) if encoded.foreground is not None else None
                    if number < len(given):
                        seen = [*seen, features][-network.config.history :]
                        frame = self._given(given[number], number, (height, width))
                    else:
                        if memory is None:
                            memory = self._begin(seen or [features], given)
                        memory = memory if warp else replace(memory, started=False)
                        frame, memory = network.step(memory, features, where if network.has_foreground else None)
                        frame = _crop(frame, height, width)
                yield frame
                number += 1
        if number == 0:
            raise ConditionError("the condition has no frames")

    def _begin(self, seen: list[Tensor], given: list[Tensor]) -> Memory:
        network = cast(Vid2VidGenerator, self.generator)
        features = torch.stack(seen, 1)
        if not given:
            return network.begin(features)
        images = torch.stack(given[-len(seen) :]).to(self.device, self.dtype).div(127.5).sub(1)[None]
        rows, columns = (_clamped(images.shape[i], features.shape[i], self.device) for i in (-2, -1))
        return network.begin(features, images[..., rows, :][..., columns])

    def _given(self, picture: Tensor, number: int, size: tuple[int, int]) -> Frame:
        if picture.shape[0] != 3 or tuple(picture.shape[1:]) != size:
            raise VideoError(
                f"first frame {number} is {tuple(picture.shape[1:])} with {picture.shape[0]} channels; "
                f"the condition asks for {size} in colour"
            )
        image = picture[None].to(self.device, self.dtype).div(127.5).sub(1)
        return Frame(image, image)


@contextmanager
def _counting_from(first: int) -> Iterator[None]:
    """Name frames in errors by their place in the whole video, not in the block at hand."""
    try:
        yield
    except ConditionError as error:
        raise error.moved(first) from error


def _length(given: Any) -> int | None:
    """How many frames something to generate from has, if that can be known without reading it."""
    if not isinstance(given, Sized) or isinstance(given, str):
        return None
    if isinstance(given, list | tuple) and given and isinstance(given[0], Condition):
        return sum(len(block) for block in given)
    return len(given)


def _pad(condition: Condition, multiple: int) -> Condition:
    """Repeat the last rows and columns until both sides are multiples of ``multiple``, and at least twice it."""
    height, width = condition.size
    target = [max(2 * multiple, -(-side // multiple) * multiple) for side in (height, width)]
    if target == [height, width]:
        return condition
    rows = _clamped(height, target[0], condition.maps.device)
    columns = _clamped(width, target[1], condition.maps.device)
    instances = condition.instances
    return Condition(
        condition.maps[..., rows, :][..., columns],
        None if instances is None else instances[..., rows, :][..., columns],
    )


def _clamped(length: int, target: int, device: torch.device) -> Tensor:
    return torch.arange(target, device=device).clamp(max=length - 1)


def _crop(frame: Frame, height: int, width: int) -> Frame:
    return frame.map(lambda tensor: tensor[..., :height, :width])


def _to_uint8(image: Tensor) -> Tensor:
    """(C, H, W) in [-1, 1] on any device to uint8 on the CPU; rounding happens before the copy."""
    return image.float().add(1).mul(127.5).round().clamp(0, 255).to(torch.uint8).cpu()

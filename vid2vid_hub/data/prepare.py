"""Videos and their conditions -> a dataset folder: checked frame by frame, lossless where it must be, flow cached."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from fractions import Fraction
from itertools import repeat
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from vid2vid_hub.data.clips import SPLITS, Description, PreparedClip
from vid2vid_hub.data.encode import VideoWriter
from vid2vid_hub.data.maps import write_instances, write_maps
from vid2vid_hub.data.pictures import BLOCK, picture_blocks
from vid2vid_hub.data.released import read_ids
from vid2vid_hub.data.video import FolderReader, open_video
from vid2vid_hub.errors import ConditionError, DatasetError
from vid2vid_hub.nn.frozen import FlowTeacher
from vid2vid_hub.tasks import Task
from vid2vid_hub.types import Condition

QUALITY = 10
KEY_FRAMES = 12
Report = Callable[[str, int], None]


@dataclass(frozen=True)
class HeldOut:
    """Frames for the validation split: of the video with this stem, from ``start`` to ``stop`` (None: its end)."""

    stem: str
    start: int = 0
    stop: int | None = None

    @classmethod
    def parse(cls, text: str) -> HeldOut:
        """Read "name", "name:180:" or "name:0:40".

        Raises:
            DatasetError: the text is neither.
        """
        stem, *bounds = text.split(":")
        try:
            start, stop = (int(bound) if bound else None for bound in bounds or ("", ""))
        except ValueError as error:
            raise DatasetError(f"'{text}' does not name held-out frames; write NAME, or NAME:START:STOP") from error
        return cls(stem, start or 0, stop)


@dataclass(frozen=True)
class Material:
    """One video to prepare.

    Attributes:
        video: real frames, a file or a folder of pictures.
        condition: its condition drawn as pictures, a file or a folder; None extracts it from the frames.
        instances: object ids as pictures, or None.
    """

    video: Path
    condition: Path | None = None
    instances: Path | None = None


def match(videos: Sequence[Path], conditions: Sequence[Path], instances: Sequence[Path]) -> list[Material]:
    """Pair videos with conditions and instances by their order.

    Raises:
        DatasetError: the counts differ, or two videos share a name.
    """
    for what, others in (("conditions", conditions), ("instances", instances)):
        if others and len(others) != len(videos):
            raise DatasetError(
                f"{len(videos)} videos but {len(others)} {what}; give one for each video, in the same order"
            )
    stems = [video.stem for video in videos]
    twice = sorted({stem for stem in stems if stems.count(stem) > 1})
    if twice:
        raise DatasetError(f"two videos are called '{twice[0]}'; a dataset names its clips after them")
    return [
        Material(video, conditions[i] if conditions else None, instances[i] if instances else None)
        for i, video in enumerate(videos)
    ]


def prepare(
    materials: Sequence[Material],
    output: Path,
    task: Task,
    *,
    size: tuple[int, int] | None = None,
    held_out: Sequence[HeldOut] = (),
    teacher: FlowTeacher | None = None,
    report: Report = lambda name, frames: None,
) -> Path:
    """Write a dataset folder. It appears under its name only when it is whole.

    Args:
        materials: the videos.
        output: a folder that does not exist yet, or is empty.
        task: what the conditions mean; parses or extracts them.
        size: (height, width) to resize to; None keeps each video's own.
        held_out: what goes to ``val``; the rest goes to ``train``.
        teacher: whose flow is cached; None caches none.
        report: called with a clip's name and its frames done so far.

    Raises:
        DatasetError, VideoError, ConditionError: names the file, the frame and the value that is wrong.
    """
    if output.exists() and any(output.iterdir() if output.is_dir() else [output]):
        raise DatasetError(f"{output} already exists and is not empty; choose another folder or remove it")
    unknown = sorted({h.stem for h in held_out} - {m.video.stem for m in materials})
    if unknown:
        raise DatasetError(f"held-out frames are of '{unknown[0]}', and no video is called so")
    target = output.resolve()
    beside = target.with_name(f".{target.name}.part-{os.getpid()}")
    shutil.rmtree(beside, ignore_errors=True)
    try:
        beside.mkdir(parents=True)
        for split in SPLITS:
            (beside / split).mkdir()
        for material in materials:
            held = [h for h in held_out if h.stem == material.video.stem]
            for clip in _prepare_one(material, beside, task, size, held, teacher, report):
                with (clip.folder / "metadata.jsonl").open("a") as file:
                    file.write(json.dumps(clip.record()) + "\n")
        description = Description(task.name, task.config(), teacher.name if teacher else None)
        (beside / "dataset.json").write_text(json.dumps(asdict(description), indent=1))
        if target.is_dir():
            target.rmdir()
        beside.replace(target)
    except (OSError, SafetensorError) as error:
        raise DatasetError(f"the dataset cannot be written to {output}: {error}") from error
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return output


@dataclass(frozen=True)
class _Piece:
    """Frames ``start`` to ``stop`` of a video, all of one split."""

    split: str
    start: int
    stop: int


def _pieces(length: int, held: Sequence[HeldOut], video: Path) -> list[_Piece]:
    """Cut a video where it changes between training and validation."""
    is_held = [False] * length
    for span in held:
        stop = length if span.stop is None else span.stop
        if not 0 <= span.start < stop <= length:
            raise DatasetError(f"{video} has {length} frames; {span.start} to {stop} cannot be held out of them")
        is_held[span.start : stop] = [True] * (stop - span.start)
    pieces: list[_Piece] = []
    for t, one in enumerate(is_held):
        split = SPLITS[int(one)]
        if pieces and pieces[-1].split == split:
            pieces[-1] = replace(pieces[-1], stop=t + 1)
        else:
            pieces.append(_Piece(split, t, t + 1))
    return pieces


def _prepare_one(
    material: Material,
    root: Path,
    task: Task,
    size: tuple[int, int] | None,
    held: Sequence[HeldOut],
    teacher: FlowTeacher | None,
    report: Report,
) -> Iterator[PreparedClip]:
    video = material.video
    with open_video(video) as reader:
        length, fps = len(reader), reader.fps
    _check_counts(material, length)
    pieces = _pieces(length, held, video)
    for piece in pieces:
        name = video.stem if len(pieces) == 1 else f"{video.stem}-{piece.start:05d}"
        if (root / piece.split / f"{name}.mp4").exists():
            raise DatasetError(f"two clips would be called '{name}'; rename {video}")
        frames, maps, ids = _read_piece(material, task, piece, size, lambda n, name=name: report(name, n))  # type: ignore[misc]
        clip = PreparedClip(
            folder=root / piece.split,
            name=name,
            length=len(frames),
            size=(frames.shape[2], frames.shape[3]),
            fps=fps,
            maps=maps.shape[1],
            frames_file_name=f"{name}.mp4",
            condition_file_name=f"{name}.condition.mkv",
            instances_file_name=None if ids is None else f"{name}.instances.mkv",
            flow_file_name=None if teacher is None or len(frames) < 2 else f"{name}.flow.safetensors",
        )
        _write(clip, frames, maps, ids, fps)
        if teacher is not None and clip.flow_file_name is not None:
            save_file({"flow": _flow(frames, teacher)}, clip.folder / clip.flow_file_name)
        yield clip


def _check_counts(material: Material, length: int) -> None:
    for what, path in (("conditions", material.condition), ("instances", material.instances)):
        if path is None:
            continue
        with closing(open_video(path)) as reader:
            found = len(reader)
        if found != length:
            raise DatasetError(f"{material.video} has {length} frames, but its {what} {path} have {found}")


def _read_piece(
    material: Material, task: Task, piece: _Piece, size: tuple[int, int] | None, report: Callable[[int], None]
) -> tuple[Tensor, Tensor, Tensor | None]:
    """All frames, maps and ids of a piece, resized: uint8 (T, 3, H, W), uint8 (T, C, H, W), int32 (T, 1, H, W)."""
    frames, maps, ids = [], [], []
    done = 0
    for real, condition in _side_by_side(material, task, piece):
        own = real.shape[2], real.shape[3]
        frames.append(_resized_frames(real, size or own))
        maps.append(_nearest(condition.maps, size or own))
        if condition.instances is not None:
            ids.append(_nearest(condition.instances.double(), size or own).to(torch.int32))
        done += len(real)
        report(done)
    return torch.cat(frames), torch.cat(maps), torch.cat(ids) if ids else None


def _side_by_side(material: Material, task: Task, piece: _Piece) -> Iterator[tuple[Tensor, Condition]]:
    source = material.condition or material.video
    reals = picture_blocks(_span(material.video, piece))
    drawn = picture_blocks(_span(material.condition, piece)) if material.condition else repeat(None)
    numbers = _ids(material.instances, piece) if material.instances else repeat(None)
    first = piece.start
    for real, pictures, ids in zip(reals, drawn, numbers, strict=False):
        if real.shape[1] != 3:
            raise DatasetError(f"{material.video} has one channel; the real frames must be in colour")
        try:
            condition = task.extract(real) if pictures is None else task.parse(pictures)
        except ConditionError as error:
            raise ConditionError(f"{source}, {error.moved(first)}") from error
        own = real.shape[2], real.shape[3]
        for path, found in ((source, condition.size), (material.instances, own if ids is None else ids.shape[2:])):
            if tuple(found) != own:
                raise DatasetError(
                    f"{path}, frame {first}, is {_wxh(found)}, but its video {material.video} is {_wxh(own)}"
                )
        yield real, condition if ids is None else Condition(condition.maps, ids)
        first += len(real)


def _ids(path: Path, piece: _Piece) -> Iterator[Tensor]:
    """Blocks of instance ids, int32 (n, 1, H, W), with all the bits that pictures of a folder have."""
    if not path.is_dir():
        for block in picture_blocks(_span(path, piece)):
            if block.shape[1] != 1:
                raise DatasetError(f"{path} is in colour, where instance ids in one lossless channel were expected")
            yield block.to(torch.int32)
        return
    files = FolderReader(path).files[piece.start : piece.stop]
    size = read_ids(files[0]).shape
    for first in range(0, len(files), BLOCK):
        pictures = [read_ids(file) for file in files[first : first + BLOCK]]
        for file, ids in zip(files[first:], pictures, strict=False):
            if ids.shape != size:
                raise DatasetError(f"{file} is {_wxh(ids.shape)}, but {files[0]} is {_wxh(size)}; save all alike")
        yield torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2)


def _span(path: Path, piece: _Piece) -> Iterator[Any]:
    with open_video(path) as reader:
        yield from reader.frames(piece.start, piece.stop)


def _write(clip: PreparedClip, frames: Tensor, maps: Tensor, ids: Tensor | None, fps: Fraction) -> None:
    with VideoWriter(clip.folder / clip.frames_file_name, fps, crf=QUALITY, gop=KEY_FRAMES) as writer:
        for frame in frames:
            writer.write(frame.permute(1, 2, 0).contiguous().numpy())
    write_maps(clip.folder / clip.condition_file_name, maps, fps)
    if ids is not None and clip.instances_file_name is not None:
        write_instances(clip.folder / clip.instances_file_name, ids, fps)


def _flow(frames: Tensor, teacher: FlowTeacher) -> Tensor:
    """Backward flow between all neighbours, in half precision: (T-1, 2, H, W), pixels."""
    pairs = []
    for t in range(1, len(frames)):
        previous, current = (x[None].float().div(127.5).sub(1) for x in (frames[t - 1], frames[t]))
        pairs.append(teacher.flow(previous, current).half())
    return torch.cat(pairs).contiguous()


def _resized_frames(frames: Tensor, size: tuple[int, int]) -> Tensor:
    if tuple(frames.shape[2:]) == size:
        return frames
    smooth = F.interpolate(frames.float(), size, mode="bicubic", antialias=True)
    return smooth.round().clamp(0, 255).to(torch.uint8)


def _nearest(maps: Tensor, size: tuple[int, int]) -> Tensor:
    return maps if tuple(maps.shape[2:]) == size else F.interpolate(maps, size, mode="nearest-exact")


def _wxh(size: Sequence[int]) -> str:
    return f"{size[1]}x{size[0]}"

"""One clip on its way to disk, a few frames at a time: video, lossless maps and ids, key points, and cached flow."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from vid2vid_hub.data.clips import PreparedClip
from vid2vid_hub.data.encode import VideoWriter
from vid2vid_hub.data.maps import InstanceWriter, MapWriter
from vid2vid_hub.errors import DatasetError, VideoError
from vid2vid_hub.nn.frozen import FlowTeacher
from vid2vid_hub.types import Condition

SUFFIXES = {
    "frames_file_name": ".mp4",
    "condition_file_name": ".condition.mkv",
    "instances_file_name": ".instances.mkv",
    "flow_file_name": ".flow.safetensors",
    "points_file_name": ".points.safetensors",
}
"""The fields of :class:`~vid2vid_hub.data.clips.PreparedClip` that name files, and how their names end."""
QUALITY = 10
KEY_FRAMES = 12
_HEADER = 512


class UnwritableError(DatasetError):
    """The output cannot be written: no video is to blame, and no other one will fare better."""


@contextmanager
def writing() -> Iterator[None]:
    """Tell what goes wrong while writing from what is wrong with a video."""
    try:
        yield
    except (OSError, SafetensorError, VideoError) as error:
        raise UnwritableError(str(error)) from error


class ClipWriter:
    """Writes the files of one clip under ``stem``; leaving the `with` block well finishes them, else removes them.

    Args:
        folder: where.
        stem: what the files' names begin with.
        fps: frames a second.
        teacher: whose flow is cached; None caches none.

    Raises:
        UnwritableError: the disk is full, or the folder cannot be written to.
        DatasetError: frames differ in size.
    """

    def __init__(self, folder: Path, stem: str, fps: Fraction, teacher: FlowTeacher | None) -> None:
        self.length = 0
        self._folder, self._stem, self._fps, self._teacher = folder, stem, fps, teacher
        self._files = ExitStack()
        self._maps = 0
        self._size = (0, 0)
        self._last: Tensor | None = None
        self._points: list[Tensor] = []
        self._instances: InstanceWriter | None = None
        self._flow: _FlowFile | None = None

    def add(self, frames: Tensor, condition: Condition) -> None:
        """Write the next frames, uint8 (n, 3, H, W), and their condition."""
        if not self.length:
            self._begin(condition)
        if condition.size != self._size:
            raise DatasetError(
                f"the frames after the first {self.length} are {condition.size[1]}x{condition.size[0]}, those before "
                f"{self._size[1]}x{self._size[0]}; all frames of a shot must be of one size"
            )
        flows = list(self._flows(frames)) if self._teacher is not None else []
        with writing():
            for t in range(len(frames)):
                self._video.write(frames[t].permute(1, 2, 0).contiguous().numpy())
                self._condition.add(condition.maps[t])
                if self._instances is not None and condition.instances is not None:
                    self._instances.add(condition.instances[t])
            for flow in flows:
                self._flow = self._flow or _FlowFile(self._path("flow_file_name"))
                self._flow.add(flow)
        if condition.points is not None:
            self._points.append(condition.points.cpu())
        self.length += len(frames)

    def _begin(self, condition: Condition) -> None:
        self._size, self._maps = condition.size, condition.maps.shape[1]
        with writing():
            path = self._path("frames_file_name")
            video = VideoWriter(path, self._fps, crf=QUALITY, gop=KEY_FRAMES, repeatable=True)
            self._video = self._files.enter_context(video)
            self._condition = self._files.enter_context(MapWriter(self._path("condition_file_name"), self._fps))
            if condition.instances is not None:
                instances = InstanceWriter(self._path("instances_file_name"), self._fps)
                self._instances = self._files.enter_context(instances)

    def _flows(self, frames: Tensor) -> Iterator[Tensor]:
        """Backward flow from each frame to the one before it, (1, 2, H, W) pixels."""
        assert self._teacher is not None
        for frame in frames:
            previous, self._last = self._last, frame[None].float().div(127.5).sub(1)
            if previous is not None:
                yield self._teacher.flow(previous, self._last)

    def _path(self, field: str) -> Path:
        return self._folder / f"{self._stem}{SUFFIXES[field]}"

    def record(self) -> dict[str, Any]:
        """What is on disk, as JSON values."""
        height, width = self._size
        files = {field: self._path(field).name for field in SUFFIXES if self._path(field).is_file()}
        return {"length": self.length, "height": height, "width": width, "maps": self._maps, "files": files}

    def discard(self) -> None:
        """Remove whatever was written."""
        for suffix in SUFFIXES.values():
            (self._folder / f"{self._stem}{suffix}").unlink(missing_ok=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with writing():
            self._files.__exit__(kind, error, trace)
            if self._flow is not None:
                self._flow.close()
            if kind is None and self._points:
                save_file({"points": torch.cat(self._points).contiguous()}, self._path("points_file_name"))


def written_clip(record: Mapping[str, Any], folder: Path, name: str, fps: Fraction) -> PreparedClip:
    """A clip whose files, described by a record of :meth:`ClipWriter.record`, lie in ``folder`` under its name."""
    files = {field: f"{name}{SUFFIXES[field]}" for field in record["files"]}
    size = record["height"], record["width"]
    return PreparedClip(folder, name, record["length"], size, fps, record["maps"], **files)


class _FlowFile:
    """A safetensors file of one tensor ``flow``, float16 (T-1, 2, H, W), whose length is known only at its end."""

    def __init__(self, path: Path) -> None:
        self._file: BinaryIO = path.open("wb")
        self._file.write(bytes(8 + _HEADER))
        self._shape = [0]

    def add(self, flow: Tensor) -> None:
        """Append one flow, (1, 2, H, W)."""
        half = flow.detach().cpu().half().contiguous().numpy().astype("<f2", copy=False)
        self._shape = [self._shape[0] + 1, *half.shape[1:]]
        self._file.write(half.tobytes())

    def close(self) -> None:
        """Fill in the header that says how much there is: 8 bytes for its length, JSON, spaces."""
        count = 2
        for side in self._shape:
            count *= side
        entry: Mapping[str, object] = {"dtype": "F16", "shape": self._shape, "data_offsets": [0, count]}
        with self._file as file:
            file.seek(0)
            file.write(_HEADER.to_bytes(8, "little") + json.dumps({"flow": entry}).encode().ljust(_HEADER))

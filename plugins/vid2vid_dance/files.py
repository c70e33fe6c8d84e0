"""Poses from files: folders of OpenPose's JSON, one file a frame, and .npz with points and size."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vid2vid_dance.layout import BODY, BODY_OF_COCO_18, FACE, FACE_AT, HAND, LEFT_HAND, POINTS, RIGHT_HAND
from vid2vid_dance.people import Choice, Found, around
from vid2vid_hub.errors import ConditionError
from vid2vid_hub.types import Condition

BLOCK = 8
LARGEST = 1 << 13
"""Pixels; no picture that a file states is larger."""
COCO = 18
"""Points of OpenPose's older body model."""
_KEYS = {"hand_left_keypoints_2d": (LEFT_HAND, HAND), "hand_right_keypoints_2d": (RIGHT_HAND, HAND)}
_KEYS["face_keypoints_2d"] = (FACE_AT, FACE)
_BODY = "pose_keypoints_2d"


def is_pose(source: Path) -> bool:
    """Whether it is an .npz file, or a folder with JSON in it."""
    return source.suffix.lower() == ".npz" if source.is_file() else source.is_dir() and any(source.glob("*.json"))


def read_poses(source: Path, size: tuple[int, int] | None) -> Iterator[Condition]:
    """The poses of one person, at most eight frames at a time, with black maps.

    JSON is OpenPose's: BODY_25, or the older COCO-18, which is mapped; hands and face where they are. Of several people
    the largest is taken at first, and then whoever is where he was; nobody is nobody. Coordinates are pixels of the
    video they were found in.

    Args:
        source: for which :func:`is_pose` is true.
        size: (height, width) of that video. Files that state their own size are brought to it.

    Raises:
        ConditionError: a file is damaged or holds another layout, or the size cannot be known; names the file.
    """
    yield from _read_npz(source, size) if source.is_file() else _read_openpose(source, size)


def _read_npz(path: Path, size: tuple[int, int] | None) -> Iterator[Condition]:
    try:
        with np.load(path, allow_pickle=False) as file:
            found, own = file["points"], file.get("size", size)
    except (OSError, KeyError, ValueError, zipfile.BadZipFile) as error:
        raise ConditionError(f"{path} is no .npz with arrays 'points' and 'size' ({error}); save both") from error
    if own is None:
        raise ConditionError(f"{path} does not say how large its pictures are; give its size, (height, width)")
    if found.ndim != 3 or found.shape[1:] != (POINTS, 3) or not np.issubdtype(found.dtype, np.floating):
        raise ConditionError(
            f"{path} holds points {found.dtype} {found.shape}; pose2dance takes float (T, {POINTS}, 3): "
            "x, y and confidence of body (25), left hand, right hand (21 each) and face (70)"
        )
    pixels = _size(path, own)
    for start in range(0, len(found), BLOCK):
        block = torch.from_numpy(found[start : start + BLOCK].astype(np.float32))
        if not torch.isfinite(block).all():
            raise ConditionError(f"{path} holds points that are no numbers; give 0, 0, 0 where a point is not there")
        yield _condition(block, pixels, size)


def _read_openpose(folder: Path, size: tuple[int, int] | None) -> Iterator[Condition]:
    choose = Choice(patience=0)
    block: list[Tensor] = []
    first: tuple[int, int] | None = None
    for path in sorted(folder.glob("*.json")):
        record, own = _load(path)
        own = own or size
        if own is None:
            raise ConditionError(f"{path} does not say how large its picture is; give its size, (height, width)")
        if own != (first := first or own):
            raise ConditionError(f"{path} is of a picture {own[1]}x{own[0]}, and those before {first[1]}x{first[0]}")
        people = [Found(points, box) for points in map(_scrubbed, record) if (box := around(points)) is not None]
        person = choose(people)
        block.append(torch.zeros(POINTS, 3) if person is None else person.points)
        if len(block) == BLOCK:
            yield _condition(torch.stack(block), first, size)
            block = []
    if block and first is not None:
        yield _condition(torch.stack(block), first, size)


def _load(path: Path) -> tuple[list[Tensor], tuple[int, int] | None]:
    """Everybody in a file, and the picture's size where it is stated (as ControlNet's tools do)."""
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConditionError(f"{path} is no JSON ({error}); write it again with OpenPose's --write_json") from error
    if isinstance(record, list) and len(record) == 1:
        record = record[0]
    people = record.get("people") if isinstance(record, dict) else None
    if not isinstance(people, list) or not all(isinstance(person, dict) for person in people):
        raise ConditionError(f"{path} has no list 'people'; expected what OpenPose's --write_json writes")
    stated = [record.get(key) for key in ("canvas_height", "canvas_width")]
    own = _size(path, stated) if all(stated) else None
    return [_person(path, person) for person in people], own


def _person(path: Path, person: dict[str, Any]) -> Tensor:
    points = torch.zeros(POINTS, 3)
    body = _triples(path, person, _BODY)
    if len(body) == COCO:
        for point, sources in BODY_OF_COCO_18.items():
            chosen = body[list(sources)]
            points[point] = torch.cat([chosen[:, :2].mean(0), chosen[:, 2].amin(0, keepdim=True)])
    elif len(body) in (0, BODY):
        points[: len(body)] = body
    else:
        raise ConditionError(
            f"{path} has {len(body)} points in {_BODY}; pose2dance reads OpenPose's BODY_25 ({BODY}) and COCO ({COCO})"
        )
    for key, (start, count) in _KEYS.items():
        part = _triples(path, person, key)
        if len(part) not in (0, count):
            raise ConditionError(f"{path} has {len(part)} points in {key}; OpenPose writes {count}, or none")
        points[start : start + len(part)] = part
    return points


def _triples(path: Path, person: dict[str, Any], key: str) -> Tensor:
    values = person.get(key) or []
    try:
        numbers = torch.tensor(values, dtype=torch.float32)
        triples = numbers.reshape(-1, 3)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ConditionError(f"{path} has no x, y, confidence for each point in {key} ({error})") from error
    if numbers.ndim != 1 or not torch.isfinite(triples).all():
        raise ConditionError(f"{path} has something else than numbers in {key}; expected x, y, confidence, x, y, …")
    return triples


def _scrubbed(points: Tensor) -> Tensor:
    """Confidences in [0, 1], and 0, 0 for what is not there; how sure is sure enough is decided when it is drawn."""
    sure = points[:, 2:].clamp(0, 1)
    return torch.where(sure > 0, torch.cat([points[:, :2], sure], 1), 0.0)


def _condition(points: Tensor, own: tuple[int, int], size: tuple[int, int] | None) -> Condition:
    maps = torch.zeros(len(points), 3, *own, dtype=torch.uint8)
    condition = Condition(maps, points=torch.stack([_scrubbed(each) for each in points]))
    return condition if size is None else condition.resized(size)


def _size(path: Path, stated: Sequence[Any]) -> tuple[int, int]:
    try:
        height, width = (int(side) for side in stated)
    except (TypeError, ValueError) as error:
        raise ConditionError(f"{path} states the size {stated}; expected (height, width) in pixels") from error
    if min(height, width) < 1 or max(height, width) > LARGEST:
        raise ConditionError(f"{path} states the size {stated}; expected (height, width) in pixels")
    return height, width

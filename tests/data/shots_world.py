"""Drawn videos of several shots for the tests of prepare, and tasks that see them in ways that toy does not."""

import json

import numpy as np
import torch
from PIL import Image

from vid2vid_hub.data.toy import ToyShapes, ToyWorld
from vid2vid_hub.errors import ConditionError
from vid2vid_hub.types import Condition, Note, Observed

SIZE = (32, 48)


def shot(seed, length, size=SIZE):
    """Frames of one world in colours of its own, uint8 (T, 3, H, W), and its labels and ids."""
    video = ToyWorld(seed, *size, objects=3).draw(length)
    frames = video.frames.roll(seed % 3, 1)
    return (255 - frames if seed % 2 else frames), video.labels, video.instances


def film(*lengths, size=SIZE):
    """Shots one after the other: frames, labels and ids."""
    return tuple(torch.cat(kind) for kind in zip(*(shot(s, n, size) for s, n in enumerate(lengths)), strict=True))


def save(folder, tensors):
    """uint8 or int32 (T, C, H, W) as RGB or as grey pictures of 8 or 16 bits."""
    folder.mkdir(parents=True)
    for t, tensor in enumerate(tensors):
        array = tensor[0].numpy() if len(tensor) == 1 else tensor.permute(1, 2, 0).numpy()
        Image.fromarray(array.astype(np.uint16) if array.dtype == np.int32 else array).save(folder / f"{t:03}.png")
    return folder


class Watcher(ToyShapes):
    """Sees through a window that follows nobody, late, and remembers what it was shown.

    ``away`` are numbers of frames, counted over all that it sees, in which nobody is there.
    """

    def __init__(self, away=(), crowd=(), wrong=None, late=0):
        self.away, self.crowd, self.wrong, self.late = frozenset(away), frozenset(crowd), wrong, late
        self.sessions = []
        self.measured = 0

    @property
    def points(self):
        return 2

    def observe(self, blocks):
        shown, waiting = [], []
        self.sessions.append(shown)
        before = sum(map(len, self.sessions))
        for frames in blocks:
            shown += [frame.clone() for frame in frames]
            waiting += [frame[:, 4:28, 8:40] for frame in frames]
            while len(waiting) > self.late:
                yield self._seen(before, waiting.pop(0)[None])
                before += 1
        for frame in waiting:
            yield self._seen(before, frame[None])
            before += 1

    def _seen(self, number, frame):
        if number == self.wrong:
            raise ConditionError("it is upside down", number)
        points = torch.tensor([[[number, 1, 1], [2, 3, 0.5]]]).float()
        points = points * 0 if number in self.away else points
        notes = (Note(0, "2 people; the largest is taken"),) if number in self.crowd else ()
        return Observed(frame, Condition(super().extract(frame).maps, points=points), notes)

    def missing(self, condition):
        return ["nobody" if not frame[:, 2].any() else None for frame in condition.points]

    def measure(self, conditions):
        return {"furthest": max(float(c.points[..., 0].max()) for c in conditions)}


class Reader(ToyShapes):
    """Reads key points from a JSON file {"size": [height, width], "points": [T][P][3]}, three frames at a time."""

    @property
    def points(self):
        return 2

    def reads(self, source):
        return source.suffix == ".json"

    def read(self, source, size=None):
        values = json.loads(source.read_text())
        if "points" not in values:
            raise ConditionError(f"{source} has no points; give a file of key points")
        points = torch.tensor(values["points"]).float()
        for i in range(0, len(points), 3):
            some = points[i : i + 3]
            yield Condition(torch.zeros(len(some), 1, *(size or values["size"]), dtype=torch.uint8), points=some)

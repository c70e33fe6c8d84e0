"""A drawn world whose labels, objects and flow are known exactly: what the test suite and the toy pipeline live in.

Discs, boxes and triangles travel, turn and breathe over a ground that itself pans and is crossed by a winding path.
Every colour is a smooth function of coordinates that are fixed to the surface, evaluated anew in each frame, so nothing
is resampled, and the flow follows from the motions in closed form. A frame depends on the seed and its number alone.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from vid2vid_hub.errors import ConditionError, TaskError
from vid2vid_hub.ops.raster import instance_edges, one_hot
from vid2vid_hub.tasks import Labels, Task
from vid2vid_hub.types import Clip, Condition, Encoded, Observed

CLASSES = ("ground", "path", "disc", "box", "triangle")
COLOURS = ((70, 110, 70), (190, 180, 150), (200, 70, 60), (60, 90, 200), (215, 185, 45))
GROUND, PATH, DISC, BOX, TRIANGLE = range(5)
LIGHT, TEXTURE = 18, 14
"""Grey values added to a class's colour; their sum keeps colours within [0, 255] and nearest to their own class."""
SMALLEST = 16
CLOSE_UP = 8
"""Pixels; a judge of a region sees at least so much of it."""

Array = npt.NDArray[np.float64]
Point = tuple[Array, Array]


@dataclass(frozen=True)
class ToyFrame:
    """One frame of the world and how it came from the one before.

    Attributes:
        image: uint8 (3, H, W) RGB.
        labels: uint8 (1, H, W) classes, indices into ``CLASSES``.
        instances: int32 (1, H, W); the class for ground and path, 1000 * class + number for an object, as Cityscapes.
        flow: float32 (2, H, W) pixels, backward; exact also where the surface was hidden or out of the picture.
        visible: bool (1, H, W), whether the surface seen here was seen in the frame before.
    """

    image: Tensor
    labels: Tensor
    instances: Tensor
    flow: Tensor
    visible: Tensor


@dataclass(frozen=True)
class ToyVideo:
    """T frames of the world.

    Attributes:
        frames: uint8 (T, 3, H, W) RGB.
        labels: uint8 (T, 1, H, W).
        instances: int32 (T, 1, H, W).
        flow: float32 (T-1, 2, H, W) pixels, from frames 1..T-1 back to their predecessors.
        visible: bool (T-1, 1, H, W), where that flow leads to the same surface point in the predecessor.
    """

    frames: Tensor
    labels: Tensor
    instances: Tensor
    flow: Tensor
    visible: Tensor

    @property
    def condition(self) -> Condition:
        """The labels and objects as the toy task reads them."""
        return Condition(self.labels, self.instances)

    @property
    def clip(self) -> Clip:
        """The video as a training batch of one clip."""
        frames = self.frames[None].float() / 127.5 - 1
        return Clip(frames, self.labels[None], self.instances[None], self.flow[None], ("toy",))


@dataclass(frozen=True)
class _Ground:
    """The plane behind everything; its own coordinates are the picture's, moved by the pan.

    Attributes:
        velocity: (x, y) pixels per frame.
        direction: angle of the path in radians.
        side: the picture's smaller side, the unit of the path.
    """

    velocity: tuple[float, float]
    direction: float
    side: int

    def local(self, x: Array, y: Array, t: int) -> Point:
        """Coordinates on the ground of the points (x, y) of frame t."""
        return x + t * self.velocity[0], y + t * self.velocity[1]

    def global_(self, u: Array, v: Array, t: int) -> Point:
        """Where ground points are in frame t: the inverse of :meth:`local`."""
        return u - t * self.velocity[0], v - t * self.velocity[1]

    def classes(self, u: Array, v: Array) -> npt.NDArray[np.bool_]:
        """Where the path runs."""
        return np.abs(np.sin(self._across(u, v))) < 0.35

    def shade(self, u: Array, v: Array) -> tuple[Array, Array]:
        """Light in [-1, 1] that follows from where the path is, and a texture in [-1, 1] that does not."""
        return np.cos(2 * self._across(u, v)), _waves(u, v, 0)

    def _across(self, u: Array, v: Array) -> Array:
        cos, sin, unit = math.cos(self.direction), math.sin(self.direction), math.pi / max(0.8 * self.side, 24)
        return unit * (cos * u + sin * v) + 0.9 * np.sin(unit * (cos * v - sin * u))


@dataclass(frozen=True)
class _Shape:
    """An object that swings about the picture, turns and breathes; its own coordinates are pixels at rest.

    Attributes:
        label: its class.
        instance: its id.
        radius: pixels, at rest.
        centre: (x, y) pixels about which it swings.
        swing: (x, y) pixels, how far.
        rate: (x, y) radians per frame.
        phase: (x, y, angle, size) radians at frame 0.
        turn: radians per frame.
    """

    label: int
    instance: int
    radius: float
    centre: tuple[float, float]
    swing: tuple[float, float]
    rate: tuple[float, float]
    phase: tuple[float, float, float, float]
    turn: float

    def local(self, x: Array, y: Array, t: int) -> Point:
        """Coordinates on the object of the points (x, y) of frame t."""
        (cx, cy), cos, sin, scale = self._pose(t)
        dx, dy = (x - cx) / scale, (y - cy) / scale
        return cos * dx + sin * dy, cos * dy - sin * dx

    def global_(self, u: Array, v: Array, t: int) -> Point:
        """Where points of the object are in frame t: the inverse of :meth:`local`."""
        (cx, cy), cos, sin, scale = self._pose(t)
        return cx + scale * (cos * u - sin * v), cy + scale * (sin * u + cos * v)

    def inside(self, u: Array, v: Array) -> npt.NDArray[np.bool_]:
        """Which points belong to the object."""
        return self._level(u, v) < self.radius

    def shade(self, u: Array, v: Array) -> tuple[Array, Array]:
        """Light in [-1, 1] that follows from the outline, and a texture in [-1, 1] that does not."""
        return np.cos(np.pi * (u * u + v * v) / (2 * self.radius**2)), _waves(u, v, self.label)

    def _level(self, u: Array, v: Array) -> Array:
        """The radius of the smallest shape of this kind that holds the point."""
        if self.label == DISC:
            return np.hypot(u, v)
        if self.label == BOX:
            return np.maximum(np.abs(u), np.abs(v)) / 0.85
        return np.maximum(np.abs(u) * math.sqrt(3) - v, 2 * v) / 1.2

    def _pose(self, t: int) -> tuple[tuple[float, float], float, float, float]:
        cx, cy = (
            c + s * math.sin(r * t + p)
            for c, s, r, p in zip(self.centre, self.swing, self.rate, self.phase, strict=False)
        )
        angle = self.phase[2] + self.turn * t
        return (cx, cy), math.cos(angle), math.sin(angle), 1 + 0.1 * math.sin(0.1 * t + self.phase[3])


class ToyWorld:
    """An endless drawn video; asking for a frame draws it, and nothing is kept.

    Args:
        seed: what the world looks like and how it moves; the same seed is the same world.
        height: pixels, at least 16.
        width: pixels, at least 16.
        objects: how many shapes.

    Raises:
        ValueError: the picture is too small, or the number of objects is negative or over 999.
    """

    def __init__(self, seed: int, height: int = 64, width: int = 96, objects: int = 4) -> None:
        if min(height, width) < SMALLEST:
            raise ValueError(f"a toy world is at least {SMALLEST} pixels high and wide, not {height}x{width}")
        if not 0 <= objects <= 999:
            raise ValueError(f"a toy world has 0 to 999 objects, not {objects}")
        self.height, self.width = height, width
        random = np.random.default_rng(seed)
        self._ground = _some_ground(random, min(height, width))
        first = int(random.integers(3))
        self._shapes = [_some_shape(random, DISC + (first + n) % 3, n, height, width) for n in range(objects)]
        self._x, self._y = np.meshgrid(np.arange(width, dtype=np.float64), np.arange(height, dtype=np.float64))

    def frame(self, t: int) -> ToyFrame:
        """Draw frame t, with its flow to frame t-1 (which frame 0 has too)."""
        owner = self._owner(self._x, self._y, t)
        labels = np.zeros(owner.shape, np.uint8)
        instances = np.zeros(owner.shape, np.int32)
        image = np.zeros((3, *owner.shape))
        before = np.zeros((2, *owner.shape))
        for index in np.unique(owner):
            mine = owner == index
            surface = self._ground if index < 0 else self._shapes[index]
            u, v = surface.local(self._x[mine], self._y[mine], t)
            if isinstance(surface, _Shape):
                labels[mine], instances[mine] = surface.label, surface.instance
            else:
                labels[mine] = instances[mine] = np.where(surface.classes(u, v), PATH, GROUND)
            light, texture = surface.shade(u, v)
            image[:, mine] = np.array(COLOURS, np.float64).T[:, labels[mine]] + LIGHT * light + TEXTURE * texture
            before[:, mine] = surface.global_(u, v, t - 1)
        flow = before - np.stack((self._x, self._y))
        within = (before >= 0).all(0) & (before[0] <= self.width - 1) & (before[1] <= self.height - 1)
        visible = within & (self._owner(before[0], before[1], t - 1) == owner)
        return ToyFrame(
            image=torch.from_numpy(np.rint(image).astype(np.uint8)),
            labels=torch.from_numpy(labels)[None],
            instances=torch.from_numpy(instances)[None],
            flow=torch.from_numpy(flow.astype(np.float32)),
            visible=torch.from_numpy(visible)[None],
        )

    def stream(self, length: int) -> Iterator[ToyFrame]:
        """Frames 0 to length-1, one at a time and none kept."""
        return (self.frame(t) for t in range(length))

    def draw(self, length: int, start: int = 0) -> ToyVideo:
        """Frames ``start`` to ``start + length - 1`` together; ``length`` is at least 1."""
        frames = [self.frame(start + t) for t in range(length)]
        flow = [frame.flow for frame in frames[1:]]
        visible = [frame.visible for frame in frames[1:]]
        return ToyVideo(
            frames=torch.stack([frame.image for frame in frames]),
            labels=torch.stack([frame.labels for frame in frames]),
            instances=torch.stack([frame.instances for frame in frames]),
            flow=torch.stack(flow) if flow else torch.zeros(0, 2, self.height, self.width),
            visible=torch.stack(visible) if visible else torch.zeros(0, 1, self.height, self.width, dtype=torch.bool),
        )

    def _owner(self, x: Array, y: Array, t: int) -> npt.NDArray[np.intp]:
        """The index of the frontmost shape at each point of frame t, -1 for the ground; later shapes are nearer."""
        owner = np.full(x.shape, -1, np.intp)
        for index, shape in enumerate(self._shapes):
            owner[shape.inside(*shape.local(x, y, t))] = index
        return owner


class ToyShapes(Task):
    """The drawn world as a task: five classes and their edges in, a picture of shapes over a panning ground out."""

    name: ClassVar[str] = "toy"
    about: ClassVar[str | None] = "Label maps of drawn shapes become their video: a toy to try everything with."

    @property
    def channels(self) -> int:
        """S: one per class, and one for the edges."""
        return len(CLASSES) + 1

    @property
    def labels(self) -> Labels:
        """The five classes; the shapes are foreground, and any class may be exchanged."""
        return Labels(
            names=dict(enumerate(CLASSES)),
            palette=dict(enumerate(COLOURS)),
            foreground=frozenset((DISC, BOX, TRIANGLE)),
            editable=frozenset(range(len(CLASSES))),
        )

    def encode(self, condition: Condition) -> Encoded:
        """One-hot classes, then the edges: float (T, 6, H, W); the foreground is the shapes, (T, 1, H, W).

        Edges are those of the instances, or of the labels where a condition carries none.

        Raises:
            ConditionError: not one map per frame, or a value that is no class.
        """
        self._check(condition.maps)
        classes = one_hot(condition.maps, len(CLASSES))
        objects = condition.maps if condition.instances is None else condition.instances
        foreground = classes[:, sorted(self.labels.foreground)].sum(1, keepdim=True)
        return Encoded(torch.cat([classes, instance_edges(objects)], 1), foreground)

    def extract(self, frames: Tensor) -> Condition:
        """Give every pixel of uint8 (T, 3, H, W) the class of the nearest colour; no instances."""
        colours = _palette(frames.device).float()[..., None, None]
        distances = [(frames.float() - colour).square().sum(1) for colour in colours]
        return Condition(torch.stack(distances, 1).argmin(1, keepdim=True).to(torch.uint8))

    def draw(self, seed: int, frames: int, size: tuple[int, int]) -> Iterator[Observed]:
        """The world of this seed frame by frame, with its objects; a TaskError where the picture is too small."""
        if min(size) < SMALLEST:
            raise TaskError(f"a toy world is at least {SMALLEST}x{SMALLEST} pixels, not {size[1]}x{size[0]}")
        for frame in ToyWorld(seed, *size).stream(frames):
            yield Observed(frame.image[None], Condition(frame.labels[None], frame.instances[None]))

    def parse(self, pictures: Tensor) -> Condition:
        """Read grey pictures of classes, uint8 (T, 1, H, W).

        Raises:
            ConditionError: another number of channels, or a value that is no class.
        """
        self._check(pictures)
        return Condition(pictures)

    def preview(self, condition: Condition) -> Tensor:
        """The classes in their plain colours: uint8 (T, 3, H, W) RGB.

        Raises:
            ConditionError: as in :meth:`encode`.
        """
        self._check(condition.maps)
        return _palette(condition.maps.device)[condition.maps[:, 0].long()].permute(0, 3, 1, 2).contiguous()

    def regions(self, condition: Condition) -> Tensor:
        """Squares around the discs, int64 (T, 4) x0, y0, x1, y1; empty boxes in frames without a disc.

        A square holds all discs of its frame and is at least ``CLOSE_UP`` pixels long. Where it would leave the picture
        it is moved back in, and where it is too long for the picture it is cut.

        Raises:
            ConditionError: as in :meth:`encode`.
        """
        self._check(condition.maps)
        disc = condition.maps[:, 0] == DISC
        (top, bottom), (left, right) = _extent(disc.any(2)), _extent(disc.any(1))
        side = torch.maximum(bottom - top, right - left).clamp(min=CLOSE_UP)
        height, width = condition.size
        (y0, y1), (x0, x1) = _widened(top, bottom, side, height), _widened(left, right, side, width)
        return torch.stack((x0, y0, x1, y1), 1) * disc.flatten(1).any(1, keepdim=True)

    def _check(self, maps: Tensor) -> None:
        if maps.shape[1] != 1:
            raise ConditionError(f"toy takes one map of classes per frame, not {maps.shape[1]}")
        wrong = maps >= len(CLASSES)
        if wrong.any():
            frame, _, y, x = wrong.nonzero()[0].tolist()
            value = int(maps[frame, 0, y, x])
            raise ConditionError(
                f"the label is {value} at x {x}, y {y}; toy has the classes 0 to {len(CLASSES) - 1}", frame
            )


def _palette(device: torch.device) -> Tensor:
    """The colours as uint8 (classes, 3)."""
    return torch.tensor(COLOURS, dtype=torch.uint8, device=device)


def _extent(there: Tensor) -> tuple[Tensor, Tensor]:
    """The first place and the one after the last that is true in each row of bool (T, L); any two where none is."""
    place = torch.arange(there.shape[1], device=there.device)
    return place.where(there, there.shape[1]).amin(1), place.where(there, -1).amax(1) + 1


def _widened(low: Tensor, high: Tensor, side: Tensor, length: int) -> tuple[Tensor, Tensor]:
    """Stretches of length ``side`` with the middle of low .. high, moved into 0 .. length, or all of that."""
    start = torch.minimum((low + high - side) // 2, length - side).clamp(min=0)
    return start, (start + side).clamp(max=length)


def _waves(u: Array, v: Array, kind: int) -> Array:
    """A smooth texture in [-1, 1], fixed to a surface; waves of 20 pixels or more, that bilinear warps can follow."""
    angle = 0.7 + 1.3 * kind
    cos, sin = math.cos(angle), math.sin(angle)
    return 0.5 * np.sin(0.30 * (cos * u + sin * v)) + 0.5 * np.sin(0.21 * (cos * v - sin * u) + kind)


def _some_ground(random: np.random.Generator, side: int) -> _Ground:
    speed, heading = 0.012 * side * random.uniform(0.5, 1), random.uniform(0, 2 * math.pi)
    velocity = (speed * math.cos(heading), speed * math.sin(heading))
    return _Ground(velocity, direction=random.uniform(0, math.pi), side=side)


def _some_shape(random: np.random.Generator, label: int, number: int, height: int, width: int) -> _Shape:
    side = min(height, width)
    swing = (width * random.uniform(0.2, 0.45), height * random.uniform(0.2, 0.45))
    # The speed in pixels is what must be bounded, whatever the swing; signs make some go round the other way.
    speed = 0.03 * side * random.uniform(0.4, 1, 2) * random.choice([-1, 1], 2)
    return _Shape(
        label=label,
        instance=1000 * label + number,
        radius=side * random.uniform(0.14, 0.24),
        centre=(width * random.uniform(0.35, 0.65), height * random.uniform(0.35, 0.65)),
        swing=swing,
        rate=(speed[0] / swing[0], speed[1] / swing[1]),
        phase=tuple(random.uniform(0, 2 * math.pi, 4)),
        turn=random.uniform(-0.08, 0.08),
    )

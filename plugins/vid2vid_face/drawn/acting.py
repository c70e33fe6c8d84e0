"""How a drawn head moves: it turns and nods, speaks in phrases, blinks, looks about, breathes; endless and seeded."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

RATE = 25
"""Frames a second."""


@dataclass(frozen=True)
class Expression:
    """What a head does in one frame. Angles are in radians, lengths in face units (half a face's width).

    Attributes:
        yaw: turn towards the picture's right.
        pitch: nod downwards.
        roll: tilt clockwise.
        shift: of the head, x and y.
        open: how far the jaw is dropped, 0 to 1.
        wide: lips drawn wide (1) or rounded (-1).
        smile: corners of the mouth raised, 0 to 1.
        blink: how far the eyes are closed, 0 to 1.
        gaze: where the irises are, x and y, -1 to 1.
        brow: raised (1) or lowered (-1).
        breath: -1 out, 1 in.
        light: direction of the light, -1 from the left to 1 from the right.
        bright: its strength, about 1.
    """

    yaw: float = 0.0
    pitch: float = 0.0
    roll: float = 0.0
    shift: tuple[float, float] = (0.0, 0.0)
    open: float = 0.0
    wide: float = 0.0
    smile: float = 0.0
    blink: float = 0.0
    gaze: tuple[float, float] = (0.0, 0.0)
    brow: float = 0.0
    breath: float = 0.0
    light: float = -0.5
    bright: float = 1.0


@dataclass
class _Wander:
    """A smooth random walk about 0: a spring pulled to targets that change now and then.

    Attributes:
        random: whence the targets come.
        reach: of a target.
        hold: (least, most) frames for which a target stays.
        speed: of the spring, radians a frame.
    """

    random: np.random.Generator
    reach: float
    hold: tuple[int, int]
    speed: float
    _value: float = field(default=0.0, init=False)
    _rate: float = field(default=0.0, init=False)
    _target: float = field(default=0.0, init=False)
    _left: int = field(default=0, init=False)

    def __call__(self) -> float:
        if self._left <= 0:
            self._target = float(self.random.uniform(-self.reach, self.reach))
            self._left = int(self.random.integers(*self.hold))
        self._left -= 1
        pull = self.speed**2 * (self._target - self._value) - 2 * self.speed * self._rate
        self._rate += pull
        self._value += self._rate
        return self._value


@dataclass
class _Speech:
    """Phrases of syllables with pauses between: jaw, lips and a stress that the head and brows follow."""

    random: np.random.Generator
    _open: float = field(default=0.0, init=False)
    _wide: float = field(default=0.0, init=False)
    _stress: float = field(default=0.0, init=False)
    _queue: list[tuple[float, float, float]] = field(default_factory=list, init=False)

    def __call__(self) -> tuple[float, float, float]:
        """The next frame's (open, wide, stress)."""
        if not self._queue:
            self._queue = self._phrase()
        to_open, to_wide, to_stress = self._queue.pop(0)
        self._open += 0.55 * (to_open - self._open)
        self._wide += 0.4 * (to_wide - self._wide)
        self._stress += 0.12 * (to_stress - self._stress)
        return self._open, self._wide, self._stress

    def _phrase(self) -> list[tuple[float, float, float]]:
        frames: list[tuple[float, float, float]] = []
        for _ in range(int(self.random.integers(4, 13))):
            wide = float(self.random.choice((-0.9, -0.3, 0.2, 0.7)))
            height = float(self.random.uniform(0.35, 1.0)) * (1.0 if wide > -0.5 else 0.6)
            stress = float(self.random.random() < 0.3)
            frames += [(height, wide, stress)] * int(self.random.integers(3, 5))
            closed = 0.0 if self.random.random() < 0.45 else 0.25 * height
            frames += [(closed, 0.5 * wide, 0.0)] * int(self.random.integers(2, 4))
        return frames + [(0.0, 0.0, 0.0)] * int(self.random.integers(6, 26))


@dataclass
class _Blinks:
    """Lids that shut fast and open slower, every one to five seconds, now and then twice."""

    random: np.random.Generator
    _wait: int = field(default=18, init=False)
    _now: list[float] = field(default_factory=list, init=False)

    def __call__(self) -> float:
        if self._now:
            return self._now.pop(0)
        self._wait -= 1
        if self._wait > 0:
            return 0.0
        again = self.random.random() < 0.15
        self._wait = 4 if again else int(self.random.integers(RATE, 5 * RATE))
        self._now = [1.0, 1.0, 0.75, 0.4, 0.12]
        return 0.55


@dataclass
class _Gaze:
    """Eyes that rest and leap; a leap takes two frames."""

    random: np.random.Generator
    _place: tuple[float, float] = field(default=(0.0, 0.0), init=False)
    _target: tuple[float, float] = field(default=(0.0, 0.0), init=False)
    _left: int = field(default=30, init=False)

    def __call__(self) -> tuple[float, float]:
        self._left -= 1
        if self._left <= 0:
            at_you = self.random.random() < 0.55
            far = (0.0, 0.0) if at_you else (self.random.uniform(-0.8, 0.8), self.random.uniform(-0.35, 0.35))
            self._target = float(far[0]), float(far[1])
            self._left = int(self.random.integers(12, 55))
        (x, y), (to_x, to_y) = self._place, self._target
        self._place = x + 0.7 * (to_x - x), y + 0.7 * (to_y - y)
        return self._place


def perform(seed: int) -> Iterator[Expression]:
    """Act for ever. The same seed acts the same."""
    random = np.random.default_rng((seed, 1))
    yaw, pitch, roll = (
        _Wander(random, *w) for w in ((0.5, (22, 70), 0.12), (0.16, (20, 60), 0.12), (0.12, (25, 80), 0.1))
    )
    shift_x, shift_y = _Wander(random, 0.16, (30, 90), 0.07), _Wander(random, 0.07, (30, 90), 0.07)
    smile, light = _Wander(random, 1.0, (40, 110), 0.12), _Wander(random, 0.9, (80, 200), 0.025)
    mood = _Wander(random, 0.5, (40, 100), 0.15)
    speech, blinks, gaze = _Speech(random), _Blinks(random), _Gaze(random)
    phase = float(random.uniform(0, 2 * math.pi))
    t = 0
    while True:
        opened, wide, stress = speech()
        breath = math.sin(phase + 2 * math.pi * t / (3.6 * RATE))
        turn, look = yaw(), gaze()
        yield Expression(
            yaw=turn,
            pitch=pitch() + 0.1 * stress + 0.015 * breath,
            roll=roll(),
            shift=(shift_x(), shift_y() - 0.012 * breath),
            open=opened,
            wide=wide,
            smile=min(max(0.35 + smile(), 0.0), 1.0) * (1 - 0.4 * opened),
            blink=blinks(),
            # The eyes stay with the one they look at while the head turns.
            gaze=(min(max(look[0] - 0.9 * turn, -1.0), 1.0), look[1]),
            brow=min(max(mood() + 0.8 * stress, -1.0), 1.0),
            breath=breath,
            light=light(),
            bright=1 + 0.05 * math.sin(0.7 * phase + 2 * math.pi * t / (11 * RATE)),
        )
        t += 1

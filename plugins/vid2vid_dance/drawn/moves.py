"""How the dancer moves: phrases of eight beats, each with steps for the feet and figures for the arms.

A frame is a function of the seed and its time alone. One foot moves in a beat, and the other stays where it is: the
right one in even beats, the left one in odd beats, so a foot that stands does not slide.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
import numpy.typing as npt

Vector = npt.NDArray[np.float64]

PHRASE = 8
"""Beats."""
STEP = 0.75
"""The share of a beat that a step takes."""


@dataclass(frozen=True)
class Foot:
    """Where a foot is: x to the right and z towards the viewer in body heights, its heading in radians, its height."""

    x: float
    z: float
    heading: float
    lift: float = 0.0


@dataclass(frozen=True)
class Moment:
    """What the body is asked to do at a time; angles in radians, places in shares of the arm in the chest's frame.

    Attributes:
        left: foot.
        right: foot.
        dip: how far the hips sink, in body heights.
        sway: of the hips to the right, in body heights.
        tilt: of the hips.
        lean: of the trunk to the right.
        bow: of the trunk forward.
        twist: of the chest about the spine.
        nod: of the head.
        cock: of the head to the right.
        look: of the head about the neck.
        hands: of the left and the right hand (outward, up, forward).
        elbows: which way each elbow points, as ``hands``.
        open: how far the fingers are stretched, 0 to 1.
        blink: how far the eyes are shut, 0 to 1.
    """

    left: Foot
    right: Foot
    dip: float
    sway: float
    tilt: float
    lean: float
    bow: float
    twist: float
    nod: float
    cock: float
    look: float
    hands: tuple[Vector, Vector]
    elbows: tuple[Vector, Vector]
    open: float
    blink: float


class Choreography:
    """An endless dance.

    Args:
        seed: which.
        fps: frames a second.
    """

    STEPS = ("sway", "side", "march", "turn", "pivot", "cross")
    FIGURES = ("groove", "wave", "overhead", "disco", "swing", "clap", "hips", "roll")

    def __init__(self, seed: int, fps: float = 25.0) -> None:
        random = np.random.default_rng((seed, 1))
        self._seed = seed
        self._beats = random.uniform(100, 128) / 60 / fps
        self._energy = random.uniform(0.8, 1.2)
        self._start = random.uniform(0, PHRASE)
        self._facing = random.uniform(-0.3, 0.3)
        self._phrase = lru_cache(maxsize=8)(self._some_phrase)

    def moment(self, frame: int) -> Moment:
        """What happens at a frame."""
        beat = self._start + frame * self._beats
        tau, energy = beat % 1, self._energy
        left, right = self._foot(beat, 1), self._foot(beat, 0)
        down = 0.5 + 0.5 * math.cos(2 * math.pi * tau)
        slow, swing = math.sin(math.pi * beat), math.sin(math.pi * (beat + 0.15))
        hands, elbows = self._arms(beat)
        return Moment(
            left=left,
            right=right,
            dip=0.012 + 0.026 * energy * down,
            sway=0.022 * energy * slow,
            tilt=0.11 * energy * slow,
            lean=-0.09 * energy * swing,
            bow=0.05 + 0.05 * down,
            twist=0.22 * energy * math.sin(math.pi * (beat + 0.3)),
            nod=0.22 * energy * (0.5 + 0.5 * math.cos(2 * math.pi * (tau - 0.1))) - 0.06,
            cock=0.16 * math.sin(math.pi * (beat + 0.4)),
            look=0.35 * math.sin(math.pi * beat / 4 + 1),
            hands=hands,
            elbows=elbows,
            open=0.5 + 0.5 * math.sin(math.pi * beat / 4),
            blink=max(0.0, 1 - abs((beat % 5.3) - 2) / 0.16),
        )

    def _some_phrase(self, number: int) -> tuple[str, str, float]:
        """Steps, figure and which way round."""
        random = np.random.default_rng((self._seed, 2, number + 1))
        return str(random.choice(self.STEPS)), str(random.choice(self.FIGURES)), float(random.choice((-1.0, 1.0)))

    def _foot(self, beat: float, odd: int) -> Foot:
        """One foot at a time: where it was put last, or on the way to where it is put in this beat."""
        whole = math.floor(beat)
        latest = whole - (whole - odd) % 2
        goal = self._stance(latest, odd)
        share = (beat - latest) / STEP
        if share >= 1:
            return replace(goal, lift=0.0)
        origin, ease = self._stance(latest - 2, odd), _smooth(share)
        turn = shortest(goal.heading - origin.heading)
        distance = math.hypot(goal.x - origin.x, goal.z - origin.z) + 0.06 * abs(turn)
        return Foot(
            origin.x + ease * (goal.x - origin.x),
            origin.z + ease * (goal.z - origin.z),
            origin.heading + ease * turn,
            (min(0.5 * distance, 0.07) + goal.lift) * math.sin(math.pi * share),
        )

    def _stance(self, beat: int, odd: int) -> Foot:
        """Where the foot of that beat is put; ``lift`` here is how high it is raised on the way."""
        steps, _, way = self._phrase(beat // PHRASE)
        count = beat % PHRASE
        side = 1 if odd else -1
        x, z, width, lift = 0.0, 0.0, 0.075, 0.0
        heading = self._facing
        if steps == "side":
            x = way * (0.075 if count % 4 < 2 else -0.075)
        elif steps == "march":
            lift, width = 0.085, 0.06
        elif steps == "turn":
            heading += way * 2 * math.pi * _smooth(min(count + 1, 6) / 6)
            lift, width = 0.02, 0.065
        elif steps == "pivot":
            heading += way * (0.75 if count % 4 < 2 else -0.75)
        elif steps == "cross":
            x, z = way * 0.055 * math.sin(math.pi * count / 4), 0.06 * math.cos(math.pi * count / 2)
            heading += 0.3 * way * math.sin(math.pi * count / 4)
        forward, across = (math.sin(heading), math.cos(heading)), (math.cos(heading), -math.sin(heading))
        at = x + side * width * across[0] + z * forward[0], side * width * across[1] + z * forward[1]
        return Foot(at[0], at[1], heading + 0.45 * side, lift)

    def _arms(self, beat: float) -> tuple[tuple[Vector, Vector], tuple[Vector, Vector]]:
        number = math.floor(beat / PHRASE)
        hands, elbows = self._figure(number, beat)
        late = beat % PHRASE - (PHRASE - 1)
        if late > 0:
            share = _smooth(late)
            to_hands, to_elbows = self._figure(number + 1, beat)
            hands, elbows = _mixed(hands, to_hands, share), _mixed(elbows, to_elbows, share)
        return hands, elbows

    def _figure(self, number: int, beat: float) -> tuple[tuple[Vector, Vector], tuple[Vector, Vector]]:
        """Hands and elbows of a figure: left, right."""
        _, figure, way = self._phrase(number)
        places = [figure_of_arm(figure, beat, side, way * side) for side in (1, -1)]
        return (places[0][0], places[1][0]), (places[0][1], places[1][1])


def figure_of_arm(figure: str, beat: float, side: int, leading: float) -> tuple[Vector, Vector]:
    """Where an arm's hand is and its elbow points in a figure: (outward, up, forward) in shares of the arm.

    Args:
        figure: one of ``Choreography.FIGURES``.
        beat: the time.
        side: 1 for the left arm, -1 for the right.
        leading: over 0 for the arm that leads.
    """
    turn, half = 2 * math.pi * beat, math.pi * beat
    down = _vector(0.3, -1.0, -0.4)
    if figure == "groove":
        pump = math.sin(half + (0 if side > 0 else math.pi))
        return _vector(0.28, -0.30 + 0.2 * pump, 0.5 + 0.12 * pump), down
    if figure == "wave":
        lag = half * 0.5 if leading > 0 else half * 0.5 - 1.6
        return _vector(0.88, 0.1 + 0.42 * math.sin(lag - 1.1), 0.1), _vector(0.1, math.sin(lag) - 0.25, -0.5)
    if figure == "overhead":
        swing = 0.28 * math.sin(half) * side
        return _vector(0.32 + swing, 0.86, 0.1), _vector(1.0, 0.2, -0.2)
    if figure == "disco":
        up = _smooth(0.5 + 0.75 * math.sin(half))
        if leading < 0:
            return _vector(0.36, -0.42, 0.25), _vector(1.0, -0.3, -0.6)
        return (1 - up) * _vector(-0.35, -0.55, 0.45) + up * _vector(0.62, 0.74, 0.1), _vector(0.7, -0.3, -0.5)
    if figure == "swing":
        ahead = math.sin(half + (0 if side > 0 else math.pi))
        return _vector(0.2, -0.72 + 0.2 * abs(ahead), 0.6 * ahead), _vector(0.35, -0.5, -1.0)
    if figure == "clap":
        apart = _smooth(0.5 + 0.5 * math.cos(turn + math.pi))
        return _vector(-0.32 + 0.95 * apart, 0.12 + 0.3 * apart, 0.55 - 0.3 * apart), _vector(0.9, -0.7, -0.2)
    if figure == "hips":
        return _vector(0.22, -0.78 + 0.03 * math.sin(turn), 0.16), _vector(1.0, -0.1, -0.35)
    angle = turn + (0 if side > 0 else math.pi)
    return _vector(-0.18, -0.22 + 0.16 * math.sin(angle), 0.55 + 0.16 * math.cos(angle)), _vector(0.9, -0.6, -0.1)


def shortest(angle: float) -> float:
    """The same turn the short way round, in [-pi, pi]."""
    return (angle + math.pi) % (2 * math.pi) - math.pi


def _vector(*values: float) -> Vector:
    return np.array(values)


def _mixed(one: tuple[Vector, Vector], other: tuple[Vector, Vector], share: float) -> tuple[Vector, Vector]:
    return one[0] + share * (other[0] - one[0]), one[1] + share * (other[1] - one[1])


def _smooth(share: float) -> float:
    share = min(max(share, 0.0), 1.0)
    return share * share * (3 - 2 * share)

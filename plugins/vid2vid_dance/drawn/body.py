"""From what the body is asked to do to where its joints are: feet stay, knees and elbows bend as they must.

The world's x goes to the right, y up and z towards the viewer, in body heights; a heading of 0 faces the viewer.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from vid2vid_dance.drawn.moves import Foot, Moment, Vector, shortest
from vid2vid_dance.drawn.person import Person

ANKLE = 0.042
"""Height of the ankle over the floor."""
REACH = 0.995
"""The share of its length that a leg or an arm is stretched to at most."""
UP: Vector = np.array((0.0, 1.0, 0.0))


@dataclass(frozen=True)
class Arm:
    """One arm: joints, and the frame of its hand (along the fingers, towards the thumb)."""

    shoulder: Vector
    elbow: Vector
    wrist: Vector
    along: Vector
    thumb: Vector


@dataclass(frozen=True)
class Leg:
    """One leg: joints, and where heel and toes are."""

    hip: Vector
    knee: Vector
    ankle: Vector
    heel: Vector
    big_toe: Vector
    small_toe: Vector
    front: Vector


@dataclass(frozen=True)
class Body:
    """All joints.

    Attributes:
        middle: between the hips.
        neck: between the shoulders.
        head: its centre.
        left: arm, and so on.
        front: which way the chest faces.
        hip_front: which way the hips face.
        face: which way the face looks.
        crown: which way the top of the head points.
    """

    middle: Vector
    neck: Vector
    head: Vector
    left: Arm
    right: Arm
    left_leg: Leg
    right_leg: Leg
    front: Vector
    hip_front: Vector
    face: Vector
    crown: Vector


def pose(person: Person, moment: Moment) -> Body:
    """The joints of a person at a moment."""
    left, right = moment.left, moment.right
    heading = left.heading + shortest(right.heading - left.heading) / 2
    front, side = _turned(heading), _turned(heading + math.pi / 2)
    # Whoever lifts a foot leans on the other one.
    lean = min(left.lift, 0.05) - min(right.lift, 0.05)
    middle = np.array(((left.x + right.x) / 2, 0.0, (left.z + right.z) / 2)) + (moment.sway - lean) * side
    tilted = _rotated(side, front, moment.tilt)
    sockets = middle + person.hips * tilted, middle - person.hips * tilted
    stand = person.thigh + person.shin + ANKLE - moment.dip
    ankles = tuple(np.array((foot.x, ANKLE + foot.lift, foot.z)) for foot in (left, right))
    low = min(stand, *(_highest(s, a, person) for s, a in zip(sockets, ankles, strict=True)))
    middle, sockets = middle + low * UP, (sockets[0] + low * UP, sockets[1] + low * UP)
    legs = [_leg(person, s, a, foot, k) for s, a, foot, k in zip(sockets, ankles, (left, right), (1, -1), strict=True)]

    chest = _turned(heading + moment.twist)
    across = _turned(heading + moment.twist + math.pi / 2)
    spine = _unit(UP + moment.lean * across + moment.bow * chest)
    neck = middle + person.trunk * spine
    across = _unit(across - (across @ spine) * spine)
    arms = [_arm(person, moment, neck, chest, spine, across, n) for n in (0, 1)]

    turn = heading + 0.6 * moment.twist + moment.look
    face, beside = _turned(turn), _turned(turn + math.pi / 2)
    crown = _unit(spine + moment.nod * 0.5 * face + moment.cock * beside)
    head = neck + (0.035 + person.head) * crown + 0.012 * face
    face = _unit(face - (moment.nod * 0.8 - 0.05) * UP)
    return Body(middle, neck, head, arms[0], arms[1], legs[0], legs[1], chest, front, face, crown)


def bend(start: Vector, goal: Vector, first: float, second: float, towards: Vector) -> tuple[Vector, Vector]:
    """Two-bone inverse kinematics: where the middle joint is, and the end, which is the goal where it can be reached.

    Args:
        start: of the first bone.
        goal: of the end of the second.
        first: the length of the first bone.
        second: of the second.
        towards: which way the middle joint points.
    """
    way = goal - start
    distance = float(np.clip(np.linalg.norm(way), abs(first - second) + 1e-6, REACH * (first + second)))
    way = _unit(way)
    # Law of cosines: how far along the way the middle joint stands, and how far beside it.
    along = (first**2 - second**2 + distance**2) / (2 * distance)
    beside = math.sqrt(max(first**2 - along**2, 0.0))
    out = towards - (towards @ way) * way
    return start + along * way + beside * _unit(out), start + distance * way


def _leg(person: Person, hip: Vector, ankle: Vector, foot: Foot, side: int) -> Leg:
    front, out = _turned(foot.heading), side * _turned(foot.heading + math.pi / 2)
    knee, ankle = bend(hip, ankle, person.thigh, person.shin, front)
    # A raised foot points its toes down.
    droop = min(foot.lift / 0.08, 1.0) * 0.6
    toes = _unit(front - droop * UP)
    sole = ankle - (ANKLE - 0.014) * _unit(UP + droop * front)
    return Leg(
        hip,
        knee,
        ankle,
        heel=sole - 0.024 * toes,
        big_toe=sole + 0.082 * toes - 0.010 * out,
        small_toe=sole + 0.066 * toes + 0.018 * out,
        front=front,
    )


def _arm(person: Person, moment: Moment, neck: Vector, chest: Vector, spine: Vector, across: Vector, n: int) -> Arm:
    out = across if n == 0 else -across
    shoulder = neck + person.shoulders * out - 0.022 * spine
    frame = np.stack((out, spine, chest))
    length = person.upper + person.fore
    elbow, wrist = bend(
        shoulder, shoulder + length * moment.hands[n] @ frame, person.upper, person.fore, moment.elbows[n] @ frame
    )
    along = _unit(wrist - elbow)
    lead = 0.9 * chest + 0.5 * spine - 0.3 * out
    return Arm(shoulder, elbow, wrist, along, _unit(lead - (lead @ along) * along))


def _highest(socket: Vector, ankle: Vector, person: Person) -> float:
    """How high the hips may be over their height in ``socket`` so that this leg still reaches its foot."""
    flat = math.hypot(socket[0] - ankle[0], socket[2] - ankle[2])
    length = REACH * (person.thigh + person.shin)
    return float(ankle[1] - socket[1]) + math.sqrt(max(length**2 - flat**2, 0.01))


def _turned(heading: float) -> Vector:
    return np.array((math.sin(heading), 0.0, math.cos(heading)))


def _rotated(vector: Vector, axis: Vector, angle: float) -> Vector:
    return math.cos(angle) * vector + math.sin(angle) * np.cross(axis, vector)


def _unit(vector: Vector) -> Vector:
    length = float(np.linalg.norm(vector))
    return vector / length if length > 1e-9 else np.array((0.0, 1.0, 0.0))

"""The dancer's body as blobs to paint, far ones first, and its points in the picture."""

from __future__ import annotations

import numpy as np

from vid2vid_dance import dense, layout
from vid2vid_dance.drawn.body import Arm, Body, Leg
from vid2vid_dance.drawn.camera import Camera
from vid2vid_dance.drawn.canvas import Blob
from vid2vid_dance.drawn.head import Head
from vid2vid_dance.drawn.moves import Vector
from vid2vid_dance.drawn.person import Colour, Person

Capsule = tuple[Vector, Vector, float, float]

PALM, FINGER = 0.040, 0.042
"""Lengths of a palm and of a stretched finger, in body heights."""


def blobs(person: Person, body: Body, camera: Camera, head: Head, fingers: float, sway: float) -> list[Blob]:
    """All parts of the body, what is farthest from the viewer first."""
    parts = [
        *_trunk(person, body, camera),
        *_leg(person, body.left_leg, camera, (dense.LEFT_THIGH, dense.LEFT_SHIN), dense.LEFT_FOOT),
        *_leg(person, body.right_leg, camera, (dense.RIGHT_THIGH, dense.RIGHT_SHIN), dense.RIGHT_FOOT),
        *_arm(person, body.left, camera, body.front, (dense.LEFT_ARM, dense.LEFT_FOREARM), dense.LEFT_HAND, fingers),
        *_arm(
            person, body.right, camera, body.front, (dense.RIGHT_ARM, dense.RIGHT_FOREARM), dense.RIGHT_HAND, fingers
        ),
        *head.blobs(sway),
    ]
    return sorted(parts, key=lambda blob: blob.depth)


def points(body: Body, camera: Camera, head: Head, fingers: float) -> Vector:
    """The 137 points: (137, 3) x, y in pixels and confidence 1, or 0 where it is turned away."""
    found = np.zeros((layout.POINTS, 3))

    def put(point: int, place: Vector) -> None:
        found[point] = (*camera.see(place), 1)

    put(layout.NECK, (body.left.shoulder + body.right.shoulder) / 2)
    put(layout.MID_HIP, (body.left_leg.hip + body.right_leg.hip) / 2)
    for first, arm in ((layout.RIGHT_SHOULDER, body.right), (layout.LEFT_SHOULDER, body.left)):
        for n, place in enumerate((arm.shoulder, arm.elbow, arm.wrist)):
            put(first + n, place)
    for first, toe, leg in (
        (layout.RIGHT_HIP, layout.RIGHT_BIG_TOE, body.right_leg),
        (layout.LEFT_HIP, layout.LEFT_BIG_TOE, body.left_leg),
    ):
        for n, place in enumerate((leg.hip, leg.knee, leg.ankle)):
            put(first + n, place)
        for n, place in enumerate((leg.big_toe, leg.small_toe, leg.heel)):
            put(toe + n, place)
    for point, (place, seen) in zip(layout.HEAD, head.body_points(), strict=True):
        if seen:
            put(point, place)
    for first, arm in ((layout.LEFT_HAND, body.left), (layout.RIGHT_HAND, body.right)):
        for n, place in enumerate(hand(arm, fingers)):
            put(first + n, place)
    found[layout.FACE_AT :] = head.points()
    return found


def hand(arm: Arm, stretched: float) -> list[Vector]:
    """The 21 points of a hand: the wrist, then thumb to little finger from the palm outward."""
    along, thumb = arm.along, arm.thumb
    length = FINGER * (0.45 + 0.55 * stretched)
    places = [arm.wrist]
    root = arm.wrist + 0.012 * along + 0.012 * thumb
    places += [root + share * (0.020 * along + 0.030 * thumb) for share in (0.1, 0.4, 0.7, 1.0)]
    for n, share in enumerate((0.92, 1.0, 0.95, 0.78)):
        spread = 0.014 - 0.0095 * n
        knuckle = arm.wrist + PALM * along + spread * thumb
        way = along + (0.22 - 0.15 * n) * stretched * thumb
        places += [knuckle + i / 3 * length * share * way for i in range(4)]
    return places


def _trunk(person: Person, body: Body, camera: Camera) -> list[Blob]:
    wide = person.girth
    spine = (body.neck - body.middle) / person.trunk
    shoulders, hips = body.left.shoulder - body.right.shoulder, body.left_leg.hip - body.right_leg.hip
    chest = (body.left.shoulder + body.right.shoulder) / 2 - 0.028 * spine
    lines = [
        (body.middle, chest, 0.058 * wide, 0.066 * wide),
        (chest - 0.36 * shoulders, chest + 0.36 * shoulders, 0.047 * wide, 0.047 * wide),
        (body.middle - 0.40 * hips, body.middle + 0.40 * hips, 0.052 * wide, 0.052 * wide),
    ]
    depth, front = float(body.middle[2] + body.neck[2]) / 2, _flat(body.front)
    shirt = [
        Blob(
            camera.lines(lines),
            (person.top,) if person.trim is None else (person.top, person.trim),
            dense.TORSO,
            depth,
            front,
            change=0.34,
            stripes=person.trim is not None,
            ink=camera.ink,
            merge=0.05 * camera.scale,
        ),
    ]
    if person.outfit in ("dress", "skirt"):
        return [*shirt, _skirt(person, body, camera, depth)]
    # Trousers end a little above the hips.
    belt = body.middle + 0.13 * person.trunk * spine
    waist = [(*lines[2][:2], 0.054 * wide, 0.054 * wide), (body.middle, belt, 0.059 * wide, 0.059 * wide)]
    trousers = Blob(
        camera.lines(waist),
        (person.bottom,),
        dense.TORSO,
        depth + 0.001,
        _flat(body.hip_front),
        ink=0.0,
        merge=0.04 * camera.scale,
    )
    return [*shirt, trousers]


def _skirt(person: Person, body: Body, camera: Camera, trunk: float) -> Blob:
    legs, reach = (body.left_leg, body.right_leg), 0.72 if person.outfit == "dress" else 0.55
    hems = [leg.hip + reach * (leg.knee - leg.hip) for leg in legs]
    flare = 0.066 * person.girth
    lines = [(leg.hip, hem, 0.058 * person.girth, flare) for leg, hem in zip(legs, hems, strict=True)]
    lines.append((body.middle + 0.03 * (body.neck - body.middle), (hems[0] + hems[1]) / 2, 0.062 * person.girth, flare))
    # Over the shirt, and over thighs that are raised.
    depth = max(trunk + 0.002, *(_deep(leg.hip, leg.knee) - 0.035 for leg in legs))
    return Blob(
        camera.lines(lines),
        (person.top if person.outfit == "dress" else person.bottom,),
        dense.RIGHT_THIGH,
        depth,
        _flat(body.hip_front),
        dense.LEFT_THIGH,
        ink=camera.ink,
        merge=0.06 * camera.scale,
    )


def _leg(
    person: Person, leg: Leg, camera: Camera, parts: tuple[tuple[int, int], tuple[int, int]], foot: int
) -> list[Blob]:
    wide = person.girth
    bare, cloth = person.skin, person.bottom
    thigh = {"trousers": (cloth,), "shorts": (cloth, bare)}.get(person.outfit, (bare,))
    shin = (cloth,) if person.outfit == "trousers" else (bare,)
    front = _flat(leg.front)
    sole = (leg.big_toe + leg.small_toe) / 2
    rows: list[tuple[list[Capsule], tuple[Colour, ...], tuple[int, int], float, float]] = [
        ([(leg.hip, leg.knee, 0.050 * wide, 0.036 * wide)], thigh, parts[0], _deep(leg.hip, leg.knee) - 0.04, 0.72),
        ([(leg.knee, leg.ankle, 0.036 * wide, 0.024 * wide)], shin, parts[1], _deep(leg.knee, leg.ankle) - 0.045, 1.0),
        (
            [
                (leg.heel, sole, 0.024, 0.025),
                (leg.big_toe, leg.small_toe, 0.021, 0.020),
                (leg.ankle, sole, 0.025, 0.018),
            ],
            (person.shoe,),
            (foot, foot),
            _deep(leg.heel, sole) - 0.05,
            1.0,
        ),
    ]
    return [
        Blob(
            camera.lines(lines),
            colours,
            numbers,
            depth,
            front,
            change=change,
            ink=camera.ink,
            merge=0.012 * camera.scale,
        )
        for lines, colours, numbers, depth, change in rows
    ]


def _arm(
    person: Person,
    arm: Arm,
    camera: Camera,
    front: Vector,
    parts: tuple[tuple[int, int], tuple[int, int]],
    palm: int,
    fingers: float,
) -> list[Blob]:
    wide, facing = person.girth, _flat(front)
    bare, cloth = person.skin, person.top
    upper = (cloth,) if person.sleeve >= 1 else (cloth, bare)
    fore = (cloth, bare) if person.sleeve > 1 else (bare,)
    places = hand(arm, fingers)
    lines = [(places[0], places[0] + 0.8 * PALM * arm.along, 0.016, 0.020)]
    lines += [(places[a], places[b], 0.0085, 0.007) for a, b in ((1, 4), (5, 8), (9, 12), (13, 16), (17, 20))]
    rows: list[tuple[list[Capsule], tuple[Colour, ...], tuple[int, int], float, float]] = [
        (
            [(arm.shoulder, arm.elbow, 0.031 * wide, 0.025 * wide)],
            upper,
            parts[0],
            _deep(arm.shoulder, arm.elbow) + 0.012,
            person.sleeve,
        ),
        (
            [(arm.elbow, arm.wrist, 0.025 * wide, 0.018 * wide)],
            fore,
            parts[1],
            _deep(arm.elbow, arm.wrist) + 0.016,
            person.sleeve - 1,
        ),
        (lines, (bare,), (palm, palm), _deep(arm.wrist, arm.wrist) + 0.017, 1.0),
    ]
    return [
        Blob(camera.lines(each), colours, numbers, depth, facing, change=change, ink=camera.ink)
        for each, colours, numbers, depth, change in rows
    ]


def _flat(way: Vector) -> tuple[float, float]:
    return float(way[0]), float(way[2])


def _deep(one: Vector, other: Vector) -> float:
    return float(one[2] + other[2]) / 2

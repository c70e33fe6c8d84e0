"""The 137 points of a person as data: OpenPose's BODY_25, two hands and a face, and what other layouts have of them.

A person's points stand in the order body (25), left hand (21), right hand (21), face (70), each x, y and confidence.
Left and right are the person's own. Numbers and names are those of OpenPose's output format, MediaPipe's BlazePose and
the COCO key points.
"""

from __future__ import annotations

Colour = tuple[int, int, int]

BODY, HAND, FACE = 25, 21, 70
LEFT_HAND, RIGHT_HAND, FACE_AT = BODY, BODY + HAND, BODY + 2 * HAND
"""Where the hands and the face begin among the points."""
POINTS = BODY + 2 * HAND + FACE

NOSE, NECK, MID_HIP = 0, 1, 8
RIGHT_SHOULDER, RIGHT_ELBOW, RIGHT_WRIST, LEFT_SHOULDER, LEFT_ELBOW, LEFT_WRIST = range(2, 8)
RIGHT_HIP, RIGHT_KNEE, RIGHT_ANKLE, LEFT_HIP, LEFT_KNEE, LEFT_ANKLE = range(9, 15)
RIGHT_EYE, LEFT_EYE, RIGHT_EAR, LEFT_EAR = range(15, 19)
LEFT_BIG_TOE, LEFT_SMALL_TOE, LEFT_HEEL, RIGHT_BIG_TOE, RIGHT_SMALL_TOE, RIGHT_HEEL = range(19, 25)
HEAD = (NOSE, RIGHT_EYE, LEFT_EYE, RIGHT_EAR, LEFT_EAR)

LIMBS: dict[tuple[int, int], Colour] = {
    # The 24 edges, each joint after the one it hangs on, and OpenPose's hues at three fifths.
    (NECK, MID_HIP): (153, 0, 0),
    (NECK, NOSE): (153, 0, 51),
    (NOSE, RIGHT_EYE): (153, 0, 102),
    (RIGHT_EYE, RIGHT_EAR): (153, 0, 153),
    (NOSE, LEFT_EYE): (102, 0, 153),
    (LEFT_EYE, LEFT_EAR): (51, 0, 153),
    (NECK, RIGHT_SHOULDER): (153, 51, 0),
    (RIGHT_SHOULDER, RIGHT_ELBOW): (153, 102, 0),
    (RIGHT_ELBOW, RIGHT_WRIST): (153, 153, 0),
    (NECK, LEFT_SHOULDER): (102, 153, 0),
    (LEFT_SHOULDER, LEFT_ELBOW): (51, 153, 0),
    (LEFT_ELBOW, LEFT_WRIST): (0, 153, 0),
    (MID_HIP, RIGHT_HIP): (0, 153, 51),
    (RIGHT_HIP, RIGHT_KNEE): (0, 153, 102),
    (RIGHT_KNEE, RIGHT_ANKLE): (0, 153, 153),
    (RIGHT_ANKLE, RIGHT_BIG_TOE): (0, 153, 153),
    (RIGHT_BIG_TOE, RIGHT_SMALL_TOE): (0, 153, 153),
    (RIGHT_ANKLE, RIGHT_HEEL): (0, 153, 153),
    (MID_HIP, LEFT_HIP): (0, 102, 153),
    (LEFT_HIP, LEFT_KNEE): (0, 51, 153),
    (LEFT_KNEE, LEFT_ANKLE): (0, 0, 153),
    (LEFT_ANKLE, LEFT_BIG_TOE): (0, 0, 153),
    (LEFT_BIG_TOE, LEFT_SMALL_TOE): (0, 0, 153),
    (LEFT_ANKLE, LEFT_HEEL): (0, 0, 153),
}
"""Inner and outer joint of each body edge, and its colour."""

FINGERS: dict[tuple[int, ...], Colour] = {
    # Thumb to little finger, each from the wrist; five hues, 72 degrees apart.
    (0, 1, 2, 3, 4): (204, 0, 0),
    (0, 5, 6, 7, 8): (163, 204, 0),
    (0, 9, 10, 11, 12): (0, 204, 82),
    (0, 13, 14, 15, 16): (0, 82, 204),
    (0, 17, 18, 19, 20): (163, 0, 204),
}
"""The points of each finger within a hand, and its colour."""

FACE_LINES: tuple[tuple[int, ...], ...] = (
    (17, 18, 19, 20, 21),
    (22, 23, 24, 25, 26),
    (27, 28, 29, 30),
    (31, 32, 33, 34, 35),
    (36, 37, 38, 39, 40, 41, 36),
    (42, 43, 44, 45, 46, 47, 42),
    (48, 49, 50, 51, 52, 53, 54, 55, 56, 57, 58, 59, 48),
    (60, 61, 62, 63, 64, 65, 66, 67, 60),
)
"""Brows, nose, eyes and mouth within a face; the jaw line (0 to 16) and the pupils (68, 69) are not drawn."""
WHITE: Colour = (255, 255, 255)

BODY_OF_BLAZE: dict[int, tuple[int, ...]] = {
    NOSE: (0,),
    NECK: (11, 12),
    RIGHT_SHOULDER: (12,),
    RIGHT_ELBOW: (14,),
    RIGHT_WRIST: (16,),
    LEFT_SHOULDER: (11,),
    LEFT_ELBOW: (13,),
    LEFT_WRIST: (15,),
    MID_HIP: (23, 24),
    RIGHT_HIP: (24,),
    RIGHT_KNEE: (26,),
    RIGHT_ANKLE: (28,),
    LEFT_HIP: (23,),
    LEFT_KNEE: (25,),
    LEFT_ANKLE: (27,),
    RIGHT_EYE: (5,),
    LEFT_EYE: (2,),
    RIGHT_EAR: (8,),
    LEFT_EAR: (7,),
    LEFT_BIG_TOE: (31,),
    LEFT_HEEL: (29,),
    RIGHT_BIG_TOE: (32,),
    RIGHT_HEEL: (30,),
}
"""Point -> the BlazePose points (33) whose mean it is. BlazePose has one tip of each foot, and no small toes."""

MORE_OF_BLAZE: dict[int, tuple[int, ...]] = {
    # Wrist, thumb, knuckles of index and little finger; corners of the eyes, pupils, tip of the nose, mouth's corners.
    LEFT_HAND + 0: (15,),
    LEFT_HAND + 2: (21,),
    LEFT_HAND + 5: (19,),
    LEFT_HAND + 17: (17,),
    RIGHT_HAND + 0: (16,),
    RIGHT_HAND + 2: (22,),
    RIGHT_HAND + 5: (20,),
    RIGHT_HAND + 17: (18,),
    FACE_AT + 30: (0,),
    FACE_AT + 36: (6,),
    FACE_AT + 39: (4,),
    FACE_AT + 42: (1,),
    FACE_AT + 45: (3,),
    FACE_AT + 48: (10,),
    FACE_AT + 54: (9,),
    FACE_AT + 68: (5,),
    FACE_AT + 69: (2,),
}
"""The few points of hands and face that BlazePose has; too few for any finger or line to be drawn."""

BODY_OF_COCO_17: dict[int, tuple[int, ...]] = {
    NOSE: (0,),
    NECK: (5, 6),
    RIGHT_SHOULDER: (6,),
    RIGHT_ELBOW: (8,),
    RIGHT_WRIST: (10,),
    LEFT_SHOULDER: (5,),
    LEFT_ELBOW: (7,),
    LEFT_WRIST: (9,),
    MID_HIP: (11, 12),
    RIGHT_HIP: (12,),
    RIGHT_KNEE: (14,),
    RIGHT_ANKLE: (16,),
    LEFT_HIP: (11,),
    LEFT_KNEE: (13,),
    LEFT_ANKLE: (15,),
    RIGHT_EYE: (2,),
    LEFT_EYE: (1,),
    RIGHT_EAR: (4,),
    LEFT_EAR: (3,),
}
"""Point -> the COCO points (17, as ViTPose finds them) whose mean it is; COCO has no feet."""

BODY_OF_COCO_18: dict[int, tuple[int, ...]] = {
    **{point: (point,) for point in range(8)},
    MID_HIP: (8, 11),
    **dict(zip(range(RIGHT_HIP, LEFT_ANKLE + 1), ((i,) for i in range(8, 14)), strict=True)),
    **dict(zip(range(RIGHT_EYE, LEFT_EAR + 1), ((i,) for i in range(14, 18)), strict=True)),
}
"""Point -> the points of OpenPose's older body model (18) whose mean it is."""

_PAIRS = (
    (RIGHT_SHOULDER, LEFT_SHOULDER),
    (RIGHT_ELBOW, LEFT_ELBOW),
    (RIGHT_WRIST, LEFT_WRIST),
    (RIGHT_HIP, LEFT_HIP),
    (RIGHT_KNEE, LEFT_KNEE),
    (RIGHT_ANKLE, LEFT_ANKLE),
    (RIGHT_EYE, LEFT_EYE),
    (RIGHT_EAR, LEFT_EAR),
    (RIGHT_BIG_TOE, LEFT_BIG_TOE),
    (RIGHT_SMALL_TOE, LEFT_SMALL_TOE),
    (RIGHT_HEEL, LEFT_HEEL),
    *((LEFT_HAND + i, RIGHT_HAND + i) for i in range(HAND)),
    # The face, side by side: jaw, brows, nostrils, eyes, outer and inner lip, pupils.
    *((FACE_AT + i, FACE_AT + 16 - i) for i in range(8)),
    *((FACE_AT + 17 + i, FACE_AT + 26 - i) for i in range(5)),
    *((FACE_AT + 31 + i, FACE_AT + 35 - i) for i in range(2)),
    *((FACE_AT + i, FACE_AT + j) for i, j in ((36, 45), (37, 44), (38, 43), (39, 42), (40, 47), (41, 46))),
    *((FACE_AT + 48 + i, FACE_AT + 54 - i) for i in range(3)),
    *((FACE_AT + 55 + i, FACE_AT + 59 - i) for i in range(2)),
    *((FACE_AT + 60 + i, FACE_AT + 64 - i) for i in range(2)),
    (FACE_AT + 67, FACE_AT + 65),
    (FACE_AT + 68, FACE_AT + 69),
)


def _mirrored() -> tuple[int, ...]:
    partner = {one: other for pair in _PAIRS for one, other in (pair, pair[::-1])}
    return tuple(partner.get(point, point) for point in range(POINTS))


MIRRORED = _mirrored()
"""Point i of the mirrored picture is point MIRRORED[i] of the original."""

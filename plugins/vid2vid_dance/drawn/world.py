"""The drawn video: a dancer before a background, frame by frame, with joints and dense parts known exactly."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from vid2vid_dance.drawn import figure
from vid2vid_dance.drawn.body import Body, pose
from vid2vid_dance.drawn.camera import Camera
from vid2vid_dance.drawn.canvas import Canvas
from vid2vid_dance.drawn.head import Head
from vid2vid_dance.drawn.moves import Choreography
from vid2vid_dance.drawn.person import some_person
from vid2vid_dance.drawn.stage import some_stage

SMALLEST = 16
DANCES = 16
"""Seeds that share a dancer."""


@dataclass(frozen=True)
class DrawnFrame:
    """One frame.

    Attributes:
        image: uint8 (H, W, 3) RGB.
        dense: uint8 (H, W, 3) v, u and part, as in ``vid2vid_dance.dense``.
        points: float (137, 3) x, y in pixels, and 1 or, for what is turned away, 0.
        body: the joints in space.
    """

    image: npt.NDArray[np.uint8]
    dense: npt.NDArray[np.uint8]
    points: npt.NDArray[np.float64]
    body: Body


class DrawnDancer:
    """An endless drawn video; asking for a frame draws it, and nothing but the background is kept.

    Args:
        seed: who dances, where and what; the same seed is the same dance. Sixteen seeds in a row, from a multiple of
            sixteen on, are dances of one dancer in one place: a network learns one person from several videos.
        size: (height, width) in pixels, at least 16.

    Raises:
        ValueError: the picture is too small, or the seed negative.
    """

    def __init__(self, seed: int, size: tuple[int, int]) -> None:
        if min(size) < SMALLEST or seed < 0:
            raise ValueError(
                f"a drawn dancer takes a seed of 0 or more and {SMALLEST} pixels of height and width or more, "
                f"not {seed} and {size[0]}x{size[1]}"
            )
        random = np.random.default_rng((seed // DANCES, 0))
        self.person = some_person(random)
        height, width = size
        scale = min(0.80 * height, 0.84 * width) * random.uniform(0.93, 1.01)
        self.camera = Camera((width - 1) / 2 + 0.03 * width * random.uniform(-1, 1), 0.885 * height, scale)
        self._ground = some_stage(random, size)
        self._dance = Choreography(seed)

    def frame(self, t: int) -> DrawnFrame:
        """Draw frame t."""
        moment = self._dance.moment(t)
        body = pose(self.person, moment)
        head = Head(self.person, body, self.camera)
        canvas = Canvas(self._ground)
        self._shadows(canvas, body)
        faced = False
        skull = float(body.head[2]) + 0.03
        for blob in figure.blobs(self.person, body, self.camera, head, moment.open, moment.sway / 0.03):
            # Features lie on the skull and under whatever comes before it: the fringe, an arm.
            if not faced and blob.depth > skull + 0.0061:
                head.draw_face(canvas, moment.blink)
                faced = True
            canvas.paint(blob)
        if not faced:
            head.draw_face(canvas, moment.blink)
        points = figure.points(body, self.camera, head, moment.open)
        return DrawnFrame(np.rint(canvas.image.clip(0, 255)).astype(np.uint8), canvas.dense, points, body)

    def _shadows(self, canvas: Canvas, body: Body) -> None:
        unit = self.camera.scale
        x, y = self.camera.see(body.middle * np.array((1.0, 0.0, 1.0)))
        canvas.shade(x + 0.03 * unit, y + 0.005 * unit, (0.20 * unit, 0.045 * unit), 0.38)
        for leg in (body.left_leg, body.right_leg):
            middle = (leg.heel + leg.big_toe) / 2
            x, y = self.camera.see(middle * np.array((1.0, 0.0, 1.0)))
            near = float(np.exp(-max(middle[1] - 0.02, 0) / 0.03))
            canvas.shade(x, y, (0.055 * unit, 0.022 * unit), 0.55 * near)

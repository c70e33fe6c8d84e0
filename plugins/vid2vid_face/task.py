"""sketch2face as a task: 68 landmarks and the edges around the face in, the sketch that the network reads out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import chain, islice
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Generator, Tensor

from vid2vid_face import files
from vid2vid_face.estimate import ESTIMATORS, Estimator, load_estimator
from vid2vid_face.follow import BLOCK, Sight, blocks_of, close_up, follow, to_reference
from vid2vid_face.landmarks import LANDMARKS, LINES, MIRRORED
from vid2vid_face.proportions import checked, jittered, measured
from vid2vid_face.region import inner_face
from vid2vid_face.show import sketch_picture
from vid2vid_face.sketch import canny, parts_map, strokes
from vid2vid_hub.errors import ConditionError, TaskError
from vid2vid_hub.ops.raster import distance_map
from vid2vid_hub.tasks import Task
from vid2vid_hub.types import Condition, Encoded, Note, Observed

RETARGETS = ("none", "parts")


class SketchToFace(Task):
    """Face landmarks (T, 68, 3) and the Canny edges around the face, uint8 (T, 1, H, W), into a talking head.

    Args:
        canny: give the network the edges of the real frame where the face is not: hair, shoulders, what is behind.
        distance_maps: append a map of the distance to each of the 14 lines of the face.
        estimator: what finds landmarks in real frames, "mediapipe" or "dlib". Landmark files need none.
        weights: where its models are: for mediapipe a folder or a .whl of it, for dlib a .dat file; None for the
            places where they are usually found.
        crop: look at a square round the face that follows it, instead of the whole picture.
        reference: proportions of the face that the network knows, as :meth:`measure` learns them.
        retarget: "parts" gives whoever is seen the proportions of the reference (a face swap), "none" leaves his own.
        jitter: how much the size of a part may differ in training, as a share; the released system's test-time
            variation is 0.1.

    Raises:
        TaskError: a setting is none of these.
    """

    name: ClassVar[str] = "sketch2face"
    about: ClassVar[str | None] = "The sketch of a face, found in your video, becomes a talking head."
    recipe: ClassVar[Path | None] = Path(__file__).with_name("recipe.yaml")
    extraction: ClassVar[frozenset[str]] = frozenset({"estimator", "weights", "crop", "reference", "retarget"})
    released: ClassVar[Mapping[int, Mapping[str, Any]]] = {15: {}, 1: {"distance_maps": False}}
    consent: ClassVar[str | None] = (
        "It makes a face do what another face does. Ask people before you drive it with their face or train it on "
        "it, and never put words into the mouth of somebody who did not agree."
    )

    def __init__(
        self,
        *,
        canny: bool = True,
        distance_maps: bool = True,
        estimator: str = "mediapipe",
        weights: str | None = None,
        crop: bool = False,
        reference: dict[str, list[float]] | None = None,
        retarget: str = "none",
        jitter: float = 0.0,
    ) -> None:
        if estimator not in ESTIMATORS:
            raise TaskError(f"sketch2face knows no estimator '{estimator}'; it knows {', '.join(ESTIMATORS)}")
        if retarget not in RETARGETS:
            raise TaskError(f"sketch2face cannot retarget '{retarget}'; it can {', '.join(RETARGETS)}")
        if not 0 <= jitter < 0.5:
            raise TaskError(f"the setting 'jitter' of sketch2face is a share from 0 to under 0.5, not {jitter}")
        self.canny = canny
        self.distance_maps = distance_maps
        self.estimator = estimator
        self.weights = weights
        self.crop = crop
        self.reference = checked(reference)
        self.retarget = retarget
        self.jitter = jitter
        self._loaded: Estimator | None = None

    @property
    def channels(self) -> int:
        """S: the edges, and a distance map for each of the 14 lines."""
        return 1 + len(LINES) * int(self.distance_maps)

    @property
    def points(self) -> int:
        """P: the landmarks of iBUG 300-W."""
        return LANDMARKS

    @property
    def mirrored(self) -> tuple[int, ...]:
        """Right and left change places."""
        return MIRRORED

    def config(self) -> dict[str, Any]:
        """The eight settings."""
        return {
            "canny": self.canny,
            "distance_maps": self.distance_maps,
            "estimator": self.estimator,
            "weights": self.weights,
            "crop": self.crop,
            "reference": self.reference,
            "retarget": self.retarget,
            "jitter": self.jitter,
        }

    def encode(self, condition: Condition) -> Encoded:
        """Edges, then distances: float (T, 15 or 1, H, W) in [0, 1]. There is no foreground prior for faces.

        The first channel is 1 on the lines of the face, and on the edges of the real frame where no part of the face
        is. The others are the L1 distance to each line in pixels, over 765, and 1 from there on or without the line.
        The lines are drawn on the CPU.

        Raises:
            ConditionError: not one map per frame, not 68 points, or a point that is not a number.
        """
        self._check(condition)
        size, device = condition.size, condition.maps.device
        if not len(condition):
            return Encoded(torch.zeros(0, self.channels, *size, device=device))
        frames = zip(_points(condition).cpu(), condition.maps.cpu(), strict=True)
        features = torch.stack([self._features(points, edges) for points, edges in frames])
        return Encoded(features.to(device).float() / 255)

    def _features(self, points: Tensor, edges: Tensor) -> Tensor:
        """One frame, uint8 (S, H, W)."""
        size = edges.shape[1], edges.shape[2]
        lines = strokes(points, size)
        drawn = lines.amax(0, keepdim=True)
        if self.canny:
            drawn = torch.maximum(drawn, edges * (parts_map(points, size) == 0))
        if not self.distance_maps:
            return drawn
        return torch.cat((drawn, *(distance_map(line[None]) for line in lines)))

    def extract(self, frames: Tensor) -> Condition:
        """Find the largest face of each real frame, uint8 (T, 3, H, W) RGB, frame by frame and uncropped.

        Raises:
            TaskError: the frames are of another kind, or the estimator's models cannot be had.
            MissingExtraError: the library that runs the estimator is not installed.
        """
        _check_frames(frames)
        estimator = self._estimator()
        sights = []
        for frame in frames:
            faces = estimator.session()(frame)
            sights.append(Sight(frame, faces[0].points.cpu() if faces else torch.zeros(LANDMARKS, 3)))
        return self._observed(sights).condition if sights else self._nothing(frames)

    def observe(self, blocks: Iterable[Tensor]) -> Iterator[Observed]:
        """Follow one face through a shot; see :mod:`vid2vid_face.follow`.

        Raises:
            TaskError: as in :meth:`extract`, or it shall retarget and knows no reference.
            MissingExtraError: as in :meth:`extract`.
        """
        if self.retarget == "parts" and self.reference is None:
            raise TaskError(
                "sketch2face shall retarget and has no reference; use a pipeline that was trained on a prepared "
                "dataset, give its 'reference', or set retarget to none"
            )
        rest = iter(blocks)
        head = next(rest, None)
        if head is None:
            return
        sights = follow(self._estimator().session(), _checked(chain((head,), rest)))
        if self.retarget == "parts" and self.reference is not None:
            sights = to_reference(sights, self.reference)
        if self.crop:
            sights = close_up(sights)
        for block in blocks_of(sights, max(len(head), 1)):  # as many as came in: who gives one frame waits for one
            yield self._observed(block)

    def missing(self, condition: Condition) -> list[str | None]:
        """Frames without a face, or with none of its landmarks in the picture."""
        points, (height, width) = _points(condition), condition.size
        x, y, there = points[..., 0], points[..., 1], points[..., 2] > 0
        inside = there & (x >= -0.5) & (x < width - 0.5) & (y >= -0.5) & (y < height - 0.5)
        return [
            None if within else "landmarks off the picture" if any_ else "no face"
            for within, any_ in zip(inside.any(1).tolist(), there.any(1).tolist(), strict=True)
        ]

    def augment(self, condition: Condition, random: Generator) -> Condition:
        """Vary the sizes of the parts of the face, the same in all frames of the stretch, by up to ``jitter``."""
        if not self.jitter or condition.points is None:
            return condition
        return Condition(condition.maps, condition.instances, jittered(condition.points, self.jitter, random))

    def measure(self, conditions: Iterable[Condition]) -> dict[str, Any]:
        """The proportions of the faces that it is trained on, as the setting ``reference``."""
        found = measured(condition.points for condition in conditions if condition.points is not None)
        return {} if found is None else {"reference": found}

    def reads(self, source: Path) -> bool:
        """A folder of text files with 68 lines "x,y", or an .npz of ``points`` and ``size``."""
        return files.reads(source)

    def read(self, source: Path, size: tuple[int, int] | None = None) -> Iterator[Condition]:
        """Read landmark files; see :func:`vid2vid_face.files.read`."""
        return files.read(source, size)

    def draw(self, seed: int, frames: int, size: tuple[int, int]) -> Iterator[Observed]:
        """A drawn talking head; how it acts depends on the seed, and who it is on which sixteen the seed is of.

        Raises:
            TaskError: the picture is too small to draw a face in.
        """
        from vid2vid_face.drawn.portrait import SMALLEST, talk

        if min(size) < SMALLEST:
            raise TaskError(f"a drawn face needs {SMALLEST} pixels each way, not {size[1]}x{size[0]}; draw it larger")
        video = islice(talk(seed, size), frames)
        while block := list(islice(video, BLOCK)):
            yield self._observed(
                [
                    Sight(
                        torch.from_numpy(picture).permute(2, 0, 1).contiguous(),
                        torch.from_numpy(np.concatenate((places, np.ones((LANDMARKS, 1))), 1)).float(),
                    )
                    for picture, places in block
                ]
            )

    def parse(self, pictures: Tensor) -> Condition:
        """Edges around a face, grey pictures uint8 (T, 1, H, W); landmarks are no pictures.

        Raises:
            ConditionError: the pictures are coloured.
        """
        if pictures.ndim != 4 or pictures.dtype != torch.uint8 or pictures.shape[1] != 1:
            raise ConditionError(
                f"sketch2face reads landmarks from files, and from pictures only edges, uint8 (T, 1, H, W), not "
                f"{pictures.dtype} {tuple(pictures.shape)}; give a video, a folder of landmark files or an .npz"
            )
        return Condition(pictures)

    def preview(self, condition: Condition) -> Tensor:
        """The sketch in colours on black, uint8 (T, 3, H, W) RGB: lines by part, edges around them in grey.

        Raises:
            ConditionError: as in :meth:`encode`.
        """
        self._check(condition)
        if not len(condition):
            return condition.maps.expand(-1, 3, -1, -1)
        frames = zip(_points(condition).cpu(), condition.maps.cpu(), strict=True)
        return torch.stack([sketch_picture(points, edges) for points, edges in frames]).to(condition.maps.device)

    def regions(self, condition: Condition) -> Tensor:
        """Squares round brows, eyes, nose and mouth, int64 (T, 4); empty where no face is in the picture."""
        return inner_face(_points(condition), condition.size)

    def picture_parts(self, condition: Condition) -> Tensor:
        """The seven parts that have looks of their own: brows, eyes and so on, and what is around the face.

        Raises:
            ConditionError: as in :meth:`encode`.
        """
        self._check(condition)
        parts = [parts_map(points, condition.size) for points in _points(condition).cpu()]
        if not parts:
            return condition.maps.int()
        return torch.stack(parts).int().to(condition.maps.device)

    def _estimator(self) -> Estimator:
        if self._loaded is None:
            self._loaded = load_estimator(self.estimator, self.weights)
        return self._loaded

    def _observed(self, sights: list[Sight]) -> Observed:
        frames = torch.stack([sight.frame for sight in sights])
        maps = canny(frames) if self.canny else torch.zeros_like(frames[:, :1])
        points = torch.stack([sight.points for sight in sights]).to(frames.device)
        notes = tuple(Note(t, sight.note) for t, sight in enumerate(sights) if sight.note)
        return Observed(frames, Condition(maps, points=points), notes)

    def _nothing(self, frames: Tensor) -> Condition:
        return Condition(frames[:, :1], points=torch.zeros(0, LANDMARKS, 3))

    def _check(self, condition: Condition) -> None:
        if condition.maps.shape[1] != 1:
            raise ConditionError(f"sketch2face takes one map of edges per frame, not {condition.maps.shape[1]}")
        points = condition.points
        if points is None:
            return
        if points.shape[1] != LANDMARKS:
            raise ConditionError(f"sketch2face takes {LANDMARKS} landmarks per frame, not {points.shape[1]}")
        wrong = ~points.isfinite().flatten(1).all(1)
        if wrong.any():
            frame = int(wrong.nonzero()[0])
            raise ConditionError("a landmark is not a number; where one is not there its confidence is 0", frame)


def _points(condition: Condition) -> Tensor:
    """The landmarks (T, 68, 3), none of them there where a condition has no points."""
    if condition.points is not None:
        return condition.points
    return torch.zeros(len(condition), LANDMARKS, 3, device=condition.maps.device)


def _checked(blocks: Iterable[Tensor]) -> Iterator[Tensor]:
    for frames in blocks:
        _check_frames(frames)
        yield frames


def _check_frames(frames: Tensor) -> None:
    if frames.ndim != 4 or frames.shape[1] != 3 or frames.dtype != torch.uint8:
        raise TaskError(
            f"frames in which a face is sought are uint8 (T, 3, H, W), not {frames.dtype} {tuple(frames.shape)}"
        )

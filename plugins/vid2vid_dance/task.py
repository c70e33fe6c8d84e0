"""pose2dance as a task: a person's points and dense body parts in, a skeleton and body parts as pictures out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal, get_args

import torch
from torch import Generator, Tensor

from vid2vid_dance import dense, face, files, retarget, vary, watch
from vid2vid_dance.layout import BODY, MIRRORED, POINTS
from vid2vid_dance.paint import SURE, paint
from vid2vid_dance.people import Estimator
from vid2vid_dance.proportions import Proportions, Tape
from vid2vid_hub.errors import ConditionError, TaskError
from vid2vid_hub.tasks import Task
from vid2vid_hub.types import Condition, Encoded, Observed, joined

Inputs = Literal["both", "openpose", "densepose"]
BLOCK = 8
ASPECTS = 0.1, 10.0
_CHOICES = {
    "inputs": get_args(Inputs),
    "estimator": ("mediapipe", "vitpose"),
    "people": ("largest",),
    "crop": ("none", "person"),
    "retarget": ("none", "torso", "limbs"),
}


class PoseToDance(Task):
    """Poses, 137 points a frame and uint8 (T, 3, H, W) maps of dense body parts, into video of a dancing person.

    The maps are DensePose's pictures: read as RGB they are v, u and the part's number. They are black without dense
    parts.

    Args:
        inputs: what the network sees: dense parts and skeleton ("both", the paper's 6 channels), or 3 channels of one.
        estimator: what finds people in real frames: "mediapipe" (BlazePose) or "vitpose".
        model: of ViTPose: Hub id or folder, for transformers.
        detector: of people, for ViTPose: Hub id or folder of an object detector.
        weights: of MediaPipe: a folder of .tflite files or the wheel that holds them; None looks where it is installed.
        densepose: the .yaml of a DensePose model, where detectron2 is installed; None finds no dense parts.
        dropout: probability with which training drops each limb, hand, face and dense part from a stretch.
        people: who is taken where there are several: the "largest" at first, then whoever is where he was.
        crop: "person" cuts out a box that follows the person, 1.5 times his height; "none" takes the whole picture.
        crop_aspect: width by height of that box.
        remove_face: leave out the head's dense parts, in training and generating alike, and let training move the
            head's points and the face a little, so that a network does not learn the shape of one face.
        reference: proportions of the body to fit to; learned from the training data.
        retarget: how others are fitted to the reference when it is set: "torso" in size and place, "limbs" also limb
            by limb, or "none".

    Raises:
        TaskError: a setting has a value that means nothing.
    """

    name: ClassVar[str] = "pose2dance"
    about: ClassVar[str | None] = "The poses of a body, found in your video, become a dancing person."
    recipe: ClassVar[Path | None] = Path(__file__).with_name("recipe.yaml")
    extraction: ClassVar[frozenset[str]] = frozenset(
        ("estimator", "model", "detector", "weights", "densepose", "dropout", "people", "crop", "crop_aspect")
    ) | {"reference", "retarget"}
    released: ClassVar[Mapping[int, Mapping[str, Any]]] = {6: {}}
    consent: ClassVar[str | None] = (
        "It makes a body do what another body does. Ask people before you drive it with their body or train it on "
        "it, and never show somebody doing what they did not agree to."
    )

    def __init__(
        self,
        *,
        inputs: str = "both",
        estimator: str = "mediapipe",
        model: str = "usyd-community/vitpose-base-simple",
        detector: str = "PekingU/rtdetr_r50vd_coco_o365",
        weights: str | None = None,
        densepose: str | None = None,
        dropout: float = 0.05,
        people: str = "largest",
        crop: str = "none",
        crop_aspect: float = 1.0,
        remove_face: bool = False,
        reference: Mapping[str, Any] | None = None,
        retarget: str = "none",
    ) -> None:
        self._settings: dict[str, Any] = {
            "inputs": inputs,
            "estimator": estimator,
            "model": model,
            "detector": detector,
            "weights": weights,
            "densepose": densepose,
            "dropout": dropout,
            "people": people,
            "crop": crop,
            "crop_aspect": crop_aspect,
            "remove_face": remove_face,
            "reference": None if reference is None else dict(reference),
            "retarget": retarget,
        }
        for setting, allowed in _CHOICES.items():
            if self._settings[setting] not in allowed:
                given, known = self._settings[setting], ", ".join(allowed)
                raise TaskError(f"pose2dance's {setting} is '{given}'; it must be one of {known}")
        if not 0 <= dropout <= 1:
            raise TaskError(f"pose2dance's dropout is {dropout}; it is a probability, between 0 and 1")
        if not ASPECTS[0] <= crop_aspect <= ASPECTS[1]:
            raise TaskError(
                f"pose2dance's crop_aspect is {crop_aspect}; it must be between {ASPECTS[0]} and {ASPECTS[1]}"
            )
        if retarget == "limbs" and inputs != "openpose":
            raise TaskError(
                "pose2dance's retarget is 'limbs', which moves points and not dense parts; "
                "take 'torso', or inputs 'openpose'"
            )
        self._reference = None if reference is None else Proportions.from_setting(reference)
        self._estimator: Estimator | None = None
        self._dense: watch.Dense | None = None

    @property
    def inputs(self) -> str:
        """What the network sees."""
        return str(self._settings["inputs"])

    @property
    def channels(self) -> int:
        """S: 3 of the dense parts, then 3 of the skeleton, or one of the two."""
        return 6 if self.inputs == "both" else 3

    @property
    def maps(self) -> int:
        """C: v, u and part of the dense parts."""
        return 3

    @property
    def points(self) -> int:
        """P: body (25), left hand, right hand (21 each) and face (70), as OpenPose numbers them."""
        return POINTS

    @property
    def mirrored(self) -> tuple[int, ...]:
        """Left and right change places."""
        return MIRRORED

    def config(self) -> dict[str, Any]:
        """The thirteen settings."""
        return dict(self._settings)

    def encode(self, condition: Condition) -> Encoded:
        """Dense parts, then the skeleton: float (T, S, H, W) in [-1, 1]. See ``encode_dense`` and ``paint``.

        Raises:
            ConditionError: not three maps, not 137 points, or a point that is no number.
        """
        _check(condition)
        planes = []
        if self.inputs != "openpose":
            planes.append(dense.encode_dense(condition.maps, bool(self._settings["remove_face"])))
        if self.inputs != "densepose":
            planes.append(_skeleton(condition).float() / 127.5 - 1)
        return Encoded(torch.cat(planes, 1))

    def preview(self, condition: Condition) -> Tensor:
        """The skeleton over the dense parts, darkened: uint8 (T, 3, H, W) RGB.

        Raises:
            ConditionError: as in :meth:`encode`.
        """
        _check(condition)
        if condition.points is None:
            return condition.maps
        skeleton = _skeleton(condition)
        return torch.where((skeleton > 0).any(1, keepdim=True), skeleton, condition.maps // 3)

    def parse(self, pictures: Tensor) -> Condition:
        """Read DensePose's pictures, uint8 (T, 3, H, W): v, u and part as RGB, as its tools save them.

        Raises:
            ConditionError: they are something else, or the network sees no dense parts.
        """
        if self.inputs == "openpose":
            raise ConditionError(
                "pose2dance with inputs 'openpose' reads no pictures; give a folder of OpenPose JSON, or an .npz"
            )
        dense.check_dense(pictures)
        return Condition(pictures)

    def extract(self, frames: Tensor) -> Condition:
        """Find the largest person in each of the frames, uint8 (T, 3, H, W) RGB, without a memory.

        Raises:
            TaskError: the frames are of another kind, or the models cannot be had.
            MissingExtraError: the library that runs them is not installed.
        """
        if frames.ndim != 4 or frames.shape[1] != 3 or frames.dtype != torch.uint8 or not frames.numel():
            raise TaskError(
                "frames to find people in are uint8 (T, 3, H, W), at least one, "
                f"not {frames.dtype} {tuple(frames.shape)}"
            )
        alone = (next(watch.watched([frame[None]], self._finder(), self._dense_finder())) for frame in frames)
        return joined([seen.condition for seen in alone])

    def observe(self, blocks: Iterable[Tensor]) -> Iterator[Observed]:
        """One person through a shot: smoothed, held over gaps of five frames, cropped and retargeted as set.

        Looks up to 32 frames ahead with a crop, and up to 64 with a reference to fit to.

        Raises:
            TaskError: the models cannot be had.
            MissingExtraError: the library that runs them is not installed.
        """
        shot = watch.watched(blocks, self._finder(), self._dense_finder())
        if self._settings["crop"] == "person":
            shot = watch.followed(shot, float(self._settings["crop_aspect"]))
        yield from self._fitted_shot(shot)

    def missing(self, condition: Condition) -> list[str | None]:
        """Where the network would see nobody: "no person", or "person off the picture"; None elsewhere."""
        _check(condition)
        there = torch.zeros(len(condition), dtype=torch.bool, device=condition.maps.device)
        within = there.clone()
        if self.inputs != "openpose":
            there = within = (condition.maps[:, dense.PART] > 0).flatten(1).any(1)
        if self.inputs != "densepose" and condition.points is not None:
            x, y, sure = condition.points[:, :BODY].unbind(-1)
            height, width = condition.size
            inside = (x > -0.5) & (x < width - 0.5) & (y > -0.5) & (y < height - 0.5)
            there = there | (sure > SURE).any(1)
            within = within | ((sure > SURE) & inside).any(1)
        pairs = zip(there.tolist(), within.tolist(), strict=True)
        return [None if seen else "person off the picture" if found else "no person" for found, seen in pairs]

    def augment(self, condition: Condition, random: Generator) -> Condition:
        """Drop limbs, hands, face and dense parts with the probability ``dropout``; see ``vary.dropped``."""
        varied = vary.dropped(condition, float(self._settings["dropout"]), random)
        return vary.jittered(varied, random) if self._settings["remove_face"] else varied

    def measure(self, conditions: Iterable[Condition]) -> dict[str, Any]:
        """The setting ``reference``: the body's usual proportions and place; nothing where no torso was seen."""
        tape = Tape()
        for condition in conditions:
            tape.take(condition)
        found = tape.read()
        return {} if found is None else {"reference": found.as_setting()}

    def reads(self, source: Path) -> bool:
        """Folders of JSON, and .npz."""
        return files.is_pose(source)

    def read(self, source: Path, size: tuple[int, int] | None = None) -> Iterator[Condition]:
        """Poses from OpenPose's JSON or .npz, fitted to the reference as in :meth:`observe`; see ``read_poses``.

        Raises:
            ConditionError: a file is damaged or of another layout, or its size cannot be known.
        """
        yield from self._fitted(files.read_poses(source, size))

    def draw(self, seed: int, frames: int, size: tuple[int, int]) -> Iterator[Observed]:
        """A drawn dancer with exact points and dense parts; sixteen seeds in a row share one. See ``DrawnDancer``.

        Raises:
            TaskError: the picture is under 16 pixels high or wide, or the seed is negative.
        """
        from vid2vid_dance.drawn import DrawnDancer

        try:
            dancer = DrawnDancer(seed, size)
        except ValueError as error:
            raise TaskError(str(error)) from error
        for first in range(0, frames, BLOCK):
            drawn = [dancer.frame(t) for t in range(first, min(first + BLOCK, frames))]
            images, maps = (
                torch.stack([torch.from_numpy(picture).permute(2, 0, 1) for picture in pictures])
                for pictures in ([frame.image for frame in drawn], [frame.dense for frame in drawn])
            )
            points = torch.stack([torch.from_numpy(frame.points) for frame in drawn]).float()
            yield Observed(images, Condition(maps, points=points))

    def regions(self, condition: Condition) -> Tensor:
        """Squares around the head, int64 (T, 4) x0, y0, x1, y1; see ``face.squares``. Empty where no head is.

        A region for hands would be squares around the points of each hand, and a second judge.
        """
        _check(condition)
        return face.squares(condition)

    def _fitted(self, conditions: Iterable[Condition]) -> Iterator[Condition]:
        """Conditions of one shot, fitted to the reference if there is one and it is wanted."""
        how = self._settings["retarget"]
        if how == "none" or self._reference is None:
            return iter(conditions)
        return retarget.retargeted(conditions, self._reference, limbs=how == "limbs")

    def _fitted_shot(self, shot: Iterator[Observed]) -> Iterator[Observed]:
        waiting: list[Observed] = []

        def conditions() -> Iterator[Condition]:
            for seen in shot:
                waiting.append(seen)
                yield seen.condition

        for condition in self._fitted(conditions()):
            seen = waiting.pop(0)
            yield Observed(seen.frames, condition, seen.notes)

    def _finder(self) -> Estimator:
        from vid2vid_dance.estimate import MediaPipe, VitPose

        if self._estimator is None:
            settings = self._settings
            if settings["estimator"] == "vitpose":
                self._estimator = VitPose(settings["model"], settings["detector"])
            else:
                self._estimator = MediaPipe(settings["weights"])
        return self._estimator

    def _dense_finder(self) -> watch.Dense | None:
        from vid2vid_dance.densepose import DensePose

        if self._dense is None and self._settings["densepose"] is not None:
            self._dense = DensePose(self._settings["densepose"])
        return self._dense


def _skeleton(condition: Condition) -> Tensor:
    points = condition.points
    if points is None:
        points = torch.zeros(len(condition), POINTS, 3, device=condition.maps.device)
    return paint(points, condition.size)


def _check(condition: Condition) -> None:
    if condition.maps.shape[1] != 3:
        raise ConditionError(f"pose2dance takes three maps a frame (v, u, part), not {condition.maps.shape[1]}")
    if condition.points is not None and condition.points.shape[1] != POINTS:
        raise ConditionError(f"pose2dance takes {POINTS} points a frame, not {condition.points.shape[1]}")

"""A body's measures in the picture: how they are taken, and how they are kept as a setting."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from torch import Tensor

from vid2vid_dance.layout import LIMBS, MID_HIP, NECK
from vid2vid_hub.errors import TaskError
from vid2vid_hub.types import Condition

TREE = tuple((MID_HIP, NECK) if edge == (NECK, MID_HIP) else edge for edge in LIMBS)
"""The limbs from the hips outward, each after the one it hangs on."""


@dataclass(frozen=True)
class Proportions:
    """A body's measures in the picture, medians over frames.

    Attributes:
        torso: neck to mid hip, as a share of the picture's height.
        hip: x and y of the mid hip, as shares of the picture's width and height.
        limbs: (inner, outer) joint -> length in torsos.
    """

    torso: float
    hip: tuple[float, float]
    limbs: Mapping[tuple[int, int], float]

    def as_setting(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "torso": self.torso,
            "hip": list(self.hip),
            "limbs": {f"{inner}-{outer}": length for (inner, outer), length in self.limbs.items()},
        }

    @classmethod
    def from_setting(cls, setting: Mapping[str, Any]) -> Proportions:
        """Back from JSON values.

        Raises:
            TaskError: they are no proportions.
        """
        try:
            x, y = (float(value) for value in setting["hip"])
            limbs = {_edge(name): float(length) for name, length in setting["limbs"].items()}
            torso = float(setting["torso"])
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise TaskError(
                f"pose2dance's reference must be what measure returns (torso, hip, limbs), not {setting!r}"
            ) from error
        if not torso > 0 or not all(length > 0 for length in limbs.values()):
            raise TaskError("pose2dance's reference has a length that is not over 0; measure it again")
        return cls(torso, (x, y), limbs)


@dataclass
class Tape:
    """Measures bodies, frame by frame; keeps a few dozen numbers a frame."""

    _torso: list[float] = field(default_factory=list)
    _hip: tuple[list[float], list[float]] = field(default_factory=lambda: ([], []))
    _limbs: dict[tuple[int, int], list[float]] = field(default_factory=dict)

    def take(self, condition: Condition) -> None:
        """Look at some frames; those without a torso tell nothing."""
        height, width = condition.size
        if condition.points is None:
            return
        for person in condition.points.cpu().double():
            torso = _length(person, MID_HIP, NECK)
            if torso is None or torso < 1:
                continue
            self._torso.append(torso / height)
            x, y = person[MID_HIP, :2].tolist()
            self._hip[0].append((x + 0.5) / width)
            self._hip[1].append((y + 0.5) / height)
            for edge in TREE:
                length = _length(person, *edge)
                if length:
                    self._limbs.setdefault(edge, []).append(length / torso)

    def read(self) -> Proportions | None:
        """The medians, or None if no torso was seen."""
        if not self._torso:
            return None
        limbs = {edge: median(lengths) for edge, lengths in self._limbs.items()}
        return Proportions(median(self._torso), (median(self._hip[0]), median(self._hip[1])), limbs)


def _length(person: Tensor, inner: int, outer: int) -> float | None:
    if min(person[inner, 2], person[outer, 2]) <= 0:
        return None
    return float((person[outer, :2] - person[inner, :2]).norm())


def _edge(name: str) -> tuple[int, int]:
    inner, outer = (int(joint) for joint in name.split("-"))
    if (inner, outer) not in TREE:
        raise ValueError(name)
    return inner, outer

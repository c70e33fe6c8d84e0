"""The label sets of street scenes as data: Cityscapes' 35 ids, and the 19 classes that networks are trained on.

Ids, trainIds, names and colours are those of the Cityscapes dataset (Cordts et al., CVPR 2016), license plate moved
from id -1 to 34 as in the released vid2vid networks.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

VOID_TRAIN_ID = 255
"""What stands in trainId files where no trained class applies."""

Colour = tuple[int, int, int]

# id: (name, trainId, colour)
_CITYSCAPES: dict[int, tuple[str, int, Colour]] = {
    0: ("unlabeled", 255, (0, 0, 0)),
    1: ("ego vehicle", 255, (0, 0, 0)),
    2: ("rectification border", 255, (0, 0, 0)),
    3: ("out of roi", 255, (0, 0, 0)),
    4: ("static", 255, (0, 0, 0)),
    5: ("dynamic", 255, (111, 74, 0)),
    6: ("ground", 255, (81, 0, 81)),
    7: ("road", 0, (128, 64, 128)),
    8: ("sidewalk", 1, (244, 35, 232)),
    9: ("parking", 255, (250, 170, 160)),
    10: ("rail track", 255, (230, 150, 140)),
    11: ("building", 2, (70, 70, 70)),
    12: ("wall", 3, (102, 102, 156)),
    13: ("fence", 4, (190, 153, 153)),
    14: ("guard rail", 255, (180, 165, 180)),
    15: ("bridge", 255, (150, 100, 100)),
    16: ("tunnel", 255, (150, 120, 90)),
    17: ("pole", 5, (153, 153, 153)),
    18: ("polegroup", 255, (153, 153, 153)),
    19: ("traffic light", 6, (250, 170, 30)),
    20: ("traffic sign", 7, (220, 220, 0)),
    21: ("vegetation", 8, (107, 142, 35)),
    22: ("terrain", 9, (152, 251, 152)),
    23: ("sky", 10, (70, 130, 180)),
    24: ("person", 11, (220, 20, 60)),
    25: ("rider", 12, (255, 0, 0)),
    26: ("car", 13, (0, 0, 142)),
    27: ("truck", 14, (0, 0, 70)),
    28: ("bus", 15, (0, 60, 100)),
    29: ("caravan", 255, (0, 0, 90)),
    30: ("trailer", 255, (0, 0, 110)),
    31: ("train", 16, (0, 80, 100)),
    32: ("motorcycle", 17, (0, 0, 230)),
    33: ("bicycle", 18, (119, 11, 32)),
    34: ("license plate", 255, (0, 0, 142)),
}
_FOREGROUND = frozenset(range(24, 34))


@dataclass(frozen=True)
class LabelSet:
    """One way of numbering the classes of a street; ids run from 0 without a gap.

    Attributes:
        names: one name per id.
        palette: one (red, green, blue) per id, 0 to 255. Ids may share a colour; the lowest then owns it.
        foreground: ids of what moves on its own.
        train_ids: one trainId per id, 255 where no trained class applies.
        void: the id of "nothing that is known".
        stored: values that files may hold beside the ids -> the id they mean.
    """

    names: tuple[str, ...]
    palette: tuple[Colour, ...]
    foreground: frozenset[int]
    train_ids: tuple[int, ...]
    void: int
    stored: Mapping[int, int] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.names)

    def from_train_ids(self) -> list[int]:
        """A table of 256 entries, trainId -> id; what is no trained class becomes ``void``."""
        table = [self.void] * 256
        for label, train_id in enumerate(self.train_ids):
            if train_id != VOID_TRAIN_ID:
                table[train_id] = label
        return table


def _cityscapes() -> LabelSet:
    names, train_ids, palette = zip(*_CITYSCAPES.values(), strict=True)
    return LabelSet(names, palette, _FOREGROUND, train_ids, void=0)


def _cityscapes_train() -> LabelSet:
    trained = {entry[1]: label for label, entry in _CITYSCAPES.items() if entry[1] != VOID_TRAIN_ID}
    ids = [trained[train_id] for train_id in sorted(trained)]
    return LabelSet(
        names=(*(_CITYSCAPES[label][0] for label in ids), "void"),
        palette=(*(_CITYSCAPES[label][2] for label in ids), (0, 0, 0)),
        foreground=frozenset(train_id for train_id, label in enumerate(ids) if label in _FOREGROUND),
        train_ids=(*range(len(ids)), VOID_TRAIN_ID),
        void=len(ids),
        stored={VOID_TRAIN_ID: len(ids)},
    )


LABEL_SETS: Mapping[str, LabelSet] = {"cityscapes": _cityscapes(), "cityscapes-train": _cityscapes_train()}

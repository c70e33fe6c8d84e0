"""What a label set of street scenes is, and those built in: Cityscapes' two, and Apolloscape's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from vid2vid_street.apolloscape import APOLLOSCAPE, APOLLOSCAPE_MOVING, GROUPS, SKY
from vid2vid_street.cityscapes import CITYSCAPES, CITYSCAPES_CAR, CITYSCAPES_MOVING, TRAIN_IDS, VOID_TRAIN_ID

Colour = tuple[int, int, int]


@dataclass(frozen=True)
class LabelSet:
    """One way of numbering the classes of a street; ids run from 0 without a gap.

    Attributes:
        name: what messages call it.
        names: one name per id.
        palette: one (red, green, blue) per id, 0 to 255. Ids may share a colour; the lowest then owns it.
        foreground: ids of what moves on its own.
        train_ids: one trainId per id, 255 where no trained class applies.
        void: the id of "nothing that is known", or None where every pixel must be something.
        stored: values that files may hold beside the ids -> the id they mean.
        also: further trainIds -> the id that takes them in.
        required: ids without which a frame is of no use.
        by_train_id: whether a segmenter is read through trainIds alone; others are read by the set's own names too.
    """

    name: str
    names: tuple[str, ...]
    palette: tuple[Colour, ...]
    foreground: frozenset[int]
    train_ids: tuple[int, ...]
    void: int | None
    stored: Mapping[int, int] = field(default_factory=dict)
    also: Mapping[int, int] = field(default_factory=dict)
    required: frozenset[int] = frozenset()
    by_train_id: bool = False

    def __len__(self) -> int:
        return len(self.names)

    def taken_in(self) -> dict[int, int]:
        """The id that a trainId becomes, for those that become one."""
        own = {train_id: label for label, train_id in enumerate(self.train_ids) if train_id != VOID_TRAIN_ID}
        return own | dict(self.also)

    def from_train_ids(self) -> list[int]:
        """A table of 256 entries, trainId -> id; what is no trained class becomes ``void``, or 0 without one."""
        taken, rest = self.taken_in(), self.void or 0
        return [taken.get(train_id, rest) for train_id in range(256)]

    def words(self) -> dict[str, int]:
        """What a segmenter may call its classes -> id: Cityscapes' names that become one, then the set's own.

        What is left of Cityscapes' names is void, or unknown where there is no void.
        """
        taken = self.taken_in()
        known = {name: taken[train_id] for name, train_id in TRAIN_IDS.items() if train_id in taken}
        own = {plain(name): label for label, name in enumerate(self.names)}
        rest = {} if self.void is None else dict.fromkeys(TRAIN_IDS, self.void)
        return rest | own | known


def plain(name: str) -> str:
    """A class name without the differences that mean nothing: "Traffic_Light" is "traffic light"."""
    return name.lower().replace("_", " ").replace("-", " ")


def _cityscapes(name: str = "cityscapes", foreground: frozenset[int] = CITYSCAPES_MOVING) -> LabelSet:
    names, train_ids, palette = zip(*CITYSCAPES.values(), strict=True)
    return LabelSet(
        name=name,
        names=names,
        palette=palette,
        foreground=foreground,
        train_ids=train_ids,
        void=0,
        required=frozenset({names.index("road")}),
        by_train_id=True,
    )


def _cityscapes_train() -> LabelSet:
    trained = {entry[1]: label for label, entry in CITYSCAPES.items() if entry[1] != VOID_TRAIN_ID}
    ids = [trained[train_id] for train_id in sorted(trained)]
    names = *(CITYSCAPES[label][0] for label in ids), "void"
    return LabelSet(
        name="cityscapes-train",
        names=names,
        palette=(*(CITYSCAPES[label][2] for label in ids), (0, 0, 0)),
        foreground=frozenset(train_id for train_id, label in enumerate(ids) if label in CITYSCAPES_MOVING),
        train_ids=(*range(len(ids)), VOID_TRAIN_ID),
        void=len(ids),
        stored={VOID_TRAIN_ID: len(ids)},
        required=frozenset({names.index("road")}),
        by_train_id=True,
    )


def _apolloscape() -> LabelSet:
    # Files hold ids with gaps between them, and a label set has none: so the classes are counted in the table's order.
    # But sky keeps its 17, which would be another class's number: thus no number is one class in files and another
    # here, and pictures of either kind can be read.
    order = [value for value in APOLLOSCAPE if value != SKY]
    order.insert(SKY, SKY)
    label = {value: number for number, value in enumerate(order)}
    stored = label | {value + GROUPS: label[value] for value in APOLLOSCAPE_MOVING}
    names, colours, same = zip(*(APOLLOSCAPE[value] for value in order), strict=True)
    return LabelSet(
        name="apolloscape",
        names=names,
        palette=tuple((colour >> 16, colour >> 8 & 255, colour & 255) for colour in colours),
        foreground=frozenset(label[value] for value in APOLLOSCAPE_MOVING),
        train_ids=tuple(TRAIN_IDS[name] if name else VOID_TRAIN_ID for name in same),
        void=names.index("unlabeled"),
        stored={value: number for value, number in stored.items() if value != number},
        # Grass is vegetation there; there is no train.
        also={TRAIN_IDS["terrain"]: names.index("vegetation")},
        required=frozenset({names.index("road")}),
    )


LABEL_SETS: Mapping[str, LabelSet] = {
    labels.name: labels
    for labels in (
        _cityscapes(),
        _cityscapes_train(),
        # The released networks paint cars alone as foreground, where the paper names all that moves.
        _cityscapes("cityscapes-cars", frozenset({CITYSCAPES_CAR})),
        _apolloscape(),
    )
}

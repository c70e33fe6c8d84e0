"""A person's own label set: a YAML or JSON file, or the same as a dict in a pipeline's settings.

    name: campus
    classes:
      - {id: 0, name: road, colour: [128, 64, 128], required: true}
      - {id: 1, name: car, colour: [0, 0, 142], foreground: true, cityscapes: [car, truck, bus]}
      - {id: 2, name: rest, colour: [0, 0, 0], void: true, stored: [255]}

``foreground`` and ``required`` may instead be lists beside ``classes``, of ids or names, and ``void`` an id or a name.
``cityscapes`` says which of the 19 trained classes (names or trainIds) a class takes in when a Cityscapes segmenter
looks; left out, it is the one of the same name. ``stored`` are further values that files hold for the class.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from vid2vid_hub.errors import TaskError
from vid2vid_street.cityscapes import TRAIN_IDS, TRAINED, VOID_TRAIN_ID
from vid2vid_street.labels import LabelSet, plain

SUFFIXES = (".yaml", ".yml", ".json")
MOST = 255
"""Classes; one value of a byte is left to be no class."""

_SET_KEYS = frozenset({"name", "classes", "foreground", "required", "void"})
_CLASS_KEYS = frozenset({"id", "name", "colour", "foreground", "required", "void", "cityscapes", "stored"})


def read_label_set(path: str | Path) -> LabelSet:
    """Read a label file, ``.json`` or else YAML.

    Raises:
        TaskError: there is no such file, or an entry is not what it should be; names file and entry.
    """
    import yaml

    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise TaskError(
            f"the label file {path} cannot be read ({error}); give a YAML or JSON file of classes"
        ) from error
    try:
        raw = json.loads(text) if str(path).lower().endswith(".json") else yaml.safe_load(text)
    except (json.JSONDecodeError, yaml.YAMLError) as error:
        place = " ".join(str(error).split())
        raise TaskError(f"the label file {path} is neither YAML nor JSON ({place}); mend it") from error
    return parse_label_set(raw, f"the label file {path}", Path(path).stem)


def parse_label_set(raw: Any, source: str, name: str = "own") -> LabelSet:
    """Make a label set of what a label file holds.

    Args:
        raw: as the module says.
        source: what messages call it.
        name: the set's name where it gives itself none.

    Raises:
        TaskError: an entry is not what it should be.
    """
    if not isinstance(raw, Mapping) or not isinstance(raw.get("classes"), list) or not raw["classes"]:
        raise TaskError(f"{source} must hold 'classes', a list of entries with id, name and colour")
    _known(raw, _SET_KEYS, source)
    classes = _Classes(raw["classes"], source)
    own_name = raw.get("name", name)
    if not isinstance(own_name, str) or not own_name:
        raise TaskError(f"{source}: the set's name is {own_name!r}; give a word")
    voids = classes.marked("void") | classes.found("void", [] if raw.get("void") is None else [raw["void"]])
    if len(voids) > 1:
        raise TaskError(f"{source}: {len(voids)} classes are void, {sorted(voids)}; mark one at most")
    taken = classes.taken_in()
    first = {label: train_id for train_id, label in reversed(taken.items())}
    return LabelSet(
        name=own_name,
        names=tuple(classes.names),
        palette=tuple(classes.palette()),
        foreground=classes.marked("foreground") | classes.found("foreground", raw.get("foreground", [])),
        train_ids=tuple(first.get(label, VOID_TRAIN_ID) for label in range(len(classes.names))),
        void=next(iter(voids), None),
        stored=classes.stored(),
        also={train_id: label for train_id, label in taken.items() if first[label] != train_id},
        required=classes.marked("required") | classes.found("required", raw.get("required", [])),
    )


def label_set_dict(labels: LabelSet) -> dict[str, Any]:
    """A label set as JSON values, from which :func:`parse_label_set` makes the same set."""
    taken = labels.taken_in()
    classes = []
    for label, (name, colour) in enumerate(zip(labels.names, labels.palette, strict=True)):
        marks = {
            "foreground": label in labels.foreground,
            "required": label in labels.required,
            "void": label == labels.void,
        }
        stored = [value for value, meant in labels.stored.items() if meant == label]
        classes.append(
            {"id": label, "name": name, "colour": list(colour)}
            | {mark: True for mark, is_set in marks.items() if is_set}
            | {"cityscapes": [TRAINED[train_id] for train_id, own in sorted(taken.items()) if own == label]}
            | ({"stored": sorted(stored)} if stored else {})
        )
    return {"name": labels.name, "classes": classes}


class _Classes:
    """The entries of a label file in the order of their ids, which are checked: 0 to N-1, each once."""

    def __init__(self, entries: list[Any], source: str) -> None:
        self._source = source
        for place, entry in enumerate(entries):
            if not isinstance(entry, Mapping) or not _is_count(entry.get("id")):
                raise TaskError(f"{source}: entry {place} is {entry!r}; give it an id (0, 1, …), a name and a colour")
            _known(entry, _CLASS_KEYS, f"{source}: the class of id {entry['id']}")
        self._entries = sorted(entries, key=lambda entry: int(entry["id"]))
        for label, entry in enumerate(self._entries):
            if entry["id"] < label:
                raise TaskError(f"{source}: two classes have the id {entry['id']}; give each its own")
            if entry["id"] > label:
                raise TaskError(
                    f"{source}: no class has the id {label}, but one has {entry['id']}; number them 0 to "
                    f"{len(entries) - 1} without a gap"
                )
        if len(entries) > MOST:
            raise TaskError(f"{source} has {len(entries)} classes, and a label map holds {MOST} at most; merge some")
        self.names = list(self._names())

    def palette(self) -> Iterator[tuple[int, int, int]]:
        """The colours, each of which is one class's alone."""
        owners: dict[tuple[int, ...], int] = {}
        for label, entry in enumerate(self._entries):
            colour = entry.get("colour")
            if not _is_list(colour) or len(colour) != 3 or not all(_is_count(c) and c < 256 for c in colour):
                raise TaskError(
                    f"{self._class(label)} has the colour {colour!r}; give [red, green, blue], whole numbers 0 to 255"
                )
            red, green, blue = colour
            other = owners.setdefault((red, green, blue), label)
            if other != label:
                raise TaskError(f"{self._class(label)} has the colour {colour} of class {other}; give it another")
            yield red, green, blue

    def marked(self, mark: str) -> frozenset[int]:
        """Ids of the classes that have a mark."""
        for label, entry in enumerate(self._entries):
            if not isinstance(entry.get(mark, False), bool):
                raise TaskError(f"{self._class(label)} has {mark}: {entry[mark]!r}; write true or false")
        return frozenset(label for label, entry in enumerate(self._entries) if entry.get(mark, False))

    def found(self, key: str, listed: Any) -> frozenset[int]:
        """Ids of the classes in a list beside the classes, where they stand by id or name."""
        if not _is_list(listed):
            raise TaskError(f"{self._source}: '{key}' is {listed!r}; give a list of ids or names")
        for item in listed:
            if item not in self.names and not (_is_count(item) and item < len(self.names)):
                raise TaskError(f"{self._source}: '{key}' names {item!r}, which is no id or name of its classes")
        return frozenset(item if _is_count(item) else self.names.index(item) for item in listed)

    def stored(self) -> dict[int, int]:
        """Values in files that are no ids -> the id they mean."""
        meant: dict[int, int] = {}
        for label, entry in enumerate(self._entries):
            values = entry.get("stored", [])
            for value in values if _is_list(values) else [values]:
                if not _is_count(value) or not len(self.names) <= value < 256:
                    raise TaskError(
                        f"{self._class(label)} is stored as {value!r}; give values from {len(self.names)} to 255, "
                        "which are no ids"
                    )
                if meant.setdefault(value, label) != label:
                    raise TaskError(f"{self._class(label)} is stored as {value}, and so is class {meant[value]}")
        return dict(sorted(meant.items()))

    def taken_in(self) -> dict[int, int]:
        """Which class takes in a trainId: what entries say, else the class of the same name."""
        taken: dict[int, int] = {}
        for label, entry in enumerate(self._entries):
            given = entry.get("cityscapes", [])
            for item in given if _is_list(given) else [given]:
                train_id = TRAIN_IDS.get(plain(item), VOID_TRAIN_ID) if isinstance(item, str) else item
                if not _is_count(train_id) or train_id >= len(TRAINED):
                    raise TaskError(
                        f"{self._class(label)} takes in {item!r} of Cityscapes; give names or trainIds of its 19 "
                        f"trained classes: {', '.join(TRAINED)}"
                    )
                if taken.setdefault(train_id, label) != label:
                    raise TaskError(
                        f"{self._class(label)} takes in Cityscapes' {TRAINED[train_id]}, and so does class "
                        f"{taken[train_id]}"
                    )
        for label, (entry, name) in enumerate(zip(self._entries, self.names, strict=True)):
            if "cityscapes" not in entry and plain(name) in TRAINED:
                taken.setdefault(TRAIN_IDS[plain(name)], label)
        return dict(sorted(taken.items()))

    def _names(self) -> Iterator[str]:
        owners: dict[str, int] = {}
        for label, entry in enumerate(self._entries):
            name = entry.get("name")
            if not isinstance(name, str) or not name.strip():
                raise TaskError(f"{self._source}: class {label} has the name {name!r}; give a word (in quotes)")
            other = owners.setdefault(plain(name), label)
            if other != label:
                raise TaskError(f"{self._source}: class {label} has the name '{name}' of class {other}")
            yield name

    def _class(self, label: int) -> str:
        return f"{self._source}: class {label} ('{self.names[label]}')"


def _known(raw: Mapping[Any, Any], keys: frozenset[str], what: str) -> None:
    stranger = next((key for key in raw if key not in keys), None)
    if stranger is not None:
        raise TaskError(f"{what} has the key {stranger!r}, which nothing reads; it may have {', '.join(sorted(keys))}")


def _is_list(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str)


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0

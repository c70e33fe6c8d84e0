"""``about.yaml``: the words of a model's card that only its author can say. Everything else on a card is measured."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import yaml

from vid2vid_hub.data.origin import LICENCE
from vid2vid_hub.errors import ModelError
from vid2vid_hub.hub.contents import ABOUT

MAX_BYTES = 1_000_000
MAX_WORDS = 20_000
"""Characters of one text."""

HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}")
LANGUAGE = re.compile(r"[a-z]{2,3}")
SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Data:
    """What a model was trained on.

    Attributes:
        name: of the data.
        licence: id as on the Hub.
        source: an address, or a few words.
        people: as in :class:`vid2vid_hub.data.origin.Origin`.
        id: of the data set on the Hub, "org/name".
        note: what else should be known, such as who labelled it and what was held out.
    """

    name: str
    licence: str | None = None
    source: str | None = None
    people: str | None = None
    id: str | None = None
    note: str | None = None


@dataclass(frozen=True)
class Converted:
    """Where weights come from that were trained by another system.

    Attributes:
        system: its name.
        licence: of its weights, id as on the Hub, or "unknown".
        files: of the checkpoint, and their sha256.
    """

    system: str
    licence: str
    files: Mapping[str, str]


@dataclass(frozen=True)
class About:
    """All of it is optional. Texts are paragraphs, ``- `` lists and `` `code` ``; all else is shown as it is.

    Attributes:
        title: of the card; the name of the repo where there is none.
        summary: what the model does, and for whom.
        licence: of the weights, id as on the Hub.
        languages: that the data speaks, as two or three letters.
        data: what it was trained on; without it, what ``training.json`` says of the dataset.
        usage: what else can be done with it.
        history: how it was trained, beyond ``recipe.yaml`` and ``training.json``.
        limits: what it cannot do.
        converted: set by ``vid2vid-hub convert``.
    """

    title: str | None = None
    summary: str | None = None
    licence: str | None = None
    languages: tuple[str, ...] = ()
    data: tuple[Data, ...] = ()
    usage: str | None = None
    history: str | None = None
    limits: str | None = None
    converted: Converted | None = None


def read_about(folder: Path) -> About:
    """The words of a pipeline folder; none at all where it has no ``about.yaml``.

    Raises:
        ModelError: a key is unknown, or a value is of another kind than it should be; names both.
    """
    path = folder / ABOUT
    if not path.is_file():
        return About()
    values = dict(_checked(read_yaml(path), About, str(path)))
    try:
        values["languages"] = tuple(_text(v, LANGUAGE, "languages") for v in _list(values, "languages"))
        values["data"] = tuple(_data(v, f"data {i}") for i, v in enumerate(_list(values, "data"), 1))
        if (converted := values.pop("converted", None)) is not None:
            values["converted"] = _converted(converted)
        texts = {
            name: _text(values.get(name), None, name) for name in ("title", "summary", "usage", "history", "limits")
        }
        return About(**values | texts | {"licence": _text(values.get("licence"), LICENCE, "licence")})
    except ValueError as error:
        raise ModelError(f"{path}: {error}") from error


def write_about(about: About, folder: Path) -> None:
    """The inverse of :func:`read_about`; what is not said is left out."""
    values = {key: value for key, value in asdict(about).items() if value}
    if about.languages:
        values["languages"] = list(about.languages)
    if about.data:
        values["data"] = [{key: value for key, value in asdict(one).items() if value is not None} for one in about.data]
    if about.converted is not None:
        values["converted"] = {**asdict(about.converted), "files": dict(about.converted.files)}
    text = yaml.safe_dump(values, sort_keys=False, allow_unicode=True, width=120)
    (folder / ABOUT).write_text(text, encoding="utf-8")


def read_yaml(path: Path) -> dict[str, Any]:
    """A YAML file that holds a mapping; an empty file holds nothing.

    Raises:
        ModelError: it is too large, no YAML in UTF-8, or holds something else.
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            raise ModelError(f"{path} has more than {MAX_BYTES} bytes; a file of settings or words is small")
        values = yaml.safe_load(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError, RecursionError, ValueError) as error:
        raise ModelError(f"{path} cannot be read as YAML: {' '.join(str(error).split())[:300]}") from error
    if values is not None and not isinstance(values, dict):
        raise ModelError(f"{path} holds {type(values).__name__}; expected a mapping of names to values")
    return values or {}


def _checked(values: Any, kind: type, where: str) -> Mapping[str, Any]:
    if not isinstance(values, dict):
        raise ModelError(f"{where} holds {type(values).__name__}; expected a mapping of names to values")
    known = [field.name for field in fields(kind)]
    unknown = sorted(str(key) for key in values if key not in known)
    if unknown:
        raise ModelError(f"{where} has the key '{unknown[0]}', which nobody reads; it can say {', '.join(known)}")
    return values


def _text(value: Any, pattern: re.Pattern[str] | None, name: str) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str) or len(value) > MAX_WORDS:
        raise ValueError(f"{name} must be text of at most {MAX_WORDS} characters, and it is {type(value).__name__}")
    if pattern is not None and not pattern.fullmatch(value):
        wanted = {LICENCE: "an id as on the Hub, such as mit", HUB_ID: "org/name", LANGUAGE: "two or three letters"}
        raise ValueError(f"{name} is '{value[:100]}'; expected {wanted.get(pattern, '64 hexadecimal digits')}")
    return value


def _list(values: Mapping[str, Any], name: str) -> list[Any]:
    found = values.get(name)
    if found is not None and not isinstance(found, list):
        raise ValueError(f"{name} must be a list, and it is {type(found).__name__}")
    return found or []


def _data(value: Any, where: str) -> Data:
    values = dict(_checked(value, Data, where))
    if isinstance(values.get("people"), bool):
        values["people"] = "yes" if values["people"] else "nobody"
    patterns = {"licence": LICENCE, "id": HUB_ID}
    texts = {key: _text(text, patterns.get(key), f"{where}, {key},") for key, text in values.items()}
    if not texts.get("name"):
        raise ValueError(f"{where} has no name")
    return Data(**texts)  # type: ignore[arg-type]  # the name is text by now


def _converted(value: Any) -> Converted:
    values = _checked(value, Converted, "converted")
    files = values.get("files", {})
    if not isinstance(files, dict):
        raise ValueError(f"converted, files, must be a mapping, and it is {type(files).__name__}")
    for name, digest in files.items():
        _text(name, None, "converted, files,")
        _text(digest, SHA256, f"converted, files, {name}")
    system, licence = (_text(values.get(key), None, f"converted, {key},") for key in ("system", "licence"))
    if not system or not licence:
        raise ValueError("converted must say its system and its licence")
    return Converted(system, _text(licence, LICENCE, "converted, licence,") or "", files)

"""A recipe from YAML and back: a base recipe and what differs from it. An unknown key is an error."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from types import UnionType
from typing import Any, Literal, cast, get_args, get_origin, get_type_hints

import yaml

from vid2vid_hub.errors import RecipeError
from vid2vid_hub.tasks import get_task, list_tasks
from vid2vid_hub.training.recipe import Recipe

BASE = "base"
"""The key that names another recipe, over which the file's own values go: a task, for the recipe that it brings, or a
file or folder, relative to the file that names it."""


SHARES = "first_frames"
"""The key whose mapping adds up to one, so that half of another's says nothing."""


def load_recipe(path: Path, overrides: dict[str, str] | None = None) -> Recipe:
    """Read a recipe from a YAML file.

    Args:
        path: the file, or a folder with a ``recipe.yaml``.
        overrides: "optimizer.rate" -> "1e-4", values in YAML; keys must exist. "base" is relative to where you are.

    Raises:
        RecipeError: a file is missing or not YAML, or a key or value is wrong.
    """
    changes: dict[str, Any] = {}
    for key, text in (overrides or {}).items():
        try:
            changes[key] = yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise RecipeError(f"{key}: '{text}' is not a YAML value") from error
    base = changes.pop(BASE, None)
    values = _read(path, None if base is None else _named(str(base), Path()))
    for key, value in changes.items():
        _override(values, key, value)
    return parse_recipe(values, str(_file(path)))


def parse_recipe(values: dict[str, Any], where: str = "recipe") -> Recipe:
    """Plain values to a recipe.

    Raises:
        RecipeError: a key is unknown or missing, or a value has the wrong type.
    """
    return cast(Recipe, _build(Recipe, values, where))


def plain(recipe: Recipe) -> dict[str, Any]:
    """A recipe as the plain values that JSON and YAML hold; the inverse of :func:`parse_recipe`."""
    return cast(dict[str, Any], _plain(recipe))


def save_recipe(recipe: Recipe, path: Path) -> None:
    """Write YAML in the order of the fields; beside and renamed, so that no kill leaves half a recipe."""
    beside = path.with_name(f".{path.name}.part")
    try:
        beside.write_text(yaml.safe_dump(plain(recipe), sort_keys=False))
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def _file(path: Path) -> Path:
    return path / "recipe.yaml" if path.is_dir() else path


def _read(path: Path, base: Path | None = None, inside: tuple[Path, ...] = ()) -> dict[str, Any]:
    """The values of a file over those of its base, and so on down."""
    file = _file(path).resolve()
    if file in inside:
        raise RecipeError(f"{path} is its own base")
    try:
        values = yaml.safe_load(file.read_text())
    except (OSError, UnicodeDecodeError) as error:
        raise RecipeError(f"there is no recipe at {_file(path)}") from error
    except yaml.YAMLError as error:
        raise RecipeError(f"{file} is not YAML: {error}") from error
    if not isinstance(values, dict):
        raise RecipeError(f"{file} holds {type(values).__name__}; a recipe is a mapping of names to values")
    named = values.pop(BASE, None)
    if base is None and named is not None:
        base = _named(str(named), file.parent)
    return values if base is None else _over(_read(base, inside=(*inside, file)), values)


def _named(base: str, folder: Path) -> Path:
    """Where the recipe is that ``base`` names in a file of ``folder``."""
    if base in list_tasks():
        return own_recipe(base)
    return folder / base


def own_recipe(task: str) -> Path:
    """The recipe that a task brings.

    Raises:
        RecipeError: it brings none.
        TaskError: there is no such task.
    """
    own = get_task(task).recipe
    if own is None:
        raise RecipeError(f"task '{task}' brings no recipe of its own; give one")
    return own


def _over(base: dict[str, Any], values: dict[str, Any]) -> dict[str, Any]:
    """Values over those of a base: mappings key by key, everything else as a whole.

    Shares are one thing, and so are the arguments of a generator of another kind than the base's.
    """
    whole = {SHARES} if values.get("network") in (None, base.get("network", "vid2vid")) else {SHARES, "generator"}
    merged = dict(base)
    for key, value in values.items():
        both = isinstance(value, dict) and isinstance(base.get(key), dict) and key not in whole
        merged[key] = _over(base[key], value) if both else value
    return merged


def _override(values: dict[str, Any], key: str, value: Any) -> None:
    *path, last = key.split(".")
    inner: Any = values
    for name in path:
        if isinstance(inner, dict) and inner.get(name) is None:
            inner[name] = {}
        inner = _inside(inner, name, key)
    if isinstance(inner, list):
        _inside(inner, last, key)
        inner[int(last)] = value
    elif isinstance(inner, dict):
        inner[last] = value
    else:
        raise RecipeError(f"'{key}' cannot be set: '{path[-1]}' is not a mapping")


def _inside(values: Any, name: str, key: str) -> Any:
    if isinstance(values, list):
        if not name.isdigit() or int(name) >= len(values):
            raise RecipeError(f"'{key}' cannot be set: '{name}' is none of the numbers 0 to {len(values) - 1}")
        return values[int(name)]
    if not isinstance(values, dict):
        raise RecipeError(f"'{key}' cannot be set: what '{name}' is asked of is not a mapping")
    return values[name]


def _build(kind: Any, value: Any, where: str) -> Any:
    options = get_args(kind) if get_origin(kind) is UnionType else (kind,)
    recipes = [option for option in options if dataclasses.is_dataclass(option)]
    if value is None and type(None) in options:
        return None
    if any(get_origin(option) is dict for option in options):
        return _mapping(value, where)
    if recipes:
        return _build_recipe(recipes[0], value, where)
    if get_origin(kind) is tuple:
        if not isinstance(value, list):
            raise RecipeError(f"{where}: expected a list, found {value!r}")
        return tuple(_build(get_args(kind)[0], v, f"{where}[{i}]") for i, v in enumerate(value))
    return _scalar(kind, value, where)


def _build_recipe(kind: Any, value: Any, where: str) -> Any:
    if not isinstance(value, dict):
        raise RecipeError(f"{where}: expected a mapping, found {value!r}")
    hints = get_type_hints(kind)
    needed = [f.name for f in dataclasses.fields(kind) if _is_required(f)]
    unknown = sorted(set(value) - set(hints))
    if unknown:
        raise RecipeError(f"{where}: unknown {', '.join(map(repr, unknown))}; known are {', '.join(sorted(hints))}")
    missing = [name for name in needed if name not in value]
    if missing:
        raise RecipeError(f"{where}: {' and '.join(map(repr, missing))} must be given")
    built = {name: _build(hints[name], v, f"{where}: {name}") for name, v in value.items()}
    try:
        return kind(**built)
    except RecipeError as error:
        raise RecipeError(f"{where}: {error}") from error


def _mapping(value: Any, where: str) -> dict[str, Any]:
    if isinstance(value, dict):
        return value
    raise RecipeError(f"{where}: expected a mapping, found {value!r}")


def _scalar(kind: Any, value: Any, where: str) -> Any:
    if get_origin(kind) is Literal:
        value = "no" if value is False else value  # what YAML 1.1 makes of a bare no
        if value in get_args(kind):
            return value
        raise RecipeError(f"{where}: expected one of {', '.join(map(repr, get_args(kind)))}, found {value!r}")
    options = get_args(kind) or (kind,)
    if float in options:
        value = _number(value)
    if isinstance(value, options) and (bool in options or not isinstance(value, bool)):
        return value
    names = ("null" if option is type(None) else option.__name__ for option in options)
    raise RecipeError(f"{where}: expected {' or '.join(names)}, found {value!r}")


def _number(value: Any) -> Any:
    """Whole numbers as floats, and 1e-4, which YAML 1.1 takes for text; what is no finite number stays as it is."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return value
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return value
    return number if math.isfinite(number) else str(value)


def _is_required(field: dataclasses.Field[Any]) -> bool:
    return field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: _plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, tuple):
        return [_plain(v) for v in value]
    return value

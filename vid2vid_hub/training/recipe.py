"""The recipe: everything that decides a training, as YAML beside the weights. An unknown key is an error."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, cast, get_args, get_origin, get_type_hints

import yaml

from vid2vid_hub.errors import RecipeError


def _check_share(name: str, value: float, open_end: bool = False) -> None:
    if not 0 <= value <= 1 or (open_end and value == 1):
        raise RecipeError(f"{name} is {value}; it must be between 0 and 1{', and less than 1' if open_end else ''}")


@dataclass(frozen=True)
class StageRecipe:
    """One stretch of the schedule.

    Attributes:
        epochs: how many epochs it lasts.
        width: of the training frames, pixels.
        height: of the training frames, pixels.
        frames: clip length.
        unroll: frames that one back-propagation spans.
        batch: clips a step.
    """

    epochs: int
    width: int
    height: int
    frames: int = 6
    unroll: int = 3
    batch: int = 1

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if value < 1:
                raise RecipeError(f"{name} is {value}; it must be 1 or more")


@dataclass(frozen=True)
class OptimizerRecipe:
    """Adam, for generator and discriminators alike. The rate falls linearly to zero over the last ``decay`` epochs."""

    rate: float = 2e-4
    beta1: float = 0.5
    beta2: float = 0.999
    decay: int = 0

    def __post_init__(self) -> None:
        if self.rate <= 0 or self.decay < 0:
            raise RecipeError(f"rate is {self.rate} and decay {self.decay}; they must be over 0, and 0 or more")
        _check_share("beta1", self.beta1, open_end=True)
        _check_share("beta2", self.beta2, open_end=True)


@dataclass(frozen=True)
class LossRecipe:
    """The weights of the terms of eq. 5 and their companions (C.2); 0 switches a term off.

    Attributes:
        gan: eq. 6 for the generator, on the finished frame and on the hallucination.
        feature: feature matching with D_I.
        perceptual: distance of VGG features.
        flow: endpoint error of eq. 8.
        warp: warping error of eq. 8.
        generated_warp: the true flow must carry the last generated frame to this one. The released system gives it
            10, the paper has no such term; it rewards a mask that never hallucinates, see ``docs/log.md``.
        mask: pull towards warping where the true flow is reliable.
    """

    gan: float = 1.0
    feature: float = 10.0
    perceptual: float = 0.0
    flow: float = 10.0
    warp: float = 10.0
    generated_warp: float = 0.0
    mask: float = 0.0


@dataclass(frozen=True)
class PerceptualRecipe:
    """The frozen network of the perceptual term: a safetensors file of VGG16 convolutions, torchvision's key names."""

    weights: str | None = None


@dataclass(frozen=True)
class TeacherRecipe:
    """The flow teacher, for clips without cached flow: its name and, for networks, where the weights are."""

    name: str = "dis"
    weights: str | None = None


@dataclass(frozen=True)
class Recipe:
    """A whole training.

    Attributes:
        task: registered task name.
        task_config: settings of the task.
        generator: arguments of ``Vid2VidGenerator`` beside ``condition_channels`` and ``foreground``.
        discriminator: arguments of ``MultiscaleDiscriminator`` beside ``inputs``.
        stages: the schedule, in order.
        from_nothing: share of the clips that start without a first frame, as a user without one does.
        flip: share of the clips that are mirrored.
        ema: decay a step of the averaged generator that is saved; 0 saves the generator itself.
        precision: "no" for float32, "bf16" for autocast in bfloat16.
        checkpoint_minutes: how often the run is saved between epochs.
        seed: of everything random.
    """

    task: str
    stages: tuple[StageRecipe, ...]
    task_config: dict[str, Any] = field(default_factory=dict)
    generator: dict[str, Any] = field(default_factory=dict)
    discriminator: dict[str, Any] = field(default_factory=dict)
    optimizer: OptimizerRecipe = OptimizerRecipe()
    loss: LossRecipe = LossRecipe()
    perceptual: PerceptualRecipe = PerceptualRecipe()
    teacher: TeacherRecipe = TeacherRecipe()
    from_nothing: float = 0.5
    flip: float = 0.5
    ema: float = 0.999
    precision: Literal["no", "bf16"] = "no"
    checkpoint_minutes: float = 10.0
    seed: int = 0

    def __post_init__(self) -> None:
        _check_share("from_nothing", self.from_nothing)
        _check_share("flip", self.flip)
        _check_share("ema", self.ema, open_end=True)
        if not self.stages:
            raise RecipeError("a recipe needs at least one stage under 'stages'")
        if self.loss.perceptual and self.perceptual.weights is None:
            raise RecipeError(
                "loss.perceptual is on, but perceptual.weights names no file of VGG16 weights; name one, or set it to 0"
            )

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as they are written to YAML."""
        return cast(dict[str, Any], yaml.safe_load(yaml.safe_dump(_plain(self))))

    def save(self, path: Path) -> None:
        """Write YAML in the order of the fields."""
        path.write_text(yaml.safe_dump(_plain(self), sort_keys=False))


def without_paths(recipe: Recipe) -> Recipe:
    """The recipe as it is published: files of one machine by their names only."""
    weights = recipe.perceptual.weights
    return replace(recipe, perceptual=PerceptualRecipe(Path(weights).name if weights else None))


def load_recipe(path: Path, overrides: dict[str, str] | None = None) -> Recipe:
    """Read a recipe from a YAML file.

    Args:
        path: the file, or a folder with a ``recipe.yaml``.
        overrides: "optimizer.rate" -> "1e-4", values in YAML; keys must exist.

    Raises:
        RecipeError: the file is missing or not YAML, or a key or value is wrong.
    """
    file = path / "recipe.yaml" if path.is_dir() else path
    try:
        values = yaml.safe_load(file.read_text())
    except OSError as error:
        raise RecipeError(f"there is no recipe at {file}") from error
    except yaml.YAMLError as error:
        raise RecipeError(f"{file} is not YAML: {error}") from error
    if not isinstance(values, dict):
        raise RecipeError(f"{file} holds {type(values).__name__}; a recipe is a mapping of names to values")
    for key, text in (overrides or {}).items():
        try:
            _override(values, key, yaml.safe_load(text))
        except yaml.YAMLError as error:
            raise RecipeError(f"{key}: '{text}' is not a YAML value") from error
    return parse_recipe(values, str(file))


def parse_recipe(values: dict[str, Any], where: str = "recipe") -> Recipe:
    """Plain values to a recipe.

    Raises:
        RecipeError: a key is unknown or missing, or a value has the wrong type.
    """
    return cast(Recipe, _build(Recipe, values, where))


def _override(values: dict[str, Any], key: str, value: Any) -> None:
    *path, last = key.split(".")
    for name in path:
        values = values.setdefault(name, {})
        if not isinstance(values, dict):
            raise RecipeError(f"'{key}' cannot be set: '{name}' is not a mapping")
    values[last] = value


def _build(kind: Any, value: Any, where: str) -> Any:
    if dataclasses.is_dataclass(kind):
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
            return cast(Any, kind)(**built)
        except RecipeError as error:
            raise RecipeError(f"{where}: {error}") from error
    if get_origin(kind) is tuple:
        if not isinstance(value, list):
            raise RecipeError(f"{where}: expected a list, found {value!r}")
        return tuple(_build(get_args(kind)[0], v, f"{where}[{i}]") for i, v in enumerate(value))
    return _scalar(kind, value, where)


def _scalar(kind: Any, value: Any, where: str) -> Any:
    if get_origin(kind) is Literal:
        value = "no" if value is False else value  # what YAML 1.1 makes of a bare no
        if value in get_args(kind):
            return value
        raise RecipeError(f"{where}: expected one of {', '.join(map(repr, get_args(kind)))}, found {value!r}")
    if get_origin(kind) is dict:
        if isinstance(value, dict):
            return value
        raise RecipeError(f"{where}: expected a mapping, found {value!r}")
    options = get_args(kind) or (kind,)
    if float in options:
        value = _number(value)
    if isinstance(value, options) and not isinstance(value, bool):
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

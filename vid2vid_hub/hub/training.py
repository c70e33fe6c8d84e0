"""How a model was trained, told from ``recipe.yaml`` and ``training.json`` alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from vid2vid_hub.hub.about import HUB_ID, read_yaml
from vid2vid_hub.hub.contents import RECIPE, TRAINING
from vid2vid_hub.hub.escape import code, table, words
from vid2vid_hub.nn.strict import read_json

JUDGES = {
    "discriminator": "single frames",
    "video_discriminator": "frames together",
    "region_discriminator": "where people look first",
}


def read_training(folder: Path) -> Mapping[str, Any]:
    """What the trainer said of itself; nothing where it said nothing.

    Raises:
        ModelError: ``training.json`` is damaged.
    """
    return read_json(folder / TRAINING) if (folder / TRAINING).is_file() else {}


def read_recipe(folder: Path, name: str = RECIPE) -> Mapping[str, Any]:
    """A recipe as plain values; nothing where there is none.

    Raises:
        ModelError: it is no YAML mapping.
    """
    return read_yaml(folder / name) if (folder / name).is_file() else {}


def base_model(recipe: Mapping[str, Any]) -> str | None:
    """The model on the Hub that a training started from. Published recipes name local folders by one word only."""
    start = recipe.get("start")
    return start if isinstance(start, str) and HUB_ID.fullmatch(start) else None


def told(recipe: Mapping[str, Any], training: Mapping[str, Any], file: str = RECIPE) -> Iterator[str]:
    """A recipe in paragraphs of Markdown."""
    yield " ".join(_lead(recipe, training, file))
    rows = [_stage(stage) for stage in recipe.get("stages") or [] if isinstance(stage, Mapping)]
    if rows:
        yield table(("epochs", "size", "frames of a clip", "unrolled", "clips a step"), rows, left=0)
    listed = [f"- {what}: {how}" for what, how in _method(recipe) if how]
    if listed:
        yield "\n".join(listed)


def _lead(recipe: Mapping[str, Any], training: Mapping[str, Any], file: str) -> Iterator[str]:
    yield f"[{file}]({file}) is the whole recipe; `vid2vid-hub train --recipe {file} --data DATA` trains another."
    start = recipe.get("start")
    if base_model(recipe) is not None:
        yield f"It started from [{words(str(start))}](https://huggingface.co/{start})."
    elif start:
        yield f"It started from {code(str(start))}, which is not published; `--set start=null` begins from nothing."
    if not training:
        return
    steps, epochs = _number(training.get("steps")), _number(training.get("epochs"))
    took = _duration(training.get("seconds"))
    count, device = _number(training.get("processes", 1)), words(str(training.get("device", "unknown")))
    where = f"{device}, {count} process{'' if count == '1' else 'es'}"
    yield f"It took {steps} steps in {epochs} epochs{f', {took},' if took else ''} on {where}."


def _stage(stage: Mapping[str, Any]) -> tuple[str, ...]:
    frames, most = _number(stage.get("frames", 6)), stage.get("max_frames")
    doubled = stage.get("double_every")
    length = f"{frames} to {_number(most)}" if most else f"{frames}, doubling" if doubled else frames
    size = f"{_number(stage.get('width'))}x{_number(stage.get('height'))}"
    return _number(stage.get("epochs")), size, length, _number(stage.get("unroll", 3)), _number(stage.get("batch", 1))


def _method(recipe: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """What there is to say, and how; an empty text where there is nothing."""
    judged = [words_ for name, words_ in JUDGES.items() if _takes_part(recipe.get(name))]
    yield "discriminators", ", ".join(judged)
    loss = recipe.get("loss")
    weighed = loss.items() if isinstance(loss, Mapping) else ()
    # A weight of what takes no part is a default that nobody read.
    idle = {"region"} if not _takes_part(recipe.get("region_discriminator")) else set()
    terms = [
        f"{words(str(k).replace('_', ' '))} {_number(v)}" for k, v in weighed if v and str(k).split("_")[0] not in idle
    ]
    yield "weights of the losses", ", ".join(terms)
    if recipe.get("perceptual") not in (None, "none"):
        yield "perceptual loss", code(str(recipe["perceptual"]))
    teacher = recipe.get("teacher")
    yield "flow teacher", code(str(teacher.get("name"))) if isinstance(teacher, Mapping) else ""
    first = recipe.get("first_frames")
    shares = first.items() if isinstance(first, Mapping) else ()
    yield "clips begin with", ", ".join(f"{words(str(k))} {_share(v)}" for k, v in shares)
    optimizer = recipe.get("optimizer")
    rate = optimizer.get("rate") if isinstance(optimizer, Mapping) else None
    yield "Adam", f"rate {_number(rate)}" if rate else ""
    average, seed = recipe.get("ema"), recipe.get("seed")
    exact = {"no": "float32", "bf16": "bfloat16"}.get(str(recipe.get("precision", "")), "")
    said = [exact, f"average of weights {_number(average)}" if average else "", f"seed {_number(seed)}"]
    yield "precision", ", ".join(part for part in said if part and not part.endswith("None"))


def _takes_part(judge: Any) -> bool:
    return bool(judge) and not (isinstance(judge, Mapping) and judge.get("strides") == 0)


def _number(value: Any) -> str:
    """A number as people write it; what is none is escaped."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return words(str(value))
    return f"{value:,}" if isinstance(value, int) else f"{value:g}"


def _share(value: Any) -> str:
    return f"{value:.0%}" if isinstance(value, int | float) else words(str(value))


def _duration(seconds: Any) -> str:
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not seconds > 0:
        return ""
    if seconds < 5400:
        return f"{max(1, round(seconds / 60))} minutes"
    return f"{seconds / 3600:.1f} hours"

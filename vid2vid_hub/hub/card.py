"""The card of a pipeline folder, ``README.md`` on the Hub: written from the recipe and the measures, never by hand."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from huggingface_hub import EvalResult, ModelCardData

from vid2vid_hub.conditions import find
from vid2vid_hub.errors import ModelError
from vid2vid_hub.hub.about import About, Data, read_about
from vid2vid_hub.hub.contents import PREVIEW, Network, find_sample, networks, read_index
from vid2vid_hub.hub.escape import address, code, plain, prose, table, words
from vid2vid_hub.hub.measures import Measurement, read_measures
from vid2vid_hub.hub.training import base_model, read_recipe, read_training, told
from vid2vid_hub.tasks import Task, get_task

LIBRARY, TAG = "vid2vid-hub", "video-to-video"
FUTURE = 30
"""Frames that the usage of a model which looks ahead asks for."""
NAMED = re.compile(r"\w[\w./-]*")
DIGITS = 4
"""Significant digits of a measure."""

PEOPLE = {
    "nobody": "nobody is to be seen",
    "drawn": "the people are drawn, and nobody's likeness",
    "consented": "people are to be seen, and consented",
    "yes": "people are to be seen; whether they consented is not said",
}
ARROWS = {"higher": " ↑", "lower": " ↓"}
GENERATED = "A generated video can mislead: say that it is generated wherever it is shown."


@dataclass(frozen=True)
class Folder:
    """A pipeline folder as its card sees it.

    Attributes:
        path: the folder.
        repo: what its card calls it: "org/name", or a path that loads.
        revision: the branch it is published on, where that is not the main one.
        preview: whether there is a ``preview.mp4`` to be shown.
    """

    path: Path
    repo: str
    revision: str | None = None
    preview: bool = False

    @cached_property
    def index(self) -> dict[str, Any]:
        """``model_index.json``."""
        return dict(read_index(self.path))

    @cached_property
    def about(self) -> About:
        """``about.yaml``."""
        return read_about(self.path)

    @cached_property
    def task(self) -> Task:
        """The task; its package is installed, or it is an error."""
        return get_task(str(self.index.get("task")), self.index.get("task_config"))

    @cached_property
    def recipe(self) -> dict[str, Any]:
        """``recipe.yaml``."""
        return dict(read_recipe(self.path))

    @cached_property
    def training(self) -> dict[str, Any]:
        """``training.json``."""
        return dict(read_training(self.path))

    @cached_property
    def networks(self) -> list[Network]:
        """What it is made of."""
        return networks(self.path)

    @cached_property
    def measures(self) -> list[Measurement]:
        """What was measured of these weights."""
        return read_measures(self.path)

    @cached_property
    def data(self) -> tuple[Data, ...]:
        """What it was trained on: in the author's words, or else as the dataset says."""
        if self.about.data or not isinstance(found := self.training.get("data"), dict):
            return self.about.data
        texts = {key: str(found[key]) for key in ("licence", "source", "people") if found.get(key)}
        note = f"{found.get('clips')} clips, {found.get('frames')} frames."
        return (Data(name=str(found.get("name") or "data"), note=note, **texts),)

    @property
    def licence(self) -> str | None:
        """Of the weights; converted ones carry that of the original."""
        return self.about.licence or (self.about.converted.licence if self.about.converted else None)

    @property
    def looks_ahead(self) -> bool:
        """Whether its usage goes on with a video instead of following one."""
        return any(network.name == "forecaster" for network in self.networks)

    @cached_property
    def sample(self) -> tuple[int, int, int] | None:
        """(frames, height, width) of the condition to try, if there is one."""
        path = find_sample(self.path)
        if path is None:
            return None
        sizes = [block.size for block in find(self.task, path) for _ in range(len(block))]
        return len(sizes), *sizes[0]


def card(folder: Path, repo: str, revision: str | None = None, *, preview: bool | None = None) -> str:
    """The card of a pipeline folder.

    A pure function of the folder's files. Text from them is shown as it is: names and labels become neither HTML nor
    Markdown nor YAML.

    Args:
        folder: of a pipeline, checked before.
        repo: "org/name" on the Hub; or a path from where the card lies in a checkout.
        revision: the branch it is published on; None is the main one.
        preview: whether ``preview.mp4`` will be beside it; None looks.

    Raises:
        ModelError: a file of the folder is damaged.
        TaskError: the task is not installed, so that nobody can say what its conditions show.
    """
    if not NAMED.fullmatch(repo) or not (revision is None or NAMED.fullmatch(revision)):
        raise ModelError(f"'{plain(repo)}' is no name that a card can give; write org/name")
    shown = (folder / PREVIEW).is_file() if preview is None else preview
    seen = Folder(folder, repo, revision, shown)
    parts = [f"---\n{_metadata(seen)}\n---", f"# {words(seen.about.title or repo.split('/')[-1])}"]
    for title, blocks in {
        "": [*prose(seen.about.summary or ""), *_usage(seen)],
        "What it is": _networks(seen),
        "How it was trained": _trained(seen),
        "Data": _data(seen),
        "Measures": _measures(seen),
        "Limits": prose(seen.about.limits or ""),
        "Responsible use": _consent(seen),
        "Licence": _licence(seen),
    }.items():
        written = [block for block in blocks if block]
        parts += [f"## {title}"] * bool(title and written) + written
    return "\n\n".join(parts) + "\n"


def _metadata(seen: Folder) -> str:
    about, name = seen.about, plain(seen.about.title or seen.repo.split("/")[-1])
    tags = ["vid2vid", plain(seen.task.name), "safetensors", *(["converted"] if about.converted else [])]
    results = [result for one in seen.measures for result in _results(one, seen)]
    more: dict[str, Any] = {}
    if seen.preview:
        more["widget"] = [{"text": f"{plain(seen.task.name)} sample", "output": {"url": PREVIEW}}]
    if seen.licence in ("other", "unknown"):
        more["license_name"] = "unknown" if seen.licence == "unknown" else "see-card"
    return ModelCardData(
        language=list(about.languages) or None,
        license="other" if seen.licence == "unknown" else seen.licence,
        library_name=LIBRARY,
        pipeline_tag=TAG,
        tags=tags,
        datasets=[one.id for one in about.data if one.id] or None,
        base_model=base_model(seen.recipe),
        model_name=name if results else None,
        eval_results=results or None,
        **more,
    ).to_yaml()


def _results(one: Measurement, seen: Folder) -> Iterator[EvalResult]:
    known = {data.name: data.id for data in seen.about.data if data.id}
    slug = re.sub(r"[^a-z0-9]+", "-", one.data.lower()).strip("-") or "data"
    for measure, value in next(iter(one.systems.values())).items():
        if measure in one.meaning:
            yield EvalResult(
                task_type=TAG,
                task_name=plain(one.task),
                dataset_type=known.get(one.data, slug),
                dataset_name=plain(one.data),
                dataset_split=plain(one.split),
                metric_type=plain(measure),
                metric_name=plain(measure),
                metric_value=float(f"{value:.{DIGITS}g}"),
                metric_args={"protocol": f"{plain(one.meaning[measure])}; {plain(_conditions(one))}"},
            )


def _usage(seen: Folder) -> Iterator[str]:
    repo, where = seen.repo, "" if seen.revision is None else f', revision="{seen.revision}"'
    lines = ["from vid2vid_hub import Vid2VidPipeline", "", f'pipe = Vid2VidPipeline.from_pretrained("{repo}"{where})']
    if seen.sample is not None:
        frames, height, width = seen.sample
        ahead, frames = (f", future={FUTURE}", FUTURE) if seen.looks_ahead else ("", frames)
        made = f"  # uint8 ({frames}, {height}, {width}, 3)"
        lines.append(f"frames = pipe(condition=pipe.sample{ahead}).frames{made}")
    yield "\n".join(("```python", *lines, "```"))
    if seen.sample is not None:
        what = "what was observed" if seen.looks_ahead else "a condition to try"
        yield f"`pipe.sample` is {what}, which came with the model. Yours is a file or a folder:"
    ahead = f" --future {FUTURE}" if seen.looks_ahead else ""
    yield f"```sh\npip install {LIBRARY}\nvid2vid-hub generate {repo} INPUT{ahead} --output video.mp4\n```"
    yield from prose(seen.about.usage or "")
    if seen.preview:
        yield "<Gallery />"
        yield f"[{PREVIEW}]({PREVIEW}): the condition on the left, and on the right what the model makes of it."


def _networks(seen: Folder) -> Iterator[str]:
    height, width = seen.index.get("height"), seen.index.get("width")
    size = f", trained at {width}x{height} pixels" if isinstance(height, int) and isinstance(width, int) else ""
    made = {name: index for name, index in seen.index.items() if isinstance(index, list)}
    yield f"A pipeline of the task {code(seen.task.name)}{size}. Weights are safetensors, nothing in it is code."
    rows = [(code(n.name), code(made[n.name][1]), _millions(n.parameters), n.stored) for n in seen.networks]
    yield table(("network", "class", "parameters", "stored as"), rows, left=2)


def _trained(seen: Folder) -> Iterator[str]:
    if seen.recipe:
        yield from told(seen.recipe, seen.training)
    ahead = read_recipe(seen.path, "forecaster.yaml")
    if ahead:
        yield "The forecaster:"
        yield from told(ahead, {}, "forecaster.yaml")
    yield from prose(seen.about.history or "")


def _data(seen: Folder) -> Iterator[str]:
    for one in seen.data:
        said = [
            f"**{words(one.name)}**"
            if one.id is None
            else f"**[{words(one.name)}](https://huggingface.co/datasets/{one.id})**"
        ]
        said.append(f"licence {code(one.licence)}" if one.licence else "licence not said")
        if one.source:
            drawn = one.source.startswith("vid2vid-hub ")
            said.append(f"from {code(one.source) if drawn else address(one.source)}")
        said.append(
            PEOPLE.get(one.people or "", words(one.people or "")) or "whether people are to be seen is not said"
        )
        yield f"{said[0]}: {'; '.join(said[1:])}."
        yield from prose(one.note or "")


def _measures(seen: Folder) -> Iterator[str]:
    for one in seen.measures:
        measures = [m for m in one.meaning if m not in one.systems and any(m in v for v in one.systems.values())]
        yield f"On the split {code(one.split)} of {words(one.data)}, {_conditions(one)}."
        head = ("", *(f"{words(m)}{ARROWS.get(one.better.get(m, ''), '')}" for m in measures))
        rows = [(words(one.meaning.get(s, s)), *(_figure(v.get(m)) for m in measures)) for s, v in one.systems.items()]
        yield table(head, rows)
        yield "\n".join(f"- {words(m)}: {words(one.meaning[m])}." for m in measures)
        if "lpips" in measures and seen.recipe.get("perceptual") == "vgg16":
            yield "LPIPS looks through VGG16, which also served the perceptual loss of the training: read it with care."
        if one.windows is not None:
            yield (
                f"Distances are of {one.windows} windows. They are biased where windows are few: values compare within "
                "this table only."
            )
        yield f"```sh\n{_command(one, seen.repo)}\n```"


def _conditions(one: Measurement) -> str:
    """How it was measured, in words that need no escaping."""
    many = f"{one.clips} clips of {one.frames:,} frames"
    size = f" at {one.width}x{one.height}" if one.width is not None else ""
    every = f", a forecast from every {one.every} frames" if one.every is not None else ""
    begun = {
        "zeros": "started from nothing, the first frame of a clip not counted",
        "real": "going on from real first frames, which are not counted",
        "generated": "started from generated frames, the first frame of a clip not counted",
        "observed": "going on from observed label maps",
    }.get(one.first_frames, plain(one.first_frames))
    return f"{many}{size}{every}, {begun}, in {plain(one.precision)}, vid2vid-hub {plain(one.version)}"


def _command(one: Measurement, repo: str) -> str:
    measures = next(iter(one.systems.values()))
    split = "" if one.split == "val" else f" --split {plain(one.split)}"
    weights = [f" --{name} WEIGHTS" for name, sign in {"lpips": "lpips", "i3d": "fvd"}.items() if sign in measures]
    begun = {"real": " --first-frames real"}.get(one.first_frames, "")
    ahead = f" --future --every {one.every}" if one.every is not None else ""
    return f"vid2vid-hub evaluate {plain(repo)} --data DATA{split}{''.join(weights)}{begun}{ahead}"


def _consent(seen: Folder) -> Iterator[str]:
    if seen.task.consent is not None:
        yield seen.task.consent
    yield GENERATED


def _licence(seen: Folder) -> Iterator[str]:
    converted = seen.about.converted
    if converted is not None:
        yield (
            f"These weights were converted from a checkpoint of {words(converted.system)}. They are not ours, and "
            f"carry the licence of the original: {code(converted.licence)}."
        )
        if converted.files:
            yield table(
                ("file", "sha256"), [(code(k).replace("|", "/"), code(v)) for k, v in converted.files.items()], 2
            )
        return
    yield (
        code(seen.licence) if seen.licence else "Its author has not said under which licence it may be used; ask first."
    )


def _figure(value: float | None) -> str:
    return "" if value is None else f"{value:.{DIGITS}g}"


def _millions(count: int) -> str:
    return f"{count / 1e6:.1f} M" if count >= 1e5 else f"{count:,}"

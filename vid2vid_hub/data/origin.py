"""Where the clips of a dataset come from, and what may be done with them: said once, by whoever made it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from importlib.metadata import entry_points
from typing import Any

from vid2vid_hub.errors import DatasetError
from vid2vid_hub.tasks import GROUP, Task, get_task

LICENCE = re.compile(r"[a-z0-9]([a-z0-9.+-]{0,62}[a-z0-9+])?")
"""An id as the Hub writes it: SPDX in lower case, such as "mit" or "cc-by-4.0"."""

DRAWN, NOBODY = "drawn", "nobody"
NOT_A_LINE = re.compile(r"[\x00-\x1f\x7f]")
MAX_WORDS = 400


@dataclass(frozen=True)
class Origin:
    """What a dataset folder, the model trained on it and its card say of the clips; all of it may be unknown.

    Attributes:
        licence: id as on the Hub, in lower case.
        source: an address, or a few words.
        people: who is to be seen, and whether they were asked: "nobody", "drawn", "consented", or other words.

    Raises:
        DatasetError: the licence is no such id, or words are empty, of more than one line, or endless.
    """

    licence: str | None = None
    source: str | None = None
    people: str | None = None

    def __post_init__(self) -> None:
        if self.licence is not None and not LICENCE.fullmatch(self.licence):
            raise DatasetError(
                f"'{self.licence}' is no licence; give its id as the Hub writes it, such as mit, cc-by-4.0 or other"
            )
        for name in ("source", "people"):
            words = getattr(self, name)
            if words is not None and (not words.strip() or NOT_A_LINE.search(words) or len(words) > MAX_WORDS):
                raise DatasetError(f"the {name} of a dataset must be one line of 1 to {MAX_WORDS} characters")


def drawn_origin(task: Task, **options: Any) -> Origin:
    """What a task's drawings are: under the licence of the package that draws them, and of nobody.

    Args:
        task: draws.
        **options: of the command that draws them again.
    """
    package = next((point.dist for point in entry_points(group=GROUP, name=task.name) if point.dist), None)
    licence = "" if package is None else str(package.metadata.json.get("license_expression", "")).lower()
    usual = task.config() if package is None else get_task(task.name).config()
    changed = {key: value for key, value in task.config().items() if value != usual.get(key)}
    settings = [f"--setting {key}={value}" for key, value in changed.items() if isinstance(value, str | int | float)]
    asked = [f"--{key} {value}" for key, value in options.items()]
    made = " ".join([f"vid2vid-hub draw --task {task.name}", *settings, *asked])
    return Origin(licence if LICENCE.fullmatch(licence) else None, made[:MAX_WORDS], DRAWN if task.consent else NOBODY)

"""A Hub repo as a local folder in the Hub's own cache, of which only what makes a pipeline was downloaded."""

from __future__ import annotations

import logging
import re
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from vid2vid_hub.errors import ModelError
from vid2vid_hub.folder import CONFIG, INDEX, check_format, check_index, network_class, no_pipeline, variant_of_each
from vid2vid_hub.hub.contents import is_companion
from vid2vid_hub.nn.remote import Remote, look, network_files
from vid2vid_hub.nn.strict import MAX_JSON, shown

MAX_SHOWN = 64 << 20
"""Bytes of a sample or a preview; a larger one is left where it is, as is a text of more than :data:`MAX_JSON`."""
TEXTS = (".json", ".yaml")
PLACE = re.compile(r"[/~\\]|\.{1,2}([/\\]|$)|[A-Za-z]:[/\\]|.*([/\\]\.\.([/\\]|$)|://)", re.DOTALL)
"""How a setting begins that names a place: on the machine of whoever loads it, or on the network."""

_log = logging.getLogger(__name__)


def fetch(repo: str, kind: type, *, variant: str | None = None, given: Collection[str] = (), **options: Any) -> Path:
    """Download what of a Hub repo a pipeline is loaded from: the small JSON first, which decides about the rest.

    Nothing comes but JSON, safetensors of the wanted variant and the companions of a pipeline; and no byte of weights
    before the networks have been built on the meta device and the weights' sizes are seen to fit them.

    Args:
        repo: "org/name".
        kind: the pipeline class that is to be loaded.
        variant: of the weights, such as "fp16", where a network has it.
        given: networks that the caller has already, and that are not downloaded.
        **options: :data:`vid2vid_hub.nn.remote.HUB_OPTIONS`.

    Returns:
        The folder of the repo's commit in the Hub's cache.

    Raises:
        ModelError: the repo cannot be had, or holds something else than it should; nothing damaged stays in the cache.
    """
    held = look(repo, INDEX, **options)
    try:
        return held.whole(*_wanted(held, kind, variant, given))
    except ModelError as error:
        if held.offline:
            raise ModelError(f"{error}; the Hub was not asked, this is about what was downloaded before") from error
        raise


def _wanted(held: Remote, kind: type, variant: str | None, given: Collection[str]) -> Iterator[str]:
    """The names of the files that are needed, in an order in which each decides about those after it."""
    if INDEX not in held.files:
        raise no_pipeline(f"{held.repo} on the Hub", list(held.files))
    index = held.json(INDEX)
    networks = check_index(index, kind, held.repo, given)
    yield INDEX
    if CONFIG in held.files:
        check_format(held.json(CONFIG), index["task"], held.repo)
    check_places(index.get("task_config"), held.repo)
    wanted = [name for name in networks if name not in given]
    own = variant_of_each({name: held.inside(f"{name}/") for name in wanted}, variant, held.repo)
    for name in wanted:
        yield from network_files(held, f"{name}/", network_class(networks[name]), own[name])
    for name, listed in held.files.items():
        if is_companion(name):
            most = MAX_JSON if name.endswith(TEXTS) else MAX_SHOWN
            if (listed.size or 0) <= most:
                yield name
            else:
                _log.warning("%s/%s is not downloaded: it has %d bytes, over %d", held.repo, name, listed.size, most)


def check_places(settings: Any, source: str) -> None:
    """Refuse settings of a task that name a file of whoever loads them, or an address; names of Hub repos are fine.

    Raises:
        ModelError: with the setting.
    """
    for name, value in _texts(settings, "task_config"):
        if PLACE.match(value):
            raise ModelError(
                f"{source} sets {shown(name)} of its task to {shown(value)}, a place that a repo has no business with; "
                "download it and change its model_index.json if you trust it"
            )


def _texts(value: Any, name: str) -> Iterator[tuple[str, str]]:
    """Every text in nested settings, and the key that it is under."""
    if isinstance(value, str):
        yield name, value
    elif isinstance(value, dict | list):
        for key, one in value.items() if isinstance(value, dict) else ((name, one) for one in value):
            yield from _texts(one, key)

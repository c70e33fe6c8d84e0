"""A Space's folder to the Hub: what such a folder must be, and its files in one commit as they are."""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import yaml
from huggingface_hub import HfApi, ModelInfo, SpaceInfo

from vid2vid_hub.errors import ModelError
from vid2vid_hub.hub.contents import CARD
from vid2vid_hub.hub.send import ATTEMPTS, Pushed, Target, send
from vid2vid_hub.hub.stage import PICKLES, TEXTS, Staged, choose, look
from vid2vid_hub.hub.wheel import carry

REQUIREMENTS, LIST = "requirements.txt", ".vid2vid-hub.json"
"""What the Space installs; and what we leave in its repo, to know our files again: {"files": [names]}."""

CODE = {*TEXTS, ".css", ".csv", ".html", ".js", ".py", ".svg", ".toml", ".txt", ".yml", ""}
"""How the names of the texts of a Space end; none at all is a LICENSE."""
MEDIA = {".gif", ".ico", ".jpeg", ".jpg", ".mkv", ".mp4", ".npz", ".png", ".safetensors", ".webm", ".webp", ".woff2"}
MAX_FILE, MAX_FILES = 50_000_000, 500
"""Bytes of a file, and how many files: models have repos of their own, and a checkout is no Space."""

COLOURS = {"blue", "gray", "green", "indigo", "pink", "purple", "red", "yellow"}
SHORT = 60
"""Letters of a short description, which the Hub cuts or refuses beyond."""
OLDEST = 11
"""The Python 3 that the package needs; a Space that says nothing gets an older one."""

SHADOWS = {"gradio", "spaces", "torch", "vid2vid_hub"}
"""Modules beside the app that would be imported in place of the libraries of that name."""
OWN_PLACES = re.compile(r"/(?:home/user|gradio_api)(?:/[\w.-]*)*(?![\w.-])")
"""Where a Space's app lies, and the addresses that Gradio answers: they tell of no machine."""

_FRONT = re.compile(r"\A---[ \t]*\r?\n(.*?)^---[ \t]*(?:\r?\n|\Z)", re.DOTALL | re.MULTILINE)
_PYTHON = re.compile(r"3\.\d{1,2}(?:\.\d{1,2})?")
_VERSION = re.compile(r"\d+\.\d+\.\d+")


def push_space(
    folder: Path,
    repo: str,
    *,
    private: bool | None = None,
    commit_message: str | None = None,
    token: str | bool | None = None,
    wheel: Path | None = None,
    attempts: int = ATTEMPTS,
    say: Callable[[str], None] = lambda text: None,
) -> Pushed:
    """Publish a folder as a Space of Gradio, in one commit; the Hub builds it from that, and shows it.

    The Space is made where there is none. What an earlier push brought there and the folder no longer has is removed;
    what others put there stays. What hardware it runs on, and its secrets, are the business of its settings.

    Args:
        folder: with README.md, requirements.txt and the app; it stays as it is.
        repo: "org/name" of the Space.
        private: whether a new Space is private; None leaves it to the organisation's settings.
        commit_message: what the commit is called.
        token: as in huggingface_hub; None is HF_TOKEN or who is logged in.
        wheel: of this package, which the Space brings along and installs instead of a release.
        attempts: how often a dropped connection is tried again.
        say: called with what a person should know while it lasts.

    Raises:
        ModelError: the folder is no Space that would run, or tells what is nobody's business, or the Hub does not let
            it be; what to do.
    """
    target = Target(repo, "space", private, message=commit_message)
    target.check()
    if wheel is not None and private:
        raise ModelError(
            "a private Space cannot install a wheel that lies in its own repo, which its build has no token for; "
            "push it without --private or without --wheel"
        )
    staged = stage_space(folder, owner=repo.split("/")[0])
    with tempfile.TemporaryDirectory(prefix="vid2vid-hub-") as temporary:
        made = Path(temporary)
        if wheel is not None:
            requirements = staged.files[REQUIREMENTS].read_text("utf-8")
            (made / REQUIREMENTS).write_text(
                carry(wheel, requirements, f"{HfApi().endpoint}/spaces/{repo}/resolve/main"), encoding="utf-8"
            )
            staged.files.update({REQUIREMENTS: made / REQUIREMENTS, wheel.name: wheel})
            staged.left_out.pop(wheel.name, None)
        (made / LIST).write_text(json.dumps({"files": sorted(staged.files)}, indent=2) + "\n", encoding="utf-8")
        staged.files[LIST] = made / LIST
        return send(staged, target, lambda api, head: _stale(api, head, wheel), token=token, attempts=attempts, say=say)


def stage_space(folder: Path, *, owner: str = "") -> Staged:
    """Choose the files of a Space's folder that are published, and look into all of them.

    Args:
        folder: of the Space.
        owner: of the repo, whose name may stand anywhere.

    Raises:
        ModelError: what the Space cannot be without is missing or wrong, or a file may not be published.
    """
    if not folder.is_dir():
        raise ModelError(f"{folder} is no folder; give that of a Space, which has {CARD}, {REQUIREMENTS} and an app")
    staged = choose(folder, _stays)
    files = staged.files
    staged.require(f"{folder} is no Space", CARD, REQUIREMENTS)
    if len(files) > MAX_FILES:
        raise ModelError(f"{folder} has {len(files)} files, and a Space at most {MAX_FILES}; give its own folder")
    for name, path in files.items():
        _check_file(name, path)
        look(name, path, owner, CODE, OWN_PLACES)
    app = _check_head(read_front_matter(files[CARD].read_text("utf-8")))
    if app not in files:
        raise ModelError(f"{CARD} names '{app}' as app_file, which is no file of {folder} that is published")
    return staged


def read_front_matter(text: str) -> Mapping[str, Any]:
    """The YAML at the head of a README, by which the Hub knows what a Space is.

    Raises:
        ModelError: there is none, or it is no mapping.
    """
    if (found := _FRONT.match(text)) is None:
        raise ModelError(f"{CARD} has no head; begin it with a line ---, title, sdk and so on, and another line ---")
    try:
        head = yaml.safe_load(found[1])
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ModelError(f"the head of {CARD} is no YAML: {' '.join(str(error).split())}") from error
    if not isinstance(head, dict):
        raise ModelError(f"the head of {CARD} is {type(head).__name__}; expected a mapping, such as title: My Space")
    return head


def _stays(name: str, path: Path) -> str | None:
    """Why a file is not published; None where it is."""
    parts = PurePosixPath(name).parts
    if path.is_symlink():  # folders behind links are not walked into
        return "a link"
    if any(part.startswith(".") for part in parts):
        return "hidden"
    if {"__pycache__", "node_modules"} & set(parts):
        return "a cache"
    suffix = path.suffix.lower()
    if suffix not in CODE | MEDIA | PICKLES or not path.is_file():
        return "no kind of file that a Space is made of"
    return None


def _check_file(name: str, path: Path) -> None:
    if path.suffix.lower() in PICKLES:
        raise ModelError(f"{name} is a pickle, or could be one, and runs what it likes; use safetensors or .npz")
    if name == "__init__.py" or ("/" not in name and path.stem in SHADOWS) or name.split("/")[0] in SHADOWS:
        raise ModelError(f"{name} would be imported in place of a library; take it away, or name it otherwise")
    if (size := path.stat().st_size) > MAX_FILE:
        raise ModelError(
            f"{name} has {size} bytes, and a file of a Space at most {MAX_FILE}; models have repos of their own"
        )


def _check_head(head: Mapping[str, Any]) -> str:
    """Look at what the Hub builds a Space by; returns the name of its app."""
    if (sdk := head.get("sdk")) != "gradio":
        raise ModelError(f"{CARD} says sdk: {sdk}; only Spaces of gradio are published")
    for key, pattern, example in (("sdk_version", _VERSION, "6.31.0"), ("python_version", _PYTHON, "3.12")):
        value = head.get(key)
        if not isinstance(value, str) or not pattern.fullmatch(value):
            raise ModelError(f'{CARD} says {key}: {value}; write it in quotes, such as {key}: "{example}"')
    if int(head["python_version"].split(".")[1]) < OLDEST:
        raise ModelError(f"{CARD} says python_version: {head['python_version']}; vid2vid-hub needs 3.{OLDEST} or newer")
    for key in ("colorFrom", "colorTo"):
        if head.get(key, "blue") not in COLOURS:
            raise ModelError(f"{CARD} says {key}: {head[key]}; the Hub knows {', '.join(sorted(COLOURS))}")
    short = head.get("short_description", "")
    if not isinstance(short, str) or len(short) > SHORT:
        raise ModelError(f"the short_description in {CARD} is {len(str(short))} letters long; the Hub takes {SHORT}")
    app = head.get("app_file")
    if not isinstance(app, str) or not app.endswith(".py"):
        raise ModelError(f"{CARD} says app_file: {app}; name the file of the app, such as app_file: app.py")
    return app


def _stale(api: HfApi, head: ModelInfo | SpaceInfo, wheel: Path | None) -> Iterable[str]:
    """What an earlier push of ours brought to a Space, by its own list.

    Raises:
        ModelError: it is a Space of another kind, or one that cannot install the wheel.
    """
    sdk = getattr(head, "sdk", None)
    if sdk not in (None, "gradio"):
        raise ModelError(f"{head.id} is there already, and a Space of {sdk}; take another name")
    if wheel is not None and head.private:
        raise ModelError(f"{head.id} is private, so its build cannot fetch a wheel from it; push it without --wheel")
    if LIST not in {sibling.rfilename for sibling in head.siblings or ()}:
        return ()
    with tempfile.TemporaryDirectory(prefix="vid2vid-hub-") as temporary:
        path = api.hf_hub_download(head.id, LIST, repo_type="space", revision=head.sha, local_dir=temporary)
        try:
            files = json.loads(Path(path).read_text("utf-8"))["files"]
            return [name for name in files if isinstance(name, str) and name != ".gitattributes"]
        except (ValueError, KeyError, TypeError, RecursionError):
            return ()  # somebody else wrote it, and nothing is known to be ours

"""What of a folder is published: an allow-list of files, none of which says what is nobody else's business."""

from __future__ import annotations

import getpass
import re
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open

from vid2vid_hub.errors import ModelError
from vid2vid_hub.folder import CONFIG, INDEX
from vid2vid_hub.hub.contents import CARD, belongs
from vid2vid_hub.secrets import find_secret

PICKLES = {".bin", ".ckpt", ".joblib", ".npy", ".pickle", ".pkl", ".pt", ".pth", ".pt2", ".h5"}
TEXTS = {".json", ".yaml", ".md"}
MAX_TEXT = 1_000_000

_START = r"(?:^|(?<=[\s\"'`(\[=,:|>]))"
LOCAL = (
    re.compile(_START + r"(?:file:/{1,3}|~[\w.-]*/|[A-Za-z]:[\\/]{1,2})[\w.$~\\/-]+"),
    re.compile(_START + r"/(?:[\w.$+~@-]+(?: [\w.$+~@-]+)*/)+[\w.$+~@-]*"),
    re.compile(_START + r"/(?:home|root|Users|tmp|mnt|media|srv|opt|var|workspace|content|kaggle|data)\b"),
    re.compile(r"\\\\[\w.$-]+\\[\w.$\\-]+"),
)
"""Places on a machine: addresses of files, home folders, drives, absolute paths, shares."""

COMMON = {"admin", "app", "debian", "docker", "jovyan", "nobody", "root", "runner", "ubuntu", "user", "vscode"}
"""Names of users that say nothing of a person."""


@dataclass(frozen=True)
class Staged:
    """What goes to the Hub.

    Attributes:
        files: name in the repo -> file here.
        left_out: name in the folder -> why it stays here.
    """

    files: dict[str, Path]
    left_out: dict[str, str]

    def require(self, problem: str, *names: str) -> None:
        """Refuse what lacks one of these files; ``problem`` says what cannot be without it.

        Raises:
            ModelError: with the file, and whether it was left out.
        """
        for name in names:
            if name not in self.files:
                why = f"it is {self.left_out[name]}" if name in self.left_out else "it is not there"
                raise ModelError(f"{problem} without {name}, and {why}")


def stage(folder: Path, made: Path | None = None, *, owner: str = "") -> Staged:
    """Choose the files of a pipeline folder that are published, and look into all that is text.

    Args:
        folder: of a pipeline, checked before.
        made: a folder whose files take the place of those of the same name.
        owner: of the repo, whose name may stand anywhere.

    Raises:
        ModelError: a file tells a secret, a place on this machine or its user; says which, and in which line. Or what
            a pipeline cannot be without is missing, or left out.
    """
    staged = choose(folder, _stays)
    for path in sorted(made.rglob("*")) if made is not None else ():
        if path.is_file():
            staged.files[path.relative_to(made).as_posix()] = path  # type: ignore[arg-type]  # made is there
    staged.require(f"{folder} cannot be published", INDEX, CONFIG, CARD)
    for name, path in staged.files.items():
        look(name, path, owner)
    return staged


def choose(folder: Path, stays: Callable[[str, Path], str | None]) -> Staged:
    """The files of a folder and of the folders in it, without looking into them.

    Args:
        folder: what is walked through; not what lies behind links.
        stays: why a file, by its name in the repo and where it lies, is not published; None where it is.
    """
    files, left_out = {}, {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_dir() and not path.is_symlink():
            continue
        if (why := stays(name, path)) is not None:
            left_out[name] = why
        else:
            files[name] = path
    return Staged(files, left_out)


def _stays(name: str, path: Path) -> str | None:
    """Why a file is not published; None where it is."""
    if path.is_symlink():  # folders behind links are not walked into
        return "a link"
    if path.suffix.lower() in PICKLES:
        return "a pickle, or could be one"
    if not belongs(name) or not path.is_file():
        return "no part of a pipeline"
    return None


def look(name: str, path: Path, owner: str, texts: Collection[str] = TEXTS, own: re.Pattern[str] | None = None) -> None:
    """Look into what of a file is text, and for pickles within arrays.

    Args:
        name: what it is called in the repo.
        path: where it lies.
        owner: of the repo, whose name may stand anywhere.
        texts: how the names of files that are text throughout end.
        own: what looks like a place on this machine and is one where the file goes.

    Raises:
        ModelError: it tells a secret, a place on this machine or its user, and in which line; or it cannot be read.
    """
    for line, text in _texts(name, path, texts):
        where = f"{name}, line {line}," if line else f"the header of {name}"
        if find_secret(text) is not None:
            raise ModelError(f"{where} holds what looks like a token or password; take it out, and change it")
        if (found := find_place(own.sub(" ", text) if own else text, owner)) is not None:
            raise ModelError(f"{where} tells of this machine: '{found}'; take it out before it is published")


def _texts(name: str, path: Path, texts: Collection[str]) -> Iterator[tuple[int, str]]:
    """All text of a file, by line; 0 is what a safetensors file says beside its tensors."""
    if path.suffix.lower() in texts:
        if path.stat().st_size > MAX_TEXT:
            raise ModelError(f"{name} has more than {MAX_TEXT} bytes; nobody reads so long a text")
        try:
            yield from enumerate(path.read_text("utf-8").splitlines(), 1)
        except UnicodeDecodeError as error:
            raise ModelError(f"{name} is no text in UTF-8: {error}") from error
    elif path.suffix == ".safetensors":
        try:
            with safe_open(path, "pt") as file:
                yield 0, " ".join(f"{key} {value}" for key, value in (file.metadata() or {}).items())
        except (OSError, SafetensorError) as error:
            raise ModelError(f"{name} is no safetensors file that can be read: {error}") from error
    elif path.suffix == ".npz":
        try:
            with np.load(path, allow_pickle=False) as arrays:
                for key in arrays.files:
                    _ = arrays[key]
        except Exception as error:  # numpy and zipfile raise whatever they meet
            raise ModelError(f"{name} holds more than plain arrays, and so perhaps a pickle: {error}") from error


def find_place(text: str, owner: str = "") -> str | None:
    """What in a line tells of the machine or its user: a path, or the user's name within one."""
    for pattern in LOCAL:
        if (match := pattern.search(text)) is not None:
            return match[0].strip()
    for name in _users() - {owner.lower()}:
        own = re.escape(name)
        if (match := re.search(rf"(?i)(?<![\w.-]){own}[\\/@]|[\\/]{own}(?![\w.-])", text)) is not None:
            return match[0]
    return None


def _users() -> set[str]:
    try:
        names = {getpass.getuser().lower(), Path.home().name.lower()}
    except (KeyError, OSError, RuntimeError):  # a container's user may have no name
        return set()
    return {name for name in names if len(name) > 2} - COMMON

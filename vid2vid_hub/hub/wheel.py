"""A wheel of this package on its way into a Space, which installs that where there is no release to install."""

from __future__ import annotations

import hashlib
import re
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from email.parser import HeaderParser
from pathlib import Path
from urllib.parse import quote

from vid2vid_hub.errors import ModelError
from vid2vid_hub.hub.stage import TEXTS
from vid2vid_hub.secrets import find_secret

MAX_WHEEL = 100_000_000
_NAME = re.compile(r"vid2vid_hub-[\w.+!]+-py3-none-any\.whl")
_LINE = re.compile(r"vid2vid[-_.]hub\s*(\[[^\]]*\])?\s*(?:$|(?=[<>=!~@;(]))(?P<rest>.*)", re.IGNORECASE)


def carry(wheel: Path, requirements: str, address: str) -> str:
    """Requirements with the line of this package changed into one that installs a wheel of it.

    A Space installs its requirements before its files are there, so the line names the wheel by its address in the
    Space's repo, and by its digest: another file of that name is refused.

    Args:
        wheel: of this package, checked here.
        requirements: the text of requirements.txt.
        address: of the folder in which the wheel will lie.

    Returns:
        The text with that line changed: its extras and its condition stay, its version goes.

    Raises:
        ModelError: it is no wheel of this package, or lacks an extra that is asked for, or the text has not one line
            for this package.
    """
    extras = _extras(wheel)
    lines = requirements.splitlines()
    ours = {i: found for i, line in enumerate(lines) if (found := _LINE.fullmatch(line.split(" #")[0].strip()))}
    if len(ours) != 1:
        raise ModelError(f"requirements.txt has {len(ours)} lines for vid2vid-hub; expected one, for the wheel")
    ((number, found),) = ours.items()
    wanted = [name.strip() for name in (found[1] or "[]")[1:-1].split(",") if name.strip()]
    if missing := {_plain(name) for name in wanted} - extras:
        raise ModelError(f"{wheel.name} has no extra {', '.join(sorted(missing))}, which requirements.txt asks for")
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    condition = found["rest"].partition(";")[2].strip()
    named = f"vid2vid-hub[{','.join(wanted)}]" if wanted else "vid2vid-hub"
    lines[number] = f"{named} @ {address}/{quote(wheel.name)}#sha256={digest}"
    if condition:
        lines[number] += f" ; {condition}"
    return "\n".join(lines) + "\n"


def _extras(wheel: Path) -> set[str]:
    """The extras of a wheel of this package, all of whose texts are looked into for secrets."""
    with _opened(wheel) as archive:
        about = f"{'-'.join(wheel.name.split('-')[:2])}.dist-info/METADATA"
        headers = HeaderParser().parsestr(archive.read(about).decode())
        for name in archive.namelist():
            text = archive.read(name).decode(errors="replace") if Path(name).suffix in {*TEXTS, ".py", ".txt"} else ""
            if find_secret(text) is not None:
                raise ModelError(f"{name} in {wheel.name} holds what looks like a token or password; take it out")
    return {_plain(extra) for extra in headers.get_all("Provides-Extra", [])}


@contextmanager
def _opened(wheel: Path) -> Iterator[zipfile.ZipFile]:
    if not _NAME.fullmatch(wheel.name):
        raise ModelError(f"{wheel.name} is no wheel of this package; give vid2vid_hub-VERSION-py3-none-any.whl")
    try:
        if (size := wheel.stat().st_size) > MAX_WHEEL:
            raise ModelError(f"{wheel.name} has {size} bytes, and a Space carries at most {MAX_WHEEL}")
        with zipfile.ZipFile(wheel) as archive:
            yield archive
    except (OSError, KeyError, ValueError, zipfile.BadZipFile) as error:
        raise ModelError(f"{wheel} cannot be read as a wheel of this package: {error}") from error


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()

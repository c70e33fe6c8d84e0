"""What is finished of a dataset in the making: a hidden folder that one run locks and the next goes on from."""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from vid2vid_hub.data.work import PARTIAL, write_json
from vid2vid_hub.data.writer import UnwritableError
from vid2vid_hub.errors import DatasetError

_LOCK, _BEGUN = "lock", "begun.json"


@contextmanager
def open_ledger(output: Path, arguments: Mapping[str, Any], inputs: Sequence[Path], restart: bool) -> Iterator[Path]:
    """The folder ``.NAME.part`` beside ``output``, for this run alone; what it holds of the same run is kept.

    It is removed when the `with` block ends well, and after an error when nothing in it is finished.

    Args:
        output: the dataset folder to be.
        arguments: JSON values that decide what is made, by what they are called.
        inputs: files and folders that it is made of.
        restart: begin anew whatever is there.

    Raises:
        DatasetError: another run has it; it was begun with other arguments, or inputs that have changed since; or it
            cannot be written to.
    """
    target = output.resolve()
    folder = target.with_name(f".{target.name}.part")
    with ExitStack() as files:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            lock = files.enter_context((folder / _LOCK).open("ab"))
            if not _locked(lock):
                raise DatasetError(f"another run is preparing {output} now; wait for it, or choose another folder")
            if restart:
                forget(folder)
            _begin(output, folder, arguments, {str(path): fingerprint(path) for path in inputs})
        except OSError as error:
            _remove_if_nothing_is_finished(folder)
            raise DatasetError(f"the dataset cannot be written to {output}: {error}") from error
        try:
            yield folder
        except BaseException as error:
            kept = not _remove_if_nothing_is_finished(folder)
            if isinstance(error, UnwritableError):
                on = "; what is finished is kept, and the same command goes on with it" if kept else ""
                raise DatasetError(f"the dataset cannot be written to {output}: {error}{on}") from error
            raise
        shutil.rmtree(folder, ignore_errors=True)


def _remove_if_nothing_is_finished(folder: Path) -> bool:
    """Remove the folder unless it holds finished units; whether it is gone."""
    units = folder / "units"
    if units.is_dir() and any(units.iterdir()):
        return False
    shutil.rmtree(folder, ignore_errors=True)
    return True


def fingerprint(path: Path) -> list[Any]:
    """What tells whether a file or a folder of files is still the same: sizes and times of change, as JSON values."""
    if not path.exists():
        return []  # whoever reads it will say so
    if not path.is_dir():
        status = path.stat()
        return [status.st_size, status.st_mtime_ns]
    digest = hashlib.sha256()
    files = sorted(file for file in path.rglob("*") if file.is_file())
    for file in files:
        digest.update(f"{file.relative_to(path)} {fingerprint(file)}\n".encode())
    return [len(files), digest.hexdigest()]


def _begin(output: Path, folder: Path, arguments: Mapping[str, Any], inputs: Mapping[str, Any]) -> None:
    begun = folder / _BEGUN
    known = json.loads(json.dumps({"arguments": arguments, "inputs": inputs}))
    if begun.is_file():
        before = _read(begun)
        what = next(_different(before, known, "arguments"), None)
        if what is not None:
            then, now = (_brief(side["arguments"].get(what)) for side in (before, known))
            raise DatasetError(
                f"{output} was begun with another {what} ({then} then, {now} now); give the same arguments, or begin "
                "anew with --restart"
            )
        changed = next(_different(before, known, "inputs"), None)
        if changed is not None:
            raise DatasetError(f"{changed} has changed since {output} was begun; begin anew with --restart")
    for part in ("looks", "units"):
        (folder / part).mkdir(exist_ok=True)
        for left in (folder / part).glob(f"{PARTIAL}*"):
            shutil.rmtree(left) if left.is_dir() else left.unlink()
    if not begun.is_file():
        write_json(begun, known)


def _read(begun: Path) -> dict[str, Any]:
    try:
        values = json.loads(begun.read_text())
    except ValueError:
        values = None
    whole = isinstance(values, dict) and values.keys() == {"arguments", "inputs"}
    return values if whole else {"arguments": {}, "inputs": {}}


def _different(before: Mapping[str, Any], now: Mapping[str, Any], part: str) -> Iterator[str]:
    keys = sorted(before[part].keys() | now[part].keys())
    return (key for key in keys if before[part].get(key) != now[part].get(key))


def forget(folder: Path) -> None:
    """Remove all that is finished; the lock stays."""
    for path in folder.iterdir():
        if path.name != _LOCK:
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def _brief(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _locked(file: BinaryIO) -> bool:
    """Lock an open file for this process; the system unlocks it when the process ends, however it ends."""
    try:
        if sys.platform == "win32":
            import msvcrt

            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True

"""The app's own folder: one folder a job, names that nobody can guess, and what has lain there too long is removed."""

from __future__ import annotations

import secrets
import shutil
import stat
import tempfile
import threading
import time
import weakref
from contextlib import suppress
from itertools import chain
from pathlib import Path
from types import TracebackType
from typing import Self


class Shelf:
    """A folder for uploads and results, and the thread that clears it.

    Uploads and results lie in ``served``, under names that nobody guesses; ``jobs``, what is worked on, is not served.

    Args:
        keep: seconds after which a file is removed, counted from its last change.
        folder: where; None for a new folder of the system's temporary ones, removed with the shelf.
        every: seconds between two clearings; None for a tenth of ``keep``, and at most 15.
        most: bytes that lie there; where there are more at a clearing, the oldest files go first.
    """

    def __init__(
        self, keep: float, folder: Path | None = None, every: float | None = None, most: int = 20 * 10**9
    ) -> None:
        self.folder = (Path(tempfile.mkdtemp(prefix="vid2vid-hub-app-")) if folder is None else folder).resolve()
        self.served, self.jobs = self.folder / "served", self.folder / "jobs"
        self.results = self.served / "results"
        for inner in (self.results, self.jobs):
            inner.mkdir(parents=True, exist_ok=True)
        self._keep, self._every = keep, every if every is not None else min(15.0, max(1.0, keep / 10))
        self._most = most
        self._end = threading.Event()
        # At the latest when Python ends, however it does.
        self._finish = weakref.finalize(self, _finish, self._end, self.folder if folder is None else None)
        self._thread = threading.Thread(target=self._clear_often, name="shelf", daemon=True)
        self._thread.start()

    def job(self) -> Path:
        """A new folder of a random name for what one visitor asked for; nothing in it is served."""
        folder = self.jobs / secrets.token_urlsafe(24)
        folder.mkdir()
        return folder

    def result(self, stem: str) -> Path:
        """A path for a result that is served: whoever is not told cannot guess it."""
        return self.results / f"{stem}-{secrets.token_urlsafe(18)}.mp4"

    def clear(self, now: float | None = None) -> int:
        """Remove the files that are too old or too many, and the folders that are empty by then; how many files."""
        now = time.time() if now is None else now
        files: list[tuple[float, int, Path]] = []
        folders: list[tuple[float, Path]] = []
        for path in chain(self.served.rglob("*"), self.jobs.rglob("*")):
            with suppress(OSError):  # gone meanwhile
                status = path.lstat()
                if stat.S_ISDIR(status.st_mode):
                    folders.append((status.st_mtime, path))
                else:
                    files.append((status.st_mtime, status.st_size, path))
        removed, left = 0, sum(size for _, size, _ in files)
        for changed, size, path in sorted(files):
            if changed >= now - self._keep and left <= self._most:
                break
            with suppress(OSError):
                path.unlink()
                removed, left = removed + 1, left - size
        for changed, path in sorted(folders, key=lambda one: one[1], reverse=True):  # inner ones before outer ones
            if changed < now - self._keep and path != self.results:
                with suppress(OSError):  # not empty, so somebody works in it
                    path.rmdir()
        return removed

    def close(self) -> None:
        """End the thread, and remove the folder if it is the shelf's own."""
        self._end.set()
        self._thread.join()
        self._finish()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        self.close()

    def _clear_often(self) -> None:
        while not self._end.wait(self._every):
            self.clear()


def _finish(end: threading.Event, folder: Path | None) -> None:
    end.set()
    if folder is not None:
        shutil.rmtree(folder, ignore_errors=True)

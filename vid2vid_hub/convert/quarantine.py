"""Pickles of strangers, read by another process: under limits of memory and time, without a network or a secret."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import torch

from vid2vid_hub.convert import child
from vid2vid_hub.errors import ModelError

OLDEST = (2, 10)
"""Before torch 2.10 a file could break out of ``weights_only`` by corrupting memory (CVE-2026-24747)."""
SECONDS, SECONDS_A_GB = 30, 30
"""Processor time for a file, and more of it for a large one."""
SPARE = 2**29
"""Bytes that reading may take beside twice the file."""
KEPT = ("PATH", "PYTHONPATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "SYSTEMROOT", "TMPDIR", "TEMP", "TMP")
"""What the other process is told of this one's environment: no token, no proxy."""


def unpickle(files: Sequence[Path], into: Path, seconds: float | None = None) -> list[Path]:
    """Turn pickles into safetensors.

    Args:
        files: ``.pth`` files of tensors, or ``.npy`` files of recorded features.
        into: an empty folder, which will hold as many bytes as the files.
        seconds: processor time for all of them; None for an allowance that grows with them.

    Returns:
        A safetensors file for each. They are a stranger's still: read them as such.

    Raises:
        ModelError: a file is not what it should be, or this torch is too old to find out safely; names the file.
    """
    check_torch(torch.__version__)
    sizes = [file.stat().st_size for file in files]
    allowed = int(seconds or SECONDS * len(files) + SECONDS_A_GB * sum(sizes) / 1e9)
    targets = [into / f"{number}.safetensors" for number in range(len(files))]
    orders = {
        "files": [[str(file.resolve()), str(target.resolve())] for file, target in zip(files, targets, strict=True)],
        "memory": 2 * max(sizes) + SPARE,
        "seconds": allowed,
        "bytes": max(sizes) + 2**24,
    }
    answer = into / "answer"
    try:
        with answer.open("wb") as out:
            done = subprocess.run(
                # -P: what lies beside the program is not what it imports.
                [sys.executable, "-P", child.__file__, json.dumps(orders)],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.DEVNULL,
                env={name: os.environ[name] for name in KEPT if name in os.environ} | {"OMP_NUM_THREADS": "1"},
                timeout=60 + 4 * allowed,
                check=False,
            )
        code = done.returncode
    except subprocess.TimeoutExpired:
        code = -signal.SIGXCPU if hasattr(signal, "SIGXCPU") else -1
    words = _words(answer)
    if words and "done" in words[-1]:
        return targets
    reading = [int(str(word["reading"])) for word in words if "reading" in word]
    file = files[reading[-1] if reading else 0]
    raise ModelError(f"{file} is not converted: {_why(words, code, allowed)}")


def check_torch(version: str) -> None:
    """Refuse a torch that a file could break out of.

    Raises:
        ModelError: it is too old.
    """
    found = re.match(r"(\d+)\.(\d+)", version)
    if found is None or tuple(map(int, found.groups())) < OLDEST:
        raise ModelError(
            f"converting opens pickles, and torch {version} does not do that safely; it takes torch "
            f"{'.'.join(map(str, OLDEST))} or newer: pip install -U torch"
        )


def _words(answer: Path) -> list[dict[str, object]]:
    """What the other process said, line by line; it may have been taken over, so nothing is believed but its form."""
    words = []
    with answer.open("rb") as file:
        for line in file.read(2**16).splitlines():
            try:
                word = json.loads(line)
            except ValueError:
                continue
            if isinstance(word, dict) and all(isinstance(value, str | int) for value in word.values()):
                words.append(word)
    return words


def _why(words: list[dict[str, object]], code: int, seconds: int) -> str:
    if words and "refused" in words[-1]:
        return re.sub(r"[^ -~…]", "?", str(words[-1]["refused"]))[:400]
    if not words:
        return f"the process that should read it did not start (exit code {code}); can {sys.executable} import torch?"
    if code in (-getattr(signal, "SIGXCPU", 0), -getattr(signal, "SIGKILL", 0)):
        return f"reading it took more than the {seconds} seconds or the memory that a file of its size can need"
    return f"reading it ended the process that read it (exit code {code}), as damaged or malicious files do"

"""What the stand-in for the Hub keeps: repositories with a history of commits that nothing changes any more."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

import yaml

LARGE = 10 << 20
LARGE_SUFFIXES = {".bin", ".ckpt", ".gz", ".npy", ".npz", ".onnx", ".pickle", ".pkl", ".pt", ".pth", ".safetensors"}
"""Those of the Hub's first commit that matter here: such files are kept as large ones, and so is all that is binary."""
ATTRIBUTES = "".join(f"*{suffix} filter=lfs diff=lfs merge=lfs -text\n" for suffix in sorted(LARGE_SUFFIXES)).encode()


SDKS = ("gradio", "docker", "static")
COLOURS = ("red", "yellow", "green", "blue", "indigo", "purple", "pink", "gray")


def git_sha1(content: bytes) -> str:
    """The name that git gives to a file of this content."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def is_large(path: str, size: int, sample: bytes) -> bool:
    """Whether the Hub wants a file sent apart from the commit (LFS) and not in it."""
    return size > 0 and (Path(path).suffix in LARGE_SUFFIXES or size > LARGE or b"\0" in sample)


@dataclass(frozen=True)
class Blob:
    """The content of a file, and whether it is kept as a large one."""

    content: bytes
    large: bool

    @property
    def sha256(self) -> str:
        """Digest of the content."""
        return hashlib.sha256(self.content).hexdigest()

    @property
    def pointer(self) -> bytes:
        """What git itself keeps in place of a large file."""
        version = "https://git-lfs.github.com/spec/v1"
        return f"version {version}\noid sha256:{self.sha256}\nsize {len(self.content)}\n".encode()

    @property
    def git(self) -> str:
        """What git calls it; of a large file, its pointer's name."""
        return git_sha1(self.pointer if self.large else self.content)

    @property
    def etag(self) -> str:
        """What the Hub calls it: 64 hex digits of a large file, 40 of another."""
        return self.sha256 if self.large else self.git


@dataclass(frozen=True)
class Commit:
    """One state of a repository."""

    files: Mapping[str, Blob]
    title: str
    parent: str | None = None

    @property
    def sha(self) -> str:
        """Forty hex digits over content, title and everything before."""
        tree = "".join(f"{path} {blob.etag}\n" for path, blob in sorted(self.files.items()))
        return hashlib.sha1(f"{self.parent}\n{self.title}\n{tree}".encode()).hexdigest()


@dataclass
class Repo:
    """A repository: its commits, what points to them, and the large files that were sent to it.

    Attributes:
        sdk: of a Space.
        objects: large files by sha256, from when they arrive, which is before the commit that shows them.
        heads: branches by name, pull requests as "refs/pr/N".
    """

    private: bool = False
    sdk: str | None = None
    commits: dict[str, Commit] = field(default_factory=dict)
    heads: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    objects: dict[str, bytes] = field(default_factory=dict)
    seen: tuple[tuple[str, int, int], ...] = ()

    def commit(self, files: Mapping[str, Blob], title: str, branch: str = "main") -> str:
        """Put a new state on a branch; returns its sha."""
        new = Commit(MappingProxyType(dict(files)), title, self.heads.get(branch))
        self.commits[new.sha] = new
        self.heads[branch] = new.sha
        self.objects |= {blob.sha256: blob.content for blob in files.values() if blob.large}
        return new.sha

    def find(self, revision: str) -> str | None:
        """The commit that a branch, a tag or the (first seven or more digits of the) sha of a commit means."""
        for known in (self.heads, self.tags):
            if revision in known:
                return known[revision]
        if re.fullmatch(r"[0-9a-f]{7,40}", revision):
            return next((sha for sha in self.commits if sha.startswith(revision)), None)
        return None

    def log(self, sha: str | None) -> Iterator[tuple[str, Commit]]:
        """Commits from ``sha`` back to the first."""
        while sha is not None:
            yield sha, self.commits[sha]
            sha = self.commits[sha].parent

    def follow(self, folder: Path) -> None:
        """Commit what is in a folder on the disk, if anything there changed since the last time."""
        paths = sorted(path for path in folder.rglob("*") if path.is_file())
        seen = tuple((str(path), path.stat().st_size, path.stat().st_mtime_ns) for path in paths)
        if seen == self.seen and self.heads:
            return
        files = {}
        for path in paths:
            name, content = path.relative_to(folder).as_posix(), path.read_bytes()
            files[name] = Blob(content, is_large(name, len(content), content[:512]))
        self.commit(files, f"what is in {folder.name}")
        self.seen = seen


def described(blob: Blob, name: str) -> dict[str, Any]:
    """What a listing says of a file's content."""
    said: dict[str, Any] = {"size": len(blob.content), name: blob.git}
    if blob.large:
        oid = "sha256" if name == "blobId" else "oid"
        said["lfs"] = {oid: blob.sha256, "size": len(blob.content), "pointerSize": len(blob.pointer)}
    return said


def listing(files: Mapping[str, Blob], path: str, recursive: bool) -> list[dict[str, Any]]:
    """Files and folders under a path, folders before what they hold."""
    start = f"{path.strip('/')}/" if path else ""
    listed: dict[str, dict[str, Any]] = {}
    for name, blob in sorted(files.items()):
        if not name.startswith(start):
            continue
        pieces = name[len(start) :].split("/")
        for depth in range(1, len(pieces)):
            folder = start + "/".join(pieces[:depth])
            if recursive or depth == 1:
                listed.setdefault(
                    folder, {"type": "directory", "path": folder, "size": 0, "oid": git_sha1(folder.encode())}
                )
        if recursive or len(pieces) == 1:
            listed[name] = {"type": "file", "path": name} | described(blob, "oid")
    return list(listed.values())


def front_matter(card: str) -> tuple[dict[str, Any], str | None]:
    """The YAML at the head of a card, and what is wrong with it."""
    match = re.match(r"---\r?\n(.*?)\r?\n---(?:\r?\n|$)", card, re.DOTALL)
    if match is None:
        return {}, None
    try:
        head = yaml.safe_load(match[1])
    except yaml.YAMLError as error:
        return {}, f"the YAML of the card cannot be read: {error}"
    return (head, None) if isinstance(head, dict) else ({}, "the YAML of the card is no mapping")


def wrong_space(head: dict[str, Any]) -> str | None:
    """What the Hub would not take of the head of a Space's README."""
    if head.get("sdk") not in SDKS:
        return f'"sdk" must be one of {list(SDKS)}'
    for key in ("colorFrom", "colorTo"):
        if head.get(key, "red") not in COLOURS:
            return f'"{key}" must be one of {list(COLOURS)}'
    for key in ("sdk_version", "python_version", "short_description"):
        if not isinstance(head.get(key, ""), str):
            return f'"{key}" must be a string'
    return '"short_description" must be 60 letters at most' if len(head.get("short_description", "")) > 60 else None

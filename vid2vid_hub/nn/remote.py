"""Files of a Hub repo, one by one, in the Hub's own cache: proven to be what the Hub says, or not kept at all."""

from __future__ import annotations

import hashlib
import logging
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast
from uuid import uuid4

from huggingface_hub import HfApi, constants, hf_hub_download, snapshot_download
from huggingface_hub.errors import (
    DisabledRepoError,
    EntryNotFoundError,
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from vid2vid_hub.errors import ModelError, Vid2VidError
from vid2vid_hub.nn.layout import weight_files
from vid2vid_hub.nn.stored import blank, numbers
from vid2vid_hub.nn.strict import MAX_HEADER, MAX_JSON, read_header, read_json
from vid2vid_hub.secrets import find_secret

TransportError = cast("type[Exception]", HfHubHTTPError.__bases__[0])
"""What the Hub's library raises when nothing is answered; the HTTP library under it is not always the same."""
HUB_OPTIONS = ("revision", "token", "cache_dir", "local_files_only", "force_download")
"""Those arguments of every ``from_pretrained`` that :func:`look` takes."""
LISTING_TIMEOUT = 30.0

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Listed:
    """What the Hub says of a file: its size in bytes, and a digest of its content; None where it does not say."""

    size: int | None = None
    digest: str | None = None


@dataclass(frozen=True)
class Remote:
    """One commit of a repo, and the files in it.

    Attributes:
        repo: "org/name".
        files: what is in it, by name; without the Hub, what was downloaded before.
        offline: only the cache is asked.
    """

    repo: str
    commit: str
    files: Mapping[str, Listed]
    offline: bool
    options: Mapping[str, Any]

    def inside(self, folder: str) -> list[str]:
        """The names of the files in a folder of the repo, such as "generator/", counted from there."""
        return [name.removeprefix(folder) for name in self.files if name.startswith(folder)]

    def get(self, *names: str) -> Path:
        """Download what is not in the cache yet.

        Returns:
            The folder of this commit in the cache, where each of the files lies under its name.

        Raises:
            ModelError: one cannot be had, or arrives damaged twice; then it is not kept.
        """
        folder = Path()
        for name in names:
            path = self._proven(name)
            folder = path.parents[name.count("/")]
        return folder

    def whole(self, *names: str) -> Path:
        """As :meth:`get`, for all that is wanted: from then on the revision means this commit without the Hub, too.

        An attempt that breaks off leaves the commit before it as the one that is loaded offline.
        """
        folder = self.get(*names)
        revision = self.options.get("revision") or constants.DEFAULT_REVISION
        refs = folder.parents[1] / "refs"
        if not self.offline and revision != self.commit and (refs / revision).resolve().is_relative_to(refs.resolve()):
            beside = refs / f"{revision}.{uuid4().hex}.part"
            try:
                beside.parent.mkdir(parents=True, exist_ok=True)
                beside.write_text(self.commit, encoding="ascii")
                beside.replace(refs / revision)
            except OSError as error:
                _log.warning("the cache does not remember which commit of %s was loaded: %s", self.repo, error)
        return folder

    def json(self, name: str) -> dict[str, Any]:
        """Download and read one JSON file, unless it is too large to be one of settings.

        Raises:
            ModelError: it cannot be had, is too large, or is not strictly JSON.
        """
        size = self.files[name].size
        if size is not None and size > MAX_JSON:
            raise ModelError(f"{self.repo}/{name} has {size} bytes, and settings at most {MAX_JSON}; it is left there")
        return read_json(self.get(name) / name, f"{self.repo}/{name}")

    def _proven(self, name: str) -> Path:
        path = self._download(name, bool(self.options.get("force_download")))
        wrong = self._damage(path, name)
        if wrong and not self.offline:
            _log.warning("%s/%s is damaged (%s) and is downloaded once more", self.repo, name, wrong)
            self._evict(path)
            path = self._download(name)
            wrong = self._damage(path, name)
        if wrong:
            self._evict(path)
            after = "connect and load again" if self.offline else "try again later"
            raise ModelError(f"{self.repo}/{name} is damaged: {wrong}; it was removed from the cache; {after}")
        return path

    def _download(self, name: str, again: bool = False) -> Path:
        with asking(self.repo, self.options.get("revision")):
            return Path(
                hf_hub_download(
                    self.repo,
                    name,
                    revision=self.commit,
                    cache_dir=self.options.get("cache_dir"),
                    token=self.options.get("token"),
                    local_files_only=self.offline,
                    force_download=again and not self.offline,
                )
            )

    def _damage(self, path: Path, name: str) -> str | None:
        """What is wrong with a file; None if it is what the Hub says."""
        listed = self.files.get(name, Listed())
        # In the cache a file is a link to what is called by its digest, if the system has links.
        called = Path(os.readlink(path)).name if path.is_symlink() else None  # noqa: PTH115  (must not be resolved)
        known = [digest for digest in (called, listed.digest) if digest and re.fullmatch("[0-9a-f]+", digest)]
        digest = next((one for length in (64, 40) for one in known if len(one) == length), None)
        if digest is not None:
            found = _digests(path, len(digest))
            return None if digest in found else f"its digest is {found[0]} and should be {digest}"
        if listed.size not in (None, path.stat().st_size):
            return f"it has {path.stat().st_size} bytes and should have {listed.size}"
        try:
            if name.endswith(".json"):
                read_json(path, name)
            if name.endswith(".safetensors"):
                read_header(path, name)
        except ModelError as error:
            return str(error)
        return None

    def _evict(self, path: Path) -> None:
        """Remove a file from the cache: what the links lead to, and the links."""
        cache = Path(self.options.get("cache_dir") or constants.HF_HUB_CACHE).expanduser().resolve()
        chain = [path]
        while chain[-1].is_symlink():
            chain.append(chain[-1].parent / os.readlink(chain[-1]))  # noqa: PTH115
        for place in chain:
            if place.parent.resolve().is_relative_to(cache):
                place.unlink(missing_ok=True)


def look(repo: str, marker: str, **options: Any) -> Remote:
    """Ask the Hub for a repo's commit and its list of files; where it cannot be asked, look what was downloaded before.

    Args:
        repo: "org/name".
        marker: a file by which to know whether it was downloaded before.
        **options: of :data:`HUB_OPTIONS`.

    Raises:
        ModelError: there is no such repo or revision, it is not for everyone, or the Hub cannot be asked and nothing
            was downloaded before.
    """
    revision, token = options.get("revision"), options.get("token")
    if find_secret(f"{repo} {revision}"):  # names are written into the logs of every server on the way
        raise ModelError("the name of the repo or its revision holds what looks like a token; give token=, or HF_TOKEN")
    with asking(repo, revision):
        if options.get("local_files_only"):
            return _cached(repo, marker, options)
        try:
            info = HfApi(token=token).model_info(repo, revision=revision, files_metadata=True, timeout=LISTING_TIMEOUT)
        except (TransportError, OfflineModeIsEnabled) as error:
            if isinstance(error, HfHubHTTPError) and not _passing(error):
                raise
            try:
                found = _cached(repo, marker, options)
            except LocalEntryNotFoundError:
                raise error from None
            if not isinstance(error, OfflineModeIsEnabled):
                _log.warning("the Hub cannot be asked about %s now; it is loaded as it was downloaded before", repo)
            return found
        if not isinstance(info.sha, str) or not re.fullmatch("[0-9a-f]{40}", info.sha):
            raise ModelError(f"the Hub's answer about {repo} cannot be understood: it names no commit")
        files = {
            one.rfilename: Listed(one.size, one.lfs.sha256 if one.lfs else one.blob_id) for one in info.siblings or ()
        }
    return Remote(repo, info.sha, files, offline=False, options=options)


def fetch_network(
    repo: str, inside: str, kind: type, variant: str | None, changes: Mapping[str, Any], **options: Any
) -> Path:
    """Download one network alone.

    Args:
        repo: "org/name".
        inside: the folder that the network lies in, such as "generator/"; empty for that of the repo itself.
        kind: the network's class.
        variant: of the weights.
        changes: settings that are to differ from those in the repo.
        **options: :data:`HUB_OPTIONS`.

    Returns:
        The folder of the repo's commit in the Hub's cache.

    Raises:
        ModelError: see :func:`look`, :meth:`Remote.get` and :func:`network_files`.
    """
    held = look(repo, f"{inside}config.json", **options)
    return held.whole(*network_files(held, inside, kind, variant, changes))


def network_files(
    held: Remote, inside: str, kind: type, variant: str | None, changes: Mapping[str, Any] | None = None
) -> Iterator[str]:
    """The names of a network's files in a repo; those of weights only when they are seen to be of a size that fits.

    Raises:
        ModelError: a setting is unknown or out of range, or the weights are not there, or larger than they can be.
    """
    source, config = f"{held.repo}/{inside}".rstrip("/"), f"{inside}config.json"
    if config not in held.files:
        raise ModelError(f"{held.repo} is incomplete: {config} is missing")
    held.json(config)
    yield config
    network = blank(held.get(config) / inside, kind, source, changes)
    weights = weight_files(held.inside(inside), variant, source)
    if weights.shards is not None:
        held.json(inside + weights.shards)
        yield inside + weights.shards
    sizes = [held.files[inside + name].size or 0 for name in weights.files]
    if sum(sizes) > (most := 8 * numbers(network) + MAX_HEADER * len(sizes)):
        raise ModelError(f"{source} holds {sum(sizes)} bytes of weights; those of its network take at most {most}")
    yield from (inside + name for name in weights.files)


@contextmanager
def asking(repo: str, revision: str | None = None) -> Iterator[None]:
    """Turn what the Hub and its library raise about a repo into one sentence.

    Raises:
        ModelError: what is wrong, and what to do.
    """
    try:
        yield
    except GatedRepoError as error:
        raise ModelError(
            f"{repo} is gated: accept its conditions on its page of the Hub, and log in with: hf auth login"
        ) from error
    except RepositoryNotFoundError as error:
        raise ModelError(
            f"there is no folder {repo} here and no such model on the Hub; if it is private, log in with: hf auth login"
        ) from error
    except DisabledRepoError as error:
        raise ModelError(f"{repo} has been disabled on the Hub; look at its page there") from error
    except RevisionNotFoundError as error:
        raise ModelError(f"{repo} has no revision '{revision}' on the Hub") from error
    except (LocalEntryNotFoundError, OfflineModeIsEnabled) as error:
        if isinstance(error.__cause__, HfHubHTTPError):
            raise ModelError(_refusal(repo, error.__cause__.response.status_code)) from error
        raise ModelError(
            f"{repo} was not downloaded before and the Hub cannot be asked now; connect, or give a pipeline folder"
        ) from error
    except EntryNotFoundError as error:
        raise ModelError(f"{repo} on the Hub is incomplete: a file that it lists is not there") from error
    except HFValidationError as error:
        raise ModelError(f"there is no folder {repo} here, and a model on the Hub has a name like org/name") from error
    except HfHubHTTPError as error:
        raise ModelError(_refusal(repo, error.response.status_code)) from error
    except TransportError as error:
        raise ModelError(
            f"{repo} cannot be had from the Hub: {_brief(error)}; connect and try again, or give a pipeline folder"
        ) from error
    except Vid2VidError:
        raise
    except Exception as error:
        # Whatever the Hub's library and those below it raise: a full disk, a file cut short, an answer that is no JSON.
        why = _brief(error.__cause__ or error)
        raise ModelError(f"{repo} cannot be downloaded from the Hub: {why}; try again") from error


def _cached(repo: str, marker: str, options: Mapping[str, Any]) -> Remote:
    folder = Path(
        snapshot_download(
            repo,
            revision=options.get("revision"),
            cache_dir=options.get("cache_dir"),
            local_files_only=True,
            allow_patterns=[marker],
        )
    )
    files = {path.relative_to(folder).as_posix(): Listed() for path in folder.rglob("*") if path.is_file()}
    if marker not in files:
        raise LocalEntryNotFoundError(marker)
    return Remote(repo, folder.name, files, offline=True, options=options)


def _passing(error: HfHubHTTPError) -> bool:
    """Whether the Hub may answer the same question later."""
    return error.response.status_code == 429 or error.response.status_code >= 500


def _refusal(repo: str, status: int) -> str:
    if status in (401, 403):
        return f"the Hub refuses to give {repo} ({status}): log in with hf auth login, or ask its owner for access"
    if status == 429:
        return f"the Hub is asked too much now and does not give {repo} (429): wait some minutes, or log in"
    if status >= 500:
        return f"the Hub cannot give {repo} now ({status}): try again later"
    return f"the Hub does not give {repo} ({status})"


def _brief(error: BaseException) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"


def _digests(path: Path, length: int) -> list[str]:
    """Of a file, sha256 in hex; or where forty digits are wanted, sha1 as git computes it, and plain."""
    with path.open("rb") as file:
        if length == 64:
            return [hashlib.file_digest(file, "sha256").hexdigest()]
        plain, git = hashlib.sha1(usedforsecurity=False), hashlib.sha1(usedforsecurity=False)
        git.update(b"blob %d\0" % path.stat().st_size)
        while block := file.read(1 << 20):
            plain.update(block)
            git.update(block)
    return [git.hexdigest(), plain.hexdigest()]

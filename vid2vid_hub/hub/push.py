"""A pipeline folder to the Hub: one commit with a card; a second attempt goes on where the first broke off."""

from __future__ import annotations

import re
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from json import JSONDecodeError
from pathlib import Path

from huggingface_hub import CommitInfo, CommitOperationAdd, CommitOperationDelete, HfApi
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, OfflineModeIsEnabled, RevisionNotFoundError

from vid2vid_hub.errors import ModelError
from vid2vid_hub.folder import CONFIG
from vid2vid_hub.hub.about import HUB_ID, read_about
from vid2vid_hub.hub.card import card
from vid2vid_hub.hub.contents import CARD, PREVIEW, belongs, find_sample, read_index, root_config
from vid2vid_hub.hub.half import write_half
from vid2vid_hub.hub.stage import Staged, find_place, stage
from vid2vid_hub.secrets import find_secret

ATTEMPTS = 5
WAIT, LONGEST_WAIT = 1.0, 30.0
"""Seconds before the second attempt, which double from one to the next; and the most of them."""
BRANCH = re.compile(r"(?!.*(\.\.|//|\.lock$|/$))[A-Za-z0-9][\w./-]{0,99}")
_SHA = re.compile(r"[0-9a-f]{40}")
_PASSING = {408, 425, 429, 500, 502, 503, 504}
"""Answers after which the same request may be granted."""

_NETWORK_ERROR = HfHubHTTPError.__mro__[1]
"""What the library of the network raises under huggingface_hub, whichever that library is."""


@dataclass(frozen=True)
class Pushed:
    """What came of publishing.

    Attributes:
        commit: the new commit, or the one that held the same already.
        files: names of what the repo now holds of the pipeline.
        removed: what was removed from it, because the folder has it no more.
        left_out: name in the folder -> why it was not published.
    """

    commit: CommitInfo
    files: tuple[str, ...]
    removed: tuple[str, ...]
    left_out: dict[str, str]

    @property
    def url(self) -> str:
        """Where to look at it: the pull request, or the repo."""
        return self.commit.pr_url or str(self.commit.repo_url)


def push_folder(
    folder: Path,
    repo: str,
    *,
    private: bool | None = None,
    revision: str | None = None,
    create_pr: bool = False,
    commit_message: str | None = None,
    token: str | bool | None = None,
    rights: bool = False,
    fp16: bool = False,
    preview: Callable[[Path], None] | None = None,
    attempts: int = ATTEMPTS,
    say: Callable[[str], None] = lambda text: None,
) -> Pushed:
    """Publish a pipeline folder in one commit, with a card that is written from it.

    The repo is made where there is none. What the repo holds of a pipeline and the folder does not is removed from it:
    weights of another kind beside new ones would be another model. Files that are no part of a pipeline are left alone
    on both sides. Large files that the Hub has are not sent again, whether an earlier attempt or an earlier push sent
    them; files that are the same there are not touched.

    Args:
        folder: of a pipeline, checked before; it stays as it is.
        repo: "org/name".
        private: whether a new repo is private; None leaves it to the organisation's settings.
        revision: a branch, made where it is missing; None is the main one.
        create_pr: open a pull request against the main branch instead of changing it.
        commit_message: what the commit is called.
        token: as in huggingface_hub; None is HF_TOKEN or who is logged in.
        rights: the caller may publish weights that were converted from others' checkpoints.
        fp16: also publish the weights in half precision, for ``variant="fp16"``.
        preview: writes ``preview.mp4`` where the folder has a sample and no such file.
        attempts: how often a dropped connection is tried again.
        say: called with what a person should know while it lasts.

    Raises:
        ModelError: the folder cannot be published, or the Hub does not let it be; what to do.
        TaskError: the task is not installed.
    """
    _check(repo, revision, create_pr, commit_message)
    converted = read_about(folder).converted
    if converted is not None and not rights:
        raise ModelError(
            f"these weights were converted from a checkpoint of {converted.system}, whose licence "
            f"({converted.licence}) they carry; publish them with --i-have-the-rights (rights=True) if you have them"
        )
    with tempfile.TemporaryDirectory(prefix="vid2vid-hub-") as temporary:
        made = Path(temporary)
        staged = _prepared(folder, made, repo, revision, fp16, preview)
        api = HfApi(token=token)
        for attempt in range(1, attempts + 1):
            try:
                with _refused(repo):
                    return _push(api, staged, repo, private, revision, create_pr, commit_message)
            except _DroppedError as error:
                if attempt == attempts:
                    raise ModelError(
                        f"the connection to the Hub failed {attempts} times ({error}); push again, which goes on "
                        "with what is not there yet"
                    ) from error
                wait = min(WAIT * 2 ** (attempt - 1), LONGEST_WAIT)
                say(f"the connection to the Hub failed ({error}); trying again in {wait:.0f} s")
                time.sleep(wait)
    raise ModelError(f"{attempts} attempts are none; give 1 or more")


class _DroppedError(Exception):
    """Something of the moment: the same may work later."""


def _check(repo: str, revision: str | None, create_pr: bool, message: str | None) -> None:
    if not HUB_ID.fullmatch(repo):
        raise ModelError(f"'{repo}' is no name of a repo on the Hub; write org/name or your-name/name")
    if revision is not None and (not BRANCH.fullmatch(revision) or _SHA.fullmatch(revision)):
        raise ModelError(f"'{revision}' is no name of a branch, and only branches can be pushed to")
    if create_pr and revision not in (None, "main"):
        raise ModelError(f"a pull request is made against the main branch; leave the revision '{revision}' out")
    if message is not None and (find_secret(message) or find_place(message) or not message.strip()):
        raise ModelError("the message of the commit is empty, or tells a token or a place on this machine; change it")


def _prepared(
    folder: Path,
    made: Path,
    repo: str,
    revision: str | None,
    fp16: bool,
    preview: Callable[[Path], None] | None,
) -> Staged:
    """All that is published: the folder's files, and in ``made`` what is written for the occasion."""
    if fp16:
        write_half(folder, made)
    if not (folder / CONFIG).exists():
        (made / CONFIG).write_text(root_config(str(read_index(folder).get("task"))), encoding="utf-8")
    if preview is not None and find_sample(folder) is not None and not (folder / PREVIEW).exists():
        preview(made / PREVIEW)
    shown = None if revision == "main" else revision
    text = card(folder, repo, shown, preview=(made / PREVIEW).is_file() or (folder / PREVIEW).is_file())
    (made / CARD).write_text(text, encoding="utf-8")
    return stage(folder, made, owner=repo.split("/")[0])


def _push(
    api: HfApi,
    staged: Staged,
    repo: str,
    private: bool | None,
    revision: str | None,
    create_pr: bool,
    message: str | None,
) -> Pushed:
    api.create_repo(repo, private=private, exist_ok=True)
    branch = revision or "main"
    try:
        head = api.model_info(repo, revision=branch)
    except RevisionNotFoundError:
        api.create_branch(repo, branch=branch, exist_ok=True)
        head = api.model_info(repo, revision=branch)
    if private and not head.private:
        raise ModelError(
            f"{repo} is there already, and public; make it private in its settings first, or push it as it is"
        )
    there = {sibling.rfilename for sibling in head.siblings or ()}
    removed = sorted(name for name in there - staged.files.keys() if belongs(name))
    try:
        commit = api.create_commit(
            repo,
            [
                *(CommitOperationDelete(path_in_repo=name, is_folder=False) for name in removed),
                *(CommitOperationAdd(path_in_repo=name, path_or_fileobj=path) for name, path in staged.files.items()),
            ],
            commit_message=message or "Upload with vid2vid-hub",
            revision=branch,
            create_pr=create_pr,
            parent_commit=head.sha,
        )
    except JSONDecodeError as error:  # a busy server's page, read before huggingface_hub looks at its status
        raise _DroppedError("an answer that is no JSON") from error
    return Pushed(commit, tuple(sorted(staged.files)), tuple(removed), staged.left_out)


@contextmanager
def _refused(repo: str) -> Iterator[None]:
    """Turn all that goes wrong on the way to the Hub into one sentence, or into something to be tried again.

    Raises:
        ModelError: the Hub refused, and why.
        _DroppedError: the connection dropped, or the Hub was busy.
    """
    try:
        yield
    except ModelError:
        raise
    except HFValidationError as error:
        raise ModelError(f"the Hub knows no repo by the name {repo}: {_said(error)}") from error
    except OfflineModeIsEnabled as error:
        raise ModelError("HF_HUB_OFFLINE is set, and nothing is published offline; unset it") from error
    except Exception as error:  # huggingface_hub, its network library and its uploader raise what they like
        answer = _cause(error, HfHubHTTPError)
        if isinstance(answer, HfHubHTTPError):
            if answer.response.status_code in _PASSING:
                raise _DroppedError(f"status {answer.response.status_code}") from error
            raise ModelError(_answered(answer, repo)) from error
        # The Hub's own uploader, hf_xet, says RuntimeError to whatever happens on the way.
        if isinstance(error, RuntimeError) or _cause(error, _NETWORK_ERROR, ConnectionError, TimeoutError) is not None:
            raise _DroppedError(_said(_cause(error, _NETWORK_ERROR) or error)) from error
        if isinstance(error, OSError | ValueError):
            raise ModelError(f"{repo} cannot be published: {_said(error)}") from error
        raise


def _answered(error: HfHubHTTPError, repo: str) -> str:
    code, said = error.response.status_code, error.server_message or ""
    reason = f" ({' '.join(said.split())[:300]})" if said else ""
    if re.search(r"(?i)quota|storage|payment|billing", said) or code in (402, 507):
        return f"the Hub has no room for {repo}{reason}; free some, or ask for more in the settings of its owner"
    if code == 401:
        return f"the Hub does not know who publishes {repo}{reason}; set HF_TOKEN, or log in with: hf auth login"
    if code in (403, 404):
        return (
            f"this login may not write to {repo}{reason}; take a token with the right to write, or another name: "
            "that one may be another's"
        )
    if code in (409, 412):
        return f"{repo} was changed by somebody else meanwhile, or its name is taken{reason}; look, and push again"
    return f"the Hub does not take {repo}: status {code}{reason}"


def _cause(error: BaseException, *kinds: type[BaseException]) -> BaseException | None:
    """The first of an error and what it comes from that is of a kind."""
    found: BaseException | None = error
    while found is not None and not isinstance(found, kinds):
        found = found.__cause__ or found.__context__
    return found


def _said(error: BaseException) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__

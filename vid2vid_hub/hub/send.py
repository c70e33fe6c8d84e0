"""Files to the Hub in one commit, whatever kind of repo it is: tried again, and every refusal is one sentence."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from json import JSONDecodeError
from typing import Literal

from huggingface_hub import CommitInfo, CommitOperationAdd, CommitOperationDelete, HfApi, ModelInfo, SpaceInfo
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, OfflineModeIsEnabled, RevisionNotFoundError

from vid2vid_hub.errors import ModelError
from vid2vid_hub.hub.about import HUB_ID
from vid2vid_hub.hub.stage import Staged, find_place
from vid2vid_hub.secrets import find_secret

ATTEMPTS = 5
WAIT, LONGEST_WAIT = 1.0, 30.0
"""Seconds before the second attempt, which double from one to the next; and the most of them."""
_PASSING = {408, 425, 429, 500, 502, 503, 504}
"""Answers after which the same request may be granted."""

_NETWORK_ERROR = HfHubHTTPError.__mro__[1]
"""What the library of the network raises under huggingface_hub, whichever that library is."""

Stale = Callable[[HfApi, ModelInfo | SpaceInfo], Iterable[str]]
"""Names in a repo, as it is now, that are removed from it unless they are sent anew; may refuse the repo."""


@dataclass(frozen=True)
class Pushed:
    """What came of publishing.

    Attributes:
        commit: the new commit, or the one that held the same already.
        files: names of what the repo now holds of the folder.
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


@dataclass(frozen=True)
class Target:
    """Where a commit goes.

    Attributes:
        repo: "org/name"; made where there is none.
        kind: what it is a repo of; Spaces are made for Gradio.
        private: whether a new repo is private; None leaves it to the organisation's settings.
        branch: made where it is missing.
        create_pr: open a pull request against the branch instead of changing it.
        message: what the commit is called; None is the usual.
    """

    repo: str
    kind: Literal["model", "space"] = "model"
    private: bool | None = None
    branch: str = "main"
    create_pr: bool = False
    message: str | None = None

    def check(self) -> None:
        """Refuse what can be seen to be wrong before the Hub is asked.

        Raises:
            ModelError: the repo's name is none, or the message says nothing, or too much.
        """
        if not HUB_ID.fullmatch(self.repo):
            raise ModelError(f"'{self.repo}' is no name of a repo on the Hub; write org/name or your-name/name")
        said = self.message
        if said is not None and (find_secret(said) or find_place(said) or not said.strip()):
            raise ModelError(
                "the message of the commit is empty, or tells a token or a place on this machine; change it"
            )


def send(
    staged: Staged,
    target: Target,
    stale: Stale,
    *,
    token: str | bool | None = None,
    attempts: int = ATTEMPTS,
    say: Callable[[str], None] = lambda text: None,
) -> Pushed:
    """Make the repo hold the staged files, in one commit or not at all.

    Large files that the Hub has are not sent again, whether an earlier attempt or an earlier push sent them; files that
    are the same there are not touched.

    Args:
        staged: what is sent.
        target: where to, checked before.
        stale: what is removed of what the repo holds.
        token: as in huggingface_hub; None is HF_TOKEN or who is logged in.
        attempts: how often a dropped connection is tried again.
        say: called with what a person should know while it lasts.

    Raises:
        ModelError: the Hub refused, and why; or the connection failed every time.
    """
    api = HfApi(token=token)
    for attempt in range(1, attempts + 1):
        try:
            with _refused(target.repo):
                return _commit(api, staged, target, stale)
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


def _commit(api: HfApi, staged: Staged, target: Target, stale: Stale) -> Pushed:
    repo, kind, branch = target.repo, target.kind, target.branch
    sdk = "gradio" if kind == "space" else None
    api.create_repo(repo, repo_type=kind, space_sdk=sdk, private=target.private, exist_ok=True)
    try:
        head = _head(api, target)
    except RevisionNotFoundError:
        api.create_branch(repo, repo_type=kind, branch=branch, exist_ok=True)
        head = _head(api, target)
    if target.private and not head.private:
        raise ModelError(
            f"{repo} is there already, and public; make it private in its settings first, or push it as it is"
        )
    there = {sibling.rfilename for sibling in head.siblings or ()}
    removed = sorted(there & set(stale(api, head)) - staged.files.keys())
    try:
        commit = api.create_commit(
            repo,
            [
                *(CommitOperationDelete(path_in_repo=name, is_folder=False) for name in removed),
                *(CommitOperationAdd(path_in_repo=name, path_or_fileobj=path) for name, path in staged.files.items()),
            ],
            commit_message=target.message or "Upload with vid2vid-hub",
            repo_type=kind,
            revision=branch,
            create_pr=target.create_pr,
            parent_commit=head.sha,
        )
    except JSONDecodeError as error:  # a busy server's page, read before huggingface_hub looks at its status
        raise _DroppedError("an answer that is no JSON") from error
    return Pushed(commit, tuple(sorted(staged.files)), tuple(removed), staged.left_out)


def _head(api: HfApi, target: Target) -> ModelInfo | SpaceInfo:
    if target.kind == "space":
        return api.space_info(target.repo, revision=target.branch)
    return api.model_info(target.repo, revision=target.branch)


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
    if code == 402:
        return f"the Hub wants to be paid for {repo}{reason}; see to the billing of its owner, or take another owner"
    if re.search(r"(?i)quota|storage|payment|billing", said) or code == 507:
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

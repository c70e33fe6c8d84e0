"""A pipeline folder to the Hub, with a card that is written from it and all that the card speaks of."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable
from pathlib import Path

from vid2vid_hub.errors import ModelError
from vid2vid_hub.folder import CONFIG
from vid2vid_hub.hub.about import read_about
from vid2vid_hub.hub.card import card
from vid2vid_hub.hub.contents import CARD, PREVIEW, belongs, find_sample, read_index, root_config
from vid2vid_hub.hub.half import write_half
from vid2vid_hub.hub.send import ATTEMPTS, Pushed, Target, send
from vid2vid_hub.hub.stage import Staged, stage

BRANCH = re.compile(r"(?!.*(\.\.|//|\.lock$|/$))[A-Za-z0-9][\w./-]{0,99}")
_SHA = re.compile(r"[0-9a-f]{40}")


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
    target = Target(repo, "model", private, "main" if revision is None else revision, create_pr, commit_message)
    _check(target)
    converted = read_about(folder).converted
    if converted is not None and not rights:
        raise ModelError(
            f"these weights were converted from a checkpoint of {converted.system}, whose licence "
            f"({converted.licence}) they carry; publish them with --i-have-the-rights (rights=True) if you have them"
        )
    with tempfile.TemporaryDirectory(prefix="vid2vid-hub-") as temporary:
        made = Path(temporary)
        staged = _prepared(folder, made, repo, revision, fp16, preview)
        return send(
            staged,
            target,
            lambda _, head: [one.rfilename for one in head.siblings or () if belongs(one.rfilename)],
            token=token,
            attempts=attempts,
            say=say,
        )


def _check(target: Target) -> None:
    target.check()
    if not BRANCH.fullmatch(target.branch) or _SHA.fullmatch(target.branch):
        raise ModelError(f"'{target.branch}' is no name of a branch, and only branches can be pushed to")
    if target.create_pr and target.branch != "main":
        raise ModelError(f"a pull request is made against the main branch; leave the revision '{target.branch}' out")


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

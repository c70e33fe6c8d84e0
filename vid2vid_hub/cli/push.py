"""Commands about publishing: push, of pipelines and of Spaces, and card."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vid2vid_hub.cli.app import app, load
from vid2vid_hub.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Callable

    from vid2vid_hub.hub.send import Pushed

Folder = Annotated[Path, typer.Argument(help="A pipeline folder, such as RUN/pipeline.")]


@app.command()
def push(
    folder: Annotated[
        Path, typer.Argument(help="A pipeline folder, such as RUN/pipeline; with --space, that of a Space.")
    ],
    repo: Annotated[str, typer.Argument(metavar="ORG/NAME", help="The repo on the Hub; made where there is none.")],
    private: Annotated[bool, typer.Option("--private", help="Make a new repo private.")] = False,
    revision: Annotated[
        str | None, typer.Option(help="The branch to publish on; made where it is missing. main by default.")
    ] = None,
    fp16: Annotated[bool, typer.Option("--fp16", help="Also publish the weights in half precision.")] = False,
    message: Annotated[str | None, typer.Option(help="What the commit is called.")] = None,
    rights: Annotated[
        bool,
        typer.Option("--i-have-the-rights", help="Publish weights that were converted from others' checkpoints."),
    ] = False,
    space: Annotated[
        bool, typer.Option("--space", help="Publish a Space, an app that people try, such as spaces/demo.")
    ] = False,
    wheel: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="A wheel of this package that a Space installs instead of a release."),
    ] = None,
) -> None:
    """Publish a pipeline folder on the Hub, with a card that is written from its recipe and its measures; or a Space.

    Who you are is said by HF_TOKEN or by: hf auth login. After a dropped connection the same command goes on.
    """
    if space:
        for name, given in (("--revision", revision), ("--fp16", fp16), ("--i-have-the-rights", rights)):
            if given:
                raise ModelError(f"{name} is of models: a Space is built from its main branch and has no weights")
        _push_space(folder, repo, private, message, wheel)
    elif wheel is not None:
        raise ModelError("--wheel is of Spaces, which install it; say --space, or leave it out")
    else:
        _push_model(folder, repo, private, revision, message, rights, fp16)


def _push_space(folder: Path, repo: str, private: bool, message: str | None, wheel: Path | None) -> None:
    from vid2vid_hub.hub.space import push_space

    _tell(push_space(folder, repo, private=private or None, commit_message=message, wheel=wheel, say=_say))
    typer.echo("the Hub builds it now; what it runs on is chosen in its settings", err=True)


def _push_model(
    folder: Path, repo: str, private: bool, revision: str | None, message: str | None, rights: bool, fp16: bool
) -> None:
    from vid2vid_hub.folder import check
    from vid2vid_hub.hub.push import push_folder
    from vid2vid_hub.pipeline import Vid2VidPipeline

    check(folder, Vid2VidPipeline)
    done = push_folder(
        folder,
        repo,
        private=private or None,
        revision=revision,
        commit_message=message,
        rights=rights,
        fp16=fp16,
        preview=_preview(folder),
        say=_say,
    )
    _tell(done)


def _tell(done: Pushed) -> None:
    for name, why in done.left_out.items():
        typer.echo(f"left out: {name}, {why}")
    for name in done.removed:
        typer.echo(f"removed from the repo: {name}")
    typer.echo(f"{done.url}: {len(done.files)} files, commit {done.commit.oid[:7]}")


def _say(text: str) -> None:
    typer.echo(text, err=True)


@app.command()
def card(
    folder: Folder,
    repo: Annotated[
        str | None, typer.Option(metavar="ORG/NAME", help="What the card calls the model; the folder by default.")
    ] = None,
) -> None:
    """Write the card of a pipeline folder, README.md, and the preview that it shows, as push would."""
    from vid2vid_hub.folder import check
    from vid2vid_hub.hub.card import card as write
    from vid2vid_hub.hub.contents import CARD, PREVIEW, find_sample
    from vid2vid_hub.pipeline import Vid2VidPipeline

    check(folder, Vid2VidPipeline)
    if find_sample(folder) is not None and not (folder / PREVIEW).exists():
        _preview(folder)(folder / PREVIEW)
    (folder / CARD).write_text(write(folder, repo or folder.as_posix()), encoding="utf-8")
    typer.echo(f"{folder / CARD}")


def _preview(folder: Path) -> Callable[[Path], None]:
    """Writes the preview by the pipeline, which is loaded for that alone."""
    return lambda path: load(str(folder.resolve()), None).write_preview(path)

"""What all commands share: the app that they join, arguments of several, and the way of an error to the reader."""

from __future__ import annotations

import signal
import sys
import traceback
from typing import TYPE_CHECKING, Annotated

import typer

from vid2vid_hub.errors import StoppedError, Vid2VidError
from vid2vid_hub.secrets import find_secret, guarded
from vid2vid_hub.terminal import is_first_process, leave

if TYPE_CHECKING:
    from vid2vid_hub.pipeline import Vid2VidPipeline


app = typer.Typer(
    help="Turn one video into another: label maps into streets, sketches into faces, poses into dance.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)

Size = Annotated[str | None, typer.Option(metavar="WxH", help="Resize to this many pixels, e.g. 256x144.")]
Model = Annotated[str, typer.Argument(help="A pipeline folder, a starter's name, or org/name on the Hub.")]
Device = Annotated[str | None, typer.Option(help="cpu, cuda, mps, …; the best that is there by default.")]
_debug = False


@app.callback()
def _options(debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks.")] = False) -> None:
    global _debug
    _debug = debug


def main() -> None:
    """Run the command line; mistakes that a person can mend are one sentence and exit code 2.

    A training that SIGTERM stopped says so in one sentence, too, and exits as the shell calls that signal: 143. What
    looks like a token is shown nowhere, in tracebacks neither, which therefore are printed here.
    """
    global _debug
    _debug = False
    with guarded():
        try:
            _refuse_secrets(sys.argv[1:])
            app()
        except StoppedError as stop:
            if is_first_process():
                typer.echo(str(stop), err=True)
            leave(128 + signal.SIGTERM)
        except Vid2VidError as error:
            if _debug:
                traceback.print_exc()
                sys.exit(1)
            typer.echo(f"error: {' '.join(str(error).split())}", err=True)
            leave(2)
        except Exception:
            traceback.print_exc()
            sys.exit(1)


def _refuse_secrets(arguments: list[str]) -> None:
    """No command takes a token: other users of a machine see its command lines, and shells write them down."""
    if any(map(find_secret, arguments)):
        raise Vid2VidError(
            "an argument holds what looks like a token; tokens are never given here, "
            "but by the variable HF_TOKEN or with: hf auth login"
        )


def load(model: str, device: str | None) -> Vid2VidPipeline:
    """A pipeline by folder, starter's name or Hub id, on the best device that is there unless one is named."""
    from vid2vid_hub.load import load_pipeline

    return load_pipeline(model, device)

"""The player that shows a condition and what was generated from it, the same frame of both, with a slider between."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.data_classes import FileData

_ASSETS = Path(__file__).parent / "assets"


def player(
    value: dict[str, Any] | None = None,
    *,
    left: str = "condition",
    right: str = "generated",
    empty: str = "Nothing generated yet: choose a video and press Generate, and the result plays here.",
    **settings: Any,
) -> gr.HTML:
    """Make the component; what it shows is a value from :func:`shown`, or None.

    It is keyboard-operated throughout: the divider and the time are sliders (arrows; one arrow of the time is one
    frame), space plays and pauses, comma and full stop step by a frame. It plays at once, unless the browser asks for
    reduced motion, and rests while it is out of sight.

    Args:
        value: what is shown at the start.
        left: the name of the left half.
        right: the name of the right half.
        empty: the sentence that stands there while there is no value.
        settings: of gr.HTML, such as ``elem_id`` or ``visible``.
    """
    # Gradio runs templates as JavaScript even where it escapes HTML, so the template names no value: the script takes
    # them from the props and sets them as text.
    return gr.HTML(
        value,
        html_template=_asset("player.html"),
        css_template=_asset("player.css"),
        js_on_load=_asset("player.js"),
        apply_default_css=False,
        left=left,
        right=right,
        empty=empty,
        **settings,
    )


def shown(path: Path | None, fps: Fraction | float) -> dict[str, Any] | None:
    """Give a handler's output for :func:`player`.

    The file goes the way of any file of Gradio: it is copied into Gradio's cache (not if it lies there already), and
    the page gets the address of the copy under the address that the visitor uses, behind a proxy too. So the page
    never names the output folder, Gradio serves the copy with a type that cannot run as a page, and ``delete_cache``
    removes it by age.

    Args:
        path: an .mp4 as :func:`vid2vid_hub.render.render` writes it side by side, or None for the empty player. It
            must lie in a folder of ``allowed_paths``, the working folder or the temporary folder.
        fps: its frames a second, by which the arrows step.
    """
    return None if path is None else {"video": FileData(path=str(path)).model_dump(), "fps": float(fps)}


def _asset(name: str) -> str:
    return (_ASSETS / name).read_text(encoding="utf-8")

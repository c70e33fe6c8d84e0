"""How the app looks: a calm theme of system fonts, the app's own CSS, and legends in the colours of their classes."""

from __future__ import annotations

import re
from pathlib import Path

import gradio as gr

from vid2vid_hub.tasks import Labels

_SANS = ("ui-sans-serif", "system-ui", "sans-serif")
_MONO = ("ui-monospace", "Consolas", "monospace")
_ABSENT = (128, 128, 128)


def theme() -> gr.themes.Base:
    """Slate and indigo, in the fonts that the visitor's system has: nothing is fetched from elsewhere."""
    sans, mono = ([gr.themes.Font(name) for name in names] for names in (_SANS, _MONO))
    return gr.themes.Soft(
        primary_hue="indigo", secondary_hue="indigo", neutral_hue="slate", font=sans, font_mono=mono
    ).set(
        body_text_color_subdued="*neutral_500",  # the usual 400 is too pale to read on white
        body_text_color_subdued_dark="*neutral_400",
        block_label_border_width="0px",
        block_label_background_fill="*block_background_fill",
        block_label_background_fill_dark="*block_background_fill",
        block_shadow="none",
        # Edges instead of shadows: a field or a button is seen as one on white, too.
        input_border_width="1px",
        input_border_color="*neutral_300",
        input_shadow="none",
        checkbox_label_border_color="*neutral_300",
        checkbox_label_shadow="none",
        button_secondary_border_color="*neutral_300",
        button_secondary_shadow="none",
        button_primary_shadow="none",
        block_border_width="1px",
        button_primary_background_fill="*primary_600",
        button_primary_background_fill_hover="*primary_700",
        button_primary_background_fill_dark="*primary_600",
        button_primary_text_color="white",
    )


def css() -> str:
    """The app's CSS, for ``launch(css=...)``: phone width, dark mode, focus, legends; the player brings its own."""
    return (Path(__file__).parent / "assets" / "app.css").read_text(encoding="utf-8")


def legend_class(task: str) -> str:
    """The CSS class of a task's legend: letters, digits, - and _ only, whatever the task is called; no two alike."""
    return "legend-" + re.sub(r"[^A-Za-z0-9-]", lambda found: f"_{ord(found[0]):x}_", task)


def legend_style(task: str, labels: Labels) -> str:
    """A style element that gives each option of a task's legend a swatch in its class's colour.

    A legend is ``gr.Radio([(name, str(id)), ...], elem_classes=["legend", legend_class(task)])``. Names of tasks and
    classes never enter it: numbers do, and :func:`legend_class`. A class without a colour in the palette is grey.
    """
    rules = (
        f'.{legend_class(task)} label:has(input[value="{number:d}"]) {{ --swatch: rgb({red:d} {green:d} {blue:d}); }}'
        for number in labels.names
        for red, green, blue in [labels.palette.get(number, _ABSENT)]
    )
    return "<style>" + "\n".join(rules) + "</style>"

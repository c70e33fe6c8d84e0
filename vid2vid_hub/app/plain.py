"""Components of Gradio that hand over what came, unopened, and pictures that are kept nowhere.

Gradio itself would open what is uploaded, pictures with Pillow and videos with ffmpeg, in the process that serves all.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from typing import Any

import gradio as gr
import numpy as np
from gradio import component_meta
from gradio.data_classes import FileData, ImageData
from PIL import Image

JPEG = "data:image/jpeg;base64,"


@contextmanager
def _without_stubs() -> Iterator[None]:
    """Keep Gradio from writing a stub file beside a module that defines a component."""
    kept = component_meta.create_or_modify_pyi
    component_meta.create_or_modify_pyi = lambda *_: None
    try:
        yield
    finally:
        component_meta.create_or_modify_pyi = kept


with _without_stubs():

    class Video(gr.Video):
        """An upload or a recording; handlers get its path."""

        is_template = True

        def preprocess(self, payload: FileData | None) -> str | None:
            """The path of what came."""
            return None if payload is None else payload.path

    class File(gr.File):
        """An upload of any kind; handlers get its path."""

        is_template = True

        def preprocess(self, payload: Any) -> str | None:
            """The path of what came."""
            return None if payload is None else str(payload.path)

    class Camera(gr.Image):
        """A camera; handlers get each frame as the browser sent it, a data URL."""

        is_template = True

        def preprocess(self, payload: ImageData | None) -> str | None:
            """The frame as a data URL."""
            return None if payload is None else payload.url

    class Picture(gr.Image):
        """A picture that is shown a moment: it goes to the browser as it is, where Gradio would keep a file of each."""

        is_template = True

        def postprocess(self, value: np.ndarray[Any, np.dtype[np.uint8]] | None) -> ImageData | None:  # type: ignore[override]
            """A frame, uint8 (H, W, 3), as a data URL."""
            if value is None:
                return None
            buffer = BytesIO()
            Image.fromarray(value).save(buffer, "JPEG", quality=90)
            return ImageData(url=JPEG + base64.b64encode(buffer.getvalue()).decode())

"""The app in which people try tasks and models in a browser: a page of Gradio, guarded; Spaces only start it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from vid2vid_hub.app.limits import LOCAL, PUBLIC, Limits
from vid2vid_hub.errors import MissingExtraError

if TYPE_CHECKING:
    from vid2vid_hub.app.page import Page, build, launch

__all__ = ["LOCAL", "PUBLIC", "Limits", "Page", "build", "launch"]


def __getattr__(name: str) -> Any:
    """The page's names, imported on first use: only it takes Gradio."""
    if name not in ("Page", "build", "launch"):
        raise AttributeError(f"module 'vid2vid_hub.app' has no attribute '{name}'")
    try:
        from vid2vid_hub.app import page
    except ModuleNotFoundError as error:
        if error.name != "gradio":
            raise
        raise MissingExtraError("gradio", "app", "the app") from error
    return getattr(page, name)

"""The page: a tab for every task that is installed, and how it is served."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from typing import Any

import gradio as gr
from starlette.middleware import Middleware

from vid2vid_hub.app.gate import Gate
from vid2vid_hub.app.layout import House
from vid2vid_hub.app.limits import LOCAL, Limits
from vid2vid_hub.app.look import css, theme
from vid2vid_hub.app.models import Models
from vid2vid_hub.app.said import SORRY, plain, sentence
from vid2vid_hub.app.shelf import Shelf
from vid2vid_hub.app.tab import Tab
from vid2vid_hub.app.webcam import Visitors
from vid2vid_hub.errors import TaskError, Vid2VidError
from vid2vid_hub.tasks import Task, get_task, list_tasks

_log = logging.getLogger(__name__)

TITLE = "vid2vid-hub"
ABOUT = (
    "# vid2vid-hub\n"
    "One video becomes another, frame by frame: label maps a street, a sketch a face, poses a dance. Choose a tab, "
    "give a video or press an example, and press Generate."
)


class Page(gr.Blocks):
    """The app, and what must end with it."""

    house: House
    tabs: dict[str, Tab]

    def close(self, verbose: bool = True) -> None:
        """End the server, and remove what visitors left."""
        super().close(verbose)
        self.house.shelf.close()


def build(
    limits: Limits = LOCAL,
    *,
    models: Sequence[str] = (),
    settings: Mapping[str, Mapping[str, Any]] | None = None,
    device: str | None = None,
    shelf: Shelf | None = None,
) -> Page:
    """Make the app of all installed tasks.

    Args:
        limits: what visitors may ask for; :data:`LOCAL` or :data:`PUBLIC`, or your own.
        models: folders or Hub ids that are offered before the starters.
        settings: by task, how it extracts conditions from real frames, such as where a model for that lies.
        device: cpu, cuda, …; the best that is there by default.
        shelf: where uploads and results lie; a new temporary folder by default.

    Raises:
        ModelError, TaskError: a model cannot be loaded, or a task does not take its settings.
    """
    settings = dict(settings or {})
    for name, values in settings.items():
        get_task(name, values)  # what the host asks for must be right before anybody comes
    shelf = Shelf(limits.keep, most=limits.disk) if shelf is None else shelf
    # Components and the app's own routes ask Gradio for its folder when they are made.
    os.environ["GRADIO_TEMP_DIR"] = str(shelf.served)
    house = House(Models(limits, named=models, settings=settings, device=device), shelf, limits, Visitors(limits.live))
    page = Page(title=TITLE, analytics_enabled=False)
    page.house, page.tabs = house, {}
    with page:
        gr.Markdown(ABOUT)
        names = sorted(list_tasks(), key=lambda name: (not house.models.offered(name), name))
        with gr.Tabs():
            for name in names:
                with gr.Tab(name, id=name):
                    task = _installed(name, settings)
                    if isinstance(task, str):
                        gr.Markdown(plain(f"This task cannot be shown here: {task}"))
                    else:
                        page.tabs[name] = Tab(task, house)
        gr.Markdown(_closing(limits), elem_classes=["remark"])
    return page


def launch(page: Page, limits: Limits = LOCAL, **how: Any) -> None:
    """Serve the app until it is interrupted.

    Args:
        page: from :func:`build`.
        limits: as there.
        how: of ``gr.Blocks.launch``: ``server_name``, ``server_port``, ``auth``, …

    Raises:
        Vid2VidError: the address cannot be used.
    """
    page.queue(max_size=limits.queue, default_concurrency_limit=1, api_open=False)
    settings: dict[str, Any] = {
        "theme": theme(),
        "css": css(),
        "max_file_size": limits.upload,
        "max_threads": 16,
        "state_session_capacity": 500,
        "show_error": False,
        "share": False,
        "strict_cors": True,
        "enable_monitoring": False,
        "run_history": False,
        "mcp_server": False,
        "pwa": False,
        "ssr_mode": False,
        "footer_links": [],
        "app_kwargs": {"middleware": [Middleware(Gate, limits=limits)]},
    }
    try:
        page.launch(**settings | how)
    except KeyboardInterrupt:  # before Gradio, which otherwise takes it for the end, was ready for it
        page.close(verbose=False)
    except OSError as error:
        page.close(verbose=False)
        raise Vid2VidError(f"the app cannot be served there: {error}; give another --port or --host") from error


def _installed(name: str, settings: Mapping[str, Mapping[str, Any]]) -> Task | str:
    """A task, or why it cannot be shown: one broken plugin shall not take the others' tabs away."""
    try:
        return get_task(name, settings.get(name))
    except TaskError as error:
        return sentence(error)
    except Exception:
        _log.exception("the task %s cannot be imported", name)
        return SORRY


def _closing(limits: Limits) -> str:
    marked = " and carry a small mark" if limits.mark else ""
    return (
        f"Generated videos say so in their files{marked}. Uploads are looked at by this machine alone, are never "
        "trained on, and are removed by themselves."
    )

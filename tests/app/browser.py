"""A real browser, and an app served to it from a thread: what tests of pages share."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import gradio as gr
import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

# Set before an app starts: nothing of a test leaves this machine, and Gradio makes no table of its calls, for which it
# asks pandas in a way that pandas warns of.
os.environ |= {"GRADIO_ANALYTICS_ENABLED": "False", "GRADIO_ANALYTICS_CACHE_FREQUENCY": "1000000000"}

expect.set_options(timeout=30_000)  # machines that test are slow and shared

ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--use-fake-device-for-media-stream",
    "--use-fake-ui-for-media-stream",
]


@pytest.fixture(scope="module")  # while it lives an event loop runs in this thread, which other modules may not expect
def browser() -> Iterator[Browser]:
    """Headless Chromium, the system's own."""
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if not found:
        assert not os.environ.get("CI"), "there is no chromium, which the set-up of the tests should have installed"
        pytest.skip("needs a browser, and there is no chromium on the PATH; apt-get install chromium")
    with sync_playwright() as tool:
        opened = tool.chromium.launch(executable_path=found, args=ARGUMENTS)
        yield opened
        opened.close()


@contextmanager
def served(blocks: gr.Blocks, start: Callable[..., Any] | None = None, **settings: Any) -> Iterator[str]:
    """Serve an app on a free port of this machine while the block lasts, and give its address.

    ``start`` serves it, as ``blocks.launch`` does by default.
    """
    with closing(socket.create_server(("127.0.0.1", 0))) as free:
        port = free.getsockname()[1]
    settings = {"server_name": "127.0.0.1", "server_port": port, "quiet": True, "ssr_mode": False} | settings

    async def launch() -> None:
        (start or blocks.launch)(prevent_thread_lock=True, **settings)

    try:
        # Where no event loop runs, Gradio makes two that nobody closes, and they are warned of in a later test.
        with ThreadPoolExecutor(1) as thread:
            thread.submit(asyncio.run, launch()).result()
        yield str(blocks.local_url)
    finally:
        blocks.close(verbose=False)


class Visit:
    """A page, and what went wrong on it: messages of the console, and requests that left this machine."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.complaints: list[str] = []
        page.on("console", lambda said: self._hear(said.type, said.text))
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("request", lambda request: self._look(request.url))

    def _hear(self, kind: str, text: str) -> None:
        # Gradio's own library for drawing says this where a video can be uploaded.
        if kind in ("error", "warning") and text != "Method not implemented.":
            self.complaints.append(text)

    def _look(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("data", "blob") and parts.hostname not in ("127.0.0.1", "localhost"):
            self.complaints.append(f"a request to {url}")

    def wide(self) -> float:
        """By how many pixels what can be seen is wider than the window; what scrolls by itself may be.

        Gradio cuts off what is too wide, so the page's own width tells nothing.
        """
        return float(
            self.page.evaluate("""() => {
                const scrolls = (node) => node && !node.classList.contains('gradio-container')
                    && (getComputedStyle(node).overflowX !== 'visible' || scrolls(node.parentElement));
                const seen = [...document.querySelectorAll('.gradio-container *')].filter((node) =>
                    node.checkVisibility({visibilityProperty: true, opacityProperty: true})
                    && !scrolls(node.parentElement));
                const right = Math.max(...seen.map((node) => node.getBoundingClientRect().right));
                return Math.max(right, document.documentElement.scrollWidth) - window.innerWidth;
            }""")
        )


@contextmanager
def visit(browser: Browser, url: str, *, phone: bool = False, dark: bool = False, calm: bool = True) -> Iterator[Visit]:
    """Open a page as a visitor does: at a desk or on a phone 360 pixels wide, light or dark, calm or with motion."""
    context = browser.new_context(
        viewport={"width": 360, "height": 740} if phone else {"width": 1280, "height": 900},
        has_touch=phone,
        device_scale_factor=2 if phone else 1,
        color_scheme="dark" if dark else "light",
        reduced_motion="reduce" if calm else "no-preference",
    )
    context.set_default_timeout(30_000)
    try:
        visited = Visit(context.new_page())
        visited.page.goto(f"{url}?__theme={'dark' if dark else 'light'}")
        yield visited
    finally:
        context.close()


def picture(visited: Visit, name: str) -> None:
    """Keep a screenshot where VID2VID_SCREENSHOTS says, for people to look at."""
    if folder := os.environ.get("VID2VID_SCREENSHOTS"):
        visited.page.screenshot(path=Path(folder) / f"{name}.png", full_page=True)

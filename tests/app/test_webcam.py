"""The live part of a tab: in a real browser with a camera that draws, and what visitors may not do."""

from __future__ import annotations

import base64
import re
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from html import unescape
from io import BytesIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gradio as gr
import numpy as np
import pytest
import torch
from PIL import Image
from playwright.sync_api import Browser, Page, expect

from tests.app.browser import browser, picture, served, visit  # noqa: F401  (browser is a fixture)
from vid2vid_hub.app import webcam
from vid2vid_hub.app.limits import LOCAL
from vid2vid_hub.app.webcam import Visitors, _decoded, _step, live_section
from vid2vid_hub.data.toy import ToyShapes
from vid2vid_hub.errors import ModelError, TaskError, VideoError
from vid2vid_hub.nn.generator import Vid2VidGenerator
from vid2vid_hub.pipeline import Vid2VidPipeline
from vid2vid_hub.types import Condition


class Unlucky(ToyShapes):
    """Breaks at the first frame."""

    def extract(self, frames: torch.Tensor) -> Condition:
        raise TaskError("there is <b>no</b> light")


def made(task: ToyShapes) -> SimpleNamespace:
    torch.manual_seed(0)
    network = Vid2VidGenerator(task.channels, base_channels=4, downsamples=2, blocks=2).requires_grad_(False)
    return SimpleNamespace(pipeline=Vid2VidPipeline(network, task, size=(48, 64)), turn=threading.Lock())


MODELS: dict[str, Callable[[], SimpleNamespace]] = {"good": lambda: made(ToyShapes()), "bad": lambda: made(Unlucky())}


def model(name: str) -> Any:
    if name not in MODELS:
        raise ModelError(f"there is no model '{name}'")
    return MODELS[name]()


def jpeg(height: int = 48, width: int = 64, kind: str = "JPEG", colour: int = 90) -> str:
    buffer = BytesIO()
    Image.new("RGB", (width, height), (colour, 110, 70)).save(buffer, kind)
    return f"data:image/{kind.lower()};base64," + base64.b64encode(buffer.getvalue()).decode()


def shown(answer: tuple[Any, ...]) -> str:
    return unescape(re.sub("<.*?>", "", answer[2])) if isinstance(answer[2], str) else ""


def until(say: Callable[[], tuple[Any, ...]], wanted: str, seconds: float = 20) -> tuple[Any, ...]:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        answer = say()
        if wanted in shown(answer):
            return answer
        time.sleep(0.01)
    raise AssertionError(f"never said '{wanted}'")


# In a browser


@pytest.fixture(scope="module")
def guests() -> Visitors:
    return Visitors(1)


@pytest.fixture(scope="module")
def address(guests: Visitors) -> Iterator[str]:
    with gr.Blocks() as app:
        choice = gr.Radio(["good", "bad"], value="good", label="Model")
        live_section("toy", model, choice, LOCAL, visitors=guests)
    with served(app) as url:
        yield url


def start(page: Page) -> None:
    page.get_by_title("grant webcam access").get_by_role("button").click()
    page.get_by_role("button", name="capture photo").filter(has_text="Record").click()


def pixels(page: Page, number: int) -> str | None:
    return page.locator(".live img[src^='data:image/jpeg']").nth(number).get_attribute("src")


def waits(page: Page, until: Callable[[], bool], seconds: float = 30) -> bool:
    """Whether something comes true while the page goes on."""
    end = time.monotonic() + seconds
    while not (true := until()) and time.monotonic() < end:
        page.wait_for_timeout(50)
    return true


def test_frames_are_generated_while_the_camera_runs_and_stop_with_it(
    browser: Browser,
    address: str,
    guests: Visitors,
) -> None:
    cache = Path(gr.Image().GRADIO_CACHE)
    files = set(cache.rglob("*"))
    with visit(browser, address) as visited:
        page = visited.page
        expect(page.get_by_text("Allow the camera")).to_be_visible()
        start(page)
        line = page.locator(".live-line")
        expect(line).to_have_text(re.compile(r"\d+\.\d frames a second, \d+ ms behind, \d+ dropped"))
        seen = set()
        assert waits(page, lambda: seen.add(pixels(page, 1)) or len(seen) >= 5), "generated frames arrive"
        assert len(guests) == 1
        assert waits(page, lambda: float(line.inner_text().split()[0]) > 0)
        picture(visited, "live")
        page.get_by_role("button", name="capture photo").filter(has_text="Stop").click()
        assert waits(page, lambda: len(guests) == 0), "his place is free"
        page.wait_for_timeout(500)  # for what was on its way
        last = pixels(page, 1)
        page.wait_for_timeout(400)
        assert pixels(page, 1) == last
        assert set(cache.rglob("*")) == files, "no frame becomes a file"
        assert visited.complaints == []


def test_who_comes_second_is_told_so_and_gets_the_place_when_it_is_free(
    browser: Browser,
    address: str,
    guests: Visitors,
) -> None:
    with visit(browser, address) as first, visit(browser, address) as second:
        start(first.page)
        expect(first.page.get_by_text("frames a second")).to_be_visible()
        start(second.page)
        expect(second.page.get_by_text("one other visitor is live now")).to_be_visible()
        first.page.close()  # a tab that is closed gives its place back
        expect(second.page.get_by_text("frames a second")).to_be_visible()
        assert second.complaints == []


def test_what_goes_wrong_is_one_sentence_and_another_model_goes_on(
    browser: Browser,
    address: str,
) -> None:
    with visit(browser, address) as visited:  # who was here before is gone after ten seconds at the latest
        page = visited.page
        page.get_by_label("bad").check()
        start(page)
        expect(page.get_by_role("alert").get_by_text("there is <b>no</b> light", exact=True)).to_be_visible()
        page.get_by_label("good").check()
        expect(page.get_by_text("frames a second")).to_be_visible()
        assert visited.complaints == []


# Without one


@pytest.fixture
def alone() -> Iterator[Visitors]:
    guests = Visitors(2)
    yield guests
    for session in list(guests._visits):
        guests.leave(session)


def say(guests: Visitors, session: str = "a", choice: str = "good", frame: str | None = None) -> tuple[Any, ...]:
    return _step(guests, ("toy", choice), model, LOCAL, session, jpeg() if frame is None else frame)


def test_a_visitor_is_looked_at_by_turns_of_his_own(alone: Visitors) -> None:
    first = until(lambda: say(alone), "frames a second")
    assert first[0].shape == first[1].shape == (48, 64, 3)
    until(lambda: say(alone, "b"), "frames a second")
    assert len(alone) == 2
    assert shown(say(alone, "c")).startswith("2 other visitors are live now")
    alone.leave("a")
    until(lambda: say(alone, "c"), "frames a second")


def test_an_error_is_said_once_until_something_else_is_chosen(alone: Visitors) -> None:
    answer = until(lambda: say(alone, choice="bad"), "no")
    assert answer[2] == '<p class="live-line" role="alert">there is &lt;b&gt;no&lt;/b&gt; light</p>'
    assert shown(say(alone, choice="bad")) == ""
    assert "no model 'worse'" in shown(say(alone, choice="worse"))
    assert "no model is chosen" in shown(say(alone, choice=""))
    until(lambda: say(alone), "frames a second")
    assert len(alone) == 1


def test_who_stays_away_loses_his_place(alone: Visitors, monkeypatch: pytest.MonkeyPatch) -> None:
    for session in "ab":
        say(alone, session)
    monkeypatch.setattr(webcam, "IDLE", 0.05)
    assert len(alone) == 2
    time.sleep(0.1)
    until(lambda: say(alone, "c"), "frames a second")
    assert set(alone._visits) == {"c"}


def test_a_mark_is_on_the_generated_frames_where_the_host_wants_it(alone: Visitors) -> None:
    plain = until(lambda: say(alone), "frames a second")[1]
    marked = until(
        lambda: _step(alone, ("toy", "good"), model, replace(LOCAL, mark=True), "m", jpeg()), "frames a second"
    )[1]
    assert marked.shape == plain.shape
    assert not np.array_equal(marked, plain)


@pytest.mark.parametrize(
    ("frame", "said"),
    [
        ("/etc/passwd", "sent no JPEG"),
        ("http://127.0.0.1/a.jpg", "sent no JPEG"),
        (jpeg(kind="PNG"), "sent no JPEG"),
        (jpeg(kind="PNG").replace("image/png", "image/jpeg"), "cannot be read as JPEG"),
        (jpeg()[:400], "cannot be read as JPEG"),
        ("data:image/jpeg;base64,%%%%", "cannot be read as JPEG"),
        ("data:image/jpeg;base64,", "cannot be read as JPEG"),
        ("data:image/jpeg;base64," + 4_000_000 * "A", "sent no JPEG of less than 4 MB"),
        (jpeg(3000, 4000), "has 4000x3000 pixels; at most 9437184"),
    ],
)
def test_what_is_no_picture_of_a_camera_is_refused(alone: Visitors, frame: str, said: str) -> None:
    assert said in shown(say(alone, frame=frame))
    with pytest.raises(VideoError, match=said):
        _decoded(frame, LOCAL.pixels)


def test_where_the_gpu_is_lent_by_the_call_the_section_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPACES_ZERO_GPU", "true")
    with gr.Blocks() as app:
        live_section("toy", model, gr.Radio(["good"]), LOCAL)
    kinds = {type(block) for block in app.blocks.values()}
    assert gr.Markdown in kinds
    assert webcam.Camera not in kinds

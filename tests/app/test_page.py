"""The page as visitors use it, in a real browser and through gradio_client: every tab, from a video to a download."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from playwright.sync_api import Browser, Locator, Page, expect

from tests.app.browser import browser, picture, served, visit  # noqa: F401  (browser is a fixture)
from vid2vid_hub.app import LOCAL, build, launch
from vid2vid_hub.data.encode import VideoWriter
from vid2vid_hub.data.maps import MapWriter
from vid2vid_hub.data.toy import ToyShapes, ToyWorld
from vid2vid_hub.data.video import open_video
from vid2vid_hub.folder import starter
from vid2vid_hub.nn.generator import Vid2VidGenerator
from vid2vid_hub.pipeline import Vid2VidPipeline
from vid2vid_hub.tasks import list_tasks

TOY = (48, 64)
SLOW = 60_000
"""Milliseconds in which a busy machine has done what a visitor asked for."""
LIMITS = replace(LOCAL, upload=3_000_000, frames=200, queue=4, mark=True)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A toy model, a real clip of label maps, and a drawn video."""
    place = tmp_path_factory.mktemp("given")
    torch.manual_seed(0)
    network = Vid2VidGenerator(ToyShapes().channels, base_channels=4, downsamples=2, blocks=2)
    Vid2VidPipeline(network, ToyShapes(), size=TOY).save_pretrained(place / "toy-model")
    with open_video(starter("street-starter") / "sample.mkv") as reader, MapWriter(place / "real.mkv", 25) as writer:
        for frame in reader.frames(0, 12):
            writer.write(frame[..., 0])
    with VideoWriter(place / "drawn.mp4", 25) as writer:
        for frame in ToyWorld(3, *TOY).draw(40).frames.permute(0, 2, 3, 1).numpy():
            writer.write(frame)
    (place / "text.mp4").write_text("ffconcat version 1.0\nfile ok.mp4\n")
    return place


@pytest.fixture(scope="module")
def site(folder: Path) -> Iterator[str]:
    page = build(LIMITS, models=[str(folder / "toy-model")])
    with served(page, partial(launch, page, LIMITS)) as address:
        yield address


def open_tab(page: Page, task: str) -> None:
    expect(page.get_by_text("Choose a tab")).to_be_visible()
    tab = page.get_by_role("tab", name=task, exact=True)
    if not tab.is_visible():
        page.locator(".overflow-menu button").first.click()
        tab = page.locator(".overflow-dropdown button", has_text=task)
    tab.click()


def visible(page: Page, name: str) -> Locator:
    return page.get_by_role("button", name=name, exact=True).filter(visible=True)


def status(page: Page, pattern: str) -> None:
    expect(page.locator(".prose.status").filter(visible=True)).to_have_text(re.compile(pattern), timeout=SLOW)


def test_there_is_a_tab_for_every_task(browser: Browser, site: str) -> None:
    with visit(browser, site) as visited:
        page = visited.page
        expect(page.get_by_role("tab")).to_have_count(len(list_tasks()))
        assert sorted(page.get_by_role("tab").all_inner_texts()) == list_tasks()
        for task in list_tasks():
            open_tab(page, task)
            expect(page.get_by_text("Nothing to see yet").filter(visible=True)).to_be_visible()
            expect(page.get_by_text("Nothing generated yet").filter(visible=True)).to_be_visible()
            expect(visible(page, "Generate")).to_be_disabled()
            consent = page.locator(".prose.consent").filter(visible=True)
            expect(consent).to_have_count(1 if task in ("pose2dance", "sketch2face") else 0)
            picture(visited, f"page-{task}-empty")
        assert visited.complaints == []


def test_real_labels_become_a_street(browser: Browser, site: str, folder: Path, tmp_path: Path) -> None:
    with visit(browser, site) as visited:
        page = visited.page
        open_tab(page, "seg2street")
        page.get_by_role("button", name="Give the condition itself").filter(visible=True).click()
        page.locator("input[type=file]:not([accept^=video])").first.wait_for(state="attached")
        panel = page.get_by_role("tabpanel").filter(visible=True)
        panel.locator("input[type=file]").nth(1).set_input_files(folder / "real.mkv")
        status(page, "Read 12 frames in")
        expect(page.locator(".legend label").filter(visible=True).first).to_be_visible()
        before = shown(page)
        page.locator(".legend label", has_text="vegetation").filter(visible=True).click()
        page.get_by_label("vegetation becomes").click()
        page.get_by_role("option", name="building", exact=True).click()
        expect(page.get_by_text("Exchanged: vegetation → building")).to_be_visible()
        page.wait_for_function("(old) => document.querySelector('.frame img')?.src !== old", arg=before)
        visible(page, "Generate").click()
        status(page, r"\d+ of 12 frames, [\d.]+ a second")
        expect(page.get_by_alt_text("the newest generated frame").filter(visible=True)).to_be_visible(timeout=SLOW)
        status(page, r"12 of 12 frames, [\d.]+ a second. Done.")
        canvas = page.locator("canvas").filter(visible=True)
        expect(canvas).to_be_visible()
        play = page.get_by_role("button", name="Play").filter(visible=True)
        play.click()
        page.wait_for_function("() => [...document.querySelectorAll('video')].some((one) => one.currentTime > 0.1)")
        with page.expect_download() as waiting:
            page.get_by_text("Download mp4", exact=True).filter(visible=True).click()
        waiting.value.save_as(tmp_path / "got.mp4")
        picture(visited, "page-seg2street")
        assert visited.complaints == []
    with open_video(tmp_path / "got.mp4") as reader:
        assert (len(reader), reader.size) == (12, (144, 256))
        assert "trainedAlgorithmicMedia" in reader.metadata["digital_source_type"]
        assert "/" not in reader.metadata["comment"]


def shown(page: Page) -> str | None:
    return page.locator(".frame img").filter(visible=True).first.get_attribute("src")


def test_a_video_is_uploaded_watched_and_cancelled(browser: Browser, site: str, folder: Path) -> None:
    with visit(browser, site, phone=True, dark=True) as visited:
        page = visited.page
        open_tab(page, "toy")
        panel = page.get_by_role("tabpanel").filter(visible=True)
        panel.locator("input[type=file]").first.set_input_files(folder / "drawn.mp4")
        status(page, "Read 40 frames in")
        assert visited.wide() <= 0
        visible(page, "Generate").click()
        status(page, "[1-9] of 40 frames|Done")
        if "Done" not in page.locator(".prose.status").filter(visible=True).inner_text():  # fast on an idle machine
            visible(page, "Cancel").click()
            status(page, "Cancelled; nothing of it was kept.")
            page.wait_for_timeout(500)  # until the browser has told the server, the same button does nothing
        visible(page, "Generate").click()
        status(page, "40 of 40 frames.*Done")
        picture(visited, "page-toy-phone-dark")
        assert visited.complaints == []


def test_who_waits_sees_his_place_in_the_queue(browser: Browser, site: str) -> None:
    with visit(browser, site) as first, visit(browser, site) as second:
        for visited in (first, second):
            open_tab(visited.page, "toy")
            visible(visited.page, "Drawn example 1").click()
            status(visited.page, "Read 75 frames in")
        visible(first.page, "Generate").click()
        status(first.page, "of 75 frames")
        visible(second.page, "Generate").click()
        expect(second.page.get_by_text(re.compile(r"queue: 1/1")).first).to_be_visible(timeout=SLOW)
        status(second.page, "75 of 75 frames.*Done")


def test_what_cannot_be_read_is_one_sentence(browser: Browser, site: str, folder: Path) -> None:
    with visit(browser, site) as visited:
        page = visited.page
        open_tab(page, "toy")
        panel = page.get_by_role("tabpanel").filter(visible=True)
        panel.locator("input[type=file]").first.set_input_files(folder / "text.mp4")
        expect(page.locator(".toast-body").get_by_text("The video is not a readable")).to_be_visible(timeout=SLOW)
        assert "Traceback" not in page.content()
        expect(visible(page, "Generate")).to_be_disabled()


def test_everything_can_be_done_by_keyboard(browser: Browser, site: str) -> None:
    with visit(browser, site) as visited:
        page = visited.page
        page.get_by_role("tab", name="toy", exact=True).focus()
        page.keyboard.press("Enter")
        example = visible(page, "Drawn example 1")
        example.focus()
        assert example.evaluate("(one) => getComputedStyle(one).outlineStyle") != "none"
        page.keyboard.press("Enter")
        status(page, "Read 75 frames in")
        page.locator(".legend input").first.focus()
        page.keyboard.press("Space")
        expect(page.get_by_label(re.compile("becomes")).filter(visible=True)).to_be_visible()
        assert visited.complaints == []


def test_programs_use_the_same_doors(site: str, folder: Path, tmp_path: Path) -> None:
    client = Client(site, verbose=False, download_files=str(tmp_path))
    model = str(folder / "toy-model")
    read = client.predict(handle_file(folder / "drawn.mp4"), model, api_name="/toy_read")
    assert any("Read 40 frames" in str(one) for one in read)
    job = client.submit(model, "usual", None, 0, 0, 0, api_name="/toy_generate")
    last = job.result(timeout=60)
    frames = [one for one in job.outputs() if one[0]]
    assert len(frames) >= 2, "frames come while they are made"
    found = re.findall(r"[^'\"]+\.mp4", str(last))
    video = next(Path(one) for one in found if "side-by-side" not in one)
    with open_video(video) as reader:
        assert (len(reader), reader.size) == (40, TOY)
    plain = Vid2VidPipeline.from_pretrained(model)
    assert np.isfinite(plain(condition=ToyWorld(3, *TOY).draw(2).condition).frames).all()
    client.close()


def test_programs_get_the_same_sentences(site: str, folder: Path) -> None:
    client = Client(site, verbose=False)
    with pytest.raises(AppError, match="There is nothing to generate from"):
        client.predict("x", "usual", None, 0, 0, 0, api_name="/toy_generate")
    with pytest.raises(AppError, match="is a model of seg2street"):
        client.predict(handle_file(folder / "drawn.mp4"), "street-starter", api_name="/toy_read")
    client.close()

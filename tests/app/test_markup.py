"""What strangers, and whoever wrote a task, write in names and notes is text on the page: no markup, and no script."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.app.browser import browser, visit  # noqa: F401  (a fixture)
from tests.app.serving import SMALL, serving
from vid2vid_hub import tasks
from vid2vid_hub.app.said import LONGEST, sentence
from vid2vid_hub.data.toy import ToyShapes
from vid2vid_hub.errors import ModelError, TaskError
from vid2vid_hub.tasks import Labels
from vid2vid_hub.types import Note, Observed

HIT = "window.hit=1"
CORPUS = (
    f"<script>{HIT}</script>",
    f"<img src=x onerror={HIT}>",
    f"<svg onload={HIT}>",
    f"<svg><script>{HIT}</script></svg>",
    f"<iframe srcdoc='<script>parent.{HIT}</script>'></iframe>",
    f"<details open ontoggle={HIT}>x</details>",
    f'"><b onmouseover={HIT}>bold</b>',
    f"'-({HIT})-'",
    f"</style><script>{HIT}</script>",
    f"</textarea></title><img src=x onerror={HIT}>",
    f"<math><mtext><table><mglyph><style><img src=x onerror={HIT}>",
    f"<a href=javascript:{HIT}>a</a>",
    f"[a link](javascript:{HIT})",
    "[a link](https://evil.example)",
    "![a picture](x)",
    "<https://evil.example>",
    "https://evil.example/x",
    "www.evil.example",
    "me@evil.example",
    "**bold** __bold__ *it* _it_ ~~gone~~ `code`",
    "# heading",
    "a\n===",
    "a\n\n# heading\n\n- item\n\n    code",
    "| a | b |\n|---|---|\n| 1 | 2 |",
    "$$x^2$$ $y$ \\(z\\) \\[w\\]",
    f"$$\\href{{javascript:{HIT}}}{{x}}$$",
    f"&lt;img src=x onerror={HIT}&gt;",
    f"{{{{constructor.constructor('{HIT}')()}}}}",
    f"${{{HIT}}}",
    f"<!--><img src=x onerror={HIT}>-->",
    f"<IMG SRC=x OnErRoR={HIT} //",
)
MARKUP = "a, b, strong, em, code, pre, del, h1, h2, h3, table, img, svg, iframe, details, script, style, .katex, ul, ol"


class Hostile(ToyShapes):
    """The toy, by somebody who means no good."""

    name: ClassVar[str] = "hostile"

    @property
    def labels(self) -> Labels:
        names = {number: " ".join(CORPUS[number::5]) for number in range(5)}
        return replace(super().labels, names=names)

    def draw(self, seed: int, frames: int, size: tuple[int, int]) -> Iterator[Observed]:
        for number, one in enumerate(super().draw(seed, 3, size)):
            notes = CORPUS if not number else ()
            yield replace(one, notes=tuple(Note(0, text) for text in notes))

    def observe(self, blocks: Iterable[Any]) -> Iterator[Observed]:
        raise TaskError("this task says " + " ".join(CORPUS))


@pytest.fixture(scope="module")
def site() -> Iterator[str]:
    found = tasks.entry_points

    def points(group: str, **how: str) -> Any:
        mine = SimpleNamespace(name="hostile", value="hostile", dist=None, load=lambda: Hostile)
        return [*([mine] if how.get("name", "hostile") == "hostile" else []), *found(group=group, **how)]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tasks, "entry_points", points)
        with serving(SMALL) as served:
            yield served.url


def plain(text: str) -> str:
    return " ".join(text.split())


def untouched(page: Page) -> None:
    """Nothing that was written there runs, or has become a part of the page."""
    assert page.evaluate("window.hit") is None
    made = '[src="x"], [onerror], [onload], [ontoggle], [onmouseover], [href*="evil"], [href^="javascript"], [srcdoc]'
    assert page.locator(made).count() == 0


def test_words_of_a_task_are_words(browser: Browser, site: str) -> None:
    with visit(browser, site) as visited:
        page = visited.page
        page.get_by_role("tab", name="hostile", exact=True).click()
        page.get_by_role("button", name="Drawn example 1").filter(visible=True).click()
        expect(page.locator(".status").filter(visible=True).first).to_contain_text("Read 3 frames", timeout=30_000)
        notes = page.locator(".remark li").filter(visible=True)
        expect(notes).to_have_count(len(CORPUS))
        said = [plain(note.inner_text()) for note in notes.all()]
        assert said == [f"frame 0: {plain(text)}" for text in CORPUS]
        assert notes.locator(MARKUP).count() == 0
        untouched(page)
        options = page.locator(".legend label").filter(visible=True)
        assert len(said) > 20
        options.first.click()
        page.get_by_label(re.compile("becomes")).filter(visible=True).click()
        page.get_by_role("option").last.click()
        exchanged = page.get_by_text(re.compile("^Exchanged: ")).filter(visible=True)
        expect(exchanged).to_be_visible()
        assert exchanged.locator(MARKUP).count() == 0
        untouched(page)


@pytest.mark.parametrize("text", CORPUS[:6])
def test_a_name_of_a_file_is_a_name(browser: Browser, site: str, text: str) -> None:
    with visit(browser, site) as visited:
        page = visited.page
        page.get_by_role("tab", name="hostile", exact=True).click()
        page.get_by_text("Give the condition itself").filter(visible=True).click()
        panel = page.get_by_role("tabpanel").filter(visible=True)
        expect(panel.get_by_text("Drop File Here")).to_be_visible()
        file = {"name": text.replace("/", "") + ".mp4", "mimeType": "a/b", "buffer": b"hello"}
        panel.locator("input[type=file]").last.set_input_files(file)
        expect(page.get_by_test_id("toast-text").first).to_contain_text("The video", timeout=30_000)
        untouched(page)


@pytest.mark.slow
def test_errors_are_words(browser: Browser, site: str, tmp_path: Path) -> None:
    from tests.app.made import movie

    (tmp_path / "a.mp4").write_bytes(movie())
    with visit(browser, site) as visited:
        page = visited.page
        page.get_by_role("tab", name="hostile", exact=True).click()
        panel = page.get_by_role("tabpanel").filter(visible=True)
        model = panel.get_by_label("Model").first
        toast = page.get_by_test_id("toast-text")
        for text in CORPUS:
            model.fill(plain(text))
            model.press("Enter")
            expect(toast.first).to_contain_text("There is no model", timeout=30_000)
            assert toast.first.locator(MARKUP).count() == 0
            untouched(page)
            page.get_by_test_id("toast-close").first.click()
            expect(toast).to_have_count(0)
        model.fill("")
        model.press("Enter")
        panel.locator("input[type=file]").first.set_input_files(tmp_path / "a.mp4")
        expect(toast.first).to_contain_text("This task says", timeout=30_000)
        assert toast.first.locator(MARKUP).count() == 0
        untouched(page)


@pytest.mark.parametrize("text", CORPUS)
def test_a_sentence_opens_no_element(text: str) -> None:
    said = sentence(ModelError(f"there is no {text}"))
    assert not re.search(r"[<>]", said)
    assert said.isprintable()
    assert said.endswith(".")


def test_a_sentence_is_no_novel_and_shows_no_control_letters() -> None:
    assert len(sentence(ModelError("x" * 9000))) <= LONGEST + 1
    assert sentence(ModelError("a\x1b[2J\u202e b\nc.")) == "A?[2J? b c."

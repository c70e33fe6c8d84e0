import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np
import pytest
from playwright.sync_api import Browser, Page, expect

from tests.app.browser import Visit, browser, picture, served, visit  # noqa: F401  (browser is a fixture)
from vid2vid_hub.app.look import css, legend_class, legend_style, theme
from vid2vid_hub.app.player import player, shown
from vid2vid_hub.data.encode import VideoWriter
from vid2vid_hub.tasks import Labels

FRAMES, HEIGHT, WIDTH, FPS = 40, 48, 80, 20
# Third parties choose these words.
TASK = 'x"] {} </style><script>boom()</script>'
LABELS = Labels(
    names={0: "road", 7: '<img src=x onerror="boom()">${boom()}', 11: "sky"},
    palette={0: (128, 64, 128), 7: (250, 170, 30)},
)
EVIL = "</p><img src=x onerror='boom()'>${boom()}`{{value}}"


def brightness(frame: int) -> int:
    return 30 + 5 * frame


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The left half is yellow and the right half cyan, each as bright as the number of the frame says."""
    path = tmp_path_factory.mktemp("results") / "r4nd0m.mp4"
    with VideoWriter(path, FPS) as writer:
        for number in range(FRAMES):
            frame = np.zeros((HEIGHT, 2 * WIDTH, 3), np.uint8)
            frame[:, :WIDTH, 0] = frame[:, WIDTH:, 2] = frame[..., 1] = brightness(number)
            writer.write(frame)
    return path


@pytest.fixture(scope="module")
def url(clip: Path) -> Iterator[str]:
    lie = clip.with_name("lie.mp4")
    lie.write_bytes(b"no video at all" * 99)
    with gr.Blocks(title="player") as blocks:
        gr.Markdown("# A player")
        legend = gr.Radio(
            [(name, str(number)) for number, name in LABELS.names.items()],
            label="Legend",
            elem_classes=["legend", legend_class(TASK)],
        )
        gr.HTML(legend_style(TASK, LABELS), padding=False)
        chosen = gr.Textbox(label="Chosen")
        legend.change(lambda number: number, legend, chosen)
        one = player(elem_id="one", left="condition", right="generated")
        player(elem_id="two", left=EVIL, right=EVIL, empty=EVIL)
        for name, value in {"Show": clip, "Clear": None, "Lie": lie}.items():
            gr.Button(name).click(lambda value=value: shown(value, FPS), None, one)
    settings = {"theme": theme(), "css": css(), "allowed_paths": [str(clip.parent)]}
    with served(blocks, **settings) as address:
        yield address


@pytest.fixture
def desk(browser: Browser, url: str) -> Iterator[Visit]:
    with visit(browser, url) as visited:
        yield visited
        assert visited.complaints == []


def show(page: Page) -> None:
    page.get_by_role("button", name="Show").click()
    expect(page.locator("#one .v2v-player")).to_have_attribute("data-state", "ready")


def pixels(page: Page) -> dict[str, Any]:
    """The canvas's middle row, (W, 4), and the frame that it says it shows."""
    read: dict[str, Any] = json.loads(
        page.evaluate("""() => {
            const canvas = document.querySelector('#one canvas');
            const copy = document.createElement('canvas');
            copy.width = canvas.width;
            copy.height = 1;
            const context = copy.getContext('2d', {willReadFrequently: true});
            context.drawImage(canvas, 0, -(canvas.height >> 1));
            const row = context.getImageData(0, 0, canvas.width, 1).data;
            return JSON.stringify({frame: Number(canvas.dataset.frame), height: canvas.height, row: [...row]});
        }""")
    )
    read["row"] = np.array(read["row"]).reshape(-1, 4)
    return read


def frame_of(colours: np.ndarray, half: str) -> int:
    """Which frame the pixels are of; all of them, and all in the colour of that half."""
    present, absent = (0, 2) if half == "condition" else (2, 0)
    assert colours[:, absent].max() < 20, "the other half's colour"
    assert colours[:, present].min() > 20
    numbers = {round((green - 30) / 5) for green in colours[:, 1].tolist()}
    assert len(numbers) == 1, f"pixels of frames {numbers}"
    return numbers.pop()


def at(page: Page, frame: int) -> None:
    expect(page.locator("#one canvas")).to_have_attribute("data-frame", str(frame))


def test_both_halves_show_the_same_frame(desk: Visit) -> None:
    show(desk.page)
    time = desk.page.get_by_label("Frame", exact=True).first
    for target in (0, 1, 17, 8, FRAMES - 1):
        time.fill(str(target))
        at(desk.page, target)
        seen = pixels(desk.page)
        assert seen["row"].shape == (WIDTH, 4)
        assert seen["height"] == HEIGHT
        cut = WIDTH // 2
        assert frame_of(seen["row"][:cut], "condition") == frame_of(seen["row"][cut:], "generated") == target
    picture(desk, "player-desk")


def test_it_plays_and_never_drifts(browser: Browser, url: str) -> None:
    with visit(browser, url, calm=False) as visited:
        show(visited.page)
        seen = set()
        for _ in range(8):
            visited.page.wait_for_timeout(90)
            now = pixels(visited.page)
            cut = WIDTH // 2
            assert frame_of(now["row"][:cut], "condition") == frame_of(now["row"][cut:], "generated") == now["frame"]
            seen.add(now["frame"])
        assert len(seen) > 3, "it does not play of its own"
        expect(visited.page.locator("#one .v2v-play")).to_have_attribute("aria-label", "Pause")
        assert visited.complaints == []


def test_it_is_worked_by_keyboard(desk: Visit) -> None:
    page = desk.page
    show(page)
    video = "document.querySelector('#one video')"
    assert page.evaluate(f"{video}.paused"), "where motion is to be reduced, it waits"

    wipe = page.get_by_label("Divider between condition and generated")
    wipe.focus()
    for _ in range(20):
        page.keyboard.press("ArrowRight")
    expect(wipe).to_have_value("70")
    expect(wipe).to_have_attribute("aria-valuetext", "70% condition, 30% generated")
    row = pixels(page)["row"]
    assert frame_of(row[:56], "condition") == frame_of(row[56:], "generated") == 0
    assert page.evaluate("getComputedStyle(document.querySelector('#one .v2v-grip')).outlineStyle") == "solid"
    page.keyboard.press("Home")
    assert frame_of(pixels(page)["row"], "generated") == 0
    page.keyboard.press("End")
    assert frame_of(pixels(page)["row"], "condition") == 0

    page.keyboard.press("Tab")
    expect(page.locator("#one .v2v-play")).to_be_focused()
    page.keyboard.press("Tab")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    at(page, 3)
    page.keyboard.press("ArrowLeft")
    at(page, 2)
    page.keyboard.press(".")
    at(page, 3)
    assert frame_of(pixels(page)["row"], "condition") == 3
    page.keyboard.press("Space")
    page.wait_for_function(f"!{video}.paused && {video}.currentTime > 0.3")
    page.keyboard.press("Space")
    assert page.evaluate(f"{video}.paused")
    picture(desk, "player-keyboard")


def test_the_divider_is_dragged(desk: Visit) -> None:
    page = desk.page
    show(page)
    box = page.locator("#one canvas").bounding_box()
    assert box
    middle = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + box["width"] / 2, middle)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] / 4, middle, steps=3)
    page.mouse.up()
    page.mouse.move(box["x"] + box["width"], middle)
    cut = WIDTH // 4
    row = pixels(page)["row"]
    assert frame_of(row[: cut - 1], "condition") == frame_of(row[cut + 1 :], "generated") == 0


def test_side_by_side_speed_and_loop(desk: Visit) -> None:
    page = desk.page
    show(page)
    beside = page.get_by_role("button", name="Side by side").first
    expect(beside).to_have_attribute("aria-pressed", "false")
    beside.click()
    expect(beside).to_have_attribute("aria-pressed", "true")
    row = pixels(page)["row"]
    assert row.shape == (2 * WIDTH, 4)
    # One column on either side may take colour from the other: the file has half as many colours as pixels.
    assert frame_of(row[: WIDTH - 1], "condition") == frame_of(row[WIDTH + 1 :], "generated") == 0
    assert page.locator("#one .v2v-wipe").is_disabled()
    picture(desk, "player-beside")
    page.get_by_role("button", name="Wipe").first.click()
    assert pixels(page)["row"].shape == (WIDTH, 4)

    page.get_by_label("Speed").first.select_option("0.25")
    loop = page.get_by_role("button", name="Loop").first
    loop.click()
    expect(loop).to_have_attribute("aria-pressed", "false")
    video = page.evaluate("(({playbackRate, loop}) => ({playbackRate, loop}))(document.querySelector('#one video'))")
    assert video == {"playbackRate": 0.25, "loop": False}


def test_nothing_and_no_video_are_said_in_a_sentence(browser: Browser, url: str) -> None:
    with visit(browser, url) as visited:
        page = visited.page
        note = page.locator("#one .v2v-note")
        expect(note).to_contain_text("Nothing generated yet")
        expect(page.locator("#one .v2v-play")).to_be_hidden()
        page.get_by_role("button", name="Lie").click()
        expect(note).to_contain_text("cannot be played here")
        show(page)
        expect(note).to_be_hidden()
        page.get_by_role("button", name="Clear").click()
        expect(note).to_contain_text("Nothing generated yet")
        assert visited.complaints == []


def test_words_from_outside_stay_words(desk: Visit) -> None:
    expect(desk.page.locator("#two .v2v-note")).to_have_text(EVIL)
    assert desk.page.locator("#two .v2v-left").text_content() == EVIL
    assert desk.page.locator("img[src=x]").count() == 0


def test_the_page_never_names_the_output_folder(desk: Visit, clip: Path) -> None:
    show(desk.page)
    address = desk.page.evaluate("document.querySelector('#one video').currentSrc")
    assert address.endswith(clip.name)
    assert str(clip.parent) not in address + desk.page.content()


def swatch(page: Page, number: int) -> str:
    option = page.locator(f'.legend label:has(input[value="{number}"])')
    return str(option.evaluate("option => getComputedStyle(option, '::before').backgroundColor"))


@pytest.mark.parametrize("dark", [False, True])
def test_a_legend_shows_the_colours_of_its_classes(browser: Browser, url: str, dark: bool) -> None:
    with visit(browser, url, dark=dark) as visited:
        page = visited.page
        expect(page.get_by_role("radio", name="road")).to_be_attached()
        colours = ["rgb(128, 64, 128)", "rgb(250, 170, 30)", "rgb(128, 128, 128)"]
        end = time.monotonic() + 30  # the page may have its legend before it has its style
        while [swatch(page, number) for number in LABELS.names] != colours and time.monotonic() < end:
            page.wait_for_timeout(50)
        assert [swatch(page, number) for number in LABELS.names] == colours
        page.get_by_role("radio", name="sky").focus()
        page.keyboard.press("Space")
        expect(page.get_by_label("Chosen")).to_have_value("11")
        page.keyboard.press("Shift+Tab")
        page.keyboard.press("Space")
        expect(page.get_by_label("Chosen")).to_have_value("7")
        assert visited.complaints == []


def test_it_fits_a_phone_in_the_dark(browser: Browser, url: str) -> None:
    with visit(browser, url, phone=True, dark=True) as visited:
        page = visited.page
        expect(page.locator("#one .v2v-note")).to_be_visible()
        assert visited.wide() <= 0
        show(page)
        assert visited.wide() <= 0
        box = page.locator("#one .v2v-player").bounding_box()
        assert box
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= 360
        page.touchscreen.tap(box["x"] + box["width"] / 2 + 60, box["y"] + 60)
        assert int(page.locator("#one .v2v-wipe").input_value()) > 55
        text = page.evaluate("getComputedStyle(document.querySelector('#one .v2v-speed')).color")
        assert min(int(part) for part in text[4:-1].split(",")) > 180, f"{text} is not readable in the dark"
        picture(visited, "player-phone-dark")
        assert visited.complaints == []


def test_classes_of_legends_are_plain_and_their_own() -> None:
    assert legend_class("seg2street") == "legend-seg2street"
    names = ["a b", "a_b", "a_20_b", "ab", "a-b", "é", TASK]
    made = [legend_class(name) for name in names]
    assert len(set(made)) == len(names)
    assert all(name.replace("-", "").replace("_", "").isalnum() and name.isascii() for name in made)
    style = legend_style(TASK, LABELS)
    assert style.count("<") == 2, "more than the style element itself"
    assert "onerror" not in style

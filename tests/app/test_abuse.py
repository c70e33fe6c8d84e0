"""What strangers try over HTTP, against the served page: each gets a sentence, and the next visitor gets his video."""

import dataclasses
import itertools
import re
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import gradio
import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError

from tests.app.attempts import SECRETS, SENTENCE, film, house, model, noted, still_serves  # noqa: F401  (fixtures)
from tests.app.made import movie
from tests.app.serving import SMALL, file_data, sentence_of, serving
from tests.app.uploads import UPLOADS, WIRE_NAMES, write_all
from vid2vid_hub.app import body, tab
from vid2vid_hub.app.said import SORRY
from vid2vid_hub.data.toy import ToyShapes

FORM = "multipart/form-data; boundary=12345678"
OPENING = b'--12345678\r\nContent-Disposition: form-data; name="files"; filename="a.mp4"\r\n\r\n'


def test_a_visitor_gets_his_video(house, film, model):
    answer = still_serves(house, film, model)
    assert answer.status_code == 200
    assert answer.content[4:8] == b"ftyp"
    assert answer.headers["content-type"] == "video/mp4"


# Uploads as HTTP carries them.


@pytest.mark.parametrize("name", [*WIRE_NAMES, "a\nb.mp4", "..", "...", "/", "\u202egp4.mp4", "a/b/c.mp4", "x" * 9000])
def test_no_name_leads_anywhere(house, film, name):
    before = set(house.page.house.shelf.folder.parent.glob("*.mp4"))
    answer = house.upload(film, name)
    shown = repr(name if len(name) < 60 else f"{name[:8]}…, {len(name)} letters")
    assert answer.status_code in (200, 400), answer.text
    if answer.status_code == 200:
        path = Path(answer.json()[0])
        assert path.parent.parent == house.page.house.shelf.served
        assert path.is_file()
        assert noted(house, f"a name, {shown}", house.read(str(path))) == "accepted"
    else:
        noted(house, f"a name, {shown}", answer.text)
    assert set(house.page.house.shelf.folder.parent.glob("*.mp4")) == before


BODIES = {
    "no file": (FORM, b"--12345678--\r\n"),
    "nothing": (FORM, b""),
    "a field, and no file": (
        FORM,
        b'--12345678\r\nContent-Disposition: form-data; name="files"\r\n\r\nx\r\n--12345678--\r\n',
    ),
    "two files": (FORM, (OPENING + b"x\r\n") * 2 + b"--12345678--\r\n"),
    "a thousand files": (FORM, (OPENING + b"x\r\n") * 1000 + b"--12345678--\r\n"),
    "no boundary": ("multipart/form-data", OPENING),
    "a boundary of one letter": ("multipart/form-data; boundary=a", OPENING),
    "another boundary": ("multipart/form-data; boundary=87654321", OPENING + b"x\r\n--12345678--\r\n"),
    "JSON": ("application/json", b'{"files": "a"}'),
    "no kind": ("", OPENING),
    "a head without an end": (
        FORM,
        b'--12345678\r\nContent-Disposition: form-data; name="files"; filename="a' + b"a" * 20_000,
    ),
    "a broken head": (FORM, b"--12345678\r\n\0\0: filename\r\n\r\nx\r\n--12345678--\r\n"),
    "a file without a name": (
        FORM,
        b'--12345678\r\nContent-Disposition: form-data; filename="a"\r\n\r\nx\r\n--12345678--\r\n',
    ),
    "noise": (FORM, bytes(range(256)) * 100),
    "a charset that is none": (FORM + "; charset=none", OPENING + b"x\r\n--12345678--\r\n"),
}


@pytest.mark.parametrize("attempt", BODIES)
def test_what_is_no_upload_is_refused_in_a_sentence(house, attempt):
    kind, content = BODIES[attempt]
    for query in ("", "?upload_id=mine"):
        answer = house.http.post(f"/gradio_api/upload{query}", content=content, headers={"Content-Type": kind})
        assert answer.status_code in (400, 413), answer.text
        assert SENTENCE.fullmatch(noted(house, f"an upload that is {attempt}", answer.text)), answer.text


def test_what_lacks_its_end_is_no_more_than_what_came(house):
    answer = house.http.post("/gradio_api/upload", content=OPENING + b"x", headers={"Content-Type": FORM})
    assert answer.status_code in (200, 400)
    if answer.json():
        assert SENTENCE.fullmatch(noted(house, "an upload without an end", house.read(answer.json()[0])))


@pytest.mark.parametrize(
    "content",
    [
        b"{",
        b"[" * 100_000,
        b"\xff\xfe",
        b"null",
        b"[]",
        b'{"data": 1}',
        b'"a"',
        b"1e999",
        b'{"data": NaN}',
        b'{"data": 1e999}',
    ],
)
def test_what_is_no_question_is_refused(house, content):
    for path in ("queue/join", "cancel", "reset", "call/toy_read", "run/toy_read", "stream/a"):
        answer = house.http.post(f"/gradio_api/{path}", content=content, headers={"Content-Type": "application/json"})
        assert answer.status_code in (400, 404, 422), (path, answer.text)
        assert not any(secret in answer.text for secret in SECRETS)


def test_questions_of_the_wrong_kind_end_in_no_traceback(house, film):
    path = house.upload(film).json()[0]
    own = [
        number for number, fn in house.page.fns.items() if getattr(fn.fn, "__self__", None) is house.page.tabs["toy"]
    ]
    assert len(own) > 6
    for number in own:
        inputs = len(house.page.fns[number].inputs)
        for data in ([], [None] * inputs, ["x"] * inputs, [-1] * inputs, [file_data(path)] * 99):
            answer, session = house.join(number, data)
            if answer.status_code == 200:
                noted(house, f"nonsense for {house.page.fns[number].name}", house.follow(session)[-2])
    answer, _ = house.join(99_999, [])
    assert answer.status_code in (400, 404, 500)
    noted(house, "an event that is not there", answer.text)
    assert house.http.post("/gradio_api/run/toy_read", json={"data": [None, None]}).status_code == 404


# Files that are bad.


def bad_uploads(folder):
    """(name, path, what refuses it) of all that HTTP can carry."""
    paths = write_all(folder)
    for upload in UPLOADS:
        path = paths[upload.name]
        regular = path.is_file() and not path.is_symlink()
        if upload.kind != "condition" and regular and path.stat().st_size <= SMALL.upload:
            yield upload.name, path, upload.says if upload.kind == "video" else None


def give(house, given):
    """Upload a file and have it read; what was said."""
    name, path, says = given
    answer = house.upload(path, path.name.encode("utf-8", "replace").decode())
    if answer.status_code != 200:
        return noted(house, f"a file: {name}", answer.text)
    told = noted(house, f"a file: {name}", house.read(answer.json()[0]))
    assert says is None or told != "accepted", name
    assert told == "accepted" or SENTENCE.fullmatch(told), told
    return told


def test_bad_files_are_refused_and_the_next_is_read(house, film, model, tmp_path):
    chosen = [one for one in bad_uploads(tmp_path) if one[2] is not None][::5]
    with ThreadPoolExecutor(4) as threads:
        said = list(threads.map(lambda one: give(house, one), chosen))
    assert len(said) > 5
    assert "accepted" not in said
    assert still_serves(house, film, model).status_code == 200


@pytest.mark.slow
def test_a_hundred_bad_files_at_once_are_refused_and_the_next_is_read(house, film, model, tmp_path):
    chosen = list(itertools.islice(itertools.cycle(bad_uploads(tmp_path)), 100))
    with ThreadPoolExecutor(16) as threads:
        said = list(threads.map(lambda one: give(house, one), chosen))
    assert len(said) == 100
    assert sum(told == "accepted" for told in said) < 40
    assert still_serves(house, film, model).status_code == 200


def test_a_film_of_too_many_frames_is_refused(house, tmp_path):
    path = tmp_path / "long.mp4"
    path.write_bytes(movie(length=SMALL.frames + 1))
    told = give(house, ("one frame too many", path, "frames"))
    assert f"at most {SMALL.frames} are taken" in told


# Who waits, and what went wrong.


def test_a_full_queue_is_said(film, monkeypatch):
    going = threading.Event()

    def wait(*_):
        going.wait(30)
        yield from ()

    monkeypatch.setattr(tab, "read", wait)
    with serving(dataclasses.replace(SMALL, queue=3)) as house:
        path = house.upload(film).json()[0]
        answers = []
        for number in range(8):
            answers.append(house.join("toy_read", [file_data(path), None], f"s{number}")[0])
            time.sleep(0.15)
        going.set()
        full = [answer for answer in answers if answer.status_code == 503]
        assert 3 <= len(full) <= 5
        assert SENTENCE.fullmatch(noted(house, "one visitor more than may wait", full[0].json()["detail"]))
        assert answers[0].status_code == 200
        assert house.http.get("/").status_code == 200


def test_what_nobody_foresaw_is_told_to_the_host_alone(house, film, monkeypatch, caplog):
    def broken(*_):
        raise RuntimeError("/secret/path")

    path = house.upload(film).json()[0]
    monkeypatch.setattr(ToyShapes, "extract", broken)
    assert noted(house, "an error of a task", house.read(path)) == SORRY
    assert "/secret/path" in caplog.text
    with pytest.raises(AppError, match="written down") as caught:
        Client(house.url, verbose=False).predict(handle_file(str(film)), None, api_name="/toy_read")
    assert "/secret" not in str(caught.value)
    assert house.page.show_error is False


# Results.


def test_results_have_names_that_nobody_guesses(house, film, model):
    shelf = house.page.house.shelf
    still_serves(house, film, model)
    results = [path.name for path in shelf.results.iterdir()]
    assert len(results) >= 2
    assert len(set(results)) == len(results)
    assert all(re.fullmatch(r"toy(-side-by-side)?-[\w-]{24}\.mp4", name) for name in results)
    everything = house.http.get("/").text + house.http.get("/config").text + house.http.get("/gradio_api/info").text
    assert not any(name in everything for name in results)
    assert str(shelf.folder) not in everything
    stranger = house.ask("toy_generate", [None, None, model, "usual", None, 0, 0, 0], "a-stranger")
    assert sentence_of(stranger) == "There is nothing to generate from; upload a video, or press an example."


def test_what_was_cleared_is_gone_for_its_visitor_too(film, model, toy_model):
    with serving(named=(str(toy_model),)) as house:
        path = house.upload(film).json()[0]
        assert house.ask("toy_read", [file_data(path), model], "mine")["success"]
        house.page.house.shelf.clear(time.time() + SMALL.keep + 1)
        assert house.file(path).status_code in (403, 404)
        said = house.ask("toy_generate", [None, None, model, "usual", None, 0, 0, 0], "mine")
        assert noted(house, "generating from what was cleared", said) == "This video was cleared away; give it again."
        said = noted(house, "reading what was cleared", house.read(path))
        assert said == "The video is not there any more; upload it again."


# Models.


def test_a_visitor_chooses_no_folder(house, film, tmp_path, monkeypatch):
    (tmp_path / "spaces" / "demo").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    path = house.upload(film).json()[0]
    names = (
        *("/etc", "../x", ".", "..", "~", "C:\\", "\\\\host\\share", "org/name/extra", "spaces/demo", "/", "spaces"),
        *(
            "org/na\0me",
            "org/na\nme",
            "org/\u202ename",
            "org/name@main",
            "-org/name",
            "org/..",
            "./org",
            " ",
            "x" * 5000,
        ),
        *("file:///etc", "hf://org/name", "org\\name", str(tmp_path), "spaces/../spaces", "%2e%2e/x", "org/name?a=b"),
    )
    for name in names:
        said = house.ask("toy_read", [file_data(path), name])
        told = noted(house, f"a model called {name[:40]!r}", said)
        assert SENTENCE.fullmatch(told), (name, told)
        assert told.startswith("There is no model '"), (name, told)


def test_gradio_is_one_that_was_looked_at():
    assert tuple(map(int, gradio.__version__.split(".")[:2])) >= (6, 31)
    assert body.FORM.fullmatch("multipart/form-data; boundary=----WebKitFormBoundaryAbCdEf0123456789")
    assert body.FORM.fullmatch("multipart/form-data; boundary=----geckoformboundary0123456789abcdef")

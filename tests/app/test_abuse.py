"""What strangers try over HTTP, against the served page: each gets a sentence, and the next visitor gets his video."""

import dataclasses
import http.server
import itertools
import re
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import quote

import gradio
import gradio.processing_utils
import gradio.route_utils
import pytest
import safehttpx
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError

from tests.app.made import movie
from tests.app.serving import SMALL, file_data, sentence_of, serving
from tests.app.uploads import UPLOADS, WIRE_NAMES, write_all
from vid2vid_hub.app import body, page, tab
from vid2vid_hub.app.said import SORRY
from vid2vid_hub.data.toy import ToyShapes

SENTENCE = re.compile(r"[A-Z0-9][^\n]{5,700}\.")
SECRETS = ("Traceback", 'File "', "/secret/path", "root:x:0", "site-packages")
FORM = "multipart/form-data; boundary=12345678"
OPENING = b'--12345678\r\nContent-Disposition: form-data; name="files"; filename="a.mp4"\r\n\r\n'
ATTEMPTS: dict[str, str] = {}
"""What was tried, and the answer; ``pytest -s`` prints it at the end."""


@pytest.fixture(scope="module")
def house(toy_model):
    with serving(named=(str(toy_model),)) as served:
        yield served
    print()
    for attempt, answer in ATTEMPTS.items():
        print(f"{attempt}: {answer}")


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    path = tmp_path_factory.mktemp("film") / "a.mp4"
    path.write_bytes(movie())
    return path


@pytest.fixture(scope="module")
def model(toy_model):
    return str(toy_model)


def noted(house, attempt, said):
    """Keep what was said, after a look whether a visitor may read it."""
    told = said if isinstance(said, str) else sentence_of(said)
    told = told or "accepted"
    everything = str(said)
    assert not any(secret in everything for secret in SECRETS), everything
    assert str(house.page.house.shelf.jobs) not in everything
    assert str(Path(tab.__file__).parent) not in everything
    ATTEMPTS[attempt] = told.replace(str(house.page.house.shelf.folder), "…")
    return told


def still_serves(house, film, model):
    """Whether the next visitor gets his video."""
    assert house.http.get("/").status_code == 200
    path = house.upload(film).json()[0]
    session = f"good{time.monotonic_ns()}"
    assert house.ask("toy_read", [file_data(path), model], session)["success"]
    said = house.ask("toy_generate", [None, None, model, "usual", None, 0, 0, 0], session)
    assert said["success"], said
    video = re.search(r"/[^\"']*/results/toy-[\w-]{24}\.mp4", str(said))
    return house.file(video[0])


def test_a_visitor_gets_his_video(house, film, model):
    answer = still_serves(house, film, model)
    assert answer.status_code == 200
    assert answer.content[4:8] == b"ftyp"
    assert answer.headers["content-type"] == "video/mp4"


# Files that are not his.

SOURCE = str(Path(page.__file__))
NAMES = (
    *(
        "/etc/passwd",
        "//etc/passwd",
        "/etc//passwd",
        "/./etc/passwd",
        "/etc/passwd/",
        "etc/passwd",
        "/proc/self/environ",
    ),
    *(
        "/proc/self/cmdline",
        "/proc/self/fd/0",
        "/dev/zero",
        "/dev/stdin",
        "~/.bashrc",
        "~root/.bashrc",
        "$HOME/.bashrc",
    ),
    *("../../../../etc/passwd", "..\\..\\etc\\passwd", "....//....//etc/passwd", "%2e%2e/%2e%2e/etc/passwd"),
    *("/etc/passwd%00.mp4", "/etc/passwd\0.mp4", "/etc/passwd?a.mp4", "/etc/passwd#a.mp4", "/etc/passwd;a.mp4"),
    *("file:///etc/passwd", "FILE:///etc/passwd", "http://127.0.0.1:9/a", "https://example.com/", "ftp://127.0.0.1/a"),
    *("HTTP://example.com/", " http://example.com/", "//example.com/a", "\\\\example.com\\a", "gopher://127.0.0.1:9/a"),
    *("data:text/html,a", "javascript:alert(1)", "C:\\Windows\\win.ini", "C:/Windows/win.ini", "pyproject.toml"),
    *(
        "./README.md",
        ".git/config",
        "vid2vid_hub/app/page.py",
        SOURCE,
        "",
        ".",
        "/",
        "*",
        "a" * 5000,
        "\u202e/etc/passwd",
    ),
    *(
        "{shelf}",
        "{shelf}/served",
        "{shelf}/served/",
        "{shelf}/jobs",
        "{shelf}/jobs/{job}",
        "{shelf}/jobs/{job}/000000.npz",
    ),
    *(
        "{shelf}/served/../jobs/{job}/000000.npz",
        "{shelf}/served/%2e%2e/jobs/{job}/000000.npz",
        "{shelf}/served/results",
    ),
    *("{shelf}/served/a.mp4", "{shelf}/served/*/a.mp4", "{shelf}/served/results/toy.mp4", "{shelf}/served/results/*"),
    *("{shelf}/served/link", "{shelf}/served/folder/passwd", "{shelf}/served/results/../../../../etc/passwd"),
)
REFUSED = (400, 403, 404)


@pytest.fixture(scope="module")
def places(house, film, model):
    """Names of what strangers would like to have, with a job in the shelf, and links that lead out of it."""
    shelf = house.page.house.shelf
    path = house.upload(film).json()[0]
    assert house.ask("toy_read", [file_data(path), model])["success"]
    job = next(shelf.jobs.glob("*/000000.npz")).parent.name
    for link, to in (("link", "/etc/passwd"), ("folder", "/etc")):
        (shelf.served / link).symlink_to(to)
    return [name.replace("{shelf}", str(shelf.folder)).replace("{job}", job) for name in NAMES]


def test_no_file_but_his_own_is_served(house, places):
    assert len(places) > 60
    for name in places:
        for written in {quote(name, safe=""), quote(name), quote(quote(name, safe=""), safe="")}:
            for method in ("GET", "HEAD"):
                answer = house.http.request(method, f"/gradio_api/file={written}")
                assert answer.status_code in REFUSED, (method, written, answer.text[:80])
                assert "root:" not in answer.text
                assert "import" not in answer.text
            assert house.http.get(f"/gradio_api/file/{written}").status_code == 404
    ATTEMPTS[f"{len(places)} names of files of the host, each written in three ways"] = "403 or 404"


@pytest.fixture
def fetched(monkeypatch):
    """What anybody in this process tried to fetch; and an address on this machine that would count it."""
    asked = []

    class Counting(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            self.send_error(404)

        def log_message(self, *_):
            pass

    async def counted(host, *_):
        asked.append(host)
        raise ValueError("not here")

    monkeypatch.setattr(safehttpx, "async_validate_url", counted)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Counting) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", asked
        server.shutdown()
        thread.join()


def tried(house, where, data):
    """What is said to somebody who gives a file that he never uploaded."""
    if where == "a first frame":
        session = f"s{time.monotonic_ns()}"
        shape = house.join("toy_generate", [None, None, None, "picture", data, 0, 0, 0], session)
    elif where == "a model's name":
        shape = house.join("toy_read", [None, data])
    else:
        shape = house.join(where, [data, None])
    answer, session = shape
    if answer.status_code != 200:
        return answer.text
    return next(one for one in reversed(house.follow(session)) if one["msg"] == "process_completed")


@pytest.mark.parametrize("where", ["toy_read", "toy_read_file", "a first frame"])
def test_no_file_but_his_own_is_read(house, places, where):
    chosen = places if where == "toy_read" else [name for name in places if "{" in name or "/" in name][::4]
    for name in chosen:
        for more in ({}, {"is_stream": True}) if where == "toy_read" else ({},):
            said = tried(house, where, file_data(name, **more))
            told = noted(house, f"the host's own {name[:60]!r} as {where}", said)
            assert told != "accepted"
    for odd in ("/etc/passwd", {"path": "/etc/passwd"}, [file_data("/etc/passwd")], {"a": 1}, 5, [[]]):
        assert noted(house, f"{str(odd)[:40]} as {where}", tried(house, where, odd)) != "accepted"


def test_no_address_is_fetched(house, fetched):
    canary, asked = fetched
    addresses = (
        canary,
        f"{canary}/a.mp4",
        "https://example.com/a.mp4",
        "http://169.254.169.254/latest/meta-data",
        "HTTP://a",
    )
    for where, address in itertools.product(
        ("toy_read", "toy_read_file", "a first frame", "a model's name"), addresses
    ):
        told = noted(
            house, f"{address.replace(canary, 'http://127.0.0.1')} as {where}", tried(house, where, file_data(address))
        )
        assert told == "An address is not fetched here; upload the file itself."
    hidden = ('{"data": [{"pa\\u0074h": "\\u0068ttps://example.com/a", "meta": {"_type": "gradio.FileData"}}, null], '
              f'"fn_index": {house.number("toy_read")}, "session_hash": "hidden"}}')  # fmt: skip
    for coded in (hidden.encode(), hidden.encode("utf-16"), hidden.encode("utf-32-be")):
        for kind in ("application/json", "text/plain", "application/vnd.a+json"):
            said = house.http.post("/gradio_api/queue/join", content=coded, headers={"Content-Type": kind})
            assert said.status_code in (400, 422)
    for address in addresses:
        house.http.get(f"/gradio_api/file={address}")
        house.http.get(f"/gradio_api/proxy={address}")
        house.http.post("/gradio_api/call/toy_read", json={"data": [file_data(address), None]})
        house.read(str(house.page.house.shelf.served / "none.mp4"), url=address)
    assert asked == []


def test_a_client_that_gives_an_address_is_told_so(house, fetched):
    with pytest.raises(Exception, match=r"address is not fetched|400"):
        Client(house.url, verbose=False).predict(handle_file(f"{fetched[0]}/a.mp4"), None, api_name="/toy_read")


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
    "content", [b"{", b"[" * 100_000, b"\xff\xfe", b"null", b"[]", b'{"data": 1}', b'"a"', b"1e999", b"NaN"]
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


def test_what_was_cleared_is_gone_for_its_visitor_too(film, model):
    with serving(named=(model,)) as house:
        path = house.upload(film).json()[0]
        assert house.ask("toy_read", [file_data(path), model], "mine")["success"]
        house.page.house.shelf.clear(time.time() + SMALL.keep + 1)
        assert house.file(path).status_code in REFUSED
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

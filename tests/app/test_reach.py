"""Nobody reaches a file that is not his, nor has the page fetch one, whatever he writes in its place."""

import http.server
import itertools
import threading
import time
from pathlib import Path
from urllib.parse import quote

import pytest
import safehttpx
from gradio_client import Client, handle_file

from tests.app.attempts import ATTEMPTS, film, house, model, noted  # noqa: F401  (fixtures)
from tests.app.serving import file_data
from vid2vid_hub.app import page

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

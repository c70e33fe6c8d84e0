"""The gate lets through what the page needs, of this page, at a measure; everything else is not there."""

import asyncio
import dataclasses
import http.client
import json
import re
import socket
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from fastapi.routing import iter_route_contexts
from hypothesis import given
from hypothesis import strategies as st

from tests.app.made import movie
from tests.app.serving import SMALL, serving
from vid2vid_hub.app import body as bodies
from vid2vid_hub.app import gate as gates
from vid2vid_hub.app.gate import Bucket, Gate, address, is_known
from vid2vid_hub.app.said import SORRY

SENTENCE = re.compile(r"[A-Z][^\n]*[.!]")


@pytest.fixture(scope="module")
def house():
    with serving() as served:
        yield served


@pytest.fixture
def film(tmp_path):
    path = tmp_path / "a.mp4"
    path.write_bytes(movie())
    return path


def raw(house, request):
    """The status of an answer to exactly these bytes, and the answer; 0 where the connection was cut."""
    host, port = house.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=20) as wire:
        wire.sendall(request)
        answer = http.client.HTTPResponse(wire)
        try:
            answer.begin()
            return answer.status, answer.read(2000)
        except (http.client.BadStatusLine, ConnectionError):
            return 0, b""


def line(house, target, method="GET", headers=""):
    return f"{method} {target} HTTP/1.1\r\nHost: {house.url[7:]}\r\n{headers}Connection: close\r\n\r\n".encode()


# What is there.

LET_THROUGH = {
    "GET": {"/", "/config", "/theme.css", "/robots.txt", "/favicon.ico", "/manifest.json"}
    | {"/assets/a", "/static/a", "/svelte/a"}
    | {f"/gradio_api/{name}" for name in ("info", "startup-events", "queue/data", "queue/status", "upload_progress")}
    | {f"/gradio_api/{name}" for name in ("app_id", "user", "heartbeat/a", "call/a/a", "call/v2/a", "file=a")},
    "POST": {f"/gradio_api/{name}" for name in ("upload", "queue/join", "cancel", "reset", "call/a", "run/a", "api/a")}
    | {"/gradio_api/stream/a", "/gradio_api/stream/a/close"},
}
"""All that visitors reach, of all that Gradio has; what a later Gradio adds is refused until it is written here."""
UNUSED = (
    *("process_recording", "vibe-edit", "vibe-code", "vibe-starter-queries", "undo-vibe-edit", "component_server"),
    *("proxy=https://example.com/", "dev/reload", "login_check", "token", "deep_link", "openapi.json", "theme.css"),
    *("runs", "run-history/buckets", "run-history/connect", "run-history/records", "profiling/traces", "mcp/sse"),
    *("custom_component/1/client/component/style.css", "file/etc/passwd", "stream/a/b/1/playlist.m3u8", "info/"),
    *("stream/a/b/1/playlist-file", "stream/a/b/1/c.ts", "call/v2/a", "mcp/", "mcp/schema"),
)
"""Of /gradio_api/."""


def every_route(app):
    """(method, path) of all that Gradio answers, with an "a" for each variable."""
    for context in iter_route_contexts(app.routes):
        for method in context.methods or ():
            yield method, re.sub(r"\{\w+(:path)?\}", "a", context.path)


def test_every_route_is_in_the_list_or_is_not_there(house):
    routes = set(every_route(house.page.app))
    assert len(routes) > 60
    assert {path for method, path in routes if "process_recording" in path} == {"/gradio_api/process_recording"}
    through = {"GET": set(), "POST": set()}
    for method, path in sorted(routes):
        if is_known(method, path):
            through["GET" if method == "HEAD" else method].add(path)
        else:
            answer = house.http.request(method, path)
            assert (answer.status_code, answer.text) in ((404, "There is nothing here."), (404, "")), (method, path)
    assert {key: paths - {"/gradio_api/call/v2/a"} for key, paths in through.items()} == {
        key: paths - {"/gradio_api/call/v2/a"} for key, paths in LET_THROUGH.items()
    }


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE", "TRACE"])
def test_what_the_page_does_not_use_is_not_there(house, method):
    for path in (*(f"/gradio_api/{name}" for name in UNUSED), "/login", "/logout", "/monitoring", "/docs", "/redoc"):
        if (method, path) == ("GET", "/gradio_api/call/v2/a"):
            continue
        assert house.http.request(method, path).status_code == 404, path


@pytest.mark.parametrize(
    "target",
    [
        *("//gradio_api/process_recording", "/gradio_api//process_recording", "/gradio_api/process_recording/"),
        *("/GRADIO_API/process_recording", "/gradio_api/process_recording;a", "/gradio_api/upload;/process_recording"),
        *("/gradio_api/upload/../process_recording", "/gradio_api/upload/%2e%2e/process_recording"),
        *(
            "/gradio_api/call/%2e%2e%2fprocess_recording",
            "/gradio_api/file=../process_recording",
            "/gradio_api/upload/",
        ),
        *("/gradio_api/process_recording%00", "/gradio_api%2fprocess_recording", "/gradio_api/process%5frecording"),
        *("/gradio_api/process_recording?/gradio_api/upload", "/gradio_api/process_recording%3f", "/?/monitoring"),
        *("/static/../../../routes.py", "/static/%2e%2e/%2e%2e/routes.py", "/assets/..%2f..%2froutes.py"),
        *("/assets/%5c..%5c..%5croutes.py", "/svelte//etc/passwd", "/static/%2fetc%2fpasswd", "/static/img/../../x"),
        *("/gradio_api/upload%0a", "/config%0d%0aX:%20y", "*", "/gradio_api/queue/join%20", "/" + "a" * 8192),
        *("/gradio_api/file=" + "a/" * 4096, "/gradio_api/proxy=http://127.0.0.1/", "/monitoring#/", "/config/x"),
    ],
)
def test_no_trick_of_a_path_gets_through(house, target):
    for method in ("GET", "POST", "HEAD"):
        status, answer = raw(house, line(house, target, method, "Content-Length: 0\r\n"))
        passed = status == 200 and target == "/?/monitoring"  # which is the page
        assert status in (400, 403, 404, 405) or passed, (status, answer)
        assert b"Traceback" not in answer
        assert b"import" not in answer or passed


def test_an_address_in_place_of_a_path_is_no_proxy(house):
    for target in ("http://127.0.0.1:9/gradio_api/process_recording", "http://example.com/monitoring"):
        status, answer = raw(house, line(house, target))
        assert status in (400, 404), (status, answer)
    assert raw(house, line(house, "example.com:443", "CONNECT"))[0] in (400, 404)


def test_an_upgrade_to_websockets_gets_nowhere(house):
    upgrade = "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
    headers = upgrade.replace("Connection: close\r\n", "") + "Connection: Upgrade\r\n"
    for target in ("/gradio_api/queue/join", "/queue/join", "/ws"):
        assert raw(house, line(house, target, headers=headers))[0] in (403, 404)
    assert asyncio.run(through(Gate(None, SMALL), {"type": "websocket"})) == [{"type": "websocket.close", "code": 1008}]


def test_what_the_page_needs_is_there(house, film):
    page = house.http.get("/")
    assert page.status_code == 200
    needed = set(re.findall(r'(?:src|href)="(?:\./)?((?:/?assets|/?static)/[^"?#]+)"', page.text))
    assert len(needed) >= 2
    for path in sorted(needed)[:20]:
        assert house.http.get(f"/{path.lstrip('/')}").status_code == 200, path
    for path in ("/config", "/theme.css", "/gradio_api/info", "/gradio_api/startup-events", "/robots.txt"):
        assert house.http.get(path).status_code == 200, path
    path = house.upload(film).json()[0]
    assert house.file(path).content == film.read_bytes()
    part = house.http.get(f"/gradio_api/file={path}", headers={"Range": "bytes=0-9"})
    assert part.content == film.read_bytes()[:10]
    assert house.read(path)["success"]


def test_files_carry_the_headers_that_keep_them_files(house, film):
    path = house.upload(film, "a.html").json()[0]
    for answer in (house.file(path), house.http.get("/"), house.http.get("/monitoring"), house.file("/etc/passwd")):
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "no-referrer"
    headers = house.file(path).headers
    assert headers["content-security-policy"].startswith("sandbox; default-src 'none'")
    assert headers["content-type"] == "application/octet-stream"
    assert headers["content-disposition"].startswith("attachment")


# Of whom.


@pytest.mark.parametrize("path", ["/config", "/gradio_api/upload", "/gradio_api/queue/join", "/gradio_api/queue/data"])
@pytest.mark.parametrize(
    "origin", ["https://evil.example", "null", "http://127.0.0.1:1", "http://[bad", "HTTP://LOCALHOST"]
)
def test_scripts_of_other_pages_are_refused(house, path, origin):
    method = "GET" if path in ("/config", "/gradio_api/queue/data") else "POST"
    answer = house.http.request(method, path, headers={"Origin": origin, "Sec-Fetch-Site": "cross-site"})
    assert (answer.status_code, answer.text) == (403, "Another page may not ask this one; open it itself.")


def test_nobody_is_told_that_all_origins_may_ask(house):
    asks = {"Access-Control-Request-Method": "POST"}
    for origin in ("https://evil.example", "null"):
        for method, path in (("GET", "/"), ("GET", "/config"), ("OPTIONS", "/gradio_api/upload")):
            answer = house.http.request(method, path, headers={"Origin": origin, **asks})
            assert "access-control-allow-origin" not in answer.headers


def test_the_page_itself_asks_with_its_origin(house, film):
    for headers in ({"Origin": house.url}, {"Origin": "https://proxied.example", "Sec-Fetch-Site": "same-origin"}):
        assert house.upload(film, headers=headers).status_code == 200
    behind = {"Origin": "https://demo.example", "X-Forwarded-Host": "demo.example, inner"}
    assert house.upload(film, headers=behind).status_code == 200


def scope_of(client, *forwarded):
    return {"client": (client, 1), "headers": [(b"x-forwarded-for", one.encode()) for one in forwarded]}


def test_who_asks_is_known_behind_proxies_and_cannot_be_made_up():
    assert address(scope_of("8.8.8.8", "1.1.1.1")) == "8.8.8.8"
    assert address(scope_of("10.0.0.1")) == "10.0.0.1"
    assert address(scope_of("10.0.0.1", "1.1.1.1, 8.8.4.4", "10.0.0.2, x")) == "8.8.4.4"
    assert address(scope_of("127.0.0.1", "made up")) == "127.0.0.1"
    assert address({"client": None, "headers": []}) == ""


# How much.


@given(asks=st.lists(st.floats(0, 10), max_size=80), rate=st.floats(0.01, 5), most=st.integers(1, 10))
def test_a_bucket_grants_no_more_than_it_says(asks, rate, most):
    bucket, now, granted = Bucket(rate, most), 0.0, 0
    for pause in asks:
        now += pause
        granted += bucket.take("a", now)
    assert granted <= most + now * rate + 1e-6
    assert bucket.take("a", now + 1 / rate * 1.001)
    assert bucket.take("b", 0.0)


def test_a_bucket_forgets_whom_it_has_not_seen_for_longest(monkeypatch):
    monkeypatch.setattr(gates, "ADDRESSES", 3)
    bucket = Bucket(0.001, 1)
    assert [bucket.take(who, 0.0) for who in "abcab"] == [True, True, True, False, False]
    assert bucket.take("d", 0.0)
    assert [bucket.take(who, 0.0) for who in "ab"] == [False, False]
    assert len(bucket._left) == 3


def test_who_asks_too_often_waits_and_others_do_not(film):
    with serving(dataclasses.replace(SMALL, requests=30)) as house:
        answers = [house.http.post("/gradio_api/reset", json={"event_id": "a"}) for _ in range(40)]
        late = [answer for answer in answers if answer.status_code == 429]
        assert len(late) >= 8
        assert {one.text for one in late} == {"That is more than one visitor may ask for; wait a minute."}
        assert house.http.get("/").status_code == 200
        other = {"X-Forwarded-For": "8.8.8.8"}
        assert house.upload(film, headers=other).status_code == 200
        time.sleep(2.2)  # two a second come back... of thirty in a minute, one in two seconds
        assert house.http.post("/gradio_api/reset", json={"event_id": "a"}).status_code == 200


def test_what_is_too_large_is_refused_by_what_it_says_and_by_what_it_is(house, tmp_path):
    big = tmp_path / "big.mp4"
    big.write_bytes(bytes(SMALL.upload + 500_000))
    said = house.upload(big)
    assert (said.status_code, said.text[:18]) == (413, "That is too large:")

    def endless():
        yield b'--12345678\r\nContent-Disposition: form-data; name="files"; filename="a.mp4"\r\n\r\n'
        for _ in range(200):
            yield bytes(100_000)

    form = {"Content-Type": "multipart/form-data; boundary=12345678"}
    try:
        said = house.http.post("/gradio_api/upload", content=endless(), headers=form)
        assert said.status_code == 413
        assert "exceeded" in said.text or "too large" in said.text
    except OSError:  # the server may have ended the connection before it was all sent
        pass
    said = house.http.post("/gradio_api/queue/join", json={"data": ["x" * 300_000]})
    assert said.status_code == 413
    assert leftovers(house) == []


@pytest.mark.parametrize("length", ["-1", "1e3", "9" * 30, "0x10", " ", "٣"])
def test_a_length_that_is_none_is_refused(house, length):
    request = b"POST /gradio_api/queue/join HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: "
    assert raw(house, request + length.encode() + b"\r\n\r\n{}")[0] in (400, 413)


def within(seconds, true):
    """Whether something comes true in time."""
    deadline = time.monotonic() + seconds
    while not true() and time.monotonic() < deadline:
        time.sleep(0.02)
    return true()


def leftovers(house):
    """What uploads that were refused have left behind."""
    return [path.name for path in house.page.house.shelf.served.glob("tmp*") if path.is_file()]


def trickle(house, pieces, pause, more=""):
    """The answer to an upload of which so many pieces come, slowly."""
    head = b'--12345678\r\nContent-Disposition: form-data; name="files"; filename="a.mp4"\r\n\r\n'
    request = line(house, "/gradio_api/upload", "POST", f"Content-Type: {FORM}\r\nContent-Length: 100000\r\n{more}")
    host, port = house.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=20) as wire:
        wire.sendall(request + head)
        for _ in range(pieces):
            time.sleep(pause)
            try:
                wire.sendall(b"x")
            except OSError:
                break
        answer = http.client.HTTPResponse(wire)
        answer.begin()
        return answer.status, answer.read().decode()


FORM = "multipart/form-data; boundary=12345678"


def test_what_stops_arriving_is_not_waited_for(house, monkeypatch):
    monkeypatch.setattr(bodies, "SILENCE", 0.3)
    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(lambda _: trickle(house, 1, 0.05), range(8)))
    assert set(answers) == {(408, "The upload stopped arriving; try again.")}
    assert house.http.get("/").status_code == 200
    assert leftovers(house) == []


def test_what_arrives_too_slowly_is_not_waited_for(house, monkeypatch):
    monkeypatch.setattr(bodies, "PATIENCE", 0.3)
    status, said = trickle(house, 30, 0.05)
    assert (status, said) == (408, "The upload arrives too slowly; try again over a faster connection.")
    assert leftovers(house) == []


def test_whoever_goes_away_in_the_middle_leaves_nothing(house):
    head = b'--12345678\r\nContent-Disposition: form-data; name="files"; filename="a.mp4"\r\n\r\n'
    request = line(house, "/gradio_api/upload", "POST", f"Content-Type: {FORM}\r\nContent-Length: 900000\r\n")
    host, port = house.url.removeprefix("http://").split(":")
    wires = [socket.create_connection((host, int(port)), timeout=20) for _ in range(5)]
    for wire in wires:
        wire.sendall(request + head + bytes(400_000))
    assert within(10, lambda: len(leftovers(house)) == 5)
    for wire in wires:
        wire.close()
    assert within(10, lambda: not leftovers(house))


def test_uploads_that_arrive_at_once_are_counted(house, film, monkeypatch):
    monkeypatch.setattr(bodies, "SILENCE", 1.5)
    monkeypatch.setattr(gates, "UPLOADS_OF_ONE", 2)
    with ThreadPoolExecutor(2) as threads:
        slow = [threads.submit(trickle, house, 1, 0.05, "X-Forwarded-For: 9.9.9.9\r\n") for _ in range(2)]
        time.sleep(0.5)
        said = house.upload(film, headers={"X-Forwarded-For": "9.9.9.9"})
        other = house.upload(film)
        assert [one.result()[0] for one in slow] == [408, 408]
    assert (said.status_code, said.text) == (429, "Too many uploads arrive at once; try again in a minute.")
    assert other.status_code == 200
    assert house.upload(film).status_code == 200


# What is said where things go wrong.


async def through(gate, scope, messages=()):
    """What a gate sends."""
    sent, left = [], list(messages)

    async def receive():
        return left.pop(0) if left else {"type": "http.disconnect"}

    async def send(message):
        sent.append(message)

    await gate({"headers": [], "client": ("8.8.8.8", 1), **scope}, receive, send)
    return sent


def test_what_nobody_foresaw_is_logged_and_not_told(caplog):
    async def broken(*_):
        raise RuntimeError("/secret/path")

    sent = asyncio.run(through(Gate(broken, SMALL), {"type": "http", "method": "GET", "path": "/config"}))
    assert (sent[0]["status"], sent[1]["body"].decode()) == (500, SORRY)
    assert "/secret/path" in caplog.text


def test_an_answer_that_has_begun_is_not_begun_again():
    async def broken(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        raise RuntimeError("boo")

    with pytest.raises(RuntimeError, match="boo"):
        asyncio.run(through(Gate(broken, SMALL), {"type": "http", "method": "GET", "path": "/config"}))


def test_a_question_comes_through_as_it_was_and_the_visitor_may_leave_afterwards():
    heard = []

    async def app(scope, receive, send):
        heard.extend([await receive(), await receive()])

    parts = [{"type": "http.request", "body": b'{"a": ', "more_body": True}, {"type": "http.request", "body": b"1}"}]
    asyncio.run(through(Gate(app, SMALL), {"type": "http", "method": "POST", "path": "/gradio_api/reset"}, parts))
    assert json.loads(heard[0]["body"]) == {"a": 1}
    assert heard[1] == {"type": "http.disconnect"}


def test_names_and_passwords_are_asked_for_where_the_host_wants_it(film):
    with serving(auth=("me", "secret")) as house:
        assert house.http.get("/config").status_code == 401
        assert house.upload(film).status_code == 401
        assert house.http.post("/login", data={"username": "me", "password": "wrong"}).status_code == 400
        assert house.http.post("/login", data={"username": "me", "password": "secret"}).status_code == 200
        assert house.http.get("/config").status_code == 200

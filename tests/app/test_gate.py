"""The gate lets through what the page needs, of this page, at a measure; everything else is not there."""

import asyncio
import dataclasses
import json
import re
import time

import pytest
from fastapi.routing import iter_route_contexts
from hypothesis import given
from hypothesis import strategies as st

from tests.app.serving import SMALL, film, house, line, raw, serving  # noqa: F401  (fixtures)
from vid2vid_hub.app import gate as gates
from vid2vid_hub.app.gate import Bucket, Gate, address, is_known
from vid2vid_hub.app.said import SORRY

SENTENCE = re.compile(r"[A-Z][^\n]*[.!]")


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


# How often.


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

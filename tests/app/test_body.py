"""Bodies have a size, a speed and an end, and what was refused leaves nothing behind."""

import http.client
import socket
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from tests.app.serving import SMALL, film, house, line, raw, serving  # noqa: F401  (fixtures)
from vid2vid_hub.app import body as bodies
from vid2vid_hub.app import gate as gates

FORM = "multipart/form-data; boundary=12345678"
HEAD = b'--12345678\r\nContent-Disposition: form-data; name="files"; filename="a.mp4"\r\n\r\n'


def test_what_is_too_large_is_refused_by_what_it_says_and_by_what_it_is(house, tmp_path):
    big = tmp_path / "big.mp4"
    big.write_bytes(bytes(SMALL.upload + 500_000))
    said = house.upload(big)
    assert (said.status_code, said.text[:18]) == (413, "That is too large:")

    def endless():
        yield HEAD
        for _ in range(200):
            yield bytes(100_000)

    form = {"Content-Type": FORM}
    try:
        said = house.http.post("/gradio_api/upload", content=endless(), headers=form)
        assert said.status_code == 413
        assert "exceeded" in said.text or "too large" in said.text
    except httpx.TransportError:  # the server may have ended the connection before it was all sent
        pass
    said = house.http.post("/gradio_api/queue/join", json={"data": ["x" * 300_000]})
    assert said.status_code == 413
    said = house.http.post("/gradio_api/queue/join", content=iter([b'{"data": ["', b"x" * 300_000, b'"]}']))
    assert (said.status_code, said.text[:18]) == (413, "That is too large:")
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
    request = line(house, "/gradio_api/upload", "POST", f"Content-Type: {FORM}\r\nContent-Length: 100000\r\n{more}")
    host, port = house.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=20) as wire:
        wire.sendall(request + HEAD)
        for _ in range(pieces):
            time.sleep(pause)
            try:
                wire.sendall(b"x")
            except OSError:
                break
        answer = http.client.HTTPResponse(wire)
        answer.begin()
        return answer.status, answer.read().decode()


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
    request = line(house, "/gradio_api/upload", "POST", f"Content-Type: {FORM}\r\nContent-Length: 900000\r\n")
    host, port = house.url.removeprefix("http://").split(":")
    wires = [socket.create_connection((host, int(port)), timeout=20) for _ in range(5)]
    for wire in wires:
        wire.sendall(request + HEAD + bytes(400_000))
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
    assert house.upload(film, headers={"X-Forwarded-For": "9.9.9.9"}).status_code == 200

"""The other process keeps its limits, nothing it says is believed but the form, and nothing of it is left behind."""

import subprocess
import sys
import time
from dataclasses import replace

import pytest

from tests.app.made import movie
from tests.app.receiving import LIMITS, LOSSLESS, is_one_sentence, leaving_nothing, receive_any, refused
from vid2vid_hub.app import child
from vid2vid_hub.app.receive import receive_video
from vid2vid_hub.errors import VideoError

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="limits are POSIX's")


@pytest.fixture
def nothing_left():
    with leaving_nothing():
        yield


@pytest.mark.parametrize("way", ["leave", "raise", "close"])
def test_leaving_amid_ends_the_process_at_once(way, tmp_path, nothing_left):
    path = tmp_path / "a.mkv"
    path.write_bytes(movie(**LOSSLESS, size=(480, 640), length=100))

    def job():
        with receive_video(path, LIMITS) as video:
            yield next(video.frames)
            if way == "raise":
                raise ZeroDivisionError
            if way == "leave":
                yield video
            yield from video.frames

    work = job()
    assert next(work).shape == (480, 640, 3)
    start = time.monotonic()
    if way == "raise":
        with pytest.raises(ZeroDivisionError):
            next(work)
    if way == "leave":
        video = next(work)
    work.close()
    assert time.monotonic() - start < 1
    if way == "leave":
        with pytest.raises(VideoError, match="the video is closed"):
            next(video.frames)


def test_a_slow_listener_is_not_punished(tmp_path):
    path = tmp_path / "a.mkv"
    path.write_bytes(movie(**LOSSLESS, size=(480, 640), length=8))
    with receive_video(path, replace(LIMITS, decode_seconds=1)) as video:
        next(video.frames)
        time.sleep(2.5)
        assert sum(1 for _ in video.frames) == 7


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"upload": 1000}, "MB, where at most 0.001 MB are taken"),
        ({"seconds": 0.5}, "lasts 0.8 seconds or more, where at most 0.5 are taken"),
        ({"frames": 7}, "has 20 frames or more, where at most 7 are taken"),
        ({"pixels": 1000}, "is 64x48, where at most 0.0 million"),
    ],
)
def test_each_limit_says_what_was_found_and_what_is_allowed(change, expected, tmp_path):
    path = tmp_path / "a.mp4"
    path.write_bytes(movie())
    assert expected in refused(path, replace(LIMITS, **change))


@pytest.mark.parametrize(("change", "most"), [({"seconds": 0.4}, 10), ({"frames": 7}, 7)])
def test_what_declares_nothing_is_counted(change, most, tmp_path):
    path = tmp_path / "a.mkv"
    path.write_bytes(movie(**LOSSLESS, muxing=(("live", "1"),)))
    with receive_video(path, replace(LIMITS, **change)) as video:
        assert video.total is None
        for _ in range(most):
            next(video.frames)
        with pytest.raises(VideoError, match="or more, where at most"):
            next(video.frames)


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """A good video, for programs that stand in for the child and have no look at it."""
    path = tmp_path_factory.mktemp("small") / "a.mp4"
    path.write_bytes(movie())
    return path


HEAD = b'{"fps": [25, 1], "size": [2, 2], "channels": 3, "total": null}'


def message(kind, content, length=None):
    """As a child that was taken over would write it."""
    return child.HEAD.pack(kind, len(content) if length is None else length) + content


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (b"", r"ended the process that read it \(exit code 3\)"),
        (b"nonsense" * 9, "confused"),
        (message(b"H", b"{" * 9), "confused"),
        (message(b"H", b"[" * 10_000), "confused"),
        (message(b"H", b"[]"), "confused"),
        (message(b"H", b"", 2**60), "confused"),
        (message(b"H", HEAD.replace(b"[2, 2]", b"[-2, -2]")), "confused"),
        (message(b"H", HEAD.replace(b"[2, 2]", b"[1000000, 1000000]")), "confused"),
        (message(b"H", HEAD.replace(b"[25, 1]", b"[25, 0]")), "confused"),
        (message(b"H", HEAD.replace(b"[25, 1]", b"[true, 1]")), "confused"),
        (message(b"H", HEAD.replace(b"null", b"1e9")), "confused"),
        (message(b"H", HEAD.replace(b": 3", b": 4")), "confused"),
        (message(b"H", HEAD), "exit code 3"),
        (message(b"H", HEAD) + message(b"F", b"x" * 11), "confused"),
        (message(b"H", HEAD) + message(b"F", b"", 2**63), "confused"),
        (message(b"H", HEAD) + message(b"F", b"x" * 11, 12), "exit code 3"),
        (message(b"H", HEAD) + message(b"E", b'{"done": true}'), "confused"),
        (message(b"H", HEAD) + message(b"F", b"x" * 12) * 9999, "confused"),
        (message(b"E", b'{"refused": 3}'), "confused"),
        (message(b"E", b'{"refused": "a\\n\\u001b[2J\\u202eb' + b"c" * 999 + b'"}'), r"^a\?\?\[2J\?bc{300,400}$"),
    ],
)
def test_nothing_is_believed_but_the_form(written, expected, small, tmp_path, monkeypatch, nothing_left):
    (tmp_path / "said").write_bytes(written)
    program = tmp_path / "program.py"
    program.write_text(
        f"import sys; sys.stdout.buffer.write(open({str(tmp_path / 'said')!r}, 'rb').read()); sys.exit(3)"
    )
    monkeypatch.setattr(child, "__file__", str(program))
    with pytest.raises(VideoError, match=expected) as caught:
        receive_any("video", small)
    assert is_one_sentence(str(caught.value), small)


def possessed(tmp_path, monkeypatch, does):
    """The real child, which does something else with a video once its doors are closed."""
    program = tmp_path / "program.py"
    program.write_text(
        "import importlib.util, os, socket, sys, time\nimport numpy as np\n"
        f"spec = importlib.util.spec_from_file_location('child', {child.__file__!r})\n"
        "child = importlib.util.module_from_spec(spec)\nspec.loader.exec_module(child)\n"
        f"def send(path, granted, answer, orders):\n    child.close_doors(granted)\n    {does}\n"
        "child.send_video = send\nchild.main()\n"
    )
    monkeypatch.setattr(child, "__file__", str(program))


@pytest.mark.parametrize(
    ("does", "expected"),
    [
        ("while True: pass", "takes more than the 1 seconds that are granted"),
        ("time.sleep(99)", "takes more than the 1 seconds that are granted"),
        ("held = [bytearray(10**8) for _ in range(99)]", "takes more than the 1500 MB of memory that are granted"),
        ("np.ones(10**10)", "takes more than the 1500 MB of memory that are granted"),
        ("os.kill(os.getpid(), 11)", "ended the process that read it (exit code -11), as damaged files do"),
        ("os.kill(os.getpid(), 9)", "takes more memory than there is"),
        ("open(sys.argv[0] + 'x', 'w').write('x' * 9999)", "File too large"),
        ("[os.open('/dev/null', 0) for _ in range(99)]", "Too many open files"),
        ("raise ValueError(os.environ['HF_TOKEN'])", "KeyError"),
        ("raise ValueError(f'{path}, or {str(path)!r}')", "the video, or the video"),
        ("print('boo'); raise ValueError('x')", "ValueError: x"),
    ],
)
def test_what_a_child_may_not_do(does, expected, small, tmp_path, monkeypatch, nothing_left):
    monkeypatch.setenv("HF_TOKEN", "hf_" + "a" * 34)
    possessed(tmp_path, monkeypatch, does)
    start = time.monotonic()
    said = refused(small, replace(LIMITS, decode_seconds=1) if "1 seconds" in expected else LIMITS)
    assert expected in said
    assert is_one_sentence(said, small)
    assert time.monotonic() - start < 10


@pytest.mark.skipif(sys.platform != "linux", reason="the network is taken away by Linux")
def test_the_child_has_no_network(small, tmp_path, monkeypatch):
    held = subprocess.run(["unshare", "--net", "true"], capture_output=True, check=False)
    if held.returncode and subprocess.run(["unshare", "-Un", "true"], capture_output=True, check=False).returncode:
        pytest.skip("this machine lets no process leave its network")
    possessed(tmp_path, monkeypatch, "socket.create_connection(('127.0.0.1', 9), 2)")
    assert "unreachable" in refused(small)


def test_a_video_that_takes_more_memory_than_granted(tmp_path):
    path = tmp_path / "a.mkv"
    path.write_bytes(movie(**LOSSLESS, size=(2048, 4096), length=2, black=True))
    assert "takes more than the 40 MB of memory that are granted" in refused(path, replace(LIMITS, memory=40_000_000))


def test_no_process_to_be_had(small, monkeypatch, nothing_left):
    monkeypatch.setattr(sys, "executable", "/nowhere")
    assert refused(small) == "no process can be started now that would read the video; try again later"

"""Whatever is uploaded comes in as plain frames or goes out as one sentence, and this process opens nothing of it."""

import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import psutil
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from tests.app.made import VP9, movie, npz, picture, saved
from tests.app.receiving import LIMITS, LOSSLESS, TASK, is_one_sentence, leaving_nothing, receive_any, refused
from tests.app.uploads import CONCAT, M3U8, UPLOADS, write_all
from vid2vid_hub.app import child, receive
from vid2vid_hub.app.receive import receive_condition, receive_picture, receive_video
from vid2vid_hub.data.toy import ToyShapes
from vid2vid_hub.data.video import open_video
from vid2vid_hub.errors import ConditionError, VideoError
from vid2vid_hub.tasks import get_task

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="limits are POSIX's")


@pytest.fixture
def nothing_left():
    with leaving_nothing():
        yield


FILES = [upload for upload in UPLOADS if upload.kind != "condition"]
POINTS = [upload for upload in UPLOADS if upload.kind == "condition"]
QUICK = ("pickled points", "points that claim 16 TB")


@pytest.fixture(scope="module")
def paths(tmp_path_factory):
    return write_all(tmp_path_factory.mktemp("uploads"))


@pytest.fixture(scope="module")
def tried(paths):
    """Every upload, several at a time: sentence or None, and seconds; how much this process grew, what was left."""
    me = psutil.Process()
    children, descriptors, memory = me.children(recursive=True), me.num_fds(), me.memory_info().rss

    def attempt(upload):
        start, said = time.monotonic(), None
        try:
            receive_any(upload.kind, paths[upload.name])
        except VideoError as error:
            said = str(error)
        return said, time.monotonic() - start

    with ThreadPoolExecutor(3) as threads:
        results = list(threads.map(attempt, FILES))
    grown = me.memory_info().rss - memory
    left = [one for one in me.children(recursive=True) if one not in children], me.num_fds() - descriptors
    return dict(zip((upload.name for upload in FILES), results, strict=True)), grown, left


@pytest.mark.parametrize("upload", FILES, ids=lambda upload: upload.name)
def test_every_upload_is_taken_or_one_sentence(upload, paths, tried):
    said, seconds = tried[0][upload.name]
    print(f"{upload.name}: {said or 'accepted'}")
    if upload.says is None:
        assert said is None
    else:
        assert said is not None
        assert upload.says in said
        assert is_one_sentence(said, paths[upload.name])
    assert seconds < 20


@pytest.mark.parametrize(
    "upload",
    [pytest.param(one, id=one.name, marks=() if one.name in QUICK else pytest.mark.slow) for one in POINTS],
)
def test_every_file_of_points_is_one_sentence(upload, paths, nothing_left):
    said = refused(paths[upload.name], kind="condition")
    print(f"{upload.name}: {said}")
    assert upload.says in said
    assert is_one_sentence(said, paths[upload.name])


def test_bad_uploads_leave_nothing_and_do_not_make_the_app_grow(tried):
    _, grown, left = tried
    assert left == ([], 0)
    assert grown < 100e6


@pytest.mark.parametrize("script", [CONCAT, M3U8], ids=["concat", "m3u8"])
@pytest.mark.parametrize("beside", ["ok.mp4", "canary.txt"])
def test_a_script_opens_nothing_beside_it(script, beside, tmp_path):
    """Whoever opened the pipe would wait for ever, and be stopped for that."""
    os.mkfifo(tmp_path / beside)
    (tmp_path / "a.mp4").write_text(script)
    assert "is not a readable" in refused(tmp_path / "a.mp4", replace(LIMITS, decode_seconds=2))


@pytest.mark.parametrize(
    ("file", "how"),
    [
        ("a.mp4", {}),
        ("a.mp4", {"rotate": 90}),
        ("a.mp4", {"rate": Fraction(30000, 1001), "size": (50, 98), "length": 7}),
        ("a.webm", {"form": "webm", "codec": "libvpx-vp9", "options": VP9}),
        ("labels.mkv", LOSSLESS | {"pixels": "gray"}),
        ("a.mkv", LOSSLESS | {"muxing": (("live", "1"),)}),
        ("a.gif", {"form": "gif", "codec": "gif", "pixels": "rgb8"}),
        ("a.avi", {"form": "avi", "codec": "mpeg4"}),
        ("a.ts", {"form": "mpegts"}),
    ],
)
def test_frames_are_those_of_the_reader(file, how, tmp_path, nothing_left):
    path = tmp_path / file
    path.write_bytes(movie(**how))
    with open_video(path) as reader, receive_video(path, LIMITS) as video:
        assert (video.fps, video.size, video.channels) == (reader.fps, reader.size, reader.channels)
        assert video.total in (None, len(reader))
        pairs = list(zip(reader.frames(), video.frames, strict=True))
    assert len(pairs) == how.get("length", 20)
    assert all(np.array_equal(one, two) and two.shape == (*video.size, video.channels) for one, two in pairs)


def test_a_palette_picture_is_a_label_map_of_one_frame(tmp_path):
    labels = np.arange(48 * 64, dtype=np.uint8).reshape(48, 64) % 7
    image = Image.fromarray(labels).convert("P")
    image.putpalette([9, 8, 7] * 256)
    image.putdata(labels.reshape(-1).tolist())
    image.save(tmp_path / "a.png")
    with receive_video(tmp_path / "a.png", LIMITS) as video:
        assert (video.total, video.channels, video.size) == (1, 1, (48, 64))
        assert np.array_equal(next(video.frames)[..., 0], labels)
        assert next(video.frames, None) is None


@pytest.mark.parametrize("form", ["PNG", "WEBP"])
def test_a_picture_is_upright_and_in_colour(form, tmp_path):
    path, seen = tmp_path / "a", picture((48, 64))
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned to the right
    Image.fromarray(seen).save(path, form, exif=exif, lossless=True)
    assert np.array_equal(receive_picture(path, LIMITS), np.rot90(seen, -1))


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "LA", "1", "CMYK"])
def test_any_mode_becomes_rgb(mode, tmp_path):
    saved("PNG" if mode != "CMYK" else "JPEG", mode)(tmp_path / "a")
    assert receive_picture(tmp_path / "a", LIMITS).shape == (48, 64, 3)


def test_what_is_transparent_becomes_white(tmp_path):
    hidden = np.zeros((4, 4, 4), np.uint8)
    hidden[:, 2:] = (9, 8, 7, 255)
    Image.fromarray(hidden).save(tmp_path / "a.png")
    found = receive_picture(tmp_path / "a.png", LIMITS)
    assert (found[:, :2] == 255).all()
    assert (found[:, 2:] == (9, 8, 7)).all()


@pytest.mark.parametrize("size", [pytest.param(None, marks=pytest.mark.slow), (24, 40)])
def test_conditions_are_those_of_the_task(size, tmp_path, monkeypatch, nothing_left):
    random = np.random.default_rng(0)
    edges = random.integers(0, 2, (11, 32, 48), np.uint8) * 255
    path = tmp_path / "a.npz"
    npz(points=random.random((11, 68, 3)) * 30, size=np.array([32, 48]), edges=edges)(path)
    task = get_task(TASK)
    assert receive.reads(task, path)
    expected = list(task.read(path, size))
    monkeypatch.setattr(np, "load", None)  # not needed here
    found = list(receive_condition(path, TASK, task.config(), LIMITS, size))
    assert [len(one) for one in found] == [8, 3]
    for one, two in zip(expected, found, strict=True):
        assert two.instances is None
        assert torch.equal(one.maps, two.maps)
        assert torch.equal(one.points, two.points)


def test_which_uploads_a_task_reads_is_told_by_the_name():
    assert not receive.reads(ToyShapes(), Path("a.npz"))
    assert receive.reads(get_task(TASK), Path("a.NPZ"))
    assert not receive.reads(get_task(TASK), Path("a.MP4"))
    assert not receive.reads(get_task(TASK), Path("a"))


def test_a_task_that_is_not_there(tmp_path):
    (tmp_path / "a.npz").write_text("x")
    with pytest.raises(ConditionError, match="no installed package provides the task 'none'"):
        list(receive_condition(tmp_path / "a.npz", "none", {}, LIMITS))


def test_this_process_opens_nothing(tmp_path, monkeypatch):
    path = tmp_path / "a.mp4"
    path.write_bytes(movie())
    for home, name in ((av, "open"), (Image, "open"), (np, "load"), (np, "fromfile"), (Path, "open")):
        monkeypatch.setattr(home, name, None)
    assert receive_any("video", path) == 20


def test_the_child_starts_without_torch():
    code = f"import runpy, sys; runpy.run_path({child.__file__!r}); print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout.strip() == b"False"


SEEDS = [{"muxing": (("movflags", "faststart"),)}, LOSSLESS, {"form": "webm", "codec": "libvpx-vp9", "options": VP9}]
CHANGES = st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.binary(min_size=1, max_size=40)), max_size=6)


def survives(seed, changes, path):
    """Whether a damaged video is frames, or one sentence."""
    whole = bytearray(movie(**seed))
    for place, fill in changes:
        at = int(place**2 * len(whole))  # headers more often than pictures
        whole[at : at + len(fill)] = fill
    path.write_bytes(whole)
    try:
        return receive_any("video", path) >= 1
    except VideoError as error:
        return is_one_sentence(str(error), path)


@settings(max_examples=15)
@given(seed=st.sampled_from(SEEDS), changes=CHANGES)
def test_a_damaged_video_is_frames_or_a_sentence(seed, changes, tmp_path_factory):
    assert survives(seed, changes, tmp_path_factory.getbasetemp() / "damaged.mp4")


@pytest.mark.slow
@settings(max_examples=400)
@given(seed=st.sampled_from(SEEDS), changes=CHANGES)
def test_many_damaged_videos_are_frames_or_a_sentence(seed, changes, tmp_path_factory):
    assert survives(seed, changes, tmp_path_factory.getbasetemp() / "damaged.mp4")

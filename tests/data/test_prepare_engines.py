"""A dataset is the same whoever makes it, however often they are stopped, and what is finished is not done again."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest

from tests.data.shots_world import save, shot
from vid2vid_hub.data import engines, ledger, work
from vid2vid_hub.data import prepare as module
from vid2vid_hub.data.clips import read_clips
from vid2vid_hub.data.encode import VideoWriter
from vid2vid_hub.data.prepare import Material, prepare
from vid2vid_hub.data.shots import Piece, Unit
from vid2vid_hub.data.toy import ToyShapes, ToyWorld
from vid2vid_hub.errors import DatasetError, TaskError
from vid2vid_hub.nn.frozen import flow_teacher

TASK = ToyShapes()
MOST = 8


def files(folder):
    """Every file of a dataset with its bytes."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    """Two good videos, and between them one whose labels have a value that nothing means, late."""
    root = tmp_path_factory.mktemp("videos")
    made = []
    for name, seed in (("a", 0), ("b", 2), ("c", 4)):
        frames, labels, _ = shot(seed, 30)
        labels[27 if name == "b" else 0, 0, 5, 5] = 77 if name == "b" else 0
        made.append(Material(save(root / name, frames), save(root / f"{name} labels", labels)))
    return made


@pytest.fixture(scope="module")
def alone(videos, tmp_path_factory):
    """What one process makes of them."""
    output = tmp_path_factory.mktemp("alone") / "data"
    return prepare(videos, output, TASK, teacher=flow_teacher(), max_frames=MOST)


def test_two_processes_write_the_same_bytes(videos, alone, tmp_path):
    seen = []
    report = lambda *what: seen.append(what)  # noqa: E731
    both = prepare(videos, tmp_path / "data", TASK, teacher=flow_teacher(), max_frames=MOST, workers=2, report=report)
    assert files(both.folder) == files(alone.folder)
    assert [str(f.error) for f in both.failed] == [str(f.error) for f in alone.failed]
    assert "labels, frame 27: " in str(both.failed[0].error)
    assert {frames for name, frames in seen if name.startswith("a")} == {7, 8}
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


# Workers that are lost


def order(start=0):
    return Unit(0, "a", (Piece("train", start, start + 8),))


def test_an_order_is_given_up_when_it_has_lost_enough_workers(videos, tmp_path):
    job = work.Job(TASK, tuple(videos), tmp_path)
    left = [order(), None]
    queue = engines._Queue(job, lambda: left.pop(0))
    for _ in range(engines.TRIES - 1):
        assert queue.next() == order()
        assert queue.lost(order(), "exit code -9") is None
    assert queue.next() == order()
    outcome = queue.lost(order(), "exit code -9")
    assert isinstance(outcome.error(), DatasetError)
    assert f"{engines.TRIES} workers were lost at frames 0 to 7 (exit code -9)" in str(outcome.error())
    assert queue.next() is None


@pytest.fixture(scope="module")
def long_videos(tmp_path_factory):
    """Videos that keep two workers busy for a while: 6 units of 40 frames."""
    root = tmp_path_factory.mktemp("long")
    for seed in range(2):
        with VideoWriter(root / f"v{seed}.mp4", 25) as writer:
            for frame in ToyWorld(seed, 96, 128).stream(120):
                writer.write(frame.image.permute(1, 2, 0).contiguous().numpy())
    return root


def start(videos, output, *more):
    """The command line in a process of its own."""
    command = ["prepare", *sorted(map(str, videos.glob("*.mp4"))), "--task", "toy", "--max-frames", "40"]
    return subprocess.Popen(
        [sys.executable, "-m", "vid2vid_hub", *command, "--output", str(output), *more],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=Path(__file__).parents[2],
        env={**os.environ, "RAY_USAGE_STATS_ENABLED": "0"},
    )


def finished(output):
    units = output.parent / f".{output.name}.part" / "units"
    return sorted(path for path in units.glob("*") if not path.name.startswith(".")) if units.is_dir() else []


def wait_for(condition, seconds=500):
    stop = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < stop, "it took too long"
        time.sleep(0.02)
    return found


@pytest.fixture(scope="module")
def uninterrupted(long_videos, tmp_path_factory):
    output = tmp_path_factory.mktemp("whole") / "data"
    materials = [Material(path) for path in sorted(long_videos.glob("*.mp4"))]
    return prepare(materials, output, TASK, teacher=flow_teacher(), max_frames=40)


@pytest.mark.slow
@pytest.mark.parametrize("more", [(), ("--workers", "2")])
def test_a_killed_run_is_gone_on_with(long_videos, uninterrupted, tmp_path, more):
    output = tmp_path / "data"
    process = start(long_videos, output, *more)
    before = wait_for(lambda: finished(output))
    process.kill()
    process.communicate()
    wait_for(lambda: not [c for c in psutil.Process().children(recursive=True) if c.is_running()])
    assert not output.exists()
    videos = {unit.name: next(unit.glob("*.mp4")).stat().st_ino for unit in finished(output)}
    assert len(before) <= len(videos) < 6, "it was killed on the way"
    refused = start(long_videos, output, "--size", "64x48")
    assert "was begun with another size (null then, [48, 64] now)" in " ".join(refused.communicate()[0].split())
    assert refused.returncode == 2
    again = start(long_videos, output)
    said = again.communicate()[0]
    assert again.returncode == 0, said
    assert files(output) == files(uninterrupted.folder)
    kept = {path.stat().st_ino for path in output.glob("train/*.mp4")}
    assert set(videos.values()) <= kept, "what was finished was not made again"
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


@pytest.mark.slow
def test_the_units_of_a_killed_worker_are_done_by_another(long_videos, uninterrupted, tmp_path):
    output = tmp_path / "data"
    process = start(long_videos, output, "--workers", "2")
    wait_for(lambda: finished(output))
    workers = [c for c in psutil.Process(process.pid).children() if "spawn_main" in " ".join(c.cmdline())]
    assert len(workers) == 2
    workers[0].kill()
    said = process.communicate()[0]
    assert process.returncode == 0, said
    assert files(output) == files(uninterrupted.folder)


@pytest.mark.slow
def test_ray_does_the_same_and_loses_nothing_with_a_worker(long_videos, uninterrupted, tmp_path):
    pytest.importorskip("ray")
    output = tmp_path / "data"
    process = start(long_videos, output, "--engine", "ray", "--workers", "2")
    wait_for(lambda: finished(output))
    victims = wait_for(lambda: _busy(process.pid))
    victims[0].send_signal(signal.SIGKILL)
    said = process.communicate(timeout=400)[0]
    assert process.returncode == 0, said
    assert files(output) == files(uninterrupted.folder)
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


def _busy(pid):
    """Ray's workers that carry out an order of ours right now."""
    found = []
    for child in psutil.Process(pid).children(recursive=True):
        try:
            if child.name().startswith("ray::") and "_answer" in " ".join(child.cmdline()):
                found.append(child)
        except psutil.Error:
            continue
    return found


# One at a time


def test_two_runs_do_not_write_the_same_dataset(videos, tmp_path):
    output = tmp_path / "data"
    with ledger.open_ledger(output, {}, [], False):
        with pytest.raises(DatasetError, match=r"another run is preparing .*data now"):
            prepare(videos, output, TASK)
        with pytest.raises(DatasetError, match="another run is preparing"):
            prepare(videos, output, TASK, restart=True)
    assert not list(tmp_path.iterdir())


def stop_after(units):
    """A report that interrupts the run, as a person does, when so many frames are reported."""

    def report(name, frames):
        nonlocal units
        units -= 1
        if units < 0:
            raise KeyboardInterrupt

    return report


@pytest.fixture
def stopped(videos, tmp_path):
    """An output whose making was interrupted."""
    output = tmp_path / "data"
    with pytest.raises(KeyboardInterrupt):
        prepare(videos[:1], output, TASK, teacher=flow_teacher(), max_frames=MOST, report=stop_after(2))
    assert len(finished(output)) == 2
    return output


def test_an_interrupted_run_is_gone_on_with(videos, alone, stopped):
    made = {path.stat().st_ino for unit in finished(stopped) for path in unit.glob("*.mp4")}
    reported = []
    report = lambda name, frames: reported.append(name)  # noqa: E731
    prepare(videos[:1], stopped, TASK, teacher=flow_teacher(), max_frames=MOST, report=report)
    assert reported == ["a-00015", "a-00022"]
    assert made < {path.stat().st_ino for path in stopped.glob("train/*.mp4")}
    ours, theirs = files(stopped), files(alone.folder)
    assert {n: b for n, b in ours.items() if "/a-" in n} == {n: b for n, b in theirs.items() if "/a-" in n}


def test_other_arguments_and_changed_inputs_are_refused(videos, stopped, tmp_path):
    same = {"teacher": flow_teacher(), "max_frames": MOST}
    with pytest.raises(DatasetError, match=r"begun with another most number of frames \(8 then, 9 now\); .*--restart"):
        prepare(videos[:1], stopped, TASK, teacher=flow_teacher(), max_frames=9)
    with pytest.raises(DatasetError, match="begun with another flow teacher"):
        prepare(videos[:1], stopped, TASK, max_frames=MOST)
    with pytest.raises(DatasetError, match="begun with another set of inputs"):
        prepare(videos[::2], stopped, TASK, **same)
    picture = videos[0].condition / "007.png"
    status = picture.stat()
    os.utime(picture, ns=(status.st_atime_ns, status.st_mtime_ns + 1))
    with pytest.raises(DatasetError, match=r"a labels has changed since .*data was begun; begin anew with --restart"):
        prepare(videos[:1], stopped, TASK, **same)
    assert len(finished(stopped)) == 2
    prepared = prepare(videos[:1], stopped, TASK, restart=True)
    assert [clip.length for clip in read_clips(prepared.folder, "train")] == [30]


def test_a_full_disk_keeps_what_is_finished(videos, tmp_path, monkeypatch):
    whole, count = work.write_json, 0

    def full(path, values):
        nonlocal count
        count += 1
        if count > 3:
            raise OSError(28, "No space left on device")
        whole(path, values)

    monkeypatch.setattr(work, "write_json", full)
    with pytest.raises(DatasetError, match=r"written to .*data: .*No space left on device; what is finished is kept"):
        prepare(videos[:1], tmp_path / "data", TASK, max_frames=MOST)
    assert len(finished(tmp_path / "data")) == 2
    monkeypatch.setattr(work, "write_json", whole)
    assert prepare(videos[:1], tmp_path / "data", TASK, max_frames=MOST).frames == 30


def test_a_run_killed_while_it_moved_files_is_gone_on_with(videos, alone, stopped, monkeypatch):
    def die(*_):
        raise KeyboardInterrupt

    same = {"teacher": flow_teacher(), "max_frames": MOST}
    with monkeypatch.context() as patch:
        patch.setattr(module, "finish", die)
        with pytest.raises(KeyboardInterrupt):
            prepare(videos[:1], stopped, TASK, **same)
    prepared = prepare(videos[:1], stopped, TASK, **same)
    assert {name for name in files(prepared.folder) if "/a-" in name} == {
        name for name in files(alone.folder) if "/a-" in name
    }


def test_what_stops_everything_is_a_plain_value_between_processes(videos, tmp_path):
    class Blind(ToyShapes):
        def extract(self, frames):
            raise TaskError("the model is not here")

    (tmp_path / "units").mkdir()
    (tmp_path / "looks").mkdir()
    job = work.Job(Blind(), (Material(videos[0].video),), tmp_path)
    assert engines._answer(job, work.Look(0)).record["length"] == 30
    answer = engines._answer(job, order())
    assert (type(answer), str(answer)) == (TaskError, "the model is not here")
    with pytest.raises(TaskError, match="not here"):
        engines._received(answer)
    assert [*(tmp_path / "units").iterdir()] == []


def test_there_is_no_other_engine(videos, tmp_path):
    with pytest.raises(DatasetError, match="no engine 'spark'; there are local and ray"):
        prepare(videos, tmp_path / "data", TASK, engine="spark")


@pytest.mark.parametrize("size", [(50, 100), (64, 96), (250, 450)])
def test_the_same_frames_make_the_same_bytes(tmp_path, size):
    """Plain x264 makes two or three files of these, of a dozen."""
    random = np.random.default_rng(1)
    pictures = random.integers(0, 255, (2, size[0] // 4 + 1, size[1] // 4 + 1, 3), np.uint8).repeat(4, 1).repeat(4, 2)
    made = set()
    for _ in range(6):
        with VideoWriter(tmp_path / "v.mp4", 25, crf=10, gop=12, repeatable=True) as writer:
            for t in range(16):
                writer.write(np.roll(pictures[t // 8, : size[0], : size[1]], t, 1))
        made.add((tmp_path / "v.mp4").read_bytes())
    assert len(made) == 1

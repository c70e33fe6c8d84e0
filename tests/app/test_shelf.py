"""Uploads and results lie under names that nobody guesses, and nothing lies for longer, or is more, than was said."""

import os
import re
import stat
import threading
import time

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vid2vid_hub.app.blocks import Blocks
from vid2vid_hub.app.shelf import Shelf
from vid2vid_hub.types import Condition

KEEP = 100.0


@pytest.fixture
def shelf(tmp_path):
    with Shelf(KEEP, tmp_path / "shelf", every=1000) as shelf:
        yield shelf


def aged(path, age, content=b"x"):
    """A file that was changed so many seconds ago, and its folder then too."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    for one in (path, path.parent):
        os.utime(one, (time.time() - age,) * 2)
    return path


def test_names_are_long_random_and_never_twice(shelf):
    names = {shelf.result("toy").name for _ in range(500)} | {shelf.job().name for _ in range(500)}
    assert len(names) == 1000
    assert all(re.fullmatch(r"toy-[\w-]{24}\.mp4|[\w-]{32}", name) for name in names)


def test_results_are_served_and_jobs_are_not(shelf):
    assert shelf.result("toy").parent == shelf.results
    assert shelf.results.is_relative_to(shelf.served)
    assert not shelf.job().is_relative_to(shelf.served)


def test_nobody_else_on_the_machine_may_look_into_an_own_shelf():
    with Shelf(KEEP) as shelf:
        assert not stat.S_IMODE(shelf.folder.stat().st_mode) & 0o077


def test_what_is_old_goes_with_its_folder_and_what_is_new_stays(shelf):
    old = aged(shelf.served / "a" / "old.mp4", KEEP + 10)
    new = aged(shelf.served / "b" / "new.mp4", KEEP - 10)
    assert shelf.clear() == 1
    assert not old.parent.exists()
    assert new.exists()
    assert shelf.clear(time.time() + 50) == 1
    assert not new.exists()
    assert shelf.results.is_dir()
    assert shelf.jobs.is_dir()


def test_a_job_that_is_worked_on_survives_its_old_folder(shelf):
    folder = shelf.job()
    aged(folder / "000000.npz", KEEP + 10)
    (folder / "000001.npz").write_bytes(b"new")
    os.utime(folder, (0, 0))
    assert shelf.clear() == 1
    assert [path.name for path in folder.iterdir()] == ["000001.npz"]


def test_an_empty_job_of_now_survives(shelf):
    folder = shelf.job()
    shelf.clear()
    assert folder.is_dir()


def test_links_go_and_what_they_lead_to_stays(shelf, tmp_path):
    outside = aged(tmp_path / "outside" / "kept.txt", 10 * KEEP)
    link, folder = shelf.served / "file", shelf.served / "folder"
    link.symlink_to(outside)
    folder.symlink_to(outside.parent)
    assert shelf.clear(time.time() + 2 * KEEP) == 2
    assert outside.exists()
    assert not link.is_symlink()
    assert not folder.is_symlink()


def test_nothing_else_in_a_folder_that_was_given_goes(tmp_path):
    mine = aged(tmp_path / "holiday.mp4", 10 * KEEP)
    with Shelf(KEEP, tmp_path, every=1000) as shelf:
        shelf.clear()
    assert mine.exists()
    assert shelf.folder.is_dir()


@given(sizes=st.lists(st.integers(1, 50), max_size=12), most=st.integers(0, 300))
def test_too_much_goes_oldest_first(tmp_path_factory, sizes, most):
    with Shelf(KEEP, tmp_path_factory.mktemp("shelf"), every=1000, most=most) as shelf:
        for number, size in enumerate(sizes):
            aged(shelf.served / str(number) / "a.mp4", 50 - number, bytes(size))
        shelf.clear()
        left = sorted(int(path.parent.name) for path in shelf.served.rglob("*.mp4"))
    wanted = next(start for start in range(len(sizes) + 1) if sum(sizes[start:]) <= most)
    assert left == list(range(wanted, len(sizes)))


def test_it_clears_by_itself_and_ends_with_its_thread(tmp_path):
    shelf = Shelf(0.05, tmp_path / "shelf", every=0.05)
    aged(shelf.served / "a.mp4", 1)
    deadline = time.monotonic() + 10
    while (shelf.served / "a.mp4").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not (shelf.served / "a.mp4").exists()
    shelf.close()
    assert not [thread for thread in threading.enumerate() if thread is shelf._thread]


def test_an_own_shelf_leaves_nothing():
    with Shelf(KEEP) as shelf:
        aged(shelf.served / "a" / "a.mp4", 0)
        shelf.job()
    assert not shelf.folder.exists()


def test_files_that_vanish_meanwhile_disturb_nothing(shelf):
    def fill():
        for number in range(300):
            aged(shelf.served / str(number) / "a", KEEP + 10)

    thread = threading.Thread(target=fill)
    thread.start()
    cleared = [shelf.clear() for _ in range(20)]
    thread.join()
    assert sum(cleared) + shelf.clear() == 300


def test_blocks_give_back_what_they_were_given_and_take_no_pickles(shelf):
    blocks = Blocks(shelf.job())
    given = [Condition(torch.randint(0, 9, (2, 1, 4, 5)).to(torch.uint8)) for _ in range(3)]
    for number, condition in enumerate(given):
        blocks.write(number, condition)
    assert [torch.equal(a.maps, b.maps) for a, b in zip(given, blocks, strict=True)] == [True] * 3
    shelf.clear(time.time() + 2 * KEEP)
    with pytest.raises(FileNotFoundError):
        blocks.read(0)

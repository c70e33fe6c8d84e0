"""What tests of strangers share: the served page with a tiny model, and a list of what was tried and what was said."""

import re
import time
from pathlib import Path

import pytest

from tests.app.made import movie
from tests.app.serving import file_data, sentence_of, serving
from vid2vid_hub.app import tab

SENTENCE = re.compile(r"[A-Z0-9][^\n]{5,700}\.")
SECRETS = ("Traceback", 'File "', "/secret/path", "root:x:0", "site-packages")
ATTEMPTS: dict[str, str] = {}
"""What was tried, and the answer; ``pytest -s`` prints it at the end."""


@pytest.fixture(scope="module")
def house(toy_model):
    with serving(named=(str(toy_model),)) as served:
        yield served
    print()
    for attempt, answer in ATTEMPTS.items():
        print(f"{attempt}: {answer}")
    ATTEMPTS.clear()


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    path = tmp_path_factory.mktemp("film") / "a.mp4"
    path.write_bytes(movie())
    return path


@pytest.fixture(scope="module")
def model(toy_model):
    """What visitors call it: where it lies is nobody's business."""
    return toy_model.name


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

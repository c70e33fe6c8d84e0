"""What prepare and draw say to a person: sentences, progress aside, and an exit code that a script can go by."""

import re

import pytest

from tests.commands import Command, is_one_sentence, left_in
from tests.data.shots_world import film, save
from vid2vid_hub.data.clips import read_clips


@pytest.fixture(scope="module")
def movie(tmp_path_factory):
    """Three shots, the middle one short."""
    return save(tmp_path_factory.mktemp("movie") / "film", film(18, 9, 17)[0])


def prepare(command, movie, output, *more):
    return command("prepare", movie, *more, "--task", "toy", "--flow", "none", "--output", output)


def test_what_is_left_out_is_said_and_told_by_the_exit_code(command: Command, movie, tmp_path):
    output = tmp_path / "data"
    broken = tmp_path / "broken.mp4"
    broken.write_text("dear diary")
    said = prepare(command, movie, output, broken)
    assert said.code == 3
    first, *rest = said.out.splitlines()
    assert first == f"{output}: train 2 clips, 35 frames, val 0 clips, 0 frames"
    assert rest[:3] == [
        "left out: 9 frames",
        f"  {movie}, frames 18 to 26 (9): shorter than 16 frames",
        "failed: 1 video",
    ]
    assert re.fullmatch(r"  .*broken\.mp4 is not a readable .* \(text beginning 'dear diary' found\); give .*", rest[3])
    assert "film-00027" in said.err
    assert "left out" not in said.err
    assert [clip.name for clip in read_clips(output, "train")] == ["film-00000", "film-00027"]


def test_all_well_is_exit_code_0(command: Command, movie, tmp_path):
    said = prepare(command, movie, tmp_path / "data", "--min-frames", "1", "--max-frames", "9", "--val", "film:20:")
    assert said.code == 0
    assert said.out == f"{tmp_path / 'data'}: train 3 clips, 20 frames, val 3 clips, 24 frames\n"


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (("--min-frames", "99"), r"no frame could be kept: .*film, frames 0 to 43 \(44\): shorter than 99 frames"),
        (("--engine", "spark"), "there is no engine 'spark'; there are local and ray"),
        (("--min-frames", "9", "--max-frames", "8"), "a clip cannot have 9 to 8 frames"),
        (("--val", "film:0:99"), "has 44 frames; 0 to 99 cannot be held out"),
    ],
)
def test_nothing_written_is_one_sentence_and_exit_code_2(command: Command, movie, tmp_path, more, words):
    said = prepare(command, movie, tmp_path / "data", *more)
    assert is_one_sentence(said), said
    assert re.search(words, said.err)
    assert left_in(tmp_path) == []


def test_draw(command: Command, tmp_path):
    output = tmp_path / "data"
    said = command(
        "draw", "--task", "toy", "--output", output, "--clips", 2, "--frames", 3, "--size", "48x32", "--seed", 5
    )
    assert (said.code, said.out) == (0, f"{output}: train 1 clips, 3 frames, val 1 clips, 3 frames\n")
    (clip,) = read_clips(output, "train")
    assert (clip.size, clip.flow(0, 3).shape) == ((32, 48), (2, 2, 32, 48))
    again = command("draw", "--task", "toy", "--output", output)
    assert is_one_sentence(again), again
    assert "already exists" in again.err


def test_a_task_without_a_drawn_world_says_so(command: Command, tmp_path):
    said = command("draw", "--task", "toy", "--output", tmp_path / "data", "--size", "8x8")
    assert is_one_sentence(said), said
    assert "at least 16x16 pixels" in said.err
    assert left_in(tmp_path) == []

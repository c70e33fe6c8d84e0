"""Videos written from a pipeline: every frame is there, both sides are, and nothing half-written is left."""

from __future__ import annotations

import gc
import weakref
from fractions import Fraction

import numpy as np
import pytest
import torch
from PIL import Image

from vid2vid_hub.data.decode import AVReader
from vid2vid_hub.data.encode import VideoWriter
from vid2vid_hub.data.maps import write_maps
from vid2vid_hub.data.mark import marked
from vid2vid_hub.data.toy import ToyShapes, ToyWorld
from vid2vid_hub.data.video import open_video
from vid2vid_hub.errors import ConditionError, VideoError
from vid2vid_hub.nn.generator import Vid2VidGenerator
from vid2vid_hub.pipeline import Vid2VidPipeline
from vid2vid_hub.render import is_condition, render, rendering, shows_condition
from vid2vid_hub.types import Condition

LENGTH, HEIGHT, WIDTH = 10, 32, 48
FPS = Fraction(25)


@pytest.fixture(scope="module")
def pipeline():
    torch.manual_seed(0)
    settings = {"base_channels": 4, "downsamples": 1, "blocks": 2, "foreground": True}
    return Vid2VidPipeline(Vid2VidGenerator(ToyShapes().channels, **settings), ToyShapes())


@pytest.fixture(scope="module")
def video():
    return ToyWorld(0, HEIGHT, WIDTH).draw(LENGTH)


def read(path):
    with open_video(path) as reader:
        return np.stack(list(reader.frames())).astype(int)


def close(one, other):
    """Alike but for the encoder, which halves the resolution of colour."""
    return np.abs(one.mean((1, 2)) - other.mean((1, 2))).max() < 4 and np.abs(one - other).mean() < 12


def test_a_video_has_a_frame_for_every_condition(pipeline, video, tmp_path):
    counted = []
    done = render(pipeline, [video.condition], tmp_path / "out.mp4", fps=FPS, report=counted.append)
    assert (done.video, done.side_by_side, done.frames) == (tmp_path / "out.mp4", None, LENGTH)
    assert counted == list(range(1, LENGTH + 1))
    assert [path.name for path in tmp_path.iterdir()] == ["out.mp4"]
    written = read(done.video)
    assert written.shape == (LENGTH, HEIGHT, WIDTH, 3)
    assert close(written, pipeline_frames(pipeline, video))
    with open_video(done.video) as reader:
        assert reader.fps == FPS


def pipeline_frames(pipeline, video, **options):
    return np.stack(list(pipeline.stream(condition=video.condition, **options))).astype(int)


def test_side_by_side_shows_the_condition_on_the_left(pipeline, video, tmp_path):
    blocks = [video.condition[:3], video.condition[3:4], video.condition[4:]]
    done = render(pipeline, iter(blocks), tmp_path / "out.mp4", fps=FPS, side_by_side=True)
    assert done.side_by_side == tmp_path / "out-side-by-side.mp4"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out-side-by-side.mp4", "out.mp4"]
    both = read(done.side_by_side)
    assert both.shape == (LENGTH, HEIGHT, 2 * WIDTH, 3)
    preview = ToyShapes().preview(video.condition).permute(0, 2, 3, 1).numpy().astype(int)
    assert close(both[:, :, :WIDTH], preview)
    assert close(both[:, :, WIDTH:], pipeline_frames(pipeline, video))
    assert not close(both[:, :, :WIDTH], both[:, :, WIDTH:]), "or the sides could be exchanged"


def test_first_frames_are_written(pipeline, video, tmp_path):
    given = video.frames[:2]
    done = render(pipeline, [video.condition], tmp_path / "out.mp4", fps=FPS, first_frames=given)
    written = read(done.video)
    assert len(written) == LENGTH
    assert close(written[:2], given.permute(0, 2, 3, 1).numpy().astype(int))


def test_conditions_are_not_kept_unless_they_are_drawn(pipeline, video, tmp_path):
    """Without a side-by-side nothing may hold on to conditions that have been used."""
    seen, most = [], 0

    def blocks():
        nonlocal most
        for t in range(LENGTH):
            block = Condition(video.labels[t : t + 1].clone())
            seen.append(weakref.ref(block))
            yield block
            del block
            gc.collect()
            most = max(most, sum(ref() is not None for ref in seen))

    render(pipeline, blocks(), tmp_path / "out.mp4", fps=FPS)
    assert most <= 2


@pytest.mark.parametrize("side_by_side", [False, True])
def test_an_error_in_the_middle_leaves_nothing_half_written(pipeline, video, tmp_path, side_by_side):
    maps = video.labels.clone()
    maps[7] = 99
    (tmp_path / "out.mp4").write_bytes(b"the video of yesterday")
    with pytest.raises(ConditionError, match=r"^frame 7: "):
        render(pipeline, [Condition(maps)], tmp_path / "out.mp4", fps=FPS, side_by_side=side_by_side)
    assert [path.name for path in tmp_path.iterdir()] == ["out.mp4"]
    assert (tmp_path / "out.mp4").read_bytes() == b"the video of yesterday"


def test_a_name_that_is_no_video_is_refused_before_any_work(pipeline, video, tmp_path):
    def never():
        raise AssertionError("a condition was asked for")
        yield video.condition

    with pytest.raises(VideoError, match=r"out\.gif"):
        render(pipeline, never(), tmp_path / "out.gif", fps=FPS)
    assert not list(tmp_path.iterdir())


def test_what_is_a_condition_and_what_a_film(video, tmp_path):
    task = ToyShapes()
    write_maps(tmp_path / "labels.mkv", video.labels, FPS)
    with VideoWriter(tmp_path / "film.mp4", FPS) as film:
        for frame in video.frames:
            film.write(frame.permute(1, 2, 0).numpy())
    for name, pictures in (("labels", video.labels[:, 0]), ("frames", video.frames.permute(0, 2, 3, 1))):
        (tmp_path / name).mkdir()
        Image.fromarray(pictures[0].numpy()).save(tmp_path / name / "0.png")
    found = {name: is_condition(task, tmp_path / name) for name in ("labels.mkv", "film.mp4", "labels", "frames")}
    assert found == {"labels.mkv": True, "film.mp4": False, "labels": True, "frames": False}
    with pytest.raises(VideoError):
        is_condition(task, tmp_path / "missing.mp4")


def test_colours_are_a_condition_where_the_task_reads_them(video, tmp_path):
    class Painted(ToyShapes):
        def parse(self, pictures):
            return self.extract(pictures)

    Image.fromarray(video.frames[0].permute(1, 2, 0).numpy()).save(tmp_path / "0.png")
    assert is_condition(Painted(), tmp_path)


def test_pictures_that_a_task_cannot_read_are_real_frames(video):
    class Painted(ToyShapes):
        def parse(self, pictures):
            return self.extract(pictures)

    assert shows_condition(ToyShapes(), video.labels)
    assert not shows_condition(ToyShapes(), video.frames)
    assert shows_condition(Painted(), video.frames)
    values = torch.full_like(video.labels, 99)
    assert shows_condition(ToyShapes(), values), "grey is no real video: what is wrong with it is said elsewhere"


# Frame by frame.


def encoded(frames, folder):
    """What is read of frames that were written."""
    with VideoWriter(folder / "expected.mkv", FPS) as writer:
        for frame in frames:
            writer.write(np.ascontiguousarray(frame))
    return read(folder / "expected.mkv")


@pytest.mark.parametrize("mark", [False, True])
@pytest.mark.parametrize("skip", [0, 3])
def test_what_is_written_is_given_frame_by_frame(pipeline, video, tmp_path, mark, skip):
    files = tmp_path / "out.mkv", tmp_path / "pair.mkv"
    frames = list(rendering(pipeline, [video.condition], files[0], fps=FPS, beside=files[1], mark=mark, skip=skip))
    made = pipeline_frames(pipeline, video)[skip:].astype(np.uint8)
    shown = ToyShapes().preview(video.condition).permute(0, 2, 3, 1).numpy()[skip:]
    expected = [marked(frame) for frame in made] if mark else [*made]
    assert np.array_equal(frames, expected)
    pairs = [np.concatenate(pair, 1) for pair in zip(shown, expected, strict=True)]
    for path, content in zip(files, (expected, pairs), strict=True):
        assert np.abs(read(path) - encoded(content, tmp_path)).mean() < 3
        assert AVReader(path).metadata["comment"] == "synthetic video, generated by toy with vid2vid-hub"


def test_the_mark_is_on_the_generated_half_alone(pipeline, video, tmp_path):
    for mark in (False, True):
        render(pipeline, [video.condition], tmp_path / f"{mark}.mkv", fps=FPS, side_by_side=True, mark=mark)
    bare, both = (read(tmp_path / f"{mark}-side-by-side.mkv") for mark in (False, True))
    differs = np.abs(bare - both).mean((0, 3))
    assert differs[HEIGHT // 2 :, -WIDTH // 2 :].mean() > 20
    assert differs[:, :WIDTH].mean() < 8, "as much as the encoder is off"
    assert differs[: HEIGHT // 2, WIDTH:].mean() < 8


def test_a_generator_of_randomness_is_handed_on(pipeline, video, tmp_path, monkeypatch):
    seen = []
    stream = pipeline.stream
    monkeypatch.setattr(pipeline, "stream", lambda **given: seen.append(given) or stream(**given))
    random = torch.Generator()
    list(rendering(pipeline, [video.condition], tmp_path / "out.mp4", fps=FPS, generator=random))
    assert seen[0]["generator"] is random


LONG = 10
"""So many times the video: the encoder writes nothing at first."""


@pytest.mark.parametrize("taken", [0, 1, 90, LONG * LENGTH])
def test_who_stops_before_the_end_leaves_nothing(pipeline, video, tmp_path, taken):
    (tmp_path / "out.mp4").write_bytes(b"the video of yesterday")
    conditions = [video.condition] * LONG
    frames = rendering(pipeline, conditions, tmp_path / "out.mp4", fps=FPS, beside=tmp_path / "pair.mp4")
    for _ in range(taken):
        next(frames)
    assert taken < 90 or len(list(tmp_path.iterdir())) == 3, "both are being written, beside their names"
    frames.close()
    assert [path.name for path in tmp_path.iterdir()] == ["out.mp4"]
    assert (tmp_path / "out.mp4").read_bytes() == b"the video of yesterday"


def test_an_error_of_who_is_told_leaves_nothing(pipeline, video, tmp_path):
    """And not only once nobody holds the error any more."""
    seen = []

    def report(frames):
        if frames == 90:
            seen.extend(tmp_path.iterdir())
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt) as held:
        render(pipeline, [video.condition] * LONG, tmp_path / "out.mp4", fps=FPS, side_by_side=True, report=report)
    assert held.tb is not None
    assert len(seen) == 2
    assert not list(tmp_path.iterdir())

"""What a visitor gives becomes the condition that a command line would find in it, on disk and in constant memory."""

import dataclasses
import gc
import weakref
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import psutil
import pytest
import torch
from PIL import Image

from tests.app.receiving import leaving_nothing
from vid2vid_face import SketchToFace
from vid2vid_hub import Vid2VidPipeline
from vid2vid_hub.app import reading
from vid2vid_hub.app.limits import LOCAL
from vid2vid_hub.app.reading import Drawn, picture, read
from vid2vid_hub.app.shelf import Shelf
from vid2vid_hub.app.sizes import work_size
from vid2vid_hub.conditions import PATIENCE
from vid2vid_hub.data.encode import VideoWriter
from vid2vid_hub.data.maps import write_maps
from vid2vid_hub.data.toy import ToyShapes, ToyWorld
from vid2vid_hub.data.video import open_video
from vid2vid_hub.errors import ConditionError, TaskError, VideoError
from vid2vid_hub.tasks import Task, get_task, list_tasks
from vid2vid_hub.types import Condition, Note, Observed, joined
from vid2vid_hub.zoo import shipped

LIMITS = dataclasses.replace(LOCAL, decode_seconds=20)
LENGTH, HEIGHT, WIDTH = 19, 32, 48
DRAWING = [name for name in list_tasks() if type(get_task(name)).draw is not Task.draw]


@pytest.fixture
def shelf(tmp_path):
    with Shelf(3600, tmp_path / "shelf") as made:
        yield made


@pytest.fixture(scope="module")
def world():
    return ToyWorld(0, HEIGHT, WIDTH).draw(LENGTH)


@pytest.fixture(scope="module")
def film(world, tmp_path_factory):
    path = tmp_path_factory.mktemp("film") / "film.mp4"
    with VideoWriter(path, 30) as writer:
        for frame in world.frames:
            writer.write(frame.permute(1, 2, 0).contiguous().numpy())
    return path


def maps_file(folder, maps, fps=Fraction(30)):
    write_maps(folder / "maps.mkv", maps, fps)
    return folder / "maps.mkv"


def frames_of(path):
    with open_video(path) as video:
        return torch.from_numpy(np.stack(list(video.frames()))).movedim(-1, 1)


def seen_in(task, source, shelf, limits=LIMITS):
    """What was read, after a look at what was said meanwhile."""
    said = list(read(task, source, shelf, limits))
    counts = [one.done for one in said[:-1]]
    assert counts == sorted(set(counts)), "one after the other"
    assert all(one.seen is None for one in said[:-1])
    seen = said[-1].seen
    assert said[-1].done == said[-1].total == counts[-1] == seen.frames
    for one in said:
        assert one.picture.shape == (*seen.size, 3)
        assert one.picture.dtype == np.uint8
    assert np.array_equal(said[-1].picture, picture(task, seen.frame(0)))
    assert np.array_equal(said[-2].picture, picture(task, seen.frame(seen.frames - 1)))
    whole = joined(list(seen.conditions()))
    assert len(whole) == seen.frames
    assert same(whole, joined([seen.frame(number) for number in range(seen.frames)]))
    return seen


def same(one, other):
    """Whether two conditions are alike in all that they hold."""
    pairs = zip(vars(one).values(), vars(other).values(), strict=True)
    return all(a is b is None or torch.equal(a, b) for a, b in pairs)


def test_a_video_of_label_maps_is_the_maps(shelf, world, tmp_path):
    seen = seen_in(ToyShapes(), maps_file(tmp_path, world.labels), shelf)
    assert same(joined(list(seen.conditions())), Condition(world.labels))
    assert (seen.fps, seen.size, seen.frames) == (30, (HEIGHT, WIDTH), LENGTH)
    assert (seen.first, seen.last, seen.notes) == (None, None, {})
    assert (seen.task, seen.settings, seen.labels) == ("toy", {}, ToyShapes().labels)


def test_which_classes_occur(shelf, tmp_path):
    maps = torch.zeros((LENGTH, 1, 16, 16), dtype=torch.uint8)
    maps[3, 0, 0, 0], maps[-1, 0, 5, 5] = 4, 2
    assert seen_in(ToyShapes(), maps_file(tmp_path, maps), shelf).classes == (0, 2, 4)


def test_a_label_video_in_colours_is_recognised(shelf, tmp_path):
    task = get_task("seg2street")
    maps = torch.randint(7, 20, (LENGTH, 1, 16, 24), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    colours = task.preview(Condition(maps)).permute(0, 2, 3, 1).contiguous().numpy()
    with av.open(str(tmp_path / "colours.mkv"), "w") as container:
        stream = container.add_stream("ffv1", rate=25)
        stream.height, stream.width, stream.pix_fmt = 16, 24, "bgr0"
        for colour in colours:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(colour).reformat(format="bgr0")))
        container.mux(stream.encode(None))
    expected = task.parse(torch.from_numpy(colours).movedim(-1, 1))
    seen = seen_in(task, tmp_path / "colours.mkv", shelf)
    assert same(joined(list(seen.conditions())), expected)
    assert set(seen.classes) == set(expected.maps.unique().tolist())
    assert seen.first is None, "colours of classes are no real frames"


def test_a_picture_is_a_video_of_one_frame(shelf, world, tmp_path):
    Image.fromarray(world.labels[0, 0].numpy()).save(tmp_path / "a.png")
    seen = seen_in(ToyShapes(), tmp_path / "a.png", shelf)
    assert same(seen.frame(0), Condition(world.labels[:1]))


def test_in_a_real_video_the_task_sees_what_a_pipeline_sees(shelf, film, toy_model):
    pipeline = Vid2VidPipeline.from_pretrained(toy_model)
    seen = seen_in(pipeline.task, film, shelf)
    assert same(joined(list(seen.conditions())), joined(list(pipeline.conditions(str(film)))))
    frames = frames_of(film)
    assert torch.equal(seen.first, frames[:8])
    assert torch.equal(seen.last, frames[-8:])
    assert seen.fps == 30


def test_a_short_video_has_as_many_real_frames_as_it_has(shelf, world, tmp_path):
    with VideoWriter(tmp_path / "a.mp4", 25) as writer:
        for frame in world.frames[:3]:
            writer.write(frame.permute(1, 2, 0).contiguous().numpy())
    seen = seen_in(ToyShapes(), tmp_path / "a.mp4", shelf)
    assert torch.equal(seen.first, seen.last)
    assert len(seen.first) == 3


def test_a_large_video_is_made_smaller_before_it_is_looked_at(shelf, film):
    limits = dataclasses.replace(LIMITS, work_pixels=HEIGHT * WIDTH // 2)
    size = work_size((HEIGHT, WIDTH), None, limits.work_pixels)
    assert size[0] * size[1] <= limits.work_pixels
    frames = frames_of(film)
    small = Observed(frames, Condition(frames[:, :1])).resized(size).frames
    seen = seen_in(ToyShapes(), film, shelf, limits)
    assert seen.size == size
    assert same(joined(list(seen.conditions())), ToyShapes().extract(small))
    assert torch.equal(seen.first, small[:8])


@pytest.mark.parametrize(("name", "task"), [("face-starter", "sketch2face"), ("dance-starter", "pose2dance")])
def test_a_file_of_points_is_read_by_its_task(shelf, name, task):
    ours, sample = get_task(task), shipped() / name / "sample.npz"
    seen = seen_in(ours, sample, shelf)
    assert same(joined(list(seen.conditions())), joined(list(ours.read(sample))))
    assert (seen.first, seen.fps, seen.classes, seen.labels) == (None, 25, (), None)


@pytest.mark.parametrize("name", DRAWING)
def test_tasks_draw_their_examples(name, shelf, monkeypatch):
    monkeypatch.setattr(reading, "DRAWN", 10)
    task = get_task(name)
    seen = seen_in(task, Drawn(1), shelf)
    drawn = list(task.draw(1, 10, seen.size))
    assert same(joined(list(seen.conditions())), joined([one.condition for one in drawn]))
    assert torch.equal(seen.first, torch.cat([one.frames for one in drawn])[:8])
    assert (seen.frames, seen.fps) == (10, 25)
    height, width = seen.size
    assert height * width <= 1.1 * 160 * 160
    assert (height == width) == (task.labels is None)


def test_a_task_that_draws_nothing(shelf):
    assert set(DRAWING) >= {"toy", "sketch2face", "pose2dance"}
    with pytest.raises(TaskError, match="has no drawn world"):
        list(read(get_task("seg2street"), Drawn(0), shelf, LIMITS))


class Remarking(ToyShapes):
    """Sees a disc in frame 2 and in every one from 9 on, and misses it in frames 12 and 13."""

    def observe(self, blocks):
        first = 0
        for block in blocks:
            numbers = range(first, first + len(block))
            notes = tuple(Note(number - first, "a disc") for number in numbers if number == 2 or number >= 9)
            maps = torch.tensor([[[[4 if number in (12, 13) else 1]]] for number in numbers], dtype=torch.uint8)
            yield Observed(block, Condition(maps.expand(-1, -1, *block.shape[2:]).contiguous()), notes)
            first += len(block)

    def missing(self, condition):
        return ["no disc" if one == 4 else None for one in condition.maps[:, 0, 0, 0].tolist()]


class Late(Remarking):
    """Does not see the disc in frame 2."""

    def observe(self, blocks):
        for number, seen in enumerate(super().observe(blocks)):
            yield seen if number else dataclasses.replace(seen, notes=())


def test_notes_say_at_which_frame_they_begin(shelf, film):
    seen = seen_in(Remarking(), film, shelf)
    assert seen.notes == {"a disc": 2, "no disc": 12}
    later = seen_in(Late(), film, shelf)
    assert later.notes == {"a disc": 9, "no disc": 12}


def test_what_is_missing_in_all_frames_is_an_error(shelf, film):
    class Blind(Remarking):
        def missing(self, condition):
            return ["no disc"] * len(condition)

    assert LENGTH < PATIENCE
    with pytest.raises(ConditionError, match=r"^frame 0: no disc, nor in the 18 frames after it; give a video"):
        list(read(Blind(), film, shelf, LIMITS))


@pytest.mark.parametrize("frame", [3, 11])
def test_a_value_without_meaning_is_named_by_its_frame(shelf, world, tmp_path, frame):
    maps = world.labels.clone()
    maps[frame, 0, 1, 2] = 99
    with pytest.raises(ConditionError, match=rf"^frame {frame}: the label is 99 at x 2, y 1"):
        list(read(ToyShapes(), maps_file(tmp_path, maps), shelf, LIMITS))


def drawing(*sizes):
    """A task that draws a frame of each size."""

    class Drawing(ToyShapes):
        def draw(self, seed, frames, size):
            for height, width in sizes:
                yield Condition(torch.zeros((1, 1, height, width), dtype=torch.uint8))

    return Drawing()


def test_all_frames_must_be_of_one_size(shelf):
    with pytest.raises(ConditionError, match=r"^frame 2: the condition is \(16, 24\) after \(16, 16\)"):
        list(read(drawing((16, 16), (16, 16), (16, 24)), Drawn(0), shelf, LIMITS))


def test_a_condition_without_frames(shelf):
    with pytest.raises(ConditionError, match=r"^the condition has no frames; give one that has$"):
        list(read(drawing(), Drawn(0), shelf, LIMITS))


def test_what_was_cleared_away_is_said(shelf, world, tmp_path):
    seen = seen_in(ToyShapes(), maps_file(tmp_path, world.labels), shelf)
    assert str(seen.blocks.folder).startswith(str(shelf.jobs)), "where nothing is served"
    shelf.clear(now=1e12)
    sentence = r"^this video was cleared away; give it again$"
    with pytest.raises(ConditionError, match=sentence):
        seen.frame(0)
    with pytest.raises(ConditionError, match=sentence):
        list(seen.conditions())


def test_a_frame_that_is_not_there_is_the_nearest_one(shelf, world, tmp_path):
    seen = seen_in(ToyShapes(), maps_file(tmp_path, world.labels), shelf)
    assert same(seen.frame(-5), seen.frame(0))
    assert same(seen.frame(LENGTH + 5), seen.frame(LENGTH - 1))


def test_who_understands_it(shelf):
    seen = seen_in(SketchToFace(), shipped() / "face-starter" / "sample.npz", shelf)
    assert seen.fits(SketchToFace(crop=True)), "how it was found does not matter"
    assert not seen.fits(SketchToFace(canny=False))
    assert not dataclasses.replace(seen, task="toy").fits(SketchToFace()), "settings alone say nothing"


# What is left of it.


@pytest.mark.slow
def test_memory_does_not_grow_with_the_video(shelf, monkeypatch):
    monkeypatch.setattr(reading, "DRAWN", 160)
    frames, conditions, most = [], [], [0, 0]

    def block():
        pixels = np.zeros((8, 3, 16, 16), np.uint8)
        maps = np.zeros((8, 1, 16, 16), np.uint8)
        frames.append(weakref.ref(pixels))
        conditions.append(weakref.ref(maps))
        return Observed(torch.from_numpy(pixels), Condition(torch.from_numpy(maps)))

    class Drawing(ToyShapes):
        def draw(self, seed, length, size):
            for _ in range(length // 8):
                yield block()
                gc.collect()
                for number, held in enumerate((frames, conditions)):
                    most[number] = max(most[number], sum(ref() is not None for ref in held))

    *_, last = read(Drawing(), Drawn(0), shelf, LIMITS)
    assert last.done == 160
    assert len(frames) == 20
    assert most[0] <= 4, "the first, the last, and the one at hand"
    assert most[1] <= 2


SAMPLE = Path("face-starter") / "sample.npz"


def source_of(kind, film):
    return (ToyShapes(), film) if kind == "video" else (SketchToFace(), shipped() / SAMPLE)


@pytest.mark.parametrize("kind", ["video", "file"])
@pytest.mark.parametrize("steps", [0, 1, 2, 1000])
def test_who_stops_reading_leaves_no_process(kind, steps, shelf, film):
    task, source = source_of(kind, film)
    before = len(psutil.Process().children())
    with leaving_nothing():
        found = read(task, source, shelf, LIMITS)
        for _, _ in zip(range(steps), found, strict=False):
            assert steps == 1000 or len(psutil.Process().children()) == before + 1
        found.close()


@pytest.mark.parametrize("kind", ["video", "file"])
def test_an_error_leaves_no_process_while_somebody_looks_at_it(kind, shelf, film, monkeypatch):
    task, source = source_of(kind, film)

    def fail(*_):
        raise ConditionError("there is no more room")

    monkeypatch.setattr(reading.Blocks, "write", fail)
    with leaving_nothing():
        with pytest.raises(ConditionError) as held:
            list(read(task, source, shelf, LIMITS))
        assert held.tb is not None


def test_an_upload_that_cannot_be_read(shelf, tmp_path):
    (tmp_path / "a.mp4").write_text("hello")
    with leaving_nothing(), pytest.raises(VideoError, match="is not a readable MP4/MOV"):
        list(read(ToyShapes(), tmp_path / "a.mp4", shelf, LIMITS))

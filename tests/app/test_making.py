"""What a visitor is shown and given is what the pipeline makes of the same condition, and nothing half-made is left."""

import dataclasses
import gc

import numpy as np
import pytest
import torch

from tests.test_styles import image_network, quiet, styled, video_network
from vid2vid_future import PastToFuture
from vid2vid_hub import Vid2VidPipeline
from vid2vid_hub.app import making
from vid2vid_hub.app.limits import LOCAL
from vid2vid_hub.app.making import Choices, edited, make, size_of
from vid2vid_hub.app.models import Model
from vid2vid_hub.app.reading import read
from vid2vid_hub.app.shelf import Shelf
from vid2vid_hub.data.decode import AVReader
from vid2vid_hub.data.encode import VideoWriter
from vid2vid_hub.data.maps import write_maps
from vid2vid_hub.data.mark import marked
from vid2vid_hub.data.toy import BOX, DISC, ToyShapes, ToyWorld
from vid2vid_hub.data.video import open_video
from vid2vid_hub.errors import ConditionError, ModelError
from vid2vid_hub.nn.generator import Vid2VidGenerator
from vid2vid_hub.ops.edit import relabel
from vid2vid_hub.types import Condition, Observed, joined

LIMITS = dataclasses.replace(LOCAL, decode_seconds=20)
LENGTH, HEIGHT, WIDTH = 11, 32, 48
RANDOM = np.random.default_rng(0)


@pytest.fixture
def shelf(tmp_path):
    with Shelf(3600, tmp_path / "shelf") as made:
        yield made


@pytest.fixture(scope="module")
def reading_shelf(tmp_path_factory):
    with Shelf(3600, tmp_path_factory.mktemp("read")) as made:
        yield made


def seen_in(task, path, shelf):
    *_, last = read(task, path, shelf, LIMITS)
    return last.seen


def seen_of(maps, shelf, folder, task=None):
    """What is read of a video of label maps."""
    write_maps(folder / "maps.mkv", maps, 25)
    return seen_in(task or ToyShapes(), folder / "maps.mkv", shelf)


@pytest.fixture(scope="module")
def seen(reading_shelf, tmp_path_factory):
    return seen_of(ToyWorld(0, HEIGHT, WIDTH).draw(LENGTH).labels, reading_shelf, tmp_path_factory.mktemp("maps"))


@pytest.fixture(scope="module")
def filmed(reading_shelf, tmp_path_factory):
    """What is seen in real frames."""
    path = tmp_path_factory.mktemp("film") / "film.mp4"
    with VideoWriter(path, 25) as writer:
        for frame in ToyWorld(0, HEIGHT, WIDTH).draw(LENGTH).frames:
            writer.write(frame.permute(1, 2, 0).contiguous().numpy())
    return seen_in(ToyShapes(), path, reading_shelf)


@pytest.fixture(scope="module")
def model():
    """One style, and a network for first frames."""
    networks = video_network(ToyShapes()), ToyShapes()
    return Model("tiny", quiet(Vid2VidPipeline(*networks, first_frame=image_network(ToyShapes(), channels=0))))


@pytest.fixture(scope="module")
def stylish():
    return Model("stylish", styled())


def whole(seen):
    return joined(list(seen.conditions()))


def expected(model, condition, **options):
    return list(model.pipeline.stream(condition=condition, **options))


def made(model, seen, shelf, choices=None, limits=LIMITS):
    """The frames, after a look at what was said meanwhile; and the end."""
    found = list(make(model, seen, choices or Choices(), shelf, limits))
    *frames, end = found
    assert [one.done for one in found] == [*range(1, len(frames) + 1), len(frames)]
    assert {one.total for one in found} == {len(frames)}
    assert all(one.rate > 0 for one in found)
    assert all(one.video is one.pair is None for one in frames)
    assert end.frame is None
    return [one.frame for one in frames], end


def alike(frames, others):
    return len(frames) == len(others) and all(np.array_equal(a, b) for a, b in zip(frames, others, strict=True))


@pytest.mark.parametrize("edits", [{}, {DISC: BOX, BOX: DISC}])
def test_frames_are_those_of_the_pipeline(model, seen, shelf, edits):
    condition = relabel(whole(seen), edits, ToyShapes().labels.foreground)
    frames, _ = made(model, seen, shelf, Choices(edits=edits))
    assert alike(frames, expected(model, condition))
    assert alike(frames, expected(model, whole(seen))) == (not edits)


def test_tasks_without_labels_are_not_edited():
    maps = torch.full((1, 1, 16, 16), DISC, dtype=torch.uint8)
    condition = Condition(maps, maps.int() * 1000)

    class Plain(ToyShapes):
        labels = None

    assert edited(Plain(), condition, {DISC: BOX}) is edited(ToyShapes(), condition, {}) is condition
    changed = edited(ToyShapes(), condition, {DISC: BOX})
    assert (changed.maps.unique().tolist(), changed.instances.unique().tolist()) == ([BOX], [2000])


@pytest.mark.parametrize(
    ("choices", "options"),
    [
        ({}, {}),
        ({"style": 2}, {"style": 2}),
        ({"seed": 5}, {"seed": 5}),
        ({"seed": 6}, {"seed": 6}),
        ({"seed": 5, "style": 1}, {"style": 1}),
        ({"seed": -1}, {"seed": 2**64 - 1}),
        ({"seed": 2**70 + 5}, {"seed": 5}),
    ],
)
def test_styles_are_chosen_or_drawn(stylish, seen, shelf, choices, options):
    if "seed" in options:
        options = {"generator": torch.Generator().manual_seed(options["seed"])}
    frames, _ = made(stylish, seen, shelf, Choices(**choices))
    assert alike(frames, expected(stylish, whole(seen), **options))
    again, _ = made(stylish, seen, shelf, Choices(**choices))
    assert alike(frames, again)


def test_seeds_draw_several_styles(stylish, seen, shelf):
    frames = [made(stylish, seen, shelf, Choices(seed=seed))[0] for seed in range(8)]
    assert len({np.stack(one).tobytes() for one in frames}) > 2


# What the first frame is.

PICTURE = RANDOM.integers(0, 256, (48, 64, 3), np.uint8)


def fitted(picture, size):
    frames = torch.from_numpy(picture).movedim(-1, 0)[None]
    return Observed(frames, Condition(frames[:, :1])).resized(size).frames


@pytest.mark.parametrize("begin", ["usual", "nothing", "video", "picture"])
def test_how_a_video_begins(model, filmed, shelf, begin):
    first = {
        "usual": "generated",
        "nothing": "zeros",
        "video": filmed.first[:1],
        "picture": fitted(PICTURE, (HEIGHT, WIDTH)),
    }[begin]
    frames, _ = made(model, filmed, shelf, Choices(begin, PICTURE if begin == "picture" else None))
    assert alike(frames, expected(model, whole(filmed), first_frames=first))
    for other in {"generated", "zeros"} - ({first} if isinstance(first, str) else set()):
        assert not alike(frames, expected(model, whole(filmed), first_frames=other))
    assert isinstance(first, str) or np.array_equal(frames[0], first[0].permute(1, 2, 0).numpy())


@pytest.mark.parametrize(("begin", "says"), [("video", "no real first frame"), ("picture", "none was given")])
def test_a_first_frame_that_is_not_there(model, seen, shelf, begin, says):
    with pytest.raises(ModelError, match=says):
        made(model, seen, shelf, Choices(begin))
    assert not list(shelf.results.iterdir())


# The two videos.


def content(path):
    with open_video(path) as reader:
        return np.stack(list(reader.frames())).astype(int)


def encoded(frames, folder):
    """What is read of frames that were written."""
    with VideoWriter(folder / "expected.mkv", 25) as writer:
        for frame in frames:
            writer.write(np.ascontiguousarray(frame))
    return content(folder / "expected.mkv")


@pytest.mark.parametrize("mark", [False, True])
def test_videos_appear_at_the_end(model, seen, shelf, tmp_path, mark):
    limits = dataclasses.replace(LIMITS, mark=mark)
    found = []
    for one in make(model, seen, Choices(edits={DISC: BOX}), shelf, limits):
        found.append(one)
        if one.video is None:
            assert not [path for path in shelf.results.iterdir() if path.suffix == ".mp4"]
    condition = edited(ToyShapes(), whole(seen), {DISC: BOX})
    frames = [marked(frame) if mark else frame for frame in expected(model, condition)]
    assert alike([one.frame for one in found[:-1]], frames)
    previews = ToyShapes().preview(condition).permute(0, 2, 3, 1).numpy()
    pairs = [np.concatenate(pair, 1) for pair in zip(previews, frames, strict=True)]
    end = found[-1]
    assert {end.video, end.pair} == set(shelf.results.iterdir())
    assert end.video.name.startswith("toy-")
    assert end.pair.name.startswith("toy-side-by-side-")
    for path, pictures in ((end.video, frames), (end.pair, pairs)):
        assert np.abs(content(path) - encoded(pictures, tmp_path)).mean() < 3
        reader = AVReader(path)
        assert reader.fps == 25
        assert reader.metadata["comment"].startswith("synthetic video, generated by ")


LONG = 100
"""Frames; the encoder writes nothing at first."""


class Failing(ToyShapes):
    """Has enough after 90 frames."""

    count = 0

    def encode(self, condition):
        self.count += len(condition)
        if self.count > 90:
            raise ConditionError("nothing can be seen here")
        return super().encode(condition)


@pytest.mark.parametrize("taken", [0, 1, 90, LONG])
def test_who_cancels_leaves_no_file(model, shelf, tmp_path, taken):
    long = seen_of(ToyWorld(0, HEIGHT, WIDTH).draw(LONG).labels, shelf, tmp_path)
    frames = make(model, long, Choices(), shelf, LIMITS)
    for _ in range(taken):
        next(frames)
    assert taken < 90 or len(list(shelf.results.iterdir())) == 2, "they are being written"
    frames.close()
    assert not list(shelf.results.iterdir())


def test_an_error_leaves_no_file_while_somebody_looks_at_it(shelf, tmp_path):
    long = seen_of(ToyWorld(0, HEIGHT, WIDTH).draw(LONG).labels, shelf, tmp_path)
    failing = Model("failing", quiet(Vid2VidPipeline(video_network(ToyShapes()), Failing())))
    with pytest.raises(ConditionError) as held:
        made(failing, long, shelf)
    assert held.tb is not None
    assert not list(shelf.results.iterdir())


def test_what_was_cleared_away_meanwhile(model, shelf, tmp_path):
    seen = seen_of(ToyWorld(0, HEIGHT, WIDTH).draw(20).labels, shelf, tmp_path)
    frames = make(model, seen, Choices(), shelf, LIMITS)
    next(frames)
    for path in seen.blocks.folder.iterdir():
        path.unlink()
    with pytest.raises(ConditionError, match=r"^this video was cleared away; give it again$"):
        list(frames)
    assert not list(shelf.results.iterdir())


def test_visitors_of_one_model_alternate(model, seen, shelf):
    """A visitor who looks at a frame keeps nobody from the model; and neither sees what the other made."""
    choices = Choices(), Choices(edits={DISC: BOX})
    alone = [made(model, seen, shelf, one)[0] for one in choices]
    pairs = list(zip(*(make(model, seen, one, shelf, LIMITS) for one in choices), strict=True))
    for number, frames in enumerate(alone):
        assert alike([pair[number].frame for pair in pairs[:-1]], frames)


def test_a_model_is_not_kept_by_what_was_made_with_it(model, seen, shelf):
    passing = Model("passing", model.pipeline)
    made(passing, seen, shelf)
    assert making._AT_WORK["passing"] is passing
    del passing
    gc.collect()
    assert "passing" not in making._AT_WORK


# What may be asked for.


def test_a_model_of_other_conditions_is_refused(model, seen, shelf):
    for change in ({"settings": {"label_set": "another"}}, {"task": "seg2street"}):
        with pytest.raises(ConditionError, match=r"^tiny reads other conditions"):
            made(model, dataclasses.replace(seen, **change), shelf)
    assert not list(shelf.results.iterdir())


@pytest.mark.parametrize("future", [LIMITS.future + 1, 10**12, -1])
def test_a_future_that_is_too_long(future_model, road, shelf, future):
    says = "^future is -1; it must be" if future < 0 else rf"^{future} frames are over the {LIMITS.future} "
    with pytest.raises(ModelError, match=says):
        next(make(future_model, road, Choices(future=future), shelf, LIMITS))
    assert not list(shelf.results.iterdir())


def test_a_model_that_cannot_look_ahead(model, seen, shelf):
    with pytest.raises(ModelError, match="no forecaster"):
        made(model, seen, shelf, Choices(future=2))


SIZES = [(HEIGHT, WIDTH), (WIDTH, HEIGHT), (31, 45), (64, 16), (17, 90)]


@pytest.mark.parametrize("trained", [None, (32, 48), (33, 47)])
@pytest.mark.parametrize("size", SIZES)
def test_any_size(shelf, tmp_path, size, trained):
    network = video_network(ToyShapes())
    model = Model("sized", quiet(Vid2VidPipeline(network, ToyShapes(), size=trained)))
    seen = seen_of(torch.randint(5, (3, 1, *size), dtype=torch.uint8), shelf, tmp_path)
    height, width = size_of(model, seen, LIMITS)
    assert (height > width) == (size[0] > size[1])
    frames, end = made(model, seen, shelf)
    assert alike(frames, expected(model, whole(seen).resized((height, width))))
    assert frames[0].shape == (height, width, 3)
    even = height + height % 2, width + width % 2  # as files of this kind are
    assert content(end.video).shape[1:3] == even
    assert content(end.pair).shape[1:3] == (even[0], 2 * width)


def test_frames_are_no_larger_than_is_granted(model, seen, shelf):
    frames, _ = made(model, seen, shelf, limits=dataclasses.replace(LIMITS, work_pixels=HEIGHT * WIDTH // 2))
    assert frames[0].shape[0] * frames[0].shape[1] <= HEIGHT * WIDTH // 2


# What may come.

CLASSES, HISTORY = 20, 3


def forecaster(task):
    torch.manual_seed(0)
    sizes = {"base_channels": 4, "downsamples": 2, "blocks": 2, "history": HISTORY}
    network = Vid2VidGenerator(2, image_channels=CLASSES, frames="probabilities", **sizes)
    for name, parameter in network.named_parameters():
        if "heads" in name:
            torch.nn.init.normal_(parameter, 0, 0.2)
    return network.requires_grad_(False)


@pytest.fixture(scope="module")
def future_model():
    task = PastToFuture(label_set="cityscapes-train")
    torch.manual_seed(0)
    sizes = {"base_channels": 4, "downsamples": 1, "blocks": 2, "foreground": True}
    renderer = Vid2VidGenerator(task.channels, **sizes).requires_grad_(False)
    return Model("future", quiet(Vid2VidPipeline(renderer, task, forecaster=forecaster(task))))


@pytest.fixture(scope="module")
def road(future_model, reading_shelf, tmp_path_factory):
    maps = torch.randint(CLASSES, (LENGTH, 1, 6, 10), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    maps = maps.repeat_interleave(4, 2).repeat_interleave(4, 3)
    return seen_of(maps, reading_shelf, tmp_path_factory.mktemp("road"), future_model.pipeline.task)


def test_the_likeliest_future_comes_with_seed_0(future_model, road, shelf):
    frames, end = made(future_model, road, shelf, Choices(future=4))
    assert alike(frames, expected(future_model, whole(road), future=4))
    assert len(content(end.video)) == len(content(end.pair)) == 4


def test_other_futures_are_drawn_by_the_seed(future_model, road, shelf):
    frames = [made(future_model, road, shelf, Choices(future=4, seed=seed))[0] for seed in (0, 1, 1, 2)]
    assert alike(frames[1], frames[2])
    assert len({np.stack(one).tobytes() for one in frames}) == 3
    random = torch.Generator().manual_seed(2)
    assert alike(frames[3], expected(future_model, whole(road), future=4, generator=random))


@pytest.mark.parametrize("begin", ["nothing", "video", "picture"])
def test_what_a_future_goes_on_from(future_model, road, shelf, begin):
    last = torch.from_numpy(RANDOM.integers(0, 256, (8, 3, 24, 40), np.uint8))
    picture = last[-1].permute(1, 2, 0).contiguous().numpy()
    first = {"nothing": "zeros", "video": last, "picture": last[-1:]}[begin]
    filmed = dataclasses.replace(road, first=last.flip(0), last=last)
    choices = Choices(begin, picture if begin == "picture" else None, future=3)
    frames, _ = made(future_model, filmed, shelf, choices)
    assert alike(frames, expected(future_model, whole(road), future=3, first_frames=first))


def test_a_future_of_what_was_exchanged(future_model, road, shelf):
    condition = edited(future_model.pipeline.task, whole(road), {13: 0})
    frames, _ = made(future_model, road, shelf, Choices(future=3, edits={13: 0}))
    assert alike(frames, expected(future_model, condition, future=3))
    assert not alike(frames, expected(future_model, whole(road), future=3))

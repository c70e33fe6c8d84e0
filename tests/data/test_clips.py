"""What prepare writes is what training reads: exact conditions, every frame in one split, honest stretches."""

import json
import re
from collections import Counter
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from safetensors import SafetensorError

from vid2vid_hub.data import prepare as module
from vid2vid_hub.data import writer
from vid2vid_hub.data.clips import (
    Description,
    Window,
    batches,
    collate,
    encode_clip,
    epoch_windows,
    mirror,
    read_clips,
    read_window,
    resize,
)
from vid2vid_hub.data.encode import VideoWriter
from vid2vid_hub.data.maps import write_instances, write_maps
from vid2vid_hub.data.open import open_clips
from vid2vid_hub.data.prepare import HeldOut, Material, match, prepare
from vid2vid_hub.data.toy import ToyShapes, ToyWorld
from vid2vid_hub.errors import ConditionError, DatasetError, VideoError
from vid2vid_hub.ops.warp import warp
from vid2vid_hub.types import Condition

TASK = ToyShapes()
LENGTH = 20
SIZE = (40, 64)
FEW = settings(max_examples=60, deadline=None)


class KnownFlow:
    """A teacher that knows the answers in advance, and the frames in whose order it will be asked."""

    name = "known"

    def __init__(self, video, without=()):
        self.left = [(*video.frames[t : t + 2], video.flow[t]) for t in range(LENGTH - 1) if t not in without]

    def flow(self, previous, current):
        before, now, flow = self.left.pop(0)
        for shown, frame in ((previous, before), (current, now)):
            torch.testing.assert_close(shown, frame[None] / 127.5 - 1)
        return flow[None]


class SettableToy(ToyShapes):
    """The toy with a setting."""

    def config(self):
        return {"level": 2}


class CountingToy(ToyShapes):
    """The toy with an extractor that numbers objects beyond what float32 can count."""

    def extract(self, frames):
        maps = super().extract(frames).maps
        return Condition(maps, maps.int() + 2**30 + 1)


@pytest.fixture(scope="module")
def video():
    return ToyWorld(3, *SIZE, objects=3).draw(LENGTH)


def save(folder, tensors):
    """uint8 or int32 (T, C, H, W) as RGB or as grey pictures of 8 or 16 bits."""
    folder.mkdir(parents=True)
    for t, tensor in enumerate(tensors):
        array = tensor.permute(1, 2, 0).numpy().squeeze()
        Image.fromarray(array.astype(np.uint16) if array.dtype == np.int32 else array).save(folder / f"{t:03}.png")
    return folder


def saved(root, video, name="drive"):
    """A material of picture folders."""
    parts = {"labels": video.labels, "ids": video.instances}
    return Material(save(root / name, video.frames), *(save(root / f"{name} {what}", x) for what, x in parts.items()))


@pytest.fixture(scope="module")
def material(tmp_path_factory, video):
    return saved(tmp_path_factory.mktemp("material"), video)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory, material, video):
    folder = tmp_path_factory.mktemp("prepared") / "data"
    held_out = [HeldOut.parse("drive:14:")]
    return prepare([material], folder, TASK, held_out=held_out, teacher=KnownFlow(video, without=[13])).folder


@pytest.fixture
def copy(dataset, tmp_path):
    """A dataset folder to do harm to, and its training metadata."""
    folder = tmp_path / "copy"
    for path in sorted(dataset.rglob("*")):
        target = folder / path.relative_to(dataset)
        target.parent.mkdir(parents=True, exist_ok=True)
        if path.is_file():
            target.write_bytes(path.read_bytes())
    return folder


def nearest(frames, video):
    """Which frame of the video each of the (lossy) frames is most like, all being somewhat like it."""
    differences = (frames[:, None].float() - video.float()).abs().mean((2, 3, 4))
    assert differences.amin(1).max() < 6
    return differences.argmin(1).tolist()


def rewrite(folder, **changes):
    path = folder / "train" / "metadata.jsonl"
    record = json.loads(path.read_text()) | changes
    path.write_text(json.dumps({key: value for key, value in record.items() if value != "drop"}) + "\n")


def test_what_was_prepared_is_read_back(dataset, video):
    (train,), (val,) = read_clips(dataset, "train"), open_clips(dataset, "val", TASK)
    assert (train.name, train.length, val.name, val.length) == ("drive-00000", 14, "drive-00014", 6)
    for clip, first in ((train, 0), (val, 14)):
        assert (clip.size, clip.fps, clip.maps) == (SIZE, Fraction(25), 1)
        for start, stop in ((0, clip.length), (2, 5), (4, 5)):
            condition, span = clip.condition(start, stop), slice(first + start, first + stop)
            assert torch.equal(condition.maps, video.labels[span])
            assert torch.equal(condition.instances, video.instances[span])
            assert nearest(clip.frames(start, stop), video.frames) == list(range(LENGTH))[span]
            flow = clip.flow(start, stop)
            assert flow.dtype == torch.float32
            assert torch.equal(flow, video.flow[first + start : first + stop - 1].half().float())
    assert int(video.instances.max()) > 255
    assert Description.read(dataset) == Description("toy", {}, "known")
    assert not [path for path in dataset.parent.iterdir() if path != dataset]


def test_videos_and_extracted_conditions(tmp_path, video):
    with VideoWriter(tmp_path / "lossless.mp4", 30, crf=0) as writer:
        for frame in video.frames[:4]:
            writer.write(frame.permute(1, 2, 0).numpy())
    write_maps(tmp_path / "labels.mkv", video.labels[:4], 30)
    with VideoWriter(tmp_path / "other.mp4", Fraction(30000, 1001), crf=0) as writer:
        for frame in video.frames[4:9]:
            writer.write(frame.permute(1, 2, 0).numpy())
    given = [
        Material(tmp_path / "lossless.mp4", tmp_path / "labels.mkv"),
        Material(tmp_path / "other.mp4", None, save(tmp_path / "ids", video.instances[4:9])),
    ]
    seen = []
    folder = prepare(given, tmp_path / "data", TASK, report=lambda name, frames: seen.append((name, frames))).folder
    drawn, extracted = open_clips(folder, "train", TASK)
    assert seen == [("lossless", 4), ("other", 5)]
    assert (drawn.fps, extracted.fps) == (30, Fraction(30000, 1001))
    assert torch.equal(drawn.condition(0, 4).maps, video.labels[:4])
    assert drawn.condition(0, 4).instances is None
    assert drawn.flow(0, 4) is None
    assert (extracted.condition(0, 5).maps == video.labels[4:9]).float().mean() > 0.9
    assert torch.equal(extracted.condition(0, 5).instances, video.instances[4:9])
    assert open_clips(folder, "val", TASK) == []


@pytest.mark.parametrize("size", [None, (32, 36)])
def test_odd_sides_and_other_sizes(tmp_path, size):
    odd = ToyWorld(1, 35, 51).draw(3)
    folder = prepare([saved(tmp_path, odd)], tmp_path / "data", TASK, size=size).folder
    (clip,) = read_clips(folder, "train")
    expected = odd.condition.resized(size or (35, 51))
    assert clip.size == expected.size == tuple(clip.frames(0, 3).shape[2:])
    assert torch.equal(clip.condition(0, 3).maps, expected.maps)
    assert torch.equal(clip.condition(0, 3).instances, expected.instances)


def test_ids_of_a_task_stay_exact_when_resized(tmp_path, video):
    folder = prepare(
        [Material(save(tmp_path / "v", video.frames[:2]))], tmp_path / "data", CountingToy(), size=(32, 32)
    ).folder
    condition = read_clips(folder, "train")[0].condition(0, 2)
    assert torch.equal(condition.instances, condition.maps.int() + 2**30 + 1)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a", HeldOut("a", 0, None)),
        ("a:180:", HeldOut("a", 180, None)),
        ("a:0:40", HeldOut("a", 0, 40)),
        ("a::7", HeldOut("a", 0, 7)),
    ],
)
def test_held_out_frames_are_named(text, expected):
    assert HeldOut.parse(text) == expected


@pytest.mark.parametrize("text", ["a:1", "a:x:", "a:1:2:3", "a:1.5:"])
def test_what_names_no_frames_is_refused(text):
    with pytest.raises(DatasetError, match=f"'{text}'.*NAME:START:STOP"):
        HeldOut.parse(text)


def test_every_frame_is_in_exactly_one_split(tmp_path, material):
    held_out = [HeldOut("drive", 3, 6), HeldOut("drive", 5, 8), HeldOut("drive", 19)]
    seen = []
    report = lambda name, frames: seen.append((name, frames))  # noqa: E731
    folder = prepare([material], tmp_path / "data", TASK, held_out=held_out, report=report).folder
    assert seen[2:4] == [("drive-00008", 8), ("drive-00008", 11)]
    spans = {
        split: [(int(clip.name[-5:]), clip.length) for clip in read_clips(folder, split)] for split in ("train", "val")
    }
    assert spans == {"train": [(0, 3), (8, 11)], "val": [(3, 5), (19, 1)]}
    numbers = [number for clips in spans.values() for first, length in clips for number in range(first, first + length)]
    assert sorted(numbers) == list(range(LENGTH))
    single = read_clips(folder, "val")[1]
    assert (single.flow(0, 1), len(single.frames(0, 1)), len(single.condition(0, 1))) == (None, 1, 1)


def test_a_whole_video_held_out_keeps_its_name(tmp_path, material):
    folder = prepare([material], tmp_path / "data", TASK, held_out=[HeldOut.parse("drive")]).folder
    assert [clip.name for clip in read_clips(folder, "val")] == ["drive"]
    assert read_clips(folder, "train") == []


@pytest.mark.parametrize(("start", "stop"), [(0, LENGTH + 1), (5, 5), (-2, 3), (LENGTH, None)])
def test_frames_that_are_not_there_cannot_be_held_out(tmp_path, material, start, stop):
    with pytest.raises(DatasetError, match=f"has {LENGTH} frames; {start} to .* cannot be held out"):
        prepare([material], tmp_path / "data", TASK, held_out=[HeldOut("drive", start, stop)])
    with pytest.raises(DatasetError, match="'walk', and no video"):
        prepare([material], tmp_path / "data", TASK, held_out=[HeldOut("walk")])


def test_videos_and_conditions_pair_by_order(tmp_path):
    a, b, c = (tmp_path / name for name in ("a.mp4", "b.mp4", "c.mkv"))
    assert match([a, b], [c, a], []) == [Material(a, c), Material(b, a)]
    with pytest.raises(DatasetError, match="2 videos but 1 conditions"):
        match([a, b], [c], [])
    with pytest.raises(DatasetError, match="1 videos but 2 instances"):
        match([a], [c], [a, b])
    with pytest.raises(DatasetError, match="called 'a'"):
        match([a, tmp_path / "other" / "a.mov"], [], [])


class Refused:
    """Materials with one thing wrong each, and the words that must name it."""

    @staticmethod
    def count(root, video):
        return Material(save(root / "v", video.frames), save(root / "c", video.labels[1:])), r"v has 20 .*c have 19"

    @staticmethod
    def count_of_instances(root, video):
        good = saved(root, video)
        return Material(good.video, good.condition, save(root / "i", video.instances[:7])), r"drive has 20 .*i have 7"

    @staticmethod
    def size(root, video):
        wrong = save(root / "c", video.labels[..., :60])
        return Material(save(root / "v", video.frames), wrong), r"c, frame 0, is 60x40, but .*v is 64x40"

    @staticmethod
    def size_of_instances(root, video):
        good = saved(root, video)
        wrong = save(root / "i", video.instances[..., :38, :])
        return Material(good.video, good.condition, wrong), r"i, frame 0, is 64x38, but .*drive is 64x40"

    @staticmethod
    def size_of_one_picture(root, video):
        good = saved(root, video)
        with Image.open(good.instances / "012.png") as image:
            image.crop((0, 0, 64, 30)).save(good.instances / "012.png")
        return good, r"012\.png is 64x30, but .*000\.png is 64x40"

    @staticmethod
    def label(root, video):
        labels = video.labels.clone()
        labels[13, 0, 6, 9] = 77
        good = Material(save(root / "v", video.frames), save(root / "c", labels))
        return good, r"/c, frame 13: .* 77 at x 9, y 6"

    @staticmethod
    def grey(root, video):
        return Material(save(root / "v", video.labels), save(root / "c", video.labels)), "v has one channel"

    @staticmethod
    def grey_to_extract_from(root, video):
        return Material(save(root / "v", video.labels)), "v has one channel"

    @staticmethod
    def coloured_instances(root, video):
        good = saved(root, video)
        return Material(good.video, good.condition, good.video), r"drive/000\.png is in colour"

    @staticmethod
    def filmed_instances(root, video):
        good = saved(root, video)
        with VideoWriter(root / "i.mp4", 25) as writer:
            for frame in video.frames:
                writer.write(frame.permute(1, 2, 0).numpy())
        return Material(good.video, good.condition, root / "i.mp4"), r"i\.mp4 is in colour"

    @staticmethod
    def stacked_instances(root, video):
        good = saved(root, video)
        write_instances(root / "i.mkv", video.instances, 25)
        return Material(good.video, good.condition, root / "i.mkv"), r"i\.mkv, frame 0, is 64x160"

    @staticmethod
    def missing(root, video):
        return Material(root / "nothing.mp4"), r"nothing\.mp4 does not exist"


@pytest.mark.parametrize("wrong", [name for name in vars(Refused) if not name.startswith("_")])
def test_what_is_wrong_is_named_and_nothing_is_left(tmp_path, video, wrong):
    (tmp_path / "in").mkdir()
    material, words = getattr(Refused, wrong)(tmp_path / "in", video)
    with pytest.raises((DatasetError, ConditionError, VideoError), match=words):
        prepare([material], tmp_path / "data", TASK)
    assert [path.name for path in tmp_path.iterdir()] == ["in"]
    other = saved(tmp_path / "in", ToyWorld(8, 32, 32).draw(1), "other")
    prepared = prepare([material, other], tmp_path / "data", TASK)
    assert [clip.name for clip in read_clips(tmp_path / "data", "train")] == ["other"]
    (failure,) = prepared.failed
    assert failure.video == material.video
    assert re.search(words, str(failure.error))


def test_a_label_is_found_in_its_frame_behind_a_cut(tmp_path, video):
    labels = video.labels.clone()
    labels[17, 0, 0, 0] = 5
    material = Material(save(tmp_path / "v", video.frames), save(tmp_path / "c", labels))
    with pytest.raises(ConditionError, match="c, frame 17: "):
        prepare([material], tmp_path / "data", TASK, held_out=[HeldOut("v", 6)])


def test_what_exists_already_is_not_overwritten(tmp_path, material):
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "diary.txt").write_text("dear")
    (tmp_path / "file").write_text("me")
    for name in ("folder", "file"):
        with pytest.raises(DatasetError, match=f"{name} already exists and is not empty"):
            prepare([material], tmp_path / name, TASK)
    assert (tmp_path / "folder" / "diary.txt").read_text() == "dear"
    assert (tmp_path / "file").read_text() == "me"


def test_an_empty_folder_may_be_filled_under_any_name(tmp_path, material, monkeypatch):
    real = tmp_path / "real"
    real.mkdir()
    (tmp_path / "link").symlink_to(real)
    prepare([material], tmp_path / "link", TASK)
    assert len(read_clips(tmp_path / "link", "train")) == len(read_clips(real, "train")) == 1
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    prepare([material], module.Path("."), TASK)
    assert len(read_clips(here, "train")) == 1


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), SafetensorError("No space left on device")])
def test_a_full_disk_is_one_sentence_and_leaves_nothing(tmp_path, material, video, monkeypatch, error):
    def full(*_):
        raise error

    monkeypatch.setattr(writer.VideoWriter, "write", full)
    with pytest.raises(DatasetError, match=r"cannot be written to .*data: .*No space left"):
        prepare([material], tmp_path / "data", TASK, teacher=KnownFlow(video))
    assert not list(tmp_path.iterdir())


def test_two_clips_of_one_name_are_refused(tmp_path, material):
    again = save(tmp_path / "drive-00000", ToyWorld(2, 32, 32).draw(2).frames)
    with pytest.raises(DatasetError, match="two clips would be called 'drive-00000'"):
        prepare([material, Material(again)], tmp_path / "data", TASK, held_out=[HeldOut("drive", 9)])


def test_a_dataset_of_another_task_or_setting_is_refused(dataset):
    with pytest.raises(DatasetError, match=r"for task 'toy' with \{\}, not for 'toy' with \{'level': 2\}"):
        open_clips(dataset, "train", SettableToy())


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, r"has no dataset\.json"),
        ("{", r"dataset\.json cannot be read"),
        ("[3]", r"dataset\.json cannot be read"),
        (b"\xff\xfe", r"dataset\.json cannot be read"),
        ('{"task": "toy", "task_config": {}, "flow": null}', "does not say its format"),
        ('{"format": 2, "clips": "elsewhere"}', "has format 2; this version reads format 1"),
        ('{"format": 1, "task": "toy"}', r"dataset\.json cannot be read: .*task_config"),
    ],
)
def test_a_broken_description_is_named(copy, content, words):
    path = copy / "dataset.json"
    path.unlink()
    if content is not None:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(DatasetError, match=words):
        read_clips(copy, "train")


@pytest.mark.parametrize(
    "changes",
    [
        {"length": "drop"},
        {"height": "tall"},
        {"fps": "1/0"},
        {"colour": "blue"},
        {"frames_file_name": "gone.mp4"},
        {"flow_file_name": "gone.safetensors"},
        {"condition_file_name": "../dataset.json"},
        {"instances_file_name": "/etc/hostname"},
        {"frames_file_name": "."},
        {"frames_file_name": 7},
    ],
)
def test_a_clip_that_contradicts_its_folder_is_named(copy, changes):
    rewrite(copy, **changes)
    words = str(next(iter(changes.values()))) if "file" in next(iter(changes)) else next(iter(changes))
    words = {"height": "tall", "fps": "1/0"}.get(words, words)
    with pytest.raises(DatasetError, match=rf"train/metadata\.jsonl: .*{words}"):
        read_clips(copy, "train")


@pytest.mark.parametrize(("line", "words"), [("{'a'}", r"metadata\.jsonl, line 2, is not JSON"), ("7", "the line 7")])
def test_a_broken_line_is_named(copy, line, words):
    with (copy / "train" / "metadata.jsonl").open("a") as file:
        file.write(line + "\n")
    with pytest.raises(DatasetError, match=words):
        read_clips(copy, "train")
    (copy / "train" / "metadata.jsonl").write_bytes(b"\xff")
    with pytest.raises(DatasetError, match=r"metadata\.jsonl cannot be read"):
        read_clips(copy, "train")


def test_damaged_flow_is_named(copy):
    (clip,) = read_clips(copy, "train")
    (clip.folder / clip.flow_file_name).write_bytes(b"no flow")
    with pytest.raises(DatasetError, match=r"flow\.safetensors does not hold the flow of its clip"):
        clip.flow(0, 3)


lengths = st.lists(st.integers(1, 40), min_size=1, max_size=6)


@FEW
@given(lengths, st.integers(1, 12), st.floats(0, 1), st.integers(0, 99), st.integers(0, 99))
def test_an_epoch_cuts_clips_into_stretches_that_fit(lengths, frames, flip, seed, epoch):
    windows = epoch_windows(lengths, frames, flip, seed, epoch)
    assert windows == epoch_windows(lengths, frames, flip, seed, epoch)
    for clip, length in enumerate(lengths):
        mine = sorted((window for window in windows if window.clip == clip), key=lambda window: window.start)
        take = min(frames, length)
        assert [window.length for window in mine] == [take] * (length // take)
        assert 0 <= mine[0].start <= length % take
        assert [window.start - mine[0].start for window in mine] == [take * n for n in range(len(mine))]
        assert mine[-1].start + take <= length
        if length % take == 0:
            assert mine[0].start == 0
    assert len(windows) == sum(length // min(frames, length) for length in lengths)


def test_epochs_differ_in_order_offset_and_mirroring():
    epochs = [epoch_windows([50, 9], 8, 0.5, seed, epoch) for seed in (0, 1) for epoch in range(20)]
    assert len({tuple(windows) for windows in epochs}) == len(epochs)
    assert {min(w.start for w in windows if w.clip == 0) for windows in epochs} == {0, 1, 2}
    assert 0.4 < np.mean([window.flip for windows in epochs for window in windows]) < 0.6
    assert not any(window.flip for window in epoch_windows([50], 5, 0.0, 0, 0))
    assert all(window.flip for window in epoch_windows([50], 5, 1.0, 0, 0))


@FEW
@given(lengths, st.integers(1, 12), st.integers(1, 5), st.integers(0, 99))
def test_batches_hold_every_window_once_and_equal_lengths(lengths, frames, size, seed):
    windows = epoch_windows(lengths, frames, 0.5, seed, 0)
    groups = batches(windows, size)
    assert Counter(window for group in groups for window in group) == Counter(windows)
    smaller = Counter(group[0].length for group in groups if len(group) < size)
    assert all(len({window.length for window in group}) == 1 and len(group) <= size for group in groups)
    assert all(count == 1 for count in smaller.values())
    for length in {window.length for window in windows}:
        ours = [window for group in groups if group[0].length == length for window in group]
        assert ours == [window for window in windows if window.length == length]


def test_a_window_is_read_resized_and_mirrored(dataset, video):
    (source,) = read_clips(dataset, "train")
    plain = read_window(source, Window(0, 4, 3))
    assert plain.names == ("drive-00000[4:7]",)
    assert plain.frames.shape == (1, 3, 3, *SIZE)
    assert torch.equal(plain.maps[0], video.labels[4:7])
    assert plain.flow.shape == (1, 2, 2, *SIZE)
    turned = read_window(source, Window(0, 4, 3, flip=True), (32, 32))
    other = mirror(resize(plain, (32, 32)))
    for name in ("frames", "maps", "instances", "flow"):
        assert torch.equal(getattr(turned, name), getattr(other, name)), name
    assert read_window(source, Window(0, 4, 1), (32, 32)).flow.shape == (1, 0, 2, 32, 32)


def test_a_batch_keeps_what_all_of_its_clips_have(dataset):
    (source,) = read_clips(dataset, "train")
    one, other = (read_window(source, Window(0, start, 3)) for start in (0, 5))
    batch = collate([one, other])
    assert batch.names == ("drive-00000[0:3]", "drive-00000[5:8]")
    for name in ("frames", "maps", "instances", "flow"):
        assert torch.equal(getattr(batch, name), torch.cat([getattr(one, name), getattr(other, name)])), name
    bare = collate([one, module.replace(other, flow=None, instances=None)])
    assert bare.flow is None
    assert bare.instances is None
    features, foreground = encode_clip(TASK, batch)
    expected = TASK.encode(Condition(other.maps[0], other.instances[0]))
    assert torch.equal(features[1], expected.features)
    assert torch.equal(foreground[1], expected.foreground)


@pytest.mark.parametrize("size", [(80, 128), (32, 48), (61, 35)])
def test_resizing_chooses_labels_and_scales_flow(video, size):
    clip = video.clip
    ids = clip.instances + 2**30 + 1
    small = resize(module.replace(clip, instances=ids, flow=torch.ones_like(clip.flow)), size)
    condition = Condition(video.labels, ids[0]).resized(size)
    assert torch.equal(small.maps[0], condition.maps)
    assert torch.equal(small.instances[0], condition.instances)
    assert small.maps.dtype == torch.uint8
    assert small.instances.dtype == torch.int32
    assert small.frames.shape == (1, LENGTH, 3, *size)
    assert small.frames.abs().max() <= 1
    torch.testing.assert_close(small.flow[:, :, 0], torch.full((1, LENGTH - 1, *size), size[1] / SIZE[1]))
    torch.testing.assert_close(small.flow[:, :, 1], torch.full((1, LENGTH - 1, *size), size[0] / SIZE[0]))
    assert resize(clip, SIZE) is clip


def test_a_mirror_turns_flow_too(video):
    clip = video.clip
    turned = mirror(clip)
    carried, mirrored = (warp(one.frames[0, :-1], one.flow[0]) for one in (clip, turned))
    torch.testing.assert_close(mirrored, carried.flip(-1), atol=1e-4, rtol=0)
    error = (mirrored - turned.frames[0, 1:]).abs().mean(1, keepdim=True)[video.visible.flip(-1)]
    assert error.median() < 1 / 127.5
    back = mirror(turned)
    for name in ("frames", "maps", "instances", "flow"):
        assert torch.equal(getattr(back, name), getattr(clip, name)), name
        assert not torch.equal(getattr(turned, name), getattr(clip, name)), name

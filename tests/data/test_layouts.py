"""Folders that people already have are read as they are, to the last bit, or refused by the name of what is wrong."""

import pickle
from fractions import Fraction

import numpy as np
import pytest
import torch
from PIL import Image

from vid2vid_hub.data.clips import Window, collate, read_window
from vid2vid_hub.data.open import open_clips
from vid2vid_hub.data.released import is_cityscapes, is_released, read_cityscapes, read_ids, read_released
from vid2vid_hub.data.toy import ToyShapes, ToyWorld
from vid2vid_hub.errors import ConditionError, DatasetError, VideoError
from vid2vid_hub.tasks import Labels

TASK = ToyShapes()
SIZE = (40, 64)


class ManyClasses(ToyShapes):
    """The toy with as many classes as Cityscapes has ids."""

    @property
    def labels(self):
        return Labels({i: str(i) for i in range(35)}, {})


@pytest.fixture(scope="module")
def videos():
    return [ToyWorld(seed, *SIZE, objects=3).draw(length) for seed, length in ((1, 5), (2, 3))]


def picture(tensor, palette=False):
    """uint8 or int32 (C, H, W) as a grey (8 or 16 bits), palette or RGB picture."""
    array = tensor.permute(1, 2, 0).numpy().squeeze()
    if array.dtype == np.int32:
        return Image.fromarray(array.astype(np.uint16))
    image = Image.fromarray(array)
    if palette:
        image.putpalette([200, 10, 30] * 256)
    return image


def save(folder, tensors, name="{:05}.png", palette=False):
    folder.mkdir(parents=True)
    for t, tensor in enumerate(tensors):
        picture(tensor, palette).save(folder / name.format(t))


def released(root, videos, phase="train", instances=True):
    """The videos as sequences s0, s1, ...; conditions and real frames are named differently."""
    for n, video in enumerate(videos):
        save(root / f"{phase}_A" / f"s{n}", video.labels, palette=n % 2 == 1)
        save(root / f"{phase}_B" / f"s{n}", video.frames, "frame_{:03}.png")
        if instances:
            save(root / f"{phase}_inst" / f"s{n}", video.instances, "{:02}_ids.png")
    return root


def cityscapes(root, video, numbers, *, split="train", images="leftImg8bit_sequence", labels="gtFine", labelled=None):
    """One city; frame t of the video has the t-th number; all are labelled unless ``labelled`` says which."""
    (root / images / split / "ulm").mkdir(parents=True, exist_ok=True)
    (root / labels / split / "ulm").mkdir(parents=True, exist_ok=True)
    for t, number in enumerate(numbers):
        stem = f"ulm_{number}"
        picture(video.frames[t]).save(root / images / split / "ulm" / f"{stem}_leftImg8bit.png")
        if labelled is None or number in labelled:
            folder = root / labels / split / "ulm"
            picture(video.labels[t]).save(folder / f"{stem}_gtFine_labelTrainIds.png")
            picture(4 - video.labels[t]).save(folder / f"{stem}_gtFine_labelIds.png")
            picture(video.instances[t]).save(folder / f"{stem}_gtFine_instanceIds.png")
    return root


def test_the_released_layout_is_read_exactly(tmp_path, videos):
    clips = open_clips(released(tmp_path, videos), "train", TASK)
    assert [(clip.name, clip.length) for clip in clips] == [("s0", 5), ("s1", 3)]
    for clip, video in zip(clips, videos, strict=True):
        assert (clip.size, clip.fps, clip.flow(0, clip.length)) == (SIZE, Fraction(25), None)
        for start, stop in ((0, clip.length), (1, 3), (2, 3)):
            condition = clip.condition(start, stop)
            assert torch.equal(clip.frames(start, stop), video.frames[start:stop])
            assert torch.equal(condition.maps, video.labels[start:stop])
            assert condition.instances.dtype == torch.int32
            assert torch.equal(condition.instances, video.instances[start:stop])
    assert max(int(video.instances.max()) for video in videos) > 255


def test_instances_are_optional(tmp_path, videos):
    (clip,) = read_released(released(tmp_path, videos[:1], instances=False), "train", TASK)
    assert clip.condition(0, 2).instances is None


def test_validation_is_val_and_without_it_test(tmp_path, videos):
    root = released(tmp_path, videos, "test")
    assert is_released(root)
    assert [clip.length for clip in open_clips(root, "val", TASK)] == [5, 3]
    released(root, videos[1:], "val")
    assert [clip.length for clip in open_clips(root, "val", TASK)] == [3]


def test_an_absent_or_empty_split_has_no_clips(tmp_path, videos):
    root = released(tmp_path, videos[:1], "test")
    assert open_clips(root, "train", TASK) == []
    (root / "train_A").mkdir()
    (root / "train_B").mkdir()
    assert open_clips(root, "train", TASK) == []


def test_opening_decodes_nothing(tmp_path):
    for folder in ("train_A", "train_B"):
        (tmp_path / folder / "seq").mkdir(parents=True)
        for name in ("1.png", "2.jpg", "._1.png", "notes.txt"):
            (tmp_path / folder / "seq" / name).write_text("no picture")
    (clip,) = open_clips(tmp_path, "train", TASK)
    assert clip.length == 2
    with pytest.raises(VideoError, match=r"train_B/seq/1\.png cannot be read"):
        clip.frames(0, 1)


def test_clips_travel_and_links_are_followed(tmp_path, videos):
    released(tmp_path / "disk", videos)
    root = tmp_path / "links"
    root.mkdir()
    for folder in (tmp_path / "disk").iterdir():
        (root / folder.name).mkdir()
        for sequence in folder.iterdir():
            (root / folder.name / sequence.name).symlink_to(sequence)
    clips = pickle.loads(pickle.dumps(open_clips(root, "train", TASK)))
    assert torch.equal(clips[1].frames(0, 3), videos[1].frames)
    assert torch.equal(clips[1].condition(0, 3).instances, videos[1].instances)


def test_windows_of_sequences_form_a_batch(tmp_path, videos):
    clips = open_clips(released(tmp_path, videos), "train", TASK)
    batch = collate([read_window(clips[0], Window(0, 2, 3)), read_window(clips[1], Window(1, 0, 3, flip=True))])
    assert batch.names == ("s0[2:5]", "s1[0:3]")
    assert batch.flow is None
    torch.testing.assert_close((batch.frames[0] + 1) * 127.5, videos[0].frames[2:5].float())
    assert torch.equal(batch.maps, torch.stack([videos[0].labels[2:5], videos[1].labels.flip(-1)]))
    assert torch.equal(batch.instances, torch.stack([videos[0].instances[2:5], videos[1].instances.flip(-1)]))


@pytest.mark.parametrize("kind", ["A", "B", "inst"])
def test_unequal_counts_name_the_sequence_and_both_counts(tmp_path, videos, kind):
    root = released(tmp_path, videos)
    sorted((root / f"train_{kind}" / "s1").iterdir())[0].unlink()
    counts = "2 pictures, but .*train_B/s1 has 3" if kind == "A" else f"3 pictures, but .*train_{kind}/s1 has 2"
    with pytest.raises(DatasetError, match=f"train_A/s1 has {counts}"):
        open_clips(root, "train", TASK)


def test_sequences_without_their_counterpart_are_named(tmp_path, videos):
    root = released(tmp_path, videos, instances=False)
    (root / "train_B" / "s0").rename(root / "train_B" / "s2")
    with pytest.raises(DatasetError, match=r"train_A/s0 and .*train_B/s1 come to stand side by side"):
        open_clips(root, "train", TASK)
    (root / "train_B" / "s2").rename(tmp_path / "elsewhere")
    with pytest.raises(DatasetError, match=r"train_A has 2 sequences, but .*train_B has 1; only one of them has 's0'"):
        open_clips(root, "train", TASK)


def test_wrong_trees_are_named(tmp_path, videos):
    root = released(tmp_path, videos[:1], instances=False)
    empty = root / "train_A" / "t"
    empty.mkdir()
    with pytest.raises(DatasetError, match=r"train_A/t holds no PNG or JPEG pictures"):
        open_clips(root, "train", TASK)
    empty.rmdir()
    for folder in ("val_A", "val_B"):
        save(root / folder, videos[0].labels)
    with pytest.raises(DatasetError, match=r"val_A/00000\.png is in no sequence"):
        open_clips(root, "val", TASK)


def test_conditions_without_real_frames_are_no_clips(tmp_path, videos):
    root = released(tmp_path, videos[:1])
    (root / "train_A").rename(root / "val_A")
    with pytest.raises(DatasetError, match="val_B is missing"):
        read_released(root, "val", TASK)


@pytest.mark.parametrize("kind", ["A", "B", "inst"])
def test_a_picture_of_another_size_is_named_with_both_sizes(tmp_path, videos, kind):
    (clip,) = open_clips(released(tmp_path, videos[:1]), "train", TASK)
    path = sorted((tmp_path / f"train_{kind}" / "s0").iterdir())[2]
    with Image.open(path) as image:
        image.crop((0, 0, 60, 40)).save(path)
    clip.frames(0, 2), clip.condition(0, 2)
    with pytest.raises(DatasetError, match=rf"{path.name} is 60x40, but .*train_B/s0/frame_000\.png is 64x40"):
        clip.frames(0, 5), clip.condition(0, 5)


def test_a_label_out_of_range_is_named_with_file_and_frame(tmp_path, videos):
    (clip,) = open_clips(released(tmp_path, videos[:1]), "train", TASK)
    labels = videos[0].labels[3].clone()
    labels[0, 5, 7] = 9
    picture(labels).save(tmp_path / "train_A" / "s0" / "00003.png")
    with pytest.raises(ConditionError, match=r"train_A/s0/00003\.png, frame 3: .* 9 .*x 7, y 5"):
        clip.condition(2, 5)


def test_colour_where_grey_was_and_grey_where_colour_must_be(tmp_path, videos):
    (clip,) = open_clips(released(tmp_path, videos[:1]), "train", TASK)
    picture(videos[0].frames[1]).save(tmp_path / "train_A" / "s0" / "00001.png")
    with pytest.raises(DatasetError, match=r"00001\.png has 3 channels after 1"):
        clip.condition(0, 5)
    for n in range(5):
        picture(videos[0].labels[n]).save(tmp_path / "train_B" / "s0" / f"frame_{n:03}.png")
    with pytest.raises(DatasetError, match=r"frame_000\.png has one channel"):
        clip.frames(0, 5)


@pytest.mark.parametrize(("start", "stop"), [(0, 6), (-1, 2), (3, 3)])
def test_frames_that_are_not_there_are_refused(tmp_path, videos, start, stop):
    (clip,) = open_clips(released(tmp_path, videos[:1]), "train", TASK)
    for read in (clip.frames, clip.condition):
        with pytest.raises(DatasetError, match=f"frames {start} to {stop} of s0 .* 5 frames"):
            read(start, stop)


@pytest.mark.parametrize(
    ("mode", "values"),
    [("L", [0, 7, 255]), ("P", [0, 7, 255]), ("I;16", [0, 256, 26001, 65535])],
)
def test_instance_ids_of_every_depth_are_exact(tmp_path, mode, values):
    ids = np.resize(np.array(values), (4, 6))
    image = Image.fromarray(ids.astype(np.uint16 if mode == "I;16" else np.uint8))
    if mode == "P":
        image.putpalette([9, 8, 7] * 256)
    assert image.mode == mode
    image.save(tmp_path / "ids.png")
    back = read_ids(tmp_path / "ids.png")
    assert back.dtype == np.int32
    assert np.array_equal(back[..., 0], ids)


def test_what_cannot_hold_instance_ids_is_refused(tmp_path):
    Image.new("RGB", (6, 4)).save(tmp_path / "colour.png")
    Image.new("L", (6, 4)).save(tmp_path / "lossy.jpg")
    Image.new("1", (6, 4)).save(tmp_path / "one-bit.png")
    Image.effect_noise((64, 64), 99).save(tmp_path / "cut.png")
    (tmp_path / "cut.png").write_bytes((tmp_path / "cut.png").read_bytes()[:900])
    for name in ("colour.png", "lossy.jpg", "one-bit.png", "cut.png", "none.png"):
        with pytest.raises(VideoError, match=name):
            read_ids(tmp_path / name)


def test_a_cut_16_bit_picture_is_named(tmp_path):
    Image.fromarray(np.random.default_rng(0).integers(0, 9999, (32, 32), dtype=np.uint16)).save(tmp_path / "ids.png")
    (tmp_path / "ids.png").write_bytes((tmp_path / "ids.png").read_bytes()[:700])
    with pytest.raises(VideoError, match=r"ids\.png cannot be read"):
        read_ids(tmp_path / "ids.png")


def test_what_is_no_dataset_is_said_to_be_none(tmp_path):
    (tmp_path / "train_A").mkdir()
    assert not is_released(tmp_path)
    for folder in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(
            DatasetError, match=r"no dataset: expected dataset\.json .*train_A and train_B.*leftImg8bit"
        ):
            open_clips(folder, "train", TASK)


def test_cityscapes_is_cut_into_runs_of_labelled_frames(tmp_path, videos):
    video = videos[0]
    root = cityscapes(tmp_path, video, ["000000_000008", "000000_000009", "000000_000010", "000000_000012"])
    more = cityscapes(root, videos[1], ["000001_000013", "000001_000014", "000001_000016"])
    assert is_cityscapes(more)
    clips = open_clips(more, "train", TASK)
    assert [(clip.name, clip.length) for clip in clips] == [("ulm_000000_000008", 3), ("ulm_000001_000013", 2)]
    assert (clips[0].fps, clips[0].size, clips[0].flow(0, 3)) == (Fraction(17), SIZE, None)
    assert torch.equal(clips[0].frames(1, 3), video.frames[1:3])
    assert torch.equal(clips[0].condition(0, 3).maps, video.labels[:3])
    assert torch.equal(clips[0].condition(0, 3).instances, video.instances[:3])
    assert torch.equal(clips[1].frames(0, 2), videos[1].frames[:2])
    assert open_clips(more, "val", TASK) == []


def test_the_run_of_one_sequence_does_not_go_on_in_the_next(tmp_path, videos):
    root = cityscapes(tmp_path, videos[0], [f"00000{n // 2}_00000{n}" for n in range(4)])
    assert [clip.name for clip in read_cityscapes(root, "train", TASK)] == ["ulm_000000_000000", "ulm_000001_000002"]


def test_a_task_with_a_class_for_every_label_id_reads_label_ids(tmp_path, videos):
    root = cityscapes(tmp_path, videos[1], [f"000000_00000{n}" for n in range(3)])
    (ids,) = read_cityscapes(root, "train", ManyClasses())
    (trained,) = read_cityscapes(root, "train", TASK)
    assert torch.equal(ids.condition(0, 3).maps, 4 - videos[1].labels)
    assert torch.equal(trained.condition(0, 3).maps, videos[1].labels)
    for file in root.rglob("*_labelTrainIds.png"):
        file.unlink()
    with pytest.raises(DatasetError, match=r"no \*_gtFine_labelTrainIds\.png"):
        read_cityscapes(root, "train", TASK)


def test_labels_of_single_frames_say_the_way_out(tmp_path, videos):
    numbers = [f"000000_00000{n}" for n in range(4)]
    root = cityscapes(tmp_path, videos[0], numbers, labelled=numbers[2:3])
    with pytest.raises(DatasetError, match=r"gtFine alone labels single frames; .*gtFine_sequence.* prepare"):
        open_clips(root, "train", TASK)
    cityscapes(root, videos[0], numbers[:3], labels="gtFine_sequence")
    assert [clip.length for clip in open_clips(root, "train", TASK)] == [3]


def test_single_pictures_without_any_labels_say_so_too(tmp_path, videos):
    root = cityscapes(tmp_path, videos[0], ["000000_000001", "000000_000002"], images="leftImg8bit", labelled=())
    with pytest.raises(DatasetError, match="gtFine alone labels single frames"):
        open_clips(root, "train", TASK)


def test_instance_ids_of_a_run_are_all_there_or_none(tmp_path, videos):
    root = cityscapes(tmp_path, videos[1], [f"000000_00000{n}" for n in range(3)])
    ids = sorted(root.rglob("*_instanceIds.png"))
    ids[1].unlink()
    with pytest.raises(DatasetError, match=f"{ids[1].name} is missing"):
        open_clips(root, "train", TASK)
    ids[0].unlink()
    ids[2].unlink()
    assert open_clips(root, "train", TASK)[0].condition(0, 3).instances is None

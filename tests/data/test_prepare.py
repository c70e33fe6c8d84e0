"""Preparing sees each shot once and whole, keeps what is good of it, and names every frame that it does not keep."""

import json
import re
from collections import Counter
from fractions import Fraction
from types import SimpleNamespace

import av
import numpy as np
import pytest
import torch
from hypothesis import event, given, settings
from hypothesis import strategies as st

from tests.data.shots_world import SIZE, Reader, Watcher, film, save, shot
from vid2vid_hub.data.clips import Description, read_clips
from vid2vid_hub.data.encode import VideoWriter
from vid2vid_hub.data.material import Overview
from vid2vid_hub.data.prepare import Failure, HeldOut, Material, Prepared, Remark, prepare, summary
from vid2vid_hub.data.shots import units
from vid2vid_hub.data.toy import ToyShapes
from vid2vid_hub.data.video import open_video
from vid2vid_hub.errors import ConditionError, DatasetError, TaskError
from vid2vid_hub.nn.frozen import flow_teacher
from vid2vid_hub.types import Observed

TASK = ToyShapes()


def spans(folder, split="train", stem="film"):
    """(first frame, length) of each clip of a video."""
    clips = [clip for clip in read_clips(folder, split) if clip.name.startswith(stem)]
    return [(int(clip.name[len(stem) + 1 :] or 0), clip.length) for clip in clips]


def lost(prepared):
    return [(remark.start, remark.stop, remark.text) for remark in prepared.left_out]


@pytest.fixture(scope="module")
def given_film(tmp_path_factory):
    """A film of three shots with its labels and ids, as pictures."""
    root = tmp_path_factory.mktemp("film")
    frames, labels, ids = film(20, 9, 25)
    return SimpleNamespace(
        frames=frames,
        labels=labels,
        ids=ids,
        material=Material(save(root / "film", frames), save(root / "labels", labels), save(root / "ids", ids)),
    )


@pytest.fixture(scope="module")
def shots(tmp_path_factory):
    """Shots of 20 and 30 frames without anything beside them."""
    frames, _, _ = film(20, 30)
    return SimpleNamespace(frames=frames, material=Material(save(tmp_path_factory.mktemp("shots") / "film", frames)))


# Shots


def test_given_conditions_are_cut_with_their_video(given_film, tmp_path):
    prepared = prepare([given_film.material], tmp_path / "data", TASK, teacher=flow_teacher())
    assert spans(prepared.folder) == [(0, 20), (29, 25)]
    assert lost(prepared) == [(20, 29, "shorter than 16 frames")]
    assert (prepared.clips, prepared.frames) == (2, 45)
    for clip, first in zip(read_clips(prepared.folder, "train"), (0, 29), strict=True):
        found, span = clip.condition(0, clip.length), slice(first, first + clip.length)
        assert torch.equal(found.maps, given_film.labels[span])
        assert torch.equal(found.instances, given_film.ids[span])
        assert clip.flow(0, clip.length).shape[0] == clip.length - 1


def test_the_least_length_can_be_chosen(given_film, tmp_path):
    prepared = prepare([given_film.material], tmp_path / "a", TASK, min_frames=9)
    assert (spans(prepared.folder), prepared.left_out) == ([(0, 20), (20, 9), (29, 25)], ())
    prepared = prepare([given_film.material], tmp_path / "b", TASK, min_frames=21)
    assert lost(prepared) == [(0, 29, "shorter than 21 frames")]


def test_only_what_a_cut_made_short_is_too_short(given_film, tmp_path):
    held = [HeldOut("film", 3, 6), HeldOut("film", 40, 52)]
    prepared = prepare([given_film.material], tmp_path / "data", TASK, held_out=held)
    assert spans(prepared.folder, "val") == [(3, 3), (40, 12)]
    assert spans(prepared.folder) == [(0, 3), (52, 2)]
    assert lost(prepared) == [(6, 40, "shorter than 16 frames")]


@pytest.mark.parametrize(
    ("most", "expected"), [(10, [(0, 10), (10, 10), (20, 10), (30, 10), (40, 10)]), (29, [(0, 20), (20, 15), (35, 15)])]
)
def test_a_shot_is_one_session_however_many_clips_it_makes(shots, tmp_path, most, expected):
    task = Watcher()
    prepared = prepare([shots.material], tmp_path / "data", task, max_frames=most, min_frames=1)
    assert spans(prepared.folder) == expected
    assert [len(session) for session in task.sessions] == [20, 30]
    assert torch.equal(torch.stack([frame for session in task.sessions for frame in session]), shots.frames)


@pytest.mark.parametrize("late", [0, 13, 64])
def test_frames_are_kept_as_the_task_looks_at_them(shots, tmp_path, late):
    prepared = prepare([shots.material], tmp_path / "data", Watcher(late=late))
    one, other = read_clips(prepared.folder, "train")
    assert one.size == other.size == (24, 32)
    difference = one.frames(0, 20).float() - shots.frames[:20, :, 4:28, 8:40].float()
    assert difference.abs().mean() < 12
    assert torch.equal(other.condition(3, 5).points, torch.tensor([[[t, 1, 1], [2, 3, 0.5]] for t in (23, 24)]).float())


def test_points_move_with_the_size(shots, tmp_path):
    prepared = prepare([shots.material], tmp_path / "data", Watcher(), size=(48, 64))
    clip = read_clips(prepared.folder, "train")[0]
    assert clip.size == (48, 64)
    assert torch.equal(clip.condition(4, 5).points[0, 0], torch.tensor([8.5, 2.5, 1]))


def test_what_a_task_measures_is_that_of_the_training_clips(shots, tmp_path):
    task = Watcher()
    folder = prepare([shots.material], tmp_path / "data", task, held_out=[HeldOut("film", 20)]).folder
    assert Description.read(folder).measured == {"furthest": 19.0}
    folder = prepare([shots.material], tmp_path / "held", task, held_out=[HeldOut("film")]).folder
    assert Description.read(folder).measured == {}


# What is left out


def test_frames_without_a_subject_split_clips_and_are_named(shots, tmp_path):
    away = [*range(5), *range(38, 41)]
    prepared = prepare([shots.material], tmp_path / "data", Watcher(away), max_frames=25, min_frames=3)
    assert spans(prepared.folder) == [(5, 15), (20, 15), (35, 3), (41, 9)]
    assert lost(prepared) == [(0, 5, "nobody"), (38, 41, "nobody")]
    prepared = prepare([shots.material], tmp_path / "less", Watcher(away))
    assert spans(prepared.folder) == [(20, 18)]
    assert lost(prepared) == [
        (0, 5, "nobody"),
        (5, 20, "shorter than 16 frames"),
        (38, 41, "nobody"),
        (41, 50, "shorter than 16 frames"),
    ]
    assert json.loads((prepared.folder / "prepared.json").read_text())["left_out"][2] == {
        "video": str(shots.material.video),
        "start": 38,
        "stop": 41,
        "text": "nobody",
    }


def test_what_goes_on_is_named_once(shots, tmp_path):
    away, crowd = range(5, 15), [*range(22, 45), 48]
    task = Watcher(away, crowd)
    prepared = prepare([shots.material], tmp_path / "data", task, max_frames=10, min_frames=1)
    assert lost(prepared) == [(5, 15, "nobody")]
    text = "2 people; the largest is taken"
    video = shots.material.video
    assert prepared.notes == (Remark(video, 22, 45, text), Remark(video, 48, 49, text))
    assert list(summary(prepared)) == [
        "left out: 10 frames",
        f"  {video}, frames 5 to 14 (10): nobody",
        "to know:",
        f"  {video}, frames 22 to 44 (23): {text}",
        f"  {video}, frame 48: {text}",
    ]


def test_where_nothing_can_be_kept_there_is_no_dataset(shots, tmp_path):
    with pytest.raises(DatasetError, match=r"no frame could be kept: .*film, frames 0 to 49 \(50\): nobody"):
        prepare([shots.material], tmp_path / "data", Watcher(range(50)))
    assert not list(tmp_path.iterdir())


@settings(max_examples=8, deadline=None)
@given(st.sets(st.integers(0, 48)), st.integers(6, 30), st.one_of(st.none(), st.integers(1, 8)), st.data())
def test_every_frame_is_kept_or_named(shots, tmp_path_factory, away, most, least, data):
    least = None if least is None else min(least, most)
    start = data.draw(st.integers(0, 48))
    held = [HeldOut("film", start, data.draw(st.integers(start + 1, 50)))]
    folder = tmp_path_factory.mktemp("any") / "data"
    try:
        prepared = prepare(
            [shots.material], folder, Watcher(away), max_frames=most, min_frames=least, held_out=held, size=(16, 16)
        )
    except DatasetError:  # frame 49 alone is always good
        event("nothing to keep")
        assert least != 1
        return
    found = Counter(t for remark in prepared.left_out for t in range(remark.start, remark.stop))
    for split in ("train", "val"):
        for first, length in spans(folder, split):
            frames = range(first, first + length)
            found.update(frames)
            assert length <= most
            assert least is None or length >= least
            assert not away & set(frames)
            assert not first < 20 < first + length, "no clip goes over a cut"
            assert all((held[0].start <= t < held[0].stop) == (split == "val") for t in frames)
    assert found == Counter(range(50))


@settings(deadline=None)
@given(st.integers(1, 400), st.sets(st.integers(1, 399), max_size=6), st.integers(1, 90), st.booleans())
def test_units_cover_a_video_in_pieces_of_about_equal_length(length, cuts, most, whole):
    cuts = tuple(sorted(cut for cut in cuts if cut < length))
    found = units(0, SimpleNamespace(stem="v"), Overview(length, Fraction(25), cuts), [], most, whole)
    pieces = [piece for unit in found for piece in unit.pieces]
    assert [t for piece in pieces for t in range(piece.start, piece.stop)] == list(range(length))
    assert {unit.start for unit in found} >= {0, *cuts}
    assert not whole or len(found) == len(cuts) + 1
    for first, last in zip((0, *cuts), (*cuts, length), strict=True):
        lengths = [piece.stop - piece.start for piece in pieces if first <= piece.start < last]
        assert max(lengths) <= most
        assert max(lengths) - min(lengths) <= 1
        assert len(lengths) == -(-(last - first) // most)


# What is wrong


def write(path, frames, fps=25, rotate=0, stamps=None):
    """A lossless video as others make them."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264rgb" if path.suffix == ".mkv" else "libx264", rate=fps)
        stream.height, stream.width = frames.shape[2:]
        stream.pix_fmt = "rgb24" if path.suffix == ".mkv" else "yuv420p"
        stream.options = {"crf": "1"}
        if rotate:
            stream.set_display_rotation(rotate)
        for t, frame in enumerate(frames):
            picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame.permute(1, 2, 0).numpy()))
            picture = picture.reformat(format=stream.pix_fmt)
            picture.pts, picture.time_base = (t if stamps is None else stamps[t]), Fraction(1, fps)
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))
    return path


def test_videos_that_fail_stop_no_other(tmp_path):
    frames, labels, _ = shot(0, 6)
    good = Material(save(tmp_path / "good", frames), save(tmp_path / "good labels", labels))
    flat = save(tmp_path / "flat", frames[:, :, :1])
    (tmp_path / "text.mp4").write_text("a letter")
    other = labels.clone()
    other[4, 0, 3, 2] = 99
    strange = Material(save(tmp_path / "strange", frames), save(tmp_path / "other labels", other))
    cut_off = write(tmp_path / "cut.mp4", frames)
    cut_off.write_bytes(cut_off.read_bytes()[:-200])
    bad = [Material(flat), Material(tmp_path / "text.mp4"), strange, Material(cut_off), Material(tmp_path / "no.mp4")]
    words = ["flat is 48x1, where at least 16x16", "text.mp4 is not a readable", "other labels, frame 4: .* 99 at x 2"]
    prepared = prepare([bad[0], good, *bad[1:]], tmp_path / "data", TASK)
    assert [clip.name for clip in read_clips(prepared.folder, "train")] == ["good"]
    assert [failure.video for failure in prepared.failed] == [material.video for material in bad]
    for failure, expected in zip(prepared.failed, [*words, "cut.mp4", "no.mp4 does not exist"], strict=True):
        assert re.search(expected, str(failure.error)), failure
    said = list(summary(prepared))
    assert said[0] == "failed: 5 videos"
    assert len(said) == 6


def test_the_first_thing_wrong_with_a_video_speaks_for_it(shots, tmp_path):
    with pytest.raises(ConditionError, match=r"film, frame 23: it is upside down"):
        prepare([shots.material], tmp_path / "data", Late())
    assert not list(tmp_path.iterdir())


class Late(Watcher):
    """Finds what is wrong in the second shot, and counts from where that begins, as the contract says."""

    def _seen(self, number, frame):
        if number == 23:
            raise ConditionError("it is upside down", 3)
        return super()._seen(number, frame)


class Forgetful(ToyShapes):
    """Keeps the last frame of a shot for itself."""

    def observe(self, blocks):
        for seen in super().observe(blocks):
            yield seen if len(seen.frames) == 8 else Observed(seen.frames[:-1], seen.condition[:-1])


def test_a_task_that_loses_frames_is_stopped(shots, tmp_path):
    with pytest.raises(TaskError, match=r"was shown 20 frames of .*film and returned 19"):
        prepare([shots.material], tmp_path / "data", Forgetful())


@pytest.mark.parametrize("numbers", [{"max_frames": 0}, {"min_frames": 9, "max_frames": 8}, {"min_frames": 0}])
def test_numbers_that_fit_no_clip_are_refused(shots, tmp_path, numbers):
    with pytest.raises(DatasetError, match="a clip cannot have"):
        prepare([shots.material], tmp_path / "data", TASK, **numbers)


# What is given


def landmarks(path, length, size=SIZE, x=0.0):
    points = [[[x + t, 5.0, 1.0], [2.0, 3.0, 0.5]] for t in range(length)]
    path.write_text(json.dumps({"size": size, "points": points}))
    return path


def test_points_of_a_file_stay_with_their_frames(shots, tmp_path):
    material = Material(shots.material.video, landmarks(tmp_path / "film.json", 50))
    folder = prepare([material], tmp_path / "data", Reader(), max_frames=15, min_frames=1).folder
    assert spans(folder) == [(0, 10), (10, 10), (20, 15), (35, 15)]
    for clip, (first, length) in zip(read_clips(folder, "train"), spans(folder), strict=True):
        assert clip.condition(0, length).points[:, 0, 0].tolist() == list(range(first, first + length))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda path: landmarks(path, 49), r"film has 50 frames, but its conditions .*film\.json have 49"),
        (lambda path: path.write_text('{"people": []}'), r"^\S*film\.json has no points"),
    ],
)
def test_files_of_another_kind_are_named(shots, tmp_path, change, words):
    path = landmarks(tmp_path / "film.json", 50)
    change(path)
    with pytest.raises((DatasetError, ConditionError), match=words):
        prepare([Material(shots.material.video, path)], tmp_path / "data", Reader())


def test_points_off_the_picture_are_those_of_another_video(shots, tmp_path):
    path = tmp_path / "film.json"
    values = {"points": [[[5.0, 5.0, 1.0], [2.0, 3.0, 0.5]]] * 50}
    values["points"][7] = [[48.0, 5.0, 1.0], [20.0, 3.0, 0.0]]
    path.write_text(json.dumps(values))
    with pytest.raises(
        ConditionError, match=r"film\.json, frame 7: the key points lie around x 48, y 5, all off the 48x32"
    ):
        prepare([Material(shots.material.video, path)], tmp_path / "data", Reader())
    values["points"][7] = [[48.0, 5.0, 1.0], [20.0, 3.0, 0.1]]
    path.write_text(json.dumps(values))
    assert prepare([Material(shots.material.video, path)], tmp_path / "data", Reader()).clips == 2


@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_a_phone_held_upright_is_prepared_upright(tmp_path, degrees):
    frames, _, _ = shot(0, 6, (64, 96))
    video = write(tmp_path / "phone.mp4", frames, rotate=degrees)
    (clip,) = read_clips(prepare([Material(video)], tmp_path / "data", TASK).folder, "train")
    upright = torch.rot90(frames, degrees // 90, (2, 3))  # display rotations count counterclockwise
    assert clip.size == tuple(upright.shape[2:])
    assert (clip.frames(0, 6).float() - upright.float()).abs().mean() < 6
    assert clip.condition(0, 6).size == clip.size


def test_frames_of_uneven_duration_are_kept_one_by_one(tmp_path):
    frames, _, ids = shot(0, 12)
    stamps = [0, 1, 2, 5, 6, 9, 10, 11, 12, 20, 21, 22]
    video = write(tmp_path / "uneven.mkv", frames, stamps=stamps)
    with open_video(video) as reader:
        assert len(reader) == 12
    material = Material(video, None, save(tmp_path / "ids", ids))
    prepared = prepare([material], tmp_path / "data", TASK, max_frames=5)
    clips = read_clips(prepared.folder, "train")
    assert [clip.length for clip in clips] == [4, 4, 4]
    assert torch.equal(torch.cat([clip.condition(0, 4).instances for clip in clips]), ids)
    kept = torch.cat([clip.frames(0, 4) for clip in clips])
    nearest = (kept[:, None].float() - frames.float()).abs().mean((2, 3, 4)).argmin(1)
    assert nearest.tolist() == list(range(12))


def test_prepared_says_what_came_of_it(given_film, tmp_path):
    prepared = prepare([given_film.material, Material(tmp_path / "no.mp4")], tmp_path / "data", TASK)
    assert isinstance(prepared, Prepared)
    assert prepared.seconds > 0
    assert isinstance(prepared.failed[0], Failure)
    written = json.loads((prepared.folder / "prepared.json").read_text())
    assert written["failed"] == [{"video": str(tmp_path / "no.mp4"), "why": str(prepared.failed[0].error)}]


def test_odd_sides_are_kept(tmp_path):
    with VideoWriter(tmp_path / "odd.mp4", 25) as writer:
        for frame in shot(0, 4, (33, 51))[0]:
            writer.write(np.ascontiguousarray(frame.permute(1, 2, 0).numpy()))
    (clip,) = read_clips(prepare([Material(tmp_path / "odd.mp4")], tmp_path / "data", TASK).folder, "train")
    assert clip.frames(0, 4).shape == clip.condition(0, 4).maps.expand(-1, 3, -1, -1).shape

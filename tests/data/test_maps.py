"""Maps and instance ids come back with every bit, from any stretch, or not at all."""

import pickle
from fractions import Fraction

import av
import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vid2vid_hub.data.encode import VideoWriter
from vid2vid_hub.data.maps import open_instances, open_maps, write_instances, write_maps
from vid2vid_hub.data.video import open_video
from vid2vid_hub.errors import VideoError

FEW = settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
shapes = st.tuples(st.integers(1, 9), st.sampled_from([1, 3, 6, 15]), st.integers(1, 37), st.integers(2, 41))


def noise(shape, seed=0, high=256):
    return torch.from_numpy(np.random.default_rng(seed).integers(0, high, shape, dtype=np.uint8))


@FEW
@given(shape=shapes, seed=st.integers(0, 99), high=st.sampled_from([2, 35, 256]), data=st.data())
def test_maps_are_bit_exact(tmp_path, shape, seed, high, data):
    maps, path = noise(shape, seed, high), tmp_path / "maps.mkv"
    write_maps(path, maps, Fraction(30000, 1001))
    with open_maps(path, channels=shape[1]) as reader:
        assert (len(reader), reader.size, reader.fps) == (shape[0], shape[2:], Fraction(30000, 1001))
        for _ in range(3):
            start = data.draw(st.integers(0, shape[0]))
            stop = data.draw(st.integers(start, shape[0]))
            part = reader.read(start, stop)
            assert part.dtype == torch.uint8
            assert torch.equal(part, maps[start:stop])


@FEW
@given(
    size=st.tuples(st.integers(1, 5), st.just(1), st.integers(1, 19), st.integers(2, 23)),
    low=st.sampled_from([0, -5, -(2**31)]),
    high=st.sampled_from([1, 70_000, 2**31 - 1]),
)
def test_instances_are_bit_exact(tmp_path, size, low, high):
    ids = torch.from_numpy(np.random.default_rng(high).integers(low, high, size, endpoint=True, dtype=np.int32))
    write_instances(tmp_path / "ids.mkv", ids, 25)
    with open_instances(tmp_path / "ids.mkv") as reader:
        back = reader.read()
        assert back.dtype == torch.int32
        assert torch.equal(back, ids)
        assert torch.equal(reader.read(1), ids[1:])


def test_every_frame_is_a_key_frame_and_a_far_read_decodes_nothing_before_it(tmp_path, monkeypatch):
    maps, path = noise((60, 3, 20, 24)), tmp_path / "maps.mkv"
    write_maps(path, maps, 25)
    with av.open(str(path)) as container:
        assert all(packet.is_keyframe for packet in container.demux(video=0) if packet.size)
    with open_maps(path, 3) as reader:
        assert len(reader) == 60
        decoded, inspect = [], type(reader._pictures)._inspect
        spy = lambda self, packet: (decoded.append(packet.pts), inspect(self, packet))  # noqa: E731
        monkeypatch.setattr(type(reader._pictures), "_inspect", spy)
        assert torch.equal(reader.read(50, 53), maps[50:53])
        assert len(decoded) <= 4


def test_frames_may_arrive_one_by_one_as_arrays_or_tensors(tmp_path):
    maps = noise((5, 6, 9, 7))
    write_maps(tmp_path / "a.mkv", (frame for frame in maps), 25)
    write_maps(tmp_path / "b.mkv", maps.numpy(), 25)
    assert torch.equal(open_maps(tmp_path / "a.mkv", 6).read(), maps)
    assert torch.equal(open_maps(tmp_path / "b.mkv", 6).read(), maps)


def test_any_reader_sees_the_stacked_rows(tmp_path):
    maps = noise((4, 3, 10, 12))
    write_maps(tmp_path / "maps.mkv", maps, 25)
    with open_video(tmp_path / "maps.mkv") as video:
        assert (video.channels, video.size) == (1, (30, 12))
        assert np.array_equal(np.stack(list(video.frames())), maps.numpy().reshape(4, 30, 12, 1))


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (np.zeros((2, 1, 4, 4), np.int64), "frame 0 .* int64 .*uint8"),
        (np.zeros((2, 4, 4), np.uint8), "frame 0 .*uint8"),
        (np.zeros((2, 1, 4, 1), np.uint8), "frame 0 .*1 pixel wide"),
        (np.zeros((0, 1, 4, 4), np.uint8), "no frame"),
        ([np.zeros((1, 4, 4), np.uint8), np.zeros((1, 4, 5), np.uint8)], "frame 1 .*4, 5"),
        ([np.zeros((2, 4, 4), np.uint8), np.zeros((1, 8, 4), np.uint8)], "frame 1 .*1, 8, 4"),
    ],
)
def test_wrong_maps_are_refused_and_leave_nothing(tmp_path, wrong, words):
    with pytest.raises(VideoError, match=words):
        write_maps(tmp_path / "maps.mkv", wrong, 25)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("worst", [2**31, -(2**31) - 1, 2**40])
def test_an_id_beyond_int32_is_named(tmp_path, worst):
    ids = np.zeros((3, 1, 4, 4), np.int64)
    ids[2, 0, 1, 1] = worst
    with pytest.raises(VideoError, match=f"frame 2 .* {worst}"):
        write_instances(tmp_path / "ids.mkv", ids, 25)
    assert not list(tmp_path.iterdir())


def test_maps_go_into_matroska_only(tmp_path):
    with pytest.raises(VideoError, match=r"\.mkv"):
        write_maps(tmp_path / "maps.mp4", noise((1, 1, 4, 4)), 25)


def test_the_wrong_kind_of_file_is_named(tmp_path):
    maps, ids, video = tmp_path / "maps.mkv", tmp_path / "ids.mkv", tmp_path / "video.mkv"
    write_maps(maps, noise((2, 4, 6, 6)), 25)
    write_instances(ids, np.zeros((2, 1, 6, 6), np.int32), 25)
    with VideoWriter(video, 25) as writer:
        writer.write(np.zeros((24, 6, 3), np.uint8))
    for opened in (open_maps(maps, 2), open_maps(ids, 4), open_instances(maps), open_maps(video, 4)):
        with pytest.raises(VideoError, match=r"holds|FFV1"):
            opened.read()
    with pytest.raises(VideoError, match="does not exist"):
        open_maps(tmp_path / "none.mkv", 1)
    with pytest.raises(VideoError, match="has 2 frames"):
        open_maps(maps, 4).read(1, 3)


def test_one_flipped_bit_or_a_cut_is_noticed(tmp_path):
    maps, path = noise((30, 2, 24, 32), high=5), tmp_path / "maps.mkv"
    write_maps(path, maps, 25)
    whole = path.read_bytes()
    for place in range(2000, len(whole) - 500, len(whole) // 40):
        harmed = bytearray(whole)
        harmed[place] ^= 16
        path.write_bytes(harmed)
        try:
            back = open_maps(path, 2).read()
        except VideoError:
            continue
        assert torch.equal(back, maps), place
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(VideoError, match=r"cut off: \d+ frames found, 30 declared"):
        open_maps(path, 2).read()


def remux(path, target, drop=()):
    with av.open(str(path)) as source, av.open(str(target), "w") as container:
        stream = container.add_stream_from_template(source.streams.video[0])
        for n, packet in enumerate(source.demux(video=0)):
            if packet.size and n not in drop:
                packet.stream = stream
                container.mux(packet)
    return target


def test_a_lost_frame_in_the_middle_is_noticed(tmp_path):
    path, maps = tmp_path / "maps.mkv", noise((10, 1, 8, 8))
    write_maps(path, maps, 25)
    copy = remux(path, tmp_path / "copy.mkv")  # without durations, which is no loss
    assert torch.equal(open_maps(copy, 1).read(), maps)
    assert len(list(open_video(copy).frames())) == len(open_video(copy)) == 10
    for lost in (4, 9):
        content = bytearray(path.read_bytes())
        with av.open(str(path)) as container:
            place = [packet.pos for packet in container.demux(video=0) if packet.size][lost]
        block = content.rindex(0xA3, place - 5, place)  # the element id of a block; 0xEC is Void, which demuxers skip
        content[block] = 0xEC
        (tmp_path / "holed.mkv").write_bytes(content)
        with pytest.raises(VideoError, match="9 frames found, 10 declared"):
            open_maps(tmp_path / "holed.mkv", 1).read()


def test_a_reader_travels(tmp_path):
    maps = noise((4, 1, 8, 8))
    write_maps(tmp_path / "maps.mkv", maps, 25)
    reader = open_maps(tmp_path / "maps.mkv", 1)
    assert torch.equal(reader.read(1, 3), maps[1:3])
    assert torch.equal(pickle.loads(pickle.dumps(reader)).read(1, 3), maps[1:3])

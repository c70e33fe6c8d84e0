"""Bar-coded frames prove which frame was read; bad input is one typed sentence; writers leave all or nothing."""

import importlib.util
import multiprocessing
import os
import pickle
import re
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace

import av
import numpy as np
import pytest
from PIL import Image

from vid2vid_hub.data.decode import AVReader, DecordReader
from vid2vid_hub.data.encode import VideoWriter
from vid2vid_hub.data.policy import MAX_PIXELS
from vid2vid_hub.data.video import FolderReader, open_video
from vid2vid_hub.errors import VideoError

NTSC = Fraction(30000, 1001)
LENGTH = 40
BITS = 8
BACKENDS = ["av", pytest.param("decord", marks=pytest.mark.skipif(not importlib.util.find_spec("decord"), reason="no"))]


def coded(n, size=(51, 97), colour=True):
    """A frame that carries its own number as black and white bars."""
    height, width = size
    bits = [255 * (n >> bit & 1) for bit in range(BITS)]
    picture = np.repeat(np.repeat(np.array(bits, np.uint8), width // BITS)[None], height, 0)
    picture = np.pad(picture, ((0, 0), (0, width - picture.shape[1])))
    return np.stack([picture] * 3, -1) if colour else picture


def number(frame):
    """The number that a frame carries."""
    step = (frame.shape[1] - frame.shape[1] % BITS) // BITS
    middle = frame[frame.shape[0] // 2, step // 2 : step * BITS : step].reshape(BITS, -1)[:, 0]
    return sum(int(value > 127) << bit for bit, value in enumerate(middle))


def write(path, length=LENGTH, size=(51, 97), fps=NTSC, **how):
    with VideoWriter(path, fps, **how) as writer:
        for n in range(length):
            writer.write(coded(n, size))
    return path


def mux(path, codec, pixels="yuv420p", length=LENGTH, size=(48, 96), stamps=None, rotate=0, muxing=None, **options):
    """A file as others make them, straight from the library."""
    with av.open(str(path), "w", options=muxing or {}) as container:
        stream = container.add_stream(codec, rate=25, options=options)
        stream.height, stream.width, stream.pix_fmt = *size, pixels
        if rotate:
            stream.set_display_rotation(rotate)
        for n in range(length):
            frame = av.VideoFrame.from_ndarray(coded(n, size)).reformat(format=pixels)
            frame.pts, frame.time_base = (stamps[n] if stamps else n), Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


@pytest.fixture(scope="module")
def ours(tmp_path_factory):
    return write(tmp_path_factory.mktemp("ours") / "ours.mp4", gop=12)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(("size", "fps"), [((51, 97), NTSC), ((48, 96), Fraction(25)), ((33, 64), Fraction(60))])
def test_our_own_files_are_frame_exact(tmp_path, backend, size, fps):
    path = write(tmp_path / "a.mp4", size=size, fps=fps, gop=9)
    even = (size[0] + size[0] % 2, size[1] + size[1] % 2)
    with open_video(path, backend=backend) as video:
        assert type(video) is {"av": AVReader, "decord": DecordReader}[backend]
        assert (len(video), video.fps, video.size, video.channels) == (LENGTH, fps, even, 3)
        frames = list(video.frames())
        assert [number(frame) for frame in frames] == list(range(LENGTH))
        assert frames[0].shape == (*even, 3)
        for seed in range(4):
            wanted = np.random.default_rng(seed).integers(0, LENGTH, 12).tolist()
            assert [number(frame) for frame in video.read(wanted)] == wanted
        assert [number(frame) for frame in video.frames(13, 21)] == list(range(13, 21))
        assert [number(frame) for frame in video.frames(37, 99)] == [37, 38, 39]
        assert list(video.frames(LENGTH)) == list(video.frames(5, 5)) == []
        assert video.read([]).shape == (0, *even, 3)
        assert np.array_equal(video.read([7])[0], frames[7])


@pytest.mark.skipif(not importlib.util.find_spec("decord"), reason="no decord here")
def test_the_backends_agree_on_every_pixel(ours):
    one, two = (np.stack(list(open_video(ours, backend=name).frames())) for name in ("av", "decord"))
    assert np.array_equal(one, two)


@pytest.mark.parametrize(
    ("name", "codec", "pixels", "options"),
    [
        ("open.mp4", "libx264", "yuv420p", {"x264-params": "open-gop=1:keyint=10:bframes=3"}),
        ("b.avi", "mpeg4", "yuv420p", {"bf": "2", "g": "10"}),
        ("stream.ts", "libx264", "yuv420p", {"g": "10"}),
        ("lossless.mkv", "ffv1", "yuv444p", {}),
        ("picture.gif", "gif", "rgb8", {}),
        ("web.webm", "libvpx-vp9", "yuv420p", {"g": "10", "deadline": "realtime", "cpu-used": "8"}),
        ("web8.webm", "libvpx", "yuv420p", {"g": "10", "auto-alt-ref": "1", "lag-in-frames": "8"}),
    ],
)
def test_what_people_bring_is_frame_exact(tmp_path, name, codec, pixels, options):
    if codec not in av.codecs_available:
        pytest.skip(f"this PyAV has no {codec}")
    with open_video(mux(tmp_path / name, codec, pixels, **options)) as video:
        assert [number(frame) for frame in video.frames()] == list(range(LENGTH))
        wanted = np.random.default_rng(1).integers(0, LENGTH, 25).tolist()
        assert [number(frame) for frame in video.read(wanted)] == wanted
        for n in wanted[:8]:
            assert number(video.read([n])[0]) == n


@pytest.mark.parametrize("name", ["v.mp4", "v.mkv"])
def test_varying_frame_times_do_not_shift_frames(tmp_path, name):
    stamps = np.cumsum(np.random.default_rng(0).integers(1, 9, LENGTH)).tolist()
    with open_video(mux(tmp_path / name, "libx264", stamps=stamps, g="8")) as video:
        assert [number(frame) for frame in video.frames()] == list(range(LENGTH))
        assert [number(frame) for frame in video.read([31, 4, 5, 39])] == [31, 4, 5, 39]


def test_a_cut_by_edit_list_hides_the_same_frames_everywhere(tmp_path):
    whole, cut = mux(tmp_path / "whole.mp4", "libx264", g="20"), tmp_path / "cut.mp4"
    with av.open(str(whole)) as source, av.open(str(cut), "w") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        shift = 5 * 12800 // 25
        for packet in source.demux(video=0):
            if packet.size:
                packet.pts, packet.dts, packet.stream = packet.pts - shift, packet.dts - shift, stream
                target.mux(packet)
    with open_video(cut) as video:
        shown = [number(frame) for frame in video.frames()]
        assert shown == list(range(LENGTH - len(shown), LENGTH))
        assert len(video) == len(shown)
        assert [number(frame) for frame in video.read([0, len(shown) - 1, 3])] == [shown[0], shown[-1], shown[3]]


@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_rotation_is_applied(tmp_path, degrees):
    upright = open_video(mux(tmp_path / "plain.mp4", "libx264", length=6))
    turned = open_video(mux(tmp_path / "turned.mp4", "libx264", length=6, rotate=degrees))
    assert turned.size == (upright.size if degrees == 180 else upright.size[::-1])
    expected = np.rot90(upright.read([5])[0], degrees // 90)  # set_display_rotation counts counterclockwise
    assert not np.array_equal(expected, expected[::-1, ::-1])
    assert np.array_equal(turned.read([5])[0], expected)
    if importlib.util.find_spec("decord"):
        with pytest.raises(VideoError, match="backend av"):
            open_video(tmp_path / "turned.mp4", backend="decord").read([0])


def test_a_file_that_begins_amid_a_group_starts_at_its_first_key_frame(tmp_path):
    path = mux(tmp_path / "a.ts", "libx264", g="10", bf="2", sc_threshold="0")
    with av.open(str(path)) as container:
        third = [packet.pos for packet in container.demux(video=0) if packet.size][3]
    path.write_bytes(path.read_bytes()[: 188 * 3] + path.read_bytes()[third:])
    with open_video(path) as video:
        assert [number(frame) for frame in video.frames()] == list(range(10, LENGTH))
        assert [number(frame) for frame in video.read([29, 0, 12])] == [39, 10, 22]


def test_packets_that_show_nothing_are_not_counted(tmp_path):
    if "libvpx" not in av.codecs_available:
        pytest.skip("this PyAV has no libvpx")
    path = mux(tmp_path / "a.webm", "libvpx", **{"auto-alt-ref": "0", "g": "30"})
    content = bytearray(path.read_bytes())
    with av.open(str(path)) as container:
        packets = [bytes(packet) for packet in container.demux(video=0) if packet.size]
    content[content.index(packets[20])] &= ~0x10  # the show_frame bit of VP8
    path.write_bytes(content)
    with open_video(path) as video:
        shown = [n for n in range(LENGTH) if n != 20]
        assert len(video) == len(shown)
        assert [number(frame) for frame in video.frames()] == shown
        assert [number(frame) for frame in video.read([25, 19, 20])] == [26, 19, 21]


def test_gray_video_gives_its_values(tmp_path):
    values = np.random.default_rng(0).integers(0, 256, (5, 30, 42), dtype=np.uint8)
    with av.open(str(tmp_path / "gray.mkv"), "w") as container:
        stream = container.add_stream("ffv1", rate=25)
        stream.height, stream.width, stream.pix_fmt = 30, 42, "gray"
        for value in values:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(value, "gray")))
        container.mux(stream.encode(None))
    with open_video(tmp_path / "gray.mkv") as video:
        assert video.channels == 1
        assert np.array_equal(video.read(range(5)), values[..., None])


def test_deep_gray_video_is_refused(tmp_path):
    mux(tmp_path / "deep.mkv", "ffv1", "gray16le", length=2)
    with pytest.raises(VideoError, match=r"gray16le .*8 bits"):
        open_video(tmp_path / "deep.mkv").read([0])


def test_reading_in_order_needs_no_index(ours):
    video = AVReader(ours)
    assert sum(1 for _ in video.frames()) == LENGTH
    assert "_index" not in vars(video)


def test_a_stretch_is_read_with_one_seek(ours, monkeypatch):
    video, seeks = AVReader(ours), []
    land = video._numbered_from
    monkeypatch.setattr(video, "_numbered_from", lambda source, index: seeks.append(index) or land(source, index))
    assert [number(frame) for frame in video.read(range(14, 22))] == list(range(14, 22))
    assert seeks == [14]


def test_two_streams_of_one_reader_do_not_disturb_each_other(ours):
    video = open_video(ours)
    for n, (a, b) in enumerate(zip(video.frames(), video.frames(3), strict=False)):
        assert (number(a), number(b), number(video.read([30])[0])) == (n, n + 3, 30)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_reader_travels_without_its_handle(ours, backend):
    video = open_video(ours, backend=backend)
    assert len(pickle.dumps(video)) < 10_000
    video.read([3])
    copy = pickle.loads(pickle.dumps(video))
    assert number(copy.read([9])[0]) == 9
    assert number(video.read([4])[0]) == 4


def _report(video, wanted, pipe):
    pipe.send([number(frame) for frame in video.read(wanted)])


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_reader_used_before_a_fork_is_used_after_it(tmp_path):
    rng, path = np.random.default_rng(0), tmp_path / "big.mp4"
    with VideoWriter(path, 25, crf=1, gop=10) as writer:
        for n in range(LENGTH):
            half = rng.integers(0, 256, (48, 96, 3), dtype=np.uint8)
            writer.write(np.concatenate([half, *[coded(n, (48, 96))] * 3]))
    assert path.stat().st_size > 6 * 32768, "too small to outgrow a read buffer"
    video = open_video(path)
    wanted, done = range(LENGTH), []
    near, far = multiprocessing.Pipe()
    for n, frame in zip(wanted, video._fetch(list(wanted)), strict=True):
        done.append(number(frame))
        if n in (4, 12):  # the child moves about in the file while the parent is amid a stretch
            child = multiprocessing.get_context("fork").Process(target=_report, args=(video, [35, 5], far))
            child.start()
            assert near.poll(20)
            assert near.recv() == [35, 5]
            child.join(20)
            assert child.exitcode == 0
    assert done == list(wanted)


# Picture folders


def pictures(folder, *images):
    folder.mkdir(exist_ok=True)
    for n, image in enumerate(images):
        image.save(folder / f"{n:04}.png")
    return folder


def test_palette_and_grey_pictures_give_values_not_colours(tmp_path):
    ids = np.random.default_rng(0).integers(0, 35, (4, 13, 17), dtype=np.uint8)
    images = [Image.fromarray(frame) for frame in ids]
    for image in images[:2]:
        image.putpalette([255 - n % 256 for n in range(768)])
    for folder in (pictures(tmp_path / "p", *images[:2]), pictures(tmp_path / "l", *images[2:])):
        with open_video(folder) as video:
            assert isinstance(video, FolderReader)
            assert (len(video), video.fps, video.size, video.channels) == (2, Fraction(25), (13, 17), 1)
            expected = ids[:2] if folder.name == "p" else ids[2:]
            assert np.array_equal(video.read([0, 1])[..., 0], expected)
            assert np.array_equal(np.stack(list(video.frames())), expected[..., None])


def test_small_palettes_give_values_too(tmp_path):
    image = Image.fromarray(np.array([[0, 1, 2, 3]], np.uint8))
    image.putpalette([9, 9, 9] * 4)
    image.save(tmp_path / "0.png", bits=2)
    assert open_video(tmp_path).read([0]).ravel().tolist() == [0, 1, 2, 3]


def test_colour_pictures_come_in_the_order_of_their_names(tmp_path):
    for n in (2, 0, 1):
        Image.fromarray(coded(n)).save(tmp_path / f"{n}.JPG", quality=95)
    (tmp_path / "notes.txt").write_text("not a frame")
    with open_video(tmp_path) as video:
        assert video.channels == 3
        assert [number(frame) for frame in video.frames()] == [0, 1, 2]
        assert [number(frame) for frame in video.frames(1, 9)] == [1, 2]
        assert [number(frame) for frame in video.read([2, 0, 2])] == [2, 0, 2]
        assert pickle.loads(pickle.dumps(video)).size == (51, 97)


def grey16(path):
    Image.fromarray(np.zeros((4, 4), np.uint16)).save(path)


def rgb16(path):
    with av.open(str(path), "w", format="image2", options={"update": "1"}) as container:
        stream = container.add_stream("png", rate=1)
        stream.height = stream.width = 4
        stream.pix_fmt = "rgb48be"
        frame = av.VideoFrame.from_ndarray(np.zeros((4, 4, 3), np.uint16), "rgb48be")
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def noisy_png(path):
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)).save(path)
    return path.read_bytes()


@pytest.mark.parametrize(
    ("save", "words"),
    [
        (grey16, r"1\.png is a 4x4 16-bit I;16 picture"),
        (rgb16, r"1\.png is a 4x4 16-bit RGB picture"),
        (lambda path: Image.new("RGBA", (4, 4)).save(path), r"1\.png is a 4x4 RGBA"),
        (lambda path: Image.new("LA", (4, 4)).save(path), r"1\.png is a 4x4 LA"),
        (lambda path: Image.new("1", (4, 4)).save(path), r"1\.png is a 4x4 1-bit 1"),
        (lambda path: Image.new("L", (4, 4)).save(path), r"1\.png is .*\(4, 4, 1\).*\(4, 4, 3\)"),
        (lambda path: Image.new("RGB", (4, 6)).save(path), r"1\.png is .*\(6, 4, 3\).*\(4, 4, 3\)"),
        (lambda path: path.write_text("a text"), r"1\.png cannot be read"),
        (lambda path: path.write_bytes(b""), r"1\.png cannot be read"),
        (lambda path: path.write_bytes(noisy_png(path.with_name("0000.png"))[:150]), r"1\.png cannot be read"),
    ],
)
def test_a_picture_unlike_the_others_is_named(tmp_path, save, words):
    pictures(tmp_path, Image.new("RGB", (4, 4)))
    save(tmp_path / "1.png")
    with open_video(tmp_path) as video, pytest.raises(VideoError, match=words):
        list(video.frames())


def test_a_huge_picture_is_refused_before_it_is_unpacked(tmp_path):
    Image.new("L", (8192, MAX_PIXELS // 8192 + 1)).save(tmp_path / "0.png")
    with pytest.raises(VideoError, match=f"at most {MAX_PIXELS} pixels"):
        open_video(tmp_path).read([0])


# Bad input


def audio_only(path):
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=16000)
        stream.layout = "mono"
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 4096), np.float32), "fltp", "mono")
        frame.sample_rate = 16000
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def no_frames(path):
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.height = stream.width = 32
        stream.pix_fmt = "yuv420p"
        container.start_encoding()


def zero_frames(path):
    """A header that promises frames, and not one packet of them."""
    mux(path, "mpeg4", muxing={"movflags": "+faststart"})
    content = path.read_bytes()
    path.write_bytes(content[: content.index(b"mdat") + 4])


def concat(path):
    write(path.with_name("sibling.mp4"), 3)
    path.write_text("ffconcat version 1.0\nfile sibling.mp4\n")


def playlist(path):
    write(path.with_name("sibling.mp4"), 3)
    path.write_text("#EXTM3U\n#EXTINF:1,\nsibling.mp4\n#EXT-X-ENDLIST\n")


def bomb(path):
    with av.open(str(path), "w", format="matroska") as container:
        stream = container.add_stream("ffv1", rate=25)
        stream.height, stream.width, stream.pix_fmt = MAX_PIXELS // 8192 + 32, 8192, "gray"
        frame = av.VideoFrame.from_ndarray(np.zeros((stream.height, 8192), np.uint8), "gray")
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda path: None, "does not exist"),
        (lambda path: path.mkdir(), "folder without PNG or JPEG"),
        (lambda path: path.write_text("dear diary"), "text beginning 'dear diary' found"),
        (lambda path: path.write_bytes(b""), r"empty \(0 bytes\)"),
        (lambda path: path.write_bytes(np.random.default_rng(0).bytes(9000)), "other bytes found"),
        (lambda path: os.mkfifo(path), "not a regular file"),
        (audio_only, r"no video \(audio found\)"),
        (no_frames, r"no video \(no streams found\)"),
        (zero_frames, "no frame in it can be decoded"),
        (concat, "text beginning 'ffconcat"),
        (playlist, "text beginning '#EXTM3U"),
        (bomb, r"cannot be read|no frame"),
    ],
)
@pytest.mark.parametrize("backend", BACKENDS)
def test_bad_input_is_one_sentence(tmp_path, make, words, backend):
    path = tmp_path / "bad.mp4"
    make(path)
    with pytest.raises(VideoError, match=words) as caught, open_video(path, backend=backend) as video:
        list(video.frames())
    text = str(caught.value)
    assert str(path) in text
    assert "\n" not in text
    assert ";" in text, "what to do is missing"


@pytest.mark.parametrize(
    "source", ["http://127.0.0.1:9/a.mp4", "concat:a|b", "tcp://127.0.0.1:9", "a\0b.mp4", "-i", ""]
)
def test_urls_and_odd_names_are_only_ever_files(tmp_path, monkeypatch, source):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(VideoError):
        open_video(source)


def test_wrong_questions_are_answered(ours, tmp_path):
    video = open_video(ours)
    for wrong in ([LENGTH], [-1], [0, 1, 99]):
        with pytest.raises(VideoError, match=f"has {LENGTH} frames, so there is no frame {wrong[-1]}"):
            video.read(wrong)
    with pytest.raises(VideoError, match="count from 0"):
        video.frames(-1)
    with pytest.raises(VideoError, match="no video backend"):
        open_video(ours, backend="quicktime")
    other = mux(tmp_path / "b.avi", "mpeg4", length=3)
    if importlib.util.find_spec("decord"):
        with pytest.raises(VideoError, match="backend av"):
            open_video(other, backend="decord").read([0])


@pytest.mark.parametrize("name", ["front.mp4", "cut.mkv"])
def test_a_cut_file_says_how_much_is_left(tmp_path, name):
    path = write(tmp_path / name)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) * 3 // 4])
    found = re.compile(rf"cut off.*: (\d+) frames found, {LENGTH} declared")
    for use in (lambda video: list(video.frames()), len, lambda video: video.read([1])):
        with pytest.raises(VideoError, match=found) as caught:
            use(open_video(path))
        assert 0 < int(found.search(str(caught.value))[1]) < LENGTH


def test_a_cut_at_a_frame_boundary_is_noticed(tmp_path):
    path = mux(tmp_path / "a.mp4", "mpeg4", muxing={"movflags": "+faststart"}, g="1")
    with av.open(str(path)) as container:
        ends = [packet.pos + packet.size for packet in container.demux(video=0) if packet.size]
    path.write_bytes(path.read_bytes()[: ends[24]])
    with pytest.raises(VideoError, match=f"25 frames found, {LENGTH} declared"):
        list(open_video(path).frames())


def test_an_index_at_the_end_that_is_cut_away(tmp_path):
    path = mux(tmp_path / "a.mp4", "libx264")
    path.write_bytes(path.read_bytes()[:-300])
    with pytest.raises(VideoError, match="MP4"):
        len(open_video(path))


def test_noise_inside_is_an_error(tmp_path):
    path = mux(tmp_path / "a.mp4", "libx264", size=(96, 192), g="8", qp="5")
    content = bytearray(path.read_bytes())
    begin = content.index(b"mdat") + 1000
    content[begin : begin + 1500] = np.random.default_rng(0).bytes(1500)
    path.write_bytes(content)
    with pytest.raises(VideoError, match=r"a\.mp4 is .*damaged"):
        list(open_video(path).frames())


class Lossy(AVReader):
    """A decoder that loses frame 7 and says nothing."""

    def _decoded(self, source):
        yield from (frame for n, frame in enumerate(super()._decoded(source)) if n != 7)


def test_a_frame_lost_in_silence_is_noticed(ours):
    with pytest.raises(VideoError, match=f"{LENGTH - 1} of {LENGTH} frames can be decoded"):
        list(Lossy(ours).frames())
    with pytest.raises(VideoError, match=r"frame 7 of .* cannot be decoded"):
        list(Lossy(ours).frames(3, 20))
    with pytest.raises(VideoError, match=r"frame 7 of .* cannot be decoded"):
        Lossy(ours).read([2, 7, 9])


class Flagged(AVReader):
    """A decoder that delivers frame 2 and calls it corrupt."""

    def _decoded(self, source):
        for n, frame in enumerate(super()._decoded(source)):
            given = {
                name: getattr(frame, name) for name in ("height", "width", "format", "pts", "rotation", "to_ndarray")
            }
            yield SimpleNamespace(**given, duration=frame.duration, is_corrupt=n == 2)


def test_a_frame_that_the_decoder_calls_corrupt_is_refused(ours):
    with pytest.raises(VideoError, match=r"frame 2 of .* is damaged"):
        list(Flagged(ours).frames())


def test_a_change_of_size_names_the_frame(tmp_path):
    parts = [mux(tmp_path / f"{n}.ts", "libx264", length=6, size=size) for n, size in enumerate([(48, 64), (96, 128)])]
    path = tmp_path / "both.ts"
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    seen = []
    with pytest.raises(VideoError, match=r"frame 6 .* is 128x96 .* began as 64x48"):
        seen.extend(open_video(path).frames())
    assert len(seen) == 6


# Writing


def test_odd_sides_repeat_their_last_row_and_column(tmp_path):
    picture = np.random.default_rng(0).integers(0, 256, (1, 1, 3), dtype=np.uint8).repeat(5, 0).repeat(7, 1)
    with VideoWriter(tmp_path / "a.mp4", 25, crf=1) as writer:
        writer.write(picture)
    frame = open_video(tmp_path / "a.mp4").read([0])[0]
    assert frame.shape == (6, 8, 3)
    assert np.abs(frame.astype(int) - picture[0, 0]).max() <= 4


def test_colours_survive_and_are_declared(tmp_path):
    colours = np.array([[255, 0, 0], [0, 255, 0], [0, 0, 255], [200, 100, 50]], np.uint8)
    with VideoWriter(tmp_path / "a.mp4", 25, crf=4) as writer:
        writer.write(colours.repeat(16, 0)[None].repeat(32, 0))
    frame = open_video(tmp_path / "a.mp4").read([0])[0]
    assert np.abs(frame[16, 8::16].astype(int) - colours).max() <= 4
    with av.open(str(tmp_path / "a.mp4")) as container:
        context = container.streams.video[0].codec_context
        assert (context.colorspace, context.color_range, context.pix_fmt) == (1, 1, "yuv420p")


def test_the_index_is_in_front_and_metadata_stays(tmp_path):
    for name in ("a.mp4", "a.mkv", "a.mov"):
        path = write(tmp_path / name, 3, metadata={"title": "street", "vid2vid_model": "starter"})
        metadata = AVReader(path).metadata
        assert (metadata["title"], metadata["vid2vid_model"]) == ("street", "starter")
        if name != "a.mkv":
            assert path.read_bytes().index(b"moov") < path.read_bytes().index(b"mdat")


def test_every_group_of_pictures_is_closed(tmp_path):
    with VideoWriter(tmp_path / "a.mp4", 25, gop=9) as writer:
        for n in range(LENGTH):
            picture = np.zeros((48, 96, 3), np.uint8)
            picture[10:20, n : n + 20] = 200
            writer.write(picture)
    with av.open(str(tmp_path / "a.mp4")) as container:
        keys = [bytes(packet) for packet in container.demux(video=0) if packet.size and packet.is_keyframe]
    assert len(keys) == 5
    for content in keys:
        kinds = []
        while content:
            length = 4 + int.from_bytes(content[:4], "big")
            kinds.append(content[4] & 31)
            content = content[length:]
        assert 5 in kinds, "a key frame is not an IDR picture"


def test_key_frames_come_as_often_as_asked(ours):
    with av.open(str(ours)) as container:
        keys = [n for n, packet in enumerate(container.demux(video=0)) if packet.size and packet.is_keyframe]
    assert max(np.diff(keys)) <= 12


def only(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("before", [None, b"older"])
def test_an_interrupted_writer_leaves_the_final_name_alone(tmp_path, before):
    path = tmp_path / "a.mp4"
    if before:
        path.write_bytes(before)
    with pytest.raises(KeyboardInterrupt), VideoWriter(path, 25) as writer:  # noqa: PT012
        for n in range(90):
            writer.write(coded(n))
        assert len(only(tmp_path)) == 1 + bool(before)
        raise KeyboardInterrupt
    assert only(tmp_path) == (["a.mp4"] if before else [])
    assert not before or path.read_bytes() == before


no_full_disk = pytest.mark.skipif(not Path("/dev/full").is_char_device(), reason="no device /dev/full here")


def write_onto_a_full_disk(path, frames):
    with VideoWriter(path, 25) as writer:
        writer._part.symlink_to("/dev/full")
        for frame in frames:
            writer.write(frame)


@no_full_disk
@pytest.mark.parametrize("name", ["a.mp4", "a.mkv"])
@pytest.mark.parametrize("length", [3, 60])
def test_a_full_disk_leaves_nothing_and_names_the_free_bytes(tmp_path, name, length):
    rng = np.random.default_rng(0)
    frames = [rng.integers(0, 256, (64, 64, 3), dtype=np.uint8) for _ in range(length)]
    with pytest.raises(VideoError, match=r"No space left.*\d+ bytes are free"):
        write_onto_a_full_disk(tmp_path / name, frames)
    assert not only(tmp_path)


@no_full_disk
def test_a_full_disk_while_finishing_keeps_the_older_file(tmp_path):
    path = write(tmp_path / "a.mp4", 3)
    before = path.read_bytes()
    with pytest.raises(VideoError, match="No space left"):
        write_onto_a_full_disk(path, [coded(1)])
    assert path.read_bytes() == before
    assert only(tmp_path) == ["a.mp4"]


@pytest.mark.parametrize(
    ("use", "words"),
    [
        (lambda folder: VideoWriter(folder / "a.gif", 25), r"\.gif; name it with \.mp4, \.mkv, \.mov"),
        (lambda folder: VideoWriter(folder / "a", 25), "without suffix"),
        (lambda folder: VideoWriter(folder / "none" / "a.mp4", 25), "folder does not exist"),
        (lambda folder: VideoWriter(folder / "a.mp4", 0), "0 frames a second"),
        (lambda folder: VideoWriter(folder / "a.mp4", float("nan")), "nan frames a second"),
        (lambda folder: VideoWriter(folder / "a.mp4", 25).close(), "no frame arrived"),
        (lambda folder: VideoWriter(folder / "a.mp4", 25).write(np.zeros((4, 4, 3))), "float64"),
        (lambda folder: VideoWriter(folder / "a.mp4", 25).write(np.zeros((4, 4), np.uint8)), r"\(4, 4\)"),
        (lambda folder: VideoWriter(folder / "a.mp4", 25).write(np.zeros((0, 4, 3), np.uint8)), r"\(0, 4, 3\)"),
    ],
)
def test_what_cannot_be_written_is_refused(tmp_path, use, words):
    with pytest.raises(VideoError, match=words):
        use(tmp_path)
    assert not only(tmp_path)


def test_frames_of_another_size_are_refused(tmp_path):
    with VideoWriter(tmp_path / "a.mp4", 25) as writer:
        writer.write(np.zeros((4, 8, 3), np.uint8))
        with pytest.raises(VideoError, match=r"frame 1 .*\(8, 8, 3\).*\(4, 8, 3\)"):
            writer.write(np.zeros((8, 8, 3), np.uint8))
    assert len(open_video(tmp_path / "a.mp4")) == 1


def test_existing_files_are_replaced_only_when_allowed(tmp_path):
    path = write(tmp_path / "a.mp4", 2)
    with pytest.raises(VideoError, match="exists already"):
        VideoWriter(path, 25, overwrite=False)
    assert len(open_video(write(path, 4))) == 4


def test_long_and_foreign_names(tmp_path):
    for name in ("ü 漢字 %03d.mp4", "x" * 251 + ".mp4", "-i.mkv"):
        assert number(open_video(write(tmp_path / name, 3)).read([2])[0]) == 2

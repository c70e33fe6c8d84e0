"""Live mode: what comes slowly is a video bit for bit, what comes fast gives way to the newest; nothing piles up."""

from __future__ import annotations

import resource
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from itertools import islice

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from vid2vid_hub.app.live import Live, LiveFrame
from vid2vid_hub.app.sizes import work_size
from vid2vid_hub.app.turns import Turns
from vid2vid_hub.conditions import observe
from vid2vid_hub.data.toy import ToyShapes, ToyWorld
from vid2vid_hub.errors import ConditionError, ModelError, VideoError
from vid2vid_hub.nn.generator import Vid2VidGenerator
from vid2vid_hub.pipeline import Vid2VidPipeline
from vid2vid_hub.tasks import Task
from vid2vid_hub.types import Condition, Encoded, Note, Observed

SIZE = HEIGHT, WIDTH = 32, 48


class Lamp(Task):
    """Sees the picture's red; misses something in the dark, remarks on what is bright, and breaks on a plain 13."""

    name = "lamp"
    channels = 1

    def __init__(self, ahead: int = 0) -> None:
        self.ahead = ahead

    def encode(self, condition: Condition) -> Encoded:
        return Encoded(condition.maps.float() / 255)

    def observe(self, blocks: Iterable[Tensor]) -> Iterator[Observed]:
        frames, head = iter(blocks), []
        while head := [*head, *islice(frames, self.ahead + 1 - len(head))]:
            frame = head.pop(0)
            if (frame == 13).all():
                raise ConditionError("thirteen is unlucky", 0)
            if (frame == 14).all():
                raise RuntimeError("a bug")
            bright = (Note(0, "bright"),) if (frame == 255).all() else ()
            yield Observed(frame, Condition(frame[:, :1]), bright)

    def missing(self, condition: Condition) -> list[str | None]:
        return ["no light" if dark else None for dark in (condition.maps == 0).flatten(1).all(1).tolist()]


def made(task: Task) -> Vid2VidPipeline:
    torch.manual_seed(0)
    network = Vid2VidGenerator(task.channels, base_channels=4, downsamples=2, blocks=2).requires_grad_(False)
    return Vid2VidPipeline(network, task, size=SIZE)


@pytest.fixture(scope="module")
def toy() -> Vid2VidPipeline:
    return made(ToyShapes())


@pytest.fixture(scope="module")
def lamp() -> Vid2VidPipeline:
    return made(Lamp())


@pytest.fixture(scope="module")
def video() -> np.ndarray:
    return ToyWorld(0, *SIZE).draw(12).frames.permute(0, 2, 3, 1).numpy()


def plain(value: int, size: tuple[int, int] = SIZE) -> np.ndarray:
    return np.full((*size, 3), value, np.uint8)


def until(live: Live, enough: Callable[[LiveFrame], bool], seconds: float = 20) -> LiveFrame:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        frame = live.latest()
        if frame is not None and enough(frame):
            return frame
        time.sleep(0.002)
    raise AssertionError(f"still {live.latest()} after {seconds} s")


def answered(live: Live, frame: np.ndarray, number: int) -> LiveFrame:
    """Push a frame and wait for what becomes of it."""
    assert live.push(frame)
    return until(live, lambda seen: seen.number == number)


def gone(live: Live, seconds: float = 10) -> bool:
    end = time.monotonic() + seconds
    while live._worker.is_alive() and time.monotonic() < end:
        time.sleep(0.002)
    return not live._worker.is_alive()


class Gate:
    """A turn that comes when the test says so; counts how often it was taken."""

    def __init__(self) -> None:
        self.open, self.entered = threading.Event(), 0

    def __enter__(self) -> None:
        self.entered += 1
        assert self.open.wait(20)

    def __exit__(self, *_: object) -> None:
        pass


# What comes out


@pytest.mark.parametrize("size", [SIZE, (24, 40)])
def test_frames_that_come_slowly_are_a_video_bit_for_bit(toy, video, size):
    expected = list(toy.stream(video, size=size))
    shown = [toy.task.preview(condition) for condition in toy.conditions(video, size=size)]
    with Live(toy, size=size) as live:
        frames = [answered(live, frame, number) for number, frame in enumerate(video)]
    assert np.array_equal([frame.generated for frame in frames], expected)
    assert np.array_equal([frame.condition for frame in frames], torch.cat(shown).permute(0, 2, 3, 1).numpy())
    assert {(frame.dropped, frame.remark) for frame in frames} == {(0, None)}
    assert all(0 < frame.latency < 20_000 for frame in frames)
    assert frames[-1].fps > 0


def test_the_rate_is_that_of_late_however_slow_and_falls_while_nothing_comes(toy, video):
    with Live(toy, size=SIZE, fps_window=0.2) as live:
        assert answered(live, video[0], 0).fps == 0
        for number in (1, 2):
            time.sleep(0.5)
            assert 0.5 < answered(live, video[number], number).fps < 2
        for number in range(3, 9):
            frame = answered(live, video[number], number)
        assert frame.fps > 3
        time.sleep(1)
        assert live.latest().fps <= 1


def test_a_rule_is_told_the_size_of_the_condition_and_that_of_the_model(toy, video):
    told = []

    def rule(given, trained):
        told.append((given, trained))
        return 16, 24

    with Live(toy, size=rule) as live:
        assert answered(live, video[0], 0).generated.shape == (16, 24, 3)
    assert told == [(SIZE, SIZE)]


def test_fast_frames_push_out_the_oldest_that_wait_and_never_the_newest(toy, video):
    gate = Gate()
    with Live(toy, size=SIZE, turn=gate, waiting=2) as live:
        start = time.monotonic()
        for _ in range(50):
            for frame in video[:4]:
                assert live.push(frame)
        assert time.monotonic() - start < 2, "pushing never waits"
        assert len(live._queue) == 2
        gate.open.set()
        last = until(live, lambda seen: seen.number == 199)
        assert last.dropped == 198
        assert np.array_equal(last.generated, list(toy.stream(video[2:4]))[1])


def test_a_frame_may_be_changed_once_it_is_pushed(toy, video):
    gate, mine = Gate(), video[0].copy()
    with Live(toy, size=SIZE, turn=gate) as live:
        live.push(mine)
        mine[:] = 0
        gate.open.set()
        assert np.array_equal(until(live, lambda _: True).generated, next(toy.stream(video[:1])))


def test_useless_frames_hold_the_last_generated_one_and_are_waited_out(lamp):
    with Live(lamp, size=SIZE) as live:
        for number in range(80):  # more than a video may begin with
            frame = answered(live, plain(0), number)
        assert (frame.generated, frame.remark, frame.fps) == (None, "no light", 0)
        assert (frame.condition == 0).all()
        first = answered(live, plain(255), 80)
        assert first.remark == "bright"
        held = answered(live, plain(0), 81)
        assert held.remark == "no light"
        assert np.array_equal(held.generated, first.generated)
        second = answered(live, plain(100), 82)
        assert second.remark is None
    expected = list(lamp.stream(condition=[plain(255)[..., 0], plain(100)[..., 0]]))
    assert np.array_equal([first.generated, second.generated], expected)


def test_a_task_that_looks_ahead_is_late_by_that_and_its_frames_keep_their_numbers():
    lights = [plain(value) for value in range(20, 30)]
    pipeline = made(Lamp(ahead=3))
    expected = list(pipeline.stream(condition=[light[..., 0] for light in lights]))
    with Live(pipeline, size=SIZE, waiting=10) as live:
        for light in lights:
            live.push(light)
        seen = until(live, lambda frame: frame.number == 6)
        assert np.array_equal(seen.generated, expected[6])
        assert (seen.condition == 26).all()


def test_a_camera_that_is_turned_begins_a_new_video(toy, video):
    upright = ToyWorld(1, WIDTH, HEIGHT).draw(3).frames.permute(0, 2, 3, 1).numpy()
    with Live(toy, size=lambda given, _: given) as live:
        for number, frame in enumerate(video[:3]):
            answered(live, frame, number)
        turned = [answered(live, frame, 3 + number).generated for number, frame in enumerate(upright)]
    assert np.array_equal(turned, list(toy.stream(upright)))


# What goes wrong


def test_what_stops_the_work_is_said_once_and_then_it_is_closed(lamp):
    with Live(lamp, size=SIZE) as live:
        answered(live, plain(9), 0)
        live.push(plain(13))
        assert gone(live)
        with pytest.raises(ConditionError, match="thirteen is unlucky"):
            live.latest()
        assert live.closed
        assert not live.push(plain(9))
        assert live.latest().number == 0


def test_it_is_said_where_it_is_asked_first(lamp):
    with Live(lamp, size=SIZE) as live:
        live.push(plain(13))
        assert gone(live)
        with pytest.raises(ConditionError, match="thirteen is unlucky"):
            live.push(plain(9))
        assert live.latest() is None


def test_a_bug_is_one_sentence_to_the_visitor_and_a_traceback_in_the_log(lamp, caplog):
    with Live(lamp, size=SIZE) as live:
        live.push(plain(14))
        assert gone(live)
        with pytest.raises(ModelError, match=r"^live generation failed \(RuntimeError\); start again"):
            live.latest()
    assert "a bug" in caplog.text


@pytest.mark.parametrize("frame", [plain(3)[..., 0], plain(3)[..., :1], plain(3) / 2, plain(3)[:0], "frame"])
def test_what_is_no_frame_is_refused_and_the_work_goes_on(lamp, frame):
    with Live(lamp, size=SIZE) as live:
        with pytest.raises(VideoError, match=r"a camera's frame is .*; expected uint8 \(H, W, 3\)"):
            live.push(frame)
        answered(live, plain(9), 0)


def test_an_error_gives_the_turn_back(lamp):
    turn = threading.Lock()
    with Live(lamp, size=SIZE, turn=turn) as live:
        live.push(plain(13))
        assert gone(live)
        assert not turn.locked()
        with pytest.raises(ConditionError):
            live.latest()


# Beginning and end


def test_closing_ends_the_thread_and_frees_the_turn(toy, video):
    turn = threading.Lock()
    live = Live(toy, size=SIZE, turn=turn)
    answered(live, video[0], 0)
    live.close()
    live.close()
    assert gone(live, 0)
    assert not turn.locked()
    assert (live.latest(), live.push(video[0]), live.closed) == (None, False, True)


def test_it_ends_of_itself_when_no_frame_comes(toy, video):
    with Live(toy, size=SIZE, idle=0.3) as live:
        answered(live, video[0], 0)
        assert not live.closed
        assert gone(live)
        assert live.closed
        assert not live.push(video[0])


def test_the_turn_is_free_while_it_waits_for_a_frame(toy, video):
    turn = threading.Lock()
    with Live(toy, size=SIZE, turn=turn) as live:
        answered(live, video[0], 0)
        assert turn.acquire(timeout=5)
        turn.release()


def test_two_visitors_share_a_pipeline_by_turns(toy, video):
    taken: list[str] = []

    class Mine:
        def __init__(self, name: str, turns: Turns) -> None:
            self.name, self.turns = name, turns

        def __enter__(self) -> None:
            self.turns.__enter__()
            taken.append(self.name)

        def __exit__(self, *error: object) -> None:
            self.turns.__exit__(*error)

    turns, expected = Turns(), list(toy.stream(video))
    with turns:
        one, two = (Live(toy, size=SIZE, turn=Mine(name, turns), waiting=12) for name in "ab")
        for frame in video:
            one.push(frame)
            two.push(frame)
        while len(turns._line) < 3:
            time.sleep(0.001)
    with one, two:
        for live in (one, two):
            assert np.array_equal(until(live, lambda seen: seen.number == 11).generated, expected[11])
    assert taken[:24] in (list("ab" * 12), list("ba" * 12))


def test_memory_does_not_grow_with_what_is_pushed(toy, video):
    big = np.zeros((480, 640, 3), np.uint8)
    big[:HEIGHT, :WIDTH] = video[0]
    with Live(toy, size=(16, 24)) as live:

        def push(frames: int) -> None:
            for _ in range(frames):
                assert live.push(big)
                time.sleep(0.004)
            assert len(live._queue) <= 2
            assert len(live._looked_at) <= 1

        push(60)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        push(300)
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown < 30_000, f"{grown} KiB more after frames of 900 KiB each"


# Beside it: blocks, and sizes


@pytest.mark.parametrize("block", [1, 3])
def test_a_video_is_observed_in_blocks_as_small_as_one_asks_for(video, block):
    seen = list(observe(ToyShapes(), video, block=block))
    assert {len(one.condition) for one in seen} == {block}
    whole = torch.cat([one.condition.maps for one in observe(ToyShapes(), video)])
    assert torch.equal(torch.cat([one.condition.maps for one in seen]), whole)


SIDES = st.tuples(st.integers(1, 5000), st.integers(1, 5000))
PIXELS = st.integers(256, 4_000_000)


@given(SIDES, SIDES | st.none(), PIXELS)
def test_sizes_are_multiples_of_8_and_never_too_large(given, trained, most):
    size = work_size(given, trained, most)
    assert size[0] * size[1] <= most
    assert size == trained or (min(size) >= 16 and all(side % 8 == 0 for side in size))


@given(SIDES, SIDES, st.floats(0.92, 1.08))
def test_a_shape_like_the_trained_one_gets_the_trained_size(given, trained, stretch):
    height, width = 1000 * trained[0], round(1000 * trained[1] * stretch)
    assert work_size((height, width), trained, trained[0] * trained[1]) == trained


@given(st.tuples(st.integers(64, 4000), st.integers(64, 4000)), PIXELS.filter(lambda most: most > 16_000))
def test_other_shapes_are_kept_and_turn_with_the_picture(given, most):
    height, width = work_size(given, None, most)
    assert work_size(given[::-1], None, most) == (width, height)
    long, short = max(height, width), min(height, width)
    if short > 16:  # thinner ones are as thin as can be
        assert abs(long - short * max(given) / min(given)) <= 8


@given(st.tuples(st.integers(2, 200), st.integers(2, 200)), st.integers(0, 1000))
def test_a_size_that_can_be_worked_at_stays(steps, room):
    size = 8 * steps[0], 8 * steps[1]
    assert work_size(size, None, size[0] * size[1] + room) == size


def test_a_cameras_picture_gets_its_shape_at_the_models_area():
    assert work_size((480, 640), (144, 256), 147_456) == (168, 224)
    assert work_size((720, 1280), (144, 256), 147_456) == (144, 256)
    assert work_size((720, 1280), None, 147_456) == (288, 512)
    assert work_size((640, 480), (1024, 2048), 147_456) == (440, 328)

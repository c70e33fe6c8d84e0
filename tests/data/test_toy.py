"""The drawn world keeps its promises: everything it says about a frame is true of the pixels."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tracemalloc

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vid2vid_hub.data.toy import (
    BOX,
    CLASSES,
    CLOSE_UP,
    DISC,
    GROUND,
    PATH,
    TRIANGLE,
    ToyShapes,
    ToyVideo,
    ToyWorld,
)
from vid2vid_hub.errors import ConditionError
from vid2vid_hub.ops.warp import warp
from vid2vid_hub.types import Condition

FIELDS = ("frames", "labels", "instances", "flow", "visible")


@pytest.fixture(scope="module")
def video() -> ToyVideo:
    return ToyWorld(3, 96, 128, objects=5).draw(12)


def agree(one: ToyVideo, other: ToyVideo) -> bool:
    return all(torch.equal(getattr(one, name), getattr(other, name)) for name in FIELDS)


def interior(video: ToyVideo) -> torch.Tensor:
    """Visible pixels whose four bilinear neighbours in the frame before are of the same object: bool (T-1, 1, H, W)."""
    height, width = video.labels.shape[2:]
    x = torch.arange(width) + video.flow[:, 0]
    y = torch.arange(height)[:, None] + video.flow[:, 1]
    frame = torch.arange(len(video.flow))[:, None, None]
    inside = video.visible.clone()
    for column in (x.floor(), x.ceil()):
        for row in (y.floor(), y.ceil()):
            index = frame, 0, row.long().clamp(0, height - 1), column.long().clamp(0, width - 1)
            inside[:, 0] &= video.instances[:-1][index] == video.instances[1:, 0]
    return inside


def test_shapes_and_types(video):
    kinds = {name: (tuple(getattr(video, name).shape), getattr(video, name).dtype) for name in FIELDS}
    assert kinds == {
        "frames": ((12, 3, 96, 128), torch.uint8),
        "labels": ((12, 1, 96, 128), torch.uint8),
        "instances": ((12, 1, 96, 128), torch.int32),
        "flow": ((11, 2, 96, 128), torch.float32),
        "visible": ((11, 1, 96, 128), torch.bool),
    }


def test_the_seed_decides_everything_and_matters(video):
    assert agree(video, ToyWorld(3, 96, 128, objects=5).draw(12))
    assert not torch.equal(video.frames, ToyWorld(4, 96, 128, objects=5).draw(12).frames)


def test_another_process_draws_the_same(video):
    code = (
        "import hashlib; from vid2vid_hub.data.toy import ToyWorld; "
        "print(hashlib.sha256(ToyWorld(3, 96, 128, objects=5).frame(7).image.numpy().tobytes()).hexdigest())"
    )
    ours = hashlib.sha256(video.frames[7].numpy().tobytes()).hexdigest()
    theirs = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert theirs.stdout.strip() == ours


def test_a_frame_depends_on_its_number_alone(video):
    world = ToyWorld(3, 96, 128, objects=5)
    late = world.draw(4, start=8)
    assert torch.equal(late.frames, video.frames[8:])
    assert torch.equal(late.flow, video.flow[8:])
    streamed = list(world.stream(3))
    assert torch.equal(torch.stack([frame.image for frame in streamed]), video.frames[:3])


def test_objects_and_labels_agree(video):
    things = video.labels >= DISC
    assert torch.equal(video.instances[~things], video.labels[~things].int())
    assert torch.equal(video.instances[things] // 1000, video.labels[things].int())
    assert len(video.instances.unique()) == 2 + 5, "five objects, each with an id of its own"
    assert set(video.labels.unique().tolist()) == {GROUND, PATH, DISC, BOX, TRIANGLE}


def test_an_object_keeps_its_id_and_its_class(video):
    """Where a pixel came from, the same object is drawn: rounding apart, ids travel with the flow."""
    height, width = video.labels.shape[2:]
    x = (torch.arange(width) + video.flow[:, 0]).round().long().clamp(0, width - 1)
    y = (torch.arange(height)[:, None] + video.flow[:, 1]).round().long().clamp(0, height - 1)
    before = video.instances[torch.arange(len(video.flow))[:, None, None], 0, y, x]
    same = before == video.instances[1:, 0]
    assert same[video.visible[:, 0]].float().mean() > 0.97
    assert same[interior(video)[:, 0]].all()


@pytest.mark.parametrize(("seed", "size"), [(0, (128, 192)), (1, (64, 64)), (2, (90, 61)), (3, (256, 128))])
def test_warping_by_the_flow_gives_the_next_frame(seed, size):
    video = ToyWorld(seed, *size).draw(10)
    error = (warp(video.frames[:-1].float(), video.flow) - video.frames[1:].float()).abs()
    inside = interior(video)
    assert inside.float().mean() > 0.8, "most of the picture is interior, or this test proves little"
    assert error[inside.expand_as(error)].max() < 2.5
    assert error[inside.expand_as(error)].mean() < 0.5


def test_the_flow_matters_for_that():
    """The same measure with no flow, and with the flow reversed, is far worse; so the test above can fail."""
    video = ToyWorld(0, 128, 192).draw(10)
    inside = interior(video).expand(-1, 3, -1, -1)
    for wrong in (torch.zeros_like(video.flow), -video.flow, video.flow.flip(1)):
        error = (warp(video.frames[:-1].float(), wrong) - video.frames[1:].float()).abs()
        assert error[inside].mean() > 1.5


def test_what_is_not_visible_was_hidden_or_outside(video):
    """Warped ids differ wherever the world says that the surface was covered, and flow leaves the picture elsewhere."""
    height, width = video.labels.shape[2:]
    x = torch.arange(width) + video.flow[:, 0]
    y = torch.arange(height)[:, None] + video.flow[:, 1]
    outside = (x < 0) | (x > width - 1) | (y < 0) | (y > height - 1)
    hidden = ~video.visible[:, 0] & ~outside
    assert outside.any()
    assert hidden.any()
    assert not video.visible[:, 0][outside].any()
    frame = torch.arange(len(video.flow))[:, None, None]
    before = video.instances[frame, 0, y.round().long().clamp(0, height - 1), x.round().long().clamp(0, width - 1)]
    other = before != video.instances[1:, 0]
    assert other[hidden].float().mean() > 0.75, "rounding to a pixel may step over a border, no more"


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 2**32), st.integers(16, 70), st.integers(16, 70), st.integers(1, 4), st.integers(0, 6))
def test_any_size_length_and_number_of_objects(seed, height, width, length, objects):
    video = ToyWorld(seed, height, width, objects).draw(length)
    assert video.frames.shape == (length, 3, height, width)
    assert video.flow.shape == (length - 1, 2, height, width)
    assert video.visible.shape == (length - 1, 1, height, width)
    assert torch.isfinite(video.flow).all()
    assert int(video.labels.max()) < len(CLASSES)
    assert torch.equal(ToyShapes().extract(video.frames).maps, video.labels)


def test_motion_is_bounded_at_any_time():
    flow = torch.stack([ToyWorld(5, 64, 96).frame(t).flow for t in (0, 999, 10**6)])
    assert flow.abs().max() < 8
    assert flow.abs().mean() > 0.1


def test_a_stream_keeps_nothing():
    def peak(length: int) -> int:
        tracemalloc.start()
        try:
            for _ in world.stream(length):
                pass
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    world = ToyWorld(0, 32, 48)
    peak(2)
    assert peak(200) < 1.2 * peak(20)


@pytest.mark.parametrize("size", [(15, 64), (64, 15)])
def test_too_small_a_world_is_refused(size):
    with pytest.raises(ValueError, match=f"at least 16 .* not {size[0]}x{size[1]}"):
        ToyWorld(0, *size)
    with pytest.raises(ValueError, match="not -1"):
        ToyWorld(0, objects=-1)


def test_a_clip_has_the_training_ranges(video):
    clip = video.clip
    assert clip.frames.shape == (1, 12, 3, 96, 128)
    assert -1 <= float(clip.frames.min()) < 0 < float(clip.frames.max()) <= 1
    torch.testing.assert_close((clip.frames[0] + 1) * 127.5, video.frames.float())
    assert clip.flow is not None
    assert clip.flow.shape == (1, 11, 2, 96, 128)


def test_the_task_encodes_frame_by_frame(video):
    task, condition = ToyShapes(), video.condition
    whole = task.encode(condition)
    assert whole.features.shape == (12, task.channels, 96, 128)
    assert torch.equal(whole.features[:, :-1].sum(1), torch.ones(12, 96, 128))
    for t in range(len(condition)):
        alone = task.encode(condition[t : t + 1])
        assert torch.equal(alone.features[0], whole.features[t])
        assert torch.equal(alone.foreground[0], whole.foreground[t])
    assert torch.equal(whole.foreground.bool(), video.labels >= DISC)


def test_edges_part_objects_of_one_class_only_with_instances():
    labels = torch.full((1, 1, 16, 16), DISC, dtype=torch.uint8)
    objects = torch.full((1, 1, 16, 16), 2000, dtype=torch.int32)
    objects[..., 8:] = 2001
    task = ToyShapes()
    assert not task.encode(Condition(labels)).features[:, -1].any()
    assert task.encode(Condition(labels, objects)).features[0, -1].nonzero()[:, 1].unique().tolist() == [7, 8]


def test_the_task_reads_what_it_shows(video):
    task = ToyShapes()
    shown = task.preview(video.condition)
    assert shown.shape == (12, 3, 96, 128)
    assert shown.dtype == torch.uint8
    assert torch.equal(task.extract(shown).maps, video.labels)
    assert torch.equal(task.extract(video.frames).maps, video.labels)
    assert torch.equal(task.parse(video.labels).maps, video.labels)


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 2**32), st.integers(16, 70), st.integers(16, 70), st.integers(0, 4))
def test_regions_are_squares_about_the_discs(seed, height, width, objects):
    condition = ToyWorld(seed, height, width, objects).draw(3).condition
    boxes = ToyShapes().regions(condition)
    assert boxes.shape == (3, 4)
    assert boxes.dtype == torch.int64
    for (x0, y0, x1, y1), maps in zip(boxes.tolist(), condition.maps, strict=True):
        disc = (maps[0] == DISC).nonzero()
        if len(disc) == 0:
            assert (x0, y0, x1, y1) == (0, 0, 0, 0)
            continue
        assert 0 <= x0 < x1 <= width
        assert 0 <= y0 < y1 <= height
        (top, left), (bottom, right) = disc.amin(0).tolist(), (disc.amax(0) + 1).tolist()
        assert x0 <= left
        assert right <= x1
        assert y0 <= top
        assert bottom <= y1
        side = max(bottom - top, right - left, CLOSE_UP)
        assert (x1 - x0, y1 - y0) == (min(side, width), min(side, height))
        assert abs(x0 + x1 - left - right) <= 1 or x0 == 0 or x1 == width, "the middle is kept but at the border"
        assert abs(y0 + y1 - top - bottom) <= 1 or y0 == 0 or y1 == height


def test_a_region_of_a_disc_that_is_hardly_seen_is_still_of_some_size():
    maps = torch.zeros(4, 1, 16, 20, dtype=torch.uint8)
    maps[0, 0, 9, 10] = maps[1, 0, 0, 19] = DISC
    maps[2, 0, 3:5, 2:17] = DISC
    expected = [[6, 5, 14, 13], [12, 0, 20, 8], [2, 0, 17, 15], [0, 0, 0, 0]]
    assert ToyShapes().regions(Condition(maps)).tolist() == expected


def test_the_task_is_rebuilt_from_its_settings():
    task = ToyShapes(**ToyShapes().config())
    assert task.name == "toy"
    assert task.channels == len(CLASSES) + 1
    assert set(task.labels.names) == set(task.labels.palette) == set(range(len(CLASSES)))
    assert task.recipe is None
    assert task.parts() == {}


def test_a_label_that_is_no_class_is_named():
    maps = torch.zeros(3, 1, 16, 20, dtype=torch.uint8)
    maps[2, 0, 5, 7] = 9
    reads = (
        lambda task: task.encode(Condition(maps)),
        lambda task: task.regions(Condition(maps)),
        lambda task: task.parse(maps),
    )
    for read in reads:
        with pytest.raises(ConditionError, match="frame 2: the label is 9 at x 7, y 5; toy has the classes 0 to 4"):
            read(ToyShapes())
    with pytest.raises(ConditionError, match="one map of classes per frame, not 3"):
        ToyShapes().encode(Condition(torch.zeros(1, 3, 16, 16, dtype=torch.uint8)))

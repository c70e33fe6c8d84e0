"""Key points in clips: what is stored is what training reads, at every size, mirrored, varied by its seed."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from vid2vid_hub.data.clips import (
    PreparedClip,
    Window,
    collate,
    encode_clip,
    epoch_windows,
    mirror,
    read_window,
    resize,
    stretch,
)
from vid2vid_hub.data.encode import VideoWriter
from vid2vid_hub.data.maps import write_maps
from vid2vid_hub.errors import ConditionError, DatasetError
from vid2vid_hub.tasks import Task
from vid2vid_hub.types import Condition, Encoded

LENGTH, SIZE = 6, (16, 24)


class Dots(Task):
    """Two points, left and right, drawn as single pixels."""

    name = "dots"
    channels = 2
    points = 2
    mirrored = (1, 0)

    def encode(self, condition: Condition) -> Encoded:
        picture = torch.zeros(len(condition), 2, *condition.size)
        for t, points in enumerate(condition.points):
            for n, (x, y, confidence) in enumerate(points.tolist()):
                if confidence:
                    picture[t, n, round(y), round(x)] = 1
        return Encoded(picture)

    def augment(self, condition: Condition, random: torch.Generator) -> Condition:
        there = (torch.rand(2, generator=random) < 0.5).float()
        return replace(condition, points=condition.points * there[:, None])


@pytest.fixture
def points() -> Tensor:
    there = torch.tensor([[[4.0, 5.0, 0.5], [20.0, 6.0, 1.0]]]).repeat(LENGTH, 1, 1)
    there[:, :, 0] += torch.arange(LENGTH)[:, None] * 0.25
    there[2, 0] = 0
    return there


@pytest.fixture
def clip(tmp_path, points: Tensor) -> PreparedClip:
    with VideoWriter(tmp_path / "a.mp4", 25) as writer:
        for _ in range(LENGTH):
            writer.write(torch.zeros(*SIZE, 3, dtype=torch.uint8).numpy())
    write_maps(tmp_path / "a.condition.mkv", torch.zeros(LENGTH, 1, *SIZE, dtype=torch.uint8), Fraction(25))
    save_file({"points": points}, tmp_path / "a.points.safetensors")
    return PreparedClip(
        tmp_path,
        "a",
        LENGTH,
        SIZE,
        Fraction(25),
        1,
        "a.mp4",
        "a.condition.mkv",
        points_file_name="a.points.safetensors",
    )


def test_stored_points_are_read_back_exactly(clip: PreparedClip, points: Tensor):
    again = PreparedClip.from_record(clip.folder, clip.record())
    assert again == clip
    assert torch.equal(again.condition(1, 5).points, points[1:5])
    window = read_window(again, Window(0, 1, 4))
    assert torch.equal(window.points, points[None, 1:5])
    assert torch.equal(stretch(window, 1, 3).points, points[None, 2:4])
    assert torch.equal(collate([window, window]).points, points[1:5].expand(2, -1, -1, -1))
    assert collate([window, replace(window, points=None)]).points is None


def test_damaged_points_are_named(clip: PreparedClip):
    (clip.folder / clip.points_file_name).write_bytes(b"no points")
    with pytest.raises(DatasetError, match=r"a\.points\.safetensors does not hold the points"):
        clip.condition(0, 2)


@pytest.mark.parametrize("size", [(32, 48), (8, 12), (16, 48)])
def test_points_keep_to_their_pixels_when_pictures_are_resized(clip: PreparedClip, size: tuple[int, int]):
    """The middle of the picture stays the middle, and so does everything else, to a fraction of a pixel."""
    window = read_window(clip, Window(0, 0, LENGTH))
    moved = resize(window, size).points[0]
    assert torch.equal(moved, window.condition.resized(size).points)
    assert torch.equal(moved[2, 0], torch.zeros(3)), "what is not there stays nowhere"
    share = (moved[0, :, :2] + 0.5) / torch.tensor((size[1], size[0]))
    assert torch.allclose(share, (window.points[0, 0, :, :2] + 0.5) / torch.tensor((SIZE[1], SIZE[0])))


def test_a_mirrored_window_is_drawn_mirrored(clip: PreparedClip):
    task = Dots()
    plain, turned = (read_window(clip, Window(0, 0, LENGTH, flip=flip), None, task) for flip in (False, True))
    features, mirror_features = (encode_clip(task, one)[0][0] for one in (plain, turned))
    assert torch.equal(mirror_features[0], features[0].flip(-1).flip(0)), "left is right in a mirror"
    back = mirror(turned, task.mirrored)
    assert torch.equal(back.points, plain.points)


def test_a_task_varies_a_window_by_its_seed_alone(clip: PreparedClip, points: Tensor):
    task = Dots()
    drawn = {seed: read_window(clip, Window(0, 0, LENGTH, seed=seed), SIZE, task).points for seed in range(8)}
    for seed, varied in drawn.items():
        assert torch.equal(varied, read_window(clip, Window(0, 0, LENGTH, seed=seed), SIZE, task).points)
    assert len({tuple(varied.sum((0, 1, 3)).tolist()) for varied in drawn.values()}) > 1
    assert torch.equal(read_window(clip, Window(0, 0, LENGTH), SIZE, task).points, points[None]), "no seed, no change"


def test_windows_have_seeds_of_their_epoch():
    one, again, other = (epoch_windows([40], 4, 0.5, seed=3, epoch=epoch) for epoch in (0, 0, 1))
    assert one == again
    assert len({window.seed for window in [*one, *other]}) == 20


@pytest.mark.parametrize(
    "points", [torch.zeros(3, 2, 3), torch.zeros(2, 2, 2), torch.zeros(2, 2), torch.zeros(2, 2, 3).double()]
)
def test_points_of_another_kind_are_refused(points: Tensor):
    with pytest.raises(ConditionError, match=r"points must be float32 \(2, P, 3\)"):
        Condition(torch.zeros(2, 1, 4, 4, dtype=torch.uint8), points=points)

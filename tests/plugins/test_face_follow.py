"""Following a face through a shot: gaps, several faces, crops whose landmarks stay on the pixels, look-ahead."""

from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor

from vid2vid_face import SketchToFace
from vid2vid_face.estimate import Face
from vid2vid_face.proportions import GROUPS, measured
from vid2vid_hub.errors import TaskError
from vid2vid_hub.types import Observed

Script = Callable[[int], list[Face]]


class Knowing:
    """An estimator that is told what is in each frame of a shot."""

    def __init__(self, script: Script) -> None:
        self.script, self.asked = script, 0

    def session(self):
        return self._look

    def _look(self, frame: Tensor) -> list[Face]:
        self.asked += 1
        return self.script(self.asked - 1)


@pytest.fixture
def watch(monkeypatch: pytest.MonkeyPatch):
    """Observe frames in blocks of eight with an estimator that follows a script."""

    def watch(script: Script, frames: Tensor, **settings: object) -> list[Observed]:
        estimator = Knowing(script)
        monkeypatch.setattr("vid2vid_face.task.load_estimator", lambda name, weights: estimator)
        blocks = (frames[i : i + 8] for i in range(0, len(frames), 8))
        seen = list(SketchToFace(**settings).observe(blocks))
        assert sum(len(one.frames) for one in seen) == len(frames)
        assert {one.frames.shape[1:] for one in seen} == {seen[0].frames.shape[1:]}
        return seen

    return watch


def talk(seed: int, frames: int, size: tuple[int, int] = (96, 96)) -> tuple[Tensor, Tensor]:
    seen = list(SketchToFace(canny=False).draw(seed, frames, size))
    return torch.cat([one.frames for one in seen]), torch.cat([one.condition.points for one in seen])


def points_of(seen: list[Observed]) -> Tensor:
    return torch.cat([one.condition.points for one in seen])


def test_what_is_found_is_followed_smoothly(watch):
    frames, truth = talk(6, 20)
    shake = 1.5 * torch.randn(20, 68, 2, generator=torch.Generator().manual_seed(0))
    rough = truth.clone()
    rough[..., :2] += shake
    found = points_of(watch(lambda t: [Face(rough[t])], frames))
    assert torch.equal(found[0], rough[0])
    tremble, before = (
        (p[1:, :, :2] - p[:-1, :, :2] - (truth[1:, :, :2] - truth[:-1, :, :2])).std() for p in (found, rough)
    )
    assert tremble < 0.6 * before
    assert (found - truth)[..., :2].norm(dim=-1).mean() < (rough - truth)[..., :2].norm(dim=-1).mean()


@pytest.mark.parametrize(("gap", "lost"), [(5, 0), (8, 3)])
def test_short_gaps_are_held_and_long_ones_are_said(watch, gap: int, lost: int):
    frames, truth = talk(6, 24)
    away = range(8, 8 + gap)
    seen = watch(lambda t: [] if t in away else [Face(truth[t])], frames)
    missing = [what for one in seen for what in SketchToFace().missing(one.condition)]
    assert missing == [None] * (8 + gap - lost) + ["no face"] * lost + [None] * (16 - gap)


def test_the_largest_face_is_followed_though_another_grows_and_a_person_is_told(watch):
    frames, truth = talk(6, 12)
    other = truth.clone()
    other[..., :2] = other[..., :2] * 0.5 + 200

    def script(t: int) -> list[Face]:
        if t < 4:
            return [Face(truth[t])]
        faces = [Face(truth[t]), Face(other[t])]
        return faces if t < 8 else faces[::-1]

    seen = watch(script, frames)
    assert (points_of(seen)[..., 0] < 150).all()
    notes = [(first + note.frame, note.text) for first, one in zip((0, 8), seen, strict=True) for note in one.notes]
    assert [frame for frame, _ in notes] == list(range(4, 12))
    assert notes[0][1].startswith("2 faces")


def test_tracks_tell_faces_apart_that_cross(watch):
    frames, truth = talk(6, 12)
    there = torch.where(torch.arange(68)[:, None] >= 0, torch.tensor((1.0, 0.0, 0.0)), 0)

    def script(t: int) -> list[Face]:
        one, other = truth[t] + 10 * t * there, truth[t] + 10 * (11 - t) * there
        return [Face(one, 4), Face(other, 7)] if t < 6 else [Face(other, 7), Face(one, 4)]

    centres = points_of(watch(script, frames))[..., 0].mean(1)
    assert (centres.diff() > 0).all()


def test_another_face_starts_anew_instead_of_gliding_over(watch):
    frames, truth = talk(6, 6)
    far = truth + torch.tensor((300.0, 0.0, 0.0))
    found = points_of(watch(lambda t: [Face(truth[t] if t < 3 else far[t])], frames))
    assert torch.equal(found[3], far[3])


def scene(frames: int, size: tuple[int, int] = (120, 200)) -> tuple[Tensor, Tensor]:
    """A small face that wanders across a wider picture."""
    faces, points = talk(6, frames, (64, 64))
    wide = torch.zeros(frames, 3, *size, dtype=torch.uint8)
    moved = points.clone()
    for t in range(frames):
        x, y = 20 + 2 * t, 30
        wide[t, :, y : y + 64, x : x + 64] = faces[t]
        moved[t, :, :2] += torch.tensor((x, y))
    return wide, moved


def test_a_crop_keeps_landmarks_on_their_pixels(watch):
    frames, truth = scene(40)
    seen = watch(lambda t: [Face(truth[t])], frames, crop=True)
    cut, found = torch.cat([one.frames for one in seen]), points_of(seen)
    whole = points_of(watch(lambda t: [Face(truth[t])], frames))
    side = cut.shape[-1]
    assert cut.shape[-2:] == (side, side)
    width = truth[0, :, 0].max() - truth[0, :, 0].min()
    assert abs(side - 2.5 * width) <= 1
    corners = (whole - found)[:, 0, :2].round().long()
    assert torch.allclose(whole - found, torch.nn.functional.pad(corners, (0, 1)).float()[:, None], atol=1e-3)
    for frame, piece, (x, y) in zip(frames, cut, corners.tolist(), strict=True):
        assert torch.equal(frame[:, y : y + side, x : x + side], piece)
    assert corners[-1, 0] > corners[0, 0] + 30, "the crop follows"
    assert corners.diff(dim=0).abs().max() <= 6, "and does not jump"
    centre = found[..., :2].mean(1)
    assert ((centre - side / 2).abs() < 0.25 * side).all()


def test_the_first_crop_is_where_the_rule_says(watch):
    frames, truth = scene(1)
    (seen,) = watch(lambda t: [Face(truth[t])], frames, crop=True)
    x, y = truth[0, :, 0], truth[0, :, 1]
    side = seen.frames.shape[-1]
    corner = (truth - seen.condition.points)[0, 0, :2]
    assert corner[0] == pytest.approx(((x.min() + x.max()) / 2 - (side - 1) / 2).item(), abs=0.51)
    wanted = ((3 * y.min() + y.max()) / 4 - (side - 1) / 2).item()
    assert corner[1] == pytest.approx(min(max(wanted, 0), 120 - side), abs=0.51)


def test_a_face_that_comes_late_sizes_the_crop_and_none_at_all_gives_the_largest_square(watch):
    frames, truth = scene(20)
    late = watch(lambda t: [Face(truth[t])] if t >= 12 else [], frames, crop=True)
    width = truth[12, :, 0].max() - truth[12, :, 0].min()
    assert abs(late[0].frames.shape[-1] - 2.5 * width) <= 1
    assert SketchToFace().missing(late[0].condition) == ["no face"] * 8
    assert late[0].condition.points.eq(0).all()
    empty = watch(lambda t: [], frames, crop=True)
    assert empty[0].frames.shape[-2:] == (120, 120)


def test_edges_are_of_the_crop_and_can_be_left_out(watch):
    from vid2vid_face.sketch import canny

    frames, truth = scene(4)
    (seen,) = watch(lambda t: [Face(truth[t])], frames, crop=True)
    assert torch.equal(seen.condition.maps, canny(seen.frames))
    (bare,) = watch(lambda t: [Face(truth[t])], frames, canny=False)
    assert bare.condition.maps.eq(0).all()


def test_whoever_is_seen_gets_the_reference_proportions(watch):
    frames, truth = talk(1, 64)
    reference = SketchToFace().measure(one.condition for one in SketchToFace().draw(6, 64, (96, 96)))["reference"]
    kept, swapped = (
        measured([points_of(watch(lambda t: [Face(truth[t])], frames, reference=reference, retarget=how))])
        for how in ("none", "parts")
    )
    for group in GROUPS:
        assert swapped[group] == pytest.approx(reference[group], abs=5e-3), group
    assert any(kept[group] != pytest.approx(reference[group], abs=5e-2) for group in GROUPS)


def test_retargeting_without_a_reference_says_where_to_get_one(watch):
    frames, truth = talk(6, 2)
    with pytest.raises(TaskError, match="no reference; use a pipeline that was trained"):
        watch(lambda t: [Face(truth[t])], frames, retarget="parts")


@pytest.mark.parametrize("settings", [{}, {"crop": True}, {"retarget": "parts"}])
def test_no_more_than_sixty_four_frames_are_waited_for(monkeypatch, settings: dict):
    frames, truth = talk(6, 1, (32, 32))
    handed = 0

    def endless() -> Iterator[Tensor]:
        nonlocal handed
        while True:
            handed += 1
            yield frames

    reference = {group: [1.0] * 4 for group in GROUPS}
    estimator = Knowing(lambda t: [] if t < 100 else [Face(truth[0])])
    monkeypatch.setattr("vid2vid_face.task.load_estimator", lambda name, weights: estimator)
    shot = SketchToFace(reference=reference, **settings).observe(endless())
    ahead = []
    for block in range(12):
        next(shot)
        ahead.append(handed - 8 * block)
    assert max(ahead) <= 64 + 8
    assert max(ahead) > 8 or not settings


def test_frames_of_another_kind_are_refused(monkeypatch):
    monkeypatch.setattr("vid2vid_face.task.load_estimator", lambda name, weights: Knowing(lambda t: []))
    with pytest.raises(TaskError, match=r"uint8 \(T, 3, H, W\), not torch.float32"):
        next(SketchToFace().observe([torch.zeros(1, 3, 8, 8)]))
    with pytest.raises(TaskError, match=r"uint8 \(T, 3, H, W\)"):
        SketchToFace().extract(torch.zeros(1, 1, 8, 8, dtype=torch.uint8))
    assert len(SketchToFace().extract(torch.zeros(0, 3, 8, 8, dtype=torch.uint8))) == 0

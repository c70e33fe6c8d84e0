"""The preview of a dataset: every clip beside its condition, in a minute at most."""

import torch

from tests.data.shots_world import SIZE, film, save, shot
from vid2vid_hub.data import preview
from vid2vid_hub.data.clips import read_clips
from vid2vid_hub.data.prepare import Material, prepare
from vid2vid_hub.data.toy import ToyShapes
from vid2vid_hub.data.video import open_video

TASK = ToyShapes()


def test_a_preview_shows_every_clip_beside_its_condition(tmp_path):
    frames, labels, _ = film(20, 9, 25)
    material = Material(save(tmp_path / "film", frames), save(tmp_path / "labels", labels))
    folder = prepare([material], tmp_path / "data", TASK).folder
    with open_video(folder / "preview.mp4") as reader:
        pictures = reader.read(range(len(reader)))
    assert pictures.shape == (45, 20 + SIZE[0], 2 * SIZE[1], 3)
    real, seen = torch.from_numpy(pictures[:, 20:]).movedim(-1, 1).float().split(SIZE[1], 3)
    kept = torch.cat([torch.arange(20), torch.arange(29, 54)])
    assert (real - frames[kept]).abs().mean() < 16
    expected = torch.cat([TASK.preview(clip.condition(0, clip.length)) for clip in read_clips(folder, "train")])
    assert (seen - expected).abs().mean() < 16
    assert pictures[:, :20].max() > 200, "the clip's name"


def test_a_preview_is_as_short_as_it_should_be(tmp_path, monkeypatch):
    assert (preview.SECONDS, preview.CLIP_SECONDS) == (60, 3)
    monkeypatch.setattr(preview, "SECONDS", 4.0)
    folder = prepare([Material(save(tmp_path / "film", shot(0, 90)[0]))], tmp_path / "data", TASK).folder
    clips = read_clips(folder, "train")
    for count, frames in ((1, 75), (2, 100), (8, 96), (9, 96)):
        preview.write_preview(tmp_path / "preview.mp4", clips * count, TASK)
        with open_video(tmp_path / "preview.mp4") as reader:
            assert (len(reader), reader.fps) == (frames, 25)

"""Marks of generated videos: what their containers say, and the small letters that people see."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vid2vid_hub.data.decode import AVReader
from vid2vid_hub.data.encode import VideoWriter
from vid2vid_hub.data.mark import SOURCE_TYPE, marked, provenance

SIZES = [(24, 40), (40, 40), (32, 48), (64, 64), (144, 256), (256, 144), (720, 1280), (1080, 608), (1024, 2048)]


def plain(size, value):
    return np.full((*size, 3), value, np.uint8)


def noise(size):
    return np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)


def changed(size):
    """Where the mark is: on white its pill shows, on black its letters."""
    return np.any([(marked(plain(size, value)) != value).any(2) for value in (0, 255)], axis=0)


@pytest.mark.parametrize("size", SIZES)
def test_only_the_corner_changes(size):
    rows, columns = np.nonzero(changed(size))
    height, width = size
    assert len(rows)
    small = min(size)
    assert rows.max() - rows.min() < max(12, 0.065 * small)
    assert columns.max() - columns.min() < max(18, 0.1 * small)
    assert columns.min() >= width / 2
    assert 0 < height - 1 - rows.max() == width - 1 - columns.max() <= max(3, 0.02 * small), "not at the very border"
    picture = noise(size)
    out = marked(picture)
    assert (out.shape, out.dtype) == (picture.shape, np.uint8)
    outside = np.ones(size, bool)
    outside[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1] = False
    assert np.array_equal(out[outside], picture[outside])


def light(values):
    """Relative luminance of grey, as WCAG has it."""
    share = np.asarray(values) / 255
    return np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("value", [0, 60, 128, 200, 255])
def test_it_can_be_read_on_anything(size, value):
    rows, columns = np.nonzero(changed(size))
    inside = marked(plain(size, value))[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
    pill, letters = np.median(inside), np.percentile(inside, 97)
    assert (light(letters) + 0.05) / (light(pill) + 0.05) > 4.5
    if value > 60:
        assert pill < value / 2, "dark, whatever is behind it"


def test_the_letters_are_those_that_are_meant():
    """An A, as wide at its foot as anywhere and narrow at its top, then a straight I."""
    inside = marked(plain((1024, 2048), 0))[..., 0] > 128
    columns = np.flatnonzero(inside.any(0))
    gaps = np.flatnonzero(np.diff(columns) > 1)
    assert len(gaps) == 1
    first, second = (inside[:, run.min() : run.max() + 1] for run in np.split(columns, gaps + 1))
    across = first[first.any(1)]
    assert across[0].sum() < 0.3 * across.shape[1]
    assert np.ptp(np.flatnonzero(across[-1])) == across.shape[1] - 1
    assert second[second.any(1)].all()


def test_it_is_a_copy():
    for size in ((16, 16), (64, 96)):
        picture = noise(size)
        before = picture.copy()
        picture.flags.writeable = False
        out = marked(picture)
        assert not np.shares_memory(out, picture)
        assert out.flags.writeable
        out[:] = 0
        assert np.array_equal(picture, before)


def test_a_view_may_be_given():
    picture = noise((2 * 64, 2 * 96))
    view = picture[::2, ::-2]
    assert np.array_equal(marked(view), marked(np.ascontiguousarray(view)))


@given(st.integers(1, 200), st.integers(1, 200))
def test_every_size_is_taken_and_those_too_small_stay_bare(height, width):
    picture = plain((height, width), 200)
    bare = np.array_equal(marked(picture), picture)
    assert bare == (height < 16 or width < 40)


def test_the_same_frame_gets_the_same_mark():
    assert np.array_equal(marked(noise((64, 96))), marked(noise((64, 96))))


# What containers say.


@pytest.mark.parametrize("kind", ["mp4", "mkv", "mov"])
def test_containers_keep_it(tmp_path, kind):
    said = provenance("org/Größe.of-it_1")
    with VideoWriter(tmp_path / f"out.{kind}", Fraction(25), metadata=said) as writer:
        writer.write(noise((32, 48)))
    held = AVReader(tmp_path / f"out.{kind}").metadata
    assert {key: held.get(key) for key in said} == said
    assert said["digital_source_type"] == SOURCE_TYPE


@pytest.mark.parametrize(
    ("model", "named"),
    [
        ("org/name", "org/name"),
        ("some-org/vid2vid_street.v1", "some-org/vid2vid_street.v1"),
        ("street-starter", "street-starter"),
        ("/secret/place/model", "model"),
        ("/secret/place/model/", "model"),
        ("/model", "model"),
        ("secret/place/model", "model"),
        ("./model", "model"),
        ("~/model", "model"),
        ("../model", "model"),
        ("/", "an unnamed model"),
        ("..", "an unnamed model"),
        ("", None),
        (".", None),
        ("/secret/ ", "an unnamed model"),
        ("/secret/\x00\x07\n", "an unnamed model"),
        ("/secret/two\nlines\x1b[31m", "twolines[31m"),
        ("/secret/\u202egnp.ledom\udc80", "gnp.ledom"),
        ("/secret/modèle 模型", "modèle 模型"),
        ("/secret/" + "m" * 300, "m" * 100),
        ("m" * 300 + "/model", "model"),
        ("org/" + "m" * 300, "m" * 100),
    ],
)
def test_a_model_is_named_without_its_place(tmp_path, monkeypatch, model, named):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    said = provenance(model)["comment"]
    assert said == f"synthetic video, generated by {named or 'here'} with vid2vid-hub"


def test_a_folder_that_could_be_on_the_hub_is_a_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert "by secret/model with" in provenance("secret/model")["comment"]
    (tmp_path / "secret/model").mkdir(parents=True)
    assert "by model with" in provenance("secret/model")["comment"]


@given(st.text(max_size=150))
def test_whatever_a_model_is_called_is_said_in_a_line(name):
    said = provenance(f"/secret/{name}")["comment"]
    assert said.isprintable()
    assert "/" not in said
    assert len(said) <= 160

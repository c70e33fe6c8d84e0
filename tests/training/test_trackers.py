"""Trackers: what is logged can be read back, a resumed run goes on, and what is missing is said in one sentence."""

from __future__ import annotations

import importlib
import sys

import pytest
from accelerate import Accelerator
from accelerate.tracking import GeneralTracker
from hypothesis import given
from hypothesis import strategies as st

from vid2vid_hub.errors import MissingExtraError, RecipeError
from vid2vid_hub.training import trackers

RECIPE = {"task": "toy", "stages": [{"width": 48, "height": 32}], "loss": {"gan": 1.0}, "teacher": {"weights": None}}


@pytest.fixture
def accelerator():
    accelerator = Accelerator()
    yield accelerator
    trackers.end(accelerator)


def curves(folder):
    """Tag -> [(step, value)] of the event files in one folder, as TensorBoard shows them."""
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    events = accumulator.EventAccumulator(str(folder)).Reload()
    return {tag: [(event.step, event.value) for event in events.Scalars(tag)] for tag in events.Tags()["scalars"]}


def hyper_parameters(folder):
    """The hyper-parameters in the event files of one folder, as TensorBoard shows them."""
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

    events = accumulator.EventAccumulator(str(folder)).Reload()
    held = events.summary_metadata["_hparams_/session_start_info"].plugin_data.content
    hparams = HParamsPluginData.FromString(held).session_start_info.hparams
    return {name: getattr(value, value.WhichOneof("kind")) for name, value in hparams.items()}


def test_tensorboard_shows_what_was_logged(accelerator, tmp_path):
    pytest.importorskip("tensorboard")
    trackers.start_trackers(accelerator, ("tensorboard",), tmp_path / "run", RECIPE)
    trackers.log(accelerator, {"gan": 0.5, "flow": 2.0}, 1)
    trackers.log(accelerator, {"gan": 0.25}, 7)
    trackers.end(accelerator)
    assert curves(tmp_path / "run/tensorboard") == {"gan": [(1, 0.5), (7, 0.25)], "flow": [(1, 2.0)]}
    (folder,) = {path.parent for path in (tmp_path / "run/tensorboard").glob("*/events*")}
    assert hyper_parameters(folder) == {
        "task": "toy",
        "stages.0.width": 48,
        "stages.0.height": 32,
        "loss.gan": 1.0,
        "teacher.weights": "null",
    }


def test_a_resumed_run_goes_on_where_its_checkpoint_was(accelerator, tmp_path):
    """Steps 3 and 4 came after the checkpoint and happen again: the curve does not go back."""
    pytest.importorskip("tensorboard")
    trackers.start_trackers(accelerator, ("tensorboard",), tmp_path, RECIPE)
    for step in (1, 2, 3, 4):
        trackers.log(accelerator, {"gan": step}, step)
    trackers.end(accelerator)
    trackers.start_trackers(accelerator, ("tensorboard",), tmp_path, RECIPE, step=2)
    for step in (3, 4, 5):
        trackers.log(accelerator, {"gan": step * 10}, step)
    trackers.end(accelerator)
    assert curves(tmp_path / "tensorboard")["gan"] == [(1, 1), (2, 2), (3, 30), (4, 40), (5, 50)]


def test_a_second_start_ends_the_first(accelerator, tmp_path):
    pytest.importorskip("tensorboard")
    for run in ("one", "other"):
        trackers.start_trackers(accelerator, ("tensorboard", "tensorboard"), tmp_path / run, RECIPE)
        trackers.log(accelerator, {"gan": 1.0}, 1)
    trackers.end(accelerator)
    trackers.end(accelerator)
    trackers.log(accelerator, {"gan": 2.0}, 2)
    for run in ("one", "other"):
        assert curves(tmp_path / run / "tensorboard") == {"gan": [(1, 1.0)]}
        assert len(list((tmp_path / run / "tensorboard").glob("events*"))) == 1, "a name given twice counts once"


def test_the_end_lets_every_tracker_finish(accelerator, tmp_path):
    """Hosted trackers hold values back until then."""

    class Hosted(GeneralTracker):
        name, requires_logging_directory, tracker = "hosted", False, None
        finished = 0

        def finish(self):
            self.finished += 1

    hosted = Hosted()
    accelerator.trackers = [hosted]
    trackers.end(accelerator)
    trackers.end(accelerator)
    assert hosted.finished == 1


def test_no_trackers_write_nothing(accelerator, tmp_path):
    trackers.start_trackers(accelerator, (), tmp_path, RECIPE)
    trackers.log(accelerator, {"gan": 1.0}, 1)
    assert not list(tmp_path.iterdir())


def test_an_unknown_name_lists_the_known_ones_and_starts_nothing(accelerator, tmp_path):
    with pytest.raises(RecipeError, match=r"no tracker 'tensorbord'; there are tensorboard, trackio, wandb$"):
        trackers.start_trackers(accelerator, ("tensorboard", "tensorbord"), tmp_path, RECIPE)
    assert not list(tmp_path.iterdir())
    assert not accelerator.trackers


@pytest.mark.parametrize(
    ("name", "install"), [("tensorboard", r"'vid2vid-hub\[track\]'"), ("wandb", "wandb"), ("trackio", "trackio")]
)
def test_a_missing_package_says_what_to_type(accelerator, tmp_path, monkeypatch, name, install):
    monkeypatch.setattr(trackers, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=rf"^the tracker '{name}' needs {name}.*: pip install {install}$"):
        trackers.start_trackers(accelerator, (name,), tmp_path, RECIPE)
    assert not list(tmp_path.iterdir())


def test_a_folder_of_its_name_is_no_package(tmp_path, monkeypatch):
    """Weights & Biases leaves a folder called wandb wherever it ran, and Python would import it."""
    (tmp_path / "wandb").mkdir()
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    monkeypatch.delitem(sys.modules, "wandb", raising=False)
    importlib.invalidate_caches()
    with pytest.raises(MissingExtraError, match="pip install wandb"):
        trackers.check_trackers(("wandb",))


plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=10,
)


def leaves(value):
    if isinstance(value, list | dict):
        return [leaf for inner in (value.values() if isinstance(value, dict) else value) for leaf in leaves(inner)]
    return ["null" if value is None else value]


@given(st.dictionaries(st.sampled_from("abc"), plain))
def test_flat_keeps_every_value_once_and_in_order(values):
    assert list(trackers.flat(values).values()) == leaves(values)


def test_flat_says_where_a_value_was():
    assert trackers.flat({"a": {"b": [1, {"c": None}], "d": {}}, "e": (2.5, True)}) == {
        "a.b.0": 1,
        "a.b.1.c": "null",
        "e.0": 2.5,
        "e.1": True,
    }

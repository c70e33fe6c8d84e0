"""Released networks, converted and run through the pipeline, make the released system's frames."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.convert.released_task import FloatMaps, carried
from vid2vid_hub import Vid2VidPipeline
from vid2vid_hub.convert import convert
from vid2vid_hub.types import Condition

TOLERANCE = 1e-7
STREET, FACE, POSE = "street_s2_fg", "face_s1", "pose_s1_noflow"
MEANT = {
    STREET: ("seg2street", {}),  # its label set is made of the case's options
    FACE: (None, {}),
    POSE: ("pose2dance", {"inputs": "openpose"}),
}


def label_set(options: dict) -> dict:
    """So many classes without a meaning, some of them foreground."""
    classes = [{"id": n, "name": f"class {n}", "colour": [n, 0, 0]} for n in range(options["label_nc"])]
    return {"name": "fixture", "classes": classes, "foreground": options["fg_labels"]}


@pytest.fixture(scope="module", params=list(MEANT))
def case(request: pytest.FixtureRequest, shared: Path, tmp_path_factory: pytest.TempPathFactory):
    """The name of a case, its inputs and frames, and its pipeline."""
    folder = shared / "fixtures" / "released" / request.param
    options = json.loads((folder / "config.json").read_text())["options"]
    inputs, expected = np.load(folder / "inputs.npz"), np.load(folder / "outputs_f64.npz")
    task, settings = MEANT[request.param]
    if "label_nc" in options:
        settings = {"label_set": label_set(options)}
    output = tmp_path_factory.mktemp("converted") / request.param
    converted = convert(folder, output, task=task, task_config=settings, size=(64, inputs[inputs.files[0]].shape[-1]))
    others = {} if "label" in inputs else {"task": FloatMaps(planes=inputs["A"].shape[1])}
    pipeline = Vid2VidPipeline.from_pretrained(converted.folder, **others).to(torch.float64)
    return request.param, inputs, expected, pipeline


def test_the_pipeline_makes_the_released_frames(case, record_property):
    name, inputs, expected, pipeline = case
    if "label" in inputs:
        condition = Condition(torch.from_numpy(inputs["label"])[:, None], torch.from_numpy(inputs["inst"])[:, None])
    else:
        condition = carried(inputs["A"])
    # Where the release begins from nothing, its first two conditions make no frame: they are followed by zeros.
    first = torch.from_numpy(inputs["real_B"][:2]) if "real_B" in inputs else torch.zeros(2, 3, *condition.size)
    frames = list(pipeline.steps([condition], first_frames=first.double()))
    made = torch.cat([frame.image for frame in frames])
    assert torch.equal(made[:2], first.double())
    worst = float((made[2:] - torch.from_numpy(expected["fake_B"])).abs().max())
    print(f"\n{name:16} largest difference through the pipeline {worst:.1e}")
    record_property("largest_difference", worst)
    assert worst < TOLERANCE


def test_the_frames_are_those_of_the_composition_by_name(case):
    """What else the folder says of a released network: foreground pasted over, its size, where it comes from."""
    name, _, expected, pipeline = case
    assert pipeline.generator.config.composition == "released"
    assert pipeline.size == tuple(expected["fake_B"].shape[2:])
    assert pipeline.generator.has_foreground == (name == STREET)
    assert pipeline.generator.config.flow == (name != POSE)

"""Our networks, given released weights, make the released system's frames."""

import json

import numpy as np
import pytest
import torch

from tests.released import load
from vid2vid_hub.ops.raster import instance_edges, one_hot
from vid2vid_hub.ops.windows import pyramid


@pytest.mark.parametrize("case", ["street_s2_fg", "face_s1", "pose_s1_noflow"])
def test_released_frames(shared, case, record_property):
    folder = shared / "fixtures" / "released" / case
    options = json.loads((folder / "config.json").read_text())["options"]
    inputs, expected = np.load(folder / "inputs.npz"), np.load(folder / "outputs_f64.npz")
    foreground = None
    if "label" in inputs:
        labels = torch.from_numpy(inputs["label"])[:, None]
        onehot = one_hot(labels, options["label_nc"]).double()
        edges = instance_edges(torch.from_numpy(inputs["inst"])[:, None]).double()
        features = torch.cat((onehot, edges), 1)
        foreground = onehot[:, options["fg_labels"]].sum(1, keepdim=True)
    else:
        features = torch.from_numpy(inputs["A"]).double()
    assert np.array_equal(features[2].numpy(), expected["net_input_frame2"])
    generator = load(folder, options, features.shape[1])
    first = None if options.get("no_first_img") else torch.from_numpy(inputs["real_B"][None, :2]).double()
    memory = generator.begin(features[None, :2], first)
    worst = 0.0
    with torch.inference_mode():
        for t in range(2, len(features)):
            where = None if foreground is None else foreground[None, t]
            made = list(generator.steps(memory, features[None, t], where))
            for scale, (frame, _) in enumerate(made):
                pairs = {"final": frame.image, "flow": frame.flow, "mask": frame.mask}
                for name, ours in pairs.items():
                    if ours is not None:
                        theirs = torch.from_numpy(expected[f"s{scale}_{name}"][t - 2])
                        worst = max(worst, float((ours[0] - theirs).abs().max()))
            frame, memory = made[-1]
            worst = max(worst, float((frame.image[0] - torch.from_numpy(expected["fake_B"][t - 2])).abs().max()))
    print(f"{case}: largest difference {worst:.2e}")
    record_property("largest_difference", worst)
    assert worst < 1e-7


def test_pyramid_of_labels_is_what_coarse_scales_see():
    labels = torch.zeros(1, 1, 4, 4, dtype=torch.uint8)
    coarse, fine = pyramid(one_hot(labels, 2), 2)
    assert coarse.shape[-2:] == (2, 2)
    assert torch.equal(coarse[:, 0], torch.ones(1, 2, 2))
    assert fine.shape[-2:] == (4, 4)

"""Released networks of many styles under our names, and what a features file becomes."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vid2vid_hub.convert.appearance import Centres, centres, encoder, is_styled, styled_generator
from vid2vid_hub.errors import ModelError
from vid2vid_hub.nn.appearance import AppearanceEncoder
from vid2vid_hub.nn.image import Pix2PixHDGenerator

TABLES = ("fixtures", "released", "keys")


def table(shared, name):
    shapes = json.loads(shared.joinpath(*TABLES, f"{name}.json").read_text())
    return {key: torch.empty(shape, device="meta") for key, shape in shapes.items()}


def rows(label, count, columns, seed=0):
    return np.random.default_rng((label, seed)).uniform(-1, 1, (count, columns)).astype(np.float32)


# Key tables


def test_the_released_generator_maps_one_to_one(shared):
    weights, problems = table(shared, "edge2face_single_G"), []
    config, state = styled_generator(weights, "G", problems)
    assert problems == []
    assert config == {
        "condition_channels": 15,
        "base_channels": 64,
        "downsamples": 3,
        "blocks": 9,
        "enhancers": 0,
        "local_blocks": 3,
        "appearance_channels": 16,
    }
    with torch.device("meta"):
        ours = Pix2PixHDGenerator(**config).state_dict()
    assert {key: tensor.shape for key, tensor in ours.items()} == {key: tensor.shape for key, tensor in state.items()}
    learned = [tensor.shape for key, tensor in weights.items() if key.endswith(("weight", "bias"))]
    assert [tensor.shape for tensor in ours.values()] == learned, "in the file's own order"
    assert sum(tensor.numel() for tensor in state.values()) == pytest.approx(48.5e6, rel=2e-3)


def test_the_released_encoder_maps_one_to_one(shared):
    weights, problems = table(shared, "edge2face_single_E"), []
    known = centres({label: rows(label, 20, 17) for label in range(7)}, 16)
    config, state = encoder(weights, "E", problems, known)
    assert problems == []
    expected = {"classes": 7, "channels": 16, "base_channels": 16, "downsamples": 4, "centres": 20, "joint": True}
    assert config == expected
    with torch.device("meta"):
        ours = AppearanceEncoder(**config).state_dict()
    assert {key: tensor.shape for key, tensor in ours.items()} == {key: tensor.shape for key, tensor in state.items()}
    assert torch.equal(state["looks"], known.looks)
    assert sum(weights[key].numel() for key in weights if key.endswith(("weight", "bias"))) == pytest.approx(
        8e5, rel=0.1
    )


def test_only_generators_with_z_are_styled(shared):
    names = {path.stem for path in shared.joinpath(*TABLES).glob("*.json")} - {"param_counts"}
    assert len(names) == 29
    assert {name for name in names if is_styled(table(shared, name))} == {"edge2face_single_G"}


# Weights


def made(kind, **options):
    torch.manual_seed(0)
    return kind(**options).requires_grad_(False)


STYLED = {"condition_channels": 3, "base_channels": 8, "downsamples": 2, "blocks": 1, "appearance_channels": 2}


def released(network, enhancers):
    """A network's weights under the released names."""
    trunk, decoder = 4 + 3 * 2, 4 + 3 * 2 + 1
    named = {}
    for key, tensor in network.state_dict().items():
        room, number, rest = key.split(".", 2) if not key.startswith("finer") else (*_split(key),)
        if room == "coarse":
            number = int(number)
            place = "downsample" if number < trunk else "resnet" if number < decoder else "upsample"
            key = f"model_{place}.{number - {'downsample': 0, 'resnet': trunk, 'upsample': decoder}[place]}.{rest}"
        elif room == "head":
            key = f"{'model_final' if enhancers else 'model_upsample_conv'}.{number}.{rest}"
        else:
            key = f"{room}.{number}.{rest}"
        named[key.replace("body", "conv_block")] = tensor
    return named


def _split(key):
    _, n, part, number, rest = key.split(".", 4)
    return f"model{int(n) + 1}_{1 if part == 'condition' else 2}", number, rest


@pytest.mark.parametrize("enhancers", [0, 1, 2])
def test_weights_come_back_from_their_released_names(enhancers):
    network = made(Pix2PixHDGenerator, **STYLED, enhancers=enhancers, local_blocks=1 if enhancers else 3)
    config, state = styled_generator(released(network, enhancers), "G", problems := [])
    assert problems == []
    assert config == {key: network.config[key] for key in config}
    ours = network.state_dict()
    assert state.keys() == ours.keys()
    assert all(torch.equal(state[key], ours[key]) for key in ours)


def test_statistics_of_norms_are_dropped_and_may_be_missing():
    weights = released(made(Pix2PixHDGenerator, **STYLED), 0)
    counted = weights | {
        "model_downsample.2.running_mean": torch.zeros(8),
        "model_resnet.0.conv_block.6.num_batches_tracked": torch.tensor(3),
    }
    assert styled_generator(weights, "G", [])[1].keys() == styled_generator(counted, "G", problems := [])[1].keys()
    assert problems == []


def test_all_that_is_wrong_is_listed():
    weights = released(made(Pix2PixHDGenerator, **STYLED), 0)
    del weights["model_upsample.0.bias"], weights["model_upsample.3.weight"]
    weights["model_upsample_conv.1.weight"] = torch.zeros(3, 8, 7, 7)
    weights["model_downsample.2.weight"] = torch.zeros(8)
    styled_generator(weights, "net_G.pth", problems := [])
    said = " ".join(problems)
    assert "net_G.pth" in said
    for wrong in (
        "model_upsample.0.bias",
        "model_upsample.3.weight",
        "3x8x7x7",
        "3x10x7x7",
        "model_downsample.2.weight",
    ):
        assert wrong in said


@pytest.mark.parametrize("shape", [(32, 32, 3, 3), (24, 24, 3, 3), (37, 37, 3, 3)])
def test_what_reads_no_features_is_no_styled_generator(shape):
    """Blocks as wide as what comes before, narrower, or wider by all that the network reads."""
    weights = released(made(Pix2PixHDGenerator, **STYLED), 0)
    weights["model_resnet.0.conv_block.1.weight"] = torch.zeros(shape)
    with pytest.raises(ModelError, match=r"G reads 5 channels .* no generator with features of appearance"):
        styled_generator(weights, "G", [])
    del weights["model_resnet.0.conv_block.1.weight"]
    with pytest.raises(ModelError, match="has no convolution model_resnet"):
        styled_generator(weights, "G", [])


@pytest.mark.parametrize("downsamples", [1, 3])
def test_an_encoder_comes_back_and_loads(downsamples):
    network = made(AppearanceEncoder, classes=2, channels=4, base_channels=4, downsamples=downsamples)
    weights = {f"model.{key}": tensor for key, tensor in network.layers.state_dict().items()}
    config, state = encoder(weights, "E", problems := [], classes=5)
    assert problems == []
    assert (config["classes"], config["downsamples"], config["channels"]) == (5, downsamples, 4)
    loaded = AppearanceEncoder(**config)
    loaded.load_state_dict(state)
    image, ids = torch.rand(1, 3, 16, 16), torch.zeros(1, 1, 16, 16, dtype=torch.int32)
    assert torch.equal(loaded(image, ids), network(image, ids))
    assert not loaded.choose(ids, 0).any(), "nothing was recorded"


def test_an_encoder_and_features_of_another_are_refused():
    network = made(AppearanceEncoder, classes=2, channels=4, base_channels=4)
    weights = {f"model.{key}": tensor for key, tensor in network.layers.state_dict().items()}
    with pytest.raises(ModelError, match="E makes 4 features of a part, and those recorded have 3"):
        encoder(weights, "E", [], centres({0: rows(0, 4, 3)}, 3))
    del weights["model.29.bias"]
    encoder(weights, "E", problems := [])
    assert "model.29.bias" in problems[0]


# Features


def test_clustered_features_are_the_centres():
    found = {7: rows(7, 10, 3), 24: rows(24, 4, 3), 2: rows(2, 0, 3)}
    made = centres(found, 3)
    assert made.looks.shape == (25, 10, 3)
    assert not made.joint
    assert {label: int(count) for label, count in enumerate(made.known) if count} == {7: 10, 24: 4}
    np.testing.assert_array_equal(made.looks[24, :4], found[24])
    assert not made.looks[24, 4:].any()


@given(st.dictionaries(st.integers(0, 9), st.integers(0, 6), min_size=1), st.integers(0, 9))
def test_of_recorded_parts_the_large_ones_stay(counts, seed):
    found = {label: rows(label, count, 4, seed) for label, count in counts.items()}
    made = centres(found, 3, joint=False)
    for label, array in found.items():
        large = [row[:3] for row in array if row[3] > 0.5]
        assert int(made.known[label]) == len(large)
        np.testing.assert_array_equal(made.looks[label, : len(large)], np.array(large, np.float32).reshape(-1, 3))


def test_parts_that_every_picture_has_once_are_joint_and_all_stay():
    found = {label: rows(label, 9, 17) for label in range(7)}
    made = centres(found, 16)
    assert made.joint
    assert made.known.tolist() == [9] * 7
    for label, array in found.items():
        np.testing.assert_array_equal(made.looks[label], array[:, :16])
    shorter = centres(found | {6: found[6][:5]}, 16)
    assert not shorter.joint
    cut = centres(found | {6: found[6][:5]}, 16, joint=True)
    assert (cut.joint, cut.known.tolist()) == (True, [5] * 7)


def test_more_parts_than_a_network_holds_are_thinned(monkeypatch):
    monkeypatch.setattr("vid2vid_hub.convert.appearance.MOST_CENTRES", 4)
    made = centres({0: rows(0, 10, 3), 1: rows(1, 3, 3)}, 3)
    assert made.known.tolist() == [4, 3]
    np.testing.assert_array_equal(made.looks[0], rows(0, 10, 3)[[0, 2, 5, 7]])


@pytest.mark.parametrize(
    ("found", "said"),
    [
        ({}, "knows no label"),
        ({-1: rows(0, 2, 3)}, "has the label -1; labels are whole numbers from 0 to 1023"),
        ({"road": rows(0, 2, 3)}, "has the label 'road'"),
        ({3: rows(0, 2, 5)}, r"label 3 are \(2, 5\); expected rows of 3 features, or of 4 with the size"),
        ({3: rows(0, 2, 3)[0]}, r"label 3 are \(3,\)"),
        ({3: rows(0, 2, 3) * np.nan}, "label 3 are not all of them numbers"),
    ],
)
def test_what_is_no_features_file_is_refused(found, said):
    with pytest.raises(ModelError, match=said):
        centres(found, 3)


def test_centres_of_more_classes_than_the_task_has_stay():
    known = Centres(torch.ones(4, 2, 3), torch.tensor([2, 2, 2, 2]))
    network = made(AppearanceEncoder, classes=2, base_channels=4)
    weights = {f"model.{key}": tensor for key, tensor in network.layers.state_dict().items()}
    assert encoder(weights, "E", [], known, classes=2)[0]["classes"] == 4
    config, state = encoder(weights, "E", [], known, classes=6)
    assert (config["classes"], state["known"].tolist()) == (6, [2, 2, 2, 2, 0, 0])
    assert state["looks"].shape == (6, 2, 3)

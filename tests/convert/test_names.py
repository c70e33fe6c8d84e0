"""Names and shapes: every released tensor has its place, every place its tensor, and whatever differs is listed."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from tests.convert.writer import released, released_image, released_scales
from vid2vid_hub.convert.appearance import encoder, styled_generator
from vid2vid_hub.convert.image import image_generator
from vid2vid_hub.convert.judges import _by_layer, _by_row, discriminator, judged_frames
from vid2vid_hub.convert.names import STATISTICS, bare, refuse
from vid2vid_hub.convert.network import Plan, with_blind_channel, with_features
from vid2vid_hub.convert.video import video_generator
from vid2vid_hub.errors import ModelError
from vid2vid_hub.nn.appearance import AppearanceEncoder
from vid2vid_hub.nn.discriminator import MultiscaleDiscriminator
from vid2vid_hub.nn.generator import Vid2VidGenerator
from vid2vid_hub.nn.image import Pix2PixHDGenerator

TABLES = 29
SMALL = {"condition_channels": 2, "base_channels": 4, "downsamples": 1, "blocks": 3}


def randomised(network: nn.Module) -> nn.Module:
    """Every tensor its own, norms too: else an exchange of two would not be seen."""
    with torch.no_grad():
        for tensor in network.state_dict().values():
            tensor.copy_(torch.randn(tensor.shape))
    return network


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


def converted(scales: list[dict[str, Tensor]]) -> Plan:
    problems: list[str] = []
    plan = Plan(*video_generator(scales, problems))
    refuse(problems)
    return plan


def test_all_released_tables_map_one_to_one(shared: Path):
    """Both ways: every name of a table is used or known to be dropped, every tensor of our network is filled."""
    folder = shared / "fixtures" / "released" / "keys"
    tables = {
        path.stem: {key: torch.empty(shape, device="meta") for key, shape in json.loads(path.read_text()).items()}
        for path in folder.glob("*.json")
        if path.stem != "param_counts"
    }
    counts = json.loads((folder / "param_counts.json").read_text())
    kinds = {"video": Vid2VidGenerator, "image": Pix2PixHDGenerator, "judge": MultiscaleDiscriminator}
    done = []
    for model in sorted({re.sub(r"_net_G\d$", "", name) for name in tables}):
        scales = sorted(name for name in tables if re.fullmatch(rf"{model}_net_G\d", name))
        problems: list[str] = []
        if scales:
            kind, plan = kinds["video"], Plan(*video_generator([tables[name] for name in scales], problems))
        elif model.endswith("_E"):
            kind, plan = AppearanceEncoder, Plan(*encoder(tables[model], model, problems))
        elif "_single_" in model:
            read = styled_generator if any("model_resnet" in key for key in tables[model]) else image_generator
            kind, plan = kinds["image"], Plan(*read(tables[model], model, problems))
        else:
            frames = judged_frames(tables[model], model) if "_D_T_" in model else 0
            kind, plan = kinds["judge"], Plan(*discriminator(tables[model], model, problems, frames))
        assert not problems, model
        with torch.device("meta"):
            network = kind(**plan.config)
        assert {key: t.shape for key, t in network.state_dict().items()} == {k: t.shape for k, t in plan.state.items()}
        used = sum(1 for name in scales or [model] for key in tables[name] if not key.endswith(STATISTICS))
        assert used == len([key for key in plan.state if key not in ("looks", "known")]), model
        expected = sum(counts[name.replace("_net_", "/net_")] if scales else counts[name] for name in scales or [model])
        assert sum(p.numel() for p in network.parameters()) == expected, model
        done += scales or [model]
    assert sorted(done) == sorted(tables)
    assert len(done) == TABLES


def test_what_the_file_of_the_paper_s_network_says(shared: Path):
    folder = shared / "fixtures" / "released" / "keys"
    scales = [
        {
            key: torch.empty(shape, device="meta")
            for key, shape in json.loads((folder / f"label2city_1024_g1_net_G{scale}.json").read_text()).items()
        }
        for scale in range(3)
    ]
    assert converted(scales).config == {
        "condition_channels": 36,
        "base_channels": 128,
        "downsamples": 2,
        "blocks": 9,
        "scales": 3,
        "local_blocks": 3,
        "history": 2,
        "flow": True,
        "foreground": True,
        "composition": "released",
    }


@given(
    channels=st.integers(1, 5),
    downsamples=st.integers(1, 4),
    blocks=st.integers(2, 6),
    scales=st.integers(1, 3),
    local_blocks=st.integers(1, 3),
    history=st.integers(1, 3),
    flow=st.booleans(),
    foreground=st.booleans(),
)
@settings(max_examples=25)
def test_every_generator_comes_back_bit_for_bit(
    channels, downsamples, blocks, scales, local_blocks, history, flow, foreground
):
    config = {
        "condition_channels": channels,
        "base_channels": 8,
        "downsamples": downsamples,
        "blocks": blocks,
        "scales": scales,
        "local_blocks": local_blocks,
        "history": history,
        "flow": flow,
        "foreground": foreground,
        "composition": "released",
    }
    ours = randomised(Vid2VidGenerator(**config))
    plan = converted(released_scales(ours))
    if scales == 1:
        config["local_blocks"] = 3  # which no file tells, and nothing reads
    assert plan.config == config
    assert same(plan.state, dict(ours.state_dict()))


@given(downsamples=st.integers(1, 3), blocks=st.integers(1, 4), enhancers=st.integers(0, 3), local=st.integers(1, 3))
@settings(max_examples=15)
def test_every_single_image_generator_comes_back(downsamples, blocks, enhancers, local):
    ours = randomised(
        Pix2PixHDGenerator(
            3, base_channels=8, downsamples=downsamples, blocks=blocks, enhancers=enhancers, local_blocks=local
        )
    )
    problems: list[str] = []
    plan = Plan(*image_generator(released_image(ours), "G", problems))
    assert not problems
    assert same(plan.build(Pix2PixHDGenerator).state_dict(), ours.state_dict())


@pytest.mark.parametrize("featured", [True, False])
@given(layers=st.integers(1, 4), scales=st.integers(1, 3), width=st.sampled_from([4, 32]))
@settings(max_examples=8)
def test_every_discriminator_comes_back(featured, layers, scales, width):
    ours = randomised(MultiscaleDiscriminator(5, base_channels=width, layers=layers, scales=scales, norm="batch"))
    name = (_by_layer if featured else _by_row)(scales, layers)
    problems: list[str] = []
    plan = Plan(*discriminator(released(ours, name), "D", problems))
    assert not problems
    assert plan.config == {key: value for key, value in ours.config.items() if not key.startswith("_")}
    assert same(plan.state, dict(ours.state_dict()))


def test_files_without_counters_and_from_several_gpus():
    ours = Vid2VidGenerator(**SMALL, scales=2)
    old = released_scales(ours, STATISTICS[:2])  # torch before 0.4.1 counted no batches
    wrapped = [{f"module.{key}": tensor for key, tensor in weights.items()} for weights in old]
    assert same(converted([bare(weights) for weights in wrapped]).state, dict(ours.state_dict()))
    half_wrapped = {f"module.{key}" if "seg" in key else key: tensor for key, tensor in old[0].items()}
    assert bare(half_wrapped).keys() == half_wrapped.keys()


def test_instance_norms_without_scale_and_shift_are_ours_with_one_and_zero():
    ours = Vid2VidGenerator(**SMALL)
    norms = {key for key, layer in ours.networks[0].named_modules() if isinstance(layer, nn.InstanceNorm2d)}
    with torch.no_grad():
        for layer in ours.modules():
            if isinstance(layer, nn.InstanceNorm2d):
                layer.weight.fill_(1.0)
                layer.bias.zero_()
    (weights,) = released_scales(ours)
    scaled = {key.removesuffix("running_mean") for key in weights if key.endswith("running_mean")}
    assert len(scaled) == len(norms)
    plain = {key: t for key, t in weights.items() if not key.startswith(tuple(scaled)) or key.endswith(STATISTICS)}
    assert len(plain) < len(weights)
    assert same(converted([plain]).state, dict(ours.state_dict()))


def test_all_that_differs_is_listed_at_once():
    first, second = released_scales(Vid2VidGenerator(**SMALL, scales=2))
    del first["model_up_flow.0.weight"], second["model_final_img.1.bias"]
    first["model_res_img.0.conv_block.1.weight"] = torch.zeros(8, 8, 5, 5)
    first["model_res_img.0.stranger"] = torch.zeros(1)
    second["model_down_img.1.weight"] = torch.full_like(second["model_down_img.1.weight"], torch.nan)
    with pytest.raises(ModelError) as error:
        converted([first, second])
    text = str(error.value)
    for words in (
        "G0: missing: model_up_flow.0.weight; surplus: model_res_img.0.stranger; misshapen: "
        "model_res_img.0.conv_block.1.weight (is 8x8x5x5, expected 8x8x3x3); G1: missing: model_final_img.1.bias; "
        "not all of it numbers: model_down_img.1.weight",
    ):
        assert words in text
    assert "\n" not in text


@given(data=st.data())
@settings(max_examples=30)
def test_no_key_can_be_taken_or_added_unseen(data):
    (weights,) = released_scales(Vid2VidGenerator(**SMALL, foreground=True))
    key = data.draw(st.sampled_from(sorted(weights)))
    tensor = weights.pop(key)
    if not key.endswith(STATISTICS):
        with pytest.raises(ModelError):
            converted([weights])
    with pytest.raises(ModelError, match=r"surplus: .*beside"):
        converted([weights | {key: tensor, f"{key}.beside": tensor}])


def test_a_batch_norm_where_ours_has_no_scale_is_said_so():
    weights = released_image(Pix2PixHDGenerator(2, base_channels=4, downsamples=1, blocks=1))
    weights["model.2.weight"] = weights["model.2.bias"] = torch.ones(4)
    problems: list[str] = []
    image_generator(weights, "G", problems)
    assert len(problems) == 1
    assert "surplus: model.2.bias, model.2.weight (its norms learned scale and shift" in problems[0]


@pytest.mark.parametrize("read", [lambda w: video_generator([w], []), lambda w: image_generator(w, "G", [])])
def test_another_network_is_no_generator(read):
    with pytest.raises(ModelError, match="a file of another network"):
        read({"conv.weight": torch.zeros(3, 3, 3, 3)})


def test_channels_that_fit_no_history_are_refused():
    (weights,) = released_scales(Vid2VidGenerator(**SMALL))
    weights["model_down_img.1.weight"] = torch.zeros(4, 7, 7, 7)
    with pytest.raises(ModelError, match="reads 7 channels of past frames and 6 of conditions"):
        converted([weights])


@pytest.mark.parametrize("enhancers", [0, 1, 2])
def test_features_behind_the_condition_mean_the_same_in_our_network(enhancers):
    """pix2pixHD reads them once; ours reads them at more places, with weight zero."""
    torch.manual_seed(0)
    theirs = randomised(Pix2PixHDGenerator(5, base_channels=8, downsamples=2, blocks=2, enhancers=enhancers)).double()
    plan = Plan({key: v for key, v in theirs.config.items() if not key.startswith("_")}, theirs.state_dict())
    ours = with_features(plan, 3).build(Pix2PixHDGenerator)
    assert (ours.config.condition_channels, ours.config.appearance_channels) == (2, 3)
    condition, look = torch.rand(1, 2, 32, 64).double(), torch.rand(1, 3, 32, 64).double()
    whole = torch.cat((condition, look), 1)
    expected, _ = theirs.step(theirs.begin(whole[:, None]), whole)
    made, _ = ours.step(ours.begin(condition[:, None]), condition, appearance=look)
    assert torch.allclose(made.image, expected.image, rtol=0, atol=1e-12)


@pytest.mark.parametrize("enhancers", [0, 2])
@pytest.mark.parametrize("features", [0, 3])
def test_a_channel_of_weight_zero_changes_nothing(enhancers, features):
    torch.manual_seed(0)
    size = {"base_channels": 8, "downsamples": 2, "blocks": 2, "enhancers": enhancers}
    before = randomised(Pix2PixHDGenerator(2, **size, appearance_channels=features)).double()
    plan = Plan({key: v for key, v in before.config.items() if not key.startswith("_")}, before.state_dict())
    after = with_blind_channel(plan).build(Pix2PixHDGenerator)
    condition, edges = torch.rand(1, 2, 32, 64).double(), torch.rand(1, 1, 32, 64).double()
    look = torch.rand(1, features, 32, 64).double() if features else None
    expected, _ = before.step(before.begin(condition[:, None]), condition, appearance=look)
    seen = torch.cat((condition, edges), 1)
    made, _ = after.step(after.begin(seen[:, None]), seen, appearance=look)
    assert torch.allclose(made.image, expected.image, rtol=0, atol=1e-12)


def test_frames_come_before_flows_there_and_after_them_here():
    torch.manual_seed(0)
    ours = MultiscaleDiscriminator(13, base_channels=4, layers=2, scales=2, norm="batch")
    weights = released(ours, _by_layer(2, 2))
    assert judged_frames(weights, "D_T0") == 3
    plan = Plan(*discriminator(weights, "D_T0", [], frames=3))
    theirs = Plan(*discriminator(weights, "D_T0", [])).build(MultiscaleDiscriminator)
    frames, flows = torch.rand(2, 9, 32, 32), torch.rand(2, 4, 32, 32)
    (made,) = plan.build(MultiscaleDiscriminator)(flows, frames)
    (expected,) = theirs(frames, flows)
    for one, other in zip(made, expected, strict=True):
        assert torch.allclose(one[-1], other[-1], atol=1e-6)
    with pytest.raises(ModelError, match="reads 5 channels"):
        judged_frames(released(MultiscaleDiscriminator(5), _by_layer(2, 3)), "D_T0")

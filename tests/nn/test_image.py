"""The single-image generator: released weights fit it and do what they did, and no frame knows of another."""

from __future__ import annotations

import json
import re

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.nn.plain import Layers, pooled
from vid2vid_hub.errors import ModelError
from vid2vid_hub.nn.image import Pix2PixHDGenerator
from vid2vid_hub.types import Encoded, Frame, Memory

CHANNELS, SIZE = 3, (32, 48)
TINY = {"base_channels": 8, "downsamples": 2, "blocks": 2}


def network(seed=0, **options):
    torch.manual_seed(seed)
    return Pix2PixHDGenerator(CHANNELS, **(TINY | options)).requires_grad_(False)


def inputs(frames, batch=1, seed=1, size=SIZE):
    return torch.rand(batch, frames, CHANNELS, *size, generator=torch.Generator().manual_seed(seed))


# The released networks


def rename(key, downsamples, blocks, enhancers, local_blocks):
    """A released key as ours; the last convolution stands in the global network or in the last enhancer."""
    room, index, rest = re.match(r"(\w+?)\.(\d+)\.(.*)", key).groups()
    number, part = map(int, match.groups()) if (match := re.match(r"model(\d)_(\d)", room)) else (0, 0)
    last = 5 + 6 * downsamples + blocks if enhancers == 0 else local_blocks + 4
    if int(index) == last and number == enhancers and part in (0, 2):
        return f"head.1.{rest}"
    ours = f"finer.{number - 1}.{'condition' if part == 1 else 'image'}" if number else "coarse"
    return f"{ours}.{index}.{rest.replace('conv_block', 'body')}"


@pytest.mark.parametrize(
    ("name", "options"),
    {
        "512": {"downsamples": 3},
        "1024": {"downsamples": 4},
        "2048": {"downsamples": 4, "enhancers": 1},
    }.items(),
)
def test_released_weights_fit_one_to_one_and_in_order(shared, name, options):
    table = json.loads((shared / "fixtures" / "released" / "keys" / f"label2city_single_G_{name}.json").read_text())
    with torch.device("meta"):
        ours = Pix2PixHDGenerator(35, base_channels=64, **options)
    config = {key: ours.config[key] for key in ("downsamples", "blocks", "enhancers", "local_blocks")}
    theirs = {rename(key, **config): shape for key, shape in table.items() if key.endswith(("weight", "bias"))}
    assert list(theirs.items()) == [(key, list(tensor.shape)) for key, tensor in ours.state_dict().items()]


def as_released(weights, picture, downsamples, blocks, enhancers, local_blocks):
    """B.5 once more, in plain functions over the released names of the weights."""

    layers = Layers(weights)
    pictures = [picture]
    for _ in range(enhancers):
        pictures.insert(0, pooled(pictures[0]))
    x = layers.first(pictures[0], "model.1")
    for i in range(downsamples):
        x = layers.down(x, f"model.{4 + 3 * i}")
    middle = 4 + 3 * downsamples
    for i in range(blocks):
        x = layers.residual(x, f"model.{middle + i}")
    for i in range(downsamples):
        x = layers.up(x, f"model.{middle + blocks + 3 * i}")
    last = f"model.{5 + 6 * downsamples + blocks}"
    for n, fine in enumerate(pictures[1:], 1):
        x = x + layers.down(layers.first(fine, f"model{n}_1.1"), f"model{n}_1.4")
        for i in range(local_blocks):
            x = layers.residual(x, f"model{n}_2.{i}")
        x = layers.up(x, f"model{n}_2.{local_blocks}")
        last = f"model{n}_2.{local_blocks + 4}"
    return layers.conv(x, last, 3).tanh()


RESTS = [f"{place}{kind}" for place in ("", "conv_block.1.", "conv_block.5.") for kind in ("weight", "bias")]


@pytest.mark.parametrize("enhancers", [0, 1, 2])
def test_under_released_names_the_weights_do_what_they_did(enhancers):
    generator = network(enhancers=enhancers, local_blocks=1).double()
    for parameter in generator.parameters():
        parameter.normal_(0, 0.2)
    options = {"downsamples": 2, "blocks": 2, "enhancers": enhancers, "local_blocks": 1}
    rooms = ["model", *(f"model{n}_{part}" for n in range(1, enhancers + 1) for part in (1, 2))]
    names = [f"{room}.{i}.{rest}" for room in rooms for i in range(30) for rest in RESTS]
    state = generator.state_dict()
    weights = {name: state[ours] for name in names if (ours := rename(name, **options)) in state}
    assert len(weights) == len(state)
    features = inputs(1).double()
    frame, _ = generator.step(generator.begin(features), features[:, 0])
    torch.testing.assert_close(frame.image, as_released(weights, features[:, 0], **options), rtol=0, atol=1e-10)


@pytest.mark.parametrize(("base", "downsamples", "deepest"), [(64, 3, 512), (64, 4, 1024), (64, 6, 1024)])
def test_no_layer_is_wider_than_1024(base, downsamples, deepest):
    with torch.device("meta"):
        generator = Pix2PixHDGenerator(1, base_channels=base, downsamples=downsamples, blocks=1)
    assert max(max(tensor.shape[:2]) for tensor in generator.state_dict().values() if tensor.ndim == 4) == deepest


def test_norms_learn_nothing_and_remember_nothing():
    assert {key.rsplit(".", 1)[1] for key in network(enhancers=1).state_dict()} == {"weight", "bias"}
    assert all(tensor.ndim == 4 for key, tensor in network().state_dict().items() if key.endswith("weight"))


# The calls of the sequential generator


def test_step_folded_is_forward_bit_for_bit():
    generator, features = network(enhancers=1), inputs(4, batch=2)
    memory = generator.begin(features[:, :1])
    rollout, after = generator(Encoded(features), memory)
    frames = [generator.step(memory, features[:, t])[0] for t in range(4)]
    assert torch.equal(Frame.stack(frames).image, rollout.image)
    assert rollout.image.shape == (2, 4, 3, *SIZE)
    assert torch.equal(rollout.image, rollout.hallucinated)
    assert rollout.warped is rollout.flow is rollout.mask is None
    assert after == memory == memory.detach() == memory.to("cpu") == Memory((), (), started=False)


@settings(max_examples=10)
@given(st.permutations(range(4)))
def test_no_frame_knows_of_another(order):
    generator, features = network(), inputs(4)
    memory = generator.begin(features)
    straight, shuffled = (generator(Encoded(x), memory)[0].image for x in (features, features[:, order]))
    assert torch.equal(shuffled, straight[:, order])


def test_frames_that_were_seen_change_nothing():
    generator, features = network(), inputs(2)
    seen = generator.begin(features[:, :1], torch.ones(1, 1, 3, *SIZE))
    assert torch.equal(
        generator.step(seen, features[:, 1])[0].image,
        generator.step(generator.begin(features[:, :1]), features[:, 1])[0].image,
    )


def test_what_it_cannot_use_is_refused():
    generator, features = network(enhancers=1), inputs(1)
    assert (generator.history, generator.has_foreground, generator.takes_flow) == (0, False, False)
    memory = generator.begin(features, scales=2)
    with pytest.raises(ModelError, match="leave the foreground mask out"):
        generator.step(memory, features[:, 0], torch.ones(1, 1, *SIZE))
    with pytest.raises(ModelError, match="takes no flow: leave it out"):
        generator(Encoded(features, flow=torch.zeros(1, 1, 2, *SIZE)), memory)
    with pytest.raises(ModelError, match="all of its 2 scales; 1 were asked for"):
        generator.begin(features, scales=1)


@pytest.mark.parametrize("size", [(30, 48), (32, 46), (8, 48), (32, 8)])
def test_sizes_that_do_not_fit_are_refused_with_the_numbers(size):
    height, width = size
    with pytest.raises(ModelError, match=rf"frames of {width}x{height} .* multiples of 8 and at least 16"):
        network(enhancers=1).begin(inputs(1, size=size))
    with pytest.raises(ModelError, match="reads 3 condition channels; the task gives 5"):
        network().begin(torch.zeros(1, 1, 5, *SIZE))


@pytest.mark.parametrize(("downsamples", "enhancers"), [(1, 0), (2, 1), (1, 2)])
def test_the_smallest_size_that_fits_works(downsamples, enhancers):
    generator = network(downsamples=downsamples, enhancers=enhancers)
    assert generator.multiple == 2 ** (downsamples + enhancers)
    features = inputs(1, size=(2 * generator.multiple, 2 * generator.multiple))
    frame, _ = generator.step(generator.begin(features), features[:, 0])
    assert frame.image.shape[-2:] == features.shape[-2:]
    assert torch.isfinite(frame.image).all()


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("condition_channels", 0),
        ("base_channels", 8.0),
        ("base_channels", 1024),
        ("downsamples", 0),
        ("blocks", "many"),
        ("enhancers", -1),
        ("enhancers", True),
        ("local_blocks", 0),
    ],
)
def test_a_setting_out_of_range_is_refused_with_its_value(option, value):
    with pytest.raises(ModelError, match=rf"{option} is {re.escape(repr(value))}"):
        Pix2PixHDGenerator(**({"condition_channels": 3} | {option: value}))


def test_a_width_that_cannot_be_halved_is_refused():
    with pytest.raises(ModelError, match="base_channels 6 cannot be halved for each of 2 enhancers"):
        Pix2PixHDGenerator(3, base_channels=6, enhancers=2)


def test_save_and_load_give_the_same_bits(tmp_path):
    generator, features = network(enhancers=1), inputs(2)
    generator.save_pretrained(tmp_path)
    loaded = Pix2PixHDGenerator.from_pretrained(tmp_path)
    images = [g(Encoded(features), g.begin(features))[0].image for g in (generator, loaded)]
    assert torch.equal(*images)
    assert loaded.config.enhancers == 1


def test_gradient_checkpointing_changes_memory_and_not_gradients():
    features, gradients, kept = inputs(1), [], []
    for checkpointing in (False, True):
        generator = network(enhancers=1).requires_grad_(True)
        if checkpointing:
            generator.enable_gradient_checkpointing()
        held = 0

        def hold(tensor):
            nonlocal held
            held += tensor.nbytes
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(hold, lambda tensor: tensor):
            image = generator.step(generator.begin(features), features[:, 0])[0].image
        kept.append(held)
        image.square().mean().backward()
        gradients.append([parameter.grad for parameter in generator.parameters()])
    assert all(torch.equal(one, other) for one, other in zip(*gradients, strict=True))
    assert any(gradient.abs().max() > 0 for gradient in gradients[0])
    assert kept[1] < kept[0] / 2

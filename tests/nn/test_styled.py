"""The single-image generator of many styles: features of appearance enter where the released one lets them in."""

from __future__ import annotations

import pytest
import torch

from tests.nn.plain import Layers, pooled
from vid2vid_hub.convert.appearance import styled_generator
from vid2vid_hub.errors import ModelError
from vid2vid_hub.nn.image import Pix2PixHDGenerator
from vid2vid_hub.types import Encoded, Frame

CHANNELS, LOOKS, SIZE = 4, 3, (32, 48)
WIDTH, DOWNS, BLOCKS, LOCAL = 8, 2, 2, 1


def network(seed=0, **options):
    torch.manual_seed(seed)
    tiny = {"base_channels": WIDTH, "downsamples": DOWNS, "blocks": BLOCKS, "local_blocks": LOCAL}
    return Pix2PixHDGenerator(CHANNELS, **(tiny | {"appearance_channels": LOOKS} | options)).requires_grad_(False)


def noise(*shape, seed=1):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def released_weights(enhancers):
    """Random weights under the released names, with the widths that B.5 states."""
    shapes = {"model_downsample.1": (WIDTH, CHANNELS + LOOKS, 7)}
    for i in range(DOWNS):
        shapes[f"model_downsample.{4 + 3 * i}"] = (WIDTH * 2 ** (i + 1), WIDTH * 2**i, 3)
    deep = WIDTH * 2**DOWNS
    for i in range(BLOCKS):
        for conv in (1, 5):
            shapes[f"model_resnet.{i}.conv_block.{conv}"] = (deep + LOOKS, deep + LOOKS, 3)
    # Transposed convolutions have their inputs first.
    shapes["model_upsample.0"] = (deep + 2 * LOOKS, deep // 2, 3)
    for i in range(1, DOWNS):
        shapes[f"model_upsample.{3 * i}"] = (deep // 2**i, deep // 2 ** (i + 1), 3)
    fine = WIDTH
    for n in range(1, enhancers + 1):
        fine = WIDTH // 2**n
        shapes[f"model{n}_1.1"] = (fine, CHANNELS + LOOKS, 7)
        shapes[f"model{n}_1.4"] = (2 * fine, fine, 3)
        for i in range(LOCAL):
            for conv in (1, 5):
                shapes[f"model{n}_2.{i}.conv_block.{conv}"] = (2 * fine + LOOKS, 2 * fine + LOOKS, 3)
        shapes[f"model{n}_2.{LOCAL}"] = (2 * fine + LOOKS, fine, 3)
    shapes["model_final.1" if enhancers else "model_upsample_conv.1"] = (3, fine + LOOKS, 7)
    weights = {}
    for number, (key, (first, second, side)) in enumerate(shapes.items()):
        transposed = key.startswith("model_upsample.") or (key.endswith(f"_2.{LOCAL}"))
        weights[f"{key}.weight"] = 0.2 * noise(first, second, side, side, seed=number)
        weights[f"{key}.bias"] = noise(second if transposed else first, seed=100 + number)
    return weights


def as_released(weights, x, z, enhancers):
    """B.5's words on Global_with_z and Local_with_z, in plain functions over the released names."""

    layers = Layers(weights)

    def with_z(x, times):
        return torch.cat((x, pooled(z, times)), 1)

    # z beside the input; pooled d times before the residual blocks and again after them.
    y = layers.first(with_z(pooled(x, enhancers), enhancers), "model_downsample.1")
    for i in range(DOWNS):
        y = layers.down(y, f"model_downsample.{4 + 3 * i}")
    y = with_z(y, enhancers + DOWNS)
    for i in range(BLOCKS):
        y = layers.residual(y, f"model_resnet.{i}")
    y = with_z(y, enhancers + DOWNS)
    for i in range(DOWNS):
        y = layers.up(y, f"model_upsample.{3 * i}")
    # An enhancer sees input and z at its size; its blocks run on (down + global) beside z pooled once more.
    for n in range(1, enhancers + 1):
        here = enhancers - n
        local = layers.down(layers.first(with_z(pooled(x, here), here), f"model{n}_1.1"), f"model{n}_1.4")
        y = with_z(local + y, here + 1)
        for i in range(LOCAL):
            y = layers.residual(y, f"model{n}_2.{i}")
        y = layers.up(y, f"model{n}_2.{LOCAL}")
    # And z at full size before the last convolution.
    return layers.conv(with_z(y, 0), "model_final.1" if enhancers else "model_upsample_conv.1", 3).tanh()


@pytest.mark.parametrize("enhancers", [0, 1, 2])
def test_released_weights_do_what_they_did(enhancers):
    weights = released_weights(enhancers)
    problems = []
    config, state = styled_generator(weights, "G", problems)
    assert problems == []
    assert config["enhancers"] == enhancers
    generator = Pix2PixHDGenerator(**config).double().requires_grad_(False)
    generator.load_state_dict({key: weight.double() for key, weight in state.items()})
    exact = {key: weight.float().double() for key, weight in weights.items()}
    features, look = noise(2, CHANNELS, *SIZE, seed=2), noise(2, LOOKS, *SIZE, seed=3)
    frame, _ = generator.step(generator.begin(features[:, None]), features, appearance=look)
    torch.testing.assert_close(frame.image, as_released(exact, features, look, enhancers), rtol=0, atol=1e-10)
    assert frame.image.std() > 0.1


@pytest.mark.parametrize("enhancers", [0, 1])
def test_every_feature_of_appearance_changes_the_picture(enhancers):
    generator, features = network(enhancers=enhancers), noise(1, CHANNELS, *SIZE).float()
    look = noise(1, LOOKS, *SIZE, seed=4).float()
    memory = generator.begin(features[:, None])
    plain = generator.step(memory, features, appearance=look)[0].image
    for channel in range(LOOKS):
        other = look.clone()
        other[:, channel] += 1
        assert not torch.equal(generator.step(memory, features, appearance=other)[0].image, plain)


def test_one_style_has_the_weights_it_always_had():
    torch.manual_seed(0)
    before = Pix2PixHDGenerator(CHANNELS, base_channels=WIDTH, downsamples=DOWNS, blocks=BLOCKS, enhancers=1)
    now = network(enhancers=1, local_blocks=3, appearance_channels=0)
    assert not now.takes_appearance
    assert all(torch.equal(*pair) for pair in zip(before.state_dict().values(), now.state_dict().values(), strict=True))
    assert list(now.state_dict()) == list(network(enhancers=1, local_blocks=3).state_dict()), "the same names"


def test_step_folded_is_forward():
    generator, features = network(enhancers=1), noise(2, 3, CHANNELS, *SIZE).float()
    look = noise(2, 3, LOOKS, *SIZE, seed=5).float()
    memory = generator.begin(features)
    rollout, _ = generator(Encoded(features), memory, look)
    frames = [generator.step(memory, features[:, t], appearance=look[:, t])[0] for t in range(3)]
    assert torch.equal(Frame.stack(frames).image, rollout.image)


def test_gradient_checkpointing_changes_no_gradient():
    features, look = noise(1, CHANNELS, *SIZE).float(), noise(1, LOOKS, *SIZE, seed=5).float()
    gradients = []
    for checkpointing in (False, True):
        generator = network(enhancers=1).requires_grad_(True)
        if checkpointing:
            generator.enable_gradient_checkpointing()
        image = generator.step(generator.begin(features[:, None]), features, appearance=look)[0].image
        image.square().mean().backward()
        gradients.append([parameter.grad for parameter in generator.parameters()])
    assert all(torch.equal(one, other) for one, other in zip(*gradients, strict=True))


def test_save_and_load_give_the_same_bits(tmp_path):
    generator, features = network(enhancers=1), noise(1, CHANNELS, *SIZE).float()
    generator.save_pretrained(tmp_path)
    loaded = Pix2PixHDGenerator.from_pretrained(tmp_path)
    assert loaded.config.appearance_channels == LOOKS
    look = noise(1, LOOKS, *SIZE, seed=5).float()
    one, other = (g.step(g.begin(features[:, None]), features, appearance=look)[0].image for g in (generator, loaded))
    assert torch.equal(one, other)


def test_what_does_not_fit_is_refused():
    styled, plain, features = network(), network(appearance_channels=0), torch.zeros(1, CHANNELS, *SIZE)
    look = torch.zeros(1, LOOKS, *SIZE)
    with pytest.raises(ModelError, match="reads 3 features of appearance for every pixel: give them"):
        styled.step(styled.begin(features[:, None]), features)
    with pytest.raises(ModelError, match=r"are \(1, 3, 32, 47\); this condition asks for \(1, 3, 32, 48\)"):
        styled.step(styled.begin(features[:, None]), features, appearance=look[..., 1:])
    with pytest.raises(ModelError, match="knows one style: leave the features of appearance out"):
        plain.step(plain.begin(features[:, None]), features, appearance=look)
    for value in (-1, 257, True, 3.0):
        with pytest.raises(ModelError, match=f"appearance_channels is {value}"):
            network(appearance_channels=value)

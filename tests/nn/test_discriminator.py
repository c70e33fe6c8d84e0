"""The patch discriminators: how many maps, how wide, how large, and that the condition is judged too."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from vid2vid_hub.errors import ModelError
from vid2vid_hub.nn.discriminator import MultiscaleDiscriminator


def judge(**options):
    torch.manual_seed(0)
    return MultiscaleDiscriminator(**({"inputs": 6, "base_channels": 4} | options)).requires_grad_(False)


def pictures(height=64, width=96):
    random = torch.Generator().manual_seed(1)
    return torch.rand(2, 3, height, width, generator=random), torch.rand(2, 3, height, width, generator=random)


def ask(network, condition, frames):
    (judged,) = network(condition, frames)
    return judged


def widths(patch):
    return [m.out_channels for m in patch.modules() if isinstance(m, nn.Conv2d)]


@pytest.mark.parametrize(("layers", "scales"), [(3, 2), (2, 1), (1, 3)])
def test_every_scale_gives_a_map_for_each_layer_and_a_verdict(layers, scales):
    judged = ask(judge(layers=layers, scales=scales), *pictures())
    assert len(judged) == scales
    assert all(len(maps) == layers + 2 for maps in judged)
    assert all(maps[-1].shape[:2] == (2, 1) for maps in judged)


def test_shapes_of_the_papers_patches():
    """Kernels of 4 with a border of 2: a stride of 2 halves and adds one, a stride of 1 adds one."""
    fine, coarse = ask(judge(), *pictures())
    assert [tuple(m.shape[1:]) for m in fine] == [(4, 33, 49), (8, 17, 25), (16, 9, 13), (32, 10, 14), (1, 11, 15)]
    assert [tuple(m.shape[1:]) for m in coarse] == [(8, 17, 25), (16, 9, 13), (32, 5, 7), (64, 6, 8), (1, 7, 9)]


def test_coarser_scales_begin_twice_as_wide_up_to_64():
    assert [widths(patch)[0] for patch in judge(base_channels=16, scales=4, layers=1).judges] == [16, 32, 64, 64]
    assert [widths(patch)[0] for patch in judge(base_channels=64, scales=2, layers=1).judges] == [64, 64]


def test_widths_double_up_to_512():
    (patch,) = judge(base_channels=64, layers=5, scales=1).judges
    assert widths(patch) == [64, 128, 256, 512, 512, 512, 1]


def test_the_first_layer_and_the_verdict_are_not_normalised():
    (patch,) = judge(scales=1, layers=2).judges
    normalised = [any(isinstance(m, nn.InstanceNorm2d) for m in layer.modules()) for layer in patch.layers]
    assert normalised == [False, True, True, False]


def test_a_coarser_scale_sees_the_picture_averaged_without_the_padding():
    network = judge(base_channels=8, layers=1)
    condition, frames = pictures()
    _, coarse = ask(network, condition, frames)
    halved = nn.functional.avg_pool2d(torch.cat((condition, frames), 1), 3, 2, 1, count_include_pad=False)
    assert all(torch.equal(a, b) for a, b in zip(network.judges[1](halved), coarse, strict=True))


def test_the_condition_changes_the_verdict():
    network, (condition, frames) = judge(), pictures()
    plain, other = ask(network, condition, frames), ask(network, 1 - condition, frames)
    assert all(not torch.equal(a[-1], b[-1]) for a, b in zip(plain, other, strict=True))


def test_a_verdict_is_local():
    """A verdict of one layer of stride 2 sees 16 pixels: what changes far away leaves it alone, norms apart."""
    network = judge(scales=1, layers=1)
    for module in network.modules():
        if isinstance(module, nn.InstanceNorm2d):
            module.forward = lambda x: x
    condition, frames = pictures()
    changed = frames.clone()
    changed[..., :8, :8] = 0
    difference = (ask(network, condition, changed)[0][-1] - ask(network, condition, frames)[0][-1]).abs()
    assert difference[..., 0, 0].min() > 0
    assert difference[..., 12:, 12:].max() == 0


def test_saved_and_loaded_it_judges_the_same(tmp_path):
    network = judge()
    network.save_pretrained(tmp_path)
    loaded = MultiscaleDiscriminator.from_pretrained(tmp_path)
    for ours, theirs in zip(ask(network, *pictures()), ask(loaded, *pictures()), strict=True):
        assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))


@pytest.mark.parametrize("norm", ["instance", "batch"])
def test_sets_are_judged_as_if_each_were_alone(norm):
    network, (condition, frames) = judge(norm=norm), pictures()
    sets = (frames, 1 - frames, frames.flip(-1))
    for together, pictures_alone in zip(network(condition, *sets), sets, strict=True):
        for ours, theirs in zip(together, ask(network, condition, pictures_alone), strict=True):
            assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(ours, theirs, strict=True))


def test_batch_norm_lets_pictures_of_a_set_feel_each_other_and_instance_norm_does_not():
    condition, frames = pictures()
    changed = torch.cat((frames[:1], 3 * frames[1:]))
    for norm, felt in (("instance", False), ("batch", True)):
        network = judge(norm=norm)
        plain, other = (ask(network, condition, x)[0][-1][0] for x in (frames, changed))
        assert torch.allclose(plain, other, atol=1e-6) != felt


@pytest.mark.parametrize(("option", "value"), [("inputs", 0), ("base_channels", 10**6), ("layers", 0), ("scales", 1.5)])
def test_a_setting_out_of_range_is_refused_with_its_value(option, value):
    with pytest.raises(ModelError, match=f"{option} is {value}"):
        MultiscaleDiscriminator(**({"inputs": 6} | {option: value}))
    with pytest.raises(ModelError, match="norm is 'group'"):
        judge(norm="group")

"""The recursion keeps its promises: one step, folded or cut in chunks, and a saved network is the same network."""

from __future__ import annotations

import json
import re

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from vid2vid_hub.errors import ModelError
from vid2vid_hub.nn.blocks import norm
from vid2vid_hub.nn.generator import Vid2VidGenerator
from vid2vid_hub.ops.warp import warp
from vid2vid_hub.ops.windows import flow_pyramid
from vid2vid_hub.types import Encoded, Frame

CHANNELS, SIZE = 3, (32, 48)
WEIGHTS = "diffusion_pytorch_model.safetensors"
TRAITS = ("image", "hallucinated", "warped", "flow", "mask")


def network(seed=0, **options):
    """Random weights, with the shifts of norms that a trained network has.

    Shifts are zero at first: then a black past is one constant in every map, and each norm magnifies what rounding left
    of its variance, up to pictures made of rounding errors. That says nothing about a network that was trained.
    """
    torch.manual_seed(seed)
    made = Vid2VidGenerator(CHANNELS, **({"base_channels": 8, "downsamples": 2, "blocks": 2} | options))
    for module in made.modules():
        if isinstance(module, nn.InstanceNorm2d):
            nn.init.normal_(module.bias, 0, 0.1)
    return made.requires_grad_(False)


def inputs(frames, batch=1, foreground=False, seed=1, size=SIZE):
    random = torch.Generator().manual_seed(seed)
    features = torch.rand(batch, frames, CHANNELS, *size, generator=random)
    where = torch.rand(batch, frames, 1, *size, generator=random).round() if foreground else None
    return Encoded(features, where)


def part(encoded, start, stop):
    where = None if encoded.foreground is None else encoded.foreground[:, start:stop]
    flow = None if encoded.flow is None else encoded.flow[:, start:stop]
    return Encoded(encoded.features[:, start:stop], where, flow)


def same(one, other):
    pairs = [(getattr(one, name), getattr(other, name)) for name in TRAITS]
    return all((a is None and b is None) or torch.equal(a, b) for a, b in pairs)


@pytest.mark.parametrize("options", [{}, {"foreground": True, "scales": 2}, {"flow": False, "history": 1}])
def test_step_folded_is_forward_is_chunks_bit_for_bit(options):
    generator = network(**options)
    encoded = inputs(5, foreground=options.get("foreground", False))
    start = generator.begin(encoded.features[:, :1])
    whole, last = generator(encoded, start)

    frames, memory = [], start
    for t in range(5):
        where = None if encoded.foreground is None else encoded.foreground[:, t]
        frame, memory = generator.step(memory, encoded.features[:, t], where)
        frames.append(frame)
    assert same(Frame.stack(frames), whole)

    first, memory = generator(part(encoded, 0, 2), start)
    second, memory = generator(part(encoded, 2, 5), memory.detach())
    assert torch.equal(torch.cat((first.image, second.image), 1), whole.image)
    for ours, theirs in zip((*memory.features, *memory.images), (*last.features, *last.images), strict=True):
        assert torch.equal(ours, theirs)


def test_a_frame_ignores_later_conditions():
    generator, encoded = network(), inputs(5)
    changed = encoded.features.clone()
    changed[:, 3:] = 1 - changed[:, 3:]
    start = generator.begin(encoded.features[:, :1])
    before, after = generator(encoded, start)[0].image, generator(Encoded(changed), start)[0].image
    assert torch.equal(before[:, :3], after[:, :3])
    assert not torch.equal(before[:, 3], after[:, 3])


def test_a_frame_sees_the_conditions_and_frames_of_its_history():
    generator, encoded = network(), inputs(4)
    changed = encoded.features.clone()
    changed[:, 0] = 1 - changed[:, 0]
    start = generator.begin(encoded.features[:, :1])
    before, after = generator(encoded, start)[0].image, generator(Encoded(changed), start)[0].image
    assert all(not torch.equal(before[:, t], after[:, t]) for t in range(4)), (
        "the past reaches through generated frames"
    )


def test_rows_of_a_batch_are_independent():
    generator, encoded = network(foreground=True).double(), inputs(3, batch=2, foreground=True)
    encoded = Encoded(encoded.features.double(), encoded.foreground.double())
    swapped = Encoded(encoded.features.flip(0), encoded.foreground.flip(0))
    together = generator(encoded, generator.begin(encoded.features[:, :1]))[0].image
    crosswise = generator(swapped, generator.begin(swapped.features[:, :1]))[0].image
    torch.testing.assert_close(together, crosswise.flip(0), rtol=0, atol=1e-9)
    alone = Encoded(encoded.features[:1], encoded.foreground[:1])
    image = generator(alone, generator.begin(alone.features[:, :1]))[0].image
    torch.testing.assert_close(image, together[:1], rtol=0, atol=1e-9)


def test_memory_keeps_its_size_and_the_last_conditions():
    generator, encoded = network(scales=2, history=3), inputs(6)
    memory = generator.begin(encoded.features[:, :1])
    shapes = [tensor.shape for tensor in (*memory.features, *memory.images)]
    for t in range(6):
        frame, memory = generator.step(memory, encoded.features[:, t])
        assert [tensor.shape for tensor in (*memory.features, *memory.images)] == shapes
        assert torch.equal(memory.images[-1][:, -1], frame.image)
    assert shapes[-1] == (1, 3, 3, *SIZE)
    assert torch.equal(memory.features[-1], encoded.features[:, 3:])


def test_fewer_frames_than_the_history_repeat_the_oldest():
    generator, seen = network(history=3), inputs(2).features
    images = torch.rand(1, 2, 3, *SIZE)
    memory = generator.begin(seen, images)
    assert torch.equal(memory.features[-1], seen[:, [0, 0, 1]])
    assert torch.equal(memory.images[-1], images[:, [0, 0, 1]])
    longer = generator.begin(inputs(5).features, torch.rand(1, 5, 3, *SIZE))
    assert torch.equal(longer.features[-1], inputs(5).features[:, 2:])


@pytest.mark.parametrize("scales", [1, 2])
def test_from_nothing_the_first_frame_is_all_hallucinated(scales):
    generator, encoded = network(scales=scales), inputs(2)
    memory = generator.begin(encoded.features[:, :1])
    assert not memory.started
    first, memory = generator.step(memory, encoded.features[:, 0])
    assert torch.equal(first.image, first.hallucinated)
    assert torch.equal(first.mask, torch.ones(1, 1, *SIZE))
    second, _ = generator.step(memory, encoded.features[:, 1])
    assert memory.started
    assert not torch.equal(second.image, second.hallucinated)
    assert (second.mask < 1).all()


def test_the_last_of_the_given_frames_is_warped_at_once():
    generator, encoded = network(), inputs(3)
    given = torch.rand(1, 2, 3, *SIZE)
    frame, _ = generator.step(generator.begin(encoded.features[:, :2], given), encoded.features[:, 2])
    assert torch.equal(frame.warped, warp(given[:, -1], frame.flow))
    blended = frame.mask * frame.hallucinated + (1 - frame.mask) * frame.warped
    torch.testing.assert_close(frame.image, blended)
    assert (frame.mask < 1).all()


def test_without_flow_there_is_nothing_but_the_hallucination():
    generator, encoded = network(flow=False), inputs(2)
    frame, _ = generator(encoded, generator.begin(encoded.features[:, :1]))
    assert torch.equal(frame.image, frame.hallucinated)
    assert frame.flow is frame.mask is frame.warped is None
    assert not any("flow" in name or "mask" in name for name, _ in generator.named_parameters())


@pytest.mark.parametrize("scales", [1, 2, 3])
def test_every_scale_doubles_the_one_below(scales):
    generator = network(scales=scales, downsamples=1, foreground=True)
    encoded = inputs(1, foreground=True)
    memory = generator.begin(encoded.features)
    made = [frame for frame, _ in generator.steps(memory, encoded.features[:, 0], encoded.foreground[:, 0])]
    sizes = [tuple(frame.image.shape[-2:]) for frame in made]
    assert sizes == [(SIZE[0] // 2**s, SIZE[1] // 2**s) for s in reversed(range(scales))]
    assert all(frame.flow.shape == (1, 2, *frame.image.shape[-2:]) for frame in made)
    assert made[-1].image.abs().max() <= 1
    assert [network.heads.flow_range for network in generator.networks] == [20.0 * 2**s for s in range(scales)]


def test_the_foreground_mask_is_wanted_exactly_when_there_is_the_prior():
    with_prior, without, encoded = network(foreground=True), network(), inputs(1, foreground=True)
    current, where = encoded.features[:, 0], encoded.foreground[:, 0]
    with pytest.raises(ModelError, match="must give a foreground mask"):
        with_prior.step(with_prior.begin(encoded.features), current)
    with pytest.raises(ModelError, match="leave the foreground mask out"):
        without.step(without.begin(encoded.features), current, where)


@pytest.mark.parametrize("size", [(30, 48), (32, 46), (4, 48), (32, 4)])
def test_sizes_that_do_not_fit_are_refused_with_the_numbers(size):
    height, width = size
    with pytest.raises(ModelError, match=rf"frames of {width}x{height} .* multiples of 4 and at least 8"):
        network().begin(inputs(1, size=size).features)


def test_another_number_of_channels_is_refused():
    with pytest.raises(ModelError, match="reads 3 condition channels; the task gives 5"):
        network().begin(torch.zeros(1, 1, 5, *SIZE))


def test_the_smallest_size_that_fits_works():
    generator, encoded = network(scales=2), inputs(1, size=(16, 16))
    assert generator.multiple == 8
    assert torch.isfinite(generator(encoded, generator.begin(encoded.features))[0].image).all()


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("condition_channels", 0),
        ("base_channels", 10**9),
        ("base_channels", 8.0),
        ("base_channels", None),
        ("downsamples", 7),
        ("blocks", 1),
        ("blocks", "many"),
        ("scales", 5),
        ("scales", True),
        ("local_blocks", 0),
        ("history", 0),
        ("flow", "no"),
        ("given_flow", "no"),
        ("foreground", 1),
        ("composition", "painted"),
        ("image_channels", 0),
        ("image_channels", "rgb"),
        ("frames", "masks"),
        ("sharpen", 0.5),
        ("sharpen", True),
        ("sharpen", "much"),
    ],
)
def test_a_setting_out_of_range_is_refused_with_its_value(option, value):
    with pytest.raises(ModelError, match=rf"{option} is {re.escape(repr(value))}"):
        Vid2VidGenerator(**({"condition_channels": 3} | {option: value}))


def test_settings_that_are_too_much_together_are_refused():
    with pytest.raises(ModelError, match=r"base_channels \* 2 \*\* downsamples is 32768"):
        Vid2VidGenerator(3, base_channels=512, downsamples=6)
    with pytest.raises(ModelError, match="base_channels 6 cannot be halved for each of 2 scales"):
        Vid2VidGenerator(3, base_channels=6, scales=2)
    with pytest.raises(ModelError, match=r"given_flow is true and flow is false; .* nothing to warp by it"):
        Vid2VidGenerator(3, flow=False, given_flow=True)


def test_save_and_load_give_the_same_bits(tmp_path):
    generator, encoded = network(foreground=True, scales=2), inputs(3, foreground=True)
    generator.save_pretrained(tmp_path)
    loaded = Vid2VidGenerator.from_pretrained(tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["config.json", WEIGHTS]
    assert {k: v for k, v in loaded.config.items() if k[0] != "_"} == {
        k: v for k, v in generator.config.items() if k[0] != "_"
    }
    frames = [g(encoded, g.begin(encoded.features[:, :1]))[0] for g in (generator, loaded)]
    assert same(*frames)


def test_half_precision_storage_is_within_half_a_step_of_uint8(tmp_path):
    generator, encoded = network(), inputs(6)
    for head, gain in ((generator.networks[0].heads.image, 0.2), (generator.networks[0].heads.flow, 0.02)):
        head[1].weight *= gain  # calm pictures and short flows, as of a trained network
        head[1].bias *= gain
    expected = generator(encoded, generator.begin(encoded.features[:, :1]))[0].image
    generator.half().save_pretrained(tmp_path)
    assert all(tensor.dtype == torch.float16 for tensor in load_file(tmp_path / WEIGHTS).values())
    loaded = Vid2VidGenerator.from_pretrained(tmp_path)
    assert loaded.dtype == torch.float32
    made = loaded(encoded, loaded.begin(encoded.features[:, :1]))[0].image
    assert (made - expected).abs().max() * 127.5 < 0.5


@pytest.fixture
def saved(tmp_path):
    network().save_pretrained(tmp_path)
    return tmp_path


def refused(folder, **options):
    with pytest.raises(ModelError) as caught:
        Vid2VidGenerator.from_pretrained(folder, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def rewrite(folder, change):
    weights = load_file(folder / WEIGHTS)
    change(weights)
    save_file(weights, folder / WEIGHTS)


def test_missing_surplus_and_misshapen_keys_are_refused_by_name(saved):
    key = "networks.0.heads.image.1.bias"
    whole = load_file(saved / WEIGHTS)
    rewrite(saved, lambda weights: weights.pop(key))
    assert f"missing keys: {key}" in refused(saved)
    rewrite(saved, lambda weights: weights.update(whole, one_more=torch.zeros(2)))
    assert "unexpected keys: one_more" in refused(saved)
    save_file(whole | {key: torch.zeros(5)}, saved / WEIGHTS)
    message = refused(saved)
    assert key in message
    assert "[3]" in message
    assert "[5]" in message
    assert "low_cpu_mem_usage" not in message, "advice about diffusers is not ours"


def test_many_wrong_keys_are_counted(saved):
    rewrite(saved, lambda weights: weights.clear() or weights.update(a=torch.zeros(1)))
    assert re.search(r"missing keys: (\S+, ){2}\S+ and \d+ more; unexpected keys: a$", refused(saved))


@pytest.mark.parametrize(("wish", "said"), [(False, "safetensors only"), (None, "never loaded; expected safetensors")])
def test_pickles_are_never_read_or_written(saved, wish, said):
    (saved / WEIGHTS).unlink()
    torch.save(network().state_dict(), saved / "diffusion_pytorch_model.bin")
    assert "safetensors" in refused(saved)
    assert said in refused(saved, use_safetensors=wish)
    with pytest.raises(ModelError, match="safetensors only"):
        network().save_pretrained(saved, safe_serialization=False)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"colour": "blue"}, "no setting colour"),
        ({"base_channels": 10**9}, "base_channels is 1000000000"),
        ({"blocks": "many"}, "blocks is 'many'"),
        ({"base_channels": 16}, "expected shape"),
        ({"condition_channels": ...}, "condition_channels"),
    ],
)
def test_a_config_of_something_else_is_refused(saved, change, said):
    config = json.loads((saved / "config.json").read_text()) | change
    kept = {key: value for key, value in config.items() if value is not ...}
    (saved / "config.json").write_text(json.dumps(kept))
    assert said in refused(saved)


def test_damaged_and_missing_files_are_named(saved, tmp_path):
    (saved / WEIGHTS).write_bytes((saved / WEIGHTS).read_bytes()[:5000])
    assert WEIGHTS in refused(saved)
    (saved / WEIGHTS).unlink()
    assert WEIGHTS in refused(saved)
    (saved / "config.json").write_text("{")
    assert "config.json" in refused(saved)
    (saved / "config.json").unlink()
    assert "config.json" in refused(saved)


def test_channels_last_has_the_statistics_of_contiguous():
    """PyTorch's channels-last batch norm on the CPU is a hundred times less exact; per-picture norm is not."""
    layer = norm(16)
    pictures = torch.randn(1, 16, 128, 256, generator=torch.Generator().manual_seed(0)) * 0.5 + 3
    exact = nn.functional.instance_norm(pictures.double(), weight=layer.weight.double(), bias=layer.bias.double())
    for memory_format in (torch.contiguous_format, torch.channels_last):
        error = (layer(pictures.contiguous(memory_format=memory_format)) - exact).abs().max()
        assert error < 1e-5


def test_a_whole_network_in_channels_last_makes_the_same_frames():
    generator, encoded = network(), inputs(1)
    plain = generator(encoded, generator.begin(encoded.features))[0].image
    generator.to(memory_format=torch.channels_last)
    assert (generator(encoded, generator.begin(encoded.features))[0].image - plain).abs().max() < 1e-5


def test_every_picture_is_normalised_by_itself():
    layer = norm(4)
    pictures = torch.randn(3, 4, 8, 8)
    layer.train()
    together = layer(pictures)
    assert torch.equal(layer.eval()(pictures), together), "training and evaluation are the same network"
    torch.testing.assert_close(layer(pictures[1:2]), together[1:2])


def test_initialisation_has_the_released_statistics():
    torch.manual_seed(0)
    generator = Vid2VidGenerator(CHANNELS, base_channels=16, downsamples=2, blocks=2).requires_grad_(False)
    convolutions = [m for m in generator.modules() if isinstance(m, nn.Conv2d | nn.ConvTranspose2d)]
    norms = [m for m in generator.modules() if isinstance(m, nn.InstanceNorm2d)]
    kernels = torch.cat([m.weight.flatten() for m in convolutions])
    scales = torch.cat([m.weight for m in norms])
    assert kernels.mean().abs() < 2e-4
    assert kernels.std().item() == pytest.approx(0.02, rel=0.01)
    assert scales.mean().item() == pytest.approx(1, abs=0.004)
    assert scales.std().item() == pytest.approx(0.02, rel=0.15)
    assert all((m.bias == 0).all() for m in norms)
    assert any((m.bias != 0).any() for m in convolutions)


def test_gradient_reaches_every_parameter():
    generator, encoded = network(foreground=True, scales=2).requires_grad_(), inputs(2, foreground=True)
    frame, _ = generator(encoded, generator.begin(encoded.features[:, :1]))
    (frame.image.sum() + frame.flow.square().mean()).backward()
    # Coarser scales' heads draw pictures of their own, which the finest frame does not use.
    idle = [name for name, parameter in generator.named_parameters() if parameter.grad is None]
    assert all(name.startswith("networks.0.heads.") for name in idle)


# Coarse to fine


def first_frames(count=2):
    return torch.rand(1, count, 3, *SIZE, generator=torch.Generator().manual_seed(2)) * 2 - 1


@pytest.mark.parametrize("scales", [1, 2])
def test_while_finer_scales_wait_it_is_a_generator_of_fewer(scales):
    options = {"downsamples": 1, "foreground": True}
    whole, fewer = network(scales=3, **options), network(seed=5, scales=scales, **options)
    weights = whole.state_dict()
    fewer.load_state_dict({key: weights[key] for key in fewer.state_dict()})
    encoded = inputs(3, foreground=True)
    for seen, given in ((encoded.features[:, :2], first_frames()), (encoded.features[:, :1], None)):
        ours, memory = whole(encoded, whole.begin(seen, given, scales))
        theirs, other = fewer(encoded, fewer.begin(seen, given))
        assert same(ours, theirs)
        assert ours.image.shape[-2:] == SIZE, "the finest that takes part makes frames of the whole size"
        assert len(memory.images) == len(other.images) == scales


def test_all_scales_take_part_unless_it_is_said():
    generator, encoded = network(scales=2), inputs(2)
    every, said = (generator(encoded, generator.begin(encoded.features[:, :1], None, k))[0] for k in (None, 2))
    assert same(every, said)
    assert not same(every, generator(encoded, generator.begin(encoded.features[:, :1], None, 1))[0])


def test_waiting_scales_get_no_gradient():
    generator, encoded = network(scales=2).requires_grad_(), inputs(2)
    generator(encoded, generator.begin(encoded.features[:, :1], None, 1))[0].image.sum().backward()
    assert all(p.grad is None for p in generator.networks[1].parameters())
    assert any(p.grad is not None for p in generator.networks[0].parameters())


def test_fewer_scales_need_a_smaller_multiple():
    generator = network(scales=3)
    assert [generator.multiple_at(k) for k in (1, 2, 3)] == [4, 8, 16]
    assert generator.multiple == 16
    small = inputs(1, size=(8, 12)).features
    assert generator.begin(small, scales=1).images[0].shape == (1, 2, 3, 8, 12)
    with pytest.raises(ModelError, match=r"12x8 .* multiples of 8 and at least 16"):
        generator.begin(small, scales=2)


@pytest.mark.parametrize("scales", [0, 3])
def test_scales_that_are_not_there_cannot_take_part(scales):
    with pytest.raises(ModelError, match=f"this generator has 2 scales; {scales} of them cannot take part"):
        network(scales=2).begin(inputs(1).features, scales=scales)


# A flow that is given


def given_inputs(frames, **options):
    encoded = inputs(frames, **options)
    random = torch.Generator().manual_seed(3)
    flow = torch.randn(1, frames, 2, *SIZE, generator=random) * 2
    return Encoded(encoded.features, encoded.foreground, flow)


def certain_mask(generator, value):
    """Set the masks of all scales to 0 or 1 everywhere."""
    for scale in generator.networks:
        scale.heads.mask[1].weight.zero_()
        scale.heads.mask[1].bias.fill_(1e4 if value else -1e4)


@pytest.mark.parametrize("scales", [1, 2])
def test_with_a_given_flow_the_frame_is_the_warp_where_the_mask_is_0(scales):
    generator, encoded = network(given_flow=True, scales=scales), given_inputs(3)
    certain_mask(generator, 0)
    begun = generator.begin(encoded.features[:, :2], first_frames())
    frames = list(generator.steps(begun, encoded.features[:, 2], None, encoded.flow[:, 2]))
    flows = flow_pyramid(encoded.flow[:, 2], scales)
    for (frame, _), before, flow in zip(frames, begun.images, flows, strict=True):
        assert torch.equal(frame.flow, flow)
        assert torch.equal(frame.image, warp(before[:, -1], flow)), "every scale warps by the flow of its resolution"
    assert torch.equal(frames[-1][0].flow, encoded.flow[:, 2])
    certain_mask(generator, 1)
    frame, _ = generator.step(begun, encoded.features[:, 2], None, encoded.flow[:, 2])
    assert torch.equal(frame.image, frame.hallucinated)
    assert not torch.equal(frame.image, frame.warped)


def test_a_given_flow_is_folded_and_cut_like_everything_else():
    generator, encoded = network(given_flow=True, foreground=True), given_inputs(4, foreground=True)
    start = generator.begin(encoded.features[:, :1])
    whole, _ = generator(encoded, start)
    first, memory = generator(part(encoded, 0, 1), start)
    second, _ = generator(part(encoded, 1, 4), memory)
    assert torch.equal(torch.cat((first.image, second.image), 1), whole.image)
    assert torch.equal(whole.flow, encoded.flow)
    assert torch.equal(whole.image[:, 0], whole.hallucinated[:, 0]), "the first frame of all has nothing to warp"
    other, _ = generator(Encoded(encoded.features, encoded.foreground, encoded.flow + 1), start)
    assert torch.equal(other.image[:, 0], whole.image[:, 0])
    assert not torch.equal(other.image[:, 1], whole.image[:, 1])


def test_a_given_flow_leaves_out_the_head_that_would_estimate_it_and_nothing_else():
    estimating, given = (set(network(scales=2, given_flow=value).state_dict()) for value in (False, True))
    assert given < estimating
    assert {".".join(key.split(".")[2:4]) for key in estimating - given} == {"heads.flow"}


def test_with_a_given_flow_the_mask_learns():
    generator, encoded = network(given_flow=True).requires_grad_(), given_inputs(3)
    rollout, _ = generator(part(encoded, 2, 3), generator.begin(encoded.features[:, :2], first_frames()))
    assert not rollout.flow.requires_grad
    rollout.image.sum().backward()
    assert all(p.grad is not None and p.grad.any() for p in generator.networks[0].heads.mask.parameters())


def test_the_flow_is_wanted_exactly_when_it_is_given():
    given, estimating, encoded = network(given_flow=True), network(), given_inputs(1)
    with pytest.raises(ModelError, match="warps by a flow that is given to it: hand one in with every frame"):
        given.step(given.begin(encoded.features), encoded.features[:, 0])
    with pytest.raises(ModelError, match="this generator takes no flow: leave it out"):
        estimating.step(estimating.begin(encoded.features), encoded.features[:, 0], None, encoded.flow[:, 0])


# Gradient checkpointing


@pytest.mark.parametrize("options", [{"scales": 2, "foreground": True}, {"flow": False}, {"given_flow": True}], ids=str)
def test_computing_activations_twice_changes_no_bit(options):
    """Frames and gradients, over a chunk of two frames; and it is really twice."""

    def learned(checkpointing):
        generator = network(**options).requires_grad_()
        if checkpointing:
            generator.enable_gradient_checkpointing()
        calls = []
        generator.networks[0].image.register_forward_hook(lambda *_: calls.append(1))
        encoded = given_inputs(4, foreground=options.get("foreground", False))
        chunk = part(encoded if options.get("given_flow") else Encoded(encoded.features, encoded.foreground), 2, 4)
        rollout, _ = generator(chunk, generator.begin(encoded.features[:, :2], first_frames()))
        (rollout.image.square().mean() + rollout.hallucinated.mean()).backward()
        return rollout, {name: p.grad for name, p in generator.named_parameters()}, len(calls)

    (plain, gradients, once), (again, others, twice) = learned(False), learned(True)
    assert same(plain, again)
    for name, gradient in gradients.items():
        assert (gradient is None) == (others[name] is None), name
        assert gradient is None or torch.equal(gradient, others[name]), name
    assert (once, twice) == (2, 4)


def test_without_gradients_nothing_is_computed_twice():
    generator, encoded = network(), inputs(1)
    start = generator.begin(encoded.features)
    plain = generator(encoded, start)[0]
    generator.enable_gradient_checkpointing()
    with torch.no_grad():
        assert same(generator(encoded, start)[0], plain)


# Frames of probabilities


CLASSES = 5


def forecaster(seed=0, **options):
    made = network(seed, image_channels=CLASSES, frames="probabilities", **options)
    for scale in made.networks:
        for parameter in scale.heads.parameters():
            nn.init.normal_(parameter, 0, 0.2)
    return made


def distributions(*shape, seed=2):
    random = torch.Generator().manual_seed(seed)
    return torch.rand(*shape[:-3], CLASSES, *shape[-2:], generator=random).mul(5).softmax(-3) * 2 - 1


def is_distribution(frames):
    chances = (frames + 1) / 2
    return bool((chances > -1e-6).all() and ((chances.sum(-3) - 1).abs() < 1e-5).all())


@pytest.mark.parametrize("options", [{}, {"scales": 2}, {"foreground": True}, {"flow": False}, {"sharpen": 1.5}])
@pytest.mark.parametrize("began", ["seen", "nothing"])
def test_whatever_is_made_of_distributions_is_a_distribution(options, began):
    generator = forecaster(**options)
    encoded = inputs(4, foreground=options.get("foreground", False))
    given = None if began == "nothing" else distributions(1, 1, 1, *SIZE)
    made, memory = generator(encoded, generator.begin(encoded.features[:, :1], given))
    assert made.image.shape == (1, 4, CLASSES, *SIZE)
    assert all(is_distribution(frames) for frames in (made.image, made.hallucinated))
    if made.warped is not None:
        assert is_distribution(made.warped)
    assert all(is_distribution(images[:, -1]) for images in memory.images)
    assert made.image.std() > 0.1, "and says something"


def test_a_future_begins_as_a_copy_of_the_past():
    generator = network(image_channels=CLASSES, frames="probabilities")
    encoded, given = inputs(3), distributions(1, 2, 1, *SIZE)
    hard = torch.nn.functional.one_hot(given.argmax(2), CLASSES).movedim(-1, 2).float() * 2 - 1
    made, _ = generator(encoded, generator.begin(encoded.features[:, :1], hard))
    assert not made.flow.any()
    torch.testing.assert_close(made.warped[:, 0], hard[:, -1], rtol=0, atol=1e-4)
    assert made.mask.mean() < 0.1
    assert torch.equal(made.image[:, -1].argmax(1), hard[:, -1].argmax(1))


def test_what_is_remembered_is_sharpened_and_what_is_made_is_not():
    plain, sharp = forecaster(), forecaster(sharpen=2.0)
    encoded, given = inputs(1), distributions(1, 2, 1, *SIZE)
    (one, before), (other, after) = (
        g.step(g.begin(encoded.features, given), encoded.features[:, 0]) for g in (plain, sharp)
    )
    assert torch.equal(one.image, other.image)
    assert torch.equal(before.images[0][:, -1], one.image)
    squares = ((one.image + 1) / 2) ** 2
    torch.testing.assert_close(after.images[0][:, -1], squares / squares.sum(1, keepdim=True) * 2 - 1)
    assert torch.equal(after.images[0][:, 0], given[:, -1]), "what was given stays as it was"


def test_a_past_of_other_channels_is_refused():
    generator, encoded = forecaster(), inputs(1)
    with pytest.raises(ModelError, match="frames of 5 channels; these have 3"):
        generator.begin(encoded.features, torch.zeros(1, 1, 3, *SIZE))


def test_pictures_are_not_sharpened():
    with pytest.raises(ModelError, match=r"sharpen is 2.* only 'probabilities'"):
        Vid2VidGenerator(3, sharpen=2)


def test_a_config_from_before_there_were_label_maps_is_one_of_pictures(tmp_path):
    network().save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    new = {"image_channels": 3, "frames": "images", "sharpen": 1.0}
    assert {name: config.pop(name) for name in new} == new
    (tmp_path / "config.json").write_text(json.dumps(config))
    loaded, encoded = Vid2VidGenerator.from_pretrained(tmp_path), inputs(2)
    start = loaded.begin(encoded.features[:, :1])
    assert torch.equal(loaded(encoded, start)[0].image, network()(encoded, start)[0].image)

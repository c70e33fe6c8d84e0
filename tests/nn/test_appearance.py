"""What parts look like: pooled from a picture, and chosen, drawn or found among what was recorded."""

from __future__ import annotations

import re

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vid2vid_hub.errors import ModelError
from vid2vid_hub.nn.appearance import AppearanceEncoder, class_of

CLASSES, LOOKS, CENTRES = 4, 3, 5
KNOWN = [5, 3, 0, 1]
SIZE = (16, 24)
GROUND, CAR, OTHER = 0, 1007, 1012


def encoder(known=KNOWN, **options):
    torch.manual_seed(0)
    tiny = {"channels": LOOKS, "base_channels": 4, "downsamples": 2, "centres": CENTRES}
    network = AppearanceEncoder(CLASSES, **(tiny | options)).requires_grad_(False)
    network.looks.uniform_(-1, 1)
    network.known.copy_(torch.tensor(known))
    return network


def picture(count=1, seed=0):
    return torch.rand(count, 3, *SIZE, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def parts(*ids):
    """A stripe for each id."""
    stripes = torch.tensor(ids, dtype=torch.int32).repeat_interleave(-(-SIZE[1] // len(ids)))[: SIZE[1]]
    return stripes.expand(1, 1, *SIZE).contiguous()


def looks_of(features, ids):
    """The features of each part of one picture; there must be one for all of its pixels."""
    found = {}
    for part in ids.unique().tolist():
        values = features[0][:, ids[0, 0] == part]
        assert (values == values[:, :1]).all()
        found[part] = values[:, 0]
    return found


# E


@settings(max_examples=20)
@given(st.lists(st.sampled_from([0, 1, 3, 1001, 1002, 3999]), min_size=1, max_size=12), st.integers(0, 9))
def test_a_part_has_the_mean_of_its_pixels(ids, seed):
    network, image = encoder().double(), picture(2, seed).double()
    where = parts(*ids).expand(2, -1, -1, -1)
    made, seen = network(image, where), network.layers(image)
    for n in range(2):
        for part in set(where[n].flatten().tolist()):
            pixels = where[n, 0] == part
            for channel in range(LOOKS):
                values = [float(seen[n, channel, y, x]) for y, x in pixels.nonzero().tolist()]
                expected = torch.full((len(values),), sum(values) / len(values), dtype=torch.float64)
                torch.testing.assert_close(made[n, channel][pixels], expected)


def test_its_layers_are_the_released_ones(shared):
    import json

    table = json.loads((shared / "fixtures" / "released" / "keys" / "edge2face_single_E.json").read_text())
    theirs = {key: shape for key, shape in table.items() if key.endswith(("weight", "bias"))}
    with torch.device("meta"):
        network = AppearanceEncoder(7, channels=16)
    ours = {key.replace("layers", "model"): list(tensor.shape) for key, tensor in network.named_parameters()}
    assert list(ours.items()) == list(theirs.items())


def test_gradients_reach_the_first_layer():
    network = encoder().requires_grad_(True)
    network(picture(), parts(GROUND, CAR))[:, 0].sum().backward()
    assert network.layers[1].weight.grad.abs().max() > 0


@pytest.mark.parametrize(("part", "kind"), [(0, 0), (26, 26), (999, 999), (1000, 1), (26007, 26)])
def test_an_id_says_its_class(part, kind):
    assert class_of(part) == kind


@pytest.mark.parametrize("part", [CLASSES, 4000, 2**31 - 1, -1])
def test_a_class_that_is_not_known_is_refused(part):
    network, ids = encoder(), parts(GROUND, part)
    for look in (
        lambda: network(picture(), ids),
        lambda: network.choose(ids, 0),
        lambda: network.draw(ids, 0),
        lambda: encoder(joint=True).nearest(picture(), ids),
    ):
        with pytest.raises(ModelError, match=rf"the id {part}, .* knows the looks of 4 classes, from 0 on"):
            look()


# Choosing


@pytest.mark.parametrize("style", range(CENTRES))
def test_a_style_is_the_centre_of_that_number(style):
    network, ids = encoder(), parts(GROUND, CAR, OTHER, 2, 3)
    found = looks_of(network.choose(ids, style), ids)
    assert torch.equal(found[GROUND], network.looks[0, style])
    assert torch.equal(found[CAR], network.looks[1, style % 3])
    assert torch.equal(found[OTHER], found[CAR])
    assert torch.equal(found[3], network.looks[3, 0])
    assert torch.equal(found[2], torch.zeros(LOOKS)), "nothing is known of class 2"


@pytest.mark.parametrize("style", [-1, CENTRES, True, 1.0, "red"])
def test_there_are_as_many_styles_as_centres(style):
    network = encoder()
    assert network.styles == CENTRES
    for look in (network.choose, lambda _, style: network.held(style)):
        with pytest.raises(ModelError, match=rf"style is {re.escape(repr(style))}; .* between 0 and 4"):
            look(parts(GROUND), style)


def test_where_nothing_was_recorded_there_is_one_style_of_zeros():
    network, ids = encoder(known=[0] * CLASSES), parts(GROUND, CAR)
    assert network.styles == 1
    for features in (network.choose(ids, 0), network.draw(ids, 3), encoder([0] * CLASSES, joint=True).draw(ids, 3)):
        assert torch.equal(features, torch.zeros(1, LOOKS, *SIZE))


def test_damaged_counts_choose_no_centre_that_is_not_there():
    assert encoder(known=[2**40, -3, 0, 1]).styles == CENTRES


# Drawing


def test_a_draw_is_decided_by_its_seed():
    network, ids = encoder(), parts(*range(0, 2), *range(1000, 1010))
    assert torch.equal(network.draw(ids, 3), network.draw(ids, 3))
    assert len({tuple(network.draw(ids, seed).flatten().tolist()) for seed in range(8)}) == 8


def test_a_part_keeps_its_look_whoever_comes_and_goes():
    network = encoder()
    alone, among = parts(CAR), parts(3, OTHER, CAR, GROUND)
    for seed in range(20):
        expected = looks_of(network.draw(alone, seed), alone)[CAR]
        assert torch.equal(looks_of(network.draw(among, seed), among)[CAR], expected)


@pytest.mark.parametrize("part", [GROUND, CAR])
def test_all_centres_of_a_class_are_drawn_alike(part):
    network, count = encoder(), KNOWN[class_of(part)]
    drawn = [looks_of(network.draw(parts(part), seed), parts(part))[part] for seed in range(300)]
    numbers = [int((network.looks[class_of(part)] == look).all(1).nonzero()[0]) for look in drawn]
    tally = torch.tensor(numbers).bincount(minlength=CENTRES)
    assert (tally[count:] == 0).all(), "only the real ones"
    assert (tally[:count] > 300 / count * 0.65).all()


def test_objects_of_a_class_are_drawn_apart():
    network, ids = encoder(), parts(CAR, OTHER)
    pairs = [looks_of(network.draw(ids, seed), ids) for seed in range(30)]
    assert {torch.equal(pair[CAR], pair[OTHER]) for pair in pairs} == {True, False}


def test_joint_styles_are_drawn_whole():
    network, ids = encoder(known=[CENTRES] * CLASSES, joint=True), parts(GROUND, CAR, 2, 3)
    drawn = [network.draw(ids, seed) for seed in range(40)]
    styles = [network.choose(ids, style) for style in range(CENTRES)]
    numbers = [next(k for k, style in enumerate(styles) if torch.equal(style, one)) for one in drawn]
    assert set(numbers) == set(range(CENTRES))


def test_one_style_is_held_for_a_whole_video():
    network, ids = encoder(), parts(GROUND, CAR, OTHER)
    assert torch.equal(network.held()(ids), network.choose(ids, 0))
    assert torch.equal(network.held(2)(ids), network.choose(ids, 2))
    random = torch.Generator().manual_seed(5)
    assert torch.equal(network.held(2, random)(ids), network.choose(ids, 2))
    look, again = network.held(random=random), network.held(random=torch.Generator().manual_seed(5))
    assert torch.equal(look(ids), look(ids))
    assert torch.equal(look(ids), again(ids))
    assert not all(torch.equal(network.held(random=random)(ids), look(ids)) for _ in range(5))


# Finding


def test_the_nearest_style_is_that_of_the_least_distance_over_all_parts():
    network, image, ids = encoder(known=[CENTRES] * CLASSES, joint=True), picture(2), parts(GROUND, CAR, 3)
    ids = torch.cat((ids, parts(2, 3)))
    seen = network(image, ids)
    expected = []
    for n in range(2):
        found = looks_of(seen[n : n + 1], ids[n : n + 1])
        distances = [
            sum(float((network.looks[class_of(part), k] - look).square().sum()) for part, look in found.items())
            for k in range(CENTRES)
        ]
        expected.append(distances.index(min(distances)))
    assert network.nearest(image, ids) == expected


@pytest.mark.parametrize("style", range(CENTRES))
def test_a_picture_that_was_recorded_is_found_again(style):
    network, image, ids = encoder(known=[CENTRES] * CLASSES, joint=True), picture(), parts(GROUND, CAR, 2, 3)
    for part, look in looks_of(network(image, ids), ids).items():
        network.looks[class_of(part), style] = look
    assert network.nearest(image, ids) == [style]


def test_single_parts_have_no_nearest_style():
    with pytest.raises(ModelError, match="are of single parts, so that no style is nearest"):
        encoder().nearest(picture(), parts(GROUND))


# A saved network


def test_save_and_load_give_the_same_bits(tmp_path):
    network, ids = encoder(joint=True), parts(GROUND, CAR)
    network.save_pretrained(tmp_path)
    loaded = AppearanceEncoder.from_pretrained(tmp_path)
    assert all(
        torch.equal(*pair) for pair in zip(network.state_dict().values(), loaded.state_dict().values(), strict=True)
    )
    assert torch.equal(loaded(picture(), ids), network(picture(), ids))
    assert torch.equal(loaded.draw(ids, 1), network.draw(ids, 1))
    half = AppearanceEncoder.from_pretrained(tmp_path, dtype=torch.float16)
    assert (half.looks.dtype, half.known.dtype) == (torch.float16, torch.int64)
    assert torch.equal(half.choose(ids, 1), network.choose(ids, 1).half())
    torch.testing.assert_close(half(picture().half(), ids).float(), network(picture(), ids), atol=5e-3, rtol=0)


def test_sizes_that_do_not_fit_are_refused_with_the_numbers():
    network = encoder()
    with pytest.raises(ModelError, match=r"pictures of 22x16 do not fit .* multiples of 4 and at least 8"):
        network(torch.zeros(1, 3, 16, 22), torch.zeros(1, 1, 16, 22, dtype=torch.int32))
    with pytest.raises(ModelError, match=r"\(1, 3, 16, 24\) are \(1, 1, 8, 24\); both must be alike"):
        network(picture(), torch.zeros(1, 1, 8, 24, dtype=torch.int32))


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("classes", 0),
        ("classes", 10**9),
        ("channels", 257),
        ("base_channels", "wide"),
        ("downsamples", 7),
        ("centres", 0),
        ("centres", 10**9),
        ("joint", 1),
    ],
)
def test_a_setting_out_of_range_is_refused_with_its_value(option, value):
    with pytest.raises(ModelError, match=rf"{option} is {re.escape(repr(value))}"):
        AppearanceEncoder(**({"classes": 3} | {option: value}))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"classes": 1024, "centres": 2**16}, r"classes \* centres \* channels is 201326592"),
        ({"base_channels": 512, "downsamples": 6}, r"base_channels \* 2 \*\* downsamples is 32768"),
    ],
)
def test_more_than_fits_in_memory_is_refused(options, said):
    with pytest.raises(ModelError, match=said):
        AppearanceEncoder(**({"classes": 3} | options))

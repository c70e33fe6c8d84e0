"""VGG sees what its weights say, normalised as they were trained; LPIPS measures what a person would call a change."""

from __future__ import annotations

import importlib.util
from itertools import chain

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file

from vid2vid_hub.data.toy import ToyWorld
from vid2vid_hub.errors import MissingExtraError, ModelError
from vid2vid_hub.nn.perceptual import LPIPS, VGG, perceptual_network

# Width and torchvision's number of each convolution, block by block.
PLAN = {
    "vgg16": (
        ((64, 0), (64, 2)),
        ((128, 5), (128, 7)),
        ((256, 10), (256, 12), (256, 14)),
        ((512, 17), (512, 19), (512, 21)),
        ((512, 24), (512, 26), (512, 28)),
    ),
    "vgg19": (
        ((64, 0), (64, 2)),
        ((128, 5), (128, 7)),
        ((256, 10), (256, 12), (256, 14), (256, 16)),
        ((512, 19), (512, 21), (512, 23), (512, 25)),
        ((512, 28), (512, 30), (512, 32), (512, 34)),
    ),
}
IMAGENET_MEAN = torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1)
IMAGENET_DEVIATION = torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1)


def drawn(name):
    """Random weights with torchvision's keys, in half precision as they may be stored, and a classifier beside them."""
    random, held, inputs = torch.Generator().manual_seed(0), {"classifier.0.weight": torch.zeros(1)}, 3
    for width, number in chain(*PLAN[name]):
        weight = torch.randn(width, inputs, 3, 3, generator=random) * (2 / (9 * inputs)) ** 0.5
        held |= {
            f"features.{number}.weight": weight.half(),
            f"features.{number}.bias": torch.full((width,), 0.1).half(),
        }
        inputs = width
    return held


@pytest.fixture(scope="module", params=PLAN)
def named(request, tmp_path_factory):
    """A network's name, its weights, and a file of them."""
    file = tmp_path_factory.mktemp("weights") / f"{request.param}.safetensors"
    held = drawn(request.param)
    save_file(held, file)
    return request.param, held, file


@pytest.fixture(scope="module")
def picture():
    return ToyWorld(2, 64, 64).draw(1).frames.float() / 127.5 - 1


def test_the_maps_are_those_of_the_paper_written_by_hand(named, picture):
    name, held, file = named
    x, firsts, lasts = (picture / 2 + 0.5 - IMAGENET_MEAN) / IMAGENET_DEVIATION, [], []
    for block in PLAN[name]:
        for place, (_, number) in enumerate(block):
            weight, bias = (held[f"features.{number}.{kind}"].float() for kind in ("weight", "bias"))
            x = F.conv2d(x, weight, bias, padding=1).relu()
            firsts += [x] if place == 0 else []
        lasts.append(x)
        x = F.max_pool2d(x, 2)
    maps = perceptual_network(name, str(file))(picture)
    assert [tuple(m.shape[1:]) for m in maps] == [(64, 64, 64), (128, 32, 32), (256, 16, 16), (512, 8, 8), (512, 4, 4)]
    torch.testing.assert_close(maps, firsts)
    torch.testing.assert_close(VGG(name, held, "last")(picture), lasts)


def test_half_precision_in_the_file_is_single_precision_at_work(named, picture):
    name, held, _ = named
    network = VGG(name, held)
    assert {tensor.dtype for tensor in network.state_dict().values()} == {torch.float32}
    torch.testing.assert_close(network(picture.half()), network(picture.half().float()), rtol=0, atol=0)


def test_loading_draws_no_random_numbers(named):
    before = torch.get_rng_state()
    VGG(named[0], named[1])
    assert torch.equal(torch.get_rng_state(), before), "or a training with this loss would start elsewhere"


def test_nothing_of_it_learns_but_gradients_pass(named, picture):
    network = VGG(named[0], named[1])
    assert not any(parameter.requires_grad for parameter in network.parameters())
    changed = picture.clone().requires_grad_()
    network(changed)[-1].sum().backward()
    assert (changed.grad != 0).any()


@pytest.mark.parametrize(("name", "other"), [("vgg16", "vgg19"), ("vgg19", "vgg16")])
def test_the_weights_of_its_sibling_are_refused(name, other, tmp_path):
    file = tmp_path / "sibling.safetensors"
    save_file(drawn(other), file)
    with pytest.raises(ModelError, match=rf"sibling\.safetensors does not hold the convolutions of {name.upper()}: f"):
        perceptual_network(name, str(file))


def test_tensors_that_do_not_fit_are_named(named):
    name, held, _ = named
    with pytest.raises(ValueError, match=r"features\.7\.bias is missing"):
        VGG(name, {key: tensor for key, tensor in held.items() if key != "features.7.bias"})
    with pytest.raises(ValueError, match=r"features\.5\.weight is \(1,\) and should be \(128, 64, 3, 3\)"):
        VGG(name, held | {"features.5.weight": torch.zeros(1)})


def test_an_unknown_network_is_refused_with_the_known_ones():
    with pytest.raises(ModelError, match="no perceptual network 'alexnet'; there are vgg16 and vgg19"):
        perceptual_network("alexnet", None)


@pytest.mark.skipif(importlib.util.find_spec("torchvision") is not None, reason="torchvision is installed")
def test_torchvisions_weights_without_torchvision_say_what_to_type():
    with pytest.raises(MissingExtraError, match=r"VGG19 .*torchvision.*pip install 'vid2vid-hub\[raft\]'"):
        perceptual_network("vgg19", "torchvision")


@pytest.fixture(scope="module")
def weights(shared):
    path = shared / "data" / "weights" / "vgg16_imagenet_lpips_fp16.safetensors"
    if not path.is_file():
        pytest.skip(f"needs {path}")
    return path


@pytest.fixture(scope="module")
def lpips(weights):
    return LPIPS(weights)


def test_lpips_of_a_picture_and_itself_is_0_and_grows_with_noise(lpips, picture):
    noise = torch.randn(picture.shape, generator=torch.Generator().manual_seed(0))
    noisy = [picture + strength * noise for strength in (0.0, 0.02, 0.05, 0.1, 0.3)]
    distances = lpips(picture.expand(5, -1, -1, -1), torch.cat(noisy))
    assert distances[0] == 0
    assert (distances.diff() > 0).all()
    assert 0.1 < distances[-1] < 2
    torch.testing.assert_close(lpips(torch.cat(noisy), picture.expand(5, -1, -1, -1)), distances)


def test_lpips_is_the_weighted_distance_of_unit_vectors(weights, lpips, picture):
    held = load_file(weights)
    other = picture.flip(-1)
    expected = sum(
        (held[f"lin{depth}.weight"].float() * (F.normalize(x) - F.normalize(y)).square()).sum(1).mean()
        for depth, (x, y) in enumerate(
            zip(*(VGG("vgg16", held, "last")(each) for each in (picture, other)), strict=True)
        )
    )
    torch.testing.assert_close(lpips(picture, other), expected[None])


def test_lpips_learns_nothing_but_passes_gradients_on(lpips, picture):
    assert not any(parameter.requires_grad for parameter in lpips.parameters())
    changed = (picture * 0.9).requires_grad_()
    lpips(picture, changed).sum().backward()
    assert (changed.grad != 0).any()


@pytest.mark.parametrize("load", [lambda file: perceptual_network("vgg16", file), LPIPS])
def test_files_that_are_not_its_weights_are_refused(load, tmp_path):
    with pytest.raises(ModelError, match=r"there is no file .*missing"):
        load(str(tmp_path / "missing.safetensors"))
    save_file({"a": torch.zeros(1)}, tmp_path / "other.safetensors")
    with pytest.raises(ModelError, match="does not hold the convolutions of VGG16") as caught:
        load(str(tmp_path / "other.safetensors"))
    assert "\n" not in str(caught.value)


def test_lpips_without_its_heads_is_refused(weights, tmp_path):
    held = {key: tensor for key, tensor in load_file(weights).items() if key != "lin3.weight"}
    save_file(held, tmp_path / "headless.safetensors")
    with pytest.raises(ModelError, match=r"no LPIPS head 'lin3\.weight'"):
        LPIPS(tmp_path / "headless.safetensors")

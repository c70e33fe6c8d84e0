"""The networks we trust: the flow teacher points back in time, and LPIPS measures what a person would call a change."""

from __future__ import annotations

import importlib.util

import pytest
import torch
from safetensors.torch import load_file, save_file

from vid2vid_hub.data.toy import ToyWorld
from vid2vid_hub.errors import MissingExtraError, ModelError
from vid2vid_hub.nn.frozen import LPIPS, VGG16, DISFlow, confidence, flow_teacher
from vid2vid_hub.ops.warp import warp


@pytest.fixture(scope="module")
def video():
    return ToyWorld(0, 128, 192).draw(4)


@pytest.fixture(scope="module")
def pair(video):
    frames = video.frames.float() / 127.5 - 1
    return frames[:-1], frames[1:]


def test_dis_flow_points_from_now_back_to_before(video, pair):
    before, now = pair
    flow = DISFlow().flow(before, now)
    trusted = (confidence(before, now, flow) > 0) & video.visible
    error, reverse = ((guess - video.flow).norm(dim=1, keepdim=True)[trusted].mean() for guess in (flow, -flow))
    assert trusted.float().mean() > 0.8
    assert error < 1
    assert error < reverse / 2, "the other direction must be far worse, or this test proves little"


def test_dis_flow_of_a_known_shift_is_x_to_the_right():
    ground = torch.nn.functional.interpolate(
        torch.rand(1, 3, 16, 24, generator=torch.Generator().manual_seed(0)) * 2 - 1, (128, 192), mode="bicubic"
    ).clamp(-1, 1)
    before, now = ground[..., 8:-8, 8:-8], ground[..., 8:-8, 11:-5]  # the camera moves by 3 pixels to the right
    flow = DISFlow().flow(before, now)
    assert flow.shape == (1, 2, 112, 176)
    assert flow[:, 0, 20:-20, 20:-20].mean() == pytest.approx(3, abs=0.1)
    assert flow[:, 1, 20:-20, 20:-20].mean() == pytest.approx(0, abs=0.1)


def test_dis_takes_half_precision_and_gives_no_gradient(pair):
    before, now = (x[:1].half() for x in pair)
    flow = DISFlow().flow(before, now.requires_grad_())
    assert flow.dtype == torch.float16
    assert not flow.requires_grad


def test_confidence_is_1_where_the_flow_explains_the_frame(video, pair):
    before, now = pair
    sure = confidence(before, now, video.flow)
    assert sure.shape == (3, 1, 128, 192)
    assert set(sure.unique().tolist()) == {0.0, 1.0}
    error = (now - warp(before, video.flow)).square().sum(1, keepdim=True)
    assert torch.equal(sure == 1, error < 0.02)
    assert sure[video.visible].mean() > 0.9
    assert sure[~video.visible].mean() < sure[video.visible].mean()
    assert confidence(now, now, torch.zeros_like(video.flow)).all()
    assert not confidence(-now.sign(), now.sign(), torch.zeros_like(video.flow)).any()


def test_an_unknown_teacher_is_refused_with_the_known_ones():
    with pytest.raises(ModelError, match="no flow teacher 'flownet2'; there are dis, raft, raft-small"):
        flow_teacher("flownet2")
    assert flow_teacher().name == "dis"


@pytest.mark.skipif(importlib.util.find_spec("torchvision") is not None, reason="torchvision is installed")
@pytest.mark.parametrize("name", ["raft", "raft-small"])
def test_raft_without_torchvision_says_what_to_type(name):
    with pytest.raises(MissingExtraError, match=r"torchvision.*pip install 'vid2vid-hub\[raft\]'"):
        flow_teacher(name)


@pytest.fixture(scope="module")
def weights(shared):
    path = shared / "data" / "weights" / "vgg16_imagenet_lpips_fp16.safetensors"
    if not path.is_file():
        pytest.skip(f"needs {path}")
    return path


@pytest.fixture(scope="module")
def lpips(weights):
    return LPIPS(weights)


@pytest.fixture(scope="module")
def picture():
    return ToyWorld(2, 64, 64).draw(1).frames.float() / 127.5 - 1


def test_lpips_of_a_picture_and_itself_is_0_and_grows_with_noise(lpips, picture):
    noise = torch.randn(picture.shape, generator=torch.Generator().manual_seed(0))
    noisy = [picture + strength * noise for strength in (0.0, 0.02, 0.05, 0.1, 0.3)]
    distances = lpips(picture.expand(5, -1, -1, -1), torch.cat(noisy))
    assert distances[0] == 0
    assert (distances.diff() > 0).all()
    assert 0.1 < distances[-1] < 2
    torch.testing.assert_close(lpips(torch.cat(noisy), picture.expand(5, -1, -1, -1)), distances)


def test_the_frozen_networks_learn_nothing_but_pass_gradients_on(lpips, picture):
    assert not any(parameter.requires_grad for parameter in lpips.parameters())
    changed = (picture * 0.9).requires_grad_()
    lpips(picture, changed).sum().backward()
    assert (changed.grad != 0).any()


def test_vgg_gives_five_depths_of_maps(weights, picture):
    network = VGG16(weights)
    maps = network(picture)
    assert [tuple(m.shape[1:]) for m in maps] == [
        (64, 64, 64),
        (128, 32, 32),
        (256, 16, 16),
        (512, 8, 8),
        (512, 4, 4),
    ]
    assert all((m >= 0).all() for m in maps), "after the ReLU"
    keys = {key for key in load_file(weights) if key.startswith("features.")}
    assert set(network.state_dict()) == keys
    assert len(keys) == 26


def test_vgg_normalises_as_imagenet_does(weights):
    network = VGG16(weights, taps=(0,))
    grey = torch.zeros(1, 3, 8, 8)
    by_hand = (0.5 - torch.tensor([0.485, 0.456, 0.406])) / torch.tensor([0.229, 0.224, 0.225])
    first = network.features[0]
    assert torch.allclose(network(grey)[0], first(by_hand.view(1, 3, 1, 1).expand(1, 3, 8, 8)), atol=1e-6)


@pytest.mark.parametrize("network", [VGG16, LPIPS])
def test_files_that_are_not_its_weights_are_refused(network, tmp_path):
    with pytest.raises(ModelError, match="cannot be read as safetensors"):
        network(tmp_path / "missing.safetensors")
    (tmp_path / "text.safetensors").write_text("no weights")
    with pytest.raises(ModelError, match="cannot be read as safetensors"):
        network(tmp_path / "text.safetensors")
    save_file({"a": torch.zeros(1)}, tmp_path / "other.safetensors")
    with pytest.raises(ModelError, match="does not hold the convolutions of VGG16") as caught:
        network(tmp_path / "other.safetensors")
    assert "\n" not in str(caught.value)


def test_lpips_without_its_heads_is_refused(weights, tmp_path):
    held = {key: tensor for key, tensor in load_file(weights).items() if key != "lin3.weight"}
    save_file(held, tmp_path / "headless.safetensors")
    with pytest.raises(ModelError, match=r"no LPIPS head 'lin3\.weight'"):
        LPIPS(tmp_path / "headless.safetensors")

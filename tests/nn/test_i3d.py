"""I3D sees what its authors trained it to see, in the geometry of the framework that they trained it in."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from vid2vid_hub.data.video import open_video
from vid2vid_hub.errors import ModelError
from vid2vid_hub.nn.i3d import CLASSES, I3D, Norm, Pool, pad_same

JUGGLING_SOCCER_BALL = 171
"""Of the 400 names of Kinetics-400 in alphabetical order, from 0; 169 is juggling balls, 175 kicking a soccer ball."""


@pytest.fixture(scope="module")
def untrained() -> I3D:
    torch.manual_seed(0)
    return I3D(None)


@pytest.fixture(scope="module")
def weights(shared: Path) -> Path:
    path = shared / "data" / "weights" / "i3d_kinetics400_rgb_fp16.safetensors"
    if not path.is_file():
        pytest.skip(f"needs {path}")
    return path


@pytest.fixture(scope="module")
def juggling(shared: Path) -> torch.Tensor:
    path = shared / "data" / "dance" / "videos" / "sam2_juggle.mp4"
    if not path.is_file():
        pytest.skip(f"needs {path}")
    with open_video(path) as reader:
        frames = torch.from_numpy(reader.read(range(192, 208)))
    return frames.permute(0, 3, 1, 2)[None].float() / 127.5 - 1


def test_a_man_who_juggles_a_ball_is_seen_to(weights: Path, juggling: torch.Tensor):
    with torch.inference_mode():
        network = I3D(weights)
        chances = network.logits(juggling).softmax(1)[0]
        blue = network.logits(juggling.flip(2)).softmax(1)[0]
    assert chances.argmax() == JUGGLING_SOCCER_BALL
    assert chances[JUGGLING_SOCCER_BALL] == pytest.approx(0.99, abs=0.01)
    assert (blue - chances).abs().max() > 0.01, "red is the first channel, and swapping it for blue is seen"


def test_the_file_holds_every_weight_of_the_network_and_no_other(weights: Path, untrained: I3D):
    held, own = load_file(weights), I3D(weights).state_dict()
    assert len(held) == len(own)
    assert own.keys() == untrained.state_dict().keys()
    assert torch.equal(own["trunk.Conv3d_1a_7x7.conv3d.weight"], held["Conv3d_1a_7x7.conv3d.weight"].float())
    assert torch.equal(own["head.bias"], held["Logits.Conv3d_0c_1x1.conv3d.bias"])


def test_another_networks_weights_are_refused(tmp_path: Path, untrained: I3D):
    with pytest.raises(ModelError, match=r"no file .*missing\.safetensors with the weights of I3D"):
        I3D(tmp_path / "missing.safetensors")
    (tmp_path / "text.safetensors").write_text("no weights")
    with pytest.raises(ModelError, match=r"I3D weights .* cannot be read as safetensors"):
        I3D(tmp_path / "text.safetensors")
    names = {
        k.replace("head.", "Logits.Conv3d_0c_1x1.conv3d.").replace("trunk.", ""): k for k in untrained.state_dict()
    }
    good = {name: untrained.state_dict()[key] for name, key in names.items()}
    save_file(good, tmp_path / "good.safetensors")
    assert torch.equal(I3D(tmp_path / "good.safetensors").head.weight, untrained.head.weight)
    lacking = {name: tensor for name, tensor in good.items() if name != "Mixed_4d.Branch_2.Conv3d_0b_3x3.bn.bias"}
    foreign = good | {"Mixed_6a.bias": torch.zeros(1)}
    misshapen = good | {"Conv3d_2b_1x1.conv3d.weight": torch.zeros(64, 3, 1, 1, 1)}
    for name, bad in {"lacking": lacking, "foreign": foreign, "misshapen": misshapen}.items():
        save_file(bad, tmp_path / f"{name}.safetensors")
        with pytest.raises(ModelError, match=f"{name}.safetensors does not hold the weights of I3D") as caught:
            I3D(tmp_path / f"{name}.safetensors")
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("frames", "steps"), [(1, 1), (8, 1), (9, 2)])
def test_eight_frames_become_one_step_and_every_video_has_features(untrained: I3D, frames: int, steps: int):
    video = torch.rand(1, frames, 3, 24, 40, generator=torch.Generator().manual_seed(0)) * 2 - 1
    with torch.inference_mode():
        maps = untrained(video)
        assert maps.shape == (1, 1024, steps, 7, 7)
        assert maps.min() >= 0
        torch.testing.assert_close(untrained.features(video), maps.mean((2, 3, 4)))
        logits = untrained.logits(video)
        assert logits.shape == (1, CLASSES)
        # Over two steps of time the network averages both, and so is linear in the mean over everything.
        torch.testing.assert_close(logits, untrained.head(maps.mean((2, 3, 4), keepdim=True)).flatten(1))


def test_videos_of_a_batch_do_not_see_each_other_and_training_mode_changes_nothing(untrained: I3D):
    videos = torch.rand(2, 2, 3, 20, 20, generator=torch.Generator().manual_seed(0)) * 2 - 1
    with torch.inference_mode():
        features = untrained.features(videos)
        assert not torch.allclose(features[0], features[1], rtol=1e-3)
        torch.testing.assert_close(features[:1], untrained.features(videos[:1]), rtol=1e-4, atol=1e-6)
        assert torch.equal(untrained.train().features(videos), features)
    assert not any(parameter.requires_grad for parameter in untrained.parameters())


def test_size_is_the_networks_business_and_stretching_is_bilinear(untrained: I3D):
    video = torch.rand(2, 3, 30, 44, generator=torch.Generator().manual_seed(0)) * 2 - 1
    stretched = torch.nn.functional.interpolate(video, (224, 224), mode="bilinear")
    with torch.inference_mode():
        torch.testing.assert_close(untrained.features(video[None]), untrained.features(stretched[None]))


@pytest.mark.parametrize("shape", [(2, 3, 8, 8), (1, 3, 4, 8, 8), (1, 0, 3, 8, 8)])
def test_what_is_no_video_is_refused(untrained: I3D, shape: tuple[int, ...]):
    with pytest.raises(ValueError, match=r"\(N, T, 3, H, W\)"):
        untrained(torch.zeros(shape))


@given(st.integers(1, 9), st.integers(1, 4), st.integers(1, 12))
def test_same_padding_gives_a_window_to_every_stride_and_puts_the_odd_zero_behind(kernel: int, stride: int, n: int):
    padded = pad_same(torch.ones(1, 1, 1, 1, n), (1, 1, kernel), (1, 1, stride))[0, 0, 0, 0]
    count = len(padded.unfold(0, kernel, stride)) if len(padded) >= kernel else 0
    assert count == -(-n // stride)
    zeros_before = int((padded == 0).long().cumprod(0).sum())
    assert 0 <= (len(padded) - n - zeros_before) - zeros_before <= 1


def test_same_padding_keeps_its_axes_apart():
    padded = pad_same(torch.ones(1, 1, 2, 4, 6), (2, 3, 7), (2, 2, 2))
    assert padded.shape[2:] == (2, 5, 11)
    assert padded[0, 0, 0, :, 2].tolist() == [1, 1, 1, 1, 0]
    assert padded[0, 0, 0, 0].tolist() == [0, 0, 1, 1, 1, 1, 1, 1, 0, 0, 0]


def test_pools_begin_at_the_first_pixel_of_even_pictures():
    row = torch.tensor([5.0, 1, 2, 3]).expand(1, 1, 1, 4, 4)
    assert Pool((1, 3, 3), (1, 2, 2))(row)[0, 0, 0, 0].tolist() == [5, 3]


def test_the_norm_is_that_of_training_with_a_shift_and_no_gain():
    norm = Norm(2)
    norm.running_mean[:] = torch.tensor([1.0, -1.0])
    norm.running_var[:] = torch.tensor([0.003, 4.0])
    norm.bias.data[:] = torch.tensor([0.5, 0.0])
    x = torch.randn(3, 2, 1, 2, 2)
    by_hand = (x - norm.running_mean.view(2, 1, 1, 1)) / (norm.running_var.view(2, 1, 1, 1) + 1e-3).sqrt()
    torch.testing.assert_close(norm.train()(x), by_hand + norm.bias.view(2, 1, 1, 1))

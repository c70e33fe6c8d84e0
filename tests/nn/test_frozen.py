"""The flow teacher points back in time, and is trusted where its flow explains the frame."""

from __future__ import annotations

import importlib.util

import pytest
import torch

from vid2vid_hub.data.toy import ToyWorld
from vid2vid_hub.errors import MissingExtraError, ModelError
from vid2vid_hub.nn.frozen import DISFlow, confidence, flow_teacher
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

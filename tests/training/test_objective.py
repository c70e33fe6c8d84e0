"""Eq. 5 on a chunk: the released system's numbers, and the gradients of the plain sum."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.released import load, load_judge
from tests.training.walks import cut
from vid2vid_hub import losses
from vid2vid_hub.nn.discriminator import IMAGE, REGION, MultiscaleDiscriminator, video_judge
from vid2vid_hub.nn.generator import Vid2VidGenerator
from vid2vid_hub.ops.crop import crop
from vid2vid_hub.ops.raster import instance_edges, one_hot
from vid2vid_hub.training.chunk import Past, Walk
from vid2vid_hub.training.objective import Objective
from vid2vid_hub.training.parse import parse_recipe
from vid2vid_hub.types import Encoded

# The released weights of the terms: the endpoint error is divided by 2^(scales - 1), and generated frames are warped.
RELEASED_LOSS = {"perceptual": 0.0, "flow": 5.0, "warp": 10.0, "generated_warp": 10.0}


def norm(module: torch.nn.Module) -> float:
    return float(torch.stack([p.grad.norm() for p in module.parameters() if p.grad is not None]).norm())


def test_the_released_training_step(shared: Path, record_property):
    """Every loss that needs no VGG, and the norm of every network's gradient, within 1e-5."""
    folder = shared / "fixtures" / "released" / "training_street_s2_fg"
    expected = json.loads((folder / "losses.json").read_text())
    data = {name: torch.from_numpy(array) for name, array in np.load(folder / "io.npz").items()}
    options = expected["options"] | {"ngf": expected["common"]["ngf"], "n_downsample_G": 3, "n_blocks": 9}
    onehot = one_hot(data["label"][:, None], options["label_nc"])
    features = torch.cat((onehot, instance_edges(data["inst"][:, None])), 1)[None]
    where = onehot[:, options["fg_labels"]].sum(1, keepdim=True)[None]
    generator = load(folder, options, features.shape[2]).float()
    judges = {
        IMAGE: load_judge(folder / "latest_net_D.pth"),
        video_judge(1): load_judge(folder / "latest_net_D_T0.pth", in_time=True),
    }
    recipe = parse_recipe(
        {"task": "toy", "stages": [{"epochs": 1, "width": 64, "height": 64}], "loss": RELEASED_LOSS}
        | {"video_discriminator": {"strides": 1, "base_channels": 16}}
    )
    walk = Walk(
        data["real_B"][None],
        cut(Encoded(features, where)),
        torch.cat((torch.zeros(2, 2, 64, 64), data["flow_ref"]))[None],
        torch.cat((torch.zeros(2, 1, 64, 64), data["conf_ref"]))[None],
    )
    memory = generator.begin(features[:, :2], walk.frames[:, :2])
    rollout, _ = generator(walk.encode(2, 5), memory)
    for name, made in {"fake_B": rollout.image, "fake_raw": rollout.hallucinated, "flow": rollout.flow}.items():
        assert torch.allclose(made[0], data[name], atol=2e-3), name
    objective = Objective(recipe, judges)
    terms = objective(walk.chunk(2, 5), rollout, Past.nothing(walk.frames), memory.images[-1][:, -1])
    weights = recipe.loss
    theirs, video = expected["losses"], expected["losses_T"][0]
    pairs = {
        "gan": (terms["gan"], theirs["G_GAN"]),
        "feature": (terms["feature"] * weights.feature, theirs["G_GAN_Feat"]),
        "generated_warp": (terms["generated_warp"] * weights.generated_warp, theirs["G_Warp"]),
        "flow": (terms["flow"] * weights.flow, theirs["F_Flow"]),
        "warp": (terms["warp"] * weights.warp, theirs["F_Warp"]),
        "discriminator": (terms["discriminator"], expected["loss_D"]),
        "video_gan": (terms["video_x1_gan"], video["G_T_GAN"]),
        "video_feature": (terms["video_x1_feature"] * weights.video_feature, video["G_T_GAN_Feat"]),
        "video_discriminator": (terms["video_x1_discriminator"], expected["loss_D_T"][0]),
    }
    named = {
        "G0": generator.networks[0],
        "G1": generator.networks[1],
        "D": judges[IMAGE],
        "D_T0": judges[video_judge(1)],
    }
    pairs |= {f"gradient of {name}": (norm(named[name]), value) for name, value in expected["grad_norms"].items()}
    errors = {name: abs(float(ours) / value - 1) for name, (ours, value) in pairs.items()}
    print({name: f"{error:.1e}" for name, error in errors.items()})
    record_property("largest_relative_difference", max(errors.values()))
    assert max(errors.values()) < 1e-5, errors


@pytest.mark.parametrize("kind", ["lsgan", "hinge"])
def test_each_player_gets_the_gradient_of_its_own_terms(kind):
    """As from one graph of the whole sum, the discriminators' terms on frames that are cut off from the generator."""
    torch.manual_seed(0)
    generator = Vid2VidGenerator(2, base_channels=4, downsamples=1, blocks=2, foreground=True)
    sizes = {IMAGE: 5, video_judge(1): 8, REGION: 5}
    judges = {
        name: MultiscaleDiscriminator(inputs, base_channels=4, layers=1, scales=2) for name, inputs in sizes.items()
    }
    recipe = parse_recipe(
        {"task": "toy", "stages": [{"epochs": 1, "width": 16, "height": 16}], "adversarial": kind}
        | {"loss": {"generated_warp": 3.0, "mask": 2.0}, "video_discriminator": {"strides": 1, "frames": 2}}
        | {"region_discriminator": {"size": 8}}
    )
    boxes = torch.tensor((2, 4, 12, 14)).expand(1, 4, 4)
    encoded = Encoded(torch.rand(1, 4, 2, 16, 16), torch.rand(1, 4, 1, 16, 16).round())
    frames = torch.rand(1, 4, 3, 16, 16) * 2 - 1
    walk = Walk(frames, cut(encoded), torch.randn(1, 4, 2, 16, 16), torch.rand(1, 4, 1, 16, 16), boxes)
    memory = generator.begin(encoded.features[:, :2], frames[:, :2])
    chunk, last = walk.chunk(2, 4), memory.images[-1][:, -1]
    rollout, _ = generator(chunk.encoded, memory)

    conditions, real, flow, trust = (x[0] for x in (chunk.encoded.features, chunk.frames, chunk.flow, chunk.trust))
    made = rollout.map(lambda x: x[0])

    def questions(image, hallucinated):
        yield IMAGE, 1, 10, conditions, real, image
        yield IMAGE, 1, 10, conditions, real, hallucinated
        yield video_judge(1), 1, 10, flow[1:] / 20, real.flatten(0, 1)[None], image.flatten(0, 1)[None]
        yield REGION, 2, 10, *(crop(x, boxes[0, 2:], 8) for x in (conditions, real, image))

    weights = recipe.loss
    ours = weights.flow * losses.flow_endpoint(made.flow, flow, trust)
    ours += weights.warp * losses.flow_warping(made.flow, frames[0, 1:3], real, trust)
    ours += weights.mask * losses.mask_pull(made.mask, trust)
    before = torch.cat((last, made.image[:1]))
    ours += weights.generated_warp * losses.generated_warping(made.image, before, flow, trust)
    for name, of_gan, of_feature, condition, truth, fake in questions(made.image, made.hallucinated):
        of_real, of_fake = judges[name](condition, truth, fake)
        ours += of_gan * losses.gan_generator(of_fake, kind) + of_feature * losses.feature_matching(of_real, of_fake)
    theirs = 0.0
    for name, _, _, condition, truth, fake in questions(made.image.detach(), made.hallucinated.detach()):
        theirs += losses.gan_discriminator(*judges[name](condition, truth, fake), kind)
    named = {f"generator.{key}": p for key, p in generator.named_parameters()}
    expected = torch.autograd.grad(ours, list(named.values()), retain_graph=True, allow_unused=True)
    for name, judge in judges.items():
        parameters = {f"{name}.{key}": p for key, p in judge.named_parameters()}
        expected += torch.autograd.grad(theirs, list(parameters.values()), retain_graph=True)
        named |= parameters

    Objective(recipe, judges)(chunk, rollout, Past.nothing(frames), last)
    for (name, parameter), gradient in zip(named.items(), expected, strict=True):
        torch.testing.assert_close(
            parameter.grad, gradient, rtol=1e-3, atol=1e-4, msg=lambda m, name=name: f"{name}: {m}"
        )

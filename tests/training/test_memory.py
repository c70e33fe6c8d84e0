"""What an estimate says is what a training holds: on the CPU to the byte, and as its process grows."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from vid2vid_hub.data.clips import read_clips
from vid2vid_hub.training.memory import GIB, Estimate, estimate
from vid2vid_hub.training.meta import FullMasks, MetaAutocast
from vid2vid_hub.training.parse import parse_recipe
from vid2vid_hub.training.peak import peak_bytes
from vid2vid_hub.training.recipe import Recipe
from vid2vid_hub.training.schedule import schedule
from vid2vid_hub.training.trainer import Trainer

VIDEO = {"strides": 2, "frames": 2, "base_channels": 8, "layers": 2}
STAGE = {"epochs": 1, "width": 48, "height": 32, "frames": 4, "unroll": 2}
WIDE = STAGE | {"width": 96, "height": 64}
Ask = Callable[..., Estimate]


@pytest.fixture
def ask(tiny_recipe) -> Ask:
    """Estimate the tiny recipe with changes; ``stage`` changes its only stage."""

    def asked(stage: dict[str, Any] | None = None, device: str = "meta", **changes: Any) -> Estimate:
        stages = [tiny_recipe["stages"][0] | (stage or {})]
        recipe = parse_recipe(tiny_recipe | {"stages": stages, "video_discriminator": VIDEO} | changes)
        return estimate(recipe, schedule(recipe, 0), device)

    return asked


CHANGES = {
    "plain": {},
    "two scales, the coarse one frozen": {
        "stage": {"frozen": 1},
        "generator": {"base_channels": 8, "downsamples": 1, "blocks": 2, "scales": 2},
    },
    "given flow": {"generator": {"base_channels": 8, "downsamples": 1, "blocks": 2, "given_flow": True}},
    "single images": {"network": "pix2pixhd", "generator": {"base_channels": 8, "downsamples": 1, "blocks": 2}},
    "regions": {"region_discriminator": {"size": 16, "base_channels": 8, "layers": 2}},
    "computed again": {"checkpointing": True},
    "gradients added up": {"optimizer": {"accumulate": 2}},
    "one frame judged, of two clips": {"stage": {"batch": 2}, "judged": "one"},
    "from nothing": {"stage": {"frames": 2}},
    "VGG": {"perceptual": "vgg16", "stage": {"frames": 3}},
}


@pytest.mark.parametrize("changes", CHANGES.values(), ids=CHANGES.keys())
def test_the_meta_device_says_what_the_cpu_holds(ask: Ask, changes: dict[str, Any]):
    assert ask(**changes) == ask(**changes, device="cpu")


def test_the_parts_are_what_the_parameters_make_of_them(ask: Ask):
    found = ask()
    count, generator = sum(found.parameters.values()), found.parameters["generator"]
    assert set(found.parameters) == {"generator", "image", "video_x1", "video_x2"}
    assert found.weights == found.gradients == 4 * count
    assert found.average == 4 * generator
    assert 0 < found.optimizer - 2 * 4 * count < 4000  # two moments of each, and how many steps each tensor took
    assert found.clip > 4 * 4 * (6 + 3 + 2 + 1 + 1) * 32 * 48  # conditions, frames, flow, its confidence, foreground
    parts = (found.weights, found.gradients, found.optimizer, found.average, found.clip, found.activations)
    assert found.total == sum(parts)


def test_what_is_frozen_has_no_gradient(ask: Ask):
    generator = {"base_channels": 8, "downsamples": 1, "blocks": 2, "scales": 2}
    whole, part = ask(device="cpu", generator=generator), ask({"frozen": 1}, "cpu", generator=generator)
    less = whole.gradients - part.gradients
    assert less > 0
    assert whole.optimizer - part.optimizer == pytest.approx(2 * less, rel=0.01)
    assert (whole.weights, whole.average) == (part.weights, part.average)


def test_what_costs_memory(ask: Ask):
    plain, double, longer = ask(WIDE, "cpu"), ask(WIDE | {"batch": 2}, "cpu"), ask(WIDE | {"unroll": 4}, "cpu")
    assert double.clip == 2 * plain.clip
    assert double.activations > 1.7 * plain.activations
    assert longer.activations > 1.4 * plain.activations


def test_what_saves_memory(ask: Ask):
    plain, half = ask(WIDE, "cpu"), ask(WIDE, precision="bf16")
    assert 0.4 * plain.activations < half.activations < 0.8 * plain.activations
    assert half.weights == plain.weights
    assert ask(WIDE, "cpu", checkpointing=True).activations < 0.9 * plain.activations
    assert ask(WIDE, precision="bf16", checkpointing=True).activations < half.activations


def test_the_optimizer_of_a_gpu_works_in_space_for_all_parameters(ask: Ask):
    large = {"strides": 1}  # judges so large that the peak is where they take their step
    found = ask(device="cpu", video_discriminator=large)
    judges = found.parameters["image"] + found.parameters["video_x1"]
    assert judges > 10 * found.parameters["generator"]
    assert 4 * judges < found.activations < 6 * judges
    added = ask(device="cpu", video_discriminator=large, optimizer={"accumulate": 2})
    assert added.gradients == found.gradients
    assert added.activations == pytest.approx(found.activations, rel=0.01)  # all gradients are there in either case


def test_the_stand_in_for_autocast_keeps_what_autocast_keeps():
    """On the layers that autocast treats alike on every device: reflected borders are float32 on the CPU alone."""

    def step(device: str, autocast: Callable[[], Any]) -> tuple[int, torch.dtype]:
        layers = [nn.Conv2d(3, 8, 3), nn.InstanceNorm2d(8, affine=True), nn.ReLU(True), nn.Conv2d(8, 16, 3, 2)]
        network = nn.Sequential(*layers, nn.LeakyReLU(0.2), nn.ConvTranspose2d(16, 3, 3), nn.Tanh()).to(device)
        x = torch.zeros(2, 3, 40, 40, device=device)
        seen: list[Tensor] = []

        def run() -> None:
            with autocast():
                y = network(x)
                y = y + network(x)  # the copies of the weights are made once
            seen.append(y)
            y.float().square().sum().backward()

        return peak_bytes(run), seen[0].dtype

    real = step("cpu", lambda: torch.autocast("cpu", torch.bfloat16))
    assert real[1] == torch.bfloat16
    assert step("meta", MetaAutocast) == step("cpu", MetaAutocast) == real


def test_the_meta_device_answers_for_the_most():
    x = torch.zeros(3, 5, device="meta")
    with FullMasks():
        assert float(x.any()) == 1
        assert bool((x > 0).all())
        assert peak_bytes(lambda: x[x[:, 0] > 0]) >= 3 * 5 * 4
        assert x[x[:, 0] > 0].shape == x.shape
        assert x[1].shape == (5,)


def test_a_training_holds_at_most_what_was_said(ask: Ask, tiny_recipe, toy_data: Path, tmp_path: Path):
    """Weights and average are there before it starts; all else comes and goes while it runs."""
    recipe = parse_recipe(tiny_recipe | {"video_discriminator": VIDEO, "stages": [STAGE]})
    trainer = Trainer(recipe, read_clips(toy_data, "train"), tmp_path)
    held = peak_bytes(trainer.fit)
    said = ask(STAGE)
    print(f"held {held:,}, said {said.total - said.weights - said.average:,}")
    assert held == pytest.approx(said.total - said.weights - said.average, rel=0.03)


def test_people_read_gib_and_what_is_not_counted(ask: Ask):
    found = ask()
    text = str(found)
    assert f"{found.total / GIB:.2f} GiB" in text
    assert "generator 0.2 M" in text
    assert "CUDA context" in text


def mid_size() -> Recipe:
    stage = {"epochs": 1, "width": 192, "height": 96, "frames": 4, "unroll": 2}
    size = {"generator": {"base_channels": 24, "downsamples": 2, "blocks": 2}, "discriminator": {"base_channels": 16}}
    video = VIDEO | {"strides": 1}
    return parse_recipe({"task": "toy", "stages": [stage], "video_discriminator": video} | size)


def paper() -> Recipe:
    stage = {"epochs": 1, "width": 512, "height": 256, "frames": 6, "unroll": 3}
    return parse_recipe({"task": "toy", "stages": [stage]})


def resident(field: str) -> int:
    """Bytes of this process: now ("VmRSS"), and at most so far ("VmHWM", which unlike ru_maxrss is not inherited)."""
    lines = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(lines[field].split()[0]) * 1024


def grow(make: Callable[[], Recipe], device: str) -> None:
    """Print what an estimate says, and by how much this process really grew."""
    stage = {"epochs": 1, "width": 64, "height": 32, "frames": 2, "unroll": 1}
    size = {"generator": {"base_channels": 4, "downsamples": 1, "blocks": 2}, "video_discriminator": VIDEO}
    small = parse_recipe({"task": "toy", "stages": [stage]} | size)
    estimate(small, schedule(small, 0), device)  # loads and sets up whatever is needed once
    recipe, before = make(), resident("VmRSS")
    said = estimate(recipe, schedule(recipe, 0), device)
    print(said.total, max(resident("VmHWM") - before, 0))


def grown(make: str, device: str) -> tuple[int, int]:
    # Every tensor is then a mapping of its own, which goes back to the system at once, and no arena hides the peak.
    environment = os.environ | {"MALLOC_MMAP_THRESHOLD_": "65536", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, __file__, make, device]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    said, grew = (int(word) for word in done.stdout.split())
    print(f"{make} on {device}: said {said / GIB:.3f} GiB, grew by {grew / GIB:.3f} GiB, {grew / said:.3f} times")
    return said, grew


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_a_process_that_takes_the_step_grows_by_what_was_said():
    """Convolutions work in some space of their own on top."""
    said, grew = grown("mid_size", "cpu")
    assert 0.97 < grew / said < 1.15


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_a_process_that_only_asks_does_not_grow():
    said, grew = grown("paper", "meta")
    assert said > 10 * GIB
    assert grew < 0.2 * GIB


if __name__ == "__main__":
    grow({"mid_size": mid_size, "paper": paper}[sys.argv[1]], sys.argv[2])

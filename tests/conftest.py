"""What all tests share."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, settings

if TYPE_CHECKING:
    from tests.commands import Command, Said

# The networks of the tests are tiny, and threads that wait for each other on a busy machine cost five times the work.
os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(scope="session")
def shared() -> Path:
    """Real clips, labels, weights and fixtures beside the checkout; tests that need them skip without them."""
    default = Path(__file__).resolve().parents[2] / "shared"
    folder = Path(os.environ.get("VID2VID_SHARED", default))
    if not folder.is_dir():
        pytest.skip(f"needs the shared fixtures and clips, and there is no folder {folder}; set VID2VID_SHARED")
    return folder


# Machines that build and test are slow and shared: a slow draw says nothing about the code.
settings.register_profile("shared", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("shared")


# The smallest training that has everything in it: foreground, flow, two scales of judges, a chunk after a chunk.
TINY_GENERATOR = {"base_channels": 8, "downsamples": 2, "blocks": 2}
TINY_RECIPE = {
    "task": "toy",
    "stages": [{"epochs": 2, "width": 48, "height": 32, "frames": 4, "unroll": 2}],
    "generator": TINY_GENERATOR,
    "discriminator": {"base_channels": 8, "layers": 2},
    "video_discriminator": {"strides": 2, "base_channels": 8, "layers": 2, "scales": 1},
    "loss": {"generated_warp": 10.0},
    "optimizer": {"rate": 1e-3, "decay": 1},
    "ema": 0.9,
    "checkpoint_minutes": 0.0,
}


@pytest.fixture
def tiny_recipe() -> dict[str, Any]:
    """The values of a recipe that trains on ``toy_data`` in a second or two."""
    return {key: list(value) if isinstance(value, list) else value for key, value in TINY_RECIPE.items()}


@pytest.fixture(scope="session")
def toy_videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Drawn videos of 9, 6 and 5 frames, 48x32, with their labels: a.mp4, a.mkv, b.mp4, …"""
    from vid2vid_hub.data.encode import VideoWriter
    from vid2vid_hub.data.maps import write_maps
    from vid2vid_hub.data.toy import ToyWorld

    folder = tmp_path_factory.mktemp("toy-videos")
    for seed, (name, length) in enumerate({"a": 9, "b": 6, "c": 5}.items()):
        video = ToyWorld(seed, 32, 48).draw(length)
        write_maps(folder / f"{name}.mkv", video.labels, 25)
        with VideoWriter(folder / f"{name}.mp4", 25) as writer:
            for frame in video.frames:
                writer.write(frame.permute(1, 2, 0).contiguous().numpy())
    return folder


@pytest.fixture(scope="session")
def toy_data(toy_videos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same as a dataset: a and b for training, c held out, flow cached."""
    from vid2vid_hub.data.prepare import HeldOut, Material, prepare
    from vid2vid_hub.data.toy import ToyShapes
    from vid2vid_hub.nn.frozen import flow_teacher

    materials = [Material(toy_videos / f"{name}.mp4", toy_videos / f"{name}.mkv") for name in "abc"]
    output = tmp_path_factory.mktemp("data") / "toy"
    return prepare(materials, output, ToyShapes(), held_out=[HeldOut("c")], teacher=flow_teacher()).folder


@pytest.fixture(scope="session")
def toy_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a tiny toy pipeline that has learned nothing yet. Copy it before you change it."""
    import torch

    from vid2vid_hub import Vid2VidPipeline
    from vid2vid_hub.data.toy import ToyShapes
    from vid2vid_hub.nn.generator import Vid2VidGenerator

    torch.manual_seed(0)
    generator = Vid2VidGenerator(ToyShapes().channels, foreground=True, **TINY_GENERATOR)
    folder = tmp_path_factory.mktemp("models") / "toy"
    Vid2VidPipeline(generator, ToyShapes(), size=(32, 48)).save_pretrained(folder)
    return folder


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """Run ``vid2vid-hub`` with these arguments in this process; nothing is looked for on the Hub."""
    from tests.commands import Said
    from vid2vid_hub import cli

    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)

    def run(*arguments: object) -> Said:
        monkeypatch.setattr(sys, "argv", ["vid2vid-hub", *map(str, arguments)])
        capsys.readouterr()
        try:
            cli.main()
            code = 0
        except SystemExit as stop:
            code = int(stop.code or 0)
        return Said(code, *capsys.readouterr())

    return run

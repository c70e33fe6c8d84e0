"""The tutorial of plugins/README.md, taken at its word: its files, installed into an environment, trained and run."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import venv
from pathlib import Path

import pytest
import torch

from vid2vid_hub.data.encode import VideoWriter
from vid2vid_hub.data.toy import ToyWorld
from vid2vid_hub.data.video import open_video

TEXT = (Path(__file__).parents[1] / "plugins/README.md").read_text(encoding="utf-8")


def block(language: str) -> str:
    """The first code block of a language."""
    found = re.search(rf"^```{language}\n(.*?)^```$", TEXT, re.DOTALL | re.MULTILINE)
    assert found is not None
    return found[1]


def test_the_task_has_fewer_than_forty_lines():
    assert len([line for line in block("python").splitlines() if line.strip()]) < 40


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment that sees the libraries of this one, with the tutorial's distribution installed into it by pip."""
    folder = tmp_path_factory.mktemp("tutorial")
    project = folder / "vid2vid-depth"
    project.mkdir()
    (project / "pyproject.toml").write_text(block("toml"))
    (project / "vid2vid_depth.py").write_text(block("python"))
    venv.create(folder / "env", with_pip=False)
    (site,) = (folder / "env").glob("lib/python*/site-packages")
    (site / "here.pth").write_text("\n".join(path for path in sys.path if path.endswith("site-packages")))
    # The project's own editable install is a .pth file, which is not read from a folder that a .pth file names.
    roots = [str(Path(__file__).parents[1]), str(Path(__file__).parents[1] / "plugins")]
    (site / "checkout.pth").write_text("\n".join(roots))
    pip = [sys.executable, "-m", "pip", "--python", str(folder / "env/bin/python")]
    subprocess.run(
        [*pip, "install", "-q", "--no-deps", "--no-index", "--no-build-isolation", str(project)], check=True, cwd=folder
    )
    return folder


def call(environment: Path, *words: str | Path) -> str:
    """One command of the tutorial, in its environment."""
    command = [environment / "env/bin/python", "-m", "vid2vid_hub", *words]
    done = subprocess.run(
        [*map(str, command)],
        cwd=environment,
        capture_output=True,
        text=True,
        env={**os.environ, "HF_HUB_OFFLINE": "1", "PYTHONNOUSERSITE": "1"},
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def estimator(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real depth network of the kind that the tutorial names, tiny and untrained: there is no Hub here."""
    from transformers import DepthAnythingConfig, DepthAnythingForDepthEstimation, Dinov2Config, DPTImageProcessor

    folder = tmp_path_factory.mktemp("estimator")
    backbone = Dinov2Config(
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        image_size=28,
        patch_size=14,
        out_features=["stage1", "stage2"],
        reshape_hidden_states=False,
        apply_layernorm=True,
    )
    torch.manual_seed(0)
    DepthAnythingForDepthEstimation(
        DepthAnythingConfig(
            backbone_config=backbone,
            patch_size=14,
            reassemble_hidden_size=16,
            reassemble_factors=[2, 1],
            neck_hidden_sizes=[8, 8],
            fusion_hidden_size=8,
            head_hidden_size=4,
            depth_estimation_type="metric",
            max_depth=80,
        )
    ).save_pretrained(folder)
    DPTImageProcessor(size={"height": 28, "width": 28}, ensure_multiple_of=14, keep_aspect_ratio=True).save_pretrained(
        folder
    )
    return folder


@pytest.mark.slow
def test_the_tutorial_prepares_trains_and_generates(environment: Path, estimator: Path):
    for seed, name in enumerate(("drive", "other")):
        with VideoWriter(environment / f"{name}.mp4", 25) as writer:
            for frame in ToyWorld(seed, 32, 48).draw(20).frames:
                writer.write(frame.permute(1, 2, 0).contiguous().numpy())
    assert "depth2scene" in call(environment, "tasks").split()
    setting = f"estimator={estimator}"
    task = ("--task", "depth2scene", "--setting", setting)
    call(environment, "prepare", *task, "drive.mp4", "--output", "data-depth", "--size", "48x32")
    (environment / "recipe.yaml").write_text(block("yaml"))
    smaller = (
        "stages=[{epochs: 1, width: 48, height: 32, frames: 4, unroll: 2}]",
        "generator={base_channels: 8, downsamples: 2, blocks: 2}",
        "discriminator.base_channels=8",
        "video_discriminator.base_channels=8",
    )
    changes = [word for change in smaller for word in ("--set", change)]
    call(environment, "train", "--recipe", "recipe.yaml", "--data", "data-depth", "--output", "runs/depth", *changes)
    call(environment, "generate", "runs/depth/pipeline", "other.mp4", "--output", "scene.mp4", "--setting", setting)
    with open_video(environment / "scene.mp4") as reader:
        assert (len(reader), reader.size) == (20, (32, 48))

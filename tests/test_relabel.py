"""`generate` with edits and marks: classes exchanged, a look chosen, and videos that say that they are generated."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
import torch

from tests.commands import Command
from vid2vid_hub import Vid2VidPipeline
from vid2vid_hub.data.decode import AVReader
from vid2vid_hub.data.encode import VideoWriter
from vid2vid_hub.data.maps import write_maps
from vid2vid_hub.data.mark import marked
from vid2vid_hub.data.toy import BOX, GROUND, PATH, ToyShapes, ToyWorld
from vid2vid_hub.data.video import open_video
from vid2vid_hub.nn.appearance import AppearanceEncoder
from vid2vid_hub.nn.generator import Vid2VidGenerator
from vid2vid_hub.nn.image import Pix2PixHDGenerator
from vid2vid_hub.ops.edit import relabel
from vid2vid_hub.tasks import Task, get_task
from vid2vid_hub.types import Condition

SMALL = {"base_channels": 4, "downsamples": 2, "blocks": 2}
LENGTH, SIZE = 6, (32, 48)


@pytest.fixture
def generate(command: Command) -> Command:
    """Run ``vid2vid-hub generate`` with these arguments, on the CPU."""
    return lambda *arguments: command("generate", *arguments, "--device", "cpu")


def frames_of(path: Path) -> np.ndarray:
    with open_video(path) as reader:
        return np.stack(list(reader.frames())).astype(int)


def near(video: np.ndarray, frames: np.ndarray) -> bool:
    """The same but for video compression: these are what the encoder makes of those, which varies a little."""
    with TemporaryDirectory() as folder:
        with VideoWriter(Path(folder, "frames.mkv"), 25) as writer:
            for frame in frames:
                writer.write(np.ascontiguousarray(frame))
        return video.shape == frames.shape and np.abs(video - frames_of(Path(folder, "frames.mkv"))).mean() < 3


def strong(network: Any) -> Any:
    """Random weights that make one label map look quite unlike another."""
    torch.manual_seed(0)
    for name, parameter in network.named_parameters():
        if parameter.ndim > 1 and "heads" in name:
            torch.nn.init.normal_(parameter, 0, 0.5)
    return network.requires_grad_(False)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A toy pipeline and label maps for it."""
    place = tmp_path_factory.mktemp("relabel")
    task = ToyShapes()
    network = strong(Vid2VidGenerator(task.channels, foreground=True, **SMALL))
    Vid2VidPipeline(network, task, size=SIZE).save_pretrained(place / "model")
    write_maps(place / "maps.mkv", labels().maps, 25)
    return place


def labels() -> Condition:
    return Condition(ToyWorld(0, *SIZE).draw(LENGTH).labels)


SWAP = {PATH: GROUND, GROUND: PATH}


def test_the_video_is_that_of_the_edited_labels(generate: Command, folder: Path, tmp_path: Path):
    words = [folder / "model", folder / "maps.mkv", "--output", tmp_path / "out.mkv"]
    said = generate(*words, "--side-by-side", "--relabel", "path=Ground", "--relabel", f"{GROUND}=path")
    assert said[:2] == (0, f"{tmp_path}/out.mkv: 6 frames\n{tmp_path}/out-side-by-side.mkv: 6 frames\n")
    pipeline = Vid2VidPipeline.from_pretrained(folder / "model")
    plain = pipeline(condition=labels()).frames
    expected = pipeline(condition=relabel(labels(), SWAP)).frames
    made, pair = frames_of(tmp_path / "out.mkv"), frames_of(tmp_path / "out-side-by-side.mkv")
    assert near(made, expected)
    assert not near(made, plain)
    assert near(pair, beside(relabel(labels(), SWAP), expected))
    assert not near(pair, beside(labels(), expected))


def beside(condition: Condition, frames: np.ndarray, task: Task | None = None) -> np.ndarray:
    shown = (task or ToyShapes()).preview(condition).permute(0, 2, 3, 1).numpy()
    return np.concatenate((shown, frames), 2)


def test_what_is_found_in_a_real_video_is_edited_too(generate: Command, folder: Path, toy_videos: Path, tmp_path: Path):
    words = [folder / "model", toy_videos / "b.mp4", "--output", tmp_path / "out.mkv"]
    assert generate(*words, "--relabel", "path=box").code == 0
    pipeline = Vid2VidPipeline.from_pretrained(folder / "model")
    edited = (relabel(one, {PATH: BOX}) for one in pipeline.conditions(toy_videos / "b.mp4"))
    assert near(frames_of(tmp_path / "out.mkv"), pipeline(condition=edited).frames)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["patch=box"], "there is no class 'patch'; did you mean 'path'?"),
        (["box=sea"], "there is no class 'sea'; there are ground, path, disc, box, triangle"),
        (["box"], "--relabel box says of no class what it becomes; write CLASS=CLASS"),
        (["box=path", "box=disc"], "--relabel gives 'box' twice, for path and for disc; give it once"),
        (["box=path", "Box=disc"], "the class 'box' cannot become two others; give it once"),
        (["box="], "there is no class ''; there are ground, path, disc, box, triangle"),
    ],
)
def test_mistakes_are_one_sentence(generate: Command, folder: Path, tmp_path: Path, words: list[str], said: str):
    given = [word for text in words for word in ("--relabel", text)]
    found = generate(folder / "model", folder / "maps.mkv", "--output", tmp_path / "out.mkv", *given)
    assert found == (2, "", f"error: {said}\n")
    assert not list(tmp_path.iterdir())


def test_a_task_without_labels_has_none_to_exchange(generate: Command, folder: Path, tmp_path: Path):
    task = get_task("sketch2face")
    Vid2VidPipeline(Vid2VidGenerator(task.channels, **SMALL), task).save_pretrained(tmp_path / "face")
    found = generate(tmp_path / "face", folder / "maps.mkv", "--output", tmp_path / "out.mkv", "--relabel", "a=b")
    said = "error: --relabel exchanges classes of a label map, and a condition of sketch2face has none\n"
    assert found == (2, "", said)


def test_the_past_of_a_future_is_edited(generate: Command, tmp_path: Path):
    """A forecaster that is sure of the last map: what comes is what was, so it shows what it was given."""
    task = get_task("past2future", {"label_set": "cityscapes-train"})
    street = Vid2VidGenerator(task.channels, base_channels=4, downsamples=2, blocks=2, foreground=True)
    torch.manual_seed(0)
    ahead = Vid2VidGenerator(2, image_channels=20, frames="probabilities", history=3, **SMALL)
    Vid2VidPipeline(strong(street), task, forecaster=ahead).save_pretrained(tmp_path / "model")
    write_maps(tmp_path / "maps.mkv", labels().maps, 25)
    words = [tmp_path / "model", tmp_path / "maps.mkv", "--output", tmp_path / "out.mkv", "--future", 2]
    assert generate(*words, "--side-by-side", "--relabel", "road=sky", "--mark").code == 0
    pair = frames_of(tmp_path / "out-side-by-side.mkv")
    pipeline = Vid2VidPipeline.from_pretrained(tmp_path / "model")
    edited = relabel(labels(), pipeline.task.labels.edits({"road": "sky"}))
    expected = pipeline(condition=edited, future=2).frames
    made = np.stack([marked(frame) for frame in expected])
    for past, right in ((labels(), False), (edited, True)):
        ahead = torch.cat([one.maps for one in pipeline.ahead(pipeline.past(condition=past), 2)][1:])
        assert near(pair, beside(Condition(ahead), made, pipeline.task)) == right
    assert not near(pair, beside(Condition(ahead), expected, pipeline.task))


# Looks.


@pytest.fixture(scope="module")
def styled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a pipeline that knows three looks."""
    place, task = tmp_path_factory.mktemp("styled"), ToyShapes()
    torch.manual_seed(3)
    known = AppearanceEncoder(5, channels=3, base_channels=4, downsamples=2, centres=3).requires_grad_(False)
    known.looks.uniform_(-9, 9)
    known.known.fill_(3)
    first = Pix2PixHDGenerator(
        task.channels, base_channels=4, downsamples=2, blocks=1, enhancers=1, appearance_channels=3
    )
    network = Vid2VidGenerator(task.channels, foreground=True, **SMALL)
    Vid2VidPipeline(network, task, first_frame=first, appearance=known).save_pretrained(place)
    return place


def test_a_look_is_chosen(generate: Command, styled: Path, folder: Path, tmp_path: Path):
    pipeline = Vid2VidPipeline.from_pretrained(styled)
    made = {}
    for style in (None, 0, 2):
        output = tmp_path / f"{style}.mkv"
        words = [] if style is None else ["--style", style]
        assert generate(styled, folder / "maps.mkv", "--output", output, *words).code == 0
        made[style] = frames_of(output)
        expected = pipeline(condition=labels(), style=style or 0).frames
        assert near(made[style], expected)
    assert not near(made[0], made[2].astype(np.uint8))


@pytest.mark.parametrize(
    ("model", "words", "said"),
    [
        ("model", ["--style", 1], "this pipeline knows one style: leave style out"),
        ("styled", ["--style", 3], "style is 3; it must be a whole number between 0 and 2"),
        ("styled", ["--style", 1, "--future", 3], "--style chooses the look of a video's first frames, and a future "),
    ],
)
def test_looks_that_are_not_there(
    generate: Command, styled: Path, folder: Path, tmp_path: Path, model: str, words: list[Any], said: str
):
    place = styled if model == "styled" else folder / "model"
    found = generate(place, folder / "maps.mkv", "--output", tmp_path / "out.mkv", *words)
    assert (found.code, found.out) == (2, "")
    assert found.err.startswith(f"error: {said}")
    assert found.err.count("\n") == 1
    assert not list(tmp_path.iterdir())


# Marks.


def test_every_file_says_what_made_it_and_nothing_of_where(generate: Command, folder: Path, tmp_path: Path):
    for kind in ("mp4", "mkv", "mov"):
        output = tmp_path / f"out.{kind}"
        assert generate(folder / "model", folder / "maps.mkv", "--output", output, "--side-by-side").code == 0
        for path in (output, output.with_stem("out-side-by-side")):
            held = AVReader(path).metadata
            assert held["comment"] == "synthetic video, generated by model with vid2vid-hub"
            assert held["digital_source_type"].endswith("/trainedAlgorithmicMedia")
            for secret in (folder.name, tmp_path.name, "relabel"):
                assert secret.encode() not in path.read_bytes()


def test_frames_are_marked_when_they_are_asked_to_be(generate: Command, folder: Path, tmp_path: Path):
    output = tmp_path / "out.mkv"
    made = Vid2VidPipeline.from_pretrained(folder / "model")(condition=labels()).frames
    for words, expected in ((["--mark"], np.stack([marked(frame) for frame in made])), ([], made)):
        assert generate(folder / "model", folder / "maps.mkv", "--output", output, "--side-by-side", *words).code == 0
        assert near(frames_of(output), expected)
        assert near(frames_of(tmp_path / "out-side-by-side.mkv"), beside(labels(), expected))
    assert not near(frames_of(output), np.stack([marked(frame) for frame in made]))

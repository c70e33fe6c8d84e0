"""The command line as people use it: what each command writes and says, and one sentence for every mistake."""

from __future__ import annotations

import json
import os
import re
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import av
import numpy as np
import pytest
import yaml
from PIL import Image

from tests.commands import Command, Said, is_one_sentence, left_in
from vid2vid_hub import Vid2VidPipeline, cli
from vid2vid_hub.data.clips import read_clips
from vid2vid_hub.data.encode import VideoWriter
from vid2vid_hub.data.maps import write_maps
from vid2vid_hub.data.toy import ToyShapes, ToyWorld
from vid2vid_hub.data.video import open_video
from vid2vid_hub.training.parse import load_recipe, parse_recipe, save_recipe

ROOT = Path(__file__).parents[1]


def frames_of(path: Path) -> np.ndarray:
    with open_video(path) as reader:
        return np.stack(list(reader.frames()))


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """What a full disk does, by the kernel: no file grows beyond so many bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


# What works


@pytest.mark.parametrize("arguments", [["--help"], [], *([name, "--help"] for name in ("prepare", "generate"))])
def test_help_is_there(command: Command, arguments: list[str]):
    said = command(*arguments)
    assert said.code == (0 if arguments else 2)
    assert "Usage" in said.out + said.err


def test_every_command_is_explained(command: Command):
    said = command("--help")
    for name in ("tasks", "prepare", "train", "generate", "evaluate", "benchmark", "demo"):
        assert re.search(rf"{name}\s+[A-Z]\w+ ", said.out), name


def test_tasks(command: Command):
    said = command("tasks")
    assert (said.code, said.err) == (0, "")
    assert {"seg2street", "toy"} <= set(said.out.split())


def test_prepare(command: Command, toy_videos: Path, tmp_path: Path):
    videos, labels = ([toy_videos / f"{name}.{kind}" for name in "abc"] for kind in ("mp4", "mkv"))
    output = tmp_path / "data"
    arguments = [*videos, "--conditions", *labels, "--val", "c", "--val", "a:6:", "--size", "24x16", "--flow", "none"]
    said = command("prepare", "--task", "toy", *arguments, "--output", output)
    assert said.code == 0
    assert said.out == f"{output}: train 2 clips, 12 frames, val 2 clips, 8 frames\n"
    (first, second), held = read_clips(output, "train"), read_clips(output, "val")
    assert [(clip.name, clip.length) for clip in held] == [("a-00006", 3), ("c", 5)]
    assert (first.size, second.name, first.flow_file_name) == ((16, 24), "b", None)
    assert left_in(tmp_path)[0] == "data"


def test_prepare_takes_conditions_one_by_one_and_extracts_missing_ones(
    command: Command, toy_videos: Path, tmp_path: Path
):
    pairs = [argument for name in "ab" for argument in ("--conditions", toy_videos / f"{name}.mkv")]
    drawn = command(
        "prepare", toy_videos / "a.mp4", toy_videos / "b.mp4", *pairs, "--task=toy", "--output", tmp_path / "1"
    )
    found = command("prepare", "--task", "toy", "--output", tmp_path / "2", toy_videos / "a.mp4", toy_videos / "b.mp4")
    assert (drawn.code, found.code) == (0, 0)
    for one, other in zip(read_clips(tmp_path / "1", "train"), read_clips(tmp_path / "2", "train"), strict=True):
        same = one.condition(0, one.length).maps == other.condition(0, one.length).maps
        assert same.float().mean() > 0.95, "video is lossy, and so is what is extracted from it"


def test_train_stop_resume_generate_evaluate(
    command: Command, toy_data: Path, toy_videos: Path, tmp_path: Path, tiny_recipe
):
    recipe, run, stopped = tmp_path / "recipe.yaml", tmp_path / "run", tmp_path / "stopped"
    save_recipe(parse_recipe(tiny_recipe), recipe)
    train = ["train", "--data", toy_data, "--recipe", recipe, "--set", "optimizer.rate=5e-4"]
    assert command(*train, "--output", run) == Said(0, f"{run}/pipeline\n", ANYTHING)
    assert load_recipe(run / "pipeline").optimizer.rate == 5e-4

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cli.learn, "_losses", lambda show: stop_at_step(4))
        said = command(*train, "--output", stopped)
    assert (said.code, said.out, said.err) == (130, "", INTRODUCTION)
    said = command("train", "--data", toy_data, "--output", stopped, "--resume")
    assert said.code == 0
    assert said.err.startswith(INTRODUCTION)
    assert "epoch 2/2" in said.err
    assert re.search(r"gan \d", said.err)
    ends = [(max(folder.glob("checkpoint-*")) / "manifest.json").read_text() for folder in (run, stopped)]
    assert ends[0] == ends[1]

    assert command("generate", run / "pipeline", toy_videos / "c.mkv", "--output", tmp_path / "c.mp4").code == 0
    assert frames_of(tmp_path / "c.mp4").shape == (5, 32, 48, 3)
    said = command("evaluate", run / "pipeline", "--data", toy_data, "--json", tmp_path / "figures.json")
    assert said.code == 0
    figures = json.loads((tmp_path / "figures.json").read_text())
    for system, values in figures.items():
        assert system in said.out
        assert f"{values['warping']:.4f}" in said.out
    assert "1 clips, 5 frames" in said.out


INTRODUCTION = "1 process on cpu, float32; 2 clips, 15 frames\n"


class Anything:
    """Equal to whatever it is compared with."""

    def __eq__(self, other: object) -> bool:
        return True

    __hash__ = None  # type: ignore[assignment]


ANYTHING = Anything()


def stop_at_step(step: int) -> Callable[[object], None]:
    def report(progress) -> None:
        if progress.position.step >= step:
            raise KeyboardInterrupt

    return report


@pytest.fixture
def drawn_from_labels(toy_model: Path, toy_videos: Path) -> np.ndarray:
    """What the model makes of b.mkv, before video compression."""
    return Vid2VidPipeline.from_pretrained(toy_model)(condition=toy_videos / "b.mkv").frames


def near(video: np.ndarray, frames: np.ndarray) -> bool:
    """The same light but for video compression, which keeps colours at half the resolution only."""
    light = np.array([0.2126, 0.7152, 0.0722])
    return video.shape == frames.shape and float(np.abs(video @ light - frames @ light).mean()) < 4


def test_generate_from_a_condition_video(
    command: Command, toy_model: Path, toy_videos: Path, tmp_path: Path, drawn_from_labels
):
    output = tmp_path / "b.mp4"
    said = command("generate", toy_model, toy_videos / "b.mkv", "--output", output, "--side-by-side", "--fps", "12")
    beside = tmp_path / "b-side-by-side.mp4"
    assert (said.code, said.out) == (0, f"{output}: 6 frames\n{beside}: 6 frames\n")
    assert near(frames_of(output), drawn_from_labels)
    assert not near(frames_of(output)[::-1], drawn_from_labels)
    pair = frames_of(beside)
    assert pair.shape == (6, 32, 96, 3)
    labels = ToyShapes().parse(picture_tensor(frames_of(toy_videos / "b.mkv")))
    shown = ToyShapes().preview(labels).permute(0, 2, 3, 1).numpy()
    assert np.abs(pair[:, :, :48].astype(int) - shown).mean() < 8
    with open_video(output) as reader:
        assert reader.fps == 12
    assert left_in(tmp_path) == ["b-side-by-side.mp4", "b.mp4"]


def picture_tensor(frames: np.ndarray):
    import torch

    return torch.from_numpy(frames).permute(0, 3, 1, 2)


@pytest.mark.parametrize("kind", ["grey", "palette"])
def test_generate_from_a_folder_of_pictures(
    command: Command, toy_model: Path, toy_videos: Path, tmp_path: Path, drawn_from_labels, kind: str
):
    folder = tmp_path / "labels"
    folder.mkdir()
    for t, frame in enumerate(frames_of(toy_videos / "b.mkv")):
        picture = Image.fromarray(frame[..., 0], "L")
        if kind == "palette":
            picture = picture.convert("P")
            picture.putdata(frame[..., 0].flatten().tolist())
        picture.save(folder / f"{t:03d}.png")
    assert command("generate", toy_model, folder, "--output", tmp_path / "b.mkv").code == 0
    assert near(frames_of(tmp_path / "b.mkv"), drawn_from_labels)


def test_generate_from_palette_colours(command: Command, toy_videos: Path, tmp_path: Path):
    """Street labels as RGB pictures are read as labels, not taken for a real video."""
    import torch

    from vid2vid_hub.nn.generator import Vid2VidGenerator
    from vid2vid_street import SegToStreet

    torch.manual_seed(0)
    task = SegToStreet(label_set="cityscapes-train", segmenter="absent.onnx")
    network = Vid2VidGenerator(task.channels, base_channels=4, downsamples=2, blocks=2, foreground=True)
    pipeline = Vid2VidPipeline(network, task)
    pipeline.save_pretrained(tmp_path / "model")
    condition = task.parse(picture_tensor(frames_of(toy_videos / "c.mkv")))
    (tmp_path / "colours").mkdir()
    for t, picture in enumerate(task.preview(condition).permute(0, 2, 3, 1).numpy()):
        Image.fromarray(picture).save(tmp_path / "colours" / f"{t}.png")
    assert command("generate", tmp_path / "model", tmp_path / "colours", "--output", tmp_path / "c.mp4").code == 0
    assert near(frames_of(tmp_path / "c.mp4"), pipeline(condition=condition).frames)


def test_generate_from_a_real_video(
    command: Command, toy_model: Path, toy_videos: Path, tmp_path: Path, drawn_from_labels
):
    """Toy's extractor finds the classes again, but where video compression mixed colours at borders."""
    said = command("generate", toy_model, toy_videos / "b.mp4", "--output", tmp_path / "b.mp4")
    assert (said.code, said.out) == (0, f"{tmp_path}/b.mp4: 6 frames\n")
    extracted = Vid2VidPipeline.from_pretrained(toy_model)(toy_videos / "b.mp4").frames
    assert near(frames_of(tmp_path / "b.mp4"), extracted)


def test_generate_at_another_size(command: Command, toy_model: Path, toy_videos: Path, tmp_path: Path):
    arguments = ["generate", toy_model, toy_videos / "b.mkv", "--output", tmp_path / "b.mp4"]
    assert command(*arguments, "--size", "60x40").code == 0
    assert frames_of(tmp_path / "b.mp4").shape == (6, 40, 60, 3)


@pytest.mark.parametrize(
    "words",
    [
        ("--first-frames", "{one}", "{two}"),
        ("--first-frames", "{one}", "--first-frames", "{two}"),
        ("--first-frames={one}", "--first-frames={two}"),
    ],
    ids=["after one option", "one by one", "with a sign"],
)
def test_generate_from_pictures_of_the_first_frames(
    command: Command, toy_model: Path, toy_videos: Path, tmp_path: Path, words: tuple[str, ...]
):
    first = ToyWorld(1, 32, 48).draw(2).frames.permute(0, 2, 3, 1).numpy()
    places = {name: tmp_path / f"{name}.png" for name in ("one", "two")}
    for path, picture in zip(places.values(), first, strict=True):
        Image.fromarray(picture).save(path)
    given = [word.format(**places) for word in words]
    said = command("generate", toy_model, toy_videos / "b.mkv", *given, "--output", tmp_path / "b.mp4")
    assert said.code == 0, said.err
    video = frames_of(tmp_path / "b.mp4")
    assert near(video[:2], first)
    assert not near(video[:2], first[::-1])
    expected = Vid2VidPipeline.from_pretrained(toy_model)(condition=toy_videos / "b.mkv", first_frames=first)
    assert near(video, expected.frames)


def test_generate_from_generated_first_frames_or_from_nothing(
    command: Command, toy_model: Path, toy_videos: Path, tmp_path: Path, drawn_from_labels
):
    import torch

    from vid2vid_hub import Pix2PixHDGenerator

    torch.manual_seed(1)
    network = Pix2PixHDGenerator(ToyShapes().channels, base_channels=4, downsamples=2, blocks=1)
    pipeline = Vid2VidPipeline.from_pretrained(toy_model, first_frame=network)
    pipeline.save_pretrained(tmp_path / "model")
    generated = pipeline(condition=toy_videos / "b.mkv").frames
    assert not near(generated[:2], drawn_from_labels[:2])
    for words, expected in {
        (): generated,
        ("--first-frames", "generated"): generated,
        ("--first-frames", "zeros"): drawn_from_labels,
    }.items():
        said = command("generate", tmp_path / "model", toy_videos / "b.mkv", *words, "--output", tmp_path / "b.mp4")
        assert said.code == 0, said.err
        assert near(frames_of(tmp_path / "b.mp4"), expected), words


def test_benchmark(command: Command, toy_model: Path):
    said = command("benchmark", toy_model, "--frames", "3")
    assert said.code == 0
    assert re.search(r"^48x32 on cpu, \d+ threads, median of 3 frames$", said.out, re.M)
    network, host, whole = map(float, re.findall(r"([\d.]+) ms", said.out))
    assert network + host == pytest.approx(whole, abs=0.11)
    assert re.search(r"outside the network: [\d.]+%", said.out)
    assert "60x40 on cpu" in command("benchmark", toy_model, "--frames", "1", "--size", "60x40").out


@pytest.mark.slow
def test_demo(command: Command, tmp_path: Path):
    if not (ROOT / "pipelines/street-starter/model_index.json").is_file():
        pytest.skip("pipelines/street-starter has no weights in this checkout yet")
    assert command("demo", "--output", tmp_path / "new" / "demo").code == 0
    one, pair = (frames_of(tmp_path / "new/demo" / name) for name in ("street.mp4", "street-side-by-side.mp4"))
    assert len(one) == len(pair) > 50
    assert pair.shape[2] == 2 * one.shape[2]


@pytest.mark.slow
def test_the_toys_card_tells_no_lies(command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Its Python and its commands as they stand, but for the length of the training."""
    card = (ROOT / "pipelines/toy/README.md").read_text()
    monkeypatch.chdir(tmp_path)
    exec(re.search(r"```python\n(.*?)```", card, re.S)[1], {})
    for line in re.search(r"```sh\n(.*?)```", card, re.S)[1].splitlines():
        words = [str(p) for w in line.split() for p in (sorted(Path().glob(w)) if "*" in w else [w])]
        if "--recipe" in words:
            words[words.index("--recipe") + 1] = str(ROOT / "pipelines/toy")
            words += ["--set", "stages=[{epochs: 1, width: 48, height: 32, frames: 24, unroll: 6, batch: 5}]"]
        assert command(*words[1:]).code == 0, line
    assert {"toy.mp4", "toy-side-by-side.mp4", "toy-run", "toy-data"} <= {p.name for p in tmp_path.iterdir()}


# What people get wrong


def audio_only(path: Path) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=16000)
        stream.layout = "mono"
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 4096), np.float32), "fltp", "mono")
        frame.sample_rate = 16000
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def zero_frames(path: Path) -> None:
    with VideoWriter(path, 25) as writer:
        writer.write(np.zeros((32, 48, 3), np.uint8))
    content = path.read_bytes()
    path.write_bytes(content[: content.index(b"mdat") + 4])


def two_sizes(path: Path) -> None:
    """An MPEG transport stream may change in the middle; here after 10 frames, which is after the first block."""
    joined = b""
    for height, width in ((32, 48), (64, 96)):
        with av.open(str(path), "w", format="mpegts") as container:
            stream = container.add_stream("libx264", rate=25)
            stream.height, stream.width, stream.pix_fmt = height, width, "yuv420p"
            for _ in range(10):
                container.mux(stream.encode(av.VideoFrame.from_ndarray(np.zeros((height, width, 3), np.uint8))))
            container.mux(stream.encode(None))
        joined += path.read_bytes()
    path.write_bytes(joined)


def label_nine(path: Path) -> None:
    maps = np.zeros((12, 1, 32, 48), np.uint8)
    maps[10, 0, 5, 7] = 9
    write_maps(path, maps, 25)


BAD_VIDEOS = {
    "missing": (lambda path: None, "does not exist"),
    "text": (lambda path: path.write_text("dear diary"), "text beginning 'dear diary' found"),
    "noise": (lambda path: path.write_bytes(np.random.default_rng(0).bytes(9000)), "other bytes found"),
    "empty": (lambda path: path.write_bytes(b""), r"is empty \(0 bytes\)"),
    "empty folder": (lambda path: path.mkdir(), "a folder without PNG or JPEG pictures"),
    "audio only": (audio_only, r"holds no video \(audio found\)"),
    "zero frames": (zero_frames, "no frame in it can be decoded"),
    "two sizes": (two_sizes, r"frame 10 of .* is 96x64 .* began as 48x32"),
    "label out of range": (label_nine, r"frame 10: the label is 9 at x 7, y 5; toy has the classes 0 to 4"),
}


@pytest.mark.parametrize(("make", "words"), BAD_VIDEOS.values(), ids=BAD_VIDEOS)
def test_a_bad_video_is_one_sentence(
    command: Command, toy_model: Path, toy_videos: Path, tmp_path: Path, make, words: str
):
    source, output = tmp_path / "in" / "bad.mp4", tmp_path / "out" / "video.mp4"
    source = source.with_suffix(".mkv") if make is label_nine else source
    source.parent.mkdir()
    output.parent.mkdir()
    make(source)
    output.write_text("from before")
    said = command("generate", toy_model, source, "--output", output, "--side-by-side")
    assert is_one_sentence(said), said
    assert re.search(words, said.err)
    assert str(source) in said.err
    assert left_in(output.parent) == ["video.mp4"]
    assert output.read_text() == "from before"

    video, conditions = source, tmp_path / "in" / "labels.mkv"
    write_maps(conditions, np.zeros((20, 1, 32, 48), np.uint8), 25)
    if make is label_nine:
        video, conditions = tmp_path / "in" / "long.mp4", source
        with VideoWriter(video, 25) as writer:
            for _ in range(12):
                writer.write(np.zeros((32, 48, 3), np.uint8))
    said = command("prepare", video, "--task", "toy", "--conditions", conditions, "--output", output.parent / "data")
    assert is_one_sentence(said), said
    assert re.search(words, said.err)
    assert str(source) in said.err
    assert left_in(output.parent) == ["video.mp4"]


def spoil(model: Path, name: str) -> None:
    (weights,) = (model / "generator").glob("*.safetensors")
    match name:
        case "index":
            (model / "model_index.json").unlink()
        case "config":
            (model / "generator" / "config.json").unlink()
        case "weights":
            weights.unlink()
        case "pickle":
            weights.rename(weights.with_suffix(".bin"))
        case "pth":
            weights.rename(weights.with_name("latest_net_G0.pth"))
        case "foreign weights":
            weights.write_bytes(np.random.default_rng(0).bytes(5000))
        case "cut weights":
            weights.write_bytes(weights.read_bytes()[:-1000])
        case "foreign index":
            (model / "model_index.json").write_text("dear diary")
        case "foreign config":
            (model / "generator" / "config.json").write_text('{"_class_name": "UNet2DModel", "sample_size": 8}')
        case "other network":
            path = model / "generator" / "config.json"
            path.write_text(json.dumps(json.loads(path.read_text()) | {"base_channels": 16}))
        case "task":
            path = model / "model_index.json"
            path.write_text(path.read_text().replace('"task": "toy"', '"task": "toys"'))


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("index", "has no model_index.json"),
        ("config", "generator/config.json is missing"),
        ("weights", "holds no safetensors weights"),
        ("pickle", r"\.bin, a pickle, which is never loaded; expected safetensors"),
        ("pth", r"latest_net_G0\.pth, a pickle, which is never loaded; expected safetensors"),
        ("foreign weights", "generator"),
        ("cut weights", "generator"),
        ("foreign index", "is not JSON"),
        ("foreign config", "has no setting sample_size"),
        ("other network", "are not those of Vid2VidGenerator: .* expected shape"),
        ("task", "no installed package provides the task 'toys'; installed tasks: .*toy"),
    ],
)
def test_a_spoilt_model_is_one_sentence(
    command: Command, toy_model: Path, toy_videos: Path, tmp_path: Path, name: str, words: str
):
    model = shutil.copytree(toy_model, tmp_path / "model")
    spoil(model, name)
    said = command("generate", model, toy_videos / "c.mkv", "--output", tmp_path / "c.mp4")
    assert is_one_sentence(said), said
    assert re.search(words, said.err), said.err
    assert left_in(tmp_path)[0] == "model"
    assert not list(tmp_path.glob("*.mp4"))


PREPARE = ("prepare", "{videos}/a.mp4", "--task", "toy", "--output", "{out}/data")
GENERATE = ("generate", "{model}", "{videos}/c.mkv", "--output", "{out}/c.mp4")
TRAIN = ("train", "--data", "{data}", "--output", "{out}/run", "--recipe", "{recipe}")

MISTAKES = {
    "unknown task": (("prepare", "{videos}/a.mp4", "--task", "toys", "--output", "{out}/d"), "installed tasks: .*toy"),
    "task setting": ((*PREPARE, "--setting", "size=3"), "task 'toy' does not take these settings: "),
    "setting without value": ((*PREPARE, "--setting", "size"), "'size' is not a setting; write KEY=VALUE"),
    "setting not YAML": ((*PREPARE, "--setting", "size={{"), "a setting is no YAML value"),
    "fewer conditions": (
        ("prepare", "{videos}/a.mp4", "{videos}/b.mp4", *PREPARE[2:], "--conditions", "{videos}/a.mkv"),
        "2 videos but 1 conditions",
    ),
    "fewer labels": ((*PREPARE, "--conditions", "{videos}/b.mkv"), "a.mp4 has 9 frames, but its conditions .* have 6"),
    "other size": ((*PREPARE, "--conditions", "{out}/../wide.mkv"), r"wide\.mkv, frame 0, is 64x32, but .* is 48x32"),
    "twice the name": (("prepare", "{videos}/a.mp4", *PREPARE[1:]), "two videos are called 'a'"),
    "held-out stranger": ((*PREPARE, "--val", "z"), "held-out frames are of 'z'"),
    "held-out beyond": ((*PREPARE, "--val", "a:0:99"), "has 9 frames; 0 to 99 cannot be held out"),
    "held-out nonsense": ((*PREPARE, "--val", "a:b:c"), "does not name held-out frames"),
    "existing data": (("prepare", *PREPARE[1:-1], "{data}"), "already exists and is not empty"),
    "flow teacher": ((*PREPARE, "--flow", "flownet9"), "no flow teacher 'flownet9'; there are dis"),
    "size": ((*GENERATE, "--size", "48"), "'48' is not a size; write WIDTHxHEIGHT"),
    "zero size": ((*GENERATE, "--size", "0x48"), "'0x48' is not a size"),
    "fps": ((*GENERATE, "--fps", "0"), "cannot have 0.* frames a second"),
    "fps nan": ((*GENERATE, "--fps", "nan"), "cannot have nan frames a second"),
    "device": ((*GENERATE, "--device", "abacus"), "the device 'abacus' cannot be used"),
    "suffix": ((*GENERATE[:-1], "{out}/c.gif"), r"cannot be written as \.gif"),
    "no folder": ((*GENERATE[:-1], "{out}/absent/c.mp4"), "its folder does not exist; create"),
    "first frame": ((*GENERATE, "--first-frames", "{recipe}"), "first frame .* is not a picture"),
    "size of the first frame": ((*GENERATE, "--first-frames", "{out}/../wide.png"), "first frame 0 is .*32, 64"),
    "generated and pictures": (
        (*GENERATE, "--first-frames", "{out}/../wide.png", "generated"),
        r"--first-frames generated stands alone; a picture of that name is \./generated",
    ),
    "no network for first frames": ((*GENERATE, "--first-frames", "generated"), "no network for first frames"),
    "no model": (("generate", "{out}/../model", *GENERATE[2:]), "there is no pipeline folder"),
    "no starter": (("generate", "my-starter", *GENERATE[2:]), "comes with no starter 'my-starter'"),
    "nothing to train": (TRAIN[:-2], "give a task or a recipe"),
    "no recipe": ((*TRAIN[:-1], "{out}"), "there is no recipe at"),
    "recipe key": ((*TRAIN, "--set", "optimizer.speed=1"), "optimizer: unknown 'speed'"),
    "recipe value": ((*TRAIN, "--set", "seed=x"), "seed: expected int, found 'x'"),
    "another task": ((*TRAIN, "--task", "seg2street"), "the recipe is for task 'toy', not 'seg2street'"),
    "no data": (("train", "--data", "{out}", *TRAIN[3:]), "is no dataset: expected dataset.json"),
    "no run": ((*TRAIN, "--resume"), "holds no run to resume"),
    "recipe list": (
        (*TRAIN, "--set", "stages.1.epochs=3"),
        "'stages.1.epochs' cannot be set: '1' is none of the numbers 0 to 0",
    ),
    "recipe base": ((*TRAIN, "--set", "base={out}/none"), "there is no recipe at .*none"),
    "first frames without a network": (
        (*TRAIN, "--set", "first_frames={{generated: 1}}"),
        "a share of 'generated', but first_frame names no pipeline",
    ),
    "no start": ((*TRAIN, "--set", "start={out}/none"), "there is no pipeline folder"),
    "another start": (
        (*TRAIN, "--set", "start={model}", "--set", "generator.base_channels=12"),
        "is not the recipe's: .* give both the same settings",
    ),
    "no first frame": ((*TRAIN, "--set", "first_frame={model}"), "has no single-image generator"),
    "a mapping is no number": ((*TRAIN, "--set", "stages=[{{epochs: 1}}]"), "'width' and 'height' must be given"),
    "empty split": (("evaluate", "{model}", "--data", "{data}", "--split", "test"), "no clips of two or more frames"),
    "json": (
        ("evaluate", "{model}", "--data", "{data}", "--json", "{out}/absent/f.json"),
        "absent/f.json cannot be written",
    ),
    "lpips": (("evaluate", "{model}", "--data", "{data}", "--lpips", "{recipe}"), "cannot be read as safetensors"),
    "demo onto a file": (("demo", "--output", "{recipe}"), "cannot be made"),
}


@pytest.mark.parametrize(("arguments", "words"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_is_one_sentence(
    command: Command, toy_model, toy_videos, toy_data, tmp_path: Path, tiny_recipe, arguments, words: str
):
    out, recipe = tmp_path / "out", tmp_path / "recipe.yaml"
    out.mkdir()
    recipe.write_text(yaml.safe_dump(tiny_recipe))
    write_maps(tmp_path / "wide.mkv", np.zeros((9, 1, 32, 64), np.uint8), 25)
    Image.fromarray(np.zeros((32, 64, 3), np.uint8)).save(tmp_path / "wide.png")
    places = {"model": toy_model, "videos": toy_videos, "data": toy_data, "out": out, "recipe": recipe}
    said = command(*(argument.format(**places) for argument in arguments))
    if "--json" in arguments:
        said = said._replace(out="")  # the figures are still shown
    assert (said.code, said.out) == (2, ""), said
    *before, last = said.err.splitlines()
    assert last.startswith("error: ")
    assert re.search(words, last), last
    assert "Traceback" not in said.err
    assert not before or "--json" in arguments
    assert left_in(out) == []


def test_a_full_disk_leaves_no_half_video(command: Command, toy_model: Path, toy_videos: Path, tmp_path: Path):
    output = tmp_path / "a.mp4"
    output.write_text("from before")
    with files_of_at_most(1000):
        said = command("generate", toy_model, toy_videos / "a.mkv", "--output", output, "--side-by-side")
    assert is_one_sentence(said), said
    assert re.search(r"could not be written after \d+ frames .*make room", said.err)
    assert left_in(tmp_path) == ["a.mp4"]
    assert output.read_text() == "from before"


@pytest.mark.parametrize("size", [500, 5000])
def test_a_full_disk_leaves_no_half_dataset(command: Command, toy_videos: Path, tmp_path: Path, size: int):
    labels = ("--conditions", toy_videos / "a.mkv")
    with files_of_at_most(size):
        said = command("prepare", toy_videos / "a.mp4", "--task", "toy", *labels, "--output", tmp_path / "data")
    assert is_one_sentence(said), said
    assert "written" in said.err
    assert left_in(tmp_path) == []


@pytest.mark.parametrize(("size", "what"), [(100, "recipe|run folder"), (20_000, "checkpoint")])
def test_a_full_disk_stops_a_training_in_one_sentence(
    command: Command, toy_data: Path, tmp_path: Path, tiny_recipe, size: int, what: str
):
    recipe, run = tmp_path / "recipe.yaml", tmp_path / "run"
    save_recipe(parse_recipe(tiny_recipe), recipe)
    with files_of_at_most(size):
        said = command("train", "--data", toy_data, "--recipe", recipe, "--output", run)
    assert is_one_sentence(said._replace(err=said.err.removeprefix(INTRODUCTION))), said
    assert re.search(rf"(the )?({what}) .* cannot be written", said.err)
    assert not (run / "pipeline").exists()
    assert not list(run.glob("checkpoint-*"))
    assert not list(run.glob(".*"))


def test_what_fails_after_a_while_leaves_its_sentence_and_no_bar(
    command: Command, toy_model: Path, toy_videos: Path, tmp_path: Path
):
    """The bar of a command that worked stays; in front of an error it would be in the way."""
    said = command("generate", toy_model, toy_videos / "c.mkv", "--output", tmp_path / "c.mp4")
    assert "5/5" in said.err


# As a process of its own


def vid2vid_hub(*arguments: object, code: str = "") -> subprocess.CompletedProcess[str]:
    start = "import sys; from vid2vid_hub.cli import main\nmain()"
    environment = {**os.environ, "HF_HUB_OFFLINE": "1"}
    return subprocess.run(
        [sys.executable, "-c", code + start, *map(str, arguments)],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )


def test_a_mistake_in_a_process_of_its_own(toy_videos: Path, tmp_path: Path):
    arguments = ["generate", "any", tmp_path / "absent.mkv", "--output", tmp_path / "a.mp4"]
    quiet, loud = vid2vid_hub(*arguments), vid2vid_hub("--debug", *arguments)
    assert (quiet.returncode, quiet.stdout) == (2, "")
    assert quiet.stderr.startswith("error: ")
    assert quiet.stderr.count("\n") == 1
    assert loud.returncode == 1
    assert loud.stderr.startswith("Traceback")
    assert "VideoError" in loud.stderr.splitlines()[-1]


def test_debug_is_forgotten_with_the_next_command(command: Command, tmp_path: Path):
    arguments = ("generate", "any", tmp_path / "absent.mkv", "--output", tmp_path / "a.mp4")
    said = command("--debug", *arguments)
    assert said.code == 1
    assert said.err.startswith("Traceback")
    assert "VideoError" in said.err
    assert is_one_sentence(command(*arguments))


def test_generating_imports_no_more_than_it_needs(toy_model: Path, toy_videos: Path, tmp_path: Path):
    watch = "import atexit, sys; atexit.register(lambda: print('modules:', *sys.modules))\n"
    done = vid2vid_hub("generate", toy_model, toy_videos / "c.mkv", "--output", tmp_path / "c.mp4", code=watch)
    assert done.returncode == 0, done.stderr
    loaded = set(done.stdout.rpartition("modules:")[2].split())
    assert "vid2vid_hub.data.toy" in loaded
    # diffusers itself imports transformers and onnxruntime, where they are installed.
    unwanted = {
        "gradio",
        "torchvision",
        "vid2vid_street",
        "vid2vid_hub.training.trainer",
    }
    assert unwanted & loaded == set()

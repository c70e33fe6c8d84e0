"""A run can be killed at any instant, stopped, and find its checkpoints damaged: it ends with the same bits."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import pytest
import torch
from safetensors.torch import load_file

from tests.training.test_checkpoint import files_of_at_most, flip_a_byte
from vid2vid_hub import Vid2VidPipeline
from vid2vid_hub.errors import CheckpointError, StoppedError
from vid2vid_hub.training import feed, trainer, watch
from vid2vid_hub.training.checkpoint import load_checkpoint, save_checkpoint
from vid2vid_hub.training.parse import parse_recipe, save_recipe
from vid2vid_hub.training.run import start_run
from vid2vid_hub.training.trainer import Progress

ROOT = Path(__file__).parents[2]

# All that a run must remember is in it: coarse to fine, clips of several chunks, chance (one judged frame), D_V's past.
JUDGE = {"base_channels": 4, "layers": 1, "scales": 1}
RECIPE = {
    "task": "toy",
    "stages": [
        {"epochs": 2, "width": 24, "height": 16, "scales": 1, "frames": 9, "unroll": 2},
        {"epochs": 2, "width": 48, "height": 32, "scales": 2, "frozen": 1, "frames": 9, "unroll": 2},
        {"epochs": 2, "width": 48, "height": 32, "frames": 9, "unroll": 2},
    ],
    "generator": {"base_channels": 4, "downsamples": 1, "blocks": 2, "scales": 2, "local_blocks": 1},
    "discriminator": JUDGE,
    "video_discriminator": {"strides": 2, "frames": 3} | JUDGE,
    "region_discriminator": {"size": 16} | JUDGE,
    "judged": "one",
    "loss": {"generated_warp": 10.0},
    "optimizer": {"rate": 1e-3, "decay": 3},
    "ema": 0.9,
    "checkpoint_minutes": 0.0,
}
PLACES = ("features.0", "features.1", "images.0", "images.1", "real", "made", "past_flow")

Hashes = dict[str, str]


class KilledError(Exception):
    """Ends a run in this process, which saves nothing on it."""


def hashes(folder: Path) -> Hashes:
    """The sha256 of every file of a folder but the manifest, which holds just these; time runs as it likes."""
    files = [path for path in folder.rglob("*") if path.is_file() and path.name != "manifest.json"]
    timeless = {path: re.sub(rb'"seconds": \d+', b"", path.read_bytes()) for path in files}
    return {str(path.relative_to(folder)): hashlib.sha256(content).hexdigest() for path, content in timeless.items()}


def checkpoint(run: Path, step: int) -> Path:
    return run / f"checkpoint-{step:09d}"


def steps(run: Path) -> list[int]:
    """Of the checkpoints there are, whole or not."""
    return sorted(int(path.name.split("-")[1]) for path in run.glob("checkpoint-*"))


def log(run: Path) -> list[dict[str, Any]]:
    """Its lines but for the time; a line that was cut off is an empty one."""
    lines = []
    for text in (run / "log.jsonl").read_text().splitlines(keepends=True):
        line = json.loads(text) if text.endswith("\n") else {}
        lines.append({key: value for key, value in line.items() if key != "time"})
    return lines


def hidden(run: Path) -> list[str]:
    return sorted(path.name for path in run.glob(".*"))


@dataclass(frozen=True)
class Undisturbed:
    """What a run is that nobody kills.

    Attributes:
        data: the dataset.
        run: its folder; all of its checkpoints were kept.
        hashes: step -> sha256 of all that its checkpoint holds.
        published: step -> sha256 of all that the pipeline's folder held after it.
        pace: seconds in which a life begins and takes four steps.
    """

    data: Path
    run: Path
    hashes: dict[int, Hashes]
    published: dict[int, Hashes]
    pace: float

    @property
    def last(self) -> int:
        """The last step."""
        return max(self.hashes)

    def again(self, run: Path, step: int) -> Path:
        """A run that was killed amid the step after ``step``, when that had been written to the log."""
        run.mkdir()
        for newest in (step - 1, step):
            shutil.copytree(checkpoint(self.run, newest), checkpoint(run, newest))
        shutil.copy(self.run / "recipe.yaml", run)
        lines = (self.run / "log.jsonl").read_text().splitlines(keepends=True)
        (run / "log.jsonl").write_text("".join(lines[: step + 1]))
        return run

    def check(self, run: Path) -> None:
        """That a run ended as this one."""
        assert steps(run) == [self.last - 1, self.last]
        for step in steps(run):
            assert hashes(checkpoint(run, step)) == self.hashes[step]
        assert log(run) == log(self.run)
        assert hashes(run / "pipeline") == self.published[self.last]
        assert hidden(run) == []


@pytest.fixture(scope="module")
def undisturbed(toy_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Undisturbed:
    folder = tmp_path_factory.mktemp("undisturbed")
    run, kept = folder / "run", folder / "kept"
    published: dict[int, Hashes] = {}
    times = [time.monotonic()]

    def keep(step: int) -> None:
        shutil.copytree(checkpoint(run, step), checkpoint(kept, step))
        published[step] = hashes(run / "pipeline")

    def report(progress: Progress) -> None:
        times.append(time.monotonic())
        if progress.position.step > 1:
            keep(progress.position.step - 1)

    save_recipe(parse_recipe(RECIPE), folder / "recipe.yaml")
    start_run(toy_data, run, recipe=folder / "recipe.yaml", report=report)
    keep(len(times) - 1)
    for name in ("recipe.yaml", "log.jsonl"):
        shutil.copy(run / name, kept)
    digests = {step: hashes(checkpoint(kept, step)) for step in steps(kept)}
    return Undisturbed(toy_data, kept, digests, published, times[4] - times[0])


def kill_before(step: int) -> Callable[[Progress], None]:
    """Ends a run when ``step`` is taken and not saved."""

    def report(progress: Progress) -> None:
        if progress.position.step == step:
            raise KilledError

    return report


def amid_a_clip(undisturbed: Undisturbed) -> int:
    """A step of the last stage after which a clip goes on, and D_V has seen so much that all its strides look back."""
    for file in sorted(undisturbed.run.glob("*/place-0.safetensors"), reverse=True):
        if load_file(file)["frame"] >= 6:
            return int(file.parent.name.split("-")[1])
    raise AssertionError("no clip was long enough")


# Killed


class Nursery:
    """The warm process of ``nursery.py``; one child at a time."""

    def __init__(self, folder: Path) -> None:
        self.said = folder / "said.txt"
        self.said.touch()

    def __enter__(self) -> Self:
        script = Path(__file__).with_name("nursery.py")
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "cwd": ROOT}
        self.process = subprocess.Popen([sys.executable, script], **pipes)
        return self

    def __exit__(self, *_: object) -> None:
        self.process.stdin.close()
        assert self.process.wait() == 0
        self.process.stdout.close()

    def birth(self, undisturbed: Undisturbed, run: Path) -> int:
        """Begin or resume a run; returns the process id."""
        begun = (run / "recipe.yaml").exists()
        how = ["--resume"] if begun else ["--recipe", str(undisturbed.run / "recipe.yaml")]
        order = [str(self.said), "train", "--data", str(undisturbed.data), "--output", str(run), *how]
        self.process.stdin.write(json.dumps(order) + "\n")
        self.process.stdin.flush()
        return int(self.process.stdout.readline())

    def death(self) -> int:
        """Wait for it; returns the exit code or minus the signal."""
        return int(self.process.stdout.readline())


@pytest.fixture(scope="module")
def nursery(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nursery]:
    with Nursery(tmp_path_factory.mktemp("nursery")) as nursery:
        yield nursery


def alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


def wait(process: int, run: Path, pattern: str, there: bool = True) -> None:
    """Until something of that name is there, or nothing is; or the process is dead."""
    while alive(process) and any(run.glob(pattern)) != there:
        time.sleep(0.0005)


def sleep_until_an_instant(kind: str, chance: random.Random, process: int, run: Path, pace: float) -> None:
    if kind == "anywhere":
        time.sleep(chance.uniform(0, pace))
        return
    pattern = {"in a save": ".checkpoint-*", "in a publication": ".pipeline.*", "in an exchange": ".pipeline.old-*"}[
        kind
    ]
    for _ in range(chance.randrange(3)):
        wait(process, run, pattern)
        wait(process, run, pattern, there=False)
    wait(process, run, pattern)
    time.sleep({"in a save": 0.04, "in a publication": 0.01, "in an exchange": 0.0}[kind] * chance.random())


def traces(run: Path) -> Iterator[str]:
    """What a killed process left."""
    saved = steps(run)
    if any(run.glob(".checkpoint-*")):
        yield "half a checkpoint"
    if len(saved) > 2:
        yield "an old checkpoint, whole or half"
    if any(run.glob(".pipeline.*")):
        yield "half a pipeline folder"
    if any(run.glob(".pipeline.old-*")):
        yield "an old pipeline folder"
    if saved and not (run / "pipeline").exists():
        yield "no pipeline folder"
    if (run / "log.jsonl").exists() and len(log(run)) > max(saved, default=0):
        yield "a log that is ahead"
    if not saved:
        yield "no checkpoint yet"


@pytest.mark.slow
def test_killed_thirty_times_a_run_ends_with_the_same_bits(
    undisturbed: Undisturbed, nursery: Nursery, tmp_path: Path, record_testsuite_property: Callable[[str, object], None]
):
    chance = random.Random(7)
    kinds = ["anywhere"] * 14 + ["in a save"] * 10 + ["in a publication"] * 4 + ["in an exchange"] * 2
    chance.shuffle(kinds)
    killed, left, lives = Counter[str](), Counter[str](), 0
    run = tmp_path / "run-0"
    while True:
        process, lives = nursery.birth(undisturbed, run), lives + 1
        if kinds:
            sleep_until_an_instant(kinds[-1], chance, process, run, undisturbed.pace)
            if alive(process):
                os.kill(process, signal.SIGKILL)
        code = nursery.death()
        if code == 0:
            undisturbed.check(run)
            if not kinds:
                break
            run = tmp_path / f"run-{lives}"  # it was quicker than its murderer
            continue
        assert code == -signal.SIGKILL, nursery.said.read_text()
        killed[kinds.pop()] += 1
        left.update(traces(run))
        for step in steps(run)[-2:]:
            assert hashes(checkpoint(run, step)) == undisturbed.hashes[step]
        if (run / "pipeline").exists():
            assert hashes(run / "pipeline") in undisturbed.published.values()
    print(f"\nkilled {killed.total()} times in {lives} lives: {dict(killed)}\nleft: {dict(left)}")
    record_testsuite_property("killed", dict(killed))
    record_testsuite_property("left", dict(left))
    assert killed.total() == 30
    assert min(left["half a checkpoint"], left["half a pipeline folder"], left["a log that is ahead"]) > 0
    assert not re.search("passing over|Traceback|error", nursery.said.read_text())
    pipeline = Vid2VidPipeline.from_pretrained(run / "pipeline")
    average = load_file(checkpoint(run, undisturbed.last) / "average.safetensors")
    assert all(torch.equal(p, average[name]) for name, p in pipeline.generator.named_parameters())


def test_killed_while_pipelines_were_exchanged_it_is_published_again(undisturbed: Undisturbed, tmp_path: Path):
    """Not every system can exchange two folders at once; what is missing comes with the next save."""
    run = undisturbed.again(tmp_path / "run", undisturbed.last)
    for name in (".pipeline.old-1", ".pipeline.part-1"):
        (run / name).mkdir()
    start_run(undisturbed.data, run, resume=True)
    undisturbed.check(run)


# Stopped


@pytest.mark.slow
def test_sigterm_stops_the_command_line_which_can_go_on(undisturbed: Undisturbed, nursery: Nursery, tmp_path: Path):
    run, recipe = tmp_path / "run", undisturbed.run / "recipe.yaml"
    command = [sys.executable, "-m", "vid2vid_hub", "train", "--data", undisturbed.data, "--output", run]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "cwd": ROOT}
    with subprocess.Popen([*command, "--recipe", recipe], **pipes) as process:
        wait(process.pid, run, checkpoint(run, 4).name)
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate()
    introduction, said = err.splitlines()
    step = int(re.fullmatch(r"stopped at step (\d+); go on with --resume", said)[1])
    assert (process.returncode, out) == (143, "")
    assert introduction.startswith("1 process on ")
    assert 4 <= step < undisturbed.last, "the machine is faster than this test"
    assert steps(run) == [step - 1, step]
    assert hashes(checkpoint(run, step)) == undisturbed.hashes[step]
    nursery.birth(undisturbed, run)
    assert nursery.death() == 0
    undisturbed.check(run)


@pytest.fixture
def terminate() -> Iterator[Callable[[], None]]:
    """Send this process SIGTERM; where nobody waits for it, the test fails."""

    def unexpected(number: int, frame: object) -> None:
        raise AssertionError("SIGTERM would have ended the process here")

    before = signal.signal(signal.SIGTERM, unexpected)
    yield lambda: os.kill(os.getpid(), signal.SIGTERM)
    signal.signal(signal.SIGTERM, before)


UNDER_WAY = {
    "validation": (watch, "validate"),
    "loading": (feed, "read_window"),
    "a save": (trainer, "save_checkpoint"),
    "a publication": (trainer, "publish"),
}


@pytest.mark.parametrize(("room", "name"), UNDER_WAY.values(), ids=UNDER_WAY)
def test_sigterm_waits_for_what_is_under_way(
    undisturbed: Undisturbed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, terminate, room, name: str
):
    real = getattr(room, name)

    def interrupted(*arguments: Any, **named: Any) -> Any:
        terminate()
        return real(*arguments, **named)

    monkeypatch.setattr(room, name, interrupted)
    begun = 3
    run = undisturbed.again(tmp_path / "run", begun)
    with pytest.raises(StoppedError, match=r"stopped at step \d+; go on with --resume") as stop:
        start_run(undisturbed.data, run, resume=True, changes={"watch.validation": "1", "watch.frames": "4"})
    step = int(re.search(r"\d+", str(stop.value))[0])
    # A save that is already under way is followed by one more step, as SIGTERM came after the question for it.
    assert step == begun + (2 if "save" in name or "publish" in name else 1)
    assert len(log(run)) == step
    assert steps(run) == [step - 1, step]
    state = {"state.json": undisturbed.hashes[step]["state.json"]}  # it says that there was a validation
    assert hashes(checkpoint(run, step)) | state == undisturbed.hashes[step]
    assert hashes(run / "pipeline").keys() == undisturbed.published[step].keys()


def test_sigterm_in_the_last_save_lets_it_end(
    undisturbed: Undisturbed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, terminate
):
    def interrupted(*arguments: Any) -> None:
        terminate()
        publish(*arguments)

    publish = trainer.publish
    monkeypatch.setattr(trainer, "publish", interrupted)
    run = undisturbed.again(tmp_path / "run", undisturbed.last)
    assert start_run(undisturbed.data, run, resume=True) == run / "pipeline"
    undisturbed.check(run)


def test_sigterm_to_all_processes_of_a_run_spares_its_readers(undisturbed: Undisturbed, tmp_path: Path, terminate):
    """Clusters and containers send it to everyone; without its readers a run could not finish its step."""

    def report(progress: Progress) -> None:
        (reader,) = multiprocessing.active_children()
        subprocess.run(["kill", "-TERM", str(reader.pid)], check=True)  # not by its parent, who may
        time.sleep(0.3)  # in which a dead reader would be noticed, by an error
        terminate()

    run = undisturbed.again(tmp_path / "run", 3)
    with pytest.raises(StoppedError, match="stopped at step 4;"):
        start_run(undisturbed.data, run, resume=True, workers=1, report=report)
    assert hashes(checkpoint(run, 4)) == undisturbed.hashes[4]
    assert multiprocessing.active_children() == []


# Damaged


DAMAGES = {
    "a flipped bit": lambda folder: flip_a_byte(folder / "generator-optimizer.safetensors"),
    "a cut file": lambda folder: os.truncate(folder / "average.safetensors", 1000),
    "a lost file": lambda folder: (folder / "image-discriminator.safetensors").unlink(),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_checkpoint_costs_a_step_and_no_bit(undisturbed: Undisturbed, tmp_path: Path, damage):
    step = undisturbed.last - 4
    run = undisturbed.again(tmp_path / "run", step)
    damage(checkpoint(run, step))
    heard: list[int] = []
    with pytest.warns(UserWarning, match=f"passing over the damaged checkpoint .*{checkpoint(run, step).name}: "):
        start_run(undisturbed.data, run, resume=True, report=lambda progress: heard.append(progress.position.step))
    assert heard[0] == step
    undisturbed.check(run)


# Amid a clip


def test_saved_amid_a_clip_it_goes_on_with_the_same_bits(undisturbed: Undisturbed, tmp_path: Path):
    run = undisturbed.again(tmp_path / "run", amid_a_clip(undisturbed))
    start_run(undisturbed.data, run, resume=True)
    undisturbed.check(run)


@pytest.mark.parametrize("forgotten", [*PLACES, "all"])
def test_what_is_saved_amid_a_clip_decides_bits(undisturbed: Undisturbed, tmp_path: Path, forgotten: str):
    """The check before can fail: no tensor of the memory or of D_V's past may be lost."""
    step = amid_a_clip(undisturbed)
    run = undisturbed.again(tmp_path / "run", step)
    found = load_checkpoint(run)
    assert found is not None
    place = found.tensors["place-0"]
    assert set(place) == {*PLACES, "frame", "started"}
    if forgotten == "all":
        del found.tensors["place-0"]
    else:
        assert place[forgotten].any()
        place[forgotten].zero_()
    save_checkpoint(run, step, found)
    with suppress(KilledError):
        start_run(undisturbed.data, run, resume=True, report=kill_before(step + 2))
    now = hashes(checkpoint(run, step + 1))
    changed = {name for name, digest in now.items() if undisturbed.hashes[step + 1].get(name) != digest}
    near, far = "video_x1-discriminator.safetensors", "video_x3-discriminator.safetensors"
    # The true flow over longer strides is found anew.
    judges = {"real": {near, far}, "made": {near, far}, "past_flow": {near}}
    assert changed >= judges.get(forgotten, {"generator.safetensors"})


# A full disk, which leaves behind what a kill amid writing does, at an instant that can be chosen


@pytest.mark.parametrize(("name", "size"), {"log.jsonl": 4000, "recipe.yaml": 100}.items())
def test_beginning_a_life_costs_neither_log_nor_recipe(undisturbed: Undisturbed, tmp_path: Path, name: str, size: int):
    run = undisturbed.again(tmp_path / "run", 20)
    before = (run / name).read_bytes()
    with files_of_at_most(size), pytest.raises(CheckpointError, match=r"cannot be written: .*File too large"):
        start_run(undisturbed.data, run, resume=True)
    assert (run / name).read_bytes() == before

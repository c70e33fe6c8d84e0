"""Two processes train as one does: the same curve and weights, the same bits after a stop, the same end of both.

Real processes that talk over gloo, in double precision where they are compared with one. An untrained generator that
starts from nothing normalises constant maps again and again, which makes rounding errors a thousand times larger a
layer; Adam, which divides by the size of a gradient, passes them on to the next step. In float32 the curves of one
and of two processes agree to 2e-6 at the first step and part after three; in double precision they agree to 1e-7 over
four steps and, by data and seed, to 1e-8 or 1e-3 at the end: a mistake in what processes tell each other shows at once.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.optim.optimizer import register_optimizer_step_pre_hook

from vid2vid_hub import Vid2VidPipeline, cli
from vid2vid_hub.data.clips import Window, read_clips
from vid2vid_hub.data.encode import VideoWriter
from vid2vid_hub.data.maps import write_maps
from vid2vid_hub.data.prepare import Material, prepare
from vid2vid_hub.data.toy import BOX, DISC, ToyShapes, ToyWorld
from vid2vid_hub.errors import CheckpointError
from vid2vid_hub.nn.frozen import flow_teacher
from vid2vid_hub.training.feed import epoch_batches, share
from vid2vid_hub.training.parse import parse_recipe, save_recipe
from vid2vid_hub.training.peak import peak_bytes
from vid2vid_hub.training.recipe import Recipe
from vid2vid_hub.training.run import start_run
from vid2vid_hub.training.schedule import schedule
from vid2vid_hub.training.trainer import Progress, Trainer

LENGTHS = {"a": 11, "b": 3, "c": 6}
"""Windows of five frames, three of them, and one of three: neither number is a whole batch of two."""

STAGES = [
    {"epochs": 1, "width": 24, "height": 16, "scales": 1, "frames": 5, "unroll": 4},
    {"epochs": 1, "width": 36, "height": 24, "scales": 2, "frozen": 1, "frames": 5, "unroll": 2, "batch": 2},
    {"epochs": 1, "width": 36, "height": 24, "frames": 5, "unroll": 2},
]
RECIPE = {
    "task": "toy",
    "stages": STAGES,
    "first_frames": {"real": 0.5, "zeros": 0.5},
    "generator": {"base_channels": 8, "downsamples": 1, "blocks": 2, "scales": 2, "local_blocks": 1},
    "discriminator": {"base_channels": 8, "layers": 2},
    "video_discriminator": {"strides": 2, "frames": 2, "base_channels": 8, "layers": 2, "scales": 1},
    "region_discriminator": {"size": 16, "base_channels": 8, "layers": 2},
    "loss": {"generated_warp": 10.0, "mask": 1.0},
    "optimizer": {"rate": 1e-4, "decay": 1},
    "ema": 0.9,
    "checkpoint_minutes": 60.0,
}
ALONE = ("stages.0.batch=2", "stages.1.batch=4", "stages.2.batch=2")
"""Changes of the recipe with which one process takes the batches of two."""

ADDED = ("optimizer.accumulate=2", "optimizer.clip=100.0", "seed=2")
"""Changes with which some steps end in a chunk that is too young to ask D_V, which was asked in the chunk before."""

PLAIN, SUMMED, STOPPED = "plain", "summed", "stopped"
STOP = 6
"""A step in the middle of a batch of clips."""

TIMEOUT = 240


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Drawn clips with cached flow; some frames, and not as many in every clip, have no disc to look at closely."""
    folder = tmp_path_factory.mktemp("drawn")
    materials = []
    for seed, (name, length) in enumerate(LENGTHS.items()):
        video = ToyWorld(seed, 32, 48).draw(length)
        labels = video.labels.clone()
        labels[seed + 1 :: 3][labels[seed + 1 :: 3] == DISC] = BOX
        write_maps(folder / f"{name}.mkv", labels, 25)
        with VideoWriter(folder / f"{name}.mp4", 25) as writer:
            for frame in video.frames:
                writer.write(frame.permute(1, 2, 0).contiguous().numpy())
        materials.append(Material(folder / f"{name}.mp4", folder / f"{name}.mkv"))
    return prepare(materials, tmp_path_factory.mktemp("data") / "toy", ToyShapes(), teacher=flow_teacher()).folder


def start(*command: object, **environment: object) -> subprocess.Popen[str]:
    """Python with some arguments, in an environment of its own."""
    settings = {"OMP_NUM_THREADS": 1, "ACCELERATE_USE_CPU": "true", "HF_HUB_OFFLINE": 1} | environment
    return subprocess.Popen(
        [sys.executable, *map(str, command)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {name: str(value) for name, value in settings.items()},
    )


def end(process: subprocess.Popen[str]) -> tuple[int, str]:
    """Wait for the end; the exit code, and all that was said. When one hangs, all that were started are ended."""
    try:
        out, err = process.communicate(timeout=TIMEOUT)
    except subprocess.TimeoutExpired:
        for one in psutil.Process().children(recursive=True):
            one.kill()
        pytest.fail(f"hangs: {' '.join(process.communicate())}")
    return process.returncode, out + err


def free_port() -> int:
    """Below those that the system gives away, so that it is still free when the processes have started."""
    for port in random.SystemRandom().sample(range(20_000, 32_000), 100):
        with socket.socket() as one, suppress(OSError):
            one.bind(("127.0.0.1", port))
            return port
    pytest.fail("there is no free port")


def torchrun() -> tuple[object, ...]:
    return "-m", "torch.distributed.run", "--nproc_per_node", 2, "--master_port", free_port()


def training(data: Path, recipe: Path, run: Path, *changes: str) -> list[str]:
    """A command line."""
    settings = [word for change in changes for word in ("--set", change)]
    return ["train", "--data", str(data), "--recipe", str(recipe), "--output", str(run), *settings]


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("recipe") / "recipe.yaml"
    save_recipe(parse_recipe(RECIPE), path)
    return path


@pytest.fixture(scope="module")
def runs(data: Path, recipe: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What two processes made, two/plain, two/summed and two/stopped, and said, two/said; and one/plain, one/summed."""
    folder = tmp_path_factory.mktemp("runs")
    for kind in ("two", "one"):
        (folder / kind).mkdir()
    # What is computed twice must not be told twice.
    again = (*ADDED, "checkpointing=true")
    asked = {PLAIN: (), SUMMED: again, STOPPED: again}
    two = [training(data, recipe, folder / "two" / name, *changes) for name, changes in asked.items()]
    asked = {PLAIN: ALONE, SUMMED: (*ALONE, *ADDED)}
    one = [training(data, recipe, folder / "one" / name, *changes) for name, changes in asked.items()]
    processes = start(*torchrun(), __file__, json.dumps(two), STOP), start(__file__, json.dumps(one))
    (_, said), (_, said_by_one) = map(end, processes)
    for kind, words in {"two": said, "one": said_by_one}.items():
        assert all((folder / kind / name / "pipeline").is_dir() for name in (PLAIN, SUMMED)), words
    (folder / "two" / "said").write_text(said)
    return folder


def log(run: Path) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    return [{name: value for name, value in line.items() if name != "time"} for line in lines]


def last(run: Path) -> Path:
    return max(run.glob("checkpoint-*"))


def weights(run: Path) -> dict[str, Tensor]:
    """Of all networks. Without biases: one before a normalisation has no gradient but rounding errors."""
    files = [path for path in last(run).glob("*.safetensors") if path.stem.endswith(("generator", "discriminator"))]
    found = {f"{path.stem}.{name}": tensor for path in files for name, tensor in load_file(path).items()}
    return {name: tensor for name, tensor in found.items() if tensor.ndim > 1}


@pytest.mark.slow
@pytest.mark.parametrize("name", [PLAIN, SUMMED])
def test_two_processes_have_the_curve_and_the_weights_of_one_with_twice_the_batch(
    runs: Path, name: str, record_property
):
    """Every term of every step, through all stages: the last batches do not divide, the clips are of two lengths."""
    of_two, of_one = log(runs / "two" / name), log(runs / "one" / name)
    assert [list(line) for line in of_two] == [list(line) for line in of_one]
    assert len(of_two) == {PLAIN: 14, SUMMED: 9}[name]
    curve = [
        max(abs(two[term] / one[term] - 1) for term in one if one[term])
        for two, one in zip(of_two, of_one, strict=True)
    ]
    two, one = weights(runs / "two" / name), weights(runs / "one" / name)
    assert set(two) == set(one)
    apart = torch.cat([(two[key] - one[key]).flatten().abs() for key in one]).double().mean()
    print(f"{name}: terms {curve[0]:.1e} at first, {max(curve[:4]):.1e} in four steps, {max(curve):.1e} in all;")
    print(f"weights {apart:.1e}")
    record_property("largest_relative_difference", max(curve))
    # Adam takes a gradient that is nothing but rounding for a direction: single weights part, and later terms.
    assert max(curve[:4]) < 1e-6
    assert max(curve) < 1e-2
    # A weight walks up to 1e-4 a step.
    assert apart < 5e-6


@pytest.mark.slow
def test_two_processes_are_announced_and_draw_one_bar(runs: Path):
    """Some launchers start one process where two were asked for, without a word."""
    said = (runs / "two" / "said").read_text()
    assert said.count("2 processes on cpu, float32; 3 clips, 20 frames") == 3, "once a training"
    assert said.count("epoch 3/3") == 2
    assert said.count(f"{runs / 'two' / PLAIN / 'pipeline'}\n") == 1


@pytest.mark.slow
def test_two_processes_that_are_stopped_amid_a_clip_end_with_the_same_bits(runs: Path, data: Path):
    """The agent was asked to end; both finished the step, and each has its place in its own clips."""
    stopped, calm = runs / "two" / STOPPED, runs / "two" / SUMMED
    assert f"stopped at step {STOP}; go on with --resume" in (runs / "two" / "said").read_text()
    assert [line["step"] for line in log(stopped)] == list(range(1, STOP + 1))
    places = [load_file(last(stopped) / f"place-{i}.safetensors") for i in range(2)]
    assert places[0].keys() == places[1].keys()
    assert not torch.equal(places[0]["made"], places[1]["made"])
    line = ["train", "--data", str(data), "--output", str(stopped), "--resume"]
    code, said = end(start(*torchrun(), __file__, json.dumps([line])))
    assert code == 0, said
    assert log(stopped) == log(calm)
    assert (last(stopped) / "manifest.json").read_text() == (last(calm) / "manifest.json").read_text()


@pytest.mark.slow
def test_another_number_of_processes_does_not_go_on(runs: Path, data: Path):
    run = runs / "two" / PLAIN
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    with pytest.raises(CheckpointError, match="was trained by 2 processes, these are 1; go on with as many"):
        start_run(data, run, resume=True)
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before


@pytest.mark.slow
def test_a_loss_that_is_no_number_on_one_process_ends_both_alike(data: Path, recipe: Path, tmp_path: Path):
    """Started by hand: nobody is there who would end the one when the other has failed."""
    asked = parse_recipe(RECIPE | {"seed": 2})
    clips = read_clips(data, "train")
    batch = epoch_batches(clips, asked, schedule(asked, 0), 0, processes=2)[0]
    broken, other = clips[batch[1].clip], clips[batch[0].clip]
    assert broken.name != other.name
    folder = shutil.copytree(data, tmp_path / "data")
    flow = folder / "train" / str(broken.flow_file_name)
    save_file({"flow": load_file(flow)["flow"] * torch.nan}, flow)
    rendezvous = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": free_port(), "WORLD_SIZE": 2, "LOCAL_WORLD_SIZE": 2}
    line = ("-m", "vid2vid_hub", *training(folder, recipe, tmp_path / "run", "seed=2"))
    processes = [start(*line, **rendezvous, RANK=i, LOCAL_RANK=i) for i in range(2)]
    ends = [end(process) for process in processes]
    assert [code for code, _ in ends] == [2, 2], ends
    sentences = [[word for word in said.splitlines() if word.startswith("error: ")] for _, said in ends]
    assert sentences[0] == sentences[1]
    (sentence,) = sentences[0]
    assert f" became nan at step 0 on {broken.name}[" in sentence
    assert "no step was taken" in sentence
    assert not [*(tmp_path / "run").glob("checkpoint-*"), *(tmp_path / "run").glob("log.jsonl")]


# In one process


def built(**changes: Any) -> Recipe:
    """The recipe with changes, on small pictures; ``stage`` changes the last stage and leaves the others out."""
    stage, small = changes.pop("stage", None), {"width": 24, "height": 16}
    stages = [one | small for one in STAGES] if stage is None else [STAGES[2] | small | stage]
    return parse_recipe(RECIPE | {"stages": stages} | changes)


@pytest.fixture
def any_precision() -> Iterator[None]:
    """Accelerate remembers the first precision of a process; let another one in, and go."""
    from accelerate.state import AcceleratorState

    AcceleratorState._reset_state(reset_partial_state=True)
    yield
    AcceleratorState._reset_state(reset_partial_state=True)


def networks(trainer: Trainer) -> dict[str, nn.Module]:
    return {"generator": trainer.players.bare} | trainer.players._judges


def gradients(trainer: Trainer, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Tensor]]:
    """What would have made the steps of a training, had any been taken."""
    found: list[dict[str, Tensor]] = []

    def note() -> None:
        named = {f"{name}.{key}": p for name, one in networks(trainer).items() for key, p in one.named_parameters()}
        found.append({key: torch.zeros_like(p) if p.grad is None else p.grad.clone() for key, p in named.items()})
        trainer.players.forget_gradients()

    monkeypatch.setattr(trainer.players, "step", note)
    trainer.fit()
    return found


def test_a_step_of_two_chunks_has_their_mean_gradient(data: Path, tmp_path: Path, monkeypatch):
    """Memory and D_V's past carry no gradient from chunk to chunk, so bit for bit; the last step has the rest."""
    clips, stage = read_clips(data, "train"), {"batch": 2}
    each = gradients(Trainer(built(stage=stage), clips, tmp_path / "each"), monkeypatch)
    trainer = Trainer(built(stage=stage, optimizer={"accumulate": 2}), clips, tmp_path / "summed")
    found = gradients(trainer, monkeypatch)
    assert len(each) % 2, "a chunk must be left over"
    expected = [{key: sum(one[key] / 2 for one in each[i : i + 2]) for key in each[0]} for i in range(0, len(each), 2)]
    assert trainer.position.step == len(found) == len(expected)
    for ours, theirs in zip(found, expected, strict=True):
        assert all(torch.equal(ours[key], theirs[key]) for key in theirs)


def test_a_finished_run_that_is_prolonged_ends_with_the_same_bits(data: Path, tmp_path: Path):
    """Nothing waits for a step at the end of an epoch."""
    clips = read_clips(data, "train")
    how = {"optimizer": {"accumulate": 2}, "first_frames": {"zeros": 1.0}}
    once, twice = (built(stage={"epochs": n, "batch": 3}, **how) for n in (1, 2))
    Trainer(twice, clips, tmp_path / "straight").fit()
    short = Trainer(once, clips, tmp_path / "prolonged")
    short.fit()
    assert short.position.chunk % 2, "a chunk must be left over"
    again = Trainer(twice, clips, tmp_path / "prolonged")
    assert again.resume()
    again.fit()
    manifests = [(last(tmp_path / name) / "manifest.json").read_text() for name in ("straight", "prolonged")]
    assert manifests[0] == manifests[1]


@pytest.mark.usefixtures("any_precision")
@pytest.mark.parametrize("precision", ["no", "bf16"])
def test_checkpointing_saves_memory_and_changes_nothing(data: Path, tmp_path: Path, precision: str):
    clips = read_clips(data, "train")[2:]
    few = {"video_discriminator": {"strides": 0}, "region_discriminator": None, "first_frames": {"zeros": 1.0}}
    few |= {"generator": {"base_channels": 8, "downsamples": 1, "blocks": 6}, "precision": precision}
    peaks, ends = [], []
    for again in (False, True):
        asked = built(stage={"epochs": 2, "frames": 6, "unroll": 6}, checkpointing=again, **few)
        trainer = Trainer(asked, clips, tmp_path / str(again))
        peaks.append(peak_bytes(trainer.fit))
        assert trainer.position.step == 2
        ends.append({key: p for one in networks(trainer).values() for key, p in one.state_dict().items()})
    assert all(torch.isfinite(tensor).all() for tensor in ends[1].values())
    assert all(torch.equal(ends[0][key], ends[1][key]) for key in ends[0])
    print(f"{precision}: {peaks[0] / 2**20:.1f} MiB without, {peaks[1] / 2**20:.1f} MiB with")
    assert peaks[1] < 0.8 * peaks[0]


def test_what_no_term_looks_at_has_a_gradient_all_the_same(data: Path, tmp_path: Path, monkeypatch):
    """Without eq. 8 nothing asks for the flow of a first frame; several processes would wait for its gradient."""
    asked = {"loss": {"flow": 0.0, "warp": 0.0}, "first_frames": {"zeros": 1.0}}
    trainer = Trainer(built(stage={"unroll": 1}, **asked), read_clips(data, "train")[1:2], tmp_path)
    lacking: list[list[str]] = []

    def note() -> None:
        heads = trainer.players.bare.networks[-1].heads.flow
        lacking.append([name for name, p in heads.named_parameters() if p.grad is None])
        trainer.players.forget_gradients()

    monkeypatch.setattr(trainer.players, "step", note)
    trainer.fit()
    assert lacking == [[]] * 3


@contextmanager
def before_steps(note: Any) -> Iterator[None]:
    handle = register_optimizer_step_pre_hook(lambda *_: note())
    yield
    handle.remove()


@pytest.mark.parametrize("clip", [1e-3, None])
def test_no_gradient_is_longer_than_the_recipe_lets_it(data: Path, tmp_path: Path, clip: float | None):
    trainer = Trainer(built(stage={}, optimizer={"clip": clip}), read_clips(data, "train"), tmp_path)
    norms: dict[str, list[float]] = {name: [] for name in networks(trainer)}

    def note() -> None:
        for name, network in networks(trainer).items():
            there = [p.grad for p in network.parameters() if p.grad is not None]
            if there:
                norms[name].append(float(nn.utils.get_total_norm(there)))

    with before_steps(note):
        trainer.fit()
    assert len(norms) == 5
    for name, found in norms.items():
        # A region's may be 0: not every chunk has one.
        assert max(found) > 1e-2 if clip is None else max(found) == pytest.approx(clip, rel=1e-3), name


def test_users_get_the_average_since_other_scales_began_to_learn(data: Path, tmp_path: Path):
    trainer = Trainer(built(), read_clips(data, "train"), tmp_path)
    average = {key: p.detach().clone() for key, p in trainer.players.bare.named_parameters()}
    steps = {0: 0, 1: 0, 2: 0}

    def follow(progress: Progress) -> None:
        # The three epochs are the three stages, and the scales that learn are others in each.
        steps[progress.position.epoch] += 1
        n = steps[progress.position.epoch]
        decay = min(0.9, (1 + n) / (10 + n))
        for key, p in trainer.players.bare.named_parameters():
            average[key] = decay * average[key] + (1 - decay) * p.detach()

    pipeline = Vid2VidPipeline.from_pretrained(trainer.fit(follow))
    assert all(steps.values())
    for key, p in pipeline.generator.named_parameters():
        torch.testing.assert_close(p, average[key], rtol=1e-5, atol=1e-7, msg=key)
    moved = dict(trainer.players.bare.named_parameters())
    assert not all(torch.allclose(average[key], moved[key], atol=1e-6) for key in average)


BATCH = st.integers(1, 9).map(lambda count: [Window(i, 0, 4) for i in range(count)])


@given(batch=BATCH, processes=st.integers(1, 6))
def test_a_batch_is_shared_out_whole(batch: list[Window], processes: int):
    """Every window once, at least one for each process, and weights that make the mean of means the mean of all."""
    shares = [share(batch, i, processes) for i in range(processes)]
    taken = [window for one in shares if one.weight for window in one.windows]
    assert sorted(taken, key=batch.index) == batch
    assert all(one.windows for one in shares)
    assert sum(one.weight for one in shares) / processes == pytest.approx(1)
    if len(batch) % processes == 0:
        assert {one.weight for one in shares} == {1}


@given(batch=BATCH, processes=st.integers(1, 6), losses=st.lists(st.floats(-9, 9), min_size=9, max_size=9))
def test_the_mean_over_processes_is_the_mean_over_the_batch(batch: list[Window], processes: int, losses: list[float]):
    def mean(windows: Any) -> float:
        return sum(losses[window.clip] for window in windows) / len(windows)

    shares = [share(batch, i, processes) for i in range(processes)]
    assert sum(one.weight * mean(one.windows) for one in shares) / processes == pytest.approx(mean(batch), abs=1e-9)


# What the processes run


def stop_at(step: int) -> Any:
    """Have the agent asked to end at a step, and wait until that has come back here."""

    def report(progress: Progress) -> None:
        if progress.position.step == step:
            ours, theirs = socket.socketpair()
            theirs.setblocking(False)
            signal.set_wakeup_fd(theirs.fileno())
            os.kill(os.getppid(), signal.SIGTERM)
            ours.settimeout(TIMEOUT)
            assert ours.recv(1) == bytes([signal.SIGTERM])

    return report


def train_in_double_precision(lines: list[list[str]], stop: int | None) -> None:
    """The command line, several times over; the last time, it is stopped."""
    torch.set_default_dtype(torch.float64)
    torch.Tensor.float = torch.Tensor.double  # type: ignore[method-assign]
    for line in lines:
        if stop is not None and line is lines[-1]:
            cli.learn._losses = lambda show: stop_at(stop)
        sys.argv[1:] = line
        try:
            cli.main()
        except SystemExit as done:
            if done.code:
                raise


if __name__ == "__main__":
    train_in_double_precision(json.loads(sys.argv[1]), int(sys.argv[2]) if sys.argv[2:] else None)

"""Bytes are counted as they are held: by hand on small graphs, as on the CPU, and as the process really grows."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from vid2vid_hub.nn.generator import Vid2VidGenerator
from vid2vid_hub.training.peak import peak_bytes
from vid2vid_hub.types import Encoded

DEVICES = ("cpu", "meta")
MIB = 2**20
SIZE = st.integers(1, 20)
on_both = pytest.mark.parametrize("device", DEVICES)


@given(rows=SIZE, inputs=SIZE, outputs=SIZE, device=st.sampled_from(DEVICES))
def test_a_linear_layer_is_counted_as_by_hand(rows: int, inputs: int, outputs: int, device: str):
    x = torch.zeros(rows, inputs, device=device)
    weight = torch.zeros(inputs, outputs, device=device, requires_grad=True)
    scalars = 2  # the sum, and the 1 that the way back begins with
    relu = 2 * rows * outputs  # on the way back: what it made, which it kept, and its gradient; one number more than
    product = rows * outputs + inputs * outputs  # what it was made from; here that gradient, and the weight's
    assert peak_bytes(lambda: (x @ weight).relu().sum().backward()) == 4 * (scalars + max(relu, product))


@on_both
def test_what_existed_before_does_not_count_nor_do_its_views(device: str):
    x = torch.zeros(10, 10, device=device)
    assert peak_bytes(lambda: (x.t()[2:].add_(1), x.view(-1), x.relu_())) == 0


@on_both
def test_views_and_results_in_place_count_once(device: str):
    assert peak_bytes(lambda: torch.zeros(100, device=device).view(10, 10).t().add_(1)[:3]) == 400


@on_both
def test_what_is_dropped_no_longer_counts(device: str):
    def run() -> Tensor:
        x = torch.zeros(100, device=device)
        for _ in range(9):
            x = x + 1
        return x

    assert peak_bytes(run) == 2 * 400


@on_both
def test_the_peak_may_come_before_the_end_and_counts_what_run_returns(device: str):
    assert peak_bytes(lambda: [torch.zeros(1000, device=device).sum() for _ in range(3)]) == 4000 + 3 * 4


@on_both
def test_gradients_of_a_tensor_that_is_used_twice_are_added_in_place(device: str):
    x = torch.zeros(1000, device=device, requires_grad=True)

    def run() -> None:
        y = x * 2
        ((y * 2).sum() + (y * 2).sum()).backward()

    # On the way back there are y, which its maker still has, the two gradients, the sum and the 1 to begin with.
    assert peak_bytes(run) == 3 * 4000 + 2 * 4


@on_both
def test_gradients_add_up_in_the_old_ones(device: str):
    x = torch.zeros(1000, device=device, requires_grad=True)
    x.grad = torch.zeros_like(x)
    assert peak_bytes(lambda: (x * 2).sum().backward()) == 4000 + 8


@on_both
def test_checkpointing_trades_what_is_kept_for_what_is_computed_again(device: str):
    x = torch.zeros(1000, device=device, requires_grad=True)

    def sines(y: Tensor) -> Tensor:
        for _ in range(10):
            y = y.sin()
        return y

    def run(again: bool) -> int:
        x.grad = None

        def forward() -> None:
            y = x
            for _ in range(10):
                y = checkpoint(sines, y, use_reentrant=False, preserve_rng_state=False) if again else sines(y)
            y.sum().backward()

        return peak_bytes(forward)

    kept, recomputed = run(again=False), run(again=True)
    assert kept >= 100 * 4000
    assert recomputed <= (10 + 10 + 4) * 4000  # the borders of ten pieces, one piece, and a few at work


@on_both
def test_what_is_computed_again_takes_what_it_took_the_first_time(device: str):
    x = torch.zeros(1000, device=device, requires_grad=True)

    def wide(y: Tensor) -> Tensor:
        return (y.repeat(10) + 1).view(10, -1).sum(0).sin()

    def run() -> None:
        y = checkpoint(wide, x, use_reentrant=False, preserve_rng_state=False)
        y.sum().backward()

    # Ten times as much, and the same with 1 added; beside them y, its sum and the 1 to begin with.
    assert peak_bytes(run) == (10 + 10 + 1) * 4000 + 2 * 4


def training_step(device: str, checkpointing: bool = False, size: tuple[int, int] = (32, 48), width: int = 8):
    """Three frames of a small generator with all branches, backward and Adam; called again, everything is warm."""
    generator = Vid2VidGenerator(6, base_channels=width, downsamples=2, blocks=4, foreground=True).to(device)
    if checkpointing:
        generator.enable_gradient_checkpointing()
    adam = torch.optim.Adam(generator.parameters(), foreach=True)
    features, where = (torch.zeros(1, 3, channels, *size, device=device) for channels in (6, 1))
    memory = generator.begin(features[:, :2], features[:, :2, :3])

    def run() -> None:
        rollout, _ = generator(Encoded(features, where), memory)
        (rollout.image.square().sum() + rollout.hallucinated.sum()).backward()
        adam.step()
        adam.zero_grad()

    return run


def test_the_meta_device_gives_the_figure_of_the_cpu():
    steps = {device: training_step(device) for device in DEVICES}
    for turn in ("first", "second"):
        counted = {device: peak_bytes(step) for device, step in steps.items()}
        assert counted["meta"] == counted["cpu"] > MIB, turn


@on_both
def test_checkpointing_lowers_the_peak_of_a_generator(device: str):
    assert peak_bytes(training_step(device, checkpointing=True)) < 0.7 * peak_bytes(training_step(device))


def sums(size: int, device: str) -> Callable[[], None]:
    """Only operations that need no space to work in, with residual sums and tensors that are used three times."""
    x = torch.zeros(size, device=device, requires_grad=True)

    def run() -> None:
        x.grad = None
        y = x * 2
        for _ in range(3):
            y = y + (y * 0.5).sin()
        (y.exp().sum() + y.sin().sum() + (y * y).sum()).backward()

    return run


def resident(field: str) -> int:
    """Bytes of this process: now ("VmRSS"), and at most so far ("VmHWM", which unlike ru_maxrss is not inherited)."""
    lines = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(lines[field].split()[0]) * 1024


def grow(kind: str) -> None:
    """Print how much a run was counted to hold, and by how much this process really grew."""
    if kind == "sums":
        make = {size: lambda device, n=n: sums(n, device) for size, n in {"small": 1000, "big": 6 * MIB}.items()}
    else:
        sizes = {"small": ((32, 48), 8), "big": ((128, 256), 16)}
        make = {size: lambda device, a=a: training_step(device, size=a[0], width=a[1]) for size, a in sizes.items()}
    make["small"]("cpu")()  # loads and sets up whatever torch needs once
    counted = peak_bytes(make["big"]("meta"))
    run, before = make["big"]("cpu"), resident("VmRSS")
    highest = resident("VmHWM")
    run()
    after = resident("VmHWM")
    assert after > highest, "the process was larger before; the run is too small to be seen"
    print(counted, after - before)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
@pytest.mark.parametrize(("kind", "least", "most"), [("sums", 0.98, 1.02), ("generator", 0.98, 1.10)])
def test_a_process_grows_by_what_was_counted(kind: str, least: float, most: float):
    """Convolutions work in some space of their own on top: 3% here."""
    # Every tensor is then a mapping of its own, which goes back to the system at once, and no arena hides the peak.
    environment = os.environ | {"MALLOC_MMAP_THRESHOLD_": "65536", "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, __file__, kind], env=environment, capture_output=True, text=True, check=True)
    counted, grown = (int(word) for word in done.stdout.split())
    print(f"{kind}: counted {counted / MIB:.1f} MiB, grown by {grown / MIB:.1f} MiB, {grown / counted:.3f} times")
    assert least < grown / counted < most


if __name__ == "__main__":
    grow(sys.argv[1])

"""Pickles of strangers: none of their code runs, none of them takes more than its share, and each is one sentence."""

from __future__ import annotations

import os
import pickle
import socket
import struct
import subprocess
import sys
import time
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from tests.convert import attacks
from vid2vid_hub.convert import child, quarantine
from vid2vid_hub.convert.quarantine import check_torch, unpickle
from vid2vid_hub.errors import ModelError


@pytest.fixture
def refused(tmp_path: Path):
    """What is said of a file."""

    def ask(path: Path, seconds: float | None = None) -> str:
        into = tmp_path / "into"
        into.mkdir()
        with pytest.raises(ModelError) as error:
            unpickle([path], into, seconds)
        said = str(error.value)
        assert said.startswith(f"{path} is not converted: ")
        assert said.isprintable(), said
        assert len(said) < 600
        assert "weights_only" not in said  # no advice to trust it
        return said.removeprefix(f"{path} is not converted: ")

    return ask


def opened(path: Path, tmp_path: Path) -> dict[str, torch.Tensor]:
    into = tmp_path / "into"
    into.mkdir()
    return load_file(unpickle([path], into)[0])


@pytest.mark.slow
@pytest.mark.parametrize("name", attacks.CODE)
def test_no_code_in_a_checkpoint_runs(name, refused, tmp_path):
    path, canary = tmp_path / "latest_net_G0.pth", tmp_path / "canary"
    attacks.CODE[name](path, canary)
    print(f"{name}: {refused(path)}")
    assert not canary.exists()


@pytest.mark.slow
@pytest.mark.parametrize("name", attacks.FEATURES_CODE)
def test_no_code_in_features_runs(name, refused, tmp_path):
    path, canary = tmp_path / "features.npy", tmp_path / "canary"
    attacks.FEATURES_CODE[name](path, canary)
    said = refused(path)
    print(f"{name}: {said}")
    assert ("which no features need" in said) == (name != "a bare pickle")
    assert not canary.exists()


def test_the_canaries_can_sing(tmp_path):
    """The attacks are real: who opens them as people do runs them."""
    for number, (name, write) in enumerate(attacks.CODE.items()):
        path, canary = tmp_path / f"{number}.pth", tmp_path / f"canary{number}"
        write(path, canary)
        if name.startswith("a bare pickle"):
            pickle.loads(path.read_bytes())
        elif name in ("inside torch's zip", "inside torch's older format", "an expression"):
            torch.load(path, weights_only=False)
        else:
            continue
        assert canary.exists(), name


def test_code_in_torch_s_zip_is_named(refused, tmp_path):
    path, canary = tmp_path / "latest_net_G0.pth", tmp_path / "canary"
    attacks.CODE["inside torch's zip"](path, canary)
    assert refused(path) == "it is a pickle that asks for posix.system, which no weights need"
    assert not canary.exists()


BAD = {
    "nothing": (lambda path: path.write_bytes(b""), "it is empty"),
    "text": (lambda path: path.write_text("<!DOCTYPE html><html>404</html>"), "it is a pickle of something else"),
    "a pointer": (
        lambda path: path.write_text("version https://git-lfs.github.com/spec/v1\n"),
        "fetch it: git lfs pull",
    ),
    "truncated": (lambda path: (attacks.marked(path, legacy=False, claim=b"M90"), _cut(path)), "cannot be read"),
    "a tensor alone": (lambda path: torch.save(torch.zeros(3), path), "it holds Tensor where a dict"),
    "an empty dict": (lambda path: torch.save({}, path), "it holds no tensors"),
    "a checkpoint of a trainer": (
        lambda path: torch.save({"state_dict": {"a": torch.zeros(1)}, "epoch": 3}, path),
        "its entry state_dict is dict; expected a tensor, and a flat dict of them",
    ),
    "deep": (lambda path: _deep(path, 200_000), "its entry a is dict"),
    "a million entries": (
        lambda path: torch.save({f"k{n}": 1 for n in range(1_000_000)}, path),
        "it holds 1000000 entries; networks have at most 20000",
    ),
    "a name with a line break": (
        lambda path: torch.save({"a\nerror: all is well\x1b[2J": torch.zeros(1)}, path),
        "it has an entry called a?error: all is well?[2J; names are letters",
    ),
    "a number for a name": (lambda path: torch.save({3: torch.zeros(1)}, path), "it has an entry called int"),
    "bytes": (lambda path: torch.save({"a": torch.zeros(4, dtype=torch.int8)}, path), "its tensor a is of torch.int8"),
    "sparse": (lambda path: torch.save({"a": torch.eye(4).to_sparse()}, path), "its tensor a is no plain array"),
    "on no device": (lambda path: torch.save({"a": torch.zeros(4, device="meta")}, path), "its tensor a is no plain"),
    "one number as a million million": (
        lambda path: torch.save({"a": torch.zeros(1).expand(10**6, 10**6)}, path),
        "its tensors claim 4000000000000 bytes and the file has",
    ),
    "a storage larger than its record": (
        lambda path: attacks.marked(path, legacy=False, claim=b"M\xff\xff"),
        "",
    ),
    "a storage smaller than its record": (lambda path: attacks.marked(path, legacy=False, claim=b"M\x00\x01"), ""),
    "a storage larger than the file": (
        lambda path: attacks.marked(path, legacy=False, claim=b"J" + struct.pack("<i", 2**31 - 1)),
        "",
    ),
    "the same in the older format": (
        lambda path: attacks.marked(path, legacy=True, claim=b"J" + struct.pack("<i", 2**31 - 1)),
        "it asks for more memory than a file of its size can need",
    ),
    "a zip bomb": (attacks.zip_bomb, "it is a compressed zip, which torch never writes"),
}


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:20_000])


def _deep(path: Path, levels: int) -> None:
    """{"a": {"a": {"a": …}}}, by hand: pickle itself would not go so deep."""
    torch.save({"a": torch.zeros(1)}, path)
    nested = b"\x80\x02" + b"}X\x01\x00\x00\x00a" * levels + b"}" + b"s" * levels + b"."
    attacks.rewrite(path, lambda name, data: nested if name.endswith("data.pkl") else data)


@pytest.mark.slow
@pytest.mark.parametrize("name", BAD)
def test_what_is_no_checkpoint_is_one_sentence(name, refused, tmp_path):
    path = tmp_path / "latest_net_G0.pth"
    write, expected = BAD[name]
    write(path)
    start = time.monotonic()
    said = refused(path)
    print(f"{name}: {said}")
    assert expected in said
    assert time.monotonic() - start < 20


def test_a_file_that_never_ends_is_stopped(refused, tmp_path):
    path = tmp_path / "latest_net_G0.pth"
    attacks.hash_bomb(path)
    start = time.monotonic()
    assert "took more than the 1 seconds" in refused(path, seconds=1)
    assert time.monotonic() - start < 30


@pytest.mark.parametrize(
    ("held", "expected"),
    [
        ([1, 2], "it holds an array of int64 (2,); expected one dict"),
        ("text", "it holds an array of <U4 (); expected one dict"),
        ({"a": np.zeros((2, 2))}, "a dict of something else than labels"),
        ({-1: np.zeros((2, 2))}, "a dict of something else than labels"),
        ({0: np.zeros((2, 2), np.int32)}, "no row or table of floating-point numbers"),
        ({0: np.zeros((2, 2, 2))}, "no row or table of floating-point numbers"),
        ({}, "it holds no features"),
    ],
)
@pytest.mark.slow
def test_what_is_no_features_file_is_one_sentence(held, expected, refused, tmp_path):
    np.save(tmp_path / "features.npy", held, allow_pickle=True)
    assert expected in refused(tmp_path / "features.npy")


def test_a_header_of_four_gigabytes_is_no_features_file(refused, tmp_path):
    path = tmp_path / "features.npy"
    path.write_bytes(b"\x93NUMPY\x02\x00" + struct.pack("<I", 2**32 - 1) + b"{" * 1000)
    assert refused(path) == "it asks for more memory than a file of its size can need"


def test_a_bare_pickle_is_no_features_file(refused, tmp_path):
    path = tmp_path / "features.npy"
    path.write_bytes(b"\x80\x02}.")
    assert refused(path) == "it is no .npy file of numpy's"


@pytest.mark.parametrize("protocol", [2, 4])
def test_features_come_out_as_numpy_wrote_them(protocol, tmp_path):
    random = np.random.default_rng(0)
    held = {0: random.random((3, 16)), 6: np.asfortranarray(random.random((5, 17), np.float32)), 2: np.zeros((0, 3))}
    path = tmp_path / "features.npy"
    attacks.header_of_objects(path)
    with path.open("ab") as file:
        pickle.dump(np.array(held, dtype=object), file, protocol)
    found = opened(path, tmp_path)
    assert found.keys() == {f"label.{label}" for label in held}
    assert all(np.array_equal(found[f"label.{label}"].numpy(), array) for label, array in held.items())


def test_features_of_python_2(tmp_path):
    """Its strings are bytes, which numpy's are; and it calls the function as numpy did then."""
    rows = np.arange(6, dtype="<f4").reshape(2, 3)
    raw = b"".join(b"\\x%02x" % byte for byte in rows.tobytes())
    array = (
        b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\ntS'b'\ntR(I1\n(%b tcnumpy\ndtype\n(S'%b'\nI0\n"
        b"I1\ntR(I3\nS'%b'\nNNNI-1\nI-1\nI0\ntbI00\n%bt"
    )
    inner = array % (b"I2\nI3\n", b"f4", b"<", b"S'" + raw + b"'\n") + b"b"
    whole = (array % (b"", b"O8", b"|", b"(lp0\n(dI4\n" + inner + b"sa") + b"b.").replace(b" t", b"t")
    header = b"{'descr': '|O8', 'fortran_order': False, 'shape': (), }"
    header += b" " * (-(len(header) + 11) % 64) + b"\n"
    path = tmp_path / "features.npy"
    path.write_bytes(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + whole)
    assert torch.equal(opened(path, tmp_path)["label.4"], torch.from_numpy(rows))


@pytest.mark.parametrize("legacy", [False, True])
def test_tensors_come_out_as_they_went_in(legacy, tmp_path):
    """In both formats, whatever their precision and layout; views share a storage."""
    base = torch.randn(4, 6)
    held = OrderedDict(
        {
            "whole": base,
            "turned": base.T,
            "view": base[1:3, ::2],
            "double": base.double(),
            "half": base.half(),
            "brain": base.bfloat16(),
            "count": torch.tensor(7),
            "none": torch.zeros(0, 3),
            "parameter": torch.nn.Parameter(base.clone()),
        }
    )
    held._metadata = {"": {"version": 1}}  # type: ignore[attr-defined]
    path = tmp_path / "latest_net_G0.pth"
    torch.save(held, path, _use_new_zipfile_serialization=not legacy)
    found = opened(path, tmp_path)
    assert found.keys() == held.keys()
    assert all(torch.equal(found[key], tensor) and found[key].dtype == tensor.dtype for key, tensor in held.items())


def test_several_files_and_which_of_them_is_bad(tmp_path):
    for name in "ab":
        torch.save({name: torch.zeros(2)}, tmp_path / f"{name}.pth")
    (tmp_path / "c.pth").write_text("no weights")
    into = tmp_path / "into"
    into.mkdir()
    with pytest.raises(ModelError, match=r"c\.pth is not converted"):
        unpickle([tmp_path / f"{name}.pth" for name in "abc"], into)


def test_the_other_process_knows_no_secret_and_no_proxy(tmp_path, monkeypatch):
    """Its environment, seen by a program that stands in for Python."""
    spy = tmp_path / "spy"
    spy.write_text(f"#!/bin/sh\nenv > '{tmp_path}/seen'\n")
    spy.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(spy))
    monkeypatch.setenv("HF_TOKEN", "hf_" + "a" * 34)
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy")
    torch.save({"a": torch.zeros(1)}, tmp_path / "a.pth")
    with pytest.raises(ModelError, match="did not start"):
        unpickle([tmp_path / "a.pth"], tmp_path)
    seen = (tmp_path / "seen").read_text()
    assert "OMP_NUM_THREADS=1" in seen
    assert "hf_" not in seen
    assert "proxy" not in seen


@pytest.mark.skipif(sys.platform != "linux", reason="the network is taken away by Linux; elsewhere by the audit hook")
def test_the_other_process_has_no_network():
    """Neither the one that Linux gives, where it can be taken away, nor Python's own calls for it."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        attempt = f"socket.create_connection(('127.0.0.1', {server.getsockname()[1]}), 2)"
        said = [
            subprocess.run(
                [sys.executable, "-c", f"import importlib.util as u, socket, sys\n{load}\n{before}\n{attempt}"],
                capture_output=True,
                text=True,
                check=False,
            )
            for load in [
                f"s = u.spec_from_file_location('child', {child.__file__!r}); c = u.module_from_spec(s); "
                "s.loader.exec_module(c)"
            ]
            for before in ("", "sys.addaudithook(c._watch)", "c.leave_the_network()")
        ]
    assert said[0].returncode == 0
    assert "RefusedError: it tried to do what reading numbers never needs (socket." in said[1].stderr
    # Containers may forbid a process to leave its network; then the hook is what there is.
    assert said[2].returncode == 0 or "unreachable" in said[2].stderr or "refused" in said[2].stderr


def test_memory_is_limited(tmp_path, monkeypatch):
    """What reading needs beside the file is granted, and no more."""
    monkeypatch.setattr(quarantine, "SPARE", 0)
    path = tmp_path / "latest_net_G0.pth"
    torch.save({"a": torch.zeros(1)}, path)
    with path.open("ab") as file:
        file.write(b"\0" * 10)
    into = tmp_path / "into"
    into.mkdir()
    with pytest.raises(ModelError):
        unpickle([path], into)


@pytest.mark.parametrize("version", ["2.9.1", "2.4.0+cu121", "1.13.0", "unheard of"])
def test_an_old_torch_opens_nothing(version):
    with pytest.raises(ModelError, match=r"it takes torch 2\.10 or newer"):
        check_torch(version)


@pytest.mark.parametrize("version", ["2.10.0", "2.13.0+cpu", "3.0.0a0"])
def test_a_newer_torch_may(version):
    assert check_torch(version) is None


def test_the_child_does_not_know_the_package():
    """It runs as a file: it could not import the package, and must not need to."""
    text = Path(child.__file__).read_text()
    assert "import vid2vid_hub" not in text
    assert "from vid2vid_hub" not in text
    assert os.path.basename(child.__file__) == "child.py"  # noqa: PTH119

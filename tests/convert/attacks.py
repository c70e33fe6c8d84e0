"""Files of strangers that mean harm, made by hand; running any of their code leaves a canary file behind."""

from __future__ import annotations

import io
import os
import pickle
import struct
import tarfile
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

Write = Callable[[Path, Path], None]
"""Writes an attack to the first path; if its code runs, the second one appears."""

MARK = 12_345  # so many numbers, which a pickle writes as the two bytes 0x3039


class Runs:
    """Calls whatever it is given when it is unpickled."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> Any:
        return self.call


def touch(canary: Path) -> Runs:
    return Runs(os.system, f"touch '{canary}'")


def _raw(protocol: int) -> Write:
    return lambda path, canary: path.write_bytes(pickle.dumps({"a": touch(canary)}, protocol)) and None


def _zipped(path: Path, canary: Path) -> None:
    torch.save(OrderedDict(a=touch(canary)), path)


def _legacy(path: Path, canary: Path) -> None:
    torch.save(OrderedDict(a=touch(canary)), path, _use_new_zipfile_serialization=False)


def _evaluated(path: Path, canary: Path) -> None:
    torch.save({"a": Runs(eval, f"open({str(canary)!r}, 'w').close()")}, path)


def _key(path: Path, canary: Path) -> None:
    path.write_bytes(pickle.dumps(_Items([(touch(canary), 1)]), 2))


class _Items(dict):
    """A dict whose pickle has items that cannot be keys before they are unpickled."""

    def __init__(self, items: Any) -> None:
        super().__init__()
        self._held = items

    def __reduce__(self) -> Any:
        return dict, (), None, None, iter(self._held)


def _subprocess(path: Path, canary: Path) -> None:
    import subprocess

    torch.save({"a": Runs(subprocess.Popen, ["touch", str(canary)])}, path)


def _behind_a_protocol_byte(path: Path, canary: Path) -> None:
    whole = pickle.dumps(touch(canary), 4)
    path.write_bytes(b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M\xe9\x03." + whole)


def _tarred(path: Path, canary: Path) -> None:
    with tarfile.open(path, "w") as file:
        for name in ("storages", "tensors", "pickle"):
            data = pickle.dumps(touch(canary), 2)
            info = tarfile.TarInfo(name)
            info.size = len(data)
            file.addfile(info, io.BytesIO(data))


def _scripted(path: Path, canary: Path) -> None:
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("archive/constants.pkl", pickle.dumps(touch(canary), 2))
        file.writestr("archive/data.pkl", pickle.dumps(touch(canary), 2))
        file.writestr("archive/code/__torch__.py", f"import os\nos.system('touch {canary}')\n")
        file.writestr("archive/version", "3\n")


def _as_safetensors(path: Path, canary: Path) -> None:
    header = b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}'
    path.write_bytes(struct.pack("<Q", len(header)) + header + pickle.dumps(touch(canary), 2))


def _with_state(path: Path, canary: Path) -> None:
    tensor = torch.nn.Parameter(torch.zeros(1))
    tensor.hook = touch(canary)  # type: ignore[attr-defined]
    torch.save({"a": tensor}, path)


CODE: dict[str, Write] = {f"a bare pickle of protocol {n}": _raw(n) for n in range(6)} | {
    "inside torch's zip": _zipped,
    "inside torch's older format": _legacy,
    "an expression": _evaluated,
    "a key": _key,
    "another process": _subprocess,
    "a file that it opens to write": lambda path, canary: torch.save({"a": Runs(open, str(canary), "w")}, path),
    "behind torch's magic number": _behind_a_protocol_byte,
    "a tar": _tarred,
    "a script": _scripted,
    "in the place of safetensors": _as_safetensors,
    "the state of a parameter": _with_state,
}


def _array(path: Path, held: Any) -> None:
    np.save(path.with_suffix(".npy"), held, allow_pickle=True)


def _bare_pickle(path: Path, canary: Path) -> None:
    path.write_bytes(pickle.dumps(touch(canary), 2))


def _behind_a_header(path: Path, canary: Path) -> None:
    header_of_objects(path)
    with path.open("ab") as file:
        pickle.dump(touch(canary), file, 2)


def header_of_objects(path: Path) -> None:
    """The beginning of a numpy file that goes on as a pickle."""
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "|O", "fortran_order": False, "shape": ()})


FEATURES_CODE: dict[str, Write] = {
    "a value": lambda path, canary: _array(path, {0: touch(canary)}),
    "an array of objects": lambda path, canary: _array(path, {0: np.array([touch(canary)], dtype=object)}),
    "a file that it opens to write": lambda path, canary: _array(path, {0: Runs(open, str(canary), "w")}),
    "numpy's own loader": lambda path, canary: _array(path, {0: Runs(np.load, str(canary))}),
    "a bare pickle": _bare_pickle,
    "behind numpy's header": _behind_a_header,
}


def hash_bomb(path: Path) -> None:
    """A key that takes longer to hash than the universe has been there: 80 times a pair of what was before."""
    doubled = b"".join(b"q%c" % n + b"h%c" % n + b"\x86" for n in range(80))
    path.write_bytes(b"\x80\x02})" + doubled + b"K\x01s.")


def marked(path: Path, *, legacy: bool, claim: bytes) -> None:
    """A tensor whose storage claims another size than it has; ``claim`` is a pickled number."""
    torch.save({"a": torch.zeros(MARK)}, path, _use_new_zipfile_serialization=not legacy)
    said = b"M" + struct.pack("<H", MARK)
    if legacy:
        whole = path.read_bytes()
        assert whole.count(said)
        path.write_bytes(whole.replace(said, claim))
        return
    rewrite(path, lambda name, data: data.replace(said, claim) if name.endswith("data.pkl") else data)


def zip_bomb(path: Path) -> None:
    """A record of zeros that grows a thousandfold."""
    torch.save({"a": torch.zeros(10_000_000)}, path)
    rewrite(path, lambda _, data: data, zipfile.ZIP_DEFLATED)


def rewrite(path: Path, change: Callable[[str, bytes], bytes], compression: int = zipfile.ZIP_STORED) -> None:
    """The same zip with other records."""
    with zipfile.ZipFile(path) as file:
        records = {info.filename: file.read(info) for info in file.infolist()}
    with zipfile.ZipFile(path, "w", compression) as file:
        for name, data in records.items():
            file.writestr(name, change(name, data))

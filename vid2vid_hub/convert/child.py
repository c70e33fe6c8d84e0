"""A program of its own that opens pickles of strangers, under limits, and writes the numbers in them as safetensors.

`quarantine.py` starts it. It knows nothing of the package, holds no secret, and whatever befalls it befalls it alone:
the parent reads what it wrote as it would read any stranger's safetensors.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import pickle
import re
import struct
import sys
import tarfile
import zipfile
from collections import Counter, OrderedDict
from pathlib import Path
from typing import Any, BinaryIO

CLONE_NEWUSER, CLONE_NEWNET = 0x10000000, 0x40000000
MOST_TENSORS = 20_000
KEY = re.compile(r"[A-Za-z0-9_.]{1,200}")
FORBIDDEN = ("socket.", "subprocess.", "os.system", "os.exec", "os.fork", "os.spawn", "os.posix_spawn", "ctypes.")
"""Audit events (Python's own) that reading numbers never causes."""

DTYPES = {"float64": "F64", "float32": "F32", "float16": "F16", "bfloat16": "BF16", "int64": "I64"}
FLOATS = {"f2": 2, "f4": 4, "f8": 8}


class RefusedError(Exception):
    """What is wrong with a file, for the parent to say."""


def main() -> None:
    """Do the orders of the one argument, JSON: files to read and to write, and how much memory and time."""
    orders = json.loads(sys.argv[1])
    leave_the_network()
    import torch  # noqa: F401  (before the limits, which are counted from here)

    limit(orders["memory"], orders["seconds"], orders["bytes"])
    sys.addaudithook(_watch)
    for number, (source, target) in enumerate(orders["files"]):
        say({"reading": number})
        try:
            (read_features if source.endswith(".npy") else read_weights)(Path(source), Path(target))
        except RefusedError as error:
            say({"refused": str(error)})
            break
        except MemoryError:
            say({"refused": "it asks for more memory than a file of its size can need"})
            break
        except Exception as error:
            say({"refused": reason(error)})
            break
    else:
        say({"done": True})
    os._exit(0)  # what a stranger built is not taken apart piece by piece


def say(word: dict[str, Any]) -> None:
    """One line for the parent."""
    sys.stdout.write(json.dumps(word) + "\n")
    sys.stdout.flush()


def reason(error: Exception) -> str:
    """What an exception means to whoever gave the file; torch's own words would advise to trust it."""
    text = " ".join(str(error).split())
    if found := re.search(r"GLOBAL ([\w.]{1,100})", text):
        return f"it is a pickle that asks for {found.group(1)}, which no weights need"
    if "TorchScript" in text:
        return "it is a program of TorchScript; expected a file of weights"
    if "allocate" in text or "mmap" in text:
        return "it asks for more memory than a file of its size can need"
    if isinstance(error, pickle.UnpicklingError):
        return "it is a pickle of something else than weights"
    detail = "" if "weights_only" in text or not text else f": {re.sub(r'[^ -~]', '?', text)[:150]}"
    return f"it cannot be read as weights ({type(error).__name__}{detail})"


def leave_the_network() -> None:
    """Live on without any network where Linux lets us; the audit hook stands in for it elsewhere."""
    with contextlib.suppress(OSError, AttributeError):
        alone = CLONE_NEWNET if os.geteuid() == 0 else CLONE_NEWNET | CLONE_NEWUSER
        ctypes.CDLL(None).unshare(alone)


def limit(memory: int, seconds: int, written: int) -> None:
    """No more memory (bytes), processor time and written bytes than these from here on, where the system has limits."""
    try:
        import resource
    except ImportError:
        return
    used = resource.getrusage(resource.RUSAGE_SELF)
    spent = int(used.ru_utime + used.ru_stime) + 1
    limits = {"RLIMIT_CPU": spent + seconds, "RLIMIT_FSIZE": written, "RLIMIT_CORE": 0}
    with contextlib.suppress(OSError):
        limits["RLIMIT_AS"] = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize() + memory
    for name, most in limits.items():
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(getattr(resource, name), (most, most))


def read_weights(source: Path, target: Path) -> None:
    """A ``.pth``: a flat dict of names and tensors, in torch's zip format or the older one."""
    import torch

    zipped = check_container(source)
    held = torch.load(str(source), map_location="cpu", weights_only=True, mmap=zipped is not None)
    if type(held) not in (dict, OrderedDict):
        raise RefusedError(f"it holds {type(held).__name__} where a dict of names and tensors was expected")
    if not held:
        raise RefusedError("it holds no tensors")
    if len(held) > MOST_TENSORS:
        raise RefusedError(f"it holds {len(held)} entries; networks have at most {MOST_TENSORS}")
    for key, tensor in held.items():
        check_tensor(key, tensor)
    total = sum(tensor.numel() * tensor.element_size() for tensor in held.values())
    size = source.stat().st_size
    if total > size:
        raise RefusedError(f"its tensors claim {total} bytes and the file has {size}")
    if zipped is not None:
        storages = {t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in held.values() if t.numel()}
        strange = Counter(storages.values()) - Counter(zipped)
        if strange:
            raise RefusedError(
                f"a tensor claims {min(strange)} bytes of storage, and no record of the file has that size"
            )
    entries = {
        key: (DTYPES[str(tensor.dtype).removeprefix("torch.")], list(tensor.shape)) for key, tensor in held.items()
    }
    with target.open("wb") as file:
        write_header(file, entries, {key: t.numel() * t.element_size() for key, t in held.items()})
        for tensor in held.values():
            if tensor.numel():
                tensor.detach().contiguous().reshape(-1).view(torch.uint8).numpy().tofile(file)


def check_container(source: Path) -> list[int] | None:
    """Sizes of the records that hold numbers, for a zip; None for the older format.

    Everything in a zip of torch's is stored as it is, so that nothing in it can grow.
    """
    with source.open("rb") as file:
        start = file.read(8)
    if not start:
        raise RefusedError("it is empty")
    if start == b"version ":
        raise RefusedError("it is a pointer to a file in git-lfs; fetch it: git lfs pull")
    if start.startswith(b"PK\x03\x04"):
        size = source.stat().st_size
        with zipfile.ZipFile(source) as held:
            records = held.infolist()
        if any(record.compress_type != zipfile.ZIP_STORED for record in records):
            raise RefusedError("it is a compressed zip, which torch never writes")
        if sum(record.file_size for record in records) > size:
            raise RefusedError("the records of its zip overlap")
        return [record.file_size for record in records if "/data/" in f"/{record.filename}"]
    if tarfile.is_tarfile(source):
        raise RefusedError("it is a tar of a torch before 0.2; load it there and save it again")
    return None


def check_tensor(key: Any, tensor: Any) -> None:
    """Only plain numbers under plain names."""
    import torch

    if not isinstance(key, str) or not KEY.fullmatch(key):
        shown = re.sub(r"[^ -~]", "?", key)[:60] if isinstance(key, str) else type(key).__name__
        raise RefusedError(f"it has an entry called {shown}; names are letters, digits, dots and underscores")
    if not isinstance(tensor, torch.Tensor):
        raise RefusedError(f"its entry {key} is {type(tensor).__name__}; expected a tensor, and a flat dict of them")
    if tensor.layout is not torch.strided or tensor.device.type != "cpu" or tensor.is_quantized:
        raise RefusedError(f"its tensor {key} is no plain array of numbers")
    if str(tensor.dtype).removeprefix("torch.") not in DTYPES:
        raise RefusedError(f"its tensor {key} is of {tensor.dtype}; expected one of {', '.join(DTYPES)}")


def write_header(file: BinaryIO, entries: dict[str, tuple[str, list[int]]], sizes: dict[str, int]) -> None:
    """The beginning of a safetensors file: the data of the entries follow in the same order."""
    header, place = {}, 0
    for key, (dtype, shape) in entries.items():
        header[key] = {"dtype": dtype, "shape": shape, "data_offsets": [place, place + sizes[key]]}
        place += sizes[key]
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    file.write(struct.pack("<Q", len(text)) + text)


def read_features(source: Path, target: Path) -> None:
    """A ``features.npy``: numpy's pickle of one dict, label -> array of recorded features."""
    from numpy.lib import format as layout

    with source.open("rb") as file:
        try:
            version = layout.read_magic(file)
            read = layout.read_array_header_1_0 if version == (1, 0) else layout.read_array_header_2_0
            shape, _, dtype = read(file)
        except ValueError:
            raise RefusedError("it is no .npy file of numpy's") from None
        if not dtype.hasobject or shape != ():
            raise RefusedError(f"it holds an array of {dtype} {shape}; expected one dict of labels and arrays")
        held = Numbers(file, encoding="latin1").load()
    if isinstance(held, Array):
        held = held.only()
    if type(held) is not dict:
        raise RefusedError(f"it holds {type(held).__name__} where a dict of labels and arrays was expected")
    arrays = {}
    for label, array in held.items():
        if type(label) is not int or not 0 <= label < 2**16 or type(array) is not Array:
            raise RefusedError("it is a dict of something else than labels (0, 1, …) and arrays")
        arrays[f"label.{label}"] = array.plain()
    if not arrays:
        raise RefusedError("it holds no features")
    entries = {key: (f"F{8 * size}", shape) for key, (shape, size, _) in arrays.items()}
    with target.open("wb") as file:
        write_header(file, entries, {key: len(raw) for key, (_, _, raw) in arrays.items()})
        for _, _, raw in arrays.values():
            file.write(raw)


class Dtype:
    """What the pickle says of an array's numbers; nothing of numpy's is ever called."""

    __slots__ = ("code", "order")

    def __init__(self, code: Any, *_: Any) -> None:
        self.code, self.order = code, "<"

    def __setstate__(self, state: Any) -> None:
        self.order = state[1]


class Array:
    """What the pickle says of an array."""

    __slots__ = ("state",)
    state: Any

    def __setstate__(self, state: Any) -> None:
        self.state = state

    def only(self) -> Any:
        """The one object in an array of objects without axes."""
        _, shape, dtype, _, held = self._parts()
        if shape != () or dtype.code not in ("O", "O8") or type(held) is not list or len(held) != 1:
            raise RefusedError("it holds an array where a dict of labels and arrays was expected")
        return held[0]

    def plain(self) -> tuple[list[int], int, bytes]:
        """Shape, bytes a number, and the numbers, rows one after the other, in little endian."""
        _, shape, dtype, fortran, raw = self._parts()
        raw = raw.encode("latin1") if isinstance(raw, str) else raw
        size = FLOATS.get(str(dtype.code))
        whole = type(shape) is tuple and all(type(n) is int and n >= 0 for n in shape) and 1 <= len(shape) <= 2
        if size is None or not whole or type(raw) is not bytes or dtype.order not in ("<", ">", "="):
            raise RefusedError("one of its arrays is no row or table of floating-point numbers")
        count = shape[0] * (shape[1] if len(shape) == 2 else 1)
        if len(raw) != count * size:
            raise RefusedError(f"an array of shape {shape} has {len(raw)} bytes; expected {count * size}")
        import numpy as np

        found = np.frombuffer(raw, f"{'<' if dtype.order == '=' else dtype.order}{dtype.code}")
        rows = found.reshape(shape, order="F" if fortran else "C")
        return list(shape), size, np.ascontiguousarray(rows).astype(f"<{dtype.code}").tobytes()

    def _parts(self) -> Any:
        state = getattr(self, "state", None)
        if type(state) is not tuple or len(state) != 5 or type(state[2]) is not Dtype:
            raise RefusedError("one of its arrays is damaged")
        return state


def rebuilt(*_: Any) -> Array:
    """In the place of numpy's function that makes an array before its state is set."""
    return Array()


def encoded(text: Any, coding: Any = "latin1") -> bytes:
    """In the place of ``_codecs.encode``, by which old pickles say bytes."""
    if type(text) is not str or coding not in ("latin1", "latin-1"):
        raise RefusedError("it encodes text in a way that arrays do not need")
    return text.encode("latin1")


def empty() -> bytes:
    """In the place of ``bytes``, by which old pickles say that there are none."""
    return b""


ALLOWED: dict[str, Any] = {
    "numpy.core.multiarray._reconstruct": rebuilt,
    "numpy._core.multiarray._reconstruct": rebuilt,
    "numpy.ndarray": Array,
    "numpy.dtype": Dtype,
    "_codecs.encode": encoded,
    "__builtin__.bytes": empty,
}


class Numbers(pickle.Unpickler):
    """Knows the few words by which numpy pickles an array, and each by a stand-in."""

    def find_class(self, module: str, name: str) -> Any:
        """The stand-in, or nothing at all."""
        found = ALLOWED.get(f"{module}.{name}")
        if found is None:
            asked = re.sub(r"[^\w.]", "?", f"{module}.{name}")[:100]
            raise RefusedError(f"it is a pickle that asks for {asked}, which no features need")
        return found


def _watch(event: str, _: Any) -> None:
    if event.startswith(FORBIDDEN):
        raise RefusedError(f"it tried to do what reading numbers never needs ({event})")


if __name__ == "__main__":
    main()

"""The most bytes that live tensors hold at once, counted on a device where nothing is allocated, or on any other."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


def peak_bytes(run: Callable[[], object]) -> int:
    """The most bytes that tensors made by ``run`` hold at once: forward, backward, recomputation, optimizer steps.

    The count is of storages, so views and results written in place count once. One counts from the operation that
    returns it until nothing refers to it, autograd included. Shapes decide all of that, so the meta device gives the
    same figure as any other, in less than a second and without the memory.

    Not counted: what existed before (weights, inputs; also where ``run`` frees it), values that come from Python or
    NumPy (``torch.tensor``), and what an operation allocates and frees within itself (workspaces of convolutions).

    Args:
        run: called once. What it returns is dropped when the count is over.
    """
    counter = _LiveBytes()
    with counter:
        run()
    return counter.peak


class _LiveBytes(TorchDispatchMode):
    """Sees every operation below autograd, the backward pass as well, with the storages that it takes and returns.

    Attributes:
        live: bytes that were made under this mode and are still held.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.live = self._highest = 0
        self._sizes: dict[int, int] = {}  # by id: torch keeps a storage's Python object for as long as the storage

    @property
    def peak(self) -> int:
        """The most that ``live`` has been."""
        return max(self._highest, self.live)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self._highest = self.peak
        for storage in _storages((args, kwargs)):
            self._meet(storage, 0)  # unless it is ours it was there before, and so are its views
        results = func(*args, **(kwargs or {}))
        for storage in _storages(results):
            self._meet(storage, storage.nbytes())
        if not _sums_gradients(func):
            self._highest = self.peak
        return results

    def _meet(self, storage: torch.UntypedStorage, size: int) -> None:
        if id(storage) not in self._sizes:
            self._sizes[id(storage)] = size
            self.live += size
            weakref.finalize(storage, self._forget, id(storage)).atexit = False

    def _forget(self, key: int) -> None:
        self.live -= self._sizes.pop(key)


def _storages(values: Any) -> Iterator[torch.UntypedStorage]:
    return (leaf.untyped_storage() for leaf in tree_leaves(values) if isinstance(leaf, Tensor))


def _sums_gradients(func: Any) -> bool:
    """Whether this is autograd adding up the gradients of a tensor that was used twice.

    Without a mode it adds in place and holds two tensors; in sight of one it makes a third, and drops what it does not
    need before the next operation. Counting only then gives what is held without a mode.
    """
    in_backward = torch._C._current_graph_task_id() != -1
    return func is torch.ops.aten.add.Tensor and in_backward and not torch.is_grad_enabled()

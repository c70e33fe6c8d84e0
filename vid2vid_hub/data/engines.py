"""Where orders are carried out: in this process, in several on this machine, or on a Ray cluster; always the same."""

from __future__ import annotations

import multiprocessing
import os
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any, cast

import torch

from vid2vid_hub.data.shots import Unit
from vid2vid_hub.data.work import Job, Order, Outcome, Report, carry_out
from vid2vid_hub.data.writer import UnwritableError
from vid2vid_hub.errors import DatasetError, MissingExtraError, TaskError, Vid2VidError

TRIES = 4
"""How often an order is tried whose worker is lost: by then it is the order that kills workers."""
ENGINES = ("local", "ray")

Orders = Callable[[], Order | None]
"""The next order; None where there is none now. There may be more once something is finished."""
Finished = Iterator[tuple[Order, Outcome]]
_Answer = Outcome | Exception


def run(engine: str, workers: int, job: Job, orders: Orders, report: Report) -> Finished:
    """Carry out orders, as many at a time as there are workers; yields them as they finish, in any order.

    Args:
        engine: "local" or "ray".
        workers: processes; 0 is this one alone (so is 1), or with Ray as many as the cluster has CPUs.
        job: what the orders share.
        orders: asked for the next one when there is a worker for it.
        report: called with a unit's name and how many of its frames are done.

    Raises:
        Vid2VidError: something stops all orders; an order that has lost all workers that tried it is no such thing.
        MissingExtraError: Ray is not installed.
    """
    if engine == "ray":
        return _ray(workers, job, orders)
    if engine != "local":
        raise DatasetError(f"there is no engine '{engine}'; there are {' and '.join(ENGINES)}")
    if workers > 1:
        return _processes(workers, job, orders)
    return _here(job, orders, report)


def _here(job: Job, orders: Orders, report: Report) -> Finished:
    while (order := orders()) is not None:
        yield order, carry_out(job, order, report)


def _answer(job: Job, order: Order) -> _Answer:
    """What comes of an order, as a value that can be sent: what stops everything as an exception with a plain text."""
    try:
        return carry_out(job, order)
    except UnwritableError as error:
        return UnwritableError(str(error))
    except Vid2VidError as error:
        return TaskError(str(error))


def _received(answer: _Answer) -> Outcome:
    if isinstance(answer, Exception):
        raise answer
    return answer


# Processes of this machine


@dataclass
class _Worker:
    process: BaseProcess
    pipe: Connection
    order: Order | None = None


def _serve(pipe: Connection, job: Job, threads: int) -> None:
    """Carry out what comes through a pipe, until that closes: also when the process at its other end was killed."""
    torch.set_num_threads(threads)
    with suppress(EOFError, OSError, KeyboardInterrupt):
        while True:
            order = pipe.recv()
            try:
                answer: Any = _answer(job, order)
            except Exception as error:  # a mistake of ours or of a plugin: the text survives, whatever its type
                answer = RuntimeError(f"{type(error).__name__}: {error}")
            pipe.send(answer)


def _processes(workers: int, job: Job, orders: Orders) -> Finished:
    context = multiprocessing.get_context("spawn")
    threads = max(1, (os.cpu_count() or 1) // workers)

    def started() -> _Worker:
        ours, theirs = context.Pipe()
        process = context.Process(target=_serve, args=(theirs, job, threads), daemon=True)
        process.start()
        theirs.close()
        return _Worker(process, ours)

    queue = _Queue(job, orders)
    staff: list[_Worker] = []
    try:
        while True:
            for worker in staff:
                if worker.order is None and (order := queue.next()) is not None:
                    _hand(worker, order)
            while len(staff) < workers and (order := queue.next()) is not None:
                staff.append(started())
                _hand(staff[-1], order)
            busy = {worker.pipe: worker for worker in staff if worker.order is not None}
            if not busy:
                return
            for pipe in wait(list(busy)):
                worker = busy[cast(Connection, pipe)]
                order = cast(Order, worker.order)
                try:
                    answer = worker.pipe.recv()
                except (EOFError, OSError):
                    worker.process.join()
                    staff.remove(worker)
                    outcome = queue.lost(order, f"exit code {worker.process.exitcode}")
                    if outcome is not None:
                        yield order, outcome
                    continue
                worker.order = None
                yield order, _received(answer)
    finally:
        for worker in staff:
            worker.pipe.close()
            worker.process.terminate()
            worker.process.join()


def _hand(worker: _Worker, order: Order) -> None:
    worker.order = order
    with suppress(OSError):  # a worker that has died is noticed when it is listened to
        worker.pipe.send(order)


class _Queue:
    """Orders to hand out: those of lost workers first, each a few times at most."""

    def __init__(self, job: Job, orders: Orders) -> None:
        self._job, self._orders = job, orders
        self._again: deque[Order] = deque()
        self._tries: dict[Order, int] = {}

    def next(self) -> Order | None:
        """The next order, or None."""
        return self._again.popleft() if self._again else self._orders()

    def lost(self, order: Order, why: str) -> Outcome | None:
        """Hand an order out once more, whose worker is lost; after too many, that is what came of it."""
        self._tries[order] = self._tries.get(order, 0) + 1
        if self._tries[order] < TRIES:
            self._again.append(order)
            return None
        return Outcome(
            wrong=f"{self._job.materials[order.material].video}: {TRIES} workers were lost at {_where(order)} ({why}); "
            "where memory ran out, take fewer --workers"
        )


def _where(order: Order) -> str:
    return f"frames {order.start} to {order.stop - 1}" if isinstance(order, Unit) else "its first look"


# A Ray cluster


def _ray(workers: int, job: Job, orders: Orders) -> Finished:
    try:
        import ray
    except ModuleNotFoundError as error:
        raise MissingExtraError("ray", "ray", "preparing on a Ray cluster") from error
    if not ray.is_initialized():
        ray.init(include_dashboard=False, log_to_driver=False)
    resources: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
    limit = workers or max(1, int(resources.get("CPU", 1)))
    remote: Callable[..., Any] = ray.remote(max_retries=TRIES - 1)(_answer).remote
    shared = ray.put(job)
    queue = _Queue(job, orders)
    under_way: dict[Any, Order] = {}
    while True:
        while len(under_way) < limit and (order := queue.next()) is not None:
            under_way[remote(shared, order)] = order
        if not under_way:
            return
        (reference,), _ = ray.wait(list(under_way), num_returns=1)
        order = under_way.pop(reference)
        try:
            answer = ray.get(reference)
        except ray.exceptions.RayTaskError:
            raise
        except ray.exceptions.RayError as error:  # the worker or its machine is lost, and Ray has given up
            outcome = queue.lost(order, type(error).__name__)
            if outcome is not None:
                yield order, outcome
            continue
        yield order, _received(answer)

"""Tasks a second through a pool of worker processes.

caller  ──▶ tasks ──▶  worker, worker  ──▶ results ──▶  caller
"""

from __future__ import annotations

import concurrent.futures
import dataclasses
import multiprocessing
import os
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from . import faces
from .channel import Channel, Contestant, Corrupt, Shape
from .objects import PICKLE, pickle_rate
from .options import Options
from .results import HIGHER, Sample, Table
from .rounds import Plan, entry, limit_entry
from .trial import Site

WORKERS = 2
_BATCH = 64
_ARRAY_BYTES = 1 << 20
_WORK_SECONDS = 0.01

Map = Callable[[Callable[[Any], Any], Iterable[Any]], Iterable[Any]]


def same(value: Any) -> Any:
    """A task that is nothing but its way there and back."""
    return value


def work(value: Any) -> Any:
    """A task of ten milliseconds."""
    until = time.perf_counter() + _WORK_SECONDS
    while time.perf_counter() < until:
        pass
    return value


def _closure() -> Callable[[Any], Any]:
    """A task that no worker can import."""
    nothing = 0

    def add(value: Any) -> Any:
        return value + nothing

    return add


def _numbers() -> list[Any]:
    return list(range(_BATCH))


def _arrays() -> list[Any]:
    import numpy

    return [numpy.full(_ARRAY_BYTES // 8, number, dtype="int64") for number in range(_BATCH // 4)]


@dataclasses.dataclass(frozen=True)
class Kind:
    """What is mapped over what, and the part of a task's time that is its own work."""

    title: str
    task: Callable[[Any], Any]
    arguments: Callable[[], list[Any]]
    own_seconds: float = 0.0
    by_value: bool = False  # pickle has no name for it, and so a rival that has nothing else is no contestant


KINDS = (
    Kind("small tasks", same, _numbers),
    Kind("a closure for a task", _closure(), _numbers, by_value=True),
    Kind("arrays of 1 MiB in and out", same, _arrays),
    Kind("10 ms of work", work, _numbers, _WORK_SECONDS),
)


class Executor(Channel):
    """A concurrent.futures executor, in the leader itself."""

    def make(self) -> Any:
        """The pool."""
        context = multiprocessing.get_context("fork")
        return concurrent.futures.ProcessPoolExecutor(WORKERS, mp_context=context)

    def run(self, work: Callable[[Map], Sample]) -> Sample:
        """Do the work with the pool's map."""
        with self.make() as pool:
            return work(pool.map)


class Ours(Executor):
    """shmring.ProcessPoolExecutor."""

    def make(self) -> Any:
        return faces.face("ProcessPoolExecutor")(WORKERS)


class Leased(Executor):
    """The same, arrays left where they are in shared memory."""

    def make(self) -> Any:
        return faces.face("ProcessPoolExecutor")(WORKERS, leased=True)


class Pool(Executor):
    """multiprocessing.Pool; imap, since map would send tasks in chunks and the others do not."""

    def run(self, work: Callable[[Map], Sample]) -> Sample:
        with multiprocessing.get_context("fork").Pool(WORKERS) as pool:
            return work(pool.imap)


class Mpire(Executor):
    """mpire.WorkerPool, a task at a time. Each argument is in a tuple, because mpire takes arrays apart."""

    def run(self, work: Callable[[Map], Sample]) -> Sample:
        from mpire import WorkerPool

        with WorkerPool(WORKERS, keep_alive=True) as pool:
            return work(lambda task, arguments: pool.imap(task, [(each,) for each in arguments], chunk_size=1))


class Loky(Executor):
    """loky's executor, which is joblib's."""

    def make(self) -> Any:
        from loky import ProcessPoolExecutor

        return ProcessPoolExecutor(WORKERS)


class Joblib(Executor):
    """joblib.Parallel, a task at a time; it maps arrays of this size from files."""

    def run(self, work: Callable[[Map], Sample]) -> Sample:
        from joblib import Parallel, delayed

        with Parallel(WORKERS, batch_size=1) as parallel:
            return work(lambda task, arguments: parallel(delayed(task)(each) for each in arguments))


_BY_NAME_ONLY = (Executor, Pool, Mpire)
_LITTER = ("/dev/shm/sem.mp-*",)
CONTESTANTS = (
    Contestant("shmring.ProcessPoolExecutor", Ours, ours=True),
    Contestant("shmring.ProcessPoolExecutor, leased=True", Leased, ours=True),
    Contestant("concurrent.futures.ProcessPoolExecutor", Executor, litter=_LITTER),
    Contestant("multiprocessing.Pool", Pool, litter=_LITTER),
    Contestant("mpire", Mpire, distribution="mpire", litter=_LITTER),
    Contestant("loky", Loky, distribution="loky", litter=(*_LITTER, "/dev/shm/sem.loky-*")),
    Contestant(
        "joblib",
        Joblib,
        distribution="joblib",
        litter=(*_LITTER, "/dev/shm/sem.loky-*", "/dev/shm/joblib_memmapping_folder_*"),
    ),
)


def plans(options: Options) -> Iterator[Plan]:
    """A table for each kind of task."""
    for kind in KINDS:
        parameters = {"workers": WORKERS, "task": kind.title}
        table = Table("pool", f"{kind.title}, {WORKERS} workers", "tasks/s", HIGHER, parameters)
        table.note = "The limit is what pickle takes for one task. Processes are not pinned."

        def act(contestant: Contestant, site: Site, kind: Kind = kind) -> Sample:
            opened = contestant.open(Shape(0, 0, site.tag, site.folder))
            assert isinstance(opened, Executor)
            return opened.run(lambda mapped: _timed(mapped, kind, options.seconds))

        def floor(kind: Kind = kind) -> Sample:
            rate = pickle_rate(kind.arguments()[:8], options.seconds / 4)
            return Sample(1 / (1 / rate + kind.own_seconds / WORKERS))

        them = [each for each in CONTESTANTS if each.ours or options.rivals != "none"]
        if kind.by_value:
            them = [each for each in them if each.open not in _BY_NAME_ONLY]
        deadline = 20 + 8 * options.seconds
        entries = [entry(each, act, deadline, limit=PICKLE) for each in them]
        yield Plan(table, [limit_entry(PICKLE, floor), *entries], options.rounds)


def _timed(mapped: Map, kind: Kind, seconds: float) -> Sample:
    """Batch after batch, results checked and in order; the first batch, which starts the workers, is not counted."""
    arguments = kind.arguments()
    _check(mapped(kind.task, arguments), arguments)
    before, began, count = sum(os.times()[:4]), time.perf_counter(), 0
    while (passed := time.perf_counter() - began) < seconds or not count:
        _check(mapped(kind.task, arguments), arguments)
        count += len(arguments)
    cpu = sum(os.times()[:4]) - before
    return Sample(count / passed, {"messages": float(count), "caller_cpu_seconds_per_million": cpu / count * 1e6})


def _check(results: Iterable[Any], arguments: list[Any]) -> None:
    for number, (result, argument) in enumerate(zip(results, arguments, strict=True)):
        if not _equal(result, argument):
            raise Corrupt(f"the result of task {number} is not what it returned")


def _equal(result: Any, argument: Any) -> bool:
    """Arrays by shape and both ends: reading all of each would be what is measured."""
    if not hasattr(argument, "shape"):
        return bool(result == argument)
    return bool(result.shape == argument.shape and result[0] == argument[0] and result[-1] == argument[-1])

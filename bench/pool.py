"""Tasks a second through a pool of worker processes.

caller  ──▶ tasks ──▶  worker, worker  ──▶ results ──▶  caller
"""

from __future__ import annotations

import concurrent.futures
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
_LARGE = 1 << 20
_BATCH = 64


def increment(number: int) -> int:
    """A small task."""
    return number + 1


def block(number: int) -> bytes:
    """A task with a large result."""
    return bytes([number & 255]) * _LARGE


KINDS: tuple[tuple[str, Callable[[int], Any]], ...] = (("small tasks", increment), ("results of 1 MiB", block))


class Executor(Channel):
    """A concurrent.futures executor, in the leader itself."""

    def make(self) -> Any:
        """The pool."""
        context = multiprocessing.get_context("fork")
        return concurrent.futures.ProcessPoolExecutor(WORKERS, mp_context=context)

    def run(self, work: Callable[[Callable[[Callable[[int], Any], Iterable[int]], Iterable[Any]]], Sample]) -> Sample:
        """Do the work with the pool's map."""
        with self.make() as pool:
            return work(pool.map)


class Ours(Executor):
    """shmring.ProcessPoolExecutor."""

    def make(self) -> Any:
        return faces.face("ProcessPoolExecutor")(WORKERS)


class Pool(Executor):
    """multiprocessing.Pool; imap, since map would send tasks in chunks and the others do not."""

    def run(self, work: Callable[[Any], Sample]) -> Sample:
        with multiprocessing.get_context("fork").Pool(WORKERS) as pool:
            return work(pool.imap)


CONTESTANTS = (
    Contestant("shmring.ProcessPoolExecutor", Ours, ours=True),
    Contestant("concurrent.futures.ProcessPoolExecutor", Executor, litter=("/dev/shm/sem.mp-*",)),
    Contestant("multiprocessing.Pool", Pool, litter=("/dev/shm/sem.mp-*",)),
)


def plans(options: Options) -> Iterator[Plan]:
    """A table for each kind of task. The rivals are the standard library's two, unless none are wanted."""
    for title, task in KINDS:
        table = Table("pool", f"{title}, {WORKERS} workers", "tasks/s", HIGHER, {"workers": WORKERS, "task": title})
        table.note = "The limit is what pickle takes for one result. Processes are not pinned."

        def act(contestant: Contestant, site: Site, task: Callable[[int], Any] = task) -> Sample:
            opened = contestant.open(Shape(0, 0, site.tag, site.folder))
            assert isinstance(opened, Executor)
            return opened.run(lambda mapped: _timed(mapped, task, options.seconds))

        def floor(task: Callable[[int], Any] = task) -> Sample:
            return Sample(pickle_rate([task(number) for number in range(8)], options.seconds / 4))

        them = [each for each in CONTESTANTS if each.ours or options.rivals != "none"]
        deadline = 10 + 8 * options.seconds
        entries = [entry(each, act, deadline, limit=PICKLE) for each in them]
        yield Plan(table, [limit_entry(PICKLE, floor), *entries], options.rounds)


def _timed(
    mapped: Callable[[Callable[[int], Any], Iterable[int]], Iterable[Any]], task: Callable[[int], Any], seconds: float
) -> Sample:
    """Batch after batch, results checked and in order; the first batch, which starts the workers, is not counted."""
    _check(mapped(task, range(_BATCH)), task)
    before, began, count = sum(os.times()[:4]), time.perf_counter(), 0
    while (passed := time.perf_counter() - began) < seconds or not count:
        _check(mapped(task, range(_BATCH)), task)
        count += _BATCH
    cpu = sum(os.times()[:4]) - before
    return Sample(count / passed, {"messages": float(count), "caller_cpu_seconds_per_million": cpu / count * 1e6})


def _check(results: Iterable[Any], task: Callable[[int], Any]) -> None:
    for number, result in enumerate(results):
        if result != task(number):
            raise Corrupt(f"the result of task {number} is not what it returned")

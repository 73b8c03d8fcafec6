"""Tasks a second through a pool of workers, and what a task costs beside its work.

    caller  ──▶  tasks  ──▶  worker 1, worker 2, ...
            ◀── results ◀──

python bench/workers.py [--smoke] [--rounds 3] [--workers 2] [--json FILE]
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import importlib
import json
import pathlib
import statistics
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy

WORK_SECONDS = 0.01
ARRAY_BYTES = 1 << 20
OURS, STANDARD = "shmring", "concurrent.futures"

Map = Callable[[Callable[[Any], Any], list[Any]], Iterable[Any]]


def same(value: Any) -> Any:
    """The trivial function."""
    return value


def work(value: Any) -> Any:
    """Ten milliseconds of work."""
    give_up = time.perf_counter() + WORK_SECONDS
    while time.perf_counter() < give_up:
        pass
    return value


@contextlib.contextmanager
def shmring_pool(workers: int) -> Iterator[Map]:
    """Ours."""
    import shmring

    with shmring.ProcessPoolExecutor(workers) as pool:
        yield pool.map


@contextlib.contextmanager
def leased(workers: int) -> Iterator[Map]:
    """Ours, with arrays left in shared memory."""
    import shmring

    with shmring.ProcessPoolExecutor(workers, leased=True) as pool:
        yield pool.map


@contextlib.contextmanager
def concurrent_futures(workers: int) -> Iterator[Map]:
    """The standard library's executor."""
    import concurrent.futures

    with concurrent.futures.ProcessPoolExecutor(workers) as pool:
        yield pool.map


def multiprocessing_pool(package: str) -> Callable[[int], contextlib.AbstractContextManager[Map]]:
    """Pool.imap, one task at a time as with everybody here."""

    @contextlib.contextmanager
    def opened(workers: int) -> Iterator[Map]:
        with importlib.import_module(package).Pool(workers) as pool:
            yield pool.imap

    return opened


@contextlib.contextmanager
def mpire(workers: int) -> Iterator[Map]:
    """Mpire's pool, a task at a time."""
    from mpire import WorkerPool

    with WorkerPool(workers, keep_alive=True) as pool:
        # A tuple, since mpire takes an array apart.
        yield lambda function, items: pool.imap(function, [(item,) for item in items], chunk_size=1)


@contextlib.contextmanager
def loky(workers: int) -> Iterator[Map]:
    """The executor under joblib."""
    from loky import ProcessPoolExecutor

    with ProcessPoolExecutor(workers) as pool:
        yield pool.map


@contextlib.contextmanager
def joblib(workers: int) -> Iterator[Map]:
    """Joblib's Parallel, a task at a time; arrays of this size are memory-mapped by it."""
    from joblib import Parallel, delayed

    with Parallel(workers, batch_size=1) as parallel:
        yield lambda function, items: parallel(delayed(function)(item) for item in items)


CONTESTANTS: dict[str, Callable[[int], contextlib.AbstractContextManager[Map]]] = {
    OURS: shmring_pool,
    "shmring, leased=True": leased,
    STANDARD: concurrent_futures,
    "multiprocessing.Pool.imap": multiprocessing_pool("multiprocessing"),
    "multiprocess.Pool.imap": multiprocessing_pool("multiprocess"),
    "mpire": mpire,
    "loky": loky,
    "joblib": joblib,
}


@dataclasses.dataclass(frozen=True)
class Load:
    """What is mapped: a function over how many items."""

    title: str
    function: Callable[[Any], Any]
    items: Callable[[int], list[Any]]
    count: int
    wanted: float | None  # times concurrent.futures
    bytes: int = 0


def arrays(count: int) -> list[Any]:
    """Arrays of 1 MiB, sixteen different ones."""
    pool = [numpy.full(ARRAY_BYTES // 8, number, dtype="int64") for number in range(16)]
    return [pool[number % 16] for number in range(count)]


LOADS = (
    Load("a trivial function", same, lambda count: list(range(count)), 4000, 3.0),
    Load("a 1 MiB array in and out", same, arrays, 150, 5.0, 2 * ARRAY_BYTES),
    Load("10 ms of work", work, lambda count: list(range(count)), 100, None),
)


def seconds_of(pool: Map, load: Load, count: int) -> float:
    """One map, its results checked."""
    items = load.items(count)
    began = time.perf_counter()
    for item, result in zip(items, pool(load.function, items), strict=True):
        if load.bytes:
            if result.shape != item.shape or result[0] != item[0] or result[-1] != item[-1]:
                raise SystemExit("wrong content: an array is torn or out of order")
        elif item != result:
            raise SystemExit("wrong content: a result is wrong or out of order")
    return time.perf_counter() - began


def measure(load: Load, count: int, rounds: int, workers: int) -> dict[str, list[float] | str]:
    """Tasks a second of each contestant, rounds interleaved, each with a pool that is warm."""
    rates: dict[str, list[float] | str] = {name: [] for name in CONTESTANTS}
    for _ in range(rounds):
        for name, contestant in CONTESTANTS.items():
            found = rates[name]
            if isinstance(found, str):
                continue
            try:
                with contestant(workers) as pool:
                    seconds_of(pool, load, max(2 * workers, count // 10))
                    found.append(count / seconds_of(pool, load, count))
            except (ImportError, OSError) as error:
                rates[name] = f"{type(error).__name__}: {error}"
    return rates


def show(load: Load, rates: dict[str, list[float] | str], workers: int) -> None:
    """Print one table."""
    standard = rates[STANDARD]
    print(f"\n{load.title}\n{'':28}{'tasks/s':>10}{'GB/s':>8}{'overhead':>12}{'to the std. lib.':>18}")
    for name, found in rates.items():
        if isinstance(found, str) or not found:
            print(f"{name:28}  missing: {found}")
            continue
        rate = statistics.median(found)
        own = WORK_SECONDS / workers if load.function is work else 0
        overhead = f"{(1 / rate - own) * 1e6:.0f} µs"
        against = f"{rate / statistics.median(standard):.2f}x" if standard and not isinstance(standard, str) else "-"
        bandwidth = f"{rate * load.bytes / 1e9:.2f}" if load.bytes else "-"
        print(f"{name:28}{rate:>10,.0f}{bandwidth:>8}{overhead:>12}{against:>18}")


def main() -> None:
    """Run, print, and with --json store."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--smoke", action="store_true", help="a few tasks each, to see that all of it works")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--json", type=pathlib.Path)
    options = parser.parse_args()
    rounds = 1 if options.smoke else options.rounds
    print(f"{rounds} interleaved rounds, medians; {options.workers} workers, one task at a time (chunksize 1)")
    stored = {}
    for load in LOADS:
        rates = measure(load, max(10, load.count // 20) if options.smoke else load.count, rounds, options.workers)
        show(load, rates, options.workers)
        stored[load.title] = rates
        ours, standard = rates[OURS], rates[STANDARD]
        if load.wanted and not options.smoke and not isinstance(ours, str) and not isinstance(standard, str):
            reached = statistics.median(ours) / statistics.median(standard)
            verdict = "pass" if reached >= load.wanted else "MISS"
            print(f"{verdict}  {reached:.2f} times the standard library's (wanted >= {load.wanted:g})")
    if options.json:
        options.json.write_text(json.dumps({"workers": options.workers, "tasks_per_second": stored}, indent=1))


if __name__ == "__main__":
    main()

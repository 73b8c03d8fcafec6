"""Each system call of a pool's life is refused once: of the caller's threads, and of a worker.

Run as a program, which has one thread: refuse_pools.py SIDE EFFORT. Whatever was refused: each future ends, with the
right value, with WorkerDied or BrokenProcessPool, or in words; the pool or a new one works afterwards; no process stays
behind. Prints how many were refused.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import gc
import math
import multiprocessing
import os
import random
import sys
import time
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).parent))

from refusing_threads import NAMES, Scene, errors_of, mark_begin, mark_end

import shmring
from shmring import errors

SECONDS = 20
SHM = Path("/dev/shm")
LARGE = bytes(600_000)  # travels in memory of its own
# What no want of the system is an excuse to say.
WRONG = (errors.Corrupt, errors.PeerDied, errors.LayoutMismatch, errors.NotReady, errors.DecodeError, errors.Full,
         errors.Empty, errors.Closed, TimeoutError)  # fmt: skip
DOCUMENTED = (OSError, MemoryError, shmring.WorkerDied, RuntimeError)  # BrokenProcessPool is one of the last


class Case(NamedTuple):
    """What is done before the refusals, and what is refused; the futures that it returns are looked at."""

    prepare: Callable[[], Any]
    act: Callable[[Any], dict[Future[Any] | Any, Any]]


def made(workers: int = 1) -> shmring.ProcessPoolExecutor:
    return shmring.ProcessPoolExecutor(workers, multiprocessing.get_context("fork"), capacity="1 MiB")


def warm(workers: int = 1) -> shmring.ProcessPoolExecutor:
    pool = made(workers)
    assert pool.submit(same, 0).result(SECONDS) == 0
    return pool


def same(value: Any) -> Any:
    return value


def leave(_: Any) -> None:
    os._exit(3)


def told(pool: shmring.ProcessPoolExecutor, function: Callable[[Any], Any], value: Any, wanted: Any) -> Any:
    """Wait for it, and say what came: the value, or the error, which is not raised yet."""
    future = pool.submit(function, value)
    error = future.exception(SECONDS)
    return future.result() if error is None else error


def first(pool: shmring.ProcessPoolExecutor) -> list[tuple[Any, Any]]:
    return [(told(pool, same, 5, 5), 5)]


def large(pool: shmring.ProcessPoolExecutor) -> list[tuple[Any, Any]]:
    return [(told(pool, same, LARGE, LARGE), LARGE)]


def many(pool: shmring.ProcessPoolExecutor) -> list[tuple[Any, Any]]:
    futures = [pool.submit(same, number) for number in range(20)]
    errors_ = [future.exception(SECONDS) for future in futures]
    return [(error or futures[number].result(), number) for number, error in enumerate(errors_)]


def death(pool: shmring.ProcessPoolExecutor) -> list[tuple[Any, Any]]:
    error = told(pool, leave, 0, None)
    return [(error, shmring.WorkerDied), (told(pool, same, 6, 6), 6)]


def end(pool: shmring.ProcessPoolExecutor) -> list[tuple[Any, Any]]:
    futures = [pool.submit(same, number) for number in range(5)]
    pool.shutdown()
    return [(future.exception(0) or future.result(0), number) for number, future in enumerate(futures)]


def create(_: None) -> list[tuple[Any, Any]]:
    with made() as pool:
        return [(told(pool, same, 5, 5), 5)]


CASES = {
    "caller": {
        "the first submit": (made, first),
        "submit": (warm, first),
        "submit, large": (warm, large),
        "many": (lambda: warm(2), many),
        "a worker dies": (warm, death),
        "shutdown": (warm, end),
        "create to shutdown": (lambda: None, create),
    },
    "worker": {
        "its start": (made, first),
        "a large task": (made, large),
        "many": (lambda: made(2), many),
    },
}


def check(outcomes: list[tuple[Any, Any]]) -> None:
    for outcome, wanted in outcomes:
        if isinstance(outcome, BaseException):
            if not (isinstance(wanted, type) and isinstance(outcome, wanted)):
                check_error(outcome)
        else:
            assert outcome == wanted, f"{outcome!r:.100}, not {wanted!r:.100}"


def check_error(error: BaseException) -> None:
    broken = isinstance(error, shmring.WorkerDied) or type(error).__name__ == "BrokenProcessPool"
    assert broken or not isinstance(error, WRONG), f"a wrong verdict: {error!r}"
    assert isinstance(error, DOCUMENTED), f"undocumented: {error!r}"
    assert str(error), f"without a word: {error!r}"


def play(prepare: Callable[[], Any], act: Callable[[Any], list[tuple[Any, Any]]]) -> None:
    """One scene, in a child: prepare, act while one call is refused, look, and do it again with nothing refused."""
    before = descriptors()
    pool = prepare()
    mark_begin()
    try:
        outcomes = act(pool)
        mark_end()
        check(outcomes)
    except AssertionError:
        raise
    except Exception as error:
        mark_end()
        check_error(error)
    if pool is not None:
        with contextlib.suppress(RuntimeError):  # it has ended, or is broken
            outcomes = first(pool)
            assert outcomes[0][0] == 5 or isinstance(outcomes[0][0], RuntimeError), outcomes
        pool.shutdown()
    with made() as another:
        assert first(another) == [(5, 5)]
    pool = another = outcomes = None
    gc.collect()
    left = descriptors() - before
    assert len(left) <= 1, f"left open: {left}"  # of one the system may have refused to say which file it is
    until = time.monotonic() + SECONDS
    while left := children():
        assert time.monotonic() < until, f"left behind: processes {left}"
        time.sleep(0.01)


def descriptors() -> set[tuple[str, str]]:
    found = set()
    for entry in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):
            found.add((entry.name, str(entry.readlink())))
    return {each for each in found if not each[1].startswith("/proc/")}


def children() -> list[int]:
    """Those that have not ended; one that nobody has waited for is none."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            state, parent, *_ = entry.read_text().rpartition(")")[2].split()
            if int(parent) == os.getpid() and state != "Z":
                found.append(int(entry.parent.name))
    return found


def main(side: str, effort: float) -> int:
    chance, refused = random.Random(side), 0
    with warm() as pool:  # imports, and whatever else comes once
        assert first(pool) == [(5, 5)]
        assert large(pool)[0][0] == LARGE
    for label, (prepare, act) in CASES[side].items():
        scenario = functools.partial(play, prepare, act)
        scene = Scene(scenario, in_children=side == "worker")
        assert not scene.trouble, f"{side}, {label}, nothing refused:\n{scene.trouble}"
        each = [(at, code) for at, number in enumerate(scene.calls) for code in errors_of(number)]
        chosen = chance.sample(each, math.ceil(len(each) * min(1.0, effort)))
        for at, code in sorted(chosen):
            number = scene.calls[at]
            tried = Scene(scenario, in_children=side == "worker", at=at, code=code)
            what = f"{tried.refused or NAMES[number]} (the {at + 1}th call) refused with {errno.errorcode[tried._code]}"
            assert not tried.trouble, f"{side}, {label}: {what}:\n{tried.trouble}"
            refused += bool(tried.refused)
        print(f"{side}, {label}: {len(scene.calls)} system calls, {len(chosen)} refused", file=sys.stderr)
    print(refused)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], float(sys.argv[2])))

"""The time there and back between two event loops, 64 bytes each way, beside that of two parked threads.

    CPU 1  aput ──▶  [ ring ]  ──▶ aget  CPU 0
           aget ◀──  [ ring ]  ◀── aput

Every trip waits in the kernel twice, once a side; a parked thread is woken there, a loop by way of its process's
watching thread and a descriptor.

python -m shmring.bench.async_latency [--smoke] [--rounds 5] [--trips 5000]
"""

from __future__ import annotations

import argparse
import asyncio
import os
import platform
import statistics
import time
import traceback
from collections.abc import Callable, Coroutine
from typing import Any

import shmring

MESSAGES = [bytes([i]) * 64 for i in range(256)]


async def answer_in_a_loop(there: shmring.Ring, back: shmring.Ring, trips: int) -> None:
    for _ in range(trips):
        await back.aput(await there.aget())


async def ask_in_a_loop(there: shmring.Ring, back: shmring.Ring, trips: int) -> list[float]:
    found = []
    now = time.perf_counter_ns
    for number in range(trips):
        message = MESSAGES[number & 255]
        began = now()
        await there.aput(message)
        answer = await back.aget()
        found.append((now() - began) / 1000)
        if answer != message:
            raise SystemExit("wrong content")
    return found


def pin(cpu: int) -> None:
    """Keep this process on one CPU, if there are several."""
    if (os.cpu_count() or 1) > 1:
        os.sched_setaffinity(0, {cpu})


def answer_parked(there: shmring.Ring, back: shmring.Ring, trips: int) -> None:
    for _ in range(trips):
        back.put(there.get())


def ask_parked(there: shmring.Ring, back: shmring.Ring, trips: int) -> list[float]:
    found = []
    now = time.perf_counter_ns
    for number in range(trips):
        message = MESSAGES[number & 255]
        began = now()
        there.put(message)
        answer = back.get()
        found.append((now() - began) / 1000)
        if answer != message:
            raise SystemExit("wrong content")
    return found


Loop = Callable[[], asyncio.AbstractEventLoop]
End = Callable[[shmring.Ring, shmring.Ring, int], Any]


def in_loop(new_loop: Loop, end: Callable[[shmring.Ring, shmring.Ring, int], Coroutine[Any, Any, Any]]) -> End:
    """The same end, in an event loop of its own."""

    def run(there: shmring.Ring, back: shmring.Ring, trips: int) -> Any:
        with asyncio.Runner(loop_factory=new_loop) as runner:
            return runner.run(end(there, back, trips))

    return run


def round_trips(answer: End, ask: End, trips: int) -> list[float]:
    """Microseconds of each round trip, ascending."""
    there, back = (shmring.Ring.create(capacity="64 KiB", kind="mpmc", spin=0) for _ in range(2))
    before = os.sched_getaffinity(0)
    child = os.fork()
    if child == 0:
        code = 1
        try:
            pin(0)
            answer(there, back, trips)
            code = 0
        except BaseException:
            traceback.print_exc()
        os._exit(code)
    pin(1)
    found = ask(there, back, trips)
    os.waitpid(child, 0)
    os.sched_setaffinity(0, before)
    there.close()
    back.close()
    return sorted(found)


def loops() -> dict[str, Loop]:
    """The event loops that are installed."""
    found: dict[str, Loop] = {"asyncio": asyncio.new_event_loop}
    try:
        import uvloop
    except ImportError:
        print("uvloop is not installed, and left out\n")
    else:
        found["uvloop"] = uvloop.new_event_loop
    return found


def burst(new_loop: Loop, count: int) -> float:
    """Messages a second through `aget` when they are there already."""

    async def drain() -> float:
        async with shmring.Ring.create(capacity="64 MiB") as ring:
            rate = 0.0
            for _ in range(3):
                ring.put_many([MESSAGES[0]] * count)
                began = time.perf_counter()
                for _ in range(count):
                    await ring.aget()
                rate = max(rate, count / (time.perf_counter() - began))
            return rate

    with asyncio.Runner(loop_factory=new_loop) as runner:
        return runner.run(drain())


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--smoke", action="store_true", help="a few trips each, to see that all of it works")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--trips", type=int, default=5000)
    options = parser.parse_args()
    rounds, trips = (1, 300) if options.smoke else (options.rounds, options.trips)
    print(f"{platform.platform()}, Python {platform.python_version()}, load {os.getloadavg()[0]:.1f}")
    print(f"{rounds} interleaved rounds, medians of their percentiles, microseconds\n")
    new_loops = loops()
    rows: dict[str, list[tuple[float, ...]]] = {}

    def add(name: str, found: list[float]) -> None:
        rows.setdefault(name, []).append(tuple(found[int(len(found) * share)] for share in (0.5, 0.99, 0.999)))

    for _ in range(rounds):
        add("parked threads", round_trips(answer_parked, ask_parked, trips))
        for name, new_loop in new_loops.items():
            ask, answer = in_loop(new_loop, ask_in_a_loop), in_loop(new_loop, answer_in_a_loop)
            add(f"{name}, both ends", round_trips(answer, ask, trips))
            add(f"{name}, and a parked thread", round_trips(answer_parked, ask, trips))
    medians = {
        name: [statistics.median(column) for column in zip(*values, strict=True)] for name, values in rows.items()
    }
    parked = medians["parked threads"][0]
    print(f"{'':30}{'p50':>9}{'p99':>9}{'p99.9':>9}   p50, times the parked one (wanted: 2 at most)")
    for name, row in medians.items():
        print(f"{name:30}{row[0]:9.1f}{row[1]:9.1f}{row[2]:9.1f}   {row[0] / parked:.2f}")
    count = 2000 if options.smoke else 200_000
    print()
    for name, new_loop in new_loops.items():
        print(f"{name}: {burst(new_loop, count) / 1e6:.2f} M/s aget from a full ring")


if __name__ == "__main__":
    main()

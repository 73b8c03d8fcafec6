"""The time there and back between two processes, 64 bytes each way.

    CPU 1  ──▶  [ ring ]  ──▶  CPU 0
           ◀──  [ ring ]  ◀──

python bench/one_to_one_latency.py [--smoke] [--rounds 5] [--trips 50000]
"""

from __future__ import annotations

import argparse
import os
import pathlib
import statistics
import sys
import time
import traceback

sys.path.insert(0, str(pathlib.Path(__file__).parent))

import limits
import shmring
from measure import Target, machine, pin, print_targets, table

SPINNING, PARKED = 1.0, 0


def round_trips(kind: str, spin: float, trips: int) -> list[float]:
    """Microseconds of each round trip, ascending; the answer is checked each time."""
    there = shmring.Ring.create(capacity="64 KiB", kind=kind, spin=spin)
    back = shmring.Ring.create(capacity="64 KiB", kind=kind, spin=spin)
    before = os.sched_getaffinity(0)
    child = os.fork()
    if child == 0:
        code = 1
        try:
            pin(0)
            for _ in range(trips):
                back.put(there.get())
            code = 0
        except BaseException:
            traceback.print_exc()
        os._exit(code)
    pin(1)
    found = []
    put, get, now = there.put, back.get, time.perf_counter_ns
    messages = [bytes([i]) * 64 for i in range(256)]
    for number in range(trips):
        message = messages[number & 255]
        began = now()
        put(message)
        answer = get()
        found.append((now() - began) / 1000)
        if answer != message:
            raise SystemExit("wrong content")
    os.waitpid(child, 0)
    os.sched_setaffinity(0, before)
    there.close()
    back.close()
    return sorted(found)


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--smoke", action="store_true", help="a few trips each, to see that all of it works")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--trips", type=int, default=50000)
    options = parser.parse_args()
    rounds, trips = (1, 500) if options.smoke else (options.rounds, options.trips)
    parked_trips = max(200, trips // 10)
    print(f"{machine()}\n{rounds} interleaved rounds, medians of their percentiles, microseconds\n")
    rows: dict[str, list[tuple[float, ...]]] = {}

    def add(name: str, values: tuple[float, ...]) -> None:
        rows.setdefault(name, []).append(values)

    for _ in range(rounds):
        add("limit: cache line", limits.cache_line_round_trip(trips))
        add("limit: futex", limits.futex_round_trip(parked_trips))
        for kind in ("spsc", "mpmc"):
            for name, spin, count in (("spinning", SPINNING, trips), ("parked", PARKED, parked_trips)):
                found = round_trips(kind, spin, count)
                add(f"{kind} {name}", tuple(found[int(count * share)] for share in (0.5, 0.99, 0.999)))
    medians = {
        name: [statistics.median(column) for column in zip(*values, strict=True)] for name, values in rows.items()
    }
    lines = [
        [name, *(f"{value:.2f}" for value in values), *[""] * (3 - len(values))] for name, values in medians.items()
    ]
    table(["", "p50", "p99", "p99.9"], lines)
    if not options.smoke:
        spinning = medians["spsc spinning"][0] / medians["limit: cache line"][0]
        parked = medians["spsc parked"][0] / medians["limit: futex"][0]
        print_targets(
            [
                Target("spinning p50, times the cache-line round trip", spinning, 5, at_most=True),
                Target("parked p50, times the futex round trip", parked, 1.15, at_most=True),
            ]
        )


if __name__ == "__main__":
    main()

"""Messages a second from one process to one other.

    producer (CPU 0)  ──▶  [ ring ]  ──▶  consumer (CPU 1)

python bench/one_to_one_throughput.py [--smoke] [--rounds 5] [--sizes 8,64] [--seconds 0.5] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import pathlib
import sys
from collections.abc import Callable

sys.path.insert(0, str(pathlib.Path(__file__).parent))

import limits
import rings
from measure import (
    Channel,
    Row,
    Target,
    in_words,
    machine,
    plain_consume,
    plain_produce,
    pool_of,
    print_targets,
    run,
    table,
)
from rivals import hyperq, multiprocessing_queue

SIZES = (8, 64, 1024, 64 * 1024, 1 << 20, 8 << 20)
LARGE = 64 * 1024
CAPACITY = 1 << 20  # small messages stay in the second-level cache, everybody's alike
LARGE_CAPACITY = 64 << 20
LIMIT, FLOOR, RIVAL = "limit: C ring", "limit: C ring + new bytes", "hyperq"
GUESS = {8: 20e6, 64: 20e6, 1024: 5e6, LARGE: 60e3, 1 << 20: 4e3, 8 << 20: 500}


def capacity_for(length: int) -> int:
    """The same room for every contestant."""
    return LARGE_CAPACITY if length >= LARGE else CAPACITY


def floor(length: int) -> Channel:
    """The C ring with a new bytes object for each message, from a Python loop."""
    module = limits.copy_floor()
    module.make(capacity_for(length), length)
    return Channel(plain_produce(module.put), plain_consume(module.get))


def contestants(length: int) -> dict[str, Callable[[], Channel]]:
    """Everyone who takes part at this size."""
    room = capacity_for(length)
    them: dict[str, Callable[[], Channel]] = {
        "spsc put, get": lambda: rings.plain("spsc", room),
        "mpmc put, get": lambda: rings.plain("mpmc", room),
        "semaphore put, get": lambda: rings.plain("semaphore", room),
    }
    if length < LARGE:
        them["spsc put_many, get_many"] = lambda: rings.batched("spsc", room)
        them["mpmc put_many, get_many"] = lambda: rings.batched("mpmc", room)
    else:
        them["spsc claim, get_into"] = lambda: rings.in_place("spsc", room, length)
        them["mpmc claim, get_into"] = lambda: rings.in_place("mpmc", room, length)
        them[FLOOR] = lambda: floor(length)
    them[RIVAL] = lambda: hyperq.open(room, length)
    them["multiprocessing.Queue"] = lambda: multiprocessing_queue.open(room, length)
    return them


def measure_size(length: int, rounds: int, seconds: float) -> list[Row]:
    """Interleave all contestants, a few rounds each; the first round of each finds out how many messages to send."""
    pool = pool_of(length)
    rows = {name: Row(name) for name in [LIMIT, *contestants(length)]}
    expected = dict.fromkeys(rows, GUESS[length] / 20)
    for _ in range(rounds + 1):
        for name, row in rows.items():
            if row.failure:
                continue
            turns = max(2, int(expected[name] * seconds / len(pool)))
            try:
                if name == LIMIT:
                    count = turns * len(pool)
                    rate = count / limits.ring_seconds(length, count, capacity_for(length), len(pool))
                else:
                    rate = run(contestants(length)[name](), pool, turns)
            except (ImportError, OSError) as error:
                row.failure = f"{type(error).__name__}: {error}"
                continue
            expected[name] = rate
            row.rates.append(rate)
    for row in rows.values():
        del row.rates[:1]  # the warm-up, which also found the pace
    return list(rows.values())


def show(length: int, rows: list[Row]) -> None:
    """Print one size's table."""
    by_name = {row.name: row for row in rows}
    rival, limit = by_name[RIVAL].median, by_name[LIMIT].median
    lines = []
    for row in rows:
        if row.failure:
            lines.append([row.name, "missing: " + row.failure, "", "", "", ""])
            continue
        against = f"{row.median / rival:.2f}x" if rival else "-"
        share = f"{100 * row.median / limit:.0f} %" if limit else "-"
        bandwidth = f"{row.median * length / 1e9:.2f}"
        lines.append([row.name, in_words(row.median), row.spread, bandwidth, against, share])
    print(f"\n{length} bytes")
    table(["", "messages/s", "least-most", "GB/s", "to hyperq", "of the C ring"], lines)


def targets(results: dict[int, list[Row]]) -> list[Target]:
    """What the design promises of this bench."""
    found = []
    for length, rows in results.items():
        rate = {row.name: row.median for row in rows}
        if length == 64 and rate[RIVAL]:
            for name, wanted in (("spsc put, get", 6), ("spsc put_many, get_many", 12), ("mpmc put, get", 3)):
                found.append(Target(f"64 B, {name}, times hyperq", rate[name] / rate[RIVAL], wanted))
        if length >= LARGE:
            for kind in ("spsc", "mpmc"):
                share = rate[f"{kind} claim, get_into"] / rate[LIMIT]
                found.append(Target(f"{length} B, {kind} claim and get_into, share of the C ring", share, 0.9))
                share = rate[f"{kind} put, get"] / rate[FLOOR]
                found.append(Target(f"{length} B, {kind} put and get, share of the floor with new bytes", share, 0.9))
    return found


def main() -> None:
    """Run, print, and with --json store."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--smoke", action="store_true", help="a few messages each, to see that all of it works")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=0.5, help="about how long one contestant runs in one round")
    parser.add_argument("--sizes", type=lambda text: [int(word) for word in text.split(",")], default=list(SIZES))
    parser.add_argument("--json", type=pathlib.Path)
    options = parser.parse_args()
    rounds, seconds = (1, 0.01) if options.smoke else (options.rounds, options.seconds)
    print(f"{machine()}\n{rounds} interleaved rounds, medians; producer on CPU 0, consumer on CPU 1")
    results = {}
    for length in options.sizes:
        if length not in GUESS:
            parser.error(f"--sizes has {length}; measured are {', '.join(map(str, SIZES))}")
        results[length] = measure_size(length, rounds, seconds)
        show(length, results[length])
    if not options.smoke:
        print_targets(targets(results))
    if options.json:
        plain = {length: {row.name: row.rates or row.failure for row in rows} for length, rows in results.items()}
        options.json.write_text(json.dumps({"machine": machine(), "messages_per_second": plain}, indent=1))


if __name__ == "__main__":
    main()

"""What becomes of the rate when more processes share one ring.

    fan-in   N producers ──▶ [ ring ] ──▶ 1 consumer
    fan-out  1 producer  ──▶ [ ring ] ──▶ N consumers

python bench/growth.py [--messages 1500000] [--rounds 5]
"""

from __future__ import annotations

import argparse
import multiprocessing
import pathlib
import statistics
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).parent))

import shmring
from measure import Target, machine, print_targets, table

COUNTS = (1, 2, 4, 8, 16)
MESSAGE = bytes(range(64))


def _produce(ring: shmring.Ring, count: int) -> None:
    for _ in range(count):
        ring.put(MESSAGE)


def _consume(ring: shmring.Ring, counted: multiprocessing.SimpleQueue[int]) -> None:
    number = 0
    for message in ring:
        if message != MESSAGE:
            break
        number += 1
    counted.put(number)


def rate(kind: str, producers: int, consumers: int, messages: int) -> float:
    """Messages a second; fails when any is lost, doubled or torn."""
    context = multiprocessing.get_context("fork")
    ring = shmring.Ring.create(capacity="1 MiB", kind=kind)
    counted = context.SimpleQueue()
    takers = [context.Process(target=_consume, args=(ring, counted)) for _ in range(consumers)]
    share = messages // producers
    makers = [context.Process(target=_produce, args=(ring, share)) for _ in range(producers)]
    for process in takers:
        process.start()
    began = time.perf_counter()
    for process in makers:
        process.start()
    for process in makers:
        process.join()
    ring.shutdown()
    got = sum(counted.get() for _ in takers)
    seconds = time.perf_counter() - began
    for process in takers:
        process.join()
    ring.close()
    if got != share * producers:
        raise SystemExit(f"{got} of {share * producers} messages arrived whole")
    return got / seconds


def main() -> None:
    """Run and print. Ratios are taken within a round, because a shared machine changes its pace between rounds."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--messages", type=int, default=1_500_000)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    print(f"{machine()}\n64 bytes, {options.rounds} rounds: thousand messages a second (to 1 to 1), both medians\n")
    lines, targets = [], []
    for kind in ("mpmc", "semaphore"):
        for shape in ("fan-in", "fan-out"):
            sides = [(count, 1) if shape == "fan-in" else (1, count) for count in COUNTS]
            rounds = [[rate(kind, *each, options.messages) for each in sides] for _ in range(options.rounds)]
            rates = [statistics.median(column) for column in zip(*rounds, strict=True)]
            ratios = [statistics.median(row[i] / row[0] for row in rounds) for i in range(len(COUNTS))]
            cells = [f"{one / 1e3:.0f} ({ratio:.2f})" for one, ratio in zip(rates, ratios, strict=True)]
            lines.append([f"{kind} {shape}", *cells])
            targets.append(Target(f"{kind} {shape}, least share of the 1-to-1 rate", min(ratios), 0.5))
    table(["processes", *map(str, COUNTS)], lines)
    print_targets(targets)


if __name__ == "__main__":
    main()

"""How every bench here measures: two pinned processes, interleaved rounds, medians, checked content.

A contestant opens a channel; the child process produces, this one consumes. Time runs from the arrival of the first
message to the last. Messages go round a pool of distinct ones, so that a lost, doubled or displaced one shows: the
first message of every round of the pool is compared while timing, and every 64th round whole, byte by byte.
"""

from __future__ import annotations

import dataclasses
import os
import pathlib
import platform
import random
import statistics
import sys
import time
import traceback
from collections.abc import Callable, Sequence

POOL = 64


@dataclasses.dataclass
class Channel:
    """One way of moving messages, opened and not yet used. ``produce`` and ``consume`` run in different processes."""

    produce: Callable[[list[bytes], int], None]
    consume: Callable[[list[bytes], int], float]
    close: Callable[[], None] = lambda: None


def machine() -> str:
    """Describe the machine in one line."""
    model = "unknown CPU"
    for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    load = os.getloadavg()[0]
    return (
        f"{model}, {os.cpu_count()} CPUs, {platform.system()} {platform.release()}, "
        f"Python {platform.python_version()}, load {load:.1f}"
    )


def pool_of(length: int) -> list[bytes]:
    """Distinct messages of one length; fewer when they are long."""
    source = random.Random(length)
    count = max(4, min(POOL, (16 << 20) // max(length, 1)))
    return [source.randbytes(length) for _ in range(count)]


def pin(cpu: int) -> None:
    """Keep this process on one CPU, if there are several."""
    if (os.cpu_count() or 1) > 1:
        os.sched_setaffinity(0, {cpu})


def check(expected: Sequence[bytes], got: Sequence[bytes | bytearray | memoryview]) -> None:
    """Compare byte by byte; the process ends with an error when anything is lost, torn or out of order."""
    if len(expected) != len(got) or any(a != b for a, b in zip(expected, got, strict=True)):
        raise SystemExit("wrong content: a message was lost, torn or out of order")


def plain_produce(put: Callable[[bytes], object]) -> Callable[[list[bytes], int], None]:
    """Put every message of the pool, round after round."""

    def produce(pool: list[bytes], rounds: int) -> None:
        for _ in range(rounds):
            for message in pool:
                put(message)

    return produce


def plain_consume(get: Callable[[], bytes]) -> Callable[[list[bytes], int], float]:
    """Take as many; check every 64th round whole, and the first message of each."""

    def consume(pool: list[bytes], rounds: int) -> float:
        first = get()
        began = time.perf_counter()
        check(pool, [first, *[get() for _ in pool[1:]]])
        rest = range(len(pool) - 1)
        for number in range(1, rounds):
            if number % 64 == 0:
                check(pool, [get() for _ in pool])
                continue
            if get() != pool[0]:
                raise SystemExit("wrong content: a message was lost or is out of order")
            for _ in rest:
                get()
        return time.perf_counter() - began

    return consume


def run(channel: Channel, pool: list[bytes], rounds: int) -> float:
    """Messages a second through a channel, which is closed afterwards."""
    before = os.sched_getaffinity(0)
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            pin(0)
            channel.produce(pool, rounds)
            code = 0
        except BaseException:
            traceback.print_exc()
        os._exit(code)
    try:
        pin(1)
        seconds = channel.consume(pool, rounds)
        status = os.waitpid(child, 0)[1]
        if status:
            raise SystemExit(f"the producer failed with status {status}")
    finally:
        os.sched_setaffinity(0, before)
        channel.close()
    return (len(pool) * rounds - 1) / seconds


@dataclasses.dataclass
class Row:
    """What one contestant did in every round."""

    name: str
    rates: list[float] = dataclasses.field(default_factory=list)
    failure: str = ""

    @property
    def median(self) -> float:
        """The middle rate; 0 when there is none."""
        return statistics.median(self.rates) if self.rates else 0.0

    @property
    def spread(self) -> str:
        """Least and most, for the table."""
        return f"{in_words(min(self.rates))}-{in_words(max(self.rates))}" if self.rates else ""


def in_words(rate: float) -> str:
    """A rate with a unit: 12.3 M, 4.5 k."""
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if rate >= size:
            return f"{rate / size:.3g} {unit}"
    return f"{rate:.3g}"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print columns: the first to the left, the others to the right."""
    widths = [max(len(row[i]) for row in [head, *rows]) for i in range(len(head))]
    for row in [head, *rows]:
        cells = [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        print("  ".join(cells).rstrip())


@dataclasses.dataclass
class Target:
    """A promise, and what came of it."""

    text: str
    reached: float
    wanted: float
    at_most: bool = False

    @property
    def holds(self) -> bool:
        """Whether it was kept."""
        return self.reached <= self.wanted if self.at_most else self.reached >= self.wanted


def print_targets(targets: Sequence[Target]) -> None:
    """Print each target with pass or miss."""
    print()
    for target in targets:
        sign = "<=" if target.at_most else ">="
        verdict = "pass" if target.holds else "MISS"
        print(f"{verdict}  {target.text}: {target.reached:.2f} (wanted {sign} {target.wanted:g})")

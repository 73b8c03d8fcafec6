"""Messages a second from one process to one other.

producer (CPU 0)  ──▶  [ channel ]  ──▶  consumer (CPU 1)
"""

from __future__ import annotations

from collections.abc import Iterator

from . import limits, loops, rings, rivals
from .channel import ONE_TO_ONE, Contestant
from .options import Options
from .results import HIGHER, Sample, Table
from .rounds import Entry, Plan, entry, limit_entry
from .transfer import LARGE, Work, capacity_for, transfer
from .trial import Site

C_RING, NEW_BYTES, MEMCPY, CALL = "C ring", "C ring, new bytes", "memcpy", "call of nothing"


def plans(options: Options) -> Iterator[Plan]:
    """A table for each size."""
    for length in options.sizes:
        work = Work(ONE_TO_ONE, length, options.seconds, options.cpus)
        table = Table(
            "throughput",
            f"{in_bytes(length)}, one to one",
            "messages/s",
            HIGHER,
            {"length": length, "producers": 1, "consumers": 1, "capacity": capacity_for(length)},
        )
        yield Plan(table, [*c_limits(work), *_entries(work, options)], options.rounds)


def _entries(work: Work, options: Options) -> Iterator[Entry]:
    def move(contestant: Contestant, site: Site) -> Sample:
        return transfer(contestant, work, site)

    floor = Contestant(NEW_BYTES, limits.NewBytes, note="the least that put and get can cost in CPython")
    new_bytes = entry(floor, move, work.deadline)
    new_bytes.row.role = "limit"
    yield new_bytes
    for contestant in [*rings.CONTESTANTS, *rings.IN_PLACE, *rivals.chosen(options.rivals, rivals.all_of_them())]:
        if contestant.can(ONE_TO_ONE) and not (contestant.batched and work.length >= LARGE):
            yield entry(contestant, move, work.deadline, limit=C_RING)


def c_limits(work: Work) -> Iterator[Entry]:
    """The C ring, memcpy and the bare call, for messages of this length."""
    length, capacity, distinct = work.length, capacity_for(work.length), len(loops.pool_of(work.length))
    cpus = [work.cpu(0), work.cpu(1)]

    def ring() -> Sample:
        return Sample(limits.ring_rate(length, work.seconds, capacity, distinct, cpus))

    def copy() -> Sample:
        return Sample(limits.memcpy_rate(length, work.seconds / 2, capacity, distinct, cpus))

    yield limit_entry(C_RING, ring, note="the classic ring in C, one copy in and one out")
    yield limit_entry(MEMCPY, copy, note="one CPU copies")
    yield limit_entry(CALL, lambda: Sample(limits.call_rate()), note="a Python loop calls C")


def in_bytes(length: int) -> str:
    """64 B, 64 KiB."""
    for unit, size in (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if length >= size and length % size == 0:
            return f"{length // size} {unit}"
    return f"{length} B"

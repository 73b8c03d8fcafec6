"""What fan-in and fan-out share: one side with several processes, 64 bytes a message."""

from __future__ import annotations

from collections.abc import Iterator

from . import rings, rivals
from .channel import FAN_IN, Contestant
from .options import Options
from .results import HIGHER, Sample, Table
from .rounds import Plan, entry
from .throughput import C_RING, c_limits
from .transfer import Work, transfer
from .trial import Site

LENGTH = 64


def plans(options: Options, pattern: str) -> Iterator[Plan]:
    """A table for each number of processes."""
    rivals_here = rivals.chosen(options.rivals, rivals.all_of_them())
    for count in options.processes:
        producers, consumers = (count, 1) if pattern == FAN_IN else (1, count)
        work = Work(pattern, LENGTH, options.seconds, options.cpus, producers, consumers)
        who = f"{count} to 1" if pattern == FAN_IN else f"1 to {count}"
        table = Table(
            pattern,
            f"{LENGTH} B, {who}",
            "messages/s",
            HIGHER,
            {"length": LENGTH, "producers": producers, "consumers": consumers, "processes": count},
            note="The limit is the C ring from one process to one.",
        )

        def move(contestant: Contestant, site: Site, work: Work = work) -> Sample:
            return transfer(contestant, work, site)

        them = [each for each in [*rings.CONTESTANTS, *rivals_here] if each.can(pattern)]
        limit = next(each for each in c_limits(work) if each.row.name == C_RING)
        yield Plan(table, [limit, *(entry(each, move, work.deadline, C_RING) for each in them)], options.rounds)

"""Messages a second from one publisher to several subscribers, each of which gets every message; and a newest value.

                                       ╭──▶ subscriber
    publisher  ──▶  [ a b c d ]  ──────┼──▶ subscriber
                                       ╰──▶ subscriber

The rate is the publisher's; the slowest subscriber's counts. One that drops messages when a subscriber is slow is shown
as losing them. Queues that know no subscribers take part with one for each.
"""

from __future__ import annotations

from collections.abc import Iterator

from . import faces, latest, rings, rivals
from .channel import BROADCAST, ONE_TO_ONE, Contestant
from .one_for_each import one_for_each
from .options import Options
from .results import HIGHER, Sample, Table
from .rounds import Plan, entry
from .throughput import C_RING, c_limits
from .transfer import Work, transfer
from .trial import Site

LENGTH = 64
OUR_QUEUE = rings.CONTESTANTS[0]
WITH_ONE_FOR_EACH = {"multiprocessing.Queue", "faster-fifo", "hyperq", "zeroq"}  # the usual one, and the fastest


def plans(options: Options) -> Iterator[Plan]:
    """A table for each number of subscribers, and one for a newest value."""
    for count in options.processes:
        work = Work(BROADCAST, LENGTH, options.seconds, options.cpus, 1, count)
        parameters = {"length": LENGTH, "producers": 1, "consumers": count, "processes": count}
        table = Table("topic", f"{LENGTH} B, 1 to each of {count}", "messages/s", HIGHER, parameters)
        table.note = "The limit is the C ring from one process to one."

        def move(contestant: Contestant, site: Site, work: Work = work) -> Sample:
            return transfer(contestant, work, site)

        them = [*faces.FOR_TOPICS, one_for_each(OUR_QUEUE), *_rivals(options)]
        entries = [each for each in c_limits(work) if each.row.name == C_RING]
        entries += [entry(each, move, work.deadline, C_RING) for each in them if each.can(BROADCAST)]
        yield Plan(table, entries, options.rounds)
    yield latest.plan(options)


def _rivals(options: Options) -> Iterator[Contestant]:
    for each in rivals.chosen(options.rivals, rivals.all_of_them()):
        if each.can(BROADCAST):
            yield each
        elif each.can(ONE_TO_ONE) and each.name in WITH_ONE_FOR_EACH:
            yield one_for_each(each)

"""How long a message of 64 bytes takes: each way of asking, with the limits of the machine.

ping-pong     there and back, one message at a time: the best that can be had
open loop     one way, sent at a steady rate whatever happens: what a user of a feed sees
event loops   there and back between two of them, beside two threads that block
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

from . import event_loops, latency_open_loop, latency_ping_pong, limits, rings, rivals
from .channel import ONE_TO_ONE, Contestant
from .histogram import PERCENTILES, name_of
from .options import Options
from .results import LOWER, Sample, Table
from .rounds import Entry, Plan, entry, limit_entry
from .transfer import Work
from .trial import Site

LENGTH = 64
CACHE_LINE, FUTEX = "cache line, spinning", "futex, asleep"


def plans(options: Options) -> Iterator[Plan]:
    """A table for each way."""
    work = Work(ONE_TO_ONE, LENGTH, 2 * options.seconds, options.cpus)
    lengths = {"length": LENGTH, "producers": 1, "consumers": 1}
    round_trip = Table("latency", f"{LENGTH} B, there and back", "ns", LOWER, {**lengths, "loop": "ping-pong"})
    one_way = Table(
        "latency",
        f"{LENGTH} B, one way, {options.rate:,} a second",
        "ns",
        LOWER,
        {**lengths, "loop": "open", "rate": options.rate},
        note="From the moment when each message was due, so that a wait counts for all that it delayed. "
        "The limits are half a round trip.",
    )

    def ping(contestant: Contestant, site: Site) -> Sample:
        return latency_ping_pong.trial(contestant, work, site)

    def paced(contestant: Contestant, site: Site) -> Sample:
        return latency_open_loop.trial(contestant, paced_work, options.rate, site)

    paced_work = dataclasses.replace(work, seconds=3 * options.seconds)  # far fewer messages, and as sure a tail

    yield Plan(round_trip, [*_limits(work, 1), *_entries(options, work, ping, True)], options.rounds)
    yield Plan(one_way, [*_limits(work, 2), *_entries(options, paced_work, paced, False)], options.rounds)
    yield event_loops.plan(options, work)


def _entries(
    options: Options, work: Work, act: Callable[[Contestant, Site], Sample], answers_soon: bool
) -> Iterator[Entry]:
    """Everybody; whoever still spins when the next message comes is held against the cache line, the others sleep."""
    for each in [*rings.FOR_LATENCY, *rivals.chosen(options.rivals, rivals.all_of_them())]:
        if each.can(ONE_TO_ONE) and not each.batched:
            spins = each.spins or (each.adapts and answers_soon)
            yield entry(each, act, work.deadline, limit=CACHE_LINE if spins else FUTEX)


def _limits(work: Work, parts: int) -> Iterator[Entry]:
    cpus = [work.cpu(0), work.cpu(1)]
    for name, measure in ((CACHE_LINE, limits.cache_line_round_trips), (FUTEX, limits.futex_round_trips)):
        yield limit_entry(name, _limit(measure, work.seconds / 2, cpus, parts))


def _limit(measure: Callable[..., list[float]], seconds: float, cpus: list[Any], parts: int) -> Callable[[], Sample]:
    def once() -> Sample:
        *percentiles, most = [each / parts for each in measure(seconds, cpus)]
        named = dict(zip(map(name_of, PERCENTILES), percentiles, strict=True))
        return Sample(percentiles[0], {**named, "max": most})

    return once

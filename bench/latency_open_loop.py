"""The time from the moment a message was due to its arrival, at a steady rate.

    due:      0    1    2    3    4    5   ...        sender (CPU 0)  ──▶  [ channel ]  ──▶  receiver (CPU 1)
    arrives:   0    1          2 3 4    5

The sender does not wait for anything but the time. Where it falls behind, because a put blocked, the messages that were
due meanwhile are late from their own due time on, so one stall of a millisecond shows in all that it delayed, and not
in one (coordinated omission). Both processes read the same monotonic clock.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from . import loops
from .channel import Channel, Contestant, Corrupt, Lost, Shape
from .crew import Crew, Stage
from .histogram import encoded, name_of
from .results import Sample
from .transfer import Work, figures
from .trial import Site

_CAPACITY = 1 << 20
_HEAD_START = 20_000_000  # nanoseconds from "go" to the first message
_SETTLE = 0.3  # seconds; the same rest for everybody before the clock starts
_WARM_UP = 0.1  # of all messages


def trial(contestant: Contestant, work: Work, rate: int, site: Site) -> Sample:
    """Send at the rate for the time; in the leader."""
    channel = contestant.open(Shape(work.length, _CAPACITY, site.tag, site.folder))
    count = max(20, int(rate * work.seconds))
    step = 10**9 // rate
    try:
        with Crew(site.deadline) as crew:
            crew.add("consumer 0", _receiver(channel, count, step), channel.leave, work.cpu(1))
            crew.add("producer 0", _sender(channel, count, step), channel.leave, work.cpu(0))
            reports = crew.run(max(_SETTLE, channel.settle))
    finally:
        channel.close()
    histogram, percentiles = reports["consumer 0"].result
    return Sample(percentiles[name_of(50)], figures(reports, count), histogram)


def _sender(channel: Channel, count: int, step: int) -> Callable[[Stage], int]:
    pool = loops.pool_of(channel.shape.length)
    size, now = len(pool), time.perf_counter_ns

    def role(stage: Stage) -> int:
        put = channel.sender(0)
        stage.ready()
        due = stage.board.begin_ns + _HEAD_START
        for number in range(count):
            message = pool[number % size]
            while now() < due:
                pass
            put(message)
            due += step
        return count

    return role


def _receiver(channel: Channel, count: int, step: int) -> Callable[[Stage], tuple[str, dict[str, float]]]:
    pool = loops.pool_of(channel.shape.length)
    size, now = len(pool), time.perf_counter_ns

    def role(stage: Stage) -> tuple[str, dict[str, float]]:
        get: Callable[[], Any] = channel.receiver(0)
        cell = stage.board.cell(0)
        stage.ready()
        due = stage.board.begin_ns + _HEAD_START
        spans: list[int] = []
        for number in range(count):
            message = get()
            spans.append(now() - due)
            due += step
            if message != pool[number % size]:
                raise (Lost if message in pool else Corrupt)(
                    f"message {number} of {count} is not the one that was sent"
                )
            cell[0] = number + 1
        return encoded(spans[int(count * _WARM_UP) :])

    return role

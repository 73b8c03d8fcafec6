"""One trial of moving messages one way, whoever and however many take part.

producer 0 ─▶ ╭─────────╮ ─▶ consumer 0
producer 1 ─▶ │ channel │ ─▶ consumer 1        messages from the end of the warm-up to END, in wall-clock time
   ...        ╰─────────╯       ...
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Sequence
from typing import Any

from . import loops
from .channel import BROADCAST, FAN_IN, FAN_OUT, ONE_TO_ONE, Channel, Contestant, Lost, Shape
from .crew import Crew, Report, Stage
from .results import Sample
from .trial import Site

LARGE = 64 * 1024
_PATIENCE = 8.0  # seconds beyond its working time after which a trial counts as hung
_AROUND = 32 << 10  # what may come with a message: the head of an array, say


def capacity_for(length: int) -> int:
    """The same room for every contestant: 1 MiB, or for eight messages up to 8 MiB, or for two of very large ones.

    A queue is used in a circle, so one that is larger than the cache fetches every message from memory, twice.
    """
    return max(1 << 20, min(8 * length, 8 << 20), 2 * (length + _AROUND))


@dataclasses.dataclass(frozen=True)
class Work:
    """What is to be moved, how, by how many, for how long, on which CPUs."""

    pattern: str
    length: int
    seconds: float
    cpus: Sequence[int | None]
    producers: int = 1
    consumers: int = 1
    pools: Sequence[list[Any]] = ()  # by default, bytes of that length
    end: Any = None

    @property
    def warm_up(self) -> float:
        """Seconds that are not counted."""
        return max(0.02, self.seconds / 5)

    @property
    def deadline(self) -> float:
        """Seconds until the trial counts as hung."""
        return _PATIENCE + 4 * self.seconds

    def clock(self, stage: Stage) -> loops.Clock:
        """A clock with the marks of this work; for a consumer that has just been told to begin."""
        begin = stage.board.begin_ns / 1e9
        return loops.Clock(begin + self.warm_up, begin + self.warm_up + self.seconds)

    def cpu(self, place: int) -> int | None:
        """Where a participant runs: producers first, then consumers, round the list."""
        return self.cpus[place % len(self.cpus)]


def transfer(contestant: Contestant, work: Work, site: Site) -> Sample:
    """Open the channel, let everybody work, check that what went in came out; in the leader."""
    pools = work.pools or [loops.pool_of(work.length, number) for number in range(work.producers)]
    end = loops.end_of(work.length) if work.end is None else work.end
    shape = Shape(
        work.length,
        capacity_for(work.length),
        site.tag,
        site.folder,
        producers=work.producers,
        consumers=work.consumers,
    )
    channel = contestant.open(shape)
    try:
        with Crew(site.deadline) as crew:
            take = _taker(contestant, work, pools, end)
            for number in range(work.consumers):
                cpu = work.cpu(work.producers + number)
                crew.add(f"consumer {number}", _consumer(channel, number, work, take), channel.leave, cpu)
            for number in range(work.producers):
                put = _producer(channel, number, contestant, work, pools[number], end)
                crew.add(f"producer {number}", put, channel.leave, work.cpu(number))
            try:
                reports = crew.run(channel.settle)
            except TimeoutError:
                _tell_lost_from_hung(crew)
                raise
    finally:
        channel.close()
    return _summary(work, reports)


def _tell_lost_from_hung(crew: Crew) -> None:
    """A consumer that waits for what producers have long sent has lost it."""
    if crew.finished("producer"):
        raise Lost(f"the producers have sent everything, and after {crew.board.got} messages nothing more arrives")


def _producer(
    channel: Channel, number: int, contestant: Contestant, work: Work, pool: list[Any], end: Any
) -> Callable[[Stage], int]:
    seconds = work.warm_up + work.seconds

    def role(stage: Stage) -> int:
        put = channel.sender(number)
        stage.ready()
        if contestant.batched:
            sent = loops.produce_batched(put, pool, seconds)
            put([end] * (len(pool) if work.pattern == FAN_IN else 1))
        else:
            sent = loops.produce(put, pool, seconds)
            for _ in range(len(pool) if work.pattern == FAN_IN else 1):
                put(end)
        consumers = stage.done[: work.consumers]
        while work.pattern in (FAN_OUT, BROADCAST) and sum(consumers) < work.consumers:
            put([end] if contestant.batched else end)  # whoever has not seen one yet, will see this one
            time.sleep(0.0005)
        return sent

    return role


def _taker(
    contestant: Contestant, work: Work, pools: Sequence[list[Any]], end: Any
) -> Callable[[Callable[[], Any], loops.Clock, memoryview], int]:
    """The loop that suits the pattern."""
    if work.pattern in (ONE_TO_ONE, BROADCAST):
        loop = loops.consume_batched if contestant.batched else loops.consume
        return lambda get, clock, cell: loop(get, pools[0], end, clock, cell)
    ends = len(pools[0]) * work.producers if work.pattern == FAN_IN else 1

    def shared(get: Callable[[], Any], clock: loops.Clock, cell: memoryview) -> int:
        block = range(len(pools[0]))
        take = get if contestant.batched else lambda: [get() for _ in block]
        return loops.consume_shared(take, pools, end, ends, clock, cell)

    return shared


def _consumer(channel: Channel, number: int, work: Work, take: Callable[..., int]) -> Callable[[Stage], Any]:
    def role(stage: Stage) -> tuple[int, int, float, float]:
        get = channel.receiver(number)
        stage.ready()
        clock = work.clock(stage)
        count = take(get, clock, stage.board.cell(number))
        stage.finish()  # or a producer would fill a small queue with ENDs that nobody takes any more
        return (count, *clock.window(count))

    return role


def _summary(work: Work, reports: dict[str, Report]) -> Sample:
    sent = sum(report.result for name, report in reports.items() if name.startswith("producer"))
    taken = [report.result for name, report in reports.items() if name.startswith("consumer")]
    everybody_gets_all = work.pattern in (ONE_TO_ONE, BROADCAST)
    for got in [each[0] for each in taken] if everybody_gets_all else [sum(each[0] for each in taken)]:
        if got != sent:
            raise Lost(f"{sent} messages were sent, and {got} arrived")
    if everybody_gets_all:
        rate = min(count / (ended - began) for _, count, began, ended in taken)
    else:
        rate = sum(each[1] for each in taken) / (max(each[3] for each in taken) - min(each[2] for each in taken))
    return Sample(rate, figures(reports, sent))


def figures(reports: dict[str, Report], messages: int) -> dict[str, float]:
    """What the messages cost: CPU time, memory, how often a participant lost its CPU."""
    cpu = sum(report.cpu_seconds for report in reports.values())
    return {
        "messages": float(messages),
        "cpu_seconds_per_million": cpu / max(1, messages) * 1e6,
        "peak_bytes": float(max(report.peak_bytes for report in reports.values())),
        "shared_bytes": float(sum(report.shared_bytes for report in reports.values())),
        "switches": float(sum(report.switches for report in reports.values())),
    }

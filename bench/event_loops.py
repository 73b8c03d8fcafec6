"""The time there and back between two event loops, one message at a time: what `await` costs beside a blocked thread.

    ping (CPU 0)  await put ──▶  [ channel ]  ──▶ await get  pong (CPU 1)
                  await get ◀──  [ channel ]  ◀── await put

Every trip sleeps twice, once a side: a blocked thread is woken by the kernel, a loop by way of a descriptor.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from typing import Any

import shmring

from . import latency_ping_pong, loops, rings, rivals, trial
from .channel import EVENT_LOOPS, Channel, Contestant, Corrupt, Shape, Unsupported
from .crew import Stage
from .histogram import encoded
from .options import Options
from .results import LIMIT, LOWER, Row, Sample, Table
from .rounds import Entry, Plan, entry
from .transfer import Work

PARKED = "shmring mpmc, blocked threads"
_BETWEEN_LOOKS = 64  # trips between two looks for the end


class Ring(rings.Plain):
    """aput() and aget() of a ring."""

    spin = rings.PARKED
    uvloop = False

    def new_loop(self) -> asyncio.AbstractEventLoop:
        if not self.uvloop:
            return super().new_loop()
        try:
            import uvloop
        except ImportError:
            raise Unsupported('uvloop is missing: pip install "shmring[bench]"') from None
        loop: asyncio.AbstractEventLoop = uvloop.new_event_loop()
        return loop

    def sender(self, number: int) -> Callable[[Any], Awaitable[object]]:
        return self.ring.aput

    def receiver(self, number: int) -> Callable[[], Awaitable[Any]]:
        return self.ring.aget


class RingInUvloop(Ring):
    """The same in uvloop."""

    uvloop = True


class Queue(Channel):
    """aput() and aget() of a Queue."""

    def __init__(self, shape: Shape) -> None:
        super().__init__(shape)
        self.queue = shmring.Queue(capacity=shape.capacity)

    def sender(self, number: int) -> Callable[[Any], Awaitable[object]]:
        return self.queue.aput

    def receiver(self, number: int) -> Callable[[], Awaitable[Any]]:
        return self.queue.aget

    def close(self) -> None:
        self.queue.close()


_PATTERN = frozenset({EVENT_LOOPS})
OURS = (
    Contestant("shmring mpmc, asyncio", Ring, ours=True, patterns=_PATTERN),
    Contestant("shmring mpmc, uvloop", RingInUvloop, ours=True, patterns=_PATTERN),
    Contestant("shmring.Queue, asyncio", Queue, ours=True, patterns=_PATTERN),
)


def plan(options: Options, work: Work) -> Plan:
    """One table; the limit is the same ring between two threads that block."""
    table = Table(
        "latency",
        f"{work.length} B, there and back, event loops",
        "ns",
        LOWER,
        {"length": work.length, "producers": 1, "consumers": 1, "loop": "event loops"},
        note="The limit is the same ring between two blocked threads.",
    )
    blocked = next(each for each in rings.FOR_LATENCY if each.name == "shmring mpmc parked")
    row = Row(PARKED, LIMIT, note=blocked.note)
    limit = Entry(row, lambda: trial.run(lambda site: latency_ping_pong.trial(blocked, work, site), work.deadline))
    return Plan(table, [limit, *_entries(options, work)], options.rounds)


def _entries(options: Options, work: Work) -> Iterator[Entry]:
    def ping(contestant: Contestant, site: trial.Site) -> Sample:
        return latency_ping_pong.trial(contestant, work, site, _ping, _pong)

    for each in [*OURS, *rivals.chosen(options.rivals, rivals.all_of_them())]:
        if each.can(EVENT_LOOPS):
            yield entry(each, ping, work.deadline, limit=PARKED)


def _in_loop(channel: Channel, main: Coroutine[Any, Any, Any]) -> Any:
    with asyncio.Runner(loop_factory=channel.new_loop) as runner:
        return runner.run(main)


def _ping(there: Channel, back: Channel, work: Work, stage: Stage) -> tuple[str, dict[str, float], int]:
    async def play() -> tuple[str, dict[str, float], int]:
        put: Callable[[Any], Awaitable[object]] = there.sender(0)
        get: Callable[[], Awaitable[Any]] = back.receiver(0)
        pool, end = loops.pool_of(work.length)[:_BETWEEN_LOOKS], loops.end_of(work.length)
        stage.ready()
        cell = stage.board.cell(0)
        spans: list[int] = []
        now = time.perf_counter_ns
        stop = now() + int(work.seconds * 1e9)
        while now() < stop:
            for message in pool:
                began = now()
                await put(message)
                answer = await get()
                spans.append(now() - began)
                if answer != message:
                    raise Corrupt("an answer is not the message that was sent")
            cell[0] = len(spans)
        await put(end)
        await get()
        counted = spans[len(pool) :] if len(spans) > 2 * len(pool) else spans
        return (*encoded(counted), len(spans))

    return _in_loop(there, play())  # type: ignore[no-any-return]


def _pong(there: Channel, back: Channel, stage: Stage) -> None:
    async def play() -> None:
        get: Callable[[], Awaitable[Any]] = there.receiver(0)
        put: Callable[[Any], Awaitable[object]] = back.sender(0)
        end = loops.end_of(there.shape.length)
        stage.ready()
        message = None
        while message != end:
            message = await get()
            await put(message)

    _in_loop(there, play())

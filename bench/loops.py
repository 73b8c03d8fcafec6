"""The loops in which everybody is measured, alike for all contestants.

Messages go round a pool of distinct ones, so that a lost, doubled or displaced one shows. While timing, the first
message of every round of the pool is compared, and every 64th round whole, byte by byte: checking each would cost more
than the fastest contestants do. What is not compared is counted. END, which is none of the pool, says that it is over.
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Sequence
from typing import Any

from .channel import Corrupt, Lost

POOL = 64
WHOLE = 64  # every so many rounds of the pool are compared whole
_MOST_BYTES = 16 << 20
now = time.perf_counter


def pool_of(length: int, seed: int = 0) -> list[bytes]:
    """Distinct messages of one length, fewer when they are long; none of them is `end_of(length)`."""
    source = random.Random(length * 1000 + seed)
    count = max(4, min(POOL, _MOST_BYTES // max(length, 1)))
    return [(b"\x01" + bytes([seed, index]) + source.randbytes(length))[:length] for index in range(count)]


def end_of(length: int) -> bytes:
    """The message that ends a trial: of the same length, and not in any pool."""
    return b"\xff" * length


def produce(put: Callable[[Any], object], pool: Sequence[Any], seconds: float) -> int:
    """Put the pool round after round for so long; how many messages it was."""
    rounds, stop = 0, now() + seconds
    while now() < stop:
        for message in pool:
            put(message)
        rounds += 1
    return rounds * len(pool)


def produce_batched(put_many: Callable[[list[Any]], object], pool: list[Any], seconds: float) -> int:
    """The same, a whole pool at a time."""
    rounds, stop = 0, now() + seconds
    while now() < stop:
        put_many(pool)
        rounds += 1
    return rounds * len(pool)


class Clock:
    """Counts and times what arrives between the end of the warm-up and the moment when the producers stop.

    At both marks the channel is as full as this contestant keeps it, so neither what had been stored up before the
    first nor what is drained after the second is counted. ``mark`` is when to call ``passed``; reading the clock is the
    caller's.
    """

    def __init__(self, warm_at: float, stop_at: float) -> None:
        self.mark, self._stop_at = warm_at, stop_at
        self.first = self.began = self.ended = now()
        self._cold = self._hot = 0
        self._state = 0

    def passed(self, count: int) -> float:
        """A mark has passed, and so many messages have come; the next mark."""
        moment = now()
        if self._state == 0:
            self.began, self._cold, self.mark = moment, count, self._stop_at
        else:
            self.ended, self._hot, self.mark = moment, count, math.inf
        self._state += 1
        return self.mark

    def window(self, count: int) -> tuple[int, float, float]:
        """Messages between the marks, and when; all of them when they were too slow for the marks."""
        if self._state == 2 and self._hot > self._cold:
            return self._hot - self._cold, self.began, self.ended
        return count, self.first, now()


def consume(get: Callable[[], Any], pool: Sequence[Any], end: Any, clock: Clock, cell: memoryview) -> int:
    """Take what comes in order until END; how many it was."""
    size, first = len(pool), pool[0]
    message = get()
    if message == end:
        return 0
    clock.first = now()
    _expect(message, first, pool)
    rounds = 0
    rest = range(size - 1)
    mark = clock.mark
    while True:
        if rounds % WHOLE == 0:
            for expected in pool[1:]:
                _expect(get(), expected, pool)
        else:
            for _ in rest:
                get()
        rounds += 1
        cell[0] = rounds * size
        if now() >= mark:
            mark = clock.passed(rounds * size)
        message = get()
        if message != first:
            if message == end:
                return rounds * size
            _expect(message, first, pool)


def consume_batched(
    get_many: Callable[[], list[Any]], pool: Sequence[Any], end: Any, clock: Clock, cell: memoryview
) -> int:
    """The same for lists: the first of each is compared, and every 64th list whole."""
    size, count, number = len(pool), 0, 0
    got = get_many()
    clock.first = now()
    mark = clock.mark
    while True:
        last = end in got
        if last:
            del got[got.index(end) :]
        for offset, message in enumerate(got if number % WHOLE == 0 else got[:1]):
            _expect(message, pool[(count + offset) % size], pool)
        count += len(got)
        number += 1
        cell[0] = count
        if last:
            return count
        if now() >= mark:
            mark = clock.passed(count)
        got = get_many()


def consume_shared(
    take: Callable[[], list[Any]], pools: Sequence[Sequence[Any]], end: Any, ends: int, clock: Clock, cell: memoryview
) -> int:
    """Take lists that several send or several take, until ``ends`` ENDs have come; how many other messages it was.

    Every 16th list is compared whole, each producer's order included.
    """
    places = {message: (number, place) for number, pool in enumerate(pools) for place, message in enumerate(pool)}
    count = number = seen = 0
    mark = clock.mark
    while seen < ends:
        got = take()
        if end in got:
            seen += got.count(end)
            got = [message for message in got if message != end]
        if number % 16 == 0:
            _expect_known(got, places, pools if ends > 1 else ())
        number += 1
        count += len(got)
        cell[0] = count
        if now() >= mark:
            mark = clock.passed(count)
    return count


def _expect(message: Any, expected: Any, pool: Sequence[Any]) -> None:
    if message == expected:
        return
    if any(message == other for other in pool):
        raise Lost("messages are out of order: one was lost, delivered twice or overtaken")
    raise Corrupt(
        f"a message arrived that nobody sent: {bytes(message)[:32]!r}" if message else "an empty message arrived"
    )


def _expect_known(got: list[Any], places: dict[Any, tuple[int, int]], pools: Sequence[Sequence[Any]]) -> None:
    last: dict[int, int] = {}
    for message in got:
        if message not in places:
            raise Corrupt(f"a message arrived that nobody sent: {bytes(message)[:32]!r}")
        who, place = places[message]
        if pools and who in last and place != (last[who] + 1) % len(pools[who]):
            raise Lost("one producer's messages are out of order: one was lost, delivered twice or overtaken")
        last[who] = place

"""shmring's own contestants: each way of using a ring, as a Channel."""

from __future__ import annotations

import time

import shmring
from measure import Channel, check, plain_consume, plain_produce

BATCH = 64


def plain(kind: str, capacity: int) -> Channel:
    """put() and get()."""
    ring = shmring.Ring.create(capacity=capacity, kind=kind)
    return Channel(plain_produce(ring.put), plain_consume(ring.get), ring.close)


def batched(kind: str, capacity: int) -> Channel:
    """put_many() and get_many(), 64 at a time."""
    ring = shmring.Ring.create(capacity=capacity, kind=kind)

    def produce(pool: list[bytes], rounds: int) -> None:
        for _ in range(rounds):
            ring.put_many(pool)

    def consume(pool: list[bytes], rounds: int) -> float:
        left = len(pool) * rounds
        first = ring.get()
        began = time.perf_counter()
        check(pool[:1], [first])
        left, place, batch = left - 1, 1, 0
        while left:
            got = ring.get_many(BATCH)
            if batch % 64 == 0:
                check([pool[(place + i) % len(pool)] for i in range(len(got))], got)
            elif got[0] != pool[place % len(pool)]:
                raise SystemExit("wrong content: a message was lost or is out of order")
            place, left, batch = place + len(got), left - len(got), batch + 1
        return time.perf_counter() - began

    return Channel(produce, consume, ring.close)


def in_place(kind: str, capacity: int, length: int) -> Channel:
    """claim() and one copy in; get_into() a reused buffer, one copy out."""
    ring = shmring.Ring.create(capacity=capacity, kind=kind)

    def produce(pool: list[bytes], rounds: int) -> None:
        for _ in range(rounds):
            for message in pool:
                with ring.claim(length) as buffer:
                    buffer[:] = message

    def consume(pool: list[bytes], rounds: int) -> float:
        buffer = bytearray(length)
        ends = [(message[:16], message[-16:]) for message in pool]
        ring.get_into(buffer)
        began = time.perf_counter()
        check(pool[:1], [buffer])
        for number in range(rounds):
            for place, (head, tail) in enumerate(ends):
                if number or place:
                    ring.get_into(buffer)
                    if (
                        not buffer.startswith(head)
                        or not buffer.endswith(tail)
                        or (number % 64 == 0 and buffer != pool[place])
                    ):
                        raise SystemExit("wrong content: a message was lost, torn or out of order")
        return time.perf_counter() - began

    return Channel(produce, consume, ring.close)

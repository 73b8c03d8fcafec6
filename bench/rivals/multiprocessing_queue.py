"""multiprocessing.Queue: what most programs use. Pickles through a pipe, with a feeder thread."""

from __future__ import annotations

import multiprocessing

from measure import Channel, plain_consume


def open(capacity: int, length: int) -> Channel:
    """Make a queue bounded to about as many messages as the others hold."""
    queue = multiprocessing.get_context("fork").Queue(min(max(4, capacity // max(length, 64)), 32767))

    def produce(pool: list[bytes], rounds: int) -> None:
        for _ in range(rounds):
            for message in pool:
                queue.put(message)
        queue.close()
        queue.join_thread()

    def close() -> None:
        queue.close()
        queue.join_thread()

    return Channel(produce, plain_consume(queue.get), close)

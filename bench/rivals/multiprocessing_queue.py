"""multiprocessing.Queue and SimpleQueue: what most programs use. Pickled through a pipe; Queue has a feeder thread.

In an event loop a get that blocks is moved to a thread, as the asyncio documentation advises for what blocks.
"""

from __future__ import annotations

import asyncio
import multiprocessing
from collections.abc import Awaitable, Callable
from typing import Any

from ..channel import BYTES, EVENT_LOOPS, OBJECTS, Channel, Contestant, Shape

_MOST = 32767  # the most that a semaphore of multiprocessing counts


class Queue(Channel):
    """Bounded to as many messages as the others hold."""

    package: Any = multiprocessing

    def __init__(self, shape: Shape) -> None:
        super().__init__(shape)
        self.queue = self.package.get_context("fork").Queue(min(shape.slots, _MOST))

    def sender(self, number: int) -> Callable[[Any], object]:
        return self.queue.put

    def receiver(self, number: int) -> Callable[[], Any]:
        return self.queue.get

    def leave(self) -> None:
        self.queue.close()
        self.queue.cancel_join_thread()

    def close(self) -> None:
        self.queue.close()


class QueueInALoop(Queue):
    """put(), which does not block while there is room, and get() in a thread."""

    def sender(self, number: int) -> Callable[[Any], Awaitable[object]]:
        put = self.queue.put

        async def aput(message: Any) -> None:
            put(message)

        return aput

    def receiver(self, number: int) -> Callable[[], Awaitable[Any]]:
        get = self.queue.get
        return lambda: asyncio.to_thread(get)


class SimpleQueue(Channel):
    """A pipe and two locks; it is bounded by the pipe."""

    def __init__(self, shape: Shape) -> None:
        super().__init__(shape)
        self.queue = multiprocessing.get_context("fork").SimpleQueue()

    def sender(self, number: int) -> Callable[[Any], object]:
        return self.queue.put

    def receiver(self, number: int) -> Callable[[], Any]:
        return self.queue.get

    def close(self) -> None:
        self.queue.close()


_CARRIES = frozenset({BYTES, OBJECTS})
_LITTER = ("/dev/shm/sem.mp-*",)
CONTESTANTS = (
    Contestant("multiprocessing.Queue", Queue, carries=_CARRIES, litter=_LITTER),
    Contestant("multiprocessing.Queue, to_thread", QueueInALoop, patterns=frozenset({EVENT_LOOPS}), litter=_LITTER),
    Contestant("multiprocessing.SimpleQueue", SimpleQueue, carries=_CARRIES, litter=_LITTER),
)

"""faster-fifo: a circular buffer with a mutex; get_many takes many for the price of one lock, as its README advises."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..channel import BYTES, OBJECTS, Channel, Contestant, Shape

_FOREVER = 3600.0  # its own default is 10 s, then it raises; None is not taken
_BATCH = 64


class Queue(Channel):
    """put() and get()."""

    def __init__(self, shape: Shape) -> None:
        super().__init__(shape)
        import faster_fifo

        self.queue = faster_fifo.Queue(max_size_bytes=max(shape.capacity, 4 * (shape.length + 64)))

    def sender(self, number: int) -> Callable[[Any], object]:
        put = self.queue.put
        return lambda message: put(message, True, _FOREVER)

    def receiver(self, number: int) -> Callable[[], Any]:
        get = self.queue.get
        return lambda: get(True, _FOREVER)

    def close(self) -> None:
        self.queue.close()


class Batched(Queue):
    """put_many() and get_many()."""

    def sender(self, number: int) -> Callable[[list[Any]], object]:
        put_many = self.queue.put_many
        return lambda messages: put_many(messages, True, _FOREVER)

    def receiver(self, number: int) -> Callable[[], list[Any]]:
        get_many = self.queue.get_many
        return lambda: get_many(True, _FOREVER, _BATCH)


_CARRIES = frozenset({BYTES, OBJECTS})
CONTESTANTS = (
    Contestant("faster-fifo", Queue, distribution="faster-fifo", carries=_CARRIES),
    Contestant("faster-fifo put_many, get_many", Batched, distribution="faster-fifo", carries=_CARRIES, batched=True),
)

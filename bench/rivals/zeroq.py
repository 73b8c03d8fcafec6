"""zeroq: a lock-free queue in Rust, slots of one fixed length, a power of two of them; put and get as in its README."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..channel import Channel, Contestant, Shape


class Queue(Channel):
    """As many slots as fit the capacity. Participants use the queue that the leader made."""

    def __init__(self, shape: Shape) -> None:
        super().__init__(shape)
        import zeroq

        slots = 1 << (shape.slots.bit_length() - 1)
        self.queue = zeroq.Queue(name=shape.tag, element_size=shape.length, capacity=slots, create=True)

    def sender(self, number: int) -> Callable[[Any], object]:
        return self.queue.put

    def receiver(self, number: int) -> Callable[[], Any]:
        return self.queue.get

    def close(self) -> None:
        self.queue.close()


CONTESTANTS = (Contestant("zeroq", Queue, distribution="zeroq"),)

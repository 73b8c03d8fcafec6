"""hyperq: a C++ ring, mapped twice in a row, with a mutex and condition variables; BytesHyperQ for bytes, as its README
says. No timeouts, no batches.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from ..channel import BYTES, OBJECTS, Channel, Contestant, Shape


class Queue(Channel):
    """Bytes."""

    face = "BytesHyperQ"

    def __init__(self, shape: Shape) -> None:
        super().__init__(shape)
        import hyperq

        room = max(shape.capacity, 4 * (shape.length + 64))
        self.queue = getattr(hyperq, self.face)(room, name=shape.tag[-24:])

    def sender(self, number: int) -> Callable[[Any], object]:
        return self.queue.put

    def receiver(self, number: int) -> Callable[[], Any]:
        return self.queue.get

    def close(self) -> None:
        name = self.queue.shm_name
        del self.queue
        for left in (name, f"{name}_buffer", f"{name}_header"):
            path = f"/dev/shm/{left.lstrip('/')}"
            if os.path.exists(path):
                os.unlink(path)


class ObjectQueue(Queue):
    """Objects, pickled by it."""

    face = "HyperQ"


CONTESTANTS = (
    Contestant("hyperq", Queue, distribution="hyperq", carries=frozenset({BYTES})),
    Contestant("hyperq HyperQ", ObjectQueue, distribution="hyperq", carries=frozenset({OBJECTS})),
)

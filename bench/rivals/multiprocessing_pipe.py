"""multiprocessing.Pipe: one producer, one consumer; send_bytes for bytes, send for objects, as its documentation has
it.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from typing import Any

from ..channel import BYTES, OBJECTS, ONE_TO_ONE, Channel, Contestant, Shape


class Pipe(Channel):
    """One way, bytes."""

    def __init__(self, shape: Shape) -> None:
        super().__init__(shape)
        self.there, self.here = multiprocessing.get_context("fork").Pipe(duplex=False)

    def sender(self, number: int) -> Callable[[Any], object]:
        return self.here.send_bytes

    def receiver(self, number: int) -> Callable[[], Any]:
        return self.there.recv_bytes

    def close(self) -> None:
        self.here.close()
        self.there.close()


class ObjectPipe(Pipe):
    """One way, objects."""

    def sender(self, number: int) -> Callable[[Any], object]:
        return self.here.send

    def receiver(self, number: int) -> Callable[[], Any]:
        return self.there.recv


_PATTERNS = frozenset({ONE_TO_ONE})
CONTESTANTS = (
    Contestant("multiprocessing.Pipe", Pipe, patterns=_PATTERNS, carries=frozenset({BYTES})),
    Contestant("multiprocessing.Pipe, send", ObjectPipe, patterns=_PATTERNS, carries=frozenset({OBJECTS})),
)

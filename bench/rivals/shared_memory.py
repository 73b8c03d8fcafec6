"""multiprocessing.shared_memory with semaphores: the ring that people write themselves, from the standard library.

Slots of a fixed length behind their lengths, one semaphore for the free ones and one for the filled ones.
"""

from __future__ import annotations

import multiprocessing
import struct
from collections.abc import Callable
from multiprocessing import shared_memory

from ..channel import FRAMES, ONE_TO_ONE, Channel, Contestant, Shape

_LENGTH = struct.Struct("=Q")


class SlotRing(Channel):
    """One producer, one consumer, so that neither index needs a lock."""

    def __init__(self, shape: Shape) -> None:
        super().__init__(shape)
        context = multiprocessing.get_context("fork")
        self.slots = min(shape.slots, 32767)
        self.size = _LENGTH.size + shape.length
        self.memory = shared_memory.SharedMemory(shape.tag, create=True, size=self.slots * self.size)
        self.free, self.filled = context.Semaphore(self.slots), context.Semaphore(0)

    def sender(self, number: int) -> Callable[[bytes], object]:
        slots, size, buffer, pack = self.slots, self.size, self.memory.buf, _LENGTH.pack_into
        acquire, release = self.free.acquire, self.filled.release
        at = 0

        def put(message: bytes) -> None:
            nonlocal at
            acquire()
            start = at * size
            pack(buffer, start, len(message))
            buffer[start + 8 : start + 8 + len(message)] = message
            at = (at + 1) % slots
            release()

        return put

    def receiver(self, number: int) -> Callable[[], bytes]:
        slots, size, buffer, unpack = self.slots, self.size, self.memory.buf, _LENGTH.unpack_from
        acquire, release = self.filled.acquire, self.free.release
        at = 0

        def get() -> bytes:
            nonlocal at
            acquire()
            start = at * size
            message = bytes(buffer[start + 8 : start + 8 + unpack(buffer, start)[0]])
            at = (at + 1) % slots
            release()
            return message

        return get

    def close(self) -> None:
        self.memory.close()
        self.memory.unlink()


class SlotRingInPlace(SlotRing):
    """The same, read in the slot itself, which is given back with the next get."""

    def receiver(self, number: int) -> Callable[[], memoryview]:  # type: ignore[override]
        slots, size, buffer = self.slots, self.size, self.memory.buf
        acquire, release = self.filled.acquire, self.free.release
        at, held = 0, False

        def get() -> memoryview:
            nonlocal at, held
            if held:
                release()
            acquire()
            start = at * size + 8
            at, held = (at + 1) % slots, True
            return buffer[start : start + size - 8]

        return get


_LITTER = ("/dev/shm/sem.mp-*",)
_PATTERNS = frozenset({ONE_TO_ONE})
CONTESTANTS = (
    Contestant("shared_memory + semaphores", SlotRing, patterns=_PATTERNS, litter=_LITTER),
    Contestant(
        "shared_memory + semaphores, in place",
        SlotRingInPlace,
        patterns=_PATTERNS,
        carries=frozenset({FRAMES}),
        litter=_LITTER,
        reuses=True,
    ),
)

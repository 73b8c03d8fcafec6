"""A value behind a lock, from the standard library: what people write who need only the newest."""

from __future__ import annotations

import ctypes
import multiprocessing
from collections.abc import Callable
from multiprocessing import shared_memory

from ..channel import LATEST, Channel, Contestant, Shape


class LockedArray(Channel):
    """multiprocessing.Array: a lock around every access, as its documentation has it."""

    def __init__(self, shape: Shape) -> None:
        super().__init__(shape)
        self.array = multiprocessing.get_context("fork").Array(ctypes.c_char, shape.length)

    def sender(self, number: int) -> Callable[[bytes], object]:
        array, length = self.array, self.shape.length

        def put(value: bytes) -> None:
            with array:
                array.get_obj()[:length] = value

        return put

    def receiver(self, number: int) -> Callable[[], bytes]:
        array, length = self.array, self.shape.length

        def get() -> bytes:
            with array:
                return array.get_obj()[:length]

        return get


class LockedMemory(Channel):
    """multiprocessing.shared_memory and a Lock."""

    def __init__(self, shape: Shape) -> None:
        super().__init__(shape)
        self.memory = shared_memory.SharedMemory(shape.tag, create=True, size=shape.length)
        self.lock = multiprocessing.get_context("fork").Lock()

    def sender(self, number: int) -> Callable[[bytes], object]:
        buffer, lock, length = self.memory.buf, self.lock, self.shape.length

        def put(value: bytes) -> None:
            with lock:
                buffer[:length] = value

        return put

    def receiver(self, number: int) -> Callable[[], bytes]:
        buffer, lock, length = self.memory.buf, self.lock, self.shape.length

        def get() -> bytes:
            with lock:
                return bytes(buffer[:length])

        return get

    def close(self) -> None:
        self.memory.close()
        self.memory.unlink()


_PATTERNS = frozenset({LATEST})
_LITTER = ("/dev/shm/sem.mp-*",)
CONTESTANTS = (
    Contestant("multiprocessing.Array", LockedArray, patterns=_PATTERNS, litter=_LITTER),
    Contestant("shared_memory + Lock", LockedMemory, patterns=_PATTERNS, litter=_LITTER),
)

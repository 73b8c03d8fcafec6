"""shmring's own contestants: each way of using a ring for bytes.

put, get      one copy in, a new bytes object out
put_many ...  64 messages a call
claim ...     written in place; read into memory that is used again
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import shmring

from .channel import EVERY_QUEUE, FRAMES, ONE_TO_ONE, Channel, Contestant, Shape

BATCH = 64
SPINNING, PARKED = 1.0, 0.0


class Plain(Channel):
    """put() and get()."""

    kind = "mpmc"
    spin: Any = "auto"

    def __init__(self, shape: Shape) -> None:
        super().__init__(shape)
        self.ring = shmring.Ring.create(capacity=shape.capacity, kind=self.kind, spin=self.spin)

    def sender(self, number: int) -> Callable[[bytes], object]:
        return self.ring.put

    def receiver(self, number: int) -> Callable[[], Any]:
        return self.ring.get

    def close(self) -> None:
        self.ring.close()


class Batched(Plain):
    """put_many() and get_many()."""

    def sender(self, number: int) -> Callable[[Sequence[bytes]], object]:
        return self.ring.put_many

    def receiver(self, number: int) -> Callable[[], list[bytes]]:
        get_many = self.ring.get_many
        return lambda: get_many(BATCH)


class InPlace(Plain):
    """claim() and one copy in; get_into() a buffer that is used again, one copy out."""

    def sender(self, number: int) -> Callable[[Any], object]:
        claim, length = self.ring.claim, self.shape.length

        def put(message: Any) -> None:
            with claim(length) as buffer:
                buffer[:] = message

        return put

    def receiver(self, number: int) -> Callable[[], bytearray]:
        get_into, buffer = self.ring.get_into, bytearray(self.shape.length)

        def get() -> bytearray:
            get_into(buffer)
            return buffer

        return get


class Borrowed(InPlace):
    """claim() and one copy in; borrow() and read in the ring itself."""

    def receiver(self, number: int) -> Callable[[], memoryview]:
        borrow = self.ring.borrow
        held: list[Any] = []

        def get() -> memoryview:
            if held:
                held.pop().__exit__(None, None, None)
            lease = borrow()
            view: memoryview = lease.__enter__()
            held.append(lease)
            return view

        return get


class Arrays(Borrowed):
    """A ring of numpy arrays: put() an array; borrow() gives one that is read in the ring itself."""

    def __init__(self, shape: Shape) -> None:
        Channel.__init__(self, shape)
        self.ring = shmring.Ring.create(capacity=shape.capacity, kind=self.kind, codec="numpy")

    def sender(self, number: int) -> Callable[[Any], object]:
        return self.ring.put


def _of(base: type[Plain], kind: str, spin: float | str = "auto") -> type[Plain]:
    return type(base.__name__, (base,), {"kind": kind, "spin": spin, "__doc__": base.__doc__})


def _contestant(name: str, base: type[Plain], kind: str, **more: Any) -> Contestant:
    patterns = frozenset({ONE_TO_ONE}) if kind == "spsc" or more.get("reuses") else EVERY_QUEUE
    spin = more.pop("spin", "auto")
    return Contestant(
        name=f"shmring {kind} {name}".strip(), open=_of(base, kind, spin), ours=True, patterns=patterns, **more
    )


CONTESTANTS = (
    _contestant("put, get", Plain, "spsc"),
    _contestant("put, get", Plain, "mpmc"),
    _contestant("put, get", Plain, "semaphore"),
    _contestant("put_many, get_many", Batched, "spsc", batched=True),
    _contestant("put_many, get_many", Batched, "mpmc", batched=True),
)
IN_PLACE = (
    _contestant("claim, get_into", InPlace, "spsc", reuses=True),
    _contestant("claim, get_into", InPlace, "mpmc", reuses=True),
)
_FRAMES: dict[str, Any] = {"carries": frozenset({FRAMES})}
FOR_FRAMES = (
    _contestant("claim, borrow", Borrowed, "spsc", reuses=True, **_FRAMES),
    _contestant("claim, borrow", Borrowed, "mpmc", reuses=True, **_FRAMES),
    _contestant("claim, borrow, spinning", Borrowed, "spsc", reuses=True, spin=SPINNING, spins=True, **_FRAMES),
    _contestant("claim, borrow, spinning", Borrowed, "mpmc", reuses=True, spin=SPINNING, spins=True, **_FRAMES),
    _contestant("codec numpy, borrow", Arrays, "spsc", reuses=True, arrays=True, **_FRAMES),
    _contestant("codec numpy, borrow", Arrays, "mpmc", reuses=True, arrays=True, **_FRAMES),
    _contestant("put, get", Plain, "mpmc", **_FRAMES),
)
FOR_LATENCY = (
    _contestant("spinning", Plain, "spsc", spin=SPINNING, spins=True),
    _contestant("spinning", Plain, "mpmc", spin=SPINNING, spins=True),
    _contestant("", Plain, "spsc", adapts=True, note="spins briefly, then sleeps"),
    _contestant("", Plain, "mpmc", adapts=True, note="spins briefly, then sleeps"),
    _contestant("parked", Plain, "spsc", spin=PARKED),
    _contestant("parked", Plain, "mpmc", spin=PARKED),
)

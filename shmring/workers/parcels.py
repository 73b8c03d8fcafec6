"""Tasks and results as messages: a head, a function, a pickle, and the buffers that the pickle left out.

::

    HEAD | lengths of body and buffers, if there are buffers | function | body | buffers, each on 64 bytes

A parcel that is too long for the ring travels in a memory of its own, an *aside*; its message is a head and the handle.
Whoever opens a parcel owns its memory, so that arrays in it may be kept and changed.

The extra word of a result is the time that it took, in nanoseconds, and in its last byte the worker's slot.
"""

from __future__ import annotations

import pickle
import struct
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from shmring import segment
from shmring.codecs.protocol import NamedCodec, padding
from shmring.ring import Ring
from shmring.workers.shelf import Raw, Shelf

if TYPE_CHECKING:
    from typing_extensions import Buffer

HEAD = struct.Struct("<QBBHIQ")  # key, kind, flags, number of buffers, length of the function, extra
_MOST_BUFFERS = 2**16 - 1
_IN_BAND = 2048  # bytes: a buffer this short is cheaper inside the pickle
_UNLIMITED = 1 << 62

# Kinds, to a worker and back.
CALL, CHUNK, BATCH = 1, 2, 3
DONE, FAILED, UNRESOLVED, RETURNED, READY, NOT_READY, LEFT, NUDGE, ALL_GONE = range(10, 19)

# Flags.
ASIDE = 1  # the parcel is elsewhere; the body is the pickled handle of its memory
BY_DILL = 2  # the body was pickled by dill
FUNCTION_BY_DILL = 4
LEASED = 8  # the caller wants the result in memory of its own


class Parcel(NamedTuple):
    """A message, opened."""

    key: int
    kind: int
    flags: int
    extra: int
    function: bytes
    body: memoryview
    buffers: list[memoryview]

    def value(self) -> Any:
        """What was pickled."""
        if self.flags & BY_DILL:
            import dill

            return dill.loads(bytes(self.body), buffers=self.buffers)
        return pickle.loads(self.body, buffers=self.buffers)


def pickled(value: Any) -> tuple[bytes, list[memoryview], int]:
    """A pickle, its large buffers, and flags. What pickle cannot do, dill may; else pickle's error is raised."""
    buffers: list[memoryview] = []

    def keep(buffer: pickle.PickleBuffer) -> bool:
        view = buffer.raw()
        if view.nbytes < _IN_BAND or len(buffers) == _MOST_BUFFERS:
            return True
        buffers.append(view)
        return False

    try:
        return pickle.dumps(value, 5, buffer_callback=keep), buffers, 0
    except (pickle.PicklingError, AttributeError, TypeError):
        buffers.clear()
        try:
            return by_dill(value, keep), buffers, BY_DILL
        except Exception:
            buffers.clear()
        raise


def by_dill(value: Any, keep: Callable[[pickle.PickleBuffer], bool] | None = None) -> bytes:
    """A pickle by value: lambdas, closures, what stands in a notebook."""
    import dill  # with multiprocess; late, because it takes a while and few need it

    return bytes(dill.dumps(value, 5, recurse=True, buffer_callback=keep))


class Packed:
    """A parcel about to be sent. ``aside`` holds its memory elsewhere, if it needed one: keep it until it was taken."""

    __slots__ = ("aside", "parts")

    def __init__(
        self,
        key: int,
        kind: int,
        flags: int = 0,
        extra: int = 0,
        function: bytes = b"",
        body: bytes = b"",
        buffers: Sequence[memoryview] = (),
        limit: int = _UNLIMITED,
    ) -> None:
        self.aside: segment.Segment | None = None
        head = HEAD.pack(key, kind, flags, len(buffers), len(function), extra)
        if not buffers:
            self.parts: list[Buffer] = [head + function + body]
            length = len(head) + len(function) + len(body)
        else:
            table = struct.pack(f"<{len(buffers) + 1}Q", len(body), *(view.nbytes for view in buffers))
            begin = b"".join((head, table, function, body))
            self.parts = [begin, padding(len(begin))]
            length = len(begin) + len(padding(len(begin)))
            for view in buffers:
                self.parts += view, padding(view.nbytes)
                length += view.nbytes + len(padding(view.nbytes))
        if length > limit:
            self.aside = segment.anonymous(length, transferable=True)
            self.aside.fill(self.parts)
            self.parts = [HEAD.pack(key, kind, flags | ASIDE, 0, 0, extra) + pickle.dumps(self.aside)]


def opened(raw: Raw | segment.Segment) -> Parcel:
    """The parts of a parcel. One that went aside is opened where it lies; its memory lives as long as its arrays."""
    key, kind, flags, count, function_length, extra = HEAD.unpack_from(raw)
    view = memoryview(raw)
    if flags & ASIDE:
        memory: segment.Segment = pickle.loads(view[HEAD.size :])
        inner = opened(memory)
        return inner._replace(flags=inner.flags | ASIDE, extra=extra)
    start = HEAD.size
    lengths: tuple[int, ...] = (len(view) - start - function_length,)
    if count:
        lengths = struct.unpack_from(f"<{count + 1}Q", raw, start)
        start += 8 * (count + 1)
    end = start + function_length + lengths[0]
    body = view[start + function_length : end]
    buffers = []
    for length in lengths[1:]:
        begin = end + len(padding(end))
        end = begin + length
        buffers.append(view[begin:end])
    return Parcel(key, kind, flags, extra, bytes(view[start : start + function_length]), body, buffers)


def short_value(raw: Raw) -> Any:
    """The value of a result that may be opened without looking: neither aside nor by dill."""
    if HEAD.unpack_from(raw)[3]:
        return opened(raw).value()
    return pickle.loads(memoryview(raw)[HEAD.size :])


class ParcelCodec(NamedCodec):
    """Parcels in a ring: put as Packed, taken as raw memory of one's own, borrowed as they lie."""

    name = "shmring.parcel"
    runs_code = True

    def __init__(self, keep: int) -> None:
        self._keep = keep
        self._shelf = Shelf(keep)

    def encode(self, value: Any, /) -> Buffer | Sequence[Buffer]:
        return value.parts  # type: ignore[no-any-return]

    def decode(self, record: memoryview, /) -> Raw:
        return self._shelf.copy(record) if HEAD.unpack_from(record)[3] else bytes(record)

    def view(self, record: memoryview, /) -> memoryview:
        return record

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self._keep,)


def make_ring(capacity: int | str) -> Ring:
    """A ring for parcels."""
    sized = Ring.create(capacity=capacity)
    with sized:
        keep = sized.capacity
    return Ring.create(capacity=capacity, codec=ParcelCodec(keep))

"""Tasks and results as messages: a head, a pickle, and the buffers that the pickle left out.

::

    HEAD | lengths of body and buffers, if there are buffers | body | buffers, each on 64 bytes

A parcel that is too long for the ring travels in a memory of its own, an *aside*; its message is a head and the handle.
The receiver that opens a parcel owns its memory, so that arrays in it may be kept and changed.

The extra word of a result is the time that it took, in nanoseconds, and in its last byte the worker's slot.
"""

from __future__ import annotations

import pickle
import struct
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from shmring import segment
from shmring.codecs.protocol import NamedCodec, padding
from shmring.ring import Ring
from shmring.workers import asides
from shmring.workers.pickles import ALL_THERE, PLAIN, Names, apart
from shmring.workers.shelf import Raw, Shelf

if TYPE_CHECKING:
    from typing_extensions import Buffer

HEAD = struct.Struct("<QBBHQ")  # key, kind, flags, number of buffers, extra
_MOST_BUFFERS = 2**16 - 1
_IN_BAND = 2048  # bytes: a buffer this short is cheaper inside the pickle
_UNLIMITED = 1 << 62

# Kinds, to a worker and back.
CALL, CHUNK, BATCH = 1, 2, 3
DONE, FAILED, UNRESOLVED, RETURNED, READY, NOT_READY, LACKING, LEFT, NUDGE, ALL_GONE = range(10, 20)

# Flags.
ASIDE = 1  # the parcel is elsewhere; the body is the pickled handle of its memory
LEASED = 2  # the caller wants the result in memory of its own


class Parcel(NamedTuple):
    """A message, opened."""

    key: int
    kind: int
    flags: int
    extra: int
    body: memoryview
    buffers: list[memoryview]

    def value(self) -> Any:
        """What was pickled."""
        return pickle.loads(self.body, buffers=self.buffers)


def pickled(value: Any, names: Names = ALL_THERE) -> tuple[bytes, list[memoryview]]:
    """A pickle and its large buffers. Raises whatever the pickling raises."""
    if type(value) in PLAIN:
        return pickle.dumps(value, 5), []
    buffers: list[memoryview] = []

    def keep(buffer: pickle.PickleBuffer) -> bool:
        view = buffer.raw()
        if view.nbytes < _IN_BAND or len(buffers) == _MOST_BUFFERS:
            return True
        buffers.append(view)
        return False

    return apart(value, names, keep, buffers.clear), buffers


class Packed:
    """A parcel about to be sent. ``aside`` holds its memory elsewhere, if it needed one: keep it until it was taken."""

    __slots__ = ("aside", "parts")

    def __init__(
        self,
        key: int,
        kind: int,
        flags: int = 0,
        extra: int = 0,
        body: bytes = b"",
        buffers: Sequence[memoryview] = (),
        limit: int = _UNLIMITED,
    ) -> None:
        self.aside: segment.Segment | None = None
        head = HEAD.pack(key, kind, flags, len(buffers), extra)
        if not buffers:
            self.parts: list[Buffer] = [head + body]
            length = len(head) + len(body)
        else:
            table = struct.pack(f"<{len(buffers) + 1}Q", len(body), *(view.nbytes for view in buffers))
            begin = b"".join((head, table, body))
            self.parts = [begin, padding(len(begin))]
            length = len(begin) + len(padding(len(begin)))
            for view in buffers:
                self.parts += view, padding(view.nbytes)
                length += view.nbytes + len(padding(view.nbytes))
        if length > limit:
            self.aside, handle = asides.make(length, self.parts)
            self.parts = [HEAD.pack(key, kind, flags | ASIDE, 0, extra) + handle]


def opened(raw: Raw) -> Parcel:
    """The parts of a parcel. One that went aside is opened where it lies; its memory lives as long as its arrays.

    Raises an OSError if that memory cannot be had: its sender has died since, this process has no descriptor left.
    """
    key, kind, flags, count, extra = HEAD.unpack_from(raw)
    view = memoryview(raw)
    if flags & ASIDE:
        inner = opened(asides.taken(view[HEAD.size :]))
        return inner._replace(flags=inner.flags | ASIDE, extra=extra)
    start = HEAD.size
    lengths: tuple[int, ...] = (len(view) - start,)
    if count:
        lengths = struct.unpack_from(f"<{count + 1}Q", raw, start)
        start += 8 * (count + 1)
    end = start + lengths[0]
    body = view[start:end]
    buffers = []
    for length in lengths[1:]:
        begin = end + len(padding(end))
        end = begin + length
        buffers.append(view[begin:end])
    return Parcel(key, kind, flags, extra, body, buffers)


def short_value(raw: Raw) -> Any:
    """The value of a result that is not aside."""
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

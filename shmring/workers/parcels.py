"""Tasks and results as messages: a head, a function, a pickle, and the buffers that the pickle left out.

::

    HEAD | lengths of body and buffers, if there are buffers | function | body | buffers, each on 64 bytes

A parcel that is too long for the ring travels in a memory of its own, an *aside*; its message is a head and the handle.
Whoever opens a parcel owns its memory, so that arrays in it may be kept and changed.

The extra word of a result is the time that it took, in nanoseconds, and in its last byte the worker's slot.
"""

from __future__ import annotations

import collections
import os
import pickle
import struct
from collections.abc import Callable
from typing import Any, NamedTuple

from shmring import segment
from shmring.ring import Ring

HEAD = struct.Struct("<QBBHIQ")  # key, kind, flags, number of buffers, length of the function, extra
_ALIGNMENT = 64
_MOST_BUFFERS = 2**16 - 1
_IN_BAND = 2048  # bytes: a buffer this short is cheaper inside the pickle
_WRITE_MOST = 1 << 30
_WORTH_KEEPING = 128 * 1024
_LOOK_AT = 4

# Kinds, to a worker and back.
CALL, CHUNK = 1, 2
DONE, FAILED, UNRESOLVED, RETURNED, READY, NOT_READY, LEFT, NUDGE, ALL_GONE = range(10, 19)

# Flags.
ASIDE = 1  # the parcel is elsewhere; the body is the pickled handle of its memory
BY_DILL = 2  # the body was pickled by dill
FUNCTION_BY_DILL = 4
LEASED = 8  # the caller wants the result in memory of its own
LAST = 16  # this worker leaves after this result


Raw = bytes | bytearray | memoryview


class Parcel(NamedTuple):
    """A message, opened."""

    key: int
    kind: int
    flags: int
    extra: int
    function: bytes
    body: memoryview
    buffers: list[memoryview]


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


def unpickled(data: Any, buffers: list[memoryview], flags: int) -> Any:
    """The value of a body."""
    if flags & BY_DILL:
        import dill

        return dill.loads(bytes(data), buffers=buffers)
    return pickle.loads(data, buffers=buffers)


def _measure(body: bytes, buffers: list[memoryview], function: bytes) -> tuple[bytes, list[int], int]:
    """The table of lengths, where each buffer begins, and the length of it all."""
    table = struct.pack(f"<{len(buffers) + 1}Q", len(body), *(view.nbytes for view in buffers))
    end = HEAD.size + len(table) + len(function) + len(body)
    starts = []
    for view in buffers:
        end = -(-end // _ALIGNMENT) * _ALIGNMENT
        starts.append(end)
        end += view.nbytes
    return table, starts, end


class Packed:
    """A parcel about to be sent. ``aside`` holds its memory elsewhere, if it needed one: keep it until it was taken."""

    __slots__ = ("_buffers", "_starts", "aside", "head", "length")

    def __init__(
        self,
        key: int,
        kind: int,
        flags: int,
        extra: int,
        function: bytes,
        body: bytes,
        buffers: list[memoryview],
        limit: int,
        serial: int | None = None,
    ) -> None:
        self.aside: segment.Segment | None = None
        self._buffers = buffers
        self._starts: list[int] = []
        if buffers:
            table, self._starts, self.length = _measure(body, buffers, function)
            self.head = b"".join(
                (HEAD.pack(key, kind, flags, len(buffers), len(function), extra), table, function, body)
            )
        else:
            self.head = HEAD.pack(key, kind, flags, 0, len(function), extra) + function + body
            self.length = len(self.head)
        if self.length > limit:
            self._go_aside(key, kind, flags, extra)

    def _go_aside(self, key: int, kind: int, flags: int, extra: int) -> None:
        memory = segment.anonymous(self.length, transferable=True)
        _write(memory.fd, memoryview(self.head), 0)
        for view, start in zip(self._buffers, self._starts, strict=True):
            _write(memory.fd, view, start)
        handle = pickle.dumps(memory)
        self.aside = memory
        self.head = HEAD.pack(key, kind, flags | ASIDE, 0, 0, extra) + handle
        self.length, self._buffers, self._starts = len(self.head), [], []

    @property
    def is_plain(self) -> bool:
        """Is it one piece of bytes, its ``head``?"""
        return not self._buffers

    def whole(self) -> bytearray:
        """The parcel in one piece, for another way than a ring."""
        room = bytearray(self.length)
        self._fill(memoryview(room))
        return room

    def _fill(self, room: memoryview) -> None:
        room[: len(self.head)] = self.head
        for view, start in zip(self._buffers, self._starts, strict=True):
            room[start : start + view.nbytes] = view

    def put(self, ring: Ring, timeout: float | None) -> None:
        """Send it. Raises as Ring.put does."""
        if not self._buffers:
            ring.put(self.head, timeout)
            return
        with ring.claim(self.length, timeout) as room:
            self._fill(room)


def _write(fd: int, view: memoryview, offset: int) -> None:
    """Into a segment through its descriptor: no page faults here, and other threads run meanwhile."""
    done = 0
    while done < view.nbytes:
        done += os.pwrite(fd, view[done : done + _WRITE_MOST], offset + done)


class Shelf:
    """Memory for messages of which their receiver is to own a copy; for one thread.

    Fresh memory for a large message costs more than the copy, in page faults. So some of it is kept here while its
    arrays live, and used again when nobody looks at it any more.
    """

    def __init__(self, limit: int) -> None:
        self._left = limit
        self._kept: collections.deque[bytearray] = collections.deque()

    def copy(self, view: memoryview) -> Raw:
        """The message in memory of its own, writable where arrays will lie in it."""
        if not HEAD.unpack_from(view)[3]:
            return bytes(view)
        if view.nbytes < _WORTH_KEEPING:
            return bytearray(view)
        for _ in range(min(len(self._kept), _LOOK_AT)):
            kept = self._kept.popleft()
            if not _is_free(kept):
                self._kept.append(kept)
            elif view.nbytes <= len(kept) <= 2 * view.nbytes:
                self._kept.append(kept)
                room = memoryview(kept)[: view.nbytes]
                room[:] = view
                return room
            else:
                self._left += len(kept)
        fresh = bytearray(view)
        if len(fresh) <= self._left:
            self._left -= len(fresh)
            self._kept.append(fresh)
        return fresh


def _is_free(memory: bytearray) -> bool:
    """Is nobody looking at it? Its size cannot change while somebody does."""
    try:
        memory.append(memory.pop())
    except BufferError:
        return False
    return True


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
    function = bytes(view[start : start + function_length])
    end = start + function_length + lengths[0]
    body = view[start + function_length : end]
    buffers = []
    for length in lengths[1:]:
        begin = -(-end // _ALIGNMENT) * _ALIGNMENT
        end = begin + length
        buffers.append(view[begin:end])
    return Parcel(key, kind, flags, extra, function, body, buffers)

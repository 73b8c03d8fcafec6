"""Pickle, protocol 5. Large buffers (arrays) stay out of the pickle and are copied once, from the object to the record.

A record without such buffers is the pickle itself. Else it begins with a table, none of whose first bytes starts a
pickle: u32 0, u32 number of buffers, u64 length of the pickle, u64 length of each buffer; then the pickle; then each
buffer, on a boundary of 64 bytes.
"""

from __future__ import annotations

import pickle
import struct
from collections.abc import Iterator, Sequence
from pickle import dumps, loads
from typing import TYPE_CHECKING, Any

from shmring.codecs.protocol import NamedCodec, padding

if TYPE_CHECKING:
    from typing_extensions import Buffer

_PICKLE = 0x80  # PROTO, the first byte of every pickle since protocol 2
_TABLE = struct.Struct("=IIQ")


class PickleCodec(NamedCodec):
    """Any object that can be pickled. Decoding runs what the sender says, so trust whoever may put."""

    name = "pickle"
    runs_code = True
    _plain: tuple[Any, Any, int] | None = (dumps, loads, _PICKLE)  # short cuts that the core takes for plain objects

    def __init__(self, dumps: Any = dumps) -> None:
        self._dumps = dumps

    def encode(self, value: Any, /) -> Buffer | Sequence[Buffer]:
        found: list[pickle.PickleBuffer] = []
        stream = self._dumps(value, 5, buffer_callback=found.append)
        return _with_buffers(stream, found) if found else stream

    def decode(self, record: memoryview, /) -> Any:
        stream, buffers = record, None
        try:
            if record[0] != _PICKLE:
                stream, buffers = _split(record)
            return loads(stream, buffers=buffers and map(bytearray, buffers))
        finally:
            del record, stream, buffers  # the object may have kept an exception of its making, and with it this frame

    def view(self, record: memoryview, /) -> Any:
        if record[0] == _PICKLE:
            return loads(record)
        stream, buffers = _split(record)
        return loads(stream, buffers=buffers)

    def release(self, view: Any, /) -> None:
        """An array lets go of the record; other objects keep what they have."""
        if hasattr(type(view), "__array_interface__"):
            from shmring.codecs.arrays import empty_out

            empty_out(view)


def _with_buffers(stream: bytes, found: list[pickle.PickleBuffer]) -> list[Buffer]:
    buffers = [each.raw() for each in found]
    table = _TABLE.pack(0, len(buffers), len(stream)) + struct.pack(f"={len(buffers)}Q", *(b.nbytes for b in buffers))
    parts: list[Buffer] = [table, stream, padding(len(table) + len(stream))]
    for buffer in buffers:
        parts += buffer, padding(buffer.nbytes)
    return parts


def _split(record: memoryview) -> tuple[memoryview, Iterator[memoryview]]:
    _, count, length = _TABLE.unpack_from(record)
    lengths = struct.unpack_from(f"={count}Q", record, _TABLE.size)
    begin = _TABLE.size + 8 * count
    return record[begin : begin + length], _cut(record, begin + length, lengths)


def _cut(record: memoryview, end: int, lengths: tuple[int, ...]) -> Iterator[memoryview]:
    for length in lengths:
        begin = end + len(padding(end))
        end = begin + length
        yield record[begin:end]


CODEC = PickleCodec()

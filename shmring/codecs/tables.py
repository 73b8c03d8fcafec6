"""Arrow: a record is an Arrow IPC stream, and one byte behind its end that says which of the two it was.

The stream's buffers are copied once, from the table into the record; whatever reads Arrow IPC can read the record.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import pyarrow

from shmring.codecs.protocol import NamedCodec

if TYPE_CHECKING:
    from typing_extensions import Buffer

_BATCH, _TABLE = b"B", b"T"


class _Parts:
    """A file that keeps what is written to it, uncopied."""

    closed = False

    def __init__(self) -> None:
        self.parts: list[Buffer] = []

    def write(self, part: Buffer) -> int:
        self.parts.append(part)
        return memoryview(part).nbytes

    def tell(self) -> int:
        return sum(memoryview(part).nbytes for part in self.parts)

    def flush(self) -> None:
        """There is nothing in between."""

    def close(self) -> None:
        """There is nothing to close."""

    def readable(self) -> bool:
        return False

    def writable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return False


class ArrowCodec(NamedCodec):
    """A RecordBatch or a Table; it comes out as what it was."""

    name = "arrow"

    @property
    def guarded(self) -> ArrowCodec:
        """For messages of users who are not trusted."""
        return _GuardedArrowCodec()

    def encode(self, value: Any, /) -> Buffer | Sequence[Buffer]:
        if not isinstance(value, (pyarrow.RecordBatch, pyarrow.Table)):
            raise TypeError(f"the arrow codec takes a pyarrow RecordBatch or Table, not {type(value)!r}")
        sink = _Parts()
        with pyarrow.ipc.new_stream(pyarrow.PythonFile(sink, mode="w"), value.schema) as writer:
            writer.write(value)
        sink.parts.append(_BATCH if isinstance(value, pyarrow.RecordBatch) else _TABLE)
        return sink.parts

    def decode(self, record: memoryview, /) -> Any:
        own = pyarrow.allocate_buffer(record.nbytes)
        memoryview(own).cast("B")[:] = record
        return _read(own, record[-1:])

    def view(self, record: memoryview, /) -> Any:
        return _read(pyarrow.py_buffer(record), record[-1:])


class _GuardedArrowCodec(ArrowCodec):
    """Validates in full what is in memory of its own: offsets that lead outside, or that change after the look, harm
    nobody then.
    """

    def decode(self, record: memoryview, /) -> Any:
        data = super().decode(record)
        data.validate(full=True)
        return data

    def view(self, record: memoryview, /) -> Any:
        return self.decode(record)


def _read(buffer: pyarrow.Buffer, what: memoryview) -> Any:
    with pyarrow.ipc.open_stream(buffer) as reader:
        return reader.read_next_batch() if what == _BATCH else reader.read_all()


CODEC = ArrowCodec()

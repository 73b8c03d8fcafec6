"""Messages on standard input and output: one a line, or each behind its length.

Lines are what a shell has: the newline is taken off on the way in and put back on the way out, so a message
with a newline in it comes out as two lines. Frames carry any bytes: a u32 length, little-endian, then the
message.
"""

import errno
import io
import struct
import sys
from collections.abc import Iterator
from typing import BinaryIO, Protocol

from shmring.cli.exits import BadInput
from shmring.segment.names import printable

_FRAME_LENGTH = struct.Struct("<I")
_LONGEST_FRAME = 2**32 - 1
_CHUNK = 1 << 16
_FRAMES_EXPLAINED = "with --framed each message stands behind its length (u32, little-endian)"


def binary_input() -> io.BufferedReader:
    """Standard input. OSError when there is none."""
    if sys.stdin is None:
        raise OSError(errno.EBADF, "standard input is closed; redirect it from a file, or from /dev/null")
    return open(sys.stdin.fileno(), "rb", closefd=False)  # not ours to close


def check_output() -> None:
    """OSError when there is no standard output."""
    if sys.stdout is None:
        raise OSError(errno.EBADF, "standard output is closed; redirect it to a file, or to /dev/null")


def binary_output() -> BinaryIO:
    """Standard output. OSError when there is none."""
    check_output()
    # Not sys.stdout.buffer, which is unbuffered, and writes in parts, where Python was told so (python -u).
    return open(sys.stdout.fileno(), "wb", closefd=False)  # each message is flushed


class Reader(Protocol):
    """A binary stream whose read1() returns what is there without waiting for more."""

    def read1(self, size: int, /) -> bytes:
        """Return at most size bytes, none at the end."""


def read_lines(stream: Reader, longest: int) -> Iterator[list[bytes]]:
    """Yield the lines that are there, as they arrive, without their newlines; the last one may lack it.

    A line beyond the longest message is yielded unfinished, for the ring to refuse, not collected for ever.
    """
    parts: list[bytes] = []
    length = 0
    while chunk := stream.read1(_CHUNK):
        first, *lines = chunk.split(b"\n")
        parts.append(first)
        length += len(first)
        if lines:
            yield [b"".join(parts), *lines[:-1]]
            parts, length = [lines[-1]], len(lines[-1])
        elif length > longest:
            break
    if rest := b"".join(parts):
        yield [rest]


def read_frames(stream: Reader, longest: int) -> Iterator[list[bytes]]:
    """Yield the messages that are there, as they arrive; a stream that ends inside one is BadInput."""
    buffer = bytearray()
    number = 0
    while chunk := stream.read1(_CHUNK):
        buffer += chunk
        messages = _take_frames(buffer)
        number += len(messages)
        if messages:
            yield messages
        announced = _announced(buffer)
        if announced is not None and announced > longest:
            raise BadInput(
                f"message {number + 1} of standard input announces {announced} bytes, and this ring takes "
                f"{longest} at most; {_FRAMES_EXPLAINED}"
            )
    if buffer:
        raise BadInput(f"standard input ends inside message {number + 1}: {_missing(buffer)}; {_FRAMES_EXPLAINED}")


def _take_frames(buffer: bytearray) -> list[bytes]:
    """Take the whole messages off the start of the buffer."""
    messages = []
    used = 0
    while (length := _announced(buffer, used)) is not None:
        begin = used + _FRAME_LENGTH.size
        if len(buffer) < begin + length:
            break
        messages.append(bytes(memoryview(buffer)[begin : begin + length]))
        used = begin + length
    del buffer[:used]
    return messages


def _announced(buffer: bytearray, begin: int = 0) -> int | None:
    """Return the length that the frame beginning there announces; None while that is not complete."""
    if len(buffer) - begin < _FRAME_LENGTH.size:
        return None
    (length,) = _FRAME_LENGTH.unpack_from(buffer, begin)
    return int(length)


def _missing(buffer: bytearray) -> str:
    length = _announced(buffer)
    if length is None:
        return f"{len(buffer)} of the {_FRAME_LENGTH.size} bytes of its length"
    return f"{len(buffer) - _FRAME_LENGTH.size} of its {length} bytes"


def write_line(stream: BinaryIO, message: memoryview | bytes) -> None:
    """Write one message and a newline, through to the reader.

    A terminal gets nothing that it would obey: others may have written the message.
    """
    if stream.isatty():
        message = printable(bytes(message).decode(errors="backslashreplace"), keep="\t\n").encode()
    stream.write(message)
    stream.write(b"\n")
    _flush(stream)


def write_frame(stream: BinaryIO, message: memoryview | bytes) -> None:
    """Write the length of one message and the message, through to the reader."""
    if len(message) > _LONGEST_FRAME:
        raise BadInput(f"a message of {len(message)} bytes does not fit a frame, which holds {_LONGEST_FRAME} at most")
    stream.write(_FRAME_LENGTH.pack(len(message)))
    stream.write(message)
    _flush(stream)


def _flush(stream: BinaryIO) -> None:
    try:
        stream.flush()
    except OSError as error:
        if sys.platform == "win32" and error.errno == errno.EINVAL:  # what it says of a pipe whose reader has gone
            raise BrokenPipeError(errno.EPIPE, "nobody reads standard output any more") from None
        raise

"""What a codec is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

if TYPE_CHECKING:
    from typing_extensions import Buffer

ALIGNMENT = 64  # a record of 64 bytes and more begins on such a boundary


@runtime_checkable
class Codec(Protocol):
    """Turns objects into the bytes of one record and back.

    It may also have ``runs_code = True``, when decoding runs what the sender says (as pickle does), so that rings of
    other users are refused; and ``release(view)``, called when a ``with ring.borrow()`` block ends and nothing but its
    variable refers to the view any more: to make the view let go of the record, as ``memoryview.release`` does; and
    ``guarded``, the codec for rings that users who are not trusted may write to: their messages are made to do harm,
    and change while they are read.

    Threads:
        Used by every thread of a process at a time.

    >>> class Text:
    ...     name = "text"
    ...     def encode(self, value): return value.encode()
    ...     def decode(self, record): return str(record, "utf-8")
    ...     view = decode
    >>> codec = shmring.codecs.register(Text())
    >>> with shmring.Ring[str].create(codec="text") as ring:
    ...     ring.put("hello")
    ...     print(ring.get())
    hello
    """

    @property
    def name(self) -> str:
        """What is stored in the ring: 1 to 63 characters out of A-Z a-z 0-9 . _ : + -."""
        ...

    def encode(self, value: Any, /) -> Buffer | Sequence[Buffer]:
        """The parts of the record, as a list or tuple of buffers, or one buffer; each is copied once, in order.

        Called before any room is claimed: what it raises, ``put`` raises, and nothing has happened.
        """
        ...

    def decode(self, record: memoryview, /) -> Any:
        """The object, owning its memory: the record is reused afterwards. What it raises becomes a DecodeError.

        So does an object that refers to the record, as ``record`` itself does and ``numpy.frombuffer(record)``.
        """
        ...

    def view(self, record: memoryview, /) -> Any:
        """The object for ``borrow()``, which may refer to the record for as long as the block lasts."""
        ...


class NamedCodec:
    """A base for codecs whose view is no more than a decoded copy."""

    name: str
    runs_code = False

    def encode(self, value: Any, /) -> Buffer | Sequence[Buffer]:
        raise NotImplementedError

    def decode(self, record: memoryview, /) -> Any:
        raise NotImplementedError

    def view(self, record: memoryview, /) -> Any:
        return self.decode(record)

    def __repr__(self) -> str:
        return f"<codec {self.name!r}>"


_ZEROS = [bytes(count) for count in range(ALIGNMENT)]


def padding(length: int) -> bytes:
    """The zeros that take a record of so many bytes to the next boundary."""
    return _ZEROS[-length % ALIGNMENT]

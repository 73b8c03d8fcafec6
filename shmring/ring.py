"""Ring: messages through shared memory, each to one consumer."""

from __future__ import annotations

import dataclasses
import operator
import os
import weakref
from collections.abc import AsyncIterator, Iterable, Iterator
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Literal, Self

from shmring import _core, codecs, options
from shmring.aio.waiting import AsyncLease, AsyncRing
from shmring.attachment import Attachment
from shmring.diagnosis import CONSUMING, PRODUCING, diagnose
from shmring.errors import DecodeError, LayoutMismatch
from shmring.generic import Message
from shmring.names import registry
from shmring.options import Manner

if TYPE_CHECKING:
    from types import TracebackType

    from typing_extensions import Buffer

    from shmring.names.registry import Wish

Kind = Literal["spsc", "mpmc", "semaphore"]
KINDS = ("spsc", "mpmc", "semaphore")
SLOTS_LIMIT = 2**20
DEFAULT_CAPACITY = "1 MiB"
QUEUE = "queue."  # begins the codec of a ring that is part of a queue


@dataclasses.dataclass(frozen=True)
class RingStats:
    """A ring's exact counters, over every process that ever used it; from :meth:`Ring.stats`.

    ``messages`` wait to be received, ``claimed`` are being written (an spsc ring does not count its one), ``taken`` are
    being read. ``used`` and ``capacity`` are bytes; ``used`` reaches from the oldest message that is not acknowledged
    to the newest. ``redelivered`` messages were received before, by a process that died or handed them back.
    ``aborted`` claims never became messages.

    >>> with shmring.Ring.create() as ring:
    ...     ring.put(b"hello")
    ...     stats = ring.stats()
    >>> stats.messages, stats.bytes_put, stats.used
    (1, 5, 64)
    """

    messages_put: int
    bytes_put: int
    messages_got: int
    bytes_got: int
    redelivered: int
    aborted: int
    messages: int
    claimed: int
    taken: int
    used: int
    capacity: int


def _wish(
    kind: str,
    capacity: int | str,
    slots: int | None,
    mode: int,
    persist: bool,
    codec: str | codecs.Codec | None,
    anonymous: bool = False,
) -> Wish:
    if kind not in KINDS:
        raise ValueError(f"kind is {kind!r}; it is one of {', '.join(map(repr, KINDS))}")
    count = 0
    if slots is not None:
        count = operator.index(slots)
        if isinstance(slots, bool) or not 1 <= count <= SLOTS_LIMIT:
            raise ValueError(f"slots is {slots!r}; it is 1 to {SLOTS_LIMIT} messages, or None for as many as fit")
    found = codecs.find(codec)
    return options.wish(kind, capacity, slots=count, mode=mode, persist=persist, codec=found, anonymous=anonymous)


class Ring(Attachment[Message], AsyncRing[Message], _core.Ring[Message]):
    """A ring in shared memory: any process puts messages, each is received by one consumer.

    A message is bytes, or with ``codec=`` an object (shmring.codecs). An object is encoded before room is claimed, and
    decoded while its record is taken: one that cannot be decoded is a DecodeError, and handed back (:meth:`skip`).

    Made by :meth:`create`, :meth:`attach` or :meth:`open`; a Ring is this process's attachment to the ring. It can be
    pickled into other processes, where it attaches again; after a fork the child's copy is an attachment of its own.

    A named ring disappears when no process is attached and nothing is undelivered, unless it was made with
    ``persist=True``. A message whose ``put`` returned is not lost while the ring exists; one whose consumer died before
    acknowledging it is delivered again.

    Waits:
        A call that waits ends by its timeout, a signal handler that raises, :meth:`shutdown` in any process, or
        :meth:`close` in any thread of this one.
    When a peer dies:
        When every counterpart has died, a call that would wait raises PeerDied, after everything committed was
        delivered; with ``on_dead_peer="wait"`` it waits on for the next one.
    Threads:
        Any thread may use it; an ``"spsc"`` ring is used by one thread a side at a time (Busy otherwise).

    >>> with shmring.Ring[bytes].create(capacity="1 MiB") as ring:  # without a name: for threads, and children
    ...     ring.put(b"hello")
    ...     print(ring.get(timeout=1))
    b'hello'
    """

    _noun: ClassVar[str] = "ring"
    _kinds: ClassVar[tuple[str, ...]] = KINDS
    _holders: weakref.WeakValueDictionary[int, _Role[Message]]  # who took a side by producer() or consumer()

    def _join(self, *arguments: Any, **options: Any) -> None:
        super()._join(*arguments, **options)
        self._holders = weakref.WeakValueDictionary()

    # --- making and finding ---

    @classmethod
    def create(
        cls,
        name: str | None = None,
        capacity: int | str = DEFAULT_CAPACITY,
        kind: Kind = "mpmc",
        *,
        path: str | os.PathLike[str] | None = None,
        slots: int | None = None,
        persist: bool = False,
        mode: int = 0o600,
        on_dead_peer: Literal["raise", "wait"] = "raise",
        spin: float | Literal["auto"] = "auto",
        codec: str | codecs.Codec | None = None,
    ) -> Self:
        """Make a new ring: named, at a path (a file-backed mapping), or with neither anonymous.

        ``capacity`` is bytes of payload room ("64 MiB" or an int; 1 MiB by default); each message takes whole granules
        of 64 bytes, and at most half the capacity. ``kind`` is "mpmc" (lock-free, any number of producers and
        consumers), "spsc" (wait-free, one of each) or "semaphore" (mutex, full and empty semaphores). ``slots`` bounds
        the number of messages as well (room comes back in order, so a long borrow holds up few slots). ``persist``
        keeps the ring when no process is attached. ``mode`` is its permission bits, 0o600 by default.
        ``on_dead_peer`` is "raise" (PeerDied) or "wait". ``spin`` is how long a wait spins before it parks, in seconds,
        or "auto". ``codec`` says what a message is: "bytes", "pickle", "numpy", "arrow", "msgspec", one from
        shmring.codecs, or your own; it is stored in the ring.

        Waits:
            Never.
        Raises:
            FileExistsError: A ring of that name is in use, or holds messages.
            NoSpace: The memory cannot be reserved.
            LayoutMismatch: What stands at that name is no ring, but a folder or a link, say.
            ValueError: A value is out of range; the message says which values are allowed.
            ModuleNotFoundError: The codec's package is not installed.
        """
        how = options.manner(on_dead_peer, spin, codec=codec)
        place = cls._where(name, path)
        return cls._create(_wish(kind, capacity, slots, mode, persist, codec, anonymous=place is None), place, how)

    @classmethod
    def attach(
        cls,
        name: str | None = None,
        timeout: float | None = 0,
        *,
        path: str | os.PathLike[str] | None = None,
        owner: int | str | None = None,
        on_dead_peer: Literal["raise", "wait"] = "raise",
        spin: float | Literal["auto"] = "auto",
        codec: str | codecs.Codec | None = None,
    ) -> Self:
        """Attach to a ring that exists, by its name or path.

        Any user can make a ring of any name, so it must belong to you or to root, or else to the user that you name as
        ``owner``; objects that run code as they are decoded ("pickle") are never taken from another user.

        Messages are what the ring's codec says. ``codec`` is needed only for one that this process does not know by
        name; "raw" takes the records of any ring as bytes, encoded as they are. The others are as for :meth:`create`.

        Waits:
            For the ring to appear, up to ``timeout`` seconds. 0 (the default) does not wait, None without limit.
        Raises:
            FileNotFoundError: There is no such ring, or it did not appear in time.
            NotReady: It is there, but stays half made.
            LayoutMismatch: It is no ring, of another version, or of another codec.
            Corrupt: Its memory is damaged.
            Busy: It has 256 attachments, which is the most.
            PermissionError: It belongs to another user.
            ValueError: A value is out of range.
        When a peer dies:
            What a process that was killed while it made the ring has left is no ring, and passed over.
        """
        how = options.manner(on_dead_peer, spin, owner, codec)
        return cls._attach(registry.place_of(name, path), timeout, how)

    @classmethod
    def open(
        cls,
        name: str | None = None,
        capacity: int | str | None = None,
        kind: Kind | None = None,
        *,
        path: str | os.PathLike[str] | None = None,
        slots: int | None = None,
        persist: bool = False,
        mode: int = 0o600,
        owner: int | str | None = None,
        on_dead_peer: Literal["raise", "wait"] = "raise",
        spin: float | Literal["auto"] = "auto",
        codec: str | codecs.Codec | None = None,
    ) -> Self:
        """Attach to a ring if it is there, else create it. An empty leftover that no process has is replaced.

        What is not asked for is taken as it is in a ring that exists, and as in :meth:`create` in a new one. The
        arguments are those of :meth:`create` and :meth:`attach`.

        Waits:
            Never.
        Raises:
            LayoutMismatch: The ring that is there has another capacity, kind, slots or codec than asked for.
            NotReady: As ``attach``.
            Corrupt: As ``attach``.
            Busy: As ``attach``.
            NoSpace: As ``create``.
            PermissionError: It belongs to another user.
            ValueError: A value is out of range.
        """
        how = options.manner(on_dead_peer, spin, owner, codec)
        asked = _wish(kind or "mpmc", DEFAULT_CAPACITY if capacity is None else capacity, slots, mode, persist, codec)
        given = {"capacity": capacity is not None, "kind": kind is not None, "slots": slots is not None}
        return cls._open(asked, registry.place_of(name, path), how, given)

    @classmethod
    def _codec_for(cls, stored: str, how: Manner) -> codecs.Codec | None:
        if stored.startswith(QUEUE):
            raise LayoutMismatch("this is the first ring of a queue; attach with shmring.Queue(name=...)")
        return super()._codec_for(stored, how)

    # --- what it is ---

    def stats(self) -> RingStats:
        """Return exact counters of the whole ring, all processes together.

        Waits:
            Never; takes time in proportion to the messages in the ring.
        Raises:
            Closed: The ring is closed in this process.
            Corrupt: The shared memory was damaged or truncated.
        """
        return RingStats(**self._totals(), capacity=self.capacity)

    # --- messages that cannot be decoded ---

    def skip(self, error: DecodeError | None = None, timeout: float | None = None) -> bytes | None:
        """Take a message without decoding it, the one that ``error`` is about or else the next; return its bytes.

        With ``error`` it is exact beside other consumers: None if one of them has received the message.

        Waits:
            With ``error`` never; without it as ``get``.
        Raises:
            Empty: As ``get``, without ``error``.
            ShutDown: As ``get``, without ``error``.
            PeerDied: As ``get``, without ``error``.
            Busy: As ``get``.
            Closed: As ``get``.
            Corrupt: As ``get``.
            ValueError: The error is about a message of another ring.
        Copies:
            Once, out of the ring.
        Threads:
            As ``get``.
        """
        if error is not None and error.identity != self._identity:
            raise ValueError(f"this error is about a message of another ring than {self!r}; skip it there")
        return self._skip(error.position if error else 0, timeout)

    _undecodable_hint: str = (
        "it is still the next one: let another process have it, or take it out as bytes with {noun}.skip(error), or "
        "the next, whichever that is, with {noun}.skip(timeout=...)"
    )

    # --- roles ---

    def producer(self) -> Producer[Message]:
        """Take the producer's role now, not on the first put; a context manager that gives it back.

        Waits:
            Never.
        Raises:
            Busy: The role is taken, by another process (spsc) or by another producer() of this Ring.
            Closed: The ring is closed in this process.
        When a peer dies:
            The role of a killed process is free at once.
        """
        return Producer(self)

    def consumer(self) -> Consumer[Message]:
        """Take the consumer's role now, not on the first get; a context manager that gives it back.

        Waits:
            Never.
        Raises:
            Busy: The role is taken, by another process (spsc) or by another consumer() of this Ring.
            Closed: The ring is closed in this process.
        When a peer dies:
            The role of a killed process is free at once.
        """
        return Consumer(self)

    # --- ending ---

    def shutdown(self, immediate: bool = False) -> None:
        """Refuse further puts, and wake every waiter in every process; as ``queue.Queue.shutdown``. Cannot be undone.

        Gets go on until the ring is drained, then raise ShutDown (a message that is still borrowed may yet be handed
        back, and is delivered then). With ``immediate`` they raise it at once, and what is left, or committed by a
        claim that is still open, is dropped.

        Waits:
            Never.
        Raises:
            Closed: The ring is closed in this process.
        Threads:
            Any thread of any process may call it, and more than once.
        """
        self._shut_down(immediate)


class _Role(Generic[Message]):
    """One side of a ring, held on purpose."""

    _side: ClassVar[int]
    _own: ClassVar[tuple[str, ...]]  # in an instance these are the ring's methods, so that they cost nothing more

    def __init__(self, ring: Ring[Message]) -> None:
        if self._side in ring._holders:
            verb = "put" if self._side == PRODUCING else "get"
            raise diagnose(ring, "busy", verb, ring._slot, False)
        ring._take_role(self._side)
        ring._holders[self._side] = self
        self.ring = ring
        self.__dict__.update((name, getattr(ring, name)) for name in self._own)

    def release(self) -> None:
        """Give the role back; may be called again. Messages in the ring stay, and so does the ring."""
        if self.ring._holders.get(self._side) is self:
            del self.ring._holders[self._side]
            self.ring._give_role_back(self._side)

    def close(self) -> None:
        """Give the role back, as :meth:`release`; the ring itself stays open."""
        self.release()

    def shutdown(self, immediate: bool = False) -> None:
        """Refuse further puts, for every process: :meth:`Ring.shutdown`.

        Raises:
            Closed: The ring is closed in this process.
        """
        self.ring.shutdown(immediate)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.release()


class Producer(_Role[Message]):
    """The producer's role of a ring, with Ring's methods for it; made by :meth:`Ring.producer`.

    >>> with shmring.Ring[bytes].create(kind="spsc") as ring, ring.producer() as producer:
    ...     producer.put(b"hello")
    """

    _side = PRODUCING
    _own = ("put", "put_many", "claim", "aput", "aclaim", "shutdown")

    def put(self, data: Message, timeout: float | None = None) -> None:
        """Put one message into the ring, for one consumer: :meth:`Ring.put`, with all that stands there."""
        self.ring.put(data, timeout)

    def put_many(self, iterable: Iterable[Message], timeout: float | None = None) -> int:
        """Put each message of an iterable, in order: :meth:`Ring.put_many`, with all that stands there."""
        return self.ring.put_many(iterable, timeout)

    def claim(self, length: int, timeout: float | None = None) -> _core.Lease[memoryview]:
        """Make room for a message, to be written in place: :meth:`Ring.claim`, with all that stands there."""
        return self.ring.claim(length, timeout)

    async def aput(self, data: Message, timeout: float | None = None) -> None:
        """Put one message, in an event loop: :meth:`Ring.aput`, with all that stands there."""
        await self.ring.aput(data, timeout)

    def aclaim(self, length: int, timeout: float | None = None) -> AsyncLease[memoryview]:
        """Make room for a message, in an event loop: :meth:`Ring.aclaim`, with all that stands there."""
        return self.ring.aclaim(length, timeout)


class Consumer(_Role[Message]):
    """The consumer's role of a ring, with Ring's methods for it, and an iterator; made by :meth:`Ring.consumer`.

    >>> with shmring.Ring[bytes].create(kind="spsc") as ring, ring.consumer() as consumer:
    ...     ring.put(b"hello")
    ...     print(consumer.get())
    b'hello'
    """

    _side = CONSUMING
    _own = ("get", "get_into", "get_many", "borrow", "skip", "aget", "aborrow", "shutdown")

    def get(self, timeout: float | None = None) -> Message:
        """Take the next message out of the ring: :meth:`Ring.get`, with all that stands there."""
        return self.ring.get(timeout)

    def get_into(self, buffer: Buffer, timeout: float | None = None) -> int:
        """Take the next message into memory of the caller's: :meth:`Ring.get_into`, with all that stands there."""
        return self.ring.get_into(buffer, timeout)

    def get_many(self, limit: int | None = None, timeout: float | None = None) -> list[Message]:
        """Take a message and what else is there: :meth:`Ring.get_many`, with all that stands there."""
        return self.ring.get_many(limit, timeout)

    def borrow(self, timeout: float | None = None) -> _core.Lease[Any]:
        """Look at the next message in place: :meth:`Ring.borrow`, with all that stands there."""
        return self.ring.borrow(timeout)

    def skip(self, error: DecodeError | None = None, timeout: float | None = None) -> bytes | None:
        """Take a message without decoding it: :meth:`Ring.skip`, with all that stands there."""
        return self.ring.skip(error, timeout)

    async def aget(self, timeout: float | None = None) -> Message:
        """Take the next message, in an event loop: :meth:`Ring.aget`, with all that stands there."""
        return await self.ring.aget(timeout)

    def aborrow(self, timeout: float | None = None) -> AsyncLease[Any]:
        """Look at the next message in place, in an event loop: :meth:`Ring.aborrow`, with all that stands there."""
        return self.ring.aborrow(timeout)

    def __iter__(self) -> Iterator[Message]:
        return iter(self.ring)

    def __aiter__(self) -> AsyncIterator[Message]:
        return aiter(self.ring)

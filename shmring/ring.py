"""Ring: messages through shared memory, each to one consumer."""

from __future__ import annotations

import dataclasses
import operator
import os
import weakref
from collections.abc import AsyncIterator, Iterable
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from shmring import _core, attachment, codecs, registry
from shmring.asynchronous import AsyncRing
from shmring.attachment import Attachment, Manner
from shmring.diagnosis import CONSUMING, PRODUCING, diagnose
from shmring.errors import DecodeError, LayoutMismatch

if TYPE_CHECKING:
    from types import TracebackType

    from shmring.registry import Wish

Kind = Literal["spsc", "mpmc", "semaphore"]
KINDS = ("spsc", "mpmc", "semaphore")
SLOTS_LIMIT = 2**20
DEFAULT_CAPACITY = "1 MiB"
QUEUE = "queue."  # begins the codec of a ring that is part of a queue


@dataclasses.dataclass(frozen=True)
class RingStats:
    """A ring's exact counters, over every process that ever used it.

    ``messages`` wait to be taken, ``claimed`` are being written (an spsc ring does not count its one), ``taken`` are
    being read. ``used`` is in bytes, from the oldest message that is not done with to the newest. ``redelivered``
    messages were taken before by somebody who died or handed them back. ``aborted`` claims never became messages.
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
    return attachment.wish(kind, capacity, slots=count, mode=mode, persist=persist, codec=found, anonymous=anonymous)


class Ring(Attachment, AsyncRing, _core.Ring):
    """A ring in shared memory: any process puts messages, each is taken by one consumer.

    A message is bytes, or with ``codec=`` an object (shmring.codecs). An object is encoded before room is claimed, and
    decoded while its record is taken: one that cannot be is a DecodeError, and handed back (:meth:`skip`).

    Made by :meth:`create`, :meth:`attach` or :meth:`open`; a Ring is this process's attachment to it. Any thread may
    use it; an ``"spsc"`` ring is used by one thread a side at a time (``Busy`` otherwise). It can be pickled into
    other processes, where it attaches again; after a fork the child's copy is an attachment of its own.

    A named ring disappears when nobody is attached and nothing is undelivered, unless it was made with
    ``persist=True``. A message whose ``put`` returned is not lost while the ring exists; one whose consumer died before
    acknowledging it is delivered again.

    A call that blocks can be left by its timeout, a signal handler that raises, :meth:`shutdown` or :meth:`close`
    from any thread. When every counterpart has died it raises PeerDied, after everything committed was delivered
    (``on_dead_peer="wait"`` waits on instead).
    """

    _noun: ClassVar[str] = "ring"
    _kinds: ClassVar[tuple[str, ...]] = KINDS
    _holders: weakref.WeakValueDictionary[int, _Role]  # who took a side by producer() or consumer()

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
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

        ``capacity`` is bytes of payload room ("64 MiB" or an int); each message takes whole granules of 64 bytes, and
        at most half the capacity. ``kind`` is "mpmc" (lock-free, any number of producers and consumers), "spsc"
        (wait-free, one of each) or "semaphore" (mutex, full and empty semaphores). ``slots`` bounds the number of
        messages as well (room comes back in order, so a long borrow holds up few slots). ``spin`` is how long a wait
        spins before it parks, in seconds, or "auto". ``codec`` says what a message is: "bytes", "pickle", "numpy",
        "arrow", "msgspec", one from shmring.codecs, or your own; it is stored in the ring.

        Does not block. FileExistsError when a ring of that name is in use or holds messages; NoSpace when the memory
        cannot be reserved; ValueError for values out of range.
        """
        how = attachment.manner(on_dead_peer, spin, codec=codec)
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
        """Attach to a ring that exists, waiting up to ``timeout`` seconds for it to appear (None: for ever).

        Anybody can make a ring of any name, so it must belong to you or to root, or else to the user that you name as
        ``owner``; objects that run code as they are decoded ("pickle") are never taken from another user.

        Messages are what the ring's codec says. ``codec`` is needed only for one that this process does not know by
        name; "raw" takes the records of any ring as bytes, encoded as they are.

        FileNotFoundError when it does not appear; NotReady when it does but stays half made; LayoutMismatch (another
        codec, too), Corrupt or PermissionError when it cannot be used.
        """
        how = attachment.manner(on_dead_peer, spin, owner, codec)
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
        """Attach to a ring if it is there, else create it. A leftover that is nobody's and empty is replaced.

        LayoutMismatch when the ring that is there has another capacity, kind, slots or codec than asked for; what is
        not asked for is taken as it is. Otherwise as create and attach.
        """
        how = attachment.manner(on_dead_peer, spin, owner, codec)
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
        """Exact counters of the whole ring, all processes together. Does not block; takes time with what is in it."""
        return RingStats(**self._totals(), capacity=self.capacity)

    # --- messages that cannot be decoded ---

    def skip(self, error: DecodeError | None = None, timeout: float | None = None) -> bytes | None:
        """Take a message without decoding it: the one that ``error`` is about, else the next. Its bytes.

        With ``error`` it never blocks, and is exact beside other consumers: None when one of them has the message by
        now. Without, it waits as ``get`` does.
        """
        if error is not None and error.identity != self._identity:
            raise ValueError(f"this error is about a message of another ring than {self!r}; skip it there")
        return self._skip(error.position if error else 0, timeout)

    _undecodable_hint: ClassVar[str] = (
        "it is still the next one: let another process have it, or take it out as bytes with {noun}.skip(error), or "
        "the next, whichever that is, with {noun}.skip(timeout=...)"
    )

    # --- roles ---

    def producer(self) -> Producer:
        """Take the producer's role now, not on the first put; a context manager that gives it back.

        Does not block. Busy when the role is taken: by another process (spsc), or by another producer() of this Ring.
        """
        return Producer(self)

    def consumer(self) -> Consumer:
        """Take the consumer's role now, not on the first get; otherwise as :meth:`producer`."""
        return Consumer(self)

    # --- ending ---

    def shutdown(self, immediate: bool = False) -> None:
        """Refuse further puts, and wake every waiter in every process; as ``queue.Queue.shutdown``.

        Gets go on until the ring is drained, then raise ShutDown (a message that somebody still borrows may yet come
        back, and is delivered to whoever gets then); with ``immediate`` they raise it at once, and what
        is left, or still committed by an open claim, is dropped. Cannot be undone. Any process and thread may call
        it; does not block.
        """
        self._shut_down(immediate)


class _Role:
    """One side of a ring, held on purpose. Methods are the ring's own, so that they cost nothing more."""

    _side: int

    def __init__(self, ring: Ring) -> None:
        if self._side in ring._holders:
            verb = "put" if self._side == PRODUCING else "get"
            raise diagnose(ring, "busy", verb, ring._slot, False)
        ring._take_role(self._side)
        ring._holders[self._side] = self
        self.ring = ring

    def release(self) -> None:
        """Give the role back; may be called again. Messages in the ring stay."""
        if self.ring._holders.get(self._side) is self:
            del self.ring._holders[self._side]
            self.ring._give_role_back(self._side)

    def close(self) -> None:
        """The same as :meth:`release`; the ring itself stays open."""
        self.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.release()


class Producer(_Role):
    """The producer's role of a ring, with Ring's methods for it; made by :meth:`Ring.producer`."""

    _side = PRODUCING

    def __init__(self, ring: Ring) -> None:
        super().__init__(ring)
        self.put = ring.put
        self.put_many = ring.put_many
        self.claim = ring.claim
        self.aput = ring.aput
        self.aclaim = ring.aclaim
        self.shutdown = ring.shutdown


class Consumer(_Role):
    """The consumer's role of a ring, with Ring's methods for it; made by :meth:`Ring.consumer`."""

    _side = CONSUMING

    def __init__(self, ring: Ring) -> None:
        super().__init__(ring)
        self.get = ring.get
        self.get_into = ring.get_into
        self.get_many = ring.get_many
        self.borrow = ring.borrow
        self.skip = ring.skip
        self.aget = ring.aget
        self.aborrow = ring.aborrow
        self.shutdown = ring.shutdown

    def __iter__(self) -> Iterable[Any]:
        return iter(self.ring)

    def __aiter__(self) -> AsyncIterator[Any]:
        return aiter(self.ring)

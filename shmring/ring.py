"""Ring: messages through shared memory, each to one consumer."""

from __future__ import annotations

import atexit
import contextlib
import dataclasses
import errno
import importlib
import operator
import os
import sys
import traceback
import weakref
from collections.abc import AsyncIterator, Callable, Iterable
from typing import TYPE_CHECKING, Any, Literal, Self, cast

from shmring import _core, codecs, registry, segment, semaphores
from shmring.asynchronous import AsyncMethods
from shmring.diagnosis import CONSUMING, PRODUCING, diagnose
from shmring.errors import Closed, DecodeError, LayoutMismatch
from shmring.registry import Place, Wish
from shmring.segment.machine import check_machine, machine
from shmring.segment.sizes import parse_size

if TYPE_CHECKING:
    from types import TracebackType

Kind = Literal["spsc", "mpmc", "semaphore"]
KINDS = ("spsc", "mpmc", "semaphore")
CAPACITY_LIMIT = 2**40
SLOTS_LIMIT = 2**20
DEFAULT_CAPACITY = "1 MiB"
QUEUE = "queue."  # begins the codec of a ring that is part of a queue
_ADAPTIVE = -1

_open_rings: weakref.WeakSet[Ring] = weakref.WeakSet()


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


@dataclasses.dataclass(frozen=True)
class _Manner:
    """How an attachment behaves; travels with a pickled handle."""

    on_dead_peer: str
    spin: float | Literal["auto"]
    owner: int | None = None
    codec: str | codecs.Codec | None = None

    @property
    def spin_ns(self) -> int:
        return _ADAPTIVE if self.spin == "auto" else int(self.spin * 1e9)

    @property
    def outlive_peers(self) -> bool:
        return self.on_dead_peer == "wait"


def _manner(
    on_dead_peer: str,
    spin: float | Literal["auto"],
    owner: int | str | None = None,
    codec: str | codecs.Codec | None = None,
) -> _Manner:
    if on_dead_peer not in ("raise", "wait"):
        raise ValueError(f"on_dead_peer is {on_dead_peer!r}; it is 'raise' (PeerDied) or 'wait'")
    if spin != "auto" and not (isinstance(spin, (int, float)) and 0 <= spin <= 10):
        raise ValueError(f"spin is {spin!r}; it is 'auto' or seconds from 0 (never spin) to 10")
    return _Manner(on_dead_peer, spin, registry.user_id(owner), codec)


def _wish(
    kind: str,
    capacity: int | str,
    slots: int | None,
    mode: int,
    persist: bool,
    codec: codecs.Codec | None,
    anonymous: bool = False,
) -> Wish:
    if kind not in KINDS:
        raise ValueError(f"kind is {kind!r}; it is one of {', '.join(map(repr, KINDS))}")
    count = 0
    if slots is not None:
        count = operator.index(slots)
        if isinstance(slots, bool) or not 1 <= count <= SLOTS_LIMIT:
            raise ValueError(f"slots is {slots!r}; it is 1 to {SLOTS_LIMIT} messages, or None for as many as fit")
    if not isinstance(mode, int) or mode & ~0o777 or mode & 0o600 != 0o600:
        shown = oct(mode) if isinstance(mode, int) else repr(mode)
        raise ValueError(f"mode is {shown}; it is permission bits that let the owner read and write, such as 0o600")
    if persist and anonymous:
        raise ValueError("persist=True needs a name or a path: nobody could find an anonymous ring again")
    if mode & 0o022 and getattr(codec, "runs_code", False):
        raise ValueError(
            f"mode {oct(mode)} lets others put messages that run code here ({codec!r}), and they could not use such a "
            "ring themselves; leave mode at 0o600, or use a codec that only holds data"
        )
    name = codec.name if codec else "bytes"
    return Wish(kind, parse_size(capacity, limit=CAPACITY_LIMIT), count, mode, bool(persist), name)


class Ring(AsyncMethods):
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

    _noun = "ring"  # what a user calls it
    _segment: segment.Segment
    _place: Place | None
    _identity: int
    _kind: str
    _manner: _Manner
    _hold: semaphores.Hold | None
    _holders: weakref.WeakValueDictionary[int, _Role]  # who took a side by producer() or consumer()

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
        manner = _manner(on_dead_peer, spin, codec=codec)
        place = None if name is None and path is None else registry.place_of(name, path)
        wish = _wish(kind, capacity, slots, mode, persist, codecs.find(codec), anonymous=place is None)
        memory, identity, hold = registry.new_segment(wish, place)
        try:
            ring = cls._on(memory, place, manner, hold)
        except BaseException:
            semaphores.remove(kind, identity)
            memory.close()
            raise
        if place is not None:
            try:
                registry.publish(memory, place)
            except BaseException:
                ring.close()
                raise
        return ring

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
        manner = _manner(on_dead_peer, spin, owner, codec)
        place = registry.place_of(name, path)
        if timeout is not None and not (isinstance(timeout, (int, float)) and 0 <= timeout < float("inf")):
            raise ValueError(f"timeout is {timeout!r}; it is a number of seconds from 0, or None to wait for ever")
        while True:
            memory = registry.wait_for_segment(place, timeout, manner.owner)
            try:
                return cls._on(memory, place, manner)
            except FileNotFoundError:  # removed between the opening and the attaching: look again
                memory.close()
            except BaseException:
                memory.close()
                raise

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
        place = registry.place_of(name, path)
        made = codecs.find(codec)
        wish = _wish(kind or "mpmc", DEFAULT_CAPACITY if capacity is None else capacity, slots, mode, persist, made)
        while True:
            if registry.reclaim(place) is not None:
                with contextlib.suppress(FileNotFoundError):
                    ring = cls.attach(name, path=path, owner=owner, on_dead_peer=on_dead_peer, spin=spin, codec=codec)
                    ring._check_wish(wish, capacity is not None, kind is not None, slots is not None)
                    return ring
            with contextlib.suppress(FileExistsError):
                return cls.create(
                    name,
                    wish.capacity,
                    cast(Kind, wish.kind),
                    path=path,
                    slots=slots,
                    persist=persist,
                    mode=mode,
                    on_dead_peer=on_dead_peer,
                    spin=spin,
                    codec=codec,
                )

    @classmethod
    def _on(
        cls,
        memory: segment.Segment,
        place: Place | None,
        manner: _Manner,
        hold: semaphores.Hold | None = None,
        *,
        at: int = 0,
        populate: bool = True,
    ) -> Self:
        """Attach to what is mapped. ``at``: where it begins in its file; ``populate``: map all pages at first use."""
        kind, slots, identity, *_ = _core.describe(memory)
        stored = registry.codec_of(memory)
        codec = cls._codec_for(stored, manner)
        if getattr(codec, "runs_code", False) and not registry.is_mine(memory):
            raise PermissionError(
                errno.EACCES,
                f"the {stored!r} messages of another user's ring could run anything here, so they are not decoded; let "
                'that user choose a codec that only holds data ("numpy", "arrow", "msgspec", "bytes")',
            )
        names = semaphores.names(kind, identity)
        if names and hold is None:
            hold = semaphores.Hold(identity)
        try:
            name = place.name if place else None
            ring = cls(memory, memory.fd, name, names, manner.spin_ns, manner.outlive_peers, codec, at, populate)
        except BaseException:
            if hold:
                hold.close()
            raise
        ring._segment, ring._place, ring._manner, ring._hold = memory, place, manner, hold
        ring._identity, ring._kind, ring._slots, ring._codec = identity, kind, slots or None, stored
        ring._holders = weakref.WeakValueDictionary()
        _open_rings.add(ring)
        _close_at_exit_of_workers()
        return ring

    @classmethod
    def _codec_for(cls, stored: str, manner: _Manner) -> codecs.Codec | None:
        if stored.startswith(QUEUE):
            raise LayoutMismatch("this is the first ring of a queue; attach with shmring.Queue(name=...)")
        return codecs.recognise(stored, manner.codec)

    def _check_wish(self, wish: Wish, capacity: bool, kind: bool, slots: bool) -> None:
        asked = [("capacity", capacity, wish.capacity, self.capacity), ("kind", kind, wish.kind, self._kind)]
        asked += [("slots", slots, wish.slots, self._slots or 0)]
        for what, given, wanted, found in asked:
            if given and wanted != found:
                self.close()
                raise LayoutMismatch(
                    f"the ring that is there has {what} {found!r}, not {wanted!r}; leave {what} out to take it as it "
                    "is, or unlink it first"
                )

    # --- what it is ---

    @property
    def kind(self) -> str:
        """ "spsc", "mpmc" or "semaphore"."""
        return self._kind

    @property
    def slots(self) -> int | None:
        """The most messages at a time; None when only the capacity bounds them."""
        return self._slots

    @property
    def codec(self) -> str:
        """What a message is: the name of the codec that is stored in the ring."""
        return self._codec

    _slots: int | None
    _codec: str

    def stats(self) -> RingStats:
        """Exact counters of the whole ring, all processes together. Does not block; takes time with what is in it."""
        return RingStats(**self._totals(), capacity=self.capacity)

    def __repr__(self) -> str:
        where = "anonymous" if self._place is None else repr(self._place.name or str(self._place.path))
        return f"<Ring {where} {self._kind} capacity={self.capacity}{' closed' if self.closed else ''}>"

    # --- messages that cannot be decoded ---

    def skip(self, error: DecodeError | None = None, timeout: float | None = None) -> bytes | None:
        """Take a message without decoding it: the one that ``error`` is about, else the next. Its bytes.

        With ``error`` it never blocks, and is exact beside other consumers: None when one of them has the message by
        now. Without, it waits as ``get`` does.
        """
        if error is not None and error.identity != self._identity:
            raise ValueError(f"this error is about a message of another ring than {self!r}; skip it there")
        return self._skip(error.position if error else 0, timeout)

    def _undecodable(self, cause: BaseException, position: int, length: int) -> DecodeError:
        """Called by the core. The frames that failed must not go on referring to the record."""
        traceback.clear_frames(cause.__traceback__)
        title = f"{self._noun} {self.name!r}" if self.name is not None else f"an anonymous {self._noun}"
        error = DecodeError(
            f"a message of {title} ({length} bytes at position {position}, codec {self.codec!r}) cannot be decoded "
            f"here: {type(cause).__name__}: {cause}; it is still the next one: let another process have it, or take it "
            f"out as bytes with {self._noun}.skip(error), or the next, whichever that is, with "
            f"{self._noun}.skip(timeout=...)",
            position,
            length,
            self._identity,
        )
        error.__cause__ = cause
        return error

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

    def close(self) -> None:
        """Leave the ring; threads blocked in this Ring get Closed. The last to leave an empty ring removes it.

        Does not block, and may be called again. BufferError while a claimed or borrowed view is open.
        """
        if self._begin_close():
            self._complete_close()

    def _complete_close(self, unmap: bool = True) -> None:
        """Called by close, or by the core when the last blocked call has left a ring that is being closed."""
        _open_rings.discard(self)
        abandoned = self._detach()
        try:
            if abandoned or self._damaged:  # nobody can use what is left of it
                semaphores.remove(self._kind, self._identity)
                if self._place is not None and abandoned:
                    with contextlib.suppress(PermissionError):  # another user's: its next create takes the place over
                        registry.remove_name(self._segment, self._place)
        finally:
            if unmap:
                self._finish_close()
                self._segment.close()
            if self._hold:
                self._hold.close()

    def unlink(self) -> None:
        """Remove the ring's name; those attached go on using it.

        FileNotFoundError when it is gone already, even if another ring has the name by now.
        """
        if self._place is None:
            raise ValueError("an anonymous ring has no name to unlink; close() it")
        registry.unlink_at(self._place, self._identity)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __del__(self) -> None:
        with contextlib.suppress(Exception):  # half-built, or at interpreter exit: the kernel cleans up after us
            self.close()

    # --- travelling ---

    def __reduce__(self) -> tuple[Callable[..., Ring], tuple[Any, ...]]:
        if self.closed:
            raise Closed(f"{self!r} is closed in this process and cannot be sent to another; attach it again first")
        if self._place is None:
            return _attach_anonymous, (type(self), self._segment, self._identity, self._manner)
        path = None if self._place.name else str(self._place.path)
        return _attach_pickled, (type(self), self._place.name, path, self._identity, self._manner, machine())


def _attach_pickled(
    cls: type[Ring], name: str | None, path: str | None, identity: int, manner: _Manner, origin: str
) -> Ring:
    check_machine(origin, f"the ring {name or path!r}")
    ring = cls.attach(
        name,
        path=path,
        owner=manner.owner,
        on_dead_peer=cast(Any, manner.on_dead_peer),
        spin=manner.spin,
        codec=manner.codec,
    )
    if ring._identity != identity:
        ring.close()
        raise FileNotFoundError(
            f"the ring {name or path!r} that this handle was made for is gone; another one has its name now"
        )
    return ring


def _attach_anonymous(cls: type[Ring], memory: segment.Segment, identity: int, manner: _Manner) -> Ring:
    ring = cls._on(memory, None, manner)
    if ring._identity != identity:
        ring.close()
        raise FileNotFoundError("the anonymous ring that this handle was made for is gone")
    return ring


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


def _close_all() -> None:
    for ring in [*_open_rings]:
        with contextlib.suppress(Exception):  # at exit there is nobody left to tell
            views_alive = ring._forsake_leases()
            if ring._begin_close():
                ring._complete_close(unmap=not views_alive)


def _attach_all_after_fork() -> None:
    for ring in [*_open_rings]:
        with contextlib.suppress(Exception):  # raised again, and seen, at the first use in the child
            ring._after_fork()
    if _open_rings:
        _close_at_exit_of_workers()


def _close_at_exit_of_workers() -> None:
    """Processes of multiprocessing and multiprocess leave by os._exit, past atexit: use their finalizers as well.

    A worker clears the finalizers that it finds when it begins, then runs what was registered for after the fork.
    """
    for package in ("multiprocessing", "multiprocess"):
        if package in sys.modules and (package, os.getpid()) not in _finalized:
            _finalized.add((package, os.getpid()))
            util = importlib.import_module(f"{package}.util")
            util.Finalize(None, _close_all, exitpriority=0)
            util.register_after_fork(_close_all, _finalize_after_fork)


def _finalize_after_fork(close_all: Callable[[], None]) -> None:
    for package in ("multiprocessing", "multiprocess"):
        if package in sys.modules:
            importlib.import_module(f"{package}.util").Finalize(None, close_all, exitpriority=0)


_finalized: set[tuple[str, int]] = set()
atexit.register(_close_all)
os.register_at_fork(after_in_child=_attach_all_after_fork)

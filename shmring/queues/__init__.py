"""Queues of objects with multiprocessing's calls: change the import, nothing else."""

from __future__ import annotations

import contextlib
import math
import operator
import time
import types
import weakref
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, Literal, Self

from shmring import _core, codecs, registry, segment
from shmring.attachment import CAPACITY_LIMIT, Manner
from shmring.diagnosis import CONSUMING, PRODUCING, diagnose
from shmring.errors import Closed, DecodeError, Empty, Full, PeerDied, ShmringError, ShutDown
from shmring.places import Place
from shmring.queues.account import Account
from shmring.queues.asynchronous import AsyncQueueMethods
from shmring.queues.chain import Chain
from shmring.queues.link import Root
from shmring.queues.objects import CountingCodec, QueueCodec
from shmring.queues.opening import JOINABLE, PLAIN, checked, first_link_finished, found, shape
from shmring.segment.descriptors import shortage_explained
from shmring.segment.sizes import parse_size

if TYPE_CHECKING:
    from types import TracebackType

__all__ = ["JoinableQueue", "Queue", "SimpleQueue"]

DEFAULT_CAPACITY = "16 MiB"
_LOOK_UP = 0.1


class ClosedEnd(Closed, OSError):
    """Closed, where multiprocessing says OSError, of its pipe."""


class _Base(AsyncQueueMethods):
    """What the three kinds of queue share."""

    _chain: Chain
    _codec: codecs.Codec
    _stored = PLAIN  # what the first ring says that the queue is
    _closed = True  # until it is open
    _left = (0, False)  # when it is closed: how many messages there were, and whether it was full

    @shortage_explained()
    def __init__(
        self,
        maxsize: int = 0,
        *,
        capacity: int | str = DEFAULT_CAPACITY,
        name: str | None = None,
        max_bytes: int | str | None = None,
        on_dead_peer: Literal["wait", "raise"] = "wait",
        ctx: Any = None,
    ) -> None:
        """Make a queue; with a ``name``, or attach to the one that is there.

        ``maxsize`` bounds the number of messages; 0 or less does not. ``capacity`` is what the first ring has; when
        that is full, further ones are linked, until all take ``max_bytes`` (None: half of the shared memory that is
        free now). ``ctx`` is taken because multiprocessing.queues.Queue takes it, and not needed.
        """
        if on_dead_peer not in ("raise", "wait"):
            raise ValueError(f"on_dead_peer is {on_dead_peer!r}; it is 'wait', as in multiprocessing, or 'raise'")
        bound = max(0, operator.index(maxsize))
        first = parse_size(capacity, limit=CAPACITY_LIMIT)
        most = None if max_bytes is None else parse_size(max_bytes, what="max_bytes")
        place = None if name is None else registry.place_of(name, None)
        while True:
            memory = found(place, bound, first, most, self._stored)
            try:
                self._open(memory, place, on_dead_peer)
                return
            except FileNotFoundError:  # the last one left it while we attached: look again, or make another
                if place is None:
                    raise

    def _open(self, memory: segment.Segment, place: Place | None, on_dead_peer: str) -> None:
        self._codec = self._new_codec()
        at = _core.segment_size("mpmc", *shape(memory))
        populate = place is not None and not first_link_finished(memory, at)  # or what was freed would come back
        try:
            root = Root._on(memory, place, Manner("wait", "auto", None, self._codec), populate=populate)
        except BaseException:
            memory.close()
            raise
        self._chain = Chain(root, self._codec, on_dead_peer == "wait")
        self._on_dead_peer = on_dead_peer
        self._closed = False
        self._opened()

    def _new_codec(self) -> codecs.Codec:
        return QueueCodec()

    def _opened(self) -> None:
        """For what a kind of queue needs beyond the links."""

    # --- the calls ---

    def _put_slowly(self, parts: Any, deadline: float) -> None:
        """What try_put gave back."""
        with self._still_open():
            self._chain.take_role(PRODUCING)
            self._chain.put(parts, deadline)

    def _get_slowly(self, deadline: float) -> Any:
        """Where get_now would not."""
        with self._still_open():
            self._chain.take_role(CONSUMING)
            return self._chain.get(deadline)

    _end_closed: type[Closed] = Closed  # what put and get raise after close()

    @contextlib.contextmanager
    def _still_open(self) -> Iterator[None]:
        """Refuse a closed queue, at the door, and where another thread closes it meanwhile and unmaps its memory."""
        if self._closed:
            raise self._end_closed(f"{self!r} is closed")
        try:
            yield
        except ValueError:
            if not self._closed:
                raise
            raise self._end_closed(f"{self!r} was closed by another thread") from None

    def empty(self) -> bool:
        """True when no message waits to be got. Exact at its moment; does not block. OSError after close()."""
        if self._closed:
            raise ClosedEnd(f"{self!r} is closed")
        return self._chain.messages() == 0

    def skip(self, error: DecodeError | None = None, timeout: float | None = None) -> bytes | None:
        """Take a message out without decoding it: the one that ``error`` is about, else the next. Its bytes.

        With ``error`` it never blocks, and is None when another consumer has the message by now.
        """
        return self._chain.skip(error, _deadline(True, timeout))

    def close(self) -> None:
        """Leave the queue; this process uses it no more. What was put stays for the others. May be called again.

        As in multiprocessing, put and get raise ValueError from now on, ``empty`` OSError (SimpleQueue's three all
        OSError; here each is a Closed as well), while ``qsize`` and ``full`` go on to say what there was.
        """
        if not self._closed:
            # Another thread's close was first; the memory was truncated; no descriptor is left.
            with contextlib.suppress(ShmringError, OSError):
                self._remember()
        self._leave()

    def _remember(self) -> None:
        """What is still to be had after the end."""
        count = self._chain.messages()
        self._left = count, 0 < self._chain.control.maxsize <= count

    def _leave(self) -> None:
        self._closed = True
        if hasattr(self, "_chain"):
            self._chain.close()

    @property
    def name(self) -> str | None:
        """The name it was made with, or None."""
        return self._chain.root.name

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __del__(self) -> None:
        try:  # noqa: SIM105 - contextlib may be gone
            self._leave()
        except Exception:  # half made, or at interpreter exit
            pass

    if not TYPE_CHECKING:  # or every name would pass for an attribute

        def __getattr__(self, name: str) -> Any:
            if name in ("_reader", "_writer"):
                raise AttributeError(
                    f"{type(self).__name__} has no {name}: there is no pipe, and no descriptor that is readable while "
                    "a message waits; to wait for several queues, await aget() of each in an event loop, or get() in "
                    "threads"
                )
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def __repr__(self) -> str:
        state = " closed" if self._closed else ""
        named = "" if self._closed or self.name is None else f" {self.name!r}"
        return f"<{type(self).__name__}{named} at {id(self):#x}{state}>"

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        if self._closed:
            raise Closed(f"{self!r} is closed, and cannot be sent to another process")
        root = self._chain.root
        memory = root._segment if root._place is None else None  # a name is found again by itself
        return _attached, (type(self), self.name, memory, root._identity, self._on_dead_peer)


class Queue(_Base):
    """multiprocessing.Queue on shared memory: same calls, no feeder thread, and nobody waits for a killed process.

    Any thread of any process may put and get. When ``put`` returns, the message is in shared memory, and is not lost
    while a process has the queue; an object that cannot be pickled raises at ``put``. A message whose consumer died
    before ``get`` returned is got by another. It goes to children by inheritance or as an argument, under every start
    method of multiprocessing and of multiprocess, and anywhere else in a pickle.

    With ``maxsize=0`` it grows as it must, up to ``max_bytes``: past that ``put`` blocks, and NoSpace says that a
    message can never fit. Memory goes back to the system as the queue is drained.

    One thing differs for a reader that goes on after errors: a message that cannot be unpickled is not dropped. It
    stays the next one, for a consumer that can, until :meth:`skip` takes it out.

    As in multiprocessing, a call waits on when every counterpart has died; ``on_dead_peer="raise"`` has it raise
    PeerDied.
    """

    def put(self, obj: Any, block: bool = True, timeout: float | None = None) -> None:
        """Put an object; waits for room, as told. Full when there is none in time; what pickle raises otherwise."""
        parts = self._chain.try_put(obj)
        if parts is not None:
            self._put_slowly(parts, _deadline(block, timeout))

    def get(self, block: bool = True, timeout: float | None = None) -> Any:
        """Take the next object; waits for it, as told. Empty when none comes in time; DecodeError: see :meth:`skip`."""
        try:
            if block and timeout is None:
                return self._chain.get_now()
            deadline = _deadline(block, timeout)
            return self._chain.get_now(max(0.0, timeout) if block and timeout is not None else 0)
        except (ShutDown, Closed):
            return self._get_slowly(_deadline(block, None) if timeout is None or not block else deadline)

    def put_nowait(self, obj: Any) -> None:
        """The same without waiting."""
        self.put(obj, False)

    def get_nowait(self) -> Any:
        """The same without waiting."""
        return self.get(False)

    def put_many(self, iterable: Iterable[Any], timeout: float | None = None) -> int:
        """Put each object; how many went in before the timeout. Full when none did."""
        deadline = _deadline(True, timeout)
        done = 0
        for obj in iterable:
            try:
                parts = self._chain.try_put(obj)
                if parts is not None:
                    self._put_slowly(parts, deadline)
            except Full:
                if not done:
                    raise
                break
            done += 1
        return done

    def get_many(self, limit: int | None = None, timeout: float | None = None) -> list[Any]:
        """Wait for an object, then take it and what is there already, at most ``limit``."""
        if limit is not None and operator.index(limit) < 1:
            raise ValueError(f"limit is {limit!r}; it must be at least 1, or None for all there is")
        found = [self.get(True, timeout)]
        most = self.qsize() + 1 if limit is None else limit
        while len(found) < most:
            try:
                found.append(self.get(False))
            except (Empty, DecodeError):  # the undecodable one stays, for the next call to tell of
                break
        return found

    def qsize(self) -> int:
        """How many messages wait to be got. Exact at its moment; does not block; takes time with their number.

        After close(), how many waited then.
        """
        return self._left[0] if self._closed else self._chain.messages()

    def full(self) -> bool:
        """True when it holds ``maxsize`` messages; after close(), when it did then."""
        if self._closed:
            return self._left[1]
        maxsize = self._chain.control.maxsize
        return bool(maxsize) and self._chain.messages() >= maxsize

    def join_thread(self) -> None:
        """Does nothing after close(): there is no thread, and everything was in shared memory when put() returned."""
        if not self._closed:
            raise AssertionError(f"Queue {self!r} not closed")

    def cancel_join_thread(self) -> None:
        """Does nothing: there is no thread."""


class JoinableQueue(Queue):
    """multiprocessing.JoinableQueue: a Queue whose consumers say when they have done what they got.

    A task whose consumer died before ``get`` returned is got by another. One that died after it, and had not called
    ``task_done``, keeps ``join`` waiting, as in multiprocessing; with ``on_dead_peer="raise"`` that is PeerDied.
    """

    _stored = JOINABLE
    _after: Account | None = None  # once it is closed

    def _new_codec(self) -> codecs.Codec:
        self._counter = CountingCodec()
        return self._counter

    def _opened(self) -> None:
        self._counter.chain = weakref.ref(self._chain)

    def task_done(self) -> None:
        """Say that one task that was got is done. ValueError when there is none."""
        with self._account() as account:
            account.task_done()

    def join(self) -> None:
        """Wait until every object that was put was got, and said to be done. After close() too, as task_done."""
        with self._account(alone=True) as account:
            while True:
                ticket = account.control.announce_joiner()
                if account.unfinished() < 1:
                    return
                account.control.wait_for_tasks(ticket, _LOOK_UP)
                if self._on_dead_peer == "raise" and not self._closed:
                    self._check_workers()

    def _remember(self) -> None:
        super()._remember()
        root = self._chain.root
        self._after = Account.apart(root._segment, self._chain.control.at, root._slot)

    @contextlib.contextmanager
    def _account(self, alone: bool = False) -> Iterator[Account]:
        """The tasks; ``alone``: in a mapping that a close() by another thread leaves in peace."""
        root, control = self._chain.root, self._chain.control
        if self._after is not None:
            yield self._after
        elif self._closed:
            raise Closed(f"{self!r} is closed")
        elif not alone:
            yield Account(root._segment, control, root._slot)
        else:
            with contextlib.closing(Account.apart(root._segment, control.at, root._slot)) as account:
                yield account

    def _check_workers(self) -> None:
        """PeerDied when only dead processes have tasks that are not done."""
        root, control = self._chain.root, self._chain.control
        if self._chain.in_flight():
            return
        root._reap()
        entries = root._snapshot()["attachments"]
        living = sum(control.pending(each["slot"]) for each in entries if each["alive"] is not False)
        if living < 1 <= control.all_pending():
            error = diagnose(root, "peer_died", "put", 0, True)
            peers = error.peers if isinstance(error, PeerDied) else ()
            raise PeerDied(f"{control.all_pending()} task(s) were got and never done, by processes that died", peers)


class SimpleQueue(_Base):
    """multiprocessing.SimpleQueue: put, get, empty and close, no bounds and no timeouts. Otherwise as Queue."""

    def __class_getitem__(cls, item: Any) -> types.GenericAlias:
        """``SimpleQueue[int]``, for annotations."""
        return types.GenericAlias(cls, item)

    _end_closed = ClosedEnd

    def __init__(self, *, ctx: Any = None, **options: Any) -> None:
        """Options as Queue's, but no maxsize."""
        super().__init__(0, ctx=ctx, **options)

    def put(self, obj: Any) -> None:
        """Put an object."""
        parts = self._chain.try_put(obj)
        if parts is not None:
            self._put_slowly(parts, math.inf)

    def get(self) -> Any:
        """Wait for an object and take it."""
        try:
            return self._chain.get_now()
        except (ShutDown, Closed):
            return self._get_slowly(math.inf)


def _deadline(block: bool, timeout: float | None) -> float:
    if not block:
        return 0.0
    if timeout is None:
        return math.inf
    try:
        if math.isnan(timeout):
            raise ValueError("timeout is nan; give seconds as a number, or None to wait for ever")
    except TypeError:
        raise TypeError(f"timeout is {timeout!r}; give seconds as a number, or None to wait for ever") from None
    return time.monotonic() + max(0.0, timeout)


@shortage_explained()
def _attached(
    cls: type[_Base], name: str | None, memory: segment.Segment | None, identity: int, on_dead_peer: str
) -> _Base:
    place = None if name is None else registry.place_of(name, None)
    if memory is None:
        assert place is not None
        memory = checked(registry.wait_for_segment(place, 0), place, 0, cls._stored)
    if _core.describe(memory)[2] != identity:
        memory.close()
        raise FileNotFoundError("the queue that this handle was made for is gone")
    queue = cls.__new__(cls)
    queue._open(memory, place, on_dead_peer)
    return queue

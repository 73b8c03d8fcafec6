"""Queues of objects with multiprocessing's calls: change the import, nothing else."""

from __future__ import annotations

import contextlib
import errno
import math
import operator
import time
from typing import TYPE_CHECKING, Any, Literal, Self

from shmring import _core, segment
from shmring._core import NOTHING
from shmring.diagnosis import diagnose
from shmring.errors import Closed, DecodeError, NotThere, PeerDied, ShmringError
from shmring.generic import Message
from shmring.handles import Luggage
from shmring.names import registry
from shmring.names.places import Place
from shmring.options import CAPACITY_LIMIT, Manner
from shmring.queues.asynchronous import AsyncQueueMethods, TasksSide
from shmring.queues.chain import Chain
from shmring.queues.objects import QueueCodec
from shmring.queues.opening import JOINABLE, PLAIN, checked, found
from shmring.segment import growing
from shmring.segment.contract import copied
from shmring.segment.descriptors import shortage_explained
from shmring.segment.machine import check_machine, machine
from shmring.segment.sizes import parse_size

if TYPE_CHECKING:
    from types import TracebackType

__all__ = ["JoinableQueue", "Queue", "SimpleQueue"]

DEFAULT_CAPACITY = "1 MiB"
_LOOK_UP = 0.1
_OnDeadPeer = Literal["wait", "raise"]
_OnUndecodable = Literal["raise", "drop"]


class ClosedEnd(Closed, OSError):
    """Closed, where multiprocessing says OSError, of its pipe."""


class _Base(AsyncQueueMethods[Message]):
    """What the three kinds of queue share. Their put and get are the core's."""

    _stored = PLAIN  # what the first ring says that the queue is
    _closed_as: type[Closed] = Closed  # what put and get raise after close()
    maxsize: int  # how many objects it takes; 0: as many as fit
    # When it is closed: how many messages there were, whether it was full, and whether this process had put any.
    _left = (0, False, True)

    def __init__(
        self,
        maxsize: int = 0,
        *,
        capacity: int | str = DEFAULT_CAPACITY,
        name: str | None = None,
        max_bytes: int | str | None = None,
        on_dead_peer: _OnDeadPeer = "wait",
        on_undecodable: _OnUndecodable = "raise",
        ctx: Any = None,
    ) -> None:
        """Make a queue; with a ``name``, or attach to the one that is there.

        ``maxsize`` bounds the number of messages; 0 (the default) or less does not. ``capacity`` is the payload room of
        the first ring ("1 MiB" or an int of bytes); when that is full, further ones are linked, until all take
        ``max_bytes`` (None: half of what shared memory, the machine and the container have free now).

        A message that cannot be unpickled raises DecodeError and stays the next one, for a consumer that can; with
        ``on_undecodable="drop"`` it is gone, as with multiprocessing. ``on_dead_peer`` is "wait" or "raise" (PeerDied).
        ``ctx`` is taken because multiprocessing.queues.Queue takes it; one of multiprocess has dill pickle what pickle
        cannot.

        Raises:
            LayoutMismatch: What has that name is no queue, one of another kind, or one with another maxsize.
            NoSpace: The memory cannot be reserved.
            NotReady: What has that name stays half made.
            Corrupt: What has that name is damaged.
            Busy: The queue has 256 attachments, which is the most.
            PermissionError: The queue of that name belongs to another user.
            ValueError: A value is out of range; the message says which values are allowed.
            TypeError: ``maxsize`` is no number.
        """
        if on_dead_peer not in ("raise", "wait"):
            raise ValueError(f"on_dead_peer is {on_dead_peer!r}; it is 'wait', as in multiprocessing, or 'raise'")
        if on_undecodable not in ("raise", "drop"):
            raise ValueError(f"on_undecodable is {on_undecodable!r}; it is 'raise', or 'drop' as in multiprocessing")
        try:
            bound = max(0, operator.index(maxsize))
        except TypeError:
            raise TypeError(
                f"maxsize is {maxsize!r}; it is a number of objects, or 0 for no bound; a name is given as "
                f"shmring.{type(self).__name__}(name=...)"
            ) from None
        if bound >= 2**63:
            raise ValueError(f"maxsize is {maxsize}; it is less than 2**63, or 0 for no bound")
        first = parse_size(capacity, limit=CAPACITY_LIMIT)
        most = None if max_bytes is None else parse_size(max_bytes, what="max_bytes")
        by_dill = type(ctx).__module__.partition(".")[0] == "multiprocess"
        self._begin(name, bound, first, most, (on_dead_peer, on_undecodable, by_dill))

    @shortage_explained()
    def _begin(
        self, name: str | None, maxsize: int, capacity: int, max_bytes: int | None, how: tuple[str, str, bool]
    ) -> None:
        place = None if name is None else registry.place_of(name, None, "queue")
        while True:
            memory = found(place, maxsize, capacity, max_bytes, self._stored)
            try:
                self._open(memory, place, how)
                return
            except NotThere:  # the last one left it while we attached: look again, or make another
                if place is None:
                    raise

    def _open(self, memory: segment.Segment, place: Place | None, how: tuple[str, str, bool]) -> None:
        on_dead_peer, on_undecodable, by_dill = how
        try:
            chain = Chain.attach_to(memory, place, Manner(on_dead_peer, "auto", None, QueueCodec(by_dill)))
        except BaseException:
            memory.close()
            raise
        chain._closed_as = self._closed_as
        chain._shown = self._show(place.name if place else None, " closed")
        if on_undecodable == "drop":
            chain.drop_undecodable()
        self._how = how
        self._chain = chain
        self.maxsize = chain._maxsize
        self._opened(chain)

    def _opened(self, chain: Chain) -> None:
        """For what a kind of queue needs beyond that."""

    @property
    def _closed(self) -> bool:
        return not hasattr(self, "_chain") or self._chain.closed

    # --- the calls ---

    def empty(self) -> bool:
        """Return True if no message waits to be received. Exact at its moment.

        After close() it raises OSError in a process that has put anything, as with multiprocessing, and tells in
        another what there was; SimpleQueue's raises in any.

        Waits:
            Never.
        Raises:
            Closed: The queue is closed in this process (an OSError as well); see above.
            Corrupt: The shared memory was damaged or truncated.
        """
        if self._closed and self._closed_as is not ClosedEnd and not self._left[2]:
            return self._left[0] == 0
        if self._closed:
            raise ClosedEnd(f"{self!r} is closed")
        return self._chain.messages() == 0

    def skip(self, error: DecodeError | None = None, timeout: float | None = None) -> bytes | None:
        """Take a message out without decoding it, the one that ``error`` is about or else the next; return its bytes.

        With ``error`` None if another consumer has received the message.

        Waits:
            With ``error`` never; without it for a message, up to ``timeout`` seconds (None: without limit).
        Raises:
            Empty: No message came in time, without ``error``.
            ShutDown: As ``get``, without ``error``.
            PeerDied: As ``get``, without ``error``.
            Closed: As ``get``.
            Corrupt: As ``get``.
            TypeError: ``error`` is no DecodeError.
        Copies:
            Once, out of shared memory.
        Threads:
            Any number at a time.
        """
        if error is None:
            return self._chain._skip(0, 0, _patience(timeout))
        if not isinstance(error, DecodeError):
            raise TypeError(f"error is {error!r}; it is the DecodeError that get() raised, or None for the next one")
        return self._chain._skip(error.identity, error.position, 0)

    def close(self) -> None:
        """Leave the queue; this process uses it no more. What was put stays for the others. May be called again.

        As in multiprocessing, put and get raise ValueError from now on, ``empty`` OSError where this process has put
        anything (SimpleQueue's three all OSError; here each is a Closed as well), while ``qsize`` and ``full`` go on to
        say what there was.

        Waits:
            Never for messages; up to a second for another process that joins or leaves the same.
        Threads:
            Any thread may call it. Where others are within a call, the last of those completes it.
        """
        if not self._closed:
            # Another thread's close was first; the memory was truncated; no descriptor is left.
            with contextlib.suppress(ShmringError, OSError):
                self._remember()
        if hasattr(self, "_chain"):
            self._chain.close()

    def _remember(self) -> None:
        """What is still to be had after the end."""
        self._left = self._chain.messages(), self._chain._is_full(), self._chain._has_put

    @property
    def name(self) -> str | None:
        """The name it was made with, or None."""
        return self._chain.name

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    if not TYPE_CHECKING:  # or every name would pass for an attribute

        def __getattr__(self, name: str) -> Any:
            if name in ("_reader", "_writer"):
                raise AttributeError(
                    f"{type(self).__name__} has no {name}: there is no pipe, and no descriptor that is readable while "
                    "a message waits; to wait for several queues, await aget() of each in an event loop, or get() in "
                    "threads"
                )
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def _show(self, name: str | None, state: str) -> str:
        named = "" if state or name is None else f" {name!r}"
        return f"<{type(self).__name__}{named} at {id(self):#x}{state}>"

    def __repr__(self) -> str:
        return self._show(None, " closed") if self._closed else self._show(self.name, "")

    # --- travelling ---

    __copy__ = __deepcopy__ = copied

    def __reduce__(self) -> tuple[Any, ...]:
        if self._closed:
            raise Closed(f"{self!r} is closed, and cannot be sent to another process")
        return _empty, (type(self),), self.__getstate__()

    def __getstate__(self) -> Any:
        """What leads to the queue in another process, for __setstate__ there; not the attributes of a subclass."""
        chain = self._chain
        luggage, memory = chain._pack()
        return memory, chain._place, chain._identity, self._how, machine(), luggage

    @shortage_explained()
    def __setstate__(self, state: Any) -> None:
        """Attach to the queue of that state.

        Raises:
            FileNotFoundError: The queue is gone.
        """
        memory, place, identity, how, origin, luggage = state
        assert isinstance(luggage, Luggage)
        if memory is None:
            check_machine(origin, f"the {place.title}")
            memory = checked(registry.wait_for_segment(place, 0), place, 0, self._stored)
        if _core.describe(memory)[2] != identity:
            memory.close()
            raise NotThere(errno.ENOENT, "the queue that this handle was made for is gone")
        self._open(memory, place, how)
        luggage.unpack(self._chain._segment)


def _account(memory: segment.Segment) -> tuple[segment.Segment, int, int]:
    """What the core takes to look after the tasks of a queue that was left."""
    return memory, memory.fd, growing.file(memory)


def _empty(cls: type[_Base[Any]]) -> _Base[Any]:
    return cls.__new__(cls)


class Queue(_Base[Message], _core.Queue[Message]):
    """multiprocessing.Queue on shared memory: same calls, no feeder thread, and no process waits for a killed one.

    When ``put`` returns, the message is in shared memory, and is not lost while a process has the queue; an object that
    cannot be pickled raises at ``put``. The queue goes to children by inheritance or as an argument, under every start
    method of multiprocessing and of multiprocess, and anywhere else in a pickle.

    With ``maxsize=0`` it grows as it must, up to ``max_bytes``: past that ``put`` blocks, and NoSpace says that a
    message can never fit. Memory goes back to the system as the queue is drained.

    Two things differ for a reader that goes on after errors: a message that cannot be unpickled is not dropped (see
    ``on_undecodable``), but stays until :meth:`skip` takes it out. And sockets, connections and other handles, of which
    multiprocessing sends an address, are refused at ``put``.

    When a peer dies:
        A message whose consumer died before ``get`` returned is delivered to another. As in multiprocessing, a call
        waits on when every counterpart has died; with ``on_dead_peer="raise"`` it raises PeerDied.
    Threads:
        Any thread of any process may put and get.

    >>> with shmring.Queue[dict]() as queue:
    ...     queue.put({"job": 1})
    ...     print(queue.get(timeout=1))
    {'job': 1}
    """

    def qsize(self) -> int:
        """Return how many messages wait to be received. Exact at its moment. After close(), how many waited then.

        Waits:
            Never; takes time in proportion to their number.
        Raises:
            Corrupt: The shared memory was damaged or truncated.
        """
        return self._left[0] if self._closed else self._chain.messages()

    def full(self) -> bool:
        """Return True if put_nowait of a small object would raise Full now; after close(), if it would have then.

        Waits:
            Never.
        Raises:
            Corrupt: The shared memory was damaged or truncated.
        """
        return self._left[1] if self._closed else self._chain._is_full()

    def shutdown(self, immediate: bool = False) -> None:
        """Refuse further puts, and wake every waiter in every process: as queue.Queue's. Cannot be undone.

        Gets go on until the queue is empty, then raise ShutDown. With ``immediate`` they raise it at once, and what was
        in the queue is gone, for ``join`` too.

        Waits:
            Never.
        Raises:
            Closed: The queue is closed in this process.
        Threads:
            Any thread of any process may call it, and more than once.
        """
        self._chain._shut_down(immediate)

    @property
    def is_shutdown(self) -> bool:
        """True if any process has shut it down."""
        return self._chain._is_shut_down

    def join_thread(self) -> None:
        """Do nothing, after close(): there is no thread, and everything was in shared memory when put() returned.

        Raises:
            AssertionError: The queue is not closed, as with multiprocessing.
        """
        if not self._closed:
            raise AssertionError(f"Queue {self!r} not closed")

    def cancel_join_thread(self) -> None:
        """Do nothing: there is no thread."""


class JoinableQueue(Queue[Message]):
    """multiprocessing.JoinableQueue: a Queue whose consumers say when they have done what they received.

    When a peer dies:
        A task whose consumer died before ``get`` returned is delivered to another. One that died after it, and had not
        called ``task_done``, keeps ``join`` waiting, as in multiprocessing; with ``on_dead_peer="raise"`` that is
        PeerDied.

    >>> with shmring.JoinableQueue[str]() as queue:
    ...     queue.put("task")
    ...     task = queue.get(timeout=1)
    ...     queue.task_done()
    ...     queue.join()
    """

    _stored = JOINABLE
    _after: segment.Segment | None = None  # once it is closed

    def _opened(self, chain: Chain) -> None:
        chain._count_tasks()

    @property
    def unfinished_tasks(self) -> int:
        """How many objects were put and not said to be done, as of queue.Queue. After close() too."""
        after = self._after
        return self._chain._unfinished() if after is None else _core.queue_unfinished(*_account(after))

    def task_done(self) -> None:
        """Say that one task that was received is done. After close() too.

        Waits:
            Never.
        Raises:
            ValueError: It was called more often than tasks were received.
            Corrupt: The shared memory was damaged or truncated.
        """
        after = self._after
        if not (self._chain._task_done() if after is None else _core.queue_task_done(*_account(after))):
            raise ValueError("task_done() called too many times")

    def join(self) -> None:
        """Wait until every object that was put was received, and said to be done. After close() too.

        Waits:
            Without limit.
        Raises:
            PeerDied: With ``on_dead_peer="raise"``: only processes that died have tasks that are not done.
            Corrupt: The shared memory was damaged or truncated.
        Threads:
            Any number at a time.
        """
        while not self._are_tasks_done(_LOOK_UP):
            self._look_after_workers()

    async def ajoin(self, timeout: float | None = None) -> None:
        """Wait until every task is done, in an event loop.

        Waits:
            Up to ``timeout`` seconds (None: without limit), while other tasks run.
        Raises:
            TimeoutError: Some tasks were not done in time.
            PeerDied: As ``join``.
            Corrupt: The shared memory was damaged or truncated.
        When cancelled:
            Nothing has happened.
        """
        from shmring.aio.waiting import until

        deadline = None if timeout is None else time.monotonic() + timeout
        while not self._are_tasks_done(0):
            left = _LOOK_UP if deadline is None else min(_LOOK_UP, max(0.0, deadline - time.monotonic()))
            if left <= 0:
                raise TimeoutError(f"{self!r} has tasks that were not done within {timeout} s")
            side = TasksSide(self._chain)
            with contextlib.suppress(ShmringError):  # not in time: look after the workers
                await until(side, lambda: True if self._are_tasks_done(0) else NOTHING, left)
            self._look_after_workers()

    def _are_tasks_done(self, timeout: float) -> bool:
        if self._after is None:
            try:
                return self._chain._wait_for_tasks(timeout)
            except Closed:
                if self._after is None:  # nobody has left the account behind
                    raise
        if not _core.queue_unfinished(*_account(self._after)):
            return True
        time.sleep(min(timeout, 0.01))
        return False

    def _remember(self) -> None:
        self._after = self._chain._segment.view()
        super()._remember()

    def _look_after_workers(self) -> None:
        """PeerDied when only dead processes have tasks that are not done."""
        if self._how[0] != "raise" or self._closed or self._chain.in_flight():
            return
        self._chain._look_up(1)
        living, pending = self._chain._pending()
        if living < 1 <= pending:
            error = diagnose(self._chain, "peer_died", "put", 0, True)
            peers = error.peers if isinstance(error, PeerDied) else ()
            raise PeerDied(f"{pending} task(s) were got and never done, by processes that died", peers)


class SimpleQueue(_Base[Message], _core.SimpleQueue[Message]):
    """multiprocessing.SimpleQueue: put, get, empty and close, no bounds and no timeouts. Otherwise as Queue.

    >>> with shmring.SimpleQueue[int]() as queue:
    ...     queue.put(1)
    ...     print(queue.get())
    1
    """

    _closed_as = ClosedEnd

    def __init__(
        self,
        *,
        capacity: int | str = DEFAULT_CAPACITY,
        name: str | None = None,
        max_bytes: int | str | None = None,
        on_dead_peer: _OnDeadPeer = "wait",
        on_undecodable: _OnUndecodable = "raise",
        ctx: Any = None,
    ) -> None:
        """Make a queue; with a ``name``, or attach to the one that is there. Options as Queue's, but no maxsize.

        Raises:
            LayoutMismatch: As ``Queue``.
            NoSpace: As ``Queue``.
            Busy: As ``Queue``.
            ValueError: As ``Queue``.
        """
        super().__init__(
            0,
            capacity=capacity,
            name=name,
            max_bytes=max_bytes,
            on_dead_peer=on_dead_peer,
            on_undecodable=on_undecodable,
            ctx=ctx,
        )


def _patience(timeout: float | None) -> float | None:
    if timeout is None:
        return None
    try:
        if math.isnan(timeout):
            raise ValueError("timeout is nan; give seconds as a number, or None to wait forever")
    except TypeError:
        raise TypeError(f"timeout is {timeout!r}; give seconds as a number, or None to wait forever") from None
    return max(0.0, timeout)

"""Waiting in an event loop: what a coroutine does where a thread would park.

An attempt comes first, and mostly succeeds. One that does not goes to the *parking lot* (parking.py) that the tasks of
a loop share for one event, and sleeps there until the event moves on.

A message is taken by the task that returns it, in the step in which it returns: nothing is handed from one to the
other, so a cancelled wait has taken nothing, and a cancelled put has put nothing.

``until`` waits for anything that is an :class:`~shmring.aio.parking.Awaited`; the classes at the end are the ``await``
methods of what a user holds.
"""

from __future__ import annotations

import types
import weakref
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar

from shmring import _core
from shmring._core import NOTHING
from shmring.diagnosis import CONSUMING, PRODUCING, diagnose
from shmring.errors import Empty, Full, ShutDown
from shmring.generic import Message

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from shmring.aio.parking import Awaited, Lots

View = TypeVar("View")

LOOK_UP_SECONDS = 0.05
TURN = 64  # records that one task may claim or borrow without waiting before others run


@types.coroutine
def let_the_loop_run() -> Generator[None]:
    """Whatever else is ready, once."""
    yield


async def until(awaited: Awaited, attempt: Callable[[], Any], seconds: float | None) -> Any:
    """Try until an attempt is not NOTHING (``_core``'s; a message may be None), letting the event loop run meanwhile.

    ``seconds`` of 0 tries once. Whatever ``attempt`` raises ends the wait; when time is up or nobody is left to wait
    for, the exception is ``awaited.refusal``'s. For the tasks of any number of loops.
    """
    if seconds == 0:
        result = attempt()
        if result is NOTHING:
            raise awaited.refusal("timed_out", False)
        return result
    from shmring.aio.parking import lot_for  # here, as it brings asyncio along

    return await lot_for(awaited, LOOK_UP_SECONDS).wait(awaited, attempt, seconds)


class RingSide:
    """A side of an attachment, to be waited for: its events, its dead, its errors."""

    __slots__ = ("_length", "lots", "ring", "side", "wakes_all")

    def __init__(self, ring: AsyncAttachment[Any], side: int, length: int = 0) -> None:
        self.ring = ring
        self._length = length
        self.side = side
        self.lots = ring._parking_lots()
        # The first in line for room may need more than there is; and everybody sees a topic's message.
        self.wakes_all = side == PRODUCING or ring._everybody_gets_it

    def watch(self) -> _core.Watch:
        """Its items or room."""
        return self.ring._watch(self.side)

    def look_up(self) -> str | None:
        """As a blocked call does every 50 ms."""
        return self.ring._look_up(self.side)

    def pass_on(self, took: bool) -> None:
        """As a blocked call does when it leaves."""
        self.ring._pass_on(self.side, took)

    def refusal(self, verdict: str, waited: bool) -> BaseException:
        """The exception that the blocking call raises."""
        return diagnose(self.ring, verdict, "put" if self.side == PRODUCING else "get", self._length, waited)


class AsyncAttachment(_core.Attachment[Message]):
    """What the ``await`` methods of rings, topics and latest values have in common.

    They are the blocking ones with an ``a`` in front, and wait, end and fail as those do; any mixture of blocked
    threads and waiting tasks may use the same. What can be done at once is done at once, without a way round through
    the loop, which is let run every 64 messages (or MiB) all the same. Cancelling one never loses or doubles a message:
    it was not taken, or not put, at all. While tasks wait, one thread of this process (one for all of them, none that
    runs Python) sleeps in their stead and wakes the loop through a descriptor; both go when nothing waits any more.
    """

    _everybody_gets_it = False
    _lots: Lots | None = None
    _leases_in_turn = 0

    def _parking_lots(self) -> Lots:
        if self._lots is None:
            self._lots = weakref.WeakValueDictionary()
        return self._lots

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *raised: object) -> None:
        self.close()

    if TYPE_CHECKING:

        def close(self) -> None: ...


class AsyncProducing(AsyncAttachment[Message]):
    """Putting, for the tasks of an event loop."""

    if TYPE_CHECKING:

        def _put_or_hold(self, data: Any, /) -> tuple[object, int] | None: ...
        def _put_held(self, held: object, /) -> Any: ...
        def claim(self, length: int, timeout: float | None = None) -> _core.Lease[memoryview]: ...

    async def _aput(self, data: Any, timeout: float | None) -> None:
        seconds = None if timeout is None else _core.seconds_of(timeout)
        held = self._put_or_hold(data)
        if held is not None:
            message, length = held
            if self._turn_is_over:
                await let_the_loop_run()
            await until(RingSide(self, PRODUCING, length), lambda: self._put_held(message) or NOTHING, seconds)


class AsyncConsuming(AsyncAttachment[Message]):
    """Getting, for the tasks of an event loop."""

    if TYPE_CHECKING:

        def _try_get(self, in_turn: bool, /) -> Any: ...
        def borrow(self, timeout: float | None = None) -> _core.Lease[Any]: ...

    async def aget(self, timeout: float | None = None) -> Message:
        """Take the next message, in an event loop: :meth:`get`, with what it raises.

        Waits:
            For a message, up to ``timeout`` seconds (None: without limit), while other tasks run. What is there is
            taken at once; after 64 messages in a row, or a MiB of them, the loop is let run first.
        Raises:
            Empty: As ``get``.
            ShutDown: As ``get``.
            PeerDied: As ``get``.
            DecodeError: As ``get``.
            Busy: As ``get``.
            Closed: As ``get``.
            Corrupt: As ``get``.
            OSError: This process gets no descriptor or thread to wait with.
        When cancelled:
            No message was taken: the task that returns a message has taken it in that very step.
        Copies:
            As ``get``.
        Threads:
            Tasks of any number of loops, beside blocked threads; one at a time where that holds for ``get``.
        """
        seconds = None if timeout is None else _core.seconds_of(timeout)
        message: Message = self._try_get(True)
        if message is NOTHING:
            if self._turn_is_over:
                await let_the_loop_run()
            message = await until(RingSide(self, CONSUMING), lambda: self._try_get(False), seconds)
        return message

    def aborrow(self, timeout: float | None = None) -> AsyncLease[Any]:
        """Look at the next message in place, in an event loop: ``async with ring.aborrow() as view``.

        As :meth:`borrow`, with what it raises.

        Waits:
            Nothing here; entering the block waits as ``aget``.
        Raises:
            Empty: As ``borrow``, as the block is entered.
            ShutDown: As ``borrow``, as the block is entered.
            PeerDied: As ``borrow``, as the block is entered.
            DecodeError: As ``borrow``, as the block is entered.
            Busy: As ``borrow``.
            Closed: As ``borrow``.
            Corrupt: As ``borrow``.
            BufferError: As ``borrow``, as the block is left.
        When cancelled:
            While the block is entered: no message was taken. Within the block: the message is handed back, as by any
            exception.
        Copies:
            None.
        Threads:
            As ``borrow``.
        """
        return AsyncLease(self, self.borrow(0), CONSUMING, Empty, 0, timeout)

    def __aiter__(self) -> Self:
        """``async for message in ring``: until it is shut down and drained."""
        return self

    async def __anext__(self) -> Message:
        try:
            return await self.aget()
        except ShutDown:
            raise StopAsyncIteration from None


class AsyncRing(AsyncProducing[Message], AsyncConsuming[Message]):
    """A ring's methods for the tasks of an event loop: see :class:`AsyncAttachment`."""

    async def aput(self, data: Message, timeout: float | None = None) -> None:
        """Put one message, in an event loop: :meth:`put`, with what it raises. An object is encoded once.

        Waits:
            For room, up to ``timeout`` seconds (None: without limit), while other tasks run. With room the message is
            put at once; after 64 messages in a row, or a MiB of them, the loop is let run first.
        Raises:
            Full: As ``put``.
            ShutDown: As ``put``.
            MessageTooLong: As ``put``.
            PeerDied: As ``put``.
            Busy: As ``put``.
            Closed: As ``put``.
            Corrupt: As ``put``.
            TypeError: As ``put``.
            OSError: This process gets no descriptor or thread to wait with.
        When cancelled:
            Nothing was put.
        Copies:
            As ``put``.
        Threads:
            Tasks of any number of loops, beside blocked threads; one at a time for an ``"spsc"`` ring.
        """
        await self._aput(data, timeout)

    def aclaim(self, length: int, timeout: float | None = None) -> AsyncLease[memoryview]:
        """Make room for a message, in an event loop: ``async with ring.aclaim(length) as buffer``.

        As :meth:`claim`, with what it raises.

        Waits:
            Nothing here; entering the block waits as ``aput``.
        Raises:
            Full: As ``claim``, as the block is entered.
            ShutDown: As ``claim``, as the block is entered.
            MessageTooLong: As ``claim``.
            PeerDied: As ``claim``, as the block is entered.
            Busy: As ``claim``.
            Closed: As ``claim``.
            Corrupt: As ``claim``.
            BufferError: As ``claim``, as the block is left.
        When cancelled:
            Nothing is put: the claim is aborted, as by any exception.
        Copies:
            None.
        Threads:
            One claim a Ring at a time.
        """
        return AsyncLease(self, self.claim(length, 0), PRODUCING, Full, length, timeout)


class AsyncTopic(AsyncProducing[Message]):
    """A topic's methods for the tasks of an event loop: see :class:`AsyncAttachment`."""

    async def apublish(self, data: Message, timeout: float | None = None) -> None:
        """Publish one message, in an event loop: :meth:`publish`, with what it raises. An object is encoded once.

        Waits:
            As ``publish``, while other tasks run. With room the message is published at once; after 64 messages in a
            row, or a MiB of them, the loop is let run first.
        Raises:
            Full: As ``publish``.
            ShutDown: As ``publish``.
            MessageTooLong: As ``publish``.
            Closed: As ``publish``.
            Corrupt: As ``publish``.
            TypeError: As ``publish``.
            OSError: This process gets no descriptor or thread to wait with.
        When cancelled:
            Nothing was published.
        Copies:
            As ``publish``.
        Threads:
            Tasks of any number of loops, beside blocked threads.
        """
        await self._aput(data, timeout)

    def aclaim(self, length: int, timeout: float | None = None) -> AsyncLease[memoryview]:
        """Make room for a message, in an event loop: ``async with topic.aclaim(length) as buffer``.

        As :meth:`claim`, with what it raises.

        Waits:
            Nothing here; entering the block waits as ``apublish``.
        Raises:
            Full: As ``claim``, as the block is entered.
            ShutDown: As ``claim``, as the block is entered.
            MessageTooLong: As ``claim``.
            Busy: As ``claim``.
            Closed: As ``claim``.
            Corrupt: As ``claim``.
            BufferError: As ``claim``, as the block is left.
        When cancelled:
            Nothing is published: the claim is aborted, as by any exception.
        Copies:
            None.
        Threads:
            One claim a Topic at a time.
        """
        return AsyncLease(self, self.claim(length, 0), PRODUCING, Full, length, timeout)


class AsyncSubscription(AsyncConsuming[Message]):
    """A subscription's methods for the tasks of an event loop: see :class:`AsyncAttachment`."""

    _everybody_gets_it = True


class AsyncLatest(AsyncProducing[Message]):
    """The methods of a latest value for the tasks of an event loop: see :class:`AsyncAttachment`."""

    _everybody_gets_it = True

    if TYPE_CHECKING:

        def get(self, timeout: float | None = 0) -> Message: ...
        def wait_newer(self, version: int, timeout: float | None = None) -> int: ...

    async def aset(self, value: Message) -> None:
        """Make this the newest value, in an event loop: :meth:`set`, with what it raises.

        Waits:
            For nothing: while another process or thread sets values, it is Busy. After 64 values in a row, or a MiB of
            them, the loop is let run first.
        Raises:
            Busy: As ``set``.
            ShutDown: As ``set``.
            MessageTooLong: As ``set``.
            Closed: As ``set``.
            Corrupt: As ``set``.
            TypeError: As ``set``.
        When cancelled:
            Nothing was set.
        Copies:
            As ``set``.
        Threads:
            One at a time.
        """
        await self._aput(value, None)

    async def aget(self, timeout: float | None = None) -> Message:
        """Return the newest value, in an event loop, waiting for the first; otherwise as :meth:`get`.

        Waits:
            For the first value only, up to ``timeout`` seconds (None, the default: without limit), while other tasks
            run.
        Raises:
            Empty: As ``get``.
            ShutDown: As ``get``.
            PeerDied: As ``get``.
            DecodeError: As ``get``.
            Closed: As ``get``.
            Corrupt: As ``get``.
            OSError: This process gets no descriptor or thread to wait with.
        When cancelled:
            Nothing has happened.
        Copies:
            As ``get``.
        Threads:
            Tasks of any number of loops, beside blocked threads.
        """
        found: Message = await self._when_there(self.get, timeout)
        return found

    async def await_newer(self, version: int, timeout: float | None = None) -> int:
        """Wait for a value newer than ``version``, in an event loop; return its version. As :meth:`wait_newer`.

        Waits:
            Up to ``timeout`` seconds (None: without limit), while other tasks run.
        Raises:
            Empty: As ``wait_newer``.
            ShutDown: As ``wait_newer``.
            PeerDied: As ``wait_newer``.
            Closed: As ``wait_newer``.
            Corrupt: As ``wait_newer``.
            ValueError: As ``wait_newer``.
            OSError: This process gets no descriptor or thread to wait with.
        When cancelled:
            Nothing has happened.
        Threads:
            Tasks of any number of loops, beside blocked threads.
        """
        return int(await self._when_there(lambda now: self.wait_newer(version, now), timeout))

    async def _when_there(self, look: Callable[[float], Any], timeout: float | None) -> Any:
        seconds = None if timeout is None else _core.seconds_of(timeout)

        def attempt() -> Any:
            try:
                return look(0)
            except Empty:
                return NOTHING

        found = attempt()
        return found if found is not NOTHING else await until(RingSide(self, CONSUMING), attempt, seconds)


class AsyncLease(Generic[View]):
    """A record of a ring or topic for the length of an ``async with`` block; made by aclaim() and aborrow().

    When cancelled:
        While the block is entered nothing was claimed or taken; within it, the claim is aborted or the message handed
        back.
    """

    def __init__(
        self,
        ring: AsyncAttachment[Any],
        lease: _core.Lease[View],
        side: int,
        not_now: type[Full | Empty],
        length: int,
        timeout: float | None,
    ) -> None:
        self._ring = ring
        self._lease = lease
        self._side = side
        self._not_now = not_now
        self._length = length
        self._seconds = None if timeout is None else _core.seconds_of(timeout)

    @property
    def redelivered(self) -> bool:
        """True if this message was received before, by a process that died or handed it back."""
        return self._lease.redelivered

    def commit(self, length: int) -> None:
        """Commit the first ``length`` bytes of a claim now; its buffer is released, and the block may go on.

        Waits:
            Never.
        Raises:
            TypeError: ``length`` is no number, and the claim stays open; or this is a borrow.
            ValueError: ``length`` is not from 0 to what was claimed. The claim stays open.
            BufferError: A slice or an array refers to the buffer. The claim stays open.
            RuntimeError: The claim's block was not entered, or it is committed or given up already.
        """
        self._lease.commit(length)

    def _enter_now(self) -> Any:
        try:
            return self._lease.__enter__()
        except self._not_now:
            return NOTHING

    async def __aenter__(self) -> View:
        self._ring._leases_in_turn += 1
        if self._ring._leases_in_turn >= TURN:
            self._ring._leases_in_turn = 0
            await let_the_loop_run()
        view = self._enter_now()
        if view is NOTHING:
            view = await until(RingSide(self._ring, self._side, self._length), self._enter_now, self._seconds)
        entered: View = view
        return entered

    async def __aexit__(self, *raised: Any) -> bool:
        return self._lease.__exit__(*raised)

"""Waiting in an event loop: what a coroutine does where a thread would park.

An attempt comes first, and mostly succeeds. One that does not goes to the *parking lot* that the tasks of a loop share
for one event: it announces itself, tries once more, and sleeps until the bell rings, a descriptor in the loop that
``_core.Watch`` has rung when the event moves on (core/watch.h). Every 50 ms the lot looks after dead peers.

A message is taken by the task that returns it, in the step in which it returns: nothing is handed from one to the
other, so a cancelled wait has taken nothing, and a cancelled put has put nothing.

``until`` waits for anything that is an :class:`Awaited`; the classes at the end are the ``await`` methods of what
a user holds.
"""

from __future__ import annotations

import asyncio
import contextvars
import socket
import types
import weakref
from collections import OrderedDict
from typing import TYPE_CHECKING, Any, Protocol, Self

from shmring import _core
from shmring._core import NOTHING
from shmring.diagnosis import CONSUMING, PRODUCING, diagnose
from shmring.errors import Empty, Full, ShutDown

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

LOOK_UP_SECONDS = 0.05
TURN = 64  # records that one task may claim or borrow without waiting before others run

Lots = weakref.WeakValueDictionary[tuple[int, int], "ParkingLot"]


class Awaited(Protocol):
    """One side of an object in shared memory, as something to wait for."""

    @property
    def lots(self) -> Lots:
        """The parking lots of the object, by side and loop; kept as long as the object."""

    @property
    def side(self) -> int:
        """Which event of the object."""

    @property
    def wakes_all(self) -> bool:
        """Whether every waiter can use a wake, as for room, or one wakes the next."""

    def watch(self) -> _core.Watch:
        """Begin to watch the event."""

    def look_up(self) -> str | None:
        """Mend what the dead left; the core's word for why there is nothing to wait for."""

    def pass_on(self, took: bool) -> None:
        """Tell the other processes that wait, after a wake that may have been meant for them."""

    def refusal(self, verdict: str, waited: bool) -> BaseException:
        """The exception for a core's word."""


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
    loop = asyncio.get_running_loop()
    deadline = None if seconds is None else loop.time() + seconds
    key = (awaited.side, id(loop))  # a lot keeps its loop alive, so that an id is a loop's alone
    lot = awaited.lots.get(key)
    if lot is None or lot.closed:
        lot = awaited.lots[key] = ParkingLot(loop, awaited.watch())
    return await lot.wait(awaited, attempt, deadline)


class _Sleeper(asyncio.Future["str | None"]):
    """A future for one task, whose next step may be taken at once.

    set_result only has the loop call the task in its next turn, and a turn costs as much as a wake does. The bell's
    callback stands where that call would, outside every task, so it may make it itself.
    """

    _resume: Callable[[Any], object]
    _context: contextvars.Context

    def add_done_callback(self, fn: Callable[[Any], object], /, *, context: contextvars.Context | None = None) -> None:
        self._resume, self._context = fn, context or contextvars.copy_context()
        super().add_done_callback(fn, context=context)

    def wake_now(self) -> None:
        """As set_result(None), and on with the task."""
        self.remove_done_callback(self._resume)
        self.set_result(None)
        self._context.run(self._resume, self)


class ParkingLot:
    """The tasks of one loop that wait for one event, in the order in which they came.

    Belongs to its loop's thread. It stays for a moment after the last of them has left, since most come back at once;
    a loop that is closed takes it along.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, watch: _core.Watch) -> None:
        self._loop = loop
        self._watch = watch
        self._sleepers: OrderedDict[_Sleeper, None] = OrderedDict()
        self._inside = 0
        self._visited = True
        self._awaited: Awaited | None = None  # only while somebody waits: a lot keeps no ring open
        self.closed = False
        self._listener: asyncio.Task[None] | None = None
        try:
            loop.add_reader(watch.fileno(), self._on_bell)
        except NotImplementedError:  # the loop of Windows, which polls nothing, but receives
            self._listener = loop.create_task(self._listen())
        loop.call_later(LOOK_UP_SECONDS, self._on_tick)  # not kept: a handle that we keep would keep us

    async def wait(self, awaited: Awaited, attempt: Callable[[], Any], deadline: float | None) -> Any:
        """Announce, try, sleep, and again."""
        self._awaited = awaited
        self._visited = True
        self._inside += 1
        verdict = None
        was_first = took = False
        try:
            while True:
                self._watch.announce()
                result = attempt()
                if result is NOTHING:
                    if verdict is not None:
                        raise awaited.refusal(verdict, True)
                    self._watch.park()
                    verdict = await self._sleep(deadline, was_first)
                    was_first = True
                    result = attempt()
                if result is not NOTHING:
                    took = True
                    return result
        finally:
            self._leave(awaited, took)

    async def _sleep(self, deadline: float | None, first: bool) -> str | None:
        """Until somebody wakes us: None to try again, or the verdict that holds if that fails."""
        sleeper = _Sleeper(loop=self._loop)
        self._sleepers[sleeper] = None
        if first:  # its wake came to nothing, but its place in the line is its own
            self._sleepers.move_to_end(sleeper, last=False)
        alarm = None if deadline is None else self._loop.call_at(deadline, _wake, sleeper, "timed_out")
        try:
            return await sleeper
        finally:
            self._sleepers.pop(sleeper, None)
            if alarm is not None:
                alarm.cancel()

    def _wake_first(self) -> bool:
        while self._sleepers:
            if _wake(self._sleepers.popitem(last=False)[0], None):
                return True
        return False

    def _wake_all(self, verdict: str | None = None) -> None:
        while self._sleepers:
            _wake(self._sleepers.popitem(last=False)[0], verdict)

    def _leave(self, awaited: Awaited, took: bool) -> None:
        """Whoever leaves may have been woken in another's stead: the next in line looks, here or elsewhere."""
        self._inside -= 1
        if self._loop.is_closed():  # a task that nobody finished, found by the garbage collector
            self._sleepers.clear()
        elif self._wake_first() or self._inside:
            return
        self._awaited = None
        self._watch.unpark()
        awaited.pass_on(took)
        if self._watch.is_orphaned or self._loop.is_closed():
            self.close()

    async def _listen(self) -> None:
        with socket.socket(fileno=self._watch.fileno()) as bell:
            try:
                while not self.closed:
                    await self._loop.sock_recv(bell, 64)
                    self._on_bell()
            finally:
                bell.detach()  # the watch's to close

    def _on_bell(self) -> None:
        self._watch.silence()
        if len(self._sleepers) == 1:
            sleeper, _ = self._sleepers.popitem()
            if asyncio.current_task(self._loop) is not None:  # a loop run inside a task, as some programs do
                _wake(sleeper, None)
            elif not sleeper.done():
                sleeper.wake_now()
        elif self._watch.is_orphaned or (self._awaited is not None and self._awaited.wakes_all):
            self._wake_all()
        else:
            self._wake_first()
        if self._watch.is_orphaned and not self._inside:
            self.close()

    def _on_tick(self) -> None:
        if self.closed:
            return
        if self._awaited is not None:
            verdict = self._awaited.look_up()
            if verdict is None:
                self._wake_first()  # should its bell not have rung: a waker may have died before it told
            else:
                self._wake_all(verdict)
        elif not self._visited:
            self.close()
            return
        self._visited = False
        self._loop.call_later(LOOK_UP_SECONDS, self._on_tick)

    def close(self) -> None:
        """Take the bell out of the loop. Nobody may be inside."""
        if self.closed:
            return
        self.closed = True
        if self._listener is not None:
            self._listener.cancel()
        elif not self._loop.is_closed():
            self._loop.remove_reader(self._watch.fileno())
        self._watch.close()


def _wake(sleeper: _Sleeper, verdict: str | None) -> bool:
    if sleeper.done():
        return False
    sleeper.set_result(verdict)
    return True


class RingSide:
    """A side of an attachment, to be waited for: its events, its dead, its errors."""

    __slots__ = ("_length", "lots", "ring", "side", "wakes_all")

    def __init__(self, ring: AsyncAttachment, side: int, length: int = 0) -> None:
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


class AsyncAttachment(_core.Attachment):
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


class AsyncProducing(AsyncAttachment):
    """Putting, for the tasks of an event loop."""

    if TYPE_CHECKING:

        def _put_or_hold(self, data: Any, /) -> tuple[object, int] | None: ...
        def _put_held(self, held: object, /) -> Any: ...
        def claim(self, length: int, timeout: float | None = None) -> _core.Lease: ...

    async def _aput(self, data: Any, timeout: float | None) -> None:
        seconds = None if timeout is None else _core.seconds_of(timeout)
        held = self._put_or_hold(data)
        if held is not None:
            message, length = held
            if self._turn_is_over:
                await let_the_loop_run()
            await until(RingSide(self, PRODUCING, length), lambda: self._put_held(message) or NOTHING, seconds)


class AsyncConsuming(AsyncAttachment):
    """Getting, for the tasks of an event loop."""

    if TYPE_CHECKING:

        def _try_get(self, in_turn: bool, /) -> Any: ...
        def borrow(self, timeout: float | None = None) -> _core.Lease: ...

    async def aget(self, timeout: float | None = None) -> Any:
        """Take the next message, waiting for one; as :meth:`get`.

        When it is cancelled while it waits, no message was taken.
        """
        seconds = None if timeout is None else _core.seconds_of(timeout)
        message = self._try_get(True)
        if message is NOTHING:
            if self._turn_is_over:
                await let_the_loop_run()
            return await until(RingSide(self, CONSUMING), lambda: self._try_get(False), seconds)
        return message

    def aborrow(self, timeout: float | None = None) -> AsyncLease:
        """The next message, to be read in place: ``async with ring.aborrow() as view``; as :meth:`borrow`.

        Only entering the block waits. An exception in it, a cancellation too, hands the message back.
        """
        return AsyncLease(self, self.borrow(0), CONSUMING, Empty, 0, timeout)

    def __aiter__(self) -> Self:
        """``async for message in ring``: until it is shut down and drained."""
        return self

    async def __anext__(self) -> Any:
        try:
            return await self.aget()
        except ShutDown:
            raise StopAsyncIteration from None


class AsyncRing(AsyncProducing, AsyncConsuming):
    """A ring's methods for the tasks of an event loop: see :class:`AsyncAttachment`."""

    async def aput(self, data: Any, timeout: float | None = None) -> None:
        """Put one message, waiting for room; as :meth:`put`.

        When it is cancelled while it waits, nothing was put. An object is encoded once, before any wait.
        """
        await self._aput(data, timeout)

    def aclaim(self, length: int, timeout: float | None = None) -> AsyncLease:
        """Room for a message, to be written in place: ``async with ring.aclaim(length) as buffer``; as :meth:`claim`.

        Only entering the block waits. An exception in it, a cancellation too, aborts the claim.
        """
        return AsyncLease(self, self.claim(length, 0), PRODUCING, Full, length, timeout)


class AsyncTopic(AsyncProducing):
    """A topic's methods for the tasks of an event loop: see :class:`AsyncAttachment`."""

    async def apublish(self, data: Any, timeout: float | None = None) -> None:
        """Publish one message, waiting for room; as :meth:`publish`.

        When it is cancelled while it waits, nothing was published. An object is encoded once, before any wait.
        """
        await self._aput(data, timeout)

    def aclaim(self, length: int, timeout: float | None = None) -> AsyncLease:
        """Room for a message: ``async with topic.aclaim(length) as buffer``; as :meth:`claim`, and Ring's aclaim."""
        return AsyncLease(self, self.claim(length, 0), PRODUCING, Full, length, timeout)


class AsyncSubscription(AsyncConsuming):
    """A subscription's methods for the tasks of an event loop: see :class:`AsyncAttachment`."""

    _everybody_gets_it = True


class AsyncLatest(AsyncProducing):
    """The methods of a latest value for the tasks of an event loop: see :class:`AsyncAttachment`."""

    _everybody_gets_it = True

    if TYPE_CHECKING:

        def get(self, timeout: float | None = 0) -> Any: ...
        def wait_newer(self, version: int, timeout: float | None = None) -> int: ...

    async def aset(self, value: Any, timeout: float | None = None) -> None:
        """Make this the newest value, waiting while another sets one; as :meth:`set`. Cancelled, it has set nothing."""
        await self._aput(value, timeout)

    async def aget(self, timeout: float | None = None) -> Any:
        """The newest value, waiting for the first; otherwise as :meth:`get`."""
        return await self._when_there(self.get, timeout)

    async def await_newer(self, version: int, timeout: float | None = None) -> int:
        """Wait for a value newer than ``version``; its version. As :meth:`wait_newer`."""
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


class AsyncLease:
    """A record of a ring for the length of an ``async with`` block; made by aclaim() and aborrow()."""

    def __init__(
        self,
        ring: AsyncAttachment,
        lease: _core.Lease,
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
        """True when this message was taken before, by somebody who died or handed it back."""
        return self._lease.redelivered

    def _enter_now(self) -> Any:
        try:
            return self._lease.__enter__()
        except self._not_now:
            return NOTHING

    async def __aenter__(self) -> Any:
        self._ring._leases_in_turn += 1
        if self._ring._leases_in_turn >= TURN:
            self._ring._leases_in_turn = 0
            await let_the_loop_run()
        view = self._enter_now()
        if view is NOTHING:
            view = await until(RingSide(self._ring, self._side, self._length), self._enter_now, self._seconds)
        return view

    async def __aexit__(self, *raised: Any) -> bool:
        return self._lease.__exit__(*raised)

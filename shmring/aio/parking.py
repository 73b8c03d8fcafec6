"""The parking lot: where the tasks of one event loop sleep until an event in shared memory moves on.

A task announces itself, tries once more, and sleeps until the bell rings, a descriptor in the loop that
``_core.Watch`` has rung when the event moves on (core/wait/watch.h). Now and then the lot looks after dead peers.

Imported with the first wait in a loop, and not before: asyncio is a third of what ``import shmring`` would take.
"""

from __future__ import annotations

import asyncio
import contextvars
import socket
import weakref
from collections import OrderedDict
from typing import TYPE_CHECKING, Any, Protocol

from shmring._core import NOTHING
from shmring.segment.descriptors import watch_explained

if TYPE_CHECKING:
    from collections.abc import Callable

    from shmring import _core

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

    def __init__(self, loop: asyncio.AbstractEventLoop, watch: _core.Watch, look_up_seconds: float) -> None:
        self._loop = loop
        self._watch = watch
        self._look_up_seconds = look_up_seconds
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
        loop.call_later(self._look_up_seconds, self._on_tick)  # not kept: a handle that we keep would keep us

    async def wait(self, awaited: Awaited, attempt: Callable[[], Any], seconds: float | None) -> Any:
        """Announce, try, sleep, and again."""
        deadline = None if seconds is None else self._loop.time() + seconds
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
                    with watch_explained():
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
        self._loop.call_later(self._look_up_seconds, self._on_tick)

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


def lot_for(awaited: Awaited, look_up_seconds: float) -> ParkingLot:
    """Where the tasks of the running loop wait for this; RuntimeError when none runs.

    OSError in words where this process gets no descriptor or thread for it.
    """
    loop = asyncio.get_running_loop()
    key = (awaited.side, id(loop))  # a lot keeps its loop alive, so that an id is a loop's alone
    lot = awaited.lots.get(key)
    if lot is None or lot.closed:
        with watch_explained():
            watch = awaited.watch()
        lot = awaited.lots[key] = ParkingLot(loop, watch, look_up_seconds)
    return lot

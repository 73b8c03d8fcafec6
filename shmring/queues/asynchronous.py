"""Queues in an event loop: attempts that do not wait, and where to wait between two of them.

A waiting task sleeps at the event of one link. When the queue has moved on to another, the attempt says so, and the
task goes there; what no event tells of (an older link's message that comes back, dead peers) it finds as it looks up.
"""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, Self

from shmring import _core
from shmring._core import NOTHING
from shmring.aio.waiting import let_the_loop_run, until
from shmring.diagnosis import CONSUMING, PRODUCING, diagnose
from shmring.errors import Closed, ShutDown
from shmring.generic import Message

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from shmring.aio.parking import Lots
    from shmring.queues.chain import Chain

_MOVED = object()


class _Side:
    """A side of a queue, at the link where it is now."""

    def __init__(self, chain: Chain, side: int, length: int = 0) -> None:
        self.chain, self.side, self._length = chain, side, length
        self.link = chain._link_at(side)
        self.wakes_all = side == PRODUCING

    @property
    def lots(self) -> Lots:
        """By side and loop, of this link."""
        return self.chain.lots_at(self.link)

    def has_moved(self) -> bool:
        """Is it at another link by now?"""
        return self.chain._link_at(self.side) != self.link

    def watch(self) -> _core.Watch:
        """Its items or room."""
        return self.chain._watch(self.side)

    def look_up(self) -> str | None:
        """As a blocked call does every 50 ms."""
        return self.chain._look_up(self.side)

    def pass_on(self, took: bool) -> None:
        """As a blocked call does when it leaves."""
        self.chain._pass_on(self.side, took)

    def refusal(self, verdict: str, waited: bool) -> BaseException:
        """The exception that the blocking call raises."""
        return diagnose(self.chain, verdict, "put" if self.side == PRODUCING else "get", self._length, waited)


class AsyncQueueMethods(Generic[Message]):
    """The methods of a queue for the tasks of an event loop. A cancelled one has lost nothing: see Ring's."""

    if TYPE_CHECKING:
        _chain: Chain
        _try_get: Callable[[bool], Any]
        close: Callable[[], None]

    async def aput(self, obj: Message, timeout: float | None = None) -> None:
        """Put an object into the queue, in an event loop. It is pickled now, once.

        Waits:
            For room, up to ``timeout`` seconds (None: without limit; 0: not at all), while other tasks run.
        Raises:
            Full: There was no room in time.
            ShutDown: As ``put``.
            NoSpace: As ``put``.
            PeerDied: As ``put``.
            Closed: As ``put``.
            Corrupt: As ``put``.
            TypeError: As ``put``.
            OSError: This process gets no descriptor or thread to wait with.
        When cancelled:
            Nothing was put.
        Copies:
            As ``put``.
        Threads:
            Tasks of any number of loops, beside blocked threads.
        """
        deadline = _deadline(timeout)
        chain = self._chain
        held = chain._put_or_hold(obj)
        if held is None:
            return
        message, length = held
        if chain._turn_is_over:
            await let_the_loop_run()

        def attempt(side: _Side) -> Any:
            if chain._put_held(message):
                return True
            return _MOVED if side.has_moved() else NOTHING

        await _wherever(chain, PRODUCING, length, attempt, deadline)

    async def aget(self, timeout: float | None = None) -> Message:
        """Take the next object out of the queue, in an event loop.

        Waits:
            For an object, up to ``timeout`` seconds (None: without limit; 0: not at all), while other tasks run.
        Raises:
            Empty: No object came in time.
            ShutDown: As ``get``.
            DecodeError: As ``get``.
            PeerDied: As ``get``.
            Closed: As ``get``.
            Corrupt: As ``get``.
            OSError: This process gets no descriptor or thread to wait with.
        When cancelled:
            No object was taken: the task that returns an object has taken it in that very step.
        Copies:
            As ``get``.
        Threads:
            Tasks of any number of loops, beside blocked threads.
        """
        deadline = _deadline(timeout)
        taken: Message = self._try_get(True)
        if taken is not NOTHING:
            return taken
        chain = self._chain
        if chain._turn_is_over:
            await let_the_loop_run()

        def attempt(side: _Side) -> Any:
            found = chain._try_get(False)
            return _MOVED if found is NOTHING and side.has_moved() else found

        return await _wherever(chain, CONSUMING, 0, attempt, deadline)  # type: ignore[no-any-return]

    def __aiter__(self) -> Self:
        """``async for obj in queue``: until it is shut down and empty, or closed in this process."""
        return self

    async def __anext__(self) -> Message:
        try:
            return await self.aget()
        except (Closed, ShutDown):
            raise StopAsyncIteration from None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


class TasksSide:
    """The tasks of a JoinableQueue, to be waited for."""

    side = 2
    wakes_all = True

    def __init__(self, chain: Chain) -> None:
        self.chain = chain

    @property
    def lots(self) -> Lots:
        """Of those who join."""
        return self.chain.lots_at(0)

    def watch(self) -> _core.Watch:
        """Whether a task was done."""
        return self.chain._watch_tasks()

    def look_up(self) -> str | None:
        """A task is done by a call, and tells."""
        return None

    def pass_on(self, took: bool) -> None:
        """All were told."""

    def refusal(self, verdict: str, waited: bool) -> BaseException:
        """The exception for a core's word."""
        return diagnose(self.chain, verdict, "get", 0, waited)


async def _wherever(
    chain: Chain, which: int, length: int, attempt: Callable[[_Side], Any], deadline: float | None
) -> Any:
    """Wait at the link that the queue is at, and follow it."""
    while True:
        left = None if deadline is None else max(0.0, deadline - time.monotonic())
        side = _Side(chain, which, length)
        found = await until(side, partial(attempt, side), left)
        if found is not _MOVED:
            return found


def _deadline(timeout: float | None) -> float | None:
    seconds = None if timeout is None else _core.seconds_of(timeout)
    return None if seconds is None else time.monotonic() + seconds

"""Queues in an event loop: the calls of chain.py tried without waiting, and what to wait for between two tries.

A waiting task sleeps at the event of one link. When the queue has moved on to another, the attempt says so, and the
task goes there; what no event tells of (an older link's message that comes back, dead peers) it finds as it looks up.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Self

from shmring import _core
from shmring._core import NOTHING
from shmring.asynchronous import LOOK_UP_SECONDS, TURN, RingSide, let_the_loop_run, until
from shmring.diagnosis import CONSUMING, PRODUCING
from shmring.errors import Closed, Empty, Full, MessageTooLong, ShutDown
from shmring.queues.chain import AT_ONCE, PATIENCE, Chain
from shmring.queues.link import length_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

_MOVED = object()


class _Side(RingSide):
    """A link's side; a put's refusal speaks of the whole queue."""

    def __init__(self, chain: Chain, side: int, length: int = 0) -> None:
        self.link = chain.link_for(side)
        super().__init__(self.link, side, length)
        self._chain = chain

    def refusal(self, verdict: str, waited: bool) -> BaseException:
        if self.side == PRODUCING and verdict == "timed_out":
            return self._chain.full(self._length)
        return super().refusal(verdict, waited)


class AsyncQueueMethods:
    """The methods of a queue for the tasks of an event loop. They lose nothing when they are cancelled: see Ring's."""

    _chain: Chain
    _closed: bool
    _in_turn = 0
    _put_slowly: Callable[[Any, float], None]
    _get_slowly: Callable[[float], Any]
    close: Callable[[], None]

    async def aput(self, obj: Any, timeout: float | None = None) -> None:
        """Put an object; waits for room, up to ``timeout`` seconds. Full when there is none; what pickle raises.

        When it is cancelled while it waits, nothing was put.
        """
        deadline = _deadline(timeout)
        await self._take_turn()
        parts = self._chain.try_put(obj)
        if parts is None:
            return
        length = length_of(parts)
        if not self._closed and await self._put_patiently(parts, length, deadline):
            return

        def attempt() -> Any:
            at = self._chain.place(PRODUCING)
            try:
                self._put_slowly(parts, AT_ONCE)
            except Full:
                self._chain.check_peers("put")
                return NOTHING if self._chain.place(PRODUCING) == at else _MOVED
            return True

        await self._wherever(PRODUCING, length, attempt, deadline)

    async def _put_patiently(self, parts: Any, length: int, deadline: float | None) -> bool:
        """As a blocked put does: give a consumer a moment before the queue takes more memory."""
        if self._chain.is_counted():
            return False
        side = _Side(self._chain, PRODUCING, length)
        link = side.link

        def attempt() -> Any:
            try:
                link._put_parts(parts, 0)
            except (ShutDown, Closed, MessageTooLong):
                return _MOVED
            except Full:
                return NOTHING
            return True

        try:
            left = PATIENCE if deadline is None else max(0.0, min(PATIENCE, deadline - time.monotonic()))
            return await until(side, attempt, left) is not _MOVED
        except (Full, Closed):
            return False

    async def aget(self, timeout: float | None = None) -> Any:
        """Take the next object; waits for it, up to ``timeout`` seconds. Empty when none comes; DecodeError: see skip.

        When it is cancelled while it waits, no message was taken.
        """
        deadline = _deadline(timeout)
        await self._take_turn()
        found = self._get_now()
        if found is not NOTHING:
            return found
        looked = time.monotonic()

        def attempt() -> Any:
            at = self._chain.place(CONSUMING)
            found = self._get_now()
            if found is NOTHING:
                nonlocal looked
                if time.monotonic() >= looked + LOOK_UP_SECONDS:
                    self._chain.look_around("get")
                    looked = time.monotonic()
                return NOTHING if self._chain.place(CONSUMING) == at else _MOVED
            return found

        return await self._wherever(CONSUMING, 0, attempt, deadline)

    def _get_now(self) -> Any:
        try:
            try:
                return self._chain.get_now(0)
            except (ShutDown, Closed):
                return self._get_slowly(AT_ONCE)
        except Empty:
            return NOTHING

    async def _wherever(self, side: int, length: int, attempt: Callable[[], Any], deadline: float | None) -> Any:
        """Wait at the link that the queue is at, and follow it."""
        while True:
            left = None if deadline is None else max(0.0, deadline - time.monotonic())
            try:
                found = await until(_Side(self._chain, side, length), attempt, left)
            except Closed:
                if self._closed:
                    raise
                continue  # the link was, under us
            if found is not _MOVED:
                return found

    async def _take_turn(self) -> None:
        """Let the loop run now and then; before an object moves, for one that has moved cannot be cancelled."""
        self._in_turn += 1
        if self._in_turn >= TURN:
            self._in_turn = 0
            await let_the_loop_run()

    def __aiter__(self) -> Self:
        """``async for obj in queue``: until the queue is closed in this process."""
        return self

    async def __anext__(self) -> Any:
        try:
            return await self.aget()
        except Closed:
            raise StopAsyncIteration from None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


def _deadline(timeout: float | None) -> float | None:
    seconds = None if timeout is None else _core.seconds_of(timeout)
    return None if seconds is None else time.monotonic() + seconds

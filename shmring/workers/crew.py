"""The processes of a pool: starting them, and the thread that notices that one has ended."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Sequence
from multiprocessing import connection
from typing import Any

from shmring import segment
from shmring.errors import Closed, ShmringError
from shmring.ring import Ring
from shmring.segment.descriptors import shortage_explained
from shmring.workers import child, parcels
from shmring.workers.beginning import Beginning
from shmring.workers.failures import KILL
from shmring.workers.mains import check_guard, ready_to_start
from shmring.workers.parcels import Packed
from shmring.workers.waker import Waker

MOST_WORKERS = 240  # a ring has 256 attachments; forked children of workers have some as well
_GRACE = 1.0  # seconds
_SHORT_WAIT = 0.01


class Member:
    """A worker as the pool sees it."""

    def __init__(self, process: Any, slot: int) -> None:
        self.process = process
        self.pid: int = process.pid
        self.slot = slot
        self.ready = False
        self.finished = False  # it said that it leaves
        self.exitcode: int | None = None
        self.failure: BaseException | None = None  # of its initializer
        self._pidfd = -1
        if sys.platform != "win32":
            with contextlib.suppress(AttributeError, OSError):
                # The sentinel is a pipe, which a child of the worker holds open as well.
                self._pidfd = os.pidfd_open(self.pid)

    @property
    def signs(self) -> list[Any]:
        """What becomes readable when the process has ended."""
        return [self.process.sentinel, *([self._pidfd] if self._pidfd >= 0 else [])]

    def signal(self, number: int) -> None:
        """Send the process a signal; nothing when it has ended. On Windows there is one, TerminateProcess."""
        if sys.platform == "win32":
            self.process.terminate()
        else:
            with contextlib.suppress(ProcessLookupError):
                if self._pidfd >= 0:
                    signal.pidfd_send_signal(self._pidfd, number)
                else:
                    os.kill(self.pid, number)

    def reap(self) -> None:
        """Wait for the process, which has ended. Others may look at it later, as at the standard library's."""
        self.process.join()
        self.exitcode = self.process.exitcode

    def close(self) -> None:
        """Give the descriptor back."""
        if self._pidfd >= 0:
            os.close(self._pidfd)
            self._pidfd = -1


class Crew:
    """The workers of one pool. Who ended is told through the ring of results."""

    def __init__(
        self,
        context: Any,
        tasks: Ring,
        results: Ring,
        size: int,
        beginning: Beginning,
        max_tasks: int | None,
        otherwise: Any,
    ) -> None:
        self._context, self._tasks, self._results = context, tasks, results
        self._beginning, self._max_tasks = beginning, max_tasks
        self._otherwise = otherwise  # the context for arguments that the first one refuses with RuntimeError
        self.owner = os.getpid()
        self._lock = threading.RLock()  # a signal handler may come in between
        self._free = [*range(size)]
        self.members: dict[int, Member] = {}  # by slot, until the pool has heard of the end
        self._watched: dict[int, Member] = {}
        self._board = segment.anonymous(16 * size, transferable=True)
        self.words = memoryview(self._board).cast("Q")
        self._waker: Waker | None = Waker()
        self._leaving = self._over = False
        self._signals: list[int] = []  # still to be sent to those who do not leave; the last of them again and again

    @shortage_explained()
    def hire(self, most: int) -> None:
        """Start a worker, unless there are as many. Not to be interrupted: a process is started, and then registered.

        Raises what starting a process raises, RuntimeError where no worker may be started, and Closed when all have
        left and none may come.
        """
        check_guard()
        with self._lock:
            if self._over:
                raise Closed("this pool has ended")
            if len(self.members) >= most:
                return
            slot = self._free.pop()
            try:
                self.words[2 * slot] = self.words[2 * slot + 1] = 0
                process = self._started(slot)
            except BaseException:
                self._free.append(slot)
                raise
            member = Member(process, slot)
            self.members[slot] = self._watched[slot] = member
        self.wake()

    def _started(self, slot: int) -> Any:
        """A new process. The first one may show that the initializer's arguments can only be inherited."""
        arguments = (self._tasks, self._results, self._board, slot, self._max_tasks, self._beginning)
        while True:
            process = self._context.Process(target=child.main, args=arguments)
            method = self._context.get_start_method(allow_none=False)
            try:
                with ready_to_start(process, method):
                    process.start()
            except RuntimeError:
                if self._otherwise is None or self.members:
                    raise
                self._context, self._otherwise = self._otherwise, None
            else:
                return process

    def member(self, slot: int) -> Member:
        """Who works there; it may speak before :meth:`hire` has returned."""
        with self._lock:
            return self.members[slot]

    def forget(self, member: Member) -> None:
        """The pool has done with a worker that ended: its slot is free."""
        with self._lock:
            del self.members[member.slot]
            self._free.append(member.slot)

    def wake(self) -> None:
        """Make the thread look around, and nudge the pool. Safe anywhere, in a finalizer too."""
        waker = self._waker
        if waker is not None and os.getpid() == self.owner:
            waker.wake()

    def disown(self) -> None:
        """In a forked child: its multiprocessing must not take our workers for children to be joined when it ends."""
        for member in [*self.members.values()]:
            package = type(member.process).__module__.partition(".")[0]
            children = getattr(sys.modules.get(f"{package}.process"), "_children", None)
            if children is not None:
                children.discard(member.process)

    def dismiss(self) -> None:
        """No more work: the thread ends when all workers have."""
        self._leaving = True
        self.wake()

    def kill(self, signals: Sequence[int]) -> None:
        """Send every worker these signals, one a second as long as it does not leave; 0 is no more than the second.

        No worker is hired from now on; one that is just being started receives the next signal.
        """
        self._signals = [*signals]
        self._signal_next()
        self.wake()

    def _signal_next(self) -> None:
        with self._lock:
            number = self._signals[0] if len(self._signals) == 1 else self._signals.pop(0)
            for member in self._watched.values() if number else ():
                member.signal(number)

    def watch(self) -> None:
        """Until all have left: tell the pool of each worker that ended, and of every wake. For a thread of its own."""
        waker = self._waker
        assert waker is not None
        while True:
            with self._lock:
                watched = [*self._watched.values()]
                self._over = self._leaving and not watched
            if self._over:
                break
            signs = [waker.sign, *(sign for member in watched for sign in member.signs)]
            ready = _ready(signs, _GRACE if self._signals else None)
            if self._signals and not ready:
                self._signal_next()
            for member in watched:
                if ready.intersection(member.signs):
                    member.reap()
                    with self._lock:
                        member.close()
                        self._watched.pop(member.slot, None)
                    self._tell(parcels.LEFT, member.slot)
            if waker.sign in ready:
                waker.clear()
                self._tell(parcels.NUDGE, 0)
        self._tell(parcels.ALL_GONE, 0)

    def abandon(self) -> None:
        """The thread has failed: nobody is hired any more, and nobody stays whose end would go unnoticed."""
        with self._lock:
            self._over = True
            watched = [*self._watched.values()]
            self._watched.clear()
        for member in watched:
            with contextlib.suppress(Exception):
                member.signal(KILL)
                member.reap()
                member.close()

    def _tell(self, kind: int, key: int) -> None:
        """Through the ring of results: behind everything that the dead one had put there."""
        with contextlib.suppress(ShmringError):  # shut down: the collector has failed
            self._results.put(Packed(key, kind))

    def close(self) -> None:
        """Give everything back, once the thread has ended."""
        with self._lock:
            waker, self._waker = self._waker, None
            assert waker is not None
            try:
                waker.close()
            finally:
                self.words.release()
                self._board.close()


def _ready(signs: list[Any], timeout: float | None) -> set[Any]:
    """Which of these are readable, after a wait."""
    try:
        return {*connection.wait(signs, timeout)}
    except OSError:  # more of them than this process may have open now: its limit has been lowered
        time.sleep(_SHORT_WAIT)
        return {each for sign in signs for each in connection.wait([sign], 0)}

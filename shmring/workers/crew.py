"""The processes of a pool: starting them, and the thread that notices that one has ended."""

from __future__ import annotations

import contextlib
import importlib
import os
import signal
import sys
import threading
from collections.abc import Callable
from typing import Any

from multiprocess import connection

from shmring import segment
from shmring.errors import ShmringError
from shmring.ring import Ring
from shmring.segment.descriptors import shortage_explained
from shmring.workers import child, parcels
from shmring.workers.failures import KILL
from shmring.workers.functions import main_as_children_find_it
from shmring.workers.parcels import Packed
from shmring.workers.waker import Waker

MOST_WORKERS = 240  # a ring has 256 attachments; forked children of workers have some as well
_GRACE = 1.0  # seconds


class Member:
    """A worker as the pool sees it."""

    def __init__(self, process: Any, slot: int) -> None:
        self.process = process
        self.pid: int = process.pid
        self.slot = slot
        self.ready = False
        self.finished = False  # it said that it leaves
        self.exitcode: int | None = None
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
        """Wait for the process, which has ended."""
        self.process.join()
        self.exitcode = self.process.exitcode
        self.process.close()

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
        start: Callable[[], tuple[Any, ...]],
        max_tasks: int | None,
    ) -> None:
        self._context, self._tasks, self._results = context, tasks, results
        self._start, self._max_tasks = start, max_tasks
        self.owner = os.getpid()
        self._lock = threading.Lock()
        self._free = [*range(size)]
        self.members: dict[int, Member] = {}  # by slot, until the pool has heard of the end
        self._watched: dict[int, Member] = {}
        self._board = segment.anonymous(16 * size, transferable=True)
        self.words = memoryview(self._board).cast("Q")
        self._waker: Waker | None = Waker()
        self._leaving = self._killing = False

    @shortage_explained()
    def hire(self) -> Member:
        """Start a worker. Raises what starting a process raises."""
        with self._lock:
            slot = self._free.pop()
            try:
                self.words[2 * slot] = self.words[2 * slot + 1] = 0
                arguments = (self._tasks, self._results, self._board, slot, self._max_tasks, *self._start())
                process = self._context.Process(target=child.main, args=arguments)
                with main_as_children_find_it():
                    process.start()
            except BaseException:
                self._free.append(slot)
                raise
            member = Member(process, slot)
            self.members[slot] = self._watched[slot] = member
        self.wake()
        return member

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
            with contextlib.suppress(ImportError, AttributeError):
                importlib.import_module(f"{package}.process")._children.discard(member.process)

    def dismiss(self) -> None:
        """No more work: the thread ends when all workers have."""
        self._leaving = True
        self.wake()

    def kill(self, number: int) -> None:
        """Send every worker a signal, and SIGKILL to those who do not mind it. Nobody is hired any more."""
        self._killing = True
        with self._lock:
            for member in self._watched.values():
                member.signal(number)

    def watch(self) -> None:
        """Until all have left: tell the pool of each worker that ended, and of every wake. For a thread of its own."""
        waker = self._waker
        assert waker is not None
        while True:
            with self._lock:
                watched = [*self._watched.values()]
            if self._leaving and not watched:
                break
            signs = [waker.sign, *(sign for member in watched for sign in member.signs)]
            ready = {*connection.wait(signs, _GRACE if self._killing else None)}
            if self._killing and not ready:
                self.kill(KILL)
            for member in watched:
                if ready.intersection(member.signs):
                    member.reap()
                    with self._lock:
                        member.close()
                        del self._watched[member.slot]
                    self._tell(parcels.LEFT, member.slot)
            if waker.sign in ready:
                waker.clear()
                self._tell(parcels.NUDGE, 0)
        self._tell(parcels.ALL_GONE, 0)

    def _tell(self, kind: int, key: int) -> None:
        """Through the ring of results: behind everything that the dead one had put there."""
        with contextlib.suppress(ShmringError):  # shut down: the collector has failed
            self._results.put(Packed(key, kind))

    def close(self) -> None:
        """Give everything back, once the thread has ended."""
        with self._lock:
            waker, self._waker = self._waker, None
            assert waker is not None
            waker.close()
            self.words.release()
            self._board.close()

"""A call on its way to its future, and the ring that it goes through."""

from __future__ import annotations

import collections
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any

from shmring.errors import Full, ShmringError
from shmring.ring import Ring
from shmring.workers import parcels
from shmring.workers.failures import remote_traceback, traceback_text
from shmring.workers.parcels import Packed
from shmring.workers.pickles import Names
from shmring.workers.pickles import call as short_call

_AHEAD_NS = 4_000_000  # tasks in the ring cannot be cancelled, so keep no more than this much work there
_MOST_AHEAD = 1024
_SHORTEST_NS = 1000
ATTEMPTS = 1 << 16


class Task:
    """A call. Each attempt at it has a key of its own, so that what belongs to an earlier one is recognised."""

    __slots__ = (
        "args", "aside", "attempt", "attempts", "flags", "function", "future", "kind", "kwargs", "lacked", "number",
        "retries", "running",
    )  # fmt: skip

    def __init__(
        self,
        function: Callable[..., Any],
        args: Any,
        kwargs: dict[str, Any],
        retries: int,
        kind: int = parcels.CALL,
        flags: int = 0,
    ) -> None:
        self.future: Future[Any] = Future()
        self.function, self.args, self.kwargs = function, args, kwargs
        self.kind, self.flags, self.retries = kind, flags, retries
        self.number = self.attempt = 0
        self.attempts = 1  # with the one at hand; of these only a death with the task makes one more
        self.running = False
        self.lacked: frozenset[tuple[str, str]] = frozenset()  # what workers lacked when it was last sent by value
        self.aside: Any = None

    @property
    def key(self) -> int:
        return self.number * ATTEMPTS + self.attempt % ATTEMPTS

    def packed(self, limit: int, names: Names) -> Packed:
        """The task as a parcel. Raises whatever its pickling raises."""
        buffers: Sequence[memoryview] = ()
        body = None if self.kwargs else short_call(self.function, self.args, names)
        if body is None:
            body, buffers = parcels.pickled((self.function, self.args, self.kwargs), names)
        packed = Packed(self.key, self.kind, self.flags, 0, body, buffers, limit)
        self.aside = packed.aside
        return packed

    def done_with(self) -> None:
        """Its parcel is not needed any more."""
        if self.aside:
            self.aside.close()
            self.aside = None


class Feed:
    """Tasks that wait, and the ring that they go into when there is room and need.

    Guarded by the pool's lock, but for the pickling and the putting themselves.
    """

    def __init__(
        self,
        ring: Ring,
        lock: threading.RLock,
        names: Names,
        workers: Callable[[], int],
        drop: Callable[[Task], None],
    ) -> None:
        self.backlog: collections.deque[Task] = collections.deque()
        self.in_flight = 0
        self.stalled = False
        self._ring, self._lock, self._names, self._workers, self._drop = ring, lock, names, workers, drop
        self._limit = ring.max_message // 2
        self._pace_ns = float(_AHEAD_NS)  # how long a task takes, lately

    @property
    def ahead(self) -> int:
        """How many tasks may be in the ring: as many as are done in a few milliseconds."""
        workers = self._workers() or 1
        return int(min(_MOST_AHEAD, workers + 1 + workers * _AHEAD_NS / self._pace_ns))

    def learn(self, took_ns: int) -> None:
        """A task took so long."""
        self._pace_ns += (max(took_ns, _SHORTEST_NS) - self._pace_ns) / 8

    def admit(self, tasks: Sequence[Task]) -> Sequence[Task]:
        """Take tasks in, under the lock; the first of them, which the caller is to send at once."""
        count = 0 if self.backlog else max(0, min(len(tasks), self.ahead - self.in_flight))
        self.in_flight += count
        self.backlog.extend(tasks[count:])
        return tasks[:count]

    def withdraw(self, tasks: Sequence[Task], pending: int) -> None:
        """Forget these, wherever they are; so many others are pending. Under the lock."""
        gone = {*tasks}
        self.backlog = collections.deque(task for task in self.backlog if task not in gone)
        self.in_flight = pending - len(self.backlog)

    def again(self, task: Task) -> None:
        """Send a task that was in flight once more, first of all."""
        with self._lock:
            task.done_with()
            task.attempt += 1
            self.in_flight -= 1
            self.backlog.appendleft(task)

    def refill(self) -> None:
        """Bring tasks from the backlog into the ring, many at a time."""
        with self._lock:
            self.stalled = False
            ahead = self.ahead
            if not self.backlog or self.in_flight > max(self._workers(), ahead // 2):
                return
            count = min(len(self.backlog), ahead - self.in_flight)
            tasks = [self.backlog.popleft() for _ in range(count)]
            self.in_flight += len(tasks)
        self.send(tasks)

    def send(self, tasks: Sequence[Task]) -> None:
        """Put tasks that are counted as in flight already; those without room go to the front of the backlog."""
        ready = []
        for task in tasks:
            packed = self._pack(task)
            if packed is not None:
                ready.append((task, packed))
        if not ready:
            return
        done = 0
        try:
            done = self._ring.put_many([packed for _, packed in ready], 0)
        except Full:
            pass
        except ShmringError:
            return  # broken meanwhile; every future has been told
        if done < len(ready):
            with self._lock:
                self.stalled = True
                self.in_flight -= len(ready) - done
                self.backlog.extendleft(task for task, _ in reversed(ready[done:]))

    def _pack(self, task: Task) -> Packed | None:
        """A task as a parcel; None when it was cancelled, or cannot be pickled, which its future then says."""
        if not task.running and not task.future.set_running_or_notify_cancel():
            self._drop(task)
            return None
        task.running = True
        try:
            return task.packed(self._limit, self._names)
        except BaseException as error:
            self._drop(task)
            error.__cause__ = remote_traceback(traceback_text(error))
            task.future.set_exception(error)
            if not isinstance(error, Exception):
                raise
            return None

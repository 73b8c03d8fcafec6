"""The machinery of a pool of workers: tasks into one ring, results out of another, and an account of both.

One thread collects results, feeds tasks that had to wait, and hears of the dead, all from the ring of results: since
the crew's thread puts a notice of death there itself, it arrives behind everything that the dead worker had put.

Each task is sent under a number of its own for every attempt. What arrives under a number that is not the current one
(a result that came twice, a record delivered again after its death was settled) is dropped, so each attempt counts
once.
"""

from __future__ import annotations

import collections
import contextlib
import os
import pickle
import signal
import threading
import traceback
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from typing import Any

from shmring.errors import Closed, Empty, Full, PeerDied, ShmringError
from shmring.ring import Ring
from shmring.workers import parcels
from shmring.workers.child import RUNNING
from shmring.workers.crew import Crew, Member
from shmring.workers.failures import RemoteTraceback, WorkerDied, how_it_ended, traceback_text
from shmring.workers.functions import function_pickle
from shmring.workers.parcels import Packed, Parcel, Raw, Shelf

_AHEAD_NS = 4_000_000  # tasks in the ring are not cancellable, so keep no more than this much work there
_MOST_AHEAD = 1024
_FAILED_STARTS = 10
_TRY_AGAIN = 0.02
_ATTEMPTS = 1 << 16
_SETTLED = (parcels.DONE, parcels.FAILED)


class Task:
    """A call on its way to its future."""

    __slots__ = (
        "args", "aside", "attempt", "by_value", "flags", "function", "future", "kind", "kwargs", "number", "pickle",
        "retries", "running",
    )  # fmt: skip

    def __init__(
        self,
        function: Callable[..., Any],
        args: Any,
        kwargs: dict[str, Any],
        retries: int,
        *,
        kind: int = parcels.CALL,
        flags: int = 0,
        pickle: tuple[bytes, bool] | None = None,
    ) -> None:
        self.future: Future[Any] = Future()
        self.function, self.args, self.kwargs = function, args, kwargs
        self.kind, self.flags, self.retries, self.pickle = kind, flags, retries, pickle
        self.number = self.attempt = 0
        self.by_value = self.running = False
        self.aside: Any = None

    @property
    def key(self) -> int:
        return self.number * _ATTEMPTS + self.attempt % _ATTEMPTS


class Pool:
    """Rings, crew and collector behind an executor, which may be collected while work is still pending."""

    def __init__(
        self,
        context: Any,
        size: int,
        start: Callable[[], bytes | bytearray],
        max_tasks: int | None,
        capacity: int | str,
    ) -> None:
        self.size = size
        self.tasks = Ring.create(capacity=capacity)
        self.results = Ring.create(capacity=capacity)
        self.crew = Crew(context, self.tasks, self.results, size, start, max_tasks)
        self.shelf = Shelf(self.results.capacity)
        self.limit = self.tasks.max_message // 2
        self.lock = threading.RLock()
        self.pending: dict[int, Task] = {}
        self.backlog: collections.deque[Task] = collections.deque()
        self.in_flight = 0
        self.broken: str | None = None
        self.ending = False  # no new tasks
        self.cancelling = False
        self.dismissed = False
        self._owner = os.getpid()
        self._numbers = 0
        self._stalled = False
        self._failed_starts = 0
        self._pace_ns = float(_AHEAD_NS)  # how long a task takes, lately
        self.thread = threading.Thread(target=self._collect, name="shmring-collector", daemon=True)

    # --- from the executor's threads ---

    def submit(self, tasks: Iterable[Task], refusal: Callable[[], str | None]) -> None:
        """Take tasks in: straight into the ring when there is room, else they wait here. Never blocks."""
        for task in tasks:
            with self.lock:
                if self.broken:
                    raise BrokenProcessPool(self.broken)
                reason = refusal()
                if reason:
                    raise RuntimeError(f"cannot schedule new futures after {reason}")
                if len(self.crew.members) < self.size and len(self.pending) >= len(self.crew.members):
                    self.crew.hire()
                if not self.thread.ident:
                    self.thread.start()
                self._numbers += 1
                task.number = self._numbers
                self.pending[task.number] = task
                direct = not self.backlog and self.in_flight < self._ahead
                if direct:
                    self.in_flight += 1
                else:
                    self.backlog.append(task)
            if direct:
                self._send([task])

    @property
    def _ahead(self) -> int:
        """How many tasks may be in the ring: as many as are done in a few milliseconds."""
        size = len(self.crew.members) or 1
        return int(min(_MOST_AHEAD, size + 1 + size * _AHEAD_NS / self._pace_ns))

    def end(self, cancel: bool = False) -> None:
        """Take no more tasks; leave when those pending are done, or cancelled. Safe in a finalizer."""
        self.ending = True
        self.cancelling = self.cancelling or cancel
        if self.thread.ident:
            self.crew.wake()
        elif not self.dismissed and not self.crew.members:
            self.dismissed = True
            self._close()

    def kill(self, number: int = signal.SIGKILL) -> None:
        """Break the pool, and send its workers a signal."""
        self._break("its workers were killed by kill_workers() or terminate_workers()", None, number)

    def join(self) -> None:
        """Wait for the end; not from a callback, which runs in the collector's own thread."""
        if self.thread.ident and self.thread is not threading.current_thread():
            self.thread.join()

    # --- sending ---

    def _pack(self, task: Task) -> Packed | None:
        """A task as a parcel; None when it was cancelled, or cannot be pickled, which its future then says."""
        if not task.running and not task.future.set_running_or_notify_cancel():
            self._drop(task)
            return None
        task.running = True
        try:
            function, is_dill = task.pickle or function_pickle(task.function, task.by_value)
            call = (task.args, task.kwargs) if function else (task.function, task.args, task.kwargs)
            if task.by_value:
                body, flags = parcels.by_dill(call), parcels.BY_DILL
                buffers: list[memoryview] = []
            else:
                body, buffers, flags = parcels.pickled(call)
            flags |= task.flags | (parcels.FUNCTION_BY_DILL if is_dill else 0)
            return Packed(task.key, task.kind, flags, 0, function, body, buffers, self.limit)
        except BaseException as error:
            self._drop(task)
            error.__cause__ = RemoteTraceback(traceback_text(error))
            task.future.set_exception(error)
            if not isinstance(error, Exception):
                raise
            return None

    def _drop(self, task: Task) -> None:
        with self.lock:
            self.pending.pop(task.number, None)
            self.in_flight -= 1
            if self.ending:
                self.crew.wake()

    def _send(self, tasks: list[Task]) -> None:
        """Put tasks that are counted as in flight already; those without room go to the front of the backlog."""
        plain: list[bytes] = []
        waiting: list[Task] = []
        for place, task in enumerate(tasks):
            packed = self._pack(task)
            if packed is None:
                continue
            task.aside = packed.aside
            if packed.is_plain:
                plain.append(packed.head)
                waiting.append(task)
                continue
            try:
                self._put(plain, waiting)
                if not waiting:
                    packed.put(self.tasks, 0)
                    continue
            except Full:
                pass
            except (Closed, ShmringError):
                return  # broken meanwhile; every future has been told
            self._keep([*waiting, task, *tasks[place + 1 :]])
            return
        with contextlib.suppress(Closed, ShmringError):
            self._put(plain, waiting)
            self._keep(waiting)

    def _put(self, plain: list[bytes], tasks: list[Task]) -> None:
        """Put what fits, and leave the rest in both lists."""
        if plain:
            done = 0
            with contextlib.suppress(Full):
                done = self.tasks.put_many(plain, 0)
            del plain[:done], tasks[:done]

    def _keep(self, tasks: list[Task]) -> None:
        if tasks:
            with self.lock:
                self._stalled = True
                self.in_flight -= len(tasks)
                self.backlog.extendleft(reversed(tasks))

    def _feed(self) -> None:
        """Bring tasks from the backlog into the ring, many at a time."""
        with self.lock:
            self._stalled = False
            ahead = self._ahead
            if not self.backlog or self.in_flight > max(len(self.crew.members), ahead // 2):
                return
            count = min(len(self.backlog), ahead - self.in_flight)
            tasks = [self.backlog.popleft() for _ in range(count)]
            self.in_flight += len(tasks)
        self._send(tasks)

    # --- collecting ---

    def _collect(self) -> None:
        try:
            while self._receive():
                if self.ending and not self.dismissed:
                    self._leave()
                self._feed()
        except BaseException as error:
            traceback.print_exc()
            self.results.shutdown(immediate=True)
            self._break("its collector failed, which is a defect of shmring", error)
        finally:
            self.crew.thread.join()
            self._close()

    def _close(self) -> None:
        self.crew.close()
        self.tasks.close()
        self.results.close()

    def _receive(self) -> bool:
        """Deal with what has come, at least one message; False for the last of all."""
        timeout = _TRY_AGAIN if self._stalled else None
        for _ in range(64):
            try:
                with self.results.borrow(timeout) as view:
                    raw = self.shelf.copy(view)
            except Empty:
                break
            except PeerDied:  # every worker there was; the crew says which
                continue
            timeout = 0
            if not self._deal_with(parcels.HEAD.unpack_from(raw), raw):
                return False
        return True

    def _deal_with(self, head: tuple[int, ...], raw: Raw) -> bool:
        key, kind, flags = head[:3]
        if kind in _SETTLED or kind == parcels.UNRESOLVED:
            self._settle(key, kind, flags, head[5], raw)
        elif kind == parcels.RETURNED:
            task = self._current(key)
            if task:
                self._again(task)
        elif kind == parcels.READY:
            self._failed_starts = 0
            self.crew.members[key].ready = True
        elif kind == parcels.NOT_READY:
            member = self.crew.members[key]
            member.finished = True
            self._break(f"the initializer failed in worker {member.pid}", self._error_of(parcels.opened(raw)))
        elif kind == parcels.LEFT:
            self._hear_of_end(self.crew.members[key])
        return kind != parcels.ALL_GONE

    def _current(self, key: int) -> Task | None:
        task = self.pending.get(key // _ATTEMPTS)
        return task if task is not None and task.key == key else None

    def _settle(self, key: int, kind: int, flags: int, extra: int, raw: Raw) -> None:
        """A result has come."""
        task = self._current(key)
        error: BaseException | None = None
        value: Any = None
        try:
            parcel = parcels.opened(raw)
        except FileNotFoundError:
            return  # its memory went with the worker, whose end will be heard of
        finally:
            if flags & parcels.ASIDE:
                self.crew.words[2 * (extra & 255) + 1] += 1
        if task is None:
            return
        self._pace_ns += (max(extra >> 8, 1000) - self._pace_ns) / 8
        if kind == parcels.UNRESOLVED and not task.by_value:
            task.by_value, task.pickle = True, None
            self._again(task)
            return
        try:
            if kind == parcels.DONE:
                value = parcels.unpickled(parcel.body, parcel.buffers, parcel.flags)
            else:
                error = self._error_of(parcel)
        except BaseException as problem:
            error = problem
        self._finish(task, value, error)

    def _finish(self, task: Task, value: Any, error: BaseException | None, in_flight: bool = True) -> None:
        with self.lock:
            del self.pending[task.number]
            self.in_flight -= in_flight
        if task.aside:
            task.aside.close()
        if error is None:
            task.future.set_result(value)
        else:
            task.future.set_exception(error)

    def _error_of(self, parcel: Parcel) -> BaseException:
        """An exception from a worker, with its traceback there as the cause."""
        text, data = parcels.unpickled(parcel.body, parcel.buffers, parcel.flags)
        error: BaseException
        try:
            error = pickle.loads(data)
        except BaseException as problem:  # pickled well, but its class cannot be made from that
            error = problem
        error.__cause__ = RemoteTraceback(text)
        return error

    def _again(self, task: Task) -> None:
        """Send a task once more, first of all."""
        with self.lock:
            task.attempt += 1
            self.in_flight -= 1
            self.backlog.appendleft(task)

    def _hear_of_end(self, member: Member) -> None:
        """A worker has ended; everything that it had put was dealt with before."""
        word = self.crew.words[2 * member.slot]
        self.crew.forget(member)
        task = self._current(word >> 1) if word else None
        if task is not None:
            if not word & RUNNING:
                self._again(task)
            elif task.retries > 0:
                task.retries -= 1
                self._again(task)
            else:
                self._finish(task, None, self._obituary(member, task))
        if not member.ready and not member.finished and not self.dismissed:
            self._failed_starts += 1
            if self._failed_starts >= _FAILED_STARTS:
                self._break(
                    f"{_FAILED_STARTS} workers in a row ended while they started, the last one "
                    f"{how_it_ended(member.exitcode)}; see their output. "
                    'A program that starts workers needs `if __name__ == "__main__":` around its '
                    "main part",
                    None,
                )
        self._replace()

    def _replace(self) -> None:
        with self.lock:
            if self.broken or self.dismissed:
                return
            wanted = min(self.size, len(self.pending))
            try:
                while len(self.crew.members) < wanted:
                    self.crew.hire()
            except Exception as error:
                if not self.crew.members:  # nobody is left to do the work
                    self._break("no worker can be started", error)

    def _obituary(self, member: Member, task: Task) -> WorkerDied:
        name = getattr(task.function, "__qualname__", repr(task.function))
        return WorkerDied(
            f"worker {member.pid} {how_it_ended(member.exitcode)} while it ran {name}; the pool goes on without it. "
            "Pass retries= to run such tasks again elsewhere",
            member.pid,
            member.exitcode,
        )

    # --- the end ---

    def _leave(self) -> None:
        """Once nothing is pending: shut the ring of tasks down, so that workers leave, and the crew's thread too."""
        if self.cancelling:
            with self.lock:
                waiting, self.backlog = self.backlog, collections.deque()
            for task in waiting:
                if task.running:
                    self.backlog.append(task)
                elif task.future.cancel():
                    self.pending.pop(task.number, None)
                    task.future.set_running_or_notify_cancel()
        with self.lock:
            if not self.pending:
                self._dismiss()

    def _dismiss(self) -> None:
        self.dismissed = True
        with contextlib.suppress(ShmringError):
            self.tasks.shutdown(immediate=self.broken is not None)
        self.crew.dismiss()

    def _break(self, reason: str, cause: BaseException | None, number: int = signal.SIGTERM) -> None:
        """Fail everything that is pending, and end the workers."""
        with self.lock:
            if self.broken:
                return
            self.broken = f"this pool is broken: {reason}"
            self.ending = True
            failed, self.pending = [*self.pending.values()], {}
            self.backlog.clear()
            self._dismiss()
        for task in failed:
            error = BrokenProcessPool(self.broken)
            error.__cause__ = cause
            with contextlib.suppress(Exception):  # cancelled meanwhile
                task.future.set_exception(error)
        self.crew.kill(number)

"""The machinery of a pool of workers: tasks into one ring, results out of another, and an account of both.

One thread collects results, feeds tasks that had to wait, and hears of the dead, all from the ring of results: since
the crew's thread puts a notice of death there itself, it arrives behind everything that the dead worker had put.

What arrives under a key that is not the current one of its task (a record delivered again after the death of its taker
was settled, say) is dropped, so each attempt counts once.
"""

from __future__ import annotations

import collections
import contextlib
import signal
import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures.process import BrokenProcessPool
from typing import Any

from shmring.diagnosis import CONSUMING, PRODUCING
from shmring.errors import Empty, PeerDied, ShmringError
from shmring.workers import parcels
from shmring.workers.child import RUNNING
from shmring.workers.crew import Crew, Member
from shmring.workers.failures import KILL, SentError, WorkerDied, how_it_ended
from shmring.workers.parcels import Parcel
from shmring.workers.shelf import Raw
from shmring.workers.tasks import ATTEMPTS, Feed, Task

_PATIENCE = 50  # with workers that end while they start
_PATIENCE_FOR_EXITS = 5  # of that, for one that was not killed: it has a reason, and will have it again
_TRY_AGAIN = 0.02  # seconds
_MOST_AT_ONCE = 64


class Pool:
    """Rings, crew and collector behind an executor, which may be collected while work is still pending."""

    def __init__(
        self,
        context: Any,
        size: int,
        start: Callable[[], tuple[Any, ...]],
        max_tasks: int | None,
        capacity: int | str,
    ) -> None:
        self.size = size
        self.lock = threading.RLock()
        self.tasks = parcels.make_ring(capacity)
        self.results = parcels.make_ring(capacity)
        # From now on we are somebody to wait for: a worker that comes after our death would find nobody, and wait.
        self.tasks._take_role(PRODUCING)
        self.results._take_role(CONSUMING)
        self.crew = Crew(context, self.tasks, self.results, size, start, max_tasks)
        self.feed = Feed(self.tasks, self.lock, lambda: len(self.crew.members), self._drop)
        self.pending: dict[int, Task] = {}
        self.broken: str | None = None
        self.ending = False  # no new tasks
        self._cancelling = False
        self._dismissed = False
        self._numbers = 0
        self._failed_starts = 0
        self._foreign: str | None = None
        self.thread: threading.Thread | None = None

    # --- from the executor's threads ---

    def submit(self, tasks: Sequence[Task], refusal: Callable[[], str | None]) -> None:
        """Take tasks in: straight into the ring when there is room, else they wait here. Never blocks."""
        self._check_process()
        try:
            direct = self._admit(tasks, refusal)
            if direct:
                self.feed.send(direct)
        except BaseException:  # Ctrl-C, say: nobody gets these futures, so nobody may wait for them
            self._withdraw(tasks)
            raise

    def _admit(self, tasks: Sequence[Task], refusal: Callable[[], str | None]) -> Sequence[Task]:
        with self.lock:
            if self.broken:
                raise BrokenProcessPool(self.broken)
            reason = refusal()
            if reason:
                raise RuntimeError(f"cannot schedule new futures after {reason}")
            if self.thread is None:
                thread = threading.Thread(target=self._collect, name="shmring-collector", daemon=True)
                thread.start()
                self.thread = thread
            members = len(self.crew.members)
            while members < self.size and len(self.pending) + len(tasks) > members:
                self.crew.hire()
                members += 1
            for task in tasks:
                self._numbers += 1
                task.number = self._numbers
                self.pending[task.number] = task
            return self.feed.admit(tasks)

    def _withdraw(self, tasks: Sequence[Task]) -> None:
        """Wherever these have got to: what comes of those that a worker has is dropped."""
        with self.lock:
            for task in tasks:
                self.pending.pop(task.number, None)
            self.feed.withdraw(tasks, len(self.pending))
            self._nudge()
        for task in tasks:
            task.future.cancel()

    def end(self, cancel: bool = False) -> None:
        """Take no more tasks; leave when those pending are done, or cancelled. Safe in a finalizer."""
        self.ending = True
        self._cancelling = self._cancelling or cancel
        if self.thread is not None:
            self.crew.wake()
        elif not self._dismissed:
            self._dismissed = True
            self._close()

    def kill(self, number: int = KILL) -> None:
        """Break the pool, and send its workers a signal."""
        self._check_process()
        if self.thread is None:
            self.end()
        self._break("its workers were ended by kill_workers() or terminate_workers()", None, number)

    def join(self) -> None:
        """Wait for the end; not from a callback, which runs in the collector's own thread."""
        if self.thread is not None and self.thread is not threading.current_thread():
            self.thread.join()

    def disown(self) -> None:
        """In a forked child: the pool, its threads and its workers stay the parent's, and what is pending fails here.

        No lock is taken, for any of them may have been held by another thread when the child was forked.
        """
        self._foreign = (
            f"this executor is that of process {self.crew.owner}, which the calling one was forked from; make another "
            "executor here"
        )
        for task in [*self.pending.values()]:
            task.future.__init__()  # type: ignore[misc]
            task.future.set_exception(RuntimeError(self._foreign))
        self.crew.disown()

    def _check_process(self) -> None:
        if self._foreign:
            raise RuntimeError(self._foreign)

    def _drop(self, task: Task) -> None:
        """A task that was in flight will not be sent."""
        with self.lock:
            self.pending.pop(task.number, None)
            self.feed.in_flight -= 1
            self._nudge()

    def _nudge(self) -> None:
        """Fewer are in flight, and no result will say so to the collector: others may wait for that, or the end may.

        Under the lock.
        """
        if self.ending or self.feed.backlog:
            self.crew.wake()

    # --- collecting ---

    def _collect(self) -> None:
        crew: threading.Thread | None = None
        try:
            thread = threading.Thread(target=self.crew.watch, name="shmring-crew", daemon=True)
            thread.start()
            crew = thread
            while self._receive():
                if self.ending and not self._dismissed:
                    self._leave()
                self.feed.refill()
        except BaseException as error:
            self.results.shutdown(immediate=True)
            self._break(f"its collector failed: {error!r}", error)
        finally:
            if crew is not None:
                crew.join()
            else:
                self.crew.watch()
            self._close()

    def _close(self) -> None:
        self.crew.close()
        self.tasks.close()
        self.results.close()

    def _receive(self) -> bool:
        """Deal with what has come, at least one message; False for the last of all."""
        more = True
        try:
            for raw in self.results.get_many(_MOST_AT_ONCE, _TRY_AGAIN if self.feed.stalled else None):
                more = self._deal_with(raw)
        except (Empty, PeerDied):  # every worker there was has died; the crew says which
            pass
        return more

    def _deal_with(self, raw: Raw) -> bool:
        key, kind, flags, _, _, extra = parcels.HEAD.unpack_from(raw)
        if kind in (parcels.DONE, parcels.FAILED, parcels.UNRESOLVED):
            self._settle(key, kind, flags, extra, raw)
        elif kind == parcels.RETURNED:
            task = self._current(key)
            if task is not None:
                self.feed.again(task)
        elif kind == parcels.READY:
            self._failed_starts = 0
            self.crew.member(key).ready = True
        elif kind == parcels.NOT_READY:
            member = self.crew.member(key)
            member.ready = True
            self._break(f"the initializer failed in worker {member.pid}", _sent(parcels.opened(raw)))
        elif kind == parcels.LEFT:
            self._hear_of_end(self.crew.member(key))
        return bool(kind != parcels.ALL_GONE)

    def _current(self, key: int) -> Task | None:
        task = self.pending.get(key // ATTEMPTS)
        return task if task is not None and task.key == key else None

    def _settle(self, key: int, kind: int, flags: int, extra: int, raw: Raw) -> None:
        """A result has come."""
        task = self._current(key)
        error: BaseException | None = None
        value: Any = None
        if kind == parcels.DONE and not flags and task is not None:  # short, as most are
            self.feed.learn(extra >> 8)
            try:
                value = parcels.short_value(raw)
            except BaseException as problem:
                error = _of_result(problem, task)
            self._finish(task, value, error)
            return
        try:
            parcel = parcels.opened(raw)
        except FileNotFoundError:
            if task is not None:  # the worker has died since, and this memory with it; it may have been at another task
                self._died_with(self.crew.member(extra & 255), task)
            return
        finally:
            if flags & parcels.ASIDE:
                self.crew.words[2 * (extra & 255) + 1] += 1
        if task is None:
            return
        self.feed.learn(extra >> 8)
        if kind == parcels.UNRESOLVED and not task.by_value:
            task.by_value, task.pickle = True, None
            self.feed.again(task)
            return
        try:
            if kind == parcels.DONE:
                value = parcel.value()
            else:
                error = _sent(parcel)
        except BaseException as problem:
            error = _of_result(problem, task)
        self._finish(task, value, error)

    def _finish(self, task: Task, value: Any, error: BaseException | None) -> None:
        with self.lock:
            if self.pending.pop(task.number, None) is None:
                return  # broken meanwhile; its future has been told
            self.feed.in_flight -= 1
        if task.aside:
            task.aside.close()
        if error is None:
            task.future.set_result(value)
        else:
            task.future.set_exception(error)

    def _hear_of_end(self, member: Member) -> None:
        """A worker has ended; everything that it had put was dealt with before."""
        word = self.crew.words[2 * member.slot]
        self.crew.forget(member)
        task = self._current(word >> 1)
        if task is not None:
            if word & RUNNING:
                self._died_with(member, task)
            else:
                self.feed.again(task)
        if not member.ready and not self._dismissed:
            killed = member.exitcode is not None and member.exitcode < 0
            self._failed_starts += 1 if killed else _PATIENCE_FOR_EXITS
            if self._failed_starts >= _PATIENCE:
                self._break(
                    "one worker after the other ended while it started; the last one "
                    f"{how_it_ended(member.exitcode)}; see their output. "
                    'A program that starts workers needs `if __name__ == "__main__":` around its main part',
                    None,
                )
        self._replace()

    def _died_with(self, member: Member, task: Task) -> None:
        """A task, or its result, was lost with a worker."""
        if task.retries > 0:
            task.retries -= 1
            task.attempts += 1
            self.feed.again(task)
        else:
            self._finish(task, None, _obituary(member, task))

    def _replace(self) -> None:
        with self.lock:
            if self.broken or self._dismissed:
                return
            wanted = min(self.size, len(self.pending))
            try:
                while len(self.crew.members) < wanted:
                    self.crew.hire()
            except Exception as error:
                if not self.crew.members:  # nobody is left to do the work
                    self._break("no worker can be started", error)

    # --- the end ---

    def _leave(self) -> None:
        """Once nothing is pending: shut the ring of tasks down, so that workers leave, and the crew's thread too."""
        with self.lock:
            if self._cancelling:
                waiting = [*self.feed.backlog]
                self.feed.backlog.clear()
                for task in waiting:
                    if task.running or not task.future.cancel():
                        self.feed.backlog.append(task)
                    else:
                        del self.pending[task.number]
                        task.future.set_running_or_notify_cancel()
            if not self.pending:
                self._dismiss()

    def _dismiss(self) -> None:
        self._dismissed = True
        with contextlib.suppress(ShmringError):
            self.tasks.shutdown(immediate=self.broken is not None)
        self.crew.dismiss()

    def _break(self, reason: str, cause: BaseException | None, number: int = signal.SIGTERM) -> None:
        """Fail everything that is pending, and end the workers."""
        with self.lock:
            if self.broken or self._dismissed:
                return
            self.broken = f"this pool is broken: {reason}"
            self.ending = True
            failed: Iterable[Task] = [*self.pending.values()]
            self.pending.clear()
            self.feed.backlog = collections.deque()
            self._dismiss()
        for task in failed:
            error = BrokenProcessPool(self.broken)
            error.__cause__ = cause
            with contextlib.suppress(Exception):  # cancelled meanwhile
                task.future.set_exception(error)
        self.crew.kill(number)


def _sent(parcel: Parcel) -> BaseException:
    """An exception from a worker."""
    return SentError(*parcel.value()).exception()


def _of_result(problem: BaseException, task: Task) -> BaseException:
    problem.add_note(f"(raised as the result of {_title(task)} was unpickled in this process)")
    return problem


def _title(task: Task) -> str:
    return str(getattr(task.function, "__qualname__", repr(task.function)))


def _obituary(member: Member, task: Task) -> WorkerDied:
    tried = "retries= runs such tasks again elsewhere"
    if task.attempts > 1:
        tried = f"the task had been begun {task.attempts} times, on other workers before"
    return WorkerDied(
        f"worker {member.pid} {how_it_ended(member.exitcode)} while it ran {_title(task)}; the pool goes on without "
        f"it, and {tried}",
        member.pid,
        member.exitcode,
    )

"""The machinery of a pool of workers: tasks into one ring, results out of another, and an account of both.

One thread collects results, feeds tasks that had to wait, and hears of the dead, all from the ring of results: since
the crew's thread puts a notice of death there itself, it arrives behind everything that the dead worker had put.

What arrives under a key that is not the current one of its task (a record delivered again after the death of its taker
was settled, say) is dropped, so each attempt counts once.
"""

from __future__ import annotations

import collections
import contextlib
import itertools
import signal
import threading
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import InvalidStateError
from concurrent.futures.process import BrokenProcessPool
from typing import Any

from shmring.diagnosis import CONSUMING, PRODUCING
from shmring.errors import Closed, DecodeError, Empty, PeerDied, ShmringError
from shmring.segment.descriptors import Shortage
from shmring.workers import outcomes, parcels
from shmring.workers.beginning import Beginning
from shmring.workers.child import RUNNING
from shmring.workers.crew import Crew, Member
from shmring.workers.failures import KILL, SentError, how_it_ended
from shmring.workers.mains import NEEDS_GUARD, NO_GUARD
from shmring.workers.parcels import Parcel
from shmring.workers.pickles import Names
from shmring.workers.shelf import Raw
from shmring.workers.tasks import ATTEMPTS, Feed, Task
from shmring.workers.uninterrupted import uninterrupted

_PATIENCE = 50  # with workers that end while they start
_PATIENCE_FOR_EXITS = 5  # of that, for one that was not killed: it has a reason, and will have it again
_TRY_AGAIN = 0.02  # seconds
_MOST_AT_ONCE = 64
_MOST_REFUSALS = 500  # of starts, one after the other
_UNHURRIED = 5 * (0,)  # seconds for a worker whose initializer has failed


class Collector:
    """Rings, crew and account of a pool, and what its thread does with them."""

    def __init__(
        self,
        context: Any,
        size: int,
        beginning: Beginning,
        names: Names,
        max_tasks: int | None,
        capacity: int | str,
        otherwise: Any = None,
    ) -> None:
        self.size = size
        self.lock = threading.RLock()
        self.tasks = parcels.make_ring(capacity)
        self.results = parcels.make_ring(capacity)
        # From now on we are somebody to wait for: a worker that comes after our death would find nobody, and wait.
        self.tasks._take_role(PRODUCING)
        self.results._take_role(CONSUMING)
        self.crew = Crew(context, self.tasks, self.results, size, beginning, max_tasks, otherwise)
        self.feed = Feed(self.tasks, self.lock, names, lambda: len(self.crew.members), self._drop)
        self.pending: dict[int, Task] = {}
        self.broken: str | None = None
        self.ending = False  # no new tasks
        self._names = names
        self._cancelling = False
        self._dismissed = False
        self._closed = False
        self._submitting: set[int] = set()  # threads that have tasks in hand which are not in the ring yet
        self._numbers = itertools.count(1)
        self._late: collections.deque[Sequence[Task]] = collections.deque()  # submitted by a handler amid a submit
        self._failed_starts = self._refused = 0
        self._wants_more = False  # workers, of which one could not be started just now
        self._foreign: str | None = None
        self._starting = threading.Lock()  # taken after the other one, or without it
        self._starters: set[int] = set()  # threads that start others for one that holds the lock
        self.thread: threading.Thread | None = None

    # --- taking tasks in, under the lock ---

    def _start(self, more: int) -> None:
        """There are to be threads, and workers for so many more tasks."""
        wanted = min(self.size, len(self.pending) + more)
        if self.thread is None or len(self.crew.members) < wanted:
            uninterrupted(lambda: self._start_all(wanted))

    def _start_all(self, wanted: int) -> None:
        """Perhaps the one that asked for this was interrupted, and has let go of the lock."""
        thread = threading.get_ident()
        self._starters.add(thread)
        try:
            with self._starting:
                if self._closed:
                    raise Closed("this pool has ended")
                if self.thread is None:
                    collector = threading.Thread(target=self._collect, name="shmring-collector", daemon=True)
                    collector.start()
                    self.thread = collector
                while len(self.crew.members) < wanted:
                    self.crew.hire(wanted)
        finally:
            self._starters.discard(thread)

    def _take_in(self, tasks: Sequence[Task]) -> Sequence[Task]:
        for task in tasks:
            task.number = next(self._numbers)
            self.pending[task.number] = task
        return self.feed.admit(tasks)

    def _take_in_late(self) -> None:
        """What signal handlers have submitted. For the collector's thread."""
        while self._late:
            with self.lock:
                tasks = self._late.popleft()
                try:
                    self._start(len(tasks))
                except Exception as error:
                    if not self.crew.members:
                        self._break("no worker can be started", error)
                if self.broken:
                    for task in tasks:
                        task.future.set_exception(BrokenProcessPool(self.broken))
                    continue
                direct = self._take_in(tasks)
            self.feed.send(direct)

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
            thread = threading.Thread(target=self._watch, name="shmring-crew", daemon=True)
            thread.start()
            crew = thread
            while self._receive():
                if self._late:
                    self._take_in_late()
                if self._wants_more:
                    self._replace()
                if self.ending and not self._dismissed:
                    self._leave()
                self.feed.refill()
        except BaseException as error:
            self._fail(error)
        finally:
            try:
                if crew is not None:
                    crew.join()
                else:
                    self._watch()
                self._take_in_late()  # to be told that the pool has broken
            finally:
                self._close()

    def _watch(self) -> None:
        try:
            self.crew.watch()
        except BaseException as error:
            self._fail(error, "the watch over its workers")
            self.crew.abandon()

    def _fail(self, error: BaseException, what: str = "its collector") -> None:
        """One of the threads cannot go on: no future may wait for it, and no worker for room."""
        self._break(f"{what} failed: {error!r}", error)
        with contextlib.suppress(ShmringError):
            self.results.shutdown(immediate=True)

    def _close_unused(self) -> None:
        """Nothing was started, and nothing will be. Under the lock."""
        with self._starting:
            if self.thread is None:
                self._close()

    def _close(self) -> None:
        with self.lock, contextlib.ExitStack() as parts:  # one that is refused keeps none of the others
            if not self._closed:
                self._closed = self._dismissed = True
                for part in (self.results, self.tasks, self.crew):
                    parts.callback(part.close)

    def _receive(self) -> bool:
        """Deal with what has come, at least one message; False for the last of all."""
        more = True
        try:
            for raw in self.results.get_many(
                _MOST_AT_ONCE, _TRY_AGAIN if self.feed.stalled or self._wants_more else None
            ):
                more = self._deal_with(raw)
        except (Empty, PeerDied):  # every worker there was has died; the crew says which
            pass
        except DecodeError as error:
            if not isinstance(error.__cause__, MemoryError):
                raise
            time.sleep(_TRY_AGAIN)  # it was handed back; there may be memory for it soon
        return more

    def _deal_with(self, raw: Raw) -> bool:
        key, kind, flags, _, extra = parcels.HEAD.unpack_from(raw)
        if kind in (parcels.DONE, parcels.FAILED, parcels.UNRESOLVED):
            self._settle(key, kind, flags, extra, raw)
        elif kind == parcels.RETURNED:
            task = self._current(key)
            if task is not None:
                self.feed.again(task)
        elif kind == parcels.READY:
            self._failed_starts = 0
            self.crew.member(key).ready = True
        elif kind in (parcels.NOT_READY, parcels.LACKING):
            self._hear_of_failed_start(self.crew.member(key), kind, raw)
        elif kind == parcels.LEFT:
            self._hear_of_end(self.crew.member(key))
        return bool(kind != parcels.ALL_GONE)

    def _hear_of_failed_start(self, member: Member, kind: int, raw: Raw) -> None:
        """A worker could not begin: it lacks names, which the next one is sent by value, or its initializer failed."""
        member.ready = True
        try:
            parcel = parcels.opened(raw)
            if kind == parcels.LACKING:
                missing, problem = parcel.value()
                if self._names.add(missing):
                    return
                error = SentError(*problem).exception()
            else:
                error = outcomes.sent(parcel)
        except Exception as problem:
            error = problem
        # The pool breaks when it has left: what it has logged is on its way until then.
        member.failure = error
        self.crew.kill((*_UNHURRIED, signal.SIGTERM, KILL))

    def _current(self, key: int) -> Task | None:
        task = self.pending.get(key // ATTEMPTS)
        return task if task is not None and task.key == key else None

    def _settle(self, key: int, kind: int, flags: int, extra: int, raw: Raw) -> None:
        """A result has come. What goes wrong as it is taken in fails this task, and no other."""
        task = self._current(key)
        if kind == parcels.DONE and not flags and task is not None:  # short, as most are
            self.feed.learn(extra >> 8)
            try:
                value = parcels.short_value(raw)
            except BaseException as problem:
                self._finish(task, None, outcomes.of_result(problem, task))
            else:
                self._finish(task, value, None)
            return
        try:
            parcel = self._opened(raw, flags, extra)
        except Exception as problem:
            is_gone = isinstance(problem, FileNotFoundError) and not isinstance(problem, Shortage)
            if task is not None and is_gone:  # the worker has died since, and this memory with it
                self._died_with(self.crew.member(extra & 255), task)
            elif task is not None:
                self._finish(task, None, outcomes.of_result(problem, task))
            return
        if task is None:
            return
        self.feed.learn(extra >> 8)
        value = None
        error: BaseException | None = None
        try:
            value = parcel.value()
            if kind == parcels.FAILED:
                error = SentError(*value).exception()
        except BaseException as problem:
            error = outcomes.of_result(problem, task)
        if kind != parcels.UNRESOLVED or error is not None:
            self._finish(task, value, error)
        elif self._names.add(value[0]) or task.lacked != self._names.absent:
            task.lacked = self._names.absent  # from now on that goes by value
            self.feed.again(task)
        else:
            self._finish(task, None, SentError(*value[1]).exception())

    def _opened(self, raw: Raw, flags: int, extra: int) -> Parcel:
        """A result; its sender is told that it may let go of the memory, whether we could take it or not."""
        try:
            return parcels.opened(raw)
        finally:
            if flags & parcels.ASIDE:
                self.crew.words[2 * (extra & 255) + 1] += 1

    def _finish(self, task: Task, value: Any, error: BaseException | None) -> None:
        with self.lock:
            if self.pending.pop(task.number, None) is None:
                return  # the pool has broken since; its future has been told
            self.feed.in_flight -= 1
        if task.aside:
            task.done_with()
        if error is None:
            task.future.set_result(value)
        else:
            task.future.set_exception(error)

    def _hear_of_end(self, member: Member) -> None:
        """A worker has ended; everything that it had put was dealt with before."""
        word = self.crew.words[2 * member.slot]
        self.crew.forget(member)
        if member.failure is not None:
            self._break(f"the initializer failed in worker {member.pid}", member.failure)
        task = self._current(word >> 1)
        if task is not None:
            if word & RUNNING:
                self._died_with(member, task)
            else:
                self.feed.again(task)
        if not member.ready and not self._dismissed:
            killed = member.exitcode is not None and member.exitcode < 0
            self._failed_starts += 1 if killed else _PATIENCE_FOR_EXITS
            if member.exitcode == NO_GUARD:
                self._break(NEEDS_GUARD, None)
            elif self._failed_starts >= _PATIENCE:
                self._break(
                    "one worker after the other ended while it started; the last one "
                    f"{how_it_ended(member.exitcode)}; see their output",
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
            self._finish(task, None, outcomes.obituary(member, task))

    def _replace(self) -> None:
        """Have as many workers as there is work for. What prevents that may pass, so it is tried for a while."""
        self._wants_more = False
        with self.lock:
            if self.broken or self._dismissed:
                return
            wanted = min(self.size, len(self.pending))
            try:
                while len(self.crew.members) < wanted:
                    self.crew.hire(wanted)
                    self._refused = 0
            except Exception as error:
                self._refused += 1
                self._wants_more = isinstance(error, OSError) and self._refused < _MOST_REFUSALS
                if not self._wants_more and not self.crew.members:  # none is left to do the work
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
            if not self.pending and not self._late:
                self._dismiss()

    def _dismiss(self) -> None:
        self._dismissed = True
        with contextlib.suppress(ShmringError):
            self.tasks.shutdown(immediate=self.broken is not None)
        self.crew.dismiss()

    def _break(self, reason: str, cause: BaseException | None, signals: Sequence[int] = (signal.SIGTERM, KILL)) -> None:
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
            with contextlib.suppress(InvalidStateError):  # it was cancelled
                task.future.set_exception(error)
            task.done_with()
        self.crew.kill(signals)

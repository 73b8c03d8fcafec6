"""A pool of workers as the threads of a program use it: beside its own thread (collecting), and beside each other."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures.process import BrokenProcessPool

from shmring.errors import Closed
from shmring.workers.collecting import Collector
from shmring.workers.failures import KILL
from shmring.workers.tasks import Task


class Pool(Collector):
    """Rings, crew and collector behind an executor, which may be collected while work is still pending."""

    def submit(self, tasks: Sequence[Task], refusal: Callable[[], str | None]) -> None:
        """Take tasks in: straight into the ring when there is room, else they wait here. Never blocks.

        A signal handler may submit while its thread does: then the tasks wait until that is through.
        """
        self._check_process()
        if self._is_inside():
            self._check_open(refusal)
            self._late.append(tasks)
            self.crew.wake()
            return
        thread = threading.get_ident()
        is_outermost = thread not in self._submitting
        self._submitting.add(thread)
        try:
            direct = self._admit(tasks, refusal)
            if direct:
                self.feed.send(direct)
        except BaseException:  # Ctrl-C, say: no caller has these futures, so none may wait for them
            self._withdraw(tasks)
            raise
        finally:
            if is_outermost:
                self._submitting.discard(thread)

    def _is_inside(self) -> bool:
        """Has this thread been interrupted within a call of ours?"""
        is_owner: bool = self.lock._is_owned()  # type: ignore[attr-defined]
        return is_owner or threading.get_ident() in self._starters

    def _check_unbroken(self) -> None:
        if self.broken:
            raise BrokenProcessPool(self.broken)

    def _check_open(self, refusal: Callable[[], str | None]) -> None:
        self._check_unbroken()
        reason = refusal()
        if reason:
            raise RuntimeError(f"cannot schedule new futures after {reason}")

    def _admit(self, tasks: Sequence[Task], refusal: Callable[[], str | None]) -> Sequence[Task]:
        with self.lock:
            try:
                self._check_open(refusal)
                self._start(len(tasks))
                self._check_unbroken()
                return self._take_in(tasks)
            except Closed:  # a signal handler has broken it while the first worker was to be started
                self._check_unbroken()
                raise
            finally:
                if self._late:
                    self.crew.wake()
                if self.ending and self.thread is None:
                    self._close_unused()

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
        if self.thread is None and not self._is_inside():
            with self.lock:
                if self.thread is None:
                    self._close_unused()
        self.crew.wake()

    def kill(self, number: int = KILL) -> None:
        """Break the pool, and send its workers a signal."""
        self._check_process()
        if self.thread is None:
            self.end()
        self._break("its workers were ended by kill_workers() or terminate_workers()", None, (number, KILL))

    def join(self) -> None:
        """Wait for the end; not where the pool itself would have to wait for that.

        That is in a callback, which runs in the collector's own thread, and in a signal handler amid another call.
        """
        is_amid = self._is_inside() or threading.get_ident() in self._submitting
        if self.thread is not None and self.thread is not threading.current_thread() and not is_amid:
            self.thread.join()

    def disown(self) -> None:
        """In a forked child: the pool, its threads and its workers stay the parent's, and what is pending fails here.

        No lock is taken, for any of them may have been held by another thread when the child was forked.
        """
        self._foreign = (
            f"this executor is that of process {self.crew.owner}, which the calling one was forked from; make another "
            "executor here"
        )
        for task in [*self.pending.values(), *(task for tasks in self._late for task in tasks)]:
            task.future.__init__()  # type: ignore[misc]
            task.future.set_exception(RuntimeError(self._foreign))
        self.crew.disown()

    def _check_process(self) -> None:
        if self._foreign:
            raise RuntimeError(self._foreign)

"""The end of a process: who leaves its rings, and when.

Everything works to the last function of ``atexit``, the last finalizer and the last step of a daemon thread: the core
leaves the rings when the interpreter has gone (binding/leaving.c). Two ends are different.

Children of multiprocessing and of multiprocess end by ``os._exit``, past all that. Their last finalizers leave, and
where the program has threads that the child waits for, a thread that waits for those does.

On Windows a name is no file, and Python has to remove it: there rings are left by a function of ``atexit``, which runs
before those that were registered before shmring was imported. A ring of which a view is in use then is left as by a
kill, but what it holds is kept.
"""

from __future__ import annotations

import atexit
import contextlib
import importlib
import os
import sys
import threading
from collections.abc import Callable, Iterable
from typing import Protocol

from shmring import _core

_PACKAGES = ("multiprocessing", "multiprocess")
_LAST = -1_000_000  # priority of a finalizer: after all others
_watched: set[tuple[str, int]] = set()


class Open(Protocol):
    """Something to leave."""

    def close(self) -> None:
        """Leave it. BufferError while a view of it is in use."""

    def _keep_at_end(self) -> None:
        """Keep what is in it, where that would go with the process."""


class Leaving:
    """Closes whatever is open, at the end of the process."""

    def __init__(self, still_open: Callable[[], Iterable[Open]]) -> None:
        self._still_open = still_open
        if not _core.leave_at_exit():
            atexit.register(self._close_all)

    def watch(self) -> None:
        """There is something to leave in this process, or in those that it forks."""
        for package in _PACKAGES:
            if package not in sys.modules or (package, os.getpid()) in _watched:
                continue
            _watched.add((package, os.getpid()))
            # A child clears the finalizers that it finds when it begins, then runs what is registered so.
            importlib.import_module(f"{package}.util").register_after_fork(self, Leaving._watch_child)
            self._watch_child()

    def _watch_child(self) -> None:
        for package in _PACKAGES:
            if package in sys.modules and importlib.import_module(f"{package}.process").parent_process() is not None:
                util = importlib.import_module(f"{package}.util")
                util.Finalize(None, self._close_after_threads, exitpriority=_LAST)

    def _close_after_threads(self) -> None:
        """The child still waits for threads that are no daemons: they may use what is open."""
        current = threading.current_thread()
        others = [each for each in threading.enumerate() if not each.daemon and each is not current]
        if not others:
            self._close_all()
            return

        def last() -> None:
            for each in others:
                each.join()
            self._close_all()

        threading.Thread(target=last, name="shmring leaves").start()

    def _close_all(self) -> None:
        for each in self._still_open():
            with contextlib.suppress(Exception):  # BufferError, for one; at the end there is nobody left to tell
                each.close()
        for each in self._still_open():
            with contextlib.suppress(Exception):
                each._keep_at_end()

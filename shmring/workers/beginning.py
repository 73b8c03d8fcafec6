"""What a worker begins with: the initializer and its arguments, and what kind of process it is."""

from __future__ import annotations

import pickle
import threading
from collections.abc import Callable
from typing import Any

from shmring.workers import namespace
from shmring.workers.pickles import ALL_THERE, Names, unresolved, whole

_Initializer = Callable[..., object] | None


class Beginning:
    """The initializer and its arguments, pickled when a worker is started.

    They go with the process and not through a ring, so they may be locks and queues of multiprocessing. A forked
    worker has them as they are.
    """

    def __init__(self, initializer: _Initializer, initargs: tuple[Any, ...], names: Names) -> None:
        self._initializer, self._initargs, self._names = initializer, initargs, names
        self.package, self.has_main = names.package, names.has_main
        self.is_sent = False
        self.data = b""

    def loaded(self) -> tuple[_Initializer, tuple[Any, ...]]:
        """In the worker. Raises what unpickling raises."""
        if self.data:
            self._initializer, self._initargs = pickle.loads(self.data)
        return self._initializer, self._initargs

    def missing(self, error: BaseException) -> list[tuple[str, str]]:
        """Which names the worker does not find, that these refer to."""
        return unresolved(self.data, error) if self.data else []

    def __reduce__(self) -> tuple[Callable[..., Beginning], tuple[Any, ...]]:
        data = b"" if self._initializer is None else whole((self._initializer, self._initargs), self._names, once=True)
        return _arrived, (data, self.package, self.has_main)


def _arrived(data: bytes, package: str, has_main: bool) -> Beginning:
    beginning = Beginning(None, (), Names(package, has_main))
    beginning.data, beginning.is_sent = data, True
    return beginning


def become_worker(beginning: Beginning) -> None:
    """From now on what this process pickles and unpickles is a worker's."""
    ALL_THERE.package = beginning.package
    threading.main_thread().name = "MainThread"  # a fork has that of the thread which forked it
    namespace.begin(not beginning.is_sent, beginning.has_main)

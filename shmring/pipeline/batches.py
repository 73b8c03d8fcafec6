"""What an executor's worker does for a stage: run its function over a batch of items, and say which of them failed."""

from __future__ import annotations

import pickle
import time
from collections.abc import Callable
from typing import Any, NamedTuple

from shmring.workers.failures import remote_traceback, traceback_text


class Failure(NamedTuple):
    """An item whose function raised: its place in the batch, the traceback, and the pickled exception."""

    place: int
    text: str
    error: bytes

    def exception(self) -> BaseException:
        """The exception, with its traceback in the worker as the cause."""
        error: BaseException
        try:
            error = pickle.loads(self.error)
        except Exception as problem:
            error = problem
        error.__cause__ = remote_traceback(self.text)
        return error


class Outcome(NamedTuple):
    """A batch, done: one result for each item (None for a failed one), the failures, and the seconds it took."""

    results: list[Any]
    failures: list[Failure]
    seconds: float


def run_batch(function: Callable[[Any], Any], items: list[Any], expand: bool) -> Outcome:
    """Call the function with each item. With ``expand`` the result is a list of what it yields."""
    began = time.perf_counter()
    results: list[Any] = []
    failures: list[Failure] = []
    for place, item in enumerate(items):
        try:
            result = function(item)
            results.append(list(result) if expand else result)
        except Exception as error:
            results.append(None)
            failures.append(_failure(place, error))
    return Outcome(results, failures, time.perf_counter() - began)


def _failure(place: int, error: Exception) -> Failure:
    text = traceback_text(error)
    error.__traceback__ = None
    try:
        data = pickle.dumps(error, 5)
    except Exception as problem:
        data = pickle.dumps(pickle.PicklingError(f"{type(error).__name__}: {error} (it cannot be pickled: {problem})"))
    return Failure(place, text, data)

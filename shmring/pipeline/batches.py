"""What an executor's worker does for a stage: run its function over a batch of items, and say which of them failed."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, NamedTuple

from shmring.workers.failures import SentError, sent_error


class Failure(NamedTuple):
    """An item whose function raised: its place in the batch, and the exception."""

    place: int
    error: SentError


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
            failures.append(Failure(place, sent_error(error)))
    return Outcome(results, failures, time.perf_counter() - began)

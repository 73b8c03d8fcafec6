"""What a stage is, and its part of a run: what waits, what is out, what has come back and must wait its turn."""

from __future__ import annotations

import collections
import dataclasses
import time
from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import Any, Literal

from shmring.errors import StageError
from shmring.pipeline.batches import Outcome, run_batch
from shmring.workers import ProcessPoolExecutor, WorkerDied
from shmring.workers.failures import how_it_ended

OnError = Literal["raise", "skip"] | Callable[[StageError], Any]
OnDeath = Literal["retry", "drop"]


@dataclasses.dataclass(frozen=True)
class StageSpec:
    """A stage as it was asked for."""

    functions: tuple[Callable[[Any], Any], ...]
    name: str
    workers: int
    ordered: bool
    batch: int
    expand: bool
    joined: bool  # several functions for each item, whose results are joined in a tuple
    on_error: OnError
    on_death: OnDeath
    retries: int
    executor: Executor | None
    options: dict[str, Any]


@dataclasses.dataclass(frozen=True)
class StageStats:
    """What a stage has done so far; from :meth:`Pipeline.stats`.

    ``taken``, ``done``, ``failed`` and ``dropped`` count items. ``rate`` is items a second, ``queue`` (how full the
    stage's inbox is) and ``busy`` (how much of their time its workers are at work) are shares from 0 to 1.

    >>> with shmring.Pipeline().source(range(4)).stage(abs) as pipeline:
    ...     results = pipeline.run()
    ...     [stage] = pipeline.stats()
    >>> stage.name, stage.taken, stage.done
    ('abs', 4, 4)
    """

    name: str
    taken: int
    done: int
    failed: int
    dropped: int
    rate: float
    queue: float
    busy: float


class Batch:
    """Items that travel together, and the futures of their results, one for each function of the stage."""

    def __init__(self, items: list[Any], retries: int) -> None:
        self.items, self.retries = items, retries
        self.futures: list[Future[Outcome]] = []
        self.left = 0
        self.output: list[Any] | None = None  # once it is done
        self.parts: list[Batch] = []  # its items one by one, when the whole had failed


class Stage:
    """A stage of a running pipeline; for the conductor's thread alone, except ``inbox``."""

    def __init__(self, spec: StageSpec, told: Callable[[Stage, Batch], None]) -> None:
        self.spec = spec
        self.executor = spec.executor or ProcessPoolExecutor(spec.workers, **spec.options)
        self.inbox: collections.deque[Any] = collections.deque()
        self.room = max(2 * spec.batch, spec.batch * spec.workers)
        self.upstream_ended = False
        self._told = told
        self._most_out = 2 * spec.workers + 1
        self._out: collections.deque[Batch] = collections.deque()  # in the order of their items
        self._outbox: collections.deque[Any] = collections.deque()
        self._began = time.monotonic()
        self._stopped: float | None = None
        self._seconds = 0.0
        self._taken = self._done = self._failed = self._dropped = 0

    @property
    def ended(self) -> bool:
        """Has everything that came in gone out?"""
        return self.upstream_ended and not self.inbox and not self._out and not self._outbox

    def dispatch(self) -> bool:
        """Send out what waits, as far as there is room for it; was there any?"""
        sent = False
        while self.inbox and len(self._out) < self._most_out and len(self._outbox) < self.room:
            items = [self.inbox.popleft() for _ in range(min(len(self.inbox), self.spec.batch))]
            self._taken += len(items)
            batch = Batch(items, self.spec.retries)
            self._out.append(batch)
            self._submit(batch)
            sent = True
        return sent

    def _submit(self, batch: Batch) -> None:
        batch.left = len(self.spec.functions)
        for function in self.spec.functions:
            if isinstance(self.executor, ProcessPoolExecutor):
                future = self.executor._submit_batch(run_batch, function, batch.items, self.spec.expand, batch.retries)
            else:
                future = self.executor.submit(run_batch, function, batch.items, self.spec.expand)
            batch.futures.append(future)
        for future in [*batch.futures]:
            future.add_done_callback(lambda _: self._told(self, batch))

    def hear(self, batch: Batch) -> None:
        """One of the futures of a batch is done. Raises StageError where the stage's ``on_error`` says so."""
        batch.left -= 1
        if batch.left:
            return
        error = next((future.exception() for future in batch.futures if future.exception()), None)
        if error is None:
            batch.output = self._collected(batch.items, [future.result() for future in batch.futures])
        elif isinstance(error, WorkerDied) and self.spec.on_death == "drop":
            self._dropped += len(batch.items)
            batch.output = []
        elif len(batch.items) == 1:
            batch.output = self._instead(batch.items[0], error)
        else:  # find out which of them it is
            batch.parts = [Batch([item], self.spec.retries) for item in batch.items]
            for part in batch.parts:
                self._submit(part)
        batch.futures = []
        self._collect()

    def _collected(self, items: list[Any], outcomes: list[Outcome]) -> list[Any]:
        self._seconds += sum(outcome.seconds for outcome in outcomes)
        failures = {failure.place: failure for outcome in outcomes for failure in outcome.failures}
        results: list[Any] = outcomes[0].results
        if self.spec.joined:
            results = [*zip(*(outcome.results for outcome in outcomes), strict=True)]
        if not failures and not self.spec.expand:
            self._done += len(items)
            return results
        output = []
        for place, result in enumerate(results):
            if place in failures:
                output += self._instead(items[place], failures[place].error.exception())
            else:
                self._done += 1
                output += result if self.spec.expand else [result]
        return output

    def _instead(self, item: Any, cause: BaseException) -> list[Any]:
        """What goes on in place of an item that failed."""
        self._failed += 1
        text = f"stage {self.spec.name!r} failed on {_shortened(item)}: {self._reason(cause)}"
        error = StageError(text, self.spec.name, item)
        error.__cause__ = cause
        if self.spec.on_error == "raise":
            raise error
        if self.spec.on_error == "skip":
            return []
        value = self.spec.on_error(error)
        return [] if value is None else [value]

    def _reason(self, cause: BaseException) -> str:
        if not isinstance(cause, WorkerDied):
            return repr(cause)
        times = f"each of {self.spec.retries + 1} times" if self.spec.retries else "the one time that it was tried"
        return (
            f"its worker {how_it_ended(cause.exitcode)} {times}; stage(on_error='skip') leaves such items out, "
            f"stage(retries=...) says how often they are tried again, here {self.spec.retries}"
        )

    def _collect(self) -> None:
        """Move what is done to the outbox: in order, or as it comes."""
        if self.spec.ordered:
            while self._out and (done := _whole(self._out[0])) is not None:
                self._out.popleft()
                self._outbox.extend(done)
            return
        still = collections.deque[Batch]()
        for batch in self._out:
            done = _whole(batch)
            if done is None:
                still.append(batch)
            else:
                self._outbox.extend(done)
        self._out = still

    def pass_on(self, following: collections.deque[Any], room: int) -> bool:
        """Move results to where they go next, as many as it takes; did any?"""
        count = min(len(self._outbox), room - len(following))
        for _ in range(count):
            following.append(self._outbox.popleft())
        return count > 0

    def stats(self) -> StageStats:
        """The counters of this moment."""
        elapsed = max((self._stopped or time.monotonic()) - self._began, 1e-9)
        busy = self._seconds / elapsed / self.spec.workers
        return StageStats(
            self.spec.name,
            self._taken,
            self._done,
            self._failed,
            self._dropped,
            self._done / elapsed,
            min(1.0, len(self.inbox) / self.room),
            min(1.0, busy),
        )

    def stop(self, gently: bool) -> None:
        """End the workers, if they are this stage's own: when their work is done, or at once."""
        self._stopped = self._stopped or time.monotonic()
        if self.spec.executor is None:
            if not gently and isinstance(self.executor, ProcessPoolExecutor):
                self.executor.kill_workers()
            self.executor.shutdown()
        elif not gently:
            for batch in self._out:
                for future in [*batch.futures, *(each for part in batch.parts for each in part.futures)]:
                    future.cancel()


def _whole(batch: Batch) -> list[Any] | None:
    """The output of a batch, when all of it is there."""
    if batch.parts:
        parts = [part.output for part in batch.parts]
        return None if None in parts else [value for part in parts for value in part or ()]
    return batch.output


def _shortened(item: Any) -> str:
    text = repr(item)
    return text if len(text) <= 200 else f"{text[:200]}..."

"""A pipeline at work.

A thread for each source puts items into the first stage; the conductor's thread sends batches out, takes results in and
moves them on; whoever iterates takes them at the end. Nobody goes further ahead than the next one has room for.
"""

from __future__ import annotations

import collections
import contextlib
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from shmring.errors import Closed
from shmring.pipeline.stages import Batch, Stage, StageSpec, StageStats

_RESULTS = 1024


class Run:
    """One pass of items through all the stages."""

    def __init__(self, sources: Sequence[Callable[[], Iterable[Any]]], specs: Sequence[StageSpec]) -> None:
        self._owner = os.getpid()
        self._changed = threading.Condition()
        self._news = 0
        self._finished: collections.deque[tuple[Stage, Batch]] = collections.deque()
        self._results: collections.deque[Any] = collections.deque()
        self._error: BaseException | None = None
        self._ended = self._stopping = self._closed = False
        self._sources = len(sources)
        self._stages: list[Stage] = []
        try:
            for spec in specs:
                self._stages.append(Stage(spec, self._hear))
        except BaseException:
            self._stop_stages(gently=False)
            raise
        self._threads = [
            threading.Thread(target=self._pump, args=(source,), name="shmring-source", daemon=True)
            for source in sources
        ]
        self._conductor = threading.Thread(target=self._conduct, name="shmring-pipeline", daemon=True)
        for thread in (self._conductor, *self._threads):
            thread.start()

    # --- threads of the sources ---

    def _pump(self, source: Callable[[], Iterable[Any]]) -> None:
        first = self._stages[0].inbox if self._stages else self._results
        room = self._stages[0].room if self._stages else _RESULTS
        try:
            for item in source():
                if len(first) >= room:
                    with self._changed:
                        self._changed.wait_for(lambda: len(first) < room or self._stopping)
                if self._stopping:
                    return
                first.append(item)
                self._notify()
        except BaseException as error:
            self._fail(error)
        finally:
            with self._changed:
                self._sources -= 1
            self._notify()

    # --- the executors' threads ---

    def _hear(self, stage: Stage, batch: Batch) -> None:
        self._finished.append((stage, batch))
        self._notify()

    def _notify(self) -> None:
        with self._changed:
            self._news += 1
            self._changed.notify_all()

    def _fail(self, error: BaseException) -> None:
        with self._changed:
            if not self._stopping:  # or it is a consequence of that
                self._error = error
                self._stopping = True
            self._changed.notify_all()

    # --- the conductor ---

    def _conduct(self) -> None:
        seen = -1
        try:
            while not self._ended and not self._stopping:
                with self._changed:
                    while self._news == seen and not self._stopping:
                        self._changed.wait()
                    seen = self._news
                while not self._stopping and self._work():
                    with self._changed:
                        self._changed.notify_all()
        except BaseException as error:
            self._fail(error)

    def _work(self) -> bool:
        """Everything that can be done now; was there anything?"""
        did = False
        while self._finished:
            stage, batch = self._finished.popleft()
            stage.hear(batch)
            did = True
        upstream_ended = self._sources == 0
        for place, stage in enumerate(self._stages):
            did |= stage.dispatch()
            following = self._stages[place + 1 : place + 2]
            did |= stage.pass_on(*((following[0].inbox, following[0].room) if following else (self._results, _RESULTS)))
            stage.upstream_ended = upstream_ended
            upstream_ended = upstream_ended and stage.ended
        if upstream_ended and not self._ended:
            self._ended = did = True
        return did

    # --- whoever takes the results ---

    def results(self) -> Iterator[Any]:
        """None at once; then the results, until all have come, and then everything is given back.

        Raises what a stage or source raised; Closed after stop().
        """
        try:
            yield None
            while taken := self._take():
                for result in taken:
                    self._check_is_open()
                    yield result
        finally:
            self.stop()

    def _take(self) -> list[Any]:
        self._check_is_open()  # before the lock, which in a forked child may be held for ever
        with self._changed:
            self._changed.wait_for(lambda: self._results or self._ended or self._stopping)
            if self._error:
                raise self._error
            self._check_is_open()
            taken = [self._results.popleft() for _ in range(len(self._results))]
            self._news += 1
            self._changed.notify_all()
        return taken

    def _check_is_open(self) -> None:
        if os.getpid() != self._owner:
            raise RuntimeError(
                f"this run of a pipeline is that of process {self._owner}, and this is a forked child without its "
                "threads: take the results there, or begin another run here"
            )
        if self._closed:
            raise Closed("this run of the pipeline was closed before all results were taken; iterate again for another")

    def stats(self) -> tuple[StageStats, ...]:
        """What each stage has done so far."""
        return tuple(stage.stats() for stage in self._stages)

    def stop(self) -> None:
        """End everything: gently when all is done, else at once. May be called again. Nothing in a forked child."""
        if os.getpid() != self._owner:
            return
        with self._changed:
            gently = self._ended and not self._error
            self._stopping = self._closed = True
            self._changed.notify_all()
        if self._conductor is not threading.current_thread():
            self._conductor.join()
        self._stop_stages(gently)

    def _stop_stages(self, gently: bool) -> None:
        for stage in self._stages:
            with contextlib.suppress(Exception):
                stage.stop(gently)

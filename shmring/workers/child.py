"""What a worker process does: take a task, say so, run it, send the result.

The *board* has two words for each worker: which task it is at, and (written by the pool) how many asides were opened.
A task is announced as taken while its record is still borrowed, so no user code runs between the announcement and the
acknowledgement; a record that comes a second time is not run but reported, since only the pool knows whether its task
was announced by the one who died.
"""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable
from typing import Any

from shmring import segment
from shmring.errors import Closed, Empty, PeerDied, ShutDown
from shmring.ring import Ring
from shmring.workers import parcels
from shmring.workers.beginning import Beginning, become_worker
from shmring.workers.failures import sent_error
from shmring.workers.parcels import Packed
from shmring.workers.pickles import PACKAGES, unresolved
from shmring.workers.shelf import Raw

RUNNING = 1
_LOOK_FOR_RECEIPTS = 0.05


class Worker:
    """One worker process, from its initializer to its last result."""

    def __init__(self, tasks: Ring, results: Ring, board: segment.Segment, slot: int, max_tasks: int | None) -> None:
        self.tasks, self.results, self.slot = tasks, results, slot
        self.limit = results.max_message // 2
        self.left = max_tasks
        self.codec = parcels.ParcelCodec(tasks.capacity)
        self.words = memoryview(board).cast("Q")
        self.asides: list[segment.Segment] = []  # not yet opened by the pool
        self.opened = 0

    def run(self) -> None:
        """Work until the ring of tasks is shut down, or the pool's process has died."""
        while True:
            try:
                raw = self.take()
            except (ShutDown, PeerDied, Closed):
                break
            except KeyboardInterrupt:  # Ctrl-C goes to the pool's process as well, which decides
                continue
            if raw is not None and not self.do(raw):
                break
            raw = None  # its memory may be used again
        while self.asides and not self.dispose_of_asides():
            if not self.pool_lives():
                break
            time.sleep(0.001)

    def take(self) -> Raw | None:
        """The next task in memory of its own, announced; None when there was none, or it was a returned one."""
        if self.asides:
            self.dispose_of_asides()
        lease = self.tasks.borrow(_LOOK_FOR_RECEIPTS if self.asides else None)
        try:
            with lease as view:
                key = parcels.HEAD.unpack_from(view)[0]
                if lease.redelivered:
                    self.send(Packed(key, parcels.RETURNED))
                    return None
                self.words[2 * self.slot] = key << 1
                raw = self.codec.decode(view)
        except Empty:
            return None
        self.words[2 * self.slot] = key << 1 | RUNNING
        return raw

    def do(self, raw: Raw) -> bool:
        """Run a task and send what came of it; False when it was this worker's last."""
        began = time.perf_counter_ns()
        key, leaves = parcels.HEAD.unpack_from(raw)[0], False
        if self.left is not None:
            self.left -= 1
            leaves = not self.left
        try:
            answer = self.answered(raw, key, began)
        except BaseException as error:
            answer = self.failure(key, parcels.FAILED, began, error)
        self.send(answer)
        return not leaves

    def answered(self, raw: Raw, key: int, began: int) -> Packed:
        """Run a task; its result, ready to be sent."""
        parcel = parcels.opened(raw)
        try:
            function, args, kwargs = parcel.value()
        except Exception as error:
            missing = unresolved(parcel.body, error)
            if not missing:
                raise
            return self.packed(key, parcels.UNRESOLVED, began, (missing, sent_error(error)))
        del raw
        value = call(parcel.kind, function, args, kwargs)
        return self.packed(key, parcels.DONE, began, value, bool(parcel.flags & parcels.LEASED))

    def packed(self, key: int, kind: int, began: int, value: Any, leased: bool = False) -> Packed:
        """A result, ready to be sent."""
        body, buffers = parcels.pickled(value)
        limit = 0 if leased and buffers else self.limit
        extra = (time.perf_counter_ns() - began) << 8 | self.slot
        return Packed(key, kind, 0, extra, body, buffers, limit)

    def failure(self, key: int, kind: int, began: int, error: BaseException) -> Packed:
        """An exception and its traceback as text; in place of one that cannot be sent, why it cannot."""
        try:
            return self.packed(key, kind, began, tuple(sent_error(error)))
        except Exception as problem:  # it is too long for the ring, and there is no memory for it
            return self.packed(key, kind, began, tuple(sent_error(problem)))

    def send(self, answer: Packed) -> None:
        """Put a result; a KeyboardInterrupt is put off until then. It is dropped if the pool's process has died."""
        if answer.aside:
            self.asides.append(answer.aside)
        while True:
            try:
                self.results.put(answer)
                return
            except KeyboardInterrupt:
                continue
            except (PeerDied, ShutDown, Closed):
                return

    def dispose_of_asides(self) -> bool:
        """Close the memories that the pool has opened; are none left?"""
        opened = self.words[2 * self.slot + 1]
        while self.opened < opened:
            self.asides.pop(0).close()
            self.opened += 1
        return not self.asides

    def pool_lives(self) -> bool:
        """Is the process that started this one alive?"""
        for package in PACKAGES:
            process = sys.modules.get(f"{package}.process")
            parent = process.parent_process() if process is not None else None
            if parent is not None:
                return bool(parent.is_alive())
        return False


def call(kind: int, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Call what a task asks for."""
    if kind == parcels.CHUNK:
        return [function(*each) for each in args[0]]
    if kind == parcels.BATCH:
        run, items, expand = args
        return run(function, items, expand)
    return function(*args, **kwargs)


def main(
    tasks: Ring, results: Ring, board: segment.Segment, slot: int, max_tasks: int | None, beginning: Beginning
) -> None:
    """Be a worker."""
    worker = Worker(tasks, results, board, slot, max_tasks)
    began = time.perf_counter_ns()
    become_worker(beginning)
    try:
        initializer, initargs = beginning.loaded()
    except Exception as error:
        missing = beginning.missing(error)
        if missing:
            worker.send(worker.packed(slot, parcels.LACKING, began, (missing, sent_error(error))))
        else:
            worker.send(worker.failure(slot, parcels.NOT_READY, began, error))
        return
    if initializer is not None:
        try:
            initializer(*initargs)
        except BaseException as error:
            logging.getLogger("concurrent.futures").critical("Exception in initializer:", exc_info=True)
            worker.send(worker.failure(slot, parcels.NOT_READY, began, error))
            return
    worker.send(Packed(slot, parcels.READY))
    worker.run()

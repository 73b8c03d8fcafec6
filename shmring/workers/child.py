"""What a worker process does: take a task, say so, run it, send the result.

The *board* has two words for each worker: which task it is at, and (written by the pool) how many asides were opened.
A task is announced as taken while its record is still borrowed, so no user code runs between the announcement and the
acknowledgement; a record that comes a second time is not run but reported, since only the pool knows whether its task
was announced by the one who died.
"""

from __future__ import annotations

import importlib
import logging
import time
from collections.abc import Callable
from typing import Any

from shmring import segment
from shmring.errors import Closed, Empty, PeerDied, ShutDown
from shmring.ring import Ring
from shmring.workers import parcels
from shmring.workers.failures import sent_error
from shmring.workers.functions import PickledFunction, function_of
from shmring.workers.parcels import Packed, Parcel
from shmring.workers.shelf import Raw

RUNNING = 1
_LOOK_FOR_RECEIPTS = 0.05


class _Unresolved(Exception):
    """The task names something that this process cannot import."""


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
            parcel = parcels.opened(raw)
            value = call(parcel)
            answer = self.packed(key, parcels.DONE, began, value, bool(parcel.flags & parcels.LEASED))
        except _Unresolved as error:
            answer = self.packed_failure(key, parcels.UNRESOLVED, began, error.__cause__ or error)
        except BaseException as error:
            answer = self.packed_failure(key, parcels.FAILED, began, error)
        self.send(answer)
        return not leaves

    def packed(self, key: int, kind: int, began: int, value: Any, leased: bool = False) -> Packed:
        """A result, ready to be sent."""
        body, buffers, flags = parcels.pickled(value)
        leased = leased and bool(buffers)
        limit = 0 if leased else self.limit
        extra = (time.perf_counter_ns() - began) << 8 | self.slot
        return Packed(key, kind, flags, extra, b"", body, buffers, limit)

    def packed_failure(self, key: int, kind: int, began: int, error: BaseException) -> Packed:
        """An exception and its traceback as text; in place of one that cannot be pickled, why it cannot."""
        return self.packed(key, kind, began, tuple(sent_error(error)))

    def send(self, answer: Packed) -> None:
        """Put a result; a KeyboardInterrupt meanwhile is put off. Nobody hears it when the pool's process has died."""
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
        for package in ("multiprocess", "multiprocessing"):
            parent = importlib.import_module(package).parent_process()
            if parent is not None:
                return bool(parent.is_alive())
        return False


def call(parcel: Parcel) -> Any:
    """Call what a task asks for."""
    try:
        if parcel.function:
            function = function_of(parcel.function, bool(parcel.flags & parcels.FUNCTION_BY_DILL))
            args, kwargs = parcel.value()
        else:
            function, args, kwargs = parcel.value()
    except (AttributeError, ImportError) as error:
        raise _Unresolved from error
    if parcel.kind == parcels.CHUNK:
        return [function(*each) for each in args[0]]
    if parcel.kind == parcels.BATCH:
        run, items, expand = args
        return run(function, items, expand)
    return function(*args, **kwargs)


def main(
    tasks: Ring,
    results: Ring,
    board: segment.Segment,
    slot: int,
    max_tasks: int | None,
    initializer: Callable[..., object] | PickledFunction | None,
    initargs: tuple[Any, ...],
) -> None:
    """Be a worker."""
    worker = Worker(tasks, results, board, slot, max_tasks)
    if initializer is not None:
        try:
            initializer(*initargs)
        except BaseException as error:
            logging.getLogger("concurrent.futures").critical("Exception in initializer:", exc_info=True)
            worker.send(worker.packed_failure(slot, parcels.NOT_READY, time.perf_counter_ns(), error))
            return
    worker.send(Packed(slot, parcels.READY))
    worker.run()

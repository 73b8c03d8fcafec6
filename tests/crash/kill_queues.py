"""Kill a process at every instruction of what a queue does beyond its rings: linking, finishing, counting over links.

usage: kill_queues.py queue EFFORT CPU; prints the number of kills, or stops with what was lost, doubled or stuck.
"""

from __future__ import annotations

import contextlib
import inspect
import os
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

import stepping

import shmring
from shmring import _core
from shmring.queues.chain import Chain

CAPACITY = 4096
SMALL, LARGE = b"s" * 900, b"L" * 9000  # four of the small ones fill the first ring; the large one fits in none such


@dataclass
class Operation:
    """What the victim does; numbers of the messages that wait before, and that it puts; how many it may have got."""

    name: str
    method: str
    act: Callable[[shmring.Queue], object]
    waiting: list[int]
    puts: list[int] = field(default_factory=list)
    takes: int = 0
    options: dict[str, Any] = field(default_factory=dict)
    prepare: Callable[[shmring.Queue], object] = lambda queue: None


def message(number: int, body: bytes = SMALL) -> tuple[int, bytes]:
    """A message with a number."""
    return number, body


def _take_two(queue: shmring.Queue) -> None:
    """Which leaves the last message of the first ring there."""
    for _ in range(3):
        queue.get()


OPERATIONS = [
    Operation("link a further ring", "Queue.put", lambda queue: queue.put(message(9)), [0, 1, 2, 3], [9]),
    Operation("link a ring for a large one", "Queue.put", lambda queue: queue.put(message(9, LARGE)), [0], [9]),
    Operation(
        "link a single",
        "Queue.put",
        lambda queue: queue.put(message(9, LARGE)),
        [0],
        [9],
        options={"max_bytes": 2 * 45056 + 20_000},
    ),
    Operation("get the last of a ring", "Queue.get", lambda queue: queue.get(), [0, 1, 2, 3, 4, 5], takes=4,
              prepare=_take_two),
    Operation("get over the end of a ring", "Queue.get_many", lambda queue: queue.get_many(), [0, 1, 2, 3, 4, 5],
              takes=6),
    Operation("count over rings", "Queue.put", lambda queue: queue.put(message(9)), [0, 1, 2, 3, 4, 5], [9],
              options={"maxsize": 7}),
    Operation("reach the bound over rings", "Queue.put", lambda queue: _put_now(queue), [0, 1, 2, 3, 4, 5],
              options={"maxsize": 6}),
    Operation("leave a queue", "Chain._detach", lambda queue: queue._chain._detach(), [0, 1, 2, 3, 4, 5]),
]  # fmt: skip


def _put_now(queue: shmring.Queue) -> None:
    with contextlib.suppress(shmring.Full):
        queue.put_nowait(message(9))


class Failure(AssertionError):
    """Something was lost, doubled or stuck."""


def _function(method: str) -> int:
    owner, name = method.split(".")
    return stepping.function_of(inspect.getattr_static(getattr(_core, owner), name))


class Matrix:
    """All operations. Each kill has a queue of its own: what a dead one leaves is found by whoever comes next."""

    def __init__(self, effort: float) -> None:
        self.course = stepping.Course(effort, "queue")

    def run(self) -> None:
        """Every operation."""
        for operation in OPERATIONS:
            self.course.run(
                f"queue: {operation.name}",
                self._fresh(operation),
                lambda queue, drive, operation=operation: self._once(queue, operation, drive),
                reusable=False,
            )
        self.course.check()

    def _fresh(self, operation: Operation) -> Callable[[], contextlib.AbstractContextManager[shmring.Queue]]:
        @contextlib.contextmanager
        def fresh() -> Iterator[shmring.Queue]:
            with shmring.Queue(capacity=CAPACITY, **operation.options) as queue:
                yield queue

        return fresh

    def _once(self, queue: shmring.Queue, operation: Operation, drive: stepping.Drive) -> bool:
        queue.put_many([message(number) for number in operation.waiting])
        before = len(operation.waiting)
        operation.prepare(queue)
        taken = before - queue.qsize()
        victim = stepping.Stepped(lambda: None, lambda: operation.act(queue), _function(operation.method))
        reached = drive(victim)
        returned = victim.has_returned()
        victim.kill()
        got = self._go_on(queue)
        put = [number for number in got if number in operation.puts]
        rest = [number for number in got if number not in operation.puts]
        waiting = operation.waiting[taken:]
        if put != operation.puts[: len(put)] or (returned and reached and put != operation.puts):
            raise Failure(f"put {operation.puts}, got {put}; returned: {returned}")
        lost = len(waiting) - len(rest)
        if sorted(rest) != waiting[lost:] or not 0 <= lost <= operation.takes:
            raise Failure(f"{waiting} waited, got {rest}")
        return reached

    def _go_on(self, queue: shmring.Queue) -> list[int]:
        """What is there comes out, new ones go through further links, and the memory comes back."""
        later = [*range(100, 110)]
        numbers: list[int] = []
        for number in later:
            while True:  # whatever its bound: nobody else is there to hold it up
                try:
                    queue.put(message(number, LARGE if number == 105 else SMALL), timeout=0.2)
                    break
                except shmring.Full:
                    numbers.append(queue.get(timeout=30)[0])
        while not numbers or numbers[-1] != later[-1]:
            numbers.append(queue.get(timeout=30)[0])
        while not queue.empty():  # what the dead one had taken shows when he is found
            numbers.append(queue.get(timeout=30)[0])
        if [number for number in numbers if number >= 100] != later:
            raise Failure(f"what was put after the kill came as {numbers}")
        give_up = time.monotonic() + 30
        while len({*queue._chain._links}) > 1:  # the dead one may have been in a link, which shows when he is found
            queue._chain._look_up(1)
            queue._chain._tidy()
            if time.monotonic() > give_up:
                raise Failure(f"drained, and yet there are links {queue._chain._links}")
        blocks = os.fstat(queue._chain._segment.fd).st_blocks * 512
        if blocks > 600_000:
            raise Failure(f"drained, and yet it has {blocks} bytes")
        return [number for number in numbers if number < 100]


def main() -> None:
    """Run the matrix."""
    # Tracer and traced on one CPU: waking the other one costs ten times as much as a step.
    os.sched_setaffinity(0, {int(sys.argv[3])})
    # A hundred thousand instructions of Python that ask what a container has left, and touch nothing that is shared.
    Chain._afford = lambda chain, needed: True  # type: ignore[method-assign]
    matrix = Matrix(float(sys.argv[2]))
    matrix.run()
    print(matrix.course.kills)


if __name__ == "__main__":
    main()

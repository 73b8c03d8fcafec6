"""Kill a process at every instruction of an operation, and see that the others go on with every message.

usage: kill_matrix.py KIND EFFORT CPU; prints the number of kills, or stops with what was lost, torn or stuck.
"""

from __future__ import annotations

import contextlib
import inspect
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import stepping

import shmring
from shmring import _core

A, B, C = b"a" * 40, b"b" * 150, b"c" * 64


@dataclass
class Operation:
    """What the victim does. ``waiting`` are the messages that lie in the ring before, ``puts`` those it puts."""

    name: str
    method: str
    act: Callable[[shmring.Ring], object]
    side: int
    waiting: list[bytes] = field(default_factory=list)
    puts: list[bytes] = field(default_factory=list)
    takes: int = 0  # how many of those waiting it may have acknowledged
    takes_in_the_end: int = 0  # how many more where it went another way, and was killed after all it had to do
    holds: bool = False  # the first of those waiting: if that comes, it comes flagged
    reusable: bool = True  # the ring, afterwards


def _claim(ring: shmring.Ring, fails: bool) -> None:
    try:
        with ring.claim(len(B)) as buffer:
            buffer[:] = B
            if fails:
                raise KeyError
    except KeyError:
        pass


def _borrow(ring: shmring.Ring, fails: bool) -> None:
    try:
        with ring.borrow() as view:
            bytes(view)
            if fails:
                raise KeyError
    except KeyError:
        pass


PRODUCE, CONSUME = 0, 1
OPERATIONS = [
    Operation("put", "Ring.put", lambda ring: ring.put(B), PRODUCE, [A], [B]),
    Operation("put into a full ring", "Ring.put", lambda ring: ring.put(B, timeout=0), PRODUCE, [A] * 16, [B]),
    Operation("put_many", "Ring.put_many", lambda ring: ring.put_many([B, C]), PRODUCE, [A], [B, C]),
    Operation("claim", "Lease.__enter__", lambda ring: _claim(ring, False), PRODUCE, [A], [B]),
    Operation("commit", "Lease.__exit__", lambda ring: _claim(ring, False), PRODUCE, [A], [B]),
    Operation("abort", "Lease.__exit__", lambda ring: _claim(ring, True), PRODUCE, [A]),
    Operation("get", "Ring.get", lambda ring: ring.get(), CONSUME, [A, B], takes=1),
    Operation("get_into", "Ring.get_into", lambda ring: ring.get_into(bytearray(200)), CONSUME, [A, B], takes=1),
    Operation("get_many", "Ring.get_many", lambda ring: ring.get_many(), CONSUME, [A, B, C], takes=3),
    Operation("borrow", "Lease.__enter__", lambda ring: _borrow(ring, False), CONSUME, [A, B], takes_in_the_end=1),
    Operation("acknowledge", "Lease.__exit__", lambda ring: _borrow(ring, False), CONSUME, [A, B], takes=1, holds=True),
    Operation("hand back", "Lease.__exit__", lambda ring: _borrow(ring, True), CONSUME, [A, B], holds=True),
    Operation("take a role", "Ring._take_role", lambda ring: ring._take_role(PRODUCE), CONSUME, [A]),
    Operation("shutdown", "Ring._shut_down", lambda ring: ring._shut_down(0), CONSUME, [A], reusable=False),
    Operation("detach", "Ring._detach", lambda ring: ring._detach(), PRODUCE, [A]),
]


class Failure(AssertionError):
    """Something was lost, torn, doubled or stuck."""


def _function(method: str) -> int:
    owner, name = method.split(".")
    return stepping.function_of(inspect.getattr_static(getattr(_core, owner), name))


class Matrix:
    """All operations of one kind of ring."""

    def __init__(self, kind: str, effort: float) -> None:
        self.kind = kind
        self.course = stepping.Course(effort, kind)
        self.name = f"kill-matrix-{os.getpid()}"

    def run(self) -> None:
        """Every operation, then every instruction of a repair."""
        for operation in OPERATIONS:
            self._operation(operation)
        if self.kind != "spsc":
            for held in ("claim", "borrow"):
                self._repair(held)
        self.course.check()

    @contextlib.contextmanager
    def _fresh(self) -> Iterator[shmring.Ring]:
        # Odd, so that records wrap by padding at ever other places.
        with shmring.Ring.create(self.name, capacity=16 * 64 + 10, kind=self.kind) as ring:
            try:
                yield ring
            finally:
                ring.unlink()  # or it would stay with its messages after a failure

    def _victim(self, ring: shmring.Ring, operation: Operation) -> stepping.Stepped:
        def prepare() -> None:
            if operation.method != "Ring._take_role":
                ring._take_role(operation.side)

        return stepping.Stepped(prepare, lambda: operation.act(ring), _function(operation.method))

    def _operation(self, operation: Operation) -> None:
        self.course.run(
            f"{self.kind}: {operation.name}",
            self._fresh,
            lambda ring, drive: self._once(ring, operation, drive),
            reusable=operation.reusable,
        )

    def _once(self, ring: shmring.Ring, operation: Operation, drive: stepping.Drive) -> bool:
        self._fill(ring, operation)
        victim = self._victim(ring, operation)
        reached = drive(victim)
        returned = victim.has_returned()
        victim.kill()
        self._mend(ring)
        before = ring.stats().redelivered
        flagged: list[bytes] = []
        got = self._drain(ring, flagged)
        takes = operation.takes + (0 if reached else operation.takes_in_the_end)
        self._check(operation, takes, got, returned)
        after = ring.stats()
        if operation.holds and A in got and A not in flagged:
            raise Failure(f"{A!r} came again without a flag")
        if after.redelivered - before != len(flagged):
            raise Failure(f"{after.redelivered - before} counted as redelivered, and {flagged} flagged")
        if after.messages or after.claimed or after.taken:
            raise Failure(f"left in the ring: {after}")
        if after.redelivered - before > max(1, operation.takes):
            raise Failure(f"redelivered {after.redelivered - before} times")
        if operation.reusable:
            self._use(ring)
        return reached

    def _fill(self, ring: shmring.Ring, operation: Operation) -> None:
        with ring.producer() as producer:
            for message in operation.waiting:
                try:
                    producer.put(message, timeout=0)
                except shmring.Full:
                    break

    def _mend(self, ring: shmring.Ring) -> None:
        """Attach and leave: whoever leaves looks after the dead. (A waiter would within 50 ms.)"""
        shmring.Ring.attach(ring.name).close()

    def _drain(self, ring: shmring.Ring, flagged: list[bytes] | None = None) -> list[bytes]:
        got = []
        with ring.consumer() as consumer:
            try:
                while True:
                    lease = consumer.borrow(timeout=0)
                    with lease as view:
                        got.append(bytes(view))
                    if lease.redelivered and flagged is not None:
                        flagged.append(got[-1])
            except (shmring.Empty, shmring.ShutDown):
                return got

    def _check(self, operation: Operation, takes: int, got: list[bytes], returned: bool) -> None:
        rest = [message for message in got if message not in operation.puts]
        put = [message for message in got if message in operation.puts] if operation.puts else []
        if operation.puts and operation.waiting and operation.puts[0] in operation.waiting:
            raise AssertionError("ambiguous operation")
        if put != operation.puts[: len(put)]:
            raise Failure(f"put {operation.puts}, got {put}")
        full = len(operation.waiting) > 8
        commits = operation.method != "Lease.__enter__"  # which only claims
        if returned and commits and not full and len(put) != len(operation.puts):
            raise Failure("committed and lost")
        waiting = operation.waiting if not full else rest
        least = len(waiting) - takes
        if not takes and rest != waiting and sorted(rest) != sorted(waiting):
            raise Failure(f"{waiting} waited, got {rest}")
        if takes and (len(rest) < least or sorted(rest) != sorted(waiting[len(waiting) - len(rest) :])):
            raise Failure(f"{waiting} waited, got {rest}")
        if full and len(rest) < 8:
            raise Failure(f"a full ring lost messages: {rest}")

    def _use(self, ring: shmring.Ring) -> None:
        with ring.producer() as producer, ring.consumer() as consumer:
            for message in (A, B, C):
                producer.put(message, timeout=0)
                if consumer.get(timeout=0) != message:
                    raise Failure("the ring does not go on")

    def _repair(self, held: str) -> None:
        """Somebody died holding a record; whoever repairs that is killed as well."""
        act, side = (_claim, PRODUCE) if held == "claim" else (_borrow, CONSUME)
        holder = Operation(held, "Lease.__exit__", lambda ring: act(ring, False), side)
        repairer = Operation("repair", "Ring.get", lambda ring: ring.get(timeout=0), CONSUME, takes=1)
        waiting = [A, C] if held == "borrow" else []

        def once(ring: shmring.Ring, drive: stepping.Drive) -> bool:
            with ring.producer() as producer:
                producer.put_many(waiting)
            self._victim(ring, holder).kill()
            victim = self._victim(ring, repairer)
            reached = drive(victim)
            victim.kill()
            self._mend(ring)
            got = self._drain(ring)
            # The repairer goes on to take one message, and may have done so.
            if sorted(got) != sorted(waiting) and got not in ([A], [C] if waiting else []):
                raise Failure(f"got {got}")
            self._use(ring)
            return reached

        self.course.run(f"{self.kind}: repair of a {held}", self._fresh, once)


def main() -> None:
    """Run the matrix of one kind."""
    # Tracer and traced on one CPU: waking the other one costs ten times as much as a step.
    os.sched_setaffinity(0, {int(sys.argv[3])})
    matrix = Matrix(sys.argv[1], float(sys.argv[2]))
    matrix.run()
    print(matrix.course.kills)


if __name__ == "__main__":
    main()

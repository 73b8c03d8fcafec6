"""Kill a process at every instruction of an operation on a topic or a latest value; the others go on.

usage: kill_topics.py KIND EFFORT CPU, where KIND is block, overwrite or latest; prints the number of kills, or stops
with what was lost, torn or stuck.
"""

from __future__ import annotations

import contextlib
import inspect
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).parent))

import stepping

import shmring
from shmring import _core

A, B, C = b"a" * 40, b"b" * 150, b"c" * 64


@dataclass
class Operation:
    """What the victim does, which C function of it is stepped through, and what it publishes by it."""

    name: str
    method: str
    prepare: Callable[[Any], Any]
    act: Callable[[Any], object]
    publishes: list[bytes] = field(default_factory=list)


def _nothing(handle: Any) -> Any:
    handle._take_role(0)
    return handle


def _reading(cell: shmring.Latest) -> shmring.Latest:
    cell._take_role(1)
    return cell


def _claim(topic: shmring.Topic, fails: bool) -> None:
    try:
        with topic.claim(len(B)) as buffer:
            buffer[:] = B
            if fails:
                raise KeyError
    except KeyError:
        pass


def _borrow(subscription: shmring.Subscription) -> None:
    with subscription.borrow() as view:
        bytes(view)


def _subscribed(topic: shmring.Topic) -> shmring.Subscription:
    subscription = topic.subscribe("oldest")
    subscription._take_role(1)
    return subscription


TOPIC = [
    Operation("publish", "Topic.publish", _nothing, lambda topic: topic.publish(B), [B]),
    Operation("publish_many", "Topic.publish_many", _nothing, lambda topic: topic.publish_many([B, C]), [B, C]),
    Operation("commit", "Lease.__exit__", _nothing, lambda topic: _claim(topic, False), [B]),
    Operation("abort", "Lease.__exit__", _nothing, lambda topic: _claim(topic, True)),
    Operation("subscribe", "Subscription._subscribe", _nothing, lambda topic: topic.subscribe("latest")),
    Operation("get", "Subscription.get", _subscribed, lambda subscription: subscription.get()),
    Operation("get_many", "Subscription.get_many", _subscribed, lambda subscription: subscription.get_many()),
    Operation("acknowledge", "Lease.__exit__", _subscribed, _borrow),
    Operation("unsubscribe", "Attachment._detach", _subscribed, lambda subscription: subscription.close()),
]
LATEST = [
    Operation("set", "Latest.set", _nothing, lambda cell: cell.set(B), [B]),
    Operation("get", "Latest.get", _reading, lambda cell: cell.get()),
    Operation("wait_newer", "Latest.wait_newer", _reading, lambda cell: cell.wait_newer(0)),
]


class Watched(NamedTuple):
    """A topic, and a subscription that sees all that is published."""

    topic: shmring.Topic
    watcher: shmring.Subscription


class Failure(AssertionError):
    """Something was lost, torn, doubled or stuck."""


class Matrix:
    """All operations of one kind."""

    def __init__(self, kind: str, effort: float) -> None:
        self.kind = kind
        self.course = stepping.Course(effort, kind)
        self.name = f"kill-topics-{os.getpid()}"

    def run(self) -> None:
        """Every operation."""
        for operation in LATEST if self.kind == "latest" else TOPIC:
            if self.kind == "latest":
                self._latest(operation)
            else:
                self._topic(operation)
        self.course.check()

    def _victim(self, handle: Any, operation: Operation) -> stepping.Stepped:
        held: list[Any] = []
        owner, name = operation.method.split(".")
        function = stepping.function_of(inspect.getattr_static(getattr(_core, owner), name))
        return stepping.Stepped(
            lambda: held.append(operation.prepare(handle)), lambda: operation.act(held[0]), function
        )

    def _killed(self, handle: Any, operation: Operation, drive: stepping.Drive) -> tuple[bool, bool]:
        """Whether it came to where it should, and whether the function had returned."""
        victim = self._victim(handle, operation)
        reached = drive(victim)
        returned = victim.has_returned()
        victim.kill()
        return reached, returned

    @contextlib.contextmanager
    def _fresh_topic(self) -> Iterator[Watched]:
        # Odd, so that records wrap by padding at ever other places.
        overflow: Any = self.kind
        with shmring.Topic.create(self.name, 16 * 64 + 10, overflow) as topic, topic.subscribe() as watcher:
            topic.unlink()
            topic.publish(A)
            watcher.get()
            yield Watched(topic, watcher)

    def _topic(self, operation: Operation) -> None:
        self.course.run(
            f"{self.kind}: {operation.name}",
            self._fresh_topic,
            lambda watched, drive: self._once(*watched, operation, drive),
        )

    def _once(
        self, topic: shmring.Topic, watcher: shmring.Subscription, operation: Operation, drive: stepping.Drive
    ) -> bool:
        topic.publish(A)
        reached, returned = self._killed(topic, operation, drive)
        self._mend(topic)
        got = self._drain(watcher)
        wanted = [A, *operation.publishes]
        if got[:1] != [A] or got != wanted[: len(got)] or (returned and got != wanted):
            raise Failure(f"{wanted} were published, got {got}; returned: {returned}")
        subscribers = topic.stats().subscribers
        if [each.slot for each in subscribers] != [watcher._slot]:
            raise Failure(f"subscribed are {subscribers}")
        for message in (A, B, C) * 4:  # right round
            topic.publish(message, timeout=0)
            if watcher.get(timeout=0) != message:
                raise Failure("the topic does not go on")
        if watcher.lost or watcher.sequence != topic.stats().next:
            raise Failure(f"lost {watcher.lost}, {watcher} of {topic.stats()}")
        return reached

    def _mend(self, topic: shmring.Topic) -> None:
        """Subscribe and leave: whoever leaves looks after the dead. (A waiter would within 50 ms.)"""
        topic.subscribe().close()

    def _drain(self, watcher: shmring.Subscription) -> list[bytes]:
        got = []
        try:
            while True:
                got.append(watcher.get(timeout=0))
        except shmring.Empty:
            return got

    @contextlib.contextmanager
    def _fresh_latest(self) -> Iterator[shmring.Latest]:
        with shmring.Latest.create(size=200) as cell:
            yield cell

    def _latest(self, operation: Operation) -> None:
        self.course.run(
            f"{self.kind}: {operation.name}",
            self._fresh_latest,
            lambda cell, drive: self._once_of_latest(cell, operation, drive),
        )

    def _once_of_latest(self, cell: shmring.Latest, operation: Operation, drive: stepping.Drive) -> bool:
        cell.set(A)
        cell._give_role_back(0)
        version = cell.version
        reached, returned = self._killed(cell, operation, drive)
        allowed = {version: A} | ({version + 1: B} if operation.publishes else {})
        now, value = cell.get_versioned()
        if allowed.get(now) != value or (returned and operation.publishes and value != B):
            raise Failure(f"version {now} is {value!r}; returned: {returned}")
        for message in (C, B, A, C, A):
            now += 1
            cell.set(message)
            if cell.get_versioned() != (now, message):
                raise Failure(f"the successor's value is {cell.get_versioned()}")
        return reached


def main() -> None:
    """Run the matrix of one kind."""
    # Tracer and traced on one CPU: waking the other one costs ten times as much as a step.
    os.sched_setaffinity(0, {int(sys.argv[3])})
    matrix = Matrix(sys.argv[1], float(sys.argv[2]))
    matrix.run()
    print(matrix.course.kills)


if __name__ == "__main__":
    main()

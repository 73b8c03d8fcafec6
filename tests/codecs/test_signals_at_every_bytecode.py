"""A signal's handler raises at every bytecode inside put, get and their kin: a message is there, or it is got.

Our own code, what pickle calls, and a user's codec are all Python that a signal may come into.
"""

import contextlib
import itertools
import signal
import sys
import types
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import shmring
from tests.ring.conftest import needs_signals

# A file that a signal comes into between its opening and its with block closes itself, and warns of it.
pytestmark = [needs_signals, pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")]


class Alarm(Exception):
    """As a program's own time limit."""


def ring_alarm(signum: int, frame: object) -> None:
    raise Alarm


@pytest.fixture(autouse=True)
def alarm() -> Iterator[None]:
    before = signal.signal(signal.SIGALRM, ring_alarm)
    yield
    signal.signal(signal.SIGALRM, before)


class Order:
    """What runs Python as it is pickled, and as it is read."""

    def __init__(self, number: int) -> None:
        self.number = number

    def __reduce__(self) -> tuple[Any, ...]:
        number = self.number
        return _make_order, (number,)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Order) and other.number == self.number

    def __hash__(self) -> int:
        return self.number


def _make_order(number: int) -> Order:
    return Order(number)


class Orders:
    """A codec of one's own, as a ring's or topic's."""

    name = "orders"

    def encode(self, order: Order) -> bytes:
        return b"%d" % order.number

    def decode(self, record: memoryview) -> Order:
        text = bytes(record)
        return Order(int(text))

    view = decode


class Interrupted:
    """Calls something, and sends the signal before so-maniest bytecode in it; ``came`` whether there were as many."""

    def __init__(self, at: int) -> None:
        self._left = at
        self.came = False

    def __call__(self, act: Callable[[], Any]) -> Any:
        self._outside = act.__code__  # it is over when our call has returned
        sys.settrace(self._trace)
        try:
            return act()
        finally:
            sys.settrace(None)

    def _trace(self, frame: types.FrameType, event: str, arg: object) -> Any:
        if frame.f_code is self._outside:
            return self._trace
        frame.f_trace_opcodes = True
        if event == "opcode":
            self._left -= 1
            if self._left == -1:
                self.came = True
                signal.raise_signal(signal.SIGALRM)
        return self._trace


def at_every_bytecode(once: Callable[[Interrupted], None]) -> int:
    """How many there were, and at each of them a run of its own."""
    for at in itertools.count():
        interrupted = Interrupted(at)
        once(interrupted)
        if not interrupted.came:
            return at
    raise AssertionError


def make(face: str) -> tuple[Any, Any, Callable[..., None], Callable[..., None]]:
    """What to put into, what to read from, how to put one and how to put several."""
    if face == "queue":
        queue: shmring.Queue = shmring.Queue(capacity="64 KiB")
        return queue, queue, queue.put, queue.put_many
    if face in ("topic", "overwriting"):
        overflow = "block" if face == "topic" else "overwrite"
        topic = shmring.Topic.create(capacity="64 KiB", codec=Orders(), overflow=overflow)
        return topic, topic.subscribe(), topic.publish, topic.publish_many
    ring = shmring.Ring.create(capacity="64 KiB", kind=face, codec=Orders())
    return ring, ring, ring.put, ring.put_many


FACES = ["queue", "spsc", "mpmc", "semaphore", "topic", "overwriting"]


def all_of(reader: Any) -> list[Order]:
    found = []
    while True:
        try:
            found.append(reader.get(timeout=0))
        except shmring.Empty:
            return found


def close(target: Any, reader: Any) -> None:
    reader.close()
    target.close()


@pytest.mark.parametrize("face", FACES)
def test_a_put_that_was_interrupted_put_nothing_and_one_that_was_not_put_it_once(face: str) -> None:
    def once(interrupted: Interrupted) -> None:
        target, reader, put, _ = make(face)
        put(Order(1))
        wanted = [Order(1), Order(2)]
        try:
            interrupted(lambda: put(Order(2), timeout=0))
        except Alarm:
            wanted.pop()
        assert all_of(reader) == wanted
        close(target, reader)

    assert at_every_bytecode(once) > 5


@pytest.mark.parametrize("face", FACES)
def test_a_get_that_was_interrupted_left_the_message_there(face: str) -> None:
    def once(interrupted: Interrupted) -> None:
        target, reader, put, _ = make(face)
        for number in range(3):
            put(Order(number))
        found = []
        with contextlib.suppress(Alarm):
            found.append(interrupted(lambda: reader.get(timeout=0)))
        assert found + all_of(reader) == [Order(0), Order(1), Order(2)]
        close(target, reader)

    assert at_every_bytecode(once) > 5


@pytest.mark.parametrize("face", FACES)
def test_get_many_that_was_interrupted_left_what_it_did_not_hand_over(face: str) -> None:
    def once(interrupted: Interrupted) -> None:
        target, reader, put, _ = make(face)
        for number in range(4):
            put(Order(number))
        found = []
        with contextlib.suppress(Alarm):
            found = interrupted(lambda: reader.get_many(timeout=0))
        assert found + all_of(reader) == [Order(number) for number in range(4)]
        close(target, reader)

    assert at_every_bytecode(once) >= 16


@pytest.mark.parametrize("face", FACES)
def test_put_many_that_was_interrupted_says_how_many_went_in_and_hands_back_the_next(face: str) -> None:
    def once(interrupted: Interrupted) -> None:
        target, reader, _, put_many = make(face)
        offered = iter([Order(number) for number in range(4)])
        sent, unsent = 4, []
        try:
            interrupted(lambda: put_many(offered, timeout=0))
        except Alarm as error:
            sent = error.sent  # type: ignore[attr-defined]
            unsent = [error.unsent] if hasattr(error, "unsent") else []  # type: ignore[attr-defined]
        assert all_of(reader) == [Order(number) for number in range(sent)]
        assert [*unsent, *offered] == [Order(number) for number in range(sent, 4)]
        close(target, reader)

    assert at_every_bytecode(once) >= 16


def test_a_get_that_loses_its_message_to_a_signal_would_be_noticed() -> None:
    class Careless(shmring.Queue):
        def get(self, *args: Any, **named: Any) -> Any:
            message = super().get(*args, **named)
            return message  # noqa: RET504 - a bytecode too many

    lost = False
    for at in range(200):
        queue: Careless = Careless()
        queue.put(Order(0))
        try:
            found = [Interrupted(at)(lambda queue=queue: queue.get(timeout=0))]  # type: ignore[misc]
        except Alarm:
            found = []
        lost |= not found + all_of(queue)
        queue.close()
    assert lost

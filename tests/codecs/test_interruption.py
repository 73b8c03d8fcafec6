"""What comes between while a message is decoded, as a signal's handler, is no fault of the message: nothing is lost."""

import asyncio
import ctypes
import functools
import pickle
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import shmring
from tests.ring.conftest import needs_signals

pytestmark = needs_signals


class TimeLimit(Exception):
    """As pytest-timeout and many programs have it."""


def plain(signum: int, frame: object) -> None:
    raise TimeLimit


def forgetful(signum: int, frame: object) -> None:
    del signum, frame
    raise TimeLimit


def of_any(*_: object) -> None:
    raise TimeLimit


def with_more(extra: str, signum: int, frame: object) -> None:
    raise TimeLimit(extra)


class Handler:
    def method(self, signum: int, frame: object) -> None:
        raise TimeLimit

    def __call__(self, signum: int, frame: object) -> None:
        raise TimeLimit


HANDLERS = [plain, forgetful, of_any, functools.partial(with_more, "x"), Handler().method, Handler()]


@pytest.fixture(params=HANDLERS, ids=["function", "forgetful", "of-any", "partial", "method", "callable"])
def handler(request: pytest.FixtureRequest) -> Iterator[None]:
    """Install each kind of handler in turn for the signal of alarms."""
    before = signal.signal(signal.SIGALRM, request.param)
    yield
    signal.signal(signal.SIGALRM, before)


class Interrupted:
    """A codec of numbers that a signal comes into the first time that it reads the given one."""

    name = "interrupted"

    def __init__(self, at: int, *, wraps: bool = False) -> None:
        self.at, self.wraps = at, wraps

    def encode(self, value: int) -> bytes:
        return b"%d" % value

    def decode(self, record: memoryview) -> int:
        value = int(bytes(record))
        try:
            if value == self.at:
                self.at = -1
                self.come_between()
        except TimeLimit as error:
            if self.wraps:
                raise OSError("the codec's own words for it") from error
            raise
        return value

    view = decode

    def come_between(self) -> None:
        signal.raise_signal(signal.SIGALRM)


def borrowed(ring: shmring.Ring) -> list[int]:
    with ring.borrow(timeout=0) as value:
        return [value]


def awaited(ring: shmring.Ring) -> list[int]:
    return [asyncio.run(ring.aget(timeout=0))]


READS: dict[str, Callable[[Any], list[int]]] = {
    "get": lambda ring: [ring.get(timeout=0)],
    "get_many": lambda ring: ring.get_many(timeout=0),
    "next": lambda ring: [next(ring)],
    "borrow": borrowed,
    "aget": awaited,
}


def open_with(kind: str, codec: Interrupted) -> tuple[Any, Any]:
    """What to put into, and what to read from: one and the same, but for topics."""
    if kind in ("topic", "overwriting"):
        overflow = "overwrite" if kind == "overwriting" else "block"
        topic = shmring.Topic.create(capacity=8192, codec=codec, overflow=overflow)
        return topic, topic.subscribe()
    ring = shmring.Ring.create(capacity=8192, codec=codec, kind=kind)
    return ring, ring


KINDS = ("spsc", "mpmc", "semaphore", "topic", "overwriting")


def drained(reader: Any, read: Callable[[Any], list[int]], count: int) -> tuple[list[int], int]:
    """All that there is, read so; and how often it was interrupted."""
    found: list[int] = []
    interrupted = 0
    while len(found) < count:
        try:
            found += read(reader)
        except TimeLimit:
            interrupted += 1
    return found, interrupted


@pytest.mark.parametrize("at", [0, 1, 4])
@pytest.mark.parametrize("how", READS)
@pytest.mark.parametrize("kind", KINDS)
def test_a_signal_that_raises_in_a_codec_is_raised_and_loses_nothing(kind: str, how: str, at: int) -> None:
    before = signal.signal(signal.SIGALRM, plain)
    try:
        writer, reader = open_with(kind, Interrupted(at))
        with writer, reader:
            (writer.publish_many if kind in KINDS[3:] else writer.put_many)(range(5))
            assert drained(reader, READS[how], 5) == ([0, 1, 2, 3, 4], 1)
            with pytest.raises(shmring.Empty):
                reader.get(timeout=0)
    finally:
        signal.signal(signal.SIGALRM, before)


@pytest.mark.usefixtures("handler")
def test_every_kind_of_handler_is_known() -> None:
    with shmring.Ring.create(codec=Interrupted(1)) as ring:
        ring.put_many(range(3))
        assert drained(ring, READS["get"], 3) == ([0, 1, 2], 1)


@pytest.mark.usefixtures("handler")
def test_what_a_codec_raises_because_of_a_handler_is_not_its_own_failure() -> None:
    with shmring.Ring.create(codec=Interrupted(0, wraps=True)) as ring:
        ring.put(0)
        with pytest.raises(OSError, match="own words"):
            ring.get()
        assert ring.get() == 0


class SentFromAnotherThread(Interrupted):
    """Another thread raises something in this one, as libraries with time limits do."""

    def come_between(self) -> None:
        mine, error = ctypes.c_ulong(threading.get_ident()), ctypes.py_object(TimeLimit)
        thread = threading.Thread(target=ctypes.pythonapi.PyThreadState_SetAsyncExc, args=(mine, error))
        thread.start()
        thread.join()


@pytest.mark.parametrize("how", READS)
@pytest.mark.parametrize("kind", KINDS)
def test_what_another_thread_raises_in_a_codec_is_raised_and_loses_nothing(kind: str, how: str) -> None:
    writer, reader = open_with(kind, SentFromAnotherThread(2))
    with writer, reader:
        (writer.publish_many if kind in KINDS[3:] else writer.put_many)(range(4))
        assert drained(reader, READS[how], 4) == ([0, 1, 2, 3], 1)


class Passing(Exception):
    """A failure that does not come again."""


class FailsOnce(Interrupted):
    def come_between(self) -> None:
        raise Passing


def test_a_failure_that_passes_is_raised_as_it_is_and_loses_nothing() -> None:
    with shmring.Ring.create(codec=FailsOnce(0)) as ring:
        ring.put(0)
        with pytest.raises(Passing):
            ring.get()
        assert ring.get() == 0


class Huge:
    def __reduce__(self) -> tuple[object, ...]:
        return bytearray, (1 << 62,)


def test_a_message_that_asks_for_too_much_memory_can_be_skipped(kind: str) -> None:
    with shmring.Ring.create(kind=kind, codec="pickle") as ring:
        ring.put(Huge())
        ring.put("good")
        with pytest.raises(shmring.DecodeError) as caught:
            ring.get()
        assert isinstance(caught.value.__cause__, MemoryError)
        assert b"bytearray" in ring.skip(caught.value)
        assert ring.get() == "good"


LARGE = 64 << 20


@pytest.mark.parametrize("how", ["get", "get_into", "get_many"])
@pytest.mark.parametrize("kind", KINDS[:3])
def test_a_signal_during_a_long_copy_leaves_the_message_where_it_was(kind: str, how: str) -> None:
    """Its handler runs when the copy is done; the message is handed back then, and not thrown away."""
    target = bytearray(LARGE)
    reads: dict[str, Callable[[shmring.Ring], object]] = {
        "get": lambda ring: ring.get(),
        "get_into": lambda ring: ring.get_into(target),
        "get_many": lambda ring: ring.get_many(),
    }
    with shmring.Ring.create(capacity=2 * LARGE, kind=kind) as ring:
        ring.put(bytes(LARGE))
        before = signal.signal(signal.SIGALRM, plain)
        interrupted = 0
        try:
            while not interrupted and ring.stats().messages:
                signal.setitimer(signal.ITIMER_REAL, 0.001)  # within the copy, sooner or later
                try:
                    reads[how](ring)
                    signal.setitimer(signal.ITIMER_REAL, 0)
                    ring.put(bytes(LARGE))
                except TimeLimit:
                    interrupted += 1
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)
        assert ring.get(timeout=0) == bytes(LARGE)


def test_an_interruption_in_the_middle_of_a_batch_hands_all_of_it_back_to_others(name: str) -> None:
    """Another consumer gets what this one had decoded before it was interrupted."""
    before = signal.signal(signal.SIGALRM, plain)
    try:
        with shmring.Ring.create(name, codec=Interrupted(3)) as ring, shmring.Ring.attach(name, codec="raw") as other:
            ring.put_many(range(5))
            with pytest.raises(TimeLimit):
                ring.get_many()
            assert other.get_many() == [b"0", b"1", b"2", b"3", b"4"]
            assert other.stats().redelivered == 4
    finally:
        signal.signal(signal.SIGALRM, before)


def test_pickles_are_told_apart_too() -> None:
    assert pickle.loads(pickle.dumps(1)) == 1
    fired = threading.Event()

    def once(signum: int, frame: object) -> None:
        if not fired.is_set():
            fired.set()
            raise TimeLimit

    before = signal.signal(signal.SIGALRM, once)
    try:
        with shmring.Ring.create(codec="pickle") as ring:
            ring.put(Raises())
            with pytest.raises(TimeLimit):
                ring.get()
            assert ring.get() == 7
    finally:
        signal.signal(signal.SIGALRM, before)


def seven() -> int:
    signal.raise_signal(signal.SIGALRM)
    return 7


class Raises:
    def __reduce__(self) -> tuple[object, ...]:
        return seven, ()

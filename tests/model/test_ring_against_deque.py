"""Each kind of ring, in one process, against a deque of records: Hypothesis makes up the calls, the deque says what
each of them must do, down to which message finds the ring full and what stats() counts.
"""

import os
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

import shmring

EFFORT = float(os.environ.get("SHMRING_EFFORT", "1"))
COUNTERS = ("messages_put", "bytes_put", "messages_got", "bytes_got", "redelivered", "aborted")
LIFETIMES = st.sampled_from([0, 10, 20, 30, 40])  # steps before a shutdown
SIZES = st.integers(0, 9 * 66 - 1)  # eighths of the longest message, and 0 to 65 bytes more
WHEN_PUTS_ARE_ALLOWED = precondition(lambda self: not self.refusal_to_put())
WHEN_THERE_IS_A_MESSAGE = precondition(lambda self: not self.refusal_to_get())
pytestmark = [pytest.mark.verify, pytest.mark.timeout(600 * max(1, EFFORT))]  # to shrink what failed takes long


@dataclass(eq=False)
class Record:
    """Some granules of the ring: a message, what is left of one, or the padding (no message) before a wrap."""

    message: bytes | None
    granules: int
    state: str  # claimed, ready, taken, finished
    redelivered: bool = False


class Model:
    """What is in the ring, from the oldest record that is not finished, and the counters."""

    def __init__(self, kind: str, capacity: int, slots: int | None) -> None:
        self.is_spsc, self.capacity, self.granules, self.slots = kind == "spsc", capacity, -(-capacity // 64), slots
        self.index = self.laps = 0
        self.records: deque[Record] = deque()
        self.counters = Counter(dict.fromkeys(COUNTERS, 0))

    def count(self, state: str) -> int:
        return sum(record.state == state for record in self.records)

    def used(self) -> int:
        return sum(record.granules for record in self.records)

    def needs(self, length: int) -> tuple[int, int]:
        """Return a message's granules, and those of the padding before one that would cross the arena's end."""
        granules, to_end = max(1, -(-length // 64)), self.granules - self.index
        return granules, to_end if granules > to_end else 0

    def has_room(self, length: int) -> bool:
        messages = sum(record.message is not None for record in self.records)
        fits = self.used() + sum(self.needs(length)) <= self.granules and messages < (self.slots or self.granules + 1)
        assert fits or self.records, "an empty ring takes every message"
        return fits

    def claim(self, message: bytes) -> Record:
        """Add a record. An spsc ring gives the padding back with the message behind it, the others by itself."""
        granules, padding = self.needs(len(message))
        if padding and self.records and not self.is_spsc:
            self.records.append(Record(None, padding, "finished"))
        laps, self.index = divmod(self.index + padding + granules, self.granules)
        self.laps += laps
        self.records.append(Record(message, granules + padding * self.is_spsc, "claimed"))
        return self.records[-1]

    def commit(self, record: Record) -> None:
        record.state = "ready"
        self.counters.update(messages_put=1, bytes_put=len(record.message))

    def abort(self, record: Record | None) -> None:
        self.counters["aborted"] += 1
        if record:
            self.finish(record)

    def next(self) -> Record | None:
        """Return what is taken next: the oldest, perhaps handed back, unless an open claim is older."""
        oldest = next((record for record in self.records if record.state in ("claimed", "ready")), None)
        return oldest if oldest and oldest.state == "ready" else None

    def acknowledge(self, record: Record) -> bytes:
        self.counters.update(messages_got=1, bytes_got=len(record.message), redelivered=record.redelivered)
        self.finish(record)
        return record.message

    def finish(self, record: Record) -> None:
        record.state = "finished"
        while self.records and self.records[0].state == "finished":
            self.records.popleft()

    def stats(self) -> shmring.RingStats:
        return shmring.RingStats(
            **self.counters,
            messages=self.count("ready"),
            claimed=self.count("claimed"),
            taken=self.count("taken"),
            used=min(self.used() * 64, self.capacity),
            capacity=self.capacity,
        )


def assert_refused(error: type[Exception], call: Callable[..., Any], *arguments: Any) -> None:
    """Assert that a call fails so at once; a claim or a borrow does so when it is entered."""
    with pytest.raises(error) as caught:
        getattr(call(*arguments, timeout=0), "__enter__", bool)()
    assert caught.type is error


class Lease:
    """A claim or a borrow, open from one step to a later one."""

    def __init__(self, lease: Any, message: bytes, record: Record | None) -> None:
        self.lease, self.message, self.record = lease, message, record
        self.view: memoryview = lease.__enter__()

    def end(self, fails: bool) -> None:
        error = RuntimeError("mine") if fails else None
        assert not self.lease.__exit__(error and RuntimeError, error, None)


class RingAgainstDeque(RuleBasedStateMachine):
    def __init__(self, kind: str, tally: Counter[str]) -> None:
        super().__init__()
        self.kind, self.tally = kind, tally
        self.ring: shmring.Ring | None = None
        self.claims: list[Lease] = []
        self.borrows: list[Lease] = []
        self.steps = self.made = 0
        self.is_shut_down = self.is_drained = False

    @initialize(capacity=st.integers(128, 2048), slots=st.none() | st.integers(1, 4), lifetime=LIFETIMES)
    def create(self, capacity: int, slots: int | None, lifetime: int) -> None:
        self.ring = shmring.Ring.create(capacity=capacity, kind=self.kind, slots=slots)
        self.model, self.lifetime = Model(self.kind, capacity, slots), lifetime

    def new_message(self, size: int) -> bytes:
        """Return a message like no other."""
        self.made += 1
        length = min(self.ring.max_message * (size // 66) // 8 + size % 66, self.ring.max_message)
        return (b"%07d." % self.made * (length // 8 + 1))[:length]

    def busy_or(self, refusal: type[Exception] | None) -> type[Exception] | None:
        return shmring.Busy if self.claims and self.model.is_spsc else refusal

    def refusal_to_put(self) -> type[Exception] | None:
        """Return why not even the shortest message could be put, were there room."""
        return self.busy_or(shmring.ShutDown if self.is_shut_down else None)

    def refusal_to_get(self) -> type[Exception] | None:
        if self.borrows and self.model.is_spsc:
            return shmring.Busy
        if self.model.next():
            return None
        return shmring.ShutDown if self.is_shut_down and not self.claims else shmring.Empty

    def assert_full(self, call: Callable[..., Any], argument: Any) -> None:
        """Assert that it is, then let something go: Hypothesis leaves whole rules out, perhaps all that make room."""
        assert_refused(shmring.Full, call, argument)
        self.tally["Full"] += 1
        if self.borrows:
            self.end_borrow(0, False)
        elif self.claims:
            self.end_claim(False)
        else:
            self.get()

    @rule(size=SIZES)
    def what_must_be_refused_is(self, size: int) -> None:
        too_long = bytes(self.ring.max_message + 1)
        for message, refusal in ((b"", self.refusal_to_put()), (too_long, self.busy_or(shmring.MessageTooLong))):
            if refusal:
                assert_refused(refusal, self.ring.put, message)
                assert_refused(refusal, self.ring.put_many, [message])
            if refusal or self.claims:
                assert_refused(shmring.Busy if self.claims and not message else refusal, self.ring.claim, len(message))
        if refusal := self.refusal_to_get():
            assert_refused(refusal, self.ring.get)
            assert_refused(refusal, self.ring.get_many)
            assert_refused(refusal, self.ring.get_into, bytearray(1))
            assert_refused(refusal, self.ring.borrow)
        if refusal is shmring.Empty and not self.refusal_to_put():
            self.put(size)

    @WHEN_PUTS_ARE_ALLOWED
    @rule(size=SIZES)
    def put(self, size: int) -> None:
        message = self.new_message(size)
        if self.model.has_room(len(message)):
            self.ring.put(message, timeout=0)
            self.model.commit(self.model.claim(message))
        else:
            self.assert_full(self.ring.put, message)

    @WHEN_PUTS_ARE_ALLOWED
    @rule(sizes=st.lists(SIZES, min_size=1, max_size=6), sequence=st.sampled_from([list, tuple]))
    def put_many(self, sizes: list[int], sequence: Callable[[list[bytes]], Any]) -> None:
        messages, count = [self.new_message(size) for size in sizes], 0
        while count < len(messages) and self.model.has_room(len(messages[count])):
            self.model.commit(self.model.claim(messages[count]))
            count += 1
        if count:
            assert self.ring.put_many(sequence(messages), timeout=0) == count
        else:
            self.assert_full(self.ring.put_many, sequence(messages))

    @WHEN_PUTS_ARE_ALLOWED
    @rule(sizes=st.lists(SIZES, min_size=1, max_size=6))
    def put_many_of_an_iterator(self, sizes: list[int]) -> None:
        """It is asked for an item where there is room for some message; one that has none after all is handed back."""
        messages, count = [self.new_message(size) for size in sizes], 0
        while count < len(messages) and self.model.has_room(len(messages[count])):
            self.model.commit(self.model.claim(messages[count]))
            count += 1
        is_asked = count < len(messages) and self.model.has_room(0)
        stream = iter(messages)
        if count and not is_asked:
            assert self.ring.put_many(stream, timeout=0) == count
        elif is_asked:
            with pytest.raises(shmring.Full) as caught:
                self.ring.put_many(stream, timeout=0)
            assert (caught.value.sent, caught.value.unsent) == (count, messages[count])
            self.tally["Full"] += 1
        else:
            self.assert_full(self.ring.put_many, stream)
        assert list(stream) == messages[count + is_asked :]

    @WHEN_THERE_IS_A_MESSAGE
    @rule()
    def get(self) -> None:
        assert self.ring.get(timeout=0) == self.model.acknowledge(self.model.next())

    @WHEN_THERE_IS_A_MESSAGE
    @rule(limit=st.none() | st.integers(1, 5))
    def get_many(self, limit: int | None) -> None:
        expected: list[bytes] = []
        while (record := self.model.next()) and len(expected) != limit:
            expected.append(self.model.acknowledge(record))
        assert self.ring.get_many(limit, timeout=0) == expected

    @WHEN_THERE_IS_A_MESSAGE
    @rule(size=SIZES)
    def get_into(self, size: int) -> None:
        before, message = self.new_message(size), self.model.next().message
        buffer = bytearray(before)
        if len(buffer) < len(message):
            assert_refused(ValueError, self.ring.get_into, buffer)
            assert buffer == before
        else:
            assert self.ring.get_into(buffer, timeout=0) == len(message)
            assert buffer == self.model.acknowledge(self.model.next()) + before[len(message) :]

    @precondition(lambda self: not self.claims and not self.is_shut_down)
    @rule(size=SIZES)
    def claim(self, size: int) -> None:
        message = self.new_message(size)
        if self.model.has_room(len(message)):
            record = None if self.model.is_spsc else self.model.claim(message)  # spsc: its commit claims, too
            self.claims.append(Lease(self.ring.claim(len(message), timeout=0), message, record))
        else:
            self.assert_full(self.ring.claim, len(message))

    @precondition(lambda self: self.claims)
    @rule(fails=st.booleans())
    def end_claim(self, fails: bool) -> None:
        lease = self.claims.pop()
        lease.view[:] = lease.message
        lease.end(fails)
        if fails:
            self.model.abort(lease.record)
        else:
            self.model.commit(lease.record or self.model.claim(lease.message))

    @WHEN_THERE_IS_A_MESSAGE
    @rule()
    def borrow(self) -> None:
        record = self.model.next()
        lease = Lease(self.ring.borrow(timeout=0), record.message, record)
        assert (lease.view, lease.lease.redelivered) == (record.message, record.redelivered)
        record.state = "taken"
        self.borrows.append(lease)

    @precondition(lambda self: self.borrows)
    @rule(which=st.integers(0, 7), fails=st.booleans())
    def end_borrow(self, which: int, fails: bool) -> None:
        lease = self.borrows.pop(which % len(self.borrows))
        assert lease.view == lease.message
        lease.end(fails)
        if fails:
            lease.record.state, lease.record.redelivered = "ready", True
        else:
            self.model.acknowledge(lease.record)

    @precondition(lambda self: self.steps >= self.lifetime and not self.is_shut_down)
    @rule()
    def shutdown(self) -> None:
        self.ring.shutdown()
        self.is_shut_down = True

    @precondition(lambda self: self.is_shut_down and not self.is_drained)
    @rule()
    def drain(self) -> None:
        while not (refusal := self.refusal_to_get()):
            self.get()
        assert_refused(refusal, self.ring.get)
        self.is_drained = refusal is shmring.ShutDown

    @invariant()
    def its_counters_are_the_models(self) -> None:
        if self.ring:
            self.steps += 1
            assert self.ring.stats() == self.model.stats()

    def teardown(self) -> None:
        for lease in self.claims + self.borrows:
            lease.end(fails=True)
        if self.ring:
            self.tally.update(examples=1, steps=self.steps, laps=self.model.laps, drained=self.is_drained)
            self.tally["messages"] += self.model.counters["messages_put"]
            self.ring.close()


@pytest.mark.parametrize("kind", ["spsc", "mpmc", "semaphore"])
def test_whatever_is_called_a_ring_does_as_its_deque(kind: str, figure: Callable[[str], None]) -> None:
    tally: Counter[str] = Counter()
    effort = settings(max_examples=max(1, int(300 * EFFORT)), stateful_step_count=60, deadline=None)
    run_state_machine_as_test(partial(RingAgainstDeque, kind, tally), settings=effort)
    figure(f"{kind}: " + ", ".join(f"{count} {what}" for what, count in sorted(tally.items())))

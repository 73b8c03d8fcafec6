"""Killed processes: what they had committed is delivered, what they held is mended, and nobody waits for them."""

from collections.abc import Callable

import pytest

import shmring
from shmring.diagnosis import diagnose
from tests.ring.conftest import for_ever


def killed(start: Callable, gate, function: Callable[[], None]):
    """Run a function in a child and kill it when it opens the gate."""
    child = start(function)
    gate.wait()
    child.kill()
    child.abandon()
    return child


def test_a_producer_killed_in_a_claim_blocks_nobody(ring: shmring.Ring, start: Callable, gate) -> None:
    def claim_for_ever() -> None:
        ring.put(b"whole")
        with ring.claim(100):
            gate.open()
            for_ever()

    killed(start, gate, claim_for_ever)
    assert ring.get() == b"whole"
    ring.put(b"next")
    assert ring.get(timeout=20) == b"next"


def test_a_message_whose_consumer_was_killed_is_delivered_again(ring: shmring.Ring, start: Callable, gate) -> None:
    ring.put_many([b"first", b"second"])

    def borrow_for_ever() -> None:
        with ring.borrow():
            gate.open()
            for_ever()

    killed(start, gate, borrow_for_ever)
    got = []
    while len(got) < 2:
        got.append(ring.get(timeout=20))
    assert sorted(got) == [b"first", b"second"]
    if ring.kind != "spsc":
        assert ring.stats().redelivered == 1


def test_when_every_producer_has_died_a_waiting_consumer_is_told(ring: shmring.Ring, start: Callable, gate) -> None:
    def produce() -> None:
        ring.put(b"last words")
        gate.open()
        for_ever()

    child = killed(start, gate, produce)
    assert ring.get() == b"last words"
    with pytest.raises(shmring.PeerDied, match=f"pid {child.pid}") as caught:
        ring.get()
    assert isinstance(caught.value, BrokenPipeError)
    assert [(peer.pid, peer.role) for peer in caught.value.peers] == [(child.pid, "producer")]


def test_when_every_consumer_has_died_a_waiting_producer_is_told(ring: shmring.Ring, start: Callable, gate) -> None:
    def consume() -> None:
        ring.get()
        gate.open()
        for_ever()

    ring.put(b"one")
    child = killed(start, gate, consume)
    with pytest.raises(shmring.PeerDied, match=f"pid {child.pid} "):
        ring.put_many([bytes(1000)] * 10)
    ring.shutdown(immediate=True)


def test_a_successor_is_enough_to_wait_on(ring: shmring.Ring, start: Callable, gate) -> None:
    def produce() -> None:
        ring.put(b"first")
        gate.open()
        for_ever()

    killed(start, gate, produce)
    assert ring.get() == b"first"

    def succeed() -> None:
        gate.open()
        ring.put(b"second")

    successor = start(succeed)
    gate.wait()
    assert ring.get(timeout=20) == b"second"
    successor.result()


def test_a_consumer_may_choose_to_outlive_its_producers(kind: str, start: Callable, gate) -> None:
    with shmring.Ring.create(kind=kind, capacity=4096, on_dead_peer="wait") as ring:

        def produce() -> None:
            ring.put(b"x")
            gate.open()
            for_ever()

        killed(start, gate, produce)
        ring.get()
        with pytest.raises(shmring.Empty):
            ring.get(timeout=0.3)


def test_a_process_that_ends_by_itself_did_not_die(ring: shmring.Ring, start: Callable) -> None:
    def produce() -> None:
        ring.put(b"x")
        ring.close()

    start(produce).result()
    assert ring.get() == b"x"
    with pytest.raises(shmring.Empty):
        ring.get(timeout=0.2)


def test_a_polling_consumer_gets_what_a_killed_one_held(start: Callable, gate) -> None:
    with shmring.Ring.create(capacity=4096) as ring:
        ring.put(b"held")

        def borrow_for_ever() -> None:
            with ring.borrow():
                gate.open()
                for_ever()

        killed(start, gate, borrow_for_ever)
        message = None
        while message is None:
            try:
                message = ring.get(timeout=0)
            except shmring.Empty:
                continue
        assert message == b"held"


def test_who_has_come_since_every_producer_was_found_dead_is_told_of(name: str) -> None:
    with shmring.Ring.create(name, capacity=4096) as ring:
        # as when somebody who does not produce has taken the dead one's place by now
        assert "their places have been taken since" in str(diagnose(ring, "peer_died", "get", 0, True))
        with shmring.Ring.attach(name) as other:
            other.put(b"x")
            assert "another has come since: call again" in str(diagnose(ring, "peer_died", "get", 0, True))
        assert ring.get() == b"x"

"""Who may produce and consume: one of each in an spsc ring, anyone elsewhere."""

import os
import threading

import pytest

import shmring


def test_a_second_producer_of_an_spsc_ring_is_told_who_is_the_first(name: str) -> None:
    with shmring.Ring.create(name, kind="spsc") as first, shmring.Ring.attach(name) as second:
        first.put(b"x")
        with pytest.raises(shmring.Busy, match=f"pid {os.getpid()}"):
            second.put(b"y")
        with pytest.raises(shmring.Busy, match=f"pid {os.getpid()}"):
            second.producer()
        assert second.get() == b"x"
        with pytest.raises(shmring.Busy, match="one consumer already"):
            first.get()


def test_a_role_is_free_when_its_holder_has_closed(name: str) -> None:
    with shmring.Ring.create(name, kind="spsc") as keeper:
        for number in range(3):
            with shmring.Ring.attach(name) as producer:
                producer.put(b"%d" % number)
        assert keeper.get_many() == [b"0", b"1", b"2"]


def test_roles_are_context_managers_with_the_rings_methods(ring: shmring.Ring) -> None:
    with ring.producer() as producer, ring.consumer() as consumer:
        producer.put(b"one")
        producer.put_many([b"two"])
        with producer.claim(5) as buffer:
            buffer[:] = b"three"
        assert consumer.get() == b"one"
        assert consumer.get_many() == [b"two", b"three"]
        with pytest.raises(shmring.Busy):
            ring.producer()
        producer.shutdown()
        assert [*consumer] == []


def test_a_role_given_back_can_be_taken_by_another(name: str) -> None:
    with shmring.Ring.create(name, kind="spsc") as one, shmring.Ring.attach(name) as other:
        with one.producer() as producer:
            producer.put(b"a")
        with other.producer() as producer:
            producer.put(b"b")
        assert one.get_many() == [b"a", b"b"]


def test_an_spsc_side_in_use_by_another_thread_is_busy() -> None:
    with shmring.Ring.create(kind="spsc", capacity=4096) as ring:
        waiting = threading.Event()
        got: list[bytes] = []

        def wait() -> None:
            waiting.set()
            got.append(ring.get())

        thread = threading.Thread(target=wait)
        thread.start()
        waiting.wait()
        refused: Exception | None = None
        while not isinstance(refused, shmring.Busy):  # until the thread is inside, the ring is just empty
            try:
                ring.get(timeout=0)
            except (shmring.Busy, shmring.Empty) as error:
                refused = error
        ring.put(b"for the thread")
        thread.join()
        assert got == [b"for the thread"]


@pytest.mark.parametrize("kind", ["mpmc", "semaphore"])
def test_anyone_may_take_any_role_elsewhere(kind: str, name: str) -> None:
    with shmring.Ring.create(name, kind=kind) as one, shmring.Ring.attach(name) as other:
        one.put(b"a")
        other.put(b"b")
        assert one.get() == b"a"
        assert other.get() == b"b"

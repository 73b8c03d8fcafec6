"""Putting and getting: what comes out is what went in, in order, whatever its size."""

import collections
import queue
import random
import threading

import pytest

import shmring


@pytest.mark.parametrize("length", [0, 1, 63, 64, 65, 128, 1000, 2048])
def test_a_message_comes_out_as_it_went_in(ring: shmring.Ring, length: int) -> None:
    message = random.Random(length).randbytes(length)
    ring.put(message)
    assert ring.get() == message


@pytest.mark.parametrize("make", [bytes, bytearray, memoryview])
def test_any_buffer_is_a_message(ring: shmring.Ring, make: type) -> None:
    ring.put(make(b"payload"))
    assert ring.get() == b"payload"


def test_an_array_is_a_message(ring: shmring.Ring) -> None:
    numpy = pytest.importorskip("numpy")
    ring.put(numpy.arange(10, dtype="int32"))
    assert ring.get() == numpy.arange(10, dtype="int32").tobytes()


@pytest.mark.parametrize("slots", [None, 3])
@pytest.mark.parametrize("capacity", [129, 1000, 4096, 5000])
def test_a_ring_behaves_like_a_bounded_deque_over_many_laps(kind: str, capacity: int, slots: int | None) -> None:
    source = random.Random(f"{kind}{capacity}{slots}")
    model: collections.deque[bytes] = collections.deque()
    with shmring.Ring.create(capacity=capacity, kind=kind, slots=slots) as ring:
        for _ in range(3000):
            if source.random() < 0.55:
                message = source.randbytes(source.randrange(capacity // 2 + 1))
                try:
                    ring.put(message, timeout=0)
                    model.append(message)
                except shmring.Full:
                    assert model, "an empty ring takes any message up to half its capacity"
                if slots:
                    assert len(model) <= slots
            elif model:
                assert ring.get(timeout=0) == model.popleft()
            else:
                with pytest.raises(shmring.Empty):
                    ring.get(timeout=0)
            assert ring.stats().messages == len(model)
        assert ring.get_many() == [*model] if model else True


def test_a_full_ring_and_an_empty_one_say_so_at_once(ring: shmring.Ring) -> None:
    with pytest.raises(queue.Empty):
        ring.get(timeout=0)
    for _ in range(4096 // 64):
        ring.put(bytes(64), timeout=0)
    with pytest.raises(queue.Full):
        ring.put(bytes(64), timeout=0)
    assert len(ring.get_many()) == 4096 // 64


def test_a_timeout_names_whom_it_waited_for(ring: shmring.Ring) -> None:
    with pytest.raises(shmring.Empty, match="no producer is attached"):
        ring.get(timeout=0.01)
    ring.put_many([bytes(64)] * 64)
    with pytest.raises(shmring.Full, match=r"4096 of 4096 bytes"):
        ring.put(b"more", timeout=0.01)


@pytest.mark.parametrize("make", [list, tuple, iter])
def test_put_many_puts_all_in_order(ring: shmring.Ring, make: type) -> None:
    messages = [b"%d" % i for i in range(50)]
    assert ring.put_many(make(messages)) == 50
    assert ring.get_many() == messages


def test_put_many_says_how_many_went_in(ring: shmring.Ring) -> None:
    assert ring.put_many([bytes(64)] * 100, timeout=0) == 64
    with pytest.raises(shmring.Full):
        ring.put_many([b"more"], timeout=0)
    assert ring.put_many([]) == 0


def test_what_a_generator_has_given_is_visible_before_it_gives_more(ring: shmring.Ring) -> None:
    def messages():
        yield b"first"
        assert ring.get(timeout=1) == b"first"
        yield b"second"

    assert ring.put_many(messages()) == 2
    assert ring.get() == b"second"


def test_an_item_that_is_no_message_stops_put_many_after_those_before_it(ring: shmring.Ring) -> None:
    with pytest.raises(TypeError, match="encode text first"):
        ring.put_many([b"good", "text", b"never"])
    assert ring.get_many() == [b"good"]


def test_get_many_takes_no_more_than_its_limit(ring: shmring.Ring) -> None:
    ring.put_many([b"%d" % i for i in range(10)])
    assert ring.get_many(3) == [b"0", b"1", b"2"]
    assert len(ring.get_many()) == 7
    with pytest.raises(shmring.Empty):
        ring.get_many(timeout=0)


def test_get_into_fills_a_buffer_and_returns_the_length(ring: shmring.Ring) -> None:
    ring.put(b"payload")
    buffer = bytearray(10)
    assert ring.get_into(buffer) == 7
    assert buffer == b"payload\0\0\0"


def test_a_message_that_does_not_fit_the_buffer_stays_in_the_ring(ring: shmring.Ring) -> None:
    ring.put(b"payload")
    with pytest.raises(ValueError, match=r"7 bytes and the buffer room for 3"):
        ring.get_into(bytearray(3))
    assert ring.get() == b"payload"


def test_counters_are_exact(ring: shmring.Ring) -> None:
    ring.put_many([b"abc"] * 5)
    ring.get()
    stats = ring.stats()
    assert (stats.messages_put, stats.bytes_put, stats.messages_got, stats.bytes_got) == (5, 15, 1, 3)
    assert (stats.messages, stats.claimed, stats.taken, stats.redelivered) == (4, 0, 0, 0)
    ring.get_many()


def test_a_large_message_lets_other_threads_run_and_arrives_whole(kind: str) -> None:
    message = random.Random(1).randbytes(3 << 20)
    with shmring.Ring.create(capacity="8 MiB", kind=kind) as ring:
        got: list[bytes] = []
        thread = threading.Thread(target=lambda: got.extend(ring.get() for _ in range(20)))
        thread.start()
        for _ in range(20):
            ring.put(message)
        thread.join()
    assert all(one == message for one in got)


@pytest.mark.parametrize("kind", ["mpmc", "semaphore"])
def test_many_threads_may_share_one_ring(kind: str) -> None:
    with shmring.Ring.create(capacity=2048, kind=kind) as ring:
        got: list[list[bytes]] = [[] for _ in range(3)]

        def take(mine: list[bytes]) -> None:
            mine.extend(ring)

        takers = [threading.Thread(target=take, args=(mine,)) for mine in got]
        makers = [
            threading.Thread(target=lambda n=n: [ring.put(b"%d %d" % (n, i)) for i in range(500)]) for n in range(3)
        ]
        for thread in takers + makers:
            thread.start()
        for thread in makers:
            thread.join()
        ring.shutdown()
        for thread in takers:
            thread.join()
    expected = [b"%d %d" % (n, i) for n in range(3) for i in range(500)]
    assert sorted(one for mine in got for one in mine) == sorted(expected)

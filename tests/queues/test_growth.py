"""A queue without a bound grows as it must, keeps its order, and gives the memory back."""

import itertools
import queue as stdlib
import threading

import numpy
import pytest

import shmring
from shmring.segment import growing
from shmring.segment.sizes import show_size
from tests.queues.conftest import GIVES_BACK, gives_back


def available() -> int:
    with growing.unnamed(1) as memory:
        return growing.free_bytes(memory)


def test_a_full_queue_grows_in_order_and_shrinks_when_drained(queue, memory_of) -> None:
    before = memory_of(queue)
    for number in range(500):
        queue.put((number, b"x" * 20_000))
    assert queue.qsize() == 500
    assert memory_of(queue) > 500 * 20_000
    assert [queue.get()[0] for _ in range(500)] == [*range(500)]
    assert queue.empty()
    if GIVES_BACK:
        assert memory_of(queue) < before + 50 * 40_960


@gives_back
def test_a_queue_that_carries_little_takes_little_memory(memory_of, start) -> None:
    with shmring.Queue() as queue:
        for _ in range(3):
            start(lambda queue: queue.put("little"), queue).result()
            assert queue.get() == "little"
        assert memory_of(queue) < 2**19


def test_it_grows_and_shrinks_many_times_in_the_same_memory(queue, memory_of) -> None:
    for _ in range(300):
        for number in range(12):
            queue.put((number, b"x" * 30_000))
        assert [queue.get()[0] for _ in range(12)] == [*range(12)]
    assert queue._chain._links[2] > 1
    assert memory_of(queue) < (2**20 if GIVES_BACK else 2**21)


def test_objects_larger_than_a_ring_keep_their_place(queue) -> None:
    sizes = [10, 100_000, 5, 3_000_000, 70_000, 1, 1_000_000]
    for size in sizes:
        queue.put(numpy.full(size, size % 251, "uint8"))
    assert [len(queue.get()) for _ in sizes] == sizes


@gives_back
def test_an_object_that_gets_a_ring_of_its_own_keeps_its_place(memory_of) -> None:
    sizes = [10, 1_000_000, 5, 2_000_000, 2_000_000, 1]
    with shmring.Queue(capacity="64 KiB", max_bytes="7 MiB") as queue:
        for size in sizes:
            queue.put(numpy.full(size, size % 251, "uint8"))
        assert memory_of(queue) < sum(sizes) + 2**20, "a ring of twice the object's size was reserved"
        for size in sizes:
            assert (queue.get() == size % 251).all()
        assert memory_of(queue) < 2**20


def test_producers_and_consumers_meet_while_it_grows(queue) -> None:
    def produce(who: int) -> None:
        sizes = numpy.random.default_rng(who).choice([10, 1000, 40_000], 300)
        for number, size in enumerate(sizes):
            queue.put((who, number, b"x" * int(size)))

    got: list[tuple[int, int]] = []

    def consume() -> None:
        while (message := queue.get())[0] >= 0:
            got.append(message[:2])

    producers = [threading.Thread(target=produce, args=(who,)) for who in range(3)]
    consumers = [threading.Thread(target=consume) for _ in range(2)]
    for thread in [*producers, *consumers]:
        thread.start()
    for thread in producers:
        thread.join()
    for _ in consumers:
        queue.put((-1, 0, b""))
    for thread in consumers:
        thread.join()
    assert sorted(got) == [(who, number) for who in range(3) for number in range(300)]


def test_each_producers_messages_come_in_its_order_to_one_consumer(queue, start) -> None:
    def produce(queue: shmring.Queue, who: int) -> None:
        for number in range(200):
            queue.put((who, number, b"x" * 5000))

    children = [start(produce, queue, who) for who in range(2)]
    got: dict[int, list[int]] = {0: [], 1: []}
    for _ in range(400):
        who, number, _ = queue.get(timeout=60)
        got[who].append(number)
    for child in children:
        child.result()
    assert got == {0: [*range(200)], 1: [*range(200)]}


def test_past_max_bytes_put_blocks_until_there_is_room() -> None:
    with shmring.Queue(capacity="64 KiB", max_bytes="1 MiB") as queue:
        with pytest.raises(stdlib.Full) as error:
            queue.put_many(((number, b"x" * 10_000) for number in itertools.count()), timeout=0.5)
        put = error.value.sent
        assert 50 < put < 105
        with pytest.raises(stdlib.Full, match="max_bytes=1048576"):
            queue.put(b"x" * 10_000, timeout=0.01)
        assert queue._chain._reserved <= 2**20
        thread = threading.Thread(target=queue.put, args=((put, b"x" * 10_000),))
        thread.start()
        assert [queue.get()[0] for _ in range(put + 1)] == [*range(put + 1)]
        thread.join()


def test_what_could_never_be_taken_is_nospace_at_once() -> None:
    with shmring.Queue(capacity="64 KiB", max_bytes="1 MiB") as queue:
        with pytest.raises(shmring.NoSpace, match="max_bytes"):
            queue.put(numpy.zeros(2 * 2**20, "uint8"))
        queue.put("still fine")
        assert queue.get() == "still fine"


def test_a_message_counts_once_toward_max_bytes(memory_of) -> None:
    with shmring.Queue(capacity="1 MiB", max_bytes="10 MiB") as queue:
        for size in (6, 8):
            queue.put(numpy.full(size * 2**20, size, "uint8"), timeout=30)
            if GIVES_BACK:
                assert memory_of(queue) <= 10 * 2**20
            assert (queue.get(timeout=30) == size).all()
        for number in range(6):
            queue.put(numpy.full(700_000, number, "uint8"), timeout=30)
        assert [queue.get()[0] for _ in range(6)] == [*range(6)]


def test_a_put_behind_a_large_object_that_leaves_no_memory_ends_with_its_timeout() -> None:
    with shmring.Queue(capacity="1 MiB", max_bytes="10 MiB") as queue:
        put = queue.put_many([numpy.full(700_000, number, "uint8") for number in range(20)], timeout=0.2)
        assert put > 8
        for size in (3_000_000, 700_000):
            with pytest.raises(shmring.Full):
                queue.put(bytes(size), timeout=0.05)
        assert [queue.get()[0] for _ in range(put)] == [*range(put)]


def test_large_objects_follow_each_other_in_memory_for_one() -> None:
    with shmring.Queue(capacity="1 MiB", max_bytes="10 MiB") as queue:
        for _ in range(20):
            queue.put(numpy.zeros(8 * 2**20, "uint8"), timeout=30)
            with pytest.raises(shmring.Full):
                queue.put(numpy.zeros(8 * 2**20, "uint8"), timeout=0)
            assert len(queue.get()) == 8 * 2**20


def test_a_large_object_is_not_kept_waiting_by_an_empty_ring() -> None:
    with shmring.Queue(capacity="1 MiB", max_bytes="10 MiB") as queue:
        for _ in range(7):
            queue.put(bytes(300_000))
        queue.get_many(7)
        assert queue._chain._reserved > 2**20 + 2**18
        queue.put(numpy.zeros(8 * 2**20, "uint8"), timeout=30)
        assert len(queue.get()) == 8 * 2**20


def test_a_large_object_waits_for_memory_that_others_hold() -> None:
    with shmring.Queue(capacity="64 KiB", max_bytes="2 MiB") as queue:
        queue.put(numpy.zeros(500_000, "uint8"))
        with pytest.raises(shmring.Full):
            queue.put(numpy.zeros(1_700_000, "uint8"), timeout=0.05)
        thread = threading.Thread(target=queue.put, args=(numpy.zeros(1_700_000, "uint8"),))
        thread.start()
        assert len(queue.get()) == 500_000
        assert len(queue.get(timeout=60)) == 1_700_000
        thread.join()


def test_a_bounded_queue_takes_its_number_whatever_their_size() -> None:
    with shmring.Queue(10, capacity="64 KiB") as queue:
        for number in range(10):
            queue.put((number, b"x" * 50_000), timeout=30)
        assert queue.full()
        for _ in range(3):
            with pytest.raises(shmring.Full):
                queue.put("one more", timeout=0.02)
            with pytest.raises(shmring.Full):
                queue.put_nowait(b"x" * 100_000)
        for number in range(10):
            assert queue.get()[0] == number
            queue.put(number)
            assert queue.full()
        assert queue.get_many() == [*range(10)]


def test_a_bounded_queue_is_never_overfull_while_it_grows() -> None:
    most = 0
    with shmring.Queue(5, capacity="64 KiB") as queue:

        def produce(who: int) -> None:
            for number in range(100):
                queue.put((who, number, b"x" * (30_000 if number % 7 else 5)))

        threads = [threading.Thread(target=produce, args=(who,)) for who in range(3)]
        for thread in threads:
            thread.start()
        for _ in range(300):
            most = max(most, queue.qsize())
            queue.get(timeout=60)
        for thread in threads:
            thread.join()
        assert 0 < most <= 5


@pytest.mark.parametrize("total", [2**28, pytest.param(2**31, marks=pytest.mark.verify)], ids=show_size)
def test_this_much_can_be_put_before_the_first_consumer_starts(memory_of, total, start) -> None:
    def get_all(queue: shmring.Queue, count: int) -> bool:
        return all((queue.get() == number % 251).all() for number in range(count)) and queue.empty()

    if available() < 4 * total:
        pytest.skip(f"{show_size(available())} of memory are free; this needs {show_size(4 * total)}")
    each = 4 * 2**20
    with shmring.Queue() as queue:
        for number in range(total // each):
            queue.put(numpy.full(each, number % 251, "uint8"))
        assert memory_of(queue) >= total // each * each
        assert start(get_all, queue, total // each).result()
        if GIVES_BACK:
            assert memory_of(queue) < 100 * 2**20


@pytest.mark.parametrize("size", [2**28, pytest.param(3 * 2**30, marks=pytest.mark.verify)], ids=show_size)
def test_an_object_this_large_goes_through_a_queue_of_one_megabyte(memory_of, size) -> None:
    if available() < 3 * size:
        pytest.skip(f"{show_size(available())} of memory are free; this needs {show_size(3 * size)}")
    array = numpy.zeros(size, "uint8")
    array[-1] = 7
    with shmring.Queue(capacity="1 MiB") as queue:
        queue.put(array)
        del array
        queue.put("behind it")
        got = queue.get()
        assert (len(got), got[-1]) == (size, 7)
        del got
        assert queue.get() == "behind it"
        if GIVES_BACK:
            assert memory_of(queue) < 2**23

"""The calls of a queue: those of multiprocessing, and a few more. Beside CPython's own tests of them."""

import contextlib
import inspect
import multiprocessing.queues
import multiprocessing.resource_sharer
import os
import queue as stdlib
import sys
import threading
import time

import pytest

import shmring

CLASSES = ("Queue", "JoinableQueue", "SimpleQueue")


@pytest.mark.parametrize("name", CLASSES)
def test_every_public_name_of_multiprocessings_is_there_with_its_parameters(name: str) -> None:
    theirs, ours = getattr(multiprocessing.queues, name), getattr(shmring, name)
    for method in [each for each in dir(theirs) if not each.startswith("_")]:
        parameters = inspect.signature(getattr(theirs, method)).parameters
        found = inspect.signature(getattr(ours, method)).parameters
        assert [*found] == [*parameters], method
        assert [each.default for each in found.values()] == [each.default for each in parameters.values()], method


def test_messages_come_out_in_order(queue: shmring.Queue) -> None:
    for number in range(1000):
        queue.put(number)
    assert queue.qsize() == 1000
    assert [queue.get() for _ in range(1000)] == [*range(1000)]
    assert queue.empty()
    assert not queue.full()


def test_a_bounded_queue_is_full_at_its_bound() -> None:
    with shmring.Queue(3) as queue:
        for number in range(3):
            assert not queue.full()
            queue.put(number)
        assert queue.full()
        for call in (
            lambda: queue.put(3, False),
            lambda: queue.put_nowait(3),
            lambda: queue.put(3, timeout=0.01),
            lambda: queue.put(3, timeout=-1),
            lambda: queue.put(3, False, 5),
        ):
            with pytest.raises(stdlib.Full, match=r"3 messages \(maxsize 3\)"):
                call()
        assert queue.get() == 0
        queue.put_nowait(3)
        assert [queue.get() for _ in range(3)] == [1, 2, 3]


def test_an_empty_queue_is_empty(queue: shmring.Queue) -> None:
    for call in (
        lambda: queue.get(False),
        queue.get_nowait,
        lambda: queue.get(timeout=0.01),
        lambda: queue.get(timeout=-1),
        lambda: queue.get(False, 5),
    ):
        with pytest.raises(stdlib.Empty):
            call()


def test_a_blocked_put_goes_on_when_there_is_room_and_a_blocked_get_when_there_is_a_message() -> None:
    with shmring.Queue(1) as there, shmring.Queue(1) as back:

        def echo() -> None:
            for _ in range(100):
                back.put(there.get())

        thread = threading.Thread(target=echo)
        thread.start()
        got = []
        for number in range(100):
            there.put(number)
            with contextlib.suppress(stdlib.Empty):
                got.append(back.get(False))
        while len(got) < 100:
            got.append(back.get(timeout=30))
        thread.join()
        assert got == [*range(100)]


def test_after_close_put_and_get_raise_valueerror(queue: shmring.Queue) -> None:
    queue.put(1)
    with pytest.raises(AssertionError):
        queue.join_thread()
    queue.cancel_join_thread()
    queue.close()
    queue.close()
    queue.join_thread()
    for call in (lambda: queue.put(1), queue.get, queue.qsize, queue.empty, lambda: queue.put_nowait(1)):
        with pytest.raises(ValueError, match="is closed"):
            call()
    assert "closed" in repr(queue)


def test_close_wakes_a_thread_that_waits(queue: shmring.Queue) -> None:
    raised: list[BaseException] = []
    begun = threading.Event()

    def wait() -> None:
        begun.set()
        try:
            queue.get()
        except BaseException as error:
            raised.append(error)

    thread = threading.Thread(target=wait)
    thread.start()
    begun.wait()
    while queue._chain.root._snapshot()["attachments"][0]["role"] == "none" and not raised:
        time.sleep(0)
    queue.close()
    thread.join()
    assert isinstance(raised[0], ValueError)


def test_many_go_in_and_come_out(queue: shmring.Queue) -> None:
    assert queue.put_many(range(5)) == 5
    assert queue.get_many() == [0, 1, 2, 3, 4]
    with pytest.raises(shmring.Empty):
        queue.get_many(timeout=0)
    queue.put_many([1, 2, 3])
    assert queue.get_many(2) == [1, 2]
    assert queue.get_many(2) == [3]
    with pytest.raises(ValueError, match="limit is 0"):
        queue.get_many(0)
    with shmring.Queue(2) as bounded:
        assert bounded.put_many(range(5), timeout=0) == 2
        with pytest.raises(shmring.Full):
            bounded.put_many([7], timeout=0.01)
        assert bounded.put_many([], timeout=0) == 0
        assert bounded.get_many() == [0, 1]


def test_a_simple_queue_has_no_bounds_and_no_timeouts() -> None:
    with shmring.SimpleQueue(capacity="64 KiB") as queue:
        assert queue.empty()
        for number in range(100):
            queue.put((number, b"x" * 5000))
        assert not queue.empty()
        assert [queue.get()[0] for _ in range(100)] == [*range(100)]
    queue.close()
    with pytest.raises(ValueError, match="is closed"):
        queue.put(1)


def test_values_out_of_range_are_refused() -> None:
    for options in ({"capacity": 0}, {"max_bytes": "lots"}, {"on_dead_peer": "shrug"}, {"name": "a/b"}):
        with pytest.raises(ValueError, match=r" is .*; "):
            shmring.Queue(**options)  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        shmring.Queue("many")  # type: ignore[arg-type]
    shmring.Queue(-1).close()
    shmring.Queue(2**31 - 1).close()


def test_a_bound_beyond_what_a_ring_counts() -> None:
    with shmring.Queue(2**21, capacity="64 KiB") as queue:
        for number in range(3000):
            queue.put(number)
        assert [queue.get() for _ in range(3000)] == [*range(3000)]


def test_what_only_multiprocessing_can_pickle_goes_through(queue: shmring.Queue) -> None:
    here, there = multiprocessing.Pipe()
    queue.put(there)
    with queue.get() as connection:
        connection.send("through a connection that went through a queue")
        assert here.recv().startswith("through")
    here.close()
    there.close()
    multiprocessing.resource_sharer.stop()


@pytest.mark.skipif(sys.platform == "win32", reason="looks at descriptors and threads in /proc")
def test_a_dropped_queue_is_gone_with_its_descriptors(queue: shmring.Queue) -> None:
    before = len(os.listdir("/proc/self/fd"))
    for make in (shmring.Queue, shmring.JoinableQueue, shmring.SimpleQueue):
        made = make()
        made.put(1)
        assert made.get() == 1
        del made
    assert len(os.listdir("/proc/self/fd")) == before

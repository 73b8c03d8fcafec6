"""task_done and join: over processes, and over a consumer's death."""

import sys
import threading

import numpy
import pytest

import shmring
from tests.queues.conftest import Deadly
from tests.ring.conftest import kill_myself


def test_join_waits_until_each_task_is_done() -> None:
    with shmring.JoinableQueue() as queue:
        queue.join()
        for number in range(3):
            queue.put(number)
        joined = threading.Event()
        thread = threading.Thread(target=lambda: (queue.join(), joined.set()))
        thread.start()
        for _ in range(3):
            queue.get()
            assert not joined.is_set()
        for _ in range(3):
            assert not joined.is_set()
            queue.task_done()
        thread.join()


def test_task_done_too_often_is_valueerror() -> None:
    with shmring.JoinableQueue() as queue:
        with pytest.raises(ValueError, match="called too many times"):
            queue.task_done()
        queue.put(1)
        queue.get()
        queue.task_done()
        with pytest.raises(ValueError, match="called too many times"):
            queue.task_done()
        queue.join()


def test_tasks_are_done_and_waited_for_after_close_too(start) -> None:
    def do_nine(queue: shmring.JoinableQueue, arrived: shmring.Queue) -> None:
        arrived.put("here")
        for _ in range(9):
            queue.get()
            queue.task_done()
        queue.close()

    queue = shmring.JoinableQueue(capacity="64 KiB")
    for number in range(10):
        queue.put((number, bytes(20_000)))
    mine = queue.get()
    with shmring.Queue() as arrived:
        child = start(do_nine, queue, arrived)
        assert arrived.get() == "here"
    queue.close()
    joined = threading.Event()
    thread = threading.Thread(target=lambda: (queue.join(), joined.set()))
    thread.start()
    child.result()
    assert mine[0] == 0
    assert not joined.is_set()
    queue.task_done()
    thread.join()
    with pytest.raises(ValueError, match="too many times"):
        queue.task_done()


def test_close_leaves_a_thread_that_joins_in_peace() -> None:
    queue = shmring.JoinableQueue()
    queue.put(1)
    queue.get()
    joining = threading.Thread(target=queue.join)
    joining.start()
    while (frame := sys._current_frames().get(joining.ident)) is None or frame.f_code.co_name != "_are_tasks_done":
        continue
    queue.close()
    assert joining.is_alive()
    queue.task_done()
    joining.join()


def test_a_task_may_be_done_by_another_process_than_the_one_that_got_it(start) -> None:
    with shmring.JoinableQueue() as queue:
        queue.put(1)
        queue.get()
        child = start(lambda queue: queue.task_done(), queue)
        queue.join()
        child.result()


def test_it_counts_over_further_rings_too(start) -> None:
    def get_all(queue: shmring.JoinableQueue) -> None:
        for _ in range(50):
            queue.get()
            queue.task_done()

    with shmring.JoinableQueue(capacity="64 KiB") as queue:
        for number in range(50):
            queue.put((number, numpy.zeros(20_000, "uint8")))
        child = start(get_all, queue)
        queue.join()
        assert queue.empty()
        child.result()


@pytest.mark.parametrize("make", [shmring.Queue, shmring.JoinableQueue])
def test_what_a_consumer_was_getting_as_it_died_is_got_by_another(make, start, tmp_path) -> None:
    with make() as queue:
        queue.put(Deadly(tmp_path / "once"))
        start(lambda queue: queue.get(), queue).abandon()
        assert not (tmp_path / "once").exists()
        assert queue.get(timeout=60) == "survived"
        if make is shmring.JoinableQueue:
            queue.task_done()
            queue.join()


def test_it_is_got_from_an_older_ring_by_consumers_that_have_gone_on(start, tmp_path) -> None:
    with shmring.Queue(capacity="64 KiB") as queue:
        queue.put(Deadly(tmp_path / "once"))
        for number in range(10):
            queue.put((number, b"x" * 20_000))
        start(lambda queue: queue.get(), queue).abandon()
        assert not (tmp_path / "once").exists()
        got = [queue.get(timeout=60) for _ in range(11)]
        assert "survived" in got
        assert [message[0] for message in got if message != "survived"] == [*range(10)]
        assert queue.empty()  # which tidies up, as any next call does
        assert queue._chain._links[1] == queue._chain._links[2]


def get_and_die(queue: shmring.Queue) -> None:
    queue.get()
    kill_myself()


def test_a_dead_worker_with_a_task_is_named_when_asked_for(start) -> None:
    with shmring.JoinableQueue(on_dead_peer="raise") as queue:
        queue.put("task")
        child = start(get_and_die, queue)
        child.abandon()
        with pytest.raises(shmring.PeerDied, match="never done") as error:
            queue.join()
        assert [peer.pid for peer in error.value.peers] == [child.pid]


def test_a_call_raises_peerdied_only_when_asked_for(start) -> None:
    def put_and_die(*queues: shmring.Queue) -> None:
        for queue in queues:
            queue.put("last words")
        kill_myself()

    with shmring.Queue(on_dead_peer="raise") as asked, shmring.Queue() as plain:
        child = start(put_and_die, asked, plain)
        child.abandon()
        assert asked.get() == "last words"
        with pytest.raises(shmring.PeerDied, match=str(child.pid)):
            asked.get()
        assert plain.get() == "last words"
        with pytest.raises(shmring.Empty):
            plain.get(timeout=0.2)


def test_a_full_queue_whose_consumer_died_raises_peerdied_when_asked_for(start) -> None:
    with shmring.Queue(1, on_dead_peer="raise") as queue:
        queue.put(1)
        child = start(get_and_die, queue)
        child.abandon()
        queue.put(2)
        with pytest.raises(shmring.PeerDied, match=str(child.pid)):
            queue.put(3)

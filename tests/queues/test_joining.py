"""task_done and join: over processes, and over a consumer's death."""

import os
import signal
import sys
import threading

import numpy
import pytest

import shmring


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


def test_tasks_are_done_and_waited_for_after_close_too() -> None:
    queue = shmring.JoinableQueue(capacity="64 KiB")
    for number in range(10):
        queue.put((number, bytes(20_000)))
    mine = queue.get()
    pid = os.fork()
    if not pid:
        for _ in range(9):
            queue.get()
            queue.task_done()
        queue.close()
        os._exit(0)
    queue.close()
    joined = threading.Event()
    thread = threading.Thread(target=lambda: (queue.join(), joined.set()))
    thread.start()
    os.waitpid(pid, 0)
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
    while (frame := sys._current_frames().get(joining.ident)) is None or frame.f_code.co_name != "wait_for_tasks":
        continue
    queue.close()
    assert joining.is_alive()
    queue.task_done()
    joining.join()


def test_a_task_may_be_done_by_another_process_than_the_one_that_got_it() -> None:
    with shmring.JoinableQueue() as queue:
        queue.put(1)
        queue.get()
        pid = os.fork()
        if not pid:
            queue.task_done()
            os._exit(0)
        queue.join()
        os.waitpid(pid, 0)


def test_it_counts_over_further_rings_too() -> None:
    with shmring.JoinableQueue(capacity="64 KiB") as queue:
        for number in range(50):
            queue.put((number, numpy.zeros(20_000, "uint8")))
        pid = os.fork()
        if not pid:
            for _ in range(50):
                queue.get()
                queue.task_done()
            os._exit(0)
        queue.join()
        assert queue.empty()
        os.waitpid(pid, 0)


class Deadly:
    """Kills whoever gets it, once."""

    def __init__(self, pipe: int) -> None:
        self.pipe = pipe

    def __reduce__(self) -> tuple[object, ...]:
        return die_once, (self.pipe,)


def die_once(pipe: int) -> str:
    if os.read(pipe, 1) == b"!":
        os.kill(os.getpid(), signal.SIGKILL)
    return "survived"


@pytest.mark.parametrize("make", [shmring.Queue, shmring.JoinableQueue])
def test_what_a_consumer_was_getting_as_it_died_is_got_by_another(make) -> None:
    read, write = os.pipe()
    os.write(write, b"!.")
    with make() as queue:
        queue.put(Deadly(read))
        pid = os.fork()
        if not pid:
            queue.get()
            os._exit(1)
        assert os.WTERMSIG(os.waitpid(pid, 0)[1]) == signal.SIGKILL
        assert queue.get(timeout=60) == "survived"
        if make is shmring.JoinableQueue:
            queue.task_done()
            queue.join()
    os.close(read)
    os.close(write)


def test_it_is_got_from_an_older_ring_by_consumers_that_have_gone_on() -> None:
    read, write = os.pipe()
    os.write(write, b"!.")
    with shmring.Queue(capacity="64 KiB") as queue:
        queue.put(Deadly(read))
        for number in range(10):
            queue.put((number, b"x" * 20_000))
        pid = os.fork()
        if not pid:
            queue.get()
            os._exit(1)
        assert os.WTERMSIG(os.waitpid(pid, 0)[1]) == signal.SIGKILL
        got = [queue.get(timeout=60) for _ in range(11)]
        assert "survived" in got
        assert [message[0] for message in got if message != "survived"] == [*range(10)]
        assert queue._chain.control.first == queue._chain.control.last
    os.close(read)
    os.close(write)


def test_a_dead_worker_with_a_task_is_named_when_asked_for() -> None:
    with shmring.JoinableQueue(on_dead_peer="raise") as queue:
        queue.put("task")
        pid = os.fork()
        if not pid:
            queue.get()
            os.kill(os.getpid(), signal.SIGKILL)
        os.waitpid(pid, 0)
        with pytest.raises(shmring.PeerDied, match="never done") as error:
            queue.join()
        assert [peer.pid for peer in error.value.peers] == [pid]


def test_a_call_raises_peerdied_only_when_asked_for() -> None:
    with shmring.Queue(on_dead_peer="raise") as asked, shmring.Queue() as plain:
        pid = os.fork()
        if not pid:
            for queue in (asked, plain):
                queue.put("last words")
            os.kill(os.getpid(), signal.SIGKILL)
        os.waitpid(pid, 0)
        assert asked.get() == "last words"
        with pytest.raises(shmring.PeerDied, match=str(pid)):
            asked.get()
        assert plain.get() == "last words"
        with pytest.raises(shmring.Empty):
            plain.get(timeout=0.2)


def test_a_full_queue_whose_consumer_died_raises_peerdied_when_asked_for() -> None:
    with shmring.Queue(1, on_dead_peer="raise") as queue:
        queue.put(1)
        pid = os.fork()
        if not pid:
            queue.get()
            os.kill(os.getpid(), signal.SIGKILL)
        os.waitpid(pid, 0)
        queue.put(2)
        with pytest.raises(shmring.PeerDied, match=str(pid)):
            queue.put(3)

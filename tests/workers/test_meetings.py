"""Calls of one executor meet: in several threads, in signal handlers, at its beginning and at its end."""

import collections
import contextlib
import gc
import itertools
import signal
import threading
import time
from concurrent.futures import wait
from concurrent.futures.process import BrokenProcessPool

import pytest
from worker_jobs import kill_myself, same

import shmring
from tests.ring.conftest import needs_signals

CALLS = {
    "submit": lambda pool, futures: futures.append(pool.submit(same, 1)),
    "map": lambda pool, futures: collections.deque(pool.map(same, range(20))),
    "shutdown": lambda pool, futures: pool.shutdown(),
    "shutdown without waiting": lambda pool, futures: pool.shutdown(wait=False),
    "shutdown that cancels": lambda pool, futures: pool.shutdown(cancel_futures=True),
    "terminate_workers": lambda pool, futures: pool.terminate_workers(),
    "kill_workers": lambda pool, futures: pool.kill_workers(),
    "repr": lambda pool, futures: (repr(pool), pool._processes),
}
PAIRS = [*itertools.combinations_with_replacement(CALLS, 2)]


@pytest.mark.parametrize("is_used", [False, True], ids=["unused", "used"])
@pytest.mark.parametrize(("one", "other"), PAIRS, ids=map(" and ".join, PAIRS))
def test_every_call_beside_every_other_ends_as_documented(one, other, is_used, monkeypatch):
    uncaught = []
    monkeypatch.setattr(threading, "excepthook", uncaught.append)
    pool, start, futures, errors = shmring.ProcessPoolExecutor(1), threading.Barrier(2), [], []
    if is_used:
        assert pool.submit(same, 0).result(60) == 0

    def call(name):
        start.wait()
        try:
            CALLS[name](pool, futures)
        except (RuntimeError, BrokenProcessPool) as error:
            errors.append(str(error))
        except BaseException as error:
            uncaught.append(error)

    threads = [threading.Thread(target=call, args=(name,)) for name in (one, other)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()
    assert not wait(futures, 60).not_done
    for future in futures:
        error = None if future.cancelled() else future.exception()
        assert future.cancelled() or isinstance(error, BrokenProcessPool) or future.result() == 1
    assert all("after shutdown" in error or "ended by" in error for error in errors), errors
    pool.shutdown()
    assert not uncaught, uncaught


@pytest.fixture
def on_alarm():
    """Return a function that has another called every so often, or once, from a signal handler."""
    before = signal.getsignal(signal.SIGALRM)

    def start(function, first, interval=0.0):
        signal.signal(signal.SIGALRM, lambda *_: function())
        signal.setitimer(signal.ITIMER_REAL, first, interval)

    yield start
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


@needs_signals
@pytest.mark.timeout(method="thread")
def test_a_signal_handler_may_submit_while_its_thread_does(on_alarm):
    numbers, theirs = itertools.count(), []
    with shmring.ProcessPoolExecutor(2) as pool:

        def submit():
            number = next(numbers)
            theirs.append((number, pool.submit(same, number)))

        on_alarm(submit, 0.0003, 0.0003)
        ours = [pool.submit(same, number) for number in range(3000)]
        signal.setitimer(signal.ITIMER_REAL, 0)
        assert [future.result(60) for future in ours] == [*range(3000)]
        assert theirs
        assert all(future.result(60) == number for number, future in theirs)


@needs_signals
@pytest.mark.timeout(method="thread")
@pytest.mark.parametrize("name", ["shutdown", "kill_workers", "terminate_workers"])
@pytest.mark.parametrize("delay", [0.0002, 0.001, 0.003, 0.006, 0.01])
def test_a_signal_handler_may_end_the_pool_while_its_thread_submits(on_alarm, name, delay):
    pool, futures, ended = shmring.ProcessPoolExecutor(1), [], []
    on_alarm(lambda: (getattr(pool, name)(), ended.append(True)), delay)
    with contextlib.suppress(RuntimeError, BrokenProcessPool):
        while not ended:
            futures.append(pool.submit(same, len(futures)))
            time.sleep(0.0001)
    assert not wait(futures, 60).not_done
    for number, future in enumerate(futures):
        assert isinstance(future.exception(), BrokenProcessPool) or future.result() == number
    pool.shutdown()


def test_an_executor_is_collected_though_the_iterator_of_its_map_is_kept():
    pool = shmring.ProcessPoolExecutor(2)
    results = pool.map(abs, range(-5, 5))
    thread, processes = pool._pool.thread, [*pool._processes.values()]
    del pool
    gc.collect()
    thread.join(60)
    assert not thread.is_alive()
    assert [process.is_alive() for process in processes] == [False] * len(processes)
    assert [*results] == [5, 4, 3, 2, 1, 0, 1, 2, 3, 4]


def test_a_map_that_still_submits_keeps_its_executor():
    pool = shmring.ProcessPoolExecutor(1)
    results, thread = pool.map(abs, range(-20, 0), buffersize=2), pool._pool.thread
    del pool
    gc.collect()
    assert [*results] == [*range(20, 0, -1)]
    del results
    gc.collect()
    thread.join(60)
    assert not thread.is_alive()


def test_a_buffersize_that_is_no_number_is_a_type_error(pool):
    with pytest.raises(TypeError, match="buffersize must be an integer or None; it is 'x'"):
        pool.map(same, [1], buffersize="x")


def log_and_fail(queue):
    import logging
    import logging.handlers

    logger = logging.getLogger("concurrent.futures")
    logger.addHandler(logging.handlers.QueueHandler(queue))
    logger.propagate = False
    raise ValueError("error in initializer")


def test_what_a_failing_initializer_has_logged_is_there_when_the_pool_breaks():
    import multiprocessing

    for context in map(multiprocessing.get_context, multiprocessing.get_all_start_methods()):
        queue = context.Queue()
        with shmring.ProcessPoolExecutor(2, context, initializer=log_and_fail, initargs=(queue,)) as pool:
            with pytest.raises(BrokenProcessPool, match="initializer"):
                pool.submit(same, 1).result(60)
            assert "error in initializer" in queue.get_nowait().getMessage()
        queue.close()
        queue.join_thread()


def test_a_collector_that_fails_breaks_the_pool_and_ends(monkeypatch):
    pool = shmring.ProcessPoolExecutor(1)
    assert pool.submit(same, 1).result(60) == 1

    def fail(*_):
        raise OSError("on purpose")

    monkeypatch.setattr(pool._pool, "_deal_with", fail)
    with pytest.raises(BrokenProcessPool, match="its collector failed: OSError"):
        pool.submit(same, 2).result(60)
    pool.shutdown()


@needs_signals
@pytest.mark.timeout(method="thread")
@pytest.mark.parametrize("what", ["the collector", "a worker"])
def test_a_submit_that_is_interrupted_while_something_starts_leaves_a_pool_that_works(monkeypatch, what):
    others = {*threading.enumerate()}
    pool, interrupted, main = shmring.ProcessPoolExecutor(1), threading.Event(), threading.get_ident()

    def after(start):
        def started(self):
            start(self)
            if is_meant(self) and not interrupted.is_set():
                signal.pthread_kill(main, signal.SIGINT)
                interrupted.wait(60 if threading.get_ident() != main else 0)

        return started

    if what == "the collector":
        owner, is_meant = threading.Thread, lambda thread: thread.name == "shmring-collector"
    else:
        owner, is_meant = type(pool._mp_context.Process()), lambda _: True
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    monkeypatch.setattr(owner, "start", after(owner.start))
    with pytest.raises(KeyboardInterrupt):
        pool.submit(same, 1)
    interrupted.set()
    signal.signal(signal.SIGINT, before)
    with pytest.raises(shmring.WorkerDied):
        pool.submit(kill_myself).result(30)
    assert pool.submit(same, 2).result(30) == 2
    names = [thread.name for thread in {*threading.enumerate()} - others]
    assert (names.count("shmring-collector"), names.count("shmring-crew")) == (1, 1)
    pool.shutdown()


def test_a_crew_thread_that_fails_breaks_the_pool_and_ends(monkeypatch):
    pool = shmring.ProcessPoolExecutor(1)
    assert pool.submit(same, 1).result(60) == 1
    process = next(iter(pool._processes.values()))

    def fail(*_):
        raise KeyError(0)

    monkeypatch.setattr(pool._pool.crew, "_tell", fail)
    with pytest.raises(BrokenProcessPool, match="the watch over its workers failed: KeyError"):
        pool.submit(kill_myself).result(60)
    pool.shutdown()
    assert not process.is_alive()

"""The executor is concurrent.futures' own to whoever uses it, and takes what cannot be pickled elsewhere."""

import concurrent.futures
import functools
import gc
import multiprocessing
import os
import pathlib
import pickle
import subprocess
import sys
import textwrap
import time
import weakref

import multiprocess
import numpy
import pytest
from worker_jobs import (
    NeedsTwo,
    NeedsTwoOfSystem,
    RudeError,
    Unpicklable,
    Worded,
    both,
    double,
    fail,
    get_state,
    make_broken,
    make_unpicklable,
    pid_of,
    raise_carrier,
    raise_group,
    raise_needs_two,
    raise_of_system,
    raise_only_there,
    raise_rude,
    raise_worded,
    set_state,
    wait_for,
)

import shmring
from tests.ring.conftest import METHODS, needs_fork

FORK = multiprocessing.get_context("fork" if "fork" in METHODS else None)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("package", [multiprocessing, multiprocess], ids=["multiprocessing", "multiprocess"])
def test_every_start_method_of_both_packages_serves(package, method):
    with shmring.ProcessPoolExecutor(1, mp_context=package.get_context(method)) as pool:
        assert pool.submit(both, 1, second=2, third=3).result(60) == (1, 2, 3)


def test_it_is_an_executor(pool):
    assert isinstance(pool, concurrent.futures.Executor)
    futures = [pool.submit(double, number) for number in range(20)]
    assert {future.result() for future in concurrent.futures.as_completed(futures, 60)} == {*range(0, 40, 2)}


@pytest.mark.parametrize("options", [{}, {"chunksize": 7}, {"buffersize": 3}], ids=str)
def test_map_keeps_the_order(pool, options):
    assert list(pool.map(double, range(100), **options)) == [*range(0, 200, 2)]
    assert list(pool.map(both, range(3), "abc")) == [(0, "a", 0), (1, "b", 0), (2, "c", 0)]


def test_map_with_a_buffer_takes_no_more_of_an_endless_input(pool):
    taken = []
    endless = iter(lambda: taken.append(1) or len(taken), None)
    results = pool.map(double, endless, buffersize=5)
    assert [next(results) for _ in range(10)] == [*range(2, 22, 2)]
    assert len(taken) <= 16
    results.close()


def test_map_ends_with_its_timeout(pool, tmp_path):
    assert pool.submit(double, 1).result(60) == 2, "a worker has started"
    results = pool.map(wait_for, [str(tmp_path)] * 2 + [str(tmp_path / "never")], timeout=0.2)
    assert next(results) == next(results) == str(tmp_path)
    with pytest.raises(TimeoutError):
        next(results)
    (tmp_path / "never").touch()


@pytest.mark.parametrize("bad", [{"chunksize": 0}, {"buffersize": 0}])
def test_map_says_what_it_takes(pool, bad):
    with pytest.raises(ValueError, match=next(iter(bad))):
        pool.map(double, [1], **bad)


@pytest.mark.parametrize(
    ("bad", "error"),
    [
        ({"max_workers": 0}, "greater than 0"),
        ({"max_workers": 1000}, "<= 240"),
        ({"retries": -1}, "retries is -1"),
        ({"max_tasks_per_child": 0}, ">= 1"),
        pytest.param({"max_tasks_per_child": 1, "mp_context": FORK}, "incompatible", marks=needs_fork),
    ],
)
def test_an_argument_out_of_range_says_what_is_in_range(bad, error):
    with pytest.raises(ValueError, match=error):
        shmring.ProcessPoolExecutor(**bad)
    with pytest.raises(TypeError, match="callable"):
        shmring.ProcessPoolExecutor(initializer=3)
    with pytest.raises(TypeError, match="max_workers must be an integer; it is 'x'"):
        shmring.ProcessPoolExecutor("x")


def test_lambdas_closures_and_callables_of_all_kinds_are_called(pool):
    factor = 7

    def inner(value):
        return value * factor

    assert pool.submit(lambda: 42).result(60) == 42
    assert list(pool.map(inner, range(3))) == [0, 7, 14]
    assert pool.submit(functools.partial(both, 1), 2).result(60) == (1, 2, 0)
    assert pool.submit([3, 1, 2].count, 1).result(60) == 1
    assert pool.submit(lambda given: given(2), inner).result(60) == 14


def test_what_a_closure_refers_to_is_as_it_was_when_submitted(pool):
    value = 1

    def look():
        return value

    first = pool.submit(look).result(60)
    value = 2
    assert (first, pool.submit(look).result(60)) == (1, 2)


@pytest.mark.parametrize("count", [0, 10, 1000, 200_000, 3_000_000], ids=lambda count: f"{8 * count} bytes")
@pytest.mark.parametrize("leased", [False, True], ids=["copied", "leased"])
def test_arrays_come_back_whole_writable_and_ones_own(count, leased):
    array = numpy.arange(count, dtype="float64")
    with shmring.ProcessPoolExecutor(2, capacity="4 MiB", leased=leased) as pool:
        first, *rest = pool.map(double, [array] * 6)
        first += 1
        assert (first == 2 * array + 1).all()
        assert all((each == 2 * array).all() for each in rest)
    assert (rest[0] == 2 * array).all(), "an array outlives the pool"


def test_memory_that_is_still_looked_at_is_not_used_again(pool):
    arrays = [numpy.full(50_000, number) for number in range(60)]
    results = list(pool.map(double, arrays))
    assert [int(each.sum()) for each in results] == [100_000 * number for number in range(60)]


def test_an_exception_brings_its_remote_traceback(pool):
    with pytest.raises(ZeroDivisionError, match="on purpose") as caught:
        pool.submit(fail).result(60)
    assert 'raise ZeroDivisionError("on purpose")' in str(caught.value.__cause__)


def test_what_cannot_be_pickled_fails_alone(pool):
    with pytest.raises(pickle.PicklingError, match="not this one"):
        pool.submit(double, Unpicklable()).result(60)
    with pytest.raises(pickle.PicklingError, match="not this one"):
        pool.submit(make_unpicklable).result(60)
    with pytest.raises(pickle.PicklingError, match="carries a lock") as caught:
        pool.submit(raise_carrier).result(60)
    assert "raise Carrier" in str(caught.value.__cause__)
    assert pool.submit(double, 1).result(60) == 2


def test_an_exception_whose_constructor_takes_other_arguments_arrives_as_itself(pool):
    with pytest.raises(NeedsTwo) as caught:
        pool.submit(raise_needs_two).result(60)
    assert (str(caught.value), caught.value.args, caught.value.second) == ("1", (1,), 2)
    assert "raise NeedsTwo(1, 2)" in str(caught.value.__cause__)
    with pytest.raises(Worded) as worded:
        pool.submit(raise_worded).result(60)
    assert (str(worded.value), worded.value.code) == ("code 5", 5)
    with pytest.raises(ExceptionGroup) as group:
        pool.submit(raise_group).result(60)
    assert [type(each) for each in group.value.exceptions] == [ValueError, NeedsTwo]
    with pytest.raises(NeedsTwoOfSystem) as system:
        pool.submit(raise_of_system).result(60)
    assert (system.value.args, system.value.errno) == ((2, "gone"), 2)


def test_an_exception_that_cannot_be_made_here_is_stood_in_for_by_its_words(pool):
    with pytest.raises(pickle.UnpicklingError, match="OnlyThere: of the worker") as caught:
        pool.submit(raise_only_there).result(60)
    assert "No module named 'only_there'" in str(caught.value)
    assert "in raise_only_there" in str(caught.value.__cause__)
    with pytest.raises(RudeError) as rude:
        pool.submit(raise_rude).result(60)
    assert "RudeError" in str(rude.value.__cause__)


def test_a_result_that_cannot_be_unpickled_here_says_whose_it_was(pool):
    with pytest.raises(ValueError, match="zz") as caught:
        pool.submit(make_broken).result(60)
    assert "make_broken" in caught.value.__notes__[0]


def test_a_call_that_has_not_begun_can_be_cancelled(tmp_path):
    with shmring.ProcessPoolExecutor(1) as pool:
        held = pool.submit(wait_for, str(tmp_path / "go"))
        waiting = [pool.submit(double, 1) for _ in range(10)]
        assert waiting[-1].cancel()
        (tmp_path / "go").touch()
        assert held.result(60)
        assert waiting[0].result(60) == 2
        assert waiting[-1].cancelled()


@pytest.mark.parametrize("why", ["cancelled", "cannot be pickled"])
def test_what_comes_behind_many_calls_that_are_never_made_is_done(tmp_path, why):
    with shmring.ProcessPoolExecutor(1) as pool:
        held = pool.submit(wait_for, str(tmp_path / "go"))
        last_that_is_made = [pool.submit(double, 1) for _ in range(5)]
        if why == "cancelled":
            never = [pool.submit(double, 1) for _ in range(50)]
            assert [future.cancel() for future in never] == [True] * 50
        else:
            never = [pool.submit(double, Unpicklable()) for _ in range(50)]
        behind = pool.submit(double, 4)
        (tmp_path / "go").touch()
        assert held.result(60)
        assert [future.result(60) for future in last_that_is_made] == [2] * 5
        assert behind.result(60) == 8
        assert pool.submit(double, 5).result(60) == 10
        assert not concurrent.futures.wait(never, 60).not_done


def test_the_pool_goes_on_after_a_map_that_timed_out(pool):
    with pytest.raises(TimeoutError):
        list(pool.map(time.sleep, [0.05] * 30, timeout=0.01))
    assert pool.submit(double, 4).result(60) == 8


def test_shutdown_can_drop_what_has_not_begun(tmp_path):
    pool = shmring.ProcessPoolExecutor(1)
    futures = [pool.submit(wait_for, str(tmp_path / "go")) for _ in range(50)]
    pool.shutdown(wait=False, cancel_futures=True)
    (tmp_path / "go").touch()
    pool.shutdown()
    cancelled = [future.cancelled() for future in futures]
    assert not cancelled[0]
    assert sum(cancelled) >= 45
    assert all(future.done() for future in futures)
    with pytest.raises(RuntimeError, match="after shutdown"):
        pool.submit(double, 1)


def test_a_callback_may_shut_the_pool_down(pool):
    pool.submit(double, 1).add_done_callback(lambda _: pool.shutdown())
    pool.shutdown()


def test_a_collected_executor_finishes_its_work_and_leaves():
    pool = shmring.ProcessPoolExecutor(2)
    futures = [pool.submit(double, number) for number in range(100)]
    processes = [*pool._processes.values()]
    thread, gone = pool._pool.thread, weakref.ref(pool)
    del pool
    gc.collect()
    assert gone() is None
    assert [future.result(60) for future in futures] == [*range(0, 200, 2)]
    thread.join()
    assert [process.is_alive() for process in processes] == [False] * len(processes)


def test_an_unused_executor_leaves_nothing():
    shmring.ProcessPoolExecutor(2).shutdown()
    shmring.ProcessPoolExecutor(2)


def test_every_worker_is_initialized():
    with shmring.ProcessPoolExecutor(2, initializer=set_state, initargs=("set",)) as pool:
        assert {pool.submit(get_state).result(60) for _ in range(10)} == {"set"}


def test_a_failing_initializer_breaks_the_pool(capfd):
    with shmring.ProcessPoolExecutor(2, initializer=fail) as pool:
        future = pool.submit(double, 1)
        with pytest.raises(concurrent.futures.process.BrokenProcessPool, match="initializer") as caught:
            future.result(60)
        assert isinstance(caught.value.__cause__, ZeroDivisionError)
        with pytest.raises(concurrent.futures.process.BrokenProcessPool, match="initializer"):
            pool.submit(double, 1)
    capfd.readouterr()


def test_a_worker_leaves_after_its_share_of_tasks():
    with shmring.ProcessPoolExecutor(1, max_tasks_per_child=3) as pool:
        pids = [pool.submit(pid_of, 0).result(60) for _ in range(9)]
    assert len({*pids}) == 3
    assert all(pids.count(pid) == 3 for pid in pids)


AT_EXIT = """
    import shmring, sys

    def work(number):
        return number

    if __name__ == "__main__":
        pool = shmring.ProcessPoolExecutor(2)
        futures = [pool.submit(work, number) for number in range(500)]
        futures[-1].add_done_callback(lambda future: print(future.result(), flush=True))
"""


def test_work_that_is_pending_when_the_interpreter_ends_is_done(tmp_path):
    program = tmp_path / "program.py"
    program.write_text(textwrap.dedent(AT_EXIT))
    done = subprocess.run([sys.executable, program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "499\n", "")


def test_a_parent_full_of_threads_can_use_it():
    with shmring.ProcessPoolExecutor(2) as pool, concurrent.futures.ThreadPoolExecutor(8) as threads:
        futures = [threads.submit(lambda number: pool.submit(double, number).result(60), n) for n in range(200)]
        assert [future.result(60) for future in futures] == [*range(0, 400, 2)]


@pytest.mark.parametrize("when", ["before it is sent", "after it was sent"])
@pytest.mark.parametrize("count", [1, 100])
def test_a_submit_that_is_interrupted_leaves_nothing_to_wait_for(tmp_path, monkeypatch, when, count):
    pool = shmring.ProcessPoolExecutor(1)
    assert pool.submit(double, 1).result(60) == 2
    feed = pool._pool.feed

    def interrupted(tasks):
        if when == "after it was sent":
            type(feed).send(feed, tasks)
        raise KeyboardInterrupt

    for _ in range(count):
        with monkeypatch.context() as patch:
            patch.setattr(feed, "send", interrupted)
            with pytest.raises(KeyboardInterrupt):
                pool.submit(wait_for, str(tmp_path))
    assert [*pool.map(double, range(200))] == [*range(0, 400, 2)]
    pool.shutdown()
    assert not pool._pool.pending


IN_A_FORK = """
    import concurrent.futures, os, sys, threading, time
    import shmring
    from worker_jobs import same, wait_for

    def try_in_the_child(pool, future):
        for call in (
            lambda: pool.submit(same, 1).result(30),
            lambda: list(pool.map(same, [1])),
            lambda: future.result(30),
            lambda: next(concurrent.futures.as_completed([future], 30)).result(),
            pool.kill_workers,
        ):
            try:
                call()
            except RuntimeError as error:
                print(type(error).__name__, f"that of process {os.getppid()}" in str(error), flush=True)
        pool.shutdown()

    if __name__ == "__main__":
        pool = shmring.ProcessPoolExecutor(2)
        pool.submit(same, 0).result()
        future = pool.submit(wait_for, sys.argv[1])
        future.add_done_callback(lambda _: print("called back", flush=True))
        pool._pool.lock.acquire()  # as another thread of this process may hold it
        future._condition.acquire()
        if os.fork() == 0:
            try_in_the_child(pool, future)
            sys.exit(3)
        future._condition.release()
        pool._pool.lock.release()
        print(os.waitstatus_to_exitcode(os.wait()[1]), flush=True)
        open(sys.argv[1], "w").close()
        print(future.result(30) == sys.argv[1], pool.submit(same, 5).result(30))
"""


@needs_fork
def test_a_forked_childs_use_of_its_parents_executor_is_a_clear_error_and_harms_nobody(tmp_path):
    program = tmp_path / "program.py"
    program.write_text(textwrap.dedent(IN_A_FORK))
    command = [sys.executable, program, tmp_path / "go"]
    env = {**os.environ, "PYTHONPATH": str(pathlib.Path(__file__).parent)}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=env)
    assert done.stderr == ""
    assert done.stdout.splitlines() == ["RuntimeError True"] * 5 + ["3", "called back", "True 5"]


def test_progress_is_shown_on_request(pool, capsys):
    assert list(pool.map(double, range(10), progress="doubling")) == [*range(0, 20, 2)]
    assert "doubling" in capsys.readouterr().err

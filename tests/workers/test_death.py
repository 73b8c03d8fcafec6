"""A worker that dies takes nothing but its own task with it."""

import concurrent.futures
import contextlib
import os
import random
import select
import signal
import subprocess
import sys
import threading

import numpy
import pytest
from multiprocess import connection
from worker_jobs import (
    KILL,
    DiesInPickle,
    crash,
    die_the_first_time,
    doubled_array,
    fork_and_die,
    ignore_sigterm,
    kill_myself,
    leave,
    pause,
    pause_the_first_time,
    same,
    spin,
)

import shmring
from shmring.workers import parcels
from tests.ring.conftest import needs_fork, needs_signals

WINDOWS = sys.platform == "win32"


@pytest.mark.parametrize(
    ("death", "words", "code"),
    [
        (leave, "exit code 3", 3),
        (kill_myself, *((f"exit code {KILL}", KILL) if WINDOWS else ("SIGKILL", -KILL))),
        pytest.param(crash, "SIGSEGV", -signal.SIGSEGV, marks=needs_signals),
    ],
)
def test_only_the_dead_workers_task_fails(pool, death, words, code):
    before = [pool.submit(same, number) for number in range(50)]
    deadly = pool.submit(death)
    after = [pool.submit(same, number) for number in range(50)]
    with pytest.raises(shmring.WorkerDied, match=words) as caught:
        deadly.result(60)
    assert isinstance(caught.value, concurrent.futures.process.BrokenProcessPool)
    assert caught.value.exitcode == code
    assert caught.value.pid
    assert [future.result(60) for future in before + after] == [*range(50)] * 2
    assert pool.submit(same, 1).result(60) == 1


def test_a_task_that_kills_as_it_is_unpickled_fails_alone(pool):
    with pytest.raises(shmring.WorkerDied):
        pool.submit(same, DiesInPickle()).result(60)
    assert pool.submit(same, 1).result(60) == 1


def test_all_workers_may_die_at_once(pool):
    results = pool.map(same, range(10))
    deadly = [pool.submit(leave) for _ in range(20)]
    assert list(results) == [*range(10)]
    assert {type(future.exception(60)) for future in deadly} == {shmring.WorkerDied}
    assert pool.submit(same, 1).result(60) == 1


def test_with_retries_a_task_is_run_again_elsewhere(tmp_path):
    with shmring.ProcessPoolExecutor(2, retries=1) as pool:
        assert pool.submit(die_the_first_time, str(tmp_path / "been here")).result(60) == "the second time"
        with pytest.raises(shmring.WorkerDied, match="begun 2 times"):
            pool.submit(leave).result(60)


def test_an_initializer_that_always_dies_breaks_the_pool():
    with shmring.ProcessPoolExecutor(2, initializer=leave) as pool:
        error = pool.submit(same, 1).exception(60)
    assert isinstance(error, concurrent.futures.process.BrokenProcessPool)
    assert "one worker after the other ended while it started; the last one left with exit code 3" in str(error)


def test_killed_workers_break_the_pool_on_request(pool):
    futures = [pool.submit(pause) for _ in range(5)]
    pool.kill_workers()
    assert {type(future.exception(60)) for future in futures} == {concurrent.futures.process.BrokenProcessPool}
    with pytest.raises(concurrent.futures.process.BrokenProcessPool, match="kill_workers"):
        pool.submit(same, 1)


@needs_signals
def test_a_worker_that_does_not_mind_sigterm_ends_too():
    with shmring.ProcessPoolExecutor(1, initializer=ignore_sigterm) as pool:
        pool.submit(same, 1).result(60)
        future = pool.submit(pause)
        pool.terminate_workers()
        assert future.exception(60)


@needs_fork
def test_a_death_is_noticed_though_a_child_of_the_worker_lives_on(tmp_path):
    with shmring.ProcessPoolExecutor(1) as pool:
        group = pool.submit(os.setpgid, 0, 0)
        group.result(60)
        pid = next(iter(pool._processes))
        with pytest.raises(shmring.WorkerDied, match="exit code 7"):
            pool.submit(fork_and_die).result(60)
        os.killpg(pid, signal.SIGKILL)


KILLED_AS_IT_HIRES = """
import os, signal, shmring
if __name__ == "__main__":
    executor = shmring.ProcessPoolExecutor(1)
    executor._pool.crew.hire(1)
    print(executor._pool.crew.members[0].pid, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""


@needs_fork
def test_a_worker_that_starts_after_its_pools_process_was_killed_ends(tmp_path):
    program = tmp_path / "program.py"
    program.write_text(KILLED_AS_IT_HIRES)
    process = subprocess.Popen([sys.executable, str(program)], stdout=subprocess.PIPE, text=True)
    worker = os.pidfd_open(int(process.stdout.readline()))
    with process:
        assert process.wait(60) == -signal.SIGKILL
    try:
        select.select([worker], [], [])
    finally:
        os.close(worker)


def test_a_record_that_comes_again_is_counted_once(pool):
    """Whoever takes a record that was delivered before reports it; the pool sends its task anew, once."""
    assert pool.submit(same, 1).result(60) == 1
    inner = pool._pool
    future = pool.submit(same, 2)
    assert future.result(60) == 2
    before = inner.feed.in_flight
    inner.results.put(parcels.Packed(2 * 65536, parcels.RETURNED))  # of a task that is done
    inner.results.put(parcels.Packed(2 * 65536 + 5, parcels.DONE))  # of an attempt that never was
    assert pool.submit(same, 3).result(60) == 3
    assert inner.feed.in_flight == before


def test_a_large_result_that_goes_with_its_worker_is_done_again(tmp_path):
    """It lies in the worker's memory until it is opened here, and by then the worker may be at another task."""
    there, release, held = str(tmp_path / "there"), threading.Event(), threading.Event()
    with shmring.ProcessPoolExecutor(1, retries=1, capacity="1 MiB") as pool:
        pool.submit(same, 0).add_done_callback(lambda _: (held.set(), release.wait()))  # the collector waits
        assert held.wait(60)
        large = pool.submit(bytes, 10_000_000)
        next_one = pool.submit(pause_the_first_time, there)
        while not os.path.exists(there):
            continue
        [process] = pool._processes.values()
        process.kill()
        connection.wait([process.sentinel])
        release.set()
        assert large.result(60) == bytes(10_000_000)
        assert next_one.result(60) == "the second time"


@pytest.mark.slow
@pytest.mark.skipif(WINDOWS, reason="about kills quicker than workers start where they are spawned")
@pytest.mark.parametrize("retries", [0, 1000])
def test_kills_every_tenth_of_a_second_lose_nothing(retries):
    stop, kills = threading.Event(), []
    with shmring.ProcessPoolExecutor(2, retries=retries) as pool:

        def kill_one():
            while not stop.wait(0.1):
                for pid in random.sample([*pool._processes], min(1, len(pool._processes))):
                    try:
                        os.kill(pid, KILL)
                        kills.append(pid)
                    except OSError:  # it has ended
                        continue

        pool.submit(same, 0).result(60)
        killer = threading.Thread(target=kill_one)
        killer.start()
        futures = [pool.submit(spin, number) for number in range(10_000)]
        errors = [future.exception(100) for future in futures]
        stop.set()
        killer.join()
    died = [error for error in errors if error]
    assert {type(error) for error in died} <= {shmring.WorkerDied}
    assert all(error or future.result() == n for n, (error, future) in enumerate(zip(errors, futures, strict=True)))
    assert kills
    assert len(died) <= (0 if retries else len(kills))


@pytest.mark.slow
@pytest.mark.parametrize("leased", [False, True], ids=["copied", "leased"])
def test_kills_among_arrays_of_all_sizes_lose_nothing(leased):
    arrays = [numpy.full(random.choice([10, 1000, 100_000, 400_000]), number) for number in range(600)]
    with shmring.ProcessPoolExecutor(2, retries=1000, capacity="4 MiB", leased=leased) as pool:
        for number, result in enumerate(pool.map(doubled_array, arrays, buffersize=20)):
            assert result.shape == arrays[number].shape
            assert (result == 2 * number).all()
            if number % 30 == 0:
                for pid in random.sample([*pool._processes], min(1, len(pool._processes))):
                    with contextlib.suppress(OSError):
                        os.kill(pid, KILL)

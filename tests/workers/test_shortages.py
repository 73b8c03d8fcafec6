"""What a process lacks fails one future, in words; the pool goes on. And what a pool keeps is bounded."""

import errno
import gc
import importlib
import os
import weakref

import numpy
import pytest
from worker_jobs import later, same

import shmring
from shmring.workers import asides, pickles
from tests.ring.conftest import needs_fork

resource = pytest.importorskip("resource", reason="about POSIX resource limits")
pytestmark = needs_fork


@pytest.mark.parametrize("options", [{"leased": True}, {"capacity": "16 KiB"}], ids=str)
def test_large_results_that_are_kept_take_no_descriptor(options):
    with shmring.ProcessPoolExecutor(1, **options) as pool:
        pool.submit(same, 1).result(60)
        before = len(os.listdir("/proc/self/fd"))
        kept = [*pool.map(numpy.full, [1000] * 100, range(100))]
        assert len(os.listdir("/proc/self/fd")) <= before + 2
    assert all((array == number).all() for number, array in enumerate(kept))
    kept[0][:] = 5
    assert kept[0].sum() == 5000


@pytest.fixture
def few_files():
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    yield lambda number: resource.setrlimit(resource.RLIMIT_NOFILE, (number, limits[1]))
    resource.setrlimit(resource.RLIMIT_NOFILE, limits)


def test_a_moment_without_descriptors_fails_one_large_result_at_most(few_files):
    with shmring.ProcessPoolExecutor(1) as pool:
        pool.submit(same, 1).result(60)
        large, small = pool.submit(later, 9_000_000), pool.submit(later, 3)
        few_files(3)
        with pytest.raises(OSError, match="no file descriptor is left"):
            large.result(60)
        assert small.result(60) == bytes(3)
        few_files(resource.getrlimit(resource.RLIMIT_NOFILE)[1])
        assert len(pool.submit(bytes, 9_000_000).result(60)) == 9_000_000


REFUSALS = [OSError(errno.ENOMEM, "no memory"), MemoryError("none"), PermissionError("of a worker that hides itself")]


@pytest.mark.parametrize("error", REFUSALS, ids=lambda error: type(error).__name__)
def test_memory_that_cannot_be_had_fails_one_large_result(monkeypatch, error):
    def refuse(_):
        raise error

    with shmring.ProcessPoolExecutor(1) as pool:
        pool.submit(same, 1).result(60)
        with monkeypatch.context() as patch:
            patch.setattr(asides, "taken", refuse)
            assert pool.submit(bytes, 9_000_000).exception(60) is error
        assert len(pool.submit(bytes, 9_000_000).result(60)) == 9_000_000


def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize() >> 20


def test_a_closures_data_is_gone_when_its_task_is_done():
    with shmring.ProcessPoolExecutor(1) as pool:
        assert pool.submit(lambda: 1).result(60) == 1
        before = pool.submit(resident).result(60)
        for number in range(20):
            data = numpy.full(1_250_000, float(number))  # 10 MB
            assert pool.submit(lambda data=data: data.sum()).result(60) == number * 1_250_000
        assert pool.submit(resident).result(60) < before + 60


def test_a_function_and_its_arguments_are_not_kept_here(pool):
    def function(argument):
        return 1

    class Argument:
        pass

    argument = Argument()
    gone = [weakref.ref(function), weakref.ref(argument)]
    assert pool.submit(function, argument).result(60) == 1
    del function, argument
    pool.submit(same, 1).result(60)
    gc.collect()
    assert [each() for each in gone] == [None, None]


def test_a_method_of_a_built_in_object_is_sent_as_it_is_now(pool):
    table = {"a": 1}
    get = table.get
    assert pool.submit(get, "a").result(60) == 1
    table["a"] = 2
    assert pool.submit(get, "a").result(60) == 2
    assert [*pool.map(get, "a")] == [2]
    pipeline = shmring.Pipeline().source(["a"]).stage(get)
    assert pipeline.run() == [2]
    table["a"] = 3
    assert pipeline.run() == [3]


def test_a_function_that_its_module_has_replaced_is_sent_as_itself(pool, monkeypatch):
    import worker_jobs

    before = worker_jobs.double
    assert pool.submit(before, 2).result(60) == 4
    monkeypatch.setattr(worker_jobs, "double", lambda value: value * 5)
    assert pool.submit(before, 2).result(60) == 4
    assert pool.submit(worker_jobs.double, 2).result(60) == 10


def test_a_reducer_that_replaces_another_counts_at_once():
    import copyreg

    before = pickles._reducers("multiprocessing")[1][complex]
    try:
        copyreg.pickle(complex, lambda number: (complex, (0, 0)))
        assert pickles._reducers("multiprocessing")[1][complex] is not before
    finally:
        copyreg.pickle(complex, before)


def test_a_handle_in_a_closures_arguments_is_counted_once(pool):
    ring = shmring.Ring.create(capacity="64 KiB")
    with ring:
        assert pool.submit(lambda ring: ring.put(b"here"), ring).result(60) is None
        assert ring.get(10) == b"here"
    name = ring.name
    del ring
    assert name is None


@pytest.mark.parametrize("package", ["multiprocessing", "multiprocess"])
def test_forks_that_fail_leave_no_descriptor(monkeypatch, package):
    """multiprocessing leaves four of each, and a pool tries many times."""
    context = importlib.import_module(package).get_context("fork")
    tries, fork = [], os.fork

    def refuse():
        tries.append(len(os.listdir("/proc/self/fd")))
        if len(tries) < 10:
            raise BlockingIOError(errno.EAGAIN, "no process can be made")
        return fork()

    with shmring.ProcessPoolExecutor(1, context) as pool:
        pool.submit(same, 1).result(60)
        monkeypatch.setattr(os, "fork", refuse)
        dies, goes_on = pool.submit(os._exit, 3), pool.submit(same, 5)
        assert isinstance(dies.exception(60), shmring.WorkerDied)
        assert goes_on.result(60) == 5
    assert len(tries) == 10
    assert len({*tries}) == 1

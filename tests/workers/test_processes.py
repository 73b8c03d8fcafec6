"""Workers are processes of multiprocessing: whatever the standard library keeps in a process is theirs as well."""

import gc
import logging
import multiprocessing
import os
import subprocess
import sys
import textwrap
from multiprocessing import reduction, resource_sharer, shared_memory, util

import pytest
from worker_jobs import same

import shmring
from tests.ring.conftest import METHODS, needs_fork

CONTEXTS = [multiprocessing.get_context(method) for method in METHODS]
by_each_method = pytest.mark.parametrize("context", CONTEXTS, ids=METHODS)


def who():
    process = multiprocessing.current_process()
    record = logging.LogRecord("x", 20, "", 0, "", (), None)
    return process.name, multiprocessing.parent_process() is not None, record.processName


@by_each_method
def test_a_worker_has_a_name_of_its_own_and_a_parent(context):
    with shmring.ProcessPoolExecutor(1, context) as pool:
        name, has_parent, logged = pool.submit(who).result(60)
    assert name == logged != "MainProcess"
    assert has_parent


def write(name):
    memory = shared_memory.SharedMemory(name=name)
    memory.buf[0] = 7
    memory.close()


@by_each_method
def test_the_callers_shared_memory_is_there_when_the_pool_has_gone(context):
    memory = shared_memory.SharedMemory(create=True, size=4096)
    try:
        with shmring.ProcessPoolExecutor(1, context) as pool:
            pool.submit(write, memory.name).result(60)
        again = shared_memory.SharedMemory(name=memory.name)
        assert again.buf[0] == 7
        again.close()
    finally:
        memory.close()
        memory.unlink()


def store(table, key):
    table[key] = key * 2
    return table[key]


def hold(lock):
    with lock:
        return 1


@by_each_method
def test_a_managers_proxies_are_used_in_tasks(context):
    with multiprocessing.Manager() as manager, shmring.ProcessPoolExecutor(1, context) as pool:
        table = manager.dict()
        assert pool.submit(store, table, 3).result(60) == 6
        assert dict(table) == {3: 6}
        assert pool.submit(hold, manager.Lock()).result(60) == 1


def begin(lock, counter, done):
    with lock:
        counter.value += 1
    done.set()


@by_each_method
def test_locks_values_and_events_go_to_the_initializer(context):
    lock, counter, done = context.Lock(), context.Value("i", 0), context.Event()
    with shmring.ProcessPoolExecutor(1, context, initializer=begin, initargs=(lock, counter, done)) as pool:
        assert pool.submit(same, 1).result(60) == 1
    assert (counter.value, done.is_set()) == (1, True)


def nap():
    import time

    time.sleep(100)


def leave_things(path):
    child = multiprocessing.get_context("fork").Process(target=nap, daemon=True)
    child.start()
    util.Finalize(None, open, args=(path, "w"), exitpriority=5)
    return child.pid, util.get_temp_dir()


@needs_fork
@by_each_method
def test_a_workers_end_ends_its_daemons_runs_its_finalizers_and_removes_its_folder(context, tmp_path):
    with shmring.ProcessPoolExecutor(1, context) as pool:
        pid, folder = pool.submit(leave_things, str(tmp_path / "finalized")).result(60)
    assert (tmp_path / "finalized").exists()
    assert not os.path.exists(f"/proc/{pid}")
    if folder != util.get_temp_dir():  # else the worker had its parent's
        assert not os.path.exists(folder)


@by_each_method
def test_workers_have_the_environment_of_the_moment_when_they_start(context, monkeypatch):
    monkeypatch.setenv("SHMRING_GONE", "early")
    with shmring.ProcessPoolExecutor(1, context) as pool:
        assert pool.submit(os.getenv, "SHMRING_GONE").result(60) == "early"
    monkeypatch.setenv("SHMRING_LATE", "late")
    monkeypatch.delenv("SHMRING_GONE")
    with shmring.ProcessPoolExecutor(1, context) as pool:
        assert pool.submit(os.getenv, "SHMRING_LATE").result(60) == "late"
        assert pool.submit(os.getenv, "SHMRING_GONE").result(60) is None


class Handle:
    def __init__(self, number):
        self.number = number

    def __reduce__(self):
        raise TypeError("use the registered reducer")


def file_of(thing):
    return os.readlink(f"/proc/self/fd/{thing.fileno()}")


def number_of(handle):
    return handle.number


@needs_fork
@by_each_method
def test_connections_sockets_and_registered_types_travel_as_multiprocessing_sends_them(context, monkeypatch):
    import socket

    reducers = reduction.ForkingPickler._extra_reducers
    monkeypatch.setitem(reducers, Handle, lambda handle: (Handle, (handle.number + 1,)))
    ends = [*multiprocessing.Pipe(), *socket.socketpair()]
    with shmring.ProcessPoolExecutor(1, context) as pool:
        for end in ends:
            assert pool.submit(file_of, end).result(60) == file_of(end)
        assert pool.submit(number_of, Handle(3)).result(60) == 4
        monkeypatch.setitem(reducers, Handle, lambda handle: (Handle, (handle.number + 2,)))
        assert pool.submit(number_of, Handle(3)).result(60) == 5
    for end in ends:
        end.close()
    resource_sharer.stop(10)
    gc.collect()


def test_a_program_that_chose_to_spawn_is_spawned(tmp_path):
    program = """
        import multiprocessing, shmring

        def method():
            return multiprocessing.get_start_method()

        if __name__ == "__main__":
            multiprocessing.set_start_method("spawn")
            with shmring.ProcessPoolExecutor(1) as pool:
                print(pool._mp_context.get_start_method())
    """
    assert run_program(tmp_path, program) == "spawn\n"


def run_program(tmp_path, text, *options):
    program = tmp_path / "program.py"
    program.write_text(textwrap.dedent(text))
    done = subprocess.run([sys.executable, *options, program], capture_output=True, text=True, check=False, timeout=100)
    assert done.returncode == 0, done.stderr
    return done.stdout


SCRIPT = """
    import shmring

    class Point:
        pass

    def is_point(x):
        return isinstance(x, Point)

    if __name__ == "__main__":
        with shmring.ProcessPoolExecutor(1) as pool:
            print(pool.submit(is_point, Point()).result(30))
"""


@pytest.mark.parametrize(
    "options",
    [("-m", "pdb", "-c", "continue", "-c", "quit"), ("-m", "cProfile", "-o", os.devnull)],
    ids=["pdb", "cProfile"],
)
def test_a_program_under_a_debugger_or_a_profiler_has_its_classes(tmp_path, options):
    assert "True" in run_program(tmp_path, SCRIPT, *options)


NESTED = """
    import multiprocessing, sys
    import shmring

    KEPT = []

    def child():
        KEPT.append(shmring.ProcessPoolExecutor(1))
        assert KEPT[0].submit(pow, 2, 5).result() == 32

    if __name__ == "__main__":
        for method in sys.argv[1:] or multiprocessing.get_all_start_methods():
            process = multiprocessing.get_context(method).Process(target=child)
            process.start()
            process.join(60)
            print(process.exitcode)
            process.kill()
"""


def test_a_child_that_leaves_its_pool_open_ends(tmp_path):
    assert run_program(tmp_path, NESTED) == len(METHODS) * "0\n"


FORKED = """
    import multiprocessing, os, sys
    import shmring

    def use():
        with shmring.ProcessPoolExecutor(1) as pool:
            print(pool.submit(abs, -3).result(30), pool._mp_context.get_start_method(), flush=True)

    if __name__ == "__main__":
        use()
        process = multiprocessing.get_context("fork").Process(target=use)
        process.start()
        process.join(60)
        if os.fork() == 0:
            use()
            sys.exit(4)
        print(process.exitcode, os.waitstatus_to_exitcode(os.wait()[1]), flush=True)
        use()
"""


@needs_fork
@pytest.mark.skipif(not hasattr(os, "waitid"), reason="it is not asked here whose child a process is")
def test_a_forked_child_of_a_program_that_has_used_a_pool_has_one_of_its_own(tmp_path):
    lines = ["3 forkserver", "3 spawn", "3 spawn", "0 4", "3 forkserver"]
    assert run_program(tmp_path, FORKED).splitlines() == lines


def test_under_gevent_it_is_refused_in_words(tmp_path):
    pytest.importorskip("gevent")
    program = """
        import gevent.monkey
        gevent.monkey.patch_all()
        import shmring
        try:
            shmring.ProcessPoolExecutor(1)
        except RuntimeError as error:
            print(error)
    """
    assert "gevent.monkey.patch_all(thread=False)" in run_program(tmp_path, program)


ADDED = """
    import multiprocessing, multiprocessing.context, sys
    import shmring

    class Added(multiprocessing.context.SpawnContext):
        _name = "added"

    if __name__ == "__main__":
        multiprocessing.context._concrete_contexts["added"] = Added()
        multiprocessing.set_start_method("added")
        for context in (None, multiprocessing.get_context("spawn")):
            with shmring.ProcessPoolExecutor(1, context) as pool:
                print(pool.submit(abs, -3).result(60), multiprocessing.get_start_method(), flush=True)
"""


def test_a_start_method_that_a_library_has_added_is_no_hindrance(tmp_path):
    """As in a worker of loky, and so of joblib."""
    assert run_program(tmp_path, ADDED).splitlines() == ["3 added", "3 added"]

"""A queue goes to other processes: under every start method, in a pickle, and by name."""

import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy
import pytest

import shmring
from tests.conftest import file_of
from tests.ring.conftest import METHODS, kill_myself, outlives_its_processes

PROGRAM = """
import {package} as package
import numpy, shmring

def fill(queue, count):
    for number in range(count):
        queue.put((number, numpy.arange(number)))

def pass_on(tasks, results):
    while (task := tasks.get()) is not None:
        results.put(task * 2)
        tasks.task_done()
    tasks.task_done()

def one_child(context):
    with shmring.Queue(capacity="64 KiB") as queue:
        process = context.Process(target=fill, args=(queue, 300))
        process.start()
        assert [queue.get(timeout=60)[0] for _ in range(300)] == [*range(300)]
        process.join()
        assert process.exitcode == 0

def several_kinds(context):
    with shmring.JoinableQueue() as tasks, shmring.SimpleQueue() as results:
        workers = [context.Process(target=pass_on, args=(tasks, results)) for _ in range(2)]
        for worker in workers:
            worker.start()
        tasks.put_many([*range(20), None, None])
        tasks.join()
        for worker in workers:
            worker.join()
        assert sorted(results.get() for _ in range(20)) == [2 * number for number in range(20)]

def started_late(context):
    with shmring.Queue(capacity="64 KiB") as queue:
        fill(queue, 200)
        for _ in range(150):
            queue.get()
        process = context.Process(target=fill, args=(queue, 3))
        process.start()
        process.join()
        assert [queue.get()[0] for _ in range(53)] == [*range(150, 200), 0, 1, 2]

if __name__ == "__main__":
    context = package.get_context({method!r})
    one_child(context)
    several_kinds(context)
    started_late(context)
    print("fine")
"""


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("package", ["multiprocessing", "multiprocess"])
def test_a_queue_goes_to_children_as_an_argument(package: str, method: str, tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(PROGRAM.format(package=package, method=method))
    done = subprocess.run([sys.executable, program], capture_output=True, text=True)
    assert (done.stdout, done.returncode) == ("fine\n", 0), done.stderr


def fill(queue: shmring.Queue, count: int) -> None:
    for number in range(count):
        queue.put((number, numpy.arange(number)))


def test_a_child_goes_on_after_its_parent_has_closed(start, gate) -> None:
    def get_later(queue: shmring.Queue, ready: shmring.Queue) -> list[int]:
        ready.put("here")
        gate.wait()  # until the parent has closed
        return [queue.get()[0] for _ in range(100)]

    queue = shmring.Queue(capacity="64 KiB")
    fill(queue, 100)
    with shmring.Queue() as ready:
        child = start(get_later, queue, ready)
        ready.get()
    queue.close()
    gate.open()
    assert child.result() == [*range(100)]


def test_a_queue_goes_through_a_queue_and_a_pickle(queue) -> None:
    with shmring.Queue() as other:
        queue.put(other)
        copy = queue.get()
        copy.put("through both")
        assert other.get() == "through both"
        copy.close()
        with pickle.loads(pickle.dumps(other)) as copy:
            copy.put(1)
        assert other.get() == 1
    with pytest.raises(shmring.Closed):
        pickle.dumps(other)


PUTS_BY_NAME = "import shmring, sys\nwith shmring.Queue(name=sys.argv[1]) as queue: queue.put(['by', 'name'])"


def test_unrelated_programs_meet_by_name(name) -> None:
    with shmring.Queue(name=name, maxsize=5) as queue:
        subprocess.run([sys.executable, "-c", PUTS_BY_NAME, name], check=True)
        assert queue.get() == ["by", "name"]
        with pytest.raises(shmring.LayoutMismatch, match="maxsize 5, not 6"):
            shmring.Queue(6, name=name)
        with pytest.raises(shmring.LayoutMismatch, match=r"shmring\.Queue\(name="):
            shmring.Ring.attach(name)
        with pickle.loads(pickle.dumps(queue)) as copy:
            assert copy.name == name
    assert not file_of(name).exists()


def test_a_named_queue_stays_while_it_holds_messages(name) -> None:
    with shmring.Queue(name=name, capacity="64 KiB") as queue:
        fill(queue, 200)
        for _ in range(100):
            queue.get()
    with shmring.Queue(name=name) as queue:
        assert [queue.get()[0] for _ in range(100)] == [*range(100, 200)]
    assert not file_of(name).exists()


def test_a_ring_of_that_name_is_no_queue(name) -> None:
    with shmring.Ring.create(name), pytest.raises(shmring.LayoutMismatch, match="no queue"):
        shmring.Queue(name=name)


@outlives_its_processes
def test_nothing_is_left_of_a_queue_whose_processes_were_killed(start) -> None:
    def fill_and_die() -> None:
        mine = shmring.Queue(capacity="64 KiB")
        fill(mine, 300)
        kill_myself()

    before = {*os.listdir("/dev/shm")}
    start(fill_and_die).abandon()
    assert not [entry for entry in {*os.listdir("/dev/shm")} - before if "queue" in entry]


@pytest.mark.parametrize(
    ("there", "asked"), [("Queue", "JoinableQueue"), ("SimpleQueue", "JoinableQueue"), ("JoinableQueue", "Queue")]
)
def test_a_queue_that_counts_tasks_and_one_that_does_not_are_no_match(name, there, asked) -> None:
    with getattr(shmring, there)(name=name):
        with pytest.raises(
            shmring.LayoutMismatch, match=rf"{name}.* is a .*Queue.*, and not a {asked}.*name=.*another"
        ):
            getattr(shmring, asked)(name=name)
        getattr(shmring, there)(name=name).close()
    with shmring.Queue(name=name) as queue, shmring.SimpleQueue(name=name) as simple:
        queue.put(1)
        assert simple.get() == 1

"""Pools of every kind, one after the other, beside kills, stops, forks and shortage: soak.py SECONDS [SEED].

Each future ends, and is right, or says that its worker died or what the system refused; nothing is left behind.
Prints a line of JSON with what came how often.
"""

import collections
import contextlib
import gc
import json
import multiprocessing
import os
import random
import resource
import signal
import sys
import threading
import time
from concurrent.futures import BrokenExecutor, CancelledError
from pathlib import Path

sys.path.append(str(Path(__file__).parent))

import numpy
from worker_jobs import doubled_array, spin

import shmring

PATIENCE = 60
FILES, MEMORY = resource.RLIMIT_NOFILE, resource.RLIMIT_AS
REFUSED = (OSError, MemoryError)
TASKS_AT_ONCE = 40


def begin():
    """What a worker imports later may meet a shortage, and then be no want that the system has told of."""
    numpy.ones(1000).sum()
    import cloudpickle  # noqa: F401

    import shmring.workers.by_value  # noqa: F401


def fail(number):
    """A task's own error."""
    raise LookupError(number)


def leave(_):
    """A death that nobody else causes."""
    os._exit(3)


class Disturber(threading.Thread):
    """Does something to a worker, or to this process, ten times a second."""

    def __init__(self, pool, rng, ends):
        super().__init__(daemon=True)
        self.pool, self.rng, self.ends = pool, rng, ends
        self.stopped = threading.Event()
        self.children = []

    def run(self):
        limits = resource.getrlimit(FILES)
        while not self.stopped.wait(0.1):
            what = self.rng.choice(
                [self.kill, self.stop, self.fork, self.no_files, self.no_files_there, self.no_memory]
            )
            with contextlib.suppress(ProcessLookupError, FileNotFoundError, IndexError):  # it has ended
                what()
                self.ends[what.__name__] += 1
        resource.setrlimit(FILES, limits)
        for child in self.children:
            os.waitpid(child, 0)

    def worker(self, is_ready=False):
        members = [*self.pool._pool.crew.members.values()]
        return self.rng.choice([member.pid for member in members if member.ready or not is_ready])

    def kill(self):
        """Seldom one that is starting: a pool whose workers are all killed as they start gives up after fifty."""
        os.kill(self.worker(is_ready=self.rng.random() < 0.8), self.rng.choice([signal.SIGKILL, signal.SIGSEGV]))

    def stop(self):
        pid = self.worker()
        os.kill(pid, signal.SIGSTOP)
        time.sleep(0.05)
        os.kill(pid, signal.SIGCONT)

    def fork(self):
        """A child holds what it inherits for a while."""
        child = os.fork()
        if not child:
            time.sleep(self.rng.choice([0, 0.3]))
            os._exit(0)
        self.children.append(child)

    def no_files(self):
        """This process may open none."""
        limits = resource.getrlimit(FILES)
        resource.setrlimit(FILES, (3, limits[1]))
        time.sleep(0.01)
        resource.setrlimit(FILES, limits)

    def no_files_there(self):
        self.limited(self.worker(is_ready=True), FILES, 3)

    def no_memory(self):
        """A worker has what it has, and no more."""
        pid = self.worker(is_ready=True)
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[0])
        self.limited(pid, MEMORY, pages * resource.getpagesize())

    def limited(self, pid, what, limit):
        with contextlib.suppress(ProcessLookupError):
            limits = resource.prlimit(pid, what)
            resource.prlimit(pid, what, (limit, limits[1]))
            time.sleep(0.03)
            resource.prlimit(pid, what, limits)


def task(rng, number):
    """What to call, and what is to come of it: a value, or the class of an error."""
    array = numpy.full(rng.choice([10, 1000, 100_000, 400_000]), number)
    return rng.choice(
        [
            ((spin, number), number),
            ((spin, number), number),
            ((lambda: number + 1,), number + 1),
            ((doubled_array, array), 2 * array),
            ((doubled_array, array), 2 * array),
            ((fail, number), LookupError),
            ((leave, number), shmring.WorkerDied),
        ]
    )


def submit_some(pool, rng, ends, wrong):
    """Submit tasks and look at what comes of them."""
    calls = []
    for number in range(TASKS_AT_ONCE):
        call, expected = task(rng, number)
        try:
            future = pool.submit(*call)
        except REFUSED:
            ends["submit refused"] += 1
        else:
            calls.append((expected, future))
            if rng.random() < 0.05 and future.cancel():
                ends["cancelled"] += 1
    for expected, future in calls:
        try:
            error = future.exception(PATIENCE)
        except CancelledError:
            continue
        ends[judged(expected, future, error, wrong)] += 1


def judged(expected, future, error, wrong):
    """How it ended, in a word; what must not be is noted."""
    if isinstance(expected, type):
        fits = isinstance(error, expected)
    else:
        fits = (
            error is None and type(future.result()) is type(expected) and numpy.array_equal(future.result(), expected)
        )
    if fits:
        return "right"
    if isinstance(error, (shmring.WorkerDied, *REFUSED)):
        return type(error).__name__
    wrong.append(f"{error!r}, not {expected!r:.100}" if error else f"{future.result()!r:.100}, not {expected!r:.100}")
    return "wrong"


def one_pool(rng, until, ends, wrong):
    """A pool, its submitters and its disturber; ended in one way or another."""
    method = rng.choice([None, *multiprocessing.get_all_start_methods()])
    context = None if method is None else multiprocessing.get_context(method)
    most = rng.choice([None, None, 5]) if method != "fork" else None
    capacity, leased = rng.choice(["1 MiB", "4 MiB"]), rng.random() < 0.3
    pool = shmring.ProcessPoolExecutor(
        rng.randint(1, 3), context, begin, max_tasks_per_child=most, capacity=capacity, leased=leased,
        retries=rng.choice([0, 1]),
    )  # fmt: skip
    disturber = Disturber(pool, rng, ends)
    disturber.start()
    seeds = [rng.random() for _ in range(2)]

    def work(seed):
        while time.monotonic() < until and not wrong:
            try:
                submit_some(pool, random.Random(seed), ends, wrong)
            except BrokenExecutor as error:
                wrong.append(repr(error))

    threads = [threading.Thread(target=work, args=(seed,)) for seed in seeds]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    pending = []
    for number in range(5):
        with contextlib.suppress(REFUSED):
            pending.append((number, pool.submit(spin, number)))
    way = rng.choice(["shutdown", "shutdown, cancelling", "kill_workers", "dropped"])
    if way == "kill_workers":
        pool.kill_workers()
    if way != "dropped":
        pool.shutdown(cancel_futures=way == "shutdown, cancelling")
    disturber.stopped.set()
    disturber.join()
    disturber.pool = pool = None
    for number, future in pending:
        with contextlib.suppress(CancelledError):
            error = future.exception(PATIENCE)
            if way == "kill_workers" and isinstance(error, BrokenExecutor):
                continue
            judged(number, future, error, wrong)
    ends[f"pools ended by {way}"] += 1


def descriptors():
    return len(os.listdir("/proc/self/fd"))


def main(seconds, seed):
    """Pool after pool."""
    rng, ends, wrong = random.Random(seed), collections.Counter(), []
    end = time.monotonic() + seconds
    one_pool(rng, 0, ends, wrong)  # which opens what stays open, to the fork server for one
    before = descriptors()
    while time.monotonic() < end and not wrong:
        one_pool(rng, min(end, time.monotonic() + rng.choice([1, 3, 6])), ends, wrong)
        ends["pools"] += 1
    until = time.monotonic() + PATIENCE
    while (threads := threading.active_count()) > 1 and time.monotonic() < until:
        time.sleep(0.01)  # a pool that was dropped ends on its own
    gc.collect()
    if threads > 1:
        wrong.append(f"threads left: {threading.enumerate()}")
    if descriptors() > before + 4:
        wrong.append(f"{descriptors()} descriptors, {before} before")
    print(json.dumps({"trouble": wrong, **ends}), flush=True)
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main(float(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 5)

"""Kills, stops, forks and shortage, all at once: every future is right, or its worker died."""

import collections
import contextlib
import os
import random
import signal
import threading
import time

import numpy
import pytest
from worker_jobs import doubled_array, spin

import shmring
from tests.ring.conftest import needs_signals

resource = pytest.importorskip("resource", reason="about POSIX resource limits")

SECONDS = 20 * float(os.environ.get("SHMRING_EFFORT", "1"))


def disturb(pool, stop, rng):
    """Do something to a worker or to this process, ten times a second."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    while not stop.wait(0.1):
        pids = [*pool._processes]
        what = rng.choice(["kill", "stop", "fork", "shortage"])
        with contextlib.suppress(ProcessLookupError, IndexError):
            if what == "kill":
                os.kill(rng.choice(pids), signal.SIGKILL)
            elif what == "stop":
                pid = rng.choice(pids)
                os.kill(pid, signal.SIGSTOP)
                time.sleep(0.05)
                os.kill(pid, signal.SIGCONT)
            elif what == "fork":
                child = os.fork()
                if not child:
                    os._exit(0)
                os.waitpid(child, 0)
            else:
                resource.setrlimit(resource.RLIMIT_NOFILE, (3, limits[1]))
                time.sleep(0.01)
                resource.setrlimit(resource.RLIMIT_NOFILE, limits)


@needs_signals
@pytest.mark.verify
@pytest.mark.timeout(SECONDS + 100)
def test_every_future_is_right_or_its_worker_died():
    rng, stop, ends, wrong = random.Random(5), threading.Event(), collections.Counter(), []
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    end = time.monotonic() + SECONDS
    pool = shmring.ProcessPoolExecutor(2, capacity="4 MiB")
    pool.submit(spin, 0).result(60)
    thread = threading.Thread(target=disturb, args=(pool, stop, rng), daemon=True)
    thread.start()
    try:
        while time.monotonic() < end and not wrong:
            calls = []
            for number in range(60):
                array = numpy.full(rng.choice([10, 1000, 400_000]), number)
                for expected, call in (
                    (number, (spin, number)),
                    (number + 1, (lambda number=number: number + 1,)),
                    (2 * array, (doubled_array, array)),
                ):
                    try:
                        calls.append((expected, pool.submit(*call)))
                    except OSError:
                        ends["refused"] += 1
            for expected, future in calls:
                error = future.exception(30)
                if error is None:
                    ends["right"] += numpy.array_equal(future.result(), expected)
                    wrong += [] if numpy.array_equal(future.result(), expected) else [expected]
                elif isinstance(error, (shmring.WorkerDied, OSError)):
                    ends[type(error).__name__] += 1
                else:
                    wrong.append(error)
    finally:
        stop.set()
        thread.join()
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        pool.shutdown(wait=not wrong, cancel_futures=True)
    print(ends)
    assert not wrong
    assert ends["right"] > 10 * ends["WorkerDied"]

"""CPython's own tests of multiprocessing's queues, on ours, under each start method.

Left out are the two about the feeder thread, which we do not have: an object that cannot be pickled raises at put().
"""

import os
import queue
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("test._test_multiprocessing", reason="this interpreter comes without CPython's own tests")

PROGRAM = """
import multiprocessing, sys, unittest
import shmring
from test import _test_multiprocessing as theirs

METHOD = {method!r}
FEEDER_THREAD = ("test_queue_feeder_donot_stop_onexc", "test_queue_feeder_on_queue_feeder_error")


class Ours(theirs._TestQueue, theirs.ProcessesMixin, unittest.TestCase):
    Queue = staticmethod(shmring.Queue)
    JoinableQueue = staticmethod(shmring.JoinableQueue)


class OursSimple(theirs.TestSimpleQueue):
    test_closed = None  # of private attributes


for name in FEEDER_THREAD:
    assert hasattr(Ours, name), name
    setattr(Ours, name, None)

multiprocessing.Queue = shmring.Queue  # what the tests name directly
multiprocessing.JoinableQueue = shmring.JoinableQueue
multiprocessing.SimpleQueue = shmring.SimpleQueue

if __name__ == "__main__":
    multiprocessing.set_start_method(METHOD, force=True)
    loaded = [unittest.defaultTestLoader.loadTestsFromTestCase(each) for each in (Ours, OursSimple)]
    result = unittest.TextTestRunner(verbosity=2).run(unittest.TestSuite(loaded))
    print("ran", result.testsRun, "skipped", len(result.skipped))
    sys.exit(not result.wasSuccessful())
"""


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_the_queue_tests_of_cpython_pass_on_our_queues(method: str, tmp_path: Path) -> None:
    program = tmp_path / "theirs.py"
    program.write_text(PROGRAM.format(method=method))
    done = subprocess.run(
        [sys.executable, program], capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(tmp_path)}
    )
    assert done.returncode == 0, done.stdout + done.stderr
    ran = int(done.stdout.split()[1])
    assert ran >= 10
    assert "skipped 0" in done.stdout


THREADS = """
import queue, sys, unittest
import shmring
from test import test_queue as theirs


class Queue(shmring.JoinableQueue):
    pass


class Ours(theirs.BaseQueueTestMixin, unittest.TestCase):
    queue = queue
    Empty, Full = queue.Empty, queue.Full
    test_negative_timeout_raises_exception = None  # it is 0, as with multiprocessing

    def setUp(self):
        self.type2test = Queue
        super().setUp()


result = unittest.TextTestRunner(verbosity=2).run(unittest.defaultTestLoader.loadTestsFromTestCase(Ours))
print("ran", result.testsRun)
sys.exit(not result.wasSuccessful())
"""


def test_the_tests_of_queue_queue_pass_shutdown_included(tmp_path: Path) -> None:
    if not hasattr(queue, "ShutDown"):
        pytest.skip("queue.Queue has shutdown() since Python 3.13")
    done = subprocess.run([sys.executable, "-c", THREADS], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert int(done.stdout.split()[1]) >= 20

"""Run the standard library's own tests of process pools against ours; started by test_standard_library.py.

Prints a line of JSON: the tests that passed, and those that did not with the last line of why.
"""

import faulthandler
import importlib
import json
import sys
import unittest

LEFT_OUT = {
    "test_killed_child": "the pool is expected to be broken by one death; ours goes on",
    "test_broken_process_pool_traceback": "the same; the tasks of the others would wait forever",
    "test_shutdown_no_wait_max_tasks_gh119592": "what is pending is expected to fail with the executor; ours does it",
    "test_gc_during_max_tasks_worker_exit_gh152967": "the same",
    "test_force_shutdown_during_max_tasks_worker_exit": "sets a private attribute",
    "test_failed_worker_replacement_breaks_pool": "replaces a private function",
    "test_terminate_workers": "replaces a private method",
    "test_kill_workers": "the same",
    "test_force_shutdown_workers_invalid_op": "calls it",
    "test_force_shutdown_workers": "expects Process.kill() to be called; ours are sent signals by pidfd",
    "test_max_tasks_per_child_defaults_to_spawn_context": "ours come from a fork server",
    "test_saturation": "its tasks cannot be pickled; we start no worker for such a task",
    "test_processes_terminate": "its tasks cannot be pickled; we start no worker for such a task",
    "test_process_fork_from_a_threaded": "is about a warning of the fork start method",
    "test_python_finalization_error": "counts the threads of the private implementation",
    "test_error_at_task_unpickle": "the pool is expected to be broken by one bad task; ours fails that task alone",
    "test_exit_at_task_unpickle": "the same",
    "test_error_during_result_unpickle_in_result_handler": "expected to break the pool; ours fails that future alone",
    "test_exit_during_result_unpickle_in_result_handler": "the same",
    "test_shutdown_deadlock_pickle": "asks the private manager thread for its own waker",
}
_TOO_LONG = 450  # seconds for a module; which test hangs is then the last line but the threads


class CallQueue:
    """What tests want of the private queue of calls."""

    def join_thread(self):
        """Nothing: it has no thread."""


def main() -> None:
    """Run the modules named on the command line."""
    import concurrent.futures

    from test.test_concurrent_futures import util

    import shmring

    class ProcessPoolExecutor(shmring.ProcessPoolExecutor):
        """Ours, with the private names that the tests look at."""

        _call_queue = CallQueue()

        @property
        def _executor_manager_thread(self):
            return self._pool.thread

    mixins = (util.ProcessPoolForkMixin, util.ProcessPoolForkserverMixin, util.ProcessPoolSpawnMixin)
    for mixin in mixins:
        mixin.executor_type = ProcessPoolExecutor
    concurrent.futures.ProcessPoolExecutor = ProcessPoolExecutor
    suite = unittest.TestSuite()
    for name in sys.argv[2:]:
        module = importlib.import_module(f"test.test_concurrent_futures.{name}")
        for each in vars(module).values():
            wanted = isinstance(each, type) and issubclass(each, unittest.TestCase) and sys.argv[1] in each.__name__
            if wanted and issubclass(each, util.ExecutorMixin):
                for test in unittest.defaultTestLoader.loadTestsFromTestCase(each):
                    if test._testMethodName not in LEFT_OUT:
                        suite.addTest(test)
    count = suite.countTestCases()
    faulthandler.dump_traceback_later(_TOO_LONG, exit=True)
    result = unittest.TextTestRunner(verbosity=2).run(suite)
    failed = {test.id().rpartition(".")[2]: text.splitlines()[-1] for test, text in result.failures + result.errors}
    print("\n" + json.dumps({"run": count - len(result.skipped), "failed": failed}), flush=True)


if __name__ == "__main__":
    main()

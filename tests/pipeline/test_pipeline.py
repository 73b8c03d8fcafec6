"""Items go through the stages once each, in order where asked for, whatever happens to workers."""

import concurrent.futures
import functools
import gc
import itertools
import os
import random
import signal
import subprocess
import sys
import textwrap
import threading
import time
import warnings

import pytest
from stage_functions import (
    OddError,
    die_on_seven,
    double,
    first_waits_for_the_rest,
    odd_only,
    raise_odd,
    sleep_long,
    slow_when_early,
    sometimes_unpicklable,
    span,
    spin,
)

import shmring
from shmring import Pipeline
from shmring.workers.failures import KILL
from tests.ring.conftest import needs_fork, needs_signals

KILLED = f"left with exit code {KILL}" if sys.platform == "win32" else "killed by SIGKILL"


def test_items_go_through_stages_to_a_sink_in_order():
    out = []
    pipeline = Pipeline().source(range(1000)).stage(double, workers=2).stage(lambda number: number + 1).sink(out.append)
    assert pipeline.run() is None
    assert out == [*range(1, 2001, 2)]


def test_without_a_sink_results_are_returned_or_iterated():
    pipeline = Pipeline().source(lambda: range(100)).stage(double)
    assert pipeline.run() == [*range(0, 200, 2)]
    with pipeline:
        assert [*pipeline] == [*range(0, 200, 2)], "a source that is a function can be run again"


def test_a_beginning_can_be_used_for_several():
    begun = Pipeline().source(range(10))
    assert begun.stage(double).run() == [*range(0, 20, 2)]
    assert begun.run() == [*range(10)]


@pytest.mark.parametrize("batch", [1, 3, 64])
def test_order_is_kept_although_early_items_take_longer(batch):
    items = [*range(40)]
    assert Pipeline().source(items).stage(slow_when_early, workers=3, batch=batch).run() == items


def test_unordered_results_come_when_they_are_there(name):
    with shmring.Ring.create(name, kind="mpmc", capacity="4 KiB", on_dead_peer="wait") as others_done:
        first_waits = functools.partial(first_waits_for_the_rest, others_done.name, 39)
        got = Pipeline().source(range(40)).stage(first_waits, workers=2, batch=1, ordered=False).run()
    assert sorted(got) == [*range(40)]
    assert got[0] != 0


def test_an_item_may_become_many_or_none():
    assert Pipeline().source([3, 0, 2]).stage(span, expand=True).stage(double).run() == [0, 2, 4, 0, 2]


def test_several_functions_see_each_item_and_several_sources_flow_together():
    assert Pipeline().source([1, 3]).stage([double, odd_only]).run() == [(2, 1), (6, 3)]
    assert sorted(Pipeline().source([1, 2], lambda: (3, 4)).stage(double).run()) == [2, 4, 6, 8]


def test_an_error_names_the_item_and_the_stage():
    with pytest.raises(shmring.StageError, match=r"stage 'odds' failed on 2: ValueError\('2 is even'\)") as caught:
        Pipeline().source([1, 2, 3]).stage(odd_only, name="odds").run()
    assert (caught.value.stage, caught.value.item) == ("odds", 2)
    assert isinstance(caught.value.__cause__, ValueError)
    assert "raise ValueError" in str(caught.value.__cause__.__cause__)


def test_an_error_whose_constructor_takes_other_arguments_is_named_as_itself():
    with pytest.raises(shmring.StageError, match=r"failed on 1: OddError\('odd'\)") as caught:
        Pipeline().source([1]).stage(raise_odd).run()
    assert isinstance(caught.value.__cause__, OddError)
    assert "raise OddError" in str(caught.value.__cause__.__cause__)


def test_failed_items_are_skipped_or_replaced_on_request():
    begun = Pipeline().source(range(200))
    pipeline = begun.stage(odd_only, on_error="skip", workers=2)
    assert pipeline.run() == [*range(1, 200, 2)]
    assert (pipeline.stats()[0].done, pipeline.stats()[0].failed) == (100, 100)
    replaced = begun.stage(odd_only, on_error=lambda error: -error.item or None).run()
    assert replaced == [number if number % 2 else -number for number in range(1, 200)]


def test_an_item_or_result_that_cannot_be_pickled_fails_alone():
    assert Pipeline().source(range(6)).stage(sometimes_unpicklable, on_error="skip").run() == [0, 1, 2, 4, 5]
    items = [1, threading.Lock(), 2]
    assert Pipeline().source(items).stage(double, on_error="skip").run() == [2, 4]


def test_an_error_of_the_source_or_the_sink_ends_it_all():
    def source():
        yield 1
        raise OSError("the disk is gone")

    with pytest.raises(OSError, match="the disk is gone"):
        Pipeline().source(source).stage(double).run()
    with pytest.raises(ZeroDivisionError):
        Pipeline().source([0]).stage(double).sink(lambda number: 1 / number).run()


def test_an_item_that_kills_its_worker_is_found_out():
    begun = Pipeline().source(range(30))
    assert begun.stage(die_on_seven, on_error="skip", retries=1).run() == [n for n in range(30) if n != 7]
    with pytest.raises(shmring.StageError) as caught:
        begun.stage(die_on_seven, retries=0).run()
    assert caught.value.item == 7
    assert isinstance(caught.value.__cause__, shmring.WorkerDied)


def test_an_item_that_kills_its_workers_is_told_with_what_a_stage_can_do_about_it():
    with pytest.raises(shmring.StageError, match=rf"{KILLED}.* each of 3 times; .*on_error='skip'.*retries.* 2"):
        Pipeline().source(range(9)).stage(die_on_seven, retries=2).run()
    with pytest.raises(shmring.StageError, match=rf"{KILLED}.* the one time .*retries.* 0"):
        Pipeline().source(range(9)).stage(die_on_seven, retries=0).run()


def test_what_a_killed_worker_was_at_can_be_dropped():
    pipeline = Pipeline().source(range(30)).stage(die_on_seven, on_death="drop", batch=1)
    assert pipeline.run() == [number for number in range(30) if number != 7]
    assert pipeline.stats()[0].dropped == 1


def test_killed_workers_are_replaced_and_nothing_is_lost_or_doubled(chance: random.Random):
    pipeline = Pipeline().source(range(5000)).stage(spin, workers=2, batch=8).stage(double, workers=1)
    results = iter(pipeline)
    got = []
    for number in results:
        got.append(number)
        if len(got) % 600 == 0:
            stage = chance.choice(pipeline._run._stages)
            for pid in chance.sample([*stage.executor._processes], 1):
                os.kill(pid, KILL)
    assert got == [*range(0, 10_000, 2)]


def is_at_rest(run) -> bool:
    """Whether nothing more happens until results are taken: all threads wait, and no batch is with a worker."""
    with run._changed:
        waiting = len(run._changed._waiters) == len(run._threads) + 1
        return waiting and not run._finished and not any(batch.left for stage in run._stages for batch in stage._out)


def test_a_slow_end_holds_the_source_up():
    taken = []

    def source():
        while True:
            taken.append(len(taken))
            yield taken[-1]

    with Pipeline().source(source).stage(double, batch=4).stage(double, batch=4) as pipeline:
        results = iter(pipeline)
        assert next(results) == 0
        while len(taken) < 4000 and not is_at_rest(pipeline._run):
            time.sleep(0.01)
        assert len(taken) < 2000


def test_leaving_the_block_ends_everything():
    with Pipeline().source(itertools.count()).stage(double, workers=2) as pipeline:
        assert next(iter(pipeline)) == 0
    with Pipeline().source([1]).stage(sleep_long) as pipeline:
        iter(pipeline)


INTERRUPTED = """
    import itertools, time
    from shmring import Pipeline

    def work(number):
        time.sleep(1000 if number == 500 else 0)
        return number

    if __name__ == "__main__":
        try:
            for number in Pipeline().source(itertools.count()).stage(work, workers=2, batch=1).stage(abs):
                if number == 100:
                    print("running", flush=True)
        except KeyboardInterrupt:
            print("stopped", flush=True)
"""


@needs_signals  # to a whole group of processes
def test_ctrl_c_stops_everything_and_leaves_no_process(tmp_path):
    program = tmp_path / "program.py"
    program.write_text(textwrap.dedent(INTERRUPTED))
    running = subprocess.Popen(
        [sys.executable, program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    assert running.stdout.readline() == "running\n"
    os.killpg(running.pid, signal.SIGINT)  # as a terminal does
    said, errors = running.communicate()
    assert (running.returncode, said, errors) == (0, "stopped\n", "")
    while group_lives(running.pid):  # the fork server leaves when its last descriptor is closed
        time.sleep(0.01)


def group_lives(group):
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def closed_by_itself():
    pipeline = Pipeline().source(lambda: itertools.count()).stage(double)
    iterator = iter(pipeline)
    next(iterator)
    pipeline.close()
    return iterator


def closed_by_a_further_run():
    pipeline = Pipeline().source(lambda: itertools.count()).stage(double)
    first, second = iter(pipeline), iter(pipeline)
    assert next(second) == 0
    second.close()
    return first


def closed_by_its_sink():
    pipeline = Pipeline().source(lambda: itertools.count()).stage(double).sink(lambda result: pipeline.close())
    return (pipeline.run() for _ in range(1))


def closed_by_another_thread():
    pipeline = (
        Pipeline().source(lambda: itertools.count()).stage(double).sink(lambda result: closing.ident or closing.start())
    )
    closing = threading.Thread(target=pipeline.close)
    return (pipeline.run() for _ in range(1))


def closed_by_what_handles_errors():
    begun = Pipeline().source(range(1000)).stage(lambda number: 1 // number, on_error=lambda error: pipeline.close())
    pipeline = begun.stage(double)
    return (pipeline.run() for _ in range(1))


@pytest.mark.parametrize(
    "closed",
    [
        closed_by_itself,
        closed_by_a_further_run,
        closed_by_its_sink,
        closed_by_another_thread,
        closed_by_what_handles_errors,
    ],
)
def test_whoever_takes_results_is_told_that_the_run_was_closed(closed):
    with pytest.raises(shmring.Closed, match="was closed before all results were taken"):
        list(closed())


def test_an_iterator_that_is_dropped_at_once_leaves_no_thread():
    before = threading.active_count()
    for _ in range(3):
        iter(Pipeline().source(lambda: itertools.count()).stage(double))
    while threading.active_count() > before:
        gc.collect()
        time.sleep(0.001)


@needs_fork
def test_a_forked_child_is_refused_its_parents_run_and_harms_nobody():
    with Pipeline().source(range(1000)).stage(double) as pipeline:
        results = iter(pipeline)
        taken = [next(results)]
        with warnings.catch_warnings(action="ignore", category=DeprecationWarning):  # of a fork beside threads
            child = os.fork()
        if child == 0:
            ok = False
            try:
                with pipeline:
                    next(results)
            except RuntimeError as error:
                ok = f"that of process {os.getppid()}" in str(error)
            finally:
                os._exit(0 if ok else 1)
        assert os.waitpid(child, 0)[1] == 0
        assert [*taken, *results] == [*range(0, 2000, 2)]


def test_a_stage_runs_on_any_executor():
    with concurrent.futures.ThreadPoolExecutor(2) as threads, shmring.ProcessPoolExecutor(2) as pool:
        begun = Pipeline().source(range(300))
        assert begun.stage(double, executor=threads, workers=2).run() == [*range(0, 600, 2)]
        assert begun.stage(double, executor=pool).stage(double, executor=pool).run() == [*range(0, 1200, 4)]
        assert pool.submit(double, 1).result() == 2, "it stays open"


def test_progress_shows_the_stages(capsys):
    Pipeline().source(range(100)).stage(double, name="doubling").sink(abs).run(progress=True)
    assert "doubling" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (lambda: Pipeline().stage(double), "begins with source"),
        (lambda: Pipeline().run(), "begins with source"),
        (lambda: Pipeline().source([1]).source([2]), "one call of source"),
        (lambda: Pipeline().source([1]).stage(double, workers=0), "workers is 0"),
        (lambda: Pipeline().source([1]).stage(double, on_error="ignore"), "on_error is 'ignore'"),
        (lambda: Pipeline().source([1]).stage(double, on_death="raise"), "on_death is 'raise'"),
        (lambda: Pipeline().source([1]).sink(abs).stage(double), "end of a pipeline"),
        (lambda: Pipeline().source([1]).stage([]), "needs a function"),
    ],
)
def test_a_pipeline_that_cannot_work_says_why(wrong, words):
    with pytest.raises(ValueError, match=words):
        wrong()

"""The calls of a queue: those of multiprocessing, and a few more. Beside CPython's own tests of them."""

import contextlib
import functools
import inspect
import multiprocessing
import multiprocessing.connection
import multiprocessing.queues
import multiprocessing.resource_sharer
import os
import queue as stdlib
import subprocess
import sys
import threading
import time
import traceback

import pytest

import shmring

CLASSES = ("Queue", "JoinableQueue", "SimpleQueue")


@pytest.mark.parametrize("name", CLASSES)
def test_every_public_name_of_multiprocessings_is_there_with_its_parameters(name: str) -> None:
    theirs, ours = getattr(multiprocessing.queues, name), getattr(shmring, name)
    for method in [each for each in dir(theirs) if not each.startswith("_")]:
        parameters = inspect.signature(getattr(theirs, method)).parameters
        found = inspect.signature(getattr(ours, method)).parameters
        assert [*found] == [*parameters], method
        assert [each.default for each in found.values()] == [each.default for each in parameters.values()], method


def test_messages_come_out_in_order(queue: shmring.Queue) -> None:
    for number in range(1000):
        queue.put(number)
    assert queue.qsize() == 1000
    assert [queue.get() for _ in range(1000)] == [*range(1000)]
    assert queue.empty()
    assert not queue.full()


def test_a_bounded_queue_is_full_at_its_bound() -> None:
    with shmring.Queue(3) as queue:
        for number in range(3):
            assert not queue.full()
            queue.put(number)
        assert queue.full()
        for call in (
            lambda: queue.put(3, False),
            lambda: queue.put_nowait(3),
            lambda: queue.put(3, timeout=0.01),
            lambda: queue.put(3, timeout=-1),
            lambda: queue.put(3, False, 5),
        ):
            with pytest.raises(stdlib.Full, match=r"3 messages \(maxsize 3\)"):
                call()
        assert queue.get() == 0
        queue.put_nowait(3)
        assert [queue.get() for _ in range(3)] == [1, 2, 3]


def test_an_empty_queue_is_empty(queue: shmring.Queue) -> None:
    for call in (
        lambda: queue.get(False),
        queue.get_nowait,
        lambda: queue.get(timeout=0.01),
        lambda: queue.get(timeout=-1),
        lambda: queue.get(False, 5),
    ):
        with pytest.raises(stdlib.Empty):
            call()


def test_who_looks_for_the_pipe_is_told_what_there_is_instead(queue: shmring.Queue) -> None:
    assert not hasattr(queue, "_reader")
    with pytest.raises(AttributeError, match=r"no _reader: there is no pipe.*aget\(\)"):
        multiprocessing.connection.wait([queue._reader])
    with pytest.raises(AttributeError, match="no attribute 'task_done'"):
        queue.task_done()  # type: ignore[attr-defined]


def test_what_a_timeout_advises_can_be_done(queue: shmring.Queue, name: str) -> None:
    with pytest.raises(stdlib.Empty, match="wait longer") as caught:
        queue.get(timeout=0.01)
    assert "shmring inspect" not in str(caught.value), "an anonymous queue has no name to inspect"
    with shmring.Queue(name=name) as named, pytest.raises(stdlib.Empty, match=f"`shmring inspect {name}`"):
        named.get(timeout=0.01)


def test_a_blocked_put_goes_on_when_there_is_room_and_a_blocked_get_when_there_is_a_message() -> None:
    with shmring.Queue(1) as there, shmring.Queue(1) as back:

        def echo() -> None:
            for _ in range(100):
                back.put(there.get())

        thread = threading.Thread(target=echo)
        thread.start()
        got = []
        for number in range(100):
            there.put(number)
            with contextlib.suppress(stdlib.Empty):
                got.append(back.get(False))
        while len(got) < 100:
            got.append(back.get(timeout=30))
        thread.join()
        assert got == [*range(100)]


def outcome(queue: object, method: str, arguments: tuple[object, ...]) -> object:
    """What a call gives, or which of the two errors it raises, of those that multiprocessing knows."""
    try:
        return getattr(queue, method)(*arguments)
    except OSError:
        return OSError
    except ValueError:
        return ValueError


def after_close(queue: object) -> dict[str, object]:
    """What each method does after close()."""
    calls = {"put": (1,), "put_nowait": (1,), "get": (), "get_nowait": (), "empty": (), "full": (), "qsize": ()}
    calls |= {"task_done": (), "join": (), "join_thread": (), "cancel_join_thread": (), "close": ()}
    return {method: outcome(queue, method, arguments) for method, arguments in calls.items() if hasattr(queue, method)}


@pytest.mark.parametrize("maxsize", [0, 1, 5])
@pytest.mark.parametrize("name", ["Queue", "JoinableQueue"])
def test_after_close_each_method_does_what_multiprocessings_does(name: str, maxsize: int) -> None:
    found = []
    for package in (multiprocessing.get_context(), shmring):
        queue = getattr(package, name)(maxsize)
        queue.put("left behind")
        if name == "JoinableQueue":
            assert queue.get() == "left behind"
        queue.close()
        found.append(after_close(queue))
    theirs, ours = found
    assert theirs.pop("empty") in (True, False, OSError)  # the last once its thread has closed the pipe
    assert ours.pop("empty") is OSError
    assert ours == theirs


def test_a_queue_that_was_not_used_is_empty_after_close_as_in_multiprocessing() -> None:
    for name in ("Queue", "JoinableQueue"):
        queue = getattr(shmring, name)()
        queue.close()
        assert queue.empty()


def test_a_closed_simple_queue_raises_oserror() -> None:
    found = []
    for package in (multiprocessing.get_context(), shmring):
        queue = package.SimpleQueue()
        queue.put("left behind")
        queue.close()
        found.append(after_close(queue))
    assert found[0] == found[1]
    assert found[0]["put"] is OSError


def test_every_error_after_close_is_also_closed(queue: shmring.Queue) -> None:
    with pytest.raises(AssertionError):
        queue.join_thread()
    queue.put("used")
    queue.close()
    queue.close()
    queue.join_thread()
    simple = shmring.SimpleQueue()
    simple.close()
    for call in (lambda: queue.put(1), queue.get, queue.empty, simple.get, lambda: simple.put(1), simple.empty):
        with pytest.raises(shmring.Closed, match="is closed") as caught:
            call()
        assert isinstance(caught.value, ValueError)
    assert "closed" in repr(queue)


def test_close_wakes_a_thread_that_waits(queue: shmring.Queue) -> None:
    raised: list[BaseException] = []
    begun = threading.Event()

    def wait() -> None:
        begun.set()
        try:
            queue.get()
        except BaseException as error:
            raised.append(error)

    thread = threading.Thread(target=wait)
    thread.start()
    begun.wait()
    while queue._chain.root._snapshot()["attachments"][0]["role"] == "none" and not raised:
        time.sleep(0)
    queue.close()
    thread.join()
    assert isinstance(raised[0], ValueError)


@pytest.mark.parametrize("options", [{"maxsize": 1}, {"capacity": "64 KiB", "max_bytes": "512 KiB"}])
def test_close_ends_a_put_that_waits_in_another_thread(options: dict[str, object]) -> None:
    queue, raised = shmring.Queue(**options), []
    with contextlib.suppress(shmring.Full):
        while True:
            queue.put(bytes(1000), timeout=0)

    def put() -> None:
        with pytest.raises(shmring.Closed) as error:
            queue.put(bytes(1000))
        raised.append(error)

    thread = threading.Thread(target=put)
    thread.start()
    while "in put\n    queue.put(" not in "".join(traceback.format_stack(sys._current_frames().get(thread.ident))):
        time.sleep(0)
    queue.close()
    thread.join()
    assert raised


KEPT_TO_THE_END = """
import sys, shmring
sys.kept = shmring.Queue(), shmring.Ring.create(), shmring.SimpleQueue[int]()
"""


def test_what_is_kept_to_the_interpreters_end_says_nothing_there() -> None:
    done = subprocess.run([sys.executable, "-c", KEPT_TO_THE_END], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("", "")


def test_many_go_in_and_come_out(queue: shmring.Queue) -> None:
    assert queue.put_many(range(5)) == 5
    assert queue.get_many() == [0, 1, 2, 3, 4]
    with pytest.raises(shmring.Empty):
        queue.get_many(timeout=0)
    queue.put_many([1, 2, 3])
    assert queue.get_many(2) == [1, 2]
    assert queue.get_many(2) == [3]
    with pytest.raises(ValueError, match="limit is 0"):
        queue.get_many(0)
    with shmring.Queue(2) as bounded:
        assert bounded.put_many(range(5), timeout=0) == 2
        with pytest.raises(shmring.Full):
            bounded.put_many([7], timeout=0.01)
        assert bounded.put_many([], timeout=0) == 0
        assert bounded.get_many() == [0, 1]


def test_a_simple_queue_has_no_bounds_and_no_timeouts() -> None:
    with shmring.SimpleQueue(capacity="64 KiB") as queue:
        assert queue.empty()
        for number in range(100):
            queue.put((number, b"x" * 5000))
        assert not queue.empty()
        assert [queue.get()[0] for _ in range(100)] == [*range(100)]
    queue.close()
    with pytest.raises(ValueError, match="is closed"):
        queue.put(1)


def test_no_number_is_no_timeout(queue: shmring.Queue) -> None:
    with pytest.raises(ValueError, match="timeout is nan"):
        queue.get(timeout=float("nan"))
    with pytest.raises(TypeError, match="timeout is 'soon'; give seconds"):
        queue.get(timeout="soon")  # type: ignore[arg-type]


def test_values_out_of_range_are_refused() -> None:
    for options in ({"capacity": 0}, {"max_bytes": "lots"}, {"on_dead_peer": "shrug"}, {"name": "a/b"}):
        with pytest.raises(ValueError, match=r" is .*; "):
            shmring.Queue(**options)  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        shmring.Queue("many")  # type: ignore[arg-type]
    shmring.Queue(-1).close()
    shmring.Queue(2**31 - 1).close()


def test_a_bound_beyond_what_a_ring_counts() -> None:
    with shmring.Queue(2**21, capacity="64 KiB") as queue:
        for number in range(3000):
            queue.put(number)
        assert [queue.get() for _ in range(3000)] == [*range(3000)]


in_proc = pytest.mark.skipif(sys.platform == "win32", reason="looks at descriptors and threads in /proc")


@in_proc
def test_a_dropped_queue_is_gone_with_its_descriptors(queue: shmring.Queue, name: str) -> None:
    before = len(os.listdir("/proc/self/fd"))
    for make in (
        shmring.Queue,
        shmring.JoinableQueue,
        shmring.SimpleQueue,
        functools.partial(shmring.Queue, name=name),
    ):
        made = make()
        made.put(1)
        assert made.get() == 1
        del made
    assert len(os.listdir("/proc/self/fd")) == before


@in_proc
def test_a_queue_takes_two_descriptors(queue: shmring.Queue) -> None:
    queue.put(1)
    before = len(os.listdir("/proc/self/fd"))
    with shmring.Queue() as other:
        other.put(1)
        assert other.get() == 1
        assert len(os.listdir("/proc/self/fd")) == before + 2


WITHOUT_DESCRIPTORS = """
import os, resource, sys
import shmring
makes = {
    "queue": shmring.Queue,
    "named queue": lambda: shmring.Queue(name=sys.argv[1] + "-q"),
    "grown queue": lambda: shmring.Queue(capacity="64 KiB").put_many([bytes(10_000)] * 20),
    "ring": lambda: shmring.Ring.create(sys.argv[1] + "-r"),
    "topic": lambda: shmring.Topic.create().subscribe(),
    "latest": lambda: shmring.Latest.create(size=64),
    "pool": lambda: shmring.ProcessPoolExecutor(1),
}
for what, make in makes.items():
    make()
    used = len(os.listdir("/proc/self/fd")) - 1
    for limit in range(used, used + 100):
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, 4096))
        try:
            made = make()
        except OSError as error:
            assert "no file descriptor is left" in str(error), (what, limit - used, error)
            assert f" open and may have {limit}" in str(error), error
            assert "ulimit -n" in str(error), error
        else:
            resource.setrlimit(resource.RLIMIT_NOFILE, (4096, 4096))
            del made
            break
    else:
        raise AssertionError(what)
    assert limit > used, what
    assert len(os.listdir("/proc/self/fd")) - 1 == used, what
"""


@in_proc
def test_want_of_descriptors_is_told_with_how_many_there_are_and_leaves_nothing(name: str) -> None:
    done = subprocess.run([sys.executable, "-c", WITHOUT_DESCRIPTORS, name], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_queue_that_another_thread_closes_as_it_asks_for_memory_is_closed_under_nobody(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    queue: shmring.Queue = shmring.Queue(capacity="64 KiB")

    def afford(chain: object, needed: int) -> bool:
        closer = threading.Thread(target=queue.close)
        closer.start()
        closer.join()
        return True

    monkeypatch.setattr("shmring.queues.chain.Chain._afford", afford)
    with pytest.raises(shmring.Closed):
        queue.put_many([bytes(30_000)] * 100)


def test_a_bound_past_all_counting_and_a_skip_of_another_error_are_refused(queue: shmring.Queue) -> None:
    with pytest.raises(ValueError, match="maxsize is"):
        shmring.Queue(2**64 + 1)
    with pytest.raises(TypeError, match="error is ValueError"):
        queue.skip(ValueError())  # type: ignore[arg-type]

"""What goes through a queue is data: it outlives its sender, and may be got twice."""

from __future__ import annotations

import copyreg
import multiprocessing
import multiprocessing.reduction
import multiprocessing.resource_sharer
import socket
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from multiprocessing.reduction import ForkingPickler
from pathlib import Path
from typing import Any

import pytest

import shmring


@pytest.fixture
def registered() -> Iterator[None]:
    """Take back what a test registers with multiprocessing's pickler."""
    before = dict(ForkingPickler._extra_reducers)
    yield
    ForkingPickler._extra_reducers.clear()
    ForkingPickler._extra_reducers.update(before)


def handles() -> dict[str, Any]:
    here, there = multiprocessing.Pipe()
    ours, theirs = socket.socketpair()
    ours.close()
    found = {"a connection": there, "a socket": theirs, "in a list": [1, {"deep": here}], "a closed socket": ours}
    if sys.platform == "win32":
        found["a shared socket"] = multiprocessing.resource_sharer.DupSocket(theirs)
    else:
        found["a shared descriptor"] = multiprocessing.resource_sharer.DupFd(here.fileno())
    return found


@pytest.mark.parametrize("make", [shmring.Queue, shmring.JoinableQueue, shmring.SimpleQueue])
def test_a_handle_is_refused_when_it_is_put_and_the_queue_goes_on(make: type[Any]) -> None:
    found = handles()
    with make() as queue:
        for what, handle in found.items():
            with pytest.raises(TypeError, match="cannot be put into a queue: it is a handle"):
                queue.put(handle)
            queue.put(what)
            assert queue.get() == what
        assert queue.empty()
    multiprocessing.resource_sharer.stop()
    for handle in (found["a connection"], found["in a list"][1]["deep"], found["a socket"]):
        handle.close()


class Tensor:
    """As of a package whose reducer sends an address of the data."""

    def __init__(self, data: bytes) -> None:
        self.data = data


def _reduce_to_an_address(tensor: Tensor) -> Any:
    return int, (id(tensor.data),)


def test_data_goes_as_data_whatever_its_package_told_multiprocessing(registered: None) -> None:
    reducer = partial(_reduce_to_an_address)
    reducer.__module__ = "torch.multiprocessing.reductions"
    ForkingPickler.register(Tensor, reducer)
    with shmring.Queue() as queue:
        queue.put(Tensor(b"data"))
        assert queue.get().data == b"data"


class Odd:
    """What pickle cannot do by itself."""

    def __init__(self) -> None:
        self.lambda_ = lambda: None


def _reduce_odd(odd: Odd) -> Any:
    return str, ("an odd one",)


@pytest.mark.parametrize("register", [ForkingPickler.register, copyreg.pickle])
def test_a_reducer_that_a_user_registered_is_used_from_then_on(registered: None, register: Any) -> None:
    with shmring.Queue() as queue:
        with pytest.raises(AttributeError):
            queue.put(Odd())
        register(Odd, _reduce_odd)
        queue.put([Odd()])
        assert queue.get() == ["an odd one"]
    copyreg.dispatch_table.pop(Odd, None)


def test_methods_and_partial_functions_go_through() -> None:
    with shmring.Queue() as queue:
        queue.put([partial(int, "7"), "text".upper, [1].append])
        made, upper, _ = queue.get()
        assert (made(), upper()) == (7, "TEXT")


def test_dill_is_used_where_it_is_asked_for_and_nowhere_else() -> None:
    multiprocess = pytest.importorskip("multiprocess")
    assert "dill" in sys.modules
    with shmring.Queue() as plain, shmring.Queue(ctx=multiprocess.get_context("spawn")) as by_dill:
        with pytest.raises(AttributeError):
            plain.put(lambda: 1)
        by_dill.put(lambda: 7)
        assert by_dill.get()() == 7


class Fragile:
    """What cannot be unpickled; or once it can."""

    def __reduce__(self) -> Any:
        return _break, ()


def _break() -> None:
    raise ValueError("broken")


@pytest.mark.parametrize("make", [shmring.Queue, shmring.JoinableQueue, shmring.SimpleQueue])
def test_what_cannot_be_unpickled_is_gone_where_that_was_asked_for(make: type[Any]) -> None:
    with make(on_undecodable="drop") as queue:
        queue.put(Fragile())
        queue.put("next")
        with pytest.raises(shmring.DecodeError, match="broken; it is gone, as queues made with on_undecodable='drop'"):
            queue.get()
        assert queue.get() == "next"
        if make is shmring.JoinableQueue:
            queue.task_done()
            queue.task_done()
            queue.join()
    with pytest.raises(ValueError, match="on_undecodable is 'ignore'; it is 'raise', or 'drop'"):
        make(on_undecodable="ignore")


@pytest.mark.parametrize("make", [shmring.Queue, shmring.JoinableQueue])
def test_a_batch_drops_it_too_after_what_came_before(make: type[Any]) -> None:
    with make(on_undecodable="drop") as queue:
        for each in ("first", Fragile(), Fragile(), "next", "last"):
            queue.put(each)
        assert queue.get_many(timeout=0) == ["first"]
        for _ in range(2):
            with pytest.raises(shmring.DecodeError, match="broken; it is gone"):
                queue.get_many(timeout=0)
        assert queue.get_many(timeout=0) == ["next", "last"]
        assert queue.qsize() == 0
        if make is shmring.JoinableQueue:
            for _ in range(5):
                queue.task_done()
            queue.join()


COUNTED = """
import multiprocessing, sys
import shmring

class Counted(shmring.Queue):
    def __init__(self, context):
        super().__init__(ctx=context)
        self.size = context.Value("i", 0)

    def __getstate__(self):
        return super().__getstate__(), self.size

    def __setstate__(self, state):
        base, self.size = state
        super().__setstate__(base)

    def put(self, *arguments):
        with self.size.get_lock():
            self.size.value += 1
        super().put(*arguments)

def work(queue):
    queue.put("from the child")
    queue.put_nowait("once more")

if __name__ == "__main__":
    context = multiprocessing.get_context(sys.argv[1])
    with Counted(context) as queue:
        child = context.Process(target=work, args=(queue,))
        child.start()
        child.join()
        print(child.exitcode, queue.size.value, queue.get(), queue.get(), sep=", ")
"""


@pytest.mark.parametrize("method", multiprocessing.get_all_start_methods())
def test_a_subclass_with_a_state_of_its_own_travels_with_it(method: str, tmp_path: Path) -> None:
    script = tmp_path / "counted.py"
    script.write_text(COUNTED)
    done = subprocess.run([sys.executable, script, method], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("0, 2, from the child, once more\n", "")


def test_a_queue_that_was_not_made_says_so() -> None:
    class Forgetful(shmring.Queue):
        def __init__(self) -> None:
            pass

    queue = Forgetful()
    for call in (lambda: queue.put(1), queue.get, queue.get_nowait, lambda: queue.put_many([1]), queue.get_many):
        with pytest.raises(ValueError, match="__init__ was not called"):
            call()
    assert "closed" in repr(queue)
    queue.close()

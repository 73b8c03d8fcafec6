"""What the tests of rings share: one of each kind, and children that run a function and answer.

Where processes fork, a child is a fork, and its function has everything that this process has. Elsewhere it is a new
Python that gets function and arguments by dill, and attaches to the rings that are among them.
"""

import asyncio
import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import pytest

import shmring

if sys.platform == "win32":
    from tests.ring.spawned import Child, Gate
else:
    from tests.ring.forked import Child, Gate

KINDS = ("spsc", "mpmc", "semaphore")


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    """Return each kind of ring in turn."""
    return request.param


@pytest.fixture
def ring(kind: str) -> Iterator[shmring.Ring]:
    """Return an anonymous ring of 4096 bytes, of each kind."""
    with shmring.Ring.create(capacity=4096, kind=kind) as made:
        yield made


METHODS = ["fork", "spawn", "forkserver"] if hasattr(os, "fork") else ["spawn"]  # of multiprocessing
needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="about fork, which this platform does not have")
needs_signals = pytest.mark.skipif(sys.platform == "win32", reason="about POSIX signals beside Ctrl-C")
needs_modes = pytest.mark.skipif(sys.platform == "win32", reason="about users and permission bits, which POSIX has")


outlives_its_processes = pytest.mark.skipif(
    sys.platform == "win32", reason="about memory whose last process was killed: on Windows it is gone, unless a file"
)


def kill_myself() -> None:
    """SIGKILL, or TerminateProcess."""
    os.kill(os.getpid(), getattr(signal, "SIGKILL", signal.SIGTERM))


def for_ever() -> None:
    """Stay until killed."""
    threading.Event().wait()


@pytest.fixture
def gate() -> Iterator[Gate]:
    """Return a closed gate."""
    made = Gate()
    yield made
    made.close()


@pytest.fixture
def start() -> Iterator[Callable[..., Child]]:
    """Start a child; every one must have been reaped when the test ends."""
    started: list[Child] = []

    def begin(function: Callable[..., Any], *arguments: Any) -> Child:
        started.append(Child(function, *arguments))
        return started[-1]

    yield begin
    for child in started:
        if not child._collected:
            child.kill()
            child.abandon()


@pytest.fixture(scope="session")
def first_uvloop() -> None:
    """Let uvloop open the pipe that the first of its loops opens and keeps."""
    with contextlib.suppress(ImportError):
        import uvloop

        uvloop.run(asyncio.sleep(0))


@pytest.fixture(params=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest, first_uvloop: None) -> Callable[[Coroutine[Any, Any, Any]], Any]:
    """Return asyncio.run, in each event loop in turn."""
    new_loop = asyncio.new_event_loop
    if request.param == "uvloop":
        new_loop = pytest.importorskip("uvloop", reason="uvloop is not installed").new_event_loop

    def run_it(coroutine: Coroutine[Any, Any, Any]) -> Any:
        with asyncio.Runner(loop_factory=new_loop) as runner:
            return runner.run(coroutine)

    return run_it

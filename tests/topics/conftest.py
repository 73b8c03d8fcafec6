"""What the tests of topics and latest values share: one topic of each overflow, and children that run a function."""

import os
import pickle
import signal
import traceback
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import shmring


@pytest.fixture(params=["block", "overwrite"])
def overflow(request: pytest.FixtureRequest) -> str:
    """Return each manner of overflow in turn."""
    return request.param


@pytest.fixture
def topic(overflow: str) -> Iterator[shmring.Topic]:
    """Return an anonymous topic with room for sixteen short messages."""
    with shmring.Topic.create(capacity=16 * 64, overflow=overflow) as made:
        yield made


class Child:
    """A forked process that runs a function; its answer or exception comes back through a pipe."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self._answer, write = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            self._run(write, function, arguments)
        os.close(write)
        self._collected = False

    @staticmethod
    def _run(write: int, function: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
        try:
            result = (True, function(*arguments))
        except BaseException as error:
            traceback.print_exc()
            result = (False, repr(error))
        with os.fdopen(write, "wb") as pipe:
            pipe.write(pickle.dumps(result))
        os._exit(0)

    def result(self) -> Any:
        """Wait for the end; what the function returned."""
        with os.fdopen(os.dup(self._answer), "rb") as pipe:
            data = pipe.read()
        self.reap()
        fine, value = pickle.loads(data)
        assert fine, value
        return value

    def kill(self) -> None:
        """Kill it and wait until it is dead."""
        os.kill(self.pid, signal.SIGKILL)
        self.reap()

    def reap(self) -> None:
        """Wait until the process has ended."""
        if not self._collected:
            os.waitpid(self.pid, 0)
            os.close(self._answer)
        self._collected = True


@pytest.fixture
def start() -> Iterator[Callable[..., Child]]:
    """Start a child; those that still run when the test ends are killed."""
    started: list[Child] = []

    def begin(function: Callable[..., Any], *arguments: Any) -> Child:
        started.append(Child(function, *arguments))
        return started[-1]

    yield begin
    for child in started:
        if not child._collected:
            child.kill()


class Gate:
    """A pipe on which one process waits until another opens it."""

    def __init__(self) -> None:
        self._read, self._write = os.pipe()

    def open(self) -> None:
        """Let one waiter through."""
        os.write(self._write, b".")

    def wait(self) -> None:
        """Block until somebody opens."""
        assert os.read(self._read, 1) == b"."

    def close(self) -> None:
        """Close both ends here."""
        os.close(self._read)
        os.close(self._write)


@pytest.fixture
def gate() -> Iterator[Gate]:
    """Return a closed gate."""
    made = Gate()
    yield made
    made.close()


def rest(subscription: shmring.Subscription) -> list[Any]:
    """Everything that can be got now."""
    got = []
    try:
        while True:
            got.append(subscription.get(timeout=0))
    except (shmring.Empty, shmring.ShutDown):
        return got


@pytest.fixture
def drain() -> Callable[[shmring.Subscription], list[Any]]:
    """Return the function that gets everything that is there."""
    return rest

"""What the tests of topics and latest values share: one topic of each overflow, and children that run a function."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

import shmring
import tests.ring.conftest
from tests.ring.conftest import Gate


@pytest.fixture(params=["block", "overwrite"])
def overflow(request: pytest.FixtureRequest) -> str:
    """Return each manner of overflow in turn."""
    return request.param


@pytest.fixture
def topic(overflow: str) -> Iterator[shmring.Topic]:
    """Return an anonymous topic with room for sixteen short messages."""
    with shmring.Topic.create(capacity=16 * 64, overflow=overflow) as made:
        yield made


class Child(tests.ring.conftest.Child):
    """A process that runs a function; its answer or exception comes back through a pipe."""

    def kill(self) -> None:
        """Kill it and wait until it is dead."""
        super().kill()
        self.abandon()


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

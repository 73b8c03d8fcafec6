"""What the tests of codecs share: rings of each kind, and a message of one that cannot be read."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

import shmring

KINDS = ("spsc", "mpmc", "semaphore")


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    """Return each kind of ring in turn."""
    return request.param


@pytest.fixture
def make(kind: str) -> Iterator[Callable[..., shmring.Ring]]:
    """Return a function that makes an anonymous ring of 1 MiB with a codec."""
    made: list[shmring.Ring] = []

    def create(codec: Any, capacity: str = "1 MiB") -> shmring.Ring:
        made.append(shmring.Ring.create(capacity=capacity, kind=kind, codec=codec))
        return made[-1]

    yield create
    for ring in made:
        ring.close()

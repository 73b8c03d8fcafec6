"""What the tests of queues share."""

import os
from collections.abc import Callable, Iterator

import pytest

import shmring


@pytest.fixture
def queue() -> Iterator[shmring.Queue]:
    """Return a queue without a name or a bound, whose first ring has 64 KiB."""
    with shmring.Queue(capacity="64 KiB") as made:
        yield made


@pytest.fixture
def memory_of() -> Callable[[shmring.Queue], int]:
    """Return a function that says how many bytes a queue takes from the system."""
    return lambda queue: os.fstat(queue._chain.root._segment.fd).st_blocks * 512

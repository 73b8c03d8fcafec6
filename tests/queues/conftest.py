"""What the tests of queues share."""

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import shmring
from tests.ring.conftest import Child, Gate, gate, kill_myself, needs_fork, start

__all__ = ["Child", "Deadly", "Gate", "gate", "needs_fork", "start"]

GIVES_BACK = sys.platform != "win32"  # a finished link's memory, and not only to the next
gives_back = pytest.mark.skipif(
    not GIVES_BACK, reason="about memory of queues that goes back: on Windows it is used again, until they go"
)


@pytest.fixture
def queue() -> Iterator[shmring.Queue]:
    """Return a queue without a name or a bound, whose first ring has 64 KiB."""
    with shmring.Queue(capacity="64 KiB") as made:
        yield made


@pytest.fixture
def memory_of() -> Callable[[shmring.Queue], int]:
    """Return a function that says how many bytes a queue takes from the system."""
    if sys.platform == "win32":
        from shmring.segment.windows import win32

        return lambda queue: win32.file_size(queue._chain.root._segment._file)
    return lambda queue: os.fstat(queue._chain.root._segment.fd).st_blocks * 512


class Deadly:
    """Kills whoever gets it, once: the first that takes this file away."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.touch()

    def __reduce__(self) -> tuple[object, ...]:
        return die_once, (self.path,)


def die_once(path: Path) -> str:
    """What a Deadly is on arrival."""
    if path.exists():
        path.unlink()
        kill_myself()
    return "survived"

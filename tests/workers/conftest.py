"""What the tests of workers share."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import shmring

sys.path.append(str(Path(__file__).parent))  # workers import their functions from worker_jobs


@pytest.fixture
def pool() -> Iterator[shmring.ProcessPoolExecutor]:
    """Return a pool of two workers."""
    with shmring.ProcessPoolExecutor(2) as made:
        yield made

"""What a consumer costs that waits on an empty ring, in CPU time.

[ empty ring ]  ──▶  consumer, asleep
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import shmring

from .options import Options
from .results import LOWER, Row, Sample, Table
from .rounds import Entry, Plan
from .trial import run


def plans(options: Options) -> Iterator[Plan]:
    """One table."""
    seconds = 10 * options.seconds
    table = Table("idle", "a consumer waits on an empty ring", "CPU ms in a second", LOWER, {"seconds": seconds})

    def wait(kind: Any) -> Sample:
        with shmring.Ring.create(capacity="1 MiB", kind=kind) as ring:
            before = time.process_time()
            try:
                ring.get(timeout=seconds)
            except shmring.Empty:
                return Sample(1000 * (time.process_time() - before) / seconds)
        raise AssertionError("a message was in a ring that nobody put one into")

    def entry_of(kind: str) -> Entry:
        row = Row(f"shmring {kind}", ours=True)
        return Entry(row, lambda: run(lambda site: wait(kind), seconds + 10))

    yield Plan(table, [entry_of(kind) for kind in ("spsc", "mpmc", "semaphore")], min(2, options.rounds))

"""Python objects a second from one process to one other.

producer  ──▶  pickle ──▶ [ channel ] ──▶ unpickle  ──▶  consumer

Those that do not pickle serialize the same values, msgspec's Structs as such.
"""

from __future__ import annotations

import dataclasses
import pickle
import random
import time
from collections.abc import Iterator
from typing import Any

from . import faces, rivals
from .channel import OBJECTS, ONE_TO_ONE, Contestant
from .options import Options
from .results import HIGHER, Sample, Table
from .rounds import Plan, entry, limit_entry
from .throughput import MEMCPY, c_limits
from .transfer import LARGE, Work, transfer
from .trial import Site

PICKLE = "pickle"
_END = {"over": True}


def small_pool() -> list[Any]:
    """Distinct small dicts, as a pipeline passes them on."""
    return [
        {"id": number, "name": f"item-{number}", "price": number / 7, "tags": ["a", "b"], "at": [number, -number]}
        for number in range(64)
    ]


def large_pool() -> list[Any]:
    """Dicts with 1 MiB of bytes in each."""
    source = random.Random(1)
    return [{"id": number, "payload": source.randbytes(1 << 20)} for number in range(8)]


KINDS = (("small dict", 256, small_pool), ("dict with 1 MiB of bytes", (1 << 20) + 256, large_pool))


def plans(options: Options) -> Iterator[Plan]:
    """A table for each kind of object."""
    for title, length, make in KINDS:
        pool = make()
        work = Work(ONE_TO_ONE, length, options.seconds, options.cpus, pools=[pool], end=_END)
        large = length >= LARGE
        note = "The limit is what pickle alone takes for the slower of its two ways."
        if large:
            note = "The limit is one CPU that copies the bytes; pickle alone copies them both ways."
        table = Table("objects", f"{title}, one to one", "objects/s", HIGHER, {"object": title}, note=note)

        def move(contestant: Contestant, site: Site, work: Work = work) -> Sample:
            return transfer(contestant, _in_structs(work) if contestant.structs else work, site)

        def floor(pool: list[Any] = pool) -> Sample:
            return Sample(pickle_rate(pool, options.seconds / 4))

        them = [*faces.FOR_OBJECTS, *rivals.chosen(options.rivals, rivals.all_of_them())]
        entries = [limit_entry(PICKLE, floor, note="pickle 5, in one process, no transport")]
        entries += [each for each in c_limits(work) if large and each.row.name == MEMCPY]
        for each in them:
            if each.can(ONE_TO_ONE, OBJECTS) and not ((each.batched or each.structs) and large):
                limit = MEMCPY if large else "" if each.unpickled else PICKLE
                entries.append(entry(each, move, work.deadline, limit=limit))
        yield Plan(table, entries, options.rounds)


def _in_structs(work: Work) -> Work:
    from .structs import END, Item

    return dataclasses.replace(work, pools=[[Item(**each) for each in work.pools[0]]], end=END)


def pickle_rate(pool: list[Any], seconds: float) -> float:
    """Objects a second of the slower one of dumps and loads; two processes do them at the same time."""
    texts = [pickle.dumps(each, 5) for each in pool]
    return min(_rate(lambda each: pickle.dumps(each, 5), pool, seconds), _rate(pickle.loads, texts, seconds))


def _rate(act: Any, pool: list[Any], seconds: float) -> float:
    count, began = 0, time.perf_counter()
    while (passed := time.perf_counter() - began) < seconds or not count:
        for each in pool:
            act(each)
        count += len(pool)
    return count / passed

"""No acquire, release or fence of the algorithms could be weaker: each is made so, and a configuration has to fail.

What no configuration notices stands in orderings.txt with the reason; what only one that does not end notices stands
there with its name. An entry that matches nothing fails, and so does one that is not true.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

import exploring
from exploring import ENDLESS, SLOW
from sources import Change, listed, source, weakenings

pytestmark = [pytest.mark.verify, pytest.mark.timeout(1800)]

FILES = (
    "spsc.c", "mpmc.c", "line.c", "repair.c", "semaphore.c", "topic.c", "latest.c", "wait.c", "wait.h", "blocking.c",
    "blocking.h",
)  # fmt: skip
# The configurations that notice a weakening of these files; rings notice the others'.
NOTICED_IN = {"topic.c": "topics.c", "latest.c": "latests.c", "line.c": "lines.c"}
# A redundant one is held to its entry by so many executions of each configuration, in soak by all that end. Another is
# tried with as many of each first, as most are noticed early by one configuration or another.
FEW = 3_000

ALONE, REDUNDANT = listed("orderings.txt")


def limits_of(weakening: Change, names: list[str], effort: float) -> Iterator[tuple[str, int]]:
    """The configurations to try, in turn, each with so many executions; 0 is all."""
    ending = [name for name in names if name not in ENDLESS and name not in SLOW]
    if weakening.name in ALONE:
        yield ALONE[weakening.name]
    elif weakening.name in REDUNDANT:
        yield from ((name, 0 if name in ending and effort > 1 else FEW) for name in names)
    else:
        yield from ((name, FEW) for name in ending)
        yield from ((name, 0) for name in ending)


def notice(weakening: Change, objects: Path, effort: float) -> str | None:
    """The first configuration that fails with this weakening, or nothing."""
    with tempfile.TemporaryDirectory() as folder:
        files = (NOTICED_IN.get(weakening.file, "rings.c"),)
        text = weakening.applied(source(weakening.file).read_text())
        program = exploring.build_changed(Path(folder), objects, weakening.file, text, files=files)
        for name, limit in limits_of(weakening, exploring.names(program), effort):
            if exploring.run(program, name, limit, patience=120).failure is not None:
                return name
    return None


def test_every_entry_stands_for_one_ordering_that_is_there() -> None:
    names = Counter(each.name for file in FILES for each in weakenings(file))
    assert [name for name, count in names.items() if count > 1] == [], "one entry would excuse all of these"
    assert (ALONE.keys() | REDUNDANT.keys()) - names.keys() == set(), "entries for what is there no more"


def test_every_weaker_ordering_is_noticed_or_known_to_be_redundant(
    objects: Path, effort: float, figure: Callable[[str], None]
) -> None:
    everything = [each for file in FILES for each in weakenings(file)]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        found = list(pool.map(lambda each: notice(each, objects, effort), everything))
    noticed_by = {each.name: by for each, by in zip(everything, found, strict=True)}
    unnoticed = [name for name, by in noticed_by.items() if not by and name not in REDUNDANT]
    assert not unnoticed, "nobody notices these:\n" + "\n".join(unnoticed)
    assert {name: by for name, by in noticed_by.items() if by and name in REDUNDANT} == {}, "these are not redundant"
    figure(
        f"{len(everything)} weakened orderings: {len(everything) - len(REDUNDANT)} noticed, {len(REDUNDANT)} redundant"
    )
    bound = "all executions that end" if effort > 1 else f"{FEW:,} executions of each configuration"
    figure(f"the redundant ones held to that by {bound}")

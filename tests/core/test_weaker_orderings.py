"""No acquire, release or fence of the algorithms could be weaker: each is made so, and a configuration has to fail.

What no configuration notices stands in orderings.txt with the reason; what only one that does not end notices stands
there with its name. An entry that matches nothing fails, and so does one that is not true.
"""

from __future__ import annotations

import os
import re
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

import exploring
from exploring import ENDLESS, SLOW
from sources import Weakening, weakenings

pytestmark = [pytest.mark.verify, pytest.mark.timeout(1800)]

FILES = (
    "spsc.c", "mpmc.c", "repair.c", "semaphore.c", "topic.c", "latest.c", "wait.c", "wait.h", "blocking.c", "blocking.h"
)  # fmt: skip
# The configurations that notice a weakening of these files; rings notice the others'.
NOTICED_IN = {"topic.c": "topics.c", "latest.c": "latests.c"}
# A redundant one is held to its entry by so many executions of each configuration, in soak by all that end.
REDUNDANT_EXECUTIONS = 3_000

NOTICED_BY = re.compile(r"noticed by (\S+) within (\d+) executions")


def known() -> tuple[dict[str, tuple[str, int]], dict[str, str]]:
    """What one configuration alone notices, with its executions, and what is redundant, with the reason."""
    alone: dict[str, tuple[str, int]] = {}
    redundant: dict[str, str] = {}
    heading = ""
    for line in (Path(__file__).parent / "orderings.txt").read_text().splitlines():
        entry = line.strip()
        if not entry or entry.startswith("#"):
            continue
        if not line.startswith(" "):
            heading = entry
            continue
        assert entry not in alone.keys() | redundant.keys(), f"twice in orderings.txt: {entry}"
        if found := NOTICED_BY.fullmatch(heading):
            alone[entry] = found[1], int(found[2])
        else:
            redundant[entry] = heading
    return alone, redundant


ALONE, REDUNDANT = known()


def limit_of(weakening: Weakening, configuration: str, effort: float) -> int | None:
    """How many executions of a configuration this weakening is tried with; 0 is all, None is not at all."""
    if weakening.name in REDUNDANT:
        ends = configuration not in ENDLESS and configuration not in SLOW
        return 0 if ends and effort > 1 else REDUNDANT_EXECUTIONS
    if weakening.name in ALONE:
        return ALONE[weakening.name][1] if configuration == ALONE[weakening.name][0] else None
    return None if configuration in ENDLESS or configuration in SLOW else 0


def notice(weakening: Weakening, objects: Path, effort: float) -> str | None:
    """The first configuration that fails with this weakening, or nothing."""
    with tempfile.TemporaryDirectory() as folder:
        files = (NOTICED_IN.get(weakening.file, "rings.c"),)
        program = exploring.build_weakened(Path(folder), objects, weakening, files)
        for name in exploring.names(program):
            limit = limit_of(weakening, name, effort)
            if limit is not None and exploring.run(program, name, limit, patience=120).failure is not None:
                return name
    return None


def test_every_entry_stands_for_one_ordering_that_is_there() -> None:
    names = Counter(each.name for file in FILES for each in weakenings(file))
    assert [name for name, count in names.items() if count > 1] == [], "one entry would excuse all of these"
    assert (ALONE.keys() | REDUNDANT.keys()) - names.keys() == set(), "entries for what is there no more"


def test_every_weaker_ordering_is_noticed_or_known_to_be_redundant(
    tmp_path: Path, effort: float, figure: Callable[[str], None]
) -> None:
    everything = [each for file in FILES for each in weakenings(file)]
    exploring.build_objects(tmp_path)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        found = list(pool.map(lambda each: notice(each, tmp_path, effort), everything))
    noticed_by = {each.name: by for each, by in zip(everything, found, strict=True)}
    assert [name for name, by in noticed_by.items() if not by and name not in REDUNDANT] == [], "nobody notices these"
    assert {name: by for name, by in noticed_by.items() if by and name in REDUNDANT} == {}, "these are not redundant"
    figure(
        f"{len(everything)} weakened orderings: {len(everything) - len(REDUNDANT)} noticed, {len(REDUNDANT)} redundant"
    )
    bound = "all executions that end" if effort > 1 else f"{REDUNDANT_EXECUTIONS:,} executions of each configuration"
    figure(f"the redundant ones held to that by {bound}")

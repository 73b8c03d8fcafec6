"""Every execution of the core's algorithms, in small rings that wrap.

The explorer (explorer/) is held to itself first: what it finds cleverly, it must find naively as well.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

import exploring
from exploring import ENDLESS, SLOW
from sources import compiled, source

pytestmark = [pytest.mark.verify, pytest.mark.timeout(1800)]

# name: executions explored, distinct ones cleverly, distinct ones naively, outcomes seen either way (bits), failure
LITMUS = """\
store-buffering 8 4 4 3 3 -
store-buffering-fenced 6 3 3 2 2 -
message-passing 6 3 3 2 2 -
message-passing-relaxed 7 4 4 3 3 -
release-sequence 24 9 9 2 2 -
independent-reads 77 16 16 1 1 -
coherence 20 6 6 2 2 -
compare-and-swap 6 3 3 2 2 -
plain-behind-a-flag 3 2 2 0 0 -
plain-race 0 0 0 0 0 data race: a read of what is being written
park 10 4 4 2 2 -
park-unfenced 12 5 5 3 3 -
kill 9 6 6 6 6 -
"""


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Return the programs of all configurations, over the core as it is."""
    folder = tmp_path_factory.mktemp("explorer")
    return [exploring.build(folder, program=program) for program in exploring.PROGRAMS]


def test_the_explorer_finds_what_naive_enumeration_finds(tmp_path: Path) -> None:
    sources = [exploring.EXPLORER / name for name in ("explorer.c", "memory.c", "litmus.c")]
    program = compiled(sources, tmp_path / "litmus", *exploring.FLAGS)
    assert subprocess.run([program], capture_output=True, text=True, check=True).stdout == LITMUS


def test_no_execution_breaks_a_promise(programs: list[Path], effort: float, figure: Callable[[str], None]) -> None:
    where = {name: program for program in programs for name in exploring.names(program)}
    assert set(ENDLESS) | SLOW <= set(where)

    def explored(name: str) -> exploring.Exploration:
        return exploring.run(where[name], name, int(ENDLESS.get(name, 0) * effort))

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        found = dict(zip(where, pool.map(explored, where), strict=True))
    for name, result in found.items():
        assert result.failure is None, f"{name}: {result.failure}"
        assert result.finished or name in ENDLESS, f"{name} did not end"
        bound = "all executions" if result.finished else "executions, not all"
        figure(f"{name}: {result.executions:,} {bound}, {result.pruned:,} pruned")


# file, what stands there, what is planted, and the configurations that have to notice, each with its executions
PLANTED = {
    "a repair that aborts what was taken": (
        "repair.c",
        "state == SR_CLAIMED ? SR_ABORTED : SR_RETURNED",
        "SR_ABORTED",
        {"mpmc-kill-consumer": 0},
    ),
    "a repair that mends only the first record": (
        "repair.c",
        "    repair->returned += state == SR_TAKEN;\n",
        "    repair->returned += state == SR_TAKEN;\n    repair->dead_owner = UINT64_MAX;\n",
        {"repair-many": 0, "repair-many-kill-repairer": 1000},
    ),
    "a walk that is overtaken and ends": (
        "repair.c",
        "            position = now;\n",
        "return SR_OK;",
        {"repair-many": 0},
    ),
    "a subscriber that does not look again as it comes": (
        "topic.c",
        "(result == SR_OK && passed(self, place.position)))\n            continue; /* only",
        "false)\n            continue; /* only",
        {"topic-late-small": 0},
    ),
    "a waiter that overwrites a later mark": (
        "wait.c",
        "(armed == 0 || (int32_t)(armed - mine) < 0)",
        "true",
        {"park-late": 0},
    ),
    "a claimer that is overtaken while it reclaims": (
        "mpmc.c",
        "end == start ? !moved_on(hint, start)",
        "end == start ? true",
        {"churn-room": 0},
    ),
    "counts from positions of two instants": (
        "repair.c",
        "if (SR_LOAD(&self->header->read_position, relaxed) == position)",
        "if (true)",
        {"churn-count-spsc": 0},
    ),
    "a turn that is never taken away": (
        "blocking.c",
        "is_half_free(self, turn) &&",
        "false &&",
        {"line-stands-still": 0},
    ),
    "a comer who does not check that it got the lock of its entry": (
        "attach.c",
        "        if (lock == SR_OS_LOCK_HELD)\n            continue;\n",
        "",
        {"come-beside-reaper": 0, "kill-comer": 0},
    ),
    "a repairer that does not free the role of a dead side": (
        "attach.c",
        "SR_CAS(&self->header->role_owner[side], &holder, 0, acq_rel);",
        ";",
        {"role-beside-reaper": 0, "kill-producer": 0},
    ),
}


@pytest.mark.parametrize("what", PLANTED)
def test_a_planted_bug_is_found(what: str, tmp_path: Path) -> None:
    file, before, after, noticed_by = PLANTED[what]
    text = source(file).read_text()
    assert text.count(before) == 1
    planted = text.replace(before, after)
    if "look again" in what:  # it looks twice: each look makes up for the other
        planted = planted.replace("while (passed(self, place.position));", "while (false);")
    program = exploring.build(tmp_path, file, planted, exploring.COMINGS if file == "attach.c" else exploring.RINGS)
    for name, limit in noticed_by.items():
        assert exploring.run(program, name, limit).failure, f"{name} does not notice"

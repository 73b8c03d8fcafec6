"""Every execution of the core's algorithms, in small rings that wrap; and no ordering of theirs that could be weaker.

The explorer (explorer/) is held to itself first: what it finds cleverly, it must find naively as well.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

import exploring
from sources import CORE, Weakening, compiled, weakenings

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

# These do not end in any reasonable time: so many executions are looked at, in soak more.
ENDLESS = {
    "mpmc-2p1c-x2": 300_000,
    "mpmc-1p2c-x3": 300_000,
    "mpmc-3p": 300_000,
    "mpmc-3p1c": 300_000,
    "mpmc-kill-consumer-put": 300_000,
    "churn-claim": 300_000,
    "churn-return": 300_000,
    "park-mpmc-2c": 50_000,
    "park-mpmc-2p": 50_000,
    "park-room-mpmc": 50_000,
    "topic-2p1s": 100_000,
    "topic-threads": 100_000,
    "topic-late": 50_000,
    "topic-late-2p": 50_000,
    "topic-park": 50_000,
    "topic-park-2s": 50_000,
    "overwrite-1p1s": 100_000,
    "overwrite-2p1s": 100_000,
    "overwrite-late-2p": 100_000,
    "overwrite-2p": 50_000,
    "overwrite-3": 50_000,
    "latest-park-2r": 50_000,
}
SLOW = {
    "spsc",
    "mpmc-2p1c",
    "mpmc-1p2c",
    "room-long-2",
    "park-mpmc",
    "topic-2p1s-small",
    "topic-kill-publisher",
    "latest-1w2r",
}  # these end, but a mutant shows in a smaller one

# The configurations that notice a weakening of these files; rings notice the others'.
NOTICED_IN = {"topic.c": "topics.c", "latest.c": "latests.c"}

WORD = "the same word is loaded with acquire before, or swapped with acquire after: either will do"
HINT = "positions are hints: whoever acts on an old one fails at the record's word, and looks again"
BEFORE = "the position was read with acquire just before"
SHOWN = "only looks: of one instant, or under the lifecycle lock, whose kernel calls order"
FENCED = "the fences of park-or-seen order the same"
CLAIMED = "a claim is fenced before its producer looks at shutdown, so it is seen, and what is claimed is waited for"
ROLE = "the compare-and-swap that took the role has ordered it"
SEQUENCE = "the record's new state goes on with the release sequence of COMMITTED"
THREADS = "between threads of one process only; the configuration for it (topic-threads) does not end"
SERIAL = "the record words order; the mutex only gives the textbook's order of events"
REDUNDANT = {
    "mpmc.c help #1 acq_rel->release": BEFORE,
    "mpmc.c moved_on #1 acquire->relaxed": "what made the position look old is newer than its move: coherence shows it",
    "mpmc.c reclaim #1 acquire->relaxed": HINT,
    "mpmc.c reclaim #3 acq_rel->release": BEFORE,
    "mpmc.c sr_mpmc_try_claim #3 acq_rel->release": WORD,
    "mpmc.c take_word #1 acq_rel->acquire": SEQUENCE,
    "mpmc.c take_word #1 acq_rel->release": WORD,
    "mpmc.c take_returned #2 acquire->relaxed": HINT,
    "mpmc.c take_returned #3 acquire->relaxed": WORD,
    "mpmc.c take_returned #4 acquire->relaxed": HINT,
    "mpmc.c catch_up #1 acquire->relaxed": HINT,
    "mpmc.c catch_up #2 acq_rel->acquire": HINT,
    "mpmc.c catch_up #2 acq_rel->release": BEFORE,
    "mpmc.c sr_mpmc_try_take #1 acquire->relaxed": HINT,
    "mpmc.c sr_mpmc_maybe_ready #1 acquire->relaxed": FENCED,
    "mpmc.c sr_mpmc_maybe_ready #2 acquire->relaxed": FENCED,
    "mpmc.c sr_mpmc_maybe_ready #3 acquire->relaxed": FENCED,
    "repair.c walk #1 acquire->relaxed": HINT,
    "repair.c walk #3 acquire->relaxed": HINT,
    "repair.c repair_record #1 acq_rel->acquire": SEQUENCE,
    "repair.c repair_record #1 acq_rel->release": WORD,
    "repair.c count_spsc #1 acquire->relaxed": SHOWN,
    "repair.c count_spsc #2 acquire->relaxed": SHOWN,
    "repair.c sr_contents_read #1 acquire->relaxed": SHOWN,
    "wait.c sr_event_announce #1 acquire->relaxed": FENCED,
    "wait.c sr_event_wake #1 release->relaxed": FENCED,
    "blocking.c sr_after_empty #2 acquire->relaxed": CLAIMED,
    "blocking.c sr_after_empty #3 acquire->relaxed": CLAIMED,
    "blocking.c sr_shut_down #1 release->relaxed": CLAIMED,
    "blocking.h sr_try_take #1 acquire->relaxed": CLAIMED,
    "semaphore.c enter #1 acquire->relaxed": SERIAL,
    "semaphore.c enter #2 release->relaxed": SERIAL,
    "semaphore.c leave #1 release->relaxed": SERIAL,
    "semaphore.c sr_semaphore_repair #1 acquire->relaxed": SERIAL,
    "semaphore.c sr_semaphore_repair #2 release->relaxed": SERIAL,
    "topic.c oldest #3 acquire->relaxed": "a count of the next lap, read with acquire, shows the move before it",
    "topic.c passed #1 acquire->relaxed": "comes after a fence where it decides, and else only says to look again",
    "topic.c go_on #2 acquire->relaxed": WORD,
    "topic.c helped #2 acquire->relaxed": "the walk to the oldest reads the same words with acquire",
    "topic.c raise_count #1 release->relaxed": "only a configuration that does not end (overwrite-late-2p) can tell",
    "topic.c take_oldest_away #1 acq_rel->release": BEFORE,
    "topic.c take_oldest_away #2 acquire->relaxed": "the fence that follows orders it",
    "topic.c take_oldest_away #4 release->relaxed": THREADS,
    "topic.c sr_topic_make_room #1 acquire->relaxed": THREADS,
    "topic.c sr_topic_unsubscribe #1 acquire->relaxed": "our own bit, or that of one whose death the kernel told us",
    "topic.c sr_topic_maybe_ready #1 acquire->relaxed": CLAIMED,
    "topic.c sr_topic_undelivered #1 acquire->relaxed": SHOWN,
    "topic.c sr_topic_undelivered #2 acquire->relaxed": SHOWN,
    "spsc.c sr_spsc_claim_is_open #1 acquire->relaxed": "an owner out of date costs a look-up, no message",
    "spsc.c sr_spsc_adopt #1 acquire->relaxed": ROLE,
    "spsc.c sr_spsc_adopt #2 acquire->relaxed": ROLE,
}


@pytest.fixture(scope="module")
def rings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the program of all configurations, over the core as it is."""
    return exploring.build(tmp_path_factory.mktemp("explorer"))


def test_the_explorer_finds_what_naive_enumeration_finds(tmp_path: Path) -> None:
    sources = [exploring.EXPLORER / name for name in ("explorer.c", "memory.c", "litmus.c")]
    program = compiled(sources, tmp_path / "litmus", *exploring.FLAGS)
    assert subprocess.run([program], capture_output=True, text=True, check=True).stdout == LITMUS


def test_no_execution_breaks_a_promise(rings: Path, effort: float, figure: Callable[[str], None]) -> None:
    names = exploring.names(rings)
    assert set(ENDLESS) | SLOW <= set(names)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        limits = [int(ENDLESS.get(name, 0) * effort) for name in names]
        found = dict(
            zip(names, pool.map(lambda name, limit: exploring.run(rings, name, limit), names, limits), strict=True)
        )
    for name, result in found.items():
        assert result.failure is None, f"{name}: {result.failure}"
        assert result.finished or name in ENDLESS, f"{name} did not end"
        bound = "all executions" if result.finished else "executions, not all"
        figure(f"{name}: {result.executions:,} {bound}, {result.pruned:,} pruned")


def survives(weakening: Weakening) -> bool:
    """No configuration notices this weakening."""
    with tempfile.TemporaryDirectory() as folder:
        program = exploring.build(Path(folder), weakening, (NOTICED_IN.get(weakening.file, "rings.c"),))
        quick = [name for name in exploring.names(program) if name not in ENDLESS and name not in SLOW]
        return all(exploring.run(program, name, patience=120).failure is None for name in quick)


def test_every_weaker_ordering_is_noticed_or_known_to_be_redundant(
    effort: float, figure: Callable[[str], None]
) -> None:
    files = ("spsc.c", "mpmc.c", "repair.c", "semaphore.c", "topic.c", "latest.c")
    files += ("wait.c", "wait.h", "blocking.c", "blocking.h")
    everything = [each for file in files for each in weakenings(file)]
    assert {each.name for each in everything} >= set(REDUNDANT), "an entry for what is there no more"
    # Those known to survive are tried only when there is time.
    tried = [each for each in everything if effort > 1 or each.name not in REDUNDANT]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        survivors = {each.name for each, alive in zip(tried, pool.map(survives, tried), strict=True) if alive}
    assert survivors - set(REDUNDANT) == set(), "nobody notices these"
    figure(
        f"{len(everything)} weakened orderings: {len(everything) - len(REDUNDANT)} noticed, {len(REDUNDANT)} redundant"
    )


def test_a_planted_bug_in_the_repair_is_found(tmp_path: Path) -> None:
    source = (CORE / "repair.c").read_text()
    planted = source.replace("state == SR_CLAIMED ? SR_ABORTED : SR_RETURNED", "SR_ABORTED")
    assert planted != source
    bug = Weakening("repair.c", "repair_record", 1, source, planted, 0)
    program = exploring.build(tmp_path, bug)
    assert exploring.run(program, "mpmc-kill-consumer").failure

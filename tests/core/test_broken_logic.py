"""The core's logic broken in every way that logic.py knows, one at a time: a configuration has to fail.

What none notices stands in logic.txt with the reason why it is no bug; what only a certain one notices stands there
with its name. An entry that matches nothing fails, and so does one that is not true. `make verify` tries a sample,
another one each day; its seed is printed, and SHMRING_SEED=... repeats it. `make soak` tries all.
"""

from __future__ import annotations

import datetime
import os
import random
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

sys.path.insert(0, str(Path(__file__).parent))

import exploring
from exploring import COMINGS, ENDLESS, RINGS, SLOW, Program
from sources import listed

if TYPE_CHECKING:
    from logic import Break

pytestmark = [pytest.mark.verify, pytest.mark.timeout(4 * 3600)]

MODELS = ("models.c", "hostile.c")
TOPICS = ("topic_models.c", "topics.c")
# The configurations to ask of each file, those first that notice most.
ASKED: dict[str, dict[Program, tuple[str, ...]]] = {
    "spsc.c": {RINGS: (*MODELS, "rings.c"), COMINGS: COMINGS.files},
    "line.c": {RINGS: (*MODELS, "line_models.c", "lines.c", "rings.c")},
    "repair.c": {RINGS: (*MODELS, "rings.c", *TOPICS, "lines.c"), COMINGS: COMINGS.files},
    "semaphore.c": {RINGS: (*MODELS, "rings.c")},
    "latest.c": {RINGS: (*MODELS, "topic_models.c", "latests.c")},
    "wait.c": {RINGS: ("rings.c", "topics.c", "latests.c", "lines.c")},
    "wait.h": {RINGS: ("rings.c", "topics.c", "latests.c")},
    "attach.c": {COMINGS: COMINGS.files},
}
FEW, MORE = 300, 3_000  # executions of each configuration; most is noticed by few of one
PATIENCE_MS = {FEW: 600, MORE: 5_000}  # of the processor: what is broken may go round in circles
LONG_PATIENCE_MS = 120_000
SAMPLE, LISTED_SAMPLE = 250, 10
SAMPLE_SECONDS = 60  # on a busy machine the sample is smaller

ALONE, HARMLESS = listed("logic.txt")


@cache
def numbered() -> dict[str, tuple[int, Break]]:
    """All breaks by name, each with its number in its file."""
    from logic import breaks  # needs tree-sitter, which `make verify` installs, and `make test` does not

    found = [numbered for file in ASKED for numbered in enumerate(breaks(file), start=1)]
    assert len({each.name for _, each in found}) == len(found), "one entry would excuse several"
    return {each.name: (number, each) for number, each in found}


@dataclass(frozen=True)
class Asked:
    """A program with every break of a file in it, and its configurations."""

    program: Path
    names: list[str]

    def noticed(self, number: int, each: Break, effort: float) -> str | None:
        """The first configuration that fails with this break: all by a few executions, then by more."""
        if each.name in ALONE:
            alone, limit = ALONE[each.name]
            wanted = [name for name in self.names if name == alone]
            return exploring.first_to_fail(self.program, number, wanted, limit, LONG_PATIENCE_MS) if wanted else None
        models = [name for name in self.names if name.startswith(("model", "hostile"))]
        others = [name for name in self.names if name not in models]
        for names, limit in ((models + others, FEW), (others, MORE)):
            if by := exploring.first_to_fail(self.program, number, names, limit, PATIENCE_MS[limit]):
                return by
            if each.name in HARMLESS and effort <= 1:
                return None
        all_of = [name for name in others if name not in ENDLESS and name not in SLOW]
        return exploring.first_to_fail(self.program, number, all_of, 0, LONG_PATIENCE_MS)


def programs_for(folder: Path, objects: Path, file: str) -> list[Asked]:
    """Build them, each in a folder of its own."""
    from logic import breakable

    text, asked = breakable(file), []
    for program, files in ASKED[file].items():
        (place := folder / file / program.name).mkdir(parents=True)
        built = exploring.build_changed(place, objects, file, text, program, files)
        asked.append(Asked(built, exploring.names(built)))
    return asked


def chosen(effort: float) -> tuple[list[Break], int | None]:
    """All of them, or today's sample, listed ones among them, and its seed."""
    everything = [each for _, each in numbered().values()]
    if effort > 1:
        return everything, None
    asked = os.environ.get("SHMRING_SEED")
    seed = int(asked) if asked else datetime.datetime.now(tz=datetime.UTC).date().toordinal()
    chance = random.Random(seed)
    harmless = [each for each in everything if each.name in HARMLESS]
    harmful = [each for each in everything if each.name not in HARMLESS]
    share = chance.sample(harmful, round(SAMPLE * effort))
    for each in chance.sample(harmless, min(len(harmless), round(LISTED_SAMPLE * effort))):
        share.insert(chance.randrange(len(share)), each)
    return share, seed


def test_every_entry_stands_for_one_break_that_is_there() -> None:
    assert (ALONE.keys() | HARMLESS.keys()) - numbered().keys() == set(), "entries for what is there no more"


def test_broken_logic_is_noticed_or_known_to_be_harmless(
    tmp_path: Path, objects: Path, effort: float, figure: Callable[[str], None]
) -> None:
    share, seed = chosen(effort)
    hurries = seed is not None and "SHMRING_SEED" not in os.environ
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        files = sorted({each.file for each in share})
        asked = dict(zip(files, pool.map(lambda file: programs_for(tmp_path, objects, file), files), strict=True))
        give_up = time.monotonic() + SAMPLE_SECONDS * max(effort, 0.1)

        def try_one(each: Break) -> tuple[str, str | None] | None:
            if hurries and time.monotonic() > give_up:
                return None
            by = (one.noticed(numbered()[each.name][0], each, effort) for one in asked[each.file])
            return each.name, next((name for name in by if name), None)

        found = dict(each for each in pool.map(try_one, share) if each)
    how = f"a sample, to be repeated by SHMRING_SEED={seed}" if seed is not None else "all there are"
    unnoticed = [name for name, by in found.items() if not by and name not in HARMLESS]
    noticed = {name: by for name, by in found.items() if by and name in HARMLESS}
    assert not unnoticed, f"nobody notices these ({how}):\n" + "\n".join(unnoticed)
    assert noticed == {}, f"these do harm ({how})"
    harmless = sum(name in HARMLESS for name in found)
    figure(f"{len(found)} of {len(numbered())} breaks of the logic ({how}): {len(found) - harmless} noticed")
    figure(f"{harmless} of {len(HARMLESS)} that are listed as harmless: nobody notices")

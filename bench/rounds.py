"""Rounds: everybody once, in turn, and again, each time beginning with somebody else.

round 1:  A B C D      A machine that changes its pace between minutes changes it for everybody,
round 2:  B C D A      and nobody always follows the same neighbour.
round 3:  C D A B
"""

from __future__ import annotations

import dataclasses
import os
import time
from collections.abc import Callable, Iterator

from . import machine, trial
from .channel import Contestant
from .histogram import merged
from .results import CONTESTANT, LIMIT, Row, Sample, Table
from .trial import OK, Outcome, Site

Progress = Callable[[str], None]


@dataclasses.dataclass(frozen=True)
class Entry:
    """Somebody who takes part in a table: a row to fill, and a trial that gives a Sample."""

    row: Row
    trial: Callable[[], Outcome]


@dataclasses.dataclass(frozen=True)
class Plan:
    """A table to be filled and who takes part; how often."""

    table: Table
    entries: list[Entry]
    rounds: int


def entry(
    contestant: Contestant, work: Callable[[Contestant, Site], Sample], deadline: float, limit: str = ""
) -> Entry:
    """A contestant, whose work is done in processes of its own."""
    row = Row(contestant.name, CONTESTANT, contestant.ours, limit=limit, note=contestant.note)
    row.version = contestant.distribution
    return Entry(
        row, lambda: trial.run(lambda site: work(contestant, site), deadline, contestant.litter, contestant.clear)
    )


def limit_entry(name: str, work: Callable[[], Sample], deadline: float = 60.0, note: str = "") -> Entry:
    """What the machine can do at best."""
    return Entry(Row(name, LIMIT, note=note), lambda: trial.run(lambda site: work(), deadline))


def fill(plan: Plan, progress: Progress) -> Table:
    """Run every round of a table. One that fails once is not tried again: its reason stands in its row."""
    entries = plan.entries
    samples: dict[int, list[Sample]] = {}
    for number in range(plan.rounds):
        turn = number % len(entries) if entries else 0
        for each in entries[turn:] + entries[:turn]:
            if each.row.status != OK:
                continue
            progress(f"{plan.table.topology}: {plan.table.title}, round {number + 1} of {plan.rounds}, {each.row.name}")
            outcome, foreign, stolen = _watched(each.trial)
            each.row.foreign.append(round(foreign, 3))
            each.row.stolen.append(round(stolen, 3))
            if outcome.status == OK:
                each.row.values.append(outcome.measured.value)
                samples.setdefault(id(each), []).append(outcome.measured)
            else:
                where = f"in round {number + 1}: " if number else ""
                each.row.status, each.row.reason = outcome.status, where + outcome.reason
    for each in entries:
        _summarise(each.row, samples.get(id(each), []))
        plan.table.rows.append(each.row)
    return plan.table


def _watched(work: Callable[[], Outcome]) -> tuple[Outcome, float, float]:
    """The outcome, and how much of a CPU others used meanwhile, and the machine's host took."""
    (busy, stolen), own, began = machine.busy_seconds(), _own_seconds(), time.monotonic()
    outcome = work()
    wall = max(0.01, time.monotonic() - began)
    busy_now, stolen_now = machine.busy_seconds()
    others = (busy_now - busy) - (_own_seconds() - own) - 2 * machine.TICK  # what rounding may make of nothing
    return outcome, max(0.0, others) / wall, (stolen_now - stolen) / wall


def _own_seconds() -> float:
    used = os.times()
    return used.user + used.system + used.children_user + used.children_system


def _summarise(row: Row, samples: list[Sample]) -> None:
    for name in dict.fromkeys(name for sample in samples for name in sample.figures):
        values = sorted(sample.figures[name] for sample in samples if name in sample.figures)
        row.figures[name] = values[len(values) // 2]
    if histograms := [sample.histogram for sample in samples if sample.histogram]:
        row.histogram, percentiles = merged(histograms)
        row.figures.update(percentiles)


def failing(tables: list[Table]) -> Iterator[tuple[Table, Row]]:
    """Our own rows that did not do their work, those apart that this version does not have."""
    for table in tables:
        for row in table.rows:
            if row.ours and row.status not in (OK, trial.ABSENT, trial.UNSUPPORTED):
                yield table, row

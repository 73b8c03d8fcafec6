"""How one result differs from another, row by row, and whether that is a regression.

A ratio above 1 is better, whichever way the unit of the table goes. A row is a regression when even the favourable end
of its confidence interval is worse than the threshold, or when it was ok and is not any more, or is gone. With too few
rounds for 95 %, the interval is the widest there is, says how sure it is, and decides nothing; what was counted and not
timed needs no rounds.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from . import statistics, words
from .results import CONTESTANT, HIGHER, Result, Row, Table
from .trial import OK

BETTER, SAME, WORSE, BROKEN, MENDED, GONE = "better", "no difference", "WORSE", "NOW FAILS", "works now", "IS GONE"
UNSURE = "too few rounds to tell"


@dataclasses.dataclass(frozen=True)
class Change:
    """One row in both results."""

    table: str
    name: str
    ours: bool
    verdict: str
    before: str
    after: str
    ratio: statistics.Ratio | None = None
    noise: str = ""

    @property
    def is_regression(self) -> bool:
        """Whether it is worse beyond the threshold."""
        return self.verdict in (WORSE, BROKEN, GONE)

    def cells(self) -> list[str]:
        """It as a line of a table."""
        if self.ratio is None:
            return [self.table, self.name, self.before, self.after, "", "", self.verdict]
        interval = f"{self.ratio.low:.2f} - {self.ratio.high:.2f}"
        if self.ratio.confidence < statistics.CONFIDENCE:
            interval += f" ({100 * self.ratio.confidence:.0f} %)"
        verdict = self.verdict + (" (noisy)" if self.noise else "")
        return [self.table, self.name, self.before, self.after, f"{self.ratio.value:.2f}x", interval, verdict]

    def asdict(self) -> dict[str, Any]:
        """It as plain values."""
        return {**dataclasses.asdict(self), "regression": self.is_regression}


def compare(before: Result, after: Result, threshold: float = 0.05) -> list[Change]:
    """Every row that is in a table of both results; ``threshold`` is a part, 0.05 for 5 %."""
    if not 0 <= threshold < 1:
        raise ValueError(f"threshold is {threshold}; it is a part from 0 to below 1, 0.05 for 5 %")
    later = {table.key: table for table in after.tables}
    changes = []
    for table in before.tables:
        if other := later.get(table.key):
            changes += [_change(table, row, other, other.row(row.name), threshold) for row in table.rows]
    if not changes:
        raise ValueError(
            f"nothing can be compared: {before.command!r} and {after.command!r} have no table of the same title"
        )
    return changes


def alone(before: Result, after: Result) -> list[str]:
    """The tables that only one of them has, in words."""
    earlier, later = ({table.key for table in each.tables} for each in (before, after))
    return [
        f"{key}: only in {where}"
        for keys, where in ((earlier - later, "the first"), (later - earlier, "the second"))
        for key in sorted(keys)
    ]


def _change(table: Table, row: Row, later: Table, other: Row | None, threshold: float) -> Change:
    ours = row.ours and row.role == CONTESTANT
    before, after = _shown(table, row), _shown(later, other) if other else ""
    if other is None or not (_is_comparable(row) and _is_comparable(other)):
        worked, works = row.status == OK, other is not None and other.status == OK
        verdict = (SAME if works else BROKEN) if worked else (MENDED if works else SAME)
        return Change(table.key, row.name, ours, GONE if other is None else verdict, before, after)
    ratio = statistics.ratio(row.values, other.values)
    if table.better != HIGHER:
        ratio = statistics.Ratio(1 / ratio.value, 1 / ratio.high, 1 / ratio.low, ratio.confidence)
    verdict = WORSE if ratio.high < 1 - threshold else BETTER if ratio.low > 1 + threshold else SAME
    if verdict != SAME and ratio.confidence < statistics.CONFIDENCE and not (row.counted and other.counted):
        verdict = UNSURE
    return Change(table.key, row.name, ours, verdict, before, after, ratio, "; ".join([*row.noise, *other.noise]))


def _is_comparable(row: Row) -> bool:
    return row.status == OK and bool(row.values) and min(row.values) > 0


def _shown(table: Table, row: Row) -> str:
    return words.value(table, row.median) if row.status == OK and row.values else words.STATUS[row.status]

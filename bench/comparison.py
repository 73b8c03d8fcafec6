"""How one result differs from another, row by row, and whether that is a regression.

A ratio above 1 is better, whichever way the unit of the table goes. A row is a regression when even the favourable end
of its confidence interval is worse than the threshold, or when it was ok and is not any more. With too few rounds for
95 %, the interval is the widest there is, and says how sure it is.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from . import statistics, words
from .results import CONTESTANT, HIGHER, Result, Row, Table
from .trial import OK

BETTER, SAME, WORSE, BROKEN, MENDED, GONE = "better", "no difference", "WORSE", "NOW FAILS", "works now", "is gone"


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
        return self.verdict in (WORSE, BROKEN)

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
    return changes


def _change(table: Table, row: Row, later: Table, other: Row | None, threshold: float) -> Change:
    ours = row.ours and row.role == CONTESTANT
    before, after = _shown(table, row), _shown(later, other) if other else ""
    if other is None or other.status != OK or row.status != OK or not row.values or not other.values:
        worked, works = row.status == OK, other is not None and other.status == OK
        verdict = (SAME if works else BROKEN) if worked else (MENDED if works else SAME)
        return Change(table.key, row.name, ours, GONE if other is None else verdict, before, after)
    ratio = statistics.ratio(row.values, other.values)
    if table.better != HIGHER:
        ratio = statistics.Ratio(1 / ratio.value, 1 / ratio.high, 1 / ratio.low, ratio.confidence)
    verdict = WORSE if ratio.high < 1 - threshold else BETTER if ratio.low > 1 + threshold else SAME
    return Change(table.key, row.name, ours, verdict, before, after, ratio, "; ".join([*row.noise, *other.noise]))


def _shown(table: Table, row: Row) -> str:
    return words.value(table, row.median) if row.status == OK and row.values else words.STATUS[row.status]

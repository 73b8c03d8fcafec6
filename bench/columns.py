"""The columns of a table, by its topology: (heading, how a row is shown), for the terminal and the report alike."""

from __future__ import annotations

from collections.abc import Callable

from . import words
from .results import CONTESTANT, Row, Table

Column = tuple[str, Callable[[Row], str], Callable[[Row], float | None]]
_PERCENTILES = ("p50", "p90", "p99", "p99.9", "p99.99", "max")


def columns_of(table: Table, brief: bool = False) -> list[Column]:
    """Heading, text, and the number to sort by, for each column after the name; ``brief`` for a terminal."""
    found: list[Column] = []
    if any("p50" in row.figures for row in table.rows):
        found += [_figure(name, name, words.span) for name in _PERCENTILES]
    else:
        found.append((table.unit, lambda row: words.value(table, row.median) if row.values else "", _median))
    if not brief:
        found.append(("least - most", lambda row: _range(table, row), lambda row: min(row.values, default=None)))
    if "length" in table.parameters and table.unit.endswith("/s") and not brief:
        length = table.parameters["length"]
        found.append(("GB/s", lambda row: _bandwidth(row, length), _median))
    if any(row.limit for row in table.rows):
        found.append(("of limit", lambda row: words.share(table.to_limit(row)), table.to_limit))
    if table.best_rival():
        found.append(("to best rival", lambda row: words.times(table.to_best_rival(row)), table.to_best_rival))
    for heading, name, show, always in _FIGURES:
        if any(name in row.figures for row in table.rows) and (always or not brief):
            found.append(_figure(heading, name, show))
    return found


def remark(row: Row) -> str:
    """What else is to be said of a row: a failure, noise."""
    return words.failure(row) or "; ".join(row.noise)


def _figure(heading: str, name: str, show: Callable[[float], str]) -> Column:
    return (
        heading,
        lambda row: show(row.figures[name]) if name in row.figures else "",
        lambda row: row.figures.get(name),
    )


def _range(table: Table, row: Row) -> str:
    if not row.values:
        return ""
    return f"{words.value(table, min(row.values))} - {words.value(table, max(row.values))}"


def _bandwidth(row: Row, length: int) -> str:
    return f"{row.median * length / 1e9:.3g}" if row.values and row.role == CONTESTANT else ""


def _median(row: Row) -> float | None:
    return row.median if row.values else None


def _microseconds(number: float) -> str:
    return words.span(number * 1e3)


_FIGURES: tuple[tuple[str, str, Callable[[float], str], bool], ...] = (
    ("CPU s / million", "cpu_seconds_per_million", words.rate, True),
    ("memory", "peak_bytes", words.size, False),
    ("shared", "shared_bytes", words.size, False),
    ("put", "put", words.rate, True),
    ("get", "get", words.rate, True),
    ("put_many", "put_many", words.rate, True),
    ("get_many", "get_many", words.rate, True),
    ("create", "create_us", _microseconds, True),
    ("attach", "attach_us", _microseconds, True),
    ("first message", "first_message_us", _microseconds, True),
    ("inspect", "inspect_us", _microseconds, True),
    ("p50", "p50_us", _microseconds, True),
    ("p99", "p99_us", _microseconds, True),
    ("p99.99", "p9999_us", _microseconds, True),
    ("reserved", "reserved_bytes", words.size, True),
    ("resident at first", "resident_bytes", words.size, True),
    ("once round", "resident_after_bytes", words.size, True),
)

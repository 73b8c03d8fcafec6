"""Numbers as people read them, the same in the terminal, the report and the README."""

from __future__ import annotations

from .results import Row, Table
from .trial import ABSENT, CORRUPT, FAILED, HUNG, LOST, MISSING, OK, UNSUPPORTED

STATUS = {
    OK: "",
    MISSING: "not installed",
    UNSUPPORTED: "cannot",
    ABSENT: "not in this version",
    FAILED: "FAILED",
    HUNG: "HUNG",
    LOST: "LOST MESSAGES",
    CORRUPT: "CORRUPTED MESSAGES",
}


_ROUNDED_UP = 0.9995  # of a unit: three digits would say 1e+03 of the smaller one


def rate(value: float) -> str:
    """A number with a unit: 12.3 M, 4.56 k."""
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if value >= size * _ROUNDED_UP:
            return f"{value / size:.3g} {unit}"
    return f"{value:.3g}"


def span(nanoseconds: float) -> str:
    """A time: 250 ns, 1.2 µs, 3.4 ms."""
    for unit, size in (("s", 1e9), ("ms", 1e6), ("µs", 1e3)):
        if nanoseconds >= size * _ROUNDED_UP:
            return f"{nanoseconds / size:.3g} {unit}"
    return f"{nanoseconds:.3g} ns"


def size(count: float) -> str:
    """Bytes: 12 MiB."""
    for unit, one in (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if count >= one:
            return f"{count / one:.3g} {unit}"
    return f"{count:.0f} B"


def value(table: Table, number: float) -> str:
    """A value of a table in its unit."""
    if table.unit == "ns":
        return span(number)
    if table.unit == "µs":
        return span(number * 1e3)
    return rate(number)


def times(number: float | None) -> str:
    """A ratio: 2.3x; nothing for None."""
    if number is None:
        return ""
    return f"{number:.0f}x" if number >= 100 else f"{number:.3g}x"


def share(number: float | None) -> str:
    """A part of the limit: 45 %; nothing for None."""
    if number is None:
        return ""
    return f"{100 * number:.0f} %" if number >= 0.01 else f"{100 * number:.1g} %"


def status(row: Row) -> str:
    """What became of a row; nothing when it did its work."""
    return STATUS[row.status]


def failure(row: Row) -> str:
    """What became of a row that is not ok, with the reason."""
    return f"{STATUS[row.status]}: {row.reason}" if row.status != OK else ""

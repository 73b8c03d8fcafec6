"""Numbers and tables as people read them: on a terminal by rich, in a pipe plain and never cut short."""

import json
import sys
from collections.abc import Iterable, Sequence

from rich.console import Console
from rich.table import Table

from shmring.cli.messages import check_output
from shmring.segment.names import printable
from shmring.segment.sizes import show_size as size

__all__ = ["print_json", "print_table", "size", "span"]
_WIDTH_OF_A_PIPE = 10_000


def span(seconds: float) -> str:
    """Return a time span by its largest unit: "4s", "12m", "3h", "2d"."""
    for unit, length in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= length:
            return f"{seconds // length:.0f}{unit}"
    return f"{max(seconds, 0):.0f}s"


def print_json(value: object) -> None:
    """Print a value as JSON."""
    check_output()
    print(json.dumps(value, indent=2))


def print_table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a table: numbers to the right, names to the left, no frame."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    cells = [[*map(printable, row)] for row in rows]
    for index, column in enumerate(columns):
        numeric = all(row[index][:1].isdigit() for row in cells)
        table.add_column(column, justify="right" if numeric and cells else "left", no_wrap=True)
    for row in cells:
        table.add_row(*row)
    _console().print(table)


def print_facts(facts: Iterable[tuple[str, str]]) -> None:
    """Print names and values, one a line."""
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for fact in facts:
        table.add_row(*map(printable, fact))
    _console().print(table)


def _console() -> Console:
    check_output()
    return Console(markup=False, emoji=False, highlight=False, width=None if sys.stdout.isatty() else _WIDTH_OF_A_PIPE)

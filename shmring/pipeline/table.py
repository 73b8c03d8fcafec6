"""The stages of a running pipeline as a live table on the terminal: rich's."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from shmring.pipeline.stages import StageStats

if TYPE_CHECKING:
    from rich.table import Table


def table_of(stats: tuple[StageStats, ...]) -> Table:
    """One row for each stage."""
    from rich.table import Table

    table = Table("stage", *(f"[right]{head}" for head in ("done", "a second", "queue", "busy", "failed")))
    for column in table.columns[1:]:
        column.justify = "right"
    for each in stats:
        table.add_row(
            each.name,
            f"{each.done:,}",
            f"{each.rate:,.0f}",
            f"{each.queue:.0%}",
            f"{each.busy:.0%}",
            f"{each.failed + each.dropped:,}",
        )
    return table


@contextlib.contextmanager
def shown(stats: Callable[[], tuple[StageStats, ...]]) -> Iterator[None]:
    """Show the table while the block runs, on standard error. ImportError says what to install."""
    try:
        from rich.console import Console
        from rich.live import Live
    except ImportError:
        raise ImportError('progress=True needs rich: pip install "shmring[cli]", or leave it out') from None
    with Live(get_renderable=lambda: table_of(stats()), console=Console(stderr=True), refresh_per_second=4):
        yield

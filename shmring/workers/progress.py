"""How far a map is, on the terminal: rich's progress bar."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, TypeVar

T = TypeVar("T")


def shown_while(
    results: Iterator[T], label: bool | str, function: Callable[..., Any], total: int | None
) -> Iterator[T]:
    """The same results, with a bar on standard error while they are taken. ImportError says what to install."""
    try:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
    except ImportError:
        raise ImportError('progress= needs rich: pip install "shmring[cli]", or leave it out') from None
    text = label if isinstance(label, str) else getattr(function, "__name__", "map")
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())

    def iterate() -> Iterator[T]:
        with Progress(*columns, console=Console(stderr=True)) as bar:
            row = bar.add_task(text, total=total)
            for result in results:
                bar.advance(row)
                yield result

    return iterate()

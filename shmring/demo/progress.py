"""One live line of progress on a terminal: by rich where it is installed, else plain; none in a pipe."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager


def _show(text: str) -> None:
    print(f"\r{text}\x1b[K", end="", file=sys.stderr, flush=True)


@contextmanager
def line(label: str, total: int) -> Iterator[Callable[[int], None]]:
    """Show a line while the block runs; yield what tells it how far things are."""
    if not sys.stderr.isatty():
        yield lambda done: None
        return
    try:
        import rich.progress
    except ModuleNotFoundError:
        _show(f"{label} ...")
        yield lambda done: _show(f"{label}: {done} of {total} files")
        _show("")
        return
    with rich.progress.Progress(
        *rich.progress.Progress.get_default_columns(),
        rich.progress.MofNCompleteColumn(),
        console=rich.console.Console(stderr=True),
        transient=True,
    ) as progress:
        task = progress.add_task(label, total=total)
        yield lambda done: progress.update(task, completed=done)

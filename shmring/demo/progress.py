"""One live line of progress on a terminal: by rich where it is installed, else plain; none in a pipe."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def line(label: str, total: int) -> Iterator[Callable[[int], None]]:
    """Show a line while the block runs; yield what tells it how far things are."""
    if not sys.stderr.isatty():
        yield lambda done: None
        return
    try:
        import rich.progress
    except ModuleNotFoundError:
        yield lambda done: print(f"\r{label}: {done} of {total} files\x1b[K", end="", file=sys.stderr, flush=True)
        print("\r\x1b[K", end="", file=sys.stderr, flush=True)
        return
    with rich.progress.Progress(
        *rich.progress.Progress.get_default_columns(),
        rich.progress.MofNCompleteColumn(),
        console=rich.console.Console(stderr=True),
        transient=True,
    ) as progress:
        task = progress.add_task(label, total=total)
        yield lambda done: progress.update(task, completed=done)

"""The group of commands, and how a command ends: one place for messages, signals and exit codes."""

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

import click

from shmring.cli import clean, demo, doctor, exits, get, inspect, ls, put, rm, tail
from shmring.segment.names import printable

if sys.platform == "win32":
    from shmring.cli import no_bench as bench
else:
    from shmring.cli import bench


@click.group(
    epilog=exits.table_for_help(),
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)
@click.version_option(package_name="shmring", message="%(prog)s %(version)s")
def commands() -> None:
    """Rings that processes share by name: see them, feed them, drain them, remove them.

    A shell pipeline can use a ring, between programs that were started anywhere:

    \b
        seq 1000 | shmring put numbers --create --shutdown &
        shmring get numbers --wait 5 | wc -l
    """  # noqa: D301 (click's own mark, a backspace, keeps the lines of a paragraph)


for _module in (ls, inspect, put, get, tail, rm, clean, doctor, demo, bench):
    commands.add_command(_module.command)


def run(arguments: list[str] | None = None) -> int:
    """Run one command; say on standard error what went wrong; return the exit code."""
    words = sys.argv[1:] if arguments is None else arguments
    if sys.stderr is None:  # closed, and print() would take standard output instead
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115 - for the life of the program
    try:
        # Not commands.main(), which takes every EPIPE for a closed standard output: PeerDied is one too.
        with _terminated_in_order(), commands.make_context("shmring", list(words)) as context:
            code = commands.invoke(context)
    except click.exceptions.Exit as done:
        return done.exit_code
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except BaseException as error:
        row = exits.exit_for(error)
        if row is None:
            raise
        _say(error, row)
        return row.code
    return code if isinstance(code, int) else exits.OK.code


@contextmanager
def _terminated_in_order() -> Iterator[None]:
    """Turn SIGTERM and SIGHUP into an exception, so that a ring is closed and not merely left."""

    def raise_terminated(number: int, frame: FrameType | None) -> None:
        raise exits.Terminated

    names = [name for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]  # Windows has no SIGHUP
    before = {number: signal.getsignal(number) for number in map(signal.Signals.__getitem__, names)}
    ours = [number for number, handler in before.items() if handler != signal.SIG_IGN]  # nohup stays
    for number in ours:
        signal.signal(number, raise_terminated)
    try:
        yield
    finally:
        for number in ours:
            signal.signal(number, before[number])


def _nowhere() -> int:
    """A descriptor that takes what is left to be written."""
    try:
        return os.open(os.devnull, os.O_WRONLY)
    except FileNotFoundError:  # a minimal /dev; what is buffered fits into a pipe
        return os.pipe()[1]


def _say(error: BaseException, row: exits.Exit) -> None:
    if row is exits.OUTPUT_CLOSED:
        # Python flushes standard output once more on its way out; there is nobody to hear of it.
        os.dup2(_nowhere(), sys.stdout.fileno())
    elif str(error):
        words = str(error)
        if isinstance(error, OSError) and error.strerror:  # without [Errno 2]
            path = "" if error.filename is None else str(error.filename)
            words = error.strerror if path in error.strerror else f"{path}: {error.strerror}"
        print("shmring:", printable(words, keep="\n"), file=sys.stderr)

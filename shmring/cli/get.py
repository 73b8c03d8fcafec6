"""`shmring get`: a ring to standard output."""

import errno
import math
import select
import sys
import time
from collections.abc import Callable
from typing import Literal

import click

import shmring
from shmring.cli import options
from shmring.cli.messages import binary_output, write_frame, write_line

_LOOK_UP = 0.5  # seconds


@click.command("get", short_help="Write a ring's messages to standard output, a line each.")
@options.name
@options.framed
@options.wait
@options.owner
@click.option("--count", type=click.IntRange(1), metavar="N", help="End after so many messages.")
@click.option(
    "--timeout",
    type=options.seconds,
    metavar="SECONDS",
    help="End when no message comes for so long; 0 takes what is there [default: wait forever].",
)
@click.option("--follow", is_flag=True, help="Go on when every writer has died: wait for the next one.")
def command(
    name: str,
    framed: bool,
    wait: float | None,
    owner: str | None,
    count: int | None,
    timeout: float | None,
    follow: bool,
) -> None:
    """Write each message of the ring NAME to standard output, with a newline behind it.

    Ends when the ring is shut down and drained, after --count messages, or after --timeout without one. A
    message is acknowledged once it is written: when the reader of standard output has gone, the message at hand
    goes back into the ring. What was written before is the reader's, or lost with it: before `head` use --count.

    A --timeout that ends it is an error (exit code 5) when --count messages were asked for, or when none
    came.
    """
    dead_peer: Literal["wait", "raise"] = "wait" if follow else "raise"
    with shmring.Ring.attach(
        name, timeout=wait, owner=options.user(owner), on_dead_peer=dead_peer, codec="raw"
    ) as ring:
        _get_all(ring, framed, count, timeout)


def _get_one(ring: shmring.Ring, timeout: float | None, write: Callable[[memoryview], None]) -> None:
    """Wait for a message and write it; now and then look whether anybody still reads what we write."""
    give_up = math.inf if timeout is None else time.monotonic() + timeout
    while True:
        left = max(0.0, give_up - time.monotonic())
        try:
            with ring.borrow(min(left, _LOOK_UP)) as message:
                write(message)
            return
        except shmring.Empty:
            if left <= _LOOK_UP:
                raise
        if _reader_has_gone():
            raise BrokenPipeError(errno.EPIPE, "nobody reads standard output any more")


if sys.platform == "win32":

    def _reader_has_gone() -> bool:
        """Whether nobody reads standard output any more: a pipe cannot be asked here, and the next write finds out."""
        return False

else:

    def _reader_has_gone() -> bool:
        """Whether nobody reads standard output any more."""
        reader = select.poll()
        reader.register(sys.stdout.fileno(), 0)
        return any(events & select.POLLERR for _, events in reader.poll(0))


def _get_all(ring: shmring.Ring, framed: bool, count: int | None, timeout: float | None) -> None:
    write = write_frame if framed else write_line
    output = binary_output()
    done = 0
    while count is None or done < count:
        try:
            _get_one(ring, timeout, lambda message: write(output, message))
        except shmring.ShutDown:
            if count is None:
                return
            raise shmring.Empty(f"the ring was shut down after {done} of {count} messages") from None
        except shmring.Empty:
            if count is None and done:
                return
            wanted = f" of {count}" if count else ""
            raise shmring.Empty(f"no message came for {timeout:g} s, after {done}{wanted}") from None
        done += 1

"""`shmring put`: standard input into a ring."""

from typing import Any

import click

import shmring
from shmring.cli import options
from shmring.cli.messages import binary_input, read_frames, read_lines

_KINDS = ("mpmc", "spsc", "semaphore")


@click.command("put", short_help="Put standard input into a ring, a message a line.")
@options.name
@options.framed
@options.wait
@options.owner
@click.option("--create", is_flag=True, help="Create the ring when there is none of that name.")
@click.option("--exclusive", is_flag=True, help="With --create: fail when the name is taken.")
@click.option("--capacity", help='With --create: room for so many bytes, such as "64 MiB" [default: 1 MiB].')
@click.option("--slots", type=click.IntRange(1), help="With --create: and for so many messages.")
@click.option("--kind", type=click.Choice(_KINDS), help="With --create: the kind of ring [default: mpmc].")
@click.option("--persist", is_flag=True, help="With --create: the ring stays until `shmring rm`.")
@click.option(
    "--timeout",
    type=options.seconds,
    metavar="SECONDS",
    help="Give up when the ring stays full for so long [default: wait forever].",
)
@click.option("--shutdown", is_flag=True, help="At the end, shut the ring down: readers end when it is drained.")
def command(
    name: str,
    framed: bool,
    wait: float | None,
    owner: str | None,
    create: bool,
    exclusive: bool,
    capacity: str | None,
    slots: int | None,
    kind: str | None,
    persist: bool,
    timeout: float | None,
    shutdown: bool,
) -> None:
    """Put each line of standard input into the ring NAME as one message, without its newline.

    Lines are put as they arrive. The last one may lack its newline; empty lines are empty messages.
    """
    wish = {"capacity": capacity, "kind": kind, "slots": slots, "persist": persist or None}
    given: dict[str, Any] = {option: value for option, value in wish.items() if value is not None}
    if create:
        ring = (
            shmring.Ring.create(name, **given)
            if exclusive
            else shmring.Ring.open(name, owner=options.user(owner), **given)
        )
    elif exclusive or given:
        option = next(iter(given), "exclusive")
        raise click.UsageError(f"--{option} says how to create a ring: give --create too")
    else:
        ring = shmring.Ring.attach(name, timeout=wait, owner=options.user(owner))
    with ring:
        _put_all(ring, framed, timeout)
        if shutdown:
            ring.shutdown()


def _put_all(ring: shmring.Ring, framed: bool, timeout: float | None) -> None:
    """Put everything that standard input has; say how far it got when the ring stops it."""
    source = binary_input()
    batches = (read_frames if framed else read_lines)(source, ring.max_message)
    done = 0
    for messages in batches:
        begin = 0
        while begin < len(messages):
            try:
                put = ring.put_many(messages[begin:], timeout=timeout)
            except shmring.Full as full:
                raise shmring.Full(f"{full}; message {done + 1} and what follows were not put") from None
            begin += put
            done += put

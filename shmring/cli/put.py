"""`shmring put`: standard input into a ring."""

import sys
from contextlib import closing

import click

import shmring
from shmring.cli import options
from shmring.cli.messages import read_frames, read_lines

_FOR_CREATION = ("capacity", "kind", "slots", "persist")


@click.command("put", short_help="Put standard input into a ring, a message a line.")
@options.name
@options.framed
@options.wait
@click.option("--create", is_flag=True, help="Create the ring when there is none of that name.")
@click.option("--exclusive", is_flag=True, help="With --create: fail when the name is taken.")
@click.option("--capacity", default="64 MiB", show_default=True, help="With --create: room for so many bytes.")
@click.option("--slots", type=click.IntRange(1), help="With --create: and for so many messages.")
@click.option(
    "--kind",
    type=click.Choice(["mpmc", "spsc", "semaphore"]),
    default="mpmc",
    show_default=True,
    help="With --create: the kind of ring.",
)
@click.option("--persist", is_flag=True, help="With --create: the ring stays until `shmring rm`.")
@click.option(
    "--timeout",
    type=options.Seconds(),
    metavar="SECONDS",
    help="Give up when the ring stays full for so long [default: wait for ever].",
)
@click.option("--shutdown", is_flag=True, help="At the end, shut the ring down: readers end when it is drained.")
@click.pass_context
def command(
    context: click.Context,
    name: str,
    framed: bool,
    wait: float | None,
    create: bool,
    exclusive: bool,
    capacity: str,
    slots: int | None,
    kind: str,
    persist: bool,
    timeout: float | None,
    shutdown: bool,
) -> None:
    """Put each line of standard input into the ring NAME as one message, without its newline.

    Lines are put as they arrive. The last one may lack its newline; empty lines are empty messages.
    """
    if create:
        make = shmring.Ring.create if exclusive else shmring.Ring.open
        ring = make(name, capacity=capacity, kind=kind, slots=slots, persist=persist)
    else:
        _refuse_options_for_creation(context)
        ring = shmring.Ring.attach(name, timeout=wait)
    with closing(ring):
        _put_all(ring, framed, timeout)
        if shutdown:
            ring.shutdown()


def _refuse_options_for_creation(context: click.Context) -> None:
    for option in ("exclusive", *_FOR_CREATION):
        if context.get_parameter_source(option) is not click.core.ParameterSource.DEFAULT:
            raise click.UsageError(f"--{option} says how to create a ring: give --create too", context)


def _put_all(ring: shmring.Ring, framed: bool, timeout: float | None) -> None:
    """Put everything that standard input has; say how far it got when the ring stops it."""
    batches = (read_frames if framed else read_lines)(sys.stdin.buffer, ring.max_message)
    done = 0
    for messages in batches:
        begin = 0
        while begin < len(messages):
            put = ring.put_many(messages[begin:], timeout=timeout)
            if not put:
                raise shmring.Full(
                    f"no room for message {done + 1} within {timeout:g} s; the {done} before it were put"
                )
            begin += put
            done += put

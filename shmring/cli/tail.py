"""`shmring tail`: a topic's messages to standard output."""

import sys
from typing import Literal, cast

import click

import shmring
from shmring.cli import options
from shmring.cli.messages import binary_output, write_frame, write_line


def _start(context: click.Context, parameter: click.Parameter, value: str) -> Literal["latest", "oldest"] | int:
    if value in ("latest", "oldest"):
        return cast(Literal["latest", "oldest"], value)
    if value.isdecimal():
        return int(value)
    raise click.BadParameter(f"{value!r} is not latest, oldest or the number of a message")


@click.command("tail", short_help="Write a topic's messages to standard output, a line each.")
@options.name
@options.framed
@options.wait
@options.owner
@click.option(
    "--from",
    "start",
    callback=_start,
    default="latest",
    metavar="START",
    help='Begin with new messages ("latest", the default), with all that are there ("oldest"), or with a number.',
)
@click.option("--count", type=click.IntRange(1), metavar="N", help="End after so many messages.")
@click.option(
    "--timeout",
    type=options.seconds,
    metavar="SECONDS",
    help="End when no message comes for so long; 0 takes what is there [default: wait forever].",
)
@click.option("--follow", is_flag=True, help="Go on when every publisher has died: wait for the next one.")
def command(
    name: str,
    framed: bool,
    wait: float | None,
    owner: str | None,
    start: Literal["latest", "oldest"] | int,
    count: int | None,
    timeout: float | None,
    follow: bool,
) -> None:
    """Write each message of the topic NAME to standard output, with a newline behind it, as one more subscriber.

    Nobody else gets less for it. A topic that blocks waits for this reader as for any other. Ends when the topic is
    shut down and read, after --count messages, or after --timeout without one. What a topic that overwrites took away
    before it was read is counted on standard error.
    """
    write = write_frame if framed else write_line
    dead_peer: Literal["wait", "raise"] = "wait" if follow else "raise"
    owner_id = options.user(owner)
    output = binary_output()
    with (
        shmring.Topic.attach(name, timeout=wait, owner=owner_id, on_dead_peer=dead_peer, codec="raw") as topic,
        topic.subscribe(start) as subscription,
    ):
        done = lost = 0
        while count is None or done < count:
            try:
                message = subscription.get(timeout)
            except shmring.ShutDown:
                return
            except shmring.Empty:
                if count is None and done:
                    return
                raise
            if subscription.lost > lost:
                print(f"shmring: lost {subscription.lost - lost} message(s)", file=sys.stderr)
                lost = subscription.lost
            write(output, message)
            done += 1

"""`shmring ls`: every ring there is."""

import sys

import click

import shmring
from shmring.cli import options, text

_COLUMNS = ("NAME", "KIND", "STATE", "FILLED", "CAPACITY", "MESSAGES", "PUT", "GOT", "ATTACHED", "AGE")


@click.command("ls", short_help="List the rings.")
@options.as_json
def command(as_json: bool) -> None:
    """List every ring: its kind, state, fill, counters, who is attached, and its age.

    FILLED is the part of the capacity that messages take up, MESSAGES how many wait to be taken, ATTACHED how
    many processes are attached and alive. A ring that nobody is attached to and that still holds messages is
    marked "undelivered": it stays until they are taken, or until `shmring rm`.
    """
    rings = sorted(shmring.list(), key=lambda ring: ring.name)
    if as_json:
        text.print_json([ring.asdict() for ring in rings])
    elif rings:
        text.print_table(_COLUMNS, (_row(ring) for ring in rings))
    else:
        print("no rings", file=sys.stderr)


def _row(ring: shmring.RingInfo) -> tuple[str, ...]:
    return (
        ring.name,
        ring.kind,
        state(ring),
        f"{100 * ring.used / ring.capacity:.0f}%" if ring.capacity else "-",
        text.size(ring.capacity),
        str(ring.messages),
        str(ring.messages_put),
        str(ring.messages_got),
        str(attached(ring)),
        text.span(ring.age),
    )


def attached(ring: shmring.RingInfo) -> int:
    """Return how many processes are attached, less those known to be dead."""
    return sum(attachment.alive is not False for attachment in ring.attachments)


def state(ring: shmring.RingInfo) -> str:
    """Return the ring's state, and what keeps a ring that nobody is attached to."""
    if attached(ring) or ring.state not in ("ready", "shutdown"):
        return ring.state
    if ring.messages and ring.kind != "latest":  # a value that nobody looks at any more keeps nothing
        return "undelivered" if ring.state == "ready" else f"{ring.state}, undelivered"
    return "persistent" if ring.persist else ring.state

"""What several commands take, declared once."""

import math

import click

name = click.argument("name")
as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
framed = click.option(
    "--framed",
    is_flag=True,
    help="Each message behind its length (u32, little-endian) instead of one a line; for any bytes.",
)


owner = click.option(
    "--owner", metavar="USER", help="Trust a ring of this user, by name or number [default: only yours and root's]."
)


def seconds(value: str) -> float | None:
    """Return a number of seconds, zero or more; for "inf" None, as the library says "for ever"."""
    try:
        number = float(value)
    except ValueError:
        number = math.nan
    if not number >= 0:
        raise click.BadParameter(f"{value!r} is not a number of seconds, zero or more (or inf)")
    return None if math.isinf(number) else number


wait = click.option(
    "--wait",
    type=seconds,
    default="0",
    metavar="SECONDS",
    help="Wait so long for the ring to appear [default: not at all]; inf waits forever.",
)


def user(owner: str | None) -> int | str | None:
    """Return what shmring takes for a user: a number where one was given."""
    return int(owner) if owner is not None and owner.isdecimal() else owner

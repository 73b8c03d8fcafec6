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


class Seconds(click.ParamType):
    """A number of seconds, zero or more; "inf" waits for ever."""

    name = "seconds"

    def convert(self, value: str | float, param: click.Parameter | None, ctx: click.Context | None) -> float | None:
        """Return the seconds; None, as the library says it, for ever."""
        try:
            seconds = float(value)
        except ValueError:
            seconds = math.nan
        if not seconds >= 0:
            self.fail(f"{value!r} is not a number of seconds, zero or more (or inf)", param, ctx)
        return None if math.isinf(seconds) else seconds


wait = click.option(
    "--wait",
    type=Seconds(),
    default=0,
    metavar="SECONDS",
    help="Wait so long for the ring to appear [default: not at all]; inf waits for ever.",
)

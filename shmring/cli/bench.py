"""`shmring bench`: how fast rings are here, beside everybody else's."""

import os
import shlex
import sys
from pathlib import Path
from typing import Any

import click

import shmring.bench as bench
from shmring.cli import exits, text

_PATH = click.Path(path_type=Path)


class _WithDefault(click.Group):
    """A group in which `run` need not be said: `shmring bench latency` is `shmring bench run latency`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if not args or (args[0] not in self.commands and args[0] not in ctx.help_option_names):
            args = ["run", *args]
        return super().parse_args(ctx, args)


@click.group("bench", cls=_WithDefault, short_help="Measure, beside rivals and the machine's limits.")
def command() -> None:
    """Measure what rings do on this machine, beside other queues and beside what the machine can do at best.

    \b
        shmring bench all --out report         everything, in about 20 minutes; then open report/report.html
        shmring bench latency --rivals pyzmq   one bench, one rival
        shmring bench all --smoke              a few seconds, to see that it works
        shmring bench compare old.json new.json

    Rivals, pictures and latency histograms come with: pip install "shmring[bench]". A rival that is not installed,
    fails, hangs or loses messages is shown as such.
    """  # noqa: D301 (click's own mark, a backspace, keeps the lines of a paragraph)


def _numbers(context: click.Context, parameter: click.Parameter, value: str | None) -> tuple[int, ...] | None:
    try:
        return value if value is None else tuple(bench.parse_size(word) for word in value.split(","))
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


@command.command("run", short_help="Run benches (may be left out).")
@click.argument("what", nargs=-1, metavar="[WHAT]...")
@click.option("--rivals", metavar="WORDS", help='Parts of their names with commas, "all" or "none" [default: all].')
@click.option("--sizes", callback=_numbers, metavar="LIST", help='Message sizes, such as "64,4 KiB".')
@click.option("--rounds", type=int, metavar="N", help="Rounds through all contestants [default: 5].")
@click.option("--seconds", type=float, metavar="S", help="How long each works in a round [default: 0.2].")
@click.option("--pin", metavar="CPUS", help='CPUs for producers and consumers in turn, such as "0,2"; or "none".')
@click.option(
    "--processes", callback=_numbers, metavar="LIST", help="Processes on the side that has several [1,2,4,8]."
)
@click.option("--rate", type=int, metavar="N", help="Messages a second in the open loop [default: 10000].")
@click.option("--out", type=_PATH, metavar="DIR", help="Write results.json, report.html and pictures there.")
@click.option("--smoke", is_flag=True, help="Everything briefly, with one rival; figures mean nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON (docs/bench-json.md).")
def run(what: tuple[str, ...], out: Path | None, smoke: bool, as_json: bool, **given: Any) -> int:
    """Run benches: throughput, latency, fan-in, fan-out, objects, frames, topic, pool, growth, idle,
    instructions, or all.

    Contestants take turns within a round, and every ratio is of medians over the rounds. Content and order are checked
    while timing. The exit code is 1 when a ring of ours did not do its work.
    """
    wishes = {name: value for name, value in given.items() if value is not None}
    if what and "all" not in what:
        wishes["topologies"] = what
    options = bench.Options(**wishes)
    shown = shlex.join(["shmring", "bench", *(what or ("all",)), *_as_words(given), *(["--smoke"] if smoke else [])])
    result = bench.run(
        bench.brief(options) if smoke else options,
        shown,
        out,
        progress=_progress,
        on_table=(lambda table: None) if as_json else _print_table,
    )
    _progress("")
    if as_json:
        text.print_json(result.as_json())
    if out is not None:
        for path in bench.write_report(result, out):
            print(path, file=sys.stderr)
    broken = bench.failures(result)
    for line in broken:
        print(f"shmring: {line}", file=sys.stderr)
    return exits.ERROR.code if broken else exits.OK.code


def _as_words(given: dict[str, Any]) -> list[str]:
    words = []
    for name, value in given.items():
        if value is not None:
            words += [f"--{name}", ",".join(map(str, value)) if isinstance(value, tuple) else str(value)]
    return words


@command.command("compare", short_help="Compare two results.")
@click.argument("before", type=_PATH)
@click.argument("after", type=_PATH)
@click.option("--threshold", default=5.0, metavar="PERCENT", help="What counts as a regression [default: 5].")
@click.option("--all", "everybody", is_flag=True, help="Rivals and limits as well, which show what the machine did.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
def compare(before: Path, after: Path, threshold: float, everybody: bool, as_json: bool) -> int:
    """Show how AFTER differs from BEFORE, two results.json, with 95 % confidence intervals.

    The exit code is 1 when a row of ours is worse by more than the threshold with that confidence, has begun to fail,
    or is gone from a table that both have. That takes four rounds each, but for what is counted and not timed.
    """
    earlier, later = bench.read(before), bench.read(after)
    changes = bench.compare(earlier, later, threshold / 100)
    shown = [change for change in changes if everybody or change.ours]
    if as_json:
        text.print_json([change.asdict() for change in shown])
    else:
        columns = ("TABLE", "NAME", "BEFORE", "AFTER", "BETTER BY", "95 % INTERVAL", "VERDICT")
        text.print_table(columns, [change.cells() for change in shown])
        for line in bench.alone(earlier, later):
            print(f"not compared: {line}")
    return exits.ERROR.code if any(change.is_regression and change.ours for change in changes) else exits.OK.code


@command.command("report", short_help="Make the report of a stored result.")
@click.argument("result", type=_PATH)
@click.option("--out", type=_PATH, required=True, metavar="DIR", help="Where report.html and the pictures go.")
def report(result: Path, out: Path) -> None:
    """Write report.html and the pictures of RESULT, a results.json."""
    for path in bench.write_report(bench.read(result), out):
        print(path)


@command.command("readme", short_help="Make the README's table of a stored result.")
@click.argument("result", type=_PATH)
@click.option("--into", type=_PATH, metavar="FILE", help="Put it between the marks in FILE instead of printing it.")
@click.option("--picture", type=_PATH, metavar="FILE", help="Write a picture there as well, and show it.")
def readme(result: Path, into: Path | None, picture: Path | None) -> None:
    """Print the main table of RESULT, a results.json, as Markdown: with date and machine, and where rivals win."""
    found = bench.read(result)
    table = bench.readme_table(found)
    if picture is not None:
        table += f"\n\n{bench.put_picture(found, picture, beside=into)}"
    if into is None:
        print(table)
    else:
        bench.put_into(into, table)


def _progress(line: str) -> None:
    if sys.stderr.isatty():
        width = os.get_terminal_size(sys.stderr.fileno()).columns
        sys.stderr.write(f"\r\x1b[K{line[: width - 1]}")
        sys.stderr.flush()


def _print_table(table: Any) -> None:
    _progress("")
    columns = bench.columns_of(table, brief=True)
    print(f"\n{table.topology}: {table.title}" + (f". {table.note}" if table.note else ""))
    rows = [
        [row.name, *(show(row) for _, show, _ in columns), bench.status(row) or ("noisy" if row.noise else "")]
        for row in table.rows
    ]
    text.print_table(("", *(heading for heading, _, _ in columns), ""), rows)
    for row in table.rows:
        if row.reason:
            print(f"  {row.name}: {row.reason}")
    sys.stdout.flush()

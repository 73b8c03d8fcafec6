"""A whole run: every table of every bench asked for, and what it was all taken on."""

from __future__ import annotations

import dataclasses
import datetime
import importlib
import pathlib
import time
from collections.abc import Callable, Iterator

from . import machine, results, rivals
from .options import Options
from .results import Result, Table
from .rounds import Plan, Progress, failing, fill

_EXTRAS = ["numpy", "matplotlib", "hdrhistogram"]


def plans(options: Options) -> Iterator[Plan]:
    """Every table that is to be filled."""
    for name in options.topologies:
        module = importlib.import_module(f".{name.replace('-', '_')}", __package__)
        yield from module.plans(options)


def run(
    options: Options,
    command: str,
    out: pathlib.Path | None = None,
    progress: Progress = lambda line: None,
    on_table: Callable[[Table], None] = lambda table: None,
) -> Result:
    """Run; with ``out``, store results.json there after every table, so that an interrupted run is not lost."""
    result = Result(
        command=command,
        began=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        seconds=0.0,
        machine={**machine.describe(), "compiler": machine.compiler(), "pinned": options.cpus},
        versions=machine.versions([*_EXTRAS, *(each.distribution for each in rivals.all_of_them())]),
        options=dataclasses.asdict(options),
        clock=machine.clock(),
    )
    began = time.monotonic()
    for plan in plans(options):
        table = fill(plan, progress)
        for row in table.rows:
            row.version = result.versions.get(row.version, row.version)
        result.tables.append(table)
        result.seconds = round(time.monotonic() - began, 1)
        if out is not None:
            out.mkdir(parents=True, exist_ok=True)
            results.write(result, out / "results.json")
        on_table(table)
    return result


def failures(result: Result) -> list[str]:
    """A line for each row of ours that did not do its work."""
    return [
        f"{table.topology}, {table.title}, {row.name}: {row.status}: {row.reason}"
        for table, row in failing(result.tables)
    ]

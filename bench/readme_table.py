"""The README's main table, made of a stored result: what a newcomer asks for, and where rivals win."""

from __future__ import annotations

import os
import pathlib
import urllib.parse

from . import machine, words
from .pictures import pictures
from .results import Result, Row, Table

BEGIN, END = "<!-- bench: begin (made by `shmring bench readme`) -->", "<!-- bench: end -->"
MAIN = (
    ("throughput", "64 B, one to one"),
    ("throughput", "1 KiB, one to one"),
    ("throughput", "1 MiB, one to one"),
    ("latency", "64 B, there and back"),
    ("latency", "64 B, there and back, event loops"),
    ("fan-in", "64 B, 4 to 1"),
    ("fan-out", "64 B, 1 to 4"),
    ("objects", "small dict, one to one"),
    ("frames", "1920 x 1080 x 3, one to one"),
    ("topic", "64 B, 1 to each of 4"),
    ("topic", "newest value of 64 B, 1 sets and 1 reads"),
    ("pool", "small tasks, 2 workers"),
    ("pool", "arrays of 1 MiB in and out, 2 workers"),
)
_FAMILIAR = "multiprocessing.Queue"  # also in a thread, or one for each


def readme_table(result: Result) -> str:
    """Markdown: the table, then where a rival is ahead, then when and on what it was taken."""
    lines = [
        "| Work | shmring, best | best rival | | `multiprocessing.Queue` | of the machine's limit |",
        "|---|---|---|---|---|---|",
        *("| " + " | ".join(cells) + " |" for cells in main_rows(result)),
    ]
    noisy = [bool(row.noise) for table in result.tables for row in table.rows]
    caution = ""
    if sum(noisy) > len(noisy) / 2:
        caution = f" The machine had other work, or changed its pace: {sum(noisy)} of {len(noisy)} rows are noisy."
    place = f"{result.began[:10]}, {machine.in_one_line(result.machine)}, by `{result.command}`."
    return "\n".join([*lines, "", where_rivals_win(result), "", f"Measured {place}{caution}"])


def main_rows(result: Result) -> list[list[str]]:
    """The main table's cells: work, our best, the best rival, the ratio, the familiar one, the part of the limit."""
    rows = []
    for topology, title in MAIN:
        table = next((each for each in result.tables if (each.topology, each.title) == (topology, title)), None)
        ours = table.best_of_ours() if table else None
        if table is None or ours is None:
            continue
        rival = table.best_rival()
        familiar = next((row for row in table.rows if row.name.startswith(_FAMILIAR)), None)
        mark = " (noisy)" if ours.noise or (rival and rival.noise) else ""
        rows.append(
            [
                f"{topology}, {title}",
                _cell(table, ours),
                _cell(table, rival),
                f"{words.times(table.to_best_rival(ours))}{mark}",
                words.value(table, familiar.median) if familiar and familiar.values else "",
                words.share(table.to_limit(ours)),
            ]
        )
    return rows


AS_FAST = 0.995  # in the figures shown


def where_rivals_win(result: Result) -> str:
    """A sentence."""
    behind, tables = [], 0
    for table in result.tables:
        ours, rival = table.best_of_ours(), table.best_rival()
        lead = table.to_best_rival(ours) if ours else None
        tables += lead is not None
        if rival and lead is not None and lead < AS_FAST:
            behind.append(f"{table.topology}, {table.title}: {rival.name} by {words.times(1 / lead)}")
    if behind:
        return "Where a rival wins: " + "; ".join(behind) + "."
    return "No rival wins a table of this run." if tables else "No rival took part in this run."


def _cell(table: Table, row: Row | None) -> str:
    return f"{words.value(table, row.median)} ({row.name.removeprefix('shmring ')})" if row else ""


def put_picture(result: Result, path: pathlib.Path, beside: pathlib.Path | None = None) -> str:
    """Write the picture of throughput against size; the Markdown that shows it in that file. ValueError without one."""
    for name, title, png in pictures(result):
        if name == "throughput":
            path.write_bytes(png)
            shown = pathlib.Path(os.path.relpath(path, beside.parent)) if beside else path
            return f"![{title}]({urllib.parse.quote(shown.as_posix())})"
    raise ValueError("there is no throughput of several sizes in this result, so there is no picture of it")


def put_into(path: pathlib.Path, table: str) -> None:
    """Replace what stands between the marks of a file; ValueError when it has none."""
    text = path.read_text()
    head, begin, rest = text.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{path} lacks the marks between which the table goes: {BEGIN} and {END}")
    path.write_text(f"{head}{BEGIN}\n{table}\n{END}{tail}")

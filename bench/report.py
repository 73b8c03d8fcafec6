"""The report: one HTML file that needs nothing else, with sortable tables and the pictures inside it."""

from __future__ import annotations

import base64
import html
import pathlib
from collections.abc import Iterator

from . import machine, words
from .columns import columns_of, remark
from .pictures import NoPictures, pictures
from .readme_table import main_rows, where_rivals_win
from .results import LIMIT, Result, Row, Table
from .trial import OK

_HERE = pathlib.Path(__file__).parent
_INTRODUCTIONS = {
    "throughput": "Messages a second from one process to one other, each pinned to a CPU of its own.",
    "latency": "How long one message takes. There and back, each message waits for the answer before; in the "
    "open loop they are sent at a steady rate, and time counts from the moment each was due.",
    "fan-in": "Several producers, one consumer.",
    "fan-out": "One producer, several consumers; each message goes to one of them.",
    "objects": "Python objects, pickled by whoever carries them.",
    "frames": "Full-HD pictures as numpy arrays; the consumer reads a byte of every cache line.",
    "topic": "Every subscriber gets every message.",
    "pool": "Tasks through a pool of processes and their results back.",
    "growth": "What happens when rings get larger, and when there are more of them or more processes.",
    "idle": "The CPU time of a consumer that has nothing to do.",
    "instructions": "What one message takes of the CPU, counted; other work on the machine does not change it.",
}
_METHOD = """
Contestants take turns within a round, and every round begins with another one; figures are medians over the rounds,
with least and most beside them.

Each works in processes of its own, pinned to CPUs, and is killed when it hangs. The first part of its time is a
warm-up and not counted.

Content and order are checked while timing: every 64th message, and every 64th round of the pool byte by byte; all are
counted. Who loses, doubles or tears messages has no figure but says so.

The limits were measured in the same rounds with small C programs. “of limit” is the part of its best round that is
reached, “to best rival” how many times as good as the best contestant that is not shmring; above 1 is better.

A row is marked noisy when its rounds differ by more than 25 % of the median, or when other processes used more than
10 % of a CPU meanwhile: read it with care.

Memory is the largest resident size of one participant, its Python included; shared is what all of them touched of
shared memory.
"""


def write_report(result: Result, folder: pathlib.Path) -> list[pathlib.Path]:
    """Write report.html and the PNG files; which ones."""
    folder.mkdir(parents=True, exist_ok=True)
    drawn: list[tuple[str, str, bytes]] = []
    excuse = ""
    try:
        drawn = list(pictures(result))
    except NoPictures as error:
        excuse = str(error)
    written = []
    for name, _, png in drawn:
        written.append(folder / f"{name}.png")
        written[-1].write_bytes(png)
    report = folder / "report.html"
    report.write_text(page(result, drawn, excuse))
    return [report, *written]


def page(result: Result, drawn: list[tuple[str, str, bytes]], excuse: str = "") -> str:
    """The whole page."""
    parts = "\n".join([*_head(result), *_summary(result), *_sections(result, drawn, excuse), *_method(result)])
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n<title>shmring bench</title>\n'
        f"<style>\n{(_HERE / 'report.css').read_text()}</style>\n</head>\n<body>\n{parts}\n"
        f"<script>\n{(_HERE / 'report.js').read_text()}</script>\n</body>\n</html>\n"
    )


def _head(result: Result) -> Iterator[str]:
    noisy = sum(bool(row.noise) for table in result.tables for row in table.rows)
    total = sum(len(table.rows) for table in result.tables)
    yield "<header><h1>shmring bench</h1>"
    yield f"<p>{_text(machine.in_one_line(result.machine))}</p>"
    yield f"<p>{_text(result.began[:16].replace('T', ' '))} UTC, {result.seconds:.0f} s, shmring "
    yield f"{_text(result.versions.get('shmring', ''))}. To reproduce: <code>{_text(result.command)}</code></p>"
    if noisy:
        yield f'<p class="warning">{noisy} of {total} rows are noisy: the machine had other work, or changed its pace. '
        yield "Absolute figures are not to be trusted; ratios are, a little more.</p>"
    names = dict.fromkeys(table.topology for table in result.tables)
    links = " ".join(f'<a href="#{name}">{name}</a>' for name in [*names, "method"])
    yield f"<nav>{links}</nav></header>"


def _summary(result: Result) -> Iterator[str]:
    rows = main_rows(result)
    if not rows:
        return
    yield '<section id="summary"><h2>In short</h2><div class="scroll"><table><thead><tr>'
    for heading in ("work", "shmring, best", "best rival", "ratio", "multiprocessing.Queue", "of limit"):
        yield f"<th>{heading}</th>"
    yield "</tr></thead><tbody>"
    for cells in rows:
        yield "<tr>" + "".join(f"<td>{_text(cell)}</td>" for cell in cells) + "</tr>"
    yield f"</tbody></table></div><p>{_text(where_rivals_win(result))}</p></section>"


def _sections(result: Result, drawn: list[tuple[str, str, bytes]], excuse: str) -> Iterator[str]:
    for topology in dict.fromkeys(table.topology for table in result.tables):
        yield f'<section id="{topology}"><h2>{topology}</h2><p>{_text(_INTRODUCTIONS.get(topology, ""))}</p>'
        for name, title, png in drawn:
            if name.startswith(topology):
                data = base64.b64encode(png).decode()
                yield f'<div class="scroll"><img alt="{_text(title)}" src="data:image/png;base64,{data}"></div>'
        if excuse:
            yield f"<p>{_text(excuse)}</p>"
        for table in result.tables:
            if table.topology == topology:
                yield from _table(table)
        yield "</section>"


def _table(table: Table) -> Iterator[str]:
    columns = columns_of(table)
    yield f"<h3>{_text(table.title)}</h3>"
    if table.note:
        yield f'<p class="note">{_text(table.note)}</p>'
    yield '<div class="scroll"><table class="sortable"><thead><tr><th>contestant</th>'
    yield "".join(f'<th class="number">{_text(heading)}</th>' for heading, _, _ in columns)
    yield "<th>remarks</th></tr></thead><tbody>"
    best = table.best_rival()
    for row in table.rows:
        kind = "limit" if row.role == LIMIT else "ours" if row.ours else "best" if row is best else ""
        yield f'<tr class="{kind}"><td>{_text(row.name)}</td>'
        for _, show, number in columns:
            sort = number(row)
            key = "" if sort is None else f' data-sort="{sort:.6g}"'
            yield f'<td class="number"{key}>{_text(show(row))}</td>'
        yield f"<td>{_remarks(row)}</td></tr>"
    yield "</tbody></table></div>"


def _remarks(row: Row) -> str:
    if row.status != OK:
        return f'<span class="failed">{_text(words.STATUS[row.status])}</span> {_text(row.reason)}'
    said = [f'<span class="noisy">noisy</span> {_text(remark(row))}'] if row.noise else []
    if row.note:
        said.append(_text(row.note))
    return "; ".join(said)


def _method(result: Result) -> Iterator[str]:
    yield '<section id="method"><h2>method</h2><ul>'
    yield "".join(f"<li>{_text(line)}</li>" for line in _METHOD.split("\n\n"))
    overhead, step = result.clock["overhead_ns"], result.clock["least_step_ns"]
    yield f"<li>Reading the clock takes {overhead:.0f} ns, its least step is {step:.0f} ns; "
    yield "nothing was subtracted.</li></ul>"
    yield '<h3>Machine</h3><div class="scroll"><table><tbody>'
    for name, value in result.machine.items():
        shown = words.size(value) if name.endswith("_bytes") else value
        yield f"<tr><td>{_text(name.replace('_', ' ').removesuffix(' bytes'))}</td><td>{_text(shown)}</td></tr>"
    yield '</tbody></table></div><h3>Versions</h3><div class="scroll"><table class="sortable">'
    yield "<thead><tr><th>package</th><th>version</th></tr></thead><tbody>"
    for name, value in result.versions.items():
        yield f"<tr><td>{_text(name)}</td><td>{_text(value)}</td></tr>"
    yield "</tbody></table></div></section>"


def _text(value: object) -> str:
    return html.escape(str(value))

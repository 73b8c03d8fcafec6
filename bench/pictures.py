"""The pictures of a result: percentile curves, throughput against size, scaling with the number of processes."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from . import histogram, words
from .results import CONTESTANT, LIMIT, Result, Row, Table
from .throughput import in_bytes
from .trial import OK

_OURS = ("#d32f2f", "#f57c00", "#7b1fa2", "#5d4037", "#e91e8c", "#9e9d24", "#263238")
_MARKERS = "osD^vP*"
_RIVALS = ("#1a73e8", "#188038", "#00838f", "#5f6368", "#3949ab", "#7cb342", "#0097a7", "#78909c")
_MOST_RIVALS = 6
_SIZE, _DPI = (8.0, 6.4), 150


class NoPictures(Exception):
    """matplotlib is missing; the text says how to get it."""


def pictures(result: Result) -> Iterator[tuple[str, str, bytes]]:
    """Name, title and PNG of each; NoPictures without matplotlib."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise NoPictures('no pictures: matplotlib is missing: pip install "shmring[bench]"') from None
    for number, table in enumerate(each for each in result.tables if each.topology == "latency"):
        if any(row.histogram for row in table.rows):
            title = f"Latency, {table.title}"
            yield (
                f"latency-{number + 1}",
                title,
                _drawn(Figure, title, lambda axes, table=table: _percentiles(axes, table)),
            )
    if len(sized := [table for table in result.tables if table.topology == "throughput"]) > 1:
        title = "Throughput against message size, one to one"
        yield "throughput", title, _drawn(Figure, title, lambda axes: _against_size(axes, sized))
    for topology, title in (
        ("fan-in", "Several producers, one consumer"),
        ("fan-out", "One producer, several consumers that share the work"),
        ("topic", "One publisher, every subscriber gets everything"),
    ):
        tables = [table for table in result.tables if table.topology == topology and "processes" in table.parameters]
        if len(tables) > 1:
            yield topology, title, _drawn(Figure, title, lambda axes, tables=tables: _scaling(axes, tables))


def _drawn(figure_class: Any, title: str, draw: Callable[[Any], None]) -> bytes:
    figure = figure_class(figsize=_SIZE, dpi=_DPI, layout="constrained")
    axes = figure.add_subplot()
    draw(axes)
    axes.set_title(title, loc="left", fontsize=12, fontweight="bold")
    axes.grid(visible=True, which="major", color="#e0e0e0", linewidth=0.7)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    figure.legend(loc="outside lower center", ncols=3, frameon=False, fontsize=8.5)
    file = io.BytesIO()
    figure.savefig(file, format="png")
    return file.getvalue()


def _shown(tables: Sequence[Table]) -> list[tuple[str, dict[str, Any]]]:
    """Whom to draw and how: limits dashed, all of ours, and the rivals that are best anywhere."""
    first = tables[0]
    found: list[tuple[str, dict[str, Any]]] = []
    for row in first.rows:
        if row.role == LIMIT and row.name in {each.limit for each in first.rows}:
            found.append(
                (row.name, {"color": "black", "linestyle": "--" if len(found) == 0 else ":", "linewidth": 1.5})
            )
    ours = [row.name for row in first.rows if row.ours and any(_ok(table.row(row.name)) for table in tables)]
    for name, colour, marker in zip(ours, _OURS, _MARKERS, strict=False):
        found.append((name, {"color": colour, "linewidth": 2.0, "marker": marker, "markersize": 5}))
    rivals = {
        row.name for table in tables for row in table.rows if row.role == CONTESTANT and not row.ours and _ok(row)
    }
    for name, colour in zip(_best(tables, rivals), _RIVALS, strict=False):
        found.append((name, {"color": colour, "linewidth": 1.1, "marker": "s", "markersize": 2.5}))
    return found


def _best(tables: Sequence[Table], names: set[str]) -> list[str]:
    """The best rivals over all tables, and multiprocessing.Queue, which everybody knows."""

    def places(name: str) -> float:
        ratios = [table.to_best_rival(row) or 0 for table in tables if (row := table.row(name)) and _ok(row)]
        return max(ratios, default=0)

    chosen = sorted(names, key=places, reverse=True)[:_MOST_RIVALS]
    familiar = "multiprocessing.Queue"
    return [*chosen, familiar] if familiar in names and familiar not in chosen else chosen


def _ok(row: Row | None) -> bool:
    return row is not None and row.status == OK and bool(row.values)


def _percentiles(axes: Any, table: Table) -> None:
    for name, style in _shown([table]):
        row = table.row(name)
        if row is None or not row.values:
            continue
        if row.histogram:
            points = histogram.curve(row.histogram)
        else:
            points = [(each, row.figures[histogram.name_of(each)]) for each in histogram.PERCENTILES]
        shown = [(1 / (1 - percent / 100), value) for percent, value in points if 50 <= percent <= 99.995]
        axes.plot(*zip(*shown, strict=True), label=name, **{**style, "marker": ""})
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xticks([2, 10, 100, 1000, 10_000], ["50 %", "90 %", "99 %", "99.9 %", "99.99 %"])
    axes.minorticks_off()
    axes.yaxis.set_major_formatter(lambda value, _: words.span(value))
    axes.set_xlabel("of all messages take at most")
    axes.set_ylabel("so long (lower is better)")


def _against_size(axes: Any, tables: Sequence[Table]) -> None:
    lengths = [table.parameters["length"] for table in tables]
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    _lines(axes, tables, lengths)
    axes.set_xticks(lengths, [in_bytes(length) for length in lengths])
    axes.minorticks_off()
    axes.set_xlabel("message size")


def _scaling(axes: Any, tables: Sequence[Table]) -> None:
    counts = [table.parameters["processes"] for table in tables]
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    _lines(axes, tables, counts)
    axes.set_xticks(counts, [str(count) for count in counts])
    axes.minorticks_off()
    axes.set_xlabel("processes on the side that has several")


def _lines(axes: Any, tables: Sequence[Table], places: Sequence[float]) -> None:
    names = _shown(tables)
    for name, style in names:
        points = [
            (place, row.median)
            for place, table in zip(places, tables, strict=True)
            if _ok(row := table.row(name)) and row is not None
        ]
        if points:
            axes.plot(*zip(*points, strict=True), label=name, **style)
    axes.yaxis.set_major_formatter(lambda value, _: words.rate(value))
    axes.set_ylabel(f"{tables[0].unit} (higher is better)")

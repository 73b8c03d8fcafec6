"""What a run found, and its form as JSON (docs/bench-json.md)."""

from __future__ import annotations

import dataclasses
import json
import pathlib
from math import isfinite
from typing import Any

from . import statistics
from .trial import OK, STATUSES

SCHEMA = "shmring-bench/1"
HIGHER, LOWER = "higher", "lower"
CONTESTANT, LIMIT = "contestant", "limit"
NOISY_SPREAD, NOISY_FOREIGN, NOISY_STOLEN = 0.25, 0.10, 0.02


class BadResult(ValueError):
    """A file is not a result of `shmring bench`, or not of this version; the text says where."""


@dataclasses.dataclass
class Sample:
    """What one trial measured: the value of its table, and figures beside it."""

    value: float
    figures: dict[str, float] = dataclasses.field(default_factory=dict)
    histogram: str = ""  # encoded by hdrh


@dataclasses.dataclass
class Row:
    """One contestant, or limit, in all rounds of a table."""

    name: str
    role: str = CONTESTANT
    ours: bool = False
    counted: bool = False  # not timed: the same however busy the machine
    status: str = OK
    reason: str = ""
    limit: str = ""  # the name of the row that it is held against
    version: str = ""
    note: str = ""
    values: list[float] = dataclasses.field(default_factory=list)
    figures: dict[str, float] = dataclasses.field(default_factory=dict)
    histogram: str = ""
    foreign: list[float] = dataclasses.field(default_factory=list)  # others' share of a CPU, in each round
    stolen: list[float] = dataclasses.field(default_factory=list)

    @property
    def median(self) -> float:
        """The middle value; 0 when there is none."""
        return statistics.median(self.values)

    @property
    def noise(self) -> list[str]:
        """Why this row is not to be trusted; nothing when it is."""
        found: list[str] = []
        if self.counted:
            return found
        if (wide := statistics.spread(self.values)) > NOISY_SPREAD:
            found.append(f"rounds differ by {100 * wide:.0f} %")
        if (worst := max(self.foreign, default=0)) > NOISY_FOREIGN:
            found.append(f"others used {100 * worst:.0f} % of a CPU")
        if (worst := max(self.stolen, default=0)) > NOISY_STOLEN:
            found.append(f"the host took {100 * worst:.0f} %")
        return found


@dataclasses.dataclass
class Table:
    """One piece of work, and everybody at it."""

    topology: str
    title: str
    unit: str
    better: str
    parameters: dict[str, Any] = dataclasses.field(default_factory=dict)
    rows: list[Row] = dataclasses.field(default_factory=list)
    note: str = ""

    @property
    def key(self) -> str:
        """What the same table of another run is found by."""
        return " ".join([self.topology, self.title])

    def row(self, name: str) -> Row | None:
        """The row of that name."""
        return next((row for row in self.rows if row.name == name), None)

    def goodness(self, row: Row, other: Row) -> float | None:
        """How many times as good as the other it is: above 1 is better, whichever way the unit goes."""
        if not row.median or not other.median:
            return None
        return row.median / other.median if self.better == HIGHER else other.median / row.median

    def to_limit(self, row: Row) -> float | None:
        """How much of its limit a row reaches, 1 being all: of the best round of that, which is what can be done."""
        limit = self.row(row.limit) if row.limit else None
        if limit is None or not limit.values or not row.median:
            return None
        best = max(limit.values) if self.better == HIGHER else min(limit.values)
        return row.median / best if self.better == HIGHER else best / row.median

    def best_rival(self) -> Row | None:
        """The best contestant that is not ours, of those that did the work in every round."""
        rivals = [
            row for row in self.rows if row.role == CONTESTANT and not row.ours and row.status == OK and row.values
        ]
        return (max if self.better == HIGHER else min)(rivals, key=lambda row: row.median, default=None)

    def best_of_ours(self) -> Row | None:
        """Our best row."""
        ours = [row for row in self.rows if row.ours and row.status == OK and row.values]
        return (max if self.better == HIGHER else min)(ours, key=lambda row: row.median, default=None)

    def to_best_rival(self, row: Row) -> float | None:
        """How many times as good as the best rival a row is; for that one itself, 1."""
        best = self.best_rival()
        return self.goodness(row, best) if best and row.role == CONTESTANT else None


@dataclasses.dataclass
class Result:
    """A whole run."""

    command: str
    began: str
    seconds: float
    machine: dict[str, Any]
    versions: dict[str, str]
    options: dict[str, Any]
    clock: dict[str, float]
    tables: list[Table] = dataclasses.field(default_factory=list)
    schema: str = SCHEMA

    def as_json(self) -> dict[str, Any]:
        """Plain values, with what follows from them, so that a reader needs no arithmetic."""
        plain = dataclasses.asdict(self)
        for table, shown in zip(self.tables, plain["tables"], strict=True):
            best = table.best_rival()
            shown["best_rival"] = best.name if best else None
            for row, cells in zip(table.rows, shown["rows"], strict=True):
                cells["median"] = row.median if row.values else None
                cells["min"], cells["max"] = (min(row.values), max(row.values)) if row.values else (None, None)
                cells["to_limit"], cells["to_best_rival"] = table.to_limit(row), table.to_best_rival(row)
                cells["noise"] = row.noise
        return plain


_KINDS: dict[str, Any] = {"str": str, "bool": bool, "float": (int, float), "list": list, "dict": dict}
# Of the machine, what every report shows.
_MACHINE = {"cpu": str, "cpus": int, "virtual": bool, "memory_bytes": int, "system": str, "python": str}
_DERIVED = {"median", "min", "max", "to_limit", "to_best_rival", "noise"}


def write(result: Result, path: pathlib.Path) -> None:
    """Store it as JSON."""
    path.write_text(json.dumps(result.as_json(), indent=1) + "\n")


def read(path: pathlib.Path) -> Result:
    """Load a stored result; BadResult when it is not one."""
    try:
        return from_json(json.loads(path.read_text()))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise BadResult(f"{path} is not JSON: {error}") from None
    except BadResult as error:
        raise BadResult(f"{path}: {error}") from None


def from_json(plain: Any) -> Result:
    """Check plain values against the schema and make a Result of them; BadResult says what is wrong and where."""
    _expect(isinstance(plain, dict), "it is not an object")
    _expect(plain.get("schema") == SCHEMA, f"its schema is {plain.get('schema')!r}, and this version reads {SCHEMA!r}")
    tables = []
    for number, table in enumerate(_field(plain, "tables", list, "the result")):
        where = f"tables[{number}]"
        rows = []
        for place, row in enumerate(_field(table, "rows", list, where)):
            rows.append(_made(Row, row, f"{where}.rows[{place}]", _DERIVED))
            _expect(rows[-1].status in STATUSES, f"{where}.rows[{place}].status is {rows[-1].status!r}")
            for name in ("values", "foreign", "stolen"):
                numbers = all(isinstance(value, (int, float)) and isfinite(value) for value in getattr(rows[-1], name))
                _expect(numbers, f"{where}.rows[{place}].{name} has something else than finite numbers")
        tables.append(_made(Table, {**table, "rows": rows}, where, {"best_rival"}))
        _expect(tables[-1].better in (HIGHER, LOWER), f"{where}.better is {tables[-1].better!r}")
    made: Result = _made(Result, {**plain, "tables": tables}, "the result", set())
    for name, kind in _MACHINE.items():
        _expect(isinstance(made.machine.get(name), kind), f"its machine.{name} is {made.machine.get(name)!r}")
    return made


def _made(kind: Any, plain: Any, where: str, derived: set[str]) -> Any:
    _expect(isinstance(plain, dict), f"{where} is not an object")
    fields = {field.name: field for field in dataclasses.fields(kind)}
    if unknown := set(plain) - set(fields) - derived:
        raise BadResult(f"{where} has an unknown field {sorted(unknown)[0]!r}")
    required = [
        name
        for name, field in fields.items()
        if field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
    ]
    if missing := [name for name in required if name not in plain]:
        raise BadResult(f"{where} lacks the field {missing[0]!r}")
    known = {name: value for name, value in plain.items() if name in fields}
    for name, value in known.items():
        wanted = str(fields[name].type)
        is_one = isinstance(value, _KINDS[wanted.partition("[")[0]])
        _expect(is_one, f"{where}.{name} is {value!r}, which is no {wanted}")
    return kind(**known)


def _field(plain: Any, name: str, kind: type, where: str) -> Any:
    _expect(isinstance(plain, dict) and isinstance(plain.get(name), kind), f"{where}.{name} is not a {kind.__name__}")
    return plain[name]


def _expect(holds: bool, otherwise: str) -> None:
    if not holds:
        raise BadResult(otherwise)

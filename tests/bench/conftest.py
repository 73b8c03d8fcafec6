"""Contestants that misbehave on purpose, and results made by hand."""

import pytest
from shmring.bench.results import HIGHER, LIMIT, LOWER, Result, Row, Table
from shmring.bench.trial import HUNG, MISSING


def made(rows, better=HIGHER, title="64 B, one to one", topology="throughput"):
    unit = "messages/s" if better == HIGHER else "ns"
    table = Table(topology, title, unit, better, {"length": 64, "processes": 1}, rows)
    return Result(
        command="shmring bench throughput --rounds 5",
        began="2026-11-21T12:00:00+00:00",
        seconds=1.0,
        machine={
            "cpu": "A CPU",
            "cpus": 2,
            "virtual": False,
            "memory_bytes": 2**34,
            "system": "Linux 6",
            "python": "3",
        },
        versions={"shmring": "0.1.0", "hyperq": "1.0.0"},
        options={},
        clock={"overhead_ns": 40.0, "least_step_ns": 10.0},
        tables=[table],
    )


@pytest.fixture
def result():
    return made(
        [
            Row("C ring", LIMIT, values=[20e6, 21e6, 22e6]),
            Row("shmring spsc put, get", ours=True, limit="C ring", values=[10e6, 11e6, 12e6]),
            Row("hyperq", limit="C ring", values=[2e6, 2e6, 2.2e6]),
            Row("a <b>missing</b> one", status=MISSING, reason="No module named 'missing'"),
            Row("a hanging one", status=HUNG, reason="no end at the deadline"),
        ]
    )


@pytest.fixture
def slower(result):
    """Return the same run with our row a tenth slower in every round."""
    table = result.tables[0]
    rows = [
        Row(row.name, row.role, row.ours, status=row.status, limit=row.limit, values=[*row.values])
        for row in table.rows
    ]
    rows[1].values = [value * 0.7 for value in rows[1].values * 2]
    table.rows[1].values *= 2
    return made(rows)


__all__ = ["LOWER", "made"]

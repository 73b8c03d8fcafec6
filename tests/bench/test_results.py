"""The JSON of a run: it goes there and back, says what follows from the figures, and refuses what it does not know."""

import json
from pathlib import Path

import pytest
from shmring.bench.results import BadResult, Row, from_json

from shmring import bench

from .conftest import LOWER, made


def test_a_result_survives_json(result, tmp_path):
    path = tmp_path / "results.json"
    bench.write(result, path)
    assert bench.read(path) == result


def test_the_json_says_what_follows_from_the_figures(result):
    (table,) = result.as_json()["tables"]
    assert table["best_rival"] == "hyperq"
    ours = table["rows"][1]
    assert (ours["median"], ours["min"], ours["max"]) == (11e6, 10e6, 12e6)
    assert ours["to_best_rival"] == pytest.approx(5.5)
    assert ours["to_limit"] == pytest.approx(11 / 22)
    assert table["rows"][3]["median"] is None


def test_less_is_better_where_it_is_time():
    table = made([Row("ours", ours=True, values=[100.0]), Row("rival", values=[300.0])], LOWER).tables[0]
    assert table.to_best_rival(table.rows[0]) == pytest.approx(3)


def test_a_rival_that_failed_later_on_is_not_the_best(result):
    table = result.tables[0]
    table.rows[2].status = "lost"
    assert table.best_rival() is None


def test_a_row_says_why_it_is_noisy():
    row = Row("x", values=[1.0, 2.0], foreign=[0.0, 0.5], stolen=[0.03])
    assert row.noise == ["rounds differ by 67 %", "others used 50 % of a CPU", "the host took 3 %"]
    assert Row("x", values=[1.0, 1.01], foreign=[0.01], stolen=[0.0]).noise == []


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda plain: plain.update(schema="shmring-bench/0"), "reads 'shmring-bench/1'"),
        (lambda plain: plain.pop("clock"), "lacks the field 'clock'"),
        (lambda plain: plain.update(other=1), "unknown field 'other'"),
        (lambda plain: plain.update(tables={}), "tables is not a list"),
        (lambda plain: plain["tables"][0]["rows"][0].update(values=["x"]), r"rows\[0\].values has something else"),
        (lambda plain: plain["tables"][0]["rows"][0].update(values=[float("nan")]), r"rows\[0\].values has something"),
        (lambda plain: plain["tables"][0]["rows"][0].update(foreign=None), r"rows\[0\].foreign is None"),
        (lambda plain: plain["tables"][0].update(title=7), r"tables\[0\].title is 7"),
        (lambda plain: plain.update(machine={}), r"machine\.cpu is None"),
        (lambda plain: plain["tables"][0]["rows"][0].update(status="fine"), r"rows\[0\].status is 'fine'"),
        (lambda plain: plain["tables"][0].update(better="more"), r"tables\[0\].better is 'more'"),
        (lambda plain: plain["tables"][0]["rows"][0].pop("name"), r"tables\[0\].rows\[0\] lacks the field 'name'"),
    ],
)
def test_what_is_wrong_is_named(result, change, complaint):
    plain = json.loads(json.dumps(result.as_json()))
    change(plain)
    with pytest.raises(BadResult, match=complaint):
        from_json(plain)


def test_a_file_that_is_no_json_is_refused_by_name(tmp_path):
    path = tmp_path / "results.json"
    path.write_text("{")
    with pytest.raises(BadResult, match=r"results\.json is not JSON"):
        bench.read(path)


def test_every_field_is_documented(result):
    text = (Path(__file__).resolve().parents[2] / "docs" / "bench-json.md").read_text()
    plain = result.as_json()
    names = {*plain, *plain["tables"][0], *plain["tables"][0]["rows"][0]}
    assert [name for name in sorted(names) if f"`{name}`" not in text] == []

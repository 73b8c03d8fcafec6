"""Comparing two results, and the exit code that a build can rely on."""

import subprocess
import sys

from shmring import bench

COMPARE = [sys.executable, "-m", "shmring", "bench", "compare"]


def change_of(changes, name):
    return next(change for change in changes if change.name == name)


def test_a_row_that_is_surely_slower_is_a_regression(result, slower):
    change = change_of(bench.compare(result, slower), "shmring spsc put, get")
    assert change.verdict == "WORSE"
    assert change.ratio.high < 0.95


def test_the_same_the_other_way_round_is_better(result, slower):
    assert change_of(bench.compare(slower, result), "shmring spsc put, get").verdict == "better"


def test_what_stays_within_the_threshold_is_no_difference(result, slower):
    assert change_of(bench.compare(result, slower, threshold=0.5), "shmring spsc put, get").verdict == "no difference"


def test_a_row_that_begins_to_fail_is_a_regression(result, slower):
    slower.tables[0].rows[1].status, slower.tables[0].rows[1].values = "lost", []
    assert change_of(bench.compare(result, slower), "shmring spsc put, get").is_regression


def test_a_row_that_is_gone_is_named(result, slower):
    del slower.tables[0].rows[1]
    assert change_of(bench.compare(result, slower), "shmring spsc put, get").verdict == "IS GONE"
    assert change_of(bench.compare(result, slower), "shmring spsc put, get").is_regression


def compared(folder, before, after, *options):
    """Store two results and run the command on them."""
    paths = folder / "before.json", folder / "after.json"
    for each, path in zip((before, after), paths, strict=True):
        bench.write(each, path)
    return subprocess.run([*COMPARE, *options, *paths], capture_output=True, text=True, check=False)


def test_the_command_fails_on_a_regression_and_only_then(result, slower, tmp_path):
    worse = compared(tmp_path, result, slower)
    assert (worse.returncode, worse.stderr) == (1, "")
    assert "WORSE" in worse.stdout
    assert compared(tmp_path, slower, result).returncode == 0
    assert compared(tmp_path, result, slower, "--threshold", "50").returncode == 0


def test_a_file_that_is_not_a_result_is_wrong_usage(tmp_path):
    path = tmp_path / "x.json"
    path.write_text("[]")
    ended = subprocess.run([*COMPARE, path, path], capture_output=True, text=True, check=False)
    assert ended.returncode == 2
    assert "it is not an object" in ended.stderr


def test_one_round_decides_nothing(result, slower):
    for each in (result, slower):
        for row in each.tables[0].rows:
            row.values = row.values[:1]
    change = change_of(bench.compare(result, slower), "shmring spsc put, get")
    assert (change.verdict, change.is_regression) == ("too few rounds to tell", False)


def test_results_without_a_common_table_are_wrong_usage_and_others_are_listed(result, slower, tmp_path):
    slower.tables[0].title = "of something else"
    assert bench.alone(result, slower)[-1].endswith("of something else: only in the second")
    ended = compared(tmp_path, result, slower)
    assert ended.returncode == 2
    assert "nothing can be compared" in ended.stderr


def test_hundreds_of_rounds_are_compared(result, slower):
    for each in (result, slower):
        for row in each.tables[0].rows:
            row.values = row.values * 60
    assert change_of(bench.compare(result, slower), "shmring spsc put, get").verdict == "WORSE"


def test_a_file_that_is_missing_is_named(tmp_path):
    ended = subprocess.run([*COMPARE, tmp_path / "none.json", tmp_path], capture_output=True, text=True, check=False)
    assert ended.returncode == 3
    assert "none.json" in ended.stderr

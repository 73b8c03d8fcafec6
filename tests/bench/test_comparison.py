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
    assert change_of(bench.compare(result, slower), "shmring spsc put, get").verdict == "is gone"


def test_the_command_fails_on_a_regression_and_only_then(result, slower, tmp_path):
    before, after = tmp_path / "before.json", tmp_path / "after.json"
    bench.write(result, before)
    bench.write(slower, after)
    worse = subprocess.run([*COMPARE, before, after], capture_output=True, text=True, check=False)
    assert (worse.returncode, worse.stderr) == (1, "")
    assert "WORSE" in worse.stdout
    assert subprocess.run([*COMPARE, after, before], stdout=subprocess.DEVNULL, check=False).returncode == 0
    assert (
        subprocess.run([*COMPARE, "--threshold", "50", before, after], capture_output=True, check=False).returncode == 0
    )


def test_a_file_that_is_not_a_result_is_wrong_usage(tmp_path):
    path = tmp_path / "x.json"
    path.write_text("[]")
    ended = subprocess.run([*COMPARE, path, path], capture_output=True, text=True, check=False)
    assert ended.returncode == 2
    assert "it is not an object" in ended.stderr

"""A bench that is interrupted, terminated or killed leaves no process, no segment and no socket behind."""

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

COMMAND = [sys.executable, "-m", "shmring", "bench", "throughput", "--rounds", "50", "--seconds", "5", "--sizes", "64"]


def processes_below(pid):
    """Return every process that descends from one, by their parents as they are now."""
    parents = {}
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = entry.read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        parents[int(entry.parent.name)] = int(fields[1])
    found = {pid}
    while more := {child for child, parent in parents.items() if parent in found} - found:
        found |= more
    return found - {pid}


def is_alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def folders():
    return set(Path(tempfile.gettempdir()).glob("shmring-bench-*"))


@pytest.mark.parametrize("rivals", ["none", "shared_memory"])
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_everything_and_removes_everything(number, code, rivals, tmp_path):
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    with subprocess.Popen(
        [*COMMAND, "--rivals", rivals], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=environment
    ) as bench:
        while len(started := processes_below(bench.pid)) < 3:
            assert bench.poll() is None
        bench.send_signal(number)
        assert bench.wait() == code
        assert b"Traceback" not in bench.stderr.read()
    assert [pid for pid in started if is_alive(pid)] == []
    assert list(tmp_path.iterdir()) == []
    assert [path for path in Path("/dev/shm").iterdir() if "shmring-bench-" in path.name] == []


def test_a_bench_that_is_killed_takes_its_processes_along():
    with subprocess.Popen(
        [*COMMAND, "--rivals", "none"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as bench:
        before = folders()
        while len(started := processes_below(bench.pid)) < 3:
            assert bench.poll() is None
        bench.kill()
    while any(is_alive(pid) for pid in started):
        os.sched_yield()
    assert folders() - before == set()

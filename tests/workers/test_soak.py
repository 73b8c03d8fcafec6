"""Kills, stops, forks and shortage, all at once, of pools of every kind: every future is right, or says why not."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("resource", reason="about POSIX resource limits")
pytestmark = [
    pytest.mark.verify,
    pytest.mark.skipif(sys.platform != "linux", reason="sets the limits of other processes, which Linux can"),
]

PROGRAM = Path(__file__).with_name("soak.py")
SECONDS = 20 * float(os.environ.get("SHMRING_EFFORT", "1"))


def soak(seconds: float, **environment: str) -> dict[str, int]:
    command = [sys.executable, str(PROGRAM), str(seconds)]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **environment})
    assert done.stdout, done.stderr[-3000:]
    ends: dict[str, int] = json.loads(done.stdout.splitlines()[-1])
    return ends


@pytest.mark.timeout(SECONDS + 300)
def test_every_future_is_right_or_its_worker_died_or_the_system_refused(figure):
    ends = soak(SECONDS)
    assert not ends["trouble"]
    assert ends["right"] > ends["WorkerDied"]
    disturbed = sum(ends.get(each, 0) for each in ("kill", "stop", "fork", "no_files", "no_files_there", "no_memory"))
    figure(
        f"{ends['right']:,} right futures of {ends['pools']} pools beside {disturbed} kills, stops, forks and shortages"
    )


@pytest.mark.timeout(400)
def test_a_result_that_is_not_the_tasks_own_would_be_noticed(tmp_path):
    # sitecustomize plants the bug: results of two tasks change places
    (tmp_path / "sitecustomize.py").write_text(
        "import shmring.workers.collecting as collecting\n"
        "finish, held = collecting.Collector._finish, []\n"
        "def swap(self, task, value, error):\n"
        "    if error is None and isinstance(value, int):\n"
        "        held.append(value)\n"
        "        value = held.pop(0) if len(held) > 1 else value\n"
        "    finish(self, task, value, error)\n"
        "collecting.Collector._finish = swap\n"
    )
    assert soak(30, PYTHONPATH=str(tmp_path))["trouble"]

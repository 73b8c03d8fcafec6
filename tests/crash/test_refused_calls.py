"""Every system call is refused in turn, or the last: nothing is lost, the verdict is right, and others go on."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

PROGRAM, KILLS, POOLS = (
    Path(__file__).with_name(name) for name in ("refuse_calls.py", "kill_calls.py", "refuse_pools.py")
)

pytestmark = [pytest.mark.verify, pytest.mark.timeout(1800)]


def run(face: str, effort: float, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(PROGRAM), face, str(effort)]
    return subprocess.run(command, capture_output=True, text=True, env=os.environ | environment)


@pytest.mark.parametrize("face", ["spsc", "mpmc", "semaphore", "queue", "topic", "latest"])
def test_whatever_the_system_refuses_nothing_is_lost_and_the_call_works_afterwards(
    face: str, effort: float, figure: Callable[[str], None]
) -> None:
    done = run(face, effort)
    assert done.returncode == 0, done.stderr[-4000:]
    figure(f"{int(done.stdout):,} system calls refused, {face}")


def test_a_message_that_goes_when_tidying_up_is_refused_is_noticed(tmp_path: Path) -> None:
    # sitecustomize plants the bug: a get that opens a file after it has taken the message
    (tmp_path / "sitecustomize.py").write_text(
        "import shmring\n"
        "class Careless(shmring.Ring):\n"
        "    def get(self, timeout=None):\n"
        "        message = super().get(timeout)\n"
        "        open('/dev/null').close()\n"
        "        return message\n"
        "shmring.Ring = Careless\n"
    )
    done = run("mpmc", 1, PYTHONPATH=str(tmp_path))
    assert done.returncode != 0
    assert "refused with" in done.stderr
    assert "get" in done.stderr


def test_whoever_is_killed_at_a_system_call_leaves_a_whole_ring_or_none(
    effort: float, figure: Callable[[str], None]
) -> None:
    done = subprocess.run([sys.executable, str(KILLS), str(effort)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-4000:]
    figure(f"{int(done.stdout):,} kills before and after system calls")


@pytest.mark.parametrize("side", ["caller", "worker"])
def test_whatever_a_pool_is_refused_each_future_ends_and_pools_go_on(
    side: str, effort: float, figure: Callable[[str], None]
) -> None:
    done = subprocess.run([sys.executable, str(POOLS), side, str(effort / 10)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-4000:]
    figure(f"{int(done.stdout):,} system calls refused, a pool's {side}")


def test_a_pool_whose_thread_does_not_get_over_a_refusal_is_noticed(tmp_path: Path) -> None:
    # sitecustomize plants the bug: a thread that tells of dead workers, and ends with the first error
    (tmp_path / "sitecustomize.py").write_text(
        "import shmring.workers.collecting as collecting\n"
        "def watch(self):\n"
        "    self.crew.watch()\n"
        "collecting.Collector._watch = watch\n"
        "def fail(self, error, what=''):\n"
        "    pass\n"
        "collecting.Collector._fail = fail\n"
    )
    command = [sys.executable, str(POOLS), "caller", "1"]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(tmp_path)})
    assert done.returncode != 0
    assert "refused with" in done.stderr

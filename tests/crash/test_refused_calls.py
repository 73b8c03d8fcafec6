"""Every system call is refused in turn, or the last: nothing is lost, the verdict is right, and others go on."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

PROGRAM, KILLS = (Path(__file__).with_name(name) for name in ("refuse_calls.py", "kill_calls.py"))

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

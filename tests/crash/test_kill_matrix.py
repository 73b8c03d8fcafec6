"""A process killed at every instruction of every operation, repairs too: nothing is lost, and nobody is stuck."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

pytestmark = [pytest.mark.verify, pytest.mark.timeout(3600)]

PROGRAM = Path(__file__).with_name("kill_matrix.py")
KINDS = ("spsc", "mpmc", "semaphore")
LEAST = 20_000


def matrix(kind: str, effort: float, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *options, str(PROGRAM), kind, str(effort)]
    return subprocess.run(command, capture_output=True, text=True)


def test_whoever_is_killed_anywhere_the_others_go_on_with_every_message(
    effort: float, figure: Callable[[str], None]
) -> None:
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        results = dict(zip(KINDS, pool.map(lambda kind: matrix(kind, min(1.0, effort)), KINDS), strict=True))
    for kind, done in results.items():
        assert done.returncode == 0, f"{kind}: {done.stderr[-2000:]}"
    kills = {kind: int(done.stdout) for kind, done in results.items()}
    figure(f"{sum(kills.values()):,} kills at single instructions, none lost, torn or stuck ({kills})")
    assert sum(kills.values()) >= LEAST * min(1.0, effort)


def test_the_matrix_notices_a_message_that_is_lost(tmp_path: Path) -> None:
    # sitecustomize plants the bug: whoever looks after the dead takes a message along
    (tmp_path / "sitecustomize.py").write_text(
        "import shmring\n"
        "attach = shmring.Ring.attach.__func__\n"
        "def thief(cls, *rest, **named):\n"
        "    ring = attach(cls, *rest, **named)\n"
        "    try: ring.get(timeout=0)\n"
        "    except shmring.Empty: pass\n"
        "    return ring\n"
        "shmring.Ring.attach = classmethod(thief)\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    command = [sys.executable, str(PROGRAM), "mpmc", "0.01"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode != 0
    assert "Failure" in done.stderr

"""A process killed at every instruction of every operation, repairs too: nothing is lost, and nobody is stuck."""

from __future__ import annotations

import os
import queue
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

pytestmark = [pytest.mark.verify, pytest.mark.timeout(3600)]

RINGS, TOPICS, QUEUES = (
    Path(__file__).with_name(name) for name in ("kill_matrix.py", "kill_topics.py", "kill_queues.py")
)
# the longest first
PROGRAMS = {
    "queue": QUEUES, "semaphore": RINGS, "mpmc": RINGS, "spsc": RINGS, "block": TOPICS, "overwrite": TOPICS,
    "latest": TOPICS,
}  # fmt: skip
# A queue of its own for each kill, and what the dead one had shows only when he is found: 50 ms each, not 1.
SHARES = {"queue": 0.08}
LEAST = 20_000


def run(kind: str, effort: float, cpu: int, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(PROGRAMS[kind]), kind, str(effort), str(cpu)]
    # A function's first call would otherwise go through the linker, and no later one does.
    environment["LD_BIND_NOW"] = "1"
    return subprocess.run(command, capture_output=True, text=True, env=os.environ | environment)


def test_whoever_is_killed_anywhere_the_others_go_on_with_every_message(
    effort: float, figure: Callable[[str], None]
) -> None:
    idle: queue.SimpleQueue[int] = queue.SimpleQueue()
    for cpu in os.sched_getaffinity(0):
        idle.put(cpu)

    def on_an_idle_cpu(kind: str) -> subprocess.CompletedProcess[str]:
        cpu = idle.get()
        try:
            return run(kind, effort * SHARES.get(kind, 1), cpu)
        finally:
            idle.put(cpu)

    with ThreadPoolExecutor(len(PROGRAMS)) as pool:
        results = dict(zip(PROGRAMS, pool.map(on_an_idle_cpu, PROGRAMS), strict=True))
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
    done = run("mpmc", 0.01, min(os.sched_getaffinity(0)), PYTHONPATH=str(tmp_path))
    assert done.returncode != 0
    assert "Failure" in done.stderr

"""Names that come and go under kills, stops, forks, threads, unlinks and cleaning: every count adds up."""

from __future__ import annotations

import ast
import os
import secrets
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

PROGRAM = Path(__file__).with_name("torture.py")
SECONDS = 25

pytestmark = [pytest.mark.verify, pytest.mark.timeout(24 * 3600)]


def run(seconds: float, seed: int, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(PROGRAM), str(seconds), str(seed)]
    return subprocess.run(command, capture_output=True, text=True, env=os.environ | environment)


def test_every_message_is_received_once_whatever_happens_to_those_who_send_and_receive(
    effort: float, figure: Callable[[str], None]
) -> None:
    seed = secrets.randbelow(1 << 32)
    done = run(SECONDS * effort, seed)
    assert done.returncode == 0, f"seed {seed}: {done.stderr[-6000:]}"
    counts = ast.literal_eval(done.stdout)
    shown = ", ".join(f"{count:,} {what}" for what, count in counts.items())
    figure(f"seed {seed}: {shown}")
    assert counts["kills"] > effort * SECONDS / 2
    assert counts["messages"] > 1000


def test_a_queue_that_loses_a_message_now_and_then_is_noticed(tmp_path: Path) -> None:
    # sitecustomize plants the bug: a get that throws away one message of four
    (tmp_path / "sitecustomize.py").write_text(
        "import itertools\n"
        "import shmring\n"
        "class Careless(shmring.Queue):\n"
        "    _gets = itertools.count(1)\n"
        "    def get(self, *args, **named):\n"
        "        if next(self._gets) % 4 == 0: super().get(*args, **named)\n"
        "        return super().get(*args, **named)\n"
        "shmring.Queue = Careless\n"
    )
    done = run(5, 1, PYTHONPATH=str(tmp_path))
    assert done.returncode != 0
    assert "are lost; killed receivers had" in done.stderr

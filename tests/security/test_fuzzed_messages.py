"""Seeded fuzzing of what reads the messages and the headers of others: a value that is whole, or an error.

The program (fuzzing.py) has so little memory that a length which is believed is found out. The C core is fuzzed under
sanitizers besides (tests/core/test_fuzz.py).
"""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROUNDS = {"arrays": 15_000, "tables": 3_000, "messagepack": 20_000, "headers": 6_000}


@pytest.mark.skipif(sys.platform != "linux", reason="limits its memory, and has no locks elsewhere")
@pytest.mark.parametrize("what", ROUNDS)
@pytest.mark.parametrize("seed", [14, 15])
def test_no_message_and_no_header_does_harm(what: str, seed: int, effort: float, figure: Callable[[str], None]) -> None:
    program = [sys.executable, Path(__file__).with_name("fuzzing.py"), what, str(seed), str(int(ROUNDS[what] * effort))]
    done = subprocess.run(program, capture_output=True, text=True)
    assert done.returncode == 0, f"exit {done.returncode}: {done.stdout}{done.stderr[-3000:]}"
    figure(f"{what}: {done.stdout.strip()}")

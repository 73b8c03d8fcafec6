"""What people send to pools arrives as what it is, from a script and from a prompt, however workers are started."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.ring.conftest import METHODS

PROGRAM = Path(__file__).with_name("things.py")


def told(method: str, as_script: bool) -> dict[str, str]:
    with PROGRAM.open() as text:
        done = subprocess.run(
            [sys.executable, *([str(PROGRAM)] if as_script else ["-"])],
            stdin=None if as_script else text,
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "THINGS_METHOD": method},
        )
    assert done.stdout, done.stderr
    outcomes: dict[str, str] = json.loads(done.stdout.splitlines()[-1])
    return outcomes


BY_NAME_TOO = {"a sentinel"}  # of a script: the worker has its own, as with the standard library


@pytest.mark.parametrize("method", [*METHODS, *(f"multiprocess.{each}" for each in METHODS)])
@pytest.mark.parametrize("program", ["a script", "a prompt"])
def test_each_of_fifty_things_arrives_as_what_it_is_or_is_refused(program, method):
    outcomes = told(method, program == "a script")
    assert len(outcomes) >= 50
    wrong = {name: outcome for name, outcome in outcomes.items() if outcome != "right"}
    assert wrong.keys() <= (BY_NAME_TOO if program == "a script" else set()), wrong

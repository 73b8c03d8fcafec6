"""The standard library's own tests of process pools pass with ours in the place of its own."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest

SHIPPED = importlib.util.find_spec("test") and importlib.util.find_spec("test.test_concurrent_futures")


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.skipif(not SHIPPED, reason="this Python does not ship test.test_concurrent_futures (3.13 does)")
@pytest.mark.parametrize("module", ["init", "as_completed", "wait", "shutdown", "process_pool", "deadlock"])
@pytest.mark.parametrize("method", ["Forkserver", "Spawn", "ProcessPoolFork"])
def test_the_standard_librarys_tests_pass(method: str, module: str) -> None:
    program = Path(__file__).with_name("standard_library.py")
    command = [sys.executable, program, method, f"test_{module}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=500)
    said = json.loads(done.stdout.splitlines()[-1])
    assert said["run"], "it ran nothing"
    assert not said["failed"], done.stderr

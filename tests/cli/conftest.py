"""The command line as a user has it: a program with standard input and output."""

import subprocess
import sys
from collections.abc import Callable

import pytest

COMMAND = [sys.executable, "-m", "shmring"]

Shmring = Callable[..., "subprocess.CompletedProcess[bytes]"]


@pytest.fixture
def shmring_command() -> Shmring:
    """Run `shmring ARGUMENTS...` to its end."""

    def run(*arguments: str, stdin: bytes = b"") -> "subprocess.CompletedProcess[bytes]":
        return subprocess.run([*COMMAND, *arguments], input=stdin, capture_output=True, check=False)

    return run


@pytest.fixture
def started_command() -> Callable[..., "subprocess.Popen[bytes]"]:
    """Start `shmring ARGUMENTS...`; what still runs when the test ends is killed."""
    started = []

    def start(*arguments: str) -> "subprocess.Popen[bytes]":
        process = subprocess.Popen(
            [*COMMAND, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        with process:
            process.kill()

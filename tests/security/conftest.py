"""Tests here play two users of one machine: a victim, and a stranger who may do what the file system lets him."""

import os
import shutil
import sys
from pathlib import Path

import pytest
from two_users import STRANGER, AsUser, run_as

if sys.platform == "win32":
    collect_ignore_glob = ["test_*.py"]  # a ring admits the user who made it, and nobody else


@pytest.fixture(scope="session")
def _another_user_can_import() -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root, to play two users")
    if not shutil.which("setpriv"):
        pytest.skip("needs setpriv, of util-linux, to play two users")
    done = run_as(STRANGER, "import shmring, numpy, pyarrow, msgspec")
    if done.returncode:
        pytest.skip(f"another user cannot import the installed package: {done.stderr.splitlines()[-1:]}")


@pytest.fixture
def as_user(_another_user_can_import: None) -> AsUser:
    """Return a function that runs a program as another user: what it printed, with the last line of its traceback."""

    def run(uid: int, code: str, *arguments: str, namespace: bool = False) -> str:
        done = run_as(uid, code, *arguments, namespace=namespace)
        if namespace and "unshare failed" in done.stderr:
            pytest.skip(f"this machine lets users have no namespaces: {done.stderr.strip()}")
        assert done.returncode in (0, 1), f"exit {done.returncode}: {done.stdout}{done.stderr}"
        return done.stdout + "".join(done.stderr.splitlines()[-1:])

    return run


@pytest.fixture
def path(name: str) -> Path:
    """Return the file of the test's ring."""
    return Path(f"/dev/shm/shmring.{name}")

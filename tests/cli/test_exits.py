"""Exit codes and help: one table, and every error of the library has its place in it."""

import subprocess
import sys

import pytest

import shmring
from shmring.cli import exits

ERRORS = [
    error
    for error in vars(shmring).values()
    if isinstance(error, type) and issubclass(error, shmring.ShmringError) and error is not shmring.ShmringError
]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: error.__name__)
def test_every_error_of_the_library_has_an_exit_code_of_the_table(error):
    assert any(issubclass(error, row.causes) for row in exits.TABLE)


def test_an_error_that_only_a_bug_raises_has_none():
    assert exits.exit_for(ZeroDivisionError()) is None


def test_exit_codes_are_told_apart():
    codes = [row.code for row in exits.TABLE]
    assert codes == sorted(set(codes))


def test_help_shows_the_exit_codes_and_the_commands(shmring_command):
    shown = shmring_command("--help").stdout.decode()
    for row in exits.TABLE:
        assert f"{row.code}  {row.meaning}" in shown
    for command in ("ls", "inspect", "put", "get", "rm", "demo"):
        assert f"\n  {command} " in shown


def test_the_version_is_that_of_the_package(shmring_command):
    assert shmring_command("--version").stdout.decode().split() == ["shmring", shmring.__version__]


@pytest.mark.parametrize("missing", ["click", "rich"])
def test_without_its_extra_the_command_says_how_to_get_it(missing):
    hidden = f"import sys; sys.modules[{missing!r}] = None; from shmring.__main__ import main; main()"
    ended = subprocess.run([sys.executable, "-c", hidden], capture_output=True, check=False)
    assert ended.returncode == 1
    assert b'pip install "shmring[cli]"' in ended.stderr
    assert b"Traceback" not in ended.stderr

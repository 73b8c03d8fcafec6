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


@pytest.mark.skipif(sys.platform == "win32", reason="about a POSIX shell")
@pytest.mark.parametrize(
    ("words", "closed", "said"),
    [
        ("put {} --create", "<&-", "shmring: standard input is closed; redirect it from a file, or from /dev/null\n"),
        ("ls", ">&-", "shmring: standard output is closed; redirect it to a file, or to /dev/null\n"),
        ("ls --json", ">&-", "shmring: standard output is closed; redirect it to a file, or to /dev/null\n"),
    ],
)
def test_a_closed_standard_stream_is_told_of(name, words, closed, said):
    command = f"{sys.executable} -m shmring {words.format(name)} {closed}"
    with shmring.Ring.create(name):
        done = subprocess.run(["bash", "-c", command], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (1, "", said)


@pytest.mark.skipif(sys.platform == "win32", reason="about a POSIX shell")
def test_get_keeps_what_it_cannot_write(name):
    with shmring.Ring.create(name) as ring:
        ring.put(b"kept")
        get = f"{sys.executable} -m shmring get {name} --timeout 1"
        done = subprocess.run(["bash", "-c", f"{get} >&-"], capture_output=True, text=True)
        assert (done.returncode, done.stderr.partition(";")[0]) == (1, "shmring: standard output is closed")
        assert ring.stats().messages == 1
        done = subprocess.run(["bash", "-c", f"{get} 2>&-"], capture_output=True, text=True)
        assert (done.returncode, done.stdout) == (0, "kept\n")


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

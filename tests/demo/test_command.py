"""`shmring demo`, and the same without the command line's extra."""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import shmring
from shmring.demo import run
from shmring.demo.work import count_in_one_process

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the demonstration works by POSIX signals")
COMMAND = [sys.executable, "-m", "shmring", "demo"]
_HIDDEN = """
import runpy, sys
sys.modules["click"] = sys.modules["rich"] = None
runpy.run_module("shmring.demo", None, "__main__", True)
"""
WITHOUT_EXTRA = [sys.executable, "-c", _HIDDEN]


@pytest.mark.parametrize("command", [COMMAND, WITHOUT_EXTRA], ids=["with the extra", "without"])
def test_it_prints_the_result_and_that_it_was_checked(library, command):
    ended = subprocess.run(
        [*command, "--files-from", library, "--tokenizers", "2"], capture_output=True, text=True, check=False
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    counts = count_in_one_process(library)
    assert f"{counts.files} files, {counts.lines} lines, {counts.tokens} tokens" in ended.stdout
    assert "path 10" in ended.stdout
    assert re.search(r"^shmring\.Ring .* µs|ms", ended.stdout, re.MULTILINE)
    assert re.search(r"^multiprocessing\.Queue ", ended.stdout, re.MULTILINE)
    assert "Every pipeline gave the same as one process." in ended.stdout


@pytest.mark.parametrize("command", [COMMAND, WITHOUT_EXTRA], ids=["with the extra", "without"])
def test_a_terminal_sees_how_far_it_is(library, command):
    terminal, end = os.openpty()
    with open(terminal, "rb", buffering=0) as screen:
        demo = subprocess.Popen(
            [*command, "--files-from", library, "--tokenizers", "2", "--no-queues"],
            stdout=subprocess.DEVNULL,
            stderr=end,
        )
        os.close(end)
        shown = b""
        with contextlib.suppress(OSError):  # a terminal that nobody writes to any more is an I/O error
            while chunk := screen.read(4096):
                shown += chunk
        assert demo.wait() == 0
    assert b"one process" in shown
    assert b"shmring.Ring, 2 tokenizers" in shown


def test_it_speaks_json(library):
    ended = subprocess.run(
        [*COMMAND, "--files-from", library, "--no-queues", "--rounds", "2", "--json"],
        stdout=subprocess.PIPE,
        check=True,
    )
    said = json.loads(ended.stdout)
    assert said["same"] is True
    assert [entry["transport"] for entry in said["runs"]] == ["shmring.Ring", "one process"]
    assert said["runs"][0]["file_hop_ns"].keys() == {"p50", "p99"}


def test_a_result_that_differs_is_a_failure(library, monkeypatch, capsys):
    def wrong(directory, on_file):
        counts = count_in_one_process(directory, on_file)
        counts.names["path"] -= 1
        return counts

    monkeypatch.setattr(run, "count_in_one_process", wrong)
    code = run.demonstrate(library, tokenizers=2, rounds=1, queues=False, as_json=False)
    assert code == 1
    assert "DIFFERENT from one process: shmring.Ring" in capsys.readouterr().out


def test_a_directory_without_python_files_is_an_error(tmp_path):
    ended = subprocess.run([*COMMAND, "--files-from", tmp_path], capture_output=True, check=False)
    assert ended.returncode == 1
    assert b"no .py file below" in ended.stderr


def rings_of(pid: int) -> list[str]:
    return [ring.name for ring in shmring.list() if ring.name.startswith(f"demo-{pid}-")]


def programs_of(pid: int) -> list[str]:
    """The command lines of the programs that were given the names of that demonstration's rings."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = entry.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except (FileNotFoundError, ProcessLookupError):
            continue
        if f" demo-{pid}-" in words:
            found.append(words)
    return found


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_every_program_and_removes_the_rings(number, code):
    # The whole standard library, so that it is not done before the signal comes.
    with subprocess.Popen([*COMMAND, "--no-queues"], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as demo:
        while len(programs_of(demo.pid)) < 4:
            assert demo.poll() is None
        assert rings_of(demo.pid)
        demo.send_signal(number)
        assert demo.wait() == code
        assert b"Traceback" not in demo.stderr.read()
    assert programs_of(demo.pid) == []
    assert rings_of(demo.pid) == []

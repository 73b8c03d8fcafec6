"""A Windows process killed from outside Wine, by the kernel under it: kill -9 of what is really a Linux process.

Run by `make test-windows` on Linux, with the Wine of setup.sh.
"""

import os
import signal
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(os.environ["SHMRING_WINE"])
WATCHER = """
import sys, shmring
ring = shmring.Ring.create(sys.argv[1], capacity="64 KiB", kind=sys.argv[2])
print("ready", flush=True)
print(ring.get(), flush=True)
try:
    print(ring.get(timeout=60))
except shmring.PeerDied as error:
    print("PeerDied", [peer.role for peer in error.peers])
ring.put(b"x")
print(ring.get(timeout=60), [entry.alive for entry in shmring.inspect(sys.argv[1]).attachments])
"""
VICTIM = """
import sys, threading, shmring
ring = shmring.Ring.attach(sys.argv[1], timeout=60)
ring.put(b"before")
lease = ring.claim(64)
lease.__enter__()
print("claimed", flush=True)
threading.Event().wait()
"""


def windows_python(source: str, *arguments: str) -> "subprocess.Popen[str]":
    command = ["wine64", str(ROOT / "python/python.exe"), "-c", source, *arguments]
    pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    return subprocess.Popen(command, **pipes)  # type: ignore[call-overload,no-any-return]


def linux_process(mark: str, *, but: int) -> int:
    """The process that has this mark among its arguments."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) not in (but, os.getpid()):
            try:
                words = (entry / "cmdline").read_bytes()
            except OSError:
                continue
            if mark.encode() in words and b"python" in words:
                return int(entry.name)
    raise AssertionError(f"no process has {mark} among its arguments")


@pytest.fixture
def ended() -> Iterator[list["subprocess.Popen[str]"]]:
    """Processes that are to be ended with the test."""
    running: list[subprocess.Popen[str]] = []
    yield running
    for process in running:
        with process:
            process.kill()


@pytest.mark.parametrize("kind", ["spsc", "mpmc", "semaphore"])
def test_a_producer_killed_by_the_kernel_is_found_dead_and_its_claim_is_given_up(kind: str, ended) -> None:
    name, mark = f"outside-{uuid.uuid4().hex}", uuid.uuid4().hex
    watcher = windows_python(WATCHER, name, kind)
    ended.append(watcher)
    assert watcher.stdout.readline() == "ready\n"
    victim = windows_python(VICTIM, name, mark)
    ended.append(victim)
    assert victim.stdout.readline() == "claimed\n"
    os.kill(linux_process(mark, but=-1), signal.SIGKILL)
    said = watcher.stdout.read().splitlines()
    assert said[:2] == ["b'before'", "PeerDied ['producer']"]
    assert said[2].startswith("b'x' [")

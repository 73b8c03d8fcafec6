"""A program closes descriptors that are not its own, as the start of a daemon does: what needs none goes on."""

import itertools
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import shmring
from tests.odd_machines.conftest import needs_linux

pytestmark = needs_linux

# Uses what it has, closes all descriptors, opens files of its own under the same numbers, goes on, leaves.
DAEMON = """
import os, sys, time
import shmring
name, face, folder = sys.argv[1:]
enter = {
    "queue": lambda: shmring.Queue(name=name),
    "topic": lambda: shmring.Topic.attach(name),
    "latest": lambda: shmring.Latest.attach(name),
}.get(face, lambda: shmring.Ring.attach(name))
send = {"topic": lambda it, m: it.publish(m), "latest": lambda it, m: it.set(m)}.get(face, lambda it, m: it.put(m))
attached = enter()
send(attached, b"before")
sys.stdin.readline()
os.closerange(3, 256)
files = [os.open(f"{folder}/{number}", os.O_CREAT | os.O_RDWR) for number in range(12)]
send(attached, b"after")
print("sent", flush=True)
sys.stdin.readline()
attached.close()
for number, file in enumerate(files):
    assert os.fstat(file).st_ino == os.stat(f"{folder}/{number}").st_ino, f"descriptor {file} is another file"
print("left, with all files", flush=True)
"""


def make(face: str, name: str) -> shmring.Ring | shmring.Queue | shmring.Topic | shmring.Latest:
    if face == "queue":
        return shmring.Queue(name=name)
    if face == "topic":
        return shmring.Topic.create(name)
    return shmring.Latest.create(name, size=100) if face == "latest" else shmring.Ring.create(name, kind=face)


def receiving(face: str, ours: Any) -> Callable[[], bytes]:
    if face == "latest":
        versions = itertools.count(0)
        return lambda: ours.wait_newer(next(versions), timeout=20) and ours.get()
    reader = ours.subscribe() if face == "topic" else ours
    return lambda: reader.get(timeout=20)


@pytest.mark.parametrize("face", ["spsc", "mpmc", "semaphore", "queue", "topic", "latest"])
def test_what_is_open_goes_on_counts_as_alive_and_closes_nobody_elses_files(
    face: str, name: str, tmp_path: Path
) -> None:
    command = [sys.executable, "-c", DAEMON, name, face, str(tmp_path)]
    with make(face, name) as ours:
        receive = receiving(face, ours)
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as daemon:
            assert daemon.stdin is not None
            assert daemon.stdout is not None
            assert receive() == b"before"
            daemon.stdin.write("close all descriptors\n")
            daemon.stdin.flush()
            assert daemon.stdout.readline() == "sent\n"
            assert receive() == b"after"
            assert daemon.pid in {each.pid for each in shmring.inspect(name).attachments if each.alive}
            daemon.stdin.write("leave\n")
            daemon.stdin.flush()
            assert daemon.stdout.readline() == "left, with all files\n"


def test_a_queue_that_has_to_grow_without_descriptors_says_what_happened() -> None:
    program = """
import os, shmring
queue = shmring.Queue(capacity="64 KiB")
os.closerange(3, 256)
try:
    for count in range(100):
        queue.put(bytes(20_000))
except OSError as error:
    print(error)
got = 0
while not queue.empty():
    queue.get(timeout=0)
    got += 1
print("all" if got == count else f"{got} of {count}")
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert "closed the descriptors of the anonymous queue" in done.stdout
    assert done.stdout.endswith("all\n")


STRANGERS = """
import os, pickle, sys
import shmring
from shmring import segment
folder = sys.argv[1]
made = {
    "anonymous ring": shmring.Ring.create(capacity=65536),
    "anonymous topic": shmring.Topic.create(capacity=65536),
    "anonymous queue": shmring.Queue(),
    "memory": segment.anonymous(65536, transferable=True),
    "a.segment": segment.file(f"{folder}/a.segment", 65536, create=True),
}
calls = {
    "pickle": pickle.dumps,
    "view": lambda it: it.view(),
    "grow": lambda it: it.grow(1 << 20),
    "fileno": lambda it: it.fileno(),
    "fill": lambda it: it.fill([b"ours"]),
}
os.closerange(3, 256)
files = [os.open(f"{folder}/{number}", os.O_CREAT | os.O_RDWR) for number in range(64)]
for file in files:
    os.write(file, b"a stranger's")
for title, each in made.items():
    for label, call in calls.items() if isinstance(each, segment.Segment) else [("pickle", pickle.dumps)]:
        if label == "pickle" and title == "a.segment":
            continue  # which goes by its path
        try:
            call(each)
        except OSError as error:
            assert f"closed the descriptors of " in str(error) and title in str(error), (title, label, error)
        else:
            print(title, label, "did something")
    if isinstance(each, segment.Segment):
        each.close()
assert all(os.pread(file, 100, 0) == b"a stranger's" for file in files)
print("done")
"""


def test_what_a_stranger_has_opened_under_the_same_numbers_is_not_taken_for_ours(tmp_path: Path) -> None:
    command = [sys.executable, "-c", STRANGERS, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.stdout == "done\n", done.stdout + done.stderr

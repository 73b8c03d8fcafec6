"""clean() removes what belongs to nobody, and nothing else."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import shmring
from shmring.admin import leftovers
from shmring.names import semaphores
from tests.conftest import file_of

pytestmark = pytest.mark.usefixtures("names_of_its_own")

SHM = Path("/dev/shm")
POSIX_SEMAPHORES = "shmring.names.semaphores.posix._BEING_MADE"
WINDOWS = sys.platform == "win32"
needs_posix = pytest.mark.skipif(WINDOWS, reason="about POSIX semaphores, which stay until they are unlinked")
# What is to be there after a kill has to be a file on Windows.
STAYS = ("persist",) if WINDOWS else ()

MAKE = """
import sys, threading, shmring
kind, name, messages = sys.argv[1], sys.argv[2] or None, int(sys.argv[3])
ring = shmring.Ring.create(name, capacity=4096, kind=kind, persist="persist" in sys.argv)
for i in range(messages): ring.put(b"x")
print(ring._identity, flush=True)
threading.Event().wait()
"""


@pytest.fixture
def littered(monkeypatch: pytest.MonkeyPatch) -> Iterator:
    """Return a function that makes a ring in another process; kill() ends it by SIGKILL."""
    if not WINDOWS:
        monkeypatch.setattr(POSIX_SEMAPHORES, 0.0)
    running: list[subprocess.Popen[str]] = []

    def make(kind: str, name: str, messages: int, *more: str) -> tuple[subprocess.Popen[str], int]:
        command = [sys.executable, "-c", MAKE, kind, name, str(messages), *more]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        running.append(process)
        assert process.stdout
        return process, int(process.stdout.readline())

    yield make
    for process in running:
        kill(process)


def kill(process: "subprocess.Popen[str]") -> None:
    with process:
        process.kill()


def reported(name: str, **options: bool) -> list[shmring.Leftover]:
    """What clean() says of one name; other tests' leftovers are theirs."""
    return [each for each in shmring.clean(**options) if each.name == name]


@pytest.mark.skipif(WINDOWS, reason="writes into the file behind the name")
def test_a_damaged_ring_is_told_of_and_goes_by_force_whatever_its_name_says(name: str) -> None:
    alive = f"{name}-is-alive"
    shmring.Ring.create(alive, persist=True).close()
    file_of(alive).write_bytes(b"no ring".ljust(4096))
    (kept,) = reported(alive)
    assert not kept.removed
    assert "no usable ring" in kept.reason
    assert str(file_of(alive)) in kept.reason
    assert [each.removed for each in reported(alive, force=True, dry_run=True)] == [True]
    assert [each.removed for each in reported(alive, force=True)] == [True]
    assert not file_of(alive).exists()


@pytest.mark.parametrize("kind", ["spsc", "mpmc", "semaphore"])
def test_a_dead_empty_ring_is_removed_with_all_of_it(kind: str, name: str, littered) -> None:
    process, identity = littered(kind, name, 0)
    assert not reported(name), "in use"
    kill(process)
    assert [each.removed for each in reported(name, dry_run=True)] == [True]
    assert file_of(name).exists()
    assert [each.removed for each in reported(name)] == [True]
    there = os.listdir(file_of(name).parent)
    assert not [entry for entry in there if name in entry or f"{identity:016x}" in entry]


@pytest.mark.parametrize("kind", ["spsc", "mpmc", "semaphore"])
def test_undelivered_messages_are_kept_unless_forced(kind: str, name: str, littered) -> None:
    process, _ = littered(kind, name, 3, *STAYS)
    kill(process)
    (kept,) = reported(name)
    assert not kept.removed
    assert "3 undelivered" in kept.reason
    with shmring.Ring.attach(name) as ring:
        assert not reported(name, force=True), "somebody is attached again"
        assert ring.get() == b"x"
    (gone,) = reported(name, force=True)
    assert gone.removed
    assert not file_of(name).exists()


def test_a_persistent_ring_is_kept_unless_forced(name: str, littered) -> None:
    process, _ = littered("mpmc", name, 0, "persist")
    kill(process)
    assert [each.reason for each in reported(name)] == ["it is persistent"]
    assert [each.removed for each in reported(name, force=True)] == [True]


MAKE_QUEUE = """
import sys, threading, shmring
queue = shmring.Queue(name=sys.argv[1])
for i in range(int(sys.argv[2])): queue.put(i)
print(0, flush=True)
threading.Event().wait()
"""


@needs_posix
@pytest.mark.parametrize("messages", [0, 3])
def test_a_dead_queue_goes_when_it_is_empty(name: str, messages: int) -> None:
    command = [sys.executable, "-c", MAKE_QUEUE, name, str(messages)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout
    process.stdout.readline()
    assert not reported(name), "in use"
    kill(process)
    for dry_run in (True, False):
        assert [each.removed for each in reported(name, dry_run=dry_run)] == [not messages]
    assert file_of(name).exists() == bool(messages)
    if messages:
        assert "3 undelivered" in reported(name)[0].reason
        assert [each.removed for each in reported(name, force=True)] == [True]


@needs_posix
def test_semaphores_of_a_dead_anonymous_ring_are_removed_and_those_of_a_living_one_kept(littered) -> None:
    dead, dead_identity = littered("semaphore", "", 0)
    _, living_identity = littered("semaphore", "", 0)
    kill(dead)
    names = {each.name for each in shmring.clean() if each.what == "semaphores"}
    assert f"{dead_identity:016x}" in names
    assert f"{living_identity:016x}" not in names
    files = os.listdir(SHM)
    assert not [entry for entry in files if f"{dead_identity:016x}" in entry]
    assert len([entry for entry in files if f"{living_identity:016x}" in entry]) == 3
    leftovers.semaphores.remove("semaphore", living_identity)


@needs_posix
def test_young_semaphores_are_left_alone(littered, monkeypatch: pytest.MonkeyPatch) -> None:
    process, identity = littered("semaphore", "", 0)
    kill(process)
    monkeypatch.setattr(POSIX_SEMAPHORES, 60.0)
    assert not reported(f"{identity:016x}")
    monkeypatch.setattr(POSIX_SEMAPHORES, 0.0)
    assert reported(f"{identity:016x}")


@pytest.mark.parametrize("content", [b"", b"no ring at all" * 1000])
def test_what_is_no_ring_goes_only_by_force(content: bytes, name: str) -> None:
    path = file_of(name)
    path.write_bytes(content)
    assert [each.removed for each in reported(name)] in ([], [False])
    assert path.exists()
    reported(name, force=True)
    assert not path.exists()


def test_cleaning_beside_two_hundred_creations_takes_none_of_them(name: str) -> None:
    program = "import shmring, sys\nwhile not sys.stdin.closed and sys.argv[1:]:\n    shmring.clean()\n"
    with subprocess.Popen([sys.executable, "-c", program, "on"]) as cleaner:
        try:
            for i in range(200):
                with shmring.Ring.create(f"{name}-{i}", capacity=4096, kind=("mpmc", "semaphore")[i % 2]) as ring:
                    ring.put(b"x")
                    with shmring.Ring.attach(f"{name}-{i}") as other:
                        assert other.get(timeout=20) == b"x"
        finally:
            cleaner.kill()


def test_the_command_line_says_what_it_does(name: str, littered, capfd) -> None:
    process, _ = littered("mpmc", name, 1, *STAYS)
    kill(process)
    command = [sys.executable, "-m", "shmring", "clean"]
    assert name in subprocess.run([*command, "--dry-run"], capture_output=True, text=True).stdout
    done = subprocess.run([*command, "--force", "--json"], capture_output=True, text=True, check=True)
    assert name in done.stdout
    assert not file_of(name).exists()


def test_the_doctor_finds_what_is_left_behind_and_names_the_remedy(name: str, littered) -> None:
    process, _ = littered("mpmc", name, 0)
    kill(process)
    problems = [each for each in shmring.examine() if each.subject == "leftovers" and each.verdict == "problem"]
    assert [name in each.finding and each.remedy == "shmring clean" for each in problems] == [True]
    command = [sys.executable, "-m", "shmring", "doctor"]
    assert subprocess.run(command, capture_output=True).returncode == 1
    reported(name)


def test_every_finding_that_is_not_ok_has_a_remedy() -> None:
    findings = shmring.examine()
    subjects = {each.subject for each in findings}
    assert subjects >= {"space", "huge pages", "cores", "leftovers", "kernel"}
    assert subjects >= ({"names", "session"} if WINDOWS else {"container memory", "RemoveIPC", "clock"})
    assert all(bool(each.remedy) == (each.verdict != "ok") for each in findings)


@needs_posix
def test_a_ring_in_a_file_gets_its_semaphores_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # As after a restart of the machine, or a clean(), which cannot know of files elsewhere.
    monkeypatch.setattr(POSIX_SEMAPHORES, 0.0)
    path = tmp_path / "ring"
    with shmring.Ring.create(path=path, capacity=4096, kind="semaphore", slots=8, persist=True) as ring:
        for number in range(5):
            ring.put(bytes([number]))
        identity = ring._identity
    assert f"{identity:016x}" in [each.name for each in shmring.clean() if each.what == "semaphores"]
    with shmring.Ring.attach(path=path) as ring, shmring.Ring.attach(path=path) as other:
        for number in range(5, 8):
            other.put(bytes([number]), timeout=0)
        with pytest.raises(shmring.Full):
            other.put(b"one too many", timeout=0)
        assert ring.get_many(8) == [bytes([number]) for number in range(8)]
    shmring.unlink(path=path)


@needs_posix
def test_semaphores_that_were_removed_under_a_user_are_no_endless_wait(name: str) -> None:
    with shmring.Ring.create(name, kind="semaphore") as ring:
        semaphores.remove("semaphore", ring._identity)
        with pytest.raises(shmring.Corrupt, match=r"semaphores of ring .* were removed, and 1 attachment"):
            shmring.Ring.attach(name, timeout=1)

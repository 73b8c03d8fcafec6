"""Rings with path=: file systems that refuse, and errors that name the path."""

import errno
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import shmring
from tests.odd_machines.conftest import needs_linux, needs_namespaces, needs_seccomp, run

pytestmark = needs_linux

MAKE = {
    "Ring": "shmring.Ring.create(path={!r}, capacity=65536)",
    "open": "shmring.Ring.open(path={!r}, capacity=65536)",
    "Topic": "shmring.Topic.create(path={!r}, capacity=65536)",
    "Latest": "shmring.Latest.create(path={!r}, size=65536)",
    "semaphore": "shmring.Ring.create(path={!r}, capacity=65536, kind='semaphore')",
}
FIND = {
    "attach": "shmring.Ring.attach(path={!r})",
    "inspect": "shmring.inspect(path={!r})",
    "unlink": "shmring.unlink(path={!r})",
}


def at(path: str, *calls: dict[str, str]) -> dict[str, str]:
    return {label: call.format(path) for each in calls for label, call in each.items()}


MACHINES = {
    "read-only": ("mount -t tmpfs -o ro none /mnt", "read-only", None),
    "no inode": ("mount -t tmpfs -o nr_inodes=2 none /mnt; touch /mnt/last", "nr_inodes", "inodes"),
    "full": ("mount -t tmpfs -o size=64k none /mnt; head -c 65536 /dev/zero > /mnt/last", "free on /mnt", "room"),
    "no unnamed files": ("mount -t mqueue none /mnt", "O_TMPFILE", None),
}


@needs_namespaces
@pytest.mark.parametrize(("machine", "words", "limit"), MACHINES.values(), ids=MACHINES)
def test_a_file_system_that_refuses_is_told_of_with_its_folder(
    ask, machine: str, words: str, limit: str | None
) -> None:
    listed = {"left": "sorted(set(os.listdir('/mnt')) - {'last'})"}
    answers = ask(f"mount -t tmpfs none /dev/shm; {machine}", calls=at("/mnt/ring", MAKE) | listed)
    assert answers.told(*MAKE, words=("/mnt", words))
    assert {answers.said[label].limit for label in MAKE} == {limit}
    assert answers.said["left"].value == "[]"
    assert not answers.left


@needs_namespaces
def test_a_folder_that_is_closed_missing_or_none_is_told_of(ask) -> None:
    answers = ask("mount -t tmpfs -o mode=0755 none /mnt", "os.setuid(65534)", at("/mnt/ring", MAKE))
    assert answers.told(*MAKE, words=("/mnt", "may write"))
    answers = ask("mount -t tmpfs none /mnt", calls=at("/mnt/missing/ring", MAKE))
    assert answers.told(*MAKE, words=("there is no folder /mnt/missing",))
    answers = ask("mount -t tmpfs none /mnt; touch /mnt/file", calls=at("/mnt/file/ring", MAKE, FIND))
    assert answers.told(*MAKE, *FIND, words=("/mnt/file", "is no folder"))


@needs_namespaces
def test_a_ring_of_somebody_else_is_told_of(ask) -> None:
    make = "shmring.Ring.create(path='/mnt/ring', persist=True).close(); os.setuid(65534)"
    answers = ask("mount -t tmpfs none /mnt", make, at("/mnt/ring", FIND))
    assert answers.told(*FIND, words=("/mnt/ring", "belongs to another user", "mode="))
    assert all("PermissionError" in answers.said[label].kinds for label in FIND)


@needs_namespaces
def test_a_ring_on_a_file_system_that_became_read_only_is_told_of(ask) -> None:
    machine = "mount -t tmpfs none /mnt"
    make = "shmring.Ring.create(path='/mnt/ring', persist=True).close(); os.system('mount -o remount,ro /mnt')"
    answers = ask(machine, make, at("/mnt/ring", FIND))
    assert answers.told(*FIND, words=("/mnt", "read-only"))


def test_a_name_that_is_too_long_is_told_of_before_anything_is_made(tmp_path: Path, ask) -> None:
    for long in (tmp_path / ("x" * 300), tmp_path / "/".join(["y" * 200] * 30)):
        answers = ask(calls=at(str(long), MAKE, FIND))
        assert answers.told(*answers.said, words=("longer than", "shorten"))
    assert not [*tmp_path.iterdir()]


@needs_seccomp
@needs_namespaces
def test_a_quota_is_no_space_of_that_kind_and_another_errno_is_passed_on(ask) -> None:
    calls = at("/mnt/ring", MAKE) | {"anonymous": "shmring.Ring.create()", "named": "shmring.Ring.create('odd')"}
    machine = "mount -t tmpfs none /mnt; mount -t tmpfs none /dev/shm"
    answers = ask(machine, f"refuse('fallocate', {errno.EDQUOT})", calls)
    assert answers.told(*calls, words=("quota",))
    assert {said.limit for said in answers.said.values()} == {"quota"}
    answers = ask(machine, f"refuse('fallocate', {errno.EIO})", calls)
    assert answers.told(*calls, words=("reserved", "Input/output error"))
    assert {said.errno for said in answers.said.values()} == {errno.EIO}


@needs_seccomp
@needs_namespaces
def test_a_file_system_that_reserves_nothing_is_filled_instead(ask) -> None:
    """What the C library does for NFS, 9p and FUSE without fallocate."""
    machine = "mount -t tmpfs none /mnt; mount -t tmpfs none /dev/shm"
    work = "[(r := shmring.Ring.create(path='/mnt/ring')), r.put(b'x'), r.get(), r.close()][2]"
    answers = ask(machine, f"refuse('fallocate', {errno.EOPNOTSUPP})", {"work": work})
    assert answers.said["work"].value == "b'x'"


def test_a_pipe_at_a_path_is_no_ring_and_nobody_waits_for_its_other_end(tmp_path: Path) -> None:
    program = f"""
import os, shmring
os.mkfifo({str(tmp_path / "pipe")!r})
for call in (lambda path: shmring.segment.file(path, readonly=True), lambda path: shmring.Ring.attach(path=path)):
    try:
        call({str(tmp_path / "pipe")!r})
    except (ValueError, OSError) as error:
        print(error)
"""
    assert all("regular file" in line for line in run(program).splitlines())


# --- what errors call a ring at a path ---


class Broken:
    def __reduce__(self) -> tuple[Any, ...]:
        return int, ("no number",)


def full(path: Path) -> None:
    with shmring.Ring.create(path=path, capacity=4096) as ring:
        while True:
            ring.put(b"x", timeout=0.01)


def too_long(path: Path) -> None:
    with shmring.Latest.create(path=path, size=64) as cell:
        cell.set(bytes(65))


def no_message(path: Path) -> None:
    with shmring.Topic.create(path=path) as topic, topic.subscribe() as subscription:
        subscription.get(timeout=0.01)


def no_such_number(path: Path) -> None:
    with shmring.Topic.create(path=path) as topic:
        topic.subscribe(7)


def closed(path: Path) -> None:
    ring = shmring.Ring.create(path=path)
    ring.close()
    ring.put(b"x")


def shut_down(path: Path) -> None:
    with shmring.Ring.create(path=path) as ring:
        ring.shutdown()
        ring.put(b"x")


def busy(path: Path) -> None:
    with shmring.Ring.create(path=path, kind="spsc") as ring, shmring.Ring.attach(path=path) as other:
        ring.put(b"x")
        other.put(b"y")


def in_use(path: Path) -> None:
    with shmring.Ring.create(path=path) as ring, ring.claim(5), ring.claim(5):
        pass


def undecodable(path: Path) -> None:
    with shmring.Ring.create(path=path, codec="pickle") as ring:
        ring.put(Broken())
        ring.get()


def died(path: Path) -> None:
    with shmring.Ring.create(path=path) as ring:
        program = f"import os, shmring; r = shmring.Ring.attach(path={str(path)!r}); r.put(b'x'); os._exit(0)"
        subprocess.run([sys.executable, "-c", program], check=True)
        ring.get()
        ring.get(timeout=20)


def truncated(path: Path) -> None:
    with shmring.Ring.create(path=path, capacity=65536) as ring:
        path.write_bytes(b"")
        ring.put(bytes(10000))


def overwritten(path: Path) -> None:
    with shmring.Topic.create(path=path, capacity=4096, overflow="overwrite") as topic, topic.subscribe() as reader:
        topic.publish(b"x" * 100)
        with reader.borrow():
            topic.publish_many([b"y" * 1000] * 20)


def crowded(path: Path) -> None:
    with shmring.Ring.create(path=path) as ring:
        others = []
        try:
            while True:
                others.append(shmring.Ring.attach(path=path))
        finally:
            for other in (*others, ring):
                other.close()


def gone(path: Path) -> None:
    program = f"""
import pickle, shmring
with shmring.Ring.create(path={str(path)!r}) as ring:
    handle = pickle.dumps(ring)
    ring.unlink()
    with shmring.Ring.create(path={str(path)!r}):
        try:
            pickle.loads(handle)
        except FileNotFoundError as error:
            print(error)
"""
    raise FileNotFoundError(run(program))


def taken(path: Path) -> None:
    with shmring.Ring.create(path=path), shmring.Ring.create(path=path):
        pass


def missing(path: Path) -> None:
    shmring.Ring.attach(path=path, timeout=0.01)


ERRORS = [
    (full, shmring.Full), (too_long, shmring.MessageTooLong), (no_message, shmring.Empty), (no_such_number, ValueError),
    (closed, shmring.Closed), (shut_down, shmring.ShutDown), (busy, shmring.Busy), (in_use, shmring.Busy),
    (undecodable, shmring.DecodeError), (died, shmring.PeerDied), (truncated, shmring.Corrupt),
    (overwritten, shmring.Overwritten), (crowded, shmring.Busy), (gone, FileNotFoundError), (taken, FileExistsError),
    (missing, FileNotFoundError),
]  # fmt: skip


@pytest.mark.parametrize(("what", "kind"), ERRORS, ids=lambda value: value.__name__)
def test_an_error_names_the_path_as_repr_does(what: Callable[[Path], None], kind: type, tmp_path: Path) -> None:
    path = tmp_path / "orders.ring"
    with pytest.raises(kind) as raised:
        what(path)
    assert repr(str(path)) in str(raised.value)
    assert "anonymous" not in str(raised.value)


def test_an_anonymous_ring_is_still_called_so() -> None:
    with shmring.Ring.create() as ring, pytest.raises(shmring.Empty, match="the anonymous ring"):
        ring.get(timeout=0)


@needs_linux
def test_a_ring_at_a_path_has_the_mode_that_was_asked_for(tmp_path: Path) -> None:
    with shmring.Ring.create(path=tmp_path / "ring", mode=0o666):
        assert stat.S_IMODE((tmp_path / "ring").stat().st_mode) == 0o666

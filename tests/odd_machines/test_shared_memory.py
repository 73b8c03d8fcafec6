"""/dev/shm that is missing, no folder, closed, read-only, full, or on another file system than tmpfs."""

import pytest

from tests.odd_machines.conftest import (
    ANONYMOUS,
    BY_NAME,
    CALLS,
    FIND_BY_NAME,
    MAKE_BY_NAME,
    SEMAPHORES,
    needs_namespaces,
    run,
)

pytestmark = needs_namespaces

# A folder of device files without "shm" in place of /dev.
_NO_SHM = (
    "new=$(mktemp -d); mount -t tmpfs none $new; cp -a /dev/null /dev/zero /dev/urandom $new/; {more}"
    "mount --bind $new /dev; rmdir $new 2>/dev/null || true"
)
MISSING = {
    "missing": _NO_SHM.format(more=""),
    "a dangling link": _NO_SHM.format(more="ln -s /nowhere $new/shm; "),
    "a file": _NO_SHM.format(more="touch $new/shm; "),
}


@pytest.mark.parametrize("machine", MISSING.values(), ids=MISSING)
def test_without_shared_memory_there_are_no_names_and_all_else_works(ask, machine: str) -> None:
    answers = ask(machine)
    assert answers.fine("list", "clean", "clean by force", *ANONYMOUS, "segment of forks")
    assert {answers.said[label].value for label in ("list", "clean", "clean by force")} == {"[]"}
    assert answers.told(*BY_NAME, *SEMAPHORES, words=("/dev/shm", "mount a tmpfs"))
    assert "another kind" in answers.said["anonymous semaphore"].text


@pytest.mark.parametrize("machine", [MISSING["missing"]])
def test_queues_pools_and_rings_at_a_path_need_no_shared_memory(ask, machine: str, tmp_path) -> None:
    work = {
        "queue": "[(q := shmring.Queue()), q.put({'a': 1}), q.get()][2]",
        "path": f"[(r := shmring.Ring.create(path={str(tmp_path / 'ring')!r})), r.put(b'x'), r.get(), r.close()][2]",
        "pool": "(lambda pool: [pool.submit(abs, -3).result(), pool.shutdown()][0])(shmring.ProcessPoolExecutor(1))",
    }
    answers = ask(machine, calls=work)
    assert {label: said.value for label, said in answers.said.items()} == {
        "queue": "{'a': 1}",
        "path": "b'x'",
        "pool": "3",
    }


def test_a_closed_shared_memory_says_how_to_open_it(ask) -> None:
    answers = ask("mount -t tmpfs -o mode=0755 none /dev/shm", "os.setuid(65534)")
    assert answers.fine("list", "clean", *ANONYMOUS)
    assert answers.told(*MAKE_BY_NAME, *SEMAPHORES, words=("/dev/shm", "chmod 1777"))
    assert "PermissionError" in answers.said["create"].kinds
    answers = ask("mount -t tmpfs -o mode=0700 none /dev/shm", "os.setuid(65534)")
    assert answers.told("list", "clean", *BY_NAME, words=("/dev/shm", "chmod 1777"))


def test_a_read_only_shared_memory_says_how_to_make_it_writable(ask) -> None:
    answers = ask("mount -t tmpfs -o ro none /dev/shm")
    assert answers.fine("list", "clean", *ANONYMOUS)
    assert answers.told(*MAKE_BY_NAME, *SEMAPHORES, words=("/dev/shm", "read-only", "remount,rw"))


def test_rings_on_a_shared_memory_that_became_read_only_are_not_hidden(ask) -> None:
    make = "shmring.Ring.create('odd', persist=True).close(); os.system('mount -o remount,ro /dev/shm')"
    answers = ask("mount -t tmpfs none /dev/shm", make)
    assert answers.told("list", "inspect", "attach", words=("/dev/shm", "read-only"))


def test_no_inode_is_no_space_of_that_kind(ask) -> None:
    answers = ask("mount -t tmpfs -o nr_inodes=2 none /dev/shm; touch /dev/shm/last")
    assert answers.fine("list", "clean", *ANONYMOUS)
    assert answers.told(*MAKE_BY_NAME, *SEMAPHORES, words=("/dev/shm", "inodes"))
    assert {answers.said[label].limit for label in MAKE_BY_NAME} == {"inodes"}
    assert answers.told(*FIND_BY_NAME, words=("odd",))


def test_a_full_shared_memory_is_no_space_for_each_kind_and_leaves_nothing(ask) -> None:
    answers = ask("mount -t tmpfs -o size=64k none /dev/shm; head -c 65536 /dev/zero > /dev/shm/full")
    assert answers.fine("list", "clean", *ANONYMOUS)
    assert answers.told(*MAKE_BY_NAME, *SEMAPHORES, words=("/dev/shm", "--shm-size"))
    assert {answers.said[label].limit for label in MAKE_BY_NAME} == {"room"}
    assert not answers.left


WORKING = {
    "noexec": "mount -t tmpfs -o noexec,nosuid,nodev none /dev/shm",
    "ramfs": "mount -t ramfs none /dev/shm",
    "a link": _NO_SHM.format(more="ln -s /run $new/shm; ") + "; mount -t tmpfs none /run",
    "a disk": "mkdir -p {disk}; mount --bind {disk} /dev/shm",
    "overlayfs": "mount -t tmpfs none /mnt; mkdir /mnt/upper /mnt/work; "
    "mount -t overlay -o lowerdir={disk},upperdir=/mnt/upper,workdir=/mnt/work none /dev/shm",
}


@pytest.mark.parametrize("machine", WORKING.values(), ids=WORKING)
def test_shared_memory_on_another_file_system_works(ask, machine: str, tmp_path) -> None:
    found = [label for label in CALLS if label not in FIND_BY_NAME]
    queue = "q := shmring.Queue(name='grows', capacity=4096)"
    grow = f"[({queue}), q.put_many(range(2000)), sum(q.get() for _ in range(2000))]"
    again = (  # in the same places, also where memory cannot be given back
        f"[{queue.replace('grows', 'again')}] + [all(q.get() == bytes([each + k]) * 9000 for k in range(9)) "
        "for each in range(9) if q.put_many([bytes([each + k]) * 9000 for k in range(9)]) or True]"
    )
    answers = ask(machine.format(disk=tmp_path), calls=CALLS | {"grown": grow, "again": again})
    assert answers.fine(*found, "grown", "again")
    assert "False" not in answers.said["again"].value
    assert answers.said["grown"].value.endswith("2000, 1999000]")
    assert answers.told(*FIND_BY_NAME, words=("odd",))
    assert not answers.left


@needs_namespaces
def test_a_disk_that_is_full_under_a_ring_is_no_scribbling_and_loses_no_message(tmp_path) -> None:
    """The file system took the storage of its pages away: here by truncating it and making it as long as before."""
    program = """
import os, sys, shmring
path = sys.argv[1] + "/ring"
ring = shmring.Ring.create(path=path, capacity="1 MiB")
ring.put(b"stays")
size = os.path.getsize(path)
os.truncate(path, size - (1 << 20) + 4096)
os.truncate(path, size)
try:
    with open(sys.argv[1] + "/other", "wb", buffering=0) as other:
        while True:
            other.write(bytes(4096))
except OSError:
    pass
for call in (lambda: ring.put(bytes(100_000)), lambda: ring.get(timeout=0)):
    try:
        call()
    except shmring.Corrupt as error:
        print(error)
ring.close()
os.unlink(sys.argv[1] + "/other")
with shmring.Ring.attach(path=path) as again:
    print(again.get(timeout=0))
"""
    first, second, message = run(
        program, str(tmp_path), machine=f"mount -t tmpfs -o size=4m none {tmp_path}"
    ).splitlines()
    assert "no space for them (0 bytes are free now)" in first
    assert first == second
    assert message == "b'stays'"

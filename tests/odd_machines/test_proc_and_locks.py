"""Machines without /proc, without locks of open file descriptions, without memfd_create: each call says so at once."""

import errno
import sys

import pytest

import shmring
from tests.odd_machines.conftest import (
    ANONYMOUS,
    CALLS,
    FIND_BY_NAME,
    MAKE_BY_NAME,
    SEMAPHORES,
    needs_linux,
    needs_namespaces,
    needs_seccomp,
    run,
)

pytestmark = needs_linux

RINGS = [label for label in (*MAKE_BY_NAME, *SEMAPHORES, *ANONYMOUS) if not label.startswith("segment")]
NO_PROC = {
    "empty": "mount -t tmpfs none /proc",
    "of another pid namespace": "unshare --pid --fork mount -t proc proc /proc",
}


@needs_namespaces
@pytest.mark.parametrize("machine", NO_PROC.values(), ids=NO_PROC)
def test_without_proc_every_call_that_needs_it_says_so_and_leaves_nothing(ask, machine: str) -> None:
    answers = ask(f"mount -t tmpfs none /dev/shm; {machine}")
    assert answers.told(*RINGS, words=("/proc", "mount -t proc"))
    assert answers.fine("list", "segment.create", "segment.anonymous", "segment of forks")
    assert answers.told(*FIND_BY_NAME, words=("odd",))
    assert not answers.left


@needs_namespaces
@pytest.mark.parametrize("machine", NO_PROC.values(), ids=NO_PROC)
def test_a_ring_that_is_there_is_not_hidden_for_want_of_proc(ask, machine: str, name: str) -> None:
    kinds = {"Ring": shmring.Ring, "Topic": shmring.Topic, "Latest": shmring.Latest}
    calls = {"list": "shmring.list()", "inspect": f"shmring.inspect('{name}-Ring')"}
    calls |= {f"attach {kind}": f"shmring.{kind}.attach('{name}-{kind}', timeout=0.2)" for kind in kinds}
    calls |= {f"wait for {kind}": f"shmring.{kind}.attach('{name}-{kind}', timeout=None)" for kind in kinds}
    calls |= {f"open {kind}": f"shmring.{kind}.open('{name}-{kind}')" for kind in kinds}
    calls |= {"Queue": f"shmring.Queue(name='{name}-Queue')", "unlink": f"shmring.unlink('{name}-Ring')"}
    made = [kind.create(f"{name}-{label}") for label, kind in kinds.items()] + [shmring.Queue(name=f"{name}-Queue")]
    try:
        answers = ask(
            machine, calls=calls | {"clean": f"[each for each in shmring.clean(dry_run=True) if '{name}' in each.name]"}
        )
        assert answers.said["clean"].value == "[]", "which needs no /proc to see that they are in use"
        assert answers.told(*calls, words=("/proc", "mount -t proc"))
        assert all("FileNotFoundError" not in answers.said[label].kinds for label in calls)
        assert {f"{name}-Ring", f"{name}-Queue"} <= {ring.name for ring in shmring.list()}
    finally:
        for each in made:
            each.close()


SEND = """
import pickle, subprocess, sys, shmring
no_proc = ["unshare", "--mount", "sh", "-ec", 'mount -t tmpfs none /proc; exec "$@"', "sh"]
for what in (shmring.Ring.create(), shmring.Queue(), shmring.segment.anonymous(4096, transferable=True)):
    subprocess.run([*no_proc, sys.executable, "-c", sys.argv[1]], input=pickle.dumps(what), check=True)
"""
RECEIVE = """
import pickle, sys
try:
    pickle.loads(sys.stdin.buffer.read())
except OSError as error:
    print(error)
"""


@needs_namespaces
def test_a_handle_that_travels_says_that_proc_is_missing_and_not_that_the_sender_is_gone() -> None:
    said = run(SEND, RECEIVE).splitlines()
    assert len(said) == 3
    assert all("mount -t proc" in line for line in said), said


LOCKS = {"EINVAL": errno.EINVAL, "ENOSYS": errno.ENOSYS, "EACCES": errno.EACCES, "ENOLCK": errno.ENOLCK}


@needs_seccomp
@needs_namespaces
@pytest.mark.parametrize("code", LOCKS.values(), ids=LOCKS)
def test_refused_locks_are_told_at_the_door_and_are_nobody_who_holds_them(ask, code: int) -> None:
    """gVisor answers EINVAL, AppArmor EACCES, a file system without them ENOLCK."""
    answers = ask("mount -t tmpfs none /dev/shm", f"refuse('fcntl', {code}, second=37)")
    assert answers.told(*RINGS, words=("locks", "F_OFD_SETLK"))
    assert {answers.said[label].errno for label in RINGS} == {code}
    assert answers.told(*FIND_BY_NAME, words=("odd",))
    assert not answers.left


@needs_seccomp
@pytest.mark.parametrize("code", LOCKS.values(), ids=LOCKS)
def test_refused_locks_are_told_by_who_finds_a_ring(ask, code: int, name: str) -> None:
    calls = {"attach": f"shmring.Ring.attach('{name}', timeout=0)", "open": f"shmring.Ring.open('{name}')"}
    calls |= {"wait": f"shmring.Ring.attach('{name}', timeout=None)", "unlink": f"shmring.unlink('{name}')"}
    with shmring.Ring.create(name):
        answers = ask("", f"refuse('fcntl', {code}, second=37)", calls)
    assert answers.told(*calls, words=("locks", "F_OFD_SETLK"))


@needs_seccomp
@needs_namespaces
@pytest.mark.parametrize("code", LOCKS.values(), ids=LOCKS)
def test_what_cannot_be_asked_whether_it_is_in_use_is_neither_removed_nor_passed_over(ask, code: int) -> None:
    make = f"shmring.Ring.create('odd', persist=True).close(); refuse('fcntl', {code}, second=36)"
    answers = ask("mount -t tmpfs none /dev/shm", make, {k: CALLS[k] for k in ("clean", "clean by force")})
    assert answers.told("clean", "clean by force", words=("locks",))
    assert answers.left == ["shmring.odd"]


@needs_seccomp
@needs_namespaces
@pytest.mark.parametrize("code", [errno.EPERM, errno.ENOSYS], ids=["EPERM", "ENOSYS"])
def test_a_refused_memfd_create_is_told_and_names_still_work(ask, code: int) -> None:
    answers = ask("mount -t tmpfs none /dev/shm", f"refuse('memfd_create', {code})")
    assert answers.told(*ANONYMOUS, words=("memfd_create", "a name or a path"))
    assert answers.fine("list", *MAKE_BY_NAME[:3], "named queue", "segment of forks")


@needs_namespaces
def test_a_kernel_that_wants_memory_not_to_be_run_gets_its_way(ask) -> None:
    """Sysctl vm.memfd_noexec=2, of a pid namespace's own."""
    program = "import shmring\nwith shmring.Queue() as q:\n    q.put(1); print(q.get())"
    setting = "/proc/sys/vm/memfd_noexec"
    machine = f"mount -t proc proc /proc; [ ! -e {setting} ] || echo 2 > {setting}"
    inside = ["unshare", "--pid", "--fork", "--mount", "sh", "-ec", f'{machine}; exec "$@"', "sh", sys.executable]
    assert run(f"import subprocess; subprocess.run({[*inside, '-c', program]!r}, check=True)") == "1\n"


AWAIT = """
import asyncio
made = []
async def waited(make):
    made.append(make())
    await made[-1].aget(timeout=20)
"""


@needs_seccomp
@pytest.mark.parametrize("refused", [("eventfd2", errno.EPERM), ("clone3", errno.EAGAIN)], ids=["eventfd", "thread"])
def test_a_wait_in_an_event_loop_that_cannot_be_is_told(ask, refused: tuple[str, int]) -> None:
    calls = {
        "ring": "asyncio.run(waited(shmring.Ring.create))",
        "queue": "asyncio.run(waited(shmring.Queue))",
        "topic": "asyncio.run(waited(lambda: shmring.Topic.create().subscribe()))",
    }
    answers = ask("", f"{AWAIT}\nrefuse({refused[0]!r}, {refused[1]})", calls)
    assert answers.told(*calls, words=("event loop", "an eventfd and a thread", "asyncio.to_thread"))

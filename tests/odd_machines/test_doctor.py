"""`shmring doctor` finds beforehand what a machine lacks, each with its remedy, and never fails itself."""

import json
import os
import sys

import pytest

from tests.odd_machines.conftest import REFUSE, needs_linux, needs_namespaces, needs_seccomp, run

if sys.platform == "linux":
    from shmring.segment.posix import reserve

pytestmark = [needs_linux, needs_namespaces]

DOCTOR = """
import errno, os, sys
import shmring
from shmring.cli import main
{prepare}
code = main.run(["doctor", "--json"])
print("exit", code)
"""
NO_SHM = "new=$(mktemp -d); mount -t tmpfs none $new; cp -a /dev/null /dev/urandom $new/; mount --bind $new /dev"
OWN_SHM = "mount -t tmpfs -o size=1g none /dev/shm"

# Where: a shell's words, Python's words, and subject, verdict, finding and remedy (in parts) of what is found.
FOUND = {
    "no shm": (NO_SHM, "", ("space", "problem", "/dev/shm: No such file", "mount a tmpfs there")),
    "small": ("mount -t tmpfs -o size=64m none /dev/shm", "", ("space", "problem", "64 MiB", "--shm-size")),
    "full": (
        "mount -t tmpfs -o size=300m none /dev/shm; head -c 290m /dev/zero > /dev/shm/full",
        "",
        ("space", "problem", "nearly full", "shmring clean"),
    ),
    "inodes": ("mount -t tmpfs -o nr_inodes=1 none /dev/shm", "", ("space", "problem", "inodes", "nr_inodes")),
    "read-only": ("mount -t tmpfs -o ro none /dev/shm", "", ("space", "problem", "read-only", "remount,rw")),
    "closed": (
        "mount -t tmpfs -o mode=0755 none /dev/shm",
        "os.setuid(65534)",
        ("space", "problem", "not writable", "chmod 1777"),
    ),
    "no unnamed files": (
        "mount -t mqueue none /dev/shm",
        "",
        ("kernel", "problem", "O_TMPFILE", "mount a tmpfs"),
    ),
    "no proc": (f"{OWN_SHM}; mount -t tmpfs none /proc", "", ("/proc", "problem", "/proc/self/fd", "mount -t proc")),
    "files": (OWN_SHM, "limit('FSIZE', 1 << 20)", ("limits", "problem", "larger than 1 MiB", "ulimit -f")),
    "descriptors": (OWN_SHM, "limit('NOFILE', 64)", ("limits", "problem", "64 descriptors", "ulimit -n")),
    "descriptors in use": (
        OWN_SHM,
        "limit('NOFILE', 300); held = [os.dup(0) for _ in range(250)]",
        ("limits", "problem", "of 300 descriptors are in use", "close"),
    ),
    "address space": (OWN_SHM, "limit('AS', 1 << 30)", ("limits", "note", "of 1 GiB", "ulimit -v")),
    "locked memory": (OWN_SHM, "limit('MEMLOCK', 1 << 16)", ("limits", "note", "64 KiB", "ulimit -l")),
}
LIMIT = """
import resource
def limit(name, value):
    which = getattr(resource, "RLIMIT_" + name)
    resource.setrlimit(which, (value, value))
"""


def findings(machine: str, prepare: str) -> tuple[list[dict[str, str]], int]:
    """What the doctor finds, and the exit code of the command."""
    words = (REFUSE if "refuse(" in prepare else "") + LIMIT + DOCTOR.format(prepare=prepare)
    *lines, last = run(words, machine=machine).splitlines()
    return json.loads("\n".join(lines)), int(last.removeprefix("exit "))


def has(found: list[dict[str, str]], subject: str, verdict: str, finding: str, remedy: str) -> bool:
    return any(
        (each["subject"], each["verdict"]) == (subject, verdict)
        and finding in each["finding"]
        and remedy in each["remedy"]
        for each in found
    )


@pytest.mark.parametrize(("machine", "prepare", "expected"), FOUND.values(), ids=FOUND)
def test_what_a_machine_lacks_is_found_with_its_remedy(machine, prepare, expected) -> None:
    found, code = findings(machine, prepare)
    assert has(found, *expected), found
    assert code == any(each["verdict"] == "problem" for each in found)
    assert all(bool(each["remedy"]) == (each["verdict"] != "ok") for each in found)


def test_a_shared_memory_on_a_disk_is_found(tmp_path) -> None:
    try:
        fd = os.open(tmp_path, os.O_TMPFILE | os.O_RDWR)
    except OSError as error:
        pytest.skip(f"needs a disk that makes unnamed files: {error}")
    is_memory = reserve.in_memory(fd)
    os.close(fd)
    if is_memory:
        pytest.skip(f"needs a disk, and {tmp_path} is in memory")
    found, _ = findings(f"mount --bind {tmp_path} /dev/shm", "")
    assert has(found, "space", "note", "no tmpfs", "mount a tmpfs"), found


REFUSED = {
    "locks": ("refuse('fcntl', errno.EINVAL, second=37)", ("locks", "problem", "F_OFD_SETLK", "gVisor")),
    "memfd": ("refuse('memfd_create', errno.EPERM)", ("anonymous memory", "problem", "memfd_create", "a name")),
    "membarrier": ("refuse('membarrier', errno.EPERM)", ("system calls", "note", "membarrier(2)", "sandbox")),
    "eventfd": ("refuse('eventfd2', errno.EPERM)", ("system calls", "note", "eventfd(2)", "sandbox")),
    "futex_waitv": ("refuse('futex_waitv', errno.ENOSYS)", ("system calls", "note", "futex_waitv(2)", "5.16")),
}


@needs_seccomp
@pytest.mark.parametrize(("prepare", "expected"), REFUSED.values(), ids=REFUSED)
def test_what_a_sandbox_refuses_is_found_with_its_remedy(prepare, expected) -> None:
    found, _ = findings(OWN_SHM, prepare)
    assert has(found, *expected), found


def test_a_machine_that_lacks_nothing_has_no_problem() -> None:
    found, code = findings(OWN_SHM, "")
    assert not [each for each in found if each["verdict"] == "problem" and each["subject"] != "container memory"]
    assert code == any(each["verdict"] == "problem" for each in found)


CALLS = ("fcntl", "memfd_create", "fallocate", "statfs", "fstatfs", "newfstatat", "getdents64", "prlimit64", "flock",
         "membarrier", "futex_waitv", "readlink", "sysinfo", "mmap", "ftruncate", "faccessat", "access")  # fmt: skip


@needs_seccomp
@pytest.mark.parametrize("machine", [OWN_SHM, NO_SHM, f"{OWN_SHM}; mount -t tmpfs none /proc"])
def test_the_doctor_never_fails_whatever_is_refused(machine: str) -> None:
    program = f"""
import os, shmring
shmring.examine()  # imports what it needs
for call in {CALLS!r}:
    for code in (errno.EPERM, errno.ENOSYS, errno.EIO, errno.ENOENT):
        if os.fork() == 0:
            try:
                refuse(call, code)
                shmring.examine()
                os._exit(0)
            except BaseException as error:
                print(call, code, type(error).__name__, error, flush=True)
                os._exit(1)
        os.wait()
"""
    assert run(REFUSE + "import errno\n" + program, machine=machine) == ""


def test_the_doctor_changes_nothing() -> None:
    program = """
import os, shmring
shmring.examine()
print(os.listdir("/dev/shm"))
"""
    assert run(program, machine=OWN_SHM) == "[]\n"
